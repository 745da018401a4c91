//! Why a publish or query could not be sent: causes, their return codes, their log lines.

use crate::bus::counters::Counter;
use crate::bus::{PublishError, TooLong};
use crate::host::log;
use crate::host::params::NotEvaluated;
use crate::payload::PayloadError;
use crate::payload::headers::{self, HeaderError};

use super::Verdict;
use super::process::{self, NotAttached};

/// Anything that can be wrong with a message before it is in the outbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum Refusal {
    /// Kamailio could not tell a parameter's value.
    #[error(transparent)]
    NotEvaluated(#[from] NotEvaluated),
    /// Exchange longer than AMQP allows.
    #[error("exchange is {0}")]
    Exchange(TooLong),
    /// Routing key longer than AMQP allows.
    #[error("routing key is {0}")]
    RoutingKey(TooLong),
    /// `consumer://` without a number and a key, or with the number of no broker.
    #[error("routing key \"consumer://…\" must be consumer://ID/KEY with the number of a configured broker")]
    Address,
    /// Headers that AMQP cannot carry.
    #[error(transparent)]
    Headers(#[from] HeaderError),
    /// No JSON object.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Not accepted by the bus.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// This process cannot use the bus.
    #[error(transparent)]
    NotAttached(#[from] NotAttached),
}

impl Refusal {
    /// The return code.
    pub(super) fn verdict(&self) -> Verdict {
        match self {
            Self::NotEvaluated(cause) => cause.into(),
            Self::Address | Self::Headers(_) | Self::NotAttached(_) => Verdict::Failed,
            Self::Exchange(_) | Self::RoutingKey(_) => Verdict::KeyTooLong,
            Self::Payload(PayloadError::TooLarge { .. }) => Verdict::TooLarge,
            Self::Payload(_) => Verdict::BadPayload,
            Self::Publish(PublishError::Full { .. } | PublishError::NoMemory { .. }) => Verdict::OutboxFull,
            Self::Publish(PublishError::TooLarge { .. }) => Verdict::TooLarge,
            Self::Publish(_) => Verdict::Failed,
        }
    }

    /// Logs the refusal of `function`, counts it if the bus has not done so, and gives the return code.
    pub(super) fn report(&self, function: &str) -> Verdict {
        if let Self::NotEvaluated(_) | Self::Publish(PublishError::Full { .. } | PublishError::NoMemory { .. }) = self {
            log::throttled_error!("{function}: {self}");
        } else {
            log::error!("{function}: {self}");
        }
        if !matches!(self, Self::Publish(_) | Self::NotAttached(_)) {
            // A process that cannot count cannot send either, and has said so.
            let _ = process::with(|process| {
                process.worker.row().inc(Counter::Attempted);
                process.worker.row().inc(Counter::RefusedInvalid);
            });
        }
        self.verdict()
    }
}

/// Checks headers; parts that will be skipped are logged.
pub(super) fn check_headers<'m>(function: &str, raw: &'m [u8]) -> Result<&'m [u8], HeaderError> {
    if raw.is_empty() {
        return Ok(raw);
    }
    headers::validate(raw)?;
    for skipped in headers::pairs(raw).filter_map(Result::err) {
        log::throttled_error!("{function}: {skipped}; skipped");
    }
    Ok(raw)
}
