//! The node's own metrics: names, what they mean, and typed functions to move them.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use std::time::Duration;

const INGEST_SAMPLES: &str = "flotilla_ingest_samples_total";
const DROPPED_EXEMPLARS: &str = "flotilla_dropped_exemplars_total";
const DISCARDED_SAMPLES: &str = "flotilla_discarded_samples_total";
const KNOWN_LOOKUPS: &str = "flotilla_ingest_series_lookup_total";
const KNOWN_SERIES: &str = "flotilla_ingest_known_series";
const MEMORY_SHARE: &str = "flotilla_storage_memory_share_bytes";
const MEMORY_USED: &str = "flotilla_storage_memory_used_bytes";
const ACTIVE_SERIES: &str = "flotilla_active_series";
const WORKSPACES_WITHOUT_KEY: &str = "flotilla_workspaces_without_key";
const CHECKPOINT_SECONDS: &str = "flotilla_checkpoint_seconds";
const REWRITE_SECONDS: &str = "flotilla_rewrite_seconds";
const DAMAGED_READS: &str = "flotilla_damaged_reads_total";
const SCRUBBED_BYTES: &str = "flotilla_scrubbed_bytes_total";
const SCRUBBED_DAMAGED: &str = "flotilla_scrubbed_damaged_parts_total";
const REPAIRS: &str = "flotilla_day_repairs_total";
const QUARANTINED: &str = "flotilla_quarantined_days";
const BACKGROUND_ERRORS: &str = "flotilla_chunkdb_background_errors";
const QUERY_SECONDS: &str = "flotilla_query_seconds";
const REFUSED_QUERIES: &str = "flotilla_refused_queries_total";
const QUERY_CACHE: &str = "flotilla_query_cache_slices_total";
const QUERY_CACHE_BYTES: &str = "flotilla_query_cache_bytes";
const STAMPING: &str = "flotilla_clock_stamping";
const GROUPS_BELOW_TARGET: &str = "flotilla_cluster_groups_below_target";
const CHANGES: &str = "flotilla_cluster_changes";
const SILENT_NODES: &str = "flotilla_cluster_silent_nodes";
const PENDING_GENERATIONS: &str = "flotilla_cluster_pending_generations";
const CHANGE_STEPS: &str = "flotilla_cluster_change_steps_total";
const HTTP_REQUESTS: &str = "prometheus_http_requests_total";
const HTTP_SECONDS: &str = "prometheus_http_request_duration_seconds";
const BUILD_INFO: &str = "prometheus_build_info";

/// Installs the recorder of this process and describes every metric.
///
/// # Errors
/// Another recorder is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let seconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
    let handle = PrometheusBuilder::new().set_buckets(&seconds)?.install_recorder()?;
    describe_counter!(INGEST_SAMPLES, "Samples accepted, by workspace.");
    describe_counter!(DROPPED_EXEMPLARS, "Exemplars out of order, with too long labels or of a series without samples, by workspace.");
    describe_counter!(DISCARDED_SAMPLES, "Samples refused, by workspace and reason.");
    describe_gauge!(WORKSPACES_WITHOUT_KEY, "Workspaces with replicas here whose key this node cannot get.");
    describe_counter!(
        KNOWN_LOOKUPS,
        "Series in write requests, by how the node knew them: predicted from the one before, in the table, or new to it."
    );
    describe_gauge!(KNOWN_SERIES, "Series that this node knows by the bytes of their labels.");
    describe_gauge!(MEMORY_SHARE, "Shares of storage.memory in bytes, by what they are for.");
    describe_gauge!(MEMORY_USED, "Bytes in use of each share of storage.memory.");
    describe_gauge!(ACTIVE_SERIES, "Series with recent samples in the shards this node leads, by workspace.");
    describe_histogram!(CHECKPOINT_SECONDS, "Time to write a shard's checkpoint.");
    describe_histogram!(REWRITE_SECONDS, "Time to rewrite parts of a day into one.");
    describe_counter!(DAMAGED_READS, "Reads that met damaged data on this node and went to another replica.");
    describe_counter!(SCRUBBED_BYTES, "Stored bytes read to find damage.");
    describe_counter!(SCRUBBED_DAMAGED, "Stored parts found damaged.");
    describe_counter!(REPAIRS, "Damaged days fetched from another replica, by outcome.");
    describe_gauge!(QUARANTINED, "Days of shards on this node that hold a damaged part; must be 0.");
    describe_gauge!(BACKGROUND_ERRORS, "Failed flushes and compactions of the chunk database since the start; must be 0.");
    describe_histogram!(QUERY_SECONDS, "Time to answer a query.");
    describe_counter!(REFUSED_QUERIES, "Queries that got no place to run, by workspace and reason.");
    describe_counter!(
        QUERY_CACHE,
        "Days of range queries, by what the result cache had of them: hit, partial, miss; whole if it had to be left out."
    );
    describe_gauge!(QUERY_CACHE_BYTES, "Bytes of results that are kept.");
    describe_gauge!(STAMPING, "1 while this node may stamp entries, 0 while its clock is off or unknown to a majority.");
    describe_gauge!(GROUPS_BELOW_TARGET, "Groups with fewer replicas than they should have, as the leader of the meta group sees it.");
    describe_gauge!(CHANGES, "Changes of replicas under way, as the leader of the meta group sees it.");
    describe_gauge!(SILENT_NODES, "Nodes that do not answer the leader of the meta group.");
    describe_gauge!(PENDING_GENERATIONS, "Workspaces whose number of shards is about to change.");
    describe_counter!(CHANGE_STEPS, "Steps of changes of replicas and of shard maps that this node took, by step and outcome.");
    describe_counter!(HTTP_REQUESTS, "HTTP requests, by handler and status code.");
    describe_histogram!(HTTP_SECONDS, "Time to answer an HTTP request, by handler.");
    describe_gauge!(BUILD_INFO, "1, labelled with the version of this binary.");
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "application" => "flotilla").set(1.0);
    Ok(handle)
}

