//! Index segments: which series of a day carry which label.
//!
//! Each checkpoint that flushes samples of a day writes a segment with those of the flushed series that no listed segment of
//! the day holds yet; the day's index is the union of its segments. A segment is a part of its own in `index`:
//!
//! ```text
//! section 0:        format u8 | series (bitmap) | n x (name, pages x first value)
//! section 1 + name: per value in order: text | n varint, n x sid delta   (n from 1 to 8)
//!                                            | 0, bitmap                 (more)
//! ```

mod build;
mod read;

pub(crate) use build::IndexBuilder;
#[cfg(test)]
pub(crate) use read::Directory;
pub(crate) use read::{Segment, SegmentCache};

const FORMAT: u8 = 1;
/// Series of a value that are listed one by one.
const LISTED_MAX: usize = 8;
