use super::*;
use crate::query::result::Piece;
use axum::body::to_bytes;
use axum::http::header::CONTENT_LENGTH;
use model::Labels;
use promql::Stats;
use proptest::prelude::*;
use std::sync::Arc;

#[test]
fn an_added_warning_is_shown_and_the_omitted_ones_are_counted() {
    let mut warnings: Vec<String> = (0..9).map(|i| format!("w{i}")).collect();
    warn(&mut warnings, "a".to_owned());
    assert_eq!((warnings.len(), &*warnings[0], &*warnings[9]), (10, "a", "w8"));
    warn(&mut warnings, "b".to_owned());
    assert_eq!((warnings.len(), &*warnings[0], &*warnings[9], &*warnings[10]), (11, "b", "w7", "1 more warning annotations omitted"));
    warn(&mut warnings, "c".to_owned());
    assert_eq!((warnings.len(), &*warnings[10]), (11, "2 more warning annotations omitted"));
}

fn result(value: ResultValue) -> QueryResult {
    QueryResult { value, warnings: vec!["w".to_owned()], infos: Vec::new(), stats: Stats::default() }
}

fn matrix(series: usize, points: i64) -> Vec<Series> {
    let one = |i: usize| {
        let points = (0..points).map(|k| (k * 15_000 + 7, i as f64 + k as f64 / 8.0)).collect();
        Series::floats(Labels::from_pairs([("i", &*format!("{i:05}"))]), points)
    };
    (0..series).map(one).collect()
}

fn written_at_once(result: QueryResult, limit: Option<usize>) -> String {
    String::from_utf8(Writer::new(result, limit, Vec::new()).next_chunk(usize::MAX)).unwrap()
}

#[tokio::test]
async fn a_long_answer_is_streamed_in_bounded_chunks_and_is_the_same_as_at_once() {
    let whole = || result(ResultValue::Whole(Value::Matrix(matrix(400, 200))));
    let expected = written_at_once(whole(), None);
    let mut writer = Writer::new(whole(), None, Vec::new());
    let mut chunks = Vec::new();
    while !writer.is_done {
        chunks.push(writer.next_chunk(CHUNK_BYTES));
    }
    assert!(chunks.len() > 3 && chunks.iter().all(|chunk| chunk.len() < CHUNK_BYTES + 16 * 1024), "{}", chunks.len());
    assert_eq!(String::from_utf8(chunks.concat()).unwrap(), expected);
    let response = respond(whole(), None, Vec::new(), &Lane::for_queries()).await.unwrap();
    assert!(!response.headers().contains_key(CONTENT_LENGTH));
    assert_eq!(to_bytes(response.into_body(), usize::MAX).await.unwrap(), expected.as_bytes());
    let vector = matrix(3, 1).into_iter().map(|s| promql::value::VectorSample { labels: s.labels, value: SampleValue::Float(1.5) });
    let vector = result(ResultValue::Whole(Value::Vector { timestamp_ms: 1_500, samples: vector.collect() }));
    let response = respond(vector, Some(2), vec![("stats", b"{}".to_vec())], &Lane::for_queries()).await.unwrap();
    let expected = concat!(
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"i":"00000"},"value":[1.500,"1.5"]},"#,
        r#"{"metric":{"i":"00001"},"value":[1.500,"1.5"]}],"stats":{}},"warnings":["results truncated due to limit","w"]}"#
    );
    assert_eq!(to_bytes(response.into_body(), usize::MAX).await.unwrap(), expected.as_bytes());
}

proptest! {
    /// However a matrix is cut into pieces, and whatever more the pieces hold, the body is that of the whole.
    #[test]
    fn pieces_are_written_as_the_whole_is(
        cuts in prop::collection::btree_set(0i64..30, 0..4),
        series in 0usize..5,
        limit in prop::option::of(0usize..6),
    ) {
        let whole = matrix(series, 30);
        let mut pieces = Vec::new();
        let mut first_ms = i64::MIN;
        for end in cuts.into_iter().map(|k| k * 15_000 + 7).chain([i64::MAX]) {
            pieces.push(Piece { series: Arc::new(whole.clone()), first_ms, last_ms: end });
            first_ms = end.saturating_add(1);
        }
        let expected = written_at_once(result(ResultValue::Whole(Value::Matrix(whole))), limit);
        prop_assert_eq!(written_at_once(result(ResultValue::Pieces(pieces)), limit), expected);
    }
}
