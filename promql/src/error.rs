//! What can go wrong between a syntax tree and its value.

use crate::source::SourceError;

/// Why an expression cannot be planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A range query over a string or a range vector.
    #[error("invalid expression type {found:?} for range query, must be Scalar or instant Vector")]
    NotInstant {
        /// The type of the expression, as the API names it.
        found: &'static str,
    },
    /// A duration expression has no value in this query.
    #[error(transparent)]
    Duration(#[from] crate::ast::DurationError),
    /// The step is negative, or the end is before the start.
    #[error("invalid time range: start {start_ms}, end {end_ms}, step {step_ms} milliseconds")]
    InvalidRange {
        /// First evaluation time.
        start_ms: i64,
        /// Last possible evaluation time.
        end_ms: i64,
        /// Distance of evaluation times.
        step_ms: i64,
    },
    /// Operators are chained or nested deeper than this engine follows.
    #[error("the expression nests deeper than {depth_max} operators")]
    TooDeep {
        /// The limit.
        depth_max: usize,
    },
}

/// Why an evaluation stopped. The texts are Prometheus's.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EvalError {
    /// Reading the series failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A shard could not compute its share; the text is that of its own error.
    #[error("{message}")]
    AtShard {
        /// What it said.
        message: String,
    },
    /// What a shard sent is no answer to what it was asked.
    #[error("a shard's answer cannot be read: {detail}")]
    BadAnswer {
        /// What is wrong.
        detail: String,
    },
    /// More samples at one time than the query may hold.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// More bytes at one time than the query may hold.
    #[error("query needs more than {limit_bytes} bytes of memory")]
    TooManyBytes {
        /// The budget.
        limit_bytes: u64,
    },
    /// The deadline passed.
    #[error("query timed out in expression evaluation")]
    TimedOut,
    /// The caller gave up.
    #[error("query was canceled in expression evaluation")]
    Cancelled,
    /// Two series of one vector have the same labels.
    #[error("vector cannot contain metrics with the same labelset")]
    DuplicateLabelSet,
    /// Two series of the "one" side have the same matching labels.
    #[error(
        "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{first}, {second}];many-to-many matching not allowed: matching labels must be unique on one side"
    )]
    DuplicateMatch {
        /// The matching labels, as `{a="b"}`.
        group: String,
        /// `left` or `right`.
        side: &'static str,
        /// The series that was there.
        first: String,
        /// The series that came second.
        second: String,
    },
    /// A one-to-one operation found several series on the left.
    #[error("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)")]
    ImplicitManyToOne,
    /// Two results of a grouped operation have the same labels.
    #[error("multiple matches for labels: grouping labels must ensure unique matches")]
    AmbiguousGrouping,
    /// `k` of an aggregation is not a number.
    #[error("Parameter value is NaN")]
    ParameterIsNan,
    /// `limit_ratio`'s ratio is not a number.
    #[error("Ratio value is NaN")]
    RatioIsNan,
    /// `k` does not fit.
    #[error("Scalar value {value} {direction}flows int64")]
    ParameterOutOfRange {
        /// The parameter, as Go prints it.
        value: String,
        /// `over` or `under`.
        direction: &'static str,
    },
    /// Text that cannot be a label name.
    #[error("invalid label name {0}")]
    InvalidLabelName(
        /// The name, quoted as Go quotes it.
        String,
    ),
    /// `label_replace` got a destination that is no label name.
    #[error("invalid destination label name in label_replace(): {0}")]
    InvalidReplaceDestination(String),
    /// `label_join` got a destination that is no label name.
    #[error("invalid destination label name in label_join(): {0}")]
    InvalidJoinDestination(String),
    /// `label_join` got a source that is no label name.
    #[error("invalid source label name in label_join(): {0}")]
    InvalidJoinSource(String),
    /// `label_replace` got a pattern that is none.
    #[error("invalid regular expression in label_replace(): {0}")]
    InvalidPattern(String),
    /// A function got a range whose ends are extended, which it cannot use.
    #[error("{modifier} modifier can only be used with: {allowed} - not with {function}")]
    ExtendedFunction {
        /// `anchored` or `smoothed`.
        modifier: &'static str,
        /// The functions that can.
        allowed: &'static str,
        /// The one that cannot.
        function: &'static str,
    },
    /// Two info series are about the same series and equally new.
    #[error("found duplicate series for info metric: existing {existing} @ {at_ms}, new {new} @ {at_ms}")]
    DuplicateInfo {
        /// The series that was there.
        existing: String,
        /// The series that came second.
        new: String,
        /// The time of their samples in milliseconds.
        at_ms: i64,
    },
    /// Two info series want to give one label different values.
    #[error("conflicting label: {label}")]
    ConflictingInfo {
        /// The label's name.
        label: String,
    },
    /// An info series holds native histograms.
    #[error("info sample should be float")]
    InfoIsHistogram,
    /// A factor of `double_exponential_smoothing` is out of range.
    #[error("invalid {factor} factor. Expected: 0 < {symbol} < 1, got: {value:.6}")]
    InvalidFactor {
        /// `smoothing` or `trend`.
        factor: &'static str,
        /// `sf` or `tf`.
        symbol: &'static str,
        /// What was given.
        value: f64,
    },
}
