use super::*;
use crate::wire::Reader;
use model::sample::{NORMAL_NAN_BITS, STALE_NAN_BITS};
use proptest::collection::vec;
use proptest::prelude::*;

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => Just(1.0f64.to_bits()),
        2 => (0u32..1000).prop_map(|n| f64::from(n).to_bits()),
        2 => (0u32..100_000).prop_map(|n| (f64::from(n) / 100.0).to_bits()),
        1 => prop::sample::select(vec![
            STALE_NAN_BITS, NORMAL_NAN_BITS, f64::NAN.to_bits(), u64::MAX, 0xfff0_0000_0000_0001, f64::INFINITY.to_bits(),
            f64::NEG_INFINITY.to_bits(), (-0.0f64).to_bits(), 0, f64::MIN_POSITIVE.to_bits(), 1, f64::MAX.to_bits(),
        ]),
        1 => any::<u64>(),
    ]
}

fn step() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => Just(15_000u64),
        3 => 14_995u64..15_006,
        2 => 1u64..10_000,
        1 => 1u64..2_000_000,
        1 => prop::sample::select(vec![1, 15_000 + 31, 15_000 + 32, 15_000 - 33, 19_095, 19_096, 539_287, 539_288, u64::MAX / 2, u64::MAX - 1]),
    ]
}

/// Strictly growing times with any bits as values.
fn samples() -> impl Strategy<Value = (Vec<i64>, Vec<f64>)> {
    (prop_oneof![Just(1_700_000_000_000i64), Just(i64::MIN), any::<i64>()], vec((step(), value()), 1..400)).prop_map(|(start, steps)| {
        let (mut ts, mut values, mut t) = (vec![start], vec![f64::from_bits(steps[0].1)], start);
        for (delta, bits) in &steps[1..] {
            let Some(next) = t.checked_add_unsigned(*delta) else { break };
            t = next;
            ts.push(t);
            values.push(f64::from_bits(*bits));
        }
        (ts, values)
    })
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

proptest! {
    #[test]
    fn open_chunk_goes_on_after_being_written_and_read((ts, values) in samples(), cut in 0usize..400) {
        let cut = cut % ts.len();
        let mut chunk = OpenChunk::new(ts[0], values[0]);
        for i in 1..ts.len() {
            if i == cut {
                let mut out = Vec::new();
                chunk.write_to(&mut out);
                out.push(9);
                let mut reader = Reader::new(&out);
                chunk = OpenChunk::read_from(&mut reader).unwrap();
                prop_assert_eq!(reader.rest(), &[9]);
            }
            chunk.append(ts[i], values[i]);
            prop_assert_eq!((chunk.last_ms(), chunk.last_bits()), (ts[i], values[i].to_bits()));
        }
        let (mut ts2, mut values2) = (Vec::new(), Vec::new());
        chunk.decode(&mut ts2, &mut values2).unwrap();
        prop_assert_eq!((&ts2, bits(&values2), chunk.len()), (&ts, bits(&values), ts.len()));
    }

    #[test]
    fn any_bytes_are_read_as_an_open_chunk_or_refused((ts, values) in samples(), at: prop::sample::Index, flip in 1u8.., cut: prop::sample::Index) {
        let mut bytes = written(&ts, &values);
        prop_assert!(OpenChunk::read_from(&mut Reader::new(&bytes[..cut.index(bytes.len())])).is_err());
        let i = at.index(bytes.len());
        bytes[i] ^= flip;
        if let Ok(chunk) = OpenChunk::read_from(&mut Reader::new(&bytes)) {
            let (mut ts, mut values) = (Vec::new(), Vec::new());
            let result = chunk.decode(&mut ts, &mut values);
            prop_assert_eq!(ts.len(), values.len());
            prop_assert!(ts.len() <= bytes.len() * 8 && (result.is_err() || ts.len() == chunk.len()));
        }
    }
}

/// Bytes that begin as a format that is known and go on as anything, small numbers mostly: those get further.
fn forged() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => 0u8..8, 1 => any::<u8>()];
    (0u8..3, vec(byte, 0..300)).prop_map(|(format, rest)| std::iter::once(format).chain(rest).collect())
}

proptest! {
    #[test]
    fn forged_chunks_are_refused_or_decode_to_no_more_than_they_say(bytes in forged()) {
        if let Ok(chunk) = OpenChunk::read_from(&mut Reader::new(&bytes)) {
            let (mut ts, mut values) = (Vec::new(), Vec::new());
            let _ = chunk.decode(&mut ts, &mut values);
            prop_assert!(ts.len() == values.len() && ts.len() <= chunk.len() && ts.capacity() <= bytes.len() * 8);
        }
        if let Ok(chunk) = RecordChunk::read_from(&mut Reader::new(&bytes)) {
            let mut records = Vec::new();
            chunk.decode(&mut records).unwrap();
            prop_assert!(records.len() == chunk.len() && chunk.len() <= bytes.len());
        }
    }

    #[test]
    fn forged_pages_are_refused_or_decode_to_no_more_than_was_asked_for(
        bytes in forged(),
        tag in prop_oneof![0u8..9, Just(0x80)],
        count in 0usize..600,
    ) {
        let times: Vec<i64> = (0..count as i64).collect();
        let mut coder = PageCoder::default();
        let bytes: Vec<u8> = std::iter::once(tag).chain(bytes).collect();
        let mut out = Samples::default();
        if coder.decode_samples(&times, &bytes, &mut out).is_ok() {
            prop_assert_eq!((out.ts.len() + out.records.len(), out.ts.len()), (count, out.values.len()));
        }
        let mut decoded = Decoded::default();
        let _ = coder.decode_values(&bytes, count, &mut decoded);
        // Up to three values come out of a column before its length is known to be wrong.
        prop_assert!(decoded.values.len() <= count.max(3) && decoded.starts.len() <= count.max(3) && decoded.histograms.len() <= count);
        let mut back = Vec::new();
        if coder.decode_times(&bytes, count, &mut back).is_ok() {
            prop_assert!(back.len() == count && back.is_sorted_by(|a, b| a < b));
        }
        let _ = summary(&bytes);
    }
}

fn written(ts: &[i64], values: &[f64]) -> Vec<u8> {
    let mut chunk = OpenChunk::new(ts[0], values[0]);
    (1..ts.len()).for_each(|i| chunk.append(ts[i], values[i]));
    let mut out = Vec::new();
    chunk.write_to(&mut out);
    out
}

#[test]
fn open_chunk_bytes_are_frozen() {
    let out = written(&[1_000, 16_000, 31_000, 46_000, 61_005], &[1.0, 1.0, 1.5, f64::from_bits(STALE_NAN_BITS), 2.0]);
    assert_eq!(out, GOLDEN, "{out:?}");
}

const GOLDEN: &[u8] = &[
    1, 5, 208, 15, 229, 212, 3, 0, 0, 0, 0, 0, 0, 0, 64, 157, 117, 4, 2, 61, 25, 63, 240, 0, 0, 0, 0, 0, 0, 248, 14, 166, 20, 192, 62, 194,
    225, 121, 255, 128, 0, 0, 0, 0, 0, 16,
];

#[test]
fn steady_series_takes_a_bit_per_sample() {
    let ts: Vec<i64> = (0..480).map(|i| i * 15_000).collect();
    let bytes = written(&ts, &[1.0; 480]).len();
    assert!(bytes < 100, "{bytes} bytes");
}

#[test]
#[should_panic(expected = "does not follow")]
fn time_must_grow() {
    OpenChunk::new(5, 1.0).append(5, 2.0);
}
