//! Shared memory of our own, for tests, benches and tools; the module itself lays its rings into Kamailio's.
//!
//! An anonymous mapping reaches other processes by `fork`. A named one can be opened by a monitor of the same user (the
//! segment has mode 0600). It starts with one line that says who made it, because a creator that is killed leaves its
//! segment behind: readers would go on showing frozen values, and the next creator would find the name taken.
//!
//! ```text
//! | magic | version | creator's pid | creator's start time | beats | (64 bytes) then the region
//! ```
//!
//! Magic, pid and start time stay where they are in every version, so that any version can clean up after any other.
//! A pid alone names nobody for long: the start time (`/proc/<pid>/stat`, field 22) tells a later process from the dead
//! one. Creators of one name share a pid namespace and do not start at the same instant.

use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use nix::errno::Errno;
use nix::sys::mman::shm_unlink;
use shared_memory::{Shmem, ShmemConf, ShmemError};

use crate::region::{LayoutError, Region};
use crate::words::Words;

/// "kzshm", then bytes that no text has.
const MAGIC: u64 = u64::from_le_bytes(*b"kzshm\xf5\x01\x00");
/// Grows with every change of the first line.
const VERSION: u64 = 1;

/// The words of the first line.
const WORD_MAGIC: usize = 0;
const WORD_VERSION: usize = 1;
const WORD_PID: usize = 2;
const WORD_STARTED: usize = 3;
const WORD_BEATS: usize = 4;
const WORDS: usize = 5;
const FIRST_LINE: usize = Words::bytes_for(WORDS);

/// Why a mapping was not made or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The name is taken by a process that lives.
    #[error("shared memory {name:?} belongs to process {pid}, which is running")]
    InUse {
        /// Name of the segment.
        name: String,
        /// Its creator.
        pid: u32,
    },
    /// The segment is not one of ours, or its creator died before it was ready. Nothing is removed.
    #[error("shared memory {name:?} was not made by this program; if it is left over, remove /dev/shm/{name}")]
    Foreign {
        /// Name of the segment.
        name: String,
    },
    /// The segment was made by another version.
    #[error("shared memory {name:?} has layout version {found}, this build speaks {VERSION}")]
    Version {
        /// Name of the segment.
        name: String,
        /// Its version.
        found: u64,
    },
    /// The system refused.
    #[error("shared memory {name:?}: {source}")]
    System {
        /// Name of the segment.
        name: String,
        /// What the system said.
        source: ShmemError,
    },
    /// The mapping is too small for its first line.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// A shared mapping. Dropping it unmaps it: no region of it may be in use then.
pub struct Mapping {
    shmem: Shmem,
    words: Words,
    region: Region,
    /// Pid of the process that removes the name on drop; a forked child drops its copy without doing so.
    remover: Option<u32>,
}

impl Mapping {
    /// Maps `len` zeroed bytes without a name; children made by `fork` share them. Nothing stays behind, however the
    /// processes end.
    pub fn create(len: usize) -> Result<Self, MapError> {
        let mut shmem = ShmemConf::new()
            .size(FIRST_LINE.saturating_add(len))
            .create()
            .map_err(|source| MapError::System { name: String::from("(anonymous)"), source })?;
        // The crate needs a name for an instant; without it the memory ends with its last user.
        let _ = shm_unlink(shmem.get_os_id());
        shmem.set_owner(false);
        let mapping = Self::over(shmem)?;
        mapping.sign();
        Ok(mapping)
    }

    /// Maps `len` zeroed bytes under `name` and removes the name when dropped. A segment that a killed creator left
    /// behind is replaced.
    pub fn create_named(name: &str, len: usize) -> Result<Self, MapError> {
        let create = || ShmemConf::new().os_id(name).size(FIRST_LINE.saturating_add(len)).create();
        let created = match create() {
            Err(ShmemError::MappingIdExists) => {
                remove_stale(name)?;
                create()
            }
            other => other,
        };
        let shmem = created.map_err(|source| MapError::System { name: name.to_owned(), source })?;
        let mut mapping = Self::over(shmem)?;
        mapping.remover = Some(std::process::id());
        mapping.sign();
        Ok(mapping)
    }

