//! The chunk that still grows.

use super::xor2::{SAMPLE_BYTES_MAX, State, decode};
use super::{SAMPLES_MAX, bits::push};
use crate::error::Corruption;
use crate::wire::{Reader, put_bytes, put_varint, put_zigzag};

/// Step in which the bytes of an open chunk grow.
const GROW_BYTES: usize = 64;
const FORMAT: u8 = 1;

/// A run of samples that takes further ones at its end: 64 bytes and its stream.
#[derive(Clone, Debug)]
pub struct OpenChunk {
    stream: Vec<u8>,
    first_ms: i64,
    last_ms: i64,
    last_bits: u64,
    delta: u64,
    count: u16,
    used: u8,
    leading: u8,
    significant: u8,
}

const _: () = assert!(size_of::<OpenChunk>() <= 64);

impl OpenChunk {
    /// Begins a chunk with its first sample.
    #[must_use]
    pub fn new(timestamp_ms: i64, value: f64) -> Self {
        let mut stream = Vec::with_capacity(GROW_BYTES);
        let mut used = 0;
        push(&mut stream, &mut used, value.to_bits(), 64);
        Self {
            stream,
            first_ms: timestamp_ms,
            last_ms: timestamp_ms,
            last_bits: value.to_bits(),
            delta: 0,
            count: 1,
            used,
            leading: 0,
            significant: 0,
        }
    }

    /// Appends a sample.
    ///
    /// # Panics
    /// `timestamp_ms` is not later than the last, or the chunk holds [`SAMPLES_MAX`] already: the caller's invariants are broken.
    pub fn append(&mut self, timestamp_ms: i64, value: f64) {
        assert!(timestamp_ms > self.last_ms, "sample at {timestamp_ms} does not follow {}", self.last_ms);
        assert!(self.len() < SAMPLES_MAX, "chunk holds {SAMPLES_MAX} samples already");
        if self.stream.capacity() - self.stream.len() < SAMPLE_BYTES_MAX {
            self.stream.reserve_exact(GROW_BYTES);
        }
        let mut state = State {
            last_ms: self.last_ms,
            delta: self.delta as i64,
            value_bits: self.last_bits,
            leading: self.leading,
            significant: self.significant,
        };
        state.append(&mut self.stream, &mut self.used, timestamp_ms, value.to_bits());
        self.last_ms = state.last_ms;
        self.delta = state.delta as u64;
        self.last_bits = state.value_bits;
        self.leading = state.leading;
        self.significant = state.significant;
        self.count += 1;
    }

    /// Number of samples, at least 1.
    #[must_use]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Time of the first sample, milliseconds.
    #[must_use]
    pub fn first_ms(&self) -> i64 {
        self.first_ms
    }

    /// Time of the last sample, milliseconds.
    #[must_use]
    pub fn last_ms(&self) -> i64 {
        self.last_ms
    }

    /// Bits of the last value.
    #[must_use]
    pub fn last_bits(&self) -> u64 {
        self.last_bits
    }

    /// Bytes of the stream.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.stream.len()
    }

    /// Bytes held outside the struct, for memory accounting.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.stream.capacity()
    }

    /// Appends all samples to `ts` and `values`.
    ///
    /// # Errors
    /// The chunk came from damaged bytes; the outputs then hold the samples before the damage.
    pub fn decode(&self, ts: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<(), Corruption> {
        let last_ms = decode(&self.stream, self.len(), self.first_ms, ts, values)?;
        if last_ms == self.last_ms { Ok(()) } else { Err(Corruption::new("last time of a chunk")) }
    }

    /// Appends everything that [`OpenChunk::read_from`] needs to go on appending.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        put_varint(out, u64::from(self.count));
        put_zigzag(out, self.first_ms);
        put_varint(out, self.last_ms.wrapping_sub(self.first_ms) as u64);
        out.extend_from_slice(&self.last_bits.to_le_bytes());
        put_varint(out, self.delta);
        out.extend_from_slice(&[self.used, self.leading, self.significant]);
        put_bytes(out, &self.stream);
    }

    /// Takes what [`OpenChunk::write_to`] wrote off the front of `reader`.
    ///
    /// # Errors
    /// The bytes are cut off, of an unknown format or contradict themselves.
    pub fn read_from(reader: &mut Reader<'_>) -> Result<Self, Corruption> {
        if reader.u8()? != FORMAT {
            return Err(Corruption::new("open chunk of unknown format"));
        }
        let count = u16::try_from(reader.varint()?).map_err(|_| Corruption::new("open chunk too long"))?;
        let first_ms = reader.zigzag()?;
        let last_ms = first_ms.wrapping_add(reader.varint()? as i64);
        let last_bits = reader.u64_le()?;
        let delta = reader.varint()?;
        let [used, leading, significant] = reader.array()?;
        let bytes = reader.bytes()?;
        let sane = count > 0 && last_ms >= first_ms && used < 8 && leading <= 31 && leading + significant.min(65) <= 64;
        if !sane || bytes.len() < 8 || usize::from(count) - 1 > (bytes.len() - 8) * 8 {
            return Err(Corruption::new("open chunk contradicts itself"));
        }
        let mut stream = Vec::with_capacity(bytes.len().next_multiple_of(GROW_BYTES));
        stream.extend_from_slice(bytes);
        Ok(Self { stream, first_ms, last_ms, last_bits, delta, count, used, leading, significant })
    }
}
