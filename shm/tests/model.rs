//! The ring against a plain queue, and the ring over noise.
//!
//! The first takes any sequence of calls and compares every answer with a `VecDeque`. The second fills header and
//! records with random bytes and calls everything: errors are fine, a panic, an endless loop or a byte from outside
//! are not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::VecDeque;
use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::*;
use shm::{Consumer, Mapping, Producer, PushError, Record, Region, ring};

const CAPACITY: usize = 1024;
const RECORD_HEADER: usize = 16;
/// Guard lines behind the ring, which nobody may touch.
const GUARD: usize = 4096;
const GUARD_BYTE: u8 = 0x5A;

/// A call on one of the two ends.
#[derive(Clone, Debug)]
enum Call {
    /// Push `len` bytes in two parts.
    Push {
        len: usize,
        cut: usize,
    },
    /// Reserve `reserved` bytes and commit fewer, or drop the reservation.
    Reserve {
        reserved: usize,
        commit: Option<usize>,
    },
    Next,
    Peek,
    /// Confirm up to the end of this one of the records read.
    Confirm {
        which: prop::sample::Index,
    },
    /// Read this one of the records read again.
    ReadAt {
        which: prop::sample::Index,
    },
    Rewind,
    /// A successor takes the producer's place.
    NewProducer,
    /// A successor takes the consumer's place.
    NewConsumer,
}

fn call() -> impl Strategy<Value = Call> {
    let len = prop_oneof![4 => 0..200_usize, 1 => 200..=560_usize];
    let push = (len.clone(), 0..200_usize).prop_map(|(len, cut)| Call::Push { len, cut: cut.min(len) });
    let reserve = (len, prop::option::of(0..560_usize))
        .prop_map(|(reserved, commit)| Call::Reserve { reserved, commit: commit.map(|len| len.min(reserved)) });
    prop_oneof![
        6 => push,
        3 => reserve,
        8 => Just(Call::Next),
        2 => Just(Call::Peek),
        5 => any::<prop::sample::Index>().prop_map(|which| Call::Confirm { which }),
        2 => any::<prop::sample::Index>().prop_map(|which| Call::ReadAt { which }),
        1 => Just(Call::Rewind),
        1 => Just(Call::NewProducer),
        1 => Just(Call::NewConsumer),
    ]
}

/// A record as the queue keeps it.
#[derive(Clone, Debug)]
struct Kept {
    kind: u32,
    bytes: Vec<u8>,
    /// Where the ring put it.
    cursors: Range<u64>,
}

/// The ring, the queue, and how far the queue was read.
struct Pair {
    _mapping: Mapping,
    region: Region,
    producer: Producer,
    consumer: Consumer,
    kept: VecDeque<Kept>,
    read: usize,
    written: u64,
    confirmed: u64,
    next_kind: u32,
}

fn mapping() -> (Mapping, Region) {
    let mapping = Mapping::create(ring::bytes_for(CAPACITY) + GUARD).unwrap();
    let region = mapping.region().sub(0, ring::bytes_for(CAPACITY)).unwrap();
    ring::init(region, CAPACITY as u32).unwrap();
    (mapping, region)
}

fn producer(region: Region) -> Producer {
    // SAFETY: the tests keep the mapping and use one producer at a time.
    unsafe { Producer::attach(region) }.unwrap()
}

fn consumer(region: Region) -> Consumer {
    // SAFETY: the tests keep the mapping and use one consumer at a time.
    unsafe { Consumer::attach(region) }.unwrap()
}

impl Pair {
    fn new() -> Self {
        let (_mapping, region) = mapping();
        let (producer, consumer) = (producer(region), consumer(region));
        let kept = VecDeque::new();
        Self { _mapping, region, producer, consumer, kept, read: 0, written: 0, confirmed: 0, next_kind: 0 }
    }

