//! What became of the records of one command ring: waiting, sent, done.
//!
//! The record itself stays in the ring until it is done; this is only the manager's memory of it. A manager that dies
//! takes it along, and its successor starts with everything between the ring's `confirmed` and `written` as waiting:
//! sent again, in order, with the same `message_id`.

use std::collections::VecDeque;

use shm::{Consumer, Corrupt};

/// State of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Sent,
    /// Refused for now; waits for its next attempt while others pass.
    Delayed,
    Done,
}

#[derive(Debug)]
struct Entry {
    start: u64,
    end: u64,
    state: State,
    attempts: u8,
    nacks: u8,
}

/// Names one record of one ring for as long as it is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId(u64);

/// The manager's memory of one command ring.
#[derive(Debug, Default)]
pub struct Window {
    entries: VecDeque<Entry>,
    /// Number of the first entry.
    first: u64,
    /// No entry before this one waits.
    next: u64,
}

impl Window {
    /// The next record to send, in order: one that must be sent again, else a new one from the ring.
    ///
    /// Returns its id and where it starts. It stays the next until [`sent`](Self::sent) or [`done`](Self::done).
    pub fn next(&mut self, ring: &mut Consumer) -> Result<Option<(RecordId, u64)>, Corrupt> {
        while let Some(entry) = self.at(self.next) {
            if entry.state == State::Waiting {
                return Ok(Some((RecordId(self.next), entry.start)));
            }
            self.next += 1;
        }
        let Some(record) = ring.next()? else { return Ok(None) };
        let entry = Entry { start: record.start, end: record.end, state: State::Waiting, attempts: 0, nacks: 0 };
        let start = entry.start;
        self.entries.push_back(entry);
        Ok(Some((RecordId(self.next), start)))
    }

    /// The record was handed to the broker. Returns how often that was, this time included.
    pub fn sent(&mut self, id: RecordId) -> u8 {
        let Some(entry) = self.at_mut(id.0) else { return 0 };
        entry.state = State::Sent;
        entry.attempts = entry.attempts.saturating_add(1);
        entry.attempts
    }

    /// The record was under way on a channel that is gone, and must be sent again. False if it is done already.
    pub fn again(&mut self, id: RecordId) -> bool {
        self.turn(id, State::Sent, State::Waiting)
    }

    /// The broker could not take the record: it is passed over until [`retry`](Self::retry). Returns how often that
    /// happened; `None` if it is done already.
    pub fn nacked(&mut self, id: RecordId) -> Option<u8> {
        if !self.turn(id, State::Sent, State::Delayed) {
            return None;
        }
        let entry = self.at_mut(id.0)?;
        entry.nacks = entry.nacks.saturating_add(1);
        Some(entry.nacks)
    }

    /// The pause of a record that was refused for now is over. False if it was given up meanwhile.
    pub fn retry(&mut self, id: RecordId) -> bool {
        self.turn(id, State::Delayed, State::Waiting)
    }

    /// The broker has the record, or it was given up.
    pub fn done(&mut self, id: RecordId) {
        if let Some(entry) = self.at_mut(id.0) {
            entry.state = State::Done;
        }
    }

    /// Frees the ring up to the first record that is not done. True if anything was freed.
    pub fn release(&mut self, ring: &mut Consumer) -> Result<bool, Corrupt> {
        let mut end = None;
        while let Some(entry) = self.entries.front().filter(|e| e.state == State::Done) {
            end = Some(entry.end);
            self.entries.pop_front();
            self.first += 1;
        }
        self.next = self.next.max(self.first);
        match end {
            Some(end) => ring.confirm(end).map(|()| true),
            None => Ok(false),
        }
    }

    /// Where the record starts, done or not; `None` once it has left the ring.
    pub fn place_of(&self, id: RecordId) -> Option<u64> {
        self.at(id.0).map(|e| e.start)
    }

    /// Whether the record is not done.
    pub fn is_open(&self, id: RecordId) -> bool {
        self.at(id.0).is_some_and(|e| e.state != State::Done)
    }

    /// Records that were taken from the ring and are not done.
    pub fn open(&self) -> usize {
        self.entries.iter().filter(|e| e.state != State::Done).count()
    }

    /// Whether a record waits to be sent again.
    pub fn has_waiting(&self) -> bool {
        self.next < self.first + self.entries.len() as u64
    }

    /// An id for tests of other files.
    #[cfg(test)]
    pub fn any_id() -> RecordId {
        RecordId(0)
    }

    fn turn(&mut self, id: RecordId, from: State, to: State) -> bool {
        let Some(entry) = self.at_mut(id.0).filter(|e| e.state == from) else { return false };
        entry.state = to;
        if to == State::Waiting {
            self.next = self.next.min(id.0);
        }
        true
    }

    fn at(&self, number: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn at_mut(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }
}

/// The messages of one publish channel that the broker has not confirmed, by delivery tag.
///
/// A channel counts its publishes from 1; the broker confirms by that number, single or up to it.
#[derive(Debug)]
pub struct InFlight<T> {
    /// Each with the size of its body.
    slots: VecDeque<Option<(T, usize)>>,
    /// Tag of the first slot.
    first_tag: u64,
    open: usize,
    bytes: usize,
}

impl<T> Default for InFlight<T> {
    fn default() -> Self {
        Self { slots: VecDeque::new(), first_tag: 1, open: 0, bytes: 0 }
    }
}

impl<T> InFlight<T> {
    /// Notes one more publish on the channel, with a body of so many bytes.
    pub fn push(&mut self, item: T, bytes: usize) {
        self.slots.push_back(Some((item, bytes)));
        self.open += 1;
        self.bytes += bytes;
    }

