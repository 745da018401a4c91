//! Every number that statistics, `kazoo.stats` and the tests read, in one table.
//!
//! Each counter is one word with one writer: a worker counts in its own row, the manager in the manager's row.
//! Nobody adds with a locked instruction; readers sum the rows. Counters survive a restart of the manager.

use shm::words::Words;
use std::sync::atomic::Ordering::Relaxed;

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal),+ $(,)?) => {
        /// One counter. The discriminant is its column.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $($(#[doc = $doc])+ $variant),+ }

        impl Counter {
            /// All counters, in the order in which they are shown.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name under which statistics and RPC show it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it counts, as shown to the operator.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

counters! {
    /// Publishes asked for by the script, queries included.
    Attempted = "attempted",
    /// Publishes and queries accepted into the outbox.
    Published = "published",
    /// Accepted messages that the broker confirmed.
    Confirmed = "confirmed",
    /// Publishes refused because of their parameters: payload, exchange or routing key.
    RefusedInvalid = "refused_invalid",
    /// Publishes refused because the outbox, or the shared memory for large messages, was full.
    RefusedFull = "refused_full",
    /// Publishes refused because the message was larger than amqp_max_message_size.
    RefusedSize = "refused_size",
    /// Accepted messages that the broker refused for good: missing exchange, no permission, too large.
    RefusedByBroker = "refused_by_broker",
    /// Messages that the broker returned because no queue is bound for them; only with amqp_mandatory.
    Returned = "returned",
    /// Accepted queries that were not sent: their deadline had passed, or the last broker was gone.
    Expired = "expired",
    /// Messages sent again after a lost connection, a negative confirm or a new manager process.
    Resent = "resent",
    /// Negative confirms from the broker.
    Nacked = "nacked",
    /// Queries sent.
    Queries = "queries",
    /// Queries answered in time.
    Answers = "answers",
    /// Queries that ended without an answer at their deadline.
    QueryTimeouts = "query_timeouts",
    /// Queries that failed at once because no broker was connected.
    QueryNoBroker = "query_no_broker",
    /// Queries that failed because their connection was lost or the broker refused them.
    QueryLost = "query_lost",
    /// Answers that came after their query had ended, or that no query waited for.
    LateReplies = "late",
    /// Asynchronous queries accepted: transactions suspended.
    AsyncQueries = "async_queries",
    /// Suspended transactions that went on, with or without an answer.
    AsyncResumed = "async_resumed",
    /// Suspended transactions that had ended before they could go on: CANCEL, or the timer of the transaction.
    AsyncGone = "async_gone",
    /// Messages handed to consumer processes.
    Consumed = "consumed",
    /// Consumed messages whose event route has ended.
    Handled = "handled",
    /// Consumed messages that the broker had delivered before.
    Redelivered = "redelivered",
    /// Messages given up after amqp_max_redeliveries: rejected, which dead-letters them if their queue says so.
    GivenUp = "given_up",
    /// Consumed messages that were no JSON object.
    NotJson = "not_json",
    /// Consumed messages for which no event route is defined.
    NoRoute = "no_route",
    /// Deliveries acknowledged to the broker.
    Acknowledged = "acknowledged",
    /// Acknowledgements dropped because their connection was gone.
    StaleAcks = "stale_acks",
    /// Deliveries dropped before a consumer saw them because their channel was gone; the broker sends them again.
    StaleDeliveries = "stale_deliveries",
    /// Messages from the bus that were larger than amqp_max_message_size.
    Oversized = "oversized",
    /// Messages removed from their queue because a text in them is not UTF-8, which no connection survives.
    Unreadable = "unreadable",
    /// Connections established, the first included.
    Connects = "connects",
    /// Connections lost.
    Disconnects = "disconnects",
    /// Manager processes started, the first included.
    ManagerStarts = "manager_starts",
    /// Damaged records dropped; never expected.
    Damaged = "damaged",
}

/// Columns of one row.
pub const COLUMNS: usize = Counter::ALL.len();

/// One process's row of counters. Clones write the same row and must stay in the same process.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    words: Words,
    first: usize,
}

impl Row {
    /// Row number `row` of `words`.
    pub fn new(words: Words, row: usize) -> Self {
        Self { words, first: row * COLUMNS }
    }

    /// Adds one.
    pub fn inc(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Adds `n`. One writer per row, so a load and a store are enough.
    pub fn add(&self, counter: Counter, n: u64) {
        let word = self.words.get(self.first + counter as usize);
        word.store(word.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The row's value of `counter`.
    pub fn get(&self, counter: Counter) -> u64 {
        self.words.get(self.first + counter as usize).load(Relaxed)
    }
}
