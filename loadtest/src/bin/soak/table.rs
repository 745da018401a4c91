//! The numbers of a soak as text and JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::record::{Record, hours, of_kind, slope, slope_per_hour, warm};
use crate::snapshot::{Process, Ring, Snapshot};

/// Three tables for `doc/reliability.md`.
pub fn markdown(record: &Record) -> String {
    format!("{}\n{}\n{}", processes(record), memory(record), counts(record))
}

/// Everything, for programs.
pub fn json(record: &Record, broken: &[String]) -> Value {
    let snapshot = |snapshot: &Snapshot| {
        let process = |kind: &String| {
            let of = |value: fn(&Process) -> u64| of_kind(snapshot, kind).map(|(_, p)| value(p)).collect::<Vec<_>>();
            let numbers = json!({
                "descriptors": of(|p| p.descriptors as u64), "threads": of(|p| p.threads as u64),
                "private_kib": of(|p| p.private_kib), "resident_kib": of(|p| p.resident_kib),
                "package_bytes": of(|p| p.package),
            });
            (kind.clone(), numbers)
        };
        let ring = |ring: &Ring| json!({ "ring": ring.name, "used": ring.used, "peak": ring.peak, "size": ring.size });
        json!({
            "second": snapshot.at.as_secs(),
            "processes": kinds(record).iter().map(process).collect::<serde_json::Map<_, _>>(),
            "shared_bytes": snapshot.shared,
            "suspended": snapshot.suspended,
            "rings": snapshot.rings.iter().map(ring).collect::<Vec<_>>(),
        })
    };
    let numbers: serde_json::Map<_, _> = numbers(record).into_iter().map(|(n, v)| (n.to_string(), json!(v))).collect();
    json!({
        "numbers": numbers,
        "counters": record.counters,
        "broken": broken,
        "at_rest": record.rests.iter().map(snapshot).collect::<Vec<_>>(),
        "under_load": record.samples.iter().map(snapshot).collect::<Vec<_>>(),
    })
}

/// Every kind of process, in the order of Kamailio's start.
fn kinds(record: &Record) -> Vec<String> {
    let mut kinds: Vec<String> = Vec::new();
    for process in record.rests.iter().flat_map(|rest| rest.processes.values()) {
        if !kinds.contains(&process.kind) {
            kinds.push(process.kind.clone());
        }
    }
    kinds
}

/// A line per kind; where there are several, the largest of them.
fn processes(record: &Record) -> String {
    let mut text = head(
        record,
        &["process", "how many", "descriptors", "threads"],
        "KiB",
        &["under load, least to most", "KiB per hour", "package memory, bytes"],
    );
    for kind in kinds(record) {
        let most = |rest: &Snapshot, value: fn(&Process) -> u64| of_kind(rest, &kind).map(|(_, p)| value(p)).max();
        let at_rest = |value: fn(&Process) -> u64| -> Vec<u64> {
            record.rests.iter().map(|rest| most(rest, value).unwrap_or(0)).collect()
        };
        let number = record.rests.last().map_or(0, |rest| of_kind(rest, &kind).count());
        let private: Vec<String> = at_rest(|p| p.private_kib).iter().map(u64::to_string).collect();
        let loaded: Vec<u64> = warm(record).iter().filter_map(|sample| most(sample, |p| p.private_kib)).collect();
        let slope = slope_per_hour(warm(record), &kind, |process| process.private_kib as f64);
        let _ = writeln!(
            text,
            "| {kind} | {number} | {} | {} | {} | {} | {slope:+.0} | {} |",
            ends(&at_rest(|p| p.descriptors as u64)),
            ends(&at_rest(|p| p.threads as u64)),
            private.join(" | "),
            range(&loaded),
            ends(&at_rest(|p| p.package)),
        );
    }
    text
}

