//! One run of one part: what it is to do, and what it took.

use std::fmt::{Display, Formatter, Result};
use std::str::FromStr;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::BODY;

/// See [`Job::pause`].
const PAUSE: Duration = Duration::from_micros(50);

/// What a part is to do.
pub struct Job {
    pub workload: String,
    pub url: String,
    pub messages: u64,
}

impl Job {
    /// Whether messages are taken off the queue, not put into it.
    pub fn consumes(&self) -> bool {
        self.workload.starts_with("consume")
    }

    /// Whether each message is acknowledged by whom it was handed to.
    pub fn acks(&self) -> bool {
        self.workload.ends_with("-ack")
    }

    /// Time that a publisher is busy with something else between two messages, as a SIP worker is.
    pub fn pause(&self) -> Duration {
        if self.workload.ends_with("-paced") { PAUSE } else { Duration::ZERO }
    }

    /// Publishers at a time, each with a channel of its own.
    pub fn publishers(&self) -> usize {
        self.workload.split('-').find_map(|part| part.parse().ok()).unwrap_or(1)
    }

    /// Connections that the channels are shared out among.
    pub fn connections(&self) -> usize {
        if self.workload.ends_with("-connections") { self.publishers() } else { 1 }
    }
}

/// Seconds, each per message.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    /// From the first message to the last.
    pub elapsed: f64,
    /// Processor time of the process that talks to the broker.
    pub client: f64,
    /// Processor time of the processes at the other end of the rings.
    pub worker: f64,
    /// Processor time of the broker.
    pub broker: f64,
}

impl Cost {
    pub fn rate(&self) -> f64 {
        1.0 / self.elapsed
    }

    /// Of each column by itself.
    pub fn median(costs: &[Self]) -> Self {
        let column = |of: fn(&Self) -> f64| {
            let mut column: Vec<f64> = costs.iter().map(of).collect();
            column.sort_by(f64::total_cmp);
            column[column.len() / 2]
        };
        Self {
            elapsed: column(|c| c.elapsed),
            client: column(|c| c.client),
            worker: column(|c| c.worker),
            broker: column(|c| c.broker),
        }
    }
}

impl Display for Cost {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} {} {}", self.elapsed, self.client, self.worker)
    }
}

impl FromStr for Cost {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let numbers: Vec<f64> = text.split(' ').filter_map(|n| n.parse().ok()).collect();
        let [elapsed, client, worker] = numbers.as_slice() else { return Err(()) };
        Ok(Self { elapsed: *elapsed, client: *client, worker: *worker, broker: 0.0 })
    }
}

/// A JSON object of [`BODY`] bytes.
pub fn body() -> Vec<u8> {
    let frame = r#"{"Event-Name":"bench","Text":""}"#;
    let mut text = frame.replace(r#""}"#, "").into_bytes();
    text.resize(BODY - 2, b'x');
    text.extend_from_slice(br#""}"#);
    text
}

/// Processor time that `clock` has counted.
pub fn cpu(clock: ClockId) -> Duration {
    clock_gettime(clock).unwrap().into()
}
