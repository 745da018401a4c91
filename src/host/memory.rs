//! Kamailio's shared memory. Never used in the manager process to allocate: the pool has a lock.

use std::ptr::NonNull;

use shm::Region;

use crate::bus::layout::{Heap, Layout, LayoutError, Shared};

/// Why the bus cannot lie in shared memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoBus {
    /// The pool has no block of this size.
    #[error("{bytes} bytes of shared memory are not free")]
    Exhausted {
        /// Size that was asked for.
        bytes: usize,
    },
    /// The bus cannot be laid out.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// Size of the whole pool in bytes, as set by `-m`.
pub fn pool_bytes() -> usize {
    // SAFETY: a number of the core, set before modules are loaded.
    usize::try_from(unsafe { kamailio_sys::shm_mem_size }).unwrap_or(usize::MAX)
}

/// Allocates the bus and lays it out; `boot` is a random number of this start. Main process, before any fork. The
/// block is never given back: it lives as long as the server.
pub fn create_bus(layout: Layout, boot: u64) -> Result<&'static Shared, NoBus> {
    // The allocator aligns to 8 bytes, the bus wants cache lines.
    let bytes = layout.bytes() + 64;
    let block = alloc(bytes).ok_or(NoBus::Exhausted { bytes })?;
    // SAFETY: a fresh block of this length; the pool is mapped at the same addresses in every process, for ever.
    let region = unsafe { Region::from_raw(block, bytes) }.aligned().map_err(LayoutError::from)?;
    let heap = Heap { alloc, free, span: pool() };
    // SAFETY: as above; the block was made for this bus alone.
    let shared = unsafe { Shared::create(region, layout, heap, boot) }?;
    Ok(Box::leak(Box::new(shared)))
}

/// The span in which every block lies.
fn pool() -> Region {
    // SAFETY: the pool exists since before modules were loaded.
    let base = unsafe { kamailio_sys::shm_core_get_pool() };
    match NonNull::new(base.cast()) {
        // SAFETY: the core's own mapping of this size, which stays for the life of every process.
        Some(base) => unsafe { Region::from_raw(base, pool_bytes()) },
        // SAFETY: no bytes at all.
        None => unsafe { Region::from_raw(NonNull::dangling(), 0) },
    }
}

/// A zeroed block, aligned to 8 at least; `None` when the pool is exhausted.
fn alloc(bytes: usize) -> Option<NonNull<u8>> {
    // SAFETY: no precondition but an existing pool.
    NonNull::new(unsafe { kamailio_sys::kz_shm_malloc_zeroed(bytes) }.cast())
}

/// Gives back what [`alloc`] returned; the bus does so once per block.
fn free(block: NonNull<u8>) {
    // SAFETY: from `alloc`, and not in use any more, by the contract of `Heap`.
    unsafe { kamailio_sys::kz_shm_free(block.as_ptr().cast()) }
}
