//! The rounds of one fault: load, trouble, its end, recovery; and the sums when all is at rest.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use rig::site::{Answers, Load, Site, Window};
use rig::{Percentiles, Result};

use crate::list::{Excuse, Fault, Plan};
use crate::table::{Numbers, Queries, Sip};

/// What has to move again before a round counts as recovered: confirms, answers to queries, events.
const FLOW: [&str; 3] = ["confirmed", "answers", "handled"];

/// OPTIONS and REGISTERs per second.
const OPTIONS: u32 = 150;
const REGISTERS: u32 = 50;

/// Makes the plan's faults one after the other, and adds up.
pub fn rounds(plan: &Plan) -> Result<Numbers> {
    let mut site = Site::start(plan.site())?;
    let result = with_load(plan, &mut site);
    if result.as_ref().map_or(true, |numbers| !numbers.broken.is_empty()) {
        println!("  the end of Kamailio's log, without the events:\n{}", site.log_end());
    }
    result
}

fn with_load(plan: &Plan, site: &mut Site) -> Result<Numbers> {
    let load = Load::start(site.kamailio.sip_port(), OPTIONS, REGISTERS)?;
    site.until_flowing(&FLOW)?;
    let made = make(plan, site, &load)?;
    let answers = load.finish()?;
    let mut numbers = sums(plan, site, made, &answers)?;
    if site.kamailio.is_running() {
        let stopped = site.kamailio.stop()?;
        if !stopped.status.success() {
            numbers.broken.push(format!("Kamailio ended with {}", stopped.status));
        }
    }
    let absent = plan.excuses(Excuse::Absence);
    numbers.broken.extend(site.crashes(|line| absent && line.contains("signal 9")));
    Ok(numbers)
}

/// What is known of the rounds when they are over.
struct Made {
    begun: SystemTime,
    ended: SystemTime,
    /// Each from the fault's begin until everything flowed again.
    windows: Vec<Window>,
    recovery: Vec<Duration>,
    /// Rounds after which something did not flow again.
    stuck: Vec<String>,
}

fn make(plan: &Plan, site: &mut Site, load: &Load) -> Result<Made> {
    let now = SystemTime::now();
    let mut made = Made { begun: now, ended: now, windows: Vec::new(), recovery: Vec::new(), stuck: Vec::new() };
    for (round, fault) in plan.rounds.iter().enumerate() {
        pause(site, between(1_000, 3_000).min(plan.longest_hold), true)?;
        let (window, recovery) = one_round(fault, plan.longest_hold, site, round)?;
        let text = match &recovery {
            Ok(time) => format!("flowed again after {:.1} s", time.as_secs_f64()),
            Err(error) => format!("did not flow again: {error}"),
        };
        println!(
            "  {} {} of {}: {:.1} s, {text}; {} OPTIONS answered, {} messages arrived, {} events handled",
            fault.name,
            round + 1,
            plan.rounds.len(),
            window.1.duration_since(window.0).unwrap_or_default().as_secs_f64(),
            load.answered(),
            site.arrived.calls.len(),
            site.trail.handled(),
        );
        made.windows.push(window);
        match recovery {
            Ok(time) => made.recovery.push(time),
            Err(error) => made.stuck.push(format!("no recovery from {}, round {}: {error}", fault.name, round + 1)),
        }
    }
    pause(site, Duration::from_secs(2), true)?;
    Ok(Made { ended: SystemTime::now(), ..made })
}

/// Waits until all is at rest, and adds up what everybody counted.
fn sums(plan: &Plan, site: &mut Site, made: Made, answers: &Answers) -> Result<Numbers> {
    let accepted = answers.accepted();
    let events = site.settle(&accepted)?;
    let counters = site.counters()?;
    let counter = |name: &str| counters.get(name).copied().unwrap_or(0);
    let missing: Vec<&String> = accepted.difference(&site.arrived.calls).collect();
    let unhandled = site.trail.unhandled(events);
    let quiet = complement(&made.windows, made.begun, made.ended);
    let mut numbers = Numbers {
        fault: plan.name,
        what: plan.what,
        rounds: plan.rounds.len(),
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
            ms: Percentiles::of(answers.query_ms(&made.windows)),
        },
        events,
        redelivered: counter("redelivered"),
        unhandled: unhandled.len() as u64,
        left: u64::from(site.waiting_events()),
        publish_ms: answers.publish_ms(),
        sip: Sip::of(answers.sip_ms(&made.windows)),
        quiet: Sip::of(answers.sip_ms(&quiet)),
        retransmissions: answers.options.retransmissions + answers.registers.retransmissions,
        timeouts: answers.timeouts(),
        unexpected: answers.unexpected(),
        recovery: made.recovery,
        restarts: site.ended_by_itself,
        broken: made.stuck,
        counters: counters.clone(),
    };
    numbers.judge(plan);
    if numbers.lost() > 0 {
        println!("  lost, among others: {:?}", &missing[..missing.len().min(5)]);
    }
    if !unhandled.is_empty() {
        println!("  not handled, among others: {:?}", &unhandled[..unhandled.len().min(10)]);
    }
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
    site.pass(time, |site| if looks { site.look_after_kamailio() } else { Ok(()) })
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
