//! What a record costs: through the ring inside one process, through the ring between two, and through a bell.
//!
//! `cargo bench -p kazoo-shm --bench rings`. rtrb and crossbeam keep their elements on the heap, so they can be
//! compared inside one process only; each carries a fixed array, the ring a record of that length. All copy the
//! payload in and out.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "benches")]

use std::hint::black_box;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use shm::{Bell, Consumer, Mapping, Producer, Region, new_eventfd, ring};

/// Data bytes of the ring: what a SIP worker's command ring has.
const CAPACITY: u32 = 256 * 1024;
/// Elements of the queues that are compared: about as much memory as the ring, for 500-byte elements.
const ELEMENTS: usize = 512;

/// A ring in memory that children share.
struct Ring {
    _mapping: Mapping,
    region: Region,
}

impl Ring {
    fn new() -> Self {
        let mapping = Mapping::create(ring::bytes_for(CAPACITY as usize)).unwrap();
        let region = mapping.region();
        ring::init(region, CAPACITY).unwrap();
        Self { _mapping: mapping, region }
    }

    fn producer(&self) -> Producer {
        // SAFETY: each bench has one producer, which goes before the ring does.
        unsafe { Producer::attach(self.region) }.unwrap()
    }

    fn consumer(&self) -> Consumer {
        // SAFETY: as for the producer.
        unsafe { Consumer::attach(self.region) }.unwrap()
    }
}

/// A child process that runs `life` until it is dropped.
struct Child(Pid);

impl Child {
    fn spawn(life: impl FnOnce()) -> Self {
        // SAFETY: criterion is built without threads, so this process has one.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => Self(child),
            ForkResult::Child => {
                set_pdeathsig(Signal::SIGKILL).unwrap();
                life();
                std::process::abort()
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

/// Pops one record into `out`; false if there is none.
fn pop(consumer: &mut Consumer, out: &mut [u8]) -> bool {
    let Some(record) = consumer.next().unwrap() else { return false };
    out[..record.bytes.len()].copy_from_slice(record.bytes);
    let end = record.end;
    consumer.confirm(end).unwrap();
    true
}

fn one_process<const N: usize>(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.throughput(Throughput::Bytes(N as u64));
    let payload = black_box([0x55; N]);
    group.bench_function(format!("ring/{N}"), |bencher| {
        let ring = Ring::new();
        let (mut producer, mut consumer) = (ring.producer(), ring.consumer());
        let mut out = [0; N];
        bencher.iter(|| {
            producer.push(1, &[&payload]).unwrap();
            assert!(pop(&mut consumer, &mut out));
            black_box(&out);
        });
    });
    group.bench_function(format!("rtrb/{N}"), |bencher| {
        let (mut producer, mut consumer) = rtrb::RingBuffer::<[u8; N]>::new(ELEMENTS);
        bencher.iter(|| {
            producer.push(payload).unwrap();
            black_box(consumer.pop().unwrap());
        });
    });
    group.bench_function(format!("crossbeam ArrayQueue/{N}"), |bencher| {
        let queue = crossbeam_queue::ArrayQueue::<[u8; N]>::new(ELEMENTS);
        bencher.iter(|| {
            queue.push(payload).unwrap();
            black_box(queue.pop().unwrap());
        });
    });
}

fn in_one_process(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one process");
    one_process::<64>(&mut group);
    one_process::<500>(&mut group);
    one_process::<4096>(&mut group);
    group.finish();
}

/// Time to push `count` records and have the child confirm the last one.
fn push_all(producer: &mut Producer, payload: &[u8], count: u64) -> Duration {
    let started = Instant::now();
    let mut end = producer.written();
    for _ in 0..count {
        end = loop {
            match producer.push(1, &[payload]) {
                Ok(end) => break end,
                Err(_) => std::thread::yield_now(),
            }
        };
    }
    while producer.confirmed() < end {
        std::thread::yield_now();
    }
    started.elapsed()
}

fn between_two_processes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("two processes");
    for len in [64, 500, 4096] {
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("ring/{len}"), |bencher| {
            let ring = Ring::new();
            let _child = Child::spawn(|| {
                let (mut consumer, mut out) = (ring.consumer(), vec![0; len]);
                loop {
                    if pop(&mut consumer, &mut out) {
                        black_box(&out);
                    } else {
                        std::thread::yield_now();
                    }
                }
            });
            let (mut producer, payload) = (ring.producer(), vec![0x55; len]);
            bencher.iter_custom(|count| push_all(&mut producer, &payload, count));
        });
    }
    group.finish();
}

/// A bell for each of two processes.
struct Bells {
    _mapping: Mapping,
    _eventfds: [OwnedFd; 2],
    bells: [Bell; 2],
}

impl Bells {
    fn new() -> Self {
        let mapping = Mapping::create(2 * Bell::BYTES).unwrap();
        let eventfds = [new_eventfd().unwrap(), new_eventfd().unwrap()];
        let bells = [0, 1].map(|number| {
            let region = mapping.region().sub(number * Bell::BYTES, Bell::BYTES).unwrap();
            Bell::init(region).unwrap();
            // SAFETY: the descriptors are kept beside the bells.
            unsafe { Bell::attach(region, eventfds[number].as_raw_fd()) }.unwrap()
        });
        Self { _mapping: mapping, _eventfds: eventfds, bells }
    }
}

/// Waits until the bell is rung: each announcement is followed by one ring.
fn wait(bell: &Bell) {
    bell.sleep(None).unwrap();
    bell.announce();
}

/// Rings a bell that is about to be slept on.
fn wake(bell: &Bell) {
    while !bell.ring() {
        std::hint::spin_loop();
    }
}

fn bells(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bell");
    group.bench_function("ring, peer awake", |bencher| {
        let bells = Bells::new();
        bencher.iter(|| black_box(bells.bells[0].ring()));
    });
    group.bench_function("there and back, both asleep", |bencher| {
        let bells = Bells::new();
        let [here, there] = &bells.bells;
        here.announce();
        there.announce();
        let _child = Child::spawn(|| {
            loop {
                wait(there);
                wake(here);
            }
        });
        bencher.iter(|| {
            wake(there);
            wait(here);
        });
    });
    group.finish();
}

criterion_group! {
    name = rings;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = in_one_process, between_two_processes, bells
}
criterion_main!(rings);
