//! The AMQP client library, wrapped: the only file that names it, and where its traps are handled.
//!
//! | trap of amqprs 2.1 | handled by |
//! |---|---|
//! | panics on names over 255 bytes | names arrive as proven short strings or are checked here |
//! | `publish` says `Ok` on a closed channel and then loses the connection | `is_open` is checked right before; one thread, so nothing comes between |
//! | `publish` and `ack` wait without limit when the socket stalls | polled once; a full queue counts as a broken connection |
//! | a cancelled call leaves the connection in an unknown state | every caller drops the connection after a timeout |
//! | heartbeat below 2 s floods | raised to 2 |
//! | a connection dropped outside a runtime panics | sessions live and die inside the loop |
//! | incoming queues are unbounded | every consumer has a prefetch, smaller for large messages, and acknowledges |
//! | a connection that broke before somebody listened is never reported | `lost` looks before it listens |
//! | the id of a channel that the broker closed is never used again | after 2047 refused messages the connection is made anew |
//! | replacing a header leaves the table's length wrong, and the broker ends the connection | removed before |
//! | a string from the bus that is not UTF-8 ends the connection | `links` backs off, `poison` removes the message |
//! | forgets what came between "consumer made" and its cancellation if both are read at once | counts as refused, `consume` |
//! | calls itself for each table within a table | a stack for as many as fit into a frame, `run` |
//! | no recovery | `links` |

use std::future::Future;
use std::net::Ipv6Addr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use amqprs::callbacks::{ChannelCallback, ConnectionCallback};
use amqprs::channel::{
    BasicAckArguments, BasicCancelArguments, BasicConsumeArguments, BasicGetArguments, BasicNackArguments,
    BasicPublishArguments, BasicQosArguments, ConfirmSelectArguments, ConsumerMessage, ExchangeBindArguments,
    ExchangeDeclareArguments, QueueBindArguments, QueueDeclareArguments,
};
use amqprs::connection::OpenConnectionArguments;
use amqprs::tls::TlsAdaptor;
use amqprs::{Ack, BasicProperties, Cancel, Close, CloseChannel, FieldTable, FieldValue, Nack, Return};
use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedReceiver;

use super::ahead::Ahead;
use super::inbox::{Confirm, Event, Inbox, Incoming, Returned, Share};
use super::tls::{ClientTls, hint};
use super::tracker::Settle;
use crate::bus::clock::unix_seconds;
use crate::bus::subscription::{Exchange, Queue};
use crate::bus::{ShortStr, Verdict};
use crate::config::BrokerUrl;

/// Shortest heartbeat the library can keep.
const MIN_HEARTBEAT_S: u16 = 2;

/// Why the broker closed a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelClose {
    /// AMQP reply code: 403, 404, 406...
    pub code: u16,
    /// AMQP reply text.
    pub text: String,
}

/// The connection cannot be used any more and must be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// One TCP connection to a broker.
#[derive(Clone)]
pub struct Connection {
    inner: amqprs::connection::Connection,
    closed: CloseReason,
}

