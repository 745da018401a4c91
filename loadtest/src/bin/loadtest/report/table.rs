//! The result as Markdown, for a terminal.

use std::fmt::Write as _;

use super::{Report, Summary};
use crate::schedule::Cell;
use crate::subject::Subject;

/// One line per cell.
pub fn markdown(report: &Report) -> String {
    let mut text = String::from(
        "| workload | subject | per second min / med / max | ours to it | p50 us | p99 us | Kamailio us | broker us | generator us | faults |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for cell in &report.cells {
        let summary = Summary::of(cell);
        let (p50, p99) = summary.latency_us.map_or((String::new(), String::new()), |latency| {
            (format!("{:.0}", latency.p50), format!("{:.0}", latency.p99))
        });
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {:.0} / {:.0} / {:.0} | {} | {p50} | {p99} | {} | {:.1} | {:.1} | {} |",
            cell.point.key,
            cell.subject.name(),
            summary.rate.min,
            summary.rate.median,
            summary.rate.max,
            ratio(report, cell, &summary),
            processor(&summary),
            summary.broker_us,
            summary.generator_us,
            faults(&summary, cell.runs.len()),
        );
    }
    text
}

/// Our rate at the same point, in parts of this one's.
fn ratio(report: &Report, cell: &Cell, summary: &Summary) -> String {
    let ours = report.cells.iter().find(|other| other.subject == Subject::Ours && other.point == cell.point);
    match ours {
        Some(ours) if cell.subject != Subject::Ours && summary.rate.median > 0.0 => {
            format!("{:.2}", Summary::of(ours).rate.median / summary.rate.median)
        }
        _ => String::new(),
    }
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
