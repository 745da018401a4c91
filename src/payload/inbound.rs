//! Incoming payload: what is edited before an event route sees it, and what the manager reads of a reply.

use std::borrow::Cow;

use super::envelope::WRITTEN_SERVER_ID;
use super::error::PayloadError;
use super::json::{Copier, JsonError, Memory, Written, member_text, text_of, write_string};
use super::path::until_nul;

/// Bytes to make room for beyond those of the body.
const EDITS: usize = 256;

/// Where and when a message came in.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Name of the broker's zone.
    pub zone: &'a [u8],
    /// Number of the broker, as in `consumer://ID/KEY`.
    pub broker_id: u32,
    /// Time of receipt, Unix seconds.
    pub received_unix: u64,
}

/// A payload as an event route sees it.
#[derive(Debug)]
pub struct Inbound(Written);

/// Reads a message body and edits it for the event route, in this order: `AMQP-Broker-Zone` and `AMQP-Received`
/// are set; a `Server-ID` becomes `consumer://<broker id>/<Server-ID>` and moves to the end, so that publishing
/// to it reaches the broker the message came from; an empty `Server-ID` is removed. Any length is fine.
///
/// One pass without a tree. Errors if `body` is not a JSON object in the lenient dialect.
pub fn inbound(body: &[u8], origin: &Origin<'_>) -> Result<Inbound, PayloadError> {
    let mut payload = Inbound::unedited(body)?;
    payload.0.set(b"\"AMQP-Broker-Zone\"", |out| write_string(origin.zone, out));
    payload.0.set(b"\"AMQP-Received\"", |out| out.extend_from_slice(origin.received_unix.to_string().as_bytes()));
    if let Some(address) = payload.value(WRITTEN_SERVER_ID).map(Cow::into_owned) {
        payload.0.remove(WRITTEN_SERVER_ID);
        if !address.is_empty() {
            payload.0.set(WRITTEN_SERVER_ID, |out| write_string(&consumer_address(origin.broker_id, &address), out));
        }
    }
    Ok(payload)
}

impl Inbound {
    /// Reads a payload that needs no edits: the module made it itself.
    pub fn unedited(body: &[u8]) -> Result<Self, PayloadError> {
        Copier::object(body, EDITS, Memory::default(), |_| None).map(Self)
    }

    /// The member `name` as script text: see [`render`](super::path::render).
    pub fn get(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        let mut written = Vec::with_capacity(name.len() + 2);
        write_string(name, &mut written);
        self.value(&written)
    }

    /// The same for a name as it is written.
    fn value(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        text_of(&self.0.text()[self.0.find(name)?]).map(until_nul)
    }

    /// The whole text, in the one written form.
    pub fn text(&self) -> &[u8] {
        self.0.text()
    }

    /// The whole text, in the one written form.
    pub fn into_text(self) -> Vec<u8> {
        self.0.into_text()
    }
}

/// The routing key that leads to `key` on broker `broker_id`.
fn consumer_address(broker_id: u32, key: &[u8]) -> Vec<u8> {
    let mut address = format!("consumer://{broker_id}/").into_bytes();
    address.extend_from_slice(key);
    address
}

/// Text of one top-level member, such as `Msg-ID`: a string's bytes, a number's digits, `true` or `false`.
///
/// One pass over the whole body without a tree; allocates only where a string has escape sequences. Agrees with
/// [`Value::parse`](super::Value::parse) on what is valid and on repeated names (the last one counts). `None` if the
/// body is no object, the member is missing, or it is `null`, an array or an object.
pub fn top_level_string<'a>(body: &'a [u8], key: &[u8]) -> Result<Option<Cow<'a, [u8]>>, JsonError> {
    member_text(body, key)
}