/// The broker's own words when it closed a connection: code and text.
type CloseReason = Arc<Mutex<Option<String>>>;

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Connection {
    /// Connects and logs in. The error text is fit for the log: it holds no password.
    ///
    /// `tls` is for `amqps://` brokers.
    pub async fn open(
        url: &BrokerUrl,
        tls: Option<&ClientTls>,
        name: &str,
        heartbeat: Duration,
    ) -> Result<Self, String> {
        let heartbeat = u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX).max(MIN_HEARTBEAT_S);
        let mut args = OpenConnectionArguments::new(&host(url), url.port, &url.user, url.password.expose());
        args.virtual_host(&url.vhost).connection_name(name).heartbeat(heartbeat);
        if url.tls {
            // Never in plain text: that would betray the password.
            let tls = tls.ok_or("TLS is not set up")?;
            args.tls_adaptor(TlsAdaptor::new(tls.connector(), url.host.clone()));
        }
        let opened = amqprs::connection::Connection::open(&args).await;
        let connection = opened.map_err(|e| format!("{e}{}", if url.tls { hint(&e.to_string()) } else { "" }))?;
        let closed = CloseReason::default();
        // Without a callback the library still works; it only has nobody to tell about a close.
        let _ = connection.register_callback(CloseNote(Arc::clone(&closed))).await;
        Ok(Self { inner: connection, closed })
    }

    /// Returns when the connection is gone, and says why.
    pub async fn lost(&self) -> String {
        // The library tells those who listen, once; one thread, so nothing comes between this look and the listening.
        let broke = !self.inner.is_open() || self.inner.listen_network_io_failure().await;
        self.close_reason().unwrap_or_else(|| if broke { "connection broke" } else { "closed" }.to_owned())
    }

    /// Whether it can be used.
    pub fn is_open(&self) -> bool {
        self.inner.is_open()
    }

    /// What the broker said when it closed the connection; `None` if it did not.
    pub fn close_reason(&self) -> Option<String> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.as_ref().map(|reason| format!("closed by the broker: {reason}"))
    }

    /// Opens a channel. `epoch` names it in everything that it reports to `inbox`.
    pub async fn channel(&self, epoch: u64, inbox: &Inbox) -> Result<Channel, String> {
        let inner = self.inner.open_channel(None).await.map_err(|e| e.to_string())?;
        let closed = Arc::new(Mutex::new(None));
        let cancelled = Arc::new(AtomicBool::new(false));
        let callback =
            Callback { epoch, inbox: inbox.clone(), closed: Arc::clone(&closed), cancelled: Arc::clone(&cancelled) };
        inner.register_callback(callback).await.map_err(|e| e.to_string())?;
        Ok(Channel { inner: Arc::new(inner), epoch, closed, cancelled, prefetch: Arc::default() })
    }

    /// Says goodbye to the broker. Bound it: a frozen broker never answers.
    pub async fn close(self) {
        let _ = self.inner.close().await;
    }
}

/// One channel. One task uses it, and the [`Intake`] of its consumer while it changes the prefetch.
pub struct Channel {
    inner: Arc<amqprs::channel::Channel>,
    epoch: u64,
    closed: Arc<Mutex<Option<ChannelClose>>>,
    cancelled: Arc<AtomicBool>,
    prefetch: Arc<AtomicU16>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Channel(epoch {})", self.epoch)
    }
}

