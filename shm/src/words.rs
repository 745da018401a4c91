//! A row of shared 64-bit words: flags, counters, sequence numbers beside the rings.
//!
//! Runs in every process. Each word is an atomic of its own; which orderings a word needs is for its user to say.

use core::ptr::NonNull;

use crate::region::{LayoutError, Region};
use crate::sync::AtomicU64;

/// `count` atomic words at the start of a region. Copies refer to the same words.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    first: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the words are atomics; sharing them is what they are for.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// Bytes that `count` words take, rounded up so that what follows starts on its own cache line.
    pub const fn bytes_for(count: usize) -> usize {
        (count * size_of::<AtomicU64>()).next_multiple_of(64)
    }

    /// Takes the first `count` words of `region` into use. The words keep what the memory holds.
    ///
    /// # Safety
    ///
    /// The region stays mapped as long as any copy of the result is used, and its bytes are accessed as `Words` only.
    pub unsafe fn attach(region: Region, count: usize) -> Result<Self, LayoutError> {
        let need = Self::bytes_for(count);
        if region.len() < need {
            return Err(LayoutError::TooSmall { need, have: region.len() });
        }
        let at = region.base().addr().get();
        if !at.is_multiple_of(64) {
            return Err(LayoutError::Misaligned { at });
        }
        Ok(Self { first: region.base().cast(), count })
    }

    /// Number of words.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Word number `index`.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`count`](Self::count), as an array does.
    pub fn get(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.count, "word {index} of {}", self.count);
        // SAFETY: inside the region by the assertion; mapped and used as words only by the contract of `attach`.
        unsafe { self.first.add(index).as_ref() }
    }
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// Memory of a row of words, on the heap of a test.
    pub(crate) struct WordsMemory(Vec<[u64; 8]>, usize);

    impl WordsMemory {
        /// Room for `count` words, with a line more for their alignment.
        pub(crate) fn new(count: usize) -> Self {
            Self(vec![[0; 8]; Words::bytes_for(count) / 64 + 1], count)
        }

        pub(crate) fn words(&mut self) -> Words {
            let base = NonNull::new(self.0.as_mut_ptr().cast()).unwrap();
            // SAFETY: the vector's memory, kept by the test.
            let region = unsafe { Region::from_raw(base, self.0.len() * 64) };
            // SAFETY: as above; used as words only.
            unsafe { Words::attach(region.aligned().unwrap(), self.1) }.unwrap()
        }
    }
}
