//! Seeds, run as `sim many` runs them.

mod seeds;
