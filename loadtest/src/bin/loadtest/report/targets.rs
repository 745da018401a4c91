//! What was promised, and what was measured.

use serde::Serialize;

use super::paired::{kamailio_us, more_kamailio_us, paired, rates};
use super::{Report, Summary};
use crate::measure::Run;
use crate::schedule::Cell;
use crate::subject::Subject;
use crate::workloads::idle::CLIENT;

/// One promise.
#[derive(Debug, Clone, Serialize)]
pub struct Target {
    /// What is measured.
    pub what: &'static str,
    /// In comparison with what.
    pub against: &'static str,
    /// Measured; `None` when a workload that it needs was left out.
    pub value: Option<f64>,
    /// Promised.
    pub bound: Bound,
    /// Behind the numbers.
    pub unit: &'static str,
    /// What the reader should know about the value.
    pub note: String,
}

/// A limit from one side.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Not less.
    AtLeast(f64),
    /// Not more.
    AtMost(f64),
}

impl Bound {
    /// The promise in short.
    pub fn text(self, unit: &str) -> String {
        match self {
            Self::AtLeast(bound) => format!("≥ {bound} {unit}"),
            Self::AtMost(bound) => format!("≤ {bound} {unit}"),
        }
    }
}

impl Target {
    /// Whether it is met; `None` when it was not measured.
    pub fn is_met(&self) -> Option<bool> {
        self.value.map(|value| match self.bound {
            Bound::AtLeast(bound) => value >= bound,
            Bound::AtMost(bound) => value <= bound,
        })
    }

    /// "met", "not met" or "not measured".
    pub fn verdict(&self) -> &'static str {
        match self.is_met() {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "not measured",
        }
    }

    /// The value with its unit.
    pub fn value_text(&self) -> String {
        self.value.map_or_else(|| "-".into(), |value| format!("{value:.2} {}", self.unit))
    }
}

const C: &str = "C module";
const CEILING: &str = "ceiling";
const ITSELF: &str = "-";

/// All of them, in the order of the promise.
pub fn all(report: &Report) -> Vec<Target> {
    let look = Look(report);
    [look.cost_of_publishing(), look.rates(), look.time_inside(), look.queries(), look.consumption(), look.footprint()]
        .concat()
}

/// Looks values up; `None` for what was not measured.
struct Look<'a>(&'a Report);

