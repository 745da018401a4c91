//! Models of every edge in the ordering tables of `src/`, one race per function.
//!
//! `make loom`. That each edge is needed, and its loss seen here, is what `make loom-mistakes` shows.

#![cfg(loom)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use shm::model::{RingMemory, WordsMemory};
use shm::{
    Consumer, Entries, LayoutError, Producer, PushError, Region, Seqlock, Ticket, Tickets, WakeWord, Words, ring,
};

const CAPACITY: usize = 1024;
/// Payload of which two records fill the ring.
const HALF: usize = 496;
/// Payload of which three records leave one line at the end: the fourth needs a PAD.
const THIRD: usize = 304;

/// Runs `scenario` in every order that loom finds, with the memory of one ring. The scenario joins its threads.
fn model(scenario: impl Fn(Region) + Send + Sync + 'static) {
    loom::model(move || {
        let mut memory = RingMemory::new(CAPACITY);
        scenario(memory.region());
    });
}

/// As `model`, with the ring initialised.
fn ring_model(scenario: impl Fn(Region) + Send + Sync + 'static) {
    model(move |region| {
        ring::init(region, CAPACITY as u32).unwrap();
        scenario(region);
    });
}

/// Runs `scenario` in every order that loom finds, with `count` words. The scenario joins its threads.
fn words_model(count: usize, scenario: impl Fn(Words) + Send + Sync + 'static) {
    loom::model(move || {
        let mut memory = WordsMemory::new(count);
        scenario(memory.words());
    });
}

fn producer(region: Region) -> Producer {
    // SAFETY: each scenario has one producer at a time.
    unsafe { Producer::attach(region) }.unwrap()
}

fn consumer(region: Region) -> Consumer {
    // SAFETY: each scenario has one consumer at a time.
    unsafe { Consumer::attach(region) }.unwrap()
}

/// Pushes records of `len` bytes, numbered and filled with `values`, waiting for room.
fn push_all(region: Region, values: core::ops::Range<u8>, len: usize) {
    let mut producer = producer(region);
    for value in values {
        while let Err(error) = producer.push(u32::from(value), &[&vec![value; len]]) {
            assert!(matches!(error, PushError::Full { .. }), "{error}");
            thread::yield_now();
        }
    }
}

/// Takes the next record, waiting for it, checks that it is `value` and whole, and returns its end.
fn expect_next(consumer: &mut Consumer, value: u8, len: usize) -> u64 {
    loop {
        match consumer.next().unwrap() {
            Some(record) => {
                assert_eq!((record.kind, record.bytes), (u32::from(value), &vec![value; len][..]));
                return record.end;
            }
            None => thread::yield_now(),
        }
    }
}

/// SYNC I: who sees the magic sees the whole header.
#[test]
fn attach_while_the_ring_is_initialised() {
    model(|region| {
        let init = thread::spawn(move || ring::init(region, CAPACITY as u32).unwrap());
        // SAFETY: the only producer.
        match unsafe { Producer::attach(region) } {
            Ok(producer) => assert_eq!((producer.capacity(), producer.used()), (CAPACITY, 0)),
            Err(error) => assert!(matches!(error, LayoutError::BadMagic { found: 0, .. }), "{error}"),
        }
        init.join().unwrap();
    });
}

/// SYNC P: who sees `written` sees the record.
#[test]
fn pop_while_producer_pushes() {
    ring_model(|region| {
        let pushing = thread::spawn(move || push_all(region, 0..2, 8));
        let mut consumer = consumer(region);
        expect_next(&mut consumer, 0, 8);
        expect_next(&mut consumer, 1, 8);
        pushing.join().unwrap();
    });
}

/// SYNC F: who sees `confirmed` may overwrite what was confirmed.
#[test]
fn producer_reuses_what_the_consumer_confirms() {
    ring_model(|region| {
        let pushing = thread::spawn(move || push_all(region, 0..3, HALF));
        let mut consumer = consumer(region);
        for value in 0..3 {
            let end = expect_next(&mut consumer, value, HALF);
            consumer.confirm(end).unwrap();
        }
        pushing.join().unwrap();
    });
}

