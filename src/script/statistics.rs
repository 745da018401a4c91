//! Statistics group `kazoo`: every counter of the bus, summed over all processes when somebody asks.

use crate::bus::Shared;
use crate::bus::counters::Counter;
use crate::engine;
use crate::host::statistics::{self, RegisterError};

/// Registers the group. `mod_init`, once; the values are 0 until the bus is laid out.
pub fn register() -> Result<(), RegisterError> {
    statistics::register(Counter::ALL.iter().map(|counter| counter.name()), value)
}

fn value(index: usize) -> u64 {
    let counter = Counter::ALL.get(index).copied();
    counter.zip(engine::shared()).map_or(0, |(counter, shared): (Counter, &Shared)| shared.total(counter))
}
