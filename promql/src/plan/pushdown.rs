//! Which operators the shards can compute by themselves.
//!
//! A series lies on the shard that the hash of its labels chooses, the name, the labels of the metric and `le` left out. What a
//! shard makes of its own series is therefore the shard's share of the whole result wherever an operator looks at one series at
//! a time, or only brings series together whose labels differ in nothing else.

use super::{Node, NodeId, NodeKind, Plan, RangeInput};
use crate::ast::{AggregateOp, BinaryOp, Cardinality, ValueType, VectorMatching};
use crate::eval::function::Function;
use crate::eval::labels::{is_metadata, is_unique_without_name};
use crate::functions;
use model::MatchOp;
use std::sync::LazyLock;

/// The label that does not choose the shard because it tells the buckets of one histogram apart.
const BUCKET_LABEL: &str = "le";

/// Where an operator is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    /// Anywhere, with the same result: it reads nothing.
    Constant,
    /// At the shards: the results of all together are the whole result, and a series of the result, by its labels, still belongs to
    /// the shard that computed it.
    Shard,
    /// Where the answers of the shards are gathered.
    Root,
}

/// Whether a label takes part in the choice of the shard.
pub(crate) fn chooses_shard(name: &str) -> bool {
    name != BUCKET_LABEL && !is_metadata(name)
}

/// How a function treats the series of its vector argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One by one.
    Series,
    /// One by one, and it changes the label that argument `destination` names.
    Relabel {
        /// Which argument.
        destination: usize,
    },
    /// The buckets of each histogram together.
    Buckets,
    /// All together, but one row that tells little stands for those of a shard (`absent`, `scalar`).
    Summary,
    /// All together.
    All,
}

/// The shape of a function.
pub(crate) fn shape(function: Function) -> Shape {
    let Some(name) = name(function) else { return Shape::All };
    match name {
        "label_replace" | "label_join" => Shape::Relabel { destination: 1 },
        "histogram_quantile" | "histogram_fraction" => Shape::Buckets,
        "absent" | "absent_over_time" | "scalar" => Shape::Summary,
        "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" | "histogram_quantiles" => Shape::All,
        _ => Shape::Series,
    }
}

/// The name of a function of a plan; none of one that a plan makes itself (`info`).
pub(crate) fn name(function: Function) -> Option<&'static str> {
    static BY_FUNCTION: LazyLock<Vec<(Function, &'static str)>> = LazyLock::new(|| {
        let resolved = |f: &'static functions::Function| Some((crate::eval::function::resolve(f.name)?, f.name));
        functions::FUNCTIONS.iter().filter_map(resolved).collect()
    });
    BY_FUNCTION.iter().find(|(known, _)| *known == function).map(|(_, name)| *name)
}

/// Whether the last argument of a function is a selector of which it reads the samples themselves.
pub(crate) fn reads_samples(node: &Node) -> bool {
    matches!(&node.kind, NodeKind::Call { function: Function::Info { .. }, .. })
}

/// The site of every node, by its number.
pub(crate) fn sites(plan: &Plan) -> Vec<Site> {
    let mut sites: Vec<Site> = Vec::with_capacity(plan.nodes.len());
    for node in &plan.nodes {
        let site = Judge { plan, sites: &sites }.site(node);
        sites.push(site);
    }
    sites
}

struct Judge<'a> {
    plan: &'a Plan,
    /// Of the nodes before this one, which include its children.
    sites: &'a [Site],
}

