//! The manager's end of the bus: every command, reply, delivery and ack ring, and everybody's wake-up.
//!
//! Runs in the manager only. Never blocks; takes no lock of the host.

use std::ops::Range;
use std::sync::atomic::{Ordering, fence};

use shm::{Bell, Consumer, Producer};

use super::ack::AckRecord;
use super::counters::{Counter, Row};
use super::delivery::Delivery;
use super::fragment::Cutter;
use super::layout::{LayoutError, OwnWords, Shared};
use super::resume::Resume;

/// Kind of a record in the reply ring.
const REPLY: u32 = 2;
/// Kind of a record in the delivery ring.
const DELIVERY: u32 = 4;

/// The manager's end of one process that runs script.
pub struct ProcessEnd {
    /// Its outbox.
    pub commands: Consumer,
    /// How far the manager before this one had sent: records that start before it are sent again.
    pub sent_before: u64,
    replies: Producer,
    bell: Bell,
    own: OwnWords,
}

impl ProcessEnd {
    /// Wakes the process if it sleeps on the bus.
    pub fn wake(&self) {
        self.bell.ring();
    }

    /// Room came in the outbox: wakes the process if it sleeps for less than there is now.
    pub fn wake_for_room(&self) {
        self.bell.ring_for(self.commands.capacity() - self.commands.used());
    }

    /// Whether the process still waits for query `sequence`.
    pub fn waits_for(&self, sequence: u64) -> bool {
        self.own.waiting() == sequence
    }

    /// Whether only a manager that is gone has seen the broker's confirm for what was written to the outbox at `place`.
    pub fn was_confirmed_before(&self, place: u64) -> bool {
        self.own.inherited() > place
    }

    /// Sends as much of a reply as fits; true when all of it was sent.
    pub fn send_reply(&mut self, parcel: &mut Parcel) -> bool {
        let done = parcel.push(&mut self.replies, REPLY);
        self.bell.ring();
        done
    }
}

/// The manager's end of one consumer process.
pub struct ConsumerEnd {
    deliveries: Producer,
    acks: Consumer,
    process_no: Option<usize>,
    /// The ack ring cannot be read any more; never expected.
    damaged: bool,
}

impl ConsumerEnd {
    /// Whether a message of `len` bytes can be handed to this consumer now, or at least its first piece.
    pub fn has_room(&self, len: usize) -> bool {
        let piece = len.saturating_add(256).min(self.deliveries.capacity() / 4);
        self.deliveries.free() >= piece && self.can_answer(piece)
    }

    /// Whether the ack ring can take the answers to all that is in the delivery ring and `extra` bytes more.
    ///
    /// An ack takes 64 bytes and a delivery at least 128 (both with the ring's header), so half of what waits for
    /// delivery bounds the acks to come. While this holds, the ack ring cannot run full.
    fn can_answer(&self, extra: usize) -> bool {
        self.acks.used() + (self.deliveries.used() + extra) / 2 <= self.acks.capacity()
    }

    /// Sends as much of a delivery as fits; true when all of it was sent. The caller wakes the consumer.
    pub fn send(&mut self, parcel: &mut Parcel) -> bool {
        parcel.push(&mut self.deliveries, DELIVERY)
    }

    /// The next acknowledgement; `None` when there is none. A damaged one is skipped and counted by `damaged`.
    pub fn next_ack(&mut self, damaged: &mut u64) -> Option<AckRecord> {
        if self.damaged {
            return None;
        }
        loop {
            let (end, ack) = match self.acks.next() {
                Ok(Some(record)) => (record.end, AckRecord::decode(record.bytes)),
                Ok(None) => return None,
                Err(_) => {
                    *damaged += 1;
                    self.damaged = true;
                    return None;
                }
            };
            if self.acks.confirm(end).is_err() || ack.is_none() {
                *damaged += 1;
                continue;
            }
            return ack;
        }
    }

    fn has_ack(&self) -> bool {
        !self.damaged && !self.acks.is_empty()
    }
}

/// A message on its way through a reply or delivery ring, whole or in fragments.
#[derive(Debug)]
pub struct Parcel {
    head: Vec<u8>,
    body: Vec<u8>,
    cutter: Cutter,
}

