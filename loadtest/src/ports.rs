//! Free port numbers that two tests, in one process or in several, never get at the same time.
//!
//! Asking the system for port 0 and closing the socket again races: the next asker may get the same number before the
//! server has bound it. So a number is leased: the holder binds a Unix socket of that name in Linux's abstract
//! namespace, which ends with the holder and leaves no file. A trial bind keeps clear of everybody who does not know
//! these names. The range lies below the system's own ephemeral ports, so that no outgoing connection takes a leased
//! number.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::error::{Context, Error, Result};

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port number of 127.0.0.1 that no other rig on this machine leases, free for UDP and TCP when it was taken.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _claim: UnixListener,
}

impl Port {
    /// Leases the next free number.
    pub(crate) fn lease() -> Result<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Processes start at different places, which keeps them from trying the same numbers one after the other.
        let start = u16::try_from(std::process::id().wrapping_mul(37) % u32::from(COUNT)).unwrap_or(0);
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
            let number = FIRST + (start + step) % COUNT;
            let name = claim_name(number)?;
            let Ok(claim) = UnixListener::bind_addr(&name) else { continue };
            if is_free(number) {
                return Ok(Self { number, _claim: claim });
            }
        }
        Err(Error::new("no free port on 127.0.0.1"))
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

fn claim_name(number: u16) -> Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("rig-port-{number}")).context(|| "naming a port".into())
}

fn is_free(number: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() && UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn leases_differ_while_held() {
        let held: Vec<Port> = (0..50).map(|_| Port::lease().unwrap()).collect();
        let mut numbers: Vec<u16> = held.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 50);
    }

    #[test]
    fn a_number_is_claimed_until_its_lease_is_dropped() {
        let port = Port::lease().unwrap();
        let name = claim_name(port.number()).unwrap();
        assert!(UnixListener::bind_addr(&name).is_err());
        drop(port);
        assert!(UnixListener::bind_addr(&name).is_ok());
    }
}
