//! Memory for the models (`--cfg loom`): loom's atomics must be built where a real region would just be mapped.
//!
//! Only the loom tests use it.

use core::ptr::NonNull;

use crate::region::Region;
use crate::ring::{bytes_for, place};
use crate::sync::{AtomicU64, LINE};
use crate::words::Words;

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

/// Memory of a row of words, all zero. To be made inside the model, and to be kept until all its threads are joined.
pub struct WordsMemory {
    lines: Box<[MemoryLine]>,
    count: usize,
}

impl WordsMemory {
    /// Memory for `count` words.
    pub fn new(count: usize) -> Self {
        let mut lines = vec![MemoryLine([0; LINE]); Words::bytes_for(count) / LINE].into_boxed_slice();
        let first = lines.as_mut_ptr().cast::<AtomicU64>();
        for index in 0..count {
            // SAFETY: `bytes_for` counts this word.
            let word = unsafe { first.add(index) };
            // SAFETY: as above, aligned as the lines are; nobody uses it yet.
            unsafe { word.write(AtomicU64::new(0)) };
        }
        Self { lines, count }
    }

    /// The words.
    pub fn words(&mut self) -> Words {
        let base = NonNull::from(self.lines.as_mut()).cast();
        // SAFETY: the tests keep the memory until their threads are joined.
        let region = unsafe { Region::from_raw(base, self.lines.len() * LINE) };
        // SAFETY: as above; the memory is used as words only.
        unsafe { Words::attach(region, self.count) }.unwrap_or_else(|error| unreachable!("{error}"))
    }
}
