//! AMQP headers as a script writes them: `name=value;name=value`.
//!
//! A worker checks the text with [`validate`] before it goes on the bus; the manager takes the pairs out with
//! [`pairs`]. Names and values are used as they stand, blanks included; every value is a long string.

/// Most bytes of a header name: AMQP writes it as a short string.
pub const MAX_NAME_BYTES: usize = 255;

/// Most bytes of all headers together as the broker gets them. They travel in one frame, of 131072 bytes with
/// RabbitMQ's default `frame_max`; a larger one would end the connection.
pub const MAX_TABLE_BYTES: usize = 128 * 1024 - 1024;

/// Why a `headers` argument is refused, or a part of it skipped. Script's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The part is skipped, the others are used; worth a log line.
    #[error("header at byte {at} has no value, expected name=value")]
    NoValue {
        /// Offset of the part.
        at: usize,
    },
    /// The whole call is refused.
    #[error("header name at byte {at} is {len} bytes, AMQP allows {MAX_NAME_BYTES}")]
    NameTooLong {
        /// Offset of the part.
        at: usize,
        /// Bytes of the name.
        len: usize,
    },
    /// The whole call is refused.
    #[error("headers are {len} bytes in all, the limit is {MAX_TABLE_BYTES}")]
    TableTooLarge {
        /// Bytes of the encoded table.
        len: usize,
    },
}

/// A header name and its value.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// The pairs of `raw` in order. Empty parts are passed over; several `=` in a row count as one; text after a
/// second `=` is dropped. A part without a value or with too long a name comes as an error, and the iteration
/// goes on.
pub fn pairs(raw: &[u8]) -> impl Iterator<Item = Result<Pair<'_>, HeaderError>> {
    let mut next_at = 0;
    raw.split(|&byte| byte == b';').filter_map(move |part| {
        let at = next_at;
        next_at += part.len() + 1;
        (!part.is_empty()).then(|| pair(part, at))
    })
}

fn pair(part: &[u8], at: usize) -> Result<Pair<'_>, HeaderError> {
    let mut words = part.split(|&byte| byte == b'=').filter(|word| !word.is_empty());
    match (words.next(), words.next()) {
        (Some(name), Some(_)) if name.len() > MAX_NAME_BYTES => Err(HeaderError::NameTooLong { at, len: name.len() }),
        (Some(name), Some(value)) => Ok((name, value)),
        _ => Err(HeaderError::NoValue { at }),
    }
}

/// Checks that the headers can be sent. Parts without a value are no error here: [`pairs`] reports them.
pub fn validate(raw: &[u8]) -> Result<(), HeaderError> {
    let mut len = 0;
    for pair in pairs(raw) {
        match pair {
            // Short string, type octet, long string.
            Ok((name, value)) => len += 1 + name.len() + 1 + 4 + value.len(),
            Err(HeaderError::NoValue { .. }) => {}
            Err(refused) => return Err(refused),
        }
    }
    if len > MAX_TABLE_BYTES { Err(HeaderError::TableTooLarge { len }) } else { Ok(()) }
}
