//! The manager's own wake-up, as the runtime waits for it among other things.
//!
//! The runtime is told of each write to the eventfd, not of its count, so nobody takes the count down: that would be a system
//! call per wake-up for nothing. What others wrote before this process was made is one wake-up in vain.

#![expect(unsafe_code, reason = "the runtime wants a promise about the descriptor, kept by owning it")]

use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

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

    /// Ready once for all rings since the last time that it was.
    pub fn poll_rung(&self, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll_read_ready(context).map(|ready| {
            // An error: the runtime ends, and with it the loop.
            if let Ok(mut ready) = ready {
                ready.clear_ready();
            }
        })
    }
}
