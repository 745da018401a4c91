//! The numbers of one fault, the promises they are held against, and the table of all.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rig::{Error, Percentiles, Result};
use serde_json::{Map, Value, json};

use crate::list::{Excuse, FAULTS, Plan};

/// A SIP answer that waits for nobody by design is late after this; 99 of 100 may be no later under a fault than without
/// it. Not all of them: on a busy machine a process waits longer than that for its turn now and then.
pub const LATE_MS: f64 = 50.0;

/// Answer times.
#[derive(Debug, Default)]
pub struct Sip {
    pub ms: Percentiles,
    /// How many took longer than [`LATE_MS`].
    pub late: u64,
}

impl Sip {
    /// Of these times in milliseconds.
    pub fn of(ms: Vec<f64>) -> Self {
        let late = ms.iter().filter(|ms| **ms > LATE_MS).count() as u64;
        Self { ms: Percentiles::of(ms), late }
    }
}

/// What became of the queries.
#[derive(Debug, Default)]
pub struct Queries {
    pub answered: u64,
    /// Failed with a documented code.
    pub refused: u64,
    /// Answer times of their requests during the faults.
    pub ms: Percentiles,
}

/// Everything counted in the rounds of one fault, after all has come to rest.
#[derive(Debug, Default)]
pub struct Numbers {
    pub fault: &'static str,
    pub what: &'static str,
    pub rounds: usize,
    /// OPTIONS that asked to publish; those whose publish was accepted, and refused with a code.
    pub attempted: u64,
    pub accepted: u64,
    pub refused: u64,
    /// Different OPTIONS whose message arrived.
    pub arrived: u64,
    /// Accepted messages that the broker refused for good.
    pub refused_by_broker: u64,
    /// Accepted and not arrived.
    pub missing: u64,
    /// Messages that arrived again with the same `message_id`.
    pub duplicated: u64,
    /// As the module counts, queries included.
    pub published: u64,
    pub confirmed: u64,
    pub resent: u64,
    pub queries: Queries,
    /// Events that the broker confirmed to the application; sent to the module again by the broker; never handled.
    pub events: u64,
    pub redelivered: u64,
    pub unhandled: u64,
    /// Events left in the queue at the end.
    pub left: u64,
    /// Inside of `kazoo_publish`.
    pub publish_ms: Percentiles,
    /// During the faults, and in between.
    pub sip: Sip,
    pub quiet: Sip,
    pub retransmissions: u64,
    pub timeouts: u64,
    /// See [`rig::site::Answers::unexpected`].
    pub unexpected: u64,
    /// All counters of the module.
    pub counters: BTreeMap<String, u64>,
    /// Of each round, from the fault's end until confirms, answers and events came again.
    pub recovery: Vec<Duration>,
    /// Of Kamailio, when nobody had stopped it.
    pub restarts: u64,
    /// Promises broken, in words.
    pub broken: Vec<String>,
}

impl Numbers {
    /// A fault whose rounds could not be made or finished.
    pub fn failed(plan: &Plan, error: &Error) -> Self {
        let broken = vec![format!("could not be finished: {error}")];
        Self { fault: plan.name, what: plan.what, broken, ..Self::default() }
    }

    /// Accepted, not refused by the broker, and never arrived.
    pub fn lost(&self) -> u64 {
        self.missing.saturating_sub(self.refused_by_broker)
    }

    /// Holds the numbers against the promises.
    pub fn judge(&mut self, plan: &Plan) {
        let mut broken = Vec::new();
        let mut zero = |what: &str, number: u64| {
            if number > 0 {
                broken.push(format!("{number} {what}"));
            }
        };
        zero("accepted messages lost", self.lost());
        zero("events not handled", self.unhandled);
        zero("events left in the queue", self.left);
        zero("SIP requests without an answer", self.timeouts);
        zero("times Kamailio ended by itself", self.restarts);
        if !plan.excuses(Excuse::Refusals) {
            zero("accepted messages refused by the broker", self.refused_by_broker);
        }
        if plan.times_count && !plan.excuses(Excuse::Absence) && self.sip.ms.p99 > self.quiet.ms.p99 + LATE_MS {
            let (during, between) = (self.sip.ms.p99, self.quiet.ms.p99);
            broken.push(format!("SIP p99 of {during:.0} ms during the fault, {between:.0} ms between"));
        }
        let moved = [("publish", self.arrived), ("answer", self.queries.answered), ("event", self.events)];
        broken.extend(moved.iter().filter(|(_, n)| *n == 0).map(|(what, _)| format!("not even one {what}")));
        self.broken.extend(broken);
    }

