//! From the text of a value to its type.

use std::fmt;
use std::time::Duration;

use super::SecretText;
use auth::sts::PublicKeys;
use model::regex::{Regex, RegexError};
use model::time::{TimeError, parse_duration};

/// Why a text is no value of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a Prometheus duration.
    #[error("{0}: expected for example 1h30m, with units y, w, d, h, m, s, ms")]
    Duration(TimeError),
    /// A duration of zero where that has no meaning.
    #[error("must be longer than 0")]
    ZeroDuration,
    /// A duration that is too short to be meant.
    #[error("{text:?} is too short: at least {min} or 0")]
    TooShort {
        /// The text.
        text: String,
        /// Shortest duration.
        min: &'static str,
    },
    /// Not a number of bytes.
    #[error("{text:?} is no size: expected bytes, or a number with KiB, MiB, GiB, TiB, KB, MB, GB or TB")]
    Bytes {
        /// The text.
        text: String,
    },
    /// Fewer bytes than the setting can work with.
    #[error("{text:?} is too small: at least {min}")]
    TooSmall {
        /// The text.
        text: String,
        /// Smallest size.
        min: &'static str,
    },
    /// Too frequent or too rare heartbeats.
    #[error("{text:?} is not between 50ms and 5s")]
    Heartbeat {
        /// The text.
        text: String,
    },
    /// Not a whole number above 0.
    #[error("{text:?} is no whole number above 0")]
    Count {
        /// The text.
        text: String,
    },
    /// Not a whole number up to the largest.
    #[error("{text:?} is no whole number from 0 to {max}")]
    Number {
        /// The text.
        text: String,
        /// The largest.
        max: u64,
    },
    /// Not where a web server is.
    #[error("{text:?} is no http:// or https:// URL without a query")]
    Url {
        /// The text.
        text: String,
    },
    /// Not an access key.
    #[error("{text:?} is no access key: 3 to 128 letters, digits and -_.")]
    AccessKey {
        /// The text.
        text: String,
    },
    /// A secret that could be guessed.
    #[error("a secret has at least 8 characters")]
    ShortSecret,
    /// A file with a secret cannot be read.
    #[error("{path:?} cannot be read: {reason}")]
    SecretFile {
        /// Its path.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// Not a region.
    #[error("{text:?} is no region: lower-case letters, digits and hyphens")]
    Region {
        /// The text.
        text: String,
    },
    /// Not an account.
    #[error("{text:?} is no account: twelve digits")]
    Account {
        /// The text.
        text: String,
    },
    /// Neither true nor false.
    #[error("{text:?} is neither true nor false")]
    Bool {
        /// The text.
        text: String,
    },
    /// None of the words that the setting knows.
    #[error("{text:?} is none of {expected}")]
    Word {
        /// The text.
        text: String,
        /// The words.
        expected: &'static str,
    },
    /// An empty name, a name over 128 bytes or one with white space, quotes or control characters.
    #[error("{text:?} is no name: expected 1 to 128 characters without white space, quotes and control characters")]
    Name {
        /// The text.
        text: String,
    },
    /// An empty path.
    #[error("is empty")]
    Empty,
    /// Not a feature.
    #[error(transparent)]
    Feature(super::FeatureError),
    /// Not a regular expression.
    #[error("{text:?}: {error}")]
    Regex {
        /// The text.
        text: String,
        /// What is wrong with it.
        error: RegexError,
    },
}

/// Reads a duration that may be 0.
pub(super) fn duration(text: &str) -> Result<Duration, ValueError> {
    // A read duration is never negative.
    parse_duration(text).map(|ms| Duration::from_millis(ms.unsigned_abs())).map_err(ValueError::Duration)
}

/// Reads a duration above 0.
pub(super) fn positive_duration(text: &str) -> Result<Duration, ValueError> {
    duration(text).and_then(|length| if length.is_zero() { Err(ValueError::ZeroDuration) } else { Ok(length) })
}