/// What is published, ready for the wire.
#[derive(Debug)]
pub struct Publish<'a> {
    /// Exchange, at most 255 bytes (the record proved it).
    pub exchange: &'a str,
    /// Routing key, at most 255 bytes.
    pub routing_key: &'a str,
    /// The same for every time this message is sent.
    pub message_id: &'a str,
    /// Delivery mode 2.
    pub persistent: bool,
    /// Give it back if no queue is bound for it.
    pub mandatory: bool,
    /// Application headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Channel {
    /// Names this channel among all channels of all managers.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Messages that the broker hands out now ahead of their acknowledgement.
    pub fn prefetch(&self) -> u16 {
        self.prefetch.load(Ordering::Relaxed)
    }

    /// Whether it can be used.
    pub fn is_open(&self) -> bool {
        self.inner.is_open() && self.inner.is_connection_open()
    }

    /// Asks for publisher confirms.
    pub async fn confirm_select(&self) -> Result<(), String> {
        let done = self.inner.confirm_select(ConfirmSelectArguments::default()).await;
        done.map_err(|e| self.reason(&e))
    }

    /// Hands one message to the connection. `Ok` says nothing about its arrival: wait for the confirm.
    pub fn publish(&self, message: Publish<'_>) -> Result<(), Broken> {
        if !self.is_open() {
            return Err(Broken);
        }
        let mut properties = BasicProperties::default();
        properties.with_content_type("application/json").with_message_id(message.message_id);
        if message.persistent {
            properties.with_persistence(true);
        }
        if !message.headers.is_empty() {
            properties.with_headers(header_table(message.headers));
        }
        let mut args = BasicPublishArguments::new(message.exchange, message.routing_key);
        args.mandatory(message.mandatory);
        at_once(self.inner.basic_publish(properties, message.body, args))
    }

    /// Declares an exchange, or checks it if passive.
    pub async fn declare_exchange(&self, exchange: &Exchange) -> Result<(), String> {
        short("exchange", &exchange.name)?;
        let mut args = ExchangeDeclareArguments::new(&exchange.name, &exchange.kind);
        args.passive(exchange.passive).durable(exchange.durable).auto_delete(exchange.auto_delete);
        args.internal(exchange.internal);
        self.inner.exchange_declare(args.finish()).await.map_err(|e| self.reason(&e))
    }

    /// Binds exchange `destination` to `source`.
    pub async fn bind_exchange(&self, destination: &str, source: &str, key: &str) -> Result<(), String> {
        short("routing key", key)?;
        let args = ExchangeBindArguments::new(destination, source, key);
        self.inner.exchange_bind(args).await.map_err(|e| self.reason(&e))
    }

    /// Declares a queue, or checks it if passive.
    pub async fn declare_queue(&self, queue: &Queue) -> Result<Declared, String> {
        short("queue", &queue.name)?;
        let mut args = QueueDeclareArguments::new(&queue.name);
        args.passive(queue.passive).durable(queue.durable).exclusive(queue.exclusive).auto_delete(queue.auto_delete);
        match self.inner.queue_declare(args.finish()).await {
            Ok(Some((name, messages, consumers))) => Ok(Declared { name, messages, consumers }),
            Ok(None) => Ok(Declared { name: queue.name.clone(), messages: 0, consumers: 0 }),
            Err(e) => Err(self.reason(&e)),
        }
    }

    /// Binds `queue` to `exchange`.
    pub async fn bind_queue(&self, queue: &str, exchange: &str, key: &str) -> Result<(), String> {
        short("routing key", key)?;
        let args = QueueBindArguments::new(queue, exchange, key);
        self.inner.queue_bind(args).await.map_err(|e| self.reason(&e))
    }

    /// Starts to consume; messages go to `inbox` as replies or as deliveries. The reply queue is consumed exclusively.
    ///
    /// What ends the consumer later is reported to `inbox`, after the caller knows that there is one.
    pub async fn consume(&self, queue: &str, source: Source, inbox: &Inbox) -> Result<(), String> {
        let ahead = match source {
            Source::Replies { prefetch } => Ahead::fixed(prefetch),
            Source::Subscription { prefetch, .. } => Ahead::new(prefetch),
        };
        let messages = begin(&self.inner, (queue, &source), 0, ahead.count()).await.map_err(|e| self.reason(&e))?;
        self.prefetch.store(ahead.count(), Ordering::Relaxed);
        let intake = Intake {
            epoch: self.epoch,
            source,
            inbox: inbox.clone(),
            channel: Arc::downgrade(&self.inner),
            cancelled: Arc::clone(&self.cancelled),
            prefetch: Arc::clone(&self.prefetch),
            queue: queue.to_owned(),
            consumer: 0,
            ahead,
        };
        tokio::spawn(intake.run(messages));
        if !self.is_open() || self.cancelled.load(Ordering::Relaxed) {
            // Already reported, to a loop that did not know of it.
            return Err("the broker ended the consumer at once".to_owned());
        }
        Ok(())
    }

    /// Takes the next message of `queue`, if there is one. `no_ack`: it is removed from the queue, whatever becomes of it.
    pub async fn get(&self, queue: &str, no_ack: bool) -> Result<Option<Incoming>, String> {
        short("queue", queue)?;
        let args = BasicGetArguments::new(queue).no_ack(no_ack).finish();
        let got = self.inner.basic_get(args).await.map_err(|e| self.reason(&e))?;
        Ok(got.map(|(head, properties, body)| Incoming {
            epoch: self.epoch,
            tag: head.delivery_tag(),
            redelivered: head.redelivered(),
            redeliveries: redeliveries(&properties),
            exchange: head.exchange().clone(),
            routing_key: head.routing_key().clone(),
            body,
            received_unix: unix_seconds(),
        }))
    }

    /// Tells the broker what became of a delivery.
    pub fn settle(&self, settle: Settle) -> Result<(), Broken> {
        if !self.is_open() {
            return Err(Broken);
        }
        match settle.verdict {
            Verdict::Ack => at_once(self.inner.basic_ack(BasicAckArguments::new(settle.tag, settle.multiple))),
            Verdict::Requeue => at_once(self.inner.basic_nack(BasicNackArguments::new(settle.tag, false, true))),
            Verdict::Reject => at_once(self.inner.basic_nack(BasicNackArguments::new(settle.tag, false, false))),
        }
    }

    /// The broker's own words if it closed the channel; else the library's.
    fn reason(&self, error: &amqprs::error::Error) -> String {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.as_ref().map_or_else(|| error.to_string(), |c| format!("{} {}", c.code, c.text))
    }
}

