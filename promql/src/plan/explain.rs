//! A plan as a tree for people: what is done where, and where the shares of the shards come in.

use super::fragment::{Distributed, Entry, Merge};
use super::pushdown::{self, Site};
use super::{Node, NodeId, NodeKind, RangeInput};
use crate::source::Select;
use model::Timestamp;

/// One operator.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedNode {
    /// What it is: `aggregate sum`, `binary /`, `call`, `select`, …
    pub operator: String,
    /// The part of the query that it stands for.
    pub text: String,
    /// Where it is computed: `shards`, `root`, or `anywhere` if it reads nothing.
    pub site: &'static str,
    /// How the shares of the shards are merged into its value, where they are.
    pub merge: Option<&'static str>,
    /// What it reads.
    pub reads: Option<ExplainedRead>,
    /// First evaluation time in milliseconds.
    pub start_ms: Timestamp,
    /// Distance of evaluation times in milliseconds.
    pub step_ms: i64,
    /// Number of evaluation times.
    pub steps: usize,
    /// The operators whose values it takes.
    pub inputs: Vec<ExplainedNode>,
}

/// A read of samples.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedRead {
    /// The conditions, as PromQL writes them.
    pub matchers: Vec<String>,
    /// Samples after this time…
    pub after_ms: Timestamp,
    /// …up to this one.
    pub to_ms: Timestamp,
}

impl Distributed {
    /// The plan of `query`, the text that was parsed.
    #[must_use]
    pub fn explain(&self, query: &str) -> ExplainedNode {
        let explain = Explain { distributed: self, sites: pushdown::sites(&self.root), query };
        explain.node(self.root.root)
    }
}

struct Explain<'a> {
    distributed: &'a Distributed,
    sites: Vec<Site>,
    query: &'a str,
}

impl Explain<'_> {
    /// Recurses as deep as operators nest, which a plan limits.
    fn node(&self, id: NodeId) -> ExplainedNode {
        let plan = &self.distributed.root;
        let node = plan.node(id);
        let mut kind = node.kind.clone();
        let select = kind.select_mut().copied();
        ExplainedNode {
            operator: operator(node),
            text: self.query.get(node.span.start as usize..node.span.end as usize).unwrap_or_default().to_owned(),
            site: match self.sites[id.0 as usize] {
                Site::Constant => "anywhere",
                Site::Shard => "shards",
                Site::Root => "root",
            },
            merge: self.merge(|entry| entry == Entry::Node(id) || select.is_some_and(|select| entry == Entry::Select(select))),
            reads: select.map(|select| read(plan.select(select))),
            start_ms: node.grid.start_ms,
            step_ms: node.grid.step_ms,
            steps: node.grid.steps,
            inputs: node.kind.children().into_iter().map(|child| self.node(child)).collect(),
        }
    }

    fn merge(&self, enters: impl Fn(Entry) -> bool) -> Option<&'static str> {
        let at = self.distributed.entries.iter().position(|entry| enters(*entry))?;
        let fragment = &self.distributed.fragment;
        Some(match fragment.merge_of(*fragment.exports.get(at)?) {
            Merge::Join => "series",
            Merge::Append => "rows",
            Merge::Add => "sums",
            Merge::States => "exact states",
            Merge::Samples => "samples",
        })
    }
}

fn read(select: &Select) -> ExplainedRead {
    let matchers = select.matchers.iter().map(ToString::to_string).collect();
    ExplainedRead { matchers, after_ms: select.start_ms, to_ms: select.end_ms }
}

fn operator(node: &Node) -> String {
    match &node.kind {
        NodeKind::Number(_) => "number".to_owned(),
        NodeKind::String(_) => "string".to_owned(),
        NodeKind::Vector { .. } => "select".to_owned(),
        NodeKind::Matrix { input: RangeInput::Select(_), .. } => "select range".to_owned(),
        NodeKind::Matrix { input: RangeInput::Subquery(_), .. } => "subquery".to_owned(),
        NodeKind::Call { .. } => "call".to_owned(),
        NodeKind::Aggregate { op, .. } => format!("aggregate {}", op.as_str()),
        NodeKind::Negate(_) => "negate".to_owned(),
        NodeKind::Binary { op, .. } => format!("binary {}", op.as_str()),
        NodeKind::StepInvariant(_) => "once for all steps".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Plan, QueryParams};

    #[test]
    fn a_sum_over_rates_is_made_of_the_shards_exact_states() {
        let query = "sum by (job) (rate(a[5m])) / 2";
        let plan = Plan::new(&crate::parse(query).unwrap(), QueryParams::range(0, 600_000, 60_000)).unwrap();
        let explained = Distributed::new(plan).explain(query);
        assert_eq!((&*explained.operator, &*explained.text, explained.site, explained.steps), ("binary /", query, "root", 11));
        let sum = &explained.inputs[0];
        assert_eq!((&*sum.operator, sum.merge), ("aggregate sum", Some("exact states")));
        let rate = &sum.inputs[0];
        assert_eq!((&*rate.operator, &*rate.text, rate.site, rate.merge), ("call", "rate(a[5m])", "shards", None));
        let read = rate.inputs[0].reads.clone().unwrap();
        assert_eq!((read.matchers, read.after_ms, read.to_ms), (vec!["__name__=\"a\"".to_owned()], -300_000, 600_000));
        assert_eq!(explained.inputs[1].site, "anywhere");
    }
}
