//! Delivery tags of one channel that wait for their acknowledgement.
//!
//! Consumers finish out of order. What is finished at the front goes out as one acknowledgement with `multiple`;
//! the rest one by one, so that a slow event does not hold back the prefetch of the quick ones.

use std::collections::VecDeque;

use crate::bus::Verdict;

/// What to tell the broker about one tag, or about all up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settle {
    /// Delivery tag.
    pub tag: u64,
    /// All unsettled tags up to this one too. Only with [`Verdict::Ack`].
    pub multiple: bool,
    /// What became of it.
    pub verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Finished,
    Settled,
}

/// The unsettled tags of one channel. Tags count up from 1 without gaps.
#[derive(Debug)]
pub struct Tracker {
    tags: VecDeque<State>,
    first: u64,
    finished: Vec<u64>,
}

impl Default for Tracker {
    fn default() -> Self {
        Self { tags: VecDeque::new(), first: 1, finished: Vec::new() }
    }
}

impl Tracker {
    /// The broker delivered `tag`.
    pub fn delivered(&mut self, tag: u64) {
        while self.first + (self.tags.len() as u64) <= tag {
            self.tags.push_back(State::Open);
        }
    }

    /// The message with `tag` is done. Anything but an ack is to be sent at once, as returned.
    pub fn finish(&mut self, tag: u64, verdict: Verdict) -> Option<Settle> {
        let state = self.state(tag).filter(|s| **s == State::Open)?;
        if verdict == Verdict::Ack {
            *state = State::Finished;
            self.finished.push(tag);
            return None;
        }
        *state = State::Settled;
        Some(Settle { tag, multiple: false, verdict })
    }

    /// Whether the message with `tag` is still being handled.
    pub fn is_open(&self, tag: u64) -> bool {
        let place = tag.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| self.tags.get(place)) == Some(&State::Open)
    }

    /// Whether a message is still being handled.
    pub fn has_open(&self) -> bool {
        self.tags.contains(&State::Open)
    }

    /// What to send for all that finished since the last call. Returns how many messages that acknowledges.
    pub fn flush(&mut self, mut send: impl FnMut(Settle)) -> u64 {
        if self.finished.is_empty() {
            return 0;
        }
        let ack = |tag, multiple| Settle { tag, multiple, verdict: Verdict::Ack };
        let mut upto = None;
        while let Some(state) = self.tags.front().filter(|s| **s != State::Open) {
            if *state == State::Finished {
                upto = Some(self.first);
            }
            self.tags.pop_front();
            self.first += 1;
        }
        if let Some(tag) = upto {
            send(ack(tag, true));
        }
        let finished = std::mem::take(&mut self.finished);
        for tag in &finished {
            if let Some(state) = self.state(*tag) {
                *state = State::Settled;
                send(ack(*tag, false));
            }
        }
        finished.len() as u64
    }

    fn state(&mut self, tag: u64) -> Option<&mut State> {
        self.tags.get_mut(usize::try_from(tag.checked_sub(self.first)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flush(tracker: &mut Tracker) -> Vec<(u64, bool)> {
        let mut sent = Vec::new();
        tracker.flush(|s| sent.push((s.tag, s.multiple)));
        sent
    }

    #[test]
    fn in_order_is_one_multiple_and_out_of_order_goes_single() {
        let mut tracker = Tracker::default();
        (1..=6).for_each(|tag| tracker.delivered(tag));
        for tag in [1, 2, 3] {
            tracker.finish(tag, Verdict::Ack);
        }
        assert_eq!(flush(&mut tracker), [(3, true)]);
        for tag in [5, 6] {
            tracker.finish(tag, Verdict::Ack);
        }
        assert_eq!(flush(&mut tracker), [(5, false), (6, false)]);
        assert_eq!(flush(&mut tracker), []);
        tracker.finish(4, Verdict::Ack);
        assert_eq!(flush(&mut tracker), [(4, true)], "multiple must name a tag that the broker still waits for");
    }

    #[test]
    fn twice_unknown_and_refused_tags_are_never_acknowledged() {
        let mut tracker = Tracker::default();
        (1..=3).for_each(|tag| tracker.delivered(tag));
        assert_eq!(tracker.finish(9, Verdict::Ack), None);
        assert_eq!(tracker.finish(0, Verdict::Ack), None);
        let requeue = Settle { tag: 1, multiple: false, verdict: Verdict::Requeue };
        assert_eq!(tracker.finish(1, Verdict::Requeue), Some(requeue));
        assert_eq!(tracker.finish(1, Verdict::Ack), None);
        tracker.finish(2, Verdict::Ack);
        tracker.finish(2, Verdict::Ack);
        assert_eq!(flush(&mut tracker), [(2, true)]);
        tracker.finish(3, Verdict::Reject);
        assert_eq!(flush(&mut tracker), []);
    }
}
