//! What fault matrix and soak are made to: brokers, a Kamailio, the applications, and SIP load at a fixed rate.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | brokers, proxies, Kamailio, applications, and what came out of them |
//! | `load.rs` | SIP load, and the answer times of any window of it |
//! | `trail.rs` | what the consumers did, from Kamailio's log, which outlives it |
//! | `verdict.rs` | last lines and exit code of the programs |

mod load;
mod trail;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;

use crate::broker::Broker;
use crate::bus::{Arrived, Client, Exchange, Flood, Peer, Proxy, Queue, Sink};
use crate::cluster::Cluster;
use crate::edge::{self, SUBSCRIPTION};
use crate::error::{Error, Result};
use crate::kamailio::{Builder, Kamailio};
use crate::process::wait_until;
use crate::sip::SipClient;

pub use load::{Answers, Load, Window};
pub use trail::Trail;
pub use verdict::judge;

/// The user that Kamailio logs in as, and that the applications are not.
pub const USER: &str = "edge";
const PASSWORD: &str = "edge-secret";

/// Queue of everything that OPTIONS publish.
pub const PROBES: &str = "probes";

const PATIENCE: Duration = Duration::from_secs(60);

/// As much of Kamailio's log is shown when something went wrong.
const LOG_LINES: usize = 30;

/// Which brokers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One.
    Single,
    /// Two that know nothing of each other, in order of preference.
    Pair,
    /// A cluster of three, with quorum queues.
    Trio,
}

/// How to start a [`Site`].
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Its brokers.
    pub layout: Layout,
    /// A proxy before each of them, which can hold back and reset. Without, a broker that is away refuses connections.
    pub entrances: bool,
    /// Shared memory of Kamailio in MB.
    pub shared_mb: u32,
    /// Events per second for the subscription.
    pub events: u32,
}

enum Brokers {
    Apart(Vec<Broker>),
    Together(Cluster),
}

/// All parties. Field order is drop order: applications first, brokers last.
pub struct Site {
    /// With the configuration of `make demo` and `FAULTS`.
    pub kamailio: Kamailio,
    /// What its consumers did.
    pub trail: Trail,
    flood: Flood,
    sinks: Vec<Sink>,
    _peers: Vec<Peer>,
    apps: Proxy,
    /// Before each broker, if any; Kamailio then knows no other way.
    entrances: Vec<Proxy>,
    brokers: Brokers,
    /// What came out of the probes' queue so far.
    pub arrived: Arrivals,
    /// What earlier lives of Kamailio had counted.
    counted_before: BTreeMap<String, u64>,
    /// How often Kamailio ended without being asked to.
    pub ended_by_itself: u64,
}

/// What came out of the probes' queue.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// Call-IDs of OPTIONS whose message arrived.
    pub calls: BTreeSet<String>,
    ids: BTreeSet<String>,
    /// Messages that arrived with a `message_id` that had arrived before.
    pub duplicates: u64,
}

impl Arrivals {
    fn add(&mut self, message: &Arrived) {
        let body = message.json();
        self.calls.insert(body["Call-ID"].as_str().unwrap_or_default().to_string());
        let id = message.message_id.clone().unwrap_or_default();
        self.duplicates += u64::from(!self.ids.insert(id));
    }
}

impl Site {
    /// Starts everything and waits until Kamailio publishes, queries and consumes.
    pub fn start(setup: Setup) -> Result<Self> {
        let brokers = match setup.layout {
            Layout::Single => Brokers::Apart(vec![Broker::start()?]),
            Layout::Pair => Brokers::Apart(vec![Broker::start()?, Broker::start()?]),
            Layout::Trio => Brokers::Together(Cluster::start(3)?),
        };
        let guarded = if setup.entrances { brokers.all() } else { &[] };
        let entrances = guarded.iter().map(|b| Proxy::start(b.port())).collect::<Result<Vec<_>>>()?;
        let first = brokers.all().first().ok_or_else(|| Error::new("no broker"))?;
        let apps = Proxy::start(first.port())?;
        let (mut peers, mut sinks) = (Vec::new(), Vec::new());
        for client in brokers.clients(&apps) {
            peers.push(edge::directory(client, brokers.queue(edge::questions()))?);
            sinks.push(Sink::start(client, brokers.queue(probes()))?);
        }
        for broker in brokers.separate() {
            broker.add_user(USER, PASSWORD)?;
            broker.set_permissions(USER, ".*", ".*", ".*")?;
        }
        let mut builder = queries(edge::kamailio().define("FAULTS", "1").memory(setup.shared_mb, 8));
        for (number, broker) in brokers.all().iter().enumerate() {
            let port = entrances.get(number).map_or(broker.port(), Proxy::port);
            let name = if number == 0 { "AMQP_URL".to_string() } else { format!("AMQP_URL_{}", number + 1) };
            builder = builder.define(&name, &format!("\"amqp://{USER}:{PASSWORD}@127.0.0.1:{port}\""));
        }
        let kamailio = builder.start()?;
        // The module declares the exchange of its subscription; before that every event comes back.
        let flood = Flood::start(Client::new(apps.port()), u64::MAX, setup.events, edge::event)?;
        let trail = Trail::of(kamailio.log_path());
        let mut site = Self {
            kamailio,
            trail,
            flood,
            sinks,
            _peers: peers,
            apps,
            entrances,
            brokers,
            arrived: Arrivals::default(),
            counted_before: BTreeMap::new(),
            ended_by_itself: 0,
        };
        site.until_flowing(&["consumed"])?;
        Ok(site)
    }