/// SYNC P and SYNC F with a PAD: the end of the ring is skipped by both sides.
#[test]
fn pop_while_producer_wraps() {
    ring_model(|region| {
        push_all(region, 0..3, THIRD);
        let mut consumer = consumer(region);
        let first = expect_next(&mut consumer, 0, THIRD);
        let pushing = thread::spawn(move || push_all(region, 3..4, THIRD));
        consumer.confirm(first).unwrap();
        let second = expect_next(&mut consumer, 1, THIRD);
        consumer.confirm(second).unwrap();
        let third = expect_next(&mut consumer, 2, THIRD);
        let fourth = expect_next(&mut consumer, 3, THIRD);
        assert_eq!(fourth - third, 64 + 320);
        pushing.join().unwrap();
    });
}

/// I3: reading ahead frees nothing, so a record can be read again while the producer waits for room.
#[test]
fn read_again_while_producer_waits_for_room() {
    ring_model(|region| {
        push_all(region, 0..2, HALF);
        let pushing = thread::spawn(move || push_all(region, 2..4, HALF));
        let mut consumer = consumer(region);
        let first = expect_next(&mut consumer, 0, HALF);
        expect_next(&mut consumer, 1, HALF);
        consumer.confirm(first).unwrap();
        assert_eq!(consumer.read_at(first).unwrap().bytes, [1; HALF]);
        consumer.rewind();
        let second = expect_next(&mut consumer, 1, HALF);
        consumer.confirm(second).unwrap();
        expect_next(&mut consumer, 2, HALF);
        expect_next(&mut consumer, 3, HALF);
        pushing.join().unwrap();
    });
}

/// A consumer ends (is reaped) with a record unconfirmed; its successor reads it again beside the running producer.
#[test]
fn successor_of_a_consumer_replays_beside_the_producer() {
    ring_model(|region| {
        let pushing = thread::spawn(move || push_all(region, 0..3, HALF));
        let first_life = thread::spawn(move || {
            let mut consumer = consumer(region);
            let end = expect_next(&mut consumer, 0, HALF);
            consumer.confirm(end).unwrap();
            expect_next(&mut consumer, 1, HALF);
        });
        first_life.join().unwrap();
        let mut successor = consumer(region);
        let end = expect_next(&mut successor, 1, HALF);
        successor.confirm(end).unwrap();
        expect_next(&mut successor, 2, HALF);
        pushing.join().unwrap();
    });
}

/// A producer ends (is reaped) inside a reservation; its successor writes over it beside the running consumer.
#[test]
fn successor_of_a_producer_writes_over_what_was_never_committed() {
    ring_model(|region| {
        let popping = thread::spawn(move || {
            let mut consumer = consumer(region);
            expect_next(&mut consumer, 0, 8);
            expect_next(&mut consumer, 1, 8);
        });
        let first_life = thread::spawn(move || {
            push_all(region, 0..1, 8);
            producer(region).reserve(8).unwrap().bytes().fill(0xEE);
        });
        first_life.join().unwrap();
        push_all(region, 1..2, 8);
        popping.join().unwrap();
    });
}

/// SYNC F at the start of a life: a producer attaches to a full ring while the consumer confirms.
#[test]
fn successor_of_a_producer_reuses_what_the_consumer_confirms() {
    ring_model(|region| {
        push_all(region, 0..2, HALF);
        let popping = thread::spawn(move || {
            let mut consumer = consumer(region);
            for value in 0..2 {
                let end = expect_next(&mut consumer, value, HALF);
                consumer.confirm(end).unwrap();
            }
        });
        push_all(region, 2..3, HALF);
        popping.join().unwrap();
    });
}

/// SYNC F beside the ring: memory that a record pointed to is the producer's again once the record is confirmed.
#[test]
fn producer_takes_back_a_block_while_the_consumer_confirms() {
    ring_model(|region| {
        let block = Arc::new(UnsafeCell::new(()));
        let seen = block.clone();
        let mut producer = producer(region);
        let end = producer.push(0, &[&[0; 8]]).unwrap();
        let popping = thread::spawn(move || {
            let mut consumer = consumer(region);
            let end = expect_next(&mut consumer, 0, 8);
            seen.with(|_| ());
            consumer.confirm(end).unwrap();
        });
        while producer.confirmed() < end {
            thread::yield_now();
        }
        block.with_mut(|_| ());
        popping.join().unwrap();
    });
}

/// SYNC W: the sleeper sees the record or the waker sees the sleeper; never neither.
#[test]
fn announce_while_the_waker_publishes() {
    ring_model(|region| {
        let word = Arc::new(WakeWord::default());
        let waker = word.clone();
        let waking = thread::spawn(move || {
            push_all(region, 0..1, 8);
            waker.claim()
        });
        let consumer = consumer(region);
        word.announce();
        let sleeps = consumer.is_empty();
        let rung = waking.join().unwrap();
        assert!(rung || !sleeps, "wake-up lost");
    });
}

