//! The report of a run as one page: charts as inline SVG, promises with their evidence, and the line that repeats it.

use crate::nemesis::{Band, Class};
use plotters::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::BufRead;
use std::ops::Range;
use std::path::Path;

const SIZE: (u32, u32) = (1100, 320);
/// More points than this say no more to the eye.
const POINTS_MAX: usize = 20_000;
const CLASSES: [(Class, RGBColor); 6] = [
    (Class::Process, RGBColor(214, 39, 40)),
    (Class::Network, RGBColor(31, 119, 180)),
    (Class::Disk, RGBColor(148, 103, 189)),
    (Class::Clock, RGBColor(188, 189, 34)),
    (Class::Files, RGBColor(140, 86, 75)),
    (Class::Membership, RGBColor(44, 160, 44)),
];

/// What the page shows beside the history.
#[derive(Debug)]
pub struct Page<'a> {
    /// The report in words; its last line is the verdict.
    pub text: &'a str,
    /// The line that repeats the run.
    pub repeat: &'a str,
    /// Faults on the time line.
    pub bands: &'a [Band],
    /// Promises, how often each was broken, and the evidence.
    pub promises: &'a [Promise],
    /// `(seconds, group, node that led it)`, as sampled while the run went on.
    pub leaders: &'a [(f64, u64, usize)],
}

/// One promise and what became of it.
#[derive(Debug, Clone)]
pub struct Promise {
    /// Its numbers among the invariants.
    pub ids: &'static str,
    /// In words.
    pub what: &'static str,
    /// How often it was checked.
    pub checks: u64,
    /// How often it was broken.
    pub broken: u64,
    /// The first breaches.
    pub evidence: Vec<String>,
}

#[derive(Deserialize)]
struct Line {
    t: [u64; 2],
    p: i64,
    f: String,
    #[serde(rename = "type")]
    outcome: String,
}

/// One operation on the charts: seconds, latency in milliseconds.
struct Point {
    at: f64,
    ms: f64,
    is_write: bool,
    is_ok: bool,
}

