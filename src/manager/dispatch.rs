//! Which consumer process gets a message: round-robin, or one sticky consumer while a backlog is drained.
//!
//! A consumer whose ring is full is passed over. When all are full the message stays in the inbox, and the prefetch
//! makes the broker wait. A message larger than a ring is sent in pieces while the consumer reads.

use crate::bus::ManagerPort;
use crate::bus::port::Parcel;

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

/// Hands messages to consumers.
#[derive(Debug)]
pub struct Dispatch {
    next: usize,
    /// Who gets the backlog.
    sticky: Option<usize>,
    /// By consumer: a message of which only a part is in the ring.
    unfinished: Vec<Option<(Parcel, Origin)>>,
    rung: Vec<bool>,
}

impl Dispatch {
    /// For `consumers` consumer processes.
    pub fn new(consumers: usize) -> Self {
        Self { next: 0, sticky: None, unfinished: (0..consumers).map(|_| None).collect(), rung: vec![false; consumers] }
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
        let free = |c: &usize| self.unfinished[*c].is_none() && port.consumers[*c].has_room(len);
        if sticky {
            return Some(self.sticky.unwrap_or(self.next % count)).filter(free);
        }
        (0..count).map(|i| (self.next + i) % count).find(free)
    }

    /// Hands a message to `consumer`. True if it is completely in the ring.
    pub fn hand(
        &mut self,
        port: &mut ManagerPort,
        consumer: usize,
        mut parcel: Parcel,
        origin: Origin,
        sticky: bool,
    ) -> bool {
        let done = port.consumers[consumer].send(&mut parcel);
        self.rung[consumer] = true;
        if !done {
            self.unfinished[consumer] = Some((parcel, origin));
        }
        if sticky {
            self.sticky = Some(consumer);
        } else {
            self.next = (consumer + 1) % self.unfinished.len();
        }
        done
    }

    /// The backlog is drained: the next one may go to another consumer.
    pub fn unstick(&mut self) {
        self.sticky = None;
    }

    /// Wakes the consumers that got something since the last call.
    pub fn ring(&mut self, port: &mut ManagerPort) {
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
            let parcel = port.parcel(&message);
            assert!(dispatch.hand(&mut port, consumer, parcel, Origin::OWN, sticky));
            consumer
        };
        let backlog = hand(true);
        let spread = [hand(false), hand(false), hand(false)];
        assert!((0..3).all(|c| spread.contains(&c)), "{spread:?}");
        assert_eq!(hand(true), backlog);
    }

    #[test]
    fn a_full_consumer_is_passed_over() {
        let mut port = ManagerPort::attach(test_block(4, 2)).unwrap();
        let mut dispatch = Dispatch::new(2);
        let message = Delivery::local(DeliveryKind::LateReply, vec![b'x'; 500]);
        while let Some(consumer) = dispatch.choose(&port, 500, true) {
            let parcel = port.parcel(&message);
            dispatch.hand(&mut port, consumer, parcel, Origin::OWN, true);
        }
        let full = dispatch.sticky.unwrap();
        assert_eq!(dispatch.choose(&port, 500, true), None);
        assert_eq!(dispatch.choose(&port, 500, false), Some(1 - full));
    }
}
