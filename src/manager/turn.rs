//! The loop of the manager: ACK, SEND, CONSUME, and sleep when there is nothing to do.
//!
//! The counts (`amqp_consumer_ack_loop_count`, `amqp_internal_loop_count`, `amqp_consumer_loop_count`) bound how many
//! items of one kind are handled before the next kind has its turn. Work is announced by wake-ups, so an idle loop
//! answers at once; the timeouts only bound how long it may sleep without looking, should a wake-up ever be lost.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::dispatch::{Choice, Dispatch, Origin};
use super::inbox::{Event, Inbox, Incoming};
use super::links::Links;
use super::log::Log;
use super::poison::Found;
use super::publisher::{Around, Publisher};
use super::queries::{Outcomes, Pending, Queries, Replies};
use super::resumes::Resumes;
use super::session::{PublishChannel, Setup, SetupError};
use super::subscriptions::Subscriptions;
use super::suspects::Suspects;
use super::tls::ClientTls;
use super::tracker::Settle;
use super::wake::Wake;
use crate::bus::clock::now_ns;
use crate::bus::counters::Counter;
use crate::bus::delivery::AckHandle;
use crate::bus::layout::Flow;
use crate::bus::reply::{Outcome, Reply};
use crate::bus::subscription::Subscription;
use crate::bus::{Delivery, DeliveryKind, ManagerPort, Verdict};
use crate::config::Config;
use crate::payload::top_level_string;
use crate::throttle::Throttle;

/// Longest sleep while something has a time limit of its own: a retry, a query, a stall.
const BUSY_SLEEP: Duration = Duration::from_millis(20);

/// Without anything to do for so long, the manager is idle and looks around only every [`IDLE_SLEEP`].
const IDLE_NS: u64 = 1_000_000_000;
const IDLE_SLEEP: Duration = Duration::from_secs(1);

/// How often the periodic work is done while the loop is busy.
const TICK_NS: u64 = 10_000_000;

/// Longest that publishes wait for the subscriptions of a new connection to be declared.
const DECLARE_WAIT_NS: u64 = 2_000_000_000;

/// Late replies and connection events that may wait for a consumer; more are dropped, as are more bytes than one message of
/// the largest size. Late replies were counted before.
const MAX_LOCAL_EVENTS: usize = 1000;

/// Answers to asynchronous queries that wait for a consumer may take as much memory as so many messages of the largest
/// size.
const MAX_WAITING_ANSWERS: usize = 4;

/// Set by the panic hook when a task of the client library panicked: its connection may be dead without a word.
pub static LIBRARY_PANICKED: AtomicBool = AtomicBool::new(false);

/// Everything the manager knows.
pub struct Manager {
    config: &'static Config,
    log: Log,
    port: ManagerPort,
    inbox: Inbox,
    setup: Setup,
    links: Links,
    publisher: Publisher,
    queries: Queries,
    outcomes: Outcomes,
    subscriptions: Subscriptions,
    suspects: Suspects,
    dispatch: Dispatch,
    wake: Wake,
    /// Late replies and connection events that wait for a consumer.
    local: VecDeque<Delivery>,
    next_ack_ring: usize,
    last_delivery_ns: u64,
    next_tick_ns: u64,
    last_moved_ns: u64,
    given_up: Throttle,
    /// At shutdown: send what was accepted, hand out nothing more.
    draining: bool,
}

