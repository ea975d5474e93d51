//! Chunks of records: native histograms, and floats with the start of their counter.
//!
//! ```text
//! stream: (flags u8 | delta of delta of time zigzag | start | value)*
//! flags:  histogram (1) | start as before (0), none (2) or timestamp - start zigzag (4)
//! value:  float: varint of the bits XOR the float before, bytes swapped; histogram: as the difference to the one before
//! ```

#![deny(clippy::indexing_slicing)]

use super::SAMPLES_MAX;
use crate::error::Corruption;
use crate::record::{Record, Value, histogram};
use crate::wire::{Reader, put_bytes, put_varint, put_zigzag};
use model::Timestamp;
use model::histogram::FloatHistogram;
use std::sync::Arc;

const FORMAT: u8 = 1;
const HISTOGRAM: u8 = 1;
const START_MASK: u8 = 6;
const START_SAME: u8 = 0;
const START_NONE: u8 = 2;
const START_EXPLICIT: u8 = 4;

/// What the next record is coded against.
#[derive(Clone, Debug, Default)]
struct State {
    last_ms: Timestamp,
    delta: i64,
    start_ms: Timestamp,
    float_bits: u64,
    histogram: Option<Arc<FloatHistogram>>,
}

impl State {
    fn put(&mut self, out: &mut Vec<u8>, record: &Record) {
        let Record { timestamp_ms, start_ms, value } = record;
        let start = match *start_ms {
            0 => START_NONE,
            start if start == self.start_ms => START_SAME,
            _ => START_EXPLICIT,
        };
        out.push(start | if matches!(value, Value::Histogram(_)) { HISTOGRAM } else { 0 });
        let delta = timestamp_ms.wrapping_sub(self.last_ms);
        put_zigzag(out, delta.wrapping_sub(self.delta));
        (self.last_ms, self.delta) = (*timestamp_ms, delta);
        if start == START_EXPLICIT {
            put_zigzag(out, timestamp_ms.wrapping_sub(*start_ms));
            self.start_ms = *start_ms;
        }
        match value {
            Value::Float(value) => {
                put_varint(out, (value.to_bits() ^ self.float_bits).swap_bytes());
                self.float_bits = value.to_bits();
            }
            Value::Histogram(h) => {
                histogram::put(out, self.histogram.as_deref(), h);
                self.histogram = Some(Arc::clone(h));
            }
        }
    }

    fn read(&mut self, r: &mut Reader<'_>) -> Result<Record, Corruption> {
        let flags = r.u8()?;
        self.delta = self.delta.wrapping_add(r.zigzag()?);
        self.last_ms = self.last_ms.wrapping_add(self.delta);
        let start_ms = match flags & START_MASK {
            START_SAME => self.start_ms,
            START_NONE => 0,
            START_EXPLICIT => {
                self.start_ms = self.last_ms.wrapping_sub(r.zigzag()?);
                self.start_ms
            }
            _ => return Err(Corruption::new("start of a record")),
        };
        let value = match flags & !START_MASK {
            0 => {
                self.float_bits ^= r.varint()?.swap_bytes();
                Value::Float(f64::from_bits(self.float_bits))
            }
            HISTOGRAM => {
                let h = Arc::new(histogram::read(r, self.histogram.as_deref())?);
                self.histogram = Some(Arc::clone(&h));
                Value::Histogram(h)
            }
            _ => return Err(Corruption::new("known flags of a record")),
        };
        Ok(Record { timestamp_ms: self.last_ms, start_ms, value })
    }
}

/// A run of records in order of time that takes further ones at its end.
#[derive(Clone, Debug)]
pub struct RecordChunk {
    stream: Vec<u8>,
    first_ms: Timestamp,
    count: u16,
    state: State,
}

impl RecordChunk {
    /// Begins a chunk with its first record.
    #[must_use]
    pub fn new(record: &Record) -> Self {
        let mut chunk = Self {
            stream: Vec::new(),
            first_ms: record.timestamp_ms,
            count: 1,
            state: State { last_ms: record.timestamp_ms, ..State::default() },
        };
        chunk.state.put(&mut chunk.stream, record);
        chunk
    }

    /// Appends a record.
    ///
    /// # Panics
    /// It is not later than the last, or the chunk is full: the caller's invariants are broken.
    pub fn append(&mut self, record: &Record) {
        assert!(record.timestamp_ms > self.state.last_ms, "record at {} does not follow {}", record.timestamp_ms, self.state.last_ms);
        assert!(self.len() < SAMPLES_MAX, "chunk holds {SAMPLES_MAX} samples already");
        self.state.put(&mut self.stream, record);
        self.count += 1;
    }

    /// Lets go of what only a further append needs.
    pub fn finish(&mut self) {
        self.state.histogram = None;
        self.stream.shrink_to_fit();
    }

    /// Number of records, at least 1.
    #[must_use]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Time of the first record, milliseconds.
    #[must_use]
    pub fn first_ms(&self) -> Timestamp {
        self.first_ms
    }

    /// Time of the last record, milliseconds.
    #[must_use]
    pub fn last_ms(&self) -> Timestamp {
        self.state.last_ms
    }

    /// Bytes of the stream.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.stream.len()
    }

    /// Bytes held outside the struct, for memory accounting.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.stream.capacity() + self.state.histogram.as_ref().map_or(0, |h| h.size())
    }

    /// Appends all records to `out`.
    ///
    /// # Errors
    /// The chunk came from damaged bytes.
    pub fn decode(&self, out: &mut Vec<Record>) -> Result<(), Corruption> {
        decode(&self.stream, self.len(), self.first_ms, out).map(drop)
    }

    /// Appends everything that [`RecordChunk::read_from`] needs to go on appending.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        put_varint(out, u64::from(self.count));
        put_zigzag(out, self.first_ms);
        put_bytes(out, &self.stream);
    }

    /// Takes what [`RecordChunk::write_to`] wrote off the front of `reader`.
    ///
    /// # Errors
    /// The bytes are cut off, of an unknown format or contradict themselves.
    pub fn read_from(reader: &mut Reader<'_>) -> Result<Self, Corruption> {
        if reader.u8()? != FORMAT {
            return Err(Corruption::new("open chunk of unknown format"));
        }
        let count = u16::try_from(reader.varint()?).map_err(|_| Corruption::new("open chunk too long"))?;
        let first_ms = reader.zigzag()?;
        let stream = reader.bytes()?.to_vec();
        if count == 0 {
            return Err(Corruption::new("open chunk contradicts itself"));
        }
        let state = decode(&stream, usize::from(count), first_ms, &mut Vec::new())?;
        Ok(Self { stream, first_ms, count, state })
    }
}

fn decode(stream: &[u8], count: usize, first_ms: Timestamp, out: &mut Vec<Record>) -> Result<State, Corruption> {
    let mut r = Reader::new(stream);
    let mut state = State { last_ms: first_ms, ..State::default() };
    let mut before = None;
    out.reserve(count.min(stream.len() / 2));
    for _ in 0..count {
        let record = state.read(&mut r)?;
        if before.is_some_and(|before| before >= record.timestamp_ms) || (before.is_none() && record.timestamp_ms != first_ms) {
            return Err(Corruption::new("times of records"));
        }
        before = Some(record.timestamp_ms);
        out.push(record);
    }
    r.end()?;
    Ok(state)
}
