//! The plain client with lapin.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use rig::Result;
use rig::load::{FIRST, Numbers, QUESTIONS_KEY, payload};
use tokio::time::timeout;

use super::{CONFIRM_WINDOW, PREFETCH, Trips, Work, failed};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(2);

async fn open(port: u16) -> Result<(Connection, Channel)> {
    let url = format!("amqp://guest:guest@127.0.0.1:{port}/%2f");
    let connected = Connection::connect(&url, ConnectionProperties::default()).await;
    let connection = connected.map_err(|error| failed("connecting")(error.into()))?;
    let channel = connection.create_channel().await.map_err(|error| failed("opening a channel")(error.into()))?;
    Ok((connection, channel))
}

async fn close(connection: Connection) {
    // What there was to do is done.
    let _ = connection.close(200, "done".into()).await;
}

pub(super) async fn publish(port: u16, exchange: &str, bytes: usize, duration: Duration) -> Result<Work> {
    let (connection, channel) = open(port).await?;
    let select = ConfirmSelectOptions::default();
    channel.confirm_select(select).await.map_err(|error| failed("selecting confirms")(error.into()))?;
    let properties = BasicProperties::default().with_content_type("application/json".into()).with_delivery_mode(1);
    let mut window = VecDeque::with_capacity(CONFIRM_WINDOW as usize);
    let began = Instant::now();
    let mut sent = 0;
    while began.elapsed() < duration {
        let body = payload(&(FIRST + sent).to_string(), bytes).into_bytes();
        let options = BasicPublishOptions::default();
        let published =
            channel.basic_publish(exchange.into(), exchange.into(), options, &body, properties.clone()).await;
        window.push_back(published.map_err(|error| failed("publishing")(error.into()))?);
        sent += 1;
        if sent >= CONFIRM_WINDOW
            && let Some(oldest) = window.pop_front()
        {
            oldest.await.map_err(|error| failed("waiting for a confirm")(error.into()))?;
        }
    }
    for confirm in window {
        confirm.await.map_err(|error| failed("waiting for a confirm")(error.into()))?;
    }
    let took = began.elapsed();
    close(connection).await;
    let mut numbers = Numbers::default();
    numbers.add_range(FIRST..FIRST + sent);
    Ok(Work { count: sent, took, latency: None, numbers })
}

pub(super) async fn round_trips(port: u16, outstanding: u32, duration: Duration) -> Result<Work> {
    let (connection, channel) = open(port).await?;
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare("".into(), options, FieldTable::default()).await;
    let answers = declared.map_err(|error| failed("declaring a queue")(error.into()))?;
    let answers = answers.name().as_str().to_owned();
    let mut messages = subscribe(&channel, &answers, true).await?;
    let mut trips = Trips::begin()?;
    for _ in 0..outstanding {
        ask(&channel, &answers, trips.ask()).await?;
    }
    while !trips.all_answered() {
        let Ok(Some(Ok(message))) = timeout(PATIENCE, messages.next()).await else { break };
        let id = message.properties.correlation_id().as_ref();
        let Some(number) = id.and_then(|id| id.as_str().parse().ok()) else { continue };
        trips.answered(number);
        if trips.began.elapsed() < duration {
            ask(&channel, &answers, trips.ask()).await?;
        }
    }
    close(connection).await;
    Ok(trips.work())
}

async fn ask(channel: &Channel, answers: &str, number: u64) -> Result<()> {
    let number = number.to_string();
    let body = payload(&number, super::super::PAYLOAD_BYTES).into_bytes();
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_reply_to(answers.into())
        .with_correlation_id(number.into());
    let options = BasicPublishOptions::default();
    let asked = channel.basic_publish(QUESTIONS_KEY.into(), QUESTIONS_KEY.into(), options, &body, properties).await;
    asked.map(drop).map_err(|error| failed("asking")(error.into()))
}

async fn subscribe(channel: &Channel, queue: &str, no_ack: bool) -> Result<Consumer> {
    let options = BasicConsumeOptions { no_ack, ..BasicConsumeOptions::default() };
    let consumer = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await;
    consumer.map_err(|error| failed("consuming")(error.into()))
}

pub(super) async fn consume(
    port: u16,
    queue: &str,
    no_ack: bool,
    ready: impl FnOnce(),
    count: impl Fn() -> u64,
) -> Result<Work> {
    let (connection, channel) = open(port).await?;
    let qos = channel.basic_qos(PREFETCH, BasicQosOptions::default()).await;
    qos.map_err(|error| failed("setting the prefetch")(error.into()))?;
    let began = Instant::now();
    let mut messages = subscribe(&channel, queue, no_ack).await?;
    ready();
    let (mut numbers, mut arrived, mut last) = (Numbers::default(), 0, began);
    while arrived < count() {
        let Ok(Some(Ok(message))) = timeout(PATIENCE, messages.next()).await else { break };
        numbers.add_message(&message.data);
        arrived += 1;
        let mut newest = message;
        // What is ready is acknowledged at once.
        while let Some(message) = ready_one(&mut messages).await {
            numbers.add_message(&message.data);
            arrived += 1;
            newest = message;
        }
        last = Instant::now();
        if !no_ack {
            let acked = newest.ack(BasicAckOptions { multiple: true }).await;
            acked.map_err(|error| failed("acknowledging")(error.into()))?;
        }
    }
    close(connection).await;
    Ok(Work { count: arrived, took: last - began, latency: None, numbers })
}

/// The next message if it has come already.
async fn ready_one(messages: &mut Consumer) -> Option<Delivery> {
    futures_lite::future::poll_once(messages.next()).await.flatten().and_then(std::result::Result::ok)
}
