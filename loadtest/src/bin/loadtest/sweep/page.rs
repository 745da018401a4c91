//! The generated parts of the pages: a plot and a table for each sweep, between two marks.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use rig::{Error, Result};

use super::plan::{Metric, PROFILES, Panel, Setup};
use super::result::{Conditions, Outcome};
use crate::report::svg::short;

const OPEN: &str = "<!-- measured: ";
const CLOSE: &str = "<!-- end -->";

/// Writes what was measured into the page. Without a page there is nothing to do.
pub fn update(page: &Path, command: &str, conditions: &Conditions, outcomes: &[Outcome]) -> Result<()> {
    let Ok(mut text) = fs::read_to_string(page) else { return Ok(()) };
    let mut parts = vec![("conditions".to_string(), described(conditions))];
    parts.extend(outcomes.iter().map(|outcome| (outcome.sweep.key.to_string(), part(command, outcome))));
    let profiles = outcomes.iter().filter(|outcome| outcome.sweep.key == PROFILES);
    let settings = profiles.flat_map(|outcome| &outcome.sweep.values).filter(|value| value.setup != Setup::default());
    parts.extend(settings.map(|value| (format!("profile {}", value.label), block(&value.setup))));
    for (name, part) in parts {
        text = filled(&text, &name, &part)
            .ok_or_else(|| Error::new(format!("{} has no place for {name}", page.display())))?;
    }
    fs::write(page, text).map_err(|error| Error::new(format!("writing {}: {error}", page.display())))
}

/// The page with this part between the marks of this name.
fn filled(text: &str, name: &str, part: &str) -> Option<String> {
    let (before, rest) = text.split_once(&format!("{OPEN}{name} -->"))?;
    let (_, after) = rest.split_once(CLOSE)?;
    Some(format!("{before}{OPEN}{name} -->\n{part}{CLOSE}{after}"))
}

fn described(conditions: &Conditions) -> String {
    let Conditions { runs, seconds, machine } = conditions;
    format!(
        "Medians of {runs} runs of {seconds} s each, {}, load average at the end {}. {}\n",
        machine.date,
        machine.load,
        machine.text()
    )
}

fn part(command: &str, outcome: &Outcome) -> String {
    let (key, title) = (outcome.sweep.key, outcome.sweep.title);
    format!("![{title}](plots/{command}-{key}.svg)\n\n{}", table(outcome))
}

/// The settings as they stand in a configuration, so that the page has what was measured.
fn block(setup: &Setup) -> String {
    let consumers = (setup.consumers != Setup::default().consumers)
        .then_some(("amqp_consumer_processes", i64::from(setup.consumers)));
    let all = consumers.iter().chain(&setup.parameters);
    let lines: String = all.map(|(name, value)| format!("modparam(\"kazoo\", \"{name}\", {value})\n")).collect();
    format!("```kamailio params\n{lines}```\n")
}

/// A column for each line of a plot. Next to the manager's own memory stands all that is resident.
fn columns(panel: &Panel) -> Vec<(Metric, usize)> {
    let beside = (panel.metric == Metric::Memory).then_some(Metric::Resident);
    let metrics = [Some(panel.metric), beside].into_iter().flatten();
    metrics.flat_map(|metric| panel.series.iter().map(move |series| (metric, *series))).collect()
}

/// A row for each value, a column for each line of the plots, and how much of the machine was in use.
pub fn table(outcome: &Outcome) -> String {
    let sweep = &outcome.sweep;
    let mut columns: Vec<(Metric, usize)> = sweep.panels.iter().flat_map(columns).collect();
    columns.extend((0..sweep.series.len()).map(|series| (Metric::Busy, series)));
    let mut text = format!("| {} |", sweep.axis);
    // Writing to a String cannot fail, here and below.
    for (metric, series) in &columns {
        let name = sweep.series.get(*series).map_or("", |series| series.name);
        let _ = match sweep.series.len() {
            1 => write!(text, " {} |", metric.name()),
            _ => write!(text, " {name}: {} |", metric.name()),
        };
    }
    let _ = writeln!(text, "\n|---|{}", "--:|".repeat(columns.len()));
    for (at, value) in sweep.values.iter().enumerate() {
        let _ = write!(text, "| {} |", value.label);
        for (metric, series) in &columns {
            let _ = match outcome.spread(*metric, at, *series) {
                Some(spread) => write!(text, " {} |", short(spread.median)),
                None => write!(text, " |"),
            };
        }
        let (all, bad) = outcome.counts(at);
        let _ = match bad {
            0 => writeln!(text),
            _ => writeln!(text, " {bad} of {all} measurements are no results"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let page = "a\n<!-- measured: x -->\nold\n<!-- end -->\nb\n<!-- measured: y -->\n<!-- end -->\n";
        let new = filled(page, "x", "new\n").unwrap_or_default();
        assert_eq!(new, page.replace("old", "new"));
        assert_eq!(filled(page, "z", ""), None);
    }
}
