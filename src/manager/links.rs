//! The state of each broker: down, connecting, up; back-off with jitter between attempts.
//!
//! All brokers are connected side by side. The order of the list is the order of preference for publishing.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use super::log::Log;
use super::poison::{SHORT_LIVED, Suspect};
use super::session::{Opened, Setup, SetupError};
use crate::bus::ManagerPort;
use crate::bus::clock::unix_seconds;
use crate::bus::counters::Counter;
use crate::bus::status::{self, Board, Status};

/// A connection that lived so long was healthy. One that breaks sooner, again and again, is treated like a failed attempt:
/// it may be a message that the library cannot read.
const HEALTHY_NS: u64 = 10_000_000_000;

/// One broker.
#[derive(Debug)]
struct Link {
    state: State,
    /// Attempts that failed since the last success.
    failures: u32,
    /// Since when it is down.
    down_ns: u64,
    /// Connections in a row that did not live for [`HEALTHY_NS`].
    short_lived: u32,
    /// Whether its queues are looked through for unreadable messages before the next attempt.
    probe: bool,
    /// Whether it was ever up.
    was_up: bool,
    /// Whether it had been up before the present connection: then what waits there is the backlog of a reconnect.
    reconnected: bool,
    /// Connected, but nothing is confirmed.
    stalled: bool,
    /// Since when it is up, down or stalled, Unix seconds.
    since_unix: u64,
    /// What went wrong last.
    last_error: String,
}

#[derive(Debug)]
enum State {
    Down { retry_ns: u64 },
    Connecting,
    Up(Box<Opened>),
}

/// All brokers, by index in the configuration.
#[derive(Debug)]
pub struct Links {
    setup: Setup,
    log: Log,
    links: Vec<Link>,
    board: Board,
    jitter: RandomState,
    tried: bool,
}

impl Links {
    /// All down, to be tried at once. `was_up`: a manager before this one was connected. `board`: where to show it.
    pub fn new(setup: Setup, log: Log, board: Board, was_up: bool) -> Self {
        let down = || Link {
            state: State::Down { retry_ns: 0 },
            failures: 0,
            short_lived: 0,
            probe: false,
            down_ns: crate::bus::clock::now_ns(),
            was_up,
            reconnected: false,
            stalled: false,
            since_unix: unix_seconds(),
            last_error: String::new(),
        };
        let links: Vec<Link> = setup.config.brokers.iter().map(|_| down()).collect();
        let links = Self { setup, log, links, board, jitter: RandomState::new(), tried: false };
        (0..links.links.len()).for_each(|index| links.show(index));
        links
    }

    /// Whether the present connection to broker `index` is a reconnect.
    pub fn is_reconnect(&self, index: usize) -> bool {
        self.links[index].reconnected
    }

    /// Starts the attempts to connect that are due, and the looks for another server of the same name. `queues`: those
    /// that are consumed at a broker, to be looked through when its connections do not last.
    pub fn tick(&mut self, now_ns: u64, queues: impl Fn(usize) -> Vec<Suspect>) {
        for index in 0..self.links.len() {
            match &mut self.links[index].state {
                State::Down { retry_ns } if *retry_ns <= now_ns => {
                    self.links[index].state = State::Connecting;
                    if std::mem::take(&mut self.links[index].probe) {
                        self.setup.probe(index, queues(index));
                    } else {
                        self.setup.connect(index);
                    }
                    self.show(index);
                }
                State::Up(opened) if opened.namesake_check_ns.is_some_and(|due| due <= now_ns) => {
                    opened.namesake_check_ns = None;
                    let id = self.setup.config.brokers[index].id;
                    self.setup.look_for_namesake(opened.session, opened.connection.clone(), id, opened.reply_index);
                }
                _ => {}
            }
        }
    }

    /// Whether the first connection attempt of this manager still runs.
    pub fn is_starting(&self) -> bool {
        !self.tried && !self.links.is_empty()
    }

    /// Another server has this one's name at the broker of `session`.
    pub fn namesake(&mut self, session: u64) {
        let Some((index, opened)) = self.session(session) else { return };
        let own = opened.reply_index;
        let host = &self.setup.config.node_hostname;
        self.log.error(format_args!(
            "broker {}: another server uses the node_hostname \"{host}\"; give each server a name of its own. Answers \
             still reach the server that asked, this one has reply queue {own}",
            self.name(index)
        ));
    }

