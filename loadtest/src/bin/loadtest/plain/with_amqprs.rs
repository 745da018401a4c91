//! The plain client with amqprs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicPublishArguments, BasicQosArguments, Channel,
    ConfirmSelectArguments, ConsumerMessage, QueueDeclareArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, Nack, Return};
use async_trait::async_trait;
use rig::Result;
use rig::load::{Confirms, FIRST, Numbers, QUESTIONS_KEY, payload};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::{CONFIRM_WINDOW, PREFETCH, Trips, Work, failed};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connection to this port of 127.0.0.1, as the library has it by itself.
fn arguments(port: u16) -> OpenConnectionArguments {
    OpenConnectionArguments::new("127.0.0.1", port, "guest", "guest")
}

async fn open(args: &OpenConnectionArguments) -> Result<(Connection, Channel)> {
    let connection = Connection::open(args).await.map_err(|error| failed("connecting")(error.into()))?;
    let channel = open_channel(&connection).await?;
    Ok((connection, channel))
}

async fn open_channel(connection: &Connection) -> Result<Channel> {
    connection.open_channel(None).await.map_err(|error| failed("opening a channel")(error.into()))
}

async fn select_confirms(channel: &Channel) -> Result<()> {
    let selected = channel.confirm_select(ConfirmSelectArguments::new(false)).await;
    selected.map_err(|error| failed("selecting confirms")(error.into()))
}

/// A connection with this heartbeat, a channel with confirms and one with a consumer of a queue of its own.
pub(super) async fn connect_for_both(port: u16, heartbeat_s: u16) -> Result<impl Sized> {
    let (connection, publishing) = open(arguments(port).heartbeat(heartbeat_s)).await?;
    select_confirms(&publishing).await?;
    let consuming = open_channel(&connection).await?;
    let (_, messages) = consume_answers(&consuming).await?;
    Ok((connection, publishing, consuming, messages))
}

/// Consumes a new queue of this connection; its name, and what comes.
async fn consume_answers(channel: &Channel) -> Result<(String, UnboundedReceiver<ConsumerMessage>)> {
    let declare = QueueDeclareArguments::default().exclusive(true).auto_delete(true).finish();
    let declared = channel.queue_declare(declare).await.map_err(|error| failed("declaring a queue")(error.into()))?;
    let queue = declared.map(|(name, _, _)| name).unwrap_or_default();
    let consume = BasicConsumeArguments::new(&queue, "").manual_ack(false).finish();
    let consuming = channel.basic_consume_rx(consume).await;
    let (_, messages) = consuming.map_err(|error| failed("consuming answers")(error.into()))?;
    Ok((queue, messages))
}

async fn close(connection: Connection, channel: Channel) {
    // What there was to do is done.
    let _ = channel.close().await;
    let _ = connection.close().await;
}

/// Counts the confirms of one channel.
struct Counter {
    confirms: Confirms,
    confirmed: Arc<AtomicU64>,
    more: Arc<Notify>,
}

#[async_trait]
impl amqprs::callbacks::ChannelCallback for Counter {
    async fn close(&mut self, _: &Channel, _: CloseChannel) -> std::result::Result<(), amqprs::error::Error> {
        Ok(())
    }
    async fn cancel(&mut self, _: &Channel, _: Cancel) -> std::result::Result<(), amqprs::error::Error> {
        Ok(())
    }
    async fn flow(&mut self, _: &Channel, active: bool) -> std::result::Result<bool, amqprs::error::Error> {
        Ok(active)
    }
    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        self.confirmed.store(self.confirms.note(ack.delivery_tag(), ack.mutiple()), Ordering::Release);
        self.more.notify_one();
    }
    async fn publish_nack(&mut self, _: &Channel, _: Nack) {}
    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {}
}

