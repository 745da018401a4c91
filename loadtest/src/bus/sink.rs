//! An application that consumes a queue, acknowledges, and remembers what came in which order.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amqprs::FieldValue;
use amqprs::channel::{BasicAckArguments, BasicConsumeArguments, BasicQosArguments, ConsumerMessage};

use super::client::{Client, Queue, declare_queue};
use super::link::{Link, Task};
use crate::error::{Context, Error, Result};
use crate::process::wait_until;

/// What the broker may send ahead of the acknowledgement.
const PREFETCH: u16 = 500;

/// One message as it arrived.
#[derive(Debug, Clone, Default)]
pub struct Arrived {
    /// Exchange it was published to.
    pub exchange: String,
    /// Its routing key.
    pub routing_key: String,
    /// Its payload.
    pub body: Vec<u8>,
    /// Its `content-type` property.
    pub content_type: Option<String>,
    /// Its delivery mode property, 2 = persistent.
    pub delivery_mode: Option<u8>,
    /// Its `message-id` property.
    pub message_id: Option<String>,
    /// Its headers that are strings.
    pub headers: BTreeMap<String, String>,
    /// Names of the properties above and of all others that were present, e.g. `["content_type", "headers"]`.
    pub properties: Vec<&'static str>,
    /// The broker had delivered it before.
    pub redelivered: bool,
}

impl Arrived {
    /// The payload as JSON; `null` if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// How many messages came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkCount {
    /// All deliveries.
    pub arrived: usize,
    /// Different keys among them; see [`Sink::keyed`].
    pub distinct: usize,
    /// Deliveries whose key had come before.
    pub repeated: usize,
}

/// A consumer with acknowledgements that reconnects by itself.
#[derive(Debug)]
pub struct Sink {
    state: Arc<Mutex<State>>,
    _task: Task,
}

#[derive(Debug, Default)]
struct State {
    consuming: bool,
    failure: Option<String>,
    messages: Vec<Arrived>,
    keys: Vec<String>,
    seen: HashSet<String>,
    arrived: usize,
}

impl Sink {
    /// Declares `queue` and consumes it, keeping whole messages. Returns when the consumer is set up.
    pub fn start(client: Client, queue: Queue) -> Result<Self> {
        Self::consume(client, queue, None)
    }

    /// The same, keeping of each message only the text of one top-level field (string or number) of its JSON payload:
    /// its key. For long runs, and to find out what came twice or not at all.
    pub fn keyed(client: Client, queue: Queue, field: &str) -> Result<Self> {
        Self::consume(client, queue, Some(field.to_string()))
    }

