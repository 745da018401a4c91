//! Manager → consumer: the outcome of an asynchronous query, for the transaction that waits for it.
//!
//! Travels through the delivery ring like a consumed message, told apart by its first byte. Nothing is acknowledged:
//! the manager has settled the answer with the broker, and [`super::suspended`] sees to it that the transaction is resumed
//! once.

use super::reply::Outcome;
use super::suspended::Ticket;

/// First byte; a consumed message starts with its kind, a small number.
const RESUME: u8 = 0xff;

/// A query that has ended, one way or the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Which one.
    pub ticket: Ticket,
    /// How it ended.
    pub outcome: Outcome,
}

impl Resume {
    /// Writes it as one message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.push(RESUME);
        self.outcome.append(self.ticket.number(), out);
    }

    /// Whether `bytes` hold one, and not a consumed message.
    pub fn is_in(bytes: &[u8]) -> bool {
        bytes.first() == Some(&RESUME)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (number, outcome) = Outcome::decode(bytes.strip_prefix(&[RESUME])?)?;
        Some(Self { ticket: Ticket::from_number(number)?, outcome })
    }

    /// Bytes of the answer, if it is one.
    pub fn body_len(&self) -> usize {
        match &self.outcome {
            Outcome::Answer(reply) => reply.body.len(),
            _ => 0,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::delivery::{Delivery, DeliveryKind};
    use super::*;

    #[test]
    fn a_resume_comes_back_and_is_no_delivery() {
        let resume = Resume { ticket: Ticket::from_number(0x1_0003).unwrap(), outcome: Outcome::Timeout };
        let mut bytes = Vec::new();
        resume.encode(&mut bytes);
        assert!(Resume::is_in(&bytes));
        assert_eq!(Resume::decode(&bytes), Some(resume));
        assert_eq!(Resume::decode(&bytes[..8]), None);
        assert_eq!(Delivery::decode(&bytes), None);
        Delivery::local(DeliveryKind::LateReply, b"{}".to_vec()).encode(&mut bytes);
        assert!(!Resume::is_in(&bytes));
    }
}
