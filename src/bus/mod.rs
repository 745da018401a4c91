//! The only way between processes: the records of the four queues and their wiring.
//!
//! ```text
//!   any process that runs script          AMQP manager              consumer 1..C
//!   Worker  ──── command ring ──────────▶ ManagerPort ── delivery ring ──▶ Inlet
//!           ◀─── reply ring ─────────────             ◀─ ack ring ────────
//! ```
//!
//! One ring per direction and process, single producer, single consumer (crate `shm`). Beside the rings lie
//! words: small atomics such as the state of the zone, counters, and each process's "I sleep" word. Everything is
//! laid out once, before the fork, by [`layout`]; nothing is allocated afterwards except the blocks of
//! [`command`] for messages too large for a ring.
//!
//! | file | concern |
//! |---|---|
//! | `layout` | one block of shared memory: who owns which ring, sizes, attaching (the only `unsafe` here) |
//! | `wire` | reading and writing the fixed fields of a record |
//! | `command` | worker → manager: publish, query, asynchronous query |
//! | `reply` | manager → worker: the answer to a query, or the verdict that there will be none |
//! | `delivery` | manager → consumer: one consumed message |
//! | `resume` | manager → consumer: the outcome of an asynchronous query |
//! | `ack` | consumer → manager: what became of a message |
//! | `fragment` | messages larger than a ring, cut and joined |
//! | `registry` | subscriptions, kept where a new manager finds them again |
//! | `status` | how brokers and subscriptions stand |
//! | `suspended` | transactions that wait for an asynchronous query |
//! | `patience` | how long a process waits for room in its outbox |
//! | `counters` | every number that statistics and RPC show |
//! | `worker`, [`inlet`], [`port`] | the three ends: script process, consumer process, manager |
//!
//! Knows neither Kamailio nor AMQP libraries: the same code runs over a private mapping in tests and benches.

pub mod ack;
pub mod clock;
pub mod command;
pub mod counters;
pub mod delivery;
pub mod fragment;
pub mod inlet;
pub mod layout;
pub mod patience;
pub mod port;
pub mod registry;
pub mod reply;
pub mod resume;
pub mod status;
pub mod subscription;
pub mod suspended;
pub mod wire;
pub mod worker;

pub use command::{Outgoing, ShortStr, TooLong};
pub use delivery::{Delivery, DeliveryKind};
pub use inlet::{Handed, Inlet, Verdict};
pub use layout::{Block, Layout, LayoutError, Shared, Sizes};
pub use port::ManagerPort;
pub use reply::Reply;
pub use worker::{AsyncError, PublishError, QueryError, Worker};

/// A record in shared memory that does not read as what its ring carries.
///
/// Never expected: it means that memory was overwritten. The reader drops the record and goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// The ring's own header or a record header is damaged.
    #[error("ring is damaged: {0}")]
    Ring(#[from] shm::ring::Corrupt),
    /// A record's fields do not fit its length.
    #[error("damaged {what} record")]
    Record {
        /// Which kind of record.
        what: &'static str,
    },
}
