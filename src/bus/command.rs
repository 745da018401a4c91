//! Worker → manager: publish, query, asynchronous query.
//!
//! The record stays in the command ring until the broker has confirmed the message: the ring is the outbox. It
//! carries everything that is needed to send the message again, so a new manager process needs nothing else.
//!
//! A message that takes more than a quarter of the ring lies in a block of the host's shared memory, which the
//! worker allocates and frees (it may take the allocator's lock, the manager may not); the record then holds the
//! block's place.

use super::suspended::Ticket;
use super::wire::{Put, Take};
use crate::payload::envelope::Splice;

/// Text of at most 255 bytes, the limit of an AMQP short string. Holding one is the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortStr<'a>(&'a [u8]);

/// An exchange or routing key longer than AMQP allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{len} bytes, AMQP allows 255")]
pub struct TooLong {
    /// Length that was given, in bytes.
    pub len: usize,
}

impl<'a> ShortStr<'a> {
    /// Longest short string, in bytes.
    pub const MAX: usize = 255;

    /// Checks the length.
    pub fn new(text: &'a [u8]) -> Result<Self, TooLong> {
        if text.len() > Self::MAX { Err(TooLong { len: text.len() }) } else { Ok(Self(text)) }
    }

    /// The text.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// A message that a script wants on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Send to this broker only (`consumer://ID/KEY`); `None`: the first connected one of the primary zone.
    pub broker: Option<u32>,
    /// Exchange; empty is the default exchange.
    pub exchange: ShortStr<'a>,
    /// Routing key.
    pub routing_key: ShortStr<'a>,
    /// Application headers as the script gave them: `name=value;name=value`.
    pub headers: &'a [u8],
    /// The body, complete but for `Server-ID`.
    pub body: &'a [u8],
    /// Where the manager puts `Server-ID`, once it knows the broker.
    pub splice: Splice,
}

/// What makes a publish a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryPart<'a> {
    /// When the asking process stops waiting, [`super::clock::now_ns`].
    pub deadline_ns: u64,
    /// The `Msg-ID` in the body, by which the answer is recognised.
    pub msg_id: &'a [u8],
    /// Who waits: a suspended transaction, or (`None`) the asking process.
    pub ticket: Option<Ticket>,
}

/// Where the body of a command lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// In the record.
    Inline(&'a [u8]),
    /// In a block of shared memory, see [`super::layout::Shared::block`].
    Block {
        /// Offset of the block in the host's shared memory.
        offset: u64,
        /// Length of the body in bytes.
        len: u64,
    },
}

/// Bytes of [`Command::fixed_fields`].
const FIXED: usize = 3 * 8 + 4 + 1 + 2 * 4;

/// One record of the command ring.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// Number of the message in its process; with process and boot it makes the `message_id`.
    pub sequence: u64,
    /// Set for a query.
    pub query: Option<QueryPart<'a>>,
    /// See [`Outgoing::broker`]; 0 in the record stands for `None`.
    pub broker: Option<u32>,
    /// Exchange.
    pub exchange: ShortStr<'a>,
    /// Routing key.
    pub routing_key: ShortStr<'a>,
    /// Application headers, unparsed.
    pub headers: &'a [u8],
    /// Where `Server-ID` goes.
    pub splice: Splice,
    /// The body.
    pub body: Body<'a>,
}

