//! Samples in few bytes, in two forms.
//!
//! In the head a series' samples are a bit stream that takes one after another: [`OpenChunk`]. In parts they are pages of columns
//! ([`PageCoder`]), which take half the bytes and are decoded several values at a time. A checkpoint makes the one from the other.
//!
//! | module | codes |
//! |---|---|
//! | `open`, `xor2`, `bits` | the bit stream |
//! | `page` | a page: times apart, values with their start times |
//! | `floats`, `histograms` | columns of values |
//! | `ints`, `pack` | columns of integers, and their bits |
//!
//! Values are any 64 bits, times any growing `i64`s. Decoders take any bytes, and cost memory in proportion to them and to the number
//! of samples asked for. Checksums are those of the values that pages lie in.

mod bits;
mod floats;
mod histograms;
mod ints;
mod open;
mod pack;
mod page;
mod xor2;

pub use floats::Summary;
pub use open::OpenChunk;
pub use page::{Decoded, PageCoder, PageContent, PageInput, PageValues, summary};

/// Most samples of one chunk.
pub const SAMPLES_MAX: usize = u16::MAX as usize;
/// Samples of a page at which it is full: more save hardly a bit, and whoever needs one has to decode all.
pub const PAGE_SAMPLES: usize = 480;

#[cfg(test)]
mod tests;
