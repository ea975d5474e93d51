//! What shards send: pieces of their share, then one that says that it was all.
//!
//! ```text
//! frame:   version u8 | kind u8 | body
//! rows:    export | label sets | dropped names (a bit a row) | rows
//! row:     0 and a bit for each step, or 1 if each has a float | floats | histograms (step, histogram)
//! states:  export | label sets | dropped names | states of the groups
//! samples: export | label sets | series (times, floats, start times, histograms)
//! moved:   read | label sets | series
//! done:    annotations | statistics | samples looked at for each export: runs of steps with the same count
//! failed:  node | step | kind | text
//! ```

pub(crate) mod codec;
mod report;
mod rows;
mod samples;
#[cfg(test)]
mod tests;

use crate::budget::Budget;
use crate::error::EvalError;
use crate::eval::aggregate::state::State;
use crate::eval::block::{Block, SeriesMeta};
use crate::plan::fragment::{Fragment, Merge};
use crate::source::{RawSeries, SelectId};
use crate::stats::Seen;
pub use codec::FrameError;
use codec::{Reader, put_number};
pub(crate) use report::{Done, Failure};
use std::sync::Arc;

/// Version of the encoding.
const VERSION: u8 = 3;
/// A frame is cut when what it holds takes about so many bytes.
pub(crate) const FRAME_BYTES: usize = 1 << 20;

const ROWS: u8 = 1;
const STATES: u8 = 2;
const SAMPLES: u8 = 3;
const DONE: u8 = 4;
const FAILED: u8 = 5;
const MOVED: u8 = 6;

/// A piece of a shard's answer.
#[derive(Debug)]
pub struct Frame(pub(crate) Piece);

/// See the module.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Some series of an export.
    Rows { export: usize, block: Block },
    /// Some groups of an export.
    States { export: usize, groups: Vec<SeriesMeta>, states: Vec<State> },
    /// Raw series of an export.
    Samples { export: usize, series: Vec<Arc<RawSeries>> },
    /// Samples of a read, of series that other shards hold samples of too.
    Moved { select: SelectId, series: Vec<Arc<RawSeries>> },
    /// That was all.
    Done(Box<Done>),
    /// The shard cannot compute its share.
    Failed(Box<Failure>),
}

/// Why bytes are no frame of a fragment's answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// They are malformed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// They would take more memory than the query may.
    #[error(transparent)]
    Budget(#[from] EvalError),
}

impl Frame {
    /// Whether the shard sends nothing after it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(self.0, Piece::Done(_) | Piece::Failed(_))
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn heap_bytes(&self) -> u64 {
        let labels = |metas: &[SeriesMeta]| metas.iter().map(|meta| size_of::<SeriesMeta>() + meta.labels.heap_bytes()).sum::<usize>();
        let bytes = match &self.0 {
            Piece::Rows { block, .. } => block.heap_bytes() + labels(&block.series),
            Piece::States { groups, states, .. } => labels(groups) + states.iter().map(State::heap_bytes).sum::<usize>(),
            Piece::Samples { series, .. } | Piece::Moved { series, .. } => series.iter().map(|one| one.heap_bytes()).sum(),
            Piece::Done(done) => done.seen.iter().map(|seen| seen.steps() * Seen::STEP_BYTES as usize).sum(),
            Piece::Failed(_) => 0,
        };
        bytes as u64
    }

    /// What the shard used, if this is its last frame and it did not fail.
    #[must_use]
    pub fn stats(&self) -> Option<crate::stats::Stats> {
        match &self.0 {
            Piece::Done(done) => Some(done.stats.clone()),
            _ => None,
        }
    }

    /// The frame as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, 0];
        let (kind, export) = match &self.0 {
            Piece::Rows { export, .. } => (ROWS, Some(*export)),
            Piece::States { export, .. } => (STATES, Some(*export)),
            Piece::Samples { export, .. } => (SAMPLES, Some(*export)),
            Piece::Moved { select, .. } => (MOVED, Some(select.0 as usize)),
            Piece::Done(_) => (DONE, None),
            Piece::Failed(_) => (FAILED, None),
        };
        out[1] = kind;
        if let Some(export) = export {
            put_number(&mut out, export as u64);
        }
        match &self.0 {
            Piece::Rows { block, .. } => rows::encode(block, &mut out),
            Piece::States { groups, states, .. } => {
                rows::encode_metas(groups, &mut out);
                states.iter().for_each(|state| state.encode(&mut out));
            }
            Piece::Samples { series, .. } | Piece::Moved { series, .. } => samples::encode(series, &mut out),
            Piece::Done(done) => done.encode(&mut out),
            Piece::Failed(failure) => failure.encode(&mut out),
        }
        out
    }

    /// Reads a frame of an answer to `fragment`. The memory that it takes is taken from `budget` while it is decoded.
    ///
    /// # Errors
    /// The bytes are malformed, of another version, or no answer to this fragment.
    pub fn decode(bytes: &[u8], fragment: &Fragment, budget: &Budget) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != VERSION {
            return Err(reader.error("unknown version of frames").into());
        }
        let kind = reader.byte()?;
        let piece = match kind {
            ROWS | STATES | SAMPLES => {
                let number = usize::try_from(reader.number()?).unwrap_or(usize::MAX);
                let export = *fragment.exports.get(number).ok_or_else(|| reader.error("no such export"))?;
                let steps = fragment.grid_of(export).map_or(0, |grid| grid.steps);
                match (kind, fragment.merge_of(export)) {
                    (ROWS, Merge::Join | Merge::Append | Merge::Add) => {
                        Piece::Rows { export: number, block: rows::decode(&mut reader, steps, budget)? }
                    }
                    (STATES, Merge::States) => {
                        let groups = rows::decode_metas(&mut reader)?;
                        let op = fragment.aggregate_of(export).ok_or_else(|| reader.error("no such aggregation"))?;
                        let _held = budget.reserve(0, (steps * groups.len()) as u64 * 24)?;
                        let states = (0..groups.len()).map(|_| State::decode(op, steps, &mut reader));
                        Piece::States { export: number, states: states.collect::<Result<_, _>>()?, groups }
                    }
                    (SAMPLES, Merge::Samples) => Piece::Samples { export: number, series: samples::decode(&mut reader)? },
                    _ => return Err(reader.error("not the kind of frame that this export sends").into()),
                }
            }
            MOVED => {
                let number = reader.number()?;
                let select = fragment.selects().iter().map(|select| select.id).find(|id| u64::from(id.0) == number);
                let select = select.ok_or_else(|| reader.error("no such read"))?;
                Piece::Moved { select, series: samples::decode(&mut reader)? }
            }
            DONE => {
                let steps = fragment.exports.iter().filter_map(|export| fragment.grid_of(*export)).map(|grid| grid.steps as u64);
                let _held = budget.reserve(0, steps.fold(0, u64::saturating_add).saturating_mul(8))?;
                Piece::Done(Box::new(Done::decode(&mut reader, fragment)?))
            }
            FAILED => Piece::Failed(Box::new(Failure::decode(&mut reader)?)),
            _ => return Err(reader.error("unknown kind of frame").into()),
        };
        reader.end()?;
        Ok(Self(piece))
    }
}
