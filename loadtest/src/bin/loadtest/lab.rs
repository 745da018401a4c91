//! The place of all measurements: one broker, and a Kamailio with one subject at a time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rig::load::{FIRST, Load, Pace, Tally};
use rig::{Broker, Builder, Error, Exchange, Kamailio, Queue, Result};

use crate::subject::Subject;

/// Exchange, routing key and queue of what is published. Nobody reads the queue while time is taken.
pub const PUBLISHED: &str = "load";

/// Of the machine's memory, as RabbitMQ has it by itself. At half of what it may have it writes a queue that nobody reads to
/// disk and confirms nothing meanwhile; with the little that brokers have in tests that happened in every longer run.
const MEMORY_PART: &str = "0.4";

/// A server that starts answers and has its connections after so long, or will not.
pub const READY: Duration = Duration::from_secs(20);

/// A request without an answer for so long will not get one. Longer than any wait of the modules' own.
const PATIENCE: Duration = Duration::from_secs(4);

/// What all measurements share.
#[derive(Debug)]
pub struct Lab {
    /// The broker.
    pub broker: Broker,
    /// How long each measurement takes.
    pub duration: Duration,
    /// Parameters of our module that differ from the defaults.
    pub params: Vec<(String, i64)>,
    /// Another build of our module, to be measured too.
    pub before: Option<PathBuf>,
}

impl Lab {
    /// Starts the broker.
    pub fn open(duration: Duration, params: Vec<(String, i64)>, before: Option<PathBuf>) -> Result<Self> {
        let broker = Broker::start()?;
        broker.ctl(&["set_vm_memory_high_watermark", MEMORY_PART])?;
        broker.declare_queue(&Queue::new(PUBLISHED).bind(&Exchange::topic(PUBLISHED), PUBLISHED))?;
        Ok(Self { broker, duration, params, before })
    }
}

/// A running Kamailio with a subject.
#[derive(Debug)]
pub struct Server {
    /// The server.
    pub kamailio: Kamailio,
    subject: Subject,
}

/// What each process of a server is for, by process id.
pub type Kinds = BTreeMap<i32, &'static str>;

impl Server {
    /// Starts it with this script and so many SIP workers.
    pub fn start(
        lab: &Lab,
        subject: Subject,
        workers: u32,
        routes: &str,
        adjust: impl FnOnce(Builder) -> Builder,
    ) -> Result<Self> {
        let kamailio = adjust(subject.builder(lab)?.children(workers).routes(routes)).start()?;
        Ok(Self { kamailio, subject })
    }

    /// Sends `case` until it succeeds: connections are made.
    pub fn until_ready(&self, case: &'static str) -> Result<()> {
        let once = Load {
            port: self.kamailio.sip_port(),
            case,
            pace: Pace::Closed(1),
            duration: Duration::from_millis(1),
            patience: PATIENCE,
            first: 0,
            answered_with_number: false,
        };
        let ready = rig::wait_until(READY, || rig::load::run(&once).is_ok_and(|tally| tally.good.distinct() > 0));
        if ready {
            return Ok(());
        }
        Err(Error::new(format!("{} never answers\n{}", self.subject.name(), self.kamailio.log_end())))
    }

    /// Sends SIP requests and collects the answers.
    pub fn load(
        &self,
        case: &'static str,
        pace: Pace,
        duration: Duration,
        answered_with_number: bool,
    ) -> Result<Tally> {
        rig::load::run(&Load { answered_with_number, ..self.requests(case, pace, duration) })
    }

    /// SIP requests, as a description.
    pub fn requests(&self, case: &'static str, pace: Pace, duration: Duration) -> Load {
        let port = self.kamailio.sip_port();
        Load { port, case, pace, duration, patience: PATIENCE, first: FIRST, answered_with_number: false }
    }

    /// What each process is for. Some are made only after the server has started.
    pub fn kinds(&self) -> Result<Kinds> {
        Ok(self.kamailio.processes()?.iter().map(|process| (process.pid, kind(&process.title))).collect())
    }

    /// Memory of our manager: the largest, should there be several.
    pub fn manager_memory(&self, kinds: &Kinds) -> Option<rig::Memory> {
        let managers = kinds.iter().filter(|(_, kind)| **kind == MANAGER);
        managers.filter_map(|(pid, _)| self.kamailio.memory(*pid)).max_by_key(|memory| memory.resident_kib)
    }
}

/// Sums of a value over the processes of each kind.
pub fn by_kind<T: Default + std::ops::AddAssign>(
    kinds: &Kinds,
    value: impl Fn(i32) -> Option<T>,
) -> BTreeMap<&'static str, T> {
    let mut sums: BTreeMap<&'static str, T> = BTreeMap::new();
    for (pid, kind) in kinds {
        *sums.entry(*kind).or_default() += value(*pid).unwrap_or_default();
    }
    sums
}

const MANAGER: &str = "manager";

/// What a process is for, by its title in Kamailio's process table.
fn kind(title: &str) -> &'static str {
    const KINDS: [(&str, &str); 7] = [
        ("udp receiver", "SIP workers"),
        ("kazoo manager", MANAGER),
        ("kazoo supervisor", "supervisor"),
        ("kazoo consumer", "event routes"),
        ("AMQP Consumer Worker", "event routes"),
        ("AMQP Consumer", "AMQP reader"),
        ("AMQP Publisher", "AMQP publisher"),
    ];
    let found = KINDS.iter().find(|(part, _)| title.contains(part));
    found.map_or("other", |(_, kind)| kind)
}