impl Manager {
    /// Takes the manager's ends. Inside the runtime.
    pub fn new(config: &'static Config, port: ManagerPort, tls: Option<ClientTls>, log: Log) -> Result<Self, String> {
        let inbox = Inbox::default();
        let setup = Setup { config, shared: port.shared, tls, inbox: inbox.clone() };
        let was_up = port.row.get(Counter::Connects) > 0;
        let processes = port.processes.len();
        let consumers = port.consumers.len();
        let wake = Wake::new(port.shared).map_err(|e| format!("no wake-up: {e}"))?;
        let board = port.shared.board().map_err(|e| e.to_string())?;
        board.clear();
        let suspensions = port.shared.suspensions().map_err(|e| e.to_string())?;
        let mut resumes = Resumes::new(suspensions, config.max_message_size.saturating_mul(MAX_WAITING_ANSWERS));
        resumes.end_inherited(&port);
        // Workers that wait for an answer of the manager before this one shall look again.
        port.wake_all();
        Ok(Self {
            config,
            log,
            links: Links::new(setup.clone(), log, board, was_up),
            publisher: Publisher::new(config, log, processes),
            queries: Queries::default(),
            outcomes: Outcomes { replies: Replies::new(processes), resumes },
            subscriptions: Subscriptions::new(setup.clone(), log, board),
            suspects: Suspects::new(config.max_redeliveries),
            dispatch: Dispatch::new(consumers),
            wake,
            local: VecDeque::new(),
            next_ack_ring: 0,
            last_delivery_ns: 0,
            next_tick_ns: 0,
            last_moved_ns: 0,
            given_up: Throttle::default(),
            draining: false,
            port,
            inbox,
            setup,
        })
    }

    /// One turn: state changes, then ACK, SEND, CONSUME. Sleeps if none of them had anything to do.
    pub async fn turn(&mut self) {
        let now = now_ns();
        self.port.shared.beat(now);
        let mut moved = self.take_events(now);
        if now >= self.next_tick_ns {
            self.next_tick_ns = now + TICK_NS;
            self.tick(now);
        }
        moved += self.ack_turn();
        moved += self.send_turn(now);
        moved += self.consume_turn(now);
        if moved == 0 {
            self.sleep(now).await;
        } else {
            self.last_moved_ns = now;
            // The client library's reader and writer run now.
            tokio::task::yield_now().await;
        }
    }

    /// From now on: send what was accepted, hand out nothing more.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether everything that was accepted is confirmed or refused.
    pub fn is_drained(&self) -> bool {
        self.publisher.is_settled(&self.port)
    }

    /// Messages that were accepted and are neither confirmed nor refused. Nothing is sent after this.
    pub fn undrained(&mut self) -> usize {
        self.publisher.unsettled(&mut self.port)
    }

    /// Closes all connections; a second at most.
    pub async fn close(&mut self) {
        while self.ack_turn() > 0 {}
        let sessions: Vec<u64> = self.links.up().map(|(_, o)| o.session).collect();
        let taken: Vec<_> =
            sessions.into_iter().filter_map(|s| self.links.take(s, "the server stops", u64::MAX / 2)).collect();
        let closing: Vec<_> = taken.into_iter().map(|(_, opened)| tokio::spawn(opened.close_and_wait())).collect();
        for task in closing {
            let _ = task.await;
        }
    }

    /// ACK: what consumers finished.
    fn ack_turn(&mut self) -> usize {
        let mut moved = 0;
        let mut damaged = 0;
        let rings = self.port.consumers.len();
        let mut idle = 0;
        while moved < self.config.ack_loop_count as usize && idle < rings {
            let ring = self.next_ack_ring;
            self.next_ack_ring = (ring + 1) % rings;
            let Some(ack) = self.port.consumers[ring].next_ack(&mut damaged) else {
                idle += 1;
                continue;
            };
            idle = 0;
            moved += 1;
            if !self.subscriptions.finish(ack.epoch, ack.delivery_tag, ack.verdict) {
                // Its connection is gone; the broker delivers the message again.
                self.port.row.inc(Counter::StaleAcks);
            }
        }
        self.port.row.add(Counter::Damaged, damaged);
        self.flush_acks();
        moved
    }

    fn take_confirms(&mut self, now_ns: u64) -> usize {
        let (publisher, mut around) = self.split(now_ns);
        let confirmed = publisher.take_confirms(&mut around);
        if confirmed > 0 {
            self.update_flow(now_ns);
        }
        confirmed
    }

