//! A publisher of numbered events that knows exactly which of them the broker has confirmed.
//!
//! A number counts as confirmed when the broker acknowledged a publish of it and did not return it as unroutable.
//! Whatever was not confirmed when the connection broke, or was returned or nacked, is published again. So after
//! [`Flood::wait`] every number from 0 to count-1 is in a queue at least once.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use amqprs::channel::{Channel, ConfirmSelectArguments};
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, Nack, Return};
use async_trait::async_trait;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::client::{Client, Message, publish};
use super::link::{Link, Task};
use crate::error::{Context, Error, Result};
use crate::process::wait_until;

/// Publishes in flight. Enough to keep a broker busy, few enough that a kill repeats little.
const WINDOW: usize = 500;

/// Pause before unroutable or refused events are tried again.
const RETRY: Duration = Duration::from_millis(100);

/// A channel with publishes in flight and no verdict for so long is given up. A RabbitMQ that has just come back can
/// stay silent for good on a channel that published to a quorum queue before that had a leader.
const STALL: Duration = Duration::from_secs(3);

/// How far a flood got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FloodCount {
    /// Publishes made, repetitions included.
    pub published: u64,
    /// Different numbers confirmed by the broker.
    pub confirmed: u64,
}

/// A running flood. Dropping it stops it.
pub struct Flood {
    shared: Arc<Shared>,
    _task: Task,
}

struct Shared {
    make: Box<dyn Fn(u64) -> Message + Send + Sync>,
    count: AtomicU64,
    interval: Duration,
    book: Mutex<Book>,
    published: AtomicU64,
    confirmed: AtomicU64,
    done: AtomicBool,
    paused: AtomicBool,
}

impl fmt::Debug for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flood").field("count", &self.count()).finish_non_exhaustive()
    }
}

impl Flood {
    /// Publishes the messages `make(0)` to `make(count - 1)`, at most `rate` per second (0: as fast as the broker
    /// confirms). `make` gives exchange, routing key and body; its `message_id` is overwritten with the number.
    pub fn start(
        client: Client,
        count: u64,
        rate: u32,
        make: impl Fn(u64) -> Message + Send + Sync + 'static,
    ) -> Result<Self> {
        let interval = Duration::from_secs(1).checked_div(rate).unwrap_or_default();
        let shared = Arc::new(Shared {
            make: Box::new(make),
            count: AtomicU64::new(count),
            interval,
            book: Mutex::default(),
            published: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            done: AtomicBool::new(count == 0),
            paused: AtomicBool::new(false),
        });
        let worker = shared.clone();
        let task = Task::spawn(|stop| stop.on_links(client.port, move |link| run(link, worker.clone())))?;
        Ok(Self { shared, _task: task })
    }

    /// How far it got.
    pub fn count(&self) -> FloodCount {
        FloodCount {
            published: self.shared.published.load(Ordering::Relaxed),
            confirmed: self.shared.confirmed.load(Ordering::Relaxed),
        }
    }

    /// True when everything is confirmed.
    pub fn is_done(&self) -> bool {
        self.shared.done.load(Ordering::Acquire)
    }

    /// Begins no further event until [`resume`](Self::resume), and waits until those begun are confirmed.
    pub fn pause(&self, timeout: Duration) -> Result<()> {
        {
            // Under the book's lock no number is being taken.
            let _book = self.shared.book();
            self.shared.paused.store(true, Ordering::Relaxed);
        }
        if wait_until(timeout, || self.shared.book().is_quiet()) {
            return Ok(());
        }
        Err(Error::new(format!("the flood is not confirmed after {timeout:?}: {:?}", self.count())))
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.shared.paused.store(false, Ordering::Relaxed);
    }

    /// Begins no further event and waits until those begun are confirmed; what was confirmed are then the events 0 to
    /// `confirmed - 1`.
    pub fn end(&self, timeout: Duration) -> Result<FloodCount> {
        {
            let book = self.shared.book();
            self.shared.count.store(book.next, Ordering::Relaxed);
            let nothing_begun = book.next == 0;
            self.shared.done.fetch_or(nothing_begun, Ordering::AcqRel);
        }
        self.wait(timeout)
    }

    /// Waits until everything is confirmed.
    pub fn wait(&self, timeout: Duration) -> Result<FloodCount> {
        if wait_until(timeout, || self.is_done()) {
            return Ok(self.count());
        }
        Err(Error::new(format!("the flood is not confirmed after {timeout:?}: {:?}", self.count())))
    }
}

/// Publishes on one connection until it breaks or everything is confirmed.
async fn run(link: Arc<Link>, shared: Arc<Shared>) {
    // The reason does not matter: what was in flight is published again on the next connection.
    let _ = pump(&link, &shared).await;
    if shared.is_complete() {
        shared.done.store(true, Ordering::Release);
        link.lost().await;
    }
}

async fn pump(link: &Link, shared: &Shared) -> Result<()> {
    shared.book().start_channel();
    let mut verdicts = watch_confirms(link).await?;
    let mut due = Instant::now();
    let mut last_verdict = Instant::now();
    while !shared.is_complete() {
        let in_flight = shared.book().flight.len();
        if in_flight == 0 {
            last_verdict = Instant::now();
        }
        tokio::select! {
            biased;
            verdict = verdicts.recv() => {
                let verdict = verdict.ok_or_else(|| Error::new("the channel is gone"))?;
                last_verdict = Instant::now();
                let Settled { confirmed, refused } = shared.book().apply(verdict);
                shared.confirmed.fetch_add(confirmed, Ordering::Relaxed);
                if refused > 0 {
                    due = Instant::now() + RETRY;
                }
            }
            () = pause_until(last_verdict + STALL), if in_flight > 0 => {
                return Err(Error::new("no verdict from the broker"));
            }
            () = pause_until(due), if in_flight < WINDOW => {
                let Some(number) = shared.take() else {
                    due = Instant::now() + RETRY;
                    continue;
                };
                let message = Message { message_id: Some(number.to_string()), ..(shared.make)(number) };
                publish(link, &message, true).await?;
                shared.published.fetch_add(1, Ordering::Relaxed);
                due = (due + shared.interval).max(Instant::now() - RETRY);
            }
        }
    }
    Ok(())
}

