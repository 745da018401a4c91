//! A table of slots that any process opens and any process takes, each opening under a ticket of its own.
//!
//! A ticket can be taken once, whoever races for it, and is never given out again. Slots that were taken lie on a free
//! list. Anybody may look at what is open without disturbing it.
//!
//! ```text
//! FREE --open: state odd, SYNC O--> OPEN --take: state even--> read --give_back: SYNC L--> FREE
//! ```
//!
//! # Invariants
//! I1  a slot's state is twice the number of its life, plus one while it is open; it only grows
//! I2  a slot off the free list belongs to whoever took it from there, until its state is odd; then to whoever makes
//!     the state even, until it is back on the list. Nobody else changes its words
//! I3  the head of the list counts its changes: one that was seen before and has come back is not the same
//! I4  a process that is killed while it owns a slot loses that slot, and nothing else
//!
//! # Ordering
//! | edge   | release                     | acquire                                 | makes visible     | if relaxed |
//! |--------|-----------------------------|-----------------------------------------|-------------------|------------|
//! | SYNC O | `open`: odd state.store     | `take`: exchange; `each_open`: state    | the slot's words  | old words  |
//! | SYNC L | `give_back`: head exchange  | `free_slot`: head.load, failed exchange | state, next slot  | one twice  |
//! | SYNC N | `open`: fence before a word | `each_open`: fence after the words      | that it was taken | a mixture  |
//!
//! All changes of the head are exchanges, so the taker of a slot is ordered after whoever put it on the list, however
//! many others the head has seen since. The two counters carry nothing.
//!
//! # Progress
//! open, take: lock-free. each_open: wait-free, bounded by the slots.

use crate::sync::{AtomicU64, Ordering, fence};
use crate::words::Words;

/// Most slots of a table; what a ticket has room for.
pub const MAX_SLOTS: usize = 1 << INDEX_BITS;
const INDEX_BITS: u32 = 16;

/// Words before the states.
const HEAD: usize = 8;
/// Head of the free list: changes in the upper half (I3), slot + 1 in the lower.
const FREE: usize = 0;
/// Slots that were ever used.
const USED: usize = 1;
/// Slots that are open.
const OPEN: usize = 2;

/// One opening of a slot; no two of a table's life have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(u64);

impl Ticket {
    /// As a number for records; never 0.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The ticket with this number; 0 is none.
    pub fn from_number(number: u64) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    /// Its slot in the table.
    pub fn slot(self) -> usize {
        (self.0 & (MAX_SLOTS as u64 - 1)) as usize
    }

    fn new(life: u64, slot: usize) -> Self {
        Self(life << INDEX_BITS | slot as u64)
    }

    /// The state of its slot while it is open.
    fn open_state(self) -> u64 {
        self.0 >> INDEX_BITS << 1 | 1
    }
}

/// A table whose slots have `N` words each. Copies refer to the same slots.
#[derive(Clone, Copy, Debug)]
pub struct Tickets<const N: usize> {
    words: Words,
    slots: usize,
}

impl<const N: usize> Tickets<N> {
    /// Words that a table of `slots` slots takes.
    pub const fn words(slots: usize) -> usize {
        HEAD + slots * (1 + 1 + N)
    }

