//! What happened to connections, channels and subscriptions, and what follows from it.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Manager;
use super::deliveries::delivery;
use crate::bus::counters::Counter;
use crate::manager::amqp::ChannelClose;
use crate::manager::inbox::Event;
use crate::manager::poison::Found;
use crate::manager::session::{PublishChannel, SetupError};

/// Set by the panic hook when a task of the client library panicked: its connection may be dead without a word.
pub static LIBRARY_PANICKED: AtomicBool = AtomicBool::new(false);

impl Manager {
    pub(super) fn take_events(&mut self, now_ns: u64) -> usize {
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

    fn take_confirms(&mut self, now_ns: u64) -> usize {
        let (publisher, mut around) = self.split(now_ns);
        let confirmed = publisher.take_confirms(&mut around);
        if confirmed > 0 {
            self.update_flow(now_ns);
        }
        confirmed
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
            Event::Drained { epoch } => self.subscriptions.drained(epoch),
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
            Event::Terminated => self.draining = true,
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
            let Some(subscription) = self.subscriptions.get(index) else { continue };
            let broker_id = self.config.brokers[broker].id;
            self.local.push_back(delivery(subscription, broker_id, message, None).into_owned());
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
    pub(super) fn session_lost(&mut self, session: u64, why: &str, now_ns: u64) {
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

    fn channel_closed(&mut self, epoch: u64, close: &ChannelClose, now_ns: u64) {
        if let Some((broker, opened)) = self.links.by_publish_epoch(epoch) {
            let publish = opened.publish.take();
            let (session, connection) = (opened.session, opened.connection.clone());
            if let Some(publish) = publish {
                let (publisher, mut around) = self.split(now_ns);
                publisher.channel_closed(&mut around, broker, publish, close);
            }
            self.setup.reopen_publish(session, connection);
        } else if !self.subscriptions.channel_closed(epoch, &format!("{} {}", close.code, close.text), now_ns) {
            self.reply_channel_lost(epoch, now_ns);
        }
    }

    fn consumer_cancelled(&mut self, epoch: u64, now_ns: u64) {
        if !self.subscriptions.cancelled(epoch, now_ns) {
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
}
