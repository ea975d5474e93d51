//! From identity hash and from series id to head slot.

use hashbrown::HashTable;

/// Slots by identity hash. An entry holds a part of the hash alone: the whole stands in the slot, which is looked at next anyway.
#[derive(Debug, Default)]
pub(super) struct FpTable {
    slots: HashTable<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The low bits of the identity hash, which is keyed: its own hash.
    tag: u32,
    slot: u32,
}

impl Entry {
    /// Spreads the tag over the bits that the table looks at, those at the top too.
    fn hash(tag: u32) -> u64 {
        u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl FpTable {
    /// The slot of a series; `is_of` tells whether a slot holds the one with this hash.
    pub(super) fn get(&self, fp128: u128, is_of: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = fp128 as u32;
        self.slots.find(Entry::hash(tag), |entry| entry.tag == tag && is_of(entry.slot)).map(|entry| entry.slot)
    }

    pub(super) fn insert(&mut self, fp128: u128, slot: u32) {
        let tag = fp128 as u32;
        self.slots.insert_unique(Entry::hash(tag), Entry { tag, slot }, |entry| Entry::hash(entry.tag));
    }

    pub(super) fn remove(&mut self, fp128: u128, slot: u32) {
        if let Ok(found) = self.slots.find_entry(Entry::hash(fp128 as u32), |entry| entry.slot == slot) {
            found.remove();
        }
    }
}

const VACANT: u32 = u32::MAX;
const SID_PAGE: usize = 1024;

/// Slots by series id, in pages that are freed when the last of their series has left the head.
#[derive(Debug, Default)]
pub(crate) struct SidMap {
    pages: Vec<Option<SidPage>>,
}

#[derive(Debug)]
struct SidPage {
    slots: Box<[u32]>,
    used: u32,
}

impl SidMap {
    pub(crate) fn get(&self, sid: u32) -> Option<u32> {
        let page = self.pages.get(sid as usize / SID_PAGE)?.as_ref()?;
        page.slots.get(sid as usize % SID_PAGE).copied().filter(|slot| *slot != VACANT)
    }

    pub(crate) fn insert(&mut self, sid: u32, slot: u32) {
        let at = sid as usize / SID_PAGE;
        if self.pages.len() <= at {
            self.pages.resize_with(at + 1, || None);
        }
        let page = self.pages[at].get_or_insert_with(|| SidPage { slots: vec![VACANT; SID_PAGE].into_boxed_slice(), used: 0 });
        let place = &mut page.slots[sid as usize % SID_PAGE];
        assert!(*place == VACANT, "series {sid} is in the head already, in slot {place}");
        *place = slot;
        page.used += 1;
    }

    pub(crate) fn remove(&mut self, sid: u32) {
        let Some(place) = self.pages.get_mut(sid as usize / SID_PAGE) else { return };
        let Some(page) = place else { return };
        if std::mem::replace(&mut page.slots[sid as usize % SID_PAGE], VACANT) != VACANT {
            page.used -= 1;
        }
        if page.used == 0 {
            *place = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sid_pages_are_freed_with_their_last_series() {
        let mut map = SidMap::default();
        map.insert(5, 0);
        map.insert(5000, 1);
        assert_eq!((map.get(5), map.get(5000), map.get(6), map.get(1 << 30)), (Some(0), Some(1), None, None));
        map.remove(5);
        map.remove(5);
        assert!(map.get(5).is_none() && map.pages[0].is_none() && map.get(5000) == Some(1));
    }

    #[test]
    fn hashes_that_share_a_part_stay_apart() {
        let mut table = FpTable::default();
        let same_low = [(1u128 << 64) | 7, (2u128 << 64) | 7, 7];
        for (slot, fp) in same_low.into_iter().enumerate() {
            table.insert(fp, slot as u32);
        }
        table.remove(same_low[1], 1);
        let found = same_low.map(|fp| table.get(fp, |slot| same_low[slot as usize] == fp));
        assert_eq!(found, [Some(0), None, Some(2)]);
    }
}
