//! Which subscription is declared at which broker, and the acknowledgements of its channel.
//!
//! The list is read from the registry in shared memory, so a new manager finds what the old one had. A refused
//! declaration is logged once and tried again later; it disturbs nobody else.
//!
//! **A channel may outlive its consumer.** When the broker cancels a consumer, the queue is mostly gone, and nobody but
//! this process has what was delivered and not handled. So the subscription is declared again on a new channel, while
//! the old one is *retiring*: what came on it is handed out and acknowledged as ever, then it is closed. The same
//! is done with the rest of a queue that ends with its connection, whose acknowledgements go nowhere then.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::amqp::{Broken, Channel};
use super::inbox::Inbox;
use super::log::Log;
use super::poison::Suspect;
use super::session::{Opened, Setup, SetupError, Subscribed};
use super::tracker::{Settle, Tracker};
use crate::bus::clock::unix_seconds;
use crate::bus::status::{self, Board, Status};
use crate::bus::subscription::{Queue, Subscription};
use crate::bus::{ManagerPort, Verdict};

/// First pause after a refused declaration; doubles up to [`RETRY_MAX_NS`].
const RETRY_MIN_NS: u64 = 1_000_000_000;
const RETRY_MAX_NS: u64 = 60_000_000_000;

/// Retiring channels of one subscription at one broker, each with at most `amqp_prefetch` messages. With more of them it
/// is not declared: the consumers have to catch up first.
const MAX_RETIRING: usize = 4;

/// Acknowledgements that go out within this time of the last one are held back until it is over, so that one settles as
/// many messages as possible. Those of messages that come now and then go out at once.
pub const HOLD_NS: u64 = 5_000_000;

/// So many messages that are finished and not acknowledged, or a quarter of the prefetch if that is less, are not held back.
const MAX_HELD: usize = 128;

/// A channel on which messages came.
#[derive(Debug)]
pub struct Active {
    /// Index of the subscription.
    pub index: usize,
    /// Index of the broker.
    pub broker: usize,
    session: u64,
    channel: Channel,
    tracker: Tracker,
    /// When it was last acknowledged on.
    settled_ns: u64,
    /// Messages of the backlog after a reconnect that are still to come.
    pub backlog: u32,
    /// It consumes nothing any more, and nobody delivers again what it brought.
    retiring: bool,
    /// The library has handed over all that came on it.
    drained: bool,
}

impl Active {
    /// Whether all that came on it so far is handled. `inbox`: where the rest of it may wait.
    fn is_worked_off(&self, inbox: &Inbox) -> bool {
        !self.tracker.has_open() && self.tracker.held() == 0 && !inbox.holds(self.channel.epoch())
    }

    /// Tells the broker. A closed channel reports itself.
    fn tell(&self, settle: Settle) -> Result<(), Broken> {
        self.channel.settle(settle).or_else(|broken| if self.channel.is_open() { Err(broken) } else { Ok(()) })
    }

    /// Acknowledges what is finished if there is much of it or the last time was a while ago. What is finished behind
    /// the front waits for the front, unless that stands still or too much waits.
    fn settle_due(&mut self, now_ns: u64) -> Result<u64, Broken> {
        let limit = usize::from(self.channel.prefetch() / 4).clamp(1, MAX_HELD);
        let in_time = now_ns.saturating_sub(self.settled_ns) >= HOLD_NS;
        if !in_time && self.tracker.held() < limit {
            return Ok(0);
        }
        self.settled_ns = now_ns;
        let at_front = self.settle(Tracker::settle_front)?;
        if (in_time && at_front == 0) || self.tracker.held() >= 2 * limit {
            return Ok(at_front + self.settle(Tracker::settle_all)?);
        }
        Ok(at_front)
    }