    fn apply(&mut self, call: Call) {
        match call {
            Call::Push { len, cut } => {
                let bytes = self.fresh_bytes(len);
                let kind = self.next_kind;
                let pushed = self.producer.push(kind, &[&bytes[..cut], &bytes[cut..]]);
                self.keep(len, bytes, pushed);
            }
            Call::Reserve { reserved, commit } => self.reserve(reserved, commit),
            Call::Next => {
                let record = self.consumer.next().unwrap();
                assert_same(record, self.kept.get(self.read));
                self.read = self.kept.len().min(self.read + 1);
            }
            Call::Peek => assert_same(self.consumer.peek().unwrap(), self.kept.get(self.read)),
            Call::Confirm { which } => self.confirm(which),
            Call::ReadAt { which } => self.read_at(which),
            Call::Rewind => {
                self.consumer.rewind();
                self.read = 0;
            }
            Call::NewProducer => self.producer = producer(self.region),
            Call::NewConsumer => {
                self.consumer = consumer(self.region);
                self.read = 0;
            }
        }
        self.compare_gauges();
    }

    fn fresh_bytes(&self, len: usize) -> Vec<u8> {
        (0..len).map(|at| (at as u32 + 31 * self.next_kind) as u8).collect()
    }

    fn reserve(&mut self, reserved: usize, commit: Option<usize>) {
        let bytes = self.fresh_bytes(reserved);
        let kind = self.next_kind;
        let mut reservation = match self.producer.reserve(reserved) {
            Ok(reservation) => reservation,
            Err(error) => return self.keep(reserved, bytes, Err(error)),
        };
        reservation.bytes().copy_from_slice(&bytes);
        if let Some(len) = commit {
            let end = reservation.commit(kind, len);
            self.keep(reserved, bytes[..len].to_vec(), Ok(end));
        }
    }

