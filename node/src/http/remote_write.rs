//! Remote write: decode, admit and split off the reactor, route, and tell the sender what `core.md` C7 says.

use super::error::WriteError;
use super::extract::{ReadLimits, read_body};
use crate::ingest::admit::AdmitLimits;
use crate::ingest::check_headers;
use crate::ingest::decode::{BodyLimits, Version, claimed_bytes};
use crate::ingest::known::KnownSeries;
use crate::ingest::route::{self, PartOutcome};
use crate::ingest::split::{Part, SplitRequest, SplitRules};
use crate::ingest::verdict::Rejections;
use crate::meta::view::Workspace;
use crate::metrics;
use crate::node::{Node, WRITE_ROOM_UNIT};
use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use model::ShardId;
use model::limits::{REMOTE_WRITE_COMPRESSED_BYTES_MAX, REMOTE_WRITE_DECODED_BYTES_MAX, REQUEST_BODY_TIMEOUT};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tsdb::verdict::PartVerdict;

const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a newer shard map is waited for before the shards are asked again, at first.
const MAP_PATIENCE: Duration = Duration::from_millis(100);
const MAP_PATIENCE_MAX: Duration = Duration::from_secs(2);
/// Bodies that decode to at most this are split on the reactor's thread: it takes about a millisecond, two if all series are new.
const INLINE_BYTES: usize = 1 << 20;

/// Floats, histograms and exemplars that version 2 tells its sender are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Written {
    samples: u64,
    histograms: u64,
    exemplars: u64,
}

impl Written {
    fn add(&mut self, verdict: &PartVerdict) {
        let stored = u64::from(verdict.accepted) + u64::from(verdict.unchanged);
        self.samples += stored.saturating_sub(u64::from(verdict.histograms));
        self.histograms += u64::from(verdict.histograms);
        self.exemplars += u64::from(verdict.exemplars);
    }

    fn tell(self, headers: &mut HeaderMap) {
        for (name, count) in [
            ("x-prometheus-remote-write-samples-written", self.samples),
            ("x-prometheus-remote-write-histograms-written", self.histograms),
            ("x-prometheus-remote-write-exemplars-written", self.exemplars),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(count));
        }
    }
}

/// The body of a request, compressed as it came.
#[derive(Clone)]
struct Sent {
    version: Version,
    body: Bytes,
}

/// Stores what one request holds. Requests of version 2 are told how much of it is stored, whatever the status.
pub async fn handle(node: &Node, workspace: &Arc<Workspace>, request: Request<Body>) -> Response {
    let version = match check_headers(request.headers()) {
        Ok(version) => version,
        Err(error) => return WriteError::from(error).into_response(),
    };
    let (mut response, written) = match store(node, workspace, version, request).await {
        Ok((written, Ok(()))) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            (response, written)
        }
        Ok((written, Err(error))) => (error.into_response(), written),
        Err(error) => (error.into_response(), Written::default()),
    };
    if version == Version::V2 {
        written.tell(response.headers_mut());
    }
    response
}

/// What is stored, and what the sender is told; see [`WriteError`]: that decides whether it drops or repeats the request.
async fn store(
    node: &Node,
    workspace: &Arc<Workspace>,
    version: Version,
    request: Request<Body>,
) -> Result<(Written, Result<(), WriteError>), WriteError> {
    let (head, body) = request.into_parts();
    let limits = ReadLimits { bytes: REMOTE_WRITE_COMPRESSED_BYTES_MAX, time: REQUEST_BODY_TIMEOUT };
    let mut room = room_for(node, announced_bytes(&head.headers))?;
    let body = read_body(&head.headers, body, limits).await?;
    // Decoded, and once more as rows on their way to the shards.
    room.merge(room_for(node, 2 * claimed_bytes(&body).min(REMOTE_WRITE_DECODED_BYTES_MAX))?);
    // What a node alone thinks of the time expires nothing (`core.md` C5): then the shard judges.
    let retention_ms = workspace.record.limits.retention_ms;
    let admit = AdmitLimits::new(node.time.estimate().map_or(i64::MIN, |now_ms| now_ms.saturating_sub(retention_ms)));
    let body = Sent { version, body };
    let id = &workspace.record.id;
    let deadline = Instant::now() + route::BUDGET;
    let (split, outcomes) = write_by_newest_map(node, workspace, &body, admit, deadline).await?;
    node.known.learn(&split.learned);
    for (reason, samples) in &split.discarded {
        metrics::count_discarded(id, reason, u64::from(*samples));
    }
    Ok(conclude(id, split.rejected, &outcomes))
}

