//! Outgoing payload: the sender's fields added, the whole serialised, ready for the wire.
//!
//! A SIP worker seals the payload; it does not know which broker will carry it, so `Server-ID`, the address for
//! the reply, is put in by the manager at the place that [`Splice`] names, without parsing again.

use super::error::PayloadError;
use super::json::{Object, Value, write_object_noting, write_string};

const MSG_ID: &[u8] = b"Msg-ID";
/// The member that holds the address for a reply.
pub(super) const SERVER_ID: &[u8] = b"Server-ID";

/// Values of the fields that are added when the payload has none of its own (or `null`).
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// `App-Name`: modparam `app_name`.
    pub app_name: &'a [u8],
    /// `App-Version`: Kamailio's version, such as `5.6.3`.
    pub app_version: &'a [u8],
    /// `Node`: `kamailio@` and modparam `node_hostname`.
    pub node: &'a [u8],
    /// `Msg-ID`: a fresh random UUID, lower case.
    pub msg_id: &'a [u8],
}

/// A serialised payload with all its fields except, perhaps, `Server-ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enveloped {
    /// The serialised object.
    pub text: Vec<u8>,
    /// Where `Server-ID` goes.
    pub splice: Splice,
    /// Text of the `Msg-ID` that is in `text`, the caller's own or the fresh one: what a reply will carry. A
    /// number or boolean counts with its digits, as [`top_level_string`](super::top_level_string) reads it back.
    /// `Err` holds the kind of a value that has no such text (array, object).
    pub msg_id: Result<Vec<u8>, &'static str>,
}

impl Enveloped {
    /// The text by which a query recognises its reply. An error when the caller put an array or object there: it
    /// is sent as it is, as a publish, but no reply could be matched.
    pub fn correlation(&self) -> Result<&[u8], PayloadError> {
        self.msg_id.as_deref().map_err(|found| PayloadError::MsgIdNotText { found })
    }
}

/// Where in a serialised payload the `Server-ID` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Splice {
    /// The caller set its own: nothing to do.
    None,
    /// A member is inserted at byte `at`, behind the last one.
    Member {
        /// Offset of the blank before the closing brace.
        at: u32,
    },
    /// The `null` of `len` bytes at `at` is replaced.
    Value {
        /// Offset of the value.
        at: u32,
        /// Bytes of the value.
        len: u32,
    },
}

/// A [`Splice`] that does not lie inside its text: the record it came in is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("place for Server-ID ends at byte {end} of a payload of {len} bytes")]
pub struct SpliceError {
    /// End of the bytes to replace.
    pub end: u64,
    /// Bytes of the payload.
    pub len: usize,
}

impl Splice {
    /// Appends `text` to `out` with `server_id` as a JSON string in its place.
    pub fn apply(&self, text: &[u8], server_id: &[u8], out: &mut Vec<u8>) -> Result<(), SpliceError> {
        let (at, len, before): (u32, u32, &[u8]) = match *self {
            Self::None => {
                out.extend_from_slice(text);
                return Ok(());
            }
            Self::Member { at } => (at, 0, b", \"Server-ID\": "),
            Self::Value { at, len } => (at, len, b""),
        };
        let outside = SpliceError { end: u64::from(at) + u64::from(len), len: text.len() };
        let (head, rest) = text.split_at_checked(at as usize).ok_or(outside)?;
        let tail = rest.get(len as usize..).ok_or(outside)?;
        out.reserve(text.len() + before.len() + server_id.len() + 8);
        out.extend_from_slice(head);
        out.extend_from_slice(before);
        write_string(server_id, out);
        out.extend_from_slice(tail);
        Ok(())
    }
}

/// Parses `body`, adds the fields it lacks in their fixed order (in place where the value is `null`), serialises.
///
/// Errors if `body` is not a JSON object in the lenient dialect.
pub fn envelope(body: &[u8], fields: &Envelope<'_>) -> Result<Enveloped, PayloadError> {
    let mut object = object(body)?;
    fields.fill(&mut object);
    let msg_id = match object.get(MSG_ID) {
        Some(value) => value.scalar_text().map(<[u8]>::to_vec).ok_or(value.kind()),
        None => Ok(fields.msg_id.to_vec()),
    };
    let mut text = Vec::with_capacity(body.len() + body.len() / 4 + 256);
    let splice = serialise(&object, &mut text)?;
    Ok(Enveloped { text, splice, msg_id })
}

/// The payload as an object.
pub(super) fn object(body: &[u8]) -> Result<Object<'_>, PayloadError> {
    match Value::parse(body)? {
        Value::Object(object) => Ok(object),
        other => Err(PayloadError::NotAnObject { found: other.kind() }),
    }
}

impl<'a> Envelope<'a> {
    fn fill(&self, object: &mut Object<'a>) {
        let fields: [(&[u8], &[u8]); 4] = [
            (b"App-Name", self.app_name),
            (b"App-Version", self.app_version),
            (b"Node", self.node),
            (MSG_ID, self.msg_id),
        ];
        for (name, value) in fields {
            if object.get(name).is_none_or(Value::is_null) {
                object.set(name, Value::string(value));
            }
        }
    }
}

/// Serialises and finds the place for `Server-ID` on the way.
fn serialise(object: &Object<'_>, text: &mut Vec<u8>) -> Result<Splice, PayloadError> {
    let mut null_at = None;
    write_object_noting(object, text, |name, range| {
        if name == SERVER_ID {
            null_at = Some(range);
        }
    });
    let len = text.len();
    let offset = |at: usize| u32::try_from(at).map_err(|_| PayloadError::TooLarge { len, max: u32::MAX as usize });
    Ok(match (object.get(SERVER_ID), null_at) {
        (Some(Value::Null), Some(range)) => Splice::Value { at: offset(range.start)?, len: offset(range.len())? },
        (Some(_), _) => Splice::None,
        _ => Splice::Member { at: offset(len - b" }".len())? },
    })
}
