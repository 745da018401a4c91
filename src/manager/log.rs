//! Lines for the server's log. The manager must not know Kamailio, so whoever starts it hands in a sink.
//!
//! State changes are logged once. What can storm goes through a [`Throttle`](crate::throttle::Throttle).

use std::fmt::Arguments;

/// How much a line matters. ERR: an operator must act; WARN: degraded and healing; INFO: state changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the levels of every log")]
pub enum Level {
    Error,
    Warn,
    Info,
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