/// SYNC W: who waits for room sees it or is woken for it; a waker who offers enough never takes the threshold for too high.
#[test]
fn announce_for_room_while_it_comes() {
    ring_model(|region| {
        let word = Arc::new(WakeWord::default());
        let waker = word.clone();
        let mut producer = producer(region);
        producer.push(0, &[&[0; 8]]).unwrap();
        let wanted = producer.capacity();
        // What it wanted before was more than there will ever be.
        word.announce_for(usize::MAX);
        word.retract();
        let waking = thread::spawn(move || {
            let mut consumer = consumer(region);
            let end = consumer.next().unwrap().unwrap().end;
            consumer.confirm(end).unwrap();
            waker.claim_for(consumer.capacity() - consumer.used())
        });
        word.announce_for(wanted);
        let sleeps = producer.used() > 0;
        let rung = waking.join().unwrap();
        assert!(rung || !sleeps, "wake-up lost");
    });
}

/// Two wakers at once: the sleeper is woken if it sleeps, and by one system call.
#[test]
fn two_wakers_ring_at_once() {
    loom::model(|| {
        let word = Arc::new(WakeWord::default());
        let published = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let wakers = [0, 1].map(|number| {
            let (word, published) = (word.clone(), published.clone());
            thread::spawn(move || {
                published[number].store(true, Ordering::Relaxed);
                word.claim()
            })
        });
        word.announce();
        let sleeps = published.iter().any(|flag| !flag.load(Ordering::Relaxed));
        let rung = wakers.map(|waker| waker.join().unwrap()).iter().filter(|rung| **rung).count();
        assert!(rung == 1 || (rung == 0 && !sleeps), "{rung} system calls, sleeps: {sleeps}");
    });
}

/// The sleeper comes back (rung or by its timeout), clears the word and sleeps again: the next record still wakes it.
#[test]
fn the_sleeper_sleeps_again_while_the_waker_publishes() {
    ring_model(|region| {
        let word = Arc::new(WakeWord::default());
        let waker = word.clone();
        let waking = thread::spawn(move || {
            push_all(region, 0..1, 8);
            let first = waker.claim();
            push_all(region, 1..2, 8);
            (first, waker.claim())
        });
        let mut consumer = consumer(region);
        word.announce();
        word.retract();
        while consumer.next().unwrap().is_some() {}
        word.announce();
        let sleeps = consumer.is_empty();
        let (first, second) = waking.join().unwrap();
        let missed = consumer.next().unwrap().is_some();
        assert!(!(sleeps && missed) || first || second, "wake-up lost");
    });
}

// From here on the thread looks and the model itself, which runs first, makes the changes. Loom remembers only the last
// access to each atomic: a look that came before a load and an exchange would be forgotten, and its other orders never
// tried.

/// SYNC V and SYNC M: a reader sees one write or the other, whole, or nothing.
#[test]
fn read_while_the_writer_writes() {
    words_model(Seqlock::<2>::words(1), |words| {
        let table = Seqlock::<2>::new(words);
        let reading = thread::spawn(move || {
            let read = table.read(0);
            assert!(matches!(read, None | Some([1, 1] | [2, 2])), "{read:?}");
        });
        (1..=2).for_each(|value| table.write(0, &[value; 2]));
        reading.join().unwrap();
        assert_eq!(table.read(0), Some([2, 2]));
    });
}

/// SYNC O: who sees a slot open sees its words.
#[test]
fn look_while_a_slot_is_opened() {
    words_model(Tickets::<1>::words(1), |words| {
        let table = Tickets::<1>::new(words);
        let looking = thread::spawn(move || table.each_open(|_, values: [u64; 1]| assert_eq!(values, [7])));
        table.open(&[7]).unwrap();
        looking.join().unwrap();
    });
}

/// SYNC O: who takes a ticket has its words, even if nothing else told about them.
#[test]
fn take_while_a_slot_is_opened() {
    words_model(Tickets::<1>::words(1), |words| {
        let table = Tickets::<1>::new(words);
        // The first ticket of the first slot.
        let taking = thread::spawn(move || table.take(Ticket::from_number(1 << 16).unwrap()));
        let ticket = table.open(&[7]).unwrap();
        let taken = taking.join().unwrap();
        assert!(matches!(taken, None | Some([7])), "{taken:?}");
        assert_eq!(table.take(ticket).is_some(), taken.is_none());
    });
}

