//! The result for readers: one page that needs nothing else, on a screen or on paper.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use super::plots::{self, Bar, Curve, Group};
use super::svg::{escape, short};
use super::{Report, Summary, paired, table};
use crate::schedule::Cell;
use crate::subject::Subject;

/// Parts of the report: name of the points, headline.
const CHAPTERS: [(&str, &str); 7] = [
    ("publish/", "Publish per SIP request, closed loop"),
    ("publish-open/", "Publish per SIP request, open loop"),
    ("loop/", "Publish from a script loop"),
    ("query/", "Query, closed loop"),
    ("query-open/", "Query, open loop"),
    ("consume/", "Consume"),
    ("mixed", "Everything at once"),
];

/// Colours of processor time, by kind of process; the broker's last.
const KINDS: [(&str, &str); 8] = [
    ("SIP workers", "#1f4e79"),
    ("manager", "#4f9bd9"),
    ("event routes", "#2f8f83"),
    ("AMQP publisher", "#8fbbe0"),
    ("AMQP reader", "#9fd3cb"),
    ("supervisor", "#7a5195"),
    ("other", "#777777"),
    ("broker", "#e3d5b8"),
];

/// Lightness of the parts of a rate.
const SHADES: [&str; 3] = ["#1f4e79", "#4f9bd9", "#2f8f83"];

/// Points with a plot of their latency.
const PLOTTED: [&str; 6] =
    ["publish/16", "publish-open/2000", "publish-open/6000", "query/8", "query/16/5ms", "query-open/1000"];

/// The whole page.
pub fn page(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>kazoo load test</title>\n<style>\n{}</style></head>\n<body>\n",
        include_str!("style.css")
    );
    head(report, &mut page);
    targets(report, &mut page);
    ceilings(report, &mut page);
    for (key, title) in CHAPTERS {
        chapter(report, key, title, &mut page);
    }
    idle(report, &mut page);
    every_number(report, &mut page);
    method(report, &mut page);
    page.push_str("</body></html>\n");
    page
}

fn head(report: &Report, page: &mut String) {
    let bad: usize = report.cells.iter().map(|cell| Summary::of(cell).bad_runs).sum();
    let all: usize = report.cells.iter().map(|cell| cell.runs.len()).sum();
    let _ = write!(
        page,
        "<h1>How the kazoo module compares</h1>\n\
         <p class=\"small\">{}. {} runs of {} s each, subjects in turns; {all} measurements in {} min, {bad} of them no \
         result because something was lost, failed or died.</p>\n<p class=\"small\">{}</p>\n",
        escape(&report.machine.date),
        report.conditions.runs,
        report.conditions.seconds,
        report.conditions.took.as_secs().div_ceil(60),
        escape(&report.machine.text()),
    );
    if !report.conditions.params.is_empty() {
        let _ = writeln!(page, "<p>Ours runs with {}.</p>", escape(&report.conditions.params_text()));
    }
    let took_part = |subject: &Subject| report.cells.iter().any(|cell| cell.subject == *subject);
    let subjects = Subject::ALL.into_iter().filter(took_part);
    legend(subjects.map(|subject| (subject.name(), subject.color())), page);
}

fn legend(entries: impl Iterator<Item = (&'static str, &'static str)>, page: &mut String) {
    page.push_str("<p class=\"legend small\">");
    for (name, color) in entries {
        let _ = write!(page, "<span><i style=\"background:{color}\"></i>{}</span>", escape(name));
    }
    page.push_str("</p>\n");
}

fn targets(report: &Report, page: &mut String) {
    page.push_str(
        "<h2>Targets</h2>\n<table><thead><tr><th>what</th><th>against</th><th class=\"number\">measured</th>\
         <th class=\"number\">target</th><th></th><th>note</th></tr></thead><tbody>\n",
    );
    for target in &report.targets {
        let class = match target.is_met() {
            Some(true) => "met",
            Some(false) => "unmet",
            None => "unmeasured",
        };
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td class=\"whole\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
             <td class=\"whole {class}\">{}</td><td>{}</td></tr>",
            escape(target.what),
            target.against,
            target.value_text(),
            target.bound.text(target.unit),
            target.verdict(),
            escape(&target.note),
        );
    }
    page.push_str(
        "</tbody></table>\n<p class=\"small\">Medians. The ring and the JSON functions are measured by \
         <code>make bench</code>.</p>\n",
    );
}

