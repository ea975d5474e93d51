//! The numbers by which operators travel. Frozen: new ones are appended, none is ever given again.

use super::{FragmentError, unknown};
use crate::ast::{AggregateOp, BinaryOp, Cardinality, Extended, ValueType};
use model::MatchOp;

/// Things numbered from 1 in the order of a list.
pub(super) struct Numbers<T: 'static> {
    what: &'static str,
    list: &'static [T],
}

impl<T: Copy + PartialEq> Numbers<T> {
    /// The number of a thing; 0, which no node knows, if it has none.
    pub(super) fn of(&self, thing: T) -> u32 {
        self.list.iter().position(|known| *known == thing).map_or(0, |at| at as u32 + 1)
    }

    /// The thing with a number.
    pub(super) fn find(&self, number: u32) -> Result<T, FragmentError> {
        let found = (number as usize).checked_sub(1).and_then(|at| self.list.get(at));
        found.copied().ok_or_else(|| unknown(format!("{} {number}", self.what)))
    }
}

pub(super) const MATCH_OPS: Numbers<MatchOp> =
    Numbers { what: "matcher", list: &[MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex] };

pub(super) const VALUE_TYPES: Numbers<ValueType> =
    Numbers { what: "type", list: &[ValueType::Scalar, ValueType::String, ValueType::Vector, ValueType::Matrix] };

pub(super) const EXTENDED: Numbers<Extended> = Numbers { what: "modifier", list: &[Extended::Anchored, Extended::Smoothed] };

pub(super) const CARDINALITIES: Numbers<Cardinality> = Numbers {
    what: "cardinality",
    list: &[Cardinality::OneToOne, Cardinality::ManyToOne, Cardinality::OneToMany, Cardinality::ManyToMany],
};

pub(super) const AGGREGATES: Numbers<AggregateOp> = Numbers { what: "aggregation", list: &AggregateOp::ALL };

pub(super) const BINARIES: Numbers<BinaryOp> = Numbers {
    what: "binary operator",
    list: &[
        BinaryOp::Add,
        BinaryOp::Sub,
        BinaryOp::Mul,
        BinaryOp::Div,
        BinaryOp::Mod,
        BinaryOp::Pow,
        BinaryOp::Atan2,
        BinaryOp::Equal,
        BinaryOp::NotEqual,
        BinaryOp::Greater,
        BinaryOp::Less,
        BinaryOp::GreaterOrEqual,
        BinaryOp::LessOrEqual,
        BinaryOp::And,
        BinaryOp::Or,
        BinaryOp::Unless,
        BinaryOp::TrimUpper,
        BinaryOp::TrimLower,
    ],
};

/// Names of functions; their numbers are their places, from 1.
const FUNCTIONS: Numbers<&str> = Numbers {
    what: "function",
    list: &[
        "abs",
        "absent",
        "absent_over_time",
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atan",
        "atanh",
        "avg_over_time",
        "ceil",
        "changes",
        "clamp",
        "clamp_max",
        "clamp_min",
        "cos",
        "cosh",
        "count_over_time",
        "day_of_month",
        "day_of_week",
        "day_of_year",
        "days_in_month",
        "deg",
        "delta",
        "deriv",
        "double_exponential_smoothing",
        "end",
        "exp",
        "first_over_time",
        "floor",
        "histogram_avg",
        "histogram_count",
        "histogram_fraction",
        "histogram_quantile",
        "histogram_quantiles",
        "histogram_stddev",
        "histogram_stdvar",
        "histogram_sum",
        "hour",
        "idelta",
        "increase",
        "info",
        "irate",
        "label_join",
        "label_replace",
        "last_over_time",
        "ln",
        "log10",
        "log2",
        "mad_over_time",
        "max_of",
        "max_over_time",
        "min_of",
        "min_over_time",
        "minute",
        "month",
        "pi",
        "predict_linear",
        "present_over_time",
        "quantile_over_time",
        "rad",
        "range",
        "rate",
        "resets",
        "round",
        "scalar",
        "sgn",
        "sin",
        "sinh",
        "sort",
        "sort_by_label",
        "sort_by_label_desc",
        "sort_desc",
        "sqrt",
        "start",
        "start_timestamp",
        "stddev_over_time",
        "stdvar_over_time",
        "step",
        "sum_over_time",
        "tan",
        "tanh",
        "time",
        "timestamp",
        "ts_of_first_over_time",
        "ts_of_last_over_time",
        "ts_of_max_over_time",
        "ts_of_min_over_time",
        "vector",
        "year",
    ],
};

/// The number of the function of a name.
pub(super) fn number_of_function(name: Option<&'static str>) -> u32 {
    name.map_or(0, |name| FUNCTIONS.of(name))
}

/// The name of the function with a number.
pub(super) fn function_of_number(number: u32) -> Result<&'static str, FragmentError> {
    FUNCTIONS.find(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_a_number() {
        for function in crate::functions::FUNCTIONS {
            let number = number_of_function(Some(function.name));
            assert_eq!(function_of_number(number), Ok(function.name), "append {:?} to the list", function.name);
        }
        assert!(function_of_number(0).is_err() && function_of_number(u32::MAX).is_err());
    }

    #[test]
    fn numbers_are_frozen() {
        assert_eq!(["abs", "rate", "year"].map(|name| number_of_function(Some(name))), [1, 63, 90]);
        assert_eq!((AGGREGATES.of(AggregateOp::LimitRatio), BINARIES.of(BinaryOp::TrimLower)), (14, 18));
        let aggregations = AggregateOp::ALL.map(AggregateOp::as_str);
        let frozen = ["sum", "avg", "count", "min", "max", "group", "stddev", "stdvar", "topk", "bottomk", "count_values", "quantile"];
        assert_eq!(aggregations[..12], frozen);
        assert_eq!(aggregations[12..], ["limitk", "limit_ratio"]);
    }
}
