//! Answers from the reply queues: to the worker or the transaction that waits, else to a late-reply event.

use super::Manager;
use crate::bus::counters::Counter;
use crate::bus::reply::{Outcome, Reply};
use crate::bus::{Delivery, DeliveryKind};
use crate::manager::inbox::Incoming;
use crate::manager::queries::Pending;
use crate::payload::top_level_string;

impl Manager {
    /// Gives each reply to the worker that waits for it; one that nobody waits for becomes an event.
    pub(super) fn take_replies(&mut self, now_ns: u64) -> usize {
        let mut moved = 0;
        while let Some(reply) = self.inbox.next_reply() {
            moved += 1;
            self.take_reply(reply, now_ns);
        }
        if moved > 0 {
            self.acknowledge_replies(now_ns);
        }
        moved
    }

    fn take_reply(&mut self, reply: Incoming, now_ns: u64) {
        let Some((broker, opened)) = self.links.by_reply_epoch(reply.epoch) else {
            // Its connection is gone, and with it every query that it could answer.
            self.port.row.inc(Counter::LateReplies);
            return;
        };
        opened.taken.add(reply.tag, reply.body.len(), now_ns);
        let broker_id = self.config.brokers[broker].id;
        // What is no JSON or has no Msg-ID cannot be an answer; a consumer will say what is wrong with it.
        let msg_id = top_level_string(&reply.body, b"Msg-ID").ok().flatten();
        let query = msg_id.and_then(|id| self.queries.take(&id));
        let live = query.filter(|q| self.outcomes.is_wanted(&self.port, q, now_ns));
        if reply.body.len() > self.config.max_message_size {
            self.oversized(&reply);
            if let Some(query) = live {
                self.outcomes.send(&mut self.port, &query, Outcome::Refused);
            }
            return;
        }
        if let Some(query) = live {
            let answer = Reply { broker_id, received_unix: reply.received_unix, body: reply.body };
            self.answered(&query, answer);
            return;
        }
        self.port.row.inc(Counter::LateReplies);
        self.push_local(Delivery {
            redelivered: reply.redelivered,
            broker_id,
            received_unix: reply.received_unix,
            exchange: reply.exchange.into_bytes().into(),
            routing_key: reply.routing_key.into_bytes().into(),
            ..Delivery::local(DeliveryKind::LateReply, reply.body)
        });
    }

    fn answered(&mut self, query: &Pending, answer: Reply) {
        let bytes = answer.body.len();
        if !self.outcomes.send(&mut self.port, query, Outcome::Answer(answer)) {
            self.port.row.inc(Counter::LateReplies);
            if let Some(more) = self.given_up.pass() {
                self.log.error(format_args!(
                    "answer of {bytes} bytes to an asynchronous query given up: the consumer processes are busy and as \
                     many answers wait as memory is allowed for; the transaction goes on without it{more}"
                ));
            }
        }
    }

    /// Lets the brokers send more answers.
    pub(super) fn acknowledge_replies(&mut self, now_ns: u64) {
        for (_, opened) in self.links.up_mut() {
            if let Some(settle) = opened.taken.acknowledge(now_ns) {
                // A broken channel reports itself; its answers are lost with it.
                let _ = opened.replies.settle(settle);
            }
        }
    }
}