/// A queue as the broker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name, which the broker chose if none was given.
    pub name: String,
    /// Messages that wait in it.
    pub messages: u32,
    /// How many consume it.
    pub consumers: u32,
}

/// Which queue a consumer serves, and how many messages the broker may hand out ahead of their acknowledgement.
#[derive(Debug)]
pub enum Source {
    /// The reply queue.
    Replies { prefetch: u16 },
    /// A subscription; fewer if they are large or if there are many shares.
    Subscription { prefetch: u16, share: Share },
}

/// Makes consumer number `consumer` of its channel, to which the broker hands out `prefetch` messages ahead. Returns where
/// they come.
async fn begin(
    channel: &amqprs::channel::Channel,
    (queue, source): (&str, &Source),
    consumer: u32,
    prefetch: u16,
) -> Result<UnboundedReceiver<ConsumerMessage>, amqprs::error::Error> {
    channel.basic_qos(BasicQosArguments::new(0, prefetch, false)).await?;
    let exclusive = matches!(source, Source::Replies { .. });
    let tag = consumer_tag(consumer);
    let args = BasicConsumeArguments::new(queue, &tag).manual_ack(true).exclusive(exclusive).finish();
    channel.basic_consume_rx(args).await.map(|(_, messages)| messages)
}

/// The tag of a consumer. Later ones are greater: when a connection is lost, a quorum queue takes back what each had in the
/// order of their tags.
fn consumer_tag(consumer: u32) -> String {
    format!("kazoo-{consumer:010}")
}

/// Headers as long strings. Names were checked by the script side; one that is too long is left out. Of several with
/// one name the last counts.
fn header_table(headers: Vec<(String, String)>) -> FieldTable {
    let mut table = FieldTable::new();
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (name.try_into(), value.try_into()) {
            // Replacing a header in place would leave the table's length wrong.
            table.remove(&name);
            table.insert(name, FieldValue::S(value));
        }
    }
    table
}

/// The host as the library wants it, which puts `:port` behind it. An address with a zone (`fe80::1%eth0`) is resolved
/// as it stands.
fn host(url: &BrokerUrl) -> String {
    if url.host.parse::<Ipv6Addr>().is_ok() { format!("[{}]", url.host) } else { url.host.clone() }
}

/// Checks the limit of an AMQP short string before the library panics on it.
fn short(what: &str, text: &str) -> Result<(), String> {
    ShortStr::new(text.as_bytes()).map(|_| ()).map_err(|e| format!("{what} is {e}"))
}

/// Polls a library call once. They only wait when the connection's queue is full, which the limits on messages under
/// way prevent while the socket moves.
fn at_once<T, E>(call: impl Future<Output = Result<T, E>>) -> Result<(), Broken> {
    // Unconstrained: the runtime's budget for one task must not look like a full queue.
    let call = pin!(tokio::task::unconstrained(call));
    match call.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(_)) => Ok(()),
        Poll::Ready(Err(_)) | Poll::Pending => Err(Broken),
    }
}

