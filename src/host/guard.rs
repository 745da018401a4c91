//! Panics stop at the border to C.
//!
//! A panic that leaves an `extern "C"` function aborts the process, and Kamailio stops the whole server when one of
//! its processes dies. So every exported function runs its body through [`entry`].

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::log;

/// Runs `body`; when it panics, logs the panic and returns `on_panic`.
pub fn entry<R>(name: &'static str, on_panic: R, body: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        log::error!("{name}: ended by a panic, see the line before; this call failed, the process goes on");
        on_panic
    })
}

/// Sends the text of panics to the log; the default, stderr, leads nowhere in daemon mode.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        // Log calls belong to the main thread.
        if nix::unistd::gettid() == nix::unistd::getpid() {
            log::error!("panic: {panic}");
        } else {
            eprintln!("kazoo: panic: {panic}");
        }
    }));
}
