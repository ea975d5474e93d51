//! `stats` of a query's answer.

use crate::query::frontend::Answer;
use model::labels::quote;
use model::number::write_float;
use std::time::Duration;

/// What the parameter `stats` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StatsLevel {
    /// Nothing.
    None,
    /// Totals.
    Totals,
    /// Totals, and per step where that is turned on.
    All,
    /// Totals, asked for by a word that Prometheus will refuse one day.
    Deprecated(String),
}

impl StatsLevel {
    pub(super) fn read(text: &str) -> Self {
        match text {
            "" => Self::None,
            "true" => Self::Totals,
            "all" => Self::All,
            other => Self::Deprecated(other.to_owned()),
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        *self != Self::None
    }

    /// The warning about a deprecated word.
    pub(super) fn deprecation(&self) -> Option<String> {
        let Self::Deprecated(word) = self else { return None };
        let value = quote(word);
        Some(format!(
            "value {value} for parameter \"stats\" is deprecated and will be rejected in the next major release, use \"true\" or \"all\""
        ))
    }
}

/// The JSON of `data.stats`.
pub(super) fn to_json(answer: &Answer) -> Vec<u8> {
    let timings = &answer.timings;
    let total = timings.prepared + timings.evaluated;
    let mut out = b"{\"timings\":{".to_vec();
    let rows: [(&str, Duration); 6] = [
        ("evalTotalTime", total),
        // Evaluation yields its series in order; there is no sorting after it.
        ("resultSortTime", Duration::ZERO),
        ("queryPreparationTime", timings.prepared),
        ("innerEvalTime", timings.evaluated),
        ("execQueueTime", timings.queued),
        ("execTotalTime", total + timings.queued),
    ];
    for (i, (name, time)) in rows.into_iter().enumerate() {
        out.extend_from_slice(format!("{}\"{name}\":", if i == 0 { "" } else { "," }).as_bytes());
        write_float(&mut out, time.as_secs_f64());
    }
    let stats = &answer.result.stats;
    let samples = format!(
        "}},\"samples\":{{\"totalQueryableSamples\":{},\"samplesRead\":{},\"peakSamples\":{}}}}}",
        stats.samples_queryable, stats.samples_read, stats.samples_peak
    );
    out.extend_from_slice(samples.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_words_than_true_and_all_still_work_and_are_warned_of() {
        assert!(!StatsLevel::read("").is_wanted());
        assert_eq!((StatsLevel::read("true").deprecation(), StatsLevel::read("all").deprecation()), (None, None));
        let other = StatsLevel::read("1");
        assert!(other.is_wanted());
        assert_eq!(
            other.deprecation().unwrap(),
            r#"value "1" for parameter "stats" is deprecated and will be rejected in the next major release, use "true" or "all""#
        );
    }
}
