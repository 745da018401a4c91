//! Messages that were delivered again and again: which of them is at fault, and when it is given up.
//!
//! A quorum queue counts how often it had to deliver a message again. The count outlives manager, Kamailio and broker, so it also
//! covers the message that makes a consumer die, which stops the whole server. But whatever had been handed out
//! together with the culprit is counted with it. So the count alone condemns nobody:
//!
//! * A message that was delivered again as often as allowed is a suspect, and is handled alone: no other message of a
//!   subscription is under way meanwhile. If the server dies then, it is the culprit, and the first in its queue.
//! * Beyond the limit, only the first message of a channel is given up. Those behind it are suspects still.
//!
//! A classic queue does not count; its messages are never given up.

use super::inbox::Incoming;
use super::subscriptions::Subscriptions;

/// Longest time that a suspect keeps the others waiting, before it is handed out and while it is handled.
const ALONE_NS: u64 = 5_000_000_000;

/// Decides which message must wait and which one is given up.
#[derive(Debug)]
pub struct Suspects {
    /// `amqp_max_redeliveries`; 0: nobody is ever suspected.
    limit: u64,
    /// Channels that have given up a message.
    convicted: Vec<u64>,
    /// A suspect waits for the others to end, until then.
    wait_ns: Option<u64>,
    /// Epoch and tag of the suspect that is handled alone, and until when.
    alone: Option<(u64, u64, u64)>,
}

impl Suspects {
    /// Suspects messages after `limit` redeliveries; 0: never.
    pub fn new(limit: u32) -> Self {
        Self { limit: limit.into(), convicted: Vec::new(), wait_ns: None, alone: None }
    }

    /// Whether `message` is to be given up.
    pub fn convicts(&mut self, message: &Incoming, subscriptions: &Subscriptions) -> bool {
        let epoch = message.epoch;
        if self.limit == 0 || message.redeliveries <= self.limit || self.convicted.contains(&epoch) {
            return false;
        }
        self.convicted.retain(|epoch| subscriptions.is_active(*epoch));
        self.convicted.push(epoch);
        true
    }

    /// Whether `message` has to wait: a suspect is handled alone. Else it is to be handed out now.
    pub fn hold_up(&mut self, message: &Incoming, subscriptions: &Subscriptions, now_ns: u64) -> bool {
        if let Some((epoch, tag, until_ns)) = self.alone {
            if now_ns < until_ns && subscriptions.is_open(epoch, tag) {
                return true;
            }
            self.alone = None;
        }
        if self.limit == 0 || message.redeliveries < self.limit {
            return false;
        }
        let until_ns = *self.wait_ns.get_or_insert(now_ns + ALONE_NS);
        if now_ns < until_ns && subscriptions.has_open() {
            return true;
        }
        self.wait_ns = None;
        self.alone = Some((message.epoch, message.tag, now_ns + ALONE_NS));
        false
    }
}
