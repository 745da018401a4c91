//! The end of the bus that a script-running process holds: SIP worker, consumer, timer, RPC process.
//!
//! Runs in the process whose number it was made for, never in the manager. Publishing makes no system call and
//! takes no lock while the manager is awake and the outbox has room; only a message larger than a quarter of the
//! ring takes the host's allocator lock. A wait is bounded: for room by the configured wait, for an answer by the
//! query's deadline. Broker errors are not visible here except as the outcome of a query.

use std::time::Duration;

use shm::ring::record_bytes;
use shm::{Bell, Consumer, Producer, PushError};

use super::clock::now_ns;
use super::command::{Body, Command, Outgoing, QueryPart};
use super::counters::{Counter, Row};
use super::fragment::{Joined, Joiner};
use super::layout::{Block, Flow, LayoutError, OwnWords, Shared};
use super::patience::{Limit, Patience, Run};
use super::registry::RegistryFull;
use super::reply::{Outcome, Reply};
use super::suspended::{Due, Suspended, Suspensions, TableFull};

/// Kind of a record in the command ring.
pub const COMMAND: u32 = 1;

/// Why a message was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Every byte of the outbox waits for a confirm. Trying again later helps.
    #[error("outbox of process {process_no} is full: {flow}, {capacity} bytes wait (amqp_command_ring_kb)")]
    Full {
        /// Process whose outbox it is.
        process_no: usize,
        /// Size of the outbox in bytes.
        capacity: usize,
        /// What the zone was doing.
        flow: Flow,
    },
    /// Larger than the configured maximum. Trying again does not help.
    #[error("message is {len} bytes, amqp_max_message_size allows {max}")]
    TooLarge {
        /// Length of the body in bytes.
        len: usize,
        /// The maximum in bytes.
        max: usize,
    },
    /// No room for a large message. Trying again later may help.
    #[error("no shared memory for a message of {len} bytes: large ones may take {max} bytes together, half of -m")]
    NoMemory {
        /// Length of the body in bytes.
        len: usize,
        /// Bytes for all large messages that wait for their confirm.
        max: usize,
    },
    /// The ring is damaged; never expected.
    #[error("command ring: {0}")]
    Damaged(PushError),
}

/// Why a query brought no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The query was not accepted.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// No broker is connected, so none can answer.
    #[error("no broker is connected")]
    NoBroker,
    /// Nobody answered in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection was lost after the query had left.
    #[error("the connection to the broker was lost")]
    ConnectionLost,
    /// The broker refused the query.
    #[error("the broker refused the query")]
    Refused,
}

/// Why an asynchronous query was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AsyncError {
    /// The query was not accepted.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Too many are under way.
    #[error(transparent)]
    TableFull(#[from] TableFull),
}

/// One process's end. Made after the fork, once per process.
pub struct Worker {
    shared: &'static Shared,
    process_no: usize,
    commands: Producer,
    replies: Consumer,
    joiner: Joiner,
    own: OwnWords,
    suspensions: Suspensions,
    row: Row,
    bell: Bell,
    manager_bell: Bell,
    patience: Patience,
    head: Vec<u8>,
    /// The reply ring cannot be read any more; never expected.
    damaged: bool,
    /// Where the outbox stood when a wait for room ended and nothing had moved: until it moves, waiting is in vain.
    stuck_at: Option<u64>,
    /// Large messages that the broker has not confirmed: end of their record, block.
    blocks: Vec<(u64, Block)>,
}

impl Worker {
    /// Takes the worker's ends of process `process_no`. `patience`: how long to wait for room.
    ///
    /// Call in that process only, once.
    pub fn attach(shared: &'static Shared, process_no: usize, patience: Patience) -> Result<Self, LayoutError> {
        let (commands, replies) = shared.worker_rings(process_no)?;
        Ok(Self {
            shared,
            process_no,
            commands,
            replies,
            joiner: Joiner::default(),
            own: shared.own(process_no)?,
            suspensions: shared.suspensions()?,
            row: shared.process_row(process_no)?,
            bell: shared.process_bell(process_no)?,
            manager_bell: shared.manager_bell()?,
            patience,
            head: Vec::with_capacity(1024),
            damaged: false,
            stuck_at: None,
            blocks: Vec::new(),
        })
    }

    /// Counters of this process.
    pub fn row(&self) -> Row {
        self.row
    }