    /// Whether a broker of the primary zone is connected, ready or about to be.
    pub fn has_primary(&self) -> bool {
        self.up().any(|(i, _)| self.setup.config.brokers[i].zone == 0)
    }

    /// Lets publishes use the connections for which `is_ready` says so.
    pub fn admit(&mut self, is_ready: impl Fn(usize, &Opened) -> bool) {
        for (index, link) in self.links.iter_mut().enumerate() {
            if let State::Up(opened) = &mut link.state {
                opened.ready = opened.ready || is_ready(index, opened);
            }
        }
    }

    /// When [`tick`](Self::tick) or [`admit`](Self::admit) has something to do, or answers are to be acknowledged.
    /// `patience_ns`: after so long a connection is admitted whatever is missing.
    pub fn next_due(&self, patience_ns: u64) -> Option<u64> {
        let due = |link: &Link| match &link.state {
            State::Down { retry_ns } => Some(*retry_ns),
            State::Connecting => None,
            State::Up(opened) => {
                let admitted = (!opened.ready).then_some(opened.opened_ns + patience_ns);
                opened.namesake_check_ns.into_iter().chain(admitted).chain(opened.taken.due_ns()).min()
            }
        };
        self.links.iter().filter_map(due).min()
    }

    /// A connection attempt ended.
    pub fn opened(&mut self, index: usize, result: Result<Box<Opened>, SetupError>, port: &ManagerPort, now_ns: u64) {
        let name = self.name(index);
        self.tried = true;
        let link = &mut self.links[index];
        match result {
            Ok(opened) => {
                let waited =
                    if link.failures > 0 { format!(" after {} attempts", link.failures + 1) } else { String::new() };
                self.log.info(format_args!("broker {name} connected{waited}"));
                if opened.reply_index > 0 {
                    self.log.info(format_args!(
                        "broker {name}: reply queue {} is used instead of 0, which has a consumer already: a \
                         connection of this server that the broker does not miss yet, or another server with the \
                         same node_hostname",
                        opened.reply_index
                    ));
                }
                link.state = State::Up(opened);
                link.since_unix = unix_seconds();
                link.failures = 0;
                link.reconnected = std::mem::replace(&mut link.was_up, true);
                port.row.inc(Counter::Connects);
            }
            Err(error) => {
                link.failures += 1;
                let pause = self.pause_ns(index);
                let link = &mut self.links[index];
                link.state = State::Down { retry_ns: now_ns + pause };
                link.last_error.clone_from(&error.why);
                // The first failure is the news; the attempts after it are not.
                if link.failures == 1 {
                    let ms = pause / 1_000_000;
                    self.log.warn(format_args!(
                        "broker {name} cannot be reached: {}; trying again, next in {ms} ms",
                        error.why
                    ));
                }
            }
        }
        self.show(index);
    }

    /// The queues of broker `index` were looked through: now it may be connected again.
    pub fn probed(&mut self, index: usize, now_ns: u64) {
        self.links[index].state = State::Down { retry_ns: now_ns };
    }

    /// Takes the session off its link; the next attempt follows after the shortest pause.
    pub fn take(&mut self, session: u64, why: &str, now_ns: u64) -> Option<(usize, Box<Opened>)> {
        let index = self.index_of(session)?;
        let lived_ns = now_ns.saturating_sub(self.at(index)?.opened_ns);
        let link = &mut self.links[index];
        link.down_ns = now_ns;
        link.stalled = false;
        link.since_unix = unix_seconds();
        why.clone_into(&mut link.last_error);
        link.short_lived = if lived_ns >= HEALTHY_NS { 0 } else { link.short_lived.saturating_add(1) };
        link.probe = link.short_lived > 0 && link.short_lived.is_multiple_of(SHORT_LIVED);
        let pause = self.pause_ns(index);
        let state = &mut self.links[index].state;
        match std::mem::replace(state, State::Down { retry_ns: now_ns + pause }) {
            State::Up(opened) => {
                self.show(index);
                Some((index, opened))
            }
            other => {
                *state = other;
                None
            }
        }
    }

    /// Notes whether the broker that takes messages confirms them.
    pub fn set_stalled(&mut self, stalled: bool) {
        let Some(index) = self.primary() else { return };
        let link = &mut self.links[index];
        if link.stalled != stalled {
            link.stalled = stalled;
            link.since_unix = unix_seconds();
            self.show(index);
        }
    }

