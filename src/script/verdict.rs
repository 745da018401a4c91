//! Return codes of the script functions, documented for script authors.

#[cfg(feature = "host")]
use crate::host::params::NotEvaluated;

/// How a script function ended. The number is what the script finds in `$rc`; 0 ends the script and is returned only by
/// an asynchronous query that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Verdict {
    /// Done: accepted into the outbox, answered, registered, assigned.
    Done = 1,
    /// Asynchronous query: accepted, the transaction is suspended and goes on in one of the callbacks. The script ends here.
    Suspended = 0,
    /// A parameter could not be evaluated or used, or something went wrong inside the module.
    Failed = -1,
    /// The payload is not a JSON object: empty, not JSON, or of another type.
    BadPayload = -2,
    /// Exchange or routing key is longer than AMQP's 255 bytes.
    KeyTooLong = -3,
    /// The message is larger than `amqp_max_message_size`.
    TooLarge = -4,
    /// The outbox of this process is full: the broker confirms too slowly or not at all.
    OutboxFull = -5,
    /// No broker is connected, so no query can be answered.
    NoBroker = -6,
    /// No answer to the query within its timeout.
    Timeout = -7,
    /// The query was lost: the connection broke, or the broker refused it.
    QueryLost = -8,
    /// A presence payload lacks a field that must be there; nothing was written.
    Incomplete = -9,
    /// The presence row was not written: no database is configured, it cannot be reached, or it refused the row.
    NotWritten = -10,
    /// Asynchronous query: one of the callbacks exists neither as such nor as `route[]`.
    NoSuchRoute = -11,
    /// Asynchronous query: there is no transaction that could be suspended.
    NotSuspended = -12,
    /// Asynchronous query: as many are under way as shared memory is good for.
    TooManySuspended = -13,
    /// An unquoted parameter has a `$` in its value that starts no variable.
    NotExpanded = -14,
}

#[cfg(feature = "host")]
impl From<&NotEvaluated> for Verdict {
    fn from(cause: &NotEvaluated) -> Self {
        match cause {
            NotEvaluated::Unknown => Self::Failed,
            NotEvaluated::NotExpanded(_) => Self::NotExpanded,
        }
    }
}

impl Verdict {
    /// The number for the script.
    pub const fn code(self) -> i32 {
        self as i32
    }
}