impl Judge<'_> {
    fn of(&self, id: NodeId) -> Site {
        self.sites[id.0 as usize]
    }

    fn are_constant(&self, ids: impl IntoIterator<Item = NodeId>) -> bool {
        ids.into_iter().all(|id| self.of(id) == Site::Constant)
    }

    fn site(&self, node: &Node) -> Site {
        match &node.kind {
            NodeKind::Number(_) | NodeKind::String(_) => Site::Constant,
            NodeKind::Vector { .. } | NodeKind::Matrix { input: RangeInput::Select(_), .. } => Site::Shard,
            NodeKind::Matrix { input: RangeInput::Subquery(inner), .. } => self.of(*inner),
            NodeKind::StepInvariant(inner) | NodeKind::Negate(inner) => self.of(*inner),
            NodeKind::Call { function, args } => self.call(node, *function, args),
            NodeKind::Binary { op, left, right, matching, .. } => self.binary(node, *op, (*left, *right), matching.as_ref()),
            NodeKind::Aggregate { .. } => self.aggregate(node),
        }
    }

    fn call(&self, node: &Node, function: Function, args: &[NodeId]) -> Site {
        if self.are_constant(args.iter().copied()) {
            return Site::Constant;
        }
        let is_series = |id: &&NodeId| matches!(self.plan.node(**id).value_type, ValueType::Vector | ValueType::Matrix);
        let (Some(series), 1) = (args.iter().find(is_series), args.iter().filter(is_series).count()) else { return Site::Root };
        let others = args.iter().copied().filter(|id| id != series);
        if !self.are_constant(others) || node.value_type != ValueType::Vector {
            return Site::Root;
        }
        let site = self.of(*series);
        match shape(function) {
            Shape::Series | Shape::Buckets => site,
            // Series that get the labels of another shard's series must be joined before anything else is made of them.
            Shape::Relabel { destination } => match args.get(destination).map(|arg| &self.plan.node(*arg).kind) {
                Some(NodeKind::String(name)) if std::str::from_utf8(name).is_ok_and(|name| !chooses_shard(name)) => site,
                _ => Site::Root,
            },
            Shape::Summary | Shape::All => Site::Root,
        }
    }

    fn binary(&self, node: &Node, op: BinaryOp, (left, right): (NodeId, NodeId), matching: Option<&VectorMatching>) -> Site {
        let (of_left, of_right) = (self.of(left), self.of(right));
        if of_left == Site::Constant && of_right == Site::Constant {
            return Site::Constant;
        }
        if node.value_type != ValueType::Vector {
            return Site::Root;
        }
        let Some(matching) = matching else {
            return match (of_left, of_right) {
                (_, Site::Constant) => of_left,
                (Site::Constant, _) => of_right,
                _ => Site::Root,
            };
        };
        let matches_in_shard = !matching.on && !matching.labels.iter().any(|name| chooses_shard(name));
        if !(of_left == Site::Shard && of_right == Site::Shard && matches_in_shard) {
            return Site::Root;
        }
        // Two series of the "one" side that match alike are an error only if the other side is not empty, which a shard cannot tell.
        let one = if matching.cardinality == Cardinality::OneToMany { left } else { right };
        let is_certain = op.is_set() || self.is_unique_without(one, &matching.labels);
        if is_certain { Site::Shard } else { Site::Root }
    }

    /// Whether no two series of a node differ only in the name and in `ignored` labels.
    fn is_unique_without(&self, id: NodeId, ignored: &[String]) -> bool {
        let ignores_bucket = ignored.iter().any(|name| name == BUCKET_LABEL);
        let ignores_metadata = ignored.iter().any(|name| name != BUCKET_LABEL && is_metadata(name) && name != model::labels::METRIC_NAME);
        is_unique_without_name(self.plan, id) && !ignores_metadata && (!ignores_bucket || self.has_one_bucket(id))
    }

    /// Whether all series of a node have the same `le`, or none.
    fn has_one_bucket(&self, id: NodeId) -> bool {
        match &self.plan.node(id).kind {
            NodeKind::Vector { select, .. } | NodeKind::Matrix { input: RangeInput::Select(select), .. } => {
                self.plan.select(*select).matchers.iter().any(|m| m.name == BUCKET_LABEL && m.op == MatchOp::Equal)
            }
            NodeKind::Matrix { input: RangeInput::Subquery(inner), .. } | NodeKind::StepInvariant(inner) | NodeKind::Negate(inner) => {
                self.has_one_bucket(*inner)
            }
            NodeKind::Call { function, args } if shape(*function) == Shape::Series => {
                function.series_argument().and_then(|index| args.get(index)).is_some_and(|arg| self.has_one_bucket(*arg))
            }
            _ => false,
        }
    }

    fn aggregate(&self, node: &Node) -> Site {
        let NodeKind::Aggregate { op, input, param, grouping, without } = &node.kind else { return Site::Root };
        let site = self.of(*input);
        if !self.are_constant(*param) {
            return Site::Root;
        }
        if site == Site::Constant {
            return Site::Constant;
        }
        let keeps_groups_whole = *without && !grouping.iter().any(|name| chooses_shard(name));
        let keeps_series = *op == AggregateOp::LimitRatio;
        if site == Site::Shard && (keeps_series || (keeps_groups_whole && *op != AggregateOp::CountValues)) { site } else { Site::Root }
    }
}

/// Whether the share of each shard in a node at the root can be made small: the node, and its input that the shards compute.
pub(crate) fn partial_input(sites: &[Site], node: &Node) -> Option<NodeId> {
    let of = |id: NodeId| sites[id.0 as usize];
    match &node.kind {
        NodeKind::Aggregate { op, input, param, .. } => {
            let param_is_known = param.is_none_or(|param| of(param) == Site::Constant);
            // The parameter of `quantile` is looked at by the root alone.
            let is_mergeable = param_is_known || *op == AggregateOp::Quantile;
            (is_mergeable && of(*input) == Site::Shard).then_some(*input)
        }
        NodeKind::Call { function, args } if shape(*function) == Shape::Summary => {
            args.first().copied().filter(|input| of(*input) == Site::Shard)
        }
        _ => None,
    }
}
