//! Fragments as bytes, for the nodes that hold the shards.
//!
//! The operators of a fragment travel as numbers of a list that is frozen: never as text of the query language. A node that does not
//! know the version or one of the numbers refuses the fragment; the asker then reads the samples and evaluates by itself. What was
//! read is checked before it is evaluated: operators fit their operands, as the planner makes them fit.

mod check;
mod numbers;
#[cfg(test)]
mod tests;

use super::fragment::{Export, Fragment};
use super::{Grid, Node, NodeId, NodeKind, Plan, QueryParams, RangeInput, TimeShift};
use crate::ast::{Span, VectorMatching};
use crate::eval::function;
use crate::plan::pushdown;
use crate::source::{Select, SelectId};
use model::Matcher;
use prost::Message;
use std::sync::Arc;

/// Version of the encoding.
const VERSION: u32 = 2;

/// Why bytes are no fragment that this node can compute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// The bytes are malformed, or operators do not fit their operands.
    #[error("malformed fragment: {detail}")]
    Malformed {
        /// What is wrong.
        detail: String,
    },
    /// The fragment is of a newer node: the asker must do without this node's help.
    #[error("fragment of an unknown kind: {detail}")]
    Unknown {
        /// What is not known.
        detail: String,
    },
}

fn malformed(detail: impl Into<String>) -> FragmentError {
    FragmentError::Malformed { detail: detail.into() }
}

fn unknown(detail: impl Into<String>) -> FragmentError {
    FragmentError::Unknown { detail: detail.into() }
}

#[derive(Clone, PartialEq, Message)]
struct WireFragment {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(message, optional, tag = "2")]
    params: Option<QueryParams>,
    #[prost(message, repeated, tag = "3")]
    nodes: Vec<WireNode>,
    #[prost(message, repeated, tag = "4")]
    selects: Vec<WireSelect>,
    #[prost(message, repeated, tag = "5")]
    exports: Vec<WireExport>,
}

#[derive(Clone, PartialEq, Message)]
struct WireSelect {
    #[prost(message, repeated, tag = "1")]
    matchers: Vec<WireMatcher>,
    #[prost(sint64, tag = "2")]
    start_ms: i64,
    #[prost(sint64, tag = "3")]
    end_ms: i64,
    #[prost(bool, tag = "4")]
    newest_only: bool,
}

#[derive(Clone, PartialEq, Message)]
struct WireMatcher {
    #[prost(uint32, tag = "1")]
    op: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    value: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct WireExport {
    /// 1 series of a node, 2 its partial result, 3 samples of a read.
    #[prost(uint32, tag = "1")]
    form: u32,
    /// Number of the node or of the read.
    #[prost(uint32, tag = "2")]
    of: u32,
}

/// An operator; which fields count follows from the kind.
#[derive(Clone, PartialEq, Message)]
struct WireNode {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint32, repeated, tag = "2")]
    children: Vec<u32>,
    #[prost(uint32, tag = "3")]
    span_start: u32,
    #[prost(uint32, tag = "4")]
    span_end: u32,
    #[prost(sint64, tag = "5")]
    grid_start_ms: i64,
    #[prost(int64, tag = "6")]
    grid_step_ms: i64,
    #[prost(uint64, tag = "7")]
    grid_steps: u64,
    #[prost(uint32, tag = "8")]
    value_type: u32,
    #[prost(double, tag = "9")]
    number: f64,
    #[prost(bytes = "vec", tag = "10")]
    text: Vec<u8>,
    #[prost(uint32, tag = "11")]
    select: u32,
    #[prost(sint64, optional, tag = "12")]
    at_ms: Option<i64>,
    #[prost(sint64, tag = "13")]
    offset_ms: i64,
    #[prost(int64, tag = "14")]
    range_ms: i64,
    #[prost(uint32, tag = "15")]
    extended: u32,
    #[prost(uint32, tag = "16")]
    operator: u32,
    #[prost(string, repeated, tag = "17")]
    labels: Vec<String>,
    /// `without`, or `on`.
    #[prost(bool, tag = "18")]
    inverted: bool,
    #[prost(bool, tag = "19")]
    return_bool: bool,
    #[prost(uint32, tag = "20")]
    cardinality: u32,
    #[prost(string, repeated, tag = "21")]
    include: Vec<String>,
    #[prost(double, optional, tag = "22")]
    fill_left: Option<f64>,
    #[prost(double, optional, tag = "23")]
    fill_right: Option<f64>,
    #[prost(bool, tag = "24")]
    detects_resets: bool,
}

