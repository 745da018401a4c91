//! Shared memory of our own, for tests, benches and tools; the module itself lays its rings into Kamailio's.
//!
//! An anonymous mapping: it reaches other processes by `fork`, and ends with the last of them however they end.

use core::ptr::NonNull;

use nix::sys::mman::shm_unlink;
use shared_memory::{Shmem, ShmemConf, ShmemError};

use crate::region::Region;

/// The system refused to map memory.
#[derive(Debug, thiserror::Error)]
#[error("cannot map {len} bytes of shared memory: {source}")]
pub struct MapError {
    /// Bytes asked for.
    len: usize,
    /// What the system said.
    source: ShmemError,
}

/// A shared mapping. Dropping it unmaps it: no region of it may be in use then.
pub struct Mapping {
    _shmem: Shmem,
    region: Region,
}

impl Mapping {
    /// Maps `len` zeroed bytes; children made by `fork` share them.
    pub fn create(len: usize) -> Result<Self, MapError> {
        let error = |source| MapError { len, source };
        let mut shmem = ShmemConf::new().size(len).create().map_err(error)?;
        // The crate needs a name for an instant; without it the memory ends with its last user.
        let _ = shm_unlink(shmem.get_os_id());
        shmem.set_owner(false);
        let base = NonNull::new(shmem.as_ptr()).ok_or(error(ShmemError::MapCreateFailed(0)))?;
        // SAFETY: the mapping's own address and length, readable and writable; the system gives zeroed bytes. It stays
        // mapped until drop, and `Mapping` asks its user to be done with the region by then.
        let region = unsafe { Region::from_raw(base, len) };
        Ok(Self { _shmem: shmem, region })
    }

    /// The memory.
    pub fn region(&self) -> Region {
        self.region
    }
}

#[cfg(all(test, not(loom), not(miri)))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_memory_is_there_and_has_no_name() {
        let mapping = Mapping::create(4096).unwrap();
        assert_eq!(mapping.region().len(), 4096);
        assert!(mapping.region().base().addr().get().is_multiple_of(4096));
        let named = std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name());
        let own = mapping._shmem.get_os_id().trim_start_matches('/');
        assert!(named.into_iter().all(|name| name != own));
    }
}
