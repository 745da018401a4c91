//! The faults: what each does to the site, for how long, and how it ends.
//!
//! One more is not here, because Kamailio itself stops when it happens: a SIP worker killed between reserving and
//! committing a record. The crash test of the `shm` crate makes that one (`make crash`).

use std::time::Duration;

use rig::edge::SUBSCRIPTION;
use rig::site::{Layout, Setup, Site, USER};
use rig::{Error, Result, Signal, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

/// Shared memory of Kamailio in MB, as its own default.
const SHARED_MB: u32 = 64;

/// Events per second.
const EVENTS: u32 = 250;

/// The name of [`Plan::short`].
pub const SHORT: &str = "short";

/// Its faults.
const SHORT_FAULTS: [&str; 9] = [
    "tcp-reset",
    "blackhole",
    "slow-broker",
    "disk-alarm",
    "exchange-deleted",
    "permission-removed",
    "consumer-kill",
    "shared-memory",
    "descriptors",
];

/// One kind of trouble.
pub struct Fault {
    pub name: &'static str,
    /// What is done, for people.
    pub what: &'static str,
    pub layout: Layout,
    pub shared_mb: u32,
    /// Shortest and longest time between begin and end, in milliseconds.
    pub hold_ms: (u64, u64),
    /// Makes the trouble of this round.
    pub begin: Step,
    /// Ends it.
    pub end: Step,
    /// What the fault takes away from the promises.
    pub excuse: Excuse,
}

/// What is made to one site, round by round.
pub struct Plan {
    pub name: &'static str,
    pub what: &'static str,
    /// The fault of each round.
    pub rounds: Vec<&'static Fault>,
    /// Longest time that a fault is held.
    pub longest_hold: Duration,
    /// What the answer times are held against; not on a machine that runs tests.
    pub times_count: bool,
}

impl Plan {
    /// One fault several times.
    pub fn of(fault: &'static Fault, rounds: usize) -> Self {
        let rounds = vec![fault; rounds];
        Self { name: fault.name, what: fault.what, rounds, longest_hold: Duration::MAX, times_count: true }
    }

    /// The faults that no other test makes, each once and briefly, on the same servers.
    ///
    /// Without `leader-lost`: a cluster alone takes longer than all of these.
    pub fn short() -> Self {
        let is_new = |fault: &&Fault| SHORT_FAULTS.contains(&fault.name);
        Self {
            name: SHORT,
            what: "what no other test makes, each once",
            rounds: FAULTS.iter().filter(is_new).collect(),
            longest_hold: Duration::from_secs(1),
            times_count: false,
        }
    }

    /// Brokers and shared memory that its faults need.
    pub fn site(&self) -> Setup {
        let layout = self.rounds.first().map_or(Layout::Single, |fault| fault.layout);
        let shared_mb = self.rounds.iter().map(|fault| fault.shared_mb).min().unwrap_or(SHARED_MB);
        Setup { layout, entrances: true, shared_mb, events: EVENTS }
    }

    /// Whether one of its faults has this excuse.
    pub fn excuses(&self, excuse: Excuse) -> bool {
        self.rounds.iter().any(|fault| fault.excuse == excuse)
    }
}

/// Something done to the site in round number so and so.
pub type Step = fn(&mut Site, usize) -> Result<()>;

/// What is no broken promise under a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excuse {
    None,
    /// The broker refuses messages for good, which are then counted as such and do not arrive.
    Refusals,
    /// Kamailio is down for a while: no answers in that time.
    Absence,
}

const NOTHING: Fault = Fault {
    name: "none",
    what: "no fault at all, the measure for the others",
    layout: Layout::Single,
    shared_mb: SHARED_MB,
    hold_ms: (3_000, 5_000),
    begin: |_, _| Ok(()),
    end: |_, _| Ok(()),
    excuse: Excuse::None,
};

