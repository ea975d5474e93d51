//! Histograms, starts, exemplars and metadata: the same verdicts as for floats, stored exactly.

use super::*;
use crate::metadata::{FamilyMetadata, MetricKind};
use crate::record::{Exemplar, Record, Value};
use crate::verdict::Refusal;
use model::histogram::{FloatHistogram, Span};
use model::sample::{STALE_NAN_BITS, is_stale, stale_nan};
use proptest::collection::vec;
use proptest::prelude::*;

pub(in crate::shard) fn histogram(n: u32) -> Value {
    let h = FloatHistogram {
        schema: 2,
        count: f64::from(n * 2),
        sum: f64::from(n) * 1.5,
        positive_spans: vec![Span { offset: 1, length: 1 + n % 2 }],
        positive_buckets: vec![f64::from(n); 1 + n as usize % 2],
        ..FloatHistogram::default()
    };
    Value::Histogram(Arc::new(h))
}

fn region(labels: &Labels) -> Vec<u8> {
    let mut region = Vec::new();
    labels.iter().for_each(|(name, value)| push_label(&mut region, name.as_bytes(), value.as_bytes()));
    region
}

fn begin(builder: &mut RowsBuilder, ordinal: usize, labels: &Labels) {
    builder.series(ordinal as u32, hash::fp128(labels, KEY), hash::placement_hash(labels, KEY), &region(labels));
}

/// Rows of (series, timestamp, form), where the form says what the row holds.
pub(in crate::shard) fn record_rows(rows: &[(u32, i64, u8)]) -> Bytes {
    let mut builder = RowsBuilder::default();
    for (ordinal, (n, timestamp_ms, form)) in rows.iter().enumerate() {
        begin(&mut builder, ordinal, &series(*n));
        let (timestamp_ms, form) = (*timestamp_ms, u32::from(*form));
        let record = |start_ms, value| Record { timestamp_ms, start_ms, value };
        match form {
            0..4 => builder.record(&record(0, histogram(form))),
            4..6 => builder.record(&record(timestamp_ms - 60_000, histogram(form))),
            6 => builder.sample(Sample { timestamp_ms, value: stale_nan() }),
            7 => builder.record(&record(0, Value::Histogram(Arc::new(FloatHistogram::stale())))),
            8 => builder.record(&record(T0, Value::Float(f64::from(*n)))),
            9 => builder.record(&record(timestamp_ms - 1, Value::Float(f64::from(form)))),
            10 => {
                builder.sample(Sample { timestamp_ms, value: 1.0 });
                let labels = region(&Labels::from_pairs([("trace_id", format!("{timestamp_ms:x}").as_str())]));
                builder.exemplar(&Exemplar { timestamp_ms, value: f64::from(*n), labels: &labels });
            }
            _ => {
                builder.sample(Sample { timestamp_ms, value: 1.0 });
                let (family, help) = (format!("family_{n}"), format!("help of {timestamp_ms}"));
                builder.metadata(&FamilyMetadata { family: &family, kind: MetricKind::Counter, help: &help, unit: "" });
            }
        }
    }
    builder.finish()
}

fn one(n: u32, timestamp_ms: i64, value: Value) -> Bytes {
    let mut builder = RowsBuilder::default();
    begin(&mut builder, 0, &series(n));
    builder.record(&Record { timestamp_ms, start_ms: 0, value });
    builder.finish()
}

/// What the shard holds, by (series, timestamp): start and value.
fn held(shard: &Arc<Shard>) -> BTreeMap<(String, i64), (i64, String)> {
    let mut held = BTreeMap::new();
    let visit = |series: crate::view::SelectedSeries<'_>| {
        let labels = series.labels.to_string();
        for (i, (t, value)) in series.timestamps.iter().zip(series.values).enumerate() {
            let start = series.start_timestamps.get(i).copied().unwrap_or(0);
            assert!(held.insert((labels.clone(), *t), (start, format!("{:x}", value.to_bits()))).is_none());
        }
        for record in series.histograms {
            assert!(held.insert((labels.clone(), record.timestamp_ms), (record.start_ms, format!("{:?}", record.value))).is_none());
        }
        ControlFlow::Continue(())
    };
    let view = shard.read_view();
    view.select(&[], TimeRange::ALL, visit).unwrap();
    assert_newest(&view, &[], TimeRange::ALL);
    held
}

