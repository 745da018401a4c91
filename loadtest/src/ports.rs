//! Free port numbers that two tests, in one process or in several, never get at the same time.
//!
//! Asking the system for port 0 and closing the socket again races: the next asker may get the same number before the
//! server has bound it. So a number is leased: an exclusive lock on a file named after it, held until the lease is
//! dropped, and a trial bind for everybody who does not know these locks. The range lies below the system's own
//! ephemeral ports, so that no outgoing connection takes a leased number.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

use nix::fcntl::{Flock, FlockArg};

use crate::error::{Context, Error, Result};

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port number of 127.0.0.1 that nobody else of this user leases, free for UDP and TCP when it was taken.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _lock: Flock<File>,
}

impl Port {
    /// Leases the next free number.
    pub(crate) fn lease() -> Result<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let dir = lock_dir()?;
        // Processes start at different places, which keeps them from trying the same numbers one after the other.
        let start = u16::try_from(std::process::id().wrapping_mul(37) % u32::from(COUNT)).unwrap_or(0);
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
            let number = FIRST + (start + step) % COUNT;
            let file = File::create(dir.join(number.to_string())).context(|| format!("locking port {number}"))?;
            let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { continue };
            if is_free(number) {
                return Ok(Self { number, _lock: lock });
            }
        }
        Err(Error::new("no free port on 127.0.0.1"))
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

/// One folder per user: locks of another user could not be opened.
fn lock_dir() -> Result<PathBuf> {
    let me = fs::metadata("/proc/self").context(|| "asking for the user id".into())?.uid();
    let dir = std::env::temp_dir().join(format!("rig-ports-{me}"));
    fs::create_dir_all(&dir).context(|| format!("making {}", dir.display()))?;
    Ok(dir)
}

fn is_free(number: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() && UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn leases_differ_until_dropped() {
        let held: Vec<Port> = (0..50).map(|_| Port::lease().unwrap()).collect();
        let mut numbers: Vec<u16> = held.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 50);
    }

    #[test]
    fn a_leased_number_is_locked() {
        let port = Port::lease().unwrap();
        let file = File::create(lock_dir().unwrap().join(port.number().to_string())).unwrap();
        assert!(Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err());
    }
}
