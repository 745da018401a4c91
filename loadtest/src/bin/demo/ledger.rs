//! The numbers of a demo run from all who counted, the sums that must hold between them, and the table.

use std::collections::BTreeMap;
use std::fmt;

use rig::{FloodCount, PeerCount, SinkCount, SippReport};

/// Named numbers of the module (`kazoo.stats`) or of the script (its table `count`). A name nobody counted is 0.
#[derive(Debug, Clone, Default)]
pub struct Counts(pub BTreeMap<String, u64>);

impl Counts {
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Sum of several.
    pub fn sum(&self, names: &[&str]) -> u64 {
        names.iter().map(|name| self.get(name)).sum()
    }
}

/// Everything counted in one run, after all has come to rest.
#[derive(Debug, Default)]
pub struct Ledger {
    pub options: SippReport,
    pub register: SippReport,
    pub module: Counts,
    pub script: Counts,
    pub arrived: SinkCount,
    pub peer: PeerCount,
    pub flood: FloodCount,
    /// Events the flood was to publish.
    pub events: u64,
    /// Messages left in the subscription's queue, unacknowledged ones included.
    pub left_in_queue: u64,
    /// Lines in Kamailio's log that ask for an operator and that the broker's absence does not explain.
    pub log_errors: Vec<String>,
}

impl Ledger {
    /// Accepted publishes and confirmed events that are nowhere.
    pub fn lost(&self) -> u64 {
        let publishes = self.script.get("accepted").saturating_sub(self.arrived.distinct as u64);
        let events = self.flood.confirmed.saturating_sub(self.script.get("events"));
        publishes + events
    }

    /// The sums that do not add up, in words; empty when all is well.
    pub fn faults(&self) -> Vec<String> {
        let (module, script) = (&self.module, &self.script);
        let mut faults = Vec::new();
        let mut equal = |what: &str, left: u64, right: u64| {
            if left != right {
                faults.push(format!("{what}: {left} is not {right}"));
            }
        };
        for (name, sipp) in [("OPTIONS", &self.options), ("REGISTER", &self.register)] {
            equal(&format!("{name} calls that ended well and calls made"), sipp.succeeded, sipp.calls);
            let answers = sipp.answered(200) + sipp.answered(480) + sipp.answered(503);
            equal(&format!("final answers to {name} and calls made"), answers, sipp.calls);
        }
        equal("accepted publishes and different messages that arrived", script.get("accepted"), self.distinct());
        // Queries go the same way as publishes, and so count as published too.
        equal(
            "published messages and those confirmed or given up with a count",
            module.get("published"),
            module.sum(&["confirmed", "refused_by_broker", "expired"]),
        );
        equal("messages refused by the broker", module.get("refused_by_broker"), 0);
        equal("queries and their outcomes", script.get("asked"), script.sum(&["answered", "unanswered"]));
        equal("answers that the module and the script counted", module.get("answers"), script.get("answered"));
        equal("digests that did not fit the password", script.get("wrong_digest"), 0);
        equal("events confirmed to the application and all events", self.flood.confirmed, self.events);
        equal("different events handled and all events", script.get("events"), self.events);
        equal(
            "events handled by the module and by the script",
            module.get("handled"),
            script.sum(&["events", "repeated", "connections", "unexpected"]),
        );
        equal("events left in the queue", self.left_in_queue, 0);
        if self.peer.answers < module.get("answers") {
            faults.push(format!("the application sent only {} of the answers", self.peer.answers));
        }
        faults.extend(self.too_little());
        faults
    }

    fn distinct(&self) -> u64 {
        self.arrived.distinct as u64
    }

    /// A run in which something did not happen at all would prove nothing.
    fn too_little(&self) -> Vec<String> {
        let numbers = [
            ("an accepted publish", self.script.get("accepted")),
            ("an answered query", self.script.get("answered")),
            ("a registered user", self.register.answered(200)),
            ("an acknowledged event", self.module.get("acknowledged")),
        ];
        numbers.into_iter().filter(|(_, n)| *n == 0).map(|(what, _)| format!("not even {what}")).collect()
    }

