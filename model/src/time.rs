//! Timestamps and Prometheus durations.

/// Milliseconds since the Unix epoch.
pub type Timestamp = i64;