    /// SEND: commands to the broker; the ring space of what was confirmed is freed.
    fn send_turn(&mut self, now_ns: u64) -> usize {
        let limit = self.config.internal_loop_count as usize;
        let (publisher, mut around) = self.split(now_ns);
        let (sent, broken) = publisher.send(&mut around, limit);
        publisher.release(around.port);
        if let Some(broker) = broken
            && let Some(session) = self.links.at(broker).map(|o| o.session)
        {
            self.session_lost(session, "takes no more data", now_ns);
        }
        sent
    }

    /// CONSUME: replies to the workers, messages to the consumers.
    fn consume_turn(&mut self, now_ns: u64) -> usize {
        let mut moved = self.take_replies(now_ns);
        while let Some(event) = self.publisher.refusals.next() {
            self.push_local(Delivery::local(DeliveryKind::RefusalEvent, event));
        }
        self.outcomes.replies.flush(&mut self.port, now_ns);
        for origin in self.dispatch.resume(&mut self.port) {
            self.handed_out(origin);
            moved += 1;
        }
        if !self.draining {
            moved += self.hand_out(now_ns);
        }
        if !self.subscriptions.drains() {
            self.dispatch.unstick();
        }
        self.dispatch.ring(&mut self.port);
        self.flush_acks();
        moved
    }

    fn hand_out(&mut self, now_ns: u64) -> usize {
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
                let parcel = self.port.parcel(&event);
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
        let (index, broker) = (active.index, active.broker);
        let Some(subscription) = self.subscriptions.get(index).cloned() else { return };
        let ack_on_receipt = subscription.no_ack || !subscription.wait_for_consumer_ack;
        let (epoch, tag, redelivered) = (message.epoch, message.tag, message.redelivered);
        let origin = Origin { epoch, tag, ack_on_receipt, redelivered };
        let handle = AckHandle { subscription: index as u32, epoch, delivery_tag: tag };
        let delivery = self.delivery(&subscription, broker, message, (!ack_on_receipt).then_some(handle));
        let parcel = self.port.parcel(&delivery);
        if self.dispatch.hand(&mut self.port, consumer, parcel, origin, choice) {
            self.handed_out(origin);
        }
    }

    /// What a consumer gets of a message.
    fn delivery(
        &self,
        subscription: &Subscription,
        broker: usize,
        message: Incoming,
        ack: Option<AckHandle>,
    ) -> Delivery {
        let name = |field: &Option<String>| field.clone().unwrap_or_default().into_bytes();
        Delivery {
            kind: DeliveryKind::Message,
            ack,
            redelivered: message.redelivered,
            broker_id: self.config.brokers[broker].id,
            received_unix: message.received_unix,
            exchange: message.exchange.into_bytes(),
            routing_key: message.routing_key.into_bytes(),
            event_key: name(&subscription.event_key),
            event_subkey: name(&subscription.event_subkey),
            body: message.body,
        }
    }