/// How near everybody comes to what SIP alone or a plain client does.
fn ceilings(report: &Report, page: &mut String) {
    let mut groups: Vec<Group> = Vec::new();
    for cell in &report.cells {
        let Some(ceiling) = report.ceiling_of(&cell.point.key) else { continue };
        if !matches!(cell.subject, Subject::Ours | Subject::Before | Subject::CModule | Subject::Rabbitmq) {
            continue;
        }
        let Some(share) = paired::rates(cell, ceiling) else { continue };
        let summary = Summary::of(cell);
        let bar = Bar {
            label: cell.subject.name().into(),
            parts: vec![(share, cell.subject.color())],
            text: format!("{share:.2}"),
            warning: warning(&summary),
            ..Bar::default()
        };
        push(&mut groups, &cell.point.title, bar);
    }
    if !groups.is_empty() {
        page.push_str(
            "<h2>Part of the ceiling</h2>\n<p>Rate, in parts of what is possible without the module in the same run: SIP \
             without AMQP for publishes per SIP request, the better plain client for all else.</p>\n",
        );
        page.push_str(&plots::bars("rates in parts of the ceiling", "parts of the ceiling", &groups, f64::MAX));
    }
}

fn push(groups: &mut Vec<Group>, title: &str, bar: Bar) {
    match groups.iter_mut().find(|group| group.title == title) {
        Some(group) => group.bars.push(bar),
        None => groups.push(Group { title: title.into(), bars: vec![bar] }),
    }
}

fn chapter(report: &Report, key: &str, title: &str, page: &mut String) {
    let cells: Vec<&Cell> = report.cells.iter().filter(|cell| cell.point.key.starts_with(key)).collect();
    if cells.is_empty() {
        return;
    }
    let _ = writeln!(page, "<h2>{title}</h2>");
    if !key.contains("open") {
        page.push_str(
            "<h3>Rate</h3>\n<p class=\"small\">Median; the thin line goes from the slowest run to the fastest.</p>\n",
        );
        page.push_str(&plots::bars(title, &rate_unit(&cells), &rates(&cells), f64::MAX));
    }
    let groups = processor(&cells);
    if !groups.is_empty() {
        let _ = writeln!(
            page,
            "<h3>Processor time per {}</h3>\n<p class=\"small\">The numbers are Kamailio's and the broker's; what goes beyond \
             the axis is cut.</p>",
            cells[0].unit
        );
        legend(KINDS.into_iter(), page);
        page.push_str(&plots::bars(title, &format!("us per {}", cells[0].unit), &groups, longest(&cells)));
    }
    latencies(&cells, page);
}

/// What stands at the axis of rates: the operations, or their kinds in the order of the parts.
fn rate_unit(cells: &[&Cell]) -> String {
    let kinds: Vec<&str> = cells.iter().take(1).flat_map(|cell| Summary::of(cell).parts.into_keys()).collect();
    let what = if kinds.is_empty() { plural(cells[0].unit) } else { kinds.join(" + ") };
    format!("{what} per second")
}

fn plural(unit: &str) -> String {
    match unit.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if unit.ends_with('h') => format!("{unit}es"),
        None => format!("{unit}s"),
    }
}

fn rates(cells: &[&Cell]) -> Vec<Group> {
    let mut groups = Vec::new();
    for cell in cells {
        let summary = Summary::of(cell);
        let parts = match summary.parts.len() {
            0 => vec![(summary.rate.median, cell.subject.color())],
            _ => summary.parts.values().copied().zip(SHADES).collect(),
        };
        let bar = Bar {
            label: cell.subject.name().into(),
            parts,
            spread: summary.parts.is_empty().then_some((summary.rate.min, summary.rate.max)),
            text: parts_text(&summary),
            warning: warning(&summary),
        };
        push(&mut groups, &cell.point.title, bar);
    }
    groups
}

/// The rate, or those of its parts.
fn parts_text(summary: &Summary) -> String {
    if summary.parts.is_empty() {
        return short(summary.rate.median);
    }
    summary.parts.values().map(|rate| short(*rate)).collect::<Vec<_>>().join(" + ")
}

fn processor(cells: &[&Cell]) -> Vec<Group> {
    let mut groups = Vec::new();
    for cell in cells {
        let summary = Summary::of(cell);
        let time = |kind: &str| match kind {
            "broker" => summary.broker_us,
            kind => summary.cpu_us.get(kind).copied().unwrap_or_default(),
        };
        if summary.cpu_us.is_empty() || summary.rate.median == 0.0 {
            continue;
        }
        let bar = Bar {
            label: cell.subject.name().into(),
            parts: KINDS.iter().map(|(kind, color)| (time(kind), *color)).collect(),
            text: format!("{} + {}", short(summary.kamailio_us), short(summary.broker_us)),
            ..Bar::default()
        };
        push(&mut groups, &cell.point.title, bar);
    }
    groups
}