    /// Compares the answer to a request for `len` bytes with what there is room for; keeps what was pushed.
    fn keep(&mut self, len: usize, bytes: Vec<u8>, pushed: Result<u64, PushError>) {
        let size = |len: usize| (RECORD_HEADER + len).next_multiple_of(64) as u64;
        let to_end = CAPACITY as u64 - self.written % CAPACITY as u64;
        let start = if size(len) <= to_end { self.written } else { self.written + to_end };
        let fits = start + size(len) - self.confirmed <= CAPACITY as u64;
        match pushed {
            Ok(end) => {
                assert!(fits && len <= self.producer.max_record());
                assert_eq!(end, start + size(bytes.len()));
                self.kept.push_back(Kept { kind: self.next_kind, bytes, cursors: start..end });
                self.written = end;
                self.next_kind += 1;
            }
            Err(PushError::TooLarge { .. }) => assert!(len > CAPACITY / 2 - RECORD_HEADER),
            Err(PushError::Full { free }) => {
                assert!(!fits);
                assert_eq!(free as u64, CAPACITY as u64 - (self.written - self.confirmed));
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn confirm(&mut self, which: prop::sample::Index) {
        if self.read == 0 {
            assert!(self.kept.front().is_none_or(|first| self.consumer.confirm(first.cursors.end).is_err()));
            return;
        }
        let count = which.index(self.read) + 1;
        let last = self.kept.drain(..count).next_back().unwrap();
        self.consumer.confirm(last.cursors.end).unwrap();
        self.confirmed = last.cursors.end;
        self.read -= count;
    }

    fn read_at(&self, which: prop::sample::Index) {
        if self.read > 0 {
            let kept = &self.kept[which.index(self.read)];
            assert_same(Some(self.consumer.read_at(kept.cursors.start).unwrap()), Some(kept));
        }
        if let Some(unread) = self.kept.get(self.read) {
            assert!(self.consumer.read_at(unread.cursors.start).is_err());
        }
    }

    fn compare_gauges(&self) {
        let used = usize::try_from(self.written - self.confirmed).unwrap();
        assert_eq!((self.producer.written(), self.producer.confirmed()), (self.written, self.confirmed));
        assert_eq!((self.consumer.written(), self.consumer.confirmed()), (self.written, self.confirmed));
        assert_eq!((self.producer.used(), self.consumer.used()), (used, used));
        assert_eq!(self.producer.free(), CAPACITY - used);
        assert_eq!(self.consumer.is_empty(), self.read == self.kept.len());
        assert_eq!(ring::cursors(self.region).unwrap().sent, self.consumer.sent());
    }
}

fn assert_same(record: Option<Record<'_>>, kept: Option<&Kept>) {
    let record = record.map(|record| (record.kind, record.bytes, record.start..record.end));
    assert_eq!(record, kept.map(|kept| (kept.kind, &kept.bytes[..], kept.cursors.clone())));
}

/// What overwrites the ring: an offset and the bytes put there. Much of it has the shape of cursors and record headers,
/// which gets past the first check.
fn noise() -> impl Strategy<Value = Vec<(usize, Vec<u8>)>> {
    let anywhere = (0..ring::bytes_for(CAPACITY), vec(any::<u8>(), 1..24));
    let cursor = prop_oneof![4 => (0..64_u64).prop_map(|line| line * 64), 1 => 0..4096_u64, 1 => any::<u64>()];
    let cursors = (1..4_usize, cursor).prop_map(|(line, value)| (line * 64, value.to_le_bytes().to_vec()));
    let len = prop_oneof![2 => Just(u32::MAX), 3 => 0..1200_u32, 1 => any::<u32>()];
    let records = (0..CAPACITY / 64, 0..4_u64, len).prop_map(|(line, lap, len)| {
        let start = lap * CAPACITY as u64 + line as u64 * 64;
        let header = [&len.to_le_bytes()[..], &[0; 4], &start.to_le_bytes()].concat();
        (256 + line * 64, header)
    });
    vec(prop_oneof![2 => anywhere, 2 => cursors, 4 => records], 1..12)
}

fn overwrite(region: Region, noise: &[(usize, Vec<u8>)]) {
    for (offset, bytes) in noise {
        let len = bytes.len().min(region.len() - offset);
        // SAFETY: inside the region; no record is borrowed and no other thread runs meanwhile.
        unsafe { region.base().as_ptr().add(*offset).copy_from_nonoverlapping(bytes.as_ptr(), len) };
    }
}

/// Reads every byte, so that a slice from outside would be noticed, and checks where it lies.
fn touch(region: Region, record: &Record<'_>) {
    let inside = region.base().as_ptr() as usize..=region.base().as_ptr() as usize + region.len();
    let first = record.bytes.as_ptr() as usize;
    assert!(inside.contains(&first) && inside.contains(&(first + record.bytes.len())), "record outside the ring");
    assert!(record.bytes.iter().fold(0_u64, |sum, byte| sum + u64::from(*byte)) <= 255 * CAPACITY as u64);
}

/// Calls everything that an owner of either end may call.
fn call_everything(region: Region, producer: &mut Producer, consumer: &mut Consumer) {
    let mut spans = Vec::new();
    let steps = CAPACITY / 64 + 2;
    for step in 0..=steps {
        match consumer.next() {
            Ok(Some(record)) => {
                assert!(step < steps, "more records than the ring has lines");
                touch(region, &record);
                spans.push(record.start..record.end);
            }
            Ok(None) | Err(_) => break,
        }
    }
    for span in &spans {
        if let Ok(record) = consumer.read_at(span.start) {
            touch(region, &record);
        }
        let _ = consumer.confirm(span.end);
    }
    consumer.rewind();
    if let Ok(Some(record)) = consumer.peek() {
        touch(region, &record);
    }
    for len in [0, 100, 496] {
        let _ = producer.push(1, &[&[7; 496][..len]]);
    }
    assert!(producer.used() <= CAPACITY && consumer.used() <= CAPACITY);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ring_answers_as_a_queue(calls in vec(call(), 1..200)) {
        let mut pair = Pair::new();
        calls.into_iter().for_each(|call| pair.apply(call));
    }

    #[test]
    fn noise_gives_errors_at_most(calls in vec(call(), 0..40), before in noise(), after in noise()) {
        let mut pair = Pair::new();
        calls.into_iter().for_each(|call| pair.apply(call));
        let region = pair.region;
        let guard = region.base().as_ptr().wrapping_add(region.len());
        // SAFETY: the guard lies behind the ring in the same mapping.
        unsafe { guard.write_bytes(GUARD_BYTE, GUARD) };
        overwrite(region, &before);
        call_everything(region, &mut pair.producer, &mut pair.consumer);
        // SAFETY: the old ends are replaced.
        let successors = unsafe { (Producer::attach(region), Consumer::attach(region)) };
        if let (Ok(mut producer), Ok(mut consumer)) = successors {
            overwrite(region, &after);
            call_everything(region, &mut producer, &mut consumer);
        }
        // SAFETY: as above.
        let guard = unsafe { std::slice::from_raw_parts(guard, GUARD) };
        prop_assert!(guard.iter().all(|byte| *byte == GUARD_BYTE), "written behind the ring");
    }
}