    /// The table in `words`; zeroed words are an empty one.
    pub fn new(words: Words) -> Self {
        let slots = words.count().saturating_sub(HEAD) / (1 + 1 + N);
        Self { words, slots: slots.min(MAX_SLOTS) }
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Whether any slot is open. One read.
    pub fn any_open(&self) -> bool {
        self.words.get(OPEN).load(Ordering::Relaxed) != 0
    }

    /// Takes a slot into use; `None` when every slot is.
    pub fn open(&self, values: &[u64; N]) -> Option<Ticket> {
        let slot = self.free_slot()?;
        let state = self.state(slot);
        let ticket = Ticket::new((state.load(Ordering::Relaxed) >> 1) + 1, slot); // ours, by SYNC L
        fence(Ordering::Release); // SYNC N
        for (index, value) in values.iter().enumerate() {
            self.value(slot, index).store(*value, Ordering::Relaxed);
        }
        self.words.get(OPEN).fetch_add(1, Ordering::Relaxed);
        state.store(ticket.open_state(), Ordering::Release); // SYNC O
        Some(ticket)
    }

    /// Takes what `ticket` stands for and frees its slot; `None` if somebody has taken it before.
    pub fn take(&self, ticket: Ticket) -> Option<[u64; N]> {
        let slot = ticket.slot();
        if slot >= self.slots {
            return None;
        }
        let open = ticket.open_state();
        let state = self.state(slot);
        state.compare_exchange(open, open & !1, Ordering::Acquire, Ordering::Relaxed).ok()?; // SYNC O
        let values = self.values(slot);
        self.give_back(slot);
        self.words.get(OPEN).fetch_sub(1, Ordering::Relaxed);
        Some(values)
    }

    /// Whether nobody has taken `ticket` yet.
    pub fn is_open(&self, ticket: Ticket) -> bool {
        let slot = ticket.slot();
        slot < self.slots && self.state(slot).load(Ordering::Relaxed) == ticket.open_state()
    }

    /// Shows the first `M` words of every slot that is open. What is opened or taken meanwhile may be shown or not.
    pub fn each_open<const M: usize>(&self, mut show: impl FnMut(Ticket, [u64; M])) {
        const { assert!(M <= N) };
        let used = usize::try_from(self.words.get(USED).load(Ordering::Relaxed)).unwrap_or(0).min(self.slots);
        for slot in 0..used {
            let state = self.state(slot).load(Ordering::Acquire); // SYNC O
            if state & 1 == 0 {
                continue;
            }
            let values = self.values(slot);
            fence(Ordering::Acquire); // SYNC N
            if self.state(slot).load(Ordering::Relaxed) == state {
                show(Ticket::new(state >> 1, slot), values);
            }
        }
    }

    /// A slot of the free list, or one that was never used.
    fn free_slot(&self) -> Option<usize> {
        let head = self.words.get(FREE);
        let mut now = head.load(Ordering::Acquire); // SYNC L
        while let Some(slot) = self.first_free(now) {
            let next = changed(now) | (self.next_free(slot).load(Ordering::Relaxed) & u64::from(u32::MAX));
            // What the head says was acquired with `now`; success adds nothing to that.
            let exchanged = head.compare_exchange_weak(now, next, Ordering::Relaxed, Ordering::Acquire); // SYNC L
            match exchanged {
                Ok(_) => return Some(slot),
                Err(other) => now = other,
            }
        }
        let fresh = |used: u64| (used < self.slots as u64).then_some(used + 1);
        let used = self.words.get(USED).fetch_update(Ordering::Relaxed, Ordering::Relaxed, fresh).ok()?;
        usize::try_from(used).ok()
    }

    /// The slot that a list head names; none if it is not one of the table.
    fn first_free(&self, head: u64) -> Option<usize> {
        let slot = usize::try_from(head & u64::from(u32::MAX)).ok()?.checked_sub(1)?;
        (slot < self.slots).then_some(slot)
    }

    fn give_back(&self, slot: usize) {
        let head = self.words.get(FREE);
        let mut now = head.load(Ordering::Relaxed);
        loop {
            self.next_free(slot).store(now & u64::from(u32::MAX), Ordering::Relaxed);
            let next = changed(now) | (slot as u64 + 1);
            let exchanged = head.compare_exchange_weak(now, next, Ordering::Release, Ordering::Relaxed); // SYNC L
            match exchanged {
                Ok(_) => return,
                Err(other) => now = other,
            }
        }
    }

    /// All states lie together: they are scanned.
    fn state(&self, slot: usize) -> &AtomicU64 {
        self.words.get(HEAD + slot)
    }

    fn next_free(&self, slot: usize) -> &AtomicU64 {
        self.words.get(HEAD + self.slots + slot * (1 + N))
    }

    fn value(&self, slot: usize, index: usize) -> &AtomicU64 {
        self.words.get(HEAD + self.slots + slot * (1 + N) + 1 + index)
    }

    fn values<const M: usize>(&self, slot: usize) -> [u64; M] {
        core::array::from_fn(|index| self.value(slot, index).load(Ordering::Relaxed))
    }
}

/// The count of the list's changes, one more.
fn changed(head: u64) -> u64 {
    ((head >> 32) + 1) << 32
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::words::tests::WordsMemory;

    fn memory(slots: usize) -> WordsMemory {
        WordsMemory::new(Tickets::<3>::words(slots))
    }

    #[test]
    fn a_ticket_is_taken_once_and_its_slot_is_used_again_under_another_one() {
        let mut memory = memory(2);
        let table = Tickets::<3>::new(memory.words());
        let first = table.open(&[1; 3]).unwrap();
        assert!(table.any_open() && table.is_open(first));
        assert_eq!((table.take(first), table.take(first)), (Some([1; 3]), None));
        assert!(!table.any_open() && !table.is_open(first));
        let second = table.open(&[2; 3]).unwrap();
        assert_eq!((second.slot(), second == first), (first.slot(), false));
        assert_eq!(table.take(first), None, "the slot belongs to somebody else now");
        assert_eq!(table.take(Ticket(u64::MAX)), None);
        assert_eq!(table.take(Ticket::from_number(second.number()).unwrap()), Some([2; 3]));
    }

    #[test]
    fn the_table_says_when_it_is_full_and_shows_what_is_open() {
        let mut memory = memory(4);
        let table = Tickets::<3>::new(memory.words());
        let tickets: Vec<_> = (0..4).map(|value| table.open(&[value, 7, 0]).unwrap()).collect();
        assert_eq!((table.slots(), table.open(&[0; 3])), (4, None));
        table.take(tickets[1]).unwrap();
        let mut open = Vec::new();
        table.each_open(|ticket, values: [u64; 2]| open.push((ticket, values)));
        assert_eq!(open, [(tickets[0], [0, 7]), (tickets[2], [2, 7]), (tickets[3], [3, 7])]);
        assert_eq!(table.open(&[9; 3]).unwrap().slot(), tickets[1].slot());
    }

    #[test]
    fn threads_that_open_take_and_look_never_mix_slots_up() {
        const EACH: u64 = if cfg!(miri) { 20 } else { 20_000 };
        let mut memory = memory(3);
        let table = Tickets::<3>::new(memory.words());
        std::thread::scope(|scope| {
            let open_and_take = |thread: u64| {
                for value in (1..=EACH).map(|n| thread << 32 | n) {
                    let Some(ticket) = table.open(&[value; 3]) else { continue };
                    assert_eq!(table.take(ticket), Some([value; 3]));
                }
            };
            let threads = [1, 2, 3, 4].map(|thread| scope.spawn(move || open_and_take(thread)));
            while threads.iter().any(|thread| !thread.is_finished()) {
                table.each_open(|_, values: [u64; 3]| assert_eq!(values, [values[0]; 3]));
            }
        });
        assert!(!table.any_open());
        let tickets: Vec<_> = (0..3).map(|value| table.open(&[value; 3]).unwrap()).collect();
        assert_eq!(table.open(&[0; 3]), None);
        assert!(tickets.iter().enumerate().all(|(value, ticket)| table.take(*ticket) == Some([value as u64; 3])));
    }
}