#[test]
fn c6_histograms_are_judged_as_floats_are() {
    let mut replica = Replica::new();
    let mut batch = 0;
    let mut write = |replica: &mut Replica, t, value| {
        batch += 1;
        let verdict = replica.write_rows(T0, batch, &one(1, t, value));
        (verdict.accepted, verdict.unchanged, verdict.histograms, verdict.first_error.map(|error| error.kind))
    };
    let refused = |kind| (0, 0, 0, Some(kind));
    for (t, value, expected) in [
        (T0, histogram(1), (1, 0, 1, None)),
        (T0, histogram(1), (0, 1, 1, None)),
        (T0, histogram(2), refused(Refusal::Duplicate)),
        (T0, Value::Float(1.0), refused(Refusal::Duplicate)),
        (T0 - 1000, histogram(2), (1, 0, 1, None)),
        (T0 - 1000, histogram(2), (0, 1, 1, None)),
        (T0 - 1000, histogram(3), refused(Refusal::Duplicate)),
        (T0 - 1000, Value::Float(0.0), refused(Refusal::Duplicate)),
        (T0 - 500, Value::Float(7.0), (1, 0, 0, None)),
        (T0 - 500, histogram(7), refused(Refusal::Duplicate)),
        (T0 - 2 * HOUR, histogram(3), refused(Refusal::TooOld)),
        (T0 + HOUR, histogram(3), refused(Refusal::TooFarInFuture)),
        (T0 + 1, Value::Float(8.0), (1, 0, 0, None)),
        (T0 + 2, histogram(9), (1, 0, 1, None)),
    ] {
        assert_eq!(write(&mut replica, t, value.clone()), expected, "{t} {value:?}");
    }
    assert_eq!(held(&replica.shard).len(), 5);
    replica.shard.checkpoint().unwrap();
    let before = held(&replica.shard);
    assert_eq!(held(&replica.restart().shard), before);
}

#[test]
fn a_stale_marker_takes_the_form_of_the_sample_before_it_and_may_come_again() {
    let mut replica = Replica::new();
    replica.write_rows(T0, 1, &one(1, T0, histogram(1)));
    let mark = |replica: &mut Replica, batch, t| replica.write(T0, batch, &[(series(1), t, stale_nan())]);
    assert_eq!((mark(&mut replica, 2, T0 + 1).accepted, mark(&mut replica, 3, T0 + 1).unchanged), (1, 1));
    assert_eq!(mark(&mut replica, 4, T0 + 5).histograms, 1, "after a stale histogram too");
    // Floats follow; the marker that is sent again still says the same.
    assert_eq!(replica.write(T0, 5, &[(series(1), T0 + 9, 2.0)]).accepted, 1);
    assert_eq!(mark(&mut replica, 6, T0 + 1).unchanged, 1);
    assert_eq!(mark(&mut replica, 7, T0 + 10).histograms, 0, "after a float it stays one");
    let mut stale = Vec::new();
    let visit = |series: crate::view::SelectedSeries<'_>| {
        stale.extend(series.histograms.iter().filter_map(|r| match &r.value {
            Value::Histogram(h) => h.is_stale().then_some(r.timestamp_ms - T0),
            Value::Float(_) => None,
        }));
        assert!(is_stale(*series.values.last().unwrap()));
        ControlFlow::Continue(())
    };
    replica.shard.read_view().select(&[], TimeRange::ALL, visit).unwrap();
    assert_eq!(stale, [1, 5]);
}

#[test]
fn starts_are_kept_and_say_nothing_about_identity() {
    let mut replica = Replica::new();
    let rows = |start_ms| {
        let mut builder = RowsBuilder::default();
        begin(&mut builder, 0, &series(1));
        for n in 0..300 {
            builder.record(&Record { timestamp_ms: T0 + n, start_ms, value: Value::Float(n as f64) });
        }
        builder.finish()
    };
    assert_eq!(replica.write_rows(T0, 1, &rows(T0 - 5)).accepted, 300);
    let again = replica.write_rows(T0, 2, &rows(T0 - 6));
    assert_eq!((again.accepted, again.unchanged), (0, 300));
    replica.write(T0, 3, &[(series(1), T0 + 300, 1.0)]);
    replica.shard.checkpoint().unwrap();
    let replica = replica.restart();
    let mut seen = 0;
    let visit = |series: crate::view::SelectedSeries<'_>| {
        seen = series.timestamps.len();
        assert!(series.start_timestamps[..300].iter().all(|start| *start == T0 - 5));
        assert_eq!(series.start_timestamps[300], 0);
        ControlFlow::Continue(())
    };
    replica.shard.read_view().select(&[], TimeRange::ALL, visit).unwrap();
    assert_eq!(seen, 301);
}

