//! Single operations on the broker, and the descriptions of exchanges, queues and messages.

use std::collections::BTreeMap;
use std::time::Duration;

use amqprs::channel::{
    BasicPublishArguments, ConfirmSelectArguments, ExchangeDeclareArguments, ExchangeDeleteArguments,
    QueueBindArguments, QueueDeclareArguments, QueueDeleteArguments, QueuePurgeArguments,
};
use amqprs::{BasicProperties, FieldTable, FieldValue};

use super::link::{Link, block_on};
use crate::error::{Context, Error, Result};

/// AMQP short strings, exchange names and routing keys among them, hold at most this many bytes.
const SHORT_STRING_MAX: usize = 255;

/// An exchange as it is declared. Not auto-delete, not internal.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub(super) name: String,
    kind: &'static str,
    durable: bool,
    alternate: Option<String>,
}

impl Exchange {
    /// A topic exchange that does not outlive the broker.
    pub fn topic(name: &str) -> Self {
        Self { name: name.into(), kind: "topic", durable: false, alternate: None }
    }

    /// A direct exchange that does not outlive the broker.
    pub fn direct(name: &str) -> Self {
        Self { kind: "direct", ..Self::topic(name) }
    }

    /// A fanout exchange that does not outlive the broker.
    pub fn fanout(name: &str) -> Self {
        Self { kind: "fanout", ..Self::topic(name) }
    }

    /// The same, surviving a restart of the broker.
    pub fn durable(self) -> Self {
        Self { durable: true, ..self }
    }

    /// The same; what no binding routes goes to `exchange` instead of nowhere.
    pub fn alternate(self, exchange: &Exchange) -> Self {
        Self { alternate: Some(exchange.name.clone()), ..self }
    }
}

/// A queue as it is declared, with its bindings.
#[derive(Debug, Clone)]
pub struct Queue {
    pub(super) name: String,
    durable: bool,
    auto_delete: bool,
    quorum: bool,
    dead_letters: Option<String>,
    bindings: Vec<(Exchange, String)>,
}

impl Queue {
    /// A classic queue that lives as long as the broker runs.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            durable: false,
            auto_delete: false,
            quorum: false,
            dead_letters: None,
            bindings: Vec::new(),
        }
    }

    /// The same, surviving a restart of the broker. Messages survive with it only if published as persistent.
    pub fn durable(self) -> Self {
        Self { durable: true, ..self }
    }

    /// A queue that survives with *all* its messages once they are confirmed, whatever their delivery mode.
    pub fn quorum(self) -> Self {
        Self { durable: true, quorum: true, ..self }
    }

    /// The same; what a consumer rejects goes to the queue named `queue`.
    pub fn dead_letters(self, queue: &str) -> Self {
        Self { dead_letters: Some(queue.into()), ..self }
    }

    /// Removed with its last consumer.
    pub fn auto_delete(self) -> Self {
        Self { auto_delete: true, ..self }
    }

    /// Bound to `exchange` (which is declared too) with `routing_key`.
    pub fn bind(mut self, exchange: &Exchange, routing_key: &str) -> Self {
        self.bindings.push((exchange.clone(), routing_key.into()));
        self
    }
}

/// A message to publish.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// Empty: the default exchange, which routes to the queue named by the routing key.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// The payload, any bytes.
    pub body: Vec<u8>,
    /// AMQP headers, as long strings.
    pub headers: BTreeMap<String, String>,
    /// Delivery mode 2.
    pub persistent: bool,
    /// The `message-id` property.
    pub message_id: Option<String>,
}

impl Message {
    /// A transient message.
    pub fn new(exchange: &str, routing_key: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { exchange: exchange.into(), routing_key: routing_key.into(), body: body.into(), ..Self::default() }
    }

    /// The same as delivery mode 2.
    pub fn persistent(self) -> Self {
        Self { persistent: true, ..self }
    }

    fn properties(&self) -> BasicProperties {
        let mut properties = BasicProperties::default();
        properties.with_content_type("application/json");
        properties.with_delivery_mode(if self.persistent { 2 } else { 1 });
        if let Some(id) = &self.message_id {
            properties.with_message_id(id);
        }
        let mut table = FieldTable::new();
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (name.clone().try_into(), value.clone().try_into()) {
                table.insert(name, FieldValue::S(value));
            }
        }
        if !self.headers.is_empty() {
            properties.with_headers(table);
        }
        properties.finish()
    }
}

/// RabbitMQ writes the name of a new quorum queue to disk some 500 ms later. Killed before that it comes back with an
/// empty queue of the same name, whatever it has confirmed.
const QUORUM_SETTLES: Duration = Duration::from_millis(1500);

/// Opens a connection for each call. Cheap to copy; also names the broker for [`Peer`](super::Peer),
/// [`Sink`](super::Sink) and [`Flood`](super::Flood).
#[derive(Debug, Clone, Copy)]
pub struct Client {
    pub(crate) port: u16,
}

impl Client {
    /// A client of the broker that listens on this port of 127.0.0.1.
    pub fn new(port: u16) -> Self {
        Self { port }
    }

    /// The broker's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Logs in and out again.
    pub fn ping(&self) -> Result<()> {
        self.with_link(async |_| Ok(()))
    }

