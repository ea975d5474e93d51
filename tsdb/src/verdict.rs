//! What apply decided about the parts of a `Write`, and the words Prometheus has for it.

use crate::error::Corruption;
use crate::wire::{Reader, put_bytes, put_varint, put_zigzag};
use bytes::Bytes;
use model::Timestamp;

const FORMAT: u8 = 2;

/// Why a sample was refused, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Refusal {
    /// Older than the series' newest sample, and the workspace takes nothing out of order.
    OutOfOrder = 0,
    /// Further behind entry time than the window allows.
    TooOld = 1,
    /// Further ahead of entry time than allowed.
    TooFarInFuture = 2,
    /// The series has another value at this timestamp.
    Duplicate = 3,
}

impl Refusal {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::OutOfOrder, Self::TooOld, Self::TooFarInFuture, Self::Duplicate];

    /// The word for metrics labels.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::OutOfOrder => "out_of_order",
            Self::TooOld => "too_old",
            Self::TooFarInFuture => "too_far_in_future",
            Self::Duplicate => "duplicate",
        }
    }

    /// The message of Prometheus's remote-write receiver for a series printed as `{a="b"}`.
    #[must_use]
    pub fn message(self, labels: &str) -> String {
        let error = match self {
            Self::OutOfOrder => "out of order sample",
            Self::TooOld => "too old sample",
            Self::TooFarInFuture => "out of bounds: timestamp is too far in the future",
            Self::Duplicate => "duplicate sample for timestamp",
        };
        format!("{error} for series {labels}")
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The first refused sample of a part, in the part's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstError {
    /// Place of the series in the request.
    pub ordinal: u32,
    /// Why.
    pub kind: Refusal,
    /// The series, printed as Prometheus prints it.
    pub labels: String,
    /// The sample's timestamp.
    pub timestamp_ms: Timestamp,
}

impl FirstError {
    /// The message of Prometheus's remote-write receiver.
    #[must_use]
    pub fn message(&self) -> String {
        self.kind.message(&self.labels)
    }
}

/// What became of one part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartVerdict {
    /// Samples that are in the shard because of this part.
    pub accepted: u32,
    /// Samples that were there already, with the same bits.
    pub unchanged: u32,
    /// How many of these two were histograms.
    pub histograms: u32,
    /// Exemplars that are in the shard, because of this part or before.
    pub exemplars: u32,
    /// Exemplars passed over: older than the newest of their series, too long, or of a series without samples.
    pub exemplars_dropped: u32,
    /// Samples refused for good, by [`Refusal`] number.
    pub rejected: [u32; Refusal::ALL.len()],
    /// The first of the refused.
    pub first_error: Option<FirstError>,
    /// Ordinals of rows that have samples which belong to another shard; nothing is said about those samples.
    pub stale_rows: Vec<u32>,
    /// The part names a series that the shard does not know; nothing of it was applied, the router sends it again.
    pub unresolved: bool,
}

impl PartVerdict {
    /// Samples refused for good.
    #[must_use]
    pub fn rejected_total(&self) -> u32 {
        self.rejected.iter().sum()
    }

    /// Whether sending the part again could change nothing.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.stale_rows.is_empty() && !self.unresolved
    }

    /// Encodes one verdict, as the answer to a part that came alone.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = vec![FORMAT];
        self.write(&mut out);
        out.into()
    }

    /// Decodes what [`PartVerdict::encode`] wrote.
    ///
    /// # Errors
    /// The bytes are cut off, too many, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let mut r = begin(bytes)?;
        let verdict = Self::read(&mut r)?;
        r.end()?;
        Ok(verdict)
    }

    pub(crate) fn refuse(&mut self, kind: Refusal, error: impl FnOnce() -> FirstError) {
        self.rejected[kind as usize] += 1;
        if self.first_error.is_none() {
            self.first_error = Some(error());
        }
    }

    /// Notes a row with samples of another shard; rows come in order, each may be noted again and again.
    pub(crate) fn stale_row(&mut self, ordinal: u32) {
        if self.stale_rows.last() != Some(&ordinal) {
            self.stale_rows.push(ordinal);
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let Self { accepted, unchanged, histograms, exemplars, exemplars_dropped, rejected, first_error, stale_rows, unresolved } = self;
        out.push(u8::from(*unresolved) | u8::from(first_error.is_some()) << 1);
        for n in [accepted, unchanged, histograms, exemplars, exemplars_dropped].into_iter().chain(rejected) {
            put_varint(out, u64::from(*n));
        }
        if let Some(FirstError { ordinal, kind, labels, timestamp_ms }) = first_error {
            put_varint(out, u64::from(*ordinal));
            out.push(*kind as u8);
            put_bytes(out, labels.as_bytes());
            put_zigzag(out, *timestamp_ms);
        }
        put_varint(out, stale_rows.len() as u64);
        for ordinal in stale_rows {
            put_varint(out, u64::from(*ordinal));
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, Corruption> {
        let flags = r.u8()?;
        if flags > 3 {
            return Err(Corruption::new("known verdict flags"));
        }
        let (accepted, unchanged, histograms) = (r.varint_u32()?, r.varint_u32()?, r.varint_u32()?);
        let (exemplars, exemplars_dropped) = (r.varint_u32()?, r.varint_u32()?);
        let mut rejected = [0; Refusal::ALL.len()];
        for n in &mut rejected {
            *n = r.varint_u32()?;
        }
        let first_error = if flags & 2 == 0 { None } else { Some(read_first_error(r)?) };
        let stale = r.count(1)?;
        let stale_rows = (0..stale).map(|_| r.varint_u32()).collect::<Result<_, _>>()?;
        let unresolved = flags & 1 == 1;
        Ok(Self { accepted, unchanged, histograms, exemplars, exemplars_dropped, rejected, first_error, stale_rows, unresolved })
    }
}

fn read_first_error(r: &mut Reader<'_>) -> Result<FirstError, Corruption> {
    let ordinal = r.varint_u32()?;
    let kind = Refusal::from_byte(r.u8()?).ok_or_else(|| Corruption::new("known refusal"))?;
    let labels = r.text()?.to_owned();
    Ok(FirstError { ordinal, kind, labels, timestamp_ms: r.zigzag()? })
}

fn begin(bytes: &[u8]) -> Result<Reader<'_>, Corruption> {
    let mut r = Reader::new(bytes);
    if r.u8()? == FORMAT { Ok(r) } else { Err(Corruption::new("known format")) }
}

/// The answer of apply: one verdict for each part of a `Write`, none for other entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyResponse {
    /// In the order of the entry.
    pub parts: Vec<PartVerdict>,
}

impl ApplyResponse {
    /// Encodes the answer.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(2 + self.parts.len() * 12);
        out.push(FORMAT);
        put_varint(&mut out, self.parts.len() as u64);
        for part in &self.parts {
            part.write(&mut out);
        }
        out.into()
    }

    /// Decodes what [`ApplyResponse::encode`] wrote.
    ///
    /// # Errors
    /// The bytes are cut off or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let mut r = begin(bytes)?;
        let n = r.count(11)?;
        let parts = (0..n).map(|_| PartVerdict::read(&mut r)).collect::<Result<_, _>>()?;
        Ok(Self { parts })
    }
}

#[cfg(test)]
mod tests;
