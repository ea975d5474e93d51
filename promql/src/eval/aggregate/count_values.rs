//! `count_values`.

use super::{Grouping, Groups};
use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::block::Block;
use crate::eval::function::label::invalid_name;
use crate::plan::NodeId;
use model::LabelsBuilder;
use model::number::DisplayFloat;
use std::collections::HashMap;
use std::fmt;

/// Bytes of the bookkeeping of one group.
const GROUP_BYTES: usize = 256;

/// `count_values(label, …)`: how many series of each group have each value.
pub(super) fn evaluate(evaluator: &mut Evaluator<'_>, input: NodeId, label: &[u8], grouping: Grouping<'_>) -> Result<Block, EvalError> {
    let name = std::str::from_utf8(label).ok().filter(|name| !name.is_empty()).ok_or_else(|| invalid_name(label))?;
    let is_hidden = grouping.without && grouping.names(name);
    let block = evaluator.vector(input)?;
    let mut groups = Groups::default();
    let mut by_value: HashMap<(usize, Counted), usize> = HashMap::new();
    let mut bases = Groups::default();
    let base_of = bases.of_block(&block, grouping);
    let mut counts: Vec<HashMap<usize, f64>> = Vec::new();
    let mut held = Vec::new();
    for (row, base) in base_of.iter().enumerate() {
        evaluator.budget.check()?;
        let from = block.row(row);
        let floats = from.iter().map(|(step, value)| (step, Counted::Float(value.to_bits())));
        for (step, value) in floats.chain(from.histograms.iter().map(|(step, h)| (*step, Counted::Histogram(h.to_string())))) {
            let group = *by_value.entry((*base, value)).or_insert_with_key(|(_, value)| {
                let meta = &bases.metas[*base];
                let mut labels = LabelsBuilder::from_labels(&meta.labels);
                if !is_hidden {
                    labels.set(name, &value.to_string());
                }
                groups.number(labels.build(), meta.drop_name)
            });
            if group == counts.len() {
                // Every value makes a series: the row that it will take is paid for when it appears.
                let bytes = GROUP_BYTES + block.steps() * 8 + groups.metas[group].labels.heap_bytes();
                held.push(evaluator.budget.reserve(0, bytes as u64)?);
                counts.push(HashMap::new());
            }
            *counts[group].entry(step).or_default() += 1.0;
        }
    }
    let mut result = Block::reserved(block.steps(), groups.len(), evaluator.budget)?;
    for (meta, counts) in groups.metas.into_iter().zip(counts) {
        result.push_with(meta, |row| counts.iter().for_each(|(step, count)| row.set(*step, *count)));
    }
    Ok(result)
}

/// A value that is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Counted {
    /// The bits of a float.
    Float(u64),
    /// A histogram as it is printed.
    Histogram(String),
}

/// Floats as Go formats them with `'f'` and as many digits as needed.
impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Histogram(text) => f.write_str(text),
            Self::Float(bits) => DisplayFloat(f64::from_bits(*bits)).fmt(f),
        }
    }
}
