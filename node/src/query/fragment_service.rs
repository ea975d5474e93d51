//! Reads one fragment from one replica on this node, after a read barrier.

use super::frames::{FRAME_BYTES, put_samples, put_series, put_text};
use crate::node::Node;
use crate::shard::LocalShard;
use bytes::Bytes;
use model::{Labels, Matcher, ShardId, StoreId};
use promql::RawSeries;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::Instant;
use tsdb::SelectError;

/// What to read.
#[derive(Clone, Debug)]
pub enum ReadKind {
    /// Series with samples in `(start_ms, end_ms]`.
    Samples {
        /// Samples the answer may hold at most.
        samples_max: u64,
    },
    /// Label sets of series with samples in `[start_ms, end_ms]`.
    Series,
    /// Label names of such series.
    LabelNames,
    /// Values of one label of such series.
    LabelValues {
        /// Which label.
        label: String,
    },
}

/// One read of one shard.
#[derive(Clone, Debug)]
pub struct ReadSpec {
    /// What.
    pub kind: ReadKind,
    /// Any of these sets; none means all series.
    pub matcher_sets: Vec<Vec<Matcher>>,
    /// See [`ReadKind`].
    pub start_ms: i64,
    /// Inclusive.
    pub end_ms: i64,
    /// Newest revision of the shard map that the asker knows.
    pub known_revision: u64,
    /// Most texts or label sets, if limited.
    pub limit: Option<usize>,
}

/// What a read found.
#[derive(Clone, Debug)]
pub enum Found {
    /// Of [`ReadKind::Samples`].
    Samples(Vec<RawSeries>),
    /// Of [`ReadKind::Series`].
    Series(Vec<Labels>),
    /// Of [`ReadKind::LabelNames`] and [`ReadKind::LabelValues`].
    Texts(BTreeSet<String>),
}

/// Why a replica did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The replica is not here, lags, or its leader is not known: another attempt may succeed.
    #[error("shard {shard} is unavailable: {reason}")]
    Unavailable {
        /// Which shard.
        shard: ShardId,
        /// Why.
        reason: String,
    },
    /// The shard has a newer map than the asker.
    #[error("shard {shard} has a newer shard map")]
    StaleMap {
        /// Which shard.
        shard: ShardId,
    },
    /// The answer would hold more samples than it may.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// The asker went away or its deadline passed.
    #[error("query timed out in expression evaluation")]
    Cancelled,
    /// Stored data could not be read.
    #[error("shard {shard}: {reason}")]
    Storage {
        /// Which shard.
        shard: ShardId,
        /// What storage said.
        reason: String,
    },
}

/// Reads from this node's replica of `shard` what every write acknowledged before the call left there.
///
/// # Errors
/// See [`ReadError`].
pub async fn read_local(node: &Node, local: Arc<LocalShard>, spec: ReadSpec, deadline: Instant, cancelled: Arc<AtomicBool>) -> Result<Found, ReadError> {
    let shard = local.id;
    let unavailable = |reason: String| ReadError::Unavailable { shard, reason };
    let leader = local.group.status().leader.map(|(_, store)| store);
    let leader: StoreId = leader.ok_or_else(|| unavailable("its leader is not known".to_owned()))?;
    let index = node.barrier.confirm(shard, leader, deadline).await.map_err(|e| unavailable(e.to_string()))?;
    local.group.wait_applied(index, deadline).await.map_err(|e| unavailable(e.to_string()))?;
    if local.shard.map_revision() > spec.known_revision {
        return Err(ReadError::StaleMap { shard });
    }
    node.compute(move || read(&local, &spec, &cancelled)).await.map_err(|e| unavailable(e.to_string()))?
}

fn read(local: &LocalShard, spec: &ReadSpec, cancelled: &AtomicBool) -> Result<Found, ReadError> {
    let shard = local.id;
    let error = |e: SelectError| match e {
        SelectError::Cancelled => ReadError::Cancelled,
        e => ReadError::Storage { shard, reason: e.to_string() },
    };
    let go_on = || !cancelled.load(Ordering::Relaxed);
    let view = local.shard.read_view().map_err(|e| ReadError::Storage { shard, reason: e.to_string() })?;
    let all = [Vec::new()];
    let sets: &[Vec<Matcher>] = if spec.matcher_sets.is_empty() { &all } else { &spec.matcher_sets };
    match &spec.kind {
        ReadKind::Samples { samples_max } => {
            let mut series = Vec::new();
            let mut samples = 0u64;
            let mut too_many = false;
            for matchers in sets {
                let outcome = view.select(matchers, spec.start_ms, spec.end_ms, &go_on, &mut |labels, timestamps: &[i64], values: &[f64]| {
                    samples += timestamps.len() as u64;
                    too_many |= samples > *samples_max;
                    series.push(RawSeries { labels, timestamps: timestamps.to_vec(), values: values.to_vec() });
                    !too_many
                });
                if too_many {
                    return Err(ReadError::TooManySamples);
                }
                outcome.map_err(error)?;
            }
            Ok(Found::Samples(series))
        }
        ReadKind::Series => {
            let mut found = BTreeSet::new();
            for matchers in sets {
                found.extend(view.series(matchers, spec.start_ms, spec.end_ms, spec.limit, &go_on).map_err(error)?);
            }
            Ok(Found::Series(found.into_iter().collect()))
        }
        ReadKind::LabelNames => {
            let mut found = BTreeSet::new();
            for matchers in sets {
                found.extend(view.label_names(matchers, spec.start_ms, spec.end_ms, &go_on).map_err(error)?);
            }
            Ok(Found::Texts(found))
        }
        ReadKind::LabelValues { label } => {
            let mut found = BTreeSet::new();
            for matchers in sets {
                found.extend(view.label_values(label, matchers, spec.start_ms, spec.end_ms, spec.limit, &go_on).map_err(error)?);
            }
            Ok(Found::Texts(found))
        }
    }
}

/// Cuts what was found into frames of about [`FRAME_BYTES`].
#[must_use]
pub fn to_frames(found: &Found) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut frame = Vec::new();
    let mut cut = |frame: &mut Vec<u8>, last: bool| {
        if frame.len() >= FRAME_BYTES || (last && !frame.is_empty()) {
            frames.push(Bytes::from(std::mem::take(frame)));
        }
    };
    match found {
        Found::Samples(series) => {
            for s in series {
                put_samples(&mut frame, &s.labels, &s.timestamps, &s.values);
                cut(&mut frame, false);
            }
        }
        Found::Series(series) => {
            for labels in series {
                put_series(&mut frame, labels);
                cut(&mut frame, false);
            }
        }
        Found::Texts(texts) => {
            for text in texts {
                put_text(&mut frame, text);
                cut(&mut frame, false);
            }
        }
    }
    cut(&mut frame, true);
    frames
}
