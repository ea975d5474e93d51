//! Sending a shard's data to another replica: what one view lists, in checked blocks.
//!
//! Values travel as they are stored, sealed; keys travel without the node's own number. The receiver writes them under a fresh
//! number, and one synced batch makes that number the replica's data.
//!
//! ```text
//! block:  records | crc32c u32le
//! record: family u8 | key (length varint, portable key) | value (length varint, sealed value)
//! end:    0xff | series keys varint | crc32c over series keys and values u32le
//! ```
//!
//! Order: pages, series, identity hashes, chunks, index; by key inside each.

mod export;
mod meta;
mod stage;

pub use export::ShardExport;
pub use meta::ExportMeta;
pub use stage::{Staged, Staging};

/// Blocks are filled up to about this size; only a single larger record makes a larger one.
pub const BLOCK_BYTES_TARGET: usize = 1 << 20;
/// Marks the last record.
const END: u8 = 0xff;
