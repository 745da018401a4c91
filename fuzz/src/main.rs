//! Coverage-guided fuzzing (libFuzzer) of everything that reads what others wrote: scripts, modparams, the bus, and
//! shared memory that another process may have damaged.
//!
//! `make fuzz` runs every target; `fuzz/run` says how. One binary, because libFuzzer has one entry point: the
//! environment variable `KAZOO_FUZZ` names the target. A finding is a panic, a broken promise (an assertion of the
//! target), too much memory, or an input that takes seconds.

#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a finding is reported")]

mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let name = std::env::var("KAZOO_FUZZ").unwrap_or_default();
    let found = targets::ALL.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("KAZOO_FUZZ={name}: no such target")).1
});

fuzz_target!(|data: &[u8]| TARGET(data));
