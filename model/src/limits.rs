//! Every named maximum. A queue, batch, message or input without a bound here is a bug.

use std::time::Duration;

/// Compressed remote-write body.
pub const REMOTE_WRITE_COMPRESSED_BYTES_MAX: usize = 16 << 20;
/// Decoded remote-write body.
pub const REMOTE_WRITE_DECODED_BYTES_MAX: usize = 64 << 20;
/// Time a client has to deliver a request body.
pub const REQUEST_BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Labels of one series.
pub const LABELS_PER_SERIES_MAX: usize = 150;
/// Bytes of a label name.
pub const LABEL_NAME_BYTES_MAX: usize = 1024;
/// Bytes of a label value.
pub const LABEL_VALUE_BYTES_MAX: usize = 2048;
/// Bytes of all names and values of one series.
pub const LABELS_BYTES_MAX: usize = 32 << 10;
/// How far ahead of cluster time a sample may be.
pub const FUTURE_MS_MAX: i64 = 10 * 60 * 1000;

/// Payload of one Raft entry.
pub const ENTRY_BYTES_MAX: usize = 4 << 20;
/// Payload at which a shard stops gathering and proposes.
pub const ENTRY_BYTES_TARGET: usize = 1 << 20;
/// Bytes of proposals that one shard may have in flight.
pub const SHARD_PENDING_BYTES_MAX: usize = 32 << 20;
/// Bytes of proposals that one node may have in flight.
pub const NODE_PENDING_BYTES_MAX: usize = 512 << 20;
/// Shards of one generation of a workspace's map.
pub const SHARDS_PER_WORKSPACE_MAX: u32 = 256;

/// Text of one PromQL query.
pub const QUERY_BYTES_MAX: usize = 16 << 10;
/// Nesting of one PromQL query.
pub const QUERY_DEPTH_MAX: usize = 200;
/// Text of one regular expression.
pub const REGEX_BYTES_MAX: usize = 4 << 10;
/// Steps of one range query.
pub const QUERY_POINTS_MAX: i64 = 11_000;
/// Samples one query may hold at once.
pub const QUERY_SAMPLES_MAX: usize = 50_000_000;
/// Queries that run at once on a node.
pub const QUERY_CONCURRENCY_MAX: usize = 20;
/// Bytes of the head of an HTTP request.
pub const HTTP_HEAD_BYTES_MAX: usize = 64 << 10;
/// Bytes of a form body.
pub const HTTP_FORM_BYTES_MAX: usize = 1 << 20;
/// Bytes of a control-plane request: a definition of 1 MiB in base64, and what is around it.
pub const CONTROL_BODY_BYTES_MAX: usize = 2 << 20;
/// A frame between nodes.
pub const RPC_MESSAGE_BYTES_MAX: usize = 8 << 20;
