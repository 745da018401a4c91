//! Empties a queue and tells which numbers were in it; watches how full one is.

use std::time::{Duration, Instant};

use super::sequence::Numbers;
pub use super::wire::Depth;
use super::wire::{Event, Wire};
use crate::bus::Client;
use crate::error::Result;

/// How often the depth of a queue is asked for. Asking takes the broker some 50 us.
const POLL: Duration = Duration::from_millis(2);

/// Takes everything out of `queue`, at least `expected` messages unless none comes for a second.
pub fn drain(client: Client, queue: &str, expected: u64) -> Result<Numbers> {
    let mut wire = Wire::open(client.port)?;
    let mut numbers = Numbers::default();
    let waiting = wire.depth(queue)?.messages;
    if waiting == 0 && expected == 0 {
        return Ok(numbers);
    }
    wire.consume(queue)?;
    let mut arrived = 0;
    loop {
        while let Some(event) = wire.next()? {
            if let Event::Deliver(message) = event {
                arrived += 1;
                numbers.add_message(message.body);
            }
        }
        // Something may have come twice: what is still there shows within a moment.
        let wait = if arrived >= expected.max(waiting) { Duration::from_millis(5) } else { Duration::from_secs(1) };
        if !wire.fill(wait)? {
            return Ok(numbers);
        }
    }
}

/// Waits until the queue is as `ready` wants it; the moment at which it was, `None` when `timeout` passed first.
pub fn until_depth(
    client: Client,
    queue: &str,
    timeout: Duration,
    mut ready: impl FnMut(Depth) -> bool,
) -> Result<Option<Instant>> {
    let mut wire = Wire::open(client.port)?;
    let deadline = Instant::now() + timeout;
    loop {
        if ready(wire.depth(queue)?) {
            return Ok(Some(Instant::now()));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}