    /// Declares an exchange.
    pub fn declare_exchange(&self, exchange: &Exchange) -> Result<()> {
        self.with_link(async |link| declare_exchange(link, exchange).await)
    }

    /// Deletes an exchange, so that another test can declare it in another way; one that is not there is no error.
    pub fn delete_exchange(&self, name: &str) -> Result<()> {
        self.with_link(async |link| {
            let deleted = link.channel.exchange_delete(ExchangeDeleteArguments::new(name)).await;
            deleted.context(|| format!("deleting exchange {name}"))
        })
    }

    /// Deletes a queue in which nothing waits; what a consumer holds unacknowledged does not count.
    pub fn delete_empty_queue(&self, name: &str) -> Result<()> {
        self.with_link(async |link| {
            let args = QueueDeleteArguments::new(name).if_empty(true).finish();
            link.channel.queue_delete(args).await.map(|_| ()).context(|| format!("deleting queue {name}"))
        })
    }

    /// Declares a queue, its exchanges and its bindings.
    pub fn declare_queue(&self, queue: &Queue) -> Result<()> {
        self.with_link(async |link| declare_queue(link, queue).await)
    }

    /// Messages waiting in the queue, without those that a consumer holds unacknowledged.
    pub fn count(&self, queue: &str) -> Result<u32> {
        self.with_link(async |link| {
            let args = QueueDeclareArguments::new(queue).passive(true).finish();
            let answer = link.channel.queue_declare(args).await.context(|| format!("counting queue {queue}"))?;
            Ok(answer.map_or(0, |(_, messages, _)| messages))
        })
    }

    /// Empties the queue and returns how many messages were waiting.
    pub fn purge(&self, queue: &str) -> Result<u32> {
        self.with_link(async |link| {
            let purged = link.channel.queue_purge(QueuePurgeArguments::new(queue)).await;
            Ok(purged.context(|| format!("purging queue {queue}"))?.unwrap_or(0))
        })
    }

    /// Publishes the messages in order on one connection. Returns when the broker has them: it answered a request
    /// that came after them on the same channel. Another channel may find them in their queue only a moment later.
    pub fn publish(&self, messages: &[Message]) -> Result<()> {
        self.with_link(async |link| {
            for message in messages {
                publish(link, message, false).await?;
            }
            let barrier = ConfirmSelectArguments::new(false);
            link.channel.confirm_select(barrier).await.context(|| "publishing: the broker closed the channel".into())
        })
    }

    fn with_link<T>(&self, work: impl AsyncFnOnce(&Link) -> Result<T>) -> Result<T> {
        block_on(async {
            let link = Link::open(self.port).await?;
            let result = work(&link).await;
            link.close().await;
            result
        })
    }
}

pub(super) async fn declare_exchange(link: &Link, exchange: &Exchange) -> Result<()> {
    let mut args = ExchangeDeclareArguments::new(&exchange.name, exchange.kind);
    args.durable(exchange.durable);
    if let Some(alternate) = &exchange.alternate {
        args.arguments(text_table("alternate-exchange", alternate));
    }
    link.channel.exchange_declare(args.finish()).await.context(|| format!("declaring exchange {}", exchange.name))
}

/// A table with one entry.
fn text_table(name: &str, value: &str) -> FieldTable {
    let mut table = FieldTable::new();
    insert_text(&mut table, name, value);
    table
}

fn insert_text(table: &mut FieldTable, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (name.try_into(), value.to_string().try_into()) {
        table.insert(name, FieldValue::S(value));
    }
}

pub(super) async fn declare_queue(link: &Link, queue: &Queue) -> Result<()> {
    let mut args = QueueDeclareArguments::new(&queue.name);
    args.durable(queue.durable).auto_delete(queue.auto_delete);
    let mut arguments = FieldTable::new();
    if queue.quorum {
        insert_text(&mut arguments, "x-queue-type", "quorum");
    }
    if let Some(dead_letters) = &queue.dead_letters {
        insert_text(&mut arguments, "x-dead-letter-exchange", "");
        insert_text(&mut arguments, "x-dead-letter-routing-key", dead_letters);
    }
    args.arguments(arguments);
    link.channel.queue_declare(args.finish()).await.context(|| format!("declaring queue {}", queue.name))?;
    if queue.quorum {
        tokio::time::sleep(QUORUM_SETTLES).await;
    }
    for (exchange, routing_key) in &queue.bindings {
        declare_exchange(link, exchange).await?;
        let args = QueueBindArguments::new(&queue.name, &exchange.name, routing_key);
        link.channel.queue_bind(args).await.context(|| format!("binding {} to {}", queue.name, exchange.name))?;
    }
    Ok(())
}

/// Hands one message to the client library. Checks what the library would panic on.
pub(super) async fn publish(link: &Link, message: &Message, mandatory: bool) -> Result<()> {
    if message.exchange.len().max(message.routing_key.len()) > SHORT_STRING_MAX {
        return Err(Error::new(format!("exchange or routing key over {SHORT_STRING_MAX} bytes")));
    }
    if !link.channel.is_open() || !link.channel.is_connection_open() {
        return Err(Error::new("the broker closed the channel"));
    }
    let args = BasicPublishArguments::new(&message.exchange, &message.routing_key).mandatory(mandatory).finish();
    link.channel
        .basic_publish(message.properties(), message.body.clone(), args)
        .await
        .context(|| format!("publishing to {}", message.exchange))
}
