//! `info`: adds labels of info series, such as `target_info`, to the series that they are about.

use super::Evaluator;
use super::block::{Block, SeriesMeta, set_bits};
use super::labels::join_equal;
use super::selector::{Of, stream_newest};
use crate::error::EvalError;
use crate::plan::{Node, NodeId, NodeKind};
use crate::stats::Seen;
use model::labels::METRIC_NAME;
use model::{Labels, LabelsBuilder, MatchOp, Matcher};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The info metric that is meant unless another is named.
pub(crate) const DEFAULT_METRIC: &str = "target_info";
/// The info metrics that are meant if some are excluded but none is named.
pub(crate) const ANY_METRIC: &str = ".+_info";
/// Labels by which info series and other series find each other.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// Whether a condition says what the name of an info metric is, not only what it is not.
pub(crate) fn says_name(matcher: &Matcher) -> bool {
    matcher.name == METRIC_NAME && matches!(matcher.op, MatchOp::Equal | MatchOp::Regex)
}

/// Which info series is the newest at each step, of those with one name and one set of identifying labels.
type Newest = Vec<Option<(i64, usize)>>;

/// Evaluates `info(args[0], …)`, where `args[1]` selects the info series. `skips_info` tells that series which are info series
/// themselves stay as they are.
pub(crate) fn evaluate<'p>(evaluator: &mut Evaluator<'p>, args: &[NodeId], skips_info: bool) -> Result<Block, EvalError> {
    let base = evaluator.vector(args[0])?;
    let info_node = evaluator.node(args[1]);
    let NodeKind::Vector { select, .. } = &info_node.kind else { unreachable!("the plan gives a selector") };
    let matchers = Selected::of(&evaluator.plan.select(*select).matchers);
    let enriched: Vec<bool> = base.series.iter().map(|meta| !(skips_info && matchers.is_info(&meta.labels))).collect();
    let identities = identities(&base, &enriched);
    let info = if identities.is_empty() { Block::new(base.steps()) } else { sample_times(evaluator, info_node, &identities)? };
    let _held = evaluator.budget.reserve(0, (info.len() as u64).saturating_mul(info.steps() as u64).saturating_mul(24))?;
    let newest = newest(&base, &info)?;
    let mut result = Block::reserved(base.steps(), base.len(), evaluator.budget)?;
    for (row, meta) in base.series.iter().enumerate() {
        evaluator.budget.check()?;
        if !enriched[row] {
            result.push(meta.clone(), base.row(row));
            continue;
        }
        for (labels, mask) in matchers.enriched(&base, row, &info, &newest)? {
            result.push_with(SeriesMeta { labels, drop_name: meta.drop_name }, |out| {
                out.copy_from(base.row(row));
                out.mask(&mask);
            });
        }
    }
    join_equal(result, evaluator.budget)?.account(evaluator.budget)
}

/// The values of each identifying label among the series that are to be enriched.
fn identities<'a>(base: &'a Block, enriched: &[bool]) -> Identities<'a> {
    let mut identities = Identities::new();
    for (meta, _) in base.series.iter().zip(enriched).filter(|(_, enriched)| **enriched) {
        for name in IDENTIFYING {
            if let Some(value) = meta.labels.get(name).filter(|value| !value.is_empty()) {
                identities.entry(name).or_default().insert(value);
            }
        }
    }
    identities
}

/// The times in milliseconds of the newest samples of the info series that may be about a series.
fn sample_times<'p>(evaluator: &mut Evaluator<'p>, node: &'p Node, identities: &Identities<'_>) -> Result<Block, EvalError> {
    // Both passes look at the same samples, and only those of series that may be meant count.
    let ((), _) = evaluator.on_grid(node.grid.steps, |evaluator| refuse_histograms(evaluator, node, identities))?;
    let mut seen = Seen::new(node.grid.steps);
    let (times, _) = evaluator.on_grid(node.grid.steps, |evaluator| times_of(evaluator, node, identities, &mut seen))?;
    evaluator.seen.merge(&seen);
    Ok(times)
}

/// Which values of the identifying labels the series have that are to be enriched.
type Identities<'a> = HashMap<&'static str, HashSet<&'a str>>;

fn is_about(identities: &Identities<'_>, labels: &Labels) -> bool {
    identities.iter().all(|(name, values)| values.contains(labels.get(name).unwrap_or("")))
}

fn refuse_histograms<'p>(evaluator: &mut Evaluator<'p>, node: &'p Node, identities: &Identities<'_>) -> Result<(), EvalError> {
    let mut has_histograms = false;
    stream_newest(
        evaluator,
        node,
        &mut |_, block| {
            let of_interest = block.series.iter().enumerate().filter(|(_, meta)| is_about(identities, &meta.labels));
            has_histograms |= of_interest.into_iter().any(|(row, _)| !block.row(row).histograms.is_empty());
            Ok(())
        },
        Of::Value,
    )?;
    if has_histograms { Err(EvalError::InfoIsHistogram) } else { Ok(()) }
}

