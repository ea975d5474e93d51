//! Index segments: which series of a day carry which label.
//!
//! Each checkpoint that flushes samples of a day writes a segment with those of the flushed series that no listed segment of
//! the day holds yet; the day's index is the union of its segments. When the day is over its last rewrite writes one segment in
//! their place. A segment is a part of its own in `index`:
//!
//! ```text
//! section 0:          format u8 | series (bitmap) | names n, n x name
//!   name:             text | values | bytes | dictionary pages n, n x (first value | number of the first value - that of the page before)
//!                                           | postings pages n, n x (number of the first value - that of the page before)
//! section 1 + 2 name: dictionary: per value in order: bytes shared with the one before | rest of the text | series
//! section 2 + 2 name: postings: per value in order: n from 1 to 64, n x sid delta
//!                                                 | 0, bitmap (more, or where it is smaller)
//! ```
//!
//! Values are numbered from 0 in each name. The dictionary begins anew, sharing nothing, on each of its pages.

mod build;
mod cache;
mod dictionary;
mod directory;
mod read;
#[cfg(test)]
mod tests;

pub(crate) use build::IndexBuilder;
pub(crate) use cache::MatcherCache;
#[cfg(test)]
pub(crate) use directory::Directory;
pub(crate) use directory::SegmentCache;
pub(crate) use read::Segment;

const FORMAT: u8 = 3;
/// Series of a value that may be listed one by one.
const LISTED_MAX: usize = 64;
/// Series of a value that are so few that a bitmap is never smaller than the list of them.
const FEW: usize = 4;

/// Section of the dictionary of the name with this number.
fn dictionary_section(name: u32) -> u32 {
    1 + 2 * name
}

/// Section of the postings of the name with this number.
fn postings_section(name: u32) -> u32 {
    2 + 2 * name
}