/// Reads an interval: 0 turns off, else at least one second.
pub(super) fn interval(text: &str) -> Result<Option<Duration>, ValueError> {
    match duration(text)? {
        Duration::ZERO => Ok(None),
        length if length < Duration::from_secs(1) => Err(ValueError::TooShort { text: text.to_owned(), min: "1s" }),
        length => Ok(Some(length)),
    }
}

/// Reads a size: a plain number of bytes, or a number with a unit, such as `512MiB` or `1.5GB`.
pub(super) fn bytes(text: &str) -> Result<u64, ValueError> {
    let bad = || ValueError::Bytes { text: text.to_owned() };
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "ki" | "kib" => 1 << 10,
        "m" | "mi" | "mib" => 1 << 20,
        "g" | "gi" | "gib" => 1 << 30,
        "t" | "ti" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(bad()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|_| bad())?;
    let whole = whole.checked_mul(factor).ok_or_else(bad)?;
    whole.checked_add(fraction_of(fraction, factor).ok_or_else(bad)?).ok_or_else(bad)
}

/// `0.digits` of `factor`, rounded down.
fn fraction_of(digits: &str, factor: u64) -> Option<u64> {
    if digits.is_empty() {
        return Some(0);
    }
    let scale = 10u128.checked_pow(u32::try_from(digits.len()).ok()?)?;
    let share = digits.parse::<u64>().ok().map(u128::from)?.checked_mul(u128::from(factor))? / scale;
    u64::try_from(share).ok()
}

/// Reads the share of memory that storage may take: at least 64 MiB, with which a node still starts.
pub(super) fn memory(text: &str) -> Result<u64, ValueError> {
    match bytes(text)? {
        size if size < MEMORY_BYTES_MIN => Err(ValueError::TooSmall { text: text.to_owned(), min: "64MiB" }),
        size => Ok(size),
    }
}

/// Least memory that storage can work with.
pub(super) const MEMORY_BYTES_MIN: u64 = 64 << 20;

/// Reads the interval of heartbeats.
pub(super) fn heartbeat(text: &str) -> Result<Duration, ValueError> {
    let bounds = Duration::from_millis(50)..=Duration::from_secs(5);
    Some(positive_duration(text)?)
        .filter(|interval| bounds.contains(interval))
        .ok_or_else(|| ValueError::Heartbeat { text: text.to_owned() })
}

/// Reads a whole number.
pub(super) fn number(text: &str) -> Result<u64, ValueError> {
    text.parse().map_err(|_| ValueError::Number { text: text.to_owned(), max: u64::MAX })
}

/// Reads a whole number above 0.
pub(super) fn count(text: &str) -> Result<usize, ValueError> {
    text.parse().ok().filter(|&n: &usize| n > 0).ok_or_else(|| ValueError::Count { text: text.to_owned() })
}

/// Most exemplars that a shard can be told to keep: they lie in memory.
const EXEMPLARS_MAX: u32 = 1_000_000;

/// Reads how many exemplars are kept.
pub(super) fn exemplars(text: &str) -> Result<u32, ValueError> {
    let bad = || ValueError::Number { text: text.to_owned(), max: u64::from(EXEMPLARS_MAX) };
    text.parse().ok().filter(|n| *n <= EXEMPLARS_MAX).ok_or_else(bad)
}

/// Reads `true` or `false`.
pub(super) fn boolean(text: &str) -> Result<bool, ValueError> {
    text.parse().map_err(|_| ValueError::Bool { text: text.to_owned() })
}

/// Reads a name that stands in metrics, logs and file names of others.
pub(super) fn name(text: &str) -> Result<String, ValueError> {
    let fits = (1..=128).contains(&text.len()) && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '"');
    if fits { Ok(text.to_owned()) } else { Err(ValueError::Name { text: text.to_owned() }) }
}

