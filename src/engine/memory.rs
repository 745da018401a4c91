//! How much shared memory the module takes, and taking it.
//!
//! Runs once in the main process, before the fork. A configuration that cannot fit is refused here with the number
//! to raise, not later when messages are under way.

use rand::TryRng;
use rand::rngs::SysRng;

use super::StartError;
use crate::bus::layout::{Layout, Shared, Sizes};
use crate::config::Config;
use crate::host::memory::NoBus;
use crate::host::{log, memory, process};

/// Bytes for the texts of all subscriptions.
const REGISTRY_BYTES: u32 = 256 * 1024;

/// Lays out the bus for as many processes as the server has slots.
pub fn lay_out(config: &Config) -> Result<&'static Shared, StartError> {
    let sizes = sizes(config, process::max_procs());
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

fn sizes(config: &Config, processes: usize) -> Sizes {
    Sizes {
        processes,
        consumers: config.consumers as usize,
        command: config.rings.command,
        reply: config.rings.reply,
        delivery: config.rings.delivery,
        ack: config.rings.ack,
        registry: REGISTRY_BYTES,
        max_message: config.max_message_size,
    }
}