impl Parcel {
    /// `number` must differ from the one before it on the same ring.
    pub fn new(number: u64, text: Vec<u8>) -> Self {
        Self { head: Vec::new(), body: text, cutter: Cutter::new(number) }
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// Whether it has no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a part of it is in the ring, so that nothing else may be sent before its rest.
    pub fn started(&self) -> bool {
        self.cutter.started()
    }

    fn push(&mut self, ring: &mut Producer, kind: u32) -> bool {
        // A quarter of the ring, so that reader and writer can work at the same time.
        let room = ring.max_record().min(ring.capacity() / 4);
        loop {
            let (header, piece) = self.cutter.piece(self.len(), room);
            let (sent, [head, body]) = (piece.len(), self.parts(piece));
            match ring.push(kind, &[&header, head, body]) {
                Ok(_) => {
                    if self.cutter.advance(sent, self.len()) {
                        return true;
                    }
                }
                // Full; the room was chosen so that nothing else can happen to a sound ring.
                Err(_) => return false,
            }
        }
    }

    /// A piece of the text, which goes from the head into the body.
    fn parts(&self, piece: Range<usize>) -> [&[u8]; 2] {
        let end = self.head.len();
        let in_body = |at: usize| at.saturating_sub(end);
        [&self.head[piece.start.min(end)..piece.end.min(end)], &self.body[in_body(piece.start)..in_body(piece.end)]]
    }
}

/// All rings as the manager holds them.
pub struct ManagerPort {
    /// The words beside the rings.
    pub shared: &'static Shared,
    /// By process number.
    pub processes: Vec<ProcessEnd>,
    /// By consumer index.
    pub consumers: Vec<ConsumerEnd>,
    /// The manager's own wake-up.
    pub bell: Bell,
    /// The manager's counters.
    pub row: Row,
    parcels: u64,
}

impl ManagerPort {
    /// Takes the manager's ends and counts a new manager. Only after the manager before this one is dead.
    pub fn attach(shared: &'static Shared) -> Result<Self, LayoutError> {
        let bell = shared.manager_bell()?;
        bell.reset();
        let processes = (0..shared.sizes().processes)
            .map(|process_no| {
                // Before the attach: taking the ring sets its cursor back.
                let sent_before = shared.commands_sent(process_no)?;
                let (commands, replies) = shared.manager_worker_rings(process_no)?;
                let bell = shared.process_bell(process_no)?;
                let own = shared.own(process_no)?;
                own.set_inherited(commands.confirmed());
                Ok(ProcessEnd { commands, sent_before, replies, bell, own })
            })
            .collect::<Result<_, LayoutError>>()?;
        let consumers = (0..shared.sizes().consumers)
            .map(|index| {
                let (deliveries, acks) = shared.manager_consumer_rings(index)?;
                Ok(ConsumerEnd { deliveries, acks, process_no: None, damaged: false })
            })
            .collect::<Result<_, LayoutError>>()?;
        let row = shared.manager_row()?;
        row.inc(Counter::ManagerStarts);
        let generation = shared.next_generation();
        // Parcels of this manager must not continue a torn one of the last.
        Ok(Self { shared, processes, consumers, bell, row, parcels: generation << 40 })
    }

    /// A number for the next parcel.
    pub fn next_parcel(&mut self) -> u64 {
        self.parcels += 1;
        self.parcels
    }

    /// Turns a delivery into a parcel.
    pub fn parcel(&mut self, delivery: Delivery<'_>) -> Parcel {
        let mut head = Vec::with_capacity(128);
        delivery.encode_head(&mut head);
        Parcel { head, ..Parcel::new(self.next_parcel(), delivery.body.into_owned()) }
    }

    /// Turns the outcome of an asynchronous query into a parcel.
    pub fn resume_parcel(&mut self, resume: &Resume) -> Parcel {
        let mut text = Vec::with_capacity(resume.body_len() + 32);
        resume.encode(&mut text);
        Parcel::new(self.next_parcel(), text)
    }

    /// Wakes consumer `index` if it sleeps. Before it has started there is nobody to wake: it looks before it sleeps.
    pub fn wake_consumer(&mut self, index: usize) {
        let end = &mut self.consumers[index];
        if end.process_no.is_none() {
            // Between what was put into its ring and the look at its number; on its side `announce` stands between the
            // number and the look at the ring. So one of the two sees the other.
            fence(Ordering::SeqCst);
            end.process_no = self.shared.consumer_process(index);
        }
        if let Some(process) = end.process_no.and_then(|no| self.processes.get(no)) {
            process.wake();
        }
    }

