//! Where and why a text is not JSON.

use std::fmt;

/// A text that is not JSON in the dialect of this module: what is wrong and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct JsonError {
    /// Offset of the offending byte; of the opening character for something that is never closed.
    pub at: usize,
    /// What is wrong there.
    pub what: Cause,
}

/// Result inside the parser: one word for the error, so that the usual answer travels in registers.
pub(super) type Read<T> = Result<T, Box<JsonError>>;

impl JsonError {
    /// For the parser's own results.
    #[cold]
    pub(super) fn boxed(at: usize, what: Cause) -> Box<Self> {
        Box::new(Self { at, what })
    }
}

/// What is wrong with a text that is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// Nothing but blanks and comments before the end (or before the first NUL byte).
    #[error("no value (empty text)")]
    Empty,
    /// The single value `null`: treated as no payload at all.
    #[error("the value is null")]
    Null,
    /// The text ends inside a value.
    #[error("text ends where {expected} should follow")]
    End {
        /// What may stand here.
        expected: &'static str,
    },
    /// A byte that cannot stand here.
    #[error("{} where {expected} should follow", Shown(*found))]
    Unexpected {
        /// The byte found.
        found: u8,
        /// What may stand here.
        expected: &'static str,
    },
    /// A string or comment without its end.
    #[error("{what} is never closed")]
    Unclosed {
        /// `string` or `comment`.
        what: &'static str,
    },
    /// A backslash followed by something other than `" \ / b f n r t` or `u` and four hex digits.
    #[error("unknown escape sequence")]
    Escape,
    /// Digits, signs and points that form no number.
    #[error("malformed number")]
    Number,
    /// Values nested deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    #[error("nested deeper than {max} levels")]
    TooDeep {
        /// The limit.
        max: usize,
    },
}

/// A byte for a log line: itself when printable, else its code.
struct Shown(u8);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            byte @ 0x21..=0x7E => write!(f, "'{}'", char::from(byte)),
            byte => write!(f, "byte 0x{byte:02x}"),
        }
    }
}
