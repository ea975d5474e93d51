//! Chunks: compressed runs of one series' samples.
//!
//! [`OpenChunk`] (plain floats) and [`RecordChunk`] (everything else) grow in the head; a sealed chunk is bytes:
//!
//! ```text
//! tag u8 | count varint | first_ms zigzag | last_ms - first_ms varint | stream | crc32c u32le of all before
//! ```
//!
//! The tag names the codec; a reader refuses one it does not know. Values are any 64 bits, times any growing `i64`s.

mod bits;
mod open;
mod records;
mod xor2;

pub use open::OpenChunk;
pub use records::RecordChunk;

use crate::error::Corruption;
use crate::record::Record;
use crate::wire::{Reader, check_crc, put_crc, put_varint, put_zigzag};

/// Most samples of one chunk.
pub const SAMPLES_MAX: usize = u16::MAX as usize;

/// Codec tag of the XOR2-like bit stream.
const TAG_XOR2: u8 = 1;
/// Tag of records, see `records`.
const TAG_RECORDS: u8 = 64;

/// Samples out of chunks of any codec: plain floats as two columns, everything else as records.
#[derive(Debug, Default)]
pub struct Samples {
    /// Times of the plain floats.
    pub ts: Vec<i64>,
    /// `values[i]` belongs to `ts[i]`.
    pub values: Vec<f64>,
    /// Histograms, and floats with a start.
    pub records: Vec<Record>,
}

impl Samples {
    /// Leaves nothing but the room.
    pub fn clear(&mut self) {
        self.ts.clear();
        self.values.clear();
        self.records.clear();
    }
}

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
        Ok(Self::take(&mut Reader::new(sealed))?.1)
    }

    /// Codec tag and header.
    fn take(reader: &mut Reader<'_>) -> Result<(u8, Self), Corruption> {
        let tag = reader.u8()?;
        if tag != TAG_XOR2 && tag != TAG_RECORDS {
            return Err(Corruption::new("chunk of unknown codec"));
        }
        let count = reader.varint_u32()?;
        let first_ms = reader.zigzag()?;
        let last_ms = first_ms.wrapping_add(reader.varint()? as i64);
        if count == 0 || count as usize > SAMPLES_MAX || last_ms < first_ms {
            return Err(Corruption::new("chunk header contradicts itself"));
        }
        Ok((tag, Self { count, first_ms, last_ms }))
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

/// Appends the sealed form of records in strictly growing order of time.
///
/// # Panics
/// There is no record, more than [`SAMPLES_MAX`], or times do not grow.
pub fn encode_records(records: &[Record], out: &mut Vec<u8>) {
    let (first, rest) = records.split_first().expect("a chunk holds a record");
    let mut chunk = RecordChunk::new(first);
    rest.iter().for_each(|record| chunk.append(record));
    chunk.seal(out);
}

/// Appends the samples of a sealed chunk of plain floats to `ts` and `values`.
///
/// Memory is bounded by 128 times the input.
///
/// # Errors
/// The bytes are damaged, of an unknown codec or no plain floats; the outputs are then as before.
pub fn decode(sealed: &[u8], ts: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<(), Corruption> {
    let mut reader = Reader::new(check_crc(sealed)?);
    let (tag, header) = ChunkHeader::take(&mut reader)?;
    if tag != TAG_XOR2 {
        return Err(Corruption::new("chunk of unknown codec"));
    }
    decode_floats(reader, header, ts, values)
}

/// Appends the samples of a sealed chunk of any codec.
///
/// # Errors
/// The bytes are damaged or of an unknown codec; the output is then as before.
pub fn decode_samples(sealed: &[u8], out: &mut Samples) -> Result<(), Corruption> {
    let mut reader = Reader::new(check_crc(sealed)?);
    let (tag, header) = ChunkHeader::take(&mut reader)?;
    if tag == TAG_XOR2 {
        return decode_floats(reader, header, &mut out.ts, &mut out.values);
    }
    let before = out.records.len();
    let decoded = records::decode_stream(reader.rest(), header.count as usize, header.first_ms, &mut out.records);
    if decoded == Ok(header.last_ms) {
        return Ok(());
    }
    out.records.truncate(before);
    Err(decoded.err().unwrap_or(Corruption::new("last time of a chunk")))
}

fn decode_floats(reader: Reader<'_>, header: ChunkHeader, ts: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<(), Corruption> {
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
    seal_tagged(TAG_XOR2, (count, first_ms, last_ms), stream, out);
}

fn seal_tagged(tag: u8, (count, first_ms, last_ms): (usize, i64, i64), stream: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    out.reserve(stream.len() + 28);
    out.push(tag);
    put_varint(out, count as u64);
    put_zigzag(out, first_ms);
    put_varint(out, last_ms.wrapping_sub(first_ms) as u64);
    out.extend_from_slice(stream);
    put_crc(out, from);
}

#[cfg(test)]
mod tests;
