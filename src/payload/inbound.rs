//! Incoming payload: what is edited before an event route sees it, and what the manager reads of a reply.

use std::borrow::Cow;

use super::envelope::{SERVER_ID, object};
use super::error::PayloadError;
use super::json::{JsonError, Value, member_text};
use super::path::render;

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

/// Parses a message body and edits it for the event route, in this order: `AMQP-Broker-Zone` and `AMQP-Received`
/// are set; a `Server-ID` becomes `consumer://<broker id>/<Server-ID>` and moves to the end, so that publishing
/// to it reaches the broker the message came from; an empty `Server-ID` is removed. Any length is fine.
///
/// Errors if `body` is not a JSON object in the lenient dialect.
pub fn inbound<'a>(body: &'a [u8], origin: &Origin<'a>) -> Result<Value<'a>, PayloadError> {
    let mut object = object(body)?;
    object.set(b"AMQP-Broker-Zone".as_slice(), Value::string(origin.zone));
    object.set(b"AMQP-Received".as_slice(), Value::integer(origin.received_unix));
    if let Some(address) = object.get(SERVER_ID).and_then(render).map(Cow::into_owned) {
        object.remove(SERVER_ID);
        if !address.is_empty() {
            object.set(SERVER_ID, Value::string(consumer_address(origin.broker_id, &address)));
        }
    }
    Ok(Value::Object(object))
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
/// [`Value::parse`] on what is valid and on repeated names (the last one counts). `None` if the body is no
/// object, the member is missing, or it is `null`, an array or an object.
pub fn top_level_string<'a>(body: &'a [u8], key: &[u8]) -> Result<Option<Cow<'a, [u8]>>, JsonError> {
    member_text(body, key)
}
