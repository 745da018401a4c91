//! The manager as the module runs it, in a process of its own, with shared-memory rings to the processes that publish or
//! consume. Only Kamailio is missing.

use std::ffi::CStr;
use std::hint::spin_loop;
use std::process::{abort, exit};
use std::ptr::NonNull;
use std::thread::sleep;
use std::time::{Duration, Instant};

use kazoo::bus::counters::Counter;
use kazoo::bus::layout::{Flow, Heap, Layout, Shared, Sizes};
use kazoo::bus::patience::Patience;
use kazoo::bus::subscription::{Exchange, Queue, Subscription};
use kazoo::bus::{Delivery, Handed, Inlet, Outgoing, ShortStr, Verdict, Worker};

use kazoo::config::{Builder, Config, Value};
use kazoo::manager;
use kazoo::payload::envelope::Splice;
use nix::sys::prctl::{set_name, set_pdeathsig};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::time::ClockId;
use nix::unistd::{ForkResult, Pid, fork};
use shm::Mapping;

use crate::run::{Cost, Job, body, cpu};
use crate::{EXCHANGE, KEY, QUEUE};

/// Process numbers: publishers from 0, the consumer after them.
const PUBLISHERS: usize = 8;
const CONSUMER: usize = PUBLISHERS;
/// How often the bench looks whether all is done.
const LOOK: Duration = Duration::from_millis(1);
/// Longest run.
const LIMIT: Duration = Duration::from_secs(120);

pub fn run(job: &Job) -> Cost {
    let config = config(job);
    let shared = share(config);
    if job.consumes() {
        subscribe(shared, job);
    }
    let manager = Child::spawn(c"manager", || {
        let log = manager::log::Log(|level, text| {
            if level != manager::log::Level::Info {
                eprintln!("{level:?}: {text}");
            }
        });
        manager::run::run(config, shared, None, log).unwrap();
        exit(0);
    });
    let mut others = Vec::new();
    if job.consumes() {
        others.push(Child::spawn(c"consumer", || consume(shared)));
        wait(|| shared.total(Counter::Handled) > 0);
    } else {
        wait(|| shared.flow() == Flow::Moving);
    }
    let manager_before = manager.cpu();
    let started = Instant::now();
    if !job.consumes() {
        let share = job.messages / job.publishers() as u64;
        let pause = job.pause();
        let spawn = |number| Child::spawn(c"publisher", || publish(shared, number, share, pause));
        others.extend((0..job.publishers()).map(spawn));
    }
    let done = if job.consumes() { Counter::Handled } else { Counter::Confirmed };
    wait(|| shared.total(done) >= job.messages);
    let messages = job.messages as f64;
    Cost {
        elapsed: started.elapsed().as_secs_f64() / messages,
        client: (manager.cpu() - manager_before).as_secs_f64() / messages,
        worker: others.iter().map(|child| child.cpu().as_secs_f64()).sum::<f64>() / messages,
        broker: 0.0,
    }
}

fn wait(until: impl Fn() -> bool) {
    let started = Instant::now();
    while !until() {
        assert!(started.elapsed() < LIMIT, "not done after {LIMIT:?}");
        sleep(LOOK);
    }
}

fn config(job: &Job) -> &'static Config {
    let mut builder = Builder::new();
    builder.set("node_hostname", Value::Text("bench")).unwrap();
    builder.set("amqp_connection", Value::Text(&job.url)).unwrap();
    builder.set("amqp_consumer_processes", Value::Int(1)).unwrap();
    Box::leak(Box::new(builder.finish().unwrap()))
}

/// The bus in memory that all processes share.
fn share(config: &Config) -> &'static Shared {
    let sizes = Sizes {
        processes: PUBLISHERS + 1,
        consumers: 1,
        command: config.rings.command,
        reply: config.rings.reply,
        delivery: config.rings.delivery,
        ack: config.rings.ack,
        registry: 4096,
        brokers: config.brokers.len(),
        suspended: 0,
        max_message: config.max_message_size,
    };
    let layout = Layout::new(sizes);
    let mapping = Box::leak(Box::new(Mapping::create(layout.bytes()).unwrap()));
    let heap = Heap { alloc: |_| None, free: |_: NonNull<u8>| (), span: mapping.region() };
    // SAFETY: the mapping is leaked, children inherit it at the same place, and only this bus uses it: the heap gives
    // nothing out.
    let shared = unsafe { Shared::create(mapping.region(), layout, heap, 1) };
    Box::leak(Box::new(shared.unwrap()))
}

fn attach(shared: &'static Shared, number: usize) -> Worker {
    Worker::attach(shared, number, Patience::new(LIMIT, LIMIT)).unwrap()
}

fn subscribe(shared: &'static Shared, job: &Job) {
    let subscription = Subscription {
        exchange: Exchange { name: EXCHANGE.into(), kind: "topic".into(), durable: true, ..Exchange::default() },
        queue: Queue { name: QUEUE.into(), passive: true, ..Queue::default() },
        routing: vec![KEY.into()],
        no_ack: !job.acks(),
        wait_for_consumer_ack: job.acks(),
        ..Subscription::default()
    };
    let mut worker = attach(shared, 0);
    worker.subscribe(&subscription.to_bytes().unwrap()).unwrap();
}

fn publish(shared: &'static Shared, number: usize, messages: u64, pause: Duration) {
    let mut worker = attach(shared, number);
    let body = body();
    let message = Outgoing {
        broker: None,
        exchange: ShortStr::new(EXCHANGE.as_bytes()).unwrap(),
        routing_key: ShortStr::new(KEY.as_bytes()).unwrap(),
        headers: b"",
        body: &body,
        splice: Splice::None,
    };
    let started = Instant::now();
    for number in 0..messages {
        while started.elapsed() < pause * u32::try_from(number).unwrap() {
            spin_loop();
        }
        while worker.publish(&message).is_err() {
            sleep(LOOK);
        }
    }
}

fn consume(shared: &'static Shared) {
    let mut inlet = Inlet::attach(shared, 0, CONSUMER).unwrap();
    loop {
        match inlet.take().unwrap() {
            Some(Handed::Event(Delivery { ack, .. })) => inlet.acknowledge(ack, Verdict::Ack),
            Some(Handed::Resume(_)) => {}
            None => inlet.wait(),
        }
    }
}

/// A child process, until it is dropped. Its time can be asked after it has ended, until then.
struct Child(Pid);

impl Child {
    /// `name`: for profiles.
    fn spawn(name: &CStr, life: impl FnOnce()) -> Self {
        // SAFETY: this process has one thread.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => Self(child),
            ForkResult::Child => {
                set_pdeathsig(Signal::SIGKILL).unwrap();
                set_name(name).unwrap();
                life();
                // Its time shall be told until the parent has asked.
                loop {
                    nix::unistd::pause();
                }
            }
        }
    }

    fn cpu(&self) -> Duration {
        cpu(ClockId::pid_cpu_clock_id(self.0).unwrap())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Not SIGKILL: a profiler wants to write its results.
        if kill(self.0, Signal::SIGTERM).is_err() || waitpid(self.0, None).is_err() {
            abort();
        }
    }
}
