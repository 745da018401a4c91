//! RPC commands: `kamcmd kazoo.status`, `kamcmd kazoo.stats`, `kamcmd kazoo.rings`.
//!
//! Run in the process that serves the request; they only read shared memory.

use std::ffi::CString;

use crate::bus::Shared;
use crate::bus::clock::{now_ns, unix_seconds};
use crate::bus::counters::Counter;
use crate::bus::layout::Flow;
use crate::bus::status::{State, Status};
use crate::bus::subscription::Subscription;
use crate::config::{self, Config};
use crate::engine;
use crate::host::rpc::{self, Answer, Command, RegisterError};

const COMMANDS: &[Command] = &[
    Command {
        name: c"kazoo.status",
        doc: c"State of the manager, of each broker and of each subscription.",
        run: status,
    },
    Command { name: c"kazoo.stats", doc: c"All counters of the module, summed over all processes.", run: stats },
    Command {
        name: c"kazoo.rings",
        doc: c"Fill level and peak in bytes of the rings of each process that uses them.",
        run: rings,
    },
];

/// Registers the commands. `mod_init`, once.
pub fn register() -> Result<(), RegisterError> {
    rpc::register(COMMANDS)
}

fn stats(answer: &mut Answer<'_>) {
    let Some(shared) = engine::shared() else {
        answer.fault(500, c"not started yet");
        return;
    };
    let Some(mut structure) = answer.structure() else { return };
    structure.text(c"primary_zone", primary_zone(shared));
    for counter in Counter::ALL {
        if let Ok(name) = CString::new(counter.name()) {
            structure.number(&name, shared.total(*counter));
        }
    }
}

/// What workers may expect from the primary zone.
fn primary_zone(shared: &Shared) -> &'static [u8] {
    match shared.flow() {
        Flow::Down => b"down",
        Flow::Moving => b"up",
        Flow::Still => b"blocked",
    }
}

fn status(answer: &mut Answer<'_>) {
    let Some((shared, board)) = engine::shared().and_then(|shared| Some((shared, shared.board().ok()?))) else {
        answer.fault(500, c"not started yet");
        return;
    };
    let config = config::get();
    manager_status(answer, shared);
    for index in 0..config.brokers.len() {
        broker_status(answer, config, index, &board.get(index).unwrap_or_default());
    }
    let records: Vec<Status> = (config.brokers.len()..board.slots()).filter_map(|slot| board.get(slot)).collect();
    let Ok(registry) = shared.registry() else { return };
    for index in 0..registry.len() {
        let Some(subscription) = registry.get(index).and_then(|text| Subscription::from_bytes(&text).ok()) else {
            continue;
        };
        let mut found = false;
        for record in records.iter().filter(|r| r.subscription == index && r.state != State::Unknown) {
            found = true;
            subscription_status(answer, config, &subscription, record);
        }
        if !found {
            let waiting = Status { state: State::Waiting, broker: usize::MAX, ..Status::default() };
            subscription_status(answer, config, &subscription, &waiting);
        }
    }
}

fn manager_status(answer: &mut Answer<'_>, shared: &Shared) {
    let Some(mut structure) = answer.structure() else { return };
    structure.text(c"primary_zone", primary_zone(shared));
    structure.number(c"manager_starts", shared.total(Counter::ManagerStarts));
    // An idle manager turns once a second.
    structure.number(c"manager_silent_ms", now_ns().saturating_sub(shared.heartbeat()) / 1_000_000);
}

fn broker_status(answer: &mut Answer<'_>, config: &Config, index: usize, status: &Status) {
    let (Some(broker), Some(mut structure)) = (config.brokers.get(index), answer.structure()) else { return };
    structure.number(c"broker", broker.id.into());
    structure.text(c"zone", config.zone_of(broker.id).as_bytes());
    structure.text(c"host", broker.url.host.as_bytes());
    structure.number(c"port", broker.url.port.into());
    structure.text(c"vhost", broker.url.vhost.as_bytes());
    structure.text(c"tls", if broker.url.tls { b"yes" } else { b"no" });
    structure.text(c"state", status.state.name().as_bytes());
    structure.number(c"seconds", seconds_since(status.since_unix));
    structure.text(c"last_error", status.why.as_bytes());
}

fn subscription_status(answer: &mut Answer<'_>, config: &Config, subscription: &Subscription, status: &Status) {
    let Some(mut structure) = answer.structure() else { return };
    let queue = if status.name.is_empty() { &subscription.queue.name } else { &status.name };
    structure.text(c"queue", queue.as_bytes());
    structure.text(c"exchange", subscription.exchange.name.as_bytes());
    if let Some(broker) = config.brokers.get(status.broker) {
        structure.number(c"on_broker", broker.id.into());
    }
    structure.text(c"state", status.state.name().as_bytes());
    structure.number(c"seconds", seconds_since(status.since_unix));
    structure.text(c"reason", status.why.as_bytes());
}

/// 0 for a time that is not known.
fn seconds_since(unix: u64) -> u64 {
    if unix == 0 { 0 } else { unix_seconds().saturating_sub(unix) }
}

fn rings(answer: &mut Answer<'_>) {
    let Some(shared) = engine::shared() else {
        answer.fault(500, c"not started yet");
        return;
    };
    for level in shared.levels() {
        let Some(mut structure) = answer.structure() else { return };
        structure.number(c"process", level.process_no as u64);
        structure.text(c"ring", level.ring.as_bytes());
        structure.number(c"used", level.used);
        structure.number(c"peak", level.peak);
        structure.number(c"size", level.size);
    }
}
