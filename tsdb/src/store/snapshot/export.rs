//! The sending side.

use super::{BLOCK_BYTES_TARGET, END, ExportMeta};
use crate::db::corrupt;
use crate::error::StoreError;
use crate::keys::{ChunkKey, Family, HeadKey, SeriesKey};
use crate::store::file::Tally;
use crate::store::manifest::Manifest;
use crate::store::pack::unpack;
use crate::store::view::StoreView;
use crate::wire::{Reader, put_bytes, put_crc, put_varint};
use std::collections::{BTreeMap, BTreeSet};

/// The order in which families travel.
pub(super) const ORDER: [Family; 5] = [Family::Head, Family::Series, Family::Fpr, Family::Chunk, Family::Index];

/// What one view lists, as blocks. It pins the view: drop it when the transfer is over or given up.
#[derive(Debug)]
pub struct ShardExport {
    view: StoreView,
    meta: ExportMeta,
    /// Families still to send, the present one first, and the key to go on from.
    families: std::slice::Iter<'static, Family>,
    family: Option<Family>,
    from: Vec<u8>,
    /// Listed parts by family and day; the days still to send come from it.
    days: BTreeMap<(Family, u16), BTreeSet<u64>>,
    series: Tally,
    is_over: bool,
}

impl ShardExport {
    pub(crate) fn new(view: StoreView) -> Self {
        let manifest = Manifest { unlisted: Vec::new(), ..(*view.manifest).clone() };
        let mut days: BTreeMap<(Family, u16), BTreeSet<u64>> = BTreeMap::new();
        for part in &manifest.parts {
            days.entry((part.kind.family(), part.day.0)).or_default().insert(part.id);
        }
        let mut families = ORDER.iter();
        let family = families.next().copied();
        let mut export = Self {
            view,
            meta: ExportMeta { manifest },
            families,
            family,
            from: Vec::new(),
            days,
            series: Tally::default(),
            is_over: false,
        };
        export.begin_family();
        export
    }

    /// What is sent.
    #[must_use]
    pub fn view(&self) -> &StoreView {
        &self.view
    }

    /// What the receiver must know first.
    #[must_use]
    pub fn meta(&self) -> &ExportMeta {
        &self.meta
    }

    /// The next block; none after the last.
    ///
    /// # Errors
    /// A listed value is missing or damaged; the transfer cannot go on.
    pub fn next_block(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        if self.is_over {
            return Ok(None);
        }
        let mut block = Vec::with_capacity(BLOCK_BYTES_TARGET + (64 << 10));
        while let Some(family) = self.family {
            if self.fill(family, &mut block)? {
                put_crc(&mut block, 0);
                return Ok(Some(block));
            }
            self.family = self.families.next().copied();
            self.begin_family();
        }
        self.is_over = true;
        block.push(END);
        put_varint(&mut block, self.series.keys);
        block.extend_from_slice(&self.series.hash.to_le_bytes());
        put_crc(&mut block, 0);
        Ok(Some(block))
    }

    fn begin_family(&mut self) {
        let local = self.view.dataset.local;
        self.from = match self.family {
            Some(Family::Head) => HeadKey { local, generation: self.meta.manifest.generation, page: 0 }.encode().to_vec(),
            Some(Family::Chunk | Family::Index) => Vec::new(),
            Some(Family::Series | Family::Fpr | Family::Meta) | None => local.to_be_bytes().to_vec(),
        };
    }

    /// Adds records of a family from where the last block ended; tells whether the block is full.
    fn fill(&mut self, family: Family, block: &mut Vec<u8>) -> Result<bool, StoreError> {
        match family {
            Family::Chunk | Family::Index => self.fill_days(family, block),
            Family::Head => {
                let prefix = [self.view.dataset.local.to_be_bytes(), self.meta.manifest.generation.to_be_bytes()].concat();
                self.fill_prefix(family, &prefix, block)
            }
            Family::Series | Family::Fpr | Family::Meta => {
                let prefix = self.view.dataset.local.to_be_bytes();
                self.fill_prefix(family, &prefix, block)
            }
        }
    }

    fn fill_days(&mut self, family: Family, block: &mut Vec<u8>) -> Result<bool, StoreError> {
        while let Some((place, _)) = self.days.range((family, 0)..=(family, u16::MAX)).next() {
            let place = *place;
            let prefix = [&place.1.to_be_bytes()[..], &self.view.dataset.local.to_be_bytes()].concat();
            if !self.from.starts_with(&prefix) {
                self.from.clone_from(&prefix);
            }
            if self.fill_prefix(family, &prefix, block)? {
                return Ok(true);
            }
            self.days.remove(&place);
        }
        Ok(false)
    }

    fn fill_prefix(&mut self, family: Family, prefix: &[u8], block: &mut Vec<u8>) -> Result<bool, StoreError> {
        let view = self.view.clone();
        let mut iterator = view.dataset.iterate(family, prefix, false);
        iterator.seek(&self.from);
        while let Some((key, sealed)) = iterator.item() {
            if block.len() >= BLOCK_BYTES_TARGET {
                self.from = key.to_vec();
                return Ok(true);
            }
            if self.is_listed(family, key, sealed)? {
                let portable = family.portable(key).map_err(corrupt(family, key))?;
                if matches!(family, Family::Series | Family::Fpr) {
                    self.series.add(&portable, sealed);
                }
                block.push(family as u8);
                put_bytes(block, &portable);
                put_bytes(block, sealed);
            }
            iterator.next();
        }
        iterator.status()?;
        Ok(false)
    }

    fn is_listed(&self, family: Family, key: &[u8], sealed: &[u8]) -> Result<bool, StoreError> {
        let damaged = |source| corrupt(family, key)(source);
        let manifest = &self.meta.manifest;
        Ok(match family {
            Family::Meta => false,
            Family::Head => HeadKey::decode(key).map_err(damaged)?.page < manifest.pages,
            Family::Series => manifest.series.contains(SeriesKey::decode(key).map_err(damaged)?.sid),
            Family::Fpr => {
                let sid = self.view.dataset.read(family, key, sealed, |packed| Reader::new(&unpack(packed)?).u32_le())?;
                manifest.series.contains(sid)
            }
            Family::Chunk | Family::Index => {
                let key = ChunkKey::decode(key).map_err(damaged)?;
                self.days.get(&(family, key.day)).is_some_and(|parts| parts.contains(&key.part))
            }
        })
    }
}