const NUMBER: u32 = 1;
const STRING: u32 = 2;
const VECTOR: u32 = 3;
const MATRIX: u32 = 4;
const SUBQUERY: u32 = 5;
const CALL: u32 = 6;
const AGGREGATE: u32 = 7;
const NEGATE: u32 = 8;
const BINARY: u32 = 9;
const STEP_INVARIANT: u32 = 10;

impl Fragment {
    /// The fragment as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let export = |export: &Export| match export {
            Export::Series(node) => WireExport { form: 1, of: node.0 },
            Export::Partial(node) => WireExport { form: 2, of: node.0 },
            Export::Raw(select) => WireExport { form: 3, of: select.0 },
        };
        let wire = WireFragment {
            version: VERSION,
            params: Some(self.plan.params),
            nodes: self.plan.nodes.iter().map(node_to_wire).collect(),
            selects: self.plan.selects.iter().map(select_to_wire).collect(),
            exports: self.exports.iter().map(export).collect(),
        };
        wire.encode_to_vec()
    }

    /// Reads a fragment.
    ///
    /// # Errors
    /// See [`FragmentError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FragmentError> {
        let wire = WireFragment::decode(bytes).map_err(|e| malformed(e.to_string()))?;
        if wire.version != VERSION {
            return Err(unknown(format!("version {}", wire.version)));
        }
        let params = wire.params.ok_or_else(|| malformed("no times"))?;
        let select = |(i, select): (usize, &WireSelect)| select_of(SelectId(i as u32), select);
        let selects = wire.selects.iter().enumerate().map(select).collect::<Result<Vec<_>, _>>()?;
        let nodes = wire.nodes.into_iter().map(node_of).collect::<Result<Vec<_>, _>>()?;
        let export = |wire: &WireExport| match wire.form {
            1 => Ok(Export::Series(NodeId(wire.of))),
            2 => Ok(Export::Partial(NodeId(wire.of))),
            3 => Ok(Export::Raw(SelectId(wire.of))),
            other => Err(unknown(format!("form {other} of results"))),
        };
        let exports = wire.exports.iter().map(export).collect::<Result<Vec<_>, _>>()?;
        let fragment = Self { plan: Arc::new(Plan { nodes, root: NodeId(0), selects, params }), exports };
        check::check(&fragment)?;
        Ok(fragment)
    }
}

fn select_to_wire(select: &Select) -> WireSelect {
    let matcher = |m: &Matcher| WireMatcher { op: numbers::MATCH_OPS.of(m.op), name: m.name.clone(), value: m.value.clone() };
    let Select { id: _, matchers, start_ms, end_ms, newest_only } = select;
    WireSelect { matchers: matchers.iter().map(matcher).collect(), start_ms: *start_ms, end_ms: *end_ms, newest_only: *newest_only }
}

fn select_of(id: SelectId, wire: &WireSelect) -> Result<Select, FragmentError> {
    let matcher = |m: &WireMatcher| {
        let op = numbers::MATCH_OPS.find(m.op)?;
        Matcher::new(m.name.as_str(), op, m.value.as_str()).map_err(|e| malformed(e.to_string()))
    };
    let matchers = wire.matchers.iter().map(matcher).collect::<Result<_, _>>()?;
    Ok(Select { id, matchers, start_ms: wire.start_ms, end_ms: wire.end_ms, newest_only: wire.newest_only })
}

