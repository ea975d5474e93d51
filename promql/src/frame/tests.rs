use super::*;
use crate::parse::{Options, parse_with};
use crate::plan::fragment::Distributed;
use crate::plan::{Plan, QueryParams};
use crate::source::{HistogramSample, MemorySource, RawSeries};
use model::Labels;
use model::histogram::{FloatHistogram, Span};
use proptest::prelude::*;

const QUERIES: [&str; 6] = ["m", "sum by (i) (m)", "stddev(m)", "min(m)", "count_values(\"v\", m)", "m[10m]"];

fn distributed(query: &str) -> Distributed {
    let expr = parse_with(query, Options::default()).expect(query);
    let times = if query.contains('[') { QueryParams::instant(600_000) } else { QueryParams::range(0, 600_000, 5_000) };
    Distributed::new(Plan::new(&expr, times).expect(query))
}

fn source() -> MemorySource {
    let one = |i: usize| {
        let timestamps: Vec<i64> = (0..20).filter(|t| (*t as usize + i) % 7 != 3).map(|t| t * 30_000).collect();
        let values =
            timestamps.iter().map(|t| if i == 3 { 1e300 * (1.0 - *t as f64) } else { *t as f64 * 1e-9 + 1e17 * i as f64 }).collect();
        let labels = Labels::from_pairs([("__name__", "m"), ("i", i.to_string().as_str())]);
        RawSeries {
            start_timestamps: if i == 1 { timestamps.iter().map(|t| t - 5).collect() } else { Vec::new() },
            ..RawSeries::floats(labels, timestamps, values)
        }
    };
    let histogram = FloatHistogram {
        count: 3.0,
        sum: 2.5,
        positive_spans: vec![Span { offset: -3, length: 2 }],
        positive_buckets: vec![1.0, 2.0],
        ..FloatHistogram::default()
    };
    let sample = |t: i64| HistogramSample { timestamp_ms: t, start_ms: 1, histogram: Arc::new(histogram.clone()) };
    let mut series: Vec<RawSeries> = (0..5).map(one).collect();
    let labels = Labels::from_pairs([("__name__", "m"), ("i", "h")]);
    series.push(RawSeries { labels, histograms: vec![sample(60_000), sample(90_000)], ..RawSeries::default() });
    MemorySource::new(series)
}

fn frames(query: &str) -> (Distributed, Vec<Vec<u8>>) {
    let distributed = distributed(query);
    let mut frames = Vec::new();
    let send = &mut |frame: Frame| {
        frames.push(frame.encode());
        Ok(())
    };
    distributed.fragment().execute(&source(), &Budget::default(), send).expect("frames are taken");
    (distributed, frames)
}

#[test]
fn frames_come_back_byte_for_byte() {
    for query in QUERIES {
        let (distributed, frames) = frames(query);
        assert!(frames.len() > 1, "{query}");
        for frame in frames {
            let read = Frame::decode(&frame, distributed.fragment(), &Budget::default()).expect(query);
            assert_eq!(read.encode(), frame, "{query}");
        }
    }
}

#[test]
fn frames_of_another_version_and_cut_frames_are_refused() {
    for query in QUERIES {
        let (distributed, frames) = frames(query);
        for frame in frames {
            let decode = |bytes: &[u8]| Frame::decode(bytes, distributed.fragment(), &Budget::default());
            for cut in 0..frame.len() {
                assert!(decode(&frame[..cut]).is_err(), "{query} cut at {cut}");
            }
            let mut other = frame.clone();
            other[0] = VERSION + 1;
            assert!(decode(&other).is_err());
            other[0] = VERSION;
            other[1] = 99;
            assert!(decode(&other).is_err());
        }
    }
}

#[test]
fn a_frame_that_would_take_more_than_the_budget_is_refused() {
    let (distributed, frames) = frames("m");
    let outcome = Frame::decode(&frames[0], distributed.fragment(), &Budget::new(1 << 20, 100));
    assert_eq!(outcome.unwrap_err(), DecodeError::Budget(EvalError::TooManyBytes { limit_bytes: 100 }));
}

#[test]
fn a_sum_takes_eighteen_bytes_a_group_and_step_at_most() {
    let (groups, steps) = (50_usize, 121_usize);
    let one = |i: usize| {
        let timestamps: Vec<i64> = (0..=20).map(|t| t * 30_000).collect();
        let values = timestamps.iter().map(|t| 0.1 * (*t as f64 + i as f64)).collect();
        RawSeries::floats(
            Labels::from_pairs([("__name__", "m"), ("i", (i % groups).to_string().as_str()), ("k", i.to_string().as_str())]),
            timestamps,
            values,
        )
    };
    let source = MemorySource::new((0..groups * 3).map(one).collect());
    let mut bytes = 0;
    let send = &mut |frame: Frame| {
        bytes += frame.encode().len();
        Ok(())
    };
    distributed("sum by (i) (m)").fragment().execute(&source, &Budget::default(), send).expect("frames are taken");
    let labels = groups * 8 + 100;
    assert!(bytes > groups * steps * 8 && bytes <= groups * steps * 18 + labels, "{bytes} bytes");
}

proptest! {
    #[test]
    fn no_bytes_break_the_reader(query in 0..QUERIES.len(), which in any::<prop::sample::Index>(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let (distributed, frames) = frames(QUERIES[query]);
        let mut bytes = frames[which.index(frames.len())].clone();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let budget = Budget::new(1 << 20, 1 << 26);
        if let Ok(frame) = Frame::decode(&bytes, distributed.fragment(), &budget) {
            let mut gather = crate::Gather::new(&distributed, &budget);
            let end = Frame(Piece::Done(Box::default()));
            let _ = gather.add(if frame.is_last() { vec![frame] } else { vec![frame, end] });
            let _ = gather.finish(&distributed, QUERIES[query]);
        }
    }
}
