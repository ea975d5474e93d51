//! Judges one series of a write request by itself: its labels, and timestamps older than the workspace holds.
//!
//! What depends on stored samples (out of order, duplicates, the future, series limits) is judged in the shard's apply.
//!
//! Reserved label names, refused with 400 because a sender must not choose what they say: `__tenant__`, `__tenant_id__`,
//! `__workspace__` and everything that begins with `__flotilla_`.

use crate::ingest::decode::LabelBytes;
use model::labels::{METRIC_NAME, is_plain_label_name, quote};
use model::limits::{LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_BYTES_MAX, LABELS_PER_SERIES_MAX};
use model::{Sample, Timestamp};
use std::borrow::Cow;
use std::fmt::Write;

/// Labels of one series that are looked at; a workspace's limit cannot pass it.
pub const LABELS_KEPT_MAX: usize = 1024;

const RESERVED: [&str; 3] = ["__tenant__", "__tenant_id__", "__workspace__"];
const RESERVED_PREFIX: &str = "__flotilla_";

/// Bytes of a series' text in an error.
const SERIES_TEXT_BYTES_MAX: usize = 1024;
/// Characters of a name, value or metric in an error.
const QUOTED_CHARS_MAX: usize = 200;

/// What a workspace admits.
#[derive(Clone, Copy, Debug)]
pub struct AdmitLimits {
    /// Labels of a series.
    pub labels: usize,
    /// Bytes of a label name.
    pub label_name_bytes: usize,
    /// Bytes of a label value.
    pub label_value_bytes: usize,
    /// Bytes of all names and values of a series.
    pub labels_bytes: usize,
    /// The oldest timestamp (milliseconds) that retention and the first generation leave.
    pub oldest_ms: Timestamp,
}

impl AdmitLimits {
    /// The defaults of `model::limits`, with nothing too old.
    #[must_use]
    pub fn new(oldest_ms: Timestamp) -> Self {
        Self {
            labels: LABELS_PER_SERIES_MAX,
            label_name_bytes: LABEL_NAME_BYTES_MAX,
            label_value_bytes: LABEL_VALUE_BYTES_MAX,
            labels_bytes: LABELS_BYTES_MAX,
            oldest_ms,
        }
    }
}

