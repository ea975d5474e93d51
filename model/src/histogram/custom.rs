//! Custom bounds of two histograms, reconciled.

use std::cmp::Ordering;
use std::sync::Arc;

/// The bounds that both ascending lists have.
#[must_use]
pub fn intersection(left: &[f64], right: &[f64]) -> Arc<[f64]> {
    let mut common = Vec::with_capacity(left.len().min(right.len()));
    let (mut l, mut r) = (0, 0);
    while let (Some(a), Some(b)) = (left.get(l), right.get(r)) {
        match a.partial_cmp(b) {
            Some(Ordering::Equal) => {
                common.push(*a);
                l += 1;
                r += 1;
            }
            Some(Ordering::Less) => l += 1,
            Some(Ordering::Greater) | None => r += 1,
        }
    }
    common.into()
}

/// Buckets of a histogram with `bounds`, with the indices they have under `common`, some of those bounds; the bucket after the
/// last bound has the index `common.len()`.
pub(super) fn mapped<'a, T: 'a>(
    buckets: impl Iterator<Item = (i32, T)> + 'a,
    bounds: &'a [f64],
    common: &'a [f64],
) -> impl Iterator<Item = (usize, T)> + 'a {
    let mut target = 0;
    buckets.map(move |(index, count)| {
        match usize::try_from(index).ok().and_then(|index| bounds.get(index)) {
            Some(bound) => target += common[target..].iter().take_while(|common| *common < bound).count(),
            None => target = common.len(),
        }
        (target, count)
    })
}