    fn consume(client: Client, queue: Queue, field: Option<String>) -> Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, queue, field) = (state.clone(), Arc::new(queue), Arc::new(field));
        let task = Task::spawn(|stop| {
            stop.on_links(client.port, move |link| run(link, shared.clone(), queue.clone(), field.clone()))
        })?;
        let sink = Self { state, _task: task };
        wait_until(Duration::from_secs(15), || sink.lock().consuming || sink.lock().failure.is_some());
        let failure = sink.lock().failure.clone();
        match failure {
            _ if sink.lock().consuming => Ok(sink),
            Some(text) => Err(Error::new(text)),
            None => Err(Error::new("the sink got no connection to the broker")),
        }
    }

    /// Waits until at least `count` messages came; false when `timeout` passed first.
    pub fn wait_for(&self, count: usize, timeout: Duration) -> bool {
        wait_until(timeout, || self.lock().arrived >= count)
    }

    /// Waits until at least `count` different keys came; false when `timeout` passed first.
    pub fn wait_distinct(&self, count: usize, timeout: Duration) -> bool {
        wait_until(timeout, || self.lock().seen.len() >= count)
    }

    /// Takes the messages that came since the last call, in order. Always empty for a [`keyed`](Self::keyed) sink.
    pub fn take(&self) -> Vec<Arrived> {
        std::mem::take(&mut self.lock().messages)
    }

    /// The keys in order of arrival, repetitions included. A message without the field has an empty key.
    pub fn keys(&self) -> Vec<String> {
        self.lock().keys.clone()
    }

    /// How many came so far.
    pub fn count(&self) -> SinkCount {
        let state = self.lock();
        let repeated = state.keys.len() - state.seen.len();
        SinkCount { arrived: state.arrived, distinct: state.seen.len(), repeated }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Consumes on one connection until it breaks.
async fn run(link: Arc<Link>, state: Arc<Mutex<State>>, queue: Arc<Queue>, field: Arc<Option<String>>) {
    let result = pump(&link, &state, &queue, field.as_deref()).await;
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.failure = result.err().map(|error| error.to_string());
}

async fn pump(link: &Link, state: &Mutex<State>, queue: &Queue, field: Option<&str>) -> Result<()> {
    let mut messages = subscribe(link, queue, PREFETCH).await?;
    state.lock().unwrap_or_else(PoisonError::into_inner).consuming = true;
    while let Some(first) = messages.recv().await {
        let mut last_tag = 0;
        let mut next = Some(first);
        while let Some(message) = next {
            last_tag = message.deliver.as_ref().map_or(last_tag, |deliver| deliver.delivery_tag());
            state.lock().unwrap_or_else(PoisonError::into_inner).record(message, field);
            next = messages.try_recv().ok();
        }
        let ack = BasicAckArguments::new(last_tag, true);
        link.channel.basic_ack(ack).await.context(|| "acknowledging".into())?;
    }
    Ok(())
}

/// Declares `queue` and starts a consumer with acknowledgements on it.
pub(super) async fn subscribe(
    link: &Link,
    queue: &Queue,
    prefetch: u16,
) -> Result<tokio::sync::mpsc::UnboundedReceiver<ConsumerMessage>> {
    declare_queue(link, queue).await?;
    let qos = BasicQosArguments::new(0, prefetch, false);
    link.channel.basic_qos(qos).await.context(|| "setting the prefetch".into())?;
    let args = BasicConsumeArguments::new(&queue.name, "").manual_ack(true).finish();
    let (_, messages) =
        link.channel.basic_consume_rx(args).await.context(|| format!("consuming queue {}", queue.name))?;
    Ok(messages)
}

impl State {
    fn record(&mut self, message: ConsumerMessage, field: Option<&str>) {
        self.arrived += 1;
        match field {
            None => self.messages.push(arrived(message)),
            Some(field) => {
                let key = key(message.content.as_deref().unwrap_or_default(), field);
                self.seen.insert(key.clone());
                self.keys.push(key);
            }
        }
    }
}

fn key(body: &[u8], field: &str) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    match value.get(field) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(serde_json::Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn arrived(message: ConsumerMessage) -> Arrived {
    let deliver = message.deliver.as_ref();
    let properties = message.basic_properties.unwrap_or_default();
    let headers = properties.headers().map(|table| {
        let text = |value: &FieldValue| match value {
            FieldValue::S(text) => Some(text.to_string()),
            _ => None,
        };
        let table: &std::collections::HashMap<_, _> = table.as_ref();
        table.iter().filter_map(|(name, value)| Some((name.to_string(), text(value)?))).collect()
    });
    let present = [
        ("content_type", properties.content_type().is_some()),
        ("content_encoding", properties.content_encoding().is_some()),
        ("headers", properties.headers().is_some()),
        ("delivery_mode", properties.delivery_mode().is_some()),
        ("priority", properties.priority().is_some()),
        ("correlation_id", properties.correlation_id().is_some()),
        ("reply_to", properties.reply_to().is_some()),
        ("expiration", properties.expiration().is_some()),
        ("message_id", properties.message_id().is_some()),
        ("timestamp", properties.timestamp().is_some()),
        ("message_type", properties.message_type().is_some()),
        ("user_id", properties.user_id().is_some()),
        ("app_id", properties.app_id().is_some()),
    ];
    Arrived {
        exchange: deliver.map(|d| d.exchange().clone()).unwrap_or_default(),
        routing_key: deliver.map(|d| d.routing_key().clone()).unwrap_or_default(),
        redelivered: deliver.is_some_and(|d| d.redelivered()),
        body: message.content.unwrap_or_default(),
        content_type: properties.content_type().cloned(),
        delivery_mode: properties.delivery_mode(),
        message_id: properties.message_id().cloned(),
        headers: headers.unwrap_or_default(),
        properties: present.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect(),
    }
}