/// Counts samples that a shard accepted.
pub fn count_ingested(workspace: &str, samples: u64) {
    counter!(INGEST_SAMPLES, "workspace" => workspace.to_owned()).increment(samples);
}

/// Counts samples that were refused.
pub fn count_discarded(workspace: &str, reason: &'static str, samples: u64) {
    counter!(DISCARDED_SAMPLES, "workspace" => workspace.to_owned(), "reason" => reason).increment(samples);
}

/// Counts exemplars that were passed over.
pub fn count_exemplars_dropped(workspace: &str, exemplars: u64) {
    counter!(DROPPED_EXEMPLARS, "workspace" => workspace.to_owned()).increment(exemplars);
}

/// Counts the series of a write request by how the node knew them.
pub fn count_known_series_lookups(predicted: u64, table: u64, new: u64) {
    for (way, count) in [("predicted", predicted), ("table", table), ("new", new)] {
        if count > 0 {
            counter!(KNOWN_LOOKUPS, "way" => way).increment(count);
        }
    }
}

/// Sets the number of series that the node knows by their labels, and what they take.
pub fn set_known_series(series: u64, bytes: u64) {
    gauge!(KNOWN_SERIES).set(series as f64);
    set_memory_used("known_series", bytes);
}

/// Sets a share of the storage budget.
pub fn set_memory_share(share: &'static str, bytes: u64) {
    gauge!(MEMORY_SHARE, "share" => share).set(bytes as f64);
}

/// Sets what a share of the storage budget has in use.
pub fn set_memory_used(share: &'static str, bytes: u64) {
    gauge!(MEMORY_USED, "share" => share).set(bytes as f64);
}

/// Sets the active series of a workspace in the shards this node leads.
pub fn set_active_series(workspace: &str, series: u64) {
    gauge!(ACTIVE_SERIES, "workspace" => workspace.to_owned()).set(series as f64);
}

/// Sets how many workspaces' keys are missing.
pub fn set_workspaces_without_key(workspaces: usize) {
    gauge!(WORKSPACES_WITHOUT_KEY).set(workspaces as f64);
}

/// Counts a read that met damaged data.
pub fn count_damaged_read() {
    counter!(DAMAGED_READS).increment(1);
}

/// Counts a stored part that was read to find damage.
pub fn count_scrubbed(bytes: u64, is_damaged: bool) {
    counter!(SCRUBBED_BYTES).increment(bytes);
    counter!(SCRUBBED_DAMAGED).increment(u64::from(is_damaged));
}

/// Counts an attempt to fetch a damaged day from another replica.
pub fn count_repair(is_done: bool) {
    counter!(REPAIRS, "outcome" => if is_done { "repaired" } else { "failed" }).increment(1);
}

/// Sets the number of days with a damaged part.
pub fn set_quarantined_days(days: usize) {
    gauge!(QUARANTINED).set(days as f64);
}

/// Sets how often flushes and compactions of the chunk database have failed since the start.
pub fn set_background_errors(errors: u64) {
    gauge!(BACKGROUND_ERRORS).set(errors as f64);
}

/// Notes how long a rewrite of parts took.
pub fn observe_rewrite(took: Duration) {
    histogram!(REWRITE_SECONDS).record(took.as_secs_f64());
}

/// Notes how long a checkpoint took.
pub fn observe_checkpoint(took: Duration) {
    histogram!(CHECKPOINT_SECONDS).record(took.as_secs_f64());
}

/// Notes how long a query took.
pub fn observe_query(took: Duration) {
    histogram!(QUERY_SECONDS).record(took.as_secs_f64());
}

/// Counts a query that got no place to run.
pub fn count_refused_query(workspace: &str, reason: &'static str) {
    counter!(REFUSED_QUERIES, "workspace" => workspace.to_owned(), "reason" => reason).increment(1);
}

/// Counts days of range queries by what the cache had of them.
pub fn count_query_cache(outcome: &'static str, slices: u64) {
    if slices > 0 {
        counter!(QUERY_CACHE, "outcome" => outcome).increment(slices);
    }
}

/// Sets the bytes of results that are kept.
pub fn set_query_cache_bytes(bytes: u64) {
    gauge!(QUERY_CACHE_BYTES).set(bytes as f64);
}

/// Shows whether this node may stamp entries.
pub fn set_stamping(may: bool) {
    gauge!(STAMPING).set(f64::from(u8::from(may)));
}

/// Shows what the leader of the meta group watches over.
pub fn set_cluster(groups_below_target: usize, changes: usize, silent_nodes: usize, pending_generations: usize) {
    for (name, count) in [
        (GROUPS_BELOW_TARGET, groups_below_target),
        (CHANGES, changes),
        (SILENT_NODES, silent_nodes),
        (PENDING_GENERATIONS, pending_generations),
    ] {
        gauge!(name).set(count as f64);
    }
}

/// Counts a step of a change.
pub fn count_change_step(step: &'static str, outcome: &'static str) {
    counter!(CHANGE_STEPS, "step" => step, "outcome" => outcome).increment(1);
}

/// Counts an answered HTTP request.
pub fn observe_http(handler: &'static str, code: u16, took: Duration) {
    counter!(HTTP_REQUESTS, "handler" => handler, "code" => code.to_string()).increment(1);
    histogram!(HTTP_SECONDS, "handler" => handler).record(took.as_secs_f64());
}