/// Reads an access key that may be missing.
pub(super) fn optional_access_key(text: &str) -> Result<Option<String>, ValueError> {
    let fits = (3..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    match text {
        "" => Ok(None),
        _ if fits => Ok(Some(text.to_owned())),
        _ => Err(ValueError::AccessKey { text: text.to_owned() }),
    }
}

/// Reads a secret that may be missing.
pub(super) fn optional_secret(text: &str) -> Result<Option<SecretText>, ValueError> {
    match text.len() {
        0 => Ok(None),
        SECRET_CHARS_MIN.. => Ok(Some(SecretText::new(text.to_owned()))),
        _ => Err(ValueError::ShortSecret),
    }
}

/// Fewer characters could be guessed.
const SECRET_CHARS_MIN: usize = 8;

/// Reads a secret from the file that the text names.
pub(super) fn secret_file(path: &str) -> Result<Option<SecretText>, ValueError> {
    if path.is_empty() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).map_err(|e| ValueError::SecretFile { path: path.to_owned(), reason: e.to_string() })?;
    optional_secret(text.trim())
}

/// Reads an issuer's public keys from the file that the text names.
pub(super) fn key_set(path: &str) -> Result<Option<PublicKeys>, ValueError> {
    if path.is_empty() {
        return Ok(None);
    }
    let failed = |reason: String| ValueError::SecretFile { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
    PublicKeys::parse(&text).map(Some).map_err(|e| failed(e.to_string()))
}

/// Reads where users reach a cluster.
pub(super) fn optional_url(text: &str) -> Result<Option<String>, ValueError> {
    let text = text.trim_end_matches('/');
    if text.is_empty() {
        return Ok(None);
    }
    let url = text.parse::<axum::http::Uri>().ok().filter(|url| url.host().is_some() && url.query().is_none());
    match url.as_ref().and_then(axum::http::Uri::scheme_str) {
        Some("http" | "https") => Ok(Some(text.to_owned())),
        _ => Err(ValueError::Url { text: text.to_owned() }),
    }
}

/// Reads a region.
pub(super) fn region(text: &str) -> Result<String, ValueError> {
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits { Ok(text.to_owned()) } else { Err(ValueError::Region { text: text.to_owned() }) }
}

/// Reads an account.
pub(super) fn account_id(text: &str) -> Result<String, ValueError> {
    let fits = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    if fits { Ok(text.to_owned()) } else { Err(ValueError::Account { text: text.to_owned() }) }
}

/// Reads a name that may be missing.
pub(super) fn optional_name(text: &str) -> Result<String, ValueError> {
    if text.is_empty() { Ok(String::new()) } else { name(text) }
}

/// Reads a path.
pub(super) fn path(text: &str) -> Result<std::path::PathBuf, ValueError> {
    if text.is_empty() { Err(ValueError::Empty) } else { Ok(text.into()) }
}

/// Reads a path that may be left out.
pub(super) fn optional_path(text: &str) -> Result<Option<std::path::PathBuf>, ValueError> {
    Ok((!text.is_empty()).then(|| text.into()))
}

/// Origins that browsers may call from.
#[derive(Debug, Clone)]
pub struct CorsOrigin {
    text: String,
    regex: Regex,
}

impl CorsOrigin {
    /// Reads a regular expression over whole origins.
    ///
    /// # Errors
    /// The text is no RE2 pattern.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let regex = Regex::anchored(text).map_err(|error| ValueError::Regex { text: text.to_owned(), error })?;
        Ok(CorsOrigin { text: text.to_owned(), regex })
    }

    /// Whether every origin is allowed by the pattern `.*`, which is answered with `*` in place of the origin.
    pub fn is_any(&self) -> bool {
        self.text == ".*"
    }

    /// Whether pages of this origin may call.
    pub fn allows(&self, origin: &str) -> bool {
        self.regex.is_match(origin)
    }
}

impl fmt::Display for CorsOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
