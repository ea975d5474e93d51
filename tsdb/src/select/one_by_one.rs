//! When it is cheaper to read the labels of series than to look at the postings of every value.

use super::Merged;
use roaring::RoaringBitmap;

/// Series whose labels are to be read one by one.
pub(crate) struct OneByOne<'a> {
    cost_of: &'a dyn Fn(&RoaringBitmap) -> u64,
    /// Those taken so far.
    pub(crate) sids: RoaringBitmap,
}

impl<'a> OneByOne<'a> {
    /// `cost_of` tells what it costs to read the labels of series, in looks at the postings of one value.
    pub(crate) fn new(cost_of: &'a dyn Fn(&RoaringBitmap) -> u64) -> Self {
        Self { cost_of, sids: RoaringBitmap::new() }
    }

    /// Takes no series.
    pub(crate) fn never() -> Self {
        Self::new(&|_| u64::MAX)
    }

    /// Takes `series` if that costs less than to look at so many of `values` values that `merged` has enough of them.
    pub(crate) fn takes(&mut self, series: &RoaringBitmap, values: u64, merged: &Merged) -> bool {
        // A look at the labels of a series costs no less than one at a value.
        let takes =
            is_cheaper(series.len(), series.len(), values, merged) && is_cheaper((self.cost_of)(series), series.len(), values, merged);
        if takes {
            self.sids |= series;
        }
        takes
    }
}

/// Whether reading the labels of `series` series at `cost` altogether is cheaper than looking at values until `merged` has enough.
pub(crate) fn is_cheaper(cost: u64, series: u64, values: u64, merged: &Merged) -> bool {
    // If series are few, one value in `values / series` has one of them.
    let looks = values.saturating_mul(merged.limit() as u64).checked_div(series).unwrap_or(0);
    cost < values.min(looks)
}
