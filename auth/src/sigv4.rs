//! AWS Signature Version 4, the verifying side.
//!
//! ```text
//! Request --Signed::parse--> Signed --check_scope, check_time, Canonical::new--> strings to sign --Verifier--> Ok
//! ```
//!
//! What stands here follows what AWS's clients do rather than what AWS's pages say: the path is encoded a second time as it came; where it
//! holds empty or dot segments, the normalised path is a second candidate, because some clients normalise before they sign and send
//! what they were given. A region may be empty, since some clients sign with the empty region of their configuration.

mod canonical;
mod key;
mod parse;
mod time;
mod verify;

#[cfg(test)]
mod tests;

pub use canonical::PathForm;
pub(crate) use canonical::{decode_part, query_pairs};
pub use parse::{Form, Signed};
pub use verify::{KeySource, Verifier};

use std::collections::BTreeSet;

/// Name of the algorithm, in headers, queries and strings to sign.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A service that requests are signed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Everything but STS.
    Aps,
    /// The security token service.
    Sts,
}

impl Service {
    /// Its signing name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aps => "aps",
            Self::Sts => "sts",
        }
    }
}

/// What a verifier accepts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How far the time of a request and ours may be apart, in milliseconds; AWS allows 300 000.
    pub clock_skew_ms: i64,
    /// Regions that requests may be signed for, besides the empty one; none accepts any.
    pub regions: Option<BTreeSet<String>>,
    /// Whether `UNSIGNED-PAYLOAD` is accepted, over TLS only.
    pub is_unsigned_payload_allowed: bool,
    /// Bytes that derived signing keys may take.
    pub key_cache_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { clock_skew_ms: 300_000, regions: None, is_unsigned_payload_allowed: false, key_cache_bytes: 1 << 20 }
    }
}