    /// Broker number `index`.
    pub fn broker(&self, index: usize) -> Result<&Broker> {
        self.brokers.all().get(index).ok_or_else(|| Error::new(format!("there is no broker {index}")))
    }

    /// The same, to kill and start it.
    pub fn broker_mut(&mut self, index: usize) -> Result<&mut Broker> {
        let brokers = match &mut self.brokers {
            Brokers::Apart(brokers) => brokers.as_mut_slice(),
            Brokers::Together(cluster) => cluster.nodes_mut(),
        };
        brokers.get_mut(index).ok_or_else(|| Error::new(format!("there is no broker {index}")))
    }

    /// The cluster's node that leads the probes' queue.
    pub fn leader(&self) -> Result<usize> {
        match &self.brokers {
            Brokers::Together(cluster) => cluster.leader(PROBES, 0),
            Brokers::Apart(_) => Err(Error::new("there is no cluster")),
        }
    }

    /// Lets the applications of a cluster use its node `index` from now on.
    pub fn applications_use(&self, index: usize) -> Result<()> {
        self.apps.target(self.broker(index)?.port());
        Ok(())
    }

    /// Declares the exchange that OPTIONS publish to, and its binding. Between the two nothing gets lost: what is not
    /// routed takes the other way into the same queue.
    pub fn declare_probes(&self) -> Result<()> {
        self.broker(0)?.declare_queue(&probes())
    }

    /// Publishes no event until [`resume_events`](Self::resume_events); what was published is in the broker. Returns how
    /// many that are.
    pub fn pause_events(&self) -> Result<u64> {
        self.flood.pause(PATIENCE)?;
        Ok(self.flood.count().confirmed)
    }

    /// Goes on publishing events.
    pub fn resume_events(&self) {
        self.flood.resume();
    }

    /// Does something to every proxy.
    pub fn each_entrance(&self, act: impl Fn(&Proxy)) -> Result<()> {
        self.entrances.iter().for_each(act);
        Ok(())
    }

    /// Pids of the manager; one, but for the moment in which a new one takes over.
    pub fn managers(&self) -> Result<Vec<i32>> {
        Ok(self.kamailio.processes_titled("manager")?.iter().map(|process| process.pid).collect())
    }

    /// Sends a signal to the manager.
    pub fn signal_manager(&self, signal: Signal) -> Result<()> {
        self.managers()?.into_iter().try_for_each(|pid| self.kamailio.signal(pid, signal))
    }

    /// Fills Kamailio's shared memory with ever smaller pieces, until not even the smallest fits.
    pub fn fill_shared_memory(&self) -> Result<()> {
        let sip = SipClient::new(self.kamailio.sip_port())?;
        for size in [60_000, 8_000, 1_000, 100, 16] {
            let deadline = SystemTime::now() + PATIENCE;
            while sip.request("INFO").body("text/plain", vec![b'x'; size]).send()?.code == 200 {
                if SystemTime::now() > deadline {
                    return Err(Error::new("the shared memory is not full after a minute"));
                }
            }
        }
        Ok(())
    }

    /// All counters of the module, those of earlier lives of Kamailio included.
    pub fn counters(&self) -> Result<BTreeMap<String, u64>> {
        let mut sum = self.counted_before.clone();
        for (name, value) in self.kamailio.rpc_numbers(&["kazoo.stats"])? {
            *sum.entry(name).or_default() += value;
        }
        Ok(sum)
    }

    /// To be called before Kamailio ends: its counters end with it.
    pub fn keep_counters(&mut self) {
        // A server that does not answer any more has told all it will.
        self.counted_before = self.counters().unwrap_or_else(|_| self.counted_before.clone());
    }

    /// Starts Kamailio again after it has ended.
    pub fn start_kamailio_again(&mut self) -> Result<()> {
        self.kamailio.restart()
    }

    /// Notices a Kamailio that has ended by itself, and starts it again so that the rest of the run is worth something.
    pub fn look_after_kamailio(&mut self) -> Result<()> {
        if self.kamailio.is_running() {
            return Ok(());
        }
        self.ended_by_itself += 1;
        self.kamailio.restart()
    }

