//! Messages of subscriptions, events and outcomes of asynchronous queries on their way to the consumers.
//!
//! In this order, each as long as its consumer has room: outcomes, since transactions wait for them; messages that only one
//! consumer may have; what the module itself tells; messages of subscriptions. What finds no room stays where it is.

use std::borrow::Cow;

use super::Manager;
use crate::bus::counters::Counter;
use crate::bus::delivery::AckHandle;
use crate::bus::subscription::Subscription;
use crate::bus::{Delivery, DeliveryKind, Verdict};
use crate::manager::dispatch::{Choice, Origin};
use crate::manager::inbox::Incoming;
use crate::payload::top_level_string;

/// A stream of messages with less than this time between two is dense.
const DENSE_NS: u64 = 1_000_000;

impl Manager {
    pub(super) fn hand_out(&mut self, now_ns: u64) -> usize {
        let mut moved = 0;
        let lifted = self.config.consume_messages_on_reconnect && self.subscriptions.drains();
        let limit = if lifted { usize::MAX } else { self.config.consumer_loop_count as usize };
        while moved < limit {
            if let Some(resume) = self.outcomes.resumes.next() {
                let Some(consumer) = self.dispatch.choose(&self.port, resume.body_len(), false) else {
                    self.outcomes.resumes.put_back(resume);
                    break;
                };
                let parcel = self.port.resume_parcel(&resume);
                self.dispatch.hand(&mut self.port, consumer, parcel, Origin::OWN, Choice::Turn);
            } else if let Some((consumer, message)) = self.dispatch.unpark(&self.port) {
                self.deliver(message, consumer, Choice::Key);
                self.last_delivery_ns = now_ns;
            } else if let Some(event) = self.local.pop_front() {
                let Some(consumer) = self.dispatch.choose(&self.port, event.body.len(), false) else {
                    self.local.push_front(event);
                    break;
                };
                let parcel = self.port.parcel(event);
                self.dispatch.hand(&mut self.port, consumer, parcel, Origin::OWN, Choice::Turn);
            } else {
                let Some(message) = self.inbox.next_delivery() else { break };
                let Some(message) = self.give_up_if_guilty(message) else { continue };
                if self.suspects.hold_up(&message, &self.subscriptions, now_ns) {
                    self.inbox.put_back(message);
                    break;
                }
                let Some(message) = self.park_if_consistent(message) else { continue };
                if !self.hand_out_one(message) {
                    break;
                }
                self.last_delivery_ns = now_ns;
            }
            moved += 1;
        }
        moved
    }

    /// Decides how many messages a consumer gets in a row: more than one only of a dense stream and while events are short.
    pub(super) fn set_pace(&mut self, now_ns: u64) {
        let consumed = self.port.row.get(Counter::Consumed);
        let (before, since) = std::mem::replace(&mut self.paced, (consumed, now_ns));
        let dense = consumed.saturating_sub(before) * DENSE_NS > now_ns.saturating_sub(since);
        self.dispatch.set_pace(self.port.event_ns().filter(|_| dense));
    }

    /// Gives one message of a subscription to a consumer. False if none has room.
    fn hand_out_one(&mut self, message: Incoming) -> bool {
        let Some(active) = self.subscriptions.active(message.epoch) else {
            // Its channel closed before anybody saw it: the broker delivers it again.
            self.port.row.inc(Counter::StaleDeliveries);
            return true;
        };
        let sticky = self.config.single_consumer_on_reconnect && active.backlog > 0;
        if message.body.len() > self.config.max_message_size {
            self.reject_oversized(&message);
            return true;
        }
        let Some(consumer) = self.dispatch.choose(&self.port, message.body.len(), sticky) else {
            self.inbox.put_back(message);
            return false;
        };
        self.take(&message);
        self.deliver(message, consumer, if sticky { Choice::Sticky } else { Choice::Turn });
        true
    }

    /// Rejects a message that was delivered again too often; gives back any other.
    fn give_up_if_guilty(&mut self, message: Incoming) -> Option<Incoming> {
        if !self.subscriptions.is_active(message.epoch) || !self.suspects.convicts(&message, &self.subscriptions) {
            return Some(message);
        }
        self.port.row.inc(Counter::GivenUp);
        self.log.error(format_args!(
            "message (exchange \"{}\", routing key \"{}\", {} bytes) given up after {} redeliveries: the server or its \
             connection was lost each time before its event route had ended",
            message.exchange,
            message.routing_key,
            message.body.len(),
            message.redeliveries
        ));
        self.take(&message);
        self.subscriptions.finish(message.epoch, message.tag, Verdict::Reject);
        None
    }