    /// Opens what another process of the same user has created under `name`.
    ///
    /// The segment may outlive its creator: judge by [`creator_lives`](Self::creator_lives) and
    /// [`beats`](Self::beats), not by its existence.
    pub fn open_named(name: &str) -> Result<Self, MapError> {
        let mapping = open(name)?;
        match mapping.word(WORD_VERSION) {
            VERSION => Ok(mapping),
            found => Err(MapError::Version { name: name.to_owned(), found }),
        }
    }

    /// The memory after the first line.
    pub fn region(&self) -> Region {
        self.region
    }

    /// Creator: says "I live" once more.
    pub fn beat(&self) {
        self.words.get(WORD_BEATS).fetch_add(1, Ordering::Relaxed); // a gauge
    }

    /// Reader: how often the creator has said "I live". One that stands still belongs to a creator that hangs or died.
    pub fn beats(&self) -> u64 {
        self.word(WORD_BEATS)
    }

    /// Whether the process that created the mapping is still running.
    pub fn creator_lives(&self) -> bool {
        u32::try_from(self.word(WORD_PID)).is_ok_and(|pid| start_time(pid) == Some(self.word(WORD_STARTED)))
    }

    /// Joins a mapping with its first line.
    fn over(shmem: Shmem) -> Result<Self, MapError> {
        let Some(base) = NonNull::new(shmem.as_ptr()) else {
            return Err(LayoutError::TooSmall { need: FIRST_LINE, have: 0 }.into());
        };
        // SAFETY: the mapping's own address and length, readable and writable; the system gives defined bytes. It stays
        // mapped until drop, and `Mapping` asks its user to be done with the region by then.
        let whole = unsafe { Region::from_raw(base, shmem.len()) };
        let first_line = whole.sub(0, FIRST_LINE)?;
        let region = whole.sub(FIRST_LINE, shmem.len() - FIRST_LINE)?;
        // SAFETY: `words` lives in `Mapping` as long as the memory, and the first line is used as words only.
        let words = unsafe { Words::attach(first_line, WORDS) }?;
        Ok(Self { shmem, words, region, remover: None })
    }

    /// Writes the first line, the magic last: who sees it sees the rest.
    fn sign(&self) {
        let pid = std::process::id();
        self.words.get(WORD_VERSION).store(VERSION, Ordering::Relaxed);
        self.words.get(WORD_PID).store(u64::from(pid), Ordering::Relaxed);
        self.words.get(WORD_STARTED).store(start_time(pid).unwrap_or(0), Ordering::Relaxed);
        self.words.get(WORD_MAGIC).store(MAGIC, Ordering::Release);
    }

    fn word(&self, index: usize) -> u64 {
        self.words.get(index).load(Ordering::Acquire)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.shmem.set_owner(self.remover == Some(std::process::id()));
    }
}

/// Opens a segment of any version.
fn open(name: &str) -> Result<Mapping, MapError> {
    let foreign = || MapError::Foreign { name: name.to_owned() };
    let shmem = match ShmemConf::new().os_id(name).open() {
        Ok(shmem) => shmem,
        // Nothing to map: a creator that died before it gave the segment its size.
        Err(ShmemError::MapOpenFailed(errno)) if errno == Errno::EINVAL as u32 => return Err(foreign()),
        Err(source) => return Err(MapError::System { name: name.to_owned(), source }),
    };
    let mapping = Mapping::over(shmem).map_err(|_| foreign())?;
    if mapping.word(WORD_MAGIC) == MAGIC { Ok(mapping) } else { Err(foreign()) }
}

/// Removes a segment whose creator is dead.
fn remove_stale(name: &str) -> Result<(), MapError> {
    let mut left = open(name)?;
    if left.creator_lives() {
        let pid = u32::try_from(left.word(WORD_PID)).unwrap_or(0);
        return Err(MapError::InUse { name: name.to_owned(), pid });
    }
    left.remover = Some(std::process::id());
    Ok(())
}

