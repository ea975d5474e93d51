//! Every column family of the chunk database and every key in it. Integers are big-endian.
//!
//! | family | key | value |
//! |---|---|---|
//! | `meta` | local u32, tag u8 | see [`MetaTag`] |
//! | `series` | local u32, sid u32 | metric, identity hash, placement hash, labels |
//! | `fpr` | local u32, identity hash u128 | sid |
//! | `chunk` | day u16, local u32, metric u32, part u48, first sid u32 | a group of chunks |
//! | `index` | day u16, local u32, section u32, part u48, page u32 | directory or postings |
//! | `head` | local u32, generation u32, page u32 | a page of a checkpoint |
//!
//! `local` is the node's own number of a shard's data, never used twice. A key without it is *portable*: it is what values are
//! sealed under and what travels to other nodes.

mod chunk;
mod fpr;
mod head;
mod index;
mod meta;
mod series;

pub use chunk::ChunkKey;
pub use fpr::FprKey;
pub use head::HeadKey;
pub use index::IndexKey;
pub use meta::{MetaKey, MetaTag};
pub use series::SeriesKey;

use crate::error::Corruption;

/// A column family. The numbers are part of transfers; never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    /// Records of the node and of each shard's data.
    Meta = 1,
    /// Series by number.
    Series = 2,
    /// Series numbers by identity hash.
    Fpr = 3,
    /// Samples.
    Chunk = 4,
    /// Index segments.
    Index = 5,
    /// Pages of head checkpoints.
    Head = 6,
}

impl Family {
    /// All families.
    pub const ALL: [Self; 6] = [Self::Meta, Self::Series, Self::Fpr, Self::Chunk, Self::Index, Self::Head];

    /// The name RocksDB knows it by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Series => "series",
            Self::Fpr => "fpr",
            Self::Chunk => "chunk",
            Self::Index => "index",
            Self::Head => "head",
        }
    }

    /// The family of a number found in a transfer.
    ///
    /// # Errors
    /// There is none.
    pub fn from_number(number: u8) -> Result<Self, Corruption> {
        Self::ALL.into_iter().find(|family| *family as u8 == number).ok_or(Corruption::new("unknown column family"))
    }

    fn local_offset(self) -> usize {
        match self {
            Self::Chunk | Self::Index => 2,
            Self::Meta | Self::Series | Self::Fpr | Self::Head => 0,
        }
    }

    /// The key without the node's own number.
    ///
    /// # Errors
    /// The key is too short.
    pub fn portable(self, key: &[u8]) -> Result<Vec<u8>, Corruption> {
        let cut = Corruption::new("key is cut off");
        let (front, rest) = key.split_at_checked(self.local_offset()).ok_or(cut)?;
        Ok([front, rest.get(4..).ok_or(cut)?].concat())
    }

    /// The key with the node's own number in its place.
    ///
    /// # Errors
    /// The portable key is too short.
    pub fn with_local(self, portable: &[u8], local: u32) -> Result<Vec<u8>, Corruption> {
        let (front, rest) = portable.split_at_checked(self.local_offset()).ok_or(Corruption::new("key is cut off"))?;
        Ok([front, &local.to_be_bytes(), rest].concat())
    }
}

/// Joins fixed-width pieces to one key.
fn join<const N: usize>(pieces: &[&[u8]]) -> [u8; N] {
    let mut key = [0; N];
    let mut at = 0;
    for piece in pieces {
        key[at..at + piece.len()].copy_from_slice(piece);
        at += piece.len();
    }
    assert_eq!(at, N, "pieces of a key fill it");
    key
}

/// Takes big-endian pieces off a key.
struct KeyReader<'a>(&'a [u8]);

impl KeyReader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Corruption> {
        let (piece, rest) = self.0.split_first_chunk::<N>().ok_or(Corruption::new("key is cut off"))?;
        self.0 = rest;
        Ok(*piece)
    }

    fn u16(&mut self) -> Result<u16, Corruption> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Corruption> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u48(&mut self) -> Result<u64, Corruption> {
        let [a, b, c, d, e, f] = self.array()?;
        Ok(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    fn end(self) -> Result<(), Corruption> {
        if self.0.is_empty() { Ok(()) } else { Err(Corruption::new("key is too long")) }
    }
}

fn u48_bytes(value: u64) -> [u8; 6] {
    let [high, low, rest @ ..] = value.to_be_bytes();
    assert!(high == 0 && low == 0, "{value} does not fit 48 bits");
    rest
}

#[cfg(test)]
mod tests;
