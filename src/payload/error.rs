//! Why a payload cannot be used, in words an operator can act on. Never quotes the payload itself.

use super::json::JsonError;

/// Why a payload was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// Sender's fault: the text is not JSON, not even in the lenient dialect.
    #[error("payload is not valid JSON: {0}")]
    NotJson(#[from] JsonError),
    /// Sender's fault: valid JSON, but fields can only be added to an object.
    #[error("payload must be a JSON object, found {found}")]
    NotAnObject {
        /// Kind of the top-level value, as in [`Value::kind`](super::Value::kind).
        found: &'static str,
    },
    /// Script's fault: a query cannot wait for a reply that it has no text to recognise by.
    #[error("Msg-ID must be a string, number or boolean to wait for a reply, found {found}")]
    MsgIdNotText {
        /// Kind of the `Msg-ID` value.
        found: &'static str,
    },
    /// Script's fault: the sealed payload does not fit the 32-bit offsets of a bus record.
    #[error("payload is {len} bytes once its fields are added, the limit is {max}")]
    TooLarge {
        /// Bytes of the sealed payload.
        len: usize,
        /// Most bytes that can be addressed.
        max: usize,
    },
}
