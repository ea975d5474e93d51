//! The part of a plan that is done at the shards.

use super::pushdown::{self, Site};
use super::{Grid, Node, NodeId, NodeKind, Plan, RangeInput};
use crate::ast::AggregateOp;
use crate::source::SelectId;
use model::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Something that every shard computes of its own series and sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Export {
    /// All series of a node.
    Series(NodeId),
    /// The shard's share of a node that brings all series together, in a form that merges.
    Partial(NodeId),
    /// The samples of a read as they are.
    Raw(SelectId),
}

/// How the shares of the shards become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Series of equal labels are joined; it is an error if they have values at the same step.
    Join,
    /// Rows of equal labels are different series whose other labels no longer matter.
    Append,
    /// Values of equal labels are added.
    Add,
    /// States of groups.
    States,
    /// Raw samples.
    Samples,
}

/// What every shard computes of its series: one scan of the data, several results.
///
/// It is a plan of its own: the operators below the cut, children before parents, and what is to be sent of them.
#[derive(Clone, Debug)]
pub struct Fragment {
    pub(crate) plan: Arc<Plan>,
    pub(crate) exports: Vec<Export>,
}

/// A query cut in two: what the shards do, and what is done with their answers.
#[derive(Clone, Debug)]
pub struct Distributed {
    pub(crate) root: Plan,
    pub(crate) fragment: Fragment,
    pub(crate) entries: Vec<Entry>,
}

/// Where the merged shares of an export enter the root's plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// They are what comes out of this node.
    Node(NodeId),
    /// They are what this read returns.
    Select(SelectId),
}

impl Distributed {
    /// Cuts a plan where the results of the shards are smallest.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let sites = pushdown::sites(&plan);
        let mut cut = Cut { plan: &plan, sites: &sites, exports: Vec::new(), entries: Vec::new() };
        cut.at(plan.root);
        let (exports, entries) = (cut.exports, cut.entries);
        let fragment = Fragment::of(&plan, &exports);
        Self { root: plan, fragment, entries }
    }

    /// Leaves everything to the root: the shards send the samples of all reads.
    #[must_use]
    pub fn raw(plan: Plan) -> Self {
        let exports: Vec<Export> = plan.selects.iter().map(|select| Export::Raw(select.id)).collect();
        let entries = plan.selects.iter().map(|select| Entry::Select(select.id)).collect();
        let fragment = Fragment::of(&plan, &exports);
        Self { root: plan, fragment, entries }
    }

    /// What the shards do.
    #[must_use]
    pub fn fragment(&self) -> &Fragment {
        &self.fragment
    }

    /// The whole plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.root
    }
}

/// Walks down from the root to where the shards take over.
struct Cut<'a> {
    plan: &'a Plan,
    sites: &'a [Site],
    exports: Vec<Export>,
    entries: Vec<Entry>,
}

impl Cut<'_> {
    fn export(&mut self, export: Export, entry: Entry) {
        self.exports.push(export);
        self.entries.push(entry);
    }

    fn at(&mut self, id: NodeId) {
        let node = self.plan.node(id);
        match self.sites[id.0 as usize] {
            Site::Constant => {}
            Site::Shard => match &node.kind {
                // The one step is sent, not its copies.
                NodeKind::StepInvariant(inner) | NodeKind::Matrix { input: RangeInput::Subquery(inner), .. } => self.at(*inner),
                NodeKind::Matrix { input: RangeInput::Select(select), .. } => self.raw(*select),
                _ => self.export(Export::Series(id), Entry::Node(id)),
            },
            Site::Root => match pushdown::partial_input(self.sites, node) {
                Some(input) => {
                    // Constants take no room; what else stands beside the series is the root's.
                    node.kind.children().into_iter().filter(|child| *child != input).for_each(|child| self.at(child));
                    let is_result = matches!(partial_merge(node), Merge::States | Merge::Add);
                    self.export(Export::Partial(id), Entry::Node(if is_result { id } else { input }));
                }
                None => self.below(node),
            },
        }
    }

    fn below(&mut self, node: &Node) {
        for child in node.kind.children() {
            match self.plan.node(child).kind {
                // `info` looks at the samples of info series, not at their values at the steps.
                NodeKind::Vector { select, .. } if pushdown::reads_samples(node) && node.kind.children().last() == Some(&child) => {
                    self.raw(select);
                }
                _ => self.at(child),
            }
        }
    }

    fn raw(&mut self, select: SelectId) {
        if !self.exports.contains(&Export::Raw(select)) {
            self.export(Export::Raw(select), Entry::Select(select));
        }
    }
}

