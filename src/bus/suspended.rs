//! Transactions that wait for the outcome of an asynchronous query: a table in shared memory.
//!
//! The asking process opens a slot, the consumer process that resumes the transaction takes it, and the manager only
//! looks. Whoever takes a ticket resumes, and a ticket can be taken once: so a transaction is resumed once whatever
//! races (answer and timeout, a query that was sent twice, two managers one after the other). The table outlives the
//! manager; the next one finds in it whom the dead one has left waiting.
//!
//! ```text
//! FREE --open: state odd--> OPEN --take: state even--> FREE
//! ```
//!
//! | edge | release | acquire | makes visible |
//! |---|---|---|---|
//! | SYNC O | `open`: state store | `take`, `each_open`: state load | the words of the slot |
//! | SYNC L | `give_back`: list head | `free_slot`: list head | that nobody reads the slot's words any more |
//!
//! `each_open` reads words that a next owner may be writing: those words are stored with Release after the slot's state
//! had changed, and the state is read again afterwards, so that a mixture is noticed.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use shm::words::Words;

/// Most slots of a table; what a ticket has room for.
pub const MAX_SLOTS: usize = 1 << INDEX_BITS;
const INDEX_BITS: u32 = 16;

/// Words before the slots.
const HEAD: usize = 8;
/// Head of the list of free slots: changes counted in the upper half, slot + 1 in the lower.
const FREE: usize = 0;
/// Slots that were ever used.
const USED: usize = 1;
/// Slots that are open.
const OPEN: usize = 2;

/// Words of one slot, apart from its state.
const NEXT_FREE: usize = 0;
const DEADLINE: usize = 1;
const TRANSACTION: usize = 2;
const PROCESS: usize = 3;
const PLACE: usize = 4;
const ON_ANSWER: usize = 5;
const ON_FAILURE: usize = ON_ANSWER + CONTINUATION;
const SLOT: usize = ON_FAILURE + CONTINUATION;
/// A continuation: kind and length in one word, then the text or the route.
const CONTINUATION: usize = 1 + FunctionName::MAX.div_ceil(8);

/// One asynchronous query; no two of a server's life have the same.
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

/// A suspended transaction as the transaction module names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Row of its table.
    pub hash_index: u32,
    /// Which one of the row.
    pub label: u32,
}

/// Which of the server's route tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteTable {
    /// `onreply_route[…]`.
    Reply,
    /// `failure_route[…]`.
    Failure,
    /// `route[…]`.
    Plain,
}

/// Name of a KEMI function: at most [`FunctionName::MAX`] bytes. Holding one is the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionName(Vec<u8>);

impl FunctionName {
    /// Longest name in bytes.
    pub const MAX: usize = 64;

    /// Checks the length; an empty name is none.
    pub fn new(name: &[u8]) -> Option<Self> {
        (1..=Self::MAX).contains(&name.len()).then(|| Self(name.to_vec()))
    }

    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Where a resumed transaction goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Continuation {
    /// A route, by its place in its table; the tables are the same in every process.
    Route {
        /// The table.
        table: RouteTable,
        /// Its entry.
        index: u32,
    },
    /// A function of the KEMI script.
    Function(FunctionName),
}

/// What is needed to resume a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspended {
    /// The transaction.
    pub transaction: Transaction,
    /// Where it goes on with the answer.
    pub on_answer: Continuation,
    /// Where it goes on without one.
    pub on_failure: Continuation,
}

/// What the manager has to know about an open slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When the query ends without an answer; `None`: at once, because no broker was connected when it was asked.
    pub deadline_ns: Option<u64>,
    /// Process that asked.
    pub process_no: usize,
    /// The command ring's `written` when it asked: once `confirmed` has passed this, the broker has the query.
    pub place: u64,
}

/// Every slot is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{slots} asynchronous queries are under way already, as many as shared memory (-m) is good for")]
pub struct TableFull {
    /// Slots of the table.
    pub slots: usize,
}

/// The table. Copies refer to the same slots.
#[derive(Clone, Copy, Debug)]
pub struct Suspensions {
    words: Words,
    slots: usize,
}

impl Suspensions {
    /// Words that a table of `slots` slots takes.
    pub const fn words(slots: usize) -> usize {
        HEAD + slots * (1 + SLOT)
    }