    fn json(&self) -> Value {
        let sip = |sip: &Sip| {
            let Percentiles { count, p50, p99, max } = sip.ms;
            json!({ "count": count, "p50_ms": p50, "p99_ms": p99, "max_ms": max, "over_50_ms": sip.late })
        };
        let recovery: Vec<f64> = self.recovery.iter().map(Duration::as_secs_f64).collect();
        json!({
            "what": self.what,
            "rounds": self.rounds,
            "publishes": {
                "attempted": self.attempted, "accepted": self.accepted, "refused": self.refused,
                "arrived": self.arrived, "refused_by_broker": self.refused_by_broker, "lost": self.lost(),
                "duplicated": self.duplicated, "max_ms_in_script": self.publish_ms.max,
                "p99_ms_in_script": self.publish_ms.p99,
            },
            "module": { "published": self.published, "confirmed": self.confirmed, "resent": self.resent },
            "counters": self.counters,
            "queries": {
                "answered": self.queries.answered, "refused": self.queries.refused,
                "p50_ms": self.queries.ms.p50, "p99_ms": self.queries.ms.p99, "max_ms": self.queries.ms.max,
            },
            "events": {
                "confirmed": self.events, "redelivered": self.redelivered, "unhandled": self.unhandled, "left": self.left,
            },
            "sip_during": sip(&self.sip),
            "sip_between": sip(&self.quiet),
            "sip_retransmissions": self.retransmissions,
            "sip_timeouts": self.timeouts,
            "sip_unexpected": self.unexpected,
            "recovery_s": recovery,
            "restarts": self.restarts,
            "broken": self.broken,
        })
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |p: &Percentiles| format!("p50 {:.0}, p99 {:.0}, max {:.0} ms", p.p50, p.p99, p.max);
        writeln!(
            f,
            "  publishes: attempted {}, accepted {}, refused {}, arrived {}, refused by broker {}, lost {}, duplicated {}",
            self.attempted,
            self.accepted,
            self.refused,
            self.arrived,
            self.refused_by_broker,
            self.lost(),
            self.duplicated
        )?;
        writeln!(f, "  module: published {}, confirmed {}, resent {}", self.published, self.confirmed, self.resent)?;
        writeln!(
            f,
            "  queries: answered {}, refused {}, {}",
            self.queries.answered,
            self.queries.refused,
            ms(&self.queries.ms)
        )?;
        writeln!(
            f,
            "  events: confirmed {}, redelivered {}, unhandled {}, left {}",
            self.events, self.redelivered, self.unhandled, self.left
        )?;
        writeln!(
            f,
            "  SIP during: {} ({} of {} over {LATE_MS} ms); between: {} ({} of {}); in kazoo_publish: p99 {:.1}, max {:.1} ms",
            ms(&self.sip.ms),
            self.sip.late,
            self.sip.ms.count,
            ms(&self.quiet.ms),
            self.quiet.late,
            self.quiet.ms.count,
            self.publish_ms.p99,
            self.publish_ms.max
        )?;
        writeln!(
            f,
            "  SIP retransmissions {}, timeouts {}, unexpected answers {}; restarts {}",
            self.retransmissions, self.timeouts, self.unexpected, self.restarts
        )?;
        self.broken.iter().try_for_each(|promise| writeln!(f, "  BROKEN: {promise}"))
    }
}

/// The results of all faults that were ever run, in two files.
pub struct Report {
    folder: PathBuf,
    results: Map<String, Value>,
}

impl Report {
    /// Goes on with what the folder holds.
    pub fn open(folder: PathBuf) -> Result<Self> {
        let text = fs::read_to_string(folder.join("faults.json")).unwrap_or_default();
        // A file that is not there or of an older form begins anew.
        let results = serde_json::from_str(&text).unwrap_or_default();
        Ok(Self { folder, results })
    }

    /// Puts a fault's numbers in place of earlier ones, and writes the files.
    pub fn add(&mut self, numbers: &Numbers) -> Result<()> {
        self.results.insert(numbers.fault.to_string(), numbers.json());
        let json = serde_json::to_string_pretty(&self.results).unwrap_or_default();
        for (name, text) in [("faults.json", json + "\n"), ("faults.md", self.markdown())] {
            let path = self.folder.join(name);
            fs::write(&path, text).map_err(|error| Error::new(format!("writing {}: {error}", path.display())))?;
        }
        Ok(())
    }

    /// Three tables of everything there is, for `doc/reliability.md`.
    pub fn markdown(&self) -> String {
        let [what, messages, sip] = [&WHAT[..], &MESSAGES, &SIP].map(|columns| table(&self.results, columns));
        format!("{what}\n{messages}\n{sip}")
    }
}

