//! Start and end of the manager process.
//!
//! Called in the freshly forked process, with signals as the supervisor left them: everything ignored or default,
//! nothing blocked. Builds the runtime here, because one that was made before a fork does not work after it.
//!
//! Everything happens on one thread. It is not the first one, whose stack is as small as the system's limit says: the
//! client library reads tables within tables by calling itself, and a message may nest them as deep as a frame is long.

use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::inbox::{Event, Inbox};
use super::log::Log;
use super::tls::ClientTls;
use super::turn::{LIBRARY_PANICKED, Manager};
use crate::bus::clock::now_ns;
use crate::bus::{ManagerPort, Shared};
use crate::config::Config;

/// Stack of the manager's thread: a frame of nothing but tables takes a hundred times its size, and a broker's frames have
/// 128 KiB unless it is told otherwise. What is not used takes no memory.
const STACK: usize = 128 << 20;

/// In a dense stream the runtime asks the kernel for news after so many runs of tasks, which are two or three turns of the loop.
const TASKS_PER_LOOK: u32 = 8;

/// When something wakes the manager up, be it only a heartbeat of a broker, a sign of life older than this is renewed. Then
/// the supervisor need not wake it up for one.
const SIGN_NS: u64 = 1_000_000_000;

/// Runs until SIGTERM and drains the outbox. The result is for the process's exit code.
///
/// `tls`: what was read for `amqps://` brokers, if there are any.
pub fn run(config: &'static Config, shared: &'static Shared, tls: Option<ClientTls>, log: Log) -> Result<(), String> {
    log_panics(shared, log);
    let work = move || {
        let inbox = Inbox::default();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .event_interval(TASKS_PER_LOOK)
            .on_thread_unpark(sign_of_life(shared, inbox.clone()))
            .build()
            .map_err(|e| format!("no runtime: {e}"))?;
        let result = runtime.block_on(serve(config, shared, tls, log, inbox));
        // Tasks of the client library may wait for a broker that never answers.
        runtime.shutdown_timeout(Duration::ZERO);
        result
    };
    let thread = thread::Builder::new().name("kazoo manager".to_owned()).stack_size(STACK).spawn(work);
    // How it panicked was logged.
    thread.map_err(|e| format!("no thread: {e}"))?.join().unwrap_or_else(|_| Err("it panicked".to_owned()))
}

async fn serve(
    config: &'static Config,
    shared: &'static Shared,
    tls: Option<ClientTls>,
    log: Log,
    inbox: Inbox,
) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| format!("no signal handler: {e}"))?;
    let port = ManagerPort::attach(shared).map_err(|e| e.to_string())?;
    let manager = Manager::new(config, port, tls, log, inbox.clone())?;
    tokio::spawn(async move {
        terminate.recv().await;
        inbox.event(Event::Terminated);
    });
    // In a task, like the client library's parts: the runtime asks the kernel for news each time before it goes on with what
    // it was called with, and between tasks only now and then.
    tokio::spawn(work(manager, config.drain_timeout, log)).await.map_err(|_| "it panicked".to_owned())
}

/// For the runtime, each time it wakes up: has the loop make a turn when its last one is long ago. It is the loop that gives
/// the sign, because a runtime that lives says nothing about it.
fn sign_of_life(shared: &'static Shared, inbox: Inbox) -> impl Fn() + Send + Sync + 'static {
    move || {
        if now_ns().saturating_sub(shared.heartbeat()) > SIGN_NS {
            inbox.nudge();
        }
    }
}

/// Turn after turn, until the server stops.
async fn work(mut manager: Manager, drain_timeout: Duration, log: Log) {
    while !manager.is_draining() {
        manager.turn().await;
    }
    drain(&mut manager, drain_timeout, log).await;
    manager.close().await;
}

/// Sends what was accepted, as long as the drain timeout allows.
async fn drain(manager: &mut Manager, limit: Duration, log: Log) {
    let end = Instant::now() + limit;
    while !manager.is_drained() && Instant::now() < end {
        manager.turn().await;
    }
    if !manager.is_drained() {
        log.error(format_args!(
            "stopping with {} messages unconfirmed: no broker took them within {limit:?} (amqp_drain_timeout_ms)",
            manager.undrained()
        ));
    }
}

/// A panic in a task of the client library is contained by the runtime; this makes it visible and has the
/// connections made anew.
fn log_panics(shared: &'static Shared, log: Log) {
    std::panic::set_hook(Box::new(move |info| {
        LIBRARY_PANICKED.store(true, std::sync::atomic::Ordering::Relaxed);
        log.error(format_args!("manager: {info}"));
        // The loop may sleep, and nothing else would tell it.
        shared.alarm_manager();
    }));
}
