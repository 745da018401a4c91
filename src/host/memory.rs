//! Blocks of Kamailio's shared memory. Never called in the manager process: the pool has a lock.

use std::ffi::c_void;
use std::ptr::NonNull;

/// A zeroed block of `bytes`; `None` when the pool is exhausted. 8-byte aligned at least.
pub fn shm_alloc_zeroed(bytes: usize) -> Option<NonNull<u8>> {
    // SAFETY: no precondition; the pool exists since before the module was loaded.
    NonNull::new(unsafe { kamailio_sys::kz_shm_malloc_zeroed(bytes) }.cast())
}

/// Gives a block back.
///
/// # Safety
///
/// `block` came from [`shm_alloc_zeroed`], in any process, and nobody uses it any more.
pub unsafe fn shm_free(block: NonNull<u8>) {
    // SAFETY: the caller's contract.
    unsafe { kamailio_sys::kz_shm_free(block.as_ptr().cast::<c_void>()) }
}
