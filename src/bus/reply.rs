//! Manager → worker: the answer to a query, or the verdict that there will be none.
//!
//! Travels as the text of one fragmented message (see [`super::fragment`]): the fixed fields, then the body.

use super::wire::{Put, Take};

/// An answer as the manager took it from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Number of the broker that delivered it, counted from 1 over all `amqp_connection` lines.
    pub broker_id: u32,
    /// When it arrived, Unix seconds.
    pub received_unix: u64,
    /// The body as it came from the bus: any bytes.
    pub body: Vec<u8>,
}

/// What ends a query before its deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer.
    Answer(Reply),
    /// The connection was lost after the query had left, so no answer can arrive.
    ConnectionLost,
    /// The broker refused the query (missing exchange, no permission, too large).
    Refused,
    /// Nobody answered in time. Only for an asynchronous query: a process that waits looks at the clock itself.
    Timeout,
    /// No broker is connected. Only for an asynchronous query, as above.
    NoBroker,
}

const ANSWER: u8 = 0;
const CONNECTION_LOST: u8 = 1;
const REFUSED: u8 = 2;
const TIMEOUT: u8 = 3;
const NO_BROKER: u8 = 4;

impl Outcome {
    /// Writes the outcome of query `sequence` as one message.
    pub fn encode(&self, sequence: u64, out: &mut Vec<u8>) {
        out.clear();
        self.append(sequence, out);
    }

    /// Appends the outcome of the query with this number, the last field of a message.
    pub(super) fn append(&self, number: u64, out: &mut Vec<u8>) {
        let mut put = Put(out);
        put.u64(number);
        match self {
            Self::Answer(reply) => {
                put.u8(ANSWER);
                put.u32(reply.broker_id);
                put.u64(reply.received_unix);
                put.0.extend_from_slice(&reply.body);
            }
            Self::ConnectionLost => put.u8(CONNECTION_LOST),
            Self::Refused => put.u8(REFUSED),
            Self::Timeout => put.u8(TIMEOUT),
            Self::NoBroker => put.u8(NO_BROKER),
        }
    }

    /// Reads what [`encode`](Self::encode) wrote: the query's sequence number and its outcome.
    pub fn decode(bytes: &[u8]) -> Option<(u64, Self)> {
        let mut take = Take(bytes);
        let sequence = take.u64()?;
        let outcome = match take.u8()? {
            ANSWER => {
                let (broker_id, received_unix) = (take.u32()?, take.u64()?);
                Self::Answer(Reply { broker_id, received_unix, body: take.rest().to_vec() })
            }
            CONNECTION_LOST => Self::ConnectionLost,
            REFUSED => Self::Refused,
            TIMEOUT => Self::Timeout,
            NO_BROKER => Self::NoBroker,
            _ => return None,
        };
        Some((sequence, outcome))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_comes_back() {
        let answer = Reply { broker_id: 2, received_unix: 1_700_000_000, body: b"{}".to_vec() };
        let failures = [Outcome::ConnectionLost, Outcome::Refused, Outcome::Timeout, Outcome::NoBroker];
        for outcome in failures.into_iter().chain([Outcome::Answer(answer)]) {
            let mut bytes = Vec::new();
            outcome.encode(41, &mut bytes);
            assert_eq!(Outcome::decode(&bytes), Some((41, outcome)));
        }
        assert_eq!(Outcome::decode(&[0; 8]), None);
    }
}