fn times_of<'p>(evaluator: &mut Evaluator<'p>, node: &'p Node, identities: &Identities<'_>, seen: &mut Seen) -> Result<Block, EvalError> {
    let mut times = Block::new(node.grid.steps);
    stream_newest(
        evaluator,
        node,
        &mut |evaluator, block| {
            let mut kept = Block::new(block.steps());
            for (row, meta) in block.series.iter().enumerate().filter(|(_, meta)| is_about(identities, &meta.labels)) {
                kept.push(meta.clone(), block.row(row));
            }
            kept.count_into(seen);
            times.append(kept.account(evaluator.budget)?);
            Ok(())
        },
        Of::Milliseconds,
    )?;
    Ok(times)
}

/// The name and the identifying labels of an info series.
fn signature(name: &str, labels: &Labels) -> [String; 3] {
    let [instance, job] = IDENTIFYING.map(|label| labels.get(label).unwrap_or("").to_owned());
    [name.to_owned(), instance, job]
}

/// The newest info series of each signature at each step at which there is anything to enrich.
fn newest(base: &Block, info: &Block) -> Result<BTreeMap<[String; 3], Newest>, EvalError> {
    let mut populated = vec![0; base.steps().div_ceil(64)];
    for row in 0..base.len() {
        populated.iter_mut().zip(base.row(row).present().iter()).for_each(|(any, word)| *any |= word);
    }
    let mut newest: BTreeMap<[String; 3], Newest> = BTreeMap::new();
    let mut earliest: Option<(usize, EvalError)> = None;
    for (row, meta) in info.series.iter().enumerate() {
        let steps = newest.entry(signature(meta.labels.metric_name(), &meta.labels)).or_insert_with(|| vec![None; info.steps()]);
        for (step, time) in info.row(row).iter().filter(|(step, _)| super::block::is_set(&populated, *step)) {
            let time = time as i64;
            match steps[step] {
                Some((known, other)) if known == time => {
                    if earliest.as_ref().is_none_or(|(at, _)| step < *at) {
                        let (existing, new) = (info.series[other].labels.to_string(), meta.labels.to_string());
                        earliest = Some((step, EvalError::DuplicateInfo { existing, new, at_ms: time }));
                    }
                }
                Some((known, _)) if known > time => {}
                _ => steps[step] = Some((time, row)),
            }
        }
    }
    earliest.map_or(Ok(newest), |(_, error)| Err(error))
}

/// What the second argument of `info` says.
struct Selected<'a> {
    names: Vec<&'a Matcher>,
    /// Conditions on the other labels. If there are any, only those labels are added.
    data: Vec<&'a Matcher>,
}

impl<'a> Selected<'a> {
    fn of(matchers: &'a [Matcher]) -> Self {
        let (names, data) = matchers.iter().partition(|matcher| matcher.name == METRIC_NAME);
        Self { names, data }
    }

    fn is_info(&self, labels: &Labels) -> bool {
        self.names.iter().all(|matcher| matcher.matches(labels.metric_name()))
    }

    /// The labels that a series gets, and at which steps.
    fn enriched(
        &self,
        base: &Block,
        row: usize,
        info: &Block,
        newest: &BTreeMap<[String; 3], Newest>,
    ) -> Result<Vec<(Labels, Vec<u64>)>, EvalError> {
        let labels = &base.series[row].labels;
        let names: HashSet<&str> = info.series.iter().map(|meta| meta.labels.metric_name()).collect();
        let mut of_base: Vec<&Newest> = Vec::new();
        let mut names: Vec<&str> = names.into_iter().collect();
        names.sort_unstable();
        of_base.extend(names.iter().filter_map(|name| newest.get(&signature(name, labels))));
        let mut steps_of: BTreeMap<Vec<usize>, Vec<u64>> = BTreeMap::new();
        let words = base.steps().div_ceil(64);
        for step in set_bits(&base.row(row).present()) {
            let matched: Vec<usize> = of_base.iter().filter_map(|newest| newest[step].map(|(_, row)| row)).collect();
            let mask = steps_of.entry(matched).or_insert_with(|| vec![0; words]);
            mask[step / 64] |= 1 << (step % 64);
        }
        let mut enriched = Vec::new();
        for (matched, mask) in steps_of {
            if matched.is_empty() && !self.data.iter().all(|matcher| matcher.matches("")) {
                continue;
            }
            enriched.push((self.with_info(labels, matched.iter().map(|row| &info.series[*row].labels))?, mask));
        }
        Ok(enriched)
    }

    /// The labels and those of the info series that it has not and that are asked for.
    fn with_info<'b>(&self, base: &Labels, info: impl Iterator<Item = &'b Labels>) -> Result<Labels, EvalError> {
        let mut added: HashMap<&str, &str> = HashMap::new();
        let mut builder = LabelsBuilder::from_labels(base);
        for (name, value) in info.flat_map(|labels| labels.iter()) {
            let is_asked_for = self.data.is_empty() || self.data.iter().any(|matcher| matcher.name == name);
            if name == METRIC_NAME || !is_asked_for {
                continue;
            }
            if added.get(name).is_some_and(|known| *known != value) {
                return Err(EvalError::ConflictingInfo { label: name.to_owned() });
            }
            if base.get(name).is_none() {
                added.insert(name, value);
                builder.set(name, value);
            }
        }
        Ok(builder.build())
    }
}
