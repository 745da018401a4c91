//! Publishes events at fixed moments and waits for what comes back for each: the way in through an event route and out
//! again.
//!
//! The moments are fixed beforehand and latency counts from them, as with SIP requests in the open loop.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::histogram;
use super::sequence::{FIRST, Numbers, payload};
use super::wire::{Event, Wire};
use crate::bus::Client;
use crate::error::Result;

/// Nothing more has come for so long: nothing will.
const PATIENCE: Duration = Duration::from_secs(3);

/// What to publish, and where it comes back.
#[derive(Debug, Clone)]
pub struct Echo<'a> {
    /// Queue that events are put into.
    pub to: &'a str,
    /// Queue in which a message with the same number comes back.
    pub back: &'a str,
    /// Size of an event's payload in bytes.
    pub bytes: usize,
    /// Events per second.
    pub per_second: u32,
    /// For how long.
    pub duration: Duration,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Echoed {
    /// Published.
    pub sent: u64,
    /// Came back.
    pub back: Numbers,
    /// From the moment of publishing, nanoseconds.
    pub latency: Histogram<u64>,
}

impl Echo<'_> {
    /// Publishes, and waits for the last one.
    pub fn run(&self, client: Client) -> Result<Echoed> {
        // Without it the kernel adds 50 us to each pause. Refused: it stays so.
        let _ = nix::sys::prctl::set_timerslack(1);
        let mut wire = Wire::open(client.port)?;
        wire.consume(self.back)?;
        let interval = Duration::from_secs(1) / self.per_second.max(1);
        let began = Instant::now();
        let due = |number: u64| began + interval.mul_f64(number as f64);
        let end = began + self.duration;
        let mut echoed = Echoed { sent: 0, back: Numbers::default(), latency: histogram()? };
        let mut last = began;
        loop {
            while due(echoed.sent) < end && due(echoed.sent) <= Instant::now() {
                let body = payload(&(FIRST + echoed.sent).to_string(), self.bytes);
                wire.publish("", self.to.as_bytes(), b"", body.as_bytes());
                echoed.sent += 1;
            }
            wire.flush()?;
            if echoed.take(&mut wire, due)? {
                last = Instant::now();
            }
            let is_over = due(echoed.sent) >= end;
            if is_over && (echoed.back.distinct() == echoed.sent || last.max(end).elapsed() > PATIENCE) {
                return Ok(echoed);
            }
            let wait = if is_over { PATIENCE } else { due(echoed.sent).saturating_duration_since(Instant::now()) };
            wire.fill(wait)?;
        }
    }
}

impl Echoed {
    /// Takes what has come; true when there was something.
    fn take(&mut self, wire: &mut Wire, due: impl Fn(u64) -> Instant) -> Result<bool> {
        let before = self.back.distinct();
        while let Some(event) = wire.next()? {
            let Event::Deliver(message) = event else { continue };
            let Some(number) = super::sequence::sequence(message.body).filter(|number| *number >= FIRST) else {
                continue;
            };
            let late = Instant::now().saturating_duration_since(due(number - FIRST));
            self.back.add(number);
            self.latency.saturating_record(late.as_nanos() as u64);
        }
        Ok(self.back.distinct() > before)
    }
}
