//! The rounds of one fault: load, trouble, its end, recovery; and the sums when all is at rest.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use rig::{Percentiles, Result};

use crate::list::{Excuse, Fault, Plan};
use crate::load::{Load, Window};
use crate::site::Site;
use crate::table::{LATE_MS, Numbers, Queries, Sip};

/// What has to move again before a round counts as recovered: confirms, answers to queries, events.
const FLOW: [&str; 3] = ["confirmed", "answers", "handled"];

/// Makes the plan's faults one after the other, and adds up.
pub fn rounds(plan: &Plan) -> Result<Numbers> {
    let (layout, shared_mb) = plan.site();
    let mut site = Site::start(layout, shared_mb)?;
    let result = with_load(plan, &mut site);
    if result.as_ref().map_or(true, |numbers| !numbers.broken.is_empty()) {
        println!("  the end of Kamailio's log:\n{}", site.kamailio.log_end());
    }
    result
}

fn with_load(plan: &Plan, site: &mut Site) -> Result<Numbers> {
    let load = Load::start(site.kamailio.sip_port())?;
    site.until_flowing(&FLOW)?;
    let mut windows = Vec::new();
    let mut recoveries = Vec::new();
    let mut stuck = Vec::new();
    let begun = SystemTime::now();
    let count = plan.rounds.len();
    for (round, fault) in plan.rounds.iter().enumerate() {
        pause(site, between(1_000, 3_000).min(plan.longest_hold), true)?;
        let (window, recovery) = one_round(fault, plan.longest_hold, site, round)?;
        windows.push(window);
        match recovery {
            Ok(time) => recoveries.push(time),
            Err(error) => stuck.push(format!("no recovery from {}, round {}: {error}", fault.name, round + 1)),
        }
        let text = recoveries.last().map_or("not".to_string(), |time| format!("{:.1} s", time.as_secs_f64()));
        println!(
            "  {} {} of {count}: held {:.1} s, recovered after {text}; {} OPTIONS answered, {} messages arrived, {} \
             events handled",
            fault.name,
            round + 1,
            window.1.duration_since(window.0).unwrap_or_default().as_secs_f64(),
            load.answered(),
            site.arrived.calls.len(),
            site.trail.handled(),
        );
    }
    pause(site, Duration::from_secs(2), true)?;
    let quiet = complement(&windows, begun, SystemTime::now());
    let answers = load.finish()?;
    let accepted = answers.accepted();
    let events = site.settle(&accepted)?;
    let counters = site.counters()?;
    let counter = |name: &str| counters.get(name).copied().unwrap_or(0);
    let missing: Vec<&String> = accepted.difference(&site.arrived.calls).collect();
    let unhandled = site.trail.unhandled(events);
    let (during, otherwise) = (answers.sip_ms(&windows), answers.sip_ms(&quiet));
    let late = |values: &[f64]| values.iter().filter(|ms| **ms > LATE_MS).count() as u64;
    let mut numbers = Numbers {
        fault: plan.name,
        what: plan.what,
        rounds: count,
        attempted: answers.options.calls,
        accepted: accepted.len() as u64,
        refused: answers.options.answered(503),
        arrived: site.arrived.calls.len() as u64,
        refused_by_broker: counter("refused_by_broker"),
        missing: missing.len() as u64,
        duplicated: site.arrived.duplicates,
        published: counter("published"),
        confirmed: counter("confirmed"),
        resent: counter("resent"),
        queries: Queries {
            answered: answers.registers.answered(200),
            refused: answers.registers.answered(503),
            ms: Percentiles::of(answers.query_ms(&windows)),
        },
        events,
        redelivered: counter("redelivered"),
        unhandled: unhandled.len() as u64,
        left: u64::from(site.waiting_events()),
        counters: counters.clone(),
        publish_ms: answers.publish_ms(),
        sip: Sip { late: late(&during), ms: Percentiles::of(during) },
        quiet: Sip { late: late(&otherwise), ms: Percentiles::of(otherwise) },
        retransmissions: answers.options.retransmissions + answers.registers.retransmissions,
        timeouts: answers.timeouts(),
        unexpected: answers.unexpected(),
        recovery: recoveries,
        restarts: site.ended_by_itself,
        broken: stuck,
    };
    numbers.judge(plan);
    for call in missing.iter().take(5).filter(|_| !numbers.broken.is_empty()) {
        println!("  missing: {call}");
    }
    if !unhandled.is_empty() {
        println!("  unhandled: {:?}", &unhandled[..unhandled.len().min(10)]);
    }
    if site.kamailio.is_running() {
        let stopped = site.kamailio.stop()?;
        if !stopped.status.success() {
            numbers.broken.push(format!("Kamailio ended with {}", stopped.status));
        }
    }
    numbers.broken.extend(crashes(site, plan));
    Ok(numbers)
}

/// The window from the fault's begin until everything flows again, and how long that took after its end.
fn one_round(
    fault: &Fault,
    longest_hold: Duration,
    site: &mut Site,
    round: usize,
) -> Result<(Window, Result<Duration>)> {
    let from = SystemTime::now();
    (fault.begin)(site, round)?;
    let (shortest, longest) = fault.hold_ms;
    pause(site, between(shortest, longest).min(longest_hold), fault.excuse != Excuse::Absence)?;
    (fault.end)(site, round)?;
    let recovery = site.until_flowing(&FLOW);
    site.look_after_kamailio()?;
    site.collect();
    Ok(((from, SystemTime::now()), recovery))
}

/// Lets time pass. `looks`: Kamailio should be there.
fn pause(site: &mut Site, time: Duration, looks: bool) -> Result<()> {
    let until = SystemTime::now() + time;
    while let Ok(left) = until.duration_since(SystemTime::now()) {
        std::thread::sleep(left.min(Duration::from_millis(200)));
        if looks {
            site.look_after_kamailio()?;
        }
        site.collect();
    }
    Ok(())
}

/// A random time between two limits in milliseconds.
fn between(shortest: u64, longest: u64) -> Duration {
    // Every state hashes differently, by keys drawn from the system.
    let random = RandomState::new().hash_one(0);
    Duration::from_millis(shortest + random % (longest - shortest + 1))
}

/// The time around the windows.
fn complement(windows: &[Window], begun: SystemTime, ended: SystemTime) -> Vec<Window> {
    let starts = std::iter::once(begun).chain(windows.iter().map(|(_, to)| *to));
    let ends = windows.iter().map(|(from, _)| *from).chain([ended]);
    starts.zip(ends).collect()
}

/// Log lines that tell of a process that crashed or panicked.
fn crashes(site: &Site, plan: &Plan) -> Vec<String> {
    let killed = |line: &str| plan.excuses(Excuse::Absence) && line.contains("signal 9");
    let words = ["panicked", "exited by a signal", "BUG:"];
    let lines = words.iter().flat_map(|word| site.kamailio.log_lines(word));
    lines.filter(|line| !killed(line)).take(5).map(|line| format!("logged: {line}")).collect()
}
