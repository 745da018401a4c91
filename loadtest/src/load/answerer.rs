//! Answers queries, at once or later: a thread of its own on a connection of its own.
//!
//! It speaks both ways of asking: with `Server-ID` and `Msg-ID` in the payload, as the kazoo modules do, and with the
//! properties `reply_to` and `correlation_id`, as `rabbitmq.so` and other clients do. The answer repeats the question's
//! number, so that a wrong answer shows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::sequence::{sequence, text_after};
use super::wire::{Delivery, Event, Wire};
use crate::bus::{Client, Exchange, Queue};
use crate::error::Result;

/// Exchange and routing key that questions are sent with; also the name of their queue.
pub const QUESTIONS_KEY: &str = "load-questions";
/// Exchange for answers to `Server-ID`s; the module declares it in the same way.
const ANSWERS: &str = "targeted";
/// How soon the thread notices that it should end.
const NAP: Duration = Duration::from_millis(50);

/// A running one. Dropping it ends it.
#[derive(Debug)]
pub struct Answerer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// An answer that waits for its moment.
struct Answer {
    due: Instant,
    exchange: &'static str,
    routing_key: Vec<u8>,
    correlation_id: Vec<u8>,
    body: Vec<u8>,
}

impl Answerer {
    /// Answers every question `delay` after it came.
    pub fn start(client: Client, delay: Duration) -> Result<Self> {
        Self::with_filler(client, delay, 0)
    }

    /// The same with so many bytes more in each answer.
    pub fn with_filler(client: Client, delay: Duration, filler: usize) -> Result<Self> {
        client.declare_exchange(&Exchange::direct(ANSWERS))?;
        client.declare_queue(&Queue::new(QUESTIONS_KEY).bind(&Exchange::topic(QUESTIONS_KEY), QUESTIONS_KEY))?;
        client.purge(QUESTIONS_KEY)?;
        let mut wire = Wire::open(client.port)?;
        wire.consume(QUESTIONS_KEY)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let filler = "x".repeat(filler);
        let thread = std::thread::spawn(move || serve(&mut wire, delay, &filler, &stopped));
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Answerer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the application that answers queries ended: {error}");
        }
    }
}

fn serve(wire: &mut Wire, delay: Duration, filler: &str, stop: &AtomicBool) -> Result<()> {
    // Without it the kernel adds 50 us to each pause. Refused: it stays so.
    let _ = nix::sys::prctl::set_timerslack(1);
    let mut waiting: VecDeque<Answer> = VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        while let Some(event) = wire.next()? {
            if let Event::Deliver(question) = event
                && let Some(answer) = answer(&question, filler, now + delay)
            {
                waiting.push_back(answer);
            }
        }
        let due = waiting.partition_point(|answer| answer.due <= now);
        for answer in waiting.drain(..due) {
            wire.publish(answer.exchange, &answer.routing_key, &answer.correlation_id, &answer.body);
        }
        wire.flush()?;
        let next = waiting.front().map_or(NAP, |answer| answer.due.saturating_duration_since(Instant::now()));
        wire.fill(next)?;
    }
    Ok(())
}

/// The answer to a question; `None` for one that does not say where to.
fn answer(question: &Delivery<'_>, filler: &str, due: Instant) -> Option<Answer> {
    let number = sequence(question.body)?;
    let text = |field: &str| text_after(question.body, field).unwrap_or_default();
    let (compact, spaced) = (text("\"Msg-ID\":\""), text("\"Msg-ID\": \""));
    let id = String::from_utf8_lossy(if compact.is_empty() { spaced } else { compact });
    let filler = if filler.is_empty() { String::new() } else { format!("\"Filler\":\"{filler}\",") };
    let body = format!(
        "{{\"Seq\":\"{number}\",{filler}\"Event-Category\":\"load\",\"Event-Name\":\"answer\",\"Msg-ID\":\"{id}\"}}"
    )
    .into_bytes();
    let (exchange, routing_key) = if question.reply_to.is_empty() {
        let (compact, spaced) = (text("\"Server-ID\":\""), text("\"Server-ID\": \""));
        (ANSWERS, if compact.is_empty() { spaced } else { compact })
    } else {
        ("", question.reply_to)
    };
    let routing_key = routing_key.to_vec();
    (!routing_key.is_empty()).then(|| Answer {
        due,
        exchange,
        routing_key,
        correlation_id: question.correlation_id.to_vec(),
        body,
    })
}