    /// How long an event lately takes where it takes longest, in nanoseconds; `None` before the first ones.
    pub fn event_ns(&self) -> Option<u64> {
        let processes = self.consumers.iter().filter_map(|consumer| self.processes.get(consumer.process_no?));
        processes.map(|process| process.own.event_ns()).max().filter(|event_ns| *event_ns > 0)
    }

    /// Wakes every process, so that those that wait look at the words again.
    pub fn wake_all(&self) {
        self.processes.iter().for_each(ProcessEnd::wake);
    }

    /// Wakes every process, also one that the manager before this one was about to wake when it died.
    pub fn alarm_all(&self) {
        self.processes.iter().for_each(|process| process.bell.alarm());
    }

    /// Whether an acknowledgement waits.
    pub fn has_ack(&self) -> bool {
        self.consumers.iter().any(ConsumerEnd::has_ack)
    }
}

#[cfg(test)]
pub(crate) use tests::test_block;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::ptr::NonNull;
    use std::time::Duration;

    use shm::{Mapping, Region};

    use super::super::layout::{Flow, Heap, Layout, Sizes};
    use super::super::patience::{Patience, Run};
    use super::super::reply::{Outcome, Reply};
    use super::super::{
        Delivery, DeliveryKind, Handed, Inlet, Outgoing, PublishError, QueryError, ShortStr, Verdict, Worker,
    };
    use super::*;
    use crate::payload::envelope::Splice;

