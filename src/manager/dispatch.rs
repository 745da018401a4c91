//! Which consumer process gets a message: round-robin, one sticky consumer while a backlog is drained, or, for a
//! subscription with `consistent-worker`, the same one for the same key.
//!
//! To wake a process takes longer than a short event route. So in a dense stream a turn is as many of the waiting messages as
//! fit into the time of a wake-up, instead of one for each consumer, which all wake and sleep again.
//!
//! A consumer whose ring is full is passed over. When all are full the message stays in the inbox, and the prefetch
//! makes the broker wait. A message that only one consumer may have is parked until that one has room, so that a slow
//! consumer holds up nothing but its own keys; the prefetch bounds these too. A message larger than a ring is sent in
//! pieces while the consumer reads.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};

use super::inbox::Incoming;
use crate::bus::ManagerPort;
use crate::bus::port::Parcel;

/// Longest that the last message of a turn may have to wait for those before it.
const TURN_NS: u64 = 50_000;

/// Most messages of one turn.
const MAX_TURN: u64 = 16;

/// Who has to be told when a message is completely in a consumer's ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Epoch of the channel; 0 for what the module made itself.
    pub epoch: u64,
    /// Delivery tag.
    pub tag: u64,
    /// Acknowledge as soon as it is in the ring.
    pub ack_on_receipt: bool,
    /// Delivered before.
    pub redelivered: bool,
}

impl Origin {
    /// Of what the module made itself.
    pub const OWN: Self = Self { epoch: 0, tag: 0, ack_on_receipt: false, redelivered: false };
}

/// How the consumer of a message was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Round-robin.
    Turn,
    /// All of a backlog to one.
    Sticky,
    /// By the message's key.
    Key,
}

/// Hands messages to consumers.
#[derive(Debug)]
pub struct Dispatch {
    next: usize,
    /// Messages that `next` has got in its turn, and how many it may get.
    run: u64,
    turn: u64,
    /// Who gets the backlog.
    sticky: Option<usize>,
    /// By consumer: a message of which only a part is in the ring.
    unfinished: Vec<Option<(Parcel, Origin)>>,
    /// By consumer: messages that only it may have and that it has no room for.
    parked: Vec<VecDeque<Incoming>>,
    rung: Vec<bool>,
}

/// The consumer, out of `count`, that gets all messages with this key. The same in every manager process.
fn consistent(key: &[u8], count: usize) -> usize {
    // Not RandomState: its keys differ from process to process.
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    usize::try_from(hasher.finish() % count.max(1) as u64).unwrap_or(0)
}

impl Dispatch {
    /// For `consumers` consumer processes.
    pub fn new(consumers: usize) -> Self {
        Self {
            next: 0,
            run: 0,
            turn: 1,
            sticky: None,
            unfinished: (0..consumers).map(|_| None).collect(),
            parked: (0..consumers).map(|_| VecDeque::new()).collect(),
            rung: vec![false; consumers],
        }
    }

    /// Sends on what was begun; returns what became complete.
    pub fn resume(&mut self, port: &mut ManagerPort) -> Vec<Origin> {
        let mut complete = Vec::new();
        for (consumer, slot) in self.unfinished.iter_mut().enumerate() {
            let Some((parcel, origin)) = slot else { continue };
            let done = port.consumers[consumer].send(parcel);
            self.rung[consumer] = true;
            if done {
                complete.push(*origin);
                *slot = None;
            }
        }
        complete
    }

    /// The consumer for the next message of `len` bytes; `None` when all that may have it are full.
    pub fn choose(&self, port: &ManagerPort, len: usize, sticky: bool) -> Option<usize> {
        let count = self.unfinished.len();
        let free = |c: &usize| self.is_free(port, *c, len);
        if sticky {
            return Some(self.sticky.unwrap_or(self.next % count)).filter(free);
        }
        (0..count).map(|i| (self.next + i) % count).find(free)
    }

    fn is_free(&self, port: &ManagerPort, consumer: usize, len: usize) -> bool {
        self.unfinished[consumer].is_none() && port.consumers[consumer].has_room(len)
    }

    /// Leaves `message` for the consumer that gets all messages with this key.
    pub fn park(&mut self, key: &[u8], message: Incoming) {
        let consumer = consistent(key, self.parked.len());
        self.parked[consumer].push_back(message);
    }

    /// The next parked message whose consumer has room, with that consumer.
    pub fn unpark(&mut self, port: &ManagerPort) -> Option<(usize, Incoming)> {
        for consumer in 0..self.parked.len() {
            let Some(message) = self.parked[consumer].front() else { continue };
            if self.is_free(port, consumer, message.body.len()) {
                return self.parked[consumer].pop_front().map(|message| (consumer, message));
            }
        }
        None
    }

    /// Whether a message waits for its consumer.
    pub fn has_parked(&self) -> bool {
        self.parked.iter().any(|queue| !queue.is_empty())
    }

    /// Hands a message to `consumer`, which has room. True if it is completely in the ring.
    pub fn hand(
        &mut self,
        port: &mut ManagerPort,
        consumer: usize,
        mut parcel: Parcel,
        origin: Origin,
        choice: Choice,
    ) -> bool {
        let done = port.consumers[consumer].send(&mut parcel);
        self.rung[consumer] = true;
        if !done {
            self.unfinished[consumer] = Some((parcel, origin));
        }
        match choice {
            Choice::Turn => {
                self.next = consumer;
                self.run += 1;
                if self.run >= self.turn {
                    self.end_turn();
                }
            }
            Choice::Sticky => self.sticky = Some(consumer),
            Choice::Key => {}
        }
        done
    }