    /// Says on whose behalf the next messages are sent, which decides how long they may wait for room. Before each.
    pub fn begin(&mut self, run: Run) {
        self.patience.begin(run);
    }

    /// Puts a message into the outbox. `Ok`: it will reach the broker unless the server itself dies.
    pub fn publish(&mut self, message: &Outgoing<'_>) -> Result<(), PublishError> {
        self.row.inc(Counter::Attempted);
        let sequence = self.own.next_sequence();
        self.submit(message, sequence, None).map(|_| ())
    }

    /// Sends a query and blocks this process until its outcome, at most `timeout`.
    ///
    /// `msg_id`: the `Msg-ID` in the body, by which the answer is recognised.
    pub fn query(&mut self, message: &Outgoing<'_>, msg_id: &[u8], timeout: Duration) -> Result<Reply, QueryError> {
        self.row.inc(Counter::Attempted);
        if self.shared.flow() == Flow::Down {
            self.row.inc(Counter::QueryNoBroker);
            return Err(QueryError::NoBroker);
        }
        let sequence = self.own.next_sequence();
        let deadline_ns = deadline(timeout);
        self.own.set_waiting(sequence);
        let sent = self.submit(message, sequence, Some(QueryPart { deadline_ns, msg_id, ticket: None }));
        let result = match sent {
            Err(error) => Err(error.into()),
            Ok(end) => {
                self.row.inc(Counter::Queries);
                self.await_outcome(sequence, deadline_ns, end, timeout)
            }
        };
        self.own.set_waiting(0);
        result
    }

    /// Sends a query whose outcome resumes `suspended` in a consumer process, with the answer or without. Does not wait
    /// for it. An error: the transaction is the caller's again, and nobody will resume it.
    ///
    /// With no broker connected nothing is sent, and the transaction goes on at once.
    pub fn query_async(
        &mut self,
        message: &Outgoing<'_>,
        msg_id: &[u8],
        timeout: Duration,
        suspended: &Suspended,
    ) -> Result<(), AsyncError> {
        self.row.inc(Counter::Attempted);
        let deadline_ns = (self.shared.flow() != Flow::Down).then(|| deadline(timeout));
        let due = Due { deadline_ns, process_no: self.process_no, place: self.commands.written() };
        let ticket = self.suspensions.open(suspended, due).inspect_err(|_| self.row.inc(Counter::RefusedFull))?;
        let Some(deadline_ns) = deadline_ns else {
            self.row.inc(Counter::AsyncQueries);
            self.manager_bell.ring();
            return Ok(());
        };
        let sequence = self.own.next_sequence();
        match self.submit(message, sequence, Some(QueryPart { deadline_ns, msg_id, ticket: Some(ticket) })) {
            Ok(_) => self.row.inc(Counter::Queries),
            Err(error) if self.suspensions.take(ticket).is_some() => return Err(error.into()),
            // Its time was up while it waited for room, and it has been resumed without an answer.
            Err(_) => {}
        }
        self.row.inc(Counter::AsyncQueries);
        Ok(())
    }

    /// Registers a subscription; every manager, running or to come, declares it.
    pub fn subscribe(&mut self, subscription: &[u8]) -> Result<u32, RegistryFull> {
        let registry = self.shared.registry().map_err(|_| RegistryFull { text_bytes: 0 })?;
        let number = registry.append(subscription)?;
        self.manager_bell.ring();
        Ok(number)
    }

    /// Commits one record to the command ring; returns its end cursor.
    fn submit(
        &mut self,
        message: &Outgoing<'_>,
        sequence: u64,
        query: Option<QueryPart<'_>>,
    ) -> Result<u64, PublishError> {
        self.reclaim();
        let result = self.push(message, sequence, query);
        match &result {
            Ok(_) => {
                self.row.inc(Counter::Published);
                self.manager_bell.ring();
            }
            Err(PublishError::Full { .. } | PublishError::NoMemory { .. }) => self.row.inc(Counter::RefusedFull),
            Err(_) => self.row.inc(Counter::RefusedSize),
        }
        result
    }

