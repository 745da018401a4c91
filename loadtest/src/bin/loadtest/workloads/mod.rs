//! The workloads: the same for every subject that can do them.

pub mod consume;
pub mod idle;
mod mixed;
pub mod publish;
pub mod query;
pub mod script_loop;

use rig::load::{Numbers, drain, until_depth};
use rig::{Builder, Error, Result};

use crate::lab::{Lab, PUBLISHED, READY, Server};
use crate::measure::Run;
use crate::subject::Subject;

/// One setting of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Names it in the results, e.g. `publish/16`.
    pub key: String,
    /// What it is, in words.
    pub title: String,
    /// What the workload makes of it: requests outstanding, processes, or a rate per second.
    pub load: u32,
}

impl Point {
    fn new(key: impl Into<String>, title: impl Into<String>, load: u32) -> Self {
        Self { key: key.into(), title: title.into(), load }
    }
}

/// Something to do, in several settings.
pub trait Workload {
    /// What one operation is called.
    fn unit(&self) -> &'static str;

    /// Its settings.
    fn points(&self) -> Vec<Point>;

    /// Who can do it.
    fn subjects(&self, point: &Point) -> Vec<Subject>;

    /// Starts what is measured; `None` for a plain client. A server serves the points one after the other as long as
    /// [`same_server`](Self::same_server) says so.
    fn start(&self, lab: &Lab, subject: Subject, point: &Point) -> Result<Option<Server>>;

    /// Whether these two can be measured on one server.
    fn same_server(&self, _: &Point, _: &Point) -> bool {
        true
    }

    /// Measures once.
    fn measure(&self, lab: &Lab, subject: Subject, server: Option<&Server>, point: &Point) -> Result<Run>;

    /// False for what need not be repeated.
    fn is_repeated(&self) -> bool {
        true
    }
}

/// All of them, in the order of the report.
pub fn all() -> Vec<Box<dyn Workload>> {
    vec![
        Box::new(publish::Publish::closed()),
        Box::new(publish::Publish::open()),
        Box::new(script_loop::ScriptLoop),
        Box::new(query::Query::closed()),
        Box::new(query::Query::open()),
        Box::new(consume::Consume),
        Box::new(mixed::Mixed),
        Box::new(idle::Idle),
    ]
}

/// With Kamailio's benchmark module, whose timers the script reads itself: nothing is logged.
fn timed(builder: Builder) -> Builder {
    builder
        .load("benchmark")
        .line("modparam(\"benchmark\", \"enable\", 1)")
        .line("modparam(\"benchmark\", \"granularity\", 1000000000)")
}

/// The server that a workload needs and has started.
fn needed(server: Option<&Server>) -> Result<&Server> {
    server.ok_or_else(|| Error::new("no server"))
}

/// Sends `case`, which publishes, until a message has arrived: who accepts one need not have a connection yet.
fn until_publishing(lab: &Lab, server: &Server, case: &'static str) -> Result<()> {
    lab.broker.purge(PUBLISHED)?;
    server.until_ready(case)?;
    let arrived = until_depth(lab.broker.client(), PUBLISHED, READY, |depth| depth.messages > 0)?;
    arrived.map(drop).ok_or_else(|| Error::new("what the server publishes never arrives"))
}

/// Waits until everything in `accepted` has arrived in the queue of publishes, or will not.
pub fn until_arrived(lab: &Lab, count: u64) -> Result<Option<std::time::Instant>> {
    let patience = std::time::Duration::from_secs(3);
    until_depth(lab.broker.client(), PUBLISHED, patience, |depth| depth.messages >= count)
}

/// Empties the queue of publishes and compares it with what was accepted.
pub fn compare(lab: &Lab, accepted: &Numbers, run: &mut Run) -> Result<()> {
    let arrived = drain(lab.broker.client(), PUBLISHED, accepted.distinct())?;
    run.lost += accepted.missing_in(&arrived);
    run.duplicated += arrived.repeated();
    Ok(())
}
