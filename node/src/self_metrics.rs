//! Writes the node's own metrics into the `system` workspace, through the same path as everybody's samples.

use crate::ingest::route;
use crate::ingest::split::Part;
use crate::meta::view::Workspace;
use crate::metrics;
use crate::node::Node;
use model::hash::{fp128, placement_hash};
use model::{Labels, LabelsBuilder, Sample, Timestamp, WorkspaceId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;
use tsdb::rows::{RowsBuilder, push_label};

/// How soon to look again while the workspace is not yet there.
const FOUNDING: Duration = Duration::from_millis(500);

/// Writes the own metrics every `interval` until dropped. A write that fails is not repeated: the next one tells more.
pub async fn run(node: Arc<Node>, interval: Duration) {
    let mut rounds = tokio::time::interval(interval);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let Some(exposition) = &node.exposition else { return };
        let Some(workspace) = node.meta.workspace(WorkspaceId::SYSTEM) else {
            rounds.reset_after(FOUNDING);
            continue;
        };
        let Ok(now_ms) = node.time.now() else { continue };
        metrics_process::Collector::default().collect();
        // As if somebody had scraped this node.
        let text = format!("up 1\n{}", exposition.render());
        let own = read_exposition(&text, &node.config.node.name, now_ms);
        let id = &workspace.record.id;
        for outcome in route::write(&node, id, &parts(&workspace, &own), Instant::now() + route::BUDGET).await {
            match outcome {
                route::PartOutcome::Final(verdict) => metrics::count_ingested(id, u64::from(verdict.accepted)),
                route::PartOutcome::StaleMap(verdict) => {
                    metrics::count_ingested(id, u64::from(verdict.accepted));
                    tracing::debug!("own metrics not written where the shard map was newer");
                }
                route::PartOutcome::NeedsLabels => tracing::debug!("own metrics not written: their labels were not taken"),
                route::PartOutcome::Unfinished { reason } => tracing::debug!(reason, "own metrics not written"),
            }
        }
    }
}

/// One part per shard, as a write request of the same series would give.
fn parts(workspace: &Workspace, own: &[OwnSample]) -> Vec<Part> {
    let Ok(generations) = &workspace.generations else { return Vec::new() };
    let key = workspace.record.placement_key;
    let mut open: BTreeMap<(u64, u64), RowsBuilder> = BTreeMap::new();
    let mut region = Vec::new();
    for (ordinal, one) in own.iter().enumerate() {
        let placement = placement_hash(&one.labels, key);
        let Some(place) = generations.shard_of(one.sample.timestamp_ms, placement) else { continue };
        region.clear();
        for (name, value) in &one.labels {
            push_label(&mut region, name.as_bytes(), value.as_bytes());
        }
        let rows = open.entry((place.generation, place.shard.0)).or_default();
        rows.series(u32::try_from(ordinal).unwrap_or(u32::MAX), fp128(&one.labels, key), placement, &region);
        rows.sample(one.sample);
    }
    open.into_iter()
        .map(|((generation, shard), rows)| Part {
            shard: model::ShardId(shard),
            generation,
            row_count: rows.rows(),
            sample_count: rows.samples(),
            rows: rows.finish(),
        })
        .collect()
}

/// A series of the node's own with its sample.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnSample {
    /// Sorted labels, `__name__` included.
    pub labels: Labels,
    /// Value at the time of the rendering.
    pub sample: Sample,
}

/// Reads back the text that our own exporter rendered: `name{label="value",…} number`, comments and blank lines between.
///
/// Lines that are not of this form are left out; the exporter writes none.
#[must_use]
pub fn read_exposition(text: &str, instance: &str, now_ms: Timestamp) -> Vec<OwnSample> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| {
            let (mut labels, value) = read_line(line)?;
            labels.set("job", "flotilla").set("instance", instance);
            Some(OwnSample { labels: labels.build(), sample: Sample { timestamp_ms: now_ms, value } })
        })
        .collect()
}

fn read_line(line: &str) -> Option<(LabelsBuilder, f64)> {
    let name_end = line.find(['{', ' '])?;
    let mut labels = LabelsBuilder::default();
    labels.set(model::labels::METRIC_NAME, &line[..name_end]);
    let mut rest = &line[name_end..];
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (name, after) = rest.split_once("=\"")?;
            let (value, after) = read_quoted(after)?;
            labels.set(name.trim_start_matches(','), &value);
            rest = after;
        }
        rest = &rest[1..];
    }
    let value = match rest.trim() {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        other => other.parse().ok()?,
    };
    Some((labels, value))
}

/// Reads up to the closing quote; answers the text and what follows the quote.
fn read_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_exposition_reads_back() {
        let text = "# TYPE a counter\na{x=\"1\\\"\\n\\\\\",y=\"\"} 5\n\nb 1.5\nh_bucket{le=\"+Inf\"} 3\nn NaN\n";
        let read = read_exposition(text, "n:1", 7);
        let shown: Vec<String> = read.iter().map(|s| format!("{} {}", s.labels, s.sample.value)).collect();
        assert_eq!(
            shown,
            [
                r#"{__name__="a", instance="n:1", job="flotilla", x="1\"\n\\"} 5"#,
                r#"{__name__="b", instance="n:1", job="flotilla"} 1.5"#,
                r#"{__name__="h_bucket", instance="n:1", job="flotilla", le="+Inf"} 3"#,
                r#"{__name__="n", instance="n:1", job="flotilla"} NaN"#,
            ]
        );
    }
}