    /// Puts the state of broker `index` where `kamcmd kazoo.status` finds it.
    fn show(&self, index: usize) {
        let link = &self.links[index];
        let state = match link.state {
            State::Down { .. } => status::State::Down,
            State::Connecting => status::State::Connecting,
            State::Up(_) if link.stalled => status::State::Stalled,
            State::Up(_) => status::State::Up,
        };
        let (since_unix, why) = (link.since_unix, link.last_error.clone());
        self.board.put(index, &Status { state, broker: index, since_unix, why, ..Status::default() });
    }

    /// Broker index and session of every connection that is up.
    pub fn up(&self) -> impl Iterator<Item = (usize, &Opened)> {
        self.links.iter().enumerate().filter_map(|(i, l)| match &l.state {
            State::Up(opened) => Some((i, &**opened)),
            _ => None,
        })
    }

    /// As [`up`](Self::up), to be changed.
    pub fn up_mut(&mut self) -> impl Iterator<Item = (usize, &mut Opened)> {
        self.links.iter_mut().enumerate().filter_map(|(i, l)| match &mut l.state {
            State::Up(opened) => Some((i, &mut **opened)),
            _ => None,
        })
    }

    /// The session named `session`, with its broker's index.
    pub fn session(&mut self, session: u64) -> Option<(usize, &mut Opened)> {
        let index = self.index_of(session)?;
        self.at(index).map(|opened| (index, opened))
    }

    /// The session of broker `index`.
    pub fn at(&mut self, index: usize) -> Option<&mut Opened> {
        match &mut self.links.get_mut(index)?.state {
            State::Up(opened) => Some(opened),
            _ => None,
        }
    }

    /// Whether broker `index` is down, but not for longer than `grace_ns`: what is meant for it alone waits so long.
    pub fn may_return(&self, index: usize, now_ns: u64, grace_ns: u64) -> bool {
        let link = self.links.get(index).filter(|l| !matches!(l.state, State::Up(_)));
        link.is_some_and(|l| now_ns.saturating_sub(l.down_ns) < grace_ns)
    }

    /// The session whose reply channel has `epoch`, with its broker's index.
    pub fn by_reply_epoch(&mut self, epoch: u64) -> Option<(usize, &mut Opened)> {
        self.up_mut().find(|(_, o)| o.replies.epoch() == epoch)
    }

    /// The session whose publish channel has `epoch`, with its broker's index.
    pub fn by_publish_epoch(&mut self, epoch: u64) -> Option<(usize, &mut Opened)> {
        let has_it = |o: &Opened| o.publish.as_ref().is_some_and(|p| p.channel.epoch() == epoch);
        let index = self.up().find(|(_, o)| has_it(o)).map(|(i, _)| i)?;
        self.at(index).map(|opened| (index, opened))
    }

    /// Index of the broker that takes messages without a target: the first of the primary zone that is ready.
    pub fn primary(&self) -> Option<usize> {
        self.up().filter(|(_, o)| o.ready).find(|(i, _)| self.setup.config.brokers[*i].zone == 0).map(|(i, _)| i)
    }

    /// Bytes of the messages that brokers have and have not confirmed.
    pub fn unconfirmed_bytes(&self) -> usize {
        self.up().filter_map(|(_, o)| o.publish.as_ref()).map(|p| p.in_flight.bytes()).sum()
    }

    /// `host:port/vhost`, for the log.
    pub fn name(&self, index: usize) -> String {
        self.setup.config.brokers[index].url.to_string()
    }

    fn index_of(&self, session: u64) -> Option<usize> {
        self.up().find(|(_, o)| o.session == session).map(|(i, _)| i)
    }

    /// Doubles with each failure, between the two limits, less up to a quarter at random: many servers that lost the
    /// same broker must not come back in step.
    fn pause_ns(&self, index: usize) -> u64 {
        let config = self.setup.config;
        let (min, max) = (config.reconnect_min.as_nanos() as u64, config.reconnect_max.as_nanos() as u64);
        let failures = self.links[index].failures.max(self.links[index].short_lived);
        let doubled = min.saturating_mul(1 << failures.saturating_sub(1).min(20));
        let pause = doubled.min(max);
        let random = self.jitter.hash_one((index, self.links[index].failures, crate::bus::clock::now_ns()));
        pause - random % (pause / 4 + 1)
    }
}