    /// Waits until these counters all have moved from where they are now; returns how long it took.
    pub fn until_flowing(&mut self, names: &[&str]) -> Result<Duration> {
        let began = Instant::now();
        let before = self.counters().unwrap_or_default();
        let value = |counters: &BTreeMap<String, u64>, name: &str| counters.get(name).copied().unwrap_or(0);
        let mut still = names.to_vec();
        let ended = wait_until(PATIENCE, || {
            std::thread::sleep(Duration::from_millis(20));
            let Ok(now) = self.counters() else { return !self.kamailio.is_running() };
            still.retain(|name| value(&now, name) == value(&before, name));
            still.is_empty()
        });
        match ended {
            true if still.is_empty() => Ok(began.elapsed()),
            true => Err(Error::new("Kamailio ended")),
            false => Err(Error::new(format!("{} stood still for {PATIENCE:?}", still.join(", ")))),
        }
    }

    /// Lets time pass, and `look`s at the site now and then.
    pub fn pass(&mut self, time: Duration, mut look: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            std::thread::sleep(left.min(Duration::from_millis(200)));
            look(self)?;
            self.collect();
        }
        Ok(())
    }

    /// Takes in what came since the last call.
    pub fn collect(&mut self) {
        for sink in &self.sinks {
            for message in sink.take() {
                self.arrived.add(&message);
            }
        }
        self.trail.follow();
    }

    /// Ends the events and waits until everything has come to rest; returns how many events were confirmed.
    pub fn settle(&mut self, accepted: &BTreeSet<String>) -> Result<u64> {
        let events = self.flood.end(PATIENCE)?.confirmed;
        self.until_settled(accepted, events);
        Ok(events)
    }

    /// Waits until every message published is confirmed, those of these calls have arrived, and so many events have been
    /// handled. What is missing after a minute is for the caller's sums to tell.
    pub fn until_settled(&mut self, accepted: &BTreeSet<String>, events: u64) {
        wait_until(PATIENCE, || {
            std::thread::sleep(Duration::from_millis(100));
            self.collect();
            let Ok(counters) = self.kamailio.rpc_numbers(&["kazoo.stats"]) else { return false };
            let sum = |names: &[&str]| names.iter().filter_map(|name| counters.get(*name)).sum::<u64>();
            let settled = sum(&["published"]) == sum(&["confirmed", "refused_by_broker", "expired"]);
            let refused = sum(&["refused_by_broker"]) + self.counted_before.get("refused_by_broker").unwrap_or(&0) > 0;
            let missing = accepted.difference(&self.arrived.calls).count();
            settled && (missing == 0 || refused) && self.trail.handled() >= events
        });
        self.collect();
    }

    /// Log lines that tell of a process that crashed or panicked, the first few.
    pub fn crashes(&self, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
        let words = ["panicked", "exited by a signal", "BUG:"];
        let lines = words.iter().flat_map(|word| self.kamailio.log_lines(word));
        lines.filter(|line| !is_meant(line)).take(5).map(|line| format!("logged: {line}")).collect()
    }

    /// The end of Kamailio's log without the events, for error texts.
    pub fn log_end(&self) -> String {
        let log = self.kamailio.log();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains("<script>: event-")).collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].iter().map(|line| format!("    {line}\n")).collect()
    }

    /// Messages in the subscription's queue of the first broker.
    pub fn waiting_events(&self) -> u32 {
        self.broker(0).and_then(|broker| broker.count(SUBSCRIPTION)).unwrap_or(0)
    }
}

impl Brokers {
    fn all(&self) -> &[Broker] {
        match self {
            Self::Apart(brokers) => brokers,
            Self::Together(cluster) => cluster.nodes(),
        }
    }

    /// Those that have users and queues of their own.
    fn separate(&self) -> &[Broker] {
        match self {
            Self::Apart(brokers) => brokers,
            Self::Together(cluster) => &cluster.nodes()[..1],
        }
    }

    /// How the applications reach each of these.
    fn clients(&self, apps: &Proxy) -> Vec<Client> {
        match self {
            Self::Apart(brokers) => brokers.iter().map(Broker::client).collect(),
            Self::Together(_) => vec![Client::new(apps.port())],
        }
    }

    /// In a cluster queues must not live on one node.
    fn queue(&self, queue: Queue) -> Queue {
        match self {
            Self::Apart(_) => queue,
            Self::Together(_) => queue.quorum(),
        }
    }
}

/// Queries that block nobody. `QUERY=sync` in the environment: queries that block a worker each, to see what that does.
fn queries(builder: Builder) -> Builder {
    if std::env::var("QUERY").is_ok_and(|kind| kind == "sync") {
        return builder;
    }
    builder.define("ASYNC_QUERY", "1")
}

/// Durable and no more in a single broker: that persistent messages survive is part of what is shown.
fn probes() -> Queue {
    let unrouted = Exchange::topic("callevt.unrouted").durable();
    let callevt = Exchange::topic("callevt").durable().alternate(&unrouted);
    Queue::new(PROBES).durable().bind(&unrouted, "#").bind(&callevt, "call.probe.#")
}

/// The target folder, in which a program of ours lies: where it writes its numbers.
pub fn target() -> Result<PathBuf> {
    let program = std::env::current_exe().map_err(|error| Error::new(format!("where am I? {error}")))?;
    let folder = program.parent().and_then(|profile| profile.parent());
    folder.map(PathBuf::from).ok_or_else(|| Error::new("this program lies in no target folder"))
}
