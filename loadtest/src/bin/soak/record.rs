//! What was seen and counted in a soak, and the promises it is held against.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rig::site::{Answers, Site};
use rig::{Percentiles, Result};

use crate::snapshot::{Process, Snapshot};

/// The title of the one process with a heap that moves: every message on its way is in it.
const MANAGER: &str = "kazoo manager";

/// All others keep what they need in Kamailio's own memory; at most, in KiB, they touch some more pages of what they had
/// from the beginning.
const OTHERS_KIB: u64 = 32;

/// What a process may use more of its package memory, or all of them of the shared memory, in bytes: a buffer that has
/// met a larger message.
const KAMAILIO_BYTES: u64 = 4 * 1024;

/// What SIP was told in all stretches.
#[derive(Debug, Default)]
pub struct Told {
    /// Call-IDs of the OPTIONS whose publish was accepted.
    pub accepted: BTreeSet<String>,
    /// OPTIONS, and those of them that were refused with a code.
    pub attempted: u64,
    pub refused: u64,
    /// REGISTERs whose query was answered, and whose query failed with a code.
    pub answered: u64,
    pub failed: u64,
    pub retransmissions: u64,
    /// Requests without any answer, and calls with an answer that the scenario has no place for.
    pub timeouts: u64,
    pub unexpected: u64,
    /// Answer times of requests that wait for nobody by design.
    sip_ms: Vec<f64>,
}

impl Told {
    /// Adds what one stretch of load was told.
    pub fn add(&mut self, answers: &Answers) {
        let ever = (std::time::SystemTime::UNIX_EPOCH, std::time::SystemTime::now());
        self.accepted.extend(answers.accepted());
        self.attempted += answers.options.calls;
        self.refused += answers.options.answered(503);
        self.answered += answers.registers.answered(200);
        self.failed += answers.registers.answered(503);
        self.retransmissions += answers.options.retransmissions + answers.registers.retransmissions;
        self.timeouts += answers.timeouts();
        self.unexpected += answers.unexpected();
        self.sip_ms.extend(answers.sip_ms(&[ever]));
    }

    /// Answer times in milliseconds of requests that wait for nobody by design.
    pub fn sip(&self) -> Percentiles {
        Percentiles::of(self.sip_ms.clone())
    }
}

/// Everything seen and counted.
pub struct Record {
    began: Instant,
    /// What the manager may grow by.
    manager_kib: u64,
    /// Under load.
    pub samples: Vec<Snapshot>,
    /// At rest: after the warm-up, and after each further stretch.
    pub rests: Vec<Snapshot>,
    pub told: Told,
    /// Of the broker.
    pub restarts: u64,
    /// Events that the broker confirmed to the application.
    pub events: u64,
    pub handled: u64,
    unhandled: u64,
    left: u64,
    pub arrived: u64,
    missing: u64,
    /// Messages that arrived again with the same `message_id`.
    pub duplicates: u64,
    /// All counters of the module.
    pub counters: BTreeMap<String, u64>,
    ended_by_itself: u64,
    /// Found on the way: what did not flow again, what was logged.
    found: Vec<String>,
}

impl Record {
    /// Begins now. The manager may grow by `manager_kib`.
    pub fn begin(manager_kib: u64) -> Self {
        Self {
            began: Instant::now(),
            manager_kib,
            samples: Vec::new(),
            rests: Vec::new(),
            told: Told::default(),
            restarts: 0,
            events: 0,
            handled: 0,
            unhandled: 0,
            left: 0,
            arrived: 0,
            missing: 0,
            duplicates: 0,
            counters: BTreeMap::new(),
            ended_by_itself: 0,
            found: Vec::new(),
        }
    }

    /// Since the soak began.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Looks at Kamailio when the last look is `every` ago.
    pub fn look(&mut self, site: &mut Site, every: Duration) -> Result<()> {
        site.look_after_kamailio()?;
        if self.samples.last().is_none_or(|last| self.elapsed() >= last.at + every) {
            self.samples.push(Snapshot::take(&site.kamailio, self.elapsed())?);
        }
        Ok(())
    }

    /// Notes what stood still.
    pub fn flows(&mut self, flowed: Result<Duration>) {
        self.found.extend(flowed.err().map(|error| format!("after {} restarts {error}", self.restarts)));
    }

    /// One line for people, in a rest.
    pub fn progress(&self, site: &Site) -> String {
        let manager = self.rests.last().map(|rest| of_kind(rest, MANAGER).map(|(_, p)| p.private_kib).sum::<u64>());
        format!(
            "{:>4} s: {} restarts, {} of {} messages arrived, {} of {} events handled, manager {} KiB",
            self.elapsed().as_secs(),
            self.restarts,
            site.arrived.calls.len(),
            self.told.accepted.len(),
            site.trail.handled(),
            self.events,
            manager.unwrap_or(0),
        )
    }