/// Splits the request by the newest shard map and writes its parts; again as long as a shard has a newer map. What was stored already is
/// met again unchanged, so that the last round's verdicts tell of the whole request, and of each sample once (`core.md` C8).
async fn write_by_newest_map(
    node: &Node,
    workspace: &Arc<Workspace>,
    body: &Sent,
    admit: AdmitLimits,
    deadline: Instant,
) -> Result<(SplitRequest, Vec<PartOutcome>), WriteError> {
    let mut workspace = Arc::clone(workspace);
    let mut patience = MAP_PATIENCE;
    loop {
        let split = split(node, &workspace, body.clone(), admit, Some(&node.known)).await?;
        let outcomes = write_parts(node, &workspace, body, admit, &split, deadline).await?;
        if !outcomes.iter().any(|outcome| matches!(outcome, PartOutcome::StaleMap(_))) || Instant::now() + patience >= deadline {
            return Ok((split, outcomes));
        }
        metrics::count_ingested(&workspace.record.id, outcomes.iter().map(PartOutcome::accepted).sum());
        // While a generation is pending there is none to be had: then the shards are asked again.
        workspace = node.meta.newer_map(&workspace.record, Instant::now() + patience).await.unwrap_or(workspace);
        patience = (patience * 2).min(MAP_PATIENCE_MAX);
    }
}

/// Writes the parts of one split, those with unknown series once more with their labels.
async fn write_parts(
    node: &Node,
    workspace: &Arc<Workspace>,
    body: &Sent,
    admit: AdmitLimits,
    split: &SplitRequest,
    deadline: Instant,
) -> Result<Vec<PartOutcome>, WriteError> {
    let id = &workspace.record.id;
    let outcomes = route::write(node, id, &split.parts, deadline).await;
    if !outcomes.contains(&PartOutcome::NeedsLabels) {
        return Ok(outcomes);
    }
    let whole = self::split(node, workspace, body.clone(), admit, None).await?;
    let Again { parts, mut outcomes, accepted } = Again::of(&split.parts, whole.parts, outcomes);
    metrics::count_ingested(id, accepted);
    outcomes.extend(route::write(node, id, &parts, deadline).await);
    Ok(outcomes)
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

/// All parts of the shards that did not know a series go once more, with labels; what was stored already is met again unchanged.
///
/// What goes out a second time, and what stands of the first.
#[derive(Debug)]
struct Again {
    /// With labels.
    parts: Vec<Part>,
    /// Of the shards that nothing goes to again.
    outcomes: Vec<PartOutcome>,
    /// Samples that were accepted where parts go again: there they will be unchanged.
    accepted: u64,
}

impl Again {
    /// Parts are told by their shard and generation and not by their place: rows with labels are longer, so more parts may be needed.
    fn of(sent: &[Part], mut whole: Vec<Part>, outcomes: Vec<PartOutcome>) -> Self {
        let home = |part: &Part| (part.shard, part.generation);
        let lacking = sent.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == PartOutcome::NeedsLabels);
        let lacking: BTreeSet<(ShardId, u64)> = lacking.map(|(part, _)| home(part)).collect();
        whole.retain(|part| lacking.contains(&home(part)));
        let mut again = Self { parts: whole, outcomes: Vec::new(), accepted: 0 };
        for (part, outcome) in sent.iter().zip(outcomes) {
            match outcome {
                _ if !lacking.contains(&home(part)) => again.outcomes.push(outcome),
                outcome => again.accepted += outcome.accepted(),
            }
        }
        again
    }
}

async fn split(
    node: &Node,
    workspace: &Arc<Workspace>,
    sent: Sent,
    admit: AdmitLimits,
    known: Option<&Arc<KnownSeries>>,
) -> Result<SplitRequest, WriteError> {
    let unavailable = |text: String| WriteError::Unavailable { text, retry_after: RETRY_AFTER };
    let inline = claimed_bytes(&sent.body) <= INLINE_BYTES;
    let (workspace, splitters, known) = (Arc::clone(workspace), Arc::clone(&node.splitters), known.cloned());
    let work = move || {
        let generations = workspace.generations.as_ref().map_err(|e| unavailable(e.to_string()))?;
        let rules = SplitRules { admit: &admit, generations, hash_key: workspace.record.placement_key, known: known.as_deref() };
        Ok(splitters.with(|splitter| splitter.split(sent.version, &sent.body, &BodyLimits::default(), &rules))?)
    };
    if inline { work() } else { node.writes.run(work).await.map_err(|e| unavailable(e.to_string()))? }
}