/// What a quorum queue says about a message that it delivers again; 0 if it says nothing.
fn redeliveries(properties: &BasicProperties) -> u64 {
    let mut headers = properties.headers().into_iter().flat_map(|table| table.as_ref());
    match headers.find(|(name, _)| name.as_ref() == "x-delivery-count").map(|(_, value)| value) {
        Some(FieldValue::b(n)) => u64::try_from(*n).unwrap_or(0),
        Some(FieldValue::B(n)) => u64::from(*n),
        Some(FieldValue::s(n)) => u64::try_from(*n).unwrap_or(0),
        Some(FieldValue::u(n)) => u64::from(*n),
        Some(FieldValue::I(n)) => u64::try_from(*n).unwrap_or(0),
        Some(FieldValue::i(n)) => u64::from(*n),
        Some(FieldValue::l(n)) => u64::try_from(*n).unwrap_or(0),
        _ => 0,
    }
}

/// Most messages that go into the inbox at once.
const INTAKE: usize = 16;

/// Puts the messages of one queue into the inbox, and says when there can be no more of them. The library would run a
/// task like this for a callback, and call it for every single message.
struct Intake {
    epoch: u64,
    source: Source,
    inbox: Inbox,
    /// Not kept open by this task.
    channel: Weak<amqprs::channel::Channel>,
    /// Whether the broker has cancelled a consumer of the channel.
    cancelled: Arc<AtomicBool>,
    /// As [`Channel::prefetch`] tells it.
    prefetch: Arc<AtomicU16>,
    queue: String,
    /// Number of the consumer on its channel.
    consumer: u32,
    ahead: Ahead,
}

impl Intake {
    /// Until the library lets go of the consumer, after its last message: the broker has cancelled it, or the channel ended.
    async fn run(mut self, mut messages: UnboundedReceiver<ConsumerMessage>) {
        match self.source {
            Source::Replies { .. } => {
                while let Some(first) = messages.recv().await {
                    self.inbox.replies(self.incoming(with_more(first, &mut messages)));
                }
            }
            Source::Subscription { .. } => {
                self.take_deliveries(messages).await;
                self.inbox.event(Event::Drained { epoch: self.epoch });
            }
        }
    }

    async fn take_deliveries(&mut self, mut messages: UnboundedReceiver<ConsumerMessage>) {
        while let Some(first) = messages.recv().await {
            let (mut count, mut bytes) = (0, 0);
            self.inbox.deliveries(self.incoming(with_more(first, &mut messages)).inspect(|message| {
                count += 1;
                bytes += message.body.len();
            }));
            self.ahead.saw(count, bytes);
            let Some(prefetch) = self.ahead.change(self.shares()) else { continue };
            let Some(mut next) = self.consume_anew(prefetch).await else { continue };
            // What came meanwhile came to either of them, and tags are counted per channel.
            let mut meanwhile = Vec::new();
            while let Some(first) = messages.recv().await {
                meanwhile.extend(self.incoming(with_more(first, &mut messages)));
            }
            meanwhile.extend(self.incoming(std::iter::from_fn(|| next.try_recv().ok())));
            meanwhile.sort_by_key(|message| message.tag);
            self.inbox.deliveries(meanwhile);
            if self.cancelled.load(Ordering::Relaxed) {
                // The library may not know that this is true of the new one too.
                return;
            }
            messages = next;
        }
    }

    /// Goes on with a new consumer and another prefetch; `None` if the channel is gone. The old one goes when the new one is
    /// there, since a queue with `auto_delete` goes with its last consumer.
    async fn consume_anew(&mut self, prefetch: u16) -> Option<UnboundedReceiver<ConsumerMessage>> {
        let channel = self.channel.upgrade()?;
        let old = self.consumer;
        let next = begin(&channel, (&self.queue, &self.source), old + 1, prefetch).await.ok()?;
        self.consumer = old + 1;
        self.prefetch.store(prefetch, Ordering::Relaxed);
        // Only the end of the channel is in the way, and that ends both of them.
        let _ = channel.basic_cancel(BasicCancelArguments::new(&consumer_tag(old))).await;
        Some(next)
    }

    /// Among how many the memory for messages that come ahead is divided.
    fn shares(&self) -> usize {
        if let Source::Subscription { share, .. } = &self.source { share.of() } else { 1 }
    }

    fn incoming<M: Iterator<Item = ConsumerMessage>>(&self, messages: M) -> impl Iterator<Item = Incoming> + use<M> {
        let (epoch, received_unix) = (self.epoch, unix_seconds());
        messages.filter_map(move |message| incoming(epoch, message, received_unix))
    }
}