    /// Adds up what everybody counted, and stops Kamailio.
    pub fn end(&mut self, site: &mut Site) -> Result<()> {
        self.events = site.settle(&self.told.accepted)?;
        self.handled = site.trail.handled();
        self.unhandled = site.trail.unhandled(self.events).len() as u64;
        self.left = u64::from(site.waiting_events());
        self.arrived = site.arrived.calls.len() as u64;
        self.missing = self.told.accepted.difference(&site.arrived.calls).count() as u64;
        self.duplicates = site.arrived.duplicates;
        self.counters = site.counters()?;
        self.ended_by_itself = site.ended_by_itself;
        let stopped = site.kamailio.stop()?;
        if !stopped.status.success() {
            self.found.push(format!("Kamailio ended with {}", stopped.status));
        }
        self.found.extend(site.crashes(|_| false));
        Ok(())
    }

    /// One counter of the module.
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }

    /// Accepted messages that never arrived.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Accepted, and neither confirmed nor counted as given up.
    fn unaccounted(&self) -> u64 {
        let settled = ["confirmed", "refused_by_broker", "expired"].map(|name| self.counter(name));
        self.counter("published").abs_diff(settled.iter().sum())
    }

    /// Promises that were broken, in words.
    pub fn broken(&self) -> Vec<String> {
        let mut broken = self.found.clone();
        let mut zero = |what: &str, number: u64| {
            if number > 0 {
                broken.push(format!("{number} {what}"));
            }
        };
        zero("accepted messages lost", self.missing);
        zero("accepted messages refused by the broker", self.counter("refused_by_broker"));
        zero("accepted messages of unknown fate", self.unaccounted());
        zero("events not handled", self.unhandled);
        zero("events left in the queue", self.left);
        zero("SIP requests without an answer", self.told.timeouts);
        zero("times Kamailio ended by itself", self.ended_by_itself);
        zero("lost connections too few for the restarts", self.restarts.saturating_sub(self.counter("disconnects")));
        let moved = [("publish", self.arrived), ("answer", self.told.answered), ("event", self.events)];
        broken.extend(moved.iter().filter(|(_, n)| *n == 0).map(|(what, _)| format!("not even one {what}")));
        match self.rests.split_first() {
            Some((first, later @ [.., last])) => {
                broken.extend(later.iter().flat_map(|rest| unsteady(first, rest)));
                broken.extend(grown(first, last, self.manager_kib));
            }
            _ => broken.push("nothing to compare with".to_string()),
        }
        broken
    }
}

/// The processes of a kind.
pub fn of_kind<'a>(snapshot: &'a Snapshot, kind: &'a str) -> impl Iterator<Item = (&'a i32, &'a Process)> {
    snapshot.processes.iter().filter(move |(_, process)| process.kind == kind)
}

/// What must be the same in every rest: the processes, their descriptors and threads; and rings are empty.
fn unsteady(first: &Snapshot, rest: &Snapshot) -> Vec<String> {
    let mut broken = Vec::new();
    for (pid, was) in &first.processes {
        match rest.processes.get(pid) {
            None => broken.push(format!("{} {pid} is gone", was.kind)),
            Some(is) => {
                let (kind, handles) = (
                    &was.kind,
                    [("descriptors", was.descriptors, is.descriptors), ("threads", was.threads, is.threads)],
                );
                let changed = handles.iter().filter(|(_, was, is)| was != is);
                broken.extend(changed.map(|(what, was, is)| format!("{} {pid} has {is} {what}, had {was}", kind)));
            }
        }
    }
    let new = rest.processes.iter().filter(|(pid, _)| !first.processes.contains_key(pid));
    broken.extend(new.map(|(pid, process)| format!("{} {pid} is new", process.kind)));
    if !rest.is_at_rest() {
        let used: u64 = rest.rings.iter().map(|ring| ring.used).sum();
        broken.push(format!("{used} bytes in rings, {} transactions suspended", rest.suspended));
    }
    broken.iter().map(|what| format!("second {}: {what}", rest.at.as_secs())).collect()
}