#[test]
fn exemplars_and_metadata_survive_a_restart_and_are_bounded() {
    let mut replica = Replica::new();
    let at = |n: i64| record_rows(&[(1, T0 + n, 10), (2, T0 + n, 11)]);
    let first = replica.write_rows(T0, 1, &at(1));
    assert_eq!((first.accepted, first.exemplars, first.exemplars_dropped), (2, 1, 0));
    let again = replica.write_rows(T0, 2, &at(1));
    assert_eq!((again.unchanged, again.exemplars, again.exemplars_dropped), (2, 1, 0));
    assert_eq!(replica.write_rows(T0, 3, &at(3)).exemplars, 1);
    assert_eq!(replica.write_rows(T0, 4, &at(2)).exemplars_dropped, 1, "older than the newest");
    let known = replica.entry_of(T0, 5, &record_rows(&[(2, T0 + 2, 11)]));
    let new = replica.entry_of(T0, 6, &record_rows(&[(2, T0 + 9, 11)]));
    assert!(known.len() + 10 < new.len(), "what is known already is not said again: {} and {} bytes", known.len(), new.len());
    let before = others_of(&replica.shard);
    assert!(before.iter().any(|line| line.contains("family_2") && line.contains(&format!("help of {}", T0 + 2))), "{before:?}");
    replica.shard.checkpoint().unwrap();
    let mut replica = replica.restart();
    assert_eq!(others_of(&replica.shard), before);
    replica.apply(entry::set_limits(&Limits { version: 1, exemplars_max: 1, ..Limits::default() }));
    let mut kept = Vec::new();
    let view = replica.shard.read_view();
    view.exemplars(&[Vec::new()], TimeRange::ALL, |_, found| kept.extend(found.iter().map(|e| e.timestamp_ms - T0))).unwrap();
    assert_eq!(kept, [3]);
    let none = [vec![Matcher::new("instance", model::MatchOp::Equal, "host-2").unwrap()]];
    view.exemplars(&none, TimeRange::ALL, |labels, _| panic!("{labels}")).unwrap();
}

/// What rule 3 of C6 says, on a map.
#[derive(Default)]
struct Model {
    held: BTreeMap<(u32, i64), (i64, String)>,
    newest: BTreeMap<u32, i64>,
}

impl Model {
    fn is_histogram(&self, n: u32, t: i64) -> bool {
        self.held[&(n, t)].1.starts_with("Histogram")
    }

    /// Tells (accepted, unchanged).
    fn write(&mut self, n: u32, t: i64, start: i64, value: Value) -> (u32, u32) {
        let newest = self.newest.get(&n).copied();
        let is_marker = match &value {
            Value::Float(value) => value.to_bits() == STALE_NAN_BITS,
            Value::Histogram(h) => h.is_stale(),
        };
        let is_histogram = matches!(value, Value::Histogram(_)) || (is_marker && newest.is_some_and(|newest| self.is_histogram(n, newest)));
        let stored = match (is_marker, is_histogram) {
            (true, true) => (0, format!("{:?}", Value::Histogram(Arc::new(FloatHistogram::stale())))),
            (true, false) => (start, format!("{STALE_NAN_BITS:x}")),
            (false, _) => match value {
                Value::Float(value) => (start, format!("{:x}", value.to_bits())),
                histogram @ Value::Histogram(_) => (start, format!("{histogram:?}")),
            },
        };
        if let Some((_, known)) = self.held.get(&(n, t)) {
            let known_is_marker = known.contains("NaN") || *known == format!("{STALE_NAN_BITS:x}");
            let same = *known == stored.1 || (is_marker && known_is_marker);
            return (0, u32::from(same));
        }
        self.held.insert((n, t), stored);
        self.newest.insert(n, newest.map_or(t, |newest| newest.max(t)));
        (1, 0)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn c6_series_of_floats_and_histograms_follow_the_model_out_of_order_and_on_retries(
        writes in vec((0u32..3, 0i64..40, 0u8..10, any::<bool>()), 1..120),
        checkpoint_every in 5usize..60,
    ) {
        let mut replica = Replica::new();
        let mut model = Model::default();
        for (batch, (n, ago, form, retry)) in writes.iter().enumerate() {
            let t = T0 - ago * 1000;
            let form32 = u32::from(*form);
            let (start, value) = match form {
                0..4 => (0, histogram(form32)),
                4..6 => (t - 60_000, histogram(form32)),
                6 => (0, Value::Float(stale_nan())),
                7 => (0, Value::Histogram(Arc::new(FloatHistogram::stale()))),
                8 => (T0, Value::Float(f64::from(*n))),
                _ => (t - 1, Value::Float(f64::from(form32))),
            };
            let rows = record_rows(&[(*n, t, *form)]);
            for again in 0..=u32::from(*retry) {
                let verdict = replica.write_rows(T0, (batch as u128) << 1 | u128::from(again), &rows);
                prop_assert_eq!((verdict.accepted, verdict.unchanged), model.write(*n, t, start, value.clone()), "{:?} again {}", (n, ago, form), again);
            }
            if batch % checkpoint_every == 0 {
                replica.shard.checkpoint().unwrap();
            }
        }
        let expected: BTreeMap<_, _> = model.held.into_iter().map(|((n, t), held)| ((series(n).to_string(), t), held)).collect();
        prop_assert_eq!(&held(&replica.shard), &expected);
        let full = replica.full_replay();
        prop_assert_eq!(&held(&full.shard), &expected);
        prop_assert_eq!(&held(&replica.restart().shard), &expected);
    }
}
