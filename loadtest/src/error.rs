//! The one error type of the rig: a sentence for whoever reads a failed test.

use std::fmt;

/// What the rig could not do, and why, as one text.
#[derive(thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// The same as `Display`: `unwrap` in a test should show log lines as lines.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Result of every fallible call of the rig.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that says `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Adds "while doing what" to a lower error.
pub(crate) trait Context<T> {
    /// Turns the error into `what: cause`.
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: std::fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error(format!("{}: {cause}", what())))
    }
}

/// The end of a log, for an error text.
pub(crate) fn last_lines(text: &str, count: usize) -> &str {
    let start = text.trim_end().rmatch_indices('\n').nth(count - 1).map_or(0, |(at, _)| at + 1);
    &text[start..]
}
