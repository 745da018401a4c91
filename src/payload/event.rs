//! Names of the event routes that are tried for a payload, most specific first.
//!
//! Runs in consumer processes, one call per message. Names come from the network: any length is fine.

use std::borrow::Cow;

use super::inbound::Inbound;

/// Name of the route that takes every message no other route is for.
pub const GENERAL: &[u8] = b"kazoo:consumer-event";

/// The payload fields that choose an event route.
#[derive(Debug, Clone, Copy)]
pub struct EventKeys<'a> {
    /// Field of the category, usually `Event-Category`.
    pub key: EventKey<'a>,
    /// Field of the name, usually `Event-Name`.
    pub subkey: EventKey<'a>,
}

/// Name of a payload field, and whose choice it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKey<'a> {
    /// Modparam `amqp_consumer_event_key` or `amqp_consumer_event_subkey`.
    Global(&'a [u8]),
    /// The subscription's own `event_key` or `event_subkey`. Its name stands in for a missing field.
    Own(&'a [u8]),
}

impl<'a> EventKey<'a> {
    /// The subscription's own name unless it is empty, else the global one.
    pub fn choose(own: &'a [u8], global: &'a [u8]) -> Self {
        if own.is_empty() { Self::Global(global) } else { Self::Own(own) }
    }

    /// Name of the field.
    pub fn name(self) -> &'a [u8] {
        let (Self::Global(name) | Self::Own(name)) = self;
        name
    }

    /// Text of the field in `payload`, with the stand-in for a missing or empty one.
    fn text<'v>(self, payload: &'v Inbound) -> Cow<'v, [u8]>
    where
        'a: 'v,
    {
        let text = payload.get(self.name()).filter(|text| !text.is_empty());
        match (text, self) {
            (Some(text), _) => text,
            (None, Self::Own(name)) => Cow::Borrowed(name),
            (None, Self::Global(_)) => Cow::Borrowed(b""),
        }
    }
}

/// The five route names in the order they are tried: category and name, category, key and subkey, key, and
/// [`GENERAL`]. Each is made when it is asked for. All but the last are in lower case with `-` for `_`.
pub fn candidates<'v>(payload: &'v Inbound, keys: EventKeys<'v>) -> impl Iterator<Item = Vec<u8>> + 'v {
    let category = keys.key.text(payload);
    let name = keys.subkey.text(payload);
    (0..5).map(move |nth| match nth {
        0 => route_name(&[&category, &name]),
        1 => route_name(&[&category]),
        2 => route_name(&[keys.key.name(), keys.subkey.name()]),
        3 => route_name(&[keys.key.name()]),
        _ => GENERAL.to_vec(),
    })
}

fn route_name(parts: &[&[u8]]) -> Vec<u8> {
    let mut name = GENERAL.to_vec();
    for part in parts {
        name.push(b'-');
        name.extend(part.iter().map(|&byte| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }));
    }
    name
}
