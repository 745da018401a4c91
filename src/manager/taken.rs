//! Answers of one reply queue that were taken and not acknowledged.
//!
//! Nobody ever gets them again, since the queue ends with its connection: an acknowledgement only makes the broker send more.
//! It is there so that a flood of answers nobody asked for waits in the broker, not in the manager, whose client library
//! reads without limit what a consumer without acknowledgements gets. One for many is enough for that.

use super::session::REPLY_PREFETCH;
use super::tracker::Settle;
use crate::bus::Verdict;

/// Most answers that are acknowledged at once, a quarter of what the broker may have under way.
const BULK: u16 = REPLY_PREFETCH / 4;

/// Most bytes of them, which the broker has to keep until then.
const BULK_BYTES: usize = 256 * 1024;

/// Longest that an answer stays unacknowledged: a broker closes channels on which nothing moves for half an hour.
const BULK_NS: u64 = 1_000_000_000;

/// See the file head.
#[derive(Debug, Default)]
pub struct Taken {
    tag: u64,
    count: u16,
    bytes: usize,
    since_ns: u64,
}

impl Taken {
    /// One more, of so many bytes.
    pub fn add(&mut self, tag: u64, bytes: usize, now_ns: u64) {
        if self.count == 0 {
            self.since_ns = now_ns;
        }
        self.tag = tag;
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// When it is time to acknowledge what there is.
    pub fn due_ns(&self) -> Option<u64> {
        (self.count > 0).then_some(self.since_ns.saturating_add(BULK_NS))
    }

    /// What to tell the broker, if it is time to.
    pub fn acknowledge(&mut self, now_ns: u64) -> Option<Settle> {
        let old = self.count > 0 && now_ns.saturating_sub(self.since_ns) >= BULK_NS;
        if !old && self.count < BULK && self.bytes < BULK_BYTES {
            return None;
        }
        let tag = std::mem::take(self).tag;
        Some(Settle { tag, multiple: true, verdict: Verdict::Ack })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_acknowledged_by_number_by_size_and_by_age() {
        let mut taken = Taken::default();
        let ack = |tag| Some(Settle { tag, multiple: true, verdict: Verdict::Ack });
        assert_eq!(taken.acknowledge(u64::MAX), None, "nothing was taken");
        for tag in 1..u64::from(BULK) {
            taken.add(tag, 100, 5);
            assert_eq!(taken.acknowledge(5), None);
        }
        taken.add(u64::from(BULK), 100, 5);
        assert_eq!((taken.acknowledge(5), taken.acknowledge(u64::MAX)), (ack(u64::from(BULK)), None));
        taken.add(1000, BULK_BYTES, 5);
        assert_eq!(taken.acknowledge(5), ack(1000));
        taken.add(1001, 100, 5);
        taken.add(1002, 100, BULK_NS);
        assert_eq!(taken.due_ns(), Some(BULK_NS + 5));
        assert_eq!((taken.acknowledge(BULK_NS + 4), taken.acknowledge(BULK_NS + 5)), (None, ack(1002)));
        assert_eq!(taken.due_ns(), None);
    }
}