impl<'a> Command<'a> {
    /// Writes all but an inline body into `out`; the body follows it in the record.
    pub fn encode_head(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.fixed_fields());
        let mut put = Put(out);
        put.short(self.exchange.0);
        put.short(self.routing_key.0);
        let msg_id = self.query.map_or(&[][..], |q| q.msg_id);
        for text in [msg_id, self.headers] {
            put.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
            put.0.extend_from_slice(text);
        }
        match self.body {
            Body::Inline(_) => put.u8(0),
            Body::Block { offset, len } => {
                put.u8(1);
                put.u64(offset);
                put.u64(len);
            }
        }
    }

    /// What has the same length in every record, as one piece: a publish between two SIP requests runs code that is in no
    /// cache, and each field written by itself would be more of it.
    fn fixed_fields(&self) -> [u8; FIXED] {
        let (tag, at, len) = match self.splice {
            Splice::None => (0_u8, 0, 0),
            Splice::Member { at } => (1, at, 0),
            Splice::Value { at, len } => (2, at, len),
        };
        let mut fields = [0; FIXED];
        let deadline_ns = self.query.map_or(0, |q| q.deadline_ns);
        let ticket = self.query.and_then(|q| q.ticket).map_or(0, Ticket::number);
        fields[..8].copy_from_slice(&self.sequence.to_ne_bytes());
        fields[8..16].copy_from_slice(&deadline_ns.to_ne_bytes());
        fields[16..24].copy_from_slice(&ticket.to_ne_bytes());
        fields[24..28].copy_from_slice(&self.broker.unwrap_or(0).to_ne_bytes());
        fields[28] = tag;
        fields[29..33].copy_from_slice(&at.to_ne_bytes());
        fields[33..].copy_from_slice(&len.to_ne_bytes());
        fields
    }

    /// Reads a record; `None` if it is damaged.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut take = Take(bytes);
        let sequence = take.u64()?;
        let deadline_ns = take.u64()?;
        let ticket = Ticket::from_number(take.u64()?);
        let broker = take.u32()?;
        let (tag, at, len) = (take.u8()?, take.u32()?, take.u32()?);
        let splice = match tag {
            0 => Splice::None,
            1 => Splice::Member { at },
            2 => Splice::Value { at, len },
            _ => return None,
        };
        let exchange = ShortStr(take.short()?);
        let routing_key = ShortStr(take.short()?);
        let msg_id = long(&mut take)?;
        let headers = long(&mut take)?;
        let body = match take.u8()? {
            0 => Body::Inline(take.rest()),
            1 => Body::Block { offset: take.u64()?, len: take.u64()? },
            _ => return None,
        };
        let query = (deadline_ns != 0).then_some(QueryPart { deadline_ns, msg_id, ticket });
        let broker = (broker != 0).then_some(broker);
        Some(Self { sequence, query, broker, exchange, routing_key, headers, splice, body })
    }
}

/// Takes a text with a 32-bit length.
fn long<'a>(take: &mut Take<'a>) -> Option<&'a [u8]> {
    let len = take.u32()?;
    take.bytes(usize::try_from(len).ok()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sample<'a>(body: Body<'a>, query: Option<QueryPart<'a>>) -> Command<'a> {
        Command {
            sequence: 77,
            query,
            broker: Some(2),
            exchange: ShortStr::new(b"callmgr").unwrap(),
            routing_key: ShortStr::new(b"authn.req.a%2Eb").unwrap(),
            headers: b"a=1;b=2",
            splice: Splice::Value { at: 5, len: 4 },
            body,
        }
    }

    #[test]
    fn a_command_comes_back() {
        let query = QueryPart { deadline_ns: 12, msg_id: &[b'm'; 300], ticket: None };
        let suspended = QueryPart { ticket: Ticket::from_number(1 << 40), ..query };
        let (inline, block) = (Body::Inline(b"{}"), Body::Block { offset: 1, len: 2 });
        for command in [sample(inline, None), sample(block, Some(query)), sample(block, Some(suspended))] {
            let mut bytes = Vec::new();
            command.encode_head(&mut bytes);
            if let Body::Inline(body) = command.body {
                bytes.extend_from_slice(body);
            }
            let back = Command::decode(&bytes).unwrap();
            assert_eq!(format!("{back:?}"), format!("{command:?}"));
            for cut in 0..40 {
                assert!(Command::decode(&bytes[..cut]).is_none(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn amqp_short_strings_end_at_255_bytes() {
        assert!(ShortStr::new(&[b'x'; 255]).is_ok());
        assert_eq!(ShortStr::new(&[b'x'; 256]), Err(TooLong { len: 256 }));
    }
}