pub(super) async fn publish(port: u16, exchange: &str, bytes: usize, duration: Duration) -> Result<Work> {
    let (connection, channel) = open(&arguments(port)).await?;
    let (confirmed, more) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let counter = Counter { confirms: Confirms::default(), confirmed: confirmed.clone(), more: more.clone() };
    channel.register_callback(counter).await.map_err(|error| failed("listening")(error.into()))?;
    select_confirms(&channel).await?;
    let mut properties = BasicProperties::default();
    let properties = properties.with_content_type("application/json").with_delivery_mode(1).finish();
    let began = Instant::now();
    let mut sent = 0;
    while began.elapsed() < duration {
        let body = payload(&(FIRST + sent).to_string(), bytes).into_bytes();
        let args = BasicPublishArguments::new(exchange, exchange);
        let published = channel.basic_publish(properties.clone(), body, args).await;
        published.map_err(|error| failed("publishing")(error.into()))?;
        sent += 1;
        while sent >= confirmed.load(Ordering::Acquire) + CONFIRM_WINDOW {
            wait(&more).await?;
        }
    }
    while confirmed.load(Ordering::Acquire) < sent {
        wait(&more).await?;
    }
    let took = began.elapsed();
    close(connection, channel).await;
    let mut numbers = Numbers::default();
    numbers.add_range(FIRST..FIRST + sent);
    Ok(Work { count: sent, took, latency: None, numbers })
}

async fn wait(more: &Notify) -> Result<()> {
    timeout(PATIENCE, more.notified()).await.map_err(|error| failed("waiting for confirms")(error.into()))
}

pub(super) async fn round_trips(port: u16, outstanding: u32, duration: Duration) -> Result<Work> {
    let (connection, channel) = open(&arguments(port)).await?;
    let (answers, mut messages) = consume_answers(&channel).await?;
    let mut trips = Trips::begin()?;
    for _ in 0..outstanding {
        ask(&channel, &answers, trips.ask()).await?;
    }
    while !trips.all_answered() {
        let Ok(Some(message)) = timeout(PATIENCE, messages.recv()).await else { break };
        let id = message.basic_properties.as_ref().and_then(|properties| properties.correlation_id());
        let Some(number) = id.and_then(|id| id.parse().ok()) else { continue };
        trips.answered(number);
        if trips.began.elapsed() < duration {
            ask(&channel, &answers, trips.ask()).await?;
        }
    }
    close(connection, channel).await;
    Ok(trips.work())
}

async fn ask(channel: &Channel, answers: &str, number: u64) -> Result<()> {
    let number = number.to_string();
    let mut properties = BasicProperties::default();
    properties.with_content_type("application/json").with_reply_to(answers).with_correlation_id(&number);
    let body = payload(&number, super::super::PAYLOAD_BYTES).into_bytes();
    let args = BasicPublishArguments::new(QUESTIONS_KEY, QUESTIONS_KEY);
    let asked = channel.basic_publish(properties.finish(), body, args).await;
    asked.map_err(|error| failed("asking")(error.into()))
}

pub(super) async fn consume(
    port: u16,
    queue: &str,
    no_ack: bool,
    ready: impl FnOnce(),
    count: impl Fn() -> u64,
) -> Result<Work> {
    let (connection, channel) = open(&arguments(port)).await?;
    let qos = BasicQosArguments::new(0, PREFETCH, false);
    channel.basic_qos(qos).await.map_err(|error| failed("setting the prefetch")(error.into()))?;
    let args = BasicConsumeArguments::new(queue, "").manual_ack(!no_ack).finish();
    let began = Instant::now();
    let (_, mut messages) = channel.basic_consume_rx(args).await.map_err(|error| failed("consuming")(error.into()))?;
    ready();
    let (mut numbers, mut arrived, mut last) = (Numbers::default(), 0, began);
    while arrived < count() {
        let Ok(Some(message)) = timeout(PATIENCE, messages.recv()).await else { break };
        let mut tag = note(&message, &mut numbers);
        arrived += 1;
        // What is ready is acknowledged at once.
        while let Ok(message) = messages.try_recv() {
            tag = note(&message, &mut numbers);
            arrived += 1;
        }
        last = Instant::now();
        if !no_ack {
            let acked = channel.basic_ack(BasicAckArguments::new(tag, true)).await;
            acked.map_err(|error| failed("acknowledging")(error.into()))?;
        }
    }
    close(connection, channel).await;
    Ok(Work { count: arrived, took: last - began, latency: None, numbers })
}

/// Notes the message; its delivery tag.
fn note(message: &ConsumerMessage, numbers: &mut Numbers) -> u64 {
    numbers.add_message(message.content.as_deref().unwrap_or_default());
    message.deliver.as_ref().map_or(0, |deliver| deliver.delivery_tag())
}