/// A column: its title, and its text for one result.
type Column = (&'static str, fn(&Value) -> String);

/// What was done, and how often.
const WHAT: [Column; 2] =
    [("what is done", |r| r["what"].as_str().unwrap_or_default().to_string()), ("rounds", |r| number(r, "/rounds"))];

/// What became of messages.
const MESSAGES: [Column; 11] = [
    ("attempted", |r| number(r, "/publishes/attempted")),
    ("accepted", |r| number(r, "/publishes/accepted")),
    ("refused", |r| number(r, "/publishes/refused")),
    ("refused by broker", |r| number(r, "/publishes/refused_by_broker")),
    ("arrived", |r| number(r, "/publishes/arrived")),
    ("**lost**", |r| number(r, "/publishes/lost")),
    ("same id again", |r| number(r, "/publishes/duplicated")),
    ("confirmed / published, with queries", |r| {
        format!("{} / {}", number(r, "/module/confirmed"), number(r, "/module/published"))
    }),
    ("events", |r| number(r, "/events/confirmed")),
    ("redelivered", |r| number(r, "/events/redelivered")),
    ("**unhandled**", |r| number(r, "/events/unhandled")),
];

/// What SIP noticed.
const SIP: [Column; 9] = [
    ("p50 / p99 / max ms during", |r| times(r, "/sip_during")),
    ("and between", |r| times(r, "/sip_between")),
    ("of requests", |r| number(r, "/sip_during/count")),
    ("over 50 ms", |r| number(r, "/sip_during/over_50_ms")),
    ("timeouts", |r| number(r, "/sip_timeouts")),
    ("in kazoo_publish, max ms", |r| number(r, "/publishes/max_ms_in_script")),
    ("queries answered / failed", |r| {
        format!("{} / {}", number(r, "/queries/answered"), number(r, "/queries/refused"))
    }),
    ("recovery s", recovery),
    ("restarts", |r| number(r, "/restarts")),
];

fn table(results: &Map<String, Value>, columns: &[Column]) -> String {
    let titles: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
    // Numbers to the right, words to the left.
    let rules: String = titles.iter().map(|title| if *title == WHAT[0].0 { "---|" } else { "--:|" }).collect();
    let mut text = format!("| fault | {} |\n|---|{rules}\n", titles.join(" | "));
    for fault in FAULTS {
        let Some(result) = results.get(fault.name) else { continue };
        let cells: Vec<String> = columns.iter().map(|(_, text)| text(result)).collect();
        text.push_str(&format!("| `{}` | {} |\n", fault.name, cells.join(" | ")));
    }
    text
}

fn number(result: &Value, pointer: &str) -> String {
    result.pointer(pointer).and_then(Value::as_f64).map_or_else(|| "-".to_string(), |value| format!("{value:.0}"))
}

fn times(result: &Value, pointer: &str) -> String {
    ["p50_ms", "p99_ms", "max_ms"].map(|name| number(result, &format!("{pointer}/{name}"))).join(" / ")
}

fn recovery(result: &Value) -> String {
    let times = result["recovery_s"].as_array().into_iter().flatten().filter_map(Value::as_f64);
    let (least, most) = times.fold((f64::MAX, 0.0_f64), |(least, most), s| (least.min(s), most.max(s)));
    if least > most { "-".to_string() } else { format!("{least:.1} to {most:.1}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// A run as it should be.
    fn sound() -> Numbers {
        let queries = Queries { answered: 9, refused: 1, ms: Percentiles::default() };
        Numbers { attempted: 20, accepted: 18, refused: 2, arrived: 18, events: 30, queries, ..Numbers::default() }
    }

    fn broken(excuse: Excuse, damage: impl FnOnce(&mut Numbers)) -> String {
        let mut numbers = sound();
        damage(&mut numbers);
        let fault = FAULTS.iter().find(|fault| fault.excuse == excuse).unwrap();
        numbers.judge(&Plan::of(fault, 1));
        numbers.broken.join("; ")
    }

    #[test]
    fn each_broken_promise_is_named() {
        assert_eq!(broken(Excuse::None, |_| ()), "");
        assert_eq!(broken(Excuse::None, |n| n.missing = 2), "2 accepted messages lost");
        assert_eq!(broken(Excuse::None, |n| n.unhandled = 1), "1 events not handled");
        assert_eq!(broken(Excuse::None, |n| n.timeouts = 1), "1 SIP requests without an answer");
        assert_eq!(broken(Excuse::None, |n| n.restarts = 1), "1 times Kamailio ended by itself");
        assert!(broken(Excuse::None, |n| n.sip.ms.p99 = 51.0).contains("p99 of 51 ms"));
        assert_eq!(broken(Excuse::None, |n| (n.sip.ms.p99, n.quiet.ms.p99) = (51.0, 9.0)), "");
        assert!(broken(Excuse::None, |n| n.arrived = 0).contains("not even one publish"));
    }

    #[test]
    fn excuses_excuse_one_thing_only() {
        let refused = |n: &mut Numbers| (n.missing, n.refused_by_broker) = (3, 3);
        assert_eq!(broken(Excuse::Refusals, refused), "");
        assert!(broken(Excuse::None, refused).contains("refused by the broker"));
        assert!(
            broken(Excuse::Refusals, |n| (n.missing, n.refused_by_broker) = (4, 3))
                .contains("1 accepted messages lost")
        );
        assert_eq!(broken(Excuse::Absence, |n| n.sip.ms.p99 = 500.0), "");
        assert!(broken(Excuse::Absence, |n| n.missing = 1).contains("lost"));
    }
}
