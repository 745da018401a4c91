//! The one switch between the atomics of `core` and those of loom (`--cfg loom`).
//!
//! Loom cannot see raw memory. So every access to record bytes is announced to a [`Shadow`]: without loom it is
//! nothing at all, under loom it is one tracked cell per 64-byte line, laid out behind the data bytes. An access that
//! is not ordered after the other side's access to the same line then fails the model, whatever bytes it happened to
//! read.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Bytes of a cache line; everything in shared memory is aligned to it.
pub(crate) const LINE: usize = 64;

/// Announces accesses to record bytes to the model checker; empty without loom.
#[cfg(not(loom))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shadow;

#[cfg(not(loom))]
impl Shadow {
    /// Bytes that the shadow of one line takes in the region.
    pub(crate) const BYTES_PER_LINE: usize = 0;

    /// The shadow that starts at `_base`.
    pub(crate) const fn at(_base: core::ptr::NonNull<u8>) -> Self {
        Self
    }

    /// Announces a read of `_len` bytes at `_offset`.
    #[inline(always)]
    pub(crate) fn read(self, _offset: usize, _len: usize) {}

    /// Announces a write of `_len` bytes at `_offset`.
    #[inline(always)]
    pub(crate) fn write(self, _offset: usize, _len: usize) {}
}

#[cfg(loom)]
pub(crate) use with_loom::Shadow;

#[cfg(loom)]
mod with_loom {
    use core::ops::Range;
    use core::ptr::NonNull;

    use loom::cell::UnsafeCell;

    use super::LINE;

    /// Announces accesses to record bytes to loom: one cell per line.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Shadow(NonNull<UnsafeCell<()>>);

    impl Shadow {
        /// Bytes that the shadow of one line takes in the region.
        pub(crate) const BYTES_PER_LINE: usize = size_of::<UnsafeCell<()>>();

        /// The shadow that starts at `base`; `Shadow::place` has built it there.
        pub(crate) const fn at(base: NonNull<u8>) -> Self {
            Self(base.cast())
        }

        /// Builds the cells of `lines` lines.
        ///
        /// # Safety
        ///
        /// `lines * BYTES_PER_LINE` bytes from the base are writable and nobody uses the shadow yet.
        pub(crate) unsafe fn place(self, lines: usize) {
            for line in 0..lines {
                // SAFETY: inside the span that the caller vouches for.
                let cell = unsafe { self.0.add(line) };
                // SAFETY: as above; the cell has no owner to drop.
                unsafe { cell.write(UnsafeCell::new(())) };
            }
        }

        /// Announces a read of `len` bytes at `offset`.
        pub(crate) fn read(self, offset: usize, len: usize) {
            lines(offset, len).for_each(|line| self.cell(line).with(|_| ()));
        }

        /// Announces a write of `len` bytes at `offset`.
        pub(crate) fn write(self, offset: usize, len: usize) {
            lines(offset, len).for_each(|line| self.cell(line).with_mut(|_| ()));
        }

        fn cell(&self, line: usize) -> &UnsafeCell<()> {
            // SAFETY: `ring::Shared` announces only offsets inside its data bytes, and each line has a placed cell.
            let cell = unsafe { self.0.add(line) };
            // SAFETY: as above; the model keeps the memory for its whole run.
            unsafe { cell.as_ref() }
        }
    }

    fn lines(offset: usize, len: usize) -> Range<usize> {
        offset / LINE..(offset + len).div_ceil(LINE)
    }
}
