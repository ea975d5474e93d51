//! `explain` of a query's answer: the plan, and what each shard did for it.

use crate::node::Node;
use crate::query::ask::ShardStats;
use crate::query::frontend::Answer;
use promql::ExplainedNode;
use serde_json::{Value, json};
use std::time::Duration;

/// The JSON of `data.explain`.
pub(super) fn to_json(node: &Node, plan: &ExplainedNode, answer: &Answer) -> Vec<u8> {
    let meta = node.meta.get();
    let shard = |stats: &ShardStats| {
        let ShardStats { shard, store, report, series, samples, bytes, attempts } = stats;
        json!({
            "shard": shard.0,
            "node": meta.stores.get(&store.0).map_or_else(|| store.to_string(), |record| record.report.name.clone()),
            "role": if report.is_leader { "leader" } else { "follower" },
            "series": series,
            "samples": samples,
            "bytes": bytes,
            "attempts": attempts,
            "queueTime": report.queued.as_secs_f64(),
            "evalTime": report.evaluated.as_secs_f64(),
        })
    };
    let stats = &answer.result.stats;
    let seconds = |time: Duration| time.as_secs_f64();
    let explained = json!({
        "plan": tree(plan),
        "shards": answer.shards.iter().map(shard).collect::<Vec<_>>(),
        "queueTime": seconds(answer.timings.queued),
        "prepareTime": seconds(answer.timings.prepared),
        "evalTime": seconds(answer.timings.evaluated),
        "peakSamples": stats.samples_peak,
        "peakBytes": stats.bytes_peak,
    });
    explained.to_string().into_bytes()
}

fn tree(node: &ExplainedNode) -> Value {
    let ExplainedNode { operator, text, site, merge, reads, start_ms, step_ms, steps, inputs } = node;
    let mut value = json!({
        "operator": operator,
        "text": text,
        "site": site,
        "start": start_ms,
        "step": step_ms,
        "steps": steps,
        "inputs": inputs.iter().map(tree).collect::<Vec<_>>(),
    });
    if let Some(merge) = merge {
        value["merges"] = json!(merge);
    }
    if let Some(reads) = reads {
        value["reads"] = json!({"matchers": reads.matchers, "after": reads.after_ms, "to": reads.to_ms});
    }
    value
}
