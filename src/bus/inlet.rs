//! The end of the bus that a consumer process holds: deliveries come out, acknowledgements go in.
//!
//! Runs in one consumer process. Taking a delivery frees its place in the ring at once, before it is handled: the
//! broker keeps the message until it is acknowledged.

use std::time::Duration;

use shm::{Bell, Consumer, Producer, PushError};

use super::BusError;
use super::ack::AckRecord;
pub use super::ack::Verdict;
use super::clock::now_ns;
use super::counters::{Counter, Row};
use super::delivery::{AckHandle, Delivery};
use super::fragment::{Joined, Joiner};
use super::layout::{LayoutError, OwnWords, Shared};
use super::resume::Resume;

/// Kind of a record in the ack ring.
pub const ACK: u32 = 3;

/// How long to wait between two looks at a full ack ring, which the sizes make impossible.
const ACK_RETRY: Duration = Duration::from_millis(10);

/// After so many events without a pause the manager is told how long they took.
const PACE: u64 = 16;

/// What a consumer process is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handed<'a> {
    /// Run an event route and acknowledge.
    Event(Delivery<'a>),
    /// Resume a transaction.
    Resume(Resume),
}

impl<'a> Handed<'a> {
    fn decode(bytes: &'a [u8]) -> Option<Self> {
        if Resume::is_in(bytes) {
            Resume::decode(bytes).map(Self::Resume)
        } else {
            Delivery::decode(bytes).map(Self::Event)
        }
    }
}

/// One consumer process's end. Made after the fork, once per process.
pub struct Inlet {
    deliveries: Consumer,
    acks: Producer,
    joiner: Joiner,
    bell: Bell,
    manager_bell: Bell,
    row: Row,
    own: OwnWords,
    /// Events since `since_ns`.
    events: u64,
    since_ns: u64,
    /// How long an event lately takes.
    event_ns: u64,
    limit: usize,
    /// The delivery ring cannot be read any more; never expected.
    damaged: bool,
    scratch: Vec<u8>,
}

impl Inlet {
    /// Takes the ends of consumer `index`, which runs as process `process_no`. Call in that process only, once.
    pub fn attach(shared: &'static Shared, index: usize, process_no: usize) -> Result<Self, LayoutError> {
        let (deliveries, acks) = shared.inlet_rings(index, process_no)?;
        Ok(Self {
            deliveries,
            acks,
            joiner: Joiner::default(),
            bell: shared.process_bell(process_no)?,
            manager_bell: shared.manager_bell()?,
            row: shared.process_row(process_no)?,
            own: shared.own(process_no)?,
            events: 0,
            since_ns: now_ns(),
            event_ns: 0,
            // Fixed fields and four names come on top of the body.
            limit: shared.sizes().max_message + 2048,
            damaged: false,
            scratch: Vec::new(),
        })
    }

    /// Counters of this process.
    pub fn row(&self) -> Row {
        self.row
    }

    /// Sleeps until something may be there. Returns at once if something is.
    pub fn wait(&mut self) {
        self.note_pace();
        // Not for room in the outbox, which a confirm makes for what an event route has published.
        self.bell.announce_for(usize::MAX);
        if self.damaged || self.deliveries.is_empty() {
            // An interrupted or failed sleep only means that the caller looks again.
            let _ = self.bell.sleep(None);
            self.since_ns = now_ns();
        } else {
            self.bell.retract();
        }
    }

    /// What comes next; `None` when there is nothing (yet). An error means a damaged record, which was dropped.
    pub fn take(&mut self) -> Result<Option<Handed<'_>>, BusError> {
        loop {
            let half = self.deliveries.capacity() / 2;
            let was_over_half = self.deliveries.used() > half;
            if self.damaged {
                return Ok(None);
            }
            let record = match self.deliveries.next() {
                Ok(Some(record)) => record,
                Ok(None) => return Ok(None),
                Err(damage) => {
                    self.damaged = true;
                    return Err(damage.into());
                }
            };
            let end = record.end;
            let joined = self.joiner.take(record.bytes, self.limit);
            self.deliveries.confirm(end)?;
            if was_over_half && self.deliveries.used() <= half {
                // The manager waits for this much room when the ring was full.
                self.manager_bell.ring();
            }
            match joined {
                Some(Joined::Complete | Joined::CompleteAfterTorn) => {
                    return Handed::decode(self.joiner.text()).map(Some).ok_or(BusError::Record { what: "delivery" });
                }
                Some(Joined::Partial | Joined::PartialAfterTorn) => {}
                None => return Err(BusError::Record { what: "delivery fragment" }),
            }
        }
    }

    /// Tells the manager how long an event takes: a slow one at once, quick ones bit by bit.
    fn note_pace(&mut self) {
        if self.events == 0 {
            return;
        }
        let now = now_ns();
        let lately = now.saturating_sub(self.since_ns) / self.events;
        self.event_ns = lately.max(lately.midpoint(self.event_ns));
        self.own.set_event_ns(self.event_ns);
        (self.since_ns, self.events) = (now, 0);
    }

    /// Reports what became of a delivery with this `ack`; tells nobody if the manager has acknowledged it already.
    pub fn acknowledge(&mut self, ack: Option<AckHandle>, verdict: Verdict) {
        self.row.inc(Counter::Handled);
        self.events += 1;
        if self.events == PACE {
            self.note_pace();
        }
        let Some(handle) = ack else { return };
        AckRecord {
            subscription: handle.subscription,
            epoch: handle.epoch,
            delivery_tag: handle.delivery_tag,
            verdict,
        }
        .encode(&mut self.scratch);
        while let Err(error) = self.acks.push(ACK, &[&self.scratch]) {
            if !matches!(error, PushError::Full { .. }) {
                // Without its ack the broker delivers the message again; nothing is lost.
                self.row.inc(Counter::Damaged);
                return;
            }
            self.manager_bell.ring();
            self.bell.announce();
            let _ = self.bell.sleep(Some(ACK_RETRY));
        }
        self.manager_bell.ring();
    }
}