/// A message of a consumer and those that came with it, [`INTAKE`] at most. No room is kept for them: each subscription would
/// have it, 8 KB.
fn with_more(
    first: ConsumerMessage,
    messages: &mut UnboundedReceiver<ConsumerMessage>,
) -> impl Iterator<Item = ConsumerMessage> {
    std::iter::once(first).chain(std::iter::from_fn(|| messages.try_recv().ok())).take(INTAKE)
}

/// A message of the channel with `epoch`. The library promises that it has all its parts.
fn incoming(epoch: u64, message: ConsumerMessage, received_unix: u64) -> Option<Incoming> {
    let deliver = message.deliver?;
    Some(Incoming {
        epoch,
        tag: deliver.delivery_tag(),
        redelivered: deliver.redelivered(),
        redeliveries: redeliveries(&message.basic_properties?),
        exchange: deliver.exchange().clone(),
        routing_key: deliver.routing_key().clone(),
        body: message.content?,
        received_unix,
    })
}

/// Puts what happens to one channel into the inbox.
struct Callback {
    epoch: u64,
    inbox: Inbox,
    closed: Arc<Mutex<Option<ChannelClose>>>,
    cancelled: Arc<AtomicBool>,
}

#[async_trait]
impl ChannelCallback for Callback {
    async fn close(&mut self, _: &amqprs::channel::Channel, close: CloseChannel) -> Result<(), amqprs::error::Error> {
        let close = ChannelClose { code: close.reply_code(), text: close.reply_text().clone() };
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = Some(close.clone());
        self.inbox.event(Event::ChannelClosed { epoch: self.epoch, close });
        Ok(())
    }

    async fn cancel(&mut self, _: &amqprs::channel::Channel, _: Cancel) -> Result<(), amqprs::error::Error> {
        self.cancelled.store(true, Ordering::Relaxed);
        self.inbox.event(Event::Cancelled { epoch: self.epoch });
        Ok(())
    }

    async fn flow(&mut self, _: &amqprs::channel::Channel, active: bool) -> Result<bool, amqprs::error::Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &amqprs::channel::Channel, ack: Ack) {
        let confirm = Confirm { epoch: self.epoch, tag: ack.delivery_tag(), multiple: ack.mutiple(), ack: true };
        self.inbox.confirm(confirm);
    }

    async fn publish_nack(&mut self, _: &amqprs::channel::Channel, nack: Nack) {
        let confirm = Confirm { epoch: self.epoch, tag: nack.delivery_tag(), multiple: nack.multiple(), ack: false };
        self.inbox.confirm(confirm);
    }

    async fn publish_return(
        &mut self,
        _: &amqprs::channel::Channel,
        returned: Return,
        properties: BasicProperties,
        _: Vec<u8>,
    ) {
        self.inbox.event(Event::Returned(Returned {
            code: returned.reply_code(),
            text: returned.reply_text().clone(),
            exchange: returned.exchange().clone(),
            routing_key: returned.routing_key().clone(),
            message_id: properties.message_id().cloned().unwrap_or_default(),
        }));
    }
}

/// Keeps why the broker closed a connection, for [`Connection::lost`].
struct CloseNote(CloseReason);

#[async_trait]
impl ConnectionCallback for CloseNote {
    async fn close(&mut self, _: &amqprs::connection::Connection, close: Close) -> Result<(), amqprs::error::Error> {
        let reason = format!("{} {}", close.reply_code(), close.reply_text());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        Ok(())
    }

    async fn blocked(&mut self, _: &amqprs::connection::Connection, _: String) {}

    async fn unblocked(&mut self, _: &amqprs::connection::Connection) {}

    async fn secret_updated(&mut self, _: &amqprs::connection::Connection) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_of_one_name_is_replaced_whole() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let table = header_table(vec![header("a", "first"), header("b", "2"), header("a", "last")]);
        assert_eq!(table, header_table(vec![header("b", "2"), header("a", "last")]), "its length included");
        assert_eq!(table.as_ref().len(), 2);
    }
}