/// What may not grow.
fn grown(first: &Snapshot, last: &Snapshot, manager_kib: u64) -> Vec<String> {
    let mut broken = Vec::new();
    let mut hold = |what: String, was: u64, is: u64, limit: u64| {
        if is > was + limit {
            broken.push(format!("{what}: {was} became {is}, more than {limit} more"));
        }
    };
    for (pid, is) in &last.processes {
        let Some(was) = first.processes.get(pid) else { continue };
        let limit = if is.kind == MANAGER { manager_kib } else { OTHERS_KIB };
        hold(format!("KiB of private memory of {} {pid}", is.kind), was.private_kib, is.private_kib, limit);
        hold(format!("bytes of package memory of {} {pid}", is.kind), was.package, is.package, KAMAILIO_BYTES);
    }
    hold("bytes of shared memory".to_string(), first.shared, last.shared, KAMAILIO_BYTES);
    broken
}

/// The steepest of the lines of least squares through what `value` says of each of these processes, per hour.
pub fn slope_per_hour(samples: &[Snapshot], kind: &str, value: impl Fn(&Process) -> f64) -> f64 {
    let pids: BTreeSet<i32> = samples.iter().flat_map(|sample| of_kind(sample, kind)).map(|(pid, _)| *pid).collect();
    let points = |pid: &i32| -> Vec<(f64, f64)> {
        let point = |sample: &Snapshot| Some((hours(sample.at), value(sample.processes.get(pid)?)));
        samples.iter().filter_map(point).collect()
    };
    pids.iter().map(|pid| slope(&points(pid))).fold(f64::MIN, f64::max)
}

/// A moment in hours.
pub fn hours(at: Duration) -> f64 {
    at.as_secs_f64() / 3600.0
}

/// Of the line of least squares; 0 with fewer than two points.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len().max(1) as f64;
    let (x_mean, y_mean) =
        (points.iter().map(|p| p.0).sum::<f64>() / count, points.iter().map(|p| p.1).sum::<f64>() / count);
    let spread: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    let product: f64 = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    if spread > 0.0 { product / spread } else { 0.0 }
}

/// The samples after the warm-up.
pub fn warm(record: &Record) -> &[Snapshot] {
    let end = record.rests.first().map_or(Duration::ZERO, |rest| rest.at);
    let from = record.samples.partition_point(|sample| sample.at < end);
    &record.samples[from..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Ring;

    fn snapshot() -> Snapshot {
        let process =
            |kind: &str| Process { kind: kind.to_string(), descriptors: 31, threads: 1, ..Process::default() };
        let processes = BTreeMap::from([(1, process("SIP worker")), (2, process(MANAGER))]);
        Snapshot { at: Duration::from_secs(300), processes, rings: vec![Ring::default()], ..Snapshot::default() }
    }

    fn process(snapshot: &mut Snapshot, pid: i32) -> &mut Process {
        snapshot.processes.entry(pid).or_default()
    }

    fn unsteady_after(change: impl FnOnce(&mut Snapshot)) -> String {
        let mut rest = snapshot();
        change(&mut rest);
        unsteady(&snapshot(), &rest).join("; ")
    }

    #[test]
    fn what_changes_in_a_rest_is_named() {
        assert_eq!(unsteady_after(|_| ()), "");
        assert_eq!(unsteady_after(|s| process(s, 2).threads = 2), "second 300: kazoo manager 2 has 2 threads, had 1");
        assert!(unsteady_after(|s| process(s, 1).descriptors = 30).contains("30 descriptors, had 31"));
        assert!(unsteady_after(|s| s.rings[0].used = 64).contains("64 bytes in rings"));
        assert!(unsteady_after(|s| s.suspended = 1).contains("1 transactions suspended"));
        let replaced = unsteady_after(|s| {
            s.processes.remove(&2);
            process(s, 3).kind = MANAGER.to_string();
        });
        assert_eq!(replaced, "second 300: kazoo manager 2 is gone; second 300: kazoo manager 3 is new");
    }

    #[test]
    fn only_the_manager_has_a_heap_that_moves() {
        let grown_by = |pid, kib| {
            let mut last = snapshot();
            process(&mut last, pid).private_kib += kib;
            grown(&snapshot(), &last, 128).len()
        };
        assert_eq!((grown_by(1, OTHERS_KIB), grown_by(1, OTHERS_KIB + 1)), (0, 1));
        assert_eq!((grown_by(2, 128), grown_by(2, 129)), (0, 1));
        let shared = Snapshot { shared: KAMAILIO_BYTES + 1, ..snapshot() };
        assert_eq!(grown(&snapshot(), &shared, 128).len(), 1);
    }

    #[test]
    fn a_line_has_a_slope() {
        assert!((slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) - 2.0).abs() < 1e-9);
        assert!(slope(&[(0.5, 7.0)]).abs() < 1e-9);
    }
}
