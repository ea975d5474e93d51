//! Remote write up to the rows of each shard: headers, decoding, admission, split.
//!
//! | module | does |
//! |---|---|
//! | [`headers`] | media type and encoding, before the body is read |
//! | [`decode`] | snappy and protobuf, as slices of one buffer |
//! | [`admit`] | labels and timestamps of each series |
//! | [`known`] | series seen before, by the bytes of their labels |
//! | [`split`] | hashes, generations, one buffer of rows per shard |
//! | [`route`] | brings each part to the leader of its shard |
//! | [`verdict`] | what the sender is told |

pub mod admit;
pub mod decode;
pub mod headers;
pub mod known;
pub mod route;
pub mod split;
pub mod verdict;

pub use headers::check_headers;

#[cfg(test)]
mod tests;
