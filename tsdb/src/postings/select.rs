//! The head's postings behind the evaluator of matchers, and the values and names that series carry.

use super::Index;
use super::posting::Posting;
use crate::store::select::PostingsSource;
use roaring::RoaringBitmap;
use std::convert::Infallible;

impl PostingsSource for Index {
    type Error = Infallible;

    fn add_all(&self, into: &mut RoaringBitmap) -> Result<(), Infallible> {
        *into |= &self.all;
        Ok(())
    }

    fn add_value(&self, name: &str, value: &str, into: &mut RoaringBitmap) -> Result<(), Infallible> {
        if let Some(posting) = self.posting(name, value) {
            posting.add_to(into);
        }
        Ok(())
    }

    fn value_len(&self, name: &str, value: &str) -> Option<u64> {
        Some(self.posting(name, value).map_or(0, Posting::len))
    }

    fn keep_value(&self, name: &str, value: &str, among: &mut RoaringBitmap) -> Result<(), Infallible> {
        self.posting(name, value).unwrap_or(&Posting::Empty).keep_in(among);
        Ok(())
    }

    fn drop_value(&self, name: &str, value: &str, among: &mut RoaringBitmap) -> Result<(), Infallible> {
        if let Some(posting) = self.posting(name, value) {
            posting.drop_from(among);
        }
        Ok(())
    }

    fn add_values_where(
        &self,
        name: &str,
        prefix: &str,
        keep: &mut dyn FnMut(&str) -> bool,
        into: &mut RoaringBitmap,
    ) -> Result<(), Infallible> {
        for (value, pair) in self.names.get(name).into_iter().flatten() {
            if value.starts_with(prefix) && keep(value) {
                self.postings[*pair as usize].add_to(into);
            }
        }
        Ok(())
    }
}

impl Index {
    pub(super) fn posting(&self, name: &str, value: &str) -> Option<&Posting> {
        let pair = self.names.get(name)?.get(value)?;
        self.postings.get(*pair as usize)
    }

    /// Values of `name` carried by at least one of `among` (by any series if `None`), in no order.
    pub(crate) fn values<'a>(&'a self, name: &str, among: Option<&'a RoaringBitmap>) -> impl Iterator<Item = &'a str> {
        let values = self.names.get(name).into_iter().flatten();
        values
            .filter(move |(_, pair)| among.is_none_or(|set| self.postings[**pair as usize].intersects(set)))
            .map(|(value, _)| value.as_ref())
    }

    /// Names carried by at least one of `among` (by any series if `None`), in no order.
    pub(crate) fn names<'a>(&'a self, among: Option<&'a RoaringBitmap>) -> impl Iterator<Item = &'a str> {
        let carried = move |pair: &u32, set| self.postings[*pair as usize].intersects(set);
        self.names
            .iter()
            .filter(move |(_, values)| among.is_none_or(|set| values.values().any(|pair| carried(pair, set))))
            .map(|(name, _)| name.as_ref())
    }
}