/// 204, 400 or 503 from what became of all parts, and what is stored. With a part whose outcome is not known nothing is counted:
/// the sender repeats all of it.
fn conclude(workspace: &str, mut rejected: Rejections, outcomes: &[PartOutcome]) -> (Written, Result<(), WriteError>) {
    let mut unfinished = None;
    let mut written = Written::default();
    for outcome in outcomes {
        match outcome {
            PartOutcome::Final(verdict) => {
                written.add(verdict);
                metrics::count_ingested(workspace, u64::from(verdict.accepted));
                if verdict.exemplars_dropped > 0 {
                    metrics::count_exemplars_dropped(workspace, u64::from(verdict.exemplars_dropped));
                }
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
            PartOutcome::StaleMap(_) => unfinished = Some("the shard map is being updated"),
        }
    }
    if let Some(reason) = unfinished {
        return (Written::default(), Err(WriteError::Unavailable { text: reason.to_owned(), retry_after: RETRY_AFTER }));
    }
    let told = if rejected.is_empty() { Ok(()) } else { Err(WriteError::Rejected { text: rejected.body() }) };
    (written, told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tsdb::verdict::{FirstError, Refusal};

    fn rejected_by_shard(ordinal: u32) -> PartOutcome {
        let error = FirstError { ordinal, kind: Refusal::Duplicate, labels: format!("{{n=\"{ordinal}\"}}"), timestamp_ms: 1 };
        let mut verdict = PartVerdict { first_error: Some(error), ..PartVerdict::default() };
        verdict.rejected[3] = 1;
        PartOutcome::Final(verdict)
    }

    #[test]
    fn c7_any_part_without_a_final_outcome_makes_the_request_503() {
        let unfinished = PartOutcome::Unfinished { reason: "no leader".into() };
        let accepted = PartOutcome::Final(PartVerdict { accepted: 3, ..PartVerdict::default() });
        let (written, result) = conclude("w", Rejections::default(), &[rejected_by_shard(1), accepted, unfinished]);
        assert!(matches!(result, Err(WriteError::Unavailable { .. })));
        assert_eq!(written, Written::default(), "all of it comes again");
    }

    #[test]
    fn c7_the_first_error_in_request_order_decides_the_400() {
        let mut rejected = Rejections::default();
        rejected.push(5, 1, || "edge".into());
        let outcomes = [rejected_by_shard(9), rejected_by_shard(2)];
        let (_, Err(WriteError::Rejected { text })) = conclude("w", rejected, &outcomes) else { panic!() };
        assert!(text.starts_with("duplicate sample for timestamp"), "{text}");
        assert!(text.contains("n=\"2\""), "{text}");
        let verdict = PartVerdict { accepted: 3, unchanged: 4, histograms: 2, exemplars: 1, ..PartVerdict::default() };
        let written = Written { samples: 5, histograms: 2, exemplars: 1 };
        assert_eq!(conclude("w", Rejections::default(), &[PartOutcome::Final(verdict)]), (written, Ok(())));
    }

    #[test]
    fn c7_all_parts_of_a_shard_go_again_with_labels_however_many_there_are_then() {
        let part = |shard, rows: &'static str| Part {
            shard: ShardId(shard),
            generation: 1,
            rows: Bytes::from_static(rows.as_bytes()),
            row_count: 1,
            sample_count: 1,
        };
        let sent = [part(7, "short"), part(8, "short"), part(7, "short too")];
        let verdict = |accepted| PartOutcome::Final(PartVerdict { accepted, ..PartVerdict::default() });
        let whole = vec![part(7, "first half"), part(8, "all"), part(7, "second half"), part(7, "third half")];
        let again = Again::of(&sent, whole, vec![PartOutcome::NeedsLabels, verdict(2), verdict(3)]);
        let rows: Vec<&[u8]> = again.parts.iter().map(|part| part.rows.as_ref()).collect();
        assert_eq!(rows, [&b"first half"[..], b"second half", b"third half"], "a part in the place of another would leave rows unwritten");
        assert_eq!((again.outcomes, again.accepted), (vec![verdict(2)], 3));
    }
}