    fn end_turn(&mut self) {
        if self.run > 0 {
            self.next = (self.next + 1) % self.unfinished.len();
            self.run = 0;
        }
    }

    /// Makes turns as long as events of `event_ns` nanoseconds allow; `None`: one message each.
    pub fn set_pace(&mut self, event_ns: Option<u64>) {
        self.turn = event_ns.map_or(1, |event_ns| (TURN_NS / event_ns.max(1)).clamp(1, MAX_TURN));
    }

    /// The backlog is drained: the next one may go to another consumer.
    pub fn unstick(&mut self) {
        self.sticky = None;
    }

    /// Wakes the consumers that got something since the last call. What comes later is for the next one.
    pub fn ring(&mut self, port: &mut ManagerPort) {
        self.end_turn();
        for (consumer, rung) in self.rung.iter_mut().enumerate() {
            if std::mem::take(rung) {
                port.wake_consumer(consumer);
            }
        }
    }

    /// Whether a message is half way.
    pub fn is_unfinished(&self) -> bool {
        self.unfinished.iter().any(Option::is_some)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::bus::port::test_block;
    use crate::bus::{Delivery, DeliveryKind};

    #[test]
    fn a_backlog_stays_with_one_consumer_whatever_comes_between() {
        let mut port = ManagerPort::attach(test_block(4, 3)).unwrap();
        let mut dispatch = Dispatch::new(3);
        let message = Delivery::local(DeliveryKind::LateReply, Vec::new());
        let mut hand = |sticky| {
            let consumer = dispatch.choose(&port, 0, sticky).unwrap();
            let choice = if sticky { Choice::Sticky } else { Choice::Turn };
            let parcel = port.parcel(message.clone());
            assert!(dispatch.hand(&mut port, consumer, parcel, Origin::OWN, choice));
            consumer
        };
        let backlog = hand(true);
        let spread = [hand(false), hand(false), hand(false)];
        assert!((0..3).all(|c| spread.contains(&c)), "{spread:?}");
        assert_eq!(hand(true), backlog);
    }

    #[test]
    fn quick_events_come_in_runs_and_slow_ones_one_by_one() {
        let mut port = ManagerPort::attach(test_block(4, 3)).unwrap();
        let mut dispatch = Dispatch::new(3);
        let message = Delivery::local(DeliveryKind::LateReply, Vec::new());
        let mut hand_four = |pace| {
            dispatch.set_pace(pace);
            let consumers = [(); 4].map(|()| {
                let consumer = dispatch.choose(&port, 0, false).unwrap();
                let parcel = port.parcel(message.clone());
                assert!(dispatch.hand(&mut port, consumer, parcel, Origin::OWN, Choice::Turn));
                consumer
            });
            dispatch.ring(&mut port);
            consumers
        };
        assert_eq!(hand_four(None), [0, 1, 2, 0]);
        assert_eq!(hand_four(Some(TURN_NS)), [1, 2, 0, 1]);
        assert_eq!(hand_four(Some(TURN_NS / 3)), [2, 2, 2, 0], "three of them take as long as a wake-up");
        assert_eq!(hand_four(Some(1)), [1, 1, 1, 1], "what comes after a wake-up is for the next one");
        assert_eq!(hand_four(Some(u64::MAX)), [2, 0, 1, 2]);
    }

    #[test]
    fn a_full_consumer_is_passed_over() {
        let mut port = ManagerPort::attach(test_block(4, 2)).unwrap();
        let mut dispatch = Dispatch::new(2);
        let message = Delivery::local(DeliveryKind::LateReply, vec![b'x'; 500]);
        while let Some(consumer) = dispatch.choose(&port, 500, true) {
            let parcel = port.parcel(message.clone());
            dispatch.hand(&mut port, consumer, parcel, Origin::OWN, Choice::Sticky);
        }
        let full = dispatch.sticky.unwrap();
        assert_eq!(dispatch.choose(&port, 500, true), None);
        assert_eq!(dispatch.choose(&port, 500, false), Some(1 - full));
    }

    #[test]
    fn keys_spread_over_any_number_of_consumers() {
        for count in [1, 2, 3, 7, 256] {
            let mut hits = vec![0; count];
            (0..count * 100).for_each(|n| hits[consistent(format!("call-{n}").as_bytes(), count)] += 1);
            assert!(hits.iter().all(|hits| (50..200).contains(hits)), "{count}: {hits:?}");
        }
    }

    #[test]
    fn a_full_consumer_holds_up_its_own_keys_only() {
        let mut port = ManagerPort::attach(test_block(4, 2)).unwrap();
        let mut dispatch = Dispatch::new(2);
        let key_of = |consumer| (0..).map(|n: u32| n.to_le_bytes()).find(|k| consistent(k, 2) == consumer).unwrap();
        let message = |tag| Incoming {
            epoch: 1,
            tag,
            redelivered: false,
            redeliveries: 0,
            exchange: String::new(),
            routing_key: String::new(),
            body: vec![b'x'; 500],
            received_unix: 0,
        };
        let filler = Delivery::local(DeliveryKind::LateReply, vec![b'x'; 500]);
        while dispatch.is_free(&port, 0, 500) {
            let parcel = port.parcel(filler.clone());
            dispatch.hand(&mut port, 0, parcel, Origin::OWN, Choice::Key);
        }
        for (tag, consumer) in [(1, 0), (2, 1), (3, 0), (4, 1)] {
            dispatch.park(&key_of(consumer), message(tag));
        }
        let passed = std::iter::from_fn(|| dispatch.unpark(&port)).map(|(c, m)| (c, m.tag)).collect::<Vec<_>>();
        assert_eq!(passed, [(1, 2), (1, 4)], "in order, and none for the full one");
        assert!(dispatch.has_parked());
    }
}
