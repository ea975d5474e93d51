//! Records of series: who has which number. Written once, ahead of the flip that makes them count.

use super::dataset::Dataset;
use crate::error::{Corruption, StoreError};
use crate::keys::{Family, FprKey, SeriesKey};
use crate::rows::labels_of;
use crate::store::pack::{pack_plain, unpack};
use crate::wire::{Reader, put_varint, put_zigzag};
use model::{Labels, SeriesId};
use rocksdb::WriteBatch;

const FORMAT: u8 = 2;

/// What is stored of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesRecord {
    /// Metric number, given by the shard.
    pub metric: u32,
    /// Identity hash of the labels.
    pub fp128: u128,
    /// Placement hash of the labels.
    pub placement: u64,
    /// A time not before which the series had a sample that a rewrite took out, because it was deleted.
    pub newest_ms: Option<i64>,
    /// The labels.
    pub labels: Labels,
}

impl SeriesRecord {
    pub(super) fn decode(packed: &[u8]) -> Result<Self, Corruption> {
        let value = unpack(packed)?;
        let mut reader = Reader::new(&value);
        if reader.u8()? != FORMAT {
            return Err(Corruption::new("series record of unknown format"));
        }
        let metric = reader.varint_u32()?;
        let fp128 = u128::from_le_bytes(reader.array()?);
        let placement = reader.u64_le()?;
        let newest_ms = match reader.u8()? {
            0 => None,
            1 => Some(reader.zigzag()?),
            _ => return Err(Corruption::new("flag of a series record")),
        };
        let labels = labels_of(reader.rest()).map_err(|_| Corruption::new("labels of a series"))?;
        Ok(Self { metric, fp128, placement, newest_ms, labels })
    }
}

/// What a new record says, with the labels still encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewRecord<'a> {
    pub(super) sid: SeriesId,
    pub(super) metric: u32,
    pub(super) fp128: u128,
    pub(super) placement: u64,
    pub(super) newest_ms: Option<i64>,
    pub(super) labels: &'a [u8],
}

impl NewRecord<'_> {
    pub(super) fn put(self, dataset: &Dataset, batch: &mut WriteBatch) {
        let mut value = Vec::with_capacity(40 + self.labels.len());
        value.push(FORMAT);
        put_varint(&mut value, u64::from(self.metric));
        value.extend_from_slice(&self.fp128.to_le_bytes());
        value.extend_from_slice(&self.placement.to_le_bytes());
        value.push(u8::from(self.newest_ms.is_some()));
        if let Some(newest_ms) = self.newest_ms {
            put_zigzag(&mut value, newest_ms);
        }
        value.extend_from_slice(self.labels);
        let key = SeriesKey { local: dataset.local, sid: self.sid.0 }.encode();
        dataset.put(batch, Family::Series, &key, &pack_plain(&value));
        let key = FprKey { local: dataset.local, fp128: self.fp128 }.encode();
        dataset.put(batch, Family::Fpr, &key, &pack_plain(&self.sid.0.to_le_bytes()));
    }
}

/// The number stored for an identity hash; it counts only if the manifest lists it.
pub(super) fn find(dataset: &Dataset, fp128: u128) -> Result<Option<u32>, StoreError> {
    let key = FprKey { local: dataset.local, fp128 }.encode();
    dataset.get(Family::Fpr, &key, |packed| {
        let value = unpack(packed)?;
        let mut reader = Reader::new(&value);
        let sid = reader.u32_le()?;
        reader.end()?;
        Ok(sid)
    })
}
