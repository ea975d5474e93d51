//! Chunks: compressed runs of one series' samples.
//!
//! [`OpenChunk`] grows in the head; a sealed chunk is bytes:
//!
//! ```text
//! tag u8 | count varint | first_ms zigzag | last_ms - first_ms varint | stream | crc32c u32le of all before
//! ```
//!
//! The tag names the codec; a reader refuses one it does not know. Values are any 64 bits, times any growing `i64`s.

mod bits;
mod open;
mod xor2;

pub use open::OpenChunk;

use crate::error::Corruption;
use crate::wire::{Reader, check_crc, put_crc, put_varint, put_zigzag};

/// Most samples of one chunk.
pub const SAMPLES_MAX: usize = u16::MAX as usize;

/// Codec tag of the XOR2-like bit stream.
const TAG_XOR2: u8 = 1;

/// What a sealed chunk tells without being decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// Number of samples, at least 1.
    pub count: u32,
    /// Time of the first sample, milliseconds.
    pub first_ms: i64,
    /// Time of the last sample, milliseconds.
    pub last_ms: i64,
}

impl ChunkHeader {
    /// Reads the header; the checksum is left to [`decode`].
    ///
    /// # Errors
    /// The bytes are cut off, of an unknown codec or contradict themselves.
    pub fn read(sealed: &[u8]) -> Result<Self, Corruption> {
        Self::take(&mut Reader::new(sealed))
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Corruption> {
        if reader.u8()? != TAG_XOR2 {
            return Err(Corruption::new("chunk of unknown codec"));
        }
        let count = reader.varint_u32()?;
        let first_ms = reader.zigzag()?;
        let last_ms = first_ms.wrapping_add(reader.varint()? as i64);
        if count == 0 || count as usize > SAMPLES_MAX || last_ms < first_ms {
            return Err(Corruption::new("chunk header contradicts itself"));
        }
        Ok(Self { count, first_ms, last_ms })
    }
}

/// Appends the sealed form of samples in strictly growing order of time.
///
/// # Panics
/// There is no sample, more than [`SAMPLES_MAX`], a different number of times and values, or times do not grow.
pub fn encode(ts: &[i64], values: &[f64], out: &mut Vec<u8>) {
    assert_eq!(ts.len(), values.len(), "as many times as values");
    let mut samples = ts.iter().zip(values);
    let (first_ms, first) = samples.next().expect("a chunk holds a sample");
    let mut chunk = OpenChunk::new(*first_ms, *first);
    for (timestamp_ms, value) in samples {
        chunk.append(*timestamp_ms, *value);
    }
    chunk.seal(out);
}

/// Appends the samples of a sealed chunk to `ts` and `values`.
///
/// Memory is bounded by 128 times the input.
///
/// # Errors
/// The bytes are damaged or of an unknown codec; the outputs are then as before.
pub fn decode(sealed: &[u8], ts: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<(), Corruption> {
    let mut reader = Reader::new(check_crc(sealed)?);
    let header = ChunkHeader::take(&mut reader)?;
    let (ts_before, values_before) = (ts.len(), values.len());
    let decoded = xor2::decode(reader.rest(), header.count as usize, header.first_ms, ts, values);
    if decoded == Ok(header.last_ms) {
        return Ok(());
    }
    ts.truncate(ts_before);
    values.truncate(values_before);
    Err(decoded.err().unwrap_or(Corruption::new("last time of a chunk")))
}

fn seal_stream(count: usize, first_ms: i64, last_ms: i64, stream: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    out.reserve(stream.len() + 28);
    out.push(TAG_XOR2);
    put_varint(out, count as u64);
    put_zigzag(out, first_ms);
    put_varint(out, last_ms.wrapping_sub(first_ms) as u64);
    out.extend_from_slice(stream);
    put_crc(out, from);
}

#[cfg(test)]
mod tests;