/// Returns at once when `due` has passed: a timer of tokio never takes less than a millisecond.
async fn pause_until(due: Instant) {
    if due > Instant::now() {
        tokio::time::sleep_until(due.into()).await;
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next number to publish. Under the book's lock, so that [`Flood::end`] sees every number that was taken.
    fn take(&self) -> Option<u64> {
        let mut book = self.book();
        // What has begun goes on in a pause.
        let count = if self.paused.load(Ordering::Relaxed) { book.next } else { self.count.load(Ordering::Relaxed) };
        book.take(count)
    }

    fn is_complete(&self) -> bool {
        self.confirmed.load(Ordering::Relaxed) == self.count.load(Ordering::Relaxed)
    }
}

/// What the broker says about publishes of one channel.
#[derive(Debug)]
enum Verdict {
    Ack { tag: u64, multiple: bool },
    Nack { tag: u64, multiple: bool },
    Returned { number: u64 },
}

/// How many numbers one verdict settled.
#[derive(Debug, Default)]
struct Settled {
    confirmed: u64,
    /// Nacked, or returned as unroutable: to be published again.
    refused: u64,
}

/// Which numbers are still to publish, and which are on their way.
///
/// It outlives the connections, so that one that breaks at any point loses nothing.
#[derive(Debug, Default)]
struct Book {
    /// Numbers to publish again, before all from `next` on.
    again: VecDeque<u64>,
    next: u64,
    /// Numbers sent on the present channel without a verdict, oldest first; the first one has delivery tag
    /// `settled + 1`, because tags count from 1 per channel.
    flight: VecDeque<u64>,
    settled: u64,
    /// Verdicts that came out of order: tag and whether it was an ack.
    early: BTreeMap<u64, bool>,
    /// Numbers that came back as unroutable; their ack follows and must not count.
    returned: HashSet<u64>,
}

impl Book {
    /// Whatever was in flight has no verdict and will get none.
    fn start_channel(&mut self) {
        let unsettled = std::mem::take(&mut self.flight);
        self.again.extend(unsettled);
        self.settled = 0;
        self.early.clear();
        self.returned.clear();
    }

    /// The next number below `count` to publish; it is in flight from now on.
    fn take(&mut self, count: u64) -> Option<u64> {
        let fresh = || (self.next < count).then_some(self.next);
        let number = self.again.pop_front().or_else(fresh)?;
        self.next = self.next.max(number + 1);
        self.flight.push_back(number);
        Some(number)
    }

    /// Every number that was taken is confirmed.
    fn is_quiet(&self) -> bool {
        self.flight.is_empty() && self.again.is_empty()
    }

    fn apply(&mut self, verdict: Verdict) -> Settled {
        let (tag, multiple, good) = match verdict {
            Verdict::Returned { number } => {
                self.returned.insert(number);
                return Settled::default();
            }
            Verdict::Ack { tag, multiple } => (tag, multiple, true),
            Verdict::Nack { tag, multiple } => (tag, multiple, false),
        };
        let first = if multiple { self.settled + 1 } else { tag };
        for tag in first..=tag {
            self.early.entry(tag).or_insert(good);
        }
        let mut settled = Settled::default();
        while let Some(good) = self.early.remove(&(self.settled + 1)) {
            self.settled += 1;
            let Some(number) = self.flight.pop_front() else { continue };
            if good && !self.returned.remove(&number) {
                settled.confirmed += 1;
            } else {
                settled.refused += 1;
                self.again.push_back(number);
            }
        }
        settled
    }
}

async fn watch_confirms(link: &Link) -> Result<UnboundedReceiver<Verdict>> {
    let (verdicts, receiver) = unbounded_channel();
    link.channel.register_callback(Confirms { verdicts }).await.context(|| "watching confirms".into())?;
    let select = ConfirmSelectArguments::new(false);
    link.channel.confirm_select(select).await.context(|| "asking for confirms".into())?;
    Ok(receiver)
}

struct Confirms {
    verdicts: UnboundedSender<Verdict>,
}

impl Confirms {
    fn tell(&self, verdict: Verdict) {
        // The flood has ended when nobody listens.
        let _ = self.verdicts.send(verdict);
    }
}

type AmqpResult<T> = std::result::Result<T, amqprs::error::Error>;

#[async_trait]
impl amqprs::callbacks::ChannelCallback for Confirms {
    async fn close(&mut self, _: &Channel, _: CloseChannel) -> AmqpResult<()> {
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> AmqpResult<()> {
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> AmqpResult<bool> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        self.tell(Verdict::Ack { tag: ack.delivery_tag(), multiple: ack.mutiple() });
    }

    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        self.tell(Verdict::Nack { tag: nack.delivery_tag(), multiple: nack.multiple() });
    }

    async fn publish_return(&mut self, _: &Channel, _: Return, properties: BasicProperties, _: Vec<u8>) {
        if let Some(number) = properties.message_id().and_then(|id| id.parse().ok()) {
            self.tell(Verdict::Returned { number });
        }
    }
}
