//! Either end of a ring is killed at any moment; nothing is lost, torn, doubled or out of order, and a successor
//! works on.
//!
//! Real processes and SIGKILL. The memory is mapped before the fork; this binary has no test harness because only a
//! process with one thread may fork and go on. `KAZOO_CRASH_ROUNDS` sets the kills per scenario, `KAZOO_CRASH_SEED` the
//! delays.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::hint::black_box;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, alarm, fork};
use shm::{Consumer, Mapping, Producer, PushError, Record, Region, Reservation, Words, ring};

/// Small, so that the ring wraps all the time.
const CAPACITY: u32 = 4096;
/// Longest life of a child, from its first step on.
const LONGEST_LIFE: Duration = Duration::from_millis(2);
/// All scenarios together, with room for a slow machine.
const WATCHDOG_SECONDS_PER_100_ROUNDS: u32 = 30;

/// Value that the last `confirm` was going to free, and the one it has freed.
const WORD_CONFIRMING: usize = 0;
const WORD_CONFIRMED: usize = 1;
/// Number of children that have begun to work.
const WORD_BORN: usize = 2;
/// 1 while the producer is between `reserve` and `commit`.
const WORD_RESERVED: usize = 3;
const WORDS: usize = 4;

/// One ring and some words beside it, in memory that children share.
struct Arena {
    _mapping: Mapping,
    ring: Region,
    words: Words,
}

impl Arena {
    fn new() -> Self {
        let ring_bytes = ring::bytes_for(CAPACITY as usize);
        let mapping = Mapping::create(ring_bytes + Words::bytes_for(WORDS)).unwrap();
        let ring = mapping.region().sub(0, ring_bytes).unwrap();
        ring::init(ring, CAPACITY).unwrap();
        let words = mapping.region().sub(ring_bytes, Words::bytes_for(WORDS)).unwrap();
        // SAFETY: the arena keeps the mapping, these bytes are used as words only.
        let words = unsafe { Words::attach(words, WORDS) }.unwrap();
        Self { _mapping: mapping, ring, words }
    }

    fn producer(&self) -> Producer {
        // SAFETY: each scenario has one producer at a time: an earlier one was dropped or its process reaped.
        unsafe { Producer::attach(self.ring) }.unwrap()
    }

    fn consumer(&self) -> Consumer {
        // SAFETY: as for the producer.
        unsafe { Consumer::attach(self.ring) }.unwrap()
    }

    fn word(&self, index: usize) -> u64 {
        self.words.get(index).load(Ordering::SeqCst)
    }

    fn born(&self) {
        self.words.get(WORD_BORN).fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until `children` of them have begun to work; the alarm ends the test if they never do.
    fn wait_for(&self, children: u64) {
        while self.word(WORD_BORN) < children {
            std::thread::yield_now();
        }
    }

    fn set_word(&self, index: usize, value: u64) {
        self.words.get(index).store(value, Ordering::SeqCst);
    }
}

/// A small generator, so that a seed repeats the delays.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn life(&mut self) -> Duration {
        LONGEST_LIFE.mul_f64((self.next() % 1000) as f64 / 1000.0)
    }
}

/// Payload of a value: 8 to 907 bytes that all follow from it.
fn payload(value: u64) -> Vec<u8> {
    let mut random = Random(value.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let len = 8 + random.next() % 900;
    let mut bytes = value.to_le_bytes().to_vec();
    bytes.extend((8..len).map(|at| (value + at) as u8));
    bytes
}

/// The value of a record, after a look at every byte.
fn value_of(record: &Record<'_>) -> u64 {
    let value = u64::from_le_bytes(record.bytes[..8].try_into().unwrap());
    assert_eq!(record.bytes, payload(value), "record at {} is torn", record.start);
    assert_eq!(record.kind, value as u32);
    value
}

/// Pushes one value if there is room: odd ones whole, even ones byte by byte into a reservation.
fn try_push(arena: &Arena, producer: &mut Producer, value: u64) -> bool {
    let bytes = payload(value);
    let pushed = if value % 2 == 1 {
        producer.push(value as u32, &[&bytes[..3], &bytes[3..]]).map(|_| ())
    } else {
        producer.reserve(bytes.len() + 16).map(|room| fill(arena, room, value, &bytes))
    };
    match pushed {
        Ok(()) => true,
        Err(PushError::Full { .. }) => {
            std::thread::yield_now();
            false
        }
        Err(error) => panic!("push of {value}: {error}"),
    }
}

/// Writes a record slowly, and lets others run in the middle of some: most kills come while a process does not run.
fn fill(arena: &Arena, mut room: Reservation<'_>, value: u64, bytes: &[u8]) {
    arena.set_word(WORD_RESERVED, 1);
    for (at, (place, byte)) in room.bytes().iter_mut().zip(bytes).enumerate() {
        *black_box(place) = *byte;
        if value.is_multiple_of(8) && at == bytes.len() / 2 {
            std::thread::yield_now();
        }
    }
    arena.set_word(WORD_RESERVED, 0);
    room.commit(value as u32, bytes.len());
}

fn push_for_ever(arena: &Arena, first: u64) -> ! {
    let mut producer = arena.producer();
    arena.born();
    for value in first.. {
        while !try_push(arena, &mut producer, value) {}
    }
    unreachable!("u64 values do not run out")
}

/// Reads on and on, confirms three records at a time, and notes what it confirms.
fn consume_for_ever(arena: &Arena) -> ! {
    let mut consumer = arena.consumer();
    arena.born();
    let mut expected = None;
    loop {
        let Some(record) = consumer.next().unwrap() else {
            std::thread::yield_now();
            continue;
        };
        let (value, end) = (value_of(&record), record.end);
        match expected {
            Some(expected) => assert_eq!(value, expected),
            None => check_first(arena, value),
        }
        expected = Some(value + 1);
        if value % 3 == 0 {
            arena.set_word(WORD_CONFIRMING, value);
            consumer.confirm(end).unwrap();
            arena.set_word(WORD_CONFIRMED, value);
        }
    }
}

/// A successor starts after what was confirmed. A kill between `confirm` and the note leaves two possibilities; which
/// one it was is known now.
fn check_first(arena: &Arena, first: u64) {
    let (confirming, confirmed) = (arena.word(WORD_CONFIRMING), arena.word(WORD_CONFIRMED));
    assert!(first == confirmed + 1 || first == confirming + 1, "{first} after {confirmed} or {confirming}");
    arena.set_word(WORD_CONFIRMED, first - 1);
}

/// Runs `life` in a child. A child ends by SIGKILL only; one that panics fails the test when it is reaped.
fn spawn(life: impl FnOnce()) -> Pid {
    // SAFETY: this process has one thread.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            set_pdeathsig(Signal::SIGKILL).unwrap();
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(life));
            std::process::abort()
        }
    }
}