    fn push(&mut self, m: &Outgoing<'_>, sequence: u64, query: Option<QueryPart<'_>>) -> Result<u64, PublishError> {
        let max = self.shared.sizes().max_message;
        if m.body.len() > max {
            return Err(PublishError::TooLarge { len: m.body.len(), max });
        }
        let mut command = Command {
            sequence,
            query,
            broker: m.broker,
            exchange: m.exchange,
            routing_key: m.routing_key,
            headers: m.headers,
            splice: m.splice,
            body: Body::Inline(m.body),
        };
        command.encode_head(&mut self.head);
        if self.head.len() + m.body.len() <= self.inline_limit() {
            return self.push_when_room(m.body, query);
        }
        let no_memory = PublishError::NoMemory { len: m.body.len(), max: self.shared.max_block_bytes() };
        let block = self.shared.new_block(m.body).ok_or(no_memory)?;
        command.body = Body::Block { offset: block.offset, len: m.body.len() as u64 };
        command.encode_head(&mut self.head);
        if self.head.len() > self.inline_limit() {
            // Only headers or a Msg-ID of many kilobytes get here.
            self.shared.free_block(block);
            return Err(PublishError::TooLarge { len: self.head.len(), max: self.inline_limit() });
        }
        match self.push_when_room(&[], query) {
            Ok(end) => {
                self.blocks.push((end, block));
                Ok(end)
            }
            Err(error) => {
                self.shared.free_block(block);
                Err(error)
            }
        }
    }

    /// Largest record that goes into the ring whole.
    fn inline_limit(&self) -> usize {
        self.commands.max_record().min(self.commands.capacity() / 4)
    }

    /// Pushes `self.head` and `body`; waits for room as long as confirms move and [`Patience`] lasts.
    fn push_when_room(&mut self, body: &[u8], query: Option<QueryPart<'_>>) -> Result<u64, PublishError> {
        self.patience.attempt(self.head.len() + body.len());
        if let Some(end) = self.push_now(body)? {
            return Ok(end);
        }
        let began_ns = now_ns();
        // A query waits for its answer, so it may as well wait for room.
        let is_query = query.is_some_and(|q| q.ticket.is_none());
        let capacity = self.commands.capacity();
        let limit = if is_query { self.patience.full() } else { self.patience.limit(capacity, began_ns) };
        let query_ends = query.map_or(u64::MAX, |q| q.deadline_ns);
        let result = self.push_until(body, limit, began_ns.saturating_add(limit.ns()).min(query_ends));
        if result.is_err() {
            self.patience.waited_in_vain(limit, now_ns().saturating_sub(began_ns));
        }
        result
    }

    /// A full wait in which nothing moved is the last one until something moves: a frozen broker costs a loop one wait.
    fn push_until(&mut self, body: &[u8], limit: Limit, deadline_ns: u64) -> Result<u64, PublishError> {
        let started_at = self.commands.confirmed();
        loop {
            let now = now_ns();
            let flow = self.shared.flow();
            let confirmed = self.commands.confirmed();
            if now >= deadline_ns && confirmed == started_at && matches!(limit, Limit::Full(_)) {
                self.stuck_at = Some(started_at);
            }
            if flow != Flow::Moving || now >= deadline_ns || self.stuck_at == Some(confirmed) {
                let (process_no, capacity) = (self.process_no, self.commands.capacity());
                return Err(PublishError::Full { process_no, capacity, flow });
            }
            self.sleep_until_room(self.head.len() + body.len(), limit, deadline_ns - now);
            if let Some(end) = self.push_now(body)? {
                return Ok(end);
            }
        }
    }

    /// Pushes `self.head` and `body`; `None` if there is no room.
    fn push_now(&mut self, body: &[u8]) -> Result<Option<u64>, PublishError> {
        match self.commands.push(COMMAND, &[&self.head, body]) {
            Ok(end) => {
                self.patience.accepted();
                Ok(Some(end))
            }
            Err(PushError::Full { .. }) => Ok(None),
            Err(PushError::TooLarge { len, max }) => Err(PublishError::TooLarge { len, max }),
            Err(damage) => Err(PublishError::Damaged(damage)),
        }
    }

    /// Sleeps until there is room for a record of `len` bytes, and for as much as is worth waking for; at most `ns`.
    fn sleep_until_room(&mut self, len: usize, limit: Limit, ns: u64) {
        let capacity = self.commands.capacity();
        // Twice: with the gap that it may leave at the end of the ring.
        let wanted = (2 * record_bytes(len)).max(limit.worth_waking(capacity));
        self.bell.announce_for(wanted);
        if capacity - self.commands.used() >= wanted {
            self.bell.retract();
        } else {
            // An interrupted or failed sleep only means that the caller looks again.
            let _ = self.bell.sleep(Some(Duration::from_nanos(ns)));
        }
    }

