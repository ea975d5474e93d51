//! Seeds, run as `sim many` runs them.
#![allow(clippy::unwrap_used, reason = "clippy knows test functions, but not the helpers of a test binary")]

mod seeds;
