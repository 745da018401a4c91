//! The clock of deadlines and heartbeats: monotonic nanoseconds, the same in every process of the host.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds on `CLOCK_MONOTONIC`; answered by the vDSO, so it costs no system call.
pub fn now_ns() -> u64 {
    // The clock exists on every Linux; 0 would only make a deadline look distant.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(|t| u64::try_from(t.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(t.tv_nsec()).unwrap_or(0))
        .unwrap_or(0)
}

/// Seconds since the Unix epoch, for `AMQP-Received`.
pub fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