/// The page, from the history in `history`.
///
/// # Errors
/// If the history cannot be read or a chart not be drawn.
pub fn page(history: &Path, page: &Page<'_>) -> std::io::Result<String> {
    let points = read(history)?;
    let end = points.iter().map(|p| p.at).chain(page.bands.iter().map(|b| seconds(b.ended_us))).fold(1.0, f64::max);
    let charts = [
        ("Latency of each operation, milliseconds (green and blue: answered writes and queries; red: errors and unknown outcomes)", {
            latency(&points, page.bands, end)
        }),
        ("Operations a second (black: answered; red: the rest)", rate(&points, page.bands, end)),
        ("Leaders by group over time (colour: node)", leaders(page.leaders, page.bands, end)),
    ];
    let mut html = String::from(HEAD);
    let verdict = page.text.trim_end().lines().last().unwrap_or_default();
    let class = if verdict.starts_with("OK") { "ok" } else { "bad" };
    let _infallible = write!(html, "<h1 class=\"{class}\">{}</h1><p>Repeat: <code>{}</code></p>", escape(verdict), escape(page.repeat));
    html.push_str(&promises(page.promises));
    for (title, chart) in charts {
        let chart = chart.map_err(std::io::Error::other)?;
        let _infallible = write!(html, "<h2>{}</h2>{chart}", escape(title));
    }
    let legend =
        CLASSES.iter().map(|(class, c)| format!("<span style=\"color:rgb({},{},{})\">&#9632; {}</span> ", c.0, c.1, c.2, class.name()));
    let _infallible = write!(html, "<p>Bands: {}</p>{}", legend.collect::<String>(), bands(page.bands));
    let _infallible = writeln!(html, "<h2>Report</h2><pre>{}</pre></body></html>", escape(page.text));
    Ok(html)
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>jepsen</title><style>\
body{font:14px/1.5 system-ui,sans-serif;max-width:1120px;margin:2em auto;color:#222}h1{font-size:1.2em;padding:.5em}\
.ok{background:#dff0d8}.bad{background:#f2dede}table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left;\
vertical-align:top}pre,code{background:#f6f6f6;white-space:pre-wrap;word-break:break-word}svg{width:100%;height:auto}</style></head><body>\n";

fn promises(all: &[Promise]) -> String {
    let rows = all.iter().map(|promise| {
        let (class, word) = match (promise.broken, promise.checks) {
            (0, 0) => ("", "not checked".to_string()),
            (0, n) => ("ok", format!("kept ({n} checks)")),
            (n, _) => ("bad", format!("broken {n} times")),
        };
        let evidence: Vec<String> = promise.evidence.iter().map(|e| format!("<br><code>{}</code>", escape(e))).collect();
        let (ids, what) = (escape(promise.ids), escape(promise.what));
        format!("<tr class=\"{class}\"><td>{ids}</td><td>{what}{}</td><td>{word}</td></tr>", evidence.concat())
    });
    format!("<table><tr><th>invariants</th><th>promise</th><th></th></tr>{}</table>", rows.collect::<String>())
}

fn bands(bands: &[Band]) -> String {
    let mut sorted: Vec<&Band> = bands.iter().collect();
    sorted.sort_by_key(|band| band.began_us);
    let row = |b: &&Band| {
        let (class, began, ended) = (b.fault.class().name(), seconds(b.began_us), seconds(b.ended_us));
        format!("<tr><td>{:?}</td><td>{class}</td><td>{began:.1}</td><td>{ended:.1}</td></tr>", b.fault)
    };
    let rows: String = sorted.iter().map(row).collect();
    format!(
        "<details><summary>{} faults</summary><table><tr><th>fault</th><th>class</th><th>from, s</th><th>to, s</th></tr>{rows}</table></details>",
        bands.len()
    )
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// The operations of clients in a history; of very many an even sample.
fn read(history: &Path) -> std::io::Result<Vec<Point>> {
    let mut points = Vec::new();
    for line in std::io::BufReader::new(std::fs::File::open(history)?).lines() {
        let Ok(op) = serde_json::from_str::<Line>(&line?) else { continue };
        if op.p >= 0 {
            let ms = op.t[1].saturating_sub(op.t[0]) as f64 / 1000.0;
            points.push(Point { at: seconds(op.t[1]), ms: ms.max(0.1), is_write: op.f == "write", is_ok: op.outcome == "ok" });
        }
    }
    let every = points.len().div_ceil(POINTS_MAX).max(1);
    Ok(points.into_iter().step_by(every).collect())
}

type Drawn = Result<String, String>;

fn draw(body: impl FnOnce(&DrawingArea<SVGBackend<'_>, plotters::coord::Shift>) -> Result<(), String>) -> Drawn {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(|e| e.to_string())?;
        body(&area)?;
        area.present().map_err(|e| e.to_string())?;
    }
    Ok(svg)
}

/// Coloured stripes from `low` to `high` while faults last.
fn stripes(all: &[Band], low: f64, high: f64) -> impl Iterator<Item = Rectangle<(f64, f64)>> + '_ {
    all.iter().map(move |band| {
        let colour = CLASSES.iter().find(|(class, _)| *class == band.fault.class()).map_or(BLACK, |(_, colour)| *colour);
        Rectangle::new([(seconds(band.began_us), low), (seconds(band.ended_us), high)], colour.mix(0.12).filled())
    })
}

fn latency(points: &[Point], bands: &[Band], end: f64) -> Drawn {
    draw(|area| {
        let (low, high) = (0.1, 100_000.0);
        let mut builder = ChartBuilder::on(area);
        builder.margin(8).x_label_area_size(24).y_label_area_size(60);
        let mut chart = builder.build_cartesian_2d(0.0..end, (low..high).log_scale()).map_err(|e| e.to_string())?;
        chart.configure_mesh().light_line_style(WHITE).draw().map_err(|e| e.to_string())?;
        chart.draw_series(stripes(bands, low, high)).map_err(|e| e.to_string())?;
        let dot = |p: &Point| {
            let colour = match (p.is_ok, p.is_write) {
                (false, _) => RED,
                (true, true) => RGBColor(44, 160, 44),
                (true, false) => RGBColor(31, 119, 180),
            };
            Circle::new((p.at, p.ms), 1, colour.filled())
        };
        chart.draw_series(points.iter().map(dot)).map(drop).map_err(|e| e.to_string())
    })
}

fn rate(points: &[Point], bands: &[Band], end: f64) -> Drawn {
    let count = |ok: bool| {
        let mut by_second: BTreeMap<u64, u64> = (0..=end as u64).map(|second| (second, 0)).collect();
        for point in points.iter().filter(|p| p.is_ok == ok) {
            *by_second.entry(point.at as u64).or_default() += 1;
        }
        by_second.into_iter().map(|(second, n)| (second as f64 + 0.5, n as f64)).collect::<Vec<_>>()
    };
    let (good, bad) = (count(true), count(false));
    let high = good.iter().chain(&bad).map(|p| p.1).fold(1.0, f64::max) * 1.1;
    draw(|area| {
        let mut chart = axes(area, 0.0..end, 0.0..high)?;
        chart.draw_series(stripes(bands, 0.0, high)).map_err(|e| e.to_string())?;
        chart.draw_series(LineSeries::new(good, &BLACK)).map_err(|e| e.to_string())?;
        chart.draw_series(LineSeries::new(bad, &RED)).map(drop).map_err(|e| e.to_string())
    })
}

fn leaders(samples: &[(f64, u64, usize)], bands: &[Band], end: f64) -> Drawn {
    let groups: BTreeMap<u64, f64> = {
        let mut ids: Vec<u64> = samples.iter().map(|s| s.1).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().zip(0u32..).map(|(id, row)| (id, f64::from(row))).collect()
    };
    let high = groups.len().max(1) as f64;
    draw(|area| {
        let mut chart = axes(area, 0.0..end, 0.0..high)?;
        chart.draw_series(stripes(bands, 0.0, high)).map_err(|e| e.to_string())?;
        let bar = |(at, group, node): &(f64, u64, usize)| {
            let row = groups.get(group).copied().unwrap_or(0.0);
            let colour = Palette99::pick(*node).mix(0.9);
            Rectangle::new([(*at, row + 0.15), (*at + 1.0, row + 0.85)], colour.filled())
        };
        chart.draw_series(samples.iter().map(bar)).map(drop).map_err(|e| e.to_string())
    })
}

type Plane<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>>;

fn axes<'a, 'b>(
    area: &'a DrawingArea<SVGBackend<'b>, plotters::coord::Shift>,
    x: Range<f64>,
    y: Range<f64>,
) -> Result<Plane<'a, 'b>, String> {
    let mut builder = ChartBuilder::on(area);
    builder.margin(8).x_label_area_size(24).y_label_area_size(60);
    let mut chart = builder.build_cartesian_2d(x, y).map_err(|e| e.to_string())?;
    chart.configure_mesh().light_line_style(WHITE).draw().map_err(|e| e.to_string())?;
    Ok(chart)
}

/// Text as HTML shows it.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nemesis::Fault;

    #[test]
    fn the_page_holds_verdict_repeat_line_charts_bands_and_evidence_and_needs_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let history = directory.path().join("history.jsonl");
        let line = |t: u64, kind: &str| {
            format!("{{\"i\":0,\"t\":[{t},{}],\"p\":1,\"n\":1,\"f\":\"write\",\"v\":null,\"type\":\"{kind}\",\"code\":204}}\n", t + 5000)
        };
        let lines: String = (0..50).map(|i| line(i * 100_000, if i % 7 == 0 { "info" } else { "ok" })).collect();
        std::fs::write(&history, format!("{lines}not json\n")).unwrap();
        let promise =
            |broken| Promise { ids: "I1", what: "kept & shown", checks: 3, broken, evidence: vec!["<lost>".to_string(); broken as usize] };
        let shown = Page {
            text: "figures\nFAILED seed=1",
            repeat: "jepsen run --seed 1",
            bands: &[Band { fault: Fault::PowerAll, began_us: 1_000_000, ended_us: 2_500_000 }],
            promises: &[promise(0), promise(1)],
            leaders: &[(0.0, 0, 1), (1.0, 4, 2)],
        };
        let html = page(&history, &shown).unwrap();
        assert_eq!(html.matches("<svg").count(), 3);
        for part in
            ["FAILED seed=1", "jepsen run --seed 1", "PowerAll", "kept (3 checks)", "broken 1 times", "&lt;lost&gt;", "kept &amp; shown"]
        {
            assert!(html.contains(part), "{part}");
        }
        assert!(!html.contains("src=") && !html.contains("href="));
    }
}
