#![allow(clippy::indexing_slicing)]

use super::summary::GROWS;
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn special() -> impl Strategy<Value = f64> {
    let bits = [
        STALE_NAN_BITS,
        NORMAL_NAN_BITS,
        f64::NAN.to_bits(),
        u64::MAX,
        f64::INFINITY.to_bits(),
        f64::NEG_INFINITY.to_bits(),
        (-0.0f64).to_bits(),
        0,
        1,
        f64::MAX.to_bits(),
        f64::MIN_POSITIVE.to_bits(),
        (INTEGER_MAX as f64).to_bits(),
        ((INTEGER_MAX + 2) as f64).to_bits(),
        0.1f64.to_bits(),
        1e15f64.to_bits(),
        1e16f64.to_bits(),
        123_456_789.123_456_7f64.to_bits(),
    ];
    prop::sample::select(bits.to_vec()).prop_map(f64::from_bits)
}

fn column() -> impl Strategy<Value = Vec<f64>> {
    let decimal = (0u8..=EXPONENT_MAX, vec(-1_000_000i64..1_000_000, 1..500))
        .prop_map(|(e, ints)| ints.into_iter().map(|i| i as f64 / POWERS[usize::from(e)]).collect::<Vec<f64>>());
    let counter = (vec(0u32..200, 1..500), 0usize..500).prop_map(|(steps, reset)| {
        let mut value = 0.0;
        let grown = steps.iter().enumerate().map(|(i, step)| {
            value = if i == reset { 0.0 } else { value + f64::from(*step) };
            value
        });
        grown.collect::<Vec<f64>>()
    });
    let marked = (decimal.clone(), vec((any::<prop::sample::Index>(), special()), 0..20)).prop_map(|(mut values, marks)| {
        for (at, mark) in marks {
            let at = at.index(values.len());
            values[at] = mark;
        }
        values
    });
    let bits = vec(any::<u64>().prop_map(f64::from_bits), 1..500);
    let floats = vec(0.0f64..1.0, 1..500);
    prop_oneof![decimal, counter, marked, bits, floats, vec(special(), 1..60), (special(), 1usize..200).prop_map(|(v, n)| vec![v; n])]
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn encoded(values: &[f64]) -> Vec<u8> {
    let mut out = Vec::new();
    FloatCoder::default().encode(values, &mut out);
    out
}

proptest! {
    #[test]
    fn every_bit_comes_back(values in column()) {
        let bytes = encoded(&values);
        let mut back = vec![1.0];
        FloatCoder::default().decode(&bytes, values.len(), &mut back).unwrap();
        prop_assert_eq!(bits(&back[1..]), bits(&values));
    }

    #[test]
    fn summary_tells_what_decoding_would(values in column()) {
        if let Some(Summary { first, last, min, max, resets }) = summary(&encoded(&values)).unwrap() {
            prop_assert!(values.iter().all(|v| !v.is_nan()));
            prop_assert_eq!(bits(&[first, last]), bits(&[values[0], values[values.len() - 1]]));
            prop_assert!(values.iter().all(|v| min <= *v && *v <= max));
            prop_assert!(values.contains(&min) && values.contains(&max));
            if let Some(resets) = resets {
                let falls: Vec<u32> = (1..values.len()).filter(|i| values[*i] < values[i - 1]).map(|i| i as u32).collect();
                prop_assert_eq!(resets, falls);
            }
        } else {
            prop_assert!(values.len() / EXCEPTION_SHARE < values.len());
        }
    }

    #[test]
    fn damage_never_panics_and_costs_no_memory(
        values in column(), at: prop::sample::Index, flip in 1u8.., cut: prop::sample::Index, count in 0usize..600,
    ) {
        let mut bytes = encoded(&values);
        let mut coder = FloatCoder::default();
        let mut out = Vec::new();
        let _ = coder.decode(&bytes[..cut.index(bytes.len())], values.len(), &mut out);
        let i = at.index(bytes.len());
        bytes[i] ^= flip;
        for n in [values.len(), count] {
            out.clear();
            let _ = coder.decode(&bytes, n, &mut out);
            prop_assert!(out.len() <= n.max(3));
        }
        let _ = summary(&bytes);
    }

    #[test]
    fn any_bytes_decode_or_fail(bytes in vec(any::<u8>(), 0..200), tag in 0u8..6, count in 0usize..500) {
        let mut coder = FloatCoder::default();
        let tagged: Vec<u8> = std::iter::once(tag).chain(bytes).collect();
        let _ = coder.decode(&tagged, count, &mut Vec::new());
        let _ = summary(&tagged);
    }
}

#[test]
fn monotone_counter_is_summed_up_with_its_last_value_alone() {
    let values: Vec<f64> = (0..480).map(|i| f64::from(i / 7)).collect();
    let told = summary(&encoded(&values)).unwrap().unwrap();
    assert_eq!(told, Summary { first: 0.0, last: 68.0, min: 0.0, max: 68.0, resets: Some(Vec::new()) });
}

#[test]
fn column_bytes_are_frozen() {
    assert_eq!(encoded(&[2.5, 2.5]), [CONSTANT | 1, 50]);
    assert_eq!(encoded(&[f64::INFINITY]), [CONSTANT_RAW, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f]);
    assert_eq!(encoded(&[1.0, 2.0, 3.0]), [DECIMAL | GROWS << FLAGS_SHIFT, 2, 1, 2, 2]);
    let mut marked = vec![1.0; 32];
    marked[30] = f64::from_bits(STALE_NAN_BITS);
    assert_eq!(encoded(&marked), [DECIMAL | HAS_EXCEPTIONS << FLAGS_SHIFT, 0, 2, 1, 30, STALE]);
}
