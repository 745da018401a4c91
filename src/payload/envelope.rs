//! Outgoing payload: the sender's fields added, the whole serialised, ready for the wire.
//!
//! A SIP worker seals the payload; it does not know which broker will carry it, so `Server-ID`, the address for
//! the reply, is put in by the manager at the place that [`Splice`] names, without parsing again.

use std::borrow::Cow;
use std::ops::Range;

use super::error::PayloadError;
use super::json::{Copier, Memory, kind_of, text_of, write_string};

/// The member that holds the address for a reply, as it is written.
pub(super) const WRITTEN_SERVER_ID: &[u8] = b"\"Server-ID\"";

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
    /// Where in `text` the value of `Msg-ID` stands, the caller's own or the fresh one.
    msg_id: Range<usize>,
}

impl Enveloped {
    /// The text by which a query recognises its reply: a number or boolean counts with its digits, as
    /// [`top_level_string`](super::top_level_string) reads it back. An error when the caller put an array or object
    /// there: it is sent as it is, as a publish, but no reply could be matched.
    pub fn correlation(&self) -> Result<Cow<'_, [u8]>, PayloadError> {
        match &self.text[self.msg_id.clone()] {
            value @ ([b'[', ..] | [b'{', ..]) => Err(PayloadError::MsgIdNotText { found: kind_of(value) }),
            value => Ok(text_of(value).unwrap_or_default()),
        }
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

/// Reads `body`, adds the fields it lacks in their fixed order (in place where the value is `null`), writes it: all in
/// one pass.
///
/// Errors if `body` is not a JSON object in the lenient dialect.
pub fn envelope(body: &[u8], fields: &Envelope<'_>) -> Result<Enveloped, PayloadError> {
    envelope_in(&mut Memory::default(), body, fields)
}

/// The same in the memory of former texts, for a caller that gives the text back with [`Memory::keep`].
pub fn envelope_in(memory: &mut Memory, body: &[u8], fields: &Envelope<'_>) -> Result<Enveloped, PayloadError> {
    const MSG_ID: usize = 3;
    const SERVER_ID: usize = 4;
    let fields = fields.list();
    let mut found = [false; 4];
    let mut has_server_id = false;
    let mut written = Copier::object(body, body.len() / 4 + 256, std::mem::take(memory), |name| {
        let nth = name.with_key(|name| match name {
            b"App-Name" => Some(0),
            b"App-Version" => Some(1),
            b"Node" => Some(2),
            b"Msg-ID" => Some(MSG_ID),
            b"Server-ID" => Some(SERVER_ID),
            _ => None,
        })?;
        has_server_id |= nth == SERVER_ID;
        *found.get_mut(nth)? = true;
        fields.get(nth).map(|(_, value)| *value)
    })?;
    let mut msg_id = None;
    for ((name, value), _) in fields.into_iter().zip(found).filter(|(_, is_there)| !is_there) {
        msg_id = Some(written.add(name, |out| write_string(value, out)));
    }
    let server_id = if has_server_id { written.find(WRITTEN_SERVER_ID) } else { None };
    let splice = Splice::at(server_id, written.text())?;
    let msg_id = if found[MSG_ID] { written.find(fields[MSG_ID].0) } else { msg_id };
    let text;
    (text, *memory) = written.into_text_and_memory();
    Ok(Enveloped { text, splice, msg_id: msg_id.unwrap_or_default() })
}

impl<'a> Envelope<'a> {
    /// Names as they are written, and values, in the order in which they are added.
    fn list(&self) -> [(&'static [u8], &'a [u8]); 4] {
        [
            (b"\"App-Name\"", self.app_name),
            (b"\"App-Version\"", self.app_version),
            (b"\"Node\"", self.node),
            (b"\"Msg-ID\"", self.msg_id),
        ]
    }
}

impl Splice {
    /// The place in an object whose value of `Server-ID` stands at `server_id`.
    fn at(server_id: Option<Range<usize>>, text: &[u8]) -> Result<Self, PayloadError> {
        let len = text.len();
        let offset = |at: usize| u32::try_from(at).map_err(|_| PayloadError::TooLarge { len, max: u32::MAX as usize });
        Ok(match server_id {
            None => Self::Member { at: offset(len - b" }".len())? },
            Some(value) if text[value.clone()] == *b"null" => {
                Self::Value { at: offset(value.start)?, len: offset(value.len())? }
            }
            Some(_) => Self::None,
        })
    }
}