/// Kamailio's shared memory, and the rings in it.
fn memory(record: &Record) -> String {
    let mut text =
        head(record, &["in shared memory", "how many"], "bytes", &["under load, least to most", "bytes per hour"]);
    let mut line = |name: &str, count: usize, value: &dyn Fn(&Snapshot) -> u64| {
        let rests: Vec<String> = record.rests.iter().map(|rest| value(rest).to_string()).collect();
        let loaded: Vec<u64> = warm(record).iter().map(value).collect();
        let points: Vec<_> = warm(record).iter().map(|sample| (hours(sample.at), value(sample) as f64)).collect();
        let _ = writeln!(
            text,
            "| {name} | {count} | {} | {} | {:+.0} |",
            rests.join(" | "),
            range(&loaded),
            slope(&points)
        );
    };
    line("everything used of 64 MiB", 1, &|sample| sample.shared);
    line("suspended transactions", 1, &|sample| sample.suspended);
    let last = record.rests.last().map_or(&[][..], |rest| &rest.rings);
    let mut names: Vec<&str> = last.iter().map(|ring| ring.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let of_name = |sample: &Snapshot| -> Vec<Ring> {
            sample.rings.iter().filter(|ring| ring.name == name).cloned().collect()
        };
        let count = last.iter().filter(|ring| ring.name == name).count();
        let most =
            |value: fn(&Ring) -> u64| move |sample: &Snapshot| of_name(sample).iter().map(value).max().unwrap_or(0);
        let size = last.iter().filter(|ring| ring.name == name).map(|ring| ring.size).max().unwrap_or(0);
        line(&format!("ring `{name}` of {size}, in use"), count, &most(|ring| ring.used));
        line(&format!("ring `{name}`, most ever"), count, &most(|ring| ring.peak));
    }
    text
}

/// What was counted.
fn counts(record: &Record) -> String {
    let mut text = "| counted | |\n|---|--:|\n".to_string();
    for (name, value) in numbers(record) {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    text
}

fn numbers(record: &Record) -> Vec<(&'static str, u64)> {
    let told = &record.told;
    let sip = told.sip();
    vec![
        ("minutes", record.rests.last().map_or(0, |rest| rest.at.as_secs() / 60)),
        ("restarts of the broker", record.restarts),
        ("connections lost", record.counter("disconnects")),
        ("manager processes started", record.counter("manager_starts")),
        ("publishes attempted", told.attempted),
        ("refused with a code", told.refused),
        ("accepted", told.accepted.len() as u64),
        ("arrived", record.arrived),
        ("lost", record.missing()),
        ("same id again", record.duplicates),
        ("sent again", record.counter("resent")),
        ("queries answered", told.answered),
        ("queries failed with a code", told.failed),
        ("events confirmed to their publisher", record.events),
        ("handled", record.handled),
        ("redelivered", record.counter("redelivered")),
        ("SIP answers", sip.count as u64),
        ("SIP p99 ms", sip.p99 as u64),
        ("SIP max ms", sip.max as u64),
        ("SIP requests sent again", told.retransmissions),
        ("SIP timeouts", told.timeouts),
        ("SIP answers out of place", told.unexpected),
    ]
}

/// The first lines of a table with a column per rest.
fn head(record: &Record, before: &[&str], unit: &str, after: &[&str]) -> String {
    let rest = |(number, rest): (usize, &Snapshot)| {
        let minute = (rest.at.as_secs_f64() / 60.0).round();
        if number == 0 { format!("{unit} at rest, minute {minute}") } else { format!("{minute}") }
    };
    let rests: Vec<String> = record.rests.iter().enumerate().map(rest).collect();
    let (numbers, last) = (before.len() - 1 + rests.len(), after.len());
    format!(
        "| {} | {} | {} |\n|---|{}\n",
        before.join(" | "),
        rests.join(" | "),
        after.join(" | "),
        "--:|".repeat(numbers + last)
    )
}

/// The first and the last value, or one when they are the same.
fn ends(values: &[u64]) -> String {
    match values {
        [first, .., last] if first != last => format!("{first} to {last}"),
        [first, ..] => first.to_string(),
        [] => "-".to_string(),
    }
}

fn range(values: &[u64]) -> String {
    match (values.iter().min(), values.iter().max()) {
        (Some(least), Some(most)) => format!("{least} to {most}"),
        _ => "-".to_string(),
    }
}
