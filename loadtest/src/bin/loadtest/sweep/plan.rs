//! What a sweep is made of.

use std::time::Duration;

use super::result::Cell;

/// The sweep whose values are the settings that the page recommends.
pub const PROFILES: &str = "profiles";

/// One thing that is varied.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Names its files and its place in the page.
    pub key: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// What the values are.
    pub axis: &'static str,
    /// What is done at each value; a line in the plot each.
    pub series: Vec<Series>,
    /// From small to large.
    pub values: Vec<Value>,
    /// The plots, side by side.
    pub panels: Vec<Panel>,
}

/// One of the things done at each value.
#[derive(Debug, Clone)]
pub struct Series {
    /// In legends and tables.
    pub name: &'static str,
}

/// One value.
#[derive(Debug, Clone)]
pub struct Value {
    /// In tables and at the axis.
    pub label: String,
    /// The server that it makes.
    pub setup: Setup,
    /// What is done, one for each of the sweep's series.
    pub tasks: Vec<Task>,
}

/// The server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// SIP workers.
    pub workers: u32,
    /// Consumer processes.
    pub consumers: u32,
    /// Size of payloads in bytes.
    pub bytes: usize,
    /// Publishes of one run of the script loop.
    pub per_loop: u64,
    /// Queues of events, with a subscription each.
    pub subscriptions: u32,
    /// Connections to the broker, as so many brokers.
    pub brokers: u32,
    /// How long the event route of each event waits, as for a database.
    pub event_wait: Duration,
    /// Shared memory in MiB.
    pub shared_mib: u32,
    /// Further parameters of the module.
    pub parameters: Vec<(&'static str, i64)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            workers: 8,
            consumers: 4,
            bytes: crate::PAYLOAD_BYTES,
            per_loop: 1000,
            subscriptions: 1,
            brokers: 1,
            event_wait: Duration::ZERO,
            shared_mib: 256,
            parameters: Vec::new(),
        }
    }
}

impl Setup {
    /// The usual one with these parameters.
    pub fn with(parameters: &[(&'static str, i64)]) -> Self {
        Self { parameters: parameters.into(), ..Self::default() }
    }
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// A publish per SIP request; so many requests outstanding.
    Publish(u32),
    /// Publishes from script loops in so many processes, until all have arrived.
    Loop(u32),
    /// A query per SIP request, for which a worker waits.
    Query(Asked),
    /// A query per SIP request, whose transaction waits; so many requests per second.
    Async(Asked),
    /// So many events per second, each of which is answered by a publish of the event route.
    Echo(u32),
    /// Events, published as fast as the broker takes them, until all are handled and acknowledged.
    Consume,
}

/// How queries are asked and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Outstanding, or per second.
    pub load: u32,
    /// How long the application takes for its answer. Latencies are without it.
    pub delay: Duration,
    /// Size of the answer beyond some hundred bytes.
    pub filler: usize,
}

/// One plot.
#[derive(Debug, Clone, Copy)]
pub struct Panel {
    /// What it shows.
    pub metric: Metric,
    /// Of which series, by index.
    pub series: &'static [usize],
    /// On a logarithmic scale.
    pub logarithmic: bool,
}

impl Panel {
    /// On a scale that begins with 0.
    pub fn of(metric: Metric, series: &'static [usize]) -> Self {
        Self { metric, series, logarithmic: false }
    }

    /// On a logarithmic scale.
    pub fn logarithmic(metric: Metric, series: &'static [usize]) -> Self {
        Self { metric, series, logarithmic: true }
    }
}

/// What is read off a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Operations per second.
    Rate,
    /// Payload, MB per second.
    Volume,
    /// Half of all took at most so long.
    P50,
    /// 99 of 100 took at most so long.
    P99,
    /// Processor time of Kamailio per operation.
    Kamailio,
    /// Processor time of the manager per operation.
    Manager,
    /// The same per KiB of payload.
    PerKib,
    /// Memory of the manager that is its own.
    Memory,
    /// The same with the code and the shared memory that it has touched; in tables, next to its own.
    Resident,
    /// How often the manager wakes up per second.
    WakeUps,
    /// Publishes that were refused, in percent.
    Refused,
    /// From the start of the server to its last subscription.
    Ready,
    /// How many processors everybody together used.
    Busy,
}

impl Metric {
    /// In headings, with the unit.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rate => "per second",
            Self::Volume => "MB/s",
            Self::P50 => "p50, us",
            Self::P99 => "p99, us",
            Self::Kamailio => "Kamailio's CPU, us each",
            Self::Manager => "manager's CPU, us each",
            Self::PerKib => "Kamailio's CPU, us per KiB",
            Self::Memory => "manager's own memory, MiB",
            Self::Resident => "with code and shared memory, MiB",
            Self::WakeUps => "manager's wake-ups per second",
            Self::Refused => "refused, %",
            Self::Ready => "ready after, ms",
            Self::Busy => "processors in use",
        }
    }

    /// Its value in every measurement that has it.
    pub fn values(self, cell: &Cell, setup: &Setup) -> Vec<f64> {
        cell.samples.iter().filter(|sample| sample.run.operations > 0).filter_map(|s| s.value(self, setup)).collect()
    }
}
