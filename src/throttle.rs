//! Keeps a storm of like lines out of the server's log: the first one passes, then one a second that says how many
//! were left out.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::bus::clock::now_ns;

/// Lets one line a second through and counts the rest. Per process.
#[derive(Debug, Default)]
pub struct Throttle {
    next_ns: AtomicU64,
    held_back: AtomicU64,
}

impl Throttle {
    /// Also for a static.
    pub const fn new() -> Self {
        Self { next_ns: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// `Some(n)`: log now and end the line with `n`. `None`: leave this one out.
    pub fn pass(&self) -> Option<HeldBack> {
        let now = now_ns();
        if now < self.next_ns.load(Relaxed) {
            self.held_back.fetch_add(1, Relaxed);
            return None;
        }
        self.next_ns.store(now + 1_000_000_000, Relaxed);
        Some(HeldBack(self.held_back.swap(0, Relaxed)))
    }
}

/// The end of a throttled line: nothing, or how many were left out.
#[derive(Clone, Copy, Debug)]
pub struct HeldBack(pub u64);

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, " (and {} more like this since the last line)", self.0) }
    }
}
