//! One connection to one broker with what runs on it: publish channel, reply queue, subscriptions.
//!
//! Opening and declaring take round trips, so they run in tasks of their own and report to the inbox. The loop owns
//! the result. A subscription has its own channel: a refusal by the broker closes that one and no other.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::amqp::{Channel, Connection, Source};
use super::inbox::{Event, Inbox};
use super::outbox::{InFlight, RecordId};
use super::tls::ClientTls;
use crate::bus::Shared;
use crate::bus::clock::now_ns;
use crate::bus::subscription::{Exchange, Queue, Subscription};
use crate::config::{Broker, Config};

/// Exchange through which answers come back.
const REPLY_EXCHANGE: &str = "targeted";

/// Limit of login and declarations, on top of the configured limit of the TCP connect. RabbitMQ under load takes
/// its time to check a password; SIP workers do not notice.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for the broker's answer when a connection is closed.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// Replies that may be on their way from the broker at once.
const REPLY_PREFETCH: u16 = 1000;

/// What the tasks that set up a session need.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Settings of the module.
    pub config: &'static Config,
    /// Epochs.
    pub shared: &'static Shared,
    /// For `amqps://` brokers.
    pub tls: Option<ClientTls>,
    /// Where to report.
    pub inbox: Inbox,
}

/// The channel on which messages leave, and those of them that the broker has not confirmed.
#[derive(Debug)]
pub struct PublishChannel {
    /// The channel, with confirms on.
    pub channel: Channel,
    /// Process and record of each message under way.
    pub in_flight: InFlight<(usize, RecordId)>,
    /// When the last confirm came, or the first message after a pause left.
    pub progress_ns: u64,
}

/// A connection that is up.
#[derive(Debug)]
pub struct Opened {
    /// Names the connection.
    pub session: u64,
    /// The connection.
    pub connection: Connection,
    /// `None` while a closed one is being replaced.
    pub publish: Option<PublishChannel>,
    /// Consumer of the reply queue; brokers of the primary zone only.
    pub replies: Option<Channel>,
    /// Routing key of the reply queue, put into messages as `Server-ID`.
    pub server_id: String,
    /// When it was opened, [`crate::bus::clock::now_ns`].
    pub opened_ns: u64,
    /// Whether publishes may use it: not before the subscriptions were declared, since a message may be meant for an
    /// exchange that one of them makes.
    pub ready: bool,
}

/// A declared subscription.
#[derive(Debug)]
pub struct Subscribed {
    /// Its channel.
    pub channel: Channel,
    /// Messages that waited in the queue.
    pub backlog: u32,
}

/// Why a piece of setup failed.
#[derive(Debug)]
pub struct SetupError {
    /// Fit for the log.
    pub why: String,
    /// The library was interrupted in the middle of a call: the connection must be dropped.
    pub interrupted: bool,
}

/// Name of the reply queue of this server at broker `id`.
fn reply_queue(config: &Config, id: u32) -> String {
    format!("{}-<{id}-0>", config.node())
}

impl Setup {
    /// Starts to connect to broker number `index`; reports [`Event::Opened`], later [`Event::Lost`].
    pub fn connect(&self, index: usize) {
        let setup = self.clone();
        tokio::spawn(async move {
            let broker = &setup.config.brokers[index];
            let limit = setup.config.connect_timeout + SETUP_TIMEOUT;
            // In a task of its own: should the library panic, the attempt has failed and the next one follows.
            let attempt = tokio::spawn({
                let setup = setup.clone();
                async move { bounded(limit, setup.open(broker)).await }
            });
            let result = attempt
                .await
                .unwrap_or_else(|panic| Err(SetupError { why: format!("client library: {panic}"), interrupted: true }));
            let opened = result.as_ref().ok().map(|o| (o.session, o.connection.clone()));
            setup.inbox.event(Event::Opened { broker: index, result: result.map(Box::new) });
            if let Some((session, connection)) = opened {
                let why = if connection.lost().await { "connection broke" } else { "closed by the broker" };
                setup.inbox.event(Event::Lost { session, why });
            }
        });
    }

    async fn open(&self, broker: &Broker) -> Result<Opened, String> {
        let name = format!("kazoo@{}", self.config.node_hostname);
        let connection = Connection::open(&broker.url, self.tls.as_ref(), &name, self.config.heartbeat).await?;
        let replies = if broker.zone == 0 { Some(self.open_replies(&connection, broker.id).await?) } else { None };
        let publish = Some(self.open_publish(&connection).await?);
        let server_id = self.config.server_id(broker.id);
        let (session, opened_ns) = (self.shared.next_epoch(), now_ns());
        Ok(Opened { session, connection, publish, replies, server_id, opened_ns, ready: false })
    }