/// When a process was started, in clock ticks since boot; `None` if it is gone or only waits to be reaped.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything: count from its end.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::path::PathBuf;
    use std::process::Command;

    use super::*;
    use crate::ring::{self, Consumer, Producer, bytes_for};

    fn name(of: &str) -> String {
        format!("kz-test-{}-{of}", std::process::id())
    }

    fn path(name: &str) -> PathBuf {
        PathBuf::from("/dev/shm").join(name)
    }

    #[test]
    fn a_ring_in_a_named_mapping_is_seen_by_who_opens_it() {
        let name = name("seen");
        let created = Mapping::create_named(&name, bytes_for(1024)).unwrap();
        let opened = Mapping::open_named(&name).unwrap();
        ring::init(created.region(), 1024).unwrap();
        // SAFETY: one producer and one consumer, gone before the mappings.
        let mut producer = unsafe { Producer::attach(created.region()) }.unwrap();
        // SAFETY: as above.
        let mut consumer = unsafe { Consumer::attach(opened.region()) }.unwrap();
        producer.push(1, &[b"hello"]).unwrap();
        assert_eq!(consumer.next().unwrap().unwrap().bytes, b"hello");
        created.beat();
        assert_eq!(opened.beats(), 1);
        assert!(opened.creator_lives());
        drop(opened);
        assert!(path(&name).exists(), "a reader does not remove the name");
        drop(created);
        assert!(!path(&name).exists());
    }

    #[test]
    fn an_anonymous_mapping_leaves_no_name() {
        let mapping = Mapping::create(4096).unwrap();
        assert_eq!(mapping.region().len(), 4096);
        assert!(!path(mapping.shmem.get_os_id().trim_start_matches('/')).exists());
    }

    #[test]
    fn the_name_of_a_living_creator_is_not_taken() {
        let name = name("living");
        let _created = Mapping::create_named(&name, 64).unwrap();
        assert!(
            matches!(Mapping::create_named(&name, 64), Err(MapError::InUse { pid, .. }) if pid == std::process::id())
        );
    }

    /// Leaves a segment behind as a killed creator does, signed with `pid` and `started`.
    fn leave_behind(name: &str, pid: u32, started: u64) {
        let mut mapping = Mapping::create_named(name, 64).unwrap();
        mapping.words.get(WORD_PID).store(u64::from(pid), Ordering::Relaxed);
        mapping.words.get(WORD_STARTED).store(started, Ordering::Relaxed);
        mapping.remover = None;
    }

    #[test]
    fn the_name_of_a_dead_creator_is_taken_over() {
        let name = name("dead");
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        leave_behind(&name, child.id(), start_time(child.id()).unwrap());
        assert!(matches!(Mapping::create_named(&name, 64), Err(MapError::InUse { .. })));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!Mapping::open_named(&name).unwrap().creator_lives());
        let successor = Mapping::create_named(&name, 128).unwrap();
        assert_eq!(successor.region().len(), 128);
        drop(successor);
        assert!(!path(&name).exists());
    }

    #[test]
    fn a_reused_pid_is_not_the_creator() {
        let name = name("reused");
        leave_behind(&name, std::process::id(), 1);
        drop(Mapping::create_named(&name, 64).unwrap());
        assert!(!path(&name).exists());
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let name = name("foreign");
        std::fs::write(path(&name), [7; 256]).unwrap();
        assert!(matches!(Mapping::create_named(&name, 64), Err(MapError::Foreign { .. })));
        assert!(matches!(Mapping::open_named(&name), Err(MapError::Foreign { .. })));
        for len in [8, 0] {
            std::fs::write(path(&name), &[7; 8][..len]).unwrap();
            assert!(matches!(Mapping::open_named(&name), Err(MapError::Foreign { .. })), "{len} bytes");
        }
        std::fs::remove_file(path(&name)).unwrap();
        assert!(matches!(Mapping::open_named(&name), Err(MapError::System { .. })));
    }

    #[test]
    fn another_version_is_refused_by_readers_and_cleaned_up_by_creators() {
        let name = name("version");
        leave_behind(&name, std::process::id(), 1);
        open(&name).unwrap().words.get(WORD_VERSION).store(9, Ordering::Relaxed);
        assert!(matches!(Mapping::open_named(&name), Err(MapError::Version { found: 9, .. })));
        drop(Mapping::create_named(&name, 64).unwrap());
    }
}