    /// The table in `words`; zeroed words are an empty one.
    pub fn new(words: Words) -> Self {
        Self { words, slots: words.count().saturating_sub(HEAD) / (1 + SLOT) }
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Whether any slot is open. One read.
    pub fn any_open(&self) -> bool {
        self.words.get(OPEN).load(Relaxed) != 0
    }

    /// Takes a slot into use. Any process that runs script, lock-free.
    pub fn open(&self, suspended: &Suspended, due: Due) -> Result<Ticket, TableFull> {
        let slot = self.free_slot().ok_or(TableFull { slots: self.slots })?;
        let ticket = Ticket::new((self.state(slot).load(Relaxed) >> 1) + 1, slot);
        let Transaction { hash_index, label } = suspended.transaction;
        self.set(slot, DEADLINE, due.deadline_ns.unwrap_or(0));
        self.set(slot, TRANSACTION, u64::from(hash_index) << 32 | u64::from(label));
        self.set(slot, PROCESS, due.process_no as u64);
        self.set(slot, PLACE, due.place);
        self.write(slot, ON_ANSWER, &suspended.on_answer);
        self.write(slot, ON_FAILURE, &suspended.on_failure);
        self.words.get(OPEN).fetch_add(1, Relaxed);
        self.state(slot).store(ticket.open_state(), Release); // SYNC O
        Ok(ticket)
    }

    /// Takes what `ticket` stands for; the caller resumes it. `None` if somebody has taken it before.
    pub fn take(&self, ticket: Ticket) -> Option<Suspended> {
        let slot = ticket.slot();
        if slot >= self.slots {
            return None;
        }
        let open = ticket.open_state();
        self.state(slot).compare_exchange(open, open & !1, AcqRel, Relaxed).ok()?; // SYNC O
        let transaction = self.get(slot, TRANSACTION);
        let suspended = Suspended {
            transaction: Transaction { hash_index: (transaction >> 32) as u32, label: transaction as u32 },
            on_answer: self.read(slot, ON_ANSWER),
            on_failure: self.read(slot, ON_FAILURE),
        };
        self.give_back(slot);
        self.words.get(OPEN).fetch_sub(1, Relaxed);
        Some(suspended)
    }

    /// Whether nobody has taken `ticket` yet.
    pub fn is_open(&self, ticket: Ticket) -> bool {
        ticket.slot() < self.slots && self.state(ticket.slot()).load(Acquire) == ticket.open_state()
    }

    /// Shows every open slot. Reads one or two cache lines per slot that was ever in use.
    pub fn each_open(&self, mut show: impl FnMut(Ticket, Due)) {
        let used = usize::try_from(self.words.get(USED).load(Acquire)).unwrap_or(0).min(self.slots);
        for slot in 0..used {
            let state = self.state(slot).load(Acquire); // SYNC O
            if state & 1 == 0 {
                continue;
            }
            let deadline_ns = self.get(slot, DEADLINE);
            let process_no = usize::try_from(self.get(slot, PROCESS)).unwrap_or(usize::MAX);
            let place = self.get(slot, PLACE);
            if self.state(slot).load(Acquire) == state {
                let deadline_ns = (deadline_ns != 0).then_some(deadline_ns);
                show(Ticket::new(state >> 1, slot), Due { deadline_ns, process_no, place });
            }
        }
    }

    /// A slot of the free list, or one that was never used.
    fn free_slot(&self) -> Option<usize> {
        let head = self.words.get(FREE);
        let mut now = head.load(Acquire); // SYNC L
        while let Some(slot) = (now & u64::from(u32::MAX)).checked_sub(1) {
            let slot = slot as usize;
            let next = changed(now) | self.get(slot, NEXT_FREE);
            match head.compare_exchange_weak(now, next, AcqRel, Acquire) {
                Ok(_) => return Some(slot),
                Err(other) => now = other,
            }
        }
        let fresh = |used: u64| (used < self.slots as u64).then_some(used + 1);
        let used = self.words.get(USED).fetch_update(AcqRel, Acquire, fresh).ok()?;
        usize::try_from(used).ok()
    }

    fn give_back(&self, slot: usize) {
        let head = self.words.get(FREE);
        let mut now = head.load(Relaxed);
        loop {
            self.set(slot, NEXT_FREE, now & u64::from(u32::MAX));
            match head.compare_exchange_weak(now, changed(now) | (slot as u64 + 1), Release, Relaxed) {
                Ok(_) => return, // SYNC L
                Err(other) => now = other,
            }
        }
    }

    fn write(&self, slot: usize, at: usize, continuation: &Continuation) {
        match continuation {
            Continuation::Route { table, index } => {
                let table = match table {
                    RouteTable::Reply => 0,
                    RouteTable::Failure => 1,
                    RouteTable::Plain => 2,
                };
                self.set(slot, at, 0);
                self.set(slot, at + 1, table << 32 | u64::from(*index));
            }
            Continuation::Function(FunctionName(name)) => {
                self.set(slot, at, name.len() as u64);
                for (i, chunk) in name.chunks(8).enumerate() {
                    let mut word = [0; 8];
                    word[..chunk.len()].copy_from_slice(chunk);
                    self.set(slot, at + 1 + i, u64::from_ne_bytes(word));
                }
            }
        }
    }

    fn read(&self, slot: usize, at: usize) -> Continuation {
        let len = usize::try_from(self.get(slot, at)).unwrap_or(0).min(FunctionName::MAX);
        if len > 0 {
            let words = (0..len.div_ceil(8)).map(|i| self.get(slot, at + 1 + i));
            let mut name: Vec<u8> = words.flat_map(u64::to_ne_bytes).collect();
            name.truncate(len);
            return Continuation::Function(FunctionName(name));
        }
        let route = self.get(slot, at + 1);
        let table = match route >> 32 {
            0 => RouteTable::Reply,
            1 => RouteTable::Failure,
            _ => RouteTable::Plain,
        };
        Continuation::Route { table, index: route as u32 }
    }

    /// Twice the number of lives of a slot, plus one while it is open. All states lie together: they are scanned.
    fn state(&self, slot: usize) -> &std::sync::atomic::AtomicU64 {
        self.words.get(HEAD + slot)
    }

    fn get(&self, slot: usize, word: usize) -> u64 {
        self.words.get(HEAD + self.slots + slot * SLOT + word).load(Acquire)
    }

    fn set(&self, slot: usize, word: usize, value: u64) {
        self.words.get(HEAD + self.slots + slot * SLOT + word).store(value, Release);
    }
}

/// The count of the list's changes, one more: a head that was seen before and has come back is not the same.
fn changed(head: u64) -> u64 {
    ((head >> 32) + 1) << 32
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::port::test_block;
    use super::*;

    const DUE: Due = Due { deadline_ns: Some(5), process_no: 2, place: 640 };

    fn suspended(label: u32) -> Suspended {
        Suspended {
            transaction: Transaction { hash_index: u32::MAX, label },
            on_answer: Continuation::Route { table: RouteTable::Plain, index: 7 },
            on_failure: Continuation::Function(FunctionName::new(&[b'f'; FunctionName::MAX]).unwrap()),
        }
    }

    #[test]
    fn a_ticket_is_taken_once_and_its_slot_is_used_again_under_another_one() {
        let table = test_block(1, 1).suspensions().unwrap();
        let first = table.open(&suspended(1), DUE).unwrap();
        assert!(table.any_open() && table.is_open(first));
        assert_eq!(table.take(first), Some(suspended(1)));
        assert_eq!(table.take(first), None);
        assert!(!table.any_open());
        let second = table.open(&suspended(2), DUE).unwrap();
        assert_eq!((second.slot(), second == first), (first.slot(), false));
        assert_eq!(table.take(first), None, "the slot belongs to somebody else now");
        assert_eq!(table.take(Ticket(u64::MAX)), None);
        assert_eq!(table.take(second), Some(suspended(2)));
    }

    #[test]
    fn the_table_says_when_it_is_full_and_shows_what_is_open() {
        let table = test_block(1, 1).suspensions().unwrap();
        let tickets: Vec<_> = (0..table.slots()).map(|i| table.open(&suspended(i as u32), DUE).unwrap()).collect();
        assert_eq!(table.open(&suspended(0), DUE), Err(TableFull { slots: table.slots() }));
        assert!(table.take(tickets[1]).is_some());
        let mut open = Vec::new();
        table.each_open(|ticket, due| open.push((ticket, due)));
        let expected: Vec<_> =
            tickets.iter().enumerate().filter(|(i, _)| *i != 1).map(|(_, ticket)| (*ticket, DUE)).collect();
        assert_eq!(open, expected);
        let no_broker = Due { deadline_ns: None, ..DUE };
        let again = table.open(&suspended(9), no_broker).unwrap();
        open.clear();
        table.each_open(|ticket, due| open.push((ticket, due)));
        assert!(open.contains(&(again, no_broker)));
    }

    #[test]
    fn threads_that_open_take_and_look_never_mix_slots_up() {
        let table = test_block(1, 1).suspensions().unwrap();
        let taken = AtomicU64::new(0);
        const EACH: u32 = 20_000;
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let taken = &taken;
                scope.spawn(move || {
                    for i in 0..EACH {
                        let own = suspended(thread << 24 | i);
                        let place = u64::from(own.transaction.label);
                        let due = Due { deadline_ns: Some(place + 1), process_no: thread as usize, place };
                        let Ok(ticket) = table.open(&own, due) else { continue };
                        assert_eq!(table.take(ticket), Some(own));
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            scope.spawn(|| {
                while table.any_open() || taken.load(Ordering::Relaxed) < u64::from(EACH) {
                    table.each_open(|_, due| {
                        assert_eq!(due.deadline_ns, Some(due.place + 1));
                        assert_eq!(due.process_no as u64, due.place >> 24);
                    });
                }
            });
        });
        assert!(!table.any_open());
    }
}
