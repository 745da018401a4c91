//! Delivery tags of one channel that wait for their acknowledgement.
//!
//! Consumers finish out of order. What is finished at the front goes out as one acknowledgement with `multiple`. The rest is
//! held back for a while, because mostly the front catches up; then it goes out one by one, so that a slow event does
//! not hold back the prefetch of the quick ones.
//!
//! To the broker an acknowledgement costs as much as half an event, whether it settles one message or a hundred.

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
    /// The tags that are finished and not settled.
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

    /// How many messages are finished and not acknowledged yet.
    pub fn held(&self) -> usize {
        self.finished.len()
    }

    /// What to send for what is finished at the front. Returns how many messages that acknowledges.
    pub fn settle_front(&mut self, send: &mut Vec<Settle>) -> u64 {
        let mut upto = None;
        while let Some(state) = self.tags.front().filter(|s| **s != State::Open) {
            if *state == State::Finished {
                upto = Some(self.first);
            }
            self.tags.pop_front();
            self.first += 1;
        }
        let Some(tag) = upto else { return 0 };
        send.push(Settle { tag, multiple: true, verdict: Verdict::Ack });
        let (before, first) = (self.finished.len(), self.first);
        self.finished.retain(|tag| *tag >= first);
        (before - self.finished.len()) as u64
    }

    /// What to send for all that is finished. Returns how many messages that acknowledges.
    pub fn settle_all(&mut self, send: &mut Vec<Settle>) -> u64 {
        let at_front = self.settle_front(send);
        let rest = std::mem::take(&mut self.finished);
        for tag in &rest {
            if let Some(state) = self.state(*tag) {
                *state = State::Settled;
                send.push(Settle { tag: *tag, multiple: false, verdict: Verdict::Ack });
            }
        }
        at_front + rest.len() as u64
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
        tracker.settle_all(&mut sent);
        in_short(&sent)
    }

    fn in_short(sent: &[Settle]) -> Vec<(u64, bool)> {
        sent.iter().map(|settle| (settle.tag, settle.multiple)).collect()
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
    fn what_is_finished_behind_an_open_one_is_held_until_the_front_catches_up() {
        let mut tracker = Tracker::default();
        (1..=4).for_each(|tag| tracker.delivered(tag));
        let mut sent = Vec::new();
        for (tag, settled, held) in [(2, 0, 1), (4, 0, 2), (1, 2, 1), (3, 2, 0)] {
            tracker.finish(tag, Verdict::Ack);
            assert_eq!((tracker.settle_front(&mut sent), tracker.held()), (settled, held));
        }
        assert_eq!(in_short(&sent), [(2, true), (4, true)]);
        assert_eq!(flush(&mut tracker), []);
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
