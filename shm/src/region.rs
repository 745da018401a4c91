//! A span of mapped memory and the errors of what is laid out in it.
//!
//! Runs in every process. Hands out addresses only; it reads and writes nothing itself. The mapping is somebody else's:
//! Kamailio's shared memory in the module, a mapping of their own in tests and tools.

use core::num::NonZeroUsize;
use core::ptr::NonNull;

use nix::sys::mman::{MmapAdvise, madvise};

use crate::ring::Corrupt;
use crate::sync::LINE;

/// Why a span of memory cannot hold, or does not hold, what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// An address or offset that is not a multiple of 64.
    #[error("address or offset {at:#x} is not a multiple of 64")]
    Misaligned {
        /// The address or offset.
        at: usize,
    },
    /// A part that reaches over the end of its region.
    #[error("{len} bytes at offset {offset} do not lie inside a region of {region} bytes")]
    OutOfBounds {
        /// Start of the part.
        offset: usize,
        /// Length of the part.
        len: usize,
        /// Length of the region.
        region: usize,
    },
    /// The region is too short.
    #[error("{need} bytes are needed, the region has {have}")]
    TooSmall {
        /// Bytes needed.
        need: usize,
        /// Bytes there.
        have: usize,
    },
    /// A ring capacity that is not a power of two between the limits of [`crate::ring`].
    #[error("ring capacity {capacity} is not a power of two from 1 KiB to 1 GiB")]
    BadCapacity {
        /// The capacity asked for or found in the header.
        capacity: u32,
    },
    /// No ring (or other structure of this crate) was initialised here.
    #[error("magic {found:#018x} found where {expected:#018x} was expected")]
    BadMagic {
        /// What is there.
        found: u64,
        /// What should be there.
        expected: u64,
    },
    /// Written by another version of this crate.
    #[error("layout version {found}, this build speaks {expected}")]
    BadVersion {
        /// Version in the header.
        found: u32,
        /// Version of this build.
        expected: u32,
    },
    /// Cursors that contradict each other.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

/// A span of mapped memory: a copyable address and length. The mapping must outlive every copy.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a region is an address; reading or writing through it takes the unsafe `attach` of a structure.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Takes a span of memory into use.
    ///
    /// # Safety
    ///
    /// `len` bytes from `base` are one mapping, readable, writable and holding defined bytes (zeroes or leftovers).
    /// They stay mapped as long as any copy of this region, part of it or structure attached to it is in use, and
    /// meanwhile they are accessed through this crate only.
    pub const unsafe fn from_raw(base: NonNull<u8>, len: usize) -> Self {
        Self { base, len }
    }

    /// The part of `len` bytes at `offset`, which is a multiple of 64.
    pub fn sub(self, offset: usize, len: usize) -> Result<Self, LayoutError> {
        if !offset.is_multiple_of(LINE) {
            return Err(LayoutError::Misaligned { at: offset });
        }
        match offset.checked_add(len) {
            Some(end) if end <= self.len => {
                // SAFETY: `offset <= end <= self.len`, so the result is inside the mapping or one past its end.
                let base = unsafe { self.base.add(offset) };
                Ok(Self { base, len })
            }
            _ => Err(LayoutError::OutOfBounds { offset, len, region: self.len }),
        }
    }

    /// The same span from its first address that is a multiple of 64: allocators often align to less.
    pub fn aligned(self) -> Result<Self, LayoutError> {
        let skip = self.base.addr().get().wrapping_neg() % LINE;
        if skip > self.len {
            return Err(LayoutError::TooSmall { need: skip, have: self.len });
        }
        // SAFETY: `skip <= self.len`.
        let base = unsafe { self.base.add(skip) };
        Ok(Self { base, len: self.len - skip })
    }

    /// Has the calling process's pages of the first `bytes` bytes made now instead of at the first write to each, which takes
    /// longer than everything else about a record. Contents stay as they are; where the system cannot (Linux before 5.14),
    /// nothing happens.
    pub fn populate(self, bytes: usize) {
        const PAGE: usize = 4096;
        let skip = self.base.addr().get() % PAGE;
        let len = bytes.min(self.len) + skip;
        let page = self.base.map_addr(|addr| NonZeroUsize::new(addr.get() - skip).unwrap_or(addr));
        // SAFETY: changes no byte. The pages are those of the region itself, which is mapped, by `from_raw`.
        let _ = unsafe { madvise(page.cast(), len, MmapAdvise::MADV_POPULATE_WRITE) };
    }

    /// First address.
    pub const fn base(self) -> NonNull<u8> {
        self.base
    }

    /// Length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "an empty region is of no interest to anybody")]
    pub const fn len(self) -> usize {
        self.len
    }

    /// The address of a `T` at the start: aligned and inside the span.
    pub(crate) fn head<T>(self) -> Result<NonNull<T>, LayoutError> {
        const { assert!(align_of::<T>() <= LINE) };
        let at = self.base.addr().get();
        if !at.is_multiple_of(LINE) {
            return Err(LayoutError::Misaligned { at });
        }
        if self.len < size_of::<T>() {
            return Err(LayoutError::TooSmall { need: size_of::<T>(), have: self.len });
        }
        Ok(self.base.cast())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[repr(align(64))]
    struct Lines([u8; 256]);

    fn region(lines: &mut Lines, skip: usize) -> Region {
        let base = NonNull::from(&mut lines.0[skip]);
        // SAFETY: inside `lines`, which the test keeps.
        unsafe { Region::from_raw(base, 256 - skip) }
    }

    #[test]
    fn parts_are_aligned_and_inside() {
        let mut lines = Lines([0; 256]);
        let whole = region(&mut lines, 0);
        assert_eq!(whole.sub(64, 192).unwrap().len(), 192);
        assert_eq!(whole.sub(256, 0).unwrap().len(), 0);
        assert_eq!(whole.sub(32, 8).unwrap_err(), LayoutError::Misaligned { at: 32 });
        assert_eq!(whole.sub(64, 193).unwrap_err(), LayoutError::OutOfBounds { offset: 64, len: 193, region: 256 });
        assert!(whole.sub(64, usize::MAX).is_err());
    }

    #[test]
    fn aligning_skips_to_the_next_line() {
        let mut lines = Lines([0; 256]);
        let crooked = region(&mut lines, 8).aligned().unwrap();
        assert_eq!(crooked.base().addr().get() % 64, 0);
        assert_eq!(crooked.len(), 192);
        let straight = region(&mut lines, 0).aligned().unwrap();
        assert_eq!(straight.len(), 256);
        assert!(region(&mut lines, 8).sub(0, 40).unwrap().aligned().is_err());
    }
}