/// A ticket is taken once.
#[test]
fn two_take_the_same_ticket() {
    words_model(Tickets::<1>::words(1), |words| {
        let table = Tickets::<1>::new(words);
        let ticket = table.open(&[7]).unwrap();
        let taking = thread::spawn(move || table.take(ticket));
        let both = [table.take(ticket), taking.join().unwrap()];
        assert!(matches!(both, [Some([7]), None] | [None, Some([7])]), "{both:?}");
    });
}

/// SYNC N: a look that meets the slot's next owner shows neither or one of them, never a mixture.
#[test]
fn look_while_a_slot_changes_hands() {
    words_model(Tickets::<2>::words(1), |words| {
        let table = Tickets::<2>::new(words);
        let first = table.open(&[1; 2]).unwrap();
        let looking = thread::spawn(move || {
            table.each_open(|ticket, values: [u64; 2]| {
                assert_eq!(values, if ticket == first { [1; 2] } else { [2; 2] });
            });
        });
        assert_eq!(table.take(first), Some([1; 2]));
        table.open(&[2; 2]).unwrap();
        looking.join().unwrap();
    });
}

/// SYNC L: a slot that comes from the free list comes with its state, so no ticket is given out twice.
#[test]
fn open_while_a_slot_is_given_back() {
    words_model(Tickets::<1>::words(1), |words| {
        let table = Tickets::<1>::new(words);
        let first = table.open(&[1]).unwrap();
        let opening = thread::spawn(move || {
            let second = table.open(&[2]);
            assert!(second.is_none_or(|second| second != first && table.take(second) == Some([2])));
        });
        assert_eq!(table.take(first), Some([1]));
        opening.join().unwrap();
    });
}

/// SYNC L, where the head moves between the look at it and the exchange: what it says now is acquired as well.
#[test]
fn open_while_the_free_list_grows() {
    words_model(Tickets::<1>::words(2), |words| {
        let table = Tickets::<1>::new(words);
        let [first, second] = [1, 2].map(|value| table.open(&[value]).unwrap());
        table.take(first).unwrap();
        let opening = thread::spawn(move || {
            let third = table.open(&[3]).unwrap();
            assert!(third != first && third != second, "{third:?} twice");
            third
        });
        table.take(second).unwrap();
        let third = opening.join().unwrap();
        let fourth = table.open(&[4]).unwrap();
        assert_eq!((table.take(third), table.take(fourth), table.any_open()), (Some([3]), Some([4]), false));
    });
}

/// I3: the head comes back to a slot it had named before, with another one behind it.
#[test]
fn open_while_the_free_list_comes_back() {
    words_model(Tickets::<1>::words(2), |words| {
        let table = Tickets::<1>::new(words);
        let [first, second] = [1, 2].map(|value| table.open(&[value]).unwrap());
        table.take(first).unwrap();
        table.take(second).unwrap();
        let opening = thread::spawn(move || table.open(&[5]));
        let [again, kept] = [3, 4].map(|value| table.open(&[value]));
        again.map(|ticket| table.take(ticket).unwrap());
        let other = opening.join().unwrap();
        let last = table.open(&[6]);
        let open: Vec<_> = [other, kept, last].into_iter().flatten().collect();
        let distinct = |(i, ticket): (usize, &Ticket)| open[..i].iter().all(|other| other.slot() != ticket.slot());
        assert!(open.iter().enumerate().all(distinct), "{open:?}");
    });
}

/// SYNC E: who sees an entry sees its text.
#[test]
fn get_while_an_entry_is_appended() {
    words_model(Entries::<2>::words(16), |words| {
        let table = Entries::<2>::new(words);
        let getting = thread::spawn(move || {
            let text = table.get(0);
            assert!(text.as_deref().is_none_or(|text| text == b"text"), "{text:?}");
        });
        table.append(b"text").unwrap();
        getting.join().unwrap();
    });
}

/// Two appenders get places of their own.
#[test]
fn two_append_at_once() {
    words_model(Entries::<2>::words(16), |words| {
        let table = Entries::<2>::new(words);
        let appending = thread::spawn(move || table.append(b"a").unwrap());
        let other = table.append(b"b").unwrap();
        let one = appending.join().unwrap();
        assert_eq!((table.get(one), table.get(other)), (Some(b"a".to_vec()), Some(b"b".to_vec())));
    });
}
