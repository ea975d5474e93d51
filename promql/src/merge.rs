//! States of aggregations that can be merged in any order and grouping without changing the result.

pub mod exact;
pub(crate) mod gather;
pub(crate) mod wide;
