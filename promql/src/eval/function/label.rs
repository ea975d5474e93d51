//! `label_replace` and `label_join`.

use crate::error::EvalError;
use crate::eval::block::SeriesMeta;
use crate::eval::labels::join_equal;
use crate::eval::{Evaluator, Sink};
use crate::plan::NodeId;
use model::labels::{METRIC_NAME, quote};
use model::regex::Regex;
use model::{Labels, LabelsBuilder};

/// A label name given as a string; any UTF-8 text but the empty one is one.
fn label_name(bytes: Vec<u8>, refuse: impl Fn(String) -> EvalError) -> Result<String, EvalError> {
    match String::from_utf8(bytes) {
        Ok(name) if !name.is_empty() => Ok(name),
        Ok(name) => Err(refuse(name)),
        Err(error) => Err(refuse(String::from_utf8_lossy(error.as_bytes()).into_owned())),
    }
}

/// `label_replace(v, destination, replacement, source, pattern)`.
pub(crate) fn replace<'p>(evaluator: &mut Evaluator<'p>, args: &[NodeId], sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    let text = |evaluator: &Evaluator<'_>, at: usize| String::from_utf8_lossy(&evaluator.string(args[at])).into_owned();
    let pattern = text(evaluator, 4);
    let regex = Regex::anchored(&pattern).map_err(|_| EvalError::InvalidPattern(pattern))?;
    let destination = label_name(evaluator.string(args[1]), EvalError::InvalidReplaceDestination)?;
    let (replacement, source) = (text(evaluator, 2), text(evaluator, 3));
    relabel(evaluator, args[0], sink, &destination, |labels| regex.expand(labels.get(&source).unwrap_or(""), &replacement))
}

/// `label_join(v, destination, separator, source, …)`.
pub(crate) fn join<'p>(evaluator: &mut Evaluator<'p>, args: &[NodeId], sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    let destination = label_name(evaluator.string(args[1]), EvalError::InvalidJoinDestination)?;
    let separator = String::from_utf8_lossy(&evaluator.string(args[2])).into_owned();
    let mut sources = Vec::new();
    for arg in &args[3..] {
        sources.push(label_name(evaluator.string(*arg), EvalError::InvalidJoinSource)?);
    }
    relabel(evaluator, args[0], sink, &destination, |labels| {
        let values: Vec<&str> = sources.iter().map(|name| labels.get(name).unwrap_or("")).collect();
        Some(values.join(&separator))
    })
}

/// Sets `destination` of each series to what `value` says, if anything.
fn relabel<'p>(
    evaluator: &mut Evaluator<'p>,
    input: NodeId,
    sink: Sink<'_, 'p>,
    destination: &str,
    value: impl Fn(&Labels) -> Option<String>,
) -> Result<(), EvalError> {
    let mut block = evaluator.vector(input)?;
    for meta in &mut block.series {
        let Some(new) = value(&meta.labels) else { continue };
        let mut builder = LabelsBuilder::from_labels(&meta.labels);
        builder.set(destination, &new);
        *meta = SeriesMeta { labels: builder.build(), drop_name: meta.drop_name && destination != METRIC_NAME };
    }
    let block = join_equal(block, evaluator.budget)?;
    sink(evaluator, block)
}

/// Quotes a label name for an error.
pub(crate) fn invalid_name(bytes: &[u8]) -> EvalError {
    match std::str::from_utf8(bytes) {
        Ok(text) => EvalError::InvalidLabelName(quote(text)),
        Err(_) => {
            let escaped: String = bytes.utf8_chunks().fold(String::new(), |mut out, chunk| {
                let quoted = quote(chunk.valid());
                out.push_str(&quoted[1..quoted.len() - 1]);
                chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
                out
            });
            EvalError::InvalidLabelName(format!("\"{escaped}\""))
        }
    }
}
