//! Ceilings: what a plain AMQP client does on the same broker, with nothing of Kamailio in the way.
//!
//! One client for each of the two Rust libraries, each on one thread with one connection, written as their
//! documentation would have it. The better one is the ceiling.

mod with_amqprs;
mod with_lapin;

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::unistd::gettid;
use rig::load::Numbers;
use rig::{Client, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// Unconfirmed publishes at a time.
const CONFIRM_WINDOW: u64 = 2000;
/// What the broker hands out before it waits for acknowledgements.
const PREFETCH: u16 = 500;

/// Which library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// The one that the module uses.
    Amqprs,
    /// The other one.
    Lapin,
}

/// What a plain client did.
#[derive(Debug, Clone)]
pub struct Work {
    /// Operations.
    pub count: u64,
    /// From the first to the last.
    pub took: Duration,
    /// Of each operation, where there is one; nanoseconds.
    pub latency: Option<Histogram<u64>>,
    /// What came, by number.
    pub numbers: Numbers,
}

/// Publishes to `exchange` for `duration` with confirms, with a routing key of the same name; ends when all are confirmed.
pub fn publish(library: Library, client: Client, exchange: &str, bytes: usize, duration: Duration) -> Result<Work> {
    match library {
        Library::Amqprs => runtime()?.block_on(with_amqprs::publish(client.port(), exchange, bytes, duration)),
        Library::Lapin => runtime()?.block_on(with_lapin::publish(client.port(), exchange, bytes, duration)),
    }
}

/// Asks the application for `duration`, so many questions outstanding.
pub fn round_trips(library: Library, client: Client, outstanding: u32, duration: Duration) -> Result<Work> {
    match library {
        Library::Amqprs => runtime()?.block_on(with_amqprs::round_trips(client.port(), outstanding, duration)),
        Library::Lapin => runtime()?.block_on(with_lapin::round_trips(client.port(), outstanding, duration)),
    }
}

/// Consumes `queue` until `count()` messages came, or none for two seconds. Calls `ready` once consuming.
pub fn consume(
    library: Library,
    client: Client,
    queue: &str,
    no_ack: bool,
    ready: impl FnOnce(),
    count: impl Fn() -> u64,
) -> Result<Work> {
    let port = client.port();
    match library {
        Library::Amqprs => runtime()?.block_on(with_amqprs::consume(port, queue, no_ack, ready, count)),
        Library::Lapin => runtime()?.block_on(with_lapin::consume(port, queue, no_ack, ready, count)),
    }
}

/// Connects and does nothing for `settle` and `watch`. Returns how often the client woke up during the latter.
///
/// Confirms on one channel and a consumer on another, as any client has them that publishes and asks; only for the
/// library of the module.
pub fn idle(client: Client, heartbeat_s: u16, settle: Duration, watch: Duration) -> Result<u64> {
    let (connected, connection) = mpsc::channel();
    let (leave, left) = oneshot::channel::<()>();
    // In a thread of its own, with nothing else to wake it.
    let idling = move || -> Result<()> {
        runtime()?.block_on(async {
            let _open = with_amqprs::connect_for_both(client.port(), heartbeat_s).await?;
            // Nobody waits any more: then it need not stay.
            let _ = connected.send(gettid());
            let _ = left.await;
            Ok(())
        })
    };
    let client = thread::spawn(idling);
    let woken = connection.recv().ok().and_then(|thread| {
        thread::sleep(settle);
        let before = rig::voluntary_switches_of_thread(thread)?;
        thread::sleep(watch);
        Some(rig::voluntary_switches_of_thread(thread)? - before)
    });
    drop(leave);
    client.join().unwrap_or_else(|_| Err(rig::Error::new("the idle client panicked")))?;
    woken.ok_or_else(|| rig::Error::new("the kernel does not count this thread's switches"))
}

fn runtime() -> Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| rig::Error::new(format!("no tokio runtime: {error}")))
}

/// `cause`, with what was being done.
fn failed(what: &str) -> impl FnOnce(Box<dyn std::error::Error>) -> rig::Error {
    let what = what.to_owned();
    move |cause| rig::Error::new(format!("plain client, {what}: {cause}"))
}

/// Round trips under way: when each was asked, and what came of them.
struct Trips {
    began: Instant,
    asked: Vec<Instant>,
    latency: Histogram<u64>,
    numbers: Numbers,
    last: Instant,
}

impl Trips {
    fn begin() -> Result<Self> {
        let now = Instant::now();
        let (latency, numbers) = (rig::load::histogram()?, Numbers::default());
        Ok(Self { began: now, asked: Vec::with_capacity(1 << 17), latency, numbers, last: now })
    }

    /// The number of the next question.
    fn ask(&mut self) -> u64 {
        self.asked.push(Instant::now());
        self.asked.len() as u64 - 1
    }

    /// Notes the answer to question `number`.
    fn answered(&mut self, number: u64) {
        let now = Instant::now();
        if let Some(asked) = self.asked.get(number as usize) {
            self.latency.saturating_record((now - *asked).as_nanos() as u64);
            self.numbers.add(number);
            self.last = now;
        }
    }

    fn all_answered(&self) -> bool {
        self.numbers.distinct() == self.asked.len() as u64
    }

    fn work(self) -> Work {
        let took = self.last - self.began;
        Work { count: self.numbers.distinct(), took, latency: Some(self.latency), numbers: self.numbers }
    }
}
