//! Sending and receiving another replica's checkpoint: a header, blocks, a trailer that counts and sums them.

mod receive;
mod send;

pub(crate) use receive::{Receivers, receive};
pub(crate) use send::{Send, Senders, send};

/// Bytes of one block at most.
pub const SNAPSHOT_BLOCK_BYTES_MAX: usize = 1 << 20;