/// Longest bar of processor time, without `rabbitmq.so`: what that costs the broker would make all others dwarfs.
fn longest(cells: &[&Cell]) -> f64 {
    let others = cells.iter().filter(|cell| cell.subject != Subject::Rabbitmq).map(|cell| Summary::of(cell));
    others.map(|summary| summary.kamailio_us + summary.broker_us).fold(0.0, f64::max)
}

/// One plot per point whose latencies tell something.
fn latencies(cells: &[&Cell], page: &mut String) {
    for key in PLOTTED {
        let of_point: Vec<&&Cell> = cells.iter().filter(|cell| cell.point.key == key).collect();
        let curves: Vec<Curve> = of_point.iter().filter_map(|cell| curve(cell)).collect();
        if let Some(title) = of_point.first().map(|cell| &cell.point.title)
            && !curves.is_empty()
        {
            let _ = writeln!(page, "<h3>Latency: {}</h3>", escape(title));
            page.push_str(&plots::latency(title, &curves));
        }
    }
}

/// All runs together.
fn curve(cell: &Cell) -> Option<Curve> {
    let mut runs = cell.runs.iter().filter_map(|run| run.latency.as_ref()).filter(|latency| !latency.is_empty());
    let first: Histogram<u64> = runs.next()?.clone();
    let latency = runs.fold(first, |mut all, run| {
        // All have the same bounds.
        let _ = all.add(run);
        all
    });
    Some(Curve { label: cell.subject.name(), color: cell.subject.color(), dashes: cell.subject.dashes(), latency })
}

fn idle(report: &Report, page: &mut String) {
    let cells: Vec<&Cell> = report.cells.iter().filter(|cell| cell.point.key == "idle").collect();
    if cells.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Idle</h2>\n<table><thead><tr><th>server</th><th>wake-ups per second, by kind of process</th>\
         <th class=\"number\">processor time, us per s</th></tr></thead><tbody>\n",
    );
    for cell in cells {
        for run in &cell.runs {
            let wake_ups = run.wake_ups.iter().map(|(kind, count)| format!("{kind} {count:.1}"));
            let _ = writeln!(
                page,
                "<tr><td>{}</td><td>{}</td><td class=\"number\">{:.0}</td></tr>",
                cell.subject.name(),
                wake_ups.collect::<Vec<_>>().join(", "),
                run.kamailio_us(),
            );
        }
    }
    page.push_str("</tbody></table>\n");
}

fn every_number(report: &Report, page: &mut String) {
    page.push_str("<h2>All numbers</h2>\n<table class=\"dense\"><thead><tr>");
    for (n, name) in table::COLUMNS.iter().enumerate() {
        let _ = write!(page, "<th{}>{name}</th>", column(n));
    }
    page.push_str("</tr></thead><tbody>\n");
    for cell in &report.cells {
        page.push_str("<tr>");
        for (n, field) in table::row(report, cell).iter().enumerate() {
            let _ = write!(page, "<td{}>{}</td>", column(n), escape(field));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table>\n");
}

/// Numbers stand to the right.
fn column(n: usize) -> &'static str {
    if table::TEXTS.contains(&n) { "" } else { " class=\"number\"" }
}

fn method(report: &Report, page: &mut String) {
    let _ = write!(
        page,
        "<h2>How it was measured</h2>\n\
         <p>One RabbitMQ for everything. Each of the {} rounds goes through all workloads, and in each of them through all \
         subjects, so that whatever else happens on the machine hits everybody alike. Payloads have {} bytes. Every message \
         has a number; what the script was told is published is compared with what lies in the queue afterwards, every \
         answer with its question, every event with the count of the event routes. A run in which something was lost, came \
         twice, failed, was answered wrongly or not at all, or in which Kamailio died, is no result; what it did is shown \
         all the same, with what went wrong.</p>\n\
         <p>Publishing per SIP request counts requests answered; the script loop counts until everything has arrived in the \
         queue, which nobody reads meanwhile. Closed loop: the next request goes out when an answer has come. Open loop: the \
         moments of sending are fixed beforehand and latency counts from them, whatever the server does. Processor time is \
         what the kernel accounts to each process, divided by the operations that were done rightly. Plain clients are \
         single-threaded programs with the library's usual calls, 2000 unconfirmed publishes, prefetch 500, one \
         acknowledgement for what is ready.</p>\n",
        report.conditions.runs,
        crate::PAYLOAD_BYTES,
    );
}

/// What is wrong with a cell, in few words.
fn warning(summary: &Summary) -> String {
    let worst = summary.faults.iter().next().map_or_else(|| "not measured".into(), |(what, n)| format!("{what} {n}"));
    if summary.bad_runs == 0 { String::new() } else { format!("no result: {worst}") }
}