    /// Number of messages not confirmed.
    pub fn len(&self) -> usize {
        self.open
    }

    /// Bytes of their bodies.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether everything is confirmed.
    pub fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// Takes what a confirm covers. Tags that are unknown or confirmed before are ignored.
    pub fn confirm(&mut self, tag: u64, multiple: bool, mut each: impl FnMut(T)) {
        let Some(last) = tag.checked_sub(self.first_tag).and_then(|i| usize::try_from(i).ok()) else { return };
        if last >= self.slots.len() {
            return;
        }
        let from = if multiple { 0 } else { last };
        for slot in self.slots.range_mut(from..=last) {
            if let Some((item, bytes)) = slot.take() {
                self.open -= 1;
                self.bytes -= bytes;
                each(item);
            }
        }
        while self.slots.front().is_some_and(Option::is_none) {
            self.slots.pop_front();
            self.first_tag += 1;
        }
    }

    /// Everything not confirmed, in the order in which it was sent.
    pub fn into_open(self) -> impl Iterator<Item = T> {
        self.slots.into_iter().flatten().map(|(item, _)| item)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::bus::{ManagerPort, Outgoing, ShortStr, Worker, patience::Patience, port::test_block};
    use crate::payload::envelope::Splice;

    fn publish(worker: &mut Worker, body: &[u8]) {
        let name = ShortStr::new(b"x").unwrap();
        let message =
            Outgoing { broker: None, exchange: name, routing_key: name, headers: b"", body, splice: Splice::None };
        worker.publish(&message).unwrap();
    }

    #[test]
    fn records_leave_the_ring_in_order_whatever_the_order_of_confirms_and_again_comes_first() {
        let block = test_block(1, 1);
        let mut worker = Worker::attach(block, 0, Patience::none()).unwrap();
        let mut port = ManagerPort::attach(block).unwrap();
        let ring = &mut port.processes[0].commands;
        let mut window = Window::default();
        for _ in 0..4 {
            publish(&mut worker, b"{}");
        }
        let mut ids = Vec::new();
        for _ in 0..3 {
            let (id, _) = window.next(ring).unwrap().unwrap();
            window.sent(id);
            ids.push(id);
        }
        window.done(ids[1]);
        assert!(!window.release(ring).unwrap(), "the first is still open");
        window.done(ids[0]);
        assert!(window.release(ring).unwrap());
        assert!(!window.again(ids[1]), "done is done");
        assert!(window.again(ids[2]));
        let (id, _) = window.next(ring).unwrap().unwrap();
        assert_eq!(id, ids[2], "again comes before what is new");
        window.sent(id);
        let (fourth, ..) = window.next(ring).unwrap().unwrap();
        assert_eq!(window.open(), 2);
        window.done(id);
        window.done(fourth);
        assert!(window.release(ring).unwrap());
        assert_eq!(window.next(ring).unwrap(), None);
        assert_eq!(ring.used(), 0);
        assert_eq!(window.open(), 0);
    }

    #[test]
    fn a_record_refused_for_now_lets_others_pass_and_comes_back() {
        let block = test_block(1, 1);
        let mut worker = Worker::attach(block, 0, Patience::none()).unwrap();
        let mut port = ManagerPort::attach(block).unwrap();
        let ring = &mut port.processes[0].commands;
        let mut window = Window::default();
        publish(&mut worker, b"{}");
        publish(&mut worker, b"{}");
        let (refused, _) = window.next(ring).unwrap().unwrap();
        window.sent(refused);
        assert_eq!(window.nacked(refused), Some(1));
        let (other, _) = window.next(ring).unwrap().unwrap();
        assert_ne!(other, refused);
        window.sent(other);
        window.done(other);
        assert_eq!(window.next(ring).unwrap(), None);
        assert!(!window.again(refused), "it is under way on no channel");
        assert!(window.retry(refused));
        assert_eq!(window.next(ring).unwrap().unwrap().0, refused);
        window.sent(refused);
        assert_eq!(window.nacked(refused), Some(2));
    }

    #[test]
    fn confirms_single_multiple_repeated_and_unknown() {
        let mut flight = InFlight::default();
        for i in 1..=6 {
            flight.push(i, 10);
        }
        assert_eq!(flight.bytes(), 60);
        let mut confirm = |tag, multiple| {
            let mut got: Vec<i32> = Vec::new();
            flight.confirm(tag, multiple, |i| got.push(i));
            got
        };
        assert_eq!(confirm(3, false), [3]);
        assert_eq!(confirm(4, true), [1, 2, 4]);
        assert_eq!(confirm(4, true), [0; 0]);
        assert_eq!(confirm(0, true), [0; 0]);
        assert_eq!(confirm(99, true), [0; 0]);
        assert_eq!(confirm(6, false), [6]);
        assert_eq!((flight.len(), flight.bytes()), (1, 10));
        assert_eq!(flight.into_open().collect::<Vec<_>>(), [5]);
    }
}