    fn settle(&mut self, how: fn(&mut Tracker, &mut Vec<Settle>) -> u64) -> Result<u64, Broken> {
        let mut settles = Vec::new();
        let settled = how(&mut self.tracker, &mut settles);
        settles.into_iter().try_for_each(|settle| self.tell(settle))?;
        Ok(settled)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Under way. `after_ns`: the pause that came before; 0 for the first attempt.
    Declaring {
        after_ns: u64,
    },
    Active,
    Refused {
        retry_ns: u64,
        pause_ns: u64,
    },
}

/// A record of the board.
#[derive(Clone, Copy, Debug)]
struct Shown {
    slot: usize,
    state: status::State,
    since_unix: u64,
}

/// All subscriptions.
#[derive(Debug)]
pub struct Subscriptions {
    setup: Setup,
    log: Log,
    /// In the order of the registry; `None` for an entry that cannot be read.
    list: Vec<Option<Arc<Subscription>>>,
    /// Whether the registry was read at all.
    read: bool,
    /// By session and subscription.
    states: HashMap<(u64, usize), State>,
    /// By epoch. Looked up several times for each message, and there are few.
    active: BTreeMap<u64, Active>,
    /// Epochs of channels with messages that are finished and not acknowledged.
    unsettled: Vec<u64>,
    /// Where to show what is declared, with the record of each broker and subscription.
    board: Board,
    shown: HashMap<(usize, usize), Shown>,
    /// A connection that takes no more acknowledgements.
    broken: Option<u64>,
}

impl Subscriptions {
    /// None yet. `board`: where to show them.
    pub fn new(setup: Setup, log: Log, board: Board) -> Self {
        Self {
            setup,
            log,
            list: Vec::new(),
            read: false,
            states: HashMap::new(),
            active: BTreeMap::new(),
            unsettled: Vec::new(),
            board,
            shown: HashMap::new(),
            broken: None,
        }
    }

    /// The subscription number `index`.
    pub fn get(&self, index: usize) -> Option<&Arc<Subscription>> {
        self.list.get(index)?.as_ref()
    }

    /// The queues at broker number `broker` that outlive a connection, with the numbers of their subscriptions.
    pub fn lasting_queues(&self, broker: usize) -> Vec<Suspect> {
        let wanted = (0..self.list.len()).filter(|index| self.is_wanted(broker, *index));
        let queues = wanted.filter_map(|index| self.get(index).map(|s| (index, &s.queue)));
        queues
            .filter(|(_, queue)| queue.outlives_connection())
            .map(|(index, queue)| (index, queue.name.clone()))
            .collect()
    }

    /// A connection that takes no more acknowledgements, if there is one.
    pub fn take_broken(&mut self) -> Option<u64> {
        self.broken.take()
    }

    /// The channel with `epoch`, consuming or retiring.
    pub fn active(&mut self, epoch: u64) -> Option<&mut Active> {
        self.active.get_mut(&epoch)
    }

    /// Whether messages of the channel with `epoch` are to be handed out.
    pub fn is_active(&self, epoch: u64) -> bool {
        self.active.contains_key(&epoch)
    }

    /// Whether the message with `tag` on channel `epoch` was handed out and is not finished.
    pub fn is_open(&self, epoch: u64, tag: u64) -> bool {
        self.active.get(&epoch).is_some_and(|a| a.tracker.is_open(tag))
    }

    /// Whether any message was handed out and is not finished.
    pub fn has_open(&self) -> bool {
        self.active.values().any(|a| a.tracker.has_open())
    }

    /// Whether a backlog is being drained.
    pub fn drains(&self) -> bool {
        self.active.values().any(|a| a.backlog > 0)
    }

    /// No message came for a while: whatever was counted as backlog is gone.
    pub fn backlog_ended(&mut self) {
        // Consumers that still work on it are not quiet.
        self.active.values_mut().filter(|a| !a.tracker.has_open()).for_each(|a| a.backlog = 0);
    }

    /// Whether every subscription of `session` was declared or refused, at the first attempt or since.
    pub fn is_settled(&self, broker: usize, session: u64) -> bool {
        let settled =
            |index: usize| !matches!(self.states.get(&(session, index)), None | Some(State::Declaring { after_ns: 0 }));
        self.read && (0..self.list.len()).all(|index| !self.is_wanted(broker, index) || settled(index))
    }

