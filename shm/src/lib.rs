//! Rings, wake-ups and regions in shared memory: how the processes of one server pass records to each other.
//!
//! This crate knows neither Kamailio nor AMQP. Memory is mapped before the fork by whoever uses the crate; here it is
//! only offsets and lengths, never pointers, so the same ring works at another address in every process.
//!
//! | file         | what it holds                                                                 |
//! |--------------|-------------------------------------------------------------------------------|
//! | `region.rs`  | [`Region`]: a span of mapped memory, cut into aligned parts                   |
//! | `ring.rs`    | [`ring`]: one producer, one consumer, variable-length records, three cursors  |
//! | `wakeup.rs`  | [`Bell`]: "I sleep" word and eventfd, so that a busy peer costs no system call |
//! | `words.rs`   | [`Words`]: atomic words: flags, counters, sequence numbers                    |
//! | `seqlock.rs` | [`Seqlock`]: records that one process writes and any reads                    |
//! | `tickets.rs` | [`Tickets`]: slots that any process opens and any takes, once                 |
//! | `entries.rs` | [`Entries`]: texts that any process appends, never changed                    |
//! | `mapping.rs` | `Mapping` (feature `mapping`): shared memory for tests, benches and tools     |
//! | `sync.rs`    | the one switch between the atomics of `core` and those of loom                |
//!
//! All `unsafe` of the project outside the Kamailio boundary lives in this crate; its proofs rest on the invariants at
//! the head of each file.

pub mod entries;
#[cfg(feature = "mapping")]
pub mod mapping;
#[cfg(loom)]
pub mod model;
pub mod region;
pub mod ring;
pub mod seqlock;
mod sync;
pub mod tickets;
pub mod wakeup;
pub mod words;

pub use entries::Entries;
#[cfg(feature = "mapping")]
pub use mapping::{MapError, Mapping};
pub use region::{LayoutError, Region};
pub use ring::{Consumer, Corrupt, Producer, PushError, Record, Reservation};
pub use seqlock::Seqlock;
pub use tickets::{Ticket, Tickets};
pub use wakeup::{Bell, WakeWord, Woken, new_eventfd};
pub use words::Words;
