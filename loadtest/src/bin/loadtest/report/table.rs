//! The result as a table: Markdown for a terminal, rows for the page.

use std::fmt::Write as _;

use super::{Report, Summary, paired};
use crate::schedule::Cell;
use crate::subject::Subject;

/// Names of the fields of [`row`].
pub const COLUMNS: [&str; 10] = [
    "workload",
    "subject",
    "per second (min–max)",
    "ours to it",
    "p50 us",
    "p99 us",
    "Kamailio us",
    "broker us",
    "generator us",
    "faults",
];

/// Those of them that are texts.
pub const TEXTS: [usize; 4] = [0, 1, 6, 9];

/// Targets, then one line per cell.
pub fn markdown(report: &Report) -> String {
    let mut text = String::from("| what | against | measured | target | | note |\n|---|---|---|---|---|---|\n");
    // Writing to a String cannot fail, here and below.
    for target in report.targets.iter().filter(|target| target.value.is_some()) {
        let (value, bound, verdict) = (target.value_text(), target.bound.text(target.unit), target.verdict());
        let _ = writeln!(
            text,
            "| {} | {} | {value} | {bound} | {verdict} | {} |",
            target.what, target.against, target.note
        );
    }
    let _ = write!(text, "\n| {} |\n|{}\n", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len()));
    for cell in &report.cells {
        let _ = writeln!(text, "| {} |", row(report, cell).join(" | "));
    }
    text
}

/// What there is to say about a cell.
pub fn row(report: &Report, cell: &Cell) -> [String; COLUMNS.len()] {
    let summary = Summary::of(cell);
    let latency = |pick: fn(&crate::measure::Percentiles) -> f64| {
        summary.latency_us.as_ref().map_or(String::new(), |latency| format!("{:.0}", pick(latency)))
    };
    let rate = summary.rate;
    [
        cell.point.key.clone(),
        cell.subject.name().into(),
        format!("{:.0} ({:.0}–{:.0})", rate.median, rate.min, rate.max),
        ratio(report, cell),
        latency(|latency| latency.p50),
        latency(|latency| latency.p99),
        processor(&summary),
        format!("{:.1}", summary.broker_us),
        format!("{:.1}", summary.generator_us),
        faults(&summary, cell.runs.len()),
    ]
}

/// Our rate at the same point, in parts of this one's.
fn ratio(report: &Report, cell: &Cell) -> String {
    let ours = report.cell(&cell.point.key, Subject::Ours).filter(|_| cell.subject != Subject::Ours);
    let ratio = ours.and_then(|ours| paired::rates(ours, cell));
    ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"))
}

/// Sum, and its parts that are not next to nothing.
fn processor(summary: &Summary) -> String {
    if summary.cpu_us.is_empty() {
        return String::new();
    }
    let parts = summary.cpu_us.iter().filter(|(_, us)| **us >= 0.05).map(|(kind, us)| format!("{kind} {us:.1}"));
    format!("{:.1} ({})", summary.kamailio_us, parts.collect::<Vec<_>>().join(", "))
}

fn faults(summary: &Summary, runs: usize) -> String {
    if summary.bad_runs == 0 {
        return String::new();
    }
    let counts: Vec<String> = summary.faults.iter().map(|(what, count)| format!("{what} {count}")).collect();
    format!("{} of {runs} runs are no result: {}", summary.bad_runs, counts.join(", "))
}
