//! Which functions over ranges there are.

/// Functions whose argument is a range vector and whose result has a value for each series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(crate) enum RangeFunction {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Resets,
    Changes,
    Deriv,
    PredictLinear,
    DoubleExponentialSmoothing,
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Last,
    First,
    Present,
    Stddev,
    Stdvar,
    Quantile,
    Mad,
    TimeOfFirst,
    TimeOfLast,
    TimeOfMin,
    TimeOfMax,
}

const NAMES: [(RangeFunction, &str); 26] = [
    (RangeFunction::Rate, "rate"),
    (RangeFunction::Increase, "increase"),
    (RangeFunction::Delta, "delta"),
    (RangeFunction::Irate, "irate"),
    (RangeFunction::Idelta, "idelta"),
    (RangeFunction::Resets, "resets"),
    (RangeFunction::Changes, "changes"),
    (RangeFunction::Deriv, "deriv"),
    (RangeFunction::PredictLinear, "predict_linear"),
    (RangeFunction::DoubleExponentialSmoothing, "double_exponential_smoothing"),
    (RangeFunction::Sum, "sum_over_time"),
    (RangeFunction::Avg, "avg_over_time"),
    (RangeFunction::Min, "min_over_time"),
    (RangeFunction::Max, "max_over_time"),
    (RangeFunction::Count, "count_over_time"),
    (RangeFunction::Last, "last_over_time"),
    (RangeFunction::First, "first_over_time"),
    (RangeFunction::Present, "present_over_time"),
    (RangeFunction::Stddev, "stddev_over_time"),
    (RangeFunction::Stdvar, "stdvar_over_time"),
    (RangeFunction::Quantile, "quantile_over_time"),
    (RangeFunction::Mad, "mad_over_time"),
    (RangeFunction::TimeOfFirst, "ts_of_first_over_time"),
    (RangeFunction::TimeOfLast, "ts_of_last_over_time"),
    (RangeFunction::TimeOfMin, "ts_of_min_over_time"),
    (RangeFunction::TimeOfMax, "ts_of_max_over_time"),
];

impl RangeFunction {
    /// Which argument is the range vector.
    pub(crate) fn range_argument(self) -> usize {
        usize::from(self == Self::Quantile)
    }

    /// Its name in the language.
    pub(crate) fn name(self) -> &'static str {
        NAMES.iter().find(|(function, _)| *function == self).map_or("", |(_, name)| name)
    }

    /// The function of this name.
    pub(crate) fn find(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(function, _)| *function)
    }

    /// Whether the result is still the metric that it is computed of.
    pub(crate) fn keeps_name(self) -> bool {
        matches!(self, Self::Last | Self::First)
    }
}
