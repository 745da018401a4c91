//! One connection to one broker with what runs on it: publish channel, reply queue, subscriptions.
//!
//! Opening and declaring take round trips, so they run in tasks of their own and report to the inbox. The loop owns
//! the result. A subscription has its own channel: a refusal by the broker closes that one and no other.
//!
//! **Reply queues** have the names that the C module gives them, `kamailio@HOST-<ID-0>`, and are consumed exclusively.
//! If another connection has number 0, number 1 is taken, and so on: two servers that were given the same name get
//! each its own answers. It may also be a connection of this server that the broker does not miss yet, so the alarm
//! waits until that one must be gone.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::amqp::{Channel, Connection, Source};
use super::inbox::{Event, Inbox, Share};
use super::outbox::{InFlight, RecordId};
use super::taken::Taken;
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

/// Reply queues that are tried. A server with the C module and this one's name has taken fifty.
const REPLY_QUEUES: u32 = 100;

/// Limit of a connection that tries an exchange type.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Exchange types that every broker has.
const USUAL_TYPES: [&str; 4] = ["direct", "fanout", "topic", "headers"];

/// Replies that may be on their way from the broker at once.
pub const REPLY_PREFETCH: u16 = 1000;
/// The reply queue.
const REPLIES: Source = Source::Replies { prefetch: REPLY_PREFETCH };

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
    /// Consumer of the reply queue.
    pub replies: Channel,
    /// What came on it and is not acknowledged.
    pub taken: Taken,
    /// Number of the reply queue; more than 0 if others were in use.
    pub reply_index: u32,
    /// Routing key of the reply queue, put into messages as `Server-ID`.
    pub server_id: String,
    /// When to look whether the reply queues in use belong to another server; `None`: not at all, or done.
    pub namesake_check_ns: Option<u64>,
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
    /// Its queue, as the broker named it.
    pub queue: String,
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
                let why = connection.lost().await;
                setup.inbox.event(Event::Lost { session, why });
            }
        });
    }

    async fn open(&self, broker: &Broker) -> Result<Opened, String> {
        let connection = self.log_in(broker).await?;
        let (replies, reply_index) = self.open_replies(&connection, broker.id).await?;
        let publish = Some(self.open_publish(&connection).await?);
        let opened_ns = now_ns();
        Ok(Opened {
            session: self.shared.next_epoch(),
            connection,
            publish,
            replies,
            taken: Taken::default(),
            reply_index,
            server_id: self.config.server_id(broker.id, reply_index),
            namesake_check_ns: (reply_index > 0).then(|| opened_ns + self.stale_ns()),
            opened_ns,
            ready: false,
        })
    }

    /// Connects, and declares nothing.
    pub(super) async fn log_in(&self, broker: &Broker) -> Result<Connection, String> {
        let name = format!("kazoo@{}", self.config.node_hostname);
        Connection::open(&broker.url, self.tls.as_ref(), &name, self.config.heartbeat).await
    }

    /// After so long the broker has noticed that a connection of ours is dead: two heartbeats, and one for its timer.
    fn stale_ns(&self) -> u64 {
        self.config.heartbeat.as_nanos() as u64 * 3 + 1_000_000_000
    }

    async fn open_publish(&self, connection: &Connection) -> Result<PublishChannel, String> {
        let channel = connection.channel(self.shared.next_epoch(), &self.inbox).await?;
        channel.confirm_select().await?;
        Ok(PublishChannel { channel, in_flight: InFlight::default(), progress_ns: now_ns() })
    }

    /// Consumes the first reply queue that nobody else consumes; returns its number too.
    async fn open_replies(&self, connection: &Connection, id: u32) -> Result<(Channel, u32), String> {
        let mut channel = self.reply_channel(connection).await?;
        for index in 0..REPLY_QUEUES {
            let queue = Queue { name: self.config.reply_queue(id, index), auto_delete: true, ..Queue::default() };
            if channel.declare_queue(&queue).await?.consumers > 0 {
                continue;
            }
            channel.bind_queue(&queue.name, REPLY_EXCHANGE, &self.config.server_id(id, index)).await?;
            match channel.consume(&queue.name, REPLIES, &self.inbox).await {
                Ok(()) => return Ok((channel, index)),
                // Somebody was faster, and the refusal has closed the channel.
                Err(why) if why.contains("in exclusive use") => channel = self.reply_channel(connection).await?,
                Err(why) => return Err(why),
            }
        }
        Err(format!(
            "reply queues 0 to {} are all in use: is node_hostname the name of many servers?",
            REPLY_QUEUES - 1
        ))
    }

    async fn reply_channel(&self, connection: &Connection) -> Result<Channel, String> {
        let channel = connection.channel(self.shared.next_epoch(), &self.inbox).await?;
        let exchange = Exchange { name: REPLY_EXCHANGE.to_owned(), kind: "direct".to_owned(), ..Exchange::default() };
        channel.declare_exchange(&exchange).await?;
        Ok(channel)
    }

    /// Looks whether reply queues before number `index` are still consumed; reports [`Event::Namesake`] if so.
    pub fn look_for_namesake(&self, session: u64, connection: Connection, id: u32, index: u32) {
        let setup = self.clone();
        tokio::spawn(async move {
            for index in 0..index {
                let Ok(channel) = connection.channel(setup.shared.next_epoch(), &setup.inbox).await else { return };
                let queue = Queue { name: setup.config.reply_queue(id, index), passive: true, ..Queue::default() };
                // A queue that is gone closes the channel, which was made for this question.
                if channel.declare_queue(&queue).await.is_ok_and(|declared| declared.consumers > 0) {
                    setup.inbox.event(Event::Namesake { session });
                    return;
                }
            }
        });
    }

    /// Opens a publish channel in place of a closed one; reports [`Event::PublishChannel`].
    pub fn reopen_publish(&self, session: u64, connection: Connection) {
        let setup = self.clone();
        tokio::spawn(async move {
            let result = bounded(SETUP_TIMEOUT, setup.open_publish(&connection)).await;
            setup.inbox.event(Event::PublishChannel { session, result });
        });
    }

    /// Declares subscription number `index` at broker number `broker` and consumes; reports [`Event::Subscribed`].
    pub fn subscribe(
        &self,
        (session, broker): (u64, usize),
        connection: Connection,
        index: usize,
        subscription: Arc<Subscription>,
    ) {
        let setup = self.clone();
        // From now on: those that are declared first shall not take what the others need.
        let share = self.inbox.share();
        tokio::spawn(async move {
            let result = match setup.try_types(broker, &subscription).await {
                Ok(()) => bounded(SETUP_TIMEOUT, setup.declare(&connection, &subscription, share)).await,
                Err(why) => Err(SetupError { why, interrupted: false }),
            };
            setup.inbox.event(Event::Subscribed { session, index, result: result.map(Box::new) });
        });
    }

    /// Declares exchanges of an unusual type on a connection of their own first: a broker that does not know the type
    /// closes the whole connection, and with it everybody else's channels.
    async fn try_types(&self, broker: usize, s: &Subscription) -> Result<(), String> {
        let all = s.exchange_bindings.iter().map(|binding| &binding.source).chain([&s.exchange]);
        let unusual = |e: &&Exchange| !e.passive && !e.name.is_empty() && !USUAL_TYPES.contains(&e.kind.as_str());
        let unusual: Vec<&Exchange> = all.filter(unusual).collect();
        if unusual.is_empty() {
            return Ok(());
        }
        let trial = async {
            let connection = self.log_in(&self.config.brokers[broker]).await?;
            let tried = self.try_exchanges(&connection, &unusual).await;
            let reason = connection.close_reason();
            tokio::spawn(timeout(GOODBYE_TIMEOUT, connection.close()));
            tried.map_err(|why| reason.unwrap_or(why))
        };
        // Cut short, it takes its connection along.
        timeout(TRIAL_TIMEOUT, trial).await.unwrap_or_else(|_| Err(format!("no answer within {TRIAL_TIMEOUT:?}")))
    }

    async fn try_exchanges(&self, connection: &Connection, exchanges: &[&Exchange]) -> Result<(), String> {
        let channel = connection.channel(self.shared.next_epoch(), &self.inbox).await?;
        for exchange in exchanges {
            channel.declare_exchange(exchange).await?;
        }
        Ok(())
    }

    async fn declare(&self, connection: &Connection, s: &Subscription, share: Share) -> Result<Subscribed, String> {
        let channel = connection.channel(self.shared.next_epoch(), &self.inbox).await?;
        if s.exchange.name.is_empty() {
            // The default exchange can be neither declared nor bound: every queue is bound to it by its name.
            return self.consume(channel, s, share).await;
        }
        channel.declare_exchange(&s.exchange).await?;
        for binding in &s.exchange_bindings {
            channel.declare_exchange(&binding.source).await?;
            for key in &binding.routing {
                channel.bind_exchange(&s.exchange.name, &binding.source.name, key).await?;
            }
        }
        self.consume(channel, s, share).await
    }

    /// Declares the queue, binds it unless it is for the default exchange, and consumes it.
    async fn consume(&self, channel: Channel, s: &Subscription, share: Share) -> Result<Subscribed, String> {
        let queue = channel.declare_queue(&s.queue).await?;
        if !s.exchange.name.is_empty() {
            for key in &s.routing {
                channel.bind_queue(&queue.name, &s.exchange.name, key).await?;
            }
        }
        let source = Source::Subscription { prefetch: self.config.prefetch, share };
        channel.consume(&queue.name, source, &self.inbox).await?;
        Ok(Subscribed { channel, queue: queue.name, backlog: queue.messages })
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
