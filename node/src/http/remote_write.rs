//! Remote write: decode, admit and split off the reactor, route, and tell the sender what `core.md` C7 says.

use super::error::WriteError;
use super::extract::{ReadLimits, read_body};
use crate::ingest::admit::AdmitLimits;
use crate::ingest::check_headers;
use crate::ingest::decode::{BodyLimits, claimed_bytes};
use crate::ingest::known::KnownSeries;
use crate::ingest::route::{self, PartOutcome};
use crate::ingest::split::{Part, SplitRequest, SplitRules};
use crate::ingest::verdict::Rejections;
use crate::meta::view::Workspace;
use crate::metrics;
use crate::node::{Node, WRITE_ROOM_UNIT};
use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use model::limits::{REMOTE_WRITE_COMPRESSED_BYTES_MAX, REMOTE_WRITE_DECODED_BYTES_MAX, REQUEST_BODY_TIMEOUT};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Bodies that decode to at most this are split on the reactor's thread: it takes about a millisecond, two if all series are new.
const INLINE_BYTES: usize = 1 << 20;

/// Stores the samples of one request.
///
/// # Errors
/// See [`WriteError`]: what it says decides whether the sender drops or repeats the request.
pub async fn handle(node: &Node, workspace: &Arc<Workspace>, request: Request<Body>) -> Result<Response, WriteError> {
    check_headers(request.headers())?;
    let (head, body) = request.into_parts();
    let limits = ReadLimits { bytes: REMOTE_WRITE_COMPRESSED_BYTES_MAX, time: REQUEST_BODY_TIMEOUT };
    let mut room = room_for(node, announced_bytes(&head.headers))?;
    let body = read_body(&head.headers, body, limits).await?;
    // Decoded, and once more as rows on their way to the shards.
    room.merge(room_for(node, 2 * claimed_bytes(&body).min(REMOTE_WRITE_DECODED_BYTES_MAX))?);
    let now_ms = node.time.now().unwrap_or_else(|_| node.clock.now_ms());
    let admit = AdmitLimits::new(now_ms.saturating_sub(workspace.record.limits.retention_ms));
    let split = split(node, workspace, body.clone(), admit, Some(&node.known)).await?;
    let id = &workspace.record.id;
    let mut outcomes = route::write(node, id, &split.parts).await;
    if outcomes.contains(&PartOutcome::NeedsLabels) {
        let whole = self::split(node, workspace, body, admit, None).await?;
        write_with_labels(node, id, &whole.parts, &mut outcomes).await;
    }
    node.known.learn(&split.learned);
    for (reason, samples) in &split.discarded {
        metrics::count_discarded(id, reason, u64::from(*samples));
    }
    conclude(id, split.rejected, &outcomes)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// Takes room for `bytes` until it is dropped.
fn room_for(node: &Node, bytes: usize) -> Result<OwnedSemaphorePermit, WriteError> {
    let units = u32::try_from(bytes.div_ceil(WRITE_ROOM_UNIT)).unwrap_or(u32::MAX);
    Arc::clone(&node.write_room)
        .try_acquire_many_owned(units)
        .map_err(|_| WriteError::Unavailable { text: "too many inflight push requests".to_owned(), retry_after: RETRY_AFTER })
}

/// Bytes that the body will have, as far as its head tells.
fn announced_bytes(headers: &HeaderMap) -> usize {
    let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    announced.unwrap_or(REMOTE_WRITE_COMPRESSED_BYTES_MAX).min(REMOTE_WRITE_COMPRESSED_BYTES_MAX)
}

/// Writes once more, with labels, the parts whose shards did not know a series. Both splits are of the same body by the same rules, so
/// parts have the same places.
async fn write_with_labels(node: &Node, workspace: &str, whole: &[Part], outcomes: &mut [PartOutcome]) {
    let places: Vec<usize> = (0..outcomes.len()).filter(|at| outcomes[*at] == PartOutcome::NeedsLabels).collect();
    let parts: Vec<Part> = places.iter().filter_map(|at| whole.get(*at).cloned()).collect();
    let answers = route::write(node, workspace, &parts).await;
    for (at, outcome) in places.into_iter().zip(answers) {
        outcomes[at] = outcome;
    }
}

async fn split(
    node: &Node,
    workspace: &Arc<Workspace>,
    body: Bytes,
    admit: AdmitLimits,
    known: Option<&Arc<KnownSeries>>,
) -> Result<SplitRequest, WriteError> {
    let unavailable = |text: String| WriteError::Unavailable { text, retry_after: RETRY_AFTER };
    let inline = claimed_bytes(&body) <= INLINE_BYTES;
    let (workspace, splitters, known) = (Arc::clone(workspace), Arc::clone(&node.splitters), known.cloned());
    let work = move || {
        let generations = workspace.generations.as_ref().map_err(|e| unavailable(e.to_string()))?;
        let rules = SplitRules { admit: &admit, generations, hash_key: workspace.record.placement_key, known: known.as_deref() };
        Ok(splitters.with(|splitter| splitter.split(&body, &BodyLimits::default(), &rules))?)
    };
    if inline { work() } else { node.writes.run(work).await.map_err(|e| unavailable(e.to_string()))? }
}

/// 204, 400 or 503 from what became of all parts.
fn conclude(workspace: &str, mut rejected: Rejections, outcomes: &[PartOutcome]) -> Result<(), WriteError> {
    let mut unfinished = None;
    for outcome in outcomes {
        match outcome {
            PartOutcome::Final(verdict) => {
                metrics::count_ingested(workspace, u64::from(verdict.accepted));
                for (kind, samples) in tsdb::verdict::Refusal::ALL.iter().zip(verdict.rejected) {
                    if samples > 0 {
                        metrics::count_discarded(workspace, kind.reason(), u64::from(samples));
                    }
                }
                if let Some(error) = &verdict.first_error {
                    rejected.push(error.ordinal, verdict.rejected_total(), || error.message());
                }
            }
            PartOutcome::Unfinished { reason } => unfinished = Some(reason.as_str()),
            PartOutcome::NeedsLabels => unfinished = Some("a shard did not take the labels of a series"),
        }
    }
    if let Some(reason) = unfinished {
        return Err(WriteError::Unavailable { text: reason.to_owned(), retry_after: RETRY_AFTER });
    }
    if rejected.is_empty() { Ok(()) } else { Err(WriteError::Rejected { text: rejected.body() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tsdb::verdict::{FirstError, PartVerdict, Refusal};

    fn rejected_by_shard(ordinal: u32) -> PartOutcome {
        let error = FirstError { ordinal, kind: Refusal::Duplicate, labels: format!("{{n=\"{ordinal}\"}}"), timestamp_ms: 1 };
        let mut verdict = PartVerdict { first_error: Some(error), ..PartVerdict::default() };
        verdict.rejected[3] = 1;
        PartOutcome::Final(verdict)
    }

    #[test]
    fn c7_any_part_without_a_final_outcome_makes_the_request_503() {
        let unfinished = PartOutcome::Unfinished { reason: "no leader".into() };
        let result = conclude("w", Rejections::default(), &[rejected_by_shard(1), unfinished]);
        assert!(matches!(result, Err(WriteError::Unavailable { .. })));
    }

    #[test]
    fn c7_the_first_error_in_request_order_decides_the_400() {
        let mut rejected = Rejections::default();
        rejected.push(5, 1, || "edge".into());
        let Err(WriteError::Rejected { text }) = conclude("w", rejected, &[rejected_by_shard(9), rejected_by_shard(2)]) else { panic!() };
        assert!(text.starts_with("duplicate sample for timestamp"), "{text}");
        assert!(text.contains("n=\"2\""), "{text}");
        let accepted = PartOutcome::Final(PartVerdict { accepted: 3, ..PartVerdict::default() });
        assert_eq!(conclude("w", Rejections::default(), &[accepted]), Ok(()));
    }
}
