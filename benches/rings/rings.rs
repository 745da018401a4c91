//! What a record costs: through the ring and its peers, and how long a sleeping process takes to see one.
//!
//! `make bench`, or `cargo bench -p kazoo-bench-rings`. Every contender carries records of one length and copies the
//! payload in and out, in as much memory as a SIP worker's outbox has. rtrb and crossbeam move arrays of that length,
//! which is how they are used for records; their elements live on the heap, so they stay inside one process. iceoryx2
//! carries slices between processes, lent by the publisher and borrowed by the subscriber. "One thread": a push, then a
//! pop. "Threads" and "processes": one pushes as fast as it can, another pops.
//!
//! Criterion measures each alone. On a shared machine such numbers do not compare: the tables at the end come from
//! short samples of all contenders in turns; the least of them is what the code costs, the median what the machine adds.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "benches")]

use std::hint::black_box;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, yield_now};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group};
use crossbeam_queue::ArrayQueue;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::prelude::*;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{ForkResult, Pid, fork};
use rtrb::RingBuffer;
use shm::{Bell, Consumer, Mapping, Producer, Region, Words, new_eventfd, ring};

/// Data bytes of the ring, and bytes of elements of the other queues.
const CAPACITY: u32 = 256 * 1024;
/// Samples of each contender for the table, in turns.
const TURNS: usize = 60;
/// Records of one sample.
const SAMPLE: u64 = 20_000;
/// Wake-ups for the percentiles.
const WAKE_UPS: usize = 2_000;

/// A queue with all its ends in place: carries so many records, and says how long it took.
type Carrier = Box<dyn FnMut(u64) -> Duration>;

/// Makes a queue. One at a time: some fork, and at that moment there must be no other thread.
type Contender = (&'static str, fn() -> Carrier);

const fn contenders<const N: usize>() -> [Contender; 8] {
    [
        ("ring, one thread", ring_in_one_thread::<N>),
        ("rtrb, one thread", rtrb_in_one_thread::<N>),
        ("crossbeam, one thread", crossbeam_in_one_thread::<N>),
        ("ring, threads", ring_between_threads::<N>),
        ("rtrb, threads", rtrb_between_threads::<N>),
        ("crossbeam, threads", crossbeam_between_threads::<N>),
        ("ring, processes", ring_between_processes::<N>),
        ("iceoryx2, processes", iceoryx2_between_processes::<N>),
    ]
}

/// Contenders for each length of record.
fn lengths() -> [(usize, [Contender; 8]); 3] {
    [(64, contenders::<64>()), (500, contenders::<500>()), (4096, contenders::<4096>())]
}

/// A carrier that puts records in with `push`, which is false when there is no room, and waits until all are `popped`.
fn carry<Q: 'static>(mut queue: Q, push: fn(&mut Q) -> bool, popped: fn(&Q) -> bool) -> Carrier {
    Box::new(move |count| {
        let started = Instant::now();
        for _ in 0..count {
            while !push(&mut queue) {
                yield_now();
            }
        }
        while !popped(&queue) {
            yield_now();
        }
        started.elapsed()
    })
}

/// A carrier that does `push_and_pop` for each record.
fn alternate(mut push_and_pop: impl FnMut() + 'static) -> Carrier {
    Box::new(move |count| {
        let started = Instant::now();
        (0..count).for_each(|_| push_and_pop());
        started.elapsed()
    })
}

/// A thread that calls `pop` until it is dropped.
struct Popper(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Popper {
    fn spawn(mut pop: impl FnMut() -> bool + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let life = move || {
            while !stopped.load(Ordering::Relaxed) {
                if !pop() {
                    yield_now();
                }
            }
        };
        Self(stop, Some(std::thread::spawn(life)))
    }
}

impl Drop for Popper {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().map(JoinHandle::join);
    }
}

/// A process that runs `life` until it is dropped.
struct Child(Pid);