    /// Leaves a message of a subscription with `consistent-worker` for its consumer; gives back any other.
    fn park_if_consistent(&mut self, message: Incoming) -> Option<Incoming> {
        let index = self.subscriptions.active(message.epoch).map(|active| active.index);
        let subscription = index.and_then(|index| self.subscriptions.get(index)).filter(|s| s.consistent_worker);
        let Some(subscription) = subscription.filter(|_| message.body.len() <= self.config.max_message_size) else {
            return Some(message);
        };
        let key = consistent_key(subscription, &message);
        self.take(&message);
        self.dispatch.park(&key, message);
        None
    }

    /// Notes that a message has left the inbox for good.
    fn take(&mut self, message: &Incoming) {
        if let Some(active) = self.subscriptions.active(message.epoch) {
            active.backlog = active.backlog.saturating_sub(1);
        }
        self.subscriptions.delivered(message.epoch, message.tag);
    }

    /// Puts a message into the ring of a consumer that has room.
    fn deliver(&mut self, message: Incoming, consumer: usize, choice: Choice) {
        let Some(active) = self.subscriptions.active(message.epoch) else {
            // Its channel closed while it was parked: the broker delivers it again.
            self.port.row.inc(Counter::StaleDeliveries);
            return;
        };
        let (index, broker_id) = (active.index, self.config.brokers[active.broker].id);
        let Some(subscription) = self.subscriptions.get(index) else { return };
        let ack_on_receipt = subscription.no_ack || !subscription.wait_for_consumer_ack;
        let (epoch, tag, redelivered) = (message.epoch, message.tag, message.redelivered);
        let origin = Origin { epoch, tag, ack_on_receipt, redelivered };
        let handle = AckHandle { subscription: index as u32, epoch, delivery_tag: tag };
        let delivery = delivery(subscription, broker_id, message, (!ack_on_receipt).then_some(handle));
        let parcel = self.port.parcel(delivery);
        if self.dispatch.hand(&mut self.port, consumer, parcel, origin, choice) {
            self.handed_out(origin);
        }
    }

    /// A message is completely in a consumer's ring.
    pub(super) fn handed_out(&mut self, origin: Origin) {
        if origin.epoch == 0 {
            return;
        }
        self.port.row.inc(Counter::Consumed);
        if origin.redelivered {
            self.port.row.inc(Counter::Redelivered);
        }
        if origin.ack_on_receipt {
            self.subscriptions.finish(origin.epoch, origin.tag, Verdict::Ack);
        }
    }

    /// Larger than any consumer would take: rejected, so that a dead-letter exchange gets it if there is one.
    fn reject_oversized(&mut self, message: &Incoming) {
        self.oversized(message);
        self.subscriptions.delivered(message.epoch, message.tag);
        self.subscriptions.finish(message.epoch, message.tag, Verdict::Reject);
    }

    /// Counts and logs a message that is larger than anybody here takes.
    pub(super) fn oversized(&mut self, message: &Incoming) {
        self.port.row.inc(Counter::Oversized);
        self.log.error(format_args!(
            "message of {} bytes (exchange \"{}\", routing key \"{}\") rejected: amqp_max_message_size is {}",
            message.body.len(),
            message.exchange,
            message.routing_key,
            self.config.max_message_size
        ));
    }
}

/// What a consumer gets of a message from broker `broker_id`.
pub(super) fn delivery(
    subscription: &Subscription,
    broker_id: u32,
    message: Incoming,
    ack: Option<AckHandle>,
) -> Delivery<'_> {
    Delivery {
        kind: DeliveryKind::Message,
        ack,
        redelivered: message.redelivered,
        broker_id,
        received_unix: message.received_unix,
        exchange: message.exchange.into_bytes().into(),
        routing_key: message.routing_key.into_bytes().into(),
        event_key: name(subscription.event_key.as_ref()),
        event_subkey: name(subscription.event_subkey.as_ref()),
        body: message.body.into(),
    }
}

fn name(field: Option<&String>) -> Cow<'_, [u8]> {
    field.map_or(&b""[..], |name| name.as_bytes()).into()
}

/// What decides which consumer gets a message of a subscription with `consistent-worker`: the payload field that
/// `consistent-worker-key` names, else the routing key.
fn consistent_key(subscription: &Subscription, message: &Incoming) -> Vec<u8> {
    let field = subscription.consistent_worker_key.as_deref();
    let text = field.and_then(|name| top_level_string(&message.body, name.as_bytes()).ok().flatten());
    text.map_or_else(|| message.routing_key.clone().into_bytes(), Cow::into_owned)
}
