use super::*;
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
    fn sealed_chunk_gives_back_every_bit((ts, values) in samples()) {
        let mut sealed = vec![7];
        encode(&ts, &values, &mut sealed);
        let header = ChunkHeader::read(&sealed[1..]).unwrap();
        prop_assert_eq!((header.count as usize, header.first_ms, header.last_ms), (ts.len(), ts[0], ts[ts.len() - 1]));
        let (mut ts2, mut values2) = (vec![5], vec![0.0]);
        decode(&sealed[1..], &mut ts2, &mut values2).unwrap();
        prop_assert_eq!(&ts2[1..], &ts[..]);
        prop_assert_eq!(bits(&values2[1..]), bits(&values));
    }

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
        let (mut sealed, mut encoded) = (Vec::new(), Vec::new());
        chunk.seal(&mut sealed);
        encode(&ts, &values, &mut encoded);
        prop_assert_eq!(sealed, encoded);
    }

    #[test]
    fn damaged_chunk_is_an_error((ts, values) in samples(), at: prop::sample::Index, flip in 1u8.., cut: prop::sample::Index) {
        let mut sealed = Vec::new();
        encode(&ts, &values, &mut sealed);
        let (mut ts2, mut values2) = (vec![1], vec![1.0]);
        prop_assert!(decode(&sealed[..cut.index(sealed.len())], &mut ts2, &mut values2).is_err());
        let i = at.index(sealed.len());
        sealed[i] ^= flip;
        prop_assert!(decode(&sealed, &mut ts2, &mut values2).is_err());
        prop_assert_eq!((ts2.len(), values2.len()), (1, 1));
    }

    #[test]
    fn any_bytes_decode_or_fail_within_bounds(bytes in vec(any::<u8>(), 0..300), forge in any::<bool>()) {
        let mut input = bytes;
        if forge {
            // A right tag and checksum, so that the stream itself is attacked.
            input.insert(0, TAG_XOR2);
            put_crc(&mut input, 0);
        }
        let (mut ts, mut values) = (Vec::new(), Vec::new());
        let result = decode(&input, &mut ts, &mut values);
        prop_assert_eq!(ts.len(), values.len());
        prop_assert!(result.is_ok() || ts.is_empty());
        prop_assert!(ts.capacity() <= input.len() * 8 + 8);
        if let Ok(chunk) = OpenChunk::read_from(&mut Reader::new(&input)) {
            let _ = chunk.decode(&mut ts, &mut values);
        }
    }
}

#[test]
fn sealed_bytes_are_frozen() {
    let mut out = Vec::new();
    encode(&[1_000, 16_000, 31_000, 46_000, 61_005], &[1.0, 1.0, 1.5, f64::from_bits(STALE_NAN_BITS), 2.0], &mut out);
    assert_eq!(out, GOLDEN, "{out:02x?}");
}

const GOLDEN: &[u8] = &[
    1, 5, 208, 15, 229, 212, 3, 63, 240, 0, 0, 0, 0, 0, 0, 248, 14, 166, 20, 192, 62, 194, 225, 121, 255, 128, 0, 0, 0, 0, 0, 16, 199, 143,
    231, 221,
];

#[test]
fn steady_series_takes_a_bit_per_sample() {
    let ts: Vec<i64> = (0..480).map(|i| i * 15_000).collect();
    let mut out = Vec::new();
    encode(&ts, &[1.0; 480], &mut out);
    assert!(out.len() < 88, "{} bytes", out.len());
}

#[test]
#[should_panic(expected = "does not follow")]
fn time_must_grow() {
    OpenChunk::new(5, 1.0).append(5, 2.0);
}