/// All of them, in the order of the table.
pub const FAULTS: &[Fault] = &[
    NOTHING,
    Fault {
        name: "broker-kill",
        what: "broker SIGKILL, started again after a second; durable queues, persistent messages",
        hold_ms: (800, 1_500),
        begin: |site, _| site.broker_mut(0)?.kill(),
        end: |site, _| site.broker_mut(0)?.restart(),
        ..NOTHING
    },
    Fault {
        name: "broker-stop",
        what: "broker SIGSTOP for 10 s",
        hold_ms: (10_000, 10_000),
        begin: |site, _| site.broker_mut(0)?.freeze(),
        end: |site, _| site.broker_mut(0)?.thaw(),
        ..NOTHING
    },
    Fault {
        name: "tcp-reset",
        what: "every connection of the module reset",
        hold_ms: (0, 0),
        begin: |site, _| site.each_entrance(|proxy| proxy.reset_all()),
        ..NOTHING
    },
    Fault {
        name: "blackhole",
        what: "connections stay open and carry nothing, 2 to 25 s",
        hold_ms: (2_000, 25_000),
        begin: |site, _| site.each_entrance(|proxy| proxy.stall()),
        end: |site, _| site.each_entrance(|proxy| proxy.forward()),
        ..NOTHING
    },
    Fault {
        name: "slow-broker",
        what: "every piece of 16 KiB 50 ms late in each direction, for 8 s",
        hold_ms: (8_000, 8_000),
        begin: |site, _| site.each_entrance(|proxy| proxy.slow(Duration::from_millis(50), 16 * 1024)),
        end: |site, _| site.each_entrance(|proxy| proxy.forward()),
        ..NOTHING
    },
    Fault {
        name: "memory-alarm",
        what: "memory alarm of the broker, 3 to 6 s",
        hold_ms: (3_000, 6_000),
        begin: |site, _| site.broker(0)?.raise_memory_alarm(),
        end: |site, _| site.broker(0)?.clear_alarms(),
        ..NOTHING
    },
    Fault {
        name: "disk-alarm",
        what: "disk alarm of the broker, 3 to 6 s",
        hold_ms: (3_000, 6_000),
        begin: |site, _| site.broker(0)?.raise_disk_alarm(),
        end: |site, _| site.broker(0)?.clear_alarms(),
        ..NOTHING
    },
    Fault {
        name: "queue-deleted",
        what: "queue of the subscription deleted while the module holds messages from it",
        hold_ms: (0, 1_000),
        begin: |site, _| delete_subscription(site),
        end: |site, _| {
            site.resume_events();
            Ok(())
        },
        ..NOTHING
    },
    Fault {
        name: "exchange-deleted",
        what: "exchange of the publishes deleted, declared again after 1 to 3 s",
        hold_ms: (1_000, 3_000),
        begin: |site, _| site.broker(0)?.client().delete_exchange("callevt"),
        end: |site, _| site.declare_probes(),
        excuse: Excuse::Refusals,
        ..NOTHING
    },
    Fault {
        name: "permission-removed",
        what: "permissions of the module's user removed, all or only to write to one exchange; connections reset",
        hold_ms: (2_000, 4_000),
        begin: remove_permission,
        end: |site, _| site.broker(0)?.set_permissions(USER, ".*", ".*", ".*"),
        excuse: Excuse::Refusals,
        ..NOTHING
    },
    Fault {
        name: "failover",
        what: "preferred one of two brokers SIGKILL, started again",
        layout: Layout::Pair,
        hold_ms: (1_000, 3_000),
        begin: |site, _| site.broker_mut(0)?.kill(),
        end: |site, _| site.broker_mut(0)?.restart(),
        ..NOTHING
    },
    Fault {
        name: "leader-lost",
        what: "the leader of a quorum queue in a cluster of three SIGKILL, started again",
        layout: Layout::Trio,
        hold_ms: (2_000, 4_000),
        begin: lose_leader,
        end: start_all,
        ..NOTHING
    },
    Fault {
        name: "manager-kill",
        what: "AMQP manager SIGKILL",
        hold_ms: (0, 0),
        begin: |site, _| site.signal_manager(Signal::SIGKILL),
        ..NOTHING
    },
    Fault {
        name: "manager-hang",
        what: "AMQP manager SIGSTOP, for good",
        hold_ms: (0, 0),
        begin: |site, _| site.signal_manager(Signal::SIGSTOP),
        ..NOTHING
    },
    Fault {
        name: "consumer-kill",
        what: "consumer SIGKILL in the middle of an event route: Kamailio stops, and is started again",
        hold_ms: (0, 500),
        begin: |site, _| kill_consumer(site),
        end: |site, _| site.start_kamailio_again(),
        excuse: Excuse::Absence,
        ..NOTHING
    },
    Fault {
        name: "sigterm",
        what: "Kamailio stopped in order under load, and started again",
        hold_ms: (0, 500),
        begin: |site, _| stop(site),
        end: |site, _| site.start_kamailio_again(),
        excuse: Excuse::Absence,
        ..NOTHING
    },
    Fault {
        name: "shared-memory",
        what: "Kamailio's shared memory filled to the last byte, for 3 to 5 s",
        shared_mb: 32,
        hold_ms: (3_000, 5_000),
        begin: |site, _| site.fill_shared_memory(),
        end: |site, _| site.kamailio.rpc(&["htable.flush", "fill"]).map(|_| ()),
        ..NOTHING
    },
    Fault {
        name: "descriptors",
        what: "no process of Kamailio may open a descriptor, 3 to 5 s; connections reset, in every other round the manager \
               killed as well",
        hold_ms: (3_000, 5_000),
        begin: take_descriptors,
        end: |site, _| limit(site, None),
        ..NOTHING
    },
];

