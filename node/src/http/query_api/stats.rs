//! `stats` of a query's answer.

use crate::query::frontend::Answer;
use model::labels::quote;
use model::number::write_float;
use promql::Stats;
use promql::plan::QueryParams;
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

/// The JSON of `data.stats`; with counts of each step if `steps_of` gives the times of the query.
pub(super) fn to_json(answer: &Answer, steps_of: Option<&QueryParams>) -> Vec<u8> {
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
    out.extend_from_slice(b"},\"samples\":");
    write_samples(&mut out, &answer.result.stats, steps_of);
    out.push(b'}');
    out
}

fn write_samples(out: &mut Vec<u8>, stats: &Stats, steps_of: Option<&QueryParams>) {
    let steps_of = steps_of.filter(|_| !stats.samples_per_step.is_empty());
    out.push(b'{');
    if let Some(params) = steps_of {
        write_steps(out, "totalQueryableSamplesPerStep", params, &stats.samples_per_step);
    }
    out.extend_from_slice(format!("\"totalQueryableSamples\":{},", stats.samples_queryable).as_bytes());
    if let Some(params) = steps_of {
        write_steps(out, "samplesReadPerStep", params, &stats.samples_read_per_step);
    }
    let (read, peak) = (stats.samples_read_for_steps(), stats.samples_peak);
    out.extend_from_slice(format!("\"samplesRead\":{read},\"peakSamples\":{peak}}}").as_bytes());
}

fn write_steps(out: &mut Vec<u8>, name: &str, params: &QueryParams, counts: &[u64]) {
    out.extend_from_slice(format!("\"{name}\":[").as_bytes());
    let times = (0..).map(|step: i64| params.start_ms.saturating_add(params.step_ms.saturating_mul(step)));
    for (i, (time_ms, samples)) in times.zip(counts).enumerate() {
        out.extend_from_slice(if i == 0 { b"[" } else { b",[" });
        // Seconds without zeros behind, unlike the times of samples.
        write_float(out, time_ms as f64 / 1000.0);
        out.extend_from_slice(format!(",{samples}]").as_bytes());
    }
    out.extend_from_slice(b"],");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_each_step_come_with_times_in_seconds() {
        let (samples_per_step, samples_read_per_step) = (vec![5, 0, 10], vec![5, 0, 2]);
        let stats = Stats {
            samples_queryable: 15,
            samples_per_step,
            samples_read_per_step,
            samples_read: 900,
            samples_peak: 3,
            ..Stats::default()
        };
        let written = |steps_of: Option<&QueryParams>| {
            let mut out = Vec::new();
            write_samples(&mut out, &stats, steps_of);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(None), r#"{"totalQueryableSamples":15,"samplesRead":7,"peakSamples":3}"#);
        let range = QueryParams::range(20_001_000, 20_004_000, 1_500);
        let looked = r#"{"totalQueryableSamplesPerStep":[[20001,5],[20002.5,0],[20004,10]],"totalQueryableSamples":15,"#;
        let read = r#""samplesReadPerStep":[[20001,5],[20002.5,0],[20004,2]],"samplesRead":7,"peakSamples":3}"#;
        assert_eq!(written(Some(&range)), format!("{looked}{read}"));
        let instant = Stats { samples_per_step: vec![5], ..stats.clone() };
        let mut out = Vec::new();
        write_samples(&mut out, &instant, Some(&QueryParams::instant(4_000)));
        assert!(out.starts_with(br#"{"totalQueryableSamplesPerStep":[[4,5]],"#));
    }

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
