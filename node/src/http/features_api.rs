//! `/features`: what this node can do, in Prometheus's categories.

use super::json::{Annotations, Success, write_list};
use super::respond;
use crate::config::QueryFeatures;
use axum::response::Response;
use promql::ast::AggregateOp;
use promql::functions::FUNCTIONS;

type Category = (&'static str, Vec<(&'static str, bool)>);

/// All categories with their features.
#[must_use]
pub fn features(enabled: &QueryFeatures) -> Response {
    let mut categories = categories(enabled);
    categories.sort_unstable_by_key(|(name, _)| *name);
    let mut success = Success::begin();
    write_object(&mut success.out, categories, |out, mut features: Vec<(&str, bool)>| {
        features.sort_unstable();
        write_object(out, features, |out, on| out.extend_from_slice(if on { b"true" } else { b"false" }));
    });
    respond::json(success.finish(Annotations { warnings: &[], infos: &[] }))
}

/// Names are written as they are: they are ours, and clients look for `<=`, not for its escape.
fn write_object<T>(out: &mut Vec<u8>, rows: Vec<(&str, T)>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    let at = out.len();
    write_list(out, rows, |out, (name, value)| {
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        write(out, value);
    });
    out[at] = b'{';
    if let Some(last) = out.last_mut() {
        *last = b'}';
    }
}

fn all(names: &[&'static str], on: bool) -> Vec<(&'static str, bool)> {
    names.iter().map(|name| (*name, on)).collect()
}

fn categories(enabled: &QueryFeatures) -> Vec<Category> {
    vec![
        ("api", api()),
        ("otlp_receiver", all(&["delta_conversion", "native_delta_ingestion"], false)),
        ("prometheus", [all(&["server_mode"], true), all(&["agent_mode", "auto_reload_config", "stringlabels"], false)].concat()),
        ("promql", promql_features(enabled)),
        ("promql_functions", FUNCTIONS.iter().map(|f| (f.name, !f.experimental || enabled.experimental_functions)).collect()),
        ("promql_operators", operators(enabled)),
        ("rules", all(&["concurrent_rule_eval", "keep_firing_for", "query_offset"], false)),
        ("scrape", all(&["extra_scrape_metrics", "start_timestamp_zero_ingestion", "type_and_unit_labels"], false)),
        ("service_discovery_providers", Vec::new()),
        ("templating_functions", Vec::new()),
        ("tsdb", [all(&["exemplar_storage", "isolation", "native_histograms"], true), all(&["delayed_compaction"], false)].concat()),
        ("ui", all(&["ui_v2", "ui_v3"], false)),
    ]
}

fn api() -> Vec<(&'static str, bool)> {
    let on = ["label_values_match", "query_stats", "query_warnings", "remote_write_receiver", "time_range_labels", "time_range_series"];
    let off = ["admin", "exclude_alerts", "lifecycle", "openapi_3.1", "openapi_3.2", "otlp_write_receiver", "search"];
    [all(&on, true), all(&off, false)].concat()
}

fn promql_features(enabled: &QueryFeatures) -> Vec<(&'static str, bool)> {
    let on = [
        "at_modifier",
        "bool",
        "by",
        "duration_expr",
        "group_left",
        "group_right",
        "ignoring",
        "negative_offset",
        "offset",
        "on",
        "per_query_lookback_delta",
        "subqueries",
        "without",
    ];
    let extended = all(&["anchored", "smoothed"], enabled.extended_range_selectors);
    let fill = all(&["fill", "fill_left", "fill_right"], enabled.binop_fill_modifiers);
    let others = vec![
        ("delayed_name_removal", enabled.delayed_name_removal),
        ("per_step_stats", enabled.per_step_stats),
        ("type_and_unit_labels", enabled.type_and_unit_labels),
        ("use_start_timestamps", enabled.use_start_timestamps),
    ];
    [all(&on, true), extended, fill, others].concat()
}

fn operators(enabled: &QueryFeatures) -> Vec<(&'static str, bool)> {
    let plain =
        ["!=", "!~", "%", "*", "+", "-", "/", "<", "<=", "</", "==", "=~", ">", ">=", ">/", "@", "^", "and", "atan2", "or", "unless"];
    let aggregate = |op: &AggregateOp| (op.as_str(), !op.is_experimental() || enabled.experimental_functions);
    [all(&plain, true), AggregateOp::ALL.iter().map(aggregate).collect()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    async fn body(enabled: &QueryFeatures) -> Value {
        let bytes = axum::body::to_bytes(features(enabled).into_body(), 1 << 20).await.unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()["data"].clone()
    }

    #[tokio::test]
    async fn what_a_flag_turns_on_is_off_without_it() {
        let off = body(&QueryFeatures::default()).await;
        assert_eq!(off["promql_functions"]["info"], false);
        assert_eq!(off["promql_functions"]["rate"], true);
        assert_eq!(off["promql_operators"]["limitk"], false);
        assert_eq!(off["promql_operators"]["<="], true);
        assert_eq!(off["promql"]["anchored"], false);
        assert_eq!(off["service_discovery_providers"], serde_json::json!({}));
        let names = "promql-experimental-functions,promql-extended-range-selectors,promql-binop-fill-modifiers";
        let on = body(&QueryFeatures::parse(names).unwrap()).await;
        assert_eq!(on["promql_functions"]["info"], true);
        assert_eq!(on["promql_operators"]["limitk"], true);
        assert_eq!((&on["promql"]["anchored"], &on["promql"]["fill_left"]), (&Value::Bool(true), &Value::Bool(true)));
    }
}
