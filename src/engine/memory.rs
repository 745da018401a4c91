//! How much shared memory the module takes, and taking it.
//!
//! Runs once in the main process, before the fork. A configuration that cannot fit is refused here with the number
//! to raise, not later when messages are under way.

use rand::TryRng;
use rand::rngs::SysRng;

use super::StartError;
use crate::bus::layout::{Layout, Shared, Sizes};
use crate::bus::suspended::MAX_SLOTS;
use crate::config::Config;
use crate::host::memory::NoBus;
use crate::host::{log, memory, process};

/// Bytes for the texts of all subscriptions.
const REGISTRY_BYTES: u32 = 256 * 1024;

/// Shared memory that a suspended transaction takes in Kamailio at the least: its cell and its copy of the request. Measured:
/// 14 500 bytes for an INVITE without a body.
const SUSPENDED_BYTES: usize = 12 * 1024;

/// Lays out the bus for as many processes as the server has slots. `suspends`: asynchronous queries are
/// possible.
pub fn lay_out(config: &Config, suspends: bool) -> Result<&'static Shared, StartError> {
    // As many as there can be transactions for, so that this table is never what is missing.
    let suspended = if suspends { (memory::pool_bytes() / SUSPENDED_BYTES).min(MAX_SLOTS) } else { 0 };
    let sizes = sizes(config, process::max_procs(), suspended);
    let layout = Layout::new(sizes);
    let megabytes = layout.bytes().div_ceil(1 << 20);
    let pool = memory::pool_bytes() >> 20;
    let boot = SysRng.try_next_u64().map_err(StartError::new)?;
    let shared = memory::create_bus(layout, boot).map_err(|why| match why {
        NoBus::Exhausted { .. } => StartError::new(format!(
            "the rings of {} processes take {megabytes} MB of shared memory, which are not free: \
             start Kamailio with -m {} (now {pool}), or lower amqp_command_ring_kb",
            sizes.processes,
            // What the rest of the server takes of the pool is not known, but it fits the pool of today.
            pool + megabytes,
        )),
        why => StartError::new(why),
    })?;
    log::info!(
        "rings of {} processes and {} consumers: {megabytes} MB of shared memory",
        sizes.processes,
        sizes.consumers
    );
    Ok(shared)
}

fn sizes(config: &Config, processes: usize, suspended: usize) -> Sizes {
    Sizes {
        processes,
        consumers: config.consumers as usize,
        command: config.rings.command,
        reply: config.rings.reply,
        delivery: config.rings.delivery,
        ack: config.rings.ack,
        registry: REGISTRY_BYTES,
        brokers: config.brokers.len(),
        suspended,
        max_message: config.max_message_size,
    }
}
