//! How a shard's work ended.

use super::codec::{FrameError, Reader, put_bytes, put_number};
use crate::annotations::Annotations;
use crate::error::EvalError;
use crate::plan::fragment::{Export, Fragment};
use crate::stats::{Seen, Stats, runs};

/// All that a shard tells beside its results.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    pub(crate) annotations: Annotations,
    pub(crate) stats: Stats,
    /// What was looked at and read for each export, on its grid; no steps for those that are raw samples.
    pub(crate) seen: Vec<Seen>,
}

impl Done {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        self.annotations.encode(out);
        let Stats { series_read, samples_read, samples_peak, bytes_peak, .. } = self.stats;
        [series_read, samples_read, samples_peak, bytes_peak].into_iter().for_each(|count| put_number(out, count));
        for (count, steps) in self.seen.iter().flat_map(|seen| [&seen.looked, &seen.read]).flat_map(|counts| runs(counts)) {
            put_number(out, count);
            put_number(out, steps as u64);
        }
    }

    /// Reads the end of an answer to `fragment`.
    pub(super) fn decode(reader: &mut Reader<'_>, fragment: &Fragment) -> Result<Self, FrameError> {
        let annotations = Annotations::decode(reader)?;
        let mut next = || reader.number();
        let (series_read, samples_read, samples_peak, bytes_peak) = (next()?, next()?, next()?, next()?);
        let stats = Stats { series_read, samples_read, samples_peak, bytes_peak, ..Stats::default() };
        let steps = |export: &Export| fragment.grid_of(*export).map_or(0, |grid| grid.steps);
        let seen = fragment.exports.iter().map(|export| {
            let (looked, read) = (decode_counts(reader, steps(export))?, decode_counts(reader, steps(export))?);
            Ok(Seen { looked, read })
        });
        let seen = seen.collect::<Result<_, _>>()?;
        Ok(Self { annotations, stats, seen })
    }
}

/// Reads runs of counts that make up all `steps`.
fn decode_counts(reader: &mut Reader<'_>, steps: usize) -> Result<Vec<u64>, FrameError> {
    let mut counts = Vec::new();
    while counts.len() < steps {
        let (count, run) = (reader.number()?, usize::try_from(reader.number()?).unwrap_or(usize::MAX));
        if run == 0 || run > steps - counts.len() {
            return Err(reader.error("run of steps that cannot be"));
        }
        counts.resize(counts.len() + run, count);
    }
    Ok(counts)
}

/// An error of a shard, with its place: of the errors of all shards the first one is told, wherever it came from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    /// Node of the fragment.
    pub(crate) node: u32,
    /// Step of its grid.
    pub(crate) step: u64,
    pub(crate) error: EvalError,
}

impl Failure {
    /// The one of two that is told.
    pub(crate) fn first(self, other: Self) -> Self {
        let key = |failure: &Self| (failure.node, failure.step, failure.error.to_string());
        if key(&other) < key(&self) { other } else { self }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, u64::from(self.node));
        put_number(out, self.step);
        let (kind, limit) = match &self.error {
            EvalError::TooManySamples => (1, 0),
            EvalError::TooManyBytes { limit_bytes } => (2, *limit_bytes),
            EvalError::TimedOut => (3, 0),
            EvalError::Cancelled => (4, 0),
            _ => (0, 0),
        };
        out.push(kind);
        put_number(out, limit);
        put_bytes(out, self.error.to_string().as_bytes());
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        let node = u32::try_from(reader.number()?).map_err(|_| reader.error("node out of range"))?;
        let step = reader.number()?;
        let (kind, limit_bytes) = (reader.byte()?, reader.number()?);
        let message = reader.text()?.to_owned();
        let error = match kind {
            1 => EvalError::TooManySamples,
            2 => EvalError::TooManyBytes { limit_bytes },
            3 => EvalError::TimedOut,
            4 => EvalError::Cancelled,
            _ => EvalError::AtShard { message },
        };
        Ok(Self { node, step, error })
    }
}
