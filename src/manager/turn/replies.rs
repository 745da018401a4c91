//! Answers from the reply queues: to the worker or the transaction that waits, else to a late-reply event.

use super::Manager;
use crate::bus::counters::Counter;
use crate::bus::reply::{Outcome, Reply};
use crate::bus::{Delivery, DeliveryKind, Verdict};
use crate::manager::inbox::Incoming;
use crate::manager::queries::Pending;
use crate::manager::tracker::Settle;
use crate::payload::top_level_string;

impl Manager {
    /// Gives each reply to the worker that waits for it; one that nobody waits for becomes an event.
    pub(super) fn take_replies(&mut self, now_ns: u64) -> usize {
        let mut last: Option<(u64, u64)> = None;
        let mut moved = 0;
        while let Some(reply) = self.inbox.next_reply() {
            moved += 1;
            let (epoch, tag) = (reply.epoch, reply.tag);
            if let Some((before, tag)) = last.filter(|(before, _)| *before != epoch) {
                self.acknowledge_replies(before, tag);
            }
            last = Some((epoch, tag));
            self.take_reply(reply, now_ns);
        }
        if let Some((epoch, tag)) = last {
            self.acknowledge_replies(epoch, tag);
        }
        moved
    }

    fn take_reply(&mut self, reply: Incoming, now_ns: u64) {
        let Some(broker_id) = self.links.by_reply_epoch(reply.epoch).map(|(i, _)| self.config.brokers[i].id) else {
            // Its connection is gone, and with it every query that it could answer.
            self.port.row.inc(Counter::LateReplies);
            return;
        };
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

    fn acknowledge_replies(&mut self, epoch: u64, tag: u64) {
        if let Some((_, opened)) = self.links.by_reply_epoch(epoch) {
            // A broken channel reports itself; its answers are lost with it.
            let _ = opened.replies.settle(Settle { tag, multiple: true, verdict: Verdict::Ack });
        }
    }
}
