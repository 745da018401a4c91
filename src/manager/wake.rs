//! The manager's own wake-up, as the runtime waits for it among other things.

#![expect(unsafe_code, reason = "the runtime wants a promise about the descriptor, kept by owning it")]

use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::bus::Shared;

/// The eventfd of the manager's bell. Inside the runtime only.
#[derive(Debug)]
pub struct Wake(AsyncFd<OwnedFd>);

impl Wake {
    /// Registers a duplicate of the manager's eventfd.
    pub fn new(shared: &Shared) -> std::io::Result<Self> {
        let fd = shared.manager_eventfd().try_clone_to_owned()?;
        // SAFETY: the descriptor is open, and owned by the `AsyncFd`, which nobody takes apart, until that is dropped.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE)? };
        Ok(Self(fd))
    }

    /// Returns when somebody has rung. The caller drains the bell.
    pub async fn rung(&self) {
        if let Ok(mut ready) = self.0.readable().await {
            ready.clear_ready();
        }
    }
}
