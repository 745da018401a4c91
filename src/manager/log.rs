//! Lines for the server's log. The manager must not know Kamailio, so whoever starts it hands in a sink.
//!
//! State changes are logged once. What can storm goes through [`Throttle`]: the first line, then one a second with
//! the number of those left out.

use std::fmt::Arguments;

use crate::bus::clock::now_ns;

/// How much a line matters. ERR: an operator must act; WARN: degraded and healing; NOTICE, INFO: state changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the levels of every log")]
pub enum Level {
    Error,
    Warn,
    Notice,
    Info,
    Debug,
}

/// Where lines go.
#[derive(Clone, Copy)]
pub struct Log(pub fn(Level, Arguments<'_>));

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}

impl Log {
    /// One line at `level`.
    pub fn line(self, level: Level, text: Arguments<'_>) {
        (self.0)(level, text);
    }

    /// An operator must act.
    pub fn error(self, text: Arguments<'_>) {
        self.line(Level::Error, text);
    }

    /// Degraded, and healing by itself.
    pub fn warn(self, text: Arguments<'_>) {
        self.line(Level::Warn, text);
    }

    /// A state changed.
    pub fn info(self, text: Arguments<'_>) {
        self.line(Level::Info, text);
    }
}

/// Lets one line a second through and counts the rest.
#[derive(Debug, Default)]
pub struct Throttle {
    next_ns: u64,
    held_back: u64,
}

impl Throttle {
    /// `Some(n)`: log now, and say that `n` like it were left out. `None`: leave this one out.
    pub fn pass(&mut self) -> Option<u64> {
        let now = now_ns();
        if now < self.next_ns {
            self.held_back += 1;
            return None;
        }
        self.next_ns = now + 1_000_000_000;
        Some(std::mem::take(&mut self.held_back))
    }
}