fn kill_and_reap(child: Pid) {
    // A child that has ended by itself is a zombie until `waitpid`: the signal goes nowhere, the status tells.
    kill(child, Signal::SIGKILL).unwrap();
    assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Signaled(child, Signal::SIGKILL, false));
}

/// Takes and confirms all there is; returns the next value expected.
fn drain(consumer: &mut Consumer, mut expected: u64) -> u64 {
    while let Some(record) = consumer.next().unwrap() {
        assert_eq!(value_of(&record), expected);
        expected += 1;
        let end = record.end;
        consumer.confirm(end).unwrap();
    }
    expected
}

/// The producer is killed while it writes; the consumer lives through all of its successors.
fn producer_is_killed(rounds: u32, random: &mut Random) -> u64 {
    let arena = Arena::new();
    let mut consumer = arena.consumer();
    let (mut expected, mut reserved) = (1, 0);
    for round in 1..=u64::from(rounds) {
        let child = spawn(|| push_for_ever(&arena, expected));
        arena.wait_for(round);
        let end_of_life = Instant::now() + random.life();
        while Instant::now() < end_of_life {
            expected = drain(&mut consumer, expected);
            std::thread::yield_now();
        }
        kill_and_reap(child);
        reserved += arena.word(WORD_RESERVED);
        arena.set_word(WORD_RESERVED, 0);
        expected = drain(&mut consumer, expected);
        assert_eq!(consumer.used(), 0);
    }
    println!("crash: {reserved} of {rounds} killed between reserve and commit");
    assert!(reserved > 0 || rounds < 100, "the kills missed what they are for");
    expected - 1
}

/// The consumer is killed while it reads; the producer lives through all of its successors.
fn consumer_is_killed(rounds: u32, random: &mut Random) -> u64 {
    let arena = Arena::new();
    let mut producer = arena.producer();
    let mut value = 1;
    for round in 1..=u64::from(rounds) {
        let child = spawn(|| consume_for_ever(&arena));
        arena.wait_for(round);
        let end_of_life = Instant::now() + random.life();
        while Instant::now() < end_of_life {
            value += u64::from(try_push(&arena, &mut producer, value));
        }
        kill_and_reap(child);
    }
    assert_eq!(last_value(&arena), value - 1);
    value - 1
}

/// Both ends are killed; their successors find out from the ring where to go on.
fn both_are_killed(rounds: u32, random: &mut Random) -> u64 {
    let arena = Arena::new();
    let mut last = 0;
    for round in 1..=u64::from(rounds) {
        let children = [spawn(|| push_for_ever(&arena, last + 1)), spawn(|| consume_for_ever(&arena))];
        arena.wait_for(2 * round);
        std::thread::sleep(random.life());
        children.into_iter().for_each(kill_and_reap);
        last = last_value(&arena);
    }
    last
}

/// Reads all that is not confirmed, without confirming it; returns the last value that was pushed.
fn last_value(arena: &Arena) -> u64 {
    let mut consumer = arena.consumer();
    let mut values = Vec::new();
    while let Some(record) = consumer.next().unwrap() {
        values.push(value_of(&record));
    }
    let Some(&first) = values.first() else {
        return arena.word(WORD_CONFIRMING);
    };
    check_first(arena, first);
    assert!(values.iter().copied().eq(first..first + values.len() as u64), "{values:?}");
    first + values.len() as u64 - 1
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// A name, the scenario, which takes rounds and delays and returns the number of values that went through.
type Scenario = (&'static str, fn(u32, &mut Random) -> u64);

fn main() {
    let rounds = u32::try_from(setting("KAZOO_CRASH_ROUNDS", 700)).unwrap();
    let seed = setting("KAZOO_CRASH_SEED", RandomState::new().hash_one(0)) | 1;
    alarm::set(WATCHDOG_SECONDS_PER_100_ROUNDS * rounds.div_ceil(100));
    println!("crash: {rounds} rounds each, KAZOO_CRASH_SEED={seed}");
    let scenarios: [Scenario; 3] = [
        ("producer_is_killed", producer_is_killed),
        ("consumer_is_killed", consumer_is_killed),
        ("both_are_killed", both_are_killed),
    ];
    for (name, scenario) in scenarios {
        let started = Instant::now();
        let values = scenario(rounds, &mut Random(seed));
        println!("crash: {name}: {values} values, {} ms", started.elapsed().as_millis());
        assert!(values > u64::from(rounds), "{name}: hardly anything went through");
    }
}