impl Child {
    fn spawn(life: impl FnOnce()) -> Self {
        // SAFETY: criterion is built without threads, and every `Popper` is gone, so this process has one thread.
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

/// Pops one record into `out`; false if there is none.
fn pop(consumer: &mut Consumer, out: &mut [u8]) -> bool {
    let Some(record) = consumer.next().unwrap() else { return false };
    out[..record.bytes.len()].copy_from_slice(record.bytes);
    let end = record.end;
    consumer.confirm(end).unwrap();
    black_box(out);
    true
}

/// Row of words that children share.
struct Shared {
    words: Words,
    _mapping: Mapping,
}

impl Shared {
    fn new(count: usize) -> Self {
        let mapping = Mapping::create(Words::bytes_for(count)).unwrap();
        // SAFETY: kept beside the words, which alone use the memory.
        let words = unsafe { Words::attach(mapping.region(), count) }.unwrap();
        Self { words, _mapping: mapping }
    }

    fn get(&self, index: usize) -> u64 {
        self.words.get(index).load(Ordering::Acquire)
    }

    fn set(&self, index: usize, value: u64) {
        self.words.get(index).store(value, Ordering::Release);
    }
}

fn payload<const N: usize>() -> [u8; N] {
    black_box([0x55; N])
}

fn ring_in_one_thread<const N: usize>() -> Carrier {
    let ring = Ring::new();
    let (mut producer, mut consumer, payload) = (ring.producer(), ring.consumer(), payload::<N>());
    let mut out = [0; N];
    alternate(move || {
        let _outlives_its_ends = &ring;
        producer.push(1, &[&payload]).unwrap();
        assert!(pop(&mut consumer, &mut out));
    })
}

fn rtrb_in_one_thread<const N: usize>() -> Carrier {
    let (mut producer, mut consumer) = RingBuffer::<[u8; N]>::new(CAPACITY as usize / N);
    let payload = payload::<N>();
    alternate(move || {
        producer.push(payload).unwrap();
        black_box(consumer.pop().unwrap());
    })
}

fn crossbeam_in_one_thread<const N: usize>() -> Carrier {
    let (queue, payload) = (ArrayQueue::<[u8; N]>::new(CAPACITY as usize / N), payload::<N>());
    alternate(move || {
        queue.push(payload).unwrap();
        black_box(queue.pop().unwrap());
    })
}

/// The writing end of a ring, and what must outlive it: fields go in this order.
struct IntoRing<const N: usize, Reader> {
    producer: Producer,
    payload: [u8; N],
    _reader: Reader,
    _ring: Ring,
}

fn push_into_ring<const N: usize>(ring: Ring, reader: impl Sized + 'static) -> Carrier {
    let queue = IntoRing { producer: ring.producer(), payload: payload::<N>(), _reader: reader, _ring: ring };
    carry(
        queue,
        |queue| queue.producer.push(1, &[&queue.payload]).is_ok(),
        |queue| queue.producer.confirmed() == queue.producer.written(),
    )
}

fn ring_between_threads<const N: usize>() -> Carrier {
    let ring = Ring::new();
    let (mut consumer, mut out) = (ring.consumer(), [0; N]);
    let popper = Popper::spawn(move || pop(&mut consumer, &mut out));
    push_into_ring::<N>(ring, popper)
}

fn ring_between_processes<const N: usize>() -> Carrier {
    let ring = Ring::new();
    let child = Child::spawn(|| {
        let (mut consumer, mut out) = (ring.consumer(), [0; N]);
        loop {
            if !pop(&mut consumer, &mut out) {
                yield_now();
            }
        }
    });
    push_into_ring::<N>(ring, child)
}

fn rtrb_between_threads<const N: usize>() -> Carrier {
    let (producer, mut consumer) = RingBuffer::<[u8; N]>::new(CAPACITY as usize / N);
    let popper = Popper::spawn(move || consumer.pop().map(black_box).is_ok());
    carry(
        (producer, payload::<N>(), popper),
        |(producer, payload, _)| producer.push(*payload).is_ok(),
        |(producer, ..)| producer.slots() == CAPACITY as usize / N,
    )
}

fn crossbeam_between_threads<const N: usize>() -> Carrier {
    let queue = Arc::new(ArrayQueue::<[u8; N]>::new(CAPACITY as usize / N));
    let popping = queue.clone();
    let popper = Popper::spawn(move || popping.pop().map(black_box).is_some());
    carry(
        (queue, payload::<N>(), popper),
        |(queue, payload, _)| queue.push(*payload).is_ok(),
        |(queue, ..)| queue.is_empty(),
    )
}

/// Words beside an iceoryx2 service: samples received, and whether to end.
const RECEIVED: usize = 0;
const STOP: usize = 1;
const READY: usize = 2;

/// An iceoryx2 service of slices whose files all have `name` in theirs.
fn service<const N: usize>(name: &str) -> (Node<ipc::Service>, Slices) {
    let mut config = Config::default();
    config.global.set_root_path(&Path::new(format!("/tmp/{name}").as_bytes()).unwrap());
    config.global.prefix = FileName::new(name.as_bytes()).unwrap();
    let node = NodeBuilder::new().config(&config).create::<ipc::Service>().unwrap();
    let service = node
        .service_builder(&"records".try_into().unwrap())
        .publish_subscribe::<[u8]>()
        .enable_safe_overflow(false)
        .subscriber_max_buffer_size(CAPACITY as usize / N)
        .max_publishers(1)
        .max_subscribers(1)
        .open_or_create()
        .unwrap();
    (node, service)
}

type Slices = iceoryx2::service::port_factory::publish_subscribe::PortFactory<ipc::Service, [u8], ()>;

/// The process that receives. It ends by itself, so that it can clean up.
struct Subscriber {
    child: Child,
    words: Shared,
    name: String,
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.words.set(STOP, 1);
        let _ = waitpid(self.child.0, None);
        let _ = std::fs::remove_dir_all(format!("/tmp/{}", self.name));
        for file in std::fs::read_dir("/dev/shm").unwrap().map(Result::unwrap) {
            if file.file_name().to_string_lossy().starts_with(&self.name) {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }
}

/// The writing end of an iceoryx2 service. Fields go in this order: the subscriber removes what all have left.
struct IntoSlices<const N: usize> {
    publisher: Publisher<ipc::Service, [u8], ()>,
    _service: Slices,
    _node: Node<ipc::Service>,
    payload: [u8; N],
    sent: u64,
    subscriber: Subscriber,
}

impl<const N: usize> IntoSlices<N> {
    /// Waits inside `send` while the subscriber's buffer is full.
    fn push(&mut self) -> bool {
        let sample = self.publisher.loan_slice_uninit(N).unwrap().write_from_slice(&self.payload);
        let delivered = sample.send().unwrap() == 1;
        self.sent += u64::from(delivered);
        delivered
    }
}

fn iceoryx2_between_processes<const N: usize>() -> Carrier {
    let name = format!("kazoo-bench-{}_", std::process::id());
    let words = Shared::new(3);
    let child = Child::spawn(|| {
        {
            let (_node, service) = service::<N>(&name);
            let subscriber = service.subscriber_builder().create().unwrap();
            let (mut received, mut out) = (0, [0; N]);
            words.set(READY, 1);
            while words.get(STOP) == 0 {
                let Some(sample) = subscriber.receive().unwrap() else {
                    yield_now();
                    continue;
                };
                out.copy_from_slice(sample.payload());
                black_box(&out);
                received += 1;
                words.set(RECEIVED, received);
            }
        }
        std::process::exit(0);
    });
    while words.get(READY) == 0 {
        yield_now();
    }
    let (_node, _service) = service::<N>(&name);
    let publisher = _service.publisher_builder().initial_max_slice_len(N).create().unwrap();
    let subscriber = Subscriber { child, words, name };
    let queue = IntoSlices { publisher, _service, _node, payload: payload::<N>(), sent: 0, subscriber };
    carry(queue, IntoSlices::push, |queue| queue.subscriber.words.get(RECEIVED) == queue.sent)
}

fn queues(criterion: &mut Criterion) {
    for (len, contenders) in lengths() {
        let mut group = criterion.benchmark_group(format!("{len} bytes"));
        group.throughput(Throughput::Bytes(len as u64));
        for (name, make) in contenders {
            group.bench_function(name, |bencher| bencher.iter_custom(make()));
        }
        group.finish();
    }
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

/// Monotonic nanoseconds, the same in every process.
fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

/// Nanoseconds from before the push of a record until a process that slept has read it, sorted.
fn wake_up_times() -> Vec<u64> {
    let (ring, bells, times) = (Ring::new(), Bells::new(), Shared::new(WAKE_UPS));
    let bell = &bells.bells[0];
    let child = Child::spawn(|| sleep_and_read(&mut ring.consumer(), bell, &times));
    let mut producer = ring.producer();
    for number in 0..WAKE_UPS {
        // Until it is asleep. Announced is not yet asleep, so some time more.
        std::thread::sleep(Duration::from_micros(300));
        producer.push(1, &[&now_ns().to_ne_bytes()]).unwrap();
        bell.ring();
        while times.get(number) == 0 {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
    drop(child);
    let mut sorted: Vec<u64> = (0..WAKE_UPS).map(|number| times.get(number)).collect();
    sorted.sort_unstable();
    sorted
}

/// The life of a process that waits for records: notes how old each is.
fn sleep_and_read(consumer: &mut Consumer, bell: &Bell, times: &Shared) {
    for number in 0.. {
        let pushed = loop {
            if let Some(record) = consumer.next().unwrap() {
                break (u64::from_ne_bytes(record.bytes.try_into().unwrap()), record.end);
            }
            bell.announce();
            if consumer.is_empty() {
                bell.sleep(None).unwrap();
            } else {
                bell.retract();
            }
        };
        times.set(number, now_ns() - pushed.0);
        consumer.confirm(pushed.1).unwrap();
    }
}

/// All contenders in turns: the least and the median of their samples, and how the ring stands to its peers.
fn table(len: usize, contenders: &[Contender]) {
    let mut samples = vec![Vec::new(); contenders.len()];
    for _ in 0..TURNS {
        for ((_, make), samples) in contenders.iter().zip(&mut samples) {
            let mut carry = make();
            carry(SAMPLE / 10);
            samples.push(carry(SAMPLE).as_nanos() as f64 / SAMPLE as f64);
        }
    }
    samples.iter_mut().for_each(|samples| samples.sort_by(f64::total_cmp));
    println!("\n| {len} bytes | least, ns | median, ns |\n|---|---|---|");
    for ((name, _), samples) in contenders.iter().zip(&samples) {
        println!("| {name} | {:.0} | {:.0} |", samples[0], samples[TURNS / 2]);
    }
    let of = |name| &samples[contenders.iter().position(|(known, _)| *known == name).unwrap()];
    for peer in ["rtrb, threads", "iceoryx2, processes"] {
        let (ours, theirs) = (of("ring, processes"), of(peer));
        let ratio = |at: usize| ours[at] / theirs[at];
        println!("ring, processes / {peer}: {:.2} by the least, {:.2} by the median", ratio(0), ratio(TURNS / 2));
    }
}

criterion_group! {
    name = rings;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = queues, bells
}

fn main() {
    // `--table` leaves criterion out.
    if !std::env::args().any(|arg| arg == "--table") {
        rings();
        Criterion::default().configure_from_args().final_summary();
    }
    for (len, contenders) in lengths() {
        table(len, &contenders);
    }
    let times = wake_up_times();
    let at = |part: f64| times[(WAKE_UPS as f64 * part) as usize] as f64 / 1000.0;
    println!(
        "\nwake-up: least {:.1} µs, p50 {:.1} µs, p90 {:.1} µs, p99 {:.1} µs",
        at(0.0),
        at(0.5),
        at(0.9),
        at(0.99)
    );
}
