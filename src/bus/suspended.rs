//! Transactions that wait for the outcome of an asynchronous query: a table in shared memory.
//!
//! The asking process opens a slot, the consumer process that resumes the transaction takes it, and the manager only
//! looks. Whoever takes a ticket resumes, and a ticket can be taken once: so a transaction is resumed once whatever
//! races (answer and timeout, a query that was sent twice, two managers one after the other). The table outlives the
//! manager; the next one finds in it whom the dead one has left waiting.
//!
//! The races are those of [`shm::tickets`]; here is what the words of a slot mean.

use shm::{Tickets, Words};

pub use shm::Ticket;
pub use shm::tickets::MAX_SLOTS;

/// Words of one slot; the manager's come first.
const DEADLINE: usize = 0;
const PROCESS: usize = 1;
const PLACE: usize = 2;
const DUE: usize = 3;
const TRANSACTION: usize = DUE;
const ON_ANSWER: usize = 4;
const ON_FAILURE: usize = ON_ANSWER + CONTINUATION;
const SLOT: usize = ON_FAILURE + CONTINUATION;
/// A continuation: kind and length in one word, then the text or the route.
const CONTINUATION: usize = 1 + FunctionName::MAX.div_ceil(8);

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
pub struct Suspensions(Tickets<SLOT>);

impl Suspensions {
    /// Words that a table of `slots` slots takes.
    pub const fn words(slots: usize) -> usize {
        Tickets::<SLOT>::words(slots)
    }

    /// The table in `words`; zeroed words are an empty one.
    pub fn new(words: Words) -> Self {
        Self(Tickets::new(words))
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.0.slots()
    }

    /// Whether any slot is open. One read.
    pub fn any_open(&self) -> bool {
        self.0.any_open()
    }

    /// Takes a slot into use. Any process that runs script, lock-free.
    pub fn open(&self, suspended: &Suspended, due: Due) -> Result<Ticket, TableFull> {
        self.0.open(&encode(suspended, due)).ok_or(TableFull { slots: self.slots() })
    }

    /// Takes what `ticket` stands for; the caller resumes it. `None` if somebody has taken it before.
    pub fn take(&self, ticket: Ticket) -> Option<Suspended> {
        self.0.take(ticket).map(|words| decode(&words))
    }

    /// Whether nobody has taken `ticket` yet.
    pub fn is_open(&self, ticket: Ticket) -> bool {
        self.0.is_open(ticket)
    }

    /// Shows every open slot. Reads one or two cache lines per slot that was ever in use.
    pub fn each_open(&self, mut show: impl FnMut(Ticket, Due)) {
        self.0.each_open(|ticket, words: [u64; DUE]| {
            let deadline_ns = (words[DEADLINE] != 0).then_some(words[DEADLINE]);
            let process_no = usize::try_from(words[PROCESS]).unwrap_or(usize::MAX);
            show(ticket, Due { deadline_ns, process_no, place: words[PLACE] });
        });
    }
}

fn encode(suspended: &Suspended, due: Due) -> [u64; SLOT] {
    let mut words = [0; SLOT];
    let Transaction { hash_index, label } = suspended.transaction;
    words[DEADLINE] = due.deadline_ns.unwrap_or(0);
    words[PROCESS] = due.process_no as u64;
    words[PLACE] = due.place;
    words[TRANSACTION] = u64::from(hash_index) << 32 | u64::from(label);
    encode_continuation(&suspended.on_answer, &mut words[ON_ANSWER..ON_FAILURE]);
    encode_continuation(&suspended.on_failure, &mut words[ON_FAILURE..]);
    words
}

fn decode(words: &[u64; SLOT]) -> Suspended {
    let transaction = words[TRANSACTION];
    Suspended {
        transaction: Transaction { hash_index: (transaction >> 32) as u32, label: transaction as u32 },
        on_answer: decode_continuation(&words[ON_ANSWER..ON_FAILURE]),
        on_failure: decode_continuation(&words[ON_FAILURE..]),
    }
}

fn encode_continuation(continuation: &Continuation, words: &mut [u64]) {
    match continuation {
        Continuation::Route { table, index } => {
            let table = match table {
                RouteTable::Reply => 0,
                RouteTable::Failure => 1,
                RouteTable::Plain => 2,
            };
            words[0] = 0;
            words[1] = table << 32 | u64::from(*index);
        }
        Continuation::Function(FunctionName(name)) => {
            words[0] = name.len() as u64;
            for (word, chunk) in words[1..].iter_mut().zip(name.chunks(8)) {
                let mut bytes = [0; 8];
                bytes[..chunk.len()].copy_from_slice(chunk);
                *word = u64::from_ne_bytes(bytes);
            }
        }
    }
}

fn decode_continuation(words: &[u64]) -> Continuation {
    let len = usize::try_from(words[0]).unwrap_or(0).min(FunctionName::MAX);
    if len > 0 {
        let mut name: Vec<u8> = words[1..].iter().copied().flat_map(u64::to_ne_bytes).collect();
        name.truncate(len);
        return Continuation::Function(FunctionName(name));
    }
    let table = match words[1] >> 32 {
        0 => RouteTable::Reply,
        1 => RouteTable::Failure,
        _ => RouteTable::Plain,
    };
    Continuation::Route { table, index: words[1] as u32 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
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
        assert_eq!(table.take(Ticket::from_number(u64::MAX).unwrap()), None);
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
}
