//! Memory for the models (`--cfg loom`): loom's atomics must be built where a real region would just be mapped.
//!
//! Only the loom tests use it.

use core::ptr::NonNull;

use crate::region::Region;
use crate::ring::{bytes_for, place};
use crate::sync::LINE;

/// One cache line of model memory.
#[repr(C, align(64))]
#[derive(Clone)]
struct MemoryLine([u8; LINE]);

/// Memory of one ring. To be made inside the model, and to be kept until all its threads are joined.
pub struct RingMemory {
    lines: Box<[MemoryLine]>,
    capacity: usize,
}

impl RingMemory {
    /// Memory for a ring of `capacity` data bytes, not yet initialised as one.
    pub fn new(capacity: usize) -> Self {
        let lines = vec![MemoryLine([0; LINE]); bytes_for(capacity).div_ceil(LINE)].into_boxed_slice();
        let mut memory = Self { lines, capacity };
        // SAFETY: fresh memory of that length, aligned as `MemoryLine` is.
        unsafe { place(memory.region(), memory.capacity) };
        memory
    }

    /// The memory as a region.
    pub fn region(&mut self) -> Region {
        let base = NonNull::from(self.lines.as_mut()).cast();
        // SAFETY: the tests keep the memory until their threads are joined.
        unsafe { Region::from_raw(base, self.lines.len() * LINE) }
    }
}