    fn await_outcome(
        &mut self,
        sequence: u64,
        deadline_ns: u64,
        end: u64,
        timeout: Duration,
    ) -> Result<Reply, QueryError> {
        loop {
            if let Some(outcome) = self.take_outcome(sequence) {
                return self.conclude(outcome, timeout);
            }
            let now = now_ns();
            if now >= deadline_ns {
                self.row.inc(Counter::QueryTimeouts);
                return Err(QueryError::Timeout(timeout));
            }
            if self.answer_is_lost(end) {
                return self.conclude(Outcome::ConnectionLost, timeout);
            }
            // Not for room: the broker's confirm of the query comes before the answer.
            self.bell.announce_for(usize::MAX);
            if (self.damaged || self.replies.is_empty()) && !self.answer_is_lost(end) {
                let _ = self.bell.sleep(Some(Duration::from_nanos(deadline_ns - now)));
            } else {
                self.bell.retract();
            }
        }
    }

    fn conclude(&self, outcome: Outcome, timeout: Duration) -> Result<Reply, QueryError> {
        match outcome {
            Outcome::Answer(reply) => {
                self.row.inc(Counter::Answers);
                Ok(reply)
            }
            Outcome::ConnectionLost => {
                self.row.inc(Counter::QueryLost);
                Err(QueryError::ConnectionLost)
            }
            Outcome::Refused => {
                self.row.inc(Counter::QueryLost);
                Err(QueryError::Refused)
            }
            Outcome::Timeout => {
                self.row.inc(Counter::QueryTimeouts);
                Err(QueryError::Timeout(timeout))
            }
            Outcome::NoBroker => {
                self.row.inc(Counter::QueryNoBroker);
                Err(QueryError::NoBroker)
            }
        }
    }

    /// A new manager knows nothing of a query that the broker had confirmed to the old one, and the reply queue died
    /// with the old one's connection. A query that was not confirmed is still in the ring and is sent again.
    fn answer_is_lost(&self, end: u64) -> bool {
        self.own.inherited() >= end
    }

    /// Takes replies off the ring until the one to `sequence`; others are late and only counted.
    fn take_outcome(&mut self, sequence: u64) -> Option<Outcome> {
        let limit = self.shared.sizes().max_message + 64;
        if self.damaged {
            return None;
        }
        loop {
            let record = match self.replies.next() {
                Ok(Some(record)) => record,
                Ok(None) => return None,
                Err(_) => {
                    self.row.inc(Counter::Damaged);
                    self.damaged = true;
                    return None;
                }
            };
            let end = record.end;
            let joined = self.joiner.take(record.bytes, limit);
            if self.replies.confirm(end).is_err() {
                self.row.inc(Counter::Damaged);
            }
            match joined {
                Some(Joined::Complete | Joined::CompleteAfterTorn) => match Outcome::decode(self.joiner.text()) {
                    // Whatever else the manager has for this process is late, and can wait for the next query.
                    Some((number, outcome)) if number == sequence => return Some(outcome),
                    Some(_) => self.row.inc(Counter::LateReplies),
                    None => self.row.inc(Counter::Damaged),
                },
                Some(Joined::Partial | Joined::PartialAfterTorn) => {}
                None => self.row.inc(Counter::Damaged),
            }
            // The manager may wait for room to send the next fragment.
            self.manager_bell.ring();
        }
    }

    /// Frees the blocks of large messages that were confirmed since the last call.
    ///
    /// Called with every use of the bus by this process; a process that never uses it again keeps its last blocks.
    pub fn reclaim(&mut self) {
        if self.blocks.is_empty() {
            // The cursor is on a line that the manager writes: not looked at for nothing.
            return;
        }
        let confirmed = self.commands.confirmed();
        while self.blocks.first().is_some_and(|(end, _)| *end <= confirmed) {
            let (_, block) = self.blocks.remove(0);
            self.shared.free_block(block);
        }
    }
}

fn deadline(timeout: Duration) -> u64 {
    now_ns() + u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX / 2)
}