impl Look<'_> {
    fn cell(&self, point: &str, subject: Subject) -> Option<&Cell> {
        self.0.cell(point, subject)
    }

    fn summary(&self, point: &str, subject: Subject) -> Option<Summary> {
        self.0.summary(point, subject)
    }

    /// What `compare` says of our module at a point, and of what is beside it.
    fn beside<T>(&self, point: &str, other: Option<&Cell>, compare: impl Fn(&Cell, &Cell) -> Option<T>) -> Option<T> {
        self.cell(point, Subject::Ours).zip(other).and_then(|(ours, other)| compare(ours, other))
    }

    /// Our rate in parts of the C module's, and what is wrong with the latter.
    fn against_c(&self, what: &'static str, point: &str, bound: f64) -> Target {
        Target {
            what,
            against: C,
            value: self.beside(point, self.cell(point, Subject::CModule), rates),
            bound: Bound::AtLeast(bound),
            unit: "x",
            note: self.faults_of_c(point),
        }
    }

    fn faults_of_c(&self, point: &str) -> String {
        let Some(summary) = self.summary(point, Subject::CModule).filter(|summary| summary.bad_runs > 0) else {
            return String::new();
        };
        let counts: Vec<String> = summary.faults.iter().map(|(what, count)| format!("{what} {count}")).collect();
        format!("the C module's is no result ({})", counts.join(", "))
    }

    /// Our rate in parts of the better plain client's at `ceiling`.
    fn against_ceiling(&self, what: &'static str, point: &str, ceiling: &str, bound: f64) -> Target {
        let plain = self.0.plain(ceiling);
        let note =
            plain.map(|cell| format!("{}: {:.0} per second", cell.subject.name(), Summary::of(cell).rate.median));
        Target {
            what,
            against: CEILING,
            value: self.beside(point, plain, rates),
            bound: Bound::AtLeast(bound),
            unit: "x",
            note: note.unwrap_or_default(),
        }
    }

    /// Kamailio's processor time for a SIP request with a publish less that of one without.
    fn added(&self, subject: Subject) -> Option<f64> {
        const POINT: &str = "publish/16";
        more_kamailio_us(self.cell(POINT, subject)?, self.cell(POINT, Subject::SipOnly)?)
    }

    fn cost_of_publishing(&self) -> Vec<Target> {
        let what = "processor time that the module adds per publish (16 outstanding)";
        let (ours, c) = (self.added(Subject::Ours), self.added(Subject::CModule));
        let note = c.map_or(String::new(), |c| format!("the C module adds {c:.1} us"));
        let target = |against, value, bound, unit, note| Target { what, against, value, bound, unit, note };
        vec![
            target(C, ours.zip(c).map(|(ours, c)| ours / c), Bound::AtMost(0.25), "x", note),
            target(ITSELF, ours, Bound::AtMost(8.0), "us", String::new()),
        ]
    }

    fn rates(&self) -> Vec<Target> {
        let one = "publish from a script loop, 1 process, until all have arrived: rate";
        let eight = "the same from 8 processes";
        vec![
            self.against_c("publish per SIP request, 16 outstanding: rate", "publish/16", 1.3),
            self.against_c(one, "loop/1", 2.5),
            self.against_ceiling(one, "loop/1", "loop/1", 0.8),
            self.against_c(eight, "loop/8", 1.2),
            self.against_ceiling(eight, "loop/8", "loop/1", 0.8),
        ]
    }

    fn time_inside(&self) -> Vec<Target> {
        [
            self.time_inside_at("loop/1", "time inside kazoo_publish, script loop"),
            self.time_inside_at("publish-open/2000", "the same, 2000 requests per second"),
            self.time_inside_at("publish-open/6000", "the same, 6000 requests per second"),
        ]
        .concat()
    }

    fn time_inside_at(&self, point: &str, what: &'static str) -> Vec<Target> {
        let inside = |subject| self.summary(point, subject).and_then(|summary| summary.inside_us);
        let (ours, c) = (inside(Subject::Ours), inside(Subject::CModule));
        let note = c.map_or(String::new(), |c| format!("the C module's p50 is {:.0} us, p99 {:.0} us", c.p50, c.p99));
        let clock = ours.zip(inside(Subject::SipOnly)).map_or(String::new(), |(ours, nothing)| {
            format!("the clock has whole us; mean {:.1} us, of nothing {:.1} us", ours.mean, nothing.mean)
        });
        let ratio = self.beside(point, self.cell(point, Subject::CModule), |ours, c| {
            paired(ours, c, |ours, c| Some(ours.inside_us?.p50 / c.inside_us?.p50.max(1.0)))
        });
        let target = |against, value, bound, unit, note| Target { what, against, value, bound, unit, note };
        vec![
            target(C, ratio, Bound::AtMost(0.05), "x p50", note),
            target(ITSELF, ours.map(|ours| ours.p50), Bound::AtMost(2.0), "us p50", clock),
            target(ITSELF, ours.map(|ours| ours.p99), Bound::AtMost(20.0), "us p99", String::new()),
        ]
    }

    fn queries(&self) -> Vec<Target> {
        let rate = "query, 16 workers, answered at once: rate";
        let latency = "query latency, 8 outstanding";
        let (c, plain) = (self.cell("query/8", Subject::CModule), self.0.plain("query/8"));
        let p99 = |ours: &Run, c: &Run| Some(ours.latency_us?.p99 / c.latency_us?.p99);
        let more_p50 = |ours: &Run, plain: &Run| Some(ours.latency_us?.p50 - plain.latency_us?.p50);
        let failed = self.summary("query/16", Subject::Ours).map(|summary| summary.faults.values().sum::<u64>() as f64);
        let target = |what, against, value, bound, unit, note| Target { what, against, value, bound, unit, note };
        vec![
            self.against_c(rate, "query/16", 5.0),
            self.against_ceiling(rate, "query/16", "query/16", 0.4),
            target("the same: failed", ITSELF, failed, Bound::AtMost(0.0), "queries", String::new()),
            target(
                latency,
                C,
                self.beside("query/8", c, |ours, c| paired(ours, c, p99)),
                Bound::AtMost(0.3),
                "x p99",
                self.faults_of_c("query/8"),
            ),
            target(
                latency,
                CEILING,
                self.beside("query/8", plain, |ours, plain| paired(ours, plain, more_p50)),
                Bound::AtMost(100.0),
                "us more p50",
                String::new(),
            ),
        ]
    }

    fn consumption(&self) -> Vec<Target> {
        let (no_ack, ack) = ("consume live, no_ack: rate", "consume live, acknowledged after processing: rate");
        const NO_ACK: &str = "consume/live/no_ack";
        let cost = |subject| self.summary(NO_ACK, subject).map(|summary| summary.kamailio_us);
        let (ours, c) = (cost(Subject::Ours), cost(Subject::CModule));
        let note = ours.zip(c).map_or(String::new(), |(ours, c)| format!("{ours:.1} us, the C module's {c:.1} us"));
        vec![
            self.against_c(no_ack, NO_ACK, 1.7),
            self.against_ceiling(no_ack, NO_ACK, NO_ACK, 0.6),
            self.against_c(ack, "consume/live/ack", 1.5),
            self.against_ceiling(ack, "consume/live/ack", "consume/live/ack", 0.75),
            Target {
                what: "processor time per consumed event",
                against: C,
                value: self.beside(NO_ACK, self.cell(NO_ACK, Subject::CModule), kamailio_us),
                bound: Bound::AtMost(0.4),
                unit: "x",
                note,
            },
        ]
    }

    fn footprint(&self) -> Vec<Target> {
        let managers = self.0.cells.iter().flat_map(|cell| &cell.runs).filter_map(|run| run.manager_own_kib).max();
        let resident = self.0.cells.iter().flat_map(|cell| &cell.runs).filter_map(|run| run.manager_kib).max();
        let note = resident.map_or(String::new(), |kib| {
            format!("its own; {:.1} MB with Kamailio's code and the shared memory that it has touched", mb(kib))
        });
        vec![
            Target {
                what: "resident memory of the manager, largest in any run",
                against: ITSELF,
                value: managers.map(mb),
                bound: Bound::AtMost(16.0),
                unit: "MB",
                note,
            },
            self.idle(),
        ]
    }

    /// Wake-ups of our processes in an idle server less those of a plain client, which has AMQP's heartbeats only. The
    /// supervisor's looks for a sign of life are heartbeats of the server's own.
    fn idle(&self) -> Target {
        let run = |subject| self.cell("idle", subject).and_then(|cell| cell.runs.first()).filter(|run| run.is_result());
        let of = |subject, kind| run(subject).and_then(|run| run.wake_ups.get(kind).copied());
        let [manager, routes] = ["manager", "event routes"].map(|kind| of(Subject::Ours, kind));
        let (supervisor, client) = (of(Subject::Ours, "supervisor"), of(Subject::Amqprs, CLIENT));
        let note = manager.zip(supervisor).zip(client).map(|((manager, supervisor), client)| {
            format!("the manager {manager:.2}, the plain client {client:.2}; the supervisor {supervisor:.2}")
        });
        Target {
            what: "wake-ups of an idle server's manager and event routes",
            against: CEILING,
            value: manager.zip(routes).zip(client).map(|((manager, routes), client)| manager + routes - client),
            bound: Bound::AtMost(0.0),
            unit: "per second more",
            note: note.unwrap_or_default(),
        }
    }
}

fn mb(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