    async fn open_publish(&self, connection: &Connection) -> Result<PublishChannel, String> {
        let channel = connection.channel(self.shared.next_epoch(), &self.inbox).await?;
        channel.confirm_select().await?;
        Ok(PublishChannel { channel, in_flight: InFlight::default(), progress_ns: now_ns() })
    }

    /// Declares the reply queue as the C module does, so that applications find the same names.
    async fn open_replies(&self, connection: &Connection, id: u32) -> Result<Channel, String> {
        let channel = connection.channel(self.shared.next_epoch(), &self.inbox).await?;
        channel.prefetch(REPLY_PREFETCH).await?;
        let exchange = Exchange { name: REPLY_EXCHANGE.to_owned(), kind: "direct".to_owned(), ..Exchange::default() };
        channel.declare_exchange(&exchange).await?;
        let queue = Queue { name: reply_queue(self.config, id), auto_delete: true, ..Queue::default() };
        channel.declare_queue(&queue).await?;
        channel.bind_queue(&queue.name, REPLY_EXCHANGE, &self.config.server_id(id)).await?;
        channel.consume(&queue.name, Source::Replies, &self.inbox).await?;
        Ok(channel)
    }

    /// Opens a publish channel in place of a closed one; reports [`Event::PublishChannel`].
    pub fn reopen_publish(&self, session: u64, connection: Connection) {
        let setup = self.clone();
        tokio::spawn(async move {
            let result = bounded(SETUP_TIMEOUT, setup.open_publish(&connection)).await;
            setup.inbox.event(Event::PublishChannel { session, result });
        });
    }

    /// Declares subscription number `index` and consumes; reports [`Event::Subscribed`].
    pub fn subscribe(&self, session: u64, connection: Connection, index: usize, subscription: Arc<Subscription>) {
        let setup = self.clone();
        tokio::spawn(async move {
            let result = bounded(SETUP_TIMEOUT, setup.declare(&connection, &subscription)).await;
            setup.inbox.event(Event::Subscribed { session, index, result: result.map(Box::new) });
        });
    }

    async fn declare(&self, connection: &Connection, s: &Subscription) -> Result<Subscribed, String> {
        let channel = connection.channel(self.shared.next_epoch(), &self.inbox).await?;
        channel.prefetch(self.config.prefetch).await?;
        if s.exchange.name.is_empty() {
            // The default exchange can be neither declared nor bound: every queue is bound to it by its name.
            let (queue, backlog) = channel.declare_queue(&s.queue).await?;
            channel.consume(&queue, Source::Subscription, &self.inbox).await?;
            return Ok(Subscribed { channel, backlog });
        }
        channel.declare_exchange(&s.exchange).await?;
        for binding in &s.exchange_bindings {
            channel.declare_exchange(&binding.source).await?;
            for key in &binding.routing {
                channel.bind_exchange(&s.exchange.name, &binding.source.name, key).await?;
            }
        }
        let (queue, backlog) = channel.declare_queue(&s.queue).await?;
        for key in &s.routing {
            channel.bind_queue(&queue, &s.exchange.name, key).await?;
        }
        channel.consume(&queue, Source::Subscription, &self.inbox).await?;
        Ok(Subscribed { channel, backlog })
    }
}

impl Opened {
    /// Ends the connection without waiting for the broker.
    pub fn close(self) {
        // The task that watches the connection keeps it alive, so it takes more than a drop.
        tokio::spawn(timeout(GOODBYE_TIMEOUT, self.connection.close()));
    }

    /// Ends the connection and waits for the broker's answer, a second at most.
    pub async fn close_and_wait(self) {
        // No answer: the broker finds out when the process is gone.
        let _ = timeout(GOODBYE_TIMEOUT, self.connection.close()).await;
    }
}

/// Bounds a piece of setup.
async fn bounded<T>(limit: Duration, work: impl Future<Output = Result<T, String>>) -> Result<T, SetupError> {
    match timeout(limit, work).await {
        Ok(done) => done.map_err(|why| SetupError { why, interrupted: false }),
        Err(_) => Err(SetupError { why: format!("no answer within {limit:?}"), interrupted: true }),
    }
}