/// Why a series, or a sample of it, is refused. Indexes are places in the labels after sorting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// More labels than the limit.
    TooManyLabels {
        /// Labels sent.
        actual: usize,
        /// Labels allowed.
        limit: usize,
    },
    /// A name or value that is not UTF-8, or an empty label name.
    Labels,
    /// No metric name.
    MetricName,
    /// Two labels of one name.
    Duplicate {
        /// The second of them.
        index: usize,
    },
    /// A label name that is ours.
    Reserved {
        /// The label.
        index: usize,
    },
    /// A label name over the limit.
    NameTooLong {
        /// The label.
        index: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A label value over the limit.
    ValueTooLong {
        /// The label.
        index: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// All names and values together over the limit.
    LabelsTooLong {
        /// Bytes sent.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A sample older than the workspace keeps.
    TooOld {
        /// Its timestamp in milliseconds.
        timestamp_ms: Timestamp,
    },
}

impl Refusal {
    /// The reason under which discarded samples are counted.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooManyLabels { .. } => "max_label_names_per_series",
            Self::Labels | Self::Reserved { .. } => "label_invalid",
            Self::MetricName => "missing_metric_name",
            Self::Duplicate { .. } => "duplicate_label_names",
            Self::NameTooLong { .. } => "label_name_too_long",
            Self::ValueTooLong { .. } => "label_value_too_long",
            Self::LabelsTooLong { .. } => "labels_size_bytes_exceeded",
            Self::TooOld { .. } => "greater_than_max_sample_age",
        }
    }

    /// The text for the sender; `labels` as [`admit_labels`] left them. Bounded, whatever was sent.
    #[must_use]
    pub fn text(self, labels: &[LabelBytes<'_>]) -> String {
        let label = |index: usize| labels.get(index).copied().unwrap_or_default();
        match self {
            Self::TooManyLabels { actual, limit } => {
                format!("series has too many labels (actual: {actual}, limit: {limit}) series: '{}'", series_text(labels))
            }
            Self::Labels | Self::MetricName => format!("invalid metric name or labels, got {}", series_text(labels)),
            Self::Duplicate { index } => {
                let name = clipped(label(index).0);
                format!("invalid labels for series, labels {}, duplicated label {name}", series_text(labels))
            }
            Self::Reserved { index } => {
                format!("invalid labels for series, labels {}, reserved label {}", series_text(labels), clipped(label(index).0))
            }
            Self::NameTooLong { index, limit } => {
                let name = label(index).0;
                let actual = name.len();
                format!(
                    "label name too long for metric (actual: {actual}, limit: {limit}) metric: {} label name: {}",
                    quote(&metric_text(labels)),
                    quote(&clipped(name))
                )
            }
            Self::ValueTooLong { index, limit } => {
                let value = label(index).1;
                let actual = value.len();
                format!(
                    "label value too long for metric (actual: {actual}, limit: {limit}) metric: {} label value: {}",
                    quote(&metric_text(labels)),
                    quote(&clipped(value))
                )
            }
            Self::LabelsTooLong { actual, limit } => {
                format!("labels size bytes exceeded for metric (actual: {actual}, limit: {limit}) metric: {}", quote(&metric_text(labels)))
            }
            Self::TooOld { timestamp_ms } => {
                format!("out of bounds: timestamp {timestamp_ms} is older than the retention for series {}", series_text(labels))
            }
        }
    }
}

/// Sorts and judges the labels of one series; labels with an empty value are dropped.
///
/// # Errors
/// The first reason for which the series is refused.
pub fn admit_labels(labels: &mut Vec<LabelBytes<'_>>, label_count: usize, limits: &AdmitLimits) -> Result<(), Refusal> {
    let limit = limits.labels.min(LABELS_KEPT_MAX);
    if label_count > limit {
        return Err(Refusal::TooManyLabels { actual: label_count, limit });
    }
    if !labels.is_sorted_by(|a, b| a.0 < b.0) {
        labels.sort_by(|a, b| a.0.cmp(b.0));
        if let Some(first) = labels.windows(2).position(|pair| pair[0].0 == pair[1].0) {
            return Err(if has_metric_name(labels) { Refusal::Duplicate { index: first + 1 } } else { Refusal::MetricName });
        }
    }
    let (mut bytes, mut has_name, mut has_empty) = (0, false, false);
    for &(name, value) in labels.iter() {
        if name.is_empty() || !is_label_text(name) || !is_label_text(value) {
            return Err(Refusal::Labels);
        }
        bytes += name.len() + value.len();
        has_name |= name == METRIC_NAME.as_bytes() && !value.is_empty();
        has_empty |= value.is_empty();
    }
    if !has_name {
        return Err(Refusal::MetricName);
    }
    if has_empty {
        labels.retain(|(_, value)| !value.is_empty());
    }
    for (index, &(name, value)) in labels.iter().enumerate() {
        if name.starts_with(b"__") && is_reserved(name) {
            return Err(Refusal::Reserved { index });
        }
        if name.len() > limits.label_name_bytes {
            return Err(Refusal::NameTooLong { index, limit: limits.label_name_bytes });
        }
        if value.len() > limits.label_value_bytes {
            return Err(Refusal::ValueTooLong { index, limit: limits.label_value_bytes });
        }
    }
    if bytes > limits.labels_bytes {
        return Err(Refusal::LabelsTooLong { actual: bytes, limit: limits.labels_bytes });
    }
    Ok(())
}

/// Judges what of a sample needs no stored state.
///
/// # Errors
/// [`Refusal::TooOld`].
pub fn admit_sample(sample: Sample, limits: &AdmitLimits) -> Result<(), Refusal> {
    if sample.timestamp_ms < limits.oldest_ms { Err(Refusal::TooOld { timestamp_ms: sample.timestamp_ms }) } else { Ok(()) }
}

fn has_metric_name(labels: &[LabelBytes<'_>]) -> bool {
    labels.iter().any(|(name, value)| *name == METRIC_NAME.as_bytes() && !value.is_empty())
}

pub(super) fn is_label_text(bytes: &[u8]) -> bool {
    // Nearly all label text is ASCII; without an early exit the compiler makes this one pass of vectors.
    let plain = bytes.iter().fold(true, |plain, byte| plain & (*byte < 0x80));
    plain || (std::str::from_utf8(bytes).is_ok())
}

fn is_reserved(name: &[u8]) -> bool {
    RESERVED.iter().any(|reserved| name == reserved.as_bytes()) || name.starts_with(RESERVED_PREFIX.as_bytes())
}

fn clipped(bytes: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(bytes.get(..QUOTED_CHARS_MAX * 4).unwrap_or(bytes));
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => Cow::Owned(text[..end].to_owned()),
        None => text,
    }
}

/// `{a="b", c="d"}` as Prometheus writes a series; long ones end in `...`.
pub(super) fn series_text(labels: &[LabelBytes<'_>]) -> String {
    let mut out = String::from("{");
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        if out.len() > SERIES_TEXT_BYTES_MAX {
            out.push_str("...");
            break;
        }
        let name = clipped(name);
        if is_plain_label_name(&name) {
            out.push_str(&name);
        } else {
            out.push_str(&quote(&name));
        }
        let _ = write!(out, "={}", quote(&clipped(value)));
    }
    out.push('}');
    out
}

/// `metric{a="b"}` as Cortex writes a series, cut to 200 characters.
fn metric_text(labels: &[LabelBytes<'_>]) -> String {
    let is_name = |label: &LabelBytes<'_>| label.0 == METRIC_NAME.as_bytes() && !label.1.is_empty();
    let mut out = labels.iter().find(|l| is_name(l)).map_or_else(String::new, |l| clipped(l.1).into_owned());
    let mut others = labels.iter().filter(|l| !is_name(l)).peekable();
    if others.peek().is_some() || out.is_empty() {
        out.push('{');
        let mut separator = "";
        for (name, value) in others {
            if out.len() > QUOTED_CHARS_MAX * 4 {
                break;
            }
            let _ = write!(out, "{separator}{}={}", clipped(name), quote(&clipped(value)));
            separator = ", ";
        }
        out.push('}');
    }
    clipped(out.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests;
