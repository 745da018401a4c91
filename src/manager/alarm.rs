//! The one timer of the loop.
//!
//! To set a timer of the runtime and to take it back costs more than most turns have to do, and one that is due before all others
//! makes the runtime wake itself through the kernel. So the timer stays as it is while the loop wants to be woken later
//! and later, and is set anew when it has gone off in vain: in a stream of messages a few times per second.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::bus::clock::now_ns;

/// Goes off at the time that its owner wants when it asks, or later. Inside the runtime only.
#[derive(Debug)]
pub struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// When it goes off, [`now_ns`]; `None`: it has.
    set_ns: Option<u64>,
    /// One moment by the clock of the runtime and by [`now_ns`].
    origin: (Instant, u64),
}

impl Alarm {
    /// Not set.
    pub fn new() -> Self {
        let origin = (Instant::now(), now_ns());
        Self { sleep: Box::pin(sleep_until(origin.0)), set_ns: None, origin }
    }

    /// Ready at `due_ns` by [`now_ns`], or at once if that is over.
    pub fn poll_due(&mut self, context: &mut Context<'_>, due_ns: u64) -> Poll<()> {
        loop {
            if self.set_ns.is_none_or(|set_ns| set_ns > due_ns) {
                let (instant, origin_ns) = self.origin;
                self.sleep.as_mut().reset(instant + Duration::from_nanos(due_ns.saturating_sub(origin_ns)));
                self.set_ns = Some(due_ns);
            }
            if self.sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if self.set_ns.take().is_none_or(|set_ns| set_ns >= due_ns) {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn goes_off_when_it_is_wanted_whatever_it_is_set_to() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut alarm = Alarm::new();
            // What is wanted first and what then, in ms from now: later, sooner, and over already.
            for (first, then) in [(20, 60), (600_000, 20), (20, 0)] {
                let start = now_ns();
                let pending = poll_fn(|context| Poll::Ready(alarm.poll_due(context, start + first * MS).is_pending()));
                assert!(pending.await, "{first} ms");
                poll_fn(|context| alarm.poll_due(context, start + then * MS)).await;
                let took = now_ns() - start;
                assert!(took >= then * MS && took < 300_000 * MS, "{then} ms wanted, {took} ns taken");
            }
        });
    }
}
