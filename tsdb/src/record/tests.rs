use super::*;
use crate::chunk::RecordChunk;
use model::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, Span};
use proptest::collection::vec;
use proptest::prelude::*;

/// Valid histograms of all forms: whole and float counts, exponential and custom buckets, stale.
pub(crate) fn any_histogram() -> impl Strategy<Value = FloatHistogram> {
    let spans = vec((0i32..4, 0u32..4), 0..4);
    let count = prop_oneof![4 => (0u32..1000).prop_map(f64::from), 1 => 0.0..1e9f64, 1 => Just(9.1e15)];
    let counts = (spans.clone(), spans, vec(count, 24), any::<bool>());
    (counts, -4i32..=8, 0u8..4, any::<f64>(), prop_oneof![Just(false), any::<bool>()]).prop_map(
        |((positive, negative, counts, whole), schema, hint, sum, custom)| {
            let mut counts = counts.into_iter().map(|c| if whole { c.trunc() } else { c }).cycle();
            let spans = |of: Vec<(i32, u32)>| -> Vec<Span> { of.into_iter().map(|(offset, length)| Span { offset, length }).collect() };
            let buckets = |spans: &[Span]| spans.iter().map(|s| s.length as usize).sum::<usize>();
            let positive_spans = spans(positive);
            let mut h = FloatHistogram {
                counter_reset_hint: [
                    CounterResetHint::Unknown,
                    CounterResetHint::Reset,
                    CounterResetHint::NotReset,
                    CounterResetHint::Gauge,
                ][usize::from(hint)],
                schema,
                zero_threshold: f64::from_bits(0x37f0_0000_0000_0000),
                sum,
                ..FloatHistogram::default()
            };
            h.positive_buckets = counts.by_ref().take(buckets(&positive_spans)).collect();
            h.count = counts.next().unwrap_or(0.0);
            if custom {
                let reach: u32 = positive_spans.iter().map(|s| s.offset.unsigned_abs() + s.length).sum();
                h.schema = CUSTOM_BUCKETS_SCHEMA;
                h.zero_threshold = 0.0;
                h.custom_values = (0..reach).map(|n| f64::from(n) * 0.3 - 1.0).collect();
            } else {
                h.zero_count = counts.next().unwrap_or(0.0);
                h.negative_spans = spans(negative);
                h.negative_buckets = counts.take(buckets(&h.negative_spans)).collect();
            }
            h.positive_spans = positive_spans;
            h
        },
    )
}

pub(crate) fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
        2 => any_histogram().prop_map(|h| Value::Histogram(Arc::new(h))),
        1 => Just(Value::Histogram(Arc::new(FloatHistogram::stale()))),
    ]
}

pub(crate) fn record() -> impl Strategy<Value = Record> {
    let start = prop_oneof![Just(0i64), any::<i64>(), 1i64..5];
    (any::<i64>(), start, value()).prop_map(|(timestamp_ms, start_ms, value)| Record { timestamp_ms, start_ms, value })
}

/// Everything of a record, by bits.
fn exactly(record: &Record) -> String {
    let value = match &record.value {
        Value::Float(value) => format!("{:x}", value.to_bits()),
        Value::Histogram(h) => {
            let bits = |of: &[f64]| of.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            let numbers = bits(&[h.count, h.zero_count, h.sum, h.zero_threshold]);
            let sides = (bits(&h.positive_buckets), bits(&h.negative_buckets), bits(&h.custom_values));
            format!("{:?} {} {:?} {:?} {numbers:?} {sides:?}", h.counter_reset_hint, h.schema, h.positive_spans, h.negative_spans)
        }
    };
    format!("{} {} {value}", record.timestamp_ms, record.start_ms)
}

fn as_chunk(records: &[Record]) -> RecordChunk {
    let mut chunk = RecordChunk::new(&records[0]);
    records[1..].iter().for_each(|record| chunk.append(record));
    chunk
}

#[test]
fn encoding_is_frozen() {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let histogram = FloatHistogram {
        schema: 3,
        zero_threshold: f64::from_bits(0x37f0_0000_0000_0000),
        zero_count: 2.0,
        count: 12.0,
        sum: 18.5,
        positive_spans: vec![Span { offset: -1, length: 2 }, Span { offset: 3, length: 1 }],
        positive_buckets: vec![4.0, 5.0, 1.0],
        counter_reset_hint: CounterResetHint::NotReset,
        ..FloatHistogram::default()
    };
    assert!(histogram.validate().is_ok());
    let later = FloatHistogram { count: 14.0, sum: 20.5, positive_buckets: vec![5.0, 6.0, 1.0], ..histogram.clone() };
    let [first, second] = [histogram, later].map(Arc::new);
    let record = |timestamp_ms, value| Record { timestamp_ms, start_ms: 500, value };
    let (mut alone, mut chunk) = (Vec::new(), Vec::new());
    record(1000, Value::Histogram(Arc::clone(&first))).write(&mut alone);
    let records = [record(1000, Value::Histogram(first)), record(2000, Value::Histogram(second)), record(3000, Value::Float(1.5))];
    as_chunk(&records).write_to(&mut chunk);
    assert_eq!(hex(&alone), "01d00fe8070606b7e00302010206010000c0e480041813040207");
    assert_eq!(
        hex(&chunk),
        concat!("0103d00f29", "0500e8070606b7e00302010206010000c0e480041813040207", "01d00f0e800c0400020200", "0000bff003")
    );
    let mut exemplar = Vec::new();
    Exemplar { timestamp_ms: 1000, value: 0.5, labels: b"\x01a\x01b" }.write(&mut exemplar);
    assert_eq!(hex(&exemplar), "02d00f000000000000e03f0401610162");
}