    /// One line for the end.
    pub fn summary(&self) -> String {
        format!(
            "{} publishes confirmed and arrived, {} queries answered, {} events acknowledged, 0 lost over a broker kill",
            self.script.get("accepted"),
            self.script.get("answered"),
            self.script.get("events"),
        )
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (module, script) = (&self.module, &self.script);
        let row = |f: &mut fmt::Formatter<'_>, name: &str, cells: &[(&str, String)]| {
            write!(f, "  {name:<10}")?;
            for (what, number) in cells {
                write!(f, "  {what} {number}")?;
            }
            writeln!(f)
        };
        let sip = |report: &SippReport| {
            let requests = report.requests;
            let answers: Vec<String> = report.answers.iter().map(|(code, n)| format!("{n} x {code}")).collect();
            [
                ("requests", requests.to_string()),
                ("answers", answers.join(", ")),
                ("sent again", report.retransmissions.to_string()),
            ]
        };
        let query = &self.register.logged;
        let ms = |us: f64| format!("{:.2} ms", us / 1000.0);
        row(f, "OPTIONS", &sip(&self.options))?;
        row(f, "REGISTER", &sip(&self.register))?;
        row(
            f,
            "publish",
            &[
                ("accepted", script.get("accepted").to_string()),
                ("refused while the broker was away", script.get("refused").to_string()),
                ("arrived", self.arrived.distinct.to_string()),
                ("arrived again", self.arrived.repeated.to_string()),
            ],
        )?;
        row(
            f,
            "query",
            &[
                ("queries", script.get("asked").to_string()),
                ("answers", script.get("answered").to_string()),
                ("without answer", script.get("unanswered").to_string()),
                ("p50", ms(query.p50)),
                ("p99", ms(query.p99)),
                ("late", module.get("late").to_string()),
            ],
        )?;
        row(
            f,
            "outbox",
            &[
                ("published", module.get("published").to_string()),
                ("confirmed", module.get("confirmed").to_string()),
                ("resent", module.get("resent").to_string()),
                ("expired", module.get("expired").to_string()),
            ],
        )?;
        row(
            f,
            "events",
            &[
                ("confirmed to the application", self.flood.confirmed.to_string()),
                ("consumed", module.get("consumed").to_string()),
                ("acknowledged", module.get("acknowledged").to_string()),
                ("redelivered", module.get("redelivered").to_string()),
                ("different", script.get("events").to_string()),
            ],
        )?;
        row(
            f,
            "",
            &[
                ("lost", self.lost().to_string()),
                ("errors", (self.options.failed + self.register.failed + self.log_errors.len() as u64).to_string()),
            ],
        )?;
        self.log_errors.iter().take(5).try_for_each(|line| writeln!(f, "    {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, u64)]) -> Counts {
        Counts(pairs.iter().map(|(name, n)| ((*name).to_string(), *n)).collect())
    }

    fn sipp(answers: &[(u16, u64)]) -> SippReport {
        let calls = answers.iter().filter(|(code, _)| *code != 401).map(|(_, n)| n).sum();
        SippReport { calls, succeeded: calls, answers: answers.iter().copied().collect(), ..SippReport::default() }
    }

    /// A run as it should be: 10 publishes of which one arrived twice, 5 queries, 20 events of which 2 came again.
    fn sound() -> Ledger {
        Ledger {
            options: sipp(&[(200, 10), (503, 1)]),
            register: sipp(&[(401, 5), (200, 4), (503, 1)]),
            module: counts(&[
                ("published", 15),
                ("confirmed", 14),
                ("expired", 1),
                ("answers", 4),
                ("handled", 22),
                ("acknowledged", 22),
            ]),
            script: counts(&[
                ("accepted", 10),
                ("refused", 1),
                ("asked", 5),
                ("answered", 4),
                ("unanswered", 1),
                ("events", 20),
                ("repeated", 2),
            ]),
            arrived: SinkCount { arrived: 11, distinct: 10, repeated: 1 },
            peer: PeerCount { questions: 5, answers: 5 },
            flood: FloodCount { published: 20, confirmed: 20 },
            events: 20,
            ..Ledger::default()
        }
    }

    #[test]
    fn a_sound_run_has_no_faults() {
        assert_eq!(sound().faults(), Vec::<String>::new());
        assert_eq!(sound().lost(), 0);
    }

    #[test]
    fn each_broken_sum_is_named() {
        type Damage = fn(&mut Ledger);
        let breaks: [(&str, Damage); 9] = [
            ("the application", |run| run.peer.answers = 0),
            ("arrived", |run| run.arrived.distinct -= 1),
            ("confirmed or given up", |run| *run.module.0.entry("confirmed".into()).or_default() -= 1),
            ("outcomes", |run| *run.script.0.entry("unanswered".into()).or_default() += 1),
            ("different events", |run| *run.script.0.entry("events".into()).or_default() -= 1),
            ("final answers to OPTIONS", |run| run.options.calls += 1),
            ("calls that ended well", |run| run.register.succeeded -= 1),
            ("left in the queue", |run| run.left_in_queue = 3),
            ("acknowledged event", |run| run.module.0.clear()),
        ];
        for (word, damage) in breaks {
            let mut run = sound();
            damage(&mut run);
            let faults = run.faults().join("\n");
            assert!(faults.contains(word), "{word} not in: {faults}");
        }
    }

    #[test]
    fn a_missing_message_is_lost() {
        let mut run = sound();
        run.arrived.distinct -= 3;
        assert_eq!(run.lost(), 3);
    }
}
