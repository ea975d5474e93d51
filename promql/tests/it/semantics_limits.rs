//! Rules 26 to 29 of `design/promql.md` section 2: limits, annotations and the form of answers.

use crate::harness::{check, evaluate};
use model::Labels;
use model::clock::{Clock, ManualClock};
use model::histogram::FloatHistogram;
use promql::{Budget, HistogramSample, MemorySource, QueryParams, RawSeries, SampleValue, Value};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

fn series(count: usize) -> MemorySource {
    let one = |i: usize| {
        let labels = Labels::from_pairs([("__name__", format!("m{i:02}").as_str()), ("i", i.to_string().as_str())]);
        RawSeries::floats(labels, vec![0, 60_000, 120_000], vec![i as f64, 1.0, 0.5])
    };
    MemorySource::new((0..count).map(one).collect())
}

#[test]
fn p26_too_many_samples_a_late_answer_and_a_client_that_left_are_errors() {
    let all = "sort({__name__=~\"m.*\"})";
    let error = |budget: &Budget| evaluate(all, QueryParams::instant(0), &series(20), budget).unwrap_err().to_string();
    assert_eq!(error(&Budget::new(19, 1 << 20)), "query processing would load too many samples into memory in query execution");
    assert!(evaluate(all, QueryParams::instant(0), &series(19), &Budget::new(19, 1 << 20)).is_ok());
    let cancelled = Arc::new(AtomicBool::new(false));
    let clock = Arc::new(ManualClock::new(0));
    let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let budget = Budget::with_deadline(1_000, 1 << 20, shared, Duration::from_secs(1), Arc::clone(&cancelled));
    clock.advance(Duration::from_secs(1));
    assert_eq!(error(&budget), "query timed out in expression evaluation");
    cancelled.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(error(&budget), "query was canceled in expression evaluation");
}

#[test]
fn p26_a_histogram_counts_as_one_sample_for_sixteen_bytes() {
    let histogram = FloatHistogram { count: 4.0, positive_buckets: vec![1.0; 2], ..FloatHistogram::default() };
    // 168 bytes, two buckets of 8, and 8 for the time.
    let samples = (168 + 2 * 8 + 8) / 16;
    let sample = HistogramSample { timestamp_ms: 0, start_ms: 0, histogram: Arc::new(histogram) };
    let labels = Labels::from_pairs([("__name__", "h")]);
    let source = MemorySource::new(vec![RawSeries { labels, histograms: vec![sample], ..RawSeries::default() }]);
    let query = "sort_by_label(h, \"x\")";
    let answer = |samples: u64| evaluate(query, QueryParams::instant(0), &source, &Budget::new(samples, 1 << 20));
    assert!(answer(samples - 1).is_err());
    let Value::Vector { samples, .. } = answer(samples).expect("within the limit").value else { panic!("a vector") };
    assert!(matches!(&samples[0].value, SampleValue::Histogram(h) if h.count == 4.0));
}

#[test]
fn p27_annotations_have_positions_and_the_eleventh_is_only_counted() {
    let query = "rate({__name__=~\"m.*\"}[3m])";
    let output = evaluate(query, QueryParams::instant(120_000), &series(14), &Budget::default()).expect(query);
    assert_eq!(output.warnings, Vec::<String>::new());
    assert_eq!(output.infos.len(), 11);
    assert_eq!(
        output.infos[0],
        "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"m00\" (1:6)"
    );
    assert_eq!(output.infos[10], "4 more info annotations omitted");
    let params = QueryParams { type_and_unit_labels: true, ..QueryParams::instant(120_000) };
    let output = evaluate("rate(m01[3m])", params, &series(2), &Budget::default()).expect("a rate");
    let wanted = "__type__ label is not set to \"counter\" or \"histogram\"";
    assert_eq!(output.infos, [format!("PromQL info: metric might not be a counter, {wanted}, got \"\": \"m01\" (1:6)")]);
}

#[test]
fn p27_equal_annotations_count_once() {
    check(
        "load 1m
           m 1 2 3

         eval instant at 0 quantile(2, m) + quantile(2, m) + quantile(3, m)
           expect warn regex: PromQL warning: quantile value should be between 0 and 1, got 2 \\(1:[0-9]+\\)
           expect warn regex: PromQL warning: quantile value should be between 0 and 1, got 3 \\(1:[0-9]+\\)
           {} Inf
        ",
    );
}

fn three_series() -> MemorySource {
    let labels = |name: &str| Labels::from_pairs([("__name__", name)]);
    let histogram = HistogramSample { timestamp_ms: 60_000, start_ms: 0, histogram: Arc::new(FloatHistogram::default()) };
    let both = RawSeries { histograms: vec![histogram], ..RawSeries::floats(labels("b"), vec![0], vec![1.5]) };
    let others = [("c", 2.0), ("a", 3.0)].map(|(name, value)| RawSeries::floats(labels(name), vec![0], vec![value]));
    MemorySource::new([vec![both], others.to_vec()].concat())
}

#[test]
fn p28_a_series_has_its_floats_and_its_histograms_side_by_side() {
    let output = evaluate("b", QueryParams::range(0, 60_000, 60_000), &three_series(), &Budget::default()).expect("a matrix");
    let Value::Matrix(series) = output.value else { panic!("a matrix") };
    assert_eq!((series[0].points.clone(), series[0].histograms[0].0), (vec![(0, 1.5)], 60_000));
    assert_eq!((series.len(), series[0].histograms.len()), (1, 1));
}

#[test]
fn p29_vectors_keep_the_order_of_sorting_functions_and_matrices_are_sorted_by_labels() {
    let names = |query: &str, params: QueryParams| -> Vec<String> {
        match evaluate(query, params, &three_series(), &Budget::default()).expect(query).value {
            Value::Vector { samples, .. } => samples.iter().map(|s| s.labels.metric_name().to_owned()).collect(),
            Value::Matrix(series) => series.iter().map(|s| s.labels.metric_name().to_owned()).collect(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(names("c or on (__name__) a", QueryParams::range(0, 60_000, 60_000)), ["a", "c"]);
    assert_eq!(names("sort_desc({__name__=~\".\"})", QueryParams::instant(0)), ["a", "c", "b"]);
    assert_eq!(names("sort_desc({__name__=~\".\"})", QueryParams::range(0, 60_000, 60_000)), ["a", "b", "c"]);
}
