//! Manager → consumer: one consumed message with all that the event route can ask about it.
//!
//! Travels as the text of one fragmented message (see [`super::fragment`]): the fixed fields, then the body.

use std::borrow::Cow;

use super::wire::{Put, Take};

/// Why a consumer process gets this message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryKind {
    /// A message of a subscription.
    Message,
    /// An answer that no query waits for any more.
    LateReply,
    /// Made by the module itself: a connection was opened or closed.
    ConnectionEvent,
    /// Made by the module itself: the broker did not take a message.
    RefusalEvent,
}

/// How the manager finds the message again when the consumer is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckHandle {
    /// Number of the subscription, as in the registry.
    pub subscription: u32,
    /// Epoch of the channel that delivered it.
    pub epoch: u64,
    /// Delivery tag on that channel.
    pub delivery_tag: u64,
}

/// One consumed message. The manager makes it of what it has, a consumer reads it where it was joined: no copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// Why it was sent.
    pub kind: DeliveryKind,
    /// Set when the consumer has to acknowledge after the event route; else the manager has done so.
    pub ack: Option<AckHandle>,
    /// The broker says that it was delivered before.
    pub redelivered: bool,
    /// Number of the broker, counted from 1; 0 for an event that the module made itself.
    pub broker_id: u32,
    /// When it arrived, Unix seconds.
    pub received_unix: u64,
    /// Exchange it was published to.
    pub exchange: Cow<'a, [u8]>,
    /// Routing key it was published with.
    pub routing_key: Cow<'a, [u8]>,
    /// The subscription's own `event_key`; empty: the module's.
    pub event_key: Cow<'a, [u8]>,
    /// The subscription's own `event_subkey`; empty: the module's.
    pub event_subkey: Cow<'a, [u8]>,
    /// The body as it came from the bus: any bytes.
    pub body: Cow<'a, [u8]>,
}

impl DeliveryKind {
    /// Whether the module made the event itself: its payload is complete, it came with no routing key, and nobody
    /// has to be interested.
    pub fn is_made_here(self) -> bool {
        matches!(self, Self::ConnectionEvent | Self::RefusalEvent)
    }
}

impl Delivery<'static> {
    /// What the module itself gives to the consumers: nothing to acknowledge.
    pub fn local(kind: DeliveryKind, body: Vec<u8>) -> Self {
        Self {
            kind,
            ack: None,
            redelivered: false,
            broker_id: 0,
            received_unix: super::clock::unix_seconds(),
            exchange: Cow::Borrowed(b""),
            routing_key: Cow::Borrowed(b""),
            event_key: Cow::Borrowed(b""),
            event_subkey: Cow::Borrowed(b""),
            body: Cow::Owned(body),
        }
    }
}

const WANTS_ACK: u8 = 1;
const REDELIVERED: u8 = 2;

impl<'a> Delivery<'a> {
    /// Writes the delivery as one message. Names longer than 255 bytes are cut: AMQP has none.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        self.encode_head(out);
        out.extend_from_slice(&self.body);
    }

    /// Appends all but the body, which comes last.
    pub fn encode_head(&self, out: &mut Vec<u8>) {
        let mut put = Put(out);
        put.u8(match self.kind {
            DeliveryKind::Message => 0,
            DeliveryKind::LateReply => 1,
            DeliveryKind::ConnectionEvent => 2,
            DeliveryKind::RefusalEvent => 3,
        });
        put.u8(u8::from(self.ack.is_some()) * WANTS_ACK + u8::from(self.redelivered) * REDELIVERED);
        let ack = self.ack.unwrap_or(AckHandle { subscription: 0, epoch: 0, delivery_tag: 0 });
        put.u32(ack.subscription);
        put.u64(ack.epoch);
        put.u64(ack.delivery_tag);
        put.u32(self.broker_id);
        put.u64(self.received_unix);
        for name in [&self.exchange, &self.routing_key, &self.event_key, &self.event_subkey] {
            put.short(name);
        }
    }

    /// The same with texts of its own.
    pub fn into_owned(self) -> Delivery<'static> {
        let owned = |text: Cow<'a, [u8]>| Cow::Owned(text.into_owned());
        Delivery {
            exchange: owned(self.exchange),
            routing_key: owned(self.routing_key),
            event_key: owned(self.event_key),
            event_subkey: owned(self.event_subkey),
            body: owned(self.body),
            ..self
        }
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut take = Take(bytes);
        let kind = match take.u8()? {
            0 => DeliveryKind::Message,
            1 => DeliveryKind::LateReply,
            2 => DeliveryKind::ConnectionEvent,
            3 => DeliveryKind::RefusalEvent,
            _ => return None,
        };
        let flags = take.u8()?;
        let handle = AckHandle { subscription: take.u32()?, epoch: take.u64()?, delivery_tag: take.u64()? };
        Some(Self {
            kind,
            ack: (flags & WANTS_ACK != 0).then_some(handle),
            redelivered: flags & REDELIVERED != 0,
            broker_id: take.u32()?,
            received_unix: take.u64()?,
            exchange: take.short()?.into(),
            routing_key: take.short()?.into(),
            event_key: take.short()?.into(),
            event_subkey: take.short()?.into(),
            body: take.rest().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_comes_back() {
        let mut delivery = Delivery {
            kind: DeliveryKind::Message,
            ack: Some(AckHandle { subscription: 1, epoch: 2, delivery_tag: 3 }),
            redelivered: true,
            broker_id: 1,
            received_unix: 4,
            exchange: b"dialoginfo".into(),
            routing_key: b"BLF".into(),
            event_key: b"".into(),
            event_subkey: b"Sub".into(),
            body: b"{\"a\":1}".into(),
        };
        for ack in [delivery.ack, None] {
            delivery.ack = ack;
            let mut bytes = Vec::new();
            delivery.encode(&mut bytes);
            assert_eq!(Delivery::decode(&bytes).as_ref(), Some(&delivery));
            assert_eq!(Delivery::decode(&bytes[..30]), None);
        }
    }
}