/// How the shares of a partial result merge.
fn partial_merge(node: &Node) -> Merge {
    match &node.kind {
        NodeKind::Aggregate { op, .. } => match op {
            // What is best of the best of all shards is best: the operator is applied once more.
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk => Merge::Join,
            AggregateOp::Quantile => Merge::Append,
            AggregateOp::CountValues => Merge::Add,
            _ => Merge::States,
        },
        _ => Merge::Append,
    }
}

impl Fragment {
    /// The operators that the exports need, numbered anew.
    fn of(plan: &Plan, exports: &[Export]) -> Self {
        let mut kinds: Vec<NodeKind> = plan.nodes.iter().map(|node| node.kind.clone()).collect();
        for export in exports {
            // Which quantile matters to the root alone.
            if let Export::Partial(id) = export
                && let NodeKind::Aggregate { op: AggregateOp::Quantile, param, .. } = &mut kinds[id.0 as usize]
            {
                *param = None;
            }
        }
        let mut needed = vec![false; plan.nodes.len()];
        let mut open: Vec<NodeId> = exports.iter().filter_map(Export::node).collect();
        while let Some(id) = open.pop() {
            if !std::mem::replace(&mut needed[id.0 as usize], true) {
                open.extend(kinds[id.0 as usize].children());
            }
        }
        let mut moved = HashMap::new();
        let mut reads = HashMap::new();
        let mut part = Plan { nodes: Vec::new(), root: NodeId(0), selects: Vec::new(), params: plan.params };
        let mut read = |selects: &mut Vec<_>, id: SelectId| {
            *reads.entry(id).or_insert_with(|| {
                let moved = SelectId(selects.len() as u32);
                selects.push(crate::source::Select { id: moved, ..plan.select(id).clone() });
                moved
            })
        };
        for (i, (node, kind)) in plan.nodes.iter().zip(kinds).enumerate().filter(|(i, _)| needed[*i]) {
            let mut node = Node { kind, ..node.clone() };
            node.kind.map_children(&mut |child| moved[&child]);
            if let Some(select) = node.kind.select_mut() {
                *select = read(&mut part.selects, *select);
            }
            moved.insert(NodeId(i as u32), NodeId(part.nodes.len() as u32));
            part.nodes.push(node);
        }
        let exports = exports.iter().map(|export| match export {
            Export::Series(node) => Export::Series(moved[node]),
            Export::Partial(node) => Export::Partial(moved[node]),
            Export::Raw(select) => Export::Raw(read(&mut part.selects, *select)),
        });
        let exports = exports.collect();
        Self { plan: Arc::new(part), exports }
    }

    /// Whether there is nothing that a shard could do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exports.is_empty()
    }

    /// The reads of a shard.
    #[must_use]
    pub fn selects(&self) -> &[crate::source::Select] {
        &self.plan.selects
    }

    /// Samples of all reads lie after the first and up to the second time; none if nothing is read.
    #[must_use]
    pub fn time_range(&self) -> Option<(Timestamp, Timestamp)> {
        let start_ms = self.plan.selects.iter().map(|select| select.start_ms).min()?;
        let end_ms = self.plan.selects.iter().map(|select| select.end_ms).max()?;
        Some((start_ms, end_ms))
    }

    /// The reads whose series an export brings together; none of raw samples, which are brought together where they are sent.
    pub(crate) fn reads_of(&self, export: Export) -> BTreeSet<SelectId> {
        let (mut reads, mut open) = (BTreeSet::new(), Vec::from_iter(export.node()));
        while let Some(id) = open.pop() {
            let kind = &self.plan.node(id).kind;
            reads.extend(kind.select());
            open.extend(kind.children());
        }
        reads
    }

    /// The times of the values of an export; none of raw samples.
    pub(crate) fn grid_of(&self, export: Export) -> Option<Grid> {
        export.node().map(|node| self.plan.node(node).grid)
    }

    /// The operator of an aggregation that is sent as states.
    pub(crate) fn aggregate_of(&self, export: Export) -> Option<AggregateOp> {
        match export.node().map(|node| &self.plan.node(node).kind) {
            Some(NodeKind::Aggregate { op, .. }) => Some(*op),
            _ => None,
        }
    }

    /// How the shares of an export merge.
    pub(crate) fn merge_of(&self, export: Export) -> Merge {
        match export {
            Export::Series(_) => Merge::Join,
            Export::Raw(_) => Merge::Samples,
            Export::Partial(id) => partial_merge(self.plan.node(id)),
        }
    }
}

impl Export {
    fn node(&self) -> Option<NodeId> {
        match self {
            Self::Series(node) | Self::Partial(node) => Some(*node),
            Self::Raw(_) => None,
        }
    }
}
