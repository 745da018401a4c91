//! One measurement: what is taken before and after, and what it is worth.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rig::Result;
use rig::load::Tally;
use serde::Serialize;

use crate::lab::{Kinds, Lab, Server, by_kind};
use crate::plain::Work;

/// What one measurement of one subject found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Run {
    /// Why it is no result; empty for one that is.
    pub faults: Vec<String>,
    /// Operations that were done rightly.
    pub operations: u64,
    /// How long they took.
    pub seconds: f64,
    /// Operations per second.
    pub rate: f64,
    /// Latency of each, where it was taken.
    pub latency_us: Option<Percentiles>,
    /// Time inside the function under test, where it was taken.
    pub inside_us: Option<Percentiles>,
    /// Kamailio's processor time per operation by kind of process.
    pub cpu_us: BTreeMap<&'static str, f64>,
    /// The same of the broker.
    pub broker_us: f64,
    /// The same of the load generator and its applications, plain clients among them.
    pub generator_us: f64,
    /// Reported as success and never arrived.
    pub lost: u64,
    /// Arrived more than once.
    pub duplicated: u64,
    /// Reported as failed.
    pub failed: u64,
    /// Answered with what belongs to another.
    pub wrong: u64,
    /// Requests without an answer.
    pub no_reply: u64,
    /// Kamailio ended by itself.
    pub died: bool,
    /// Resident memory of our manager at the end, KiB.
    pub manager_kib: Option<u64>,
    /// The part of it that is its own, KiB.
    pub manager_own_kib: Option<u64>,
    /// Wake-ups per second by kind of process, where they were counted.
    pub wake_ups: BTreeMap<&'static str, f64>,
    /// Of a workload of several kinds: operations per second of each.
    pub parts: BTreeMap<&'static str, f64>,
    /// For the plot; nanoseconds.
    #[serde(skip)]
    pub latency: Option<Histogram<u64>>,
}

/// Percentiles in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Percentiles {
    /// Arithmetic mean.
    pub mean: f64,
    /// Half of all.
    pub p50: f64,
    /// Nine of ten.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Percentiles {
    /// Of values of which `per_us` make a microsecond; `None` when there are none.
    pub fn of(values: &Histogram<u64>, per_us: f64) -> Option<Self> {
        let at = |quantile: f64| values.value_at_quantile(quantile) as f64 / per_us;
        (!values.is_empty()).then(|| Self {
            mean: values.mean() / per_us,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: values.max() as f64 / per_us,
        })
    }
}

impl Run {
    /// A measurement that could not be made.
    pub fn failed(why: impl std::fmt::Display) -> Self {
        Self { faults: vec![why.to_string()], ..Self::default() }
    }

    /// True when nothing was lost, failed or answered wrongly and nobody died.
    pub fn is_result(&self) -> bool {
        self.faults.is_empty()
    }

    /// The first line of each reason why it is no result.
    pub fn faults_in_short(&self) -> String {
        let lines = self.faults.iter().map(|fault| fault.lines().next().unwrap_or_default());
        lines.collect::<Vec<_>>().join(", ")
    }

    /// All of Kamailio's processor time per operation.
    pub fn kamailio_us(&self) -> f64 {
        self.cpu_us.values().sum()
    }

    /// Takes over what the SIP side saw.
    pub fn sip(&mut self, tally: &Tally) {
        self.failed += tally.failed;
        self.wrong += tally.wrong;
        self.no_reply += tally.no_reply;
        self.latency_us = Percentiles::of(&tally.latency, 1e3);
        self.inside_us = Percentiles::of(&tally.inside, 1.0);
        self.latency = Some(tally.latency.clone());
    }

    /// Takes over what a plain client did.
    pub fn plain(&mut self, work: &Work) {
        self.set_rate(work.count, work.took);
        if let Some(latency) = &work.latency {
            self.latency_us = Percentiles::of(latency, 1e3);
            self.latency = Some(latency.clone());
        }
    }

    /// Operations and the time that they took.
    pub fn set_rate(&mut self, operations: u64, took: Duration) {
        self.operations = operations;
        self.seconds = took.as_secs_f64();
        self.rate = operations as f64 / self.seconds.max(1e-9);
    }

    /// Writes down why this is no result, if so.
    pub fn judge(mut self) -> Self {
        let counts = [
            (self.lost, "lost"),
            (self.duplicated, "duplicated"),
            (self.failed, "failed"),
            (self.wrong, "answered wrongly"),
            (self.no_reply, "without reply"),
        ];
        let bad = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        self.faults.extend(bad);
        if self.died {
            self.faults.push("Kamailio died".into());
        }
        if self.operations == 0 && self.wake_ups.is_empty() && self.faults.is_empty() {
            self.faults.push("nothing was done".into());
        }
        self
    }
}

/// Processor time of everybody between two moments.
#[derive(Debug)]
pub struct Meter<'a> {
    lab: &'a Lab,
    server: Option<&'a Server>,
    kinds: Kinds,
    cpu: BTreeMap<&'static str, Duration>,
    broker: Duration,
    generator: Duration,
    /// When it was started.
    pub began: Instant,
}

impl<'a> Meter<'a> {
    /// Begins now.
    pub fn start(lab: &'a Lab, server: Option<&'a Server>) -> Result<Self> {
        let kinds = server.map(Server::kinds).transpose()?.unwrap_or_default();
        let cpu = by_kind(&kinds, rig::cpu);
        Ok(Self { lab, server, kinds, cpu, broker: lab.broker.cpu(), generator: own_cpu(), began: Instant::now() })
    }

    /// Ends now; the costs, for so many operations.
    pub fn stop(self, operations: u64) -> Run {
        let per_operation = |time: Duration| time.as_secs_f64() * 1e6 / operations.max(1) as f64;
        let broker_us = per_operation(self.lab.broker.cpu().saturating_sub(self.broker));
        let generator_us = per_operation(own_cpu().saturating_sub(self.generator));
        let mut run = Run { operations, broker_us, generator_us, ..Run::default() };
        if let Some(server) = self.server {
            let spent = |(kind, now): (&'static str, Duration)| {
                (kind, per_operation(now.saturating_sub(self.cpu.get(kind).copied().unwrap_or_default())))
            };
            run.cpu_us = by_kind(&self.kinds, rig::cpu).into_iter().map(spent).collect();
            let memory = server.manager_memory(&self.kinds);
            run.manager_kib = memory.map(|memory| memory.resident_kib);
            run.manager_own_kib = memory.map(|memory| memory.private_kib);
        }
        run
    }
}

fn own_cpu() -> Duration {
    rig::cpu(std::process::id().cast_signed()).unwrap_or_default()
}