    /// Reads new entries of the registry and declares what is not declared yet on `sessions`.
    pub fn tick<'s>(&mut self, port: &ManagerPort, sessions: impl Iterator<Item = (usize, &'s Opened)>, now_ns: u64) {
        self.read_registry(port);
        if self.list.is_empty() {
            return;
        }
        for (broker, opened) in sessions {
            for index in 0..self.list.len() {
                self.declare_if_due(broker, opened, index, now_ns);
            }
        }
    }

    /// When [`tick`](Self::tick) declares what was refused, unless its consumers have to catch up first.
    pub fn next_due(&self) -> Option<u64> {
        let due = |state: &State| if let State::Refused { retry_ns, .. } = state { Some(*retry_ns) } else { None };
        self.states.values().filter_map(due).min()
    }

    /// A declaration ended. `reconnect`: the broker had been up before, so what waits there is a backlog.
    pub fn subscribed(
        &mut self,
        (session, broker): (u64, usize),
        index: usize,
        result: Result<Box<Subscribed>, SetupError>,
        reconnect: bool,
        now_ns: u64,
    ) {
        let Some(subscription) = self.get(index).cloned() else { return };
        let (queue, exchange) = (&subscription.queue.name, &subscription.exchange.name);
        let before = self.states.get(&(session, index)).copied();
        let state = match result {
            Ok(subscribed) => {
                let Subscribed { channel, queue: declared, backlog } = *subscribed;
                self.log.info(format_args!(
                    "consuming queue \"{queue}\" (exchange \"{exchange}\"), {backlog} messages wait"
                ));
                let epoch = channel.epoch();
                let backlog = if reconnect { backlog } else { 0 };
                self.show(broker, index, status::State::Consuming, declared, String::new());
                let tracker = Tracker::default();
                let (retiring, drained) = (false, false);
                let active =
                    Active { index, broker, session, channel, tracker, settled_ns: 0, backlog, retiring, drained };
                self.active.insert(epoch, active);
                State::Active
            }
            Err(SetupError { why, .. }) => {
                let pause_ns = match before {
                    Some(State::Declaring { after_ns }) if after_ns > 0 => (after_ns * 2).min(RETRY_MAX_NS),
                    _ => RETRY_MIN_NS,
                };
                if pause_ns == RETRY_MIN_NS {
                    self.log.error(format_args!(
                        "cannot consume queue \"{queue}\" (exchange \"{exchange}\"): {why}; will be tried again"
                    ));
                }
                self.show(broker, index, status::State::Refused, queue.clone(), why);
                State::Refused { retry_ns: now_ns + pause_ns, pause_ns }
            }
        };
        self.states.insert((session, index), state);
    }

    /// The broker closed the channel with `epoch`: declare again what was consumed there. True if it was one of ours.
    pub fn channel_closed(&mut self, epoch: u64, why: &str, now_ns: u64) -> bool {
        self.consumer_ended(epoch, why, Queue::outlives_connection, now_ns)
    }

    /// The broker cancelled the consumer of the channel with `epoch`: declare it again. True if it was one of ours.
    pub fn cancelled(&mut self, epoch: u64, now_ns: u64) -> bool {
        // Its messages stay with the open channel, whether their queue is gone or not.
        self.consumer_ended(epoch, "the broker cancelled it (queue deleted or moved)", |_| false, now_ns)
    }

    fn consumer_ended(&mut self, epoch: u64, why: &str, comes_again: fn(&Queue) -> bool, now_ns: u64) -> bool {
        let Some(active) = self.active.get_mut(&epoch) else { return false };
        if active.retiring {
            // Its subscription was declared again when the consumer was cancelled.
            return true;
        }
        let (session, broker, index) = (active.session, active.broker, active.index);
        let queue = self.list.get(index).and_then(Option::as_ref).map(|s| s.queue.clone()).unwrap_or_default();
        active.retiring = !comes_again(&queue);
        if !active.retiring {
            self.active.remove(&epoch);
        }
        self.log.warn(format_args!("consumer of queue \"{}\" ended: {why}; subscribing again", queue.name));
        let state = State::Refused { retry_ns: now_ns + RETRY_MIN_NS / 10, pause_ns: RETRY_MIN_NS / 2 };
        self.states.insert((session, index), state);
        self.show(broker, index, status::State::Declaring, queue.name, why.to_owned());
        true
    }

    /// Nothing comes on the channel with `epoch` any more that has not come yet.
    pub fn drained(&mut self, epoch: u64) {
        if let Some(active) = self.active.get_mut(&epoch) {
            active.drained = true;
        }
    }

    /// Closes the channels of ended consumers of which nothing is left.
    pub fn forget_spent(&mut self) {
        let inbox = &self.setup.inbox;
        self.active.retain(|_, a| !(a.retiring && a.drained && a.is_worked_off(inbox)));
    }

    /// A connection to broker number `broker` is gone with all its channels.
    pub fn session_lost(&mut self, broker: usize, session: u64) {
        self.states.retain(|(s, _), _| *s != session);
        for active in self.active.values_mut().filter(|a| a.session == session) {
            let subscription = self.list.get(active.index).and_then(Option::as_ref);
            active.retiring |= subscription.is_some_and(|s| !s.queue.outlives_connection());
        }
        self.active.retain(|_, a| a.session != session || a.retiring);
        for index in 0..self.list.len() {
            if let Some(subscription) = self.get(index).filter(|_| self.is_wanted(broker, index)) {
                let queue = subscription.queue.name.clone();
                self.show(broker, index, status::State::Waiting, queue, String::new());
            }
        }
    }

    /// The broker delivered `tag` on channel `epoch`.
    pub fn delivered(&mut self, epoch: u64, tag: u64) {
        if let Some(active) = self.active.get_mut(&epoch) {
            active.tracker.delivered(tag);
        }
    }

    /// The message with `tag` is done with. False if its channel is gone.
    pub fn finish(&mut self, epoch: u64, tag: u64, verdict: Verdict) -> bool {
        let Some(active) = self.active.get_mut(&epoch) else { return false };
        if let Some(settle) = active.tracker.finish(tag, verdict)
            && active.tell(settle).is_err()
        {
            self.broken = Some(active.session);
        }
        if !self.unsettled.contains(&epoch) {
            self.unsettled.push(epoch);
        }
        true
    }

    /// Whether acknowledgements are held back.
    pub fn holds_acks(&self) -> bool {
        !self.unsettled.is_empty()
    }

    /// Sends the acknowledgements that are due; returns how many messages they settle.
    pub fn settle_due(&mut self, now_ns: u64) -> u64 {
        self.settle(|active| active.settle_due(now_ns))
    }

    /// Sends all acknowledgements that are held back; returns how many messages they settle.
    pub fn settle_all(&mut self) -> u64 {
        self.settle(|active| active.settle(Tracker::settle_all))
    }

    fn settle(&mut self, how: impl Fn(&mut Active) -> Result<u64, Broken>) -> u64 {
        let mut settled = 0;
        let (active, broken) = (&mut self.active, &mut self.broken);
        self.unsettled.retain(|epoch| {
            let Some(active) = active.get_mut(epoch) else { return false };
            match how(active) {
                Ok(messages) => settled += messages,
                Err(Broken) => *broken = Some(active.session),
            }
            active.tracker.held() > 0
        });
        settled
    }

    /// Puts the state of a subscription where `kamcmd kazoo.status` finds it.
    fn show(&mut self, broker: usize, index: usize, state: status::State, name: String, why: String) {
        let next = self.setup.config.brokers.len() + self.shown.len();
        if next >= self.board.slots() && !self.shown.contains_key(&(broker, index)) {
            return;
        }
        let fresh = Shown { slot: next, state: status::State::Unknown, since_unix: 0 };
        let shown = self.shown.entry((broker, index)).or_insert(fresh);
        if shown.state != state {
            *shown = Shown { state, since_unix: unix_seconds(), ..*shown };
        }
        let since_unix = shown.since_unix;
        self.board.put(shown.slot, &Status { state, broker, subscription: index, since_unix, name, why });
    }

    fn read_registry(&mut self, port: &ManagerPort) {
        let Ok(registry) = port.shared.registry() else { return };
        self.read = true;
        while let Some(text) = registry.get(self.list.len()) {
            let subscription = Subscription::from_bytes(&text).map_err(|why| {
                self.log.error(format_args!("subscription {} is damaged: {why}", self.list.len()));
            });
            self.list.push(subscription.ok().map(Arc::new));
        }
    }

    /// Whether subscription `index` is declared at `broker`.
    fn is_wanted(&self, broker: usize, index: usize) -> bool {
        self.get(index).is_some_and(|s| s.federate || self.setup.config.brokers[broker].zone == 0)
    }

    /// How many channels of ended consumers of a subscription are still worked off.
    fn retiring(&self, broker: usize, index: usize) -> usize {
        let inbox = &self.setup.inbox;
        let of_it = self.active.values().filter(|a| a.retiring && (a.broker, a.index) == (broker, index));
        of_it.filter(|a| !a.is_worked_off(inbox)).count()
    }

    fn declare_if_due(&mut self, broker: usize, opened: &Opened, index: usize, now_ns: u64) {
        let after_ns = match self.states.get(&(opened.session, index)) {
            None => 0,
            Some(State::Refused { retry_ns, pause_ns }) if *retry_ns <= now_ns => *pause_ns,
            Some(_) => return,
        };
        if !self.is_wanted(broker, index) || self.retiring(broker, index) >= MAX_RETIRING {
            return;
        }
        let Some(subscription) = self.get(index).cloned() else { return };
        self.states.insert((opened.session, index), State::Declaring { after_ns });
        if after_ns == 0 {
            // One that was refused keeps its reason until it succeeds.
            self.show(broker, index, status::State::Declaring, subscription.queue.name.clone(), String::new());
        }
        self.setup.subscribe((opened.session, broker), opened.connection.clone(), index, subscription);
    }
}
