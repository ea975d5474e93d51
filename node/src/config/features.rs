//! `--enable-feature`, as Prometheus takes it: what is experimental in PromQL is off until it is named.

/// Experimental parts of PromQL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueryFeatures {
    /// `promql-experimental-functions`: functions and aggregations that may still change.
    pub experimental_functions: bool,
    /// `promql-extended-range-selectors`: `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `promql-binop-fill-modifiers`: `fill`, `fill_left` and `fill_right`.
    pub binop_fill_modifiers: bool,
    /// `promql-delayed-name-removal`: metric names are dropped at the end of a query.
    pub delayed_name_removal: bool,
    /// `promql-per-step-stats`: `stats=all` counts samples per step.
    pub per_step_stats: bool,
    /// `use-start-timestamps`: counters' start timestamps take part in `rate` and its kin.
    pub use_start_timestamps: bool,
    /// `type-and-unit-labels`: `__type__` and `__unit__` belong to a metric's name.
    pub type_and_unit_labels: bool,
}

/// A name that is no feature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no feature of PromQL")]
pub struct FeatureError {
    /// The name.
    pub name: String,
}

impl QueryFeatures {
    /// Reads names separated by commas. Names of what is always on by now are taken and change nothing.
    ///
    /// # Errors
    /// A name that is unknown.
    pub fn parse(text: &str) -> Result<Self, FeatureError> {
        let mut features = Self::default();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "promql-experimental-functions" => features.experimental_functions = true,
                "promql-extended-range-selectors" => features.extended_range_selectors = true,
                "promql-binop-fill-modifiers" => features.binop_fill_modifiers = true,
                "promql-delayed-name-removal" => features.delayed_name_removal = true,
                "promql-per-step-stats" => features.per_step_stats = true,
                "use-start-timestamps" => features.use_start_timestamps = true,
                "type-and-unit-labels" => features.type_and_unit_labels = true,
                "promql-duration-expr" | "promql-at-modifier" | "promql-negative-offset" | "native-histograms" => {}
                unknown => return Err(FeatureError { name: unknown.to_owned() }),
            }
        }
        Ok(features)
    }

    /// What the parser accepts.
    #[must_use]
    pub fn parser_options(&self) -> promql::Options {
        promql::Options {
            experimental_functions: self.experimental_functions,
            duration_expressions: true,
            extended_range_selectors: self.extended_range_selectors,
            binop_fill_modifiers: self.binop_fill_modifiers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_named_as_in_prometheus_and_typos_are_errors() {
        let features = QueryFeatures::parse("promql-experimental-functions, promql-per-step-stats,promql-duration-expr,").unwrap();
        assert!(features.experimental_functions && features.per_step_stats);
        assert_eq!(QueryFeatures { experimental_functions: false, per_step_stats: false, ..features }, QueryFeatures::default());
        assert_eq!(QueryFeatures::parse("promql-experimental").unwrap_err().name, "promql-experimental");
        assert_eq!(QueryFeatures::parse("").unwrap(), QueryFeatures::default());
    }
}
