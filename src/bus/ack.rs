//! Consumer → manager: what became of one delivery.
//!
//! The record names the channel by its epoch, so that a tag of a connection that is gone is never sent on the next
//! one, where the same number stands for another message.

use super::wire::{Put, Take};

/// What the broker shall be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Handled.
    Ack,
    /// Not handled; the broker shall deliver it again.
    Requeue,
    /// Given up: dead-lettered if the queue says so, else dropped by the broker.
    Reject,
}

/// One entry of the ack ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckRecord {
    /// Number of the subscription, as in the registry.
    pub subscription: u32,
    /// Epoch of the channel that delivered the message.
    pub epoch: u64,
    /// Delivery tag on that channel.
    pub delivery_tag: u64,
    /// What became of the message.
    pub verdict: Verdict,
}

impl AckRecord {
    /// Writes the record into `out`, replacing its content.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        let mut put = Put(out);
        put.u32(self.subscription);
        put.u64(self.epoch);
        put.u64(self.delivery_tag);
        put.u8(match self.verdict {
            Verdict::Ack => 0,
            Verdict::Requeue => 1,
            Verdict::Reject => 2,
        });
    }

    /// Reads a record; `None` if it is damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut take = Take(bytes);
        Some(Self {
            subscription: take.u32()?,
            epoch: take.u64()?,
            delivery_tag: take.u64()?,
            verdict: match take.u8()? {
                0 => Verdict::Ack,
                1 => Verdict::Requeue,
                2 => Verdict::Reject,
                _ => return None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_comes_back() {
        for verdict in [Verdict::Ack, Verdict::Requeue, Verdict::Reject] {
            let record = AckRecord { subscription: 3, epoch: 9, delivery_tag: u64::MAX, verdict };
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert_eq!(AckRecord::decode(&bytes), Some(record));
            assert_eq!(AckRecord::decode(&bytes[1..]), None);
        }
    }
}