fn node_to_wire(node: &Node) -> WireNode {
    let mut wire = WireNode {
        children: node.kind.children().iter().map(|id| id.0).collect(),
        span_start: node.span.start,
        span_end: node.span.end,
        grid_start_ms: node.grid.start_ms,
        grid_step_ms: node.grid.step_ms,
        grid_steps: node.grid.steps as u64,
        value_type: numbers::VALUE_TYPES.of(node.value_type),
        ..WireNode::default()
    };
    let mut shifted = |kind, shift: &TimeShift, extended: &Option<_>| {
        wire.kind = kind;
        (wire.at_ms, wire.offset_ms) = (shift.at_ms, shift.offset_ms);
        wire.extended = extended.map_or(0, |extended| numbers::EXTENDED.of(extended));
    };
    match &node.kind {
        NodeKind::Number(number) => (wire.kind, wire.number) = (NUMBER, *number),
        NodeKind::String(text) => (wire.kind, wire.text) = (STRING, text.clone()),
        NodeKind::Vector { select, shift, extended, detects_resets } => {
            shifted(VECTOR, shift, extended);
            (wire.select, wire.detects_resets) = (select.0, *detects_resets);
        }
        NodeKind::Matrix { input, range_ms, shift, extended, detects_resets } => {
            match input {
                RangeInput::Select(select) => {
                    shifted(MATRIX, shift, extended);
                    wire.select = select.0;
                }
                RangeInput::Subquery(_) => shifted(SUBQUERY, shift, extended),
            }
            (wire.range_ms, wire.detects_resets) = (*range_ms, *detects_resets);
        }
        NodeKind::Call { function, .. } => (wire.kind, wire.operator) = (CALL, numbers::number_of_function(pushdown::name(*function))),
        NodeKind::Aggregate { op, grouping, without, .. } => {
            (wire.kind, wire.operator) = (AGGREGATE, numbers::AGGREGATES.of(*op));
            (wire.labels, wire.inverted) = (grouping.clone(), *without);
        }
        NodeKind::Negate(_) => wire.kind = NEGATE,
        NodeKind::Binary { op, matching, return_bool, .. } => {
            (wire.kind, wire.operator, wire.return_bool) = (BINARY, numbers::BINARIES.of(*op), *return_bool);
            if let Some(VectorMatching { cardinality, labels, on, include, fill_left, fill_right }) = matching {
                wire.cardinality = numbers::CARDINALITIES.of(*cardinality);
                (wire.labels, wire.inverted, wire.include) = (labels.clone(), *on, include.clone());
                (wire.fill_left, wire.fill_right) = (*fill_left, *fill_right);
            }
        }
        NodeKind::StepInvariant(_) => wire.kind = STEP_INVARIANT,
    }
    wire
}

fn node_of(wire: WireNode) -> Result<Node, FragmentError> {
    let span = Span { start: wire.span_start, end: wire.span_end };
    let steps = usize::try_from(wire.grid_steps).map_err(|_| malformed("too many steps"))?;
    let grid = Grid { start_ms: wire.grid_start_ms, step_ms: wire.grid_step_ms, steps };
    let value_type = numbers::VALUE_TYPES.find(wire.value_type)?;
    Ok(Node { span, kind: kind_of(wire)?, grid, value_type })
}

fn kind_of(wire: WireNode) -> Result<NodeKind, FragmentError> {
    let children: Vec<NodeId> = wire.children.iter().copied().map(NodeId).collect();
    let shift = TimeShift { at_ms: wire.at_ms, offset_ms: wire.offset_ms };
    let extended = || if wire.extended == 0 { Ok(None) } else { numbers::EXTENDED.find(wire.extended).map(Some) };
    let (select, detects_resets) = (SelectId(wire.select), wire.detects_resets);
    Ok(match (wire.kind, &children[..]) {
        (NUMBER, []) => NodeKind::Number(wire.number),
        (STRING, []) => NodeKind::String(wire.text),
        (VECTOR, []) => NodeKind::Vector { select, shift, extended: extended()?, detects_resets },
        (MATRIX, []) => {
            let input = RangeInput::Select(select);
            NodeKind::Matrix { input, range_ms: wire.range_ms, shift, extended: extended()?, detects_resets }
        }
        (SUBQUERY, [inner]) => {
            let input = RangeInput::Subquery(*inner);
            NodeKind::Matrix { input, range_ms: wire.range_ms, shift, extended: extended()?, detects_resets }
        }
        (CALL, _) => {
            let name = numbers::function_of_number(wire.operator)?;
            let function = function::resolve(name).ok_or_else(|| unknown(format!("function {name}")))?;
            NodeKind::Call { function, args: children }
        }
        (AGGREGATE, [param @ .., input]) if param.len() <= 1 => NodeKind::Aggregate {
            op: numbers::AGGREGATES.find(wire.operator)?,
            input: *input,
            param: param.first().copied(),
            grouping: wire.labels,
            without: wire.inverted,
        },
        (NEGATE, [inner]) => NodeKind::Negate(*inner),
        (BINARY, [left, right]) => {
            let matching = if wire.cardinality == 0 {
                None
            } else {
                let cardinality = numbers::CARDINALITIES.find(wire.cardinality)?;
                let (labels, on, include) = (wire.labels, wire.inverted, wire.include);
                Some(VectorMatching { cardinality, labels, on, include, fill_left: wire.fill_left, fill_right: wire.fill_right })
            };
            let op = numbers::BINARIES.find(wire.operator)?;
            NodeKind::Binary { op, left: *left, right: *right, matching, return_bool: wire.return_bool }
        }
        (STEP_INVARIANT, [inner]) => NodeKind::StepInvariant(*inner),
        (NUMBER..=STEP_INVARIANT, _) => return Err(malformed("wrong number of operands")),
        (other, _) => return Err(unknown(format!("operator {other}"))),
    })
}
