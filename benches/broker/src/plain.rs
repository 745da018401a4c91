//! Plain clients: one process, one channel per publisher, nothing between program and library.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use amqprs::channel as rs;
use amqprs::connection::{Connection, OpenConnectionArguments};
use async_trait::async_trait;
use futures_lite::Stream as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use nix::time::ClockId;
use tokio::sync::Notify;

use crate::run::{Cost, Job, body, cpu};
use crate::{EXCHANGE, KEY, QUEUE};

/// Messages of a channel that wait for their confirm.
const WINDOW: u64 = 1000;
/// Messages that wait for their acknowledgement.
const PREFETCH: u16 = 500;

pub fn run(library: &str, job: &Job) -> Cost {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match (library, job.consumes()) {
        ("lapin", false) => runtime.block_on(lapin_publish(job)),
        ("lapin", true) => runtime.block_on(lapin_consume(job)),
        (_, false) => runtime.block_on(amqprs_publish(job)),
        (_, true) => runtime.block_on(amqprs_consume(job)),
    }
}

/// Runs from the first message to the last, without connecting.
struct Watch {
    started: Instant,
    used: Duration,
}

impl Watch {
    fn start() -> Self {
        Self { started: Instant::now(), used: cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID) }
    }

    fn stop(&self, job: &Job) -> Cost {
        let messages = job.messages as f64;
        let used = cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID) - self.used;
        let elapsed = self.started.elapsed().as_secs_f64() / messages;
        Cost { elapsed, client: used.as_secs_f64() / messages, ..Cost::default() }
    }
}

/// Counts the confirms of a channel.
#[derive(Clone, Default)]
struct Confirms {
    upto: Arc<AtomicU64>,
    news: Arc<Notify>,
}

#[async_trait]
impl amqprs::callbacks::ChannelCallback for Confirms {
    async fn close(&mut self, _: &rs::Channel, _: amqprs::CloseChannel) -> Result<(), amqprs::error::Error> {
        Ok(())
    }

    async fn cancel(&mut self, _: &rs::Channel, _: amqprs::Cancel) -> Result<(), amqprs::error::Error> {
        Ok(())
    }

    async fn flow(&mut self, _: &rs::Channel, active: bool) -> Result<bool, amqprs::error::Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &rs::Channel, ack: amqprs::Ack) {
        // RabbitMQ confirms in order here: one queue, nothing persistent.
        self.upto.fetch_max(ack.delivery_tag(), Relaxed);
        self.news.notify_one();
    }

    async fn publish_nack(&mut self, _: &rs::Channel, _: amqprs::Nack) {}

    async fn publish_return(&mut self, _: &rs::Channel, _: amqprs::Return, _: amqprs::BasicProperties, _: Vec<u8>) {}
}

async fn amqprs_connect(job: &Job) -> Connection {
    let port = job.url.rsplit_once(':').unwrap().1.trim_end_matches('/').parse().unwrap();
    Connection::open(&OpenConnectionArguments::new("127.0.0.1", port, "guest", "guest")).await.unwrap()
}

async fn amqprs_publish(job: &Job) -> Cost {
    let mut connections = Vec::new();
    for _ in 0..job.connections() {
        connections.push(amqprs_connect(job).await);
    }
    let watch = Watch::start();
    let share = job.messages / job.publishers() as u64;
    let mut publishers = Vec::new();
    for number in 0..job.publishers() {
        let channel = connections[number % connections.len()].open_channel(None).await.unwrap();
        publishers.push(tokio::spawn(amqprs_publisher(channel, share)));
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let cost = watch.stop(job);
    for connection in connections {
        let _ = connection.close().await;
    }
    cost
}

async fn amqprs_publisher(channel: rs::Channel, messages: u64) {
    let confirms = Confirms::default();
    channel.register_callback(confirms.clone()).await.unwrap();
    channel.confirm_select(rs::ConfirmSelectArguments::default()).await.unwrap();
    let body = body();
    for sent in 0..messages {
        while sent - confirms.upto.load(Relaxed) >= WINDOW {
            confirms.news.notified().await;
        }
        let mut properties = amqprs::BasicProperties::default();
        properties.with_content_type("application/json").with_message_id(&sent.to_string());
        let args = rs::BasicPublishArguments::new(EXCHANGE, KEY);
        channel.basic_publish(properties, body.clone(), args).await.unwrap();
    }
    while confirms.upto.load(Relaxed) < messages {
        confirms.news.notified().await;
    }
}

async fn amqprs_consume(job: &Job) -> Cost {
    let connection = amqprs_connect(job).await;
    let channel = connection.open_channel(None).await.unwrap();
    channel.basic_qos(rs::BasicQosArguments::new(0, PREFETCH, false)).await.unwrap();
    let args = rs::BasicConsumeArguments::new(QUEUE, "").manual_ack(job.acks()).finish();
    let (_, mut deliveries) = channel.basic_consume_rx(args).await.unwrap();
    let watch = Watch::start();
    for _ in 0..job.messages {
        let message = deliveries.recv().await.unwrap();
        if job.acks() {
            let tag = message.deliver.unwrap().delivery_tag();
            channel.basic_ack(rs::BasicAckArguments::new(tag, false)).await.unwrap();
        }
    }
    let cost = watch.stop(job);
    let _ = channel.close().await;
    let _ = connection.close().await;
    cost
}

async fn lapin_connect(job: &Job) -> lapin::Connection {
    let properties = lapin::ConnectionProperties::default();
    lapin::Connection::connect(&job.url, properties).await.unwrap()
}

async fn lapin_publish(job: &Job) -> Cost {
    let connection = lapin_connect(job).await;
    let watch = Watch::start();
    let share = job.messages / job.publishers() as u64;
    let mut publishers = Vec::new();
    for _ in 0..job.publishers() {
        let channel = connection.create_channel().await.unwrap();
        publishers.push(tokio::spawn(lapin_publisher(channel, share)));
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let cost = watch.stop(job);
    let _ = connection.close(200, "".into()).await;
    cost
}

async fn lapin_publisher(channel: lapin::Channel, messages: u64) {
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let body = body();
    let mut waiting = std::collections::VecDeque::new();
    for sent in 0..messages {
        let properties = lapin::BasicProperties::default()
            .with_content_type("application/json".into())
            .with_message_id(sent.to_string().into());
        let options = BasicPublishOptions::default();
        let confirm = channel.basic_publish(EXCHANGE.into(), KEY.into(), options, &body, properties).await.unwrap();
        waiting.push_back(confirm);
        if waiting.len() as u64 >= WINDOW {
            waiting.pop_front().unwrap().await.unwrap();
        }
    }
    for confirm in waiting {
        confirm.await.unwrap();
    }
}

async fn lapin_consume(job: &Job) -> Cost {
    let connection = lapin_connect(job).await;
    let channel = connection.create_channel().await.unwrap();
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.unwrap();
    let options = BasicConsumeOptions { no_ack: !job.acks(), ..BasicConsumeOptions::default() };
    let mut deliveries =
        channel.basic_consume(QUEUE.into(), "".into(), options, lapin::types::FieldTable::default()).await.unwrap();
    let watch = Watch::start();
    for _ in 0..job.messages {
        let message = poll_fn(|cx| Pin::new(&mut deliveries).poll_next(cx)).await.unwrap().unwrap();
        if job.acks() {
            message.ack(BasicAckOptions::default()).await.unwrap();
        }
    }
    let cost = watch.stop(job);
    let _ = connection.close(200, "".into()).await;
    cost
}
