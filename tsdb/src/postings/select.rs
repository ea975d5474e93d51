//! The head's postings behind the evaluator of matchers, and the values and names that series carry.

use super::Index;
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
        if let Some(pair) = self.names.get(name).and_then(|values| values.get(value)) {
            self.postings[*pair as usize].add_to(into);
        }
        Ok(())
    }

    fn add_values_where(&self, name: &str, keep: &mut dyn FnMut(&str) -> bool, into: &mut RoaringBitmap) -> Result<(), Infallible> {
        for (value, pair) in self.names.get(name).into_iter().flatten() {
            if keep(value) {
                self.postings[*pair as usize].add_to(into);
            }
        }
        Ok(())
    }
}

impl Index {
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