proptest! {
    #[test]
    fn records_come_back_by_bits_and_damage_never_panics(record in record(), at: prop::sample::Index, flip in 1u8..) {
        let mut bytes = Vec::new();
        record.write(&mut bytes);
        let mut reader = Reader::new(&bytes);
        let Item::Sample(read) = Item::read(&mut reader).unwrap() else { panic!("kind") };
        reader.end().unwrap();
        prop_assert_eq!(exactly(&read), exactly(&record));
        prop_assert_eq!(read.value.content(), record.value.content());
        let i = at.index(bytes.len());
        prop_assert!(Item::read(&mut Reader::new(&bytes[..i])).is_err());
        bytes[i] ^= flip;
        let _ = Item::read(&mut Reader::new(&bytes));
    }

    #[test]
    fn forged_items_are_refused_or_cost_a_multiple_of_their_bytes(
        bytes in vec(prop_oneof![3 => 0u8..8, 1 => any::<u8>()], 0..300),
        before in prop::option::of(any_histogram()),
    ) {
        let mut reader = Reader::new(&bytes);
        while let Ok(item) = Item::read(&mut reader) {
            if let Item::Sample(Record { value, .. }) = item {
                prop_assert!(value.heap_bytes() <= 512 + 16 * bytes.len());
            }
        }
        if let Ok(h) = histogram::read(&mut Reader::new(&bytes), before.as_ref()) {
            prop_assert!(h.size() <= 512 + 16 * bytes.len() + before.map_or(0, |before| before.size()));
        }
    }

    #[test]
    fn chunks_of_records_come_back_by_bits(
        mut records in vec(record(), 1..40),
        step in 1i64..100_000,
        at: prop::sample::Index,
        flip in 1u8..,
    ) {
        for (n, record) in records.iter_mut().enumerate() {
            record.timestamp_ms = 1_700_000_000_000 + n as i64 * step + record.timestamp_ms.rem_euclid(step);
        }
        let half = records.len() / 2;
        let mut chunk = as_chunk(&records[..half.max(1)]);
        let mut stored = Vec::new();
        chunk.write_to(&mut stored);
        let mut reader = Reader::new(&stored);
        chunk = RecordChunk::read_from(&mut reader).unwrap();
        reader.end().unwrap();
        records[half.max(1)..].iter().for_each(|record| chunk.append(record));
        chunk.finish();
        let mut open = Vec::new();
        chunk.decode(&mut open).unwrap();
        let expected: Vec<String> = records.iter().map(exactly).collect();
        prop_assert_eq!(&open.iter().map(exactly).collect::<Vec<_>>(), &expected);
        let (first_ms, last_ms) = (records[0].timestamp_ms, records[records.len() - 1].timestamp_ms);
        prop_assert_eq!((chunk.len(), chunk.first_ms(), chunk.last_ms()), (records.len(), first_ms, last_ms));
        let i = at.index(stored.len());
        stored[i] ^= flip;
        let _ = RecordChunk::read_from(&mut Reader::new(&stored));
    }

    #[test]
    fn content_tells_histograms_apart_as_prometheus_does(a in any_histogram(), b in any_histogram(), hint: bool) {
        let content = |h: &FloatHistogram| Value::Histogram(Arc::new(h.clone())).content();
        prop_assert_eq!(content(&a) == content(&b), a.equals(&b) || (a.is_stale() && b.is_stale()));
        let mut other = a.clone();
        if hint {
            other.counter_reset_hint = CounterResetHint::Gauge;
            other.positive_spans.push(Span { offset: 0, length: 0 });
        } else {
            other.count += 1.0;
        }
        prop_assert_eq!(content(&a) == content(&other), a.equals(&other));
    }
}

#[test]
fn a_growing_histogram_takes_about_a_byte_for_a_bucket() {
    let at = |n: u32| {
        let h = FloatHistogram {
            schema: 3,
            count: f64::from(n * 20),
            sum: f64::from(n) * 12.5,
            positive_spans: vec![Span { offset: -5, length: 20 }],
            positive_buckets: (0..20).map(|b| f64::from(n * (b % 3))).collect(),
            ..FloatHistogram::default()
        };
        Record { timestamp_ms: 1_700_000_000_000 + i64::from(n) * 15_000, start_ms: 0, value: Value::Histogram(Arc::new(h)) }
    };
    let records: Vec<Record> = (0..120).map(at).collect();
    let bytes = as_chunk(&records).bytes();
    assert!(bytes < 120 * 36, "{bytes} bytes for 120 histograms of 20 buckets");
}
