//! Publishes numbered events with confirms, at most a window of them unconfirmed.

use std::time::{Duration, Instant};

use super::confirms::Confirms;
use super::sequence::{FIRST, payload};
use super::wire::{Event, Wire};
use crate::bus::Client;
use crate::error::{Error, Result};

/// Unconfirmed events at a time.
const WINDOW: u64 = 2000;
/// Output is written when so much has been collected.
const BATCH_BYTES: usize = 32 * 1024;
/// Where the number stands in the payload's pattern.
const NUMBER: &str = "##########";
/// A broker that confirms nothing for so long will not any more.
const STALL: Duration = Duration::from_secs(10);

/// What to publish.
#[derive(Debug, Clone)]
pub struct Pump {
    /// Exchange; empty: the queue named by the routing key.
    pub exchange: String,
    /// Routing keys, which take turns.
    pub routing_keys: Vec<String>,
    /// Size of the payload in bytes.
    pub bytes: usize,
    /// At most so many per second; `None`: as fast as the broker confirms.
    pub per_second: Option<u32>,
}

/// What was published and confirmed.
#[derive(Debug, Clone, Copy)]
pub struct Pumped {
    /// How many.
    pub count: u64,
    /// From the first publish to the last confirm.
    pub took: Duration,
}

impl Pump {
    /// As fast as possible to the queue `queue`, bodies of `bytes` bytes.
    pub fn to_queue(queue: &str, bytes: usize) -> Self {
        Self::to_queues(vec![queue.into()], bytes)
    }

    /// The same to several queues, one message to each in turn.
    pub fn to_queues(queues: Vec<String>, bytes: usize) -> Self {
        Self { exchange: String::new(), routing_keys: queues, bytes, per_second: None }
    }

    /// Publishes until `done(count, time)` says so; returns when all are confirmed. Numbers begin with [`FIRST`].
    pub fn run(&self, client: Client, done: impl Fn(u64, Duration) -> bool) -> Result<Pumped> {
        let mut wire = Wire::open(client.port)?;
        wire.confirm()?;
        let mut body = payload(NUMBER, self.bytes).into_bytes();
        let at = body.windows(NUMBER.len()).position(|part| part == NUMBER.as_bytes()).unwrap_or_default();
        let began = Instant::now();
        let (mut sent, mut confirmed, mut last_progress) = (0, 0, began);
        let mut confirms = Confirms::default();
        let mut keys = self.routing_keys.iter().cycle();
        loop {
            let finished = done(sent, began.elapsed());
            if finished && confirmed == sent {
                return Ok(Pumped { count: sent, took: last_progress - began });
            }
            let allowed = self.per_second.map_or(u64::MAX, |rate| self.due(rate, began.elapsed()));
            let window = (confirmed + WINDOW).min(allowed);
            while sent < window && wire.pending() < BATCH_BYTES && !done(sent, began.elapsed()) {
                body[at..at + NUMBER.len()].copy_from_slice(format!("{:010}", FIRST + sent).as_bytes());
                let key = keys.next().map_or(&b""[..], |key| key.as_bytes());
                wire.publish(&self.exchange, key, b"", &body);
                sent += 1;
            }
            wire.flush()?;
            let full = sent >= (confirmed + WINDOW).min(allowed) || finished;
            wire.fill(if full { Duration::from_millis(1) } else { Duration::ZERO })?;
            let before = confirmed;
            while let Some(event) = wire.next()? {
                match event {
                    Event::Ack { tag, multiple } => confirmed = confirms.note(tag, multiple),
                    Event::Nack => return Err(Error::new("the broker refused an event")),
                    Event::Deliver(_) => {}
                }
            }
            if confirmed > before {
                last_progress = Instant::now();
            } else if last_progress.elapsed() > STALL && confirmed < sent {
                return Err(Error::new(format!("the broker confirmed nothing for {STALL:?}")));
            }
        }
    }

    fn due(&self, per_second: u32, elapsed: Duration) -> u64 {
        (elapsed.as_secs_f64() * f64::from(per_second)) as u64
    }
}
