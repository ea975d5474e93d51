//! A chunk in the head: plain floats, or records.

use crate::chunk::{OpenChunk, RecordChunk, Samples};
use crate::error::Corruption;
use crate::wire::Reader;
use model::Timestamp;

const FLOATS: u8 = 0;
const RECORDS: u8 = 1;

/// A run of samples of one form.
#[derive(Clone, Debug)]
pub(crate) enum HeadChunk {
    /// Floats without a start: nearly all there are.
    Floats(OpenChunk),
    /// Histograms, and floats with a start; plain floats too, while it is open.
    Records(Box<RecordChunk>),
}

const _: () = assert!(size_of::<Option<HeadChunk>>() <= 64, "a line has one for each series");

impl HeadChunk {
    pub(crate) fn first_ms(&self) -> Timestamp {
        match self {
            Self::Floats(chunk) => chunk.first_ms(),
            Self::Records(chunk) => chunk.first_ms(),
        }
    }

    pub(crate) fn last_ms(&self) -> Timestamp {
        match self {
            Self::Floats(chunk) => chunk.last_ms(),
            Self::Records(chunk) => chunk.last_ms(),
        }
    }

    /// Number of samples, at least 1.
    #[allow(clippy::len_without_is_empty)]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Floats(chunk) => chunk.len(),
            Self::Records(chunk) => chunk.len(),
        }
    }

    /// Bytes outside the struct, for memory accounting.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Floats(chunk) => chunk.heap_bytes(),
            Self::Records(chunk) => size_of::<RecordChunk>() + chunk.heap_bytes(),
        }
    }

    /// Appends the samples to `out`.
    pub(crate) fn decode(&self, out: &mut Samples) -> Result<(), Corruption> {
        match self {
            Self::Floats(chunk) => chunk.decode(&mut out.ts, &mut out.values),
            Self::Records(chunk) => chunk.decode(&mut out.records),
        }
    }

    /// Lets go of what only a further append needs.
    pub(crate) fn finish(&mut self) {
        if let Self::Records(chunk) = self {
            chunk.finish();
        }
    }

    /// Appends everything that [`HeadChunk::read_from`] needs.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Floats(chunk) => {
                out.push(FLOATS);
                chunk.write_to(out);
            }
            Self::Records(chunk) => {
                out.push(RECORDS);
                chunk.write_to(out);
            }
        }
    }

    pub(crate) fn read_from(reader: &mut Reader<'_>) -> Result<Self, Corruption> {
        match reader.u8()? {
            FLOATS => Ok(Self::Floats(OpenChunk::read_from(reader)?)),
            RECORDS => Ok(Self::Records(Box::new(RecordChunk::read_from(reader)?))),
            _ => Err(Corruption::new("open chunk of unknown codec")),
        }
    }
}