    /// A message is completely in a consumer's ring.
    fn handed_out(&mut self, origin: Origin) {
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

    fn flush_acks(&mut self) {
        let settled = self.subscriptions.flush();
        self.port.row.add(Counter::Acknowledged, settled);
        if let Some(session) = self.subscriptions.take_broken() {
            self.session_lost(session, "takes no more acknowledgements", now_ns());
        }
    }

    /// Gives each reply to the worker that waits for it; one that nobody waits for becomes an event.
    fn take_replies(&mut self, now_ns: u64) -> usize {
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
            exchange: reply.exchange.into_bytes(),
            routing_key: reply.routing_key.into_bytes(),
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

    /// Counts and logs a message that is larger than anybody here takes.
    fn oversized(&mut self, message: &Incoming) {
        self.port.row.inc(Counter::Oversized);
        self.log.error(format_args!(
            "message of {} bytes (exchange \"{}\", routing key \"{}\") rejected: amqp_max_message_size is {}",
            message.body.len(),
            message.exchange,
            message.routing_key,
            self.config.max_message_size
        ));
    }

    fn push_local(&mut self, event: Delivery) {
        let bytes: usize = self.local.iter().map(|waiting| waiting.body.len()).sum();
        let room = self.local.len() < MAX_LOCAL_EVENTS && bytes <= self.config.max_message_size;
        if room && !self.draining {
            self.local.push_back(event);
        }
    }

    fn take_events(&mut self, now_ns: u64) -> usize {
        let mut moved = 0;
        // Before anything that ends a channel: what is confirmed is not sent again.
        moved += self.take_confirms(now_ns);
        while let Some(event) = self.inbox.next_event() {
            moved += 1;
            self.take_event(event, now_ns);
            self.update_flow(now_ns);
        }
        if LIBRARY_PANICKED.swap(false, Ordering::Relaxed) {
            self.log.error(format_args!("a task of the AMQP client library panicked; all connections are made anew"));
            let sessions: Vec<u64> = self.links.up().map(|(_, o)| o.session).collect();
            sessions.into_iter().for_each(|s| self.session_lost(s, "client library panicked", now_ns));
        }
        moved
    }

    fn take_event(&mut self, event: Event, now_ns: u64) {
        match event {
            Event::Opened { broker, result } => {
                let up = result.is_ok();
                self.links.opened(broker, result, &self.port, now_ns);
                if up {
                    self.connection_event(broker, "open");
                    self.next_tick_ns = now_ns;
                }
            }
            Event::Returned(message) => {
                let (publisher, mut around) = self.split(now_ns);
                publisher.returned(&mut around, &message);
            }
            Event::Probed { broker, found } => self.probed(broker, found, now_ns),
            Event::Lost { session, why } => self.session_lost(session, &why, now_ns),
            Event::Namesake { session } => self.links.namesake(session),
            Event::ChannelClosed { epoch, close } => self.channel_closed(epoch, &close, now_ns),
            Event::Cancelled { epoch } => self.consumer_cancelled(epoch, now_ns),
            Event::Subscribed { session, index, result } => {
                let Some((broker, _)) = self.links.session(session) else { return };
                let reconnect = self.links.is_reconnect(broker);
                let interrupted = result.as_ref().is_err_and(|e| e.interrupted);
                self.subscriptions.subscribed((session, broker), index, result, reconnect, now_ns);
                self.last_delivery_ns = now_ns;
                if interrupted {
                    self.session_lost(session, "a declaration was not answered", now_ns);
                }
                self.admit(now_ns);
            }
            Event::PublishChannel { session, result } => self.publish_channel(session, result, now_ns),
        }
    }

    /// Unreadable messages were removed from queues of a broker.
    fn probed(&mut self, broker: usize, found: Found, now_ns: u64) {
        self.links.probed(broker, now_ns);
        self.port.row.add(Counter::Unreadable, found.removed.len() as u64);
        for queue in found.removed {
            self.log.error(format_args!(
                "broker {}: a message was removed from queue \"{queue}\": its routing key, a header or a property is not \
                 UTF-8, and no connection survived it",
                self.links.name(broker)
            ));
        }
        for (index, message) in found.readable {
            let Some(subscription) = self.subscriptions.get(index).cloned() else { continue };
            let delivery = self.delivery(&subscription, broker, message, None);
            self.local.push_back(delivery);
        }
    }

    fn publish_channel(&mut self, session: u64, result: Result<PublishChannel, SetupError>, now_ns: u64) {
        match result {
            Ok(publish) => {
                if let Some((_, opened)) = self.links.session(session) {
                    opened.publish = Some(publish);
                }
            }
            Err(error) => {
                self.log.warn(format_args!("no new publish channel: {}", error.why));
                self.session_lost(session, "no publish channel", now_ns);
            }
        }
    }

    /// A connection is gone: sends again what it had under way, and starts over with it.
    fn session_lost(&mut self, session: u64, why: &str, now_ns: u64) {
        let Some((broker, mut opened)) = self.links.take(session, why, now_ns) else { return };
        self.port.row.inc(Counter::Disconnects);
        self.subscriptions.session_lost(broker, session);
        let publish = opened.publish.take();
        let waiting = publish.as_ref().map_or(0, |p| p.in_flight.len());
        let name = self.links.name(broker);
        self.log.warn(format_args!("broker {name} lost: {why}; {waiting} unconfirmed messages kept, connecting again"));
        let (publisher, mut around) = self.split(now_ns);
        publisher.session_lost(&mut around, session, publish);
        opened.close();
        self.connection_event(broker, "closed");
        self.update_flow(now_ns);
    }

    fn channel_closed(&mut self, epoch: u64, close: &super::amqp::ChannelClose, now_ns: u64) {
        if let Some((broker, opened)) = self.links.by_publish_epoch(epoch) {
            let publish = opened.publish.take();
            let (session, connection) = (opened.session, opened.connection.clone());
            if let Some(publish) = publish {
                let (publisher, mut around) = self.split(now_ns);
                publisher.channel_closed(&mut around, broker, publish, close);
            }
            self.setup.reopen_publish(session, connection);
        } else if !self.subscriptions.channel_lost(epoch, &format!("{} {}", close.code, close.text), now_ns) {
            self.reply_channel_lost(epoch, now_ns);
        }
    }

    fn consumer_cancelled(&mut self, epoch: u64, now_ns: u64) {
        if !self.subscriptions.channel_lost(epoch, "the broker cancelled it (queue deleted or moved)", now_ns) {
            self.reply_channel_lost(epoch, now_ns);
        }
    }

    /// Without its reply queue a connection is of little use; a new one declares everything.
    fn reply_channel_lost(&mut self, epoch: u64, now_ns: u64) {
        let session = self.links.by_reply_epoch(epoch).map(|(_, o)| o.session);
        if let Some(session) = session {
            self.session_lost(session, "its reply queue is gone", now_ns);
        }
    }

    /// Tells the script about a connection, as `consumer-event-connection-open` and `-closed`.
    fn connection_event(&mut self, broker: usize, what: &str) {
        let broker = &self.config.brokers[broker];
        let mut body = serde_json::Map::new();
        body.insert(self.config.event_key.clone(), "connection".into());
        body.insert(self.config.event_subkey.clone(), what.into());
        body.insert("host".into(), broker.url.host.clone().into());
        body.insert("zone".into(), self.config.zones.get(broker.zone).cloned().unwrap_or_default().into());
        let body = serde_json::Value::Object(body).to_string().into_bytes();
        self.push_local(Delivery::local(DeliveryKind::ConnectionEvent, body));
    }

    /// What has a time of its own: attempts to connect, subscriptions to declare, queries past their deadline.
    fn tick(&mut self, now_ns: u64) {
        let subscriptions = &self.subscriptions;
        self.links.tick(now_ns, |broker| subscriptions.lasting_queues(broker));
        self.publisher.tick(now_ns);
        if !self.draining {
            self.subscriptions.tick(&self.port, self.links.up(), now_ns);
        }
        self.admit(now_ns);
        self.queries.expire(now_ns);
        self.outcomes.resumes.expire(now_ns);
        let quiet = now_ns.saturating_sub(self.last_delivery_ns) >= self.config.waitframe_timeout.as_nanos() as u64;
        let waiting = self.inbox.has_delivery() || self.dispatch.has_parked();
        if quiet && self.subscriptions.drains() && !waiting {
            self.subscriptions.backlog_ended();
        }
        self.update_flow(now_ns);
    }

    /// Lets publishes use the connections whose subscriptions are in place.
    fn admit(&mut self, now_ns: u64) {
        let subscriptions = &self.subscriptions;
        self.links.admit(|broker, opened| {
            let waited = now_ns.saturating_sub(opened.opened_ns);
            waited >= DECLARE_WAIT_NS || subscriptions.is_settled(broker, opened.session)
        });
    }

    /// Tells workers whether a full outbox is worth waiting for.
    fn update_flow(&mut self, now_ns: u64) {
        if self.links.is_starting() {
            // Within milliseconds it will be clear; until then what the last manager said stands.
            return;
        }
        let flow = if !self.links.has_primary() {
            Flow::Down
        } else if self.publisher.stands_still(&mut self.links, now_ns) {
            Flow::Still
        } else {
            Flow::Moving
        };
        self.links.set_stalled(flow == Flow::Still);
        let before = self.port.shared.flow();
        if before == flow {
            return;
        }
        self.port.shared.set_flow(flow);
        match (before, flow) {
            (_, Flow::Still) => self.log.warn(format_args!(
                "no confirm for {:?}: the broker is blocked or frozen; messages wait in the outbox",
                self.config.stall_timeout
            )),
            (Flow::Still, Flow::Moving) => self.log.info(format_args!("confirms move again")),
            _ => {}
        }
        if flow != Flow::Moving {
            // Whoever waits for room shall stop waiting.
            self.port.wake_all();
        }
    }

    /// Sleeps until somebody rings, the library reports, or a timeout passes.
    async fn sleep(&mut self, now_ns: u64) {
        self.port.bell.announce();
        if self.has_work() {
            self.port.bell.retract();
            tokio::task::yield_now().await;
            return;
        }
        let limit = self.sleep_limit(now_ns);
        tokio::select! {
            biased;
            () = self.wake.rung() => self.port.bell.drain(),
            () = self.inbox.arrived() => {}
            () = sleep(limit) => {}
        }
        self.port.bell.retract();
    }

    fn has_work(&self) -> bool {
        self.port.has_ack() || self.inbox.has_news() || self.publisher.has_work(&self.port)
    }

    fn sleep_limit(&self, now_ns: u64) -> Duration {
        let c = self.config;
        let mut limit = c.ack_timeout.min(c.interprocess_timeout).min(c.waitframe_timeout);
        if now_ns.saturating_sub(self.last_moved_ns) >= IDLE_NS {
            // Nothing has happened for a while: an idle server shall cost nothing.
            limit = limit.max(IDLE_SLEEP);
        }
        if let Some(attempt) = self.links.next_attempt() {
            // The attempt itself is made by the next tick.
            limit = limit.min(Duration::from_nanos(attempt.saturating_sub(now_ns)).max(Duration::from_millis(1)));
        }
        limit = limit.min(c.hang_timeout / 4);
        let pressing = !self.queries.is_empty()
            || self.outcomes.resumes.any_open()
            || self.outcomes.replies.is_waiting(now_ns)
            || self.dispatch.is_unfinished()
            || self.inbox.has_delivery()
            || self.dispatch.has_parked()
            || self.draining
            || self.subscriptions.drains()
            || self.publisher.is_pressing(&self.links);
        if pressing { limit.min(BUSY_SLEEP) } else { limit }
    }

    fn split(&mut self, now_ns: u64) -> (&mut Publisher, Around<'_>) {
        let around = Around {
            port: &mut self.port,
            links: &mut self.links,
            queries: &mut self.queries,
            outcomes: &mut self.outcomes,
            inbox: &self.inbox,
            now_ns,
        };
        (&mut self.publisher, around)
    }
}

/// What decides which consumer gets a message of a subscription with `consistent-worker`: the payload field that
/// `consistent-worker-key` names, else the routing key.
fn consistent_key(subscription: &Subscription, message: &Incoming) -> Vec<u8> {
    let field = subscription.consistent_worker_key.as_deref();
    let text = field.and_then(|name| top_level_string(&message.body, name.as_bytes()).ok().flatten());
    text.map_or_else(|| message.routing_key.clone().into_bytes(), Cow::into_owned)
}