    /// A block in a private mapping that lives for the rest of the test process; its heap is the C allocator.
    pub(crate) fn test_block(processes: usize, consumers: usize) -> &'static Shared {
        let sizes = Sizes {
            processes,
            consumers,
            command: 4096,
            reply: 2048,
            delivery: 4096,
            ack: 2048,
            registry: 4096,
            brokers: 2,
            suspended: 64,
            max_message: 1 << 20,
        };
        let layout = Layout::new(sizes);
        let mapping = Box::leak(Box::new(Mapping::create(layout.bytes()).unwrap()));
        // SAFETY: the whole address space; the tests only use what `alloc` returned.
        let span = unsafe { Region::from_raw(NonNull::new(64 as *mut u8).unwrap(), isize::MAX as usize) };
        let heap = Heap { alloc: malloc, free, span };
        // SAFETY: the mapping is leaked, and used by this block only.
        Box::leak(Box::new(unsafe { Shared::create(mapping.region(), layout, heap, 7).unwrap() }))
    }

    fn malloc(len: usize) -> Option<NonNull<u8>> {
        // SAFETY: plain malloc.
        NonNull::new(unsafe { libc::malloc(len) }.cast())
    }

    fn free(at: NonNull<u8>) {
        // SAFETY: came from `malloc` above.
        unsafe { libc::free(at.as_ptr().cast()) }
    }

    fn message(body: &[u8]) -> Outgoing<'_> {
        Outgoing {
            broker: None,
            exchange: ShortStr::new(b"ex").unwrap(),
            routing_key: ShortStr::new(b"rk").unwrap(),
            headers: b"",
            body,
            splice: Splice::None,
        }
    }

    fn delivery(body: Vec<u8>) -> Delivery<'static> {
        Delivery {
            kind: DeliveryKind::Message,
            ack: Some(super::super::delivery::AckHandle { subscription: 0, epoch: 5, delivery_tag: 6 }),
            redelivered: false,
            broker_id: 1,
            received_unix: 0,
            ..Delivery::local(DeliveryKind::Message, body)
        }
    }

    #[test]
    fn a_message_of_any_size_reaches_the_manager_and_its_block_is_freed_after_the_confirm() {
        let block = test_block(2, 1);
        let mut worker = Worker::attach(block, 1, Patience::none()).unwrap();
        let mut port = ManagerPort::attach(block).unwrap();
        for len in [0, 10, 900, 5_000, 200_000] {
            let body = vec![b'x'; len];
            worker.publish(&message(&body)).unwrap();
            let record = port.processes[1].commands.next().unwrap().unwrap();
            let command = super::super::command::Command::decode(record.bytes).unwrap();
            let text = match command.body {
                super::super::command::Body::Inline(text) => text,
                super::super::command::Body::Block { offset, len } => block.block(offset, len).unwrap(),
            };
            assert_eq!(text, body, "{len}");
            let end = record.end;
            port.processes[1].commands.confirm(end).unwrap();
        }
        let too_large = vec![b'x'; (1 << 20) + 1];
        assert!(matches!(worker.publish(&message(&too_large)), Err(PublishError::TooLarge { .. })));
    }

    #[test]
    fn a_full_outbox_refuses_at_once_when_no_broker_is_up_and_waits_no_longer_than_told_otherwise() {
        let block = test_block(1, 1);
        let wait = Duration::from_millis(30);
        let mut worker = Worker::attach(block, 0, Patience::new(wait, Duration::ZERO)).unwrap();
        while worker.publish(&message(&[b'x'; 100])).is_ok() {}
        for (flow, at_least) in [(Flow::Down, Duration::ZERO), (Flow::Still, Duration::ZERO), (Flow::Moving, wait)] {
            block.set_flow(flow);
            let start = std::time::Instant::now();
            let refused = worker.publish(&message(&[b'x'; 100]));
            assert!(matches!(refused, Err(PublishError::Full { flow: f, .. }) if f == flow), "{refused:?}");
            assert!(start.elapsed() >= at_least);
        }
    }

    #[test]
    fn a_wait_in_vain_is_the_last_one_until_something_moves() {
        let block = test_block(1, 1);
        block.set_flow(Flow::Moving);
        let wait = Duration::from_millis(200);
        let mut worker = Worker::attach(block, 0, Patience::new(wait, Duration::ZERO)).unwrap();
        let mut port = ManagerPort::attach(block).unwrap();
        let start = std::time::Instant::now();
        let refused = (0..1000).filter(|_| worker.publish(&message(&[b'x'; 100])).is_err()).count();
        assert!(refused > 900, "{refused}");
        assert!(start.elapsed() < 2 * wait, "every one of {refused} refusals waited");

        let end = port.processes[0].commands.next().unwrap().unwrap().end;
        port.processes[0].commands.confirm(end).unwrap();
        assert_eq!(worker.publish(&message(&[b'x'; 100])), Ok(()));
        let start = std::time::Instant::now();
        assert!(worker.publish(&message(&[b'x'; 100])).is_err());
        assert!(start.elapsed() >= wait, "something had moved, so this one waits again");
    }

    #[test]
    fn a_loop_that_finds_the_outbox_full_is_known_as_one_soon() {
        let block = test_block(1, 1);
        block.set_flow(Flow::Moving);
        let (full, little) = (Duration::from_secs(1), Duration::from_millis(1));
        let mut worker = Worker::attach(block, 0, Patience::new(full, little)).unwrap();
        for number in 0.. {
            worker.begin(Run::Sip(number));
            if worker.publish(&message(&[b'x'; 10])).is_err() {
                break;
            }
        }
        worker.begin(Run::Sip(u64::MAX));
        let patient = (1..=100).find(|_| {
            let start = std::time::Instant::now();
            assert!(worker.publish(&message(&[b'x'; 10])).is_err());
            start.elapsed() >= full
        });
        assert_eq!(patient, Some(16));
    }

    #[test]
    fn a_sip_message_waits_a_little_and_costs_a_loop_nothing() {
        let block = test_block(1, 1);
        block.set_flow(Flow::Moving);
        let (full, little) = (Duration::from_secs(1), Duration::from_millis(10));
        let mut worker = Worker::attach(block, 0, Patience::new(full, little)).unwrap();
        for number in 0.. {
            // Each of them small beside a quarter of the outbox.
            worker.begin(Run::Sip(number));
            let start = std::time::Instant::now();
            if worker.publish(&message(&[b'x'; 100])).is_err() {
                assert!((little..full).contains(&start.elapsed()), "{:?}", start.elapsed());
                break;
            }
        }
        worker.begin(Run::Unasked);
        let start = std::time::Instant::now();
        assert!(worker.publish(&message(&[b'x'; 100])).is_err());
        assert!(start.elapsed() >= full, "the short wait was no proof that nothing moves");
    }

    #[test]
    fn a_query_is_answered_even_if_the_answer_is_larger_than_the_ring() {
        let block = test_block(1, 1);
        block.set_flow(Flow::Moving);
        let answer = Reply { broker_id: 1, received_unix: 2, body: vec![b'a'; 50_000] };
        let expected = answer.clone();
        let asking = std::thread::spawn(move || {
            let mut worker = Worker::attach(block, 0, Patience::none()).unwrap();
            worker.query(&message(b"{}"), b"id", Duration::from_secs(20))
        });
        let mut port = ManagerPort::attach(block).unwrap();
        let sequence = loop {
            if let Some(record) = port.processes[0].commands.next().unwrap() {
                break super::super::command::Command::decode(record.bytes).unwrap().sequence;
            }
            std::thread::yield_now();
        };
        assert!(port.processes[0].waits_for(sequence));
        let mut text = Vec::new();
        Outcome::Answer(answer).encode(sequence, &mut text);
        let mut parcel = Parcel::new(port.next_parcel(), text);
        while !port.processes[0].send_reply(&mut parcel) {
            std::thread::yield_now();
        }
        assert_eq!(asking.join().unwrap(), Ok(expected));
    }

    #[test]
    fn a_query_fails_at_once_without_a_broker_and_when_a_new_manager_cannot_know_it() {
        let block = test_block(1, 1);
        let mut worker = Worker::attach(block, 0, Patience::none()).unwrap();
        let ask = |worker: &mut Worker| worker.query(&message(b"{}"), b"id", Duration::from_secs(20));
        assert_eq!(ask(&mut worker), Err(QueryError::NoBroker));

        block.set_flow(Flow::Moving);
        let mut port = ManagerPort::attach(block).unwrap();
        let asking = std::thread::spawn(move || ask(&mut worker));
        let end = loop {
            if let Some(record) = port.processes[0].commands.next().unwrap() {
                break record.end;
            }
            std::thread::yield_now();
        };
        port.processes[0].commands.confirm(end).unwrap();
        let port = ManagerPort::attach(block).unwrap();
        port.wake_all();
        assert_eq!(asking.join().unwrap(), Err(QueryError::ConnectionLost));
    }

    #[test]
    fn a_query_that_a_new_manager_sends_again_is_not_given_up() {
        let block = test_block(1, 1);
        block.set_flow(Flow::Moving);
        let mut first = ManagerPort::attach(block).unwrap();
        let asking = std::thread::spawn(move || {
            let mut worker = Worker::attach(block, 0, Patience::none()).unwrap();
            worker.query(&message(b"{}"), b"id", Duration::from_millis(300))
        });
        while first.processes[0].commands.next().unwrap().is_none() {
            std::thread::yield_now();
        }
        // Dies with the query unconfirmed; the next one sends it again, and the broker confirms before anybody answers.
        drop(first);
        let mut second = ManagerPort::attach(block).unwrap();
        second.wake_all();
        let end = second.processes[0].commands.next().unwrap().unwrap().end;
        second.processes[0].commands.confirm(end).unwrap();
        second.wake_all();
        assert!(matches!(asking.join().unwrap(), Err(QueryError::Timeout(_))), "the answer might still come");
    }

    #[test]
    fn deliveries_of_any_size_reach_the_consumer_and_acks_come_back() {
        let block = test_block(2, 1);
        let mut port = ManagerPort::attach(block).unwrap();
        let mut inlet = Inlet::attach(block, 0, 1).unwrap();
        for len in [0, 100, 4_000, 60_000] {
            let sent = delivery(vec![b'd'; len]);
            let mut parcel = port.parcel(sent.clone());
            let received = loop {
                port.consumers[0].send(&mut parcel);
                if let Some(Handed::Event(received)) = inlet.take().unwrap() {
                    assert_eq!(received, sent);
                    break received.ack;
                }
            };
            inlet.acknowledge(received, Verdict::Ack);
            let ack = port.consumers[0].next_ack(&mut 0).unwrap();
            assert_eq!((ack.epoch, ack.delivery_tag, ack.verdict), (5, 6, Verdict::Ack));
        }
        assert_eq!(block.total(Counter::Handled), 4);
    }

    #[test]
    fn the_ack_ring_has_room_for_everything_that_was_handed_out() {
        let block = test_block(2, 1);
        let mut port = ManagerPort::attach(block).unwrap();
        let mut inlet = Inlet::attach(block, 0, 1).unwrap();
        let smallest = delivery(Vec::new());
        for _ in 0..20 {
            while port.consumers[0].has_room(0) && {
                let mut parcel = port.parcel(smallest.clone());
                port.consumers[0].send(&mut parcel)
            } {}
            while let Some(Handed::Event(Delivery { ack, .. })) = inlet.take().unwrap() {
                inlet.acknowledge(ack, Verdict::Ack); // Would sleep for ever if the ring were full.
            }
            for _ in 0..7 {
                port.consumers[0].next_ack(&mut 0);
            }
        }
    }
}