/// Deletes the subscription's queue while the module, its consumers stopped for a moment, holds messages from it: more
/// than fit into the consumers' rings. On a busy machine it may be more than the prefetch too; then the consumers go on until
/// the rest is delivered, because what is in the queue when it is deleted is nobody's.
///
/// No event is published meanwhile: RabbitMQ confirms what it routes to a queue that is being deleted, and loses it.
fn delete_subscription(site: &Site) -> Result<()> {
    let consumers = site.kamailio.processes_titled("consumer")?;
    let signal_all = |signal| consumers.iter().try_for_each(|consumer| site.kamailio.signal(consumer.pid, signal));
    signal_all(Signal::SIGSTOP)?;
    std::thread::sleep(Duration::from_millis(1_800));
    site.pause_events()?;
    let broker = site.broker(0)?;
    let is_delivered = || broker.count(SUBSCRIPTION).is_ok_and(|waiting| waiting == 0);
    if !is_delivered() {
        signal_all(Signal::SIGCONT)?;
        wait_until(PATIENCE, is_delivered);
        signal_all(Signal::SIGSTOP)?;
    }
    let deleted = broker.client().delete_empty_queue(SUBSCRIPTION);
    // The cancellation shall reach a manager that has not handed out everything.
    std::thread::sleep(Duration::from_millis(200));
    signal_all(Signal::SIGCONT)?;
    deleted
}

/// A channel remembers what it was allowed, so connections end as well. Without any permission no login succeeds; with
/// most of them the publishes are refused.
fn remove_permission(site: &mut Site, round: usize) -> Result<()> {
    let broker = site.broker(0)?;
    match round % 2 {
        0 => broker.clear_permissions(USER)?,
        _ => broker.set_permissions(USER, ".*", "^(?!callevt).*", ".*")?,
    }
    site.each_entrance(|proxy| proxy.reset_all())
}

fn lose_leader(site: &mut Site, _: usize) -> Result<()> {
    let leader = site.leader()?;
    site.broker_mut(leader)?.kill()?;
    site.applications_use((leader + 1) % 3)
}

fn start_all(site: &mut Site, _: usize) -> Result<()> {
    for index in 0..3 {
        let node = site.broker_mut(index)?;
        if !node.is_running() {
            node.restart()?;
        }
    }
    Ok(())
}

/// Stops consumers until one stands in the middle of a route, and kills that one.
fn kill_consumer(site: &mut Site) -> Result<()> {
    let consumers = site.kamailio.processes_titled("consumer")?;
    site.keep_counters();
    let mut turn = consumers.iter().cycle();
    let killed = wait_until(PATIENCE, || {
        let Some(consumer) = turn.next() else { return false };
        let stopped = site.kamailio.signal(consumer.pid, Signal::SIGSTOP).is_ok();
        site.trail.follow();
        let in_route = stopped && site.trail.open(consumer.pid).is_some();
        let signal = if in_route { Signal::SIGKILL } else { Signal::SIGCONT };
        site.kamailio.signal(consumer.pid, signal).is_ok() && in_route
    });
    if killed && wait_until(PATIENCE, || !site.kamailio.is_running()) {
        return Ok(());
    }
    Err(Error::new("no consumer was in a route, or Kamailio did not stop"))
}

fn stop(site: &mut Site) -> Result<()> {
    site.keep_counters();
    let stopped = site.kamailio.stop()?;
    if stopped.status.success() { Ok(()) } else { Err(Error::new(format!("Kamailio: {}", stopped.status))) }
}

fn take_descriptors(site: &mut Site, round: usize) -> Result<()> {
    // All have far more open than that: none can open one more.
    limit(site, Some(4))?;
    site.each_entrance(|proxy| proxy.reset_all())?;
    if round % 2 == 1 { site.signal_manager(Signal::SIGKILL) } else { Ok(()) }
}

/// The process that answers the matrix's own questions is left alone.
fn limit(site: &Site, limit: Option<u64>) -> Result<()> {
    let processes = site.kamailio.processes()?;
    for process in processes.iter().filter(|process| !process.title.contains("ctl handler")) {
        // A manager that has just ended is no process of the server any more.
        let _ = site.kamailio.limit_descriptors(&[process.pid], limit);
    }
    Ok(())
}
