//! Safe wrappers over `kamailio-sys`: what the rest of the module may ask of the server that loaded it.
//!
//! Only this folder and `entry.rs` name `kamailio-sys`. Kamailio's calls belong to a process's main thread: nothing
//! here may be used from another one. The manager process uses nothing of this folder after its start, except
//! [`log`].
//!
//! | file | concern |
//! |---|---|
//! | `guard` | panics stop at the border to C |
//! | `strings` | Kamailio's `str` as bytes, and results that outlive the call |
//! | `log` | log lines: levels, places, storms |
//! | `params` | values of a script function's parameters |
//! | `expand` | variables in a text that came about while the script ran |
//! | `vars` | variables that are read and written by name, target parameters |
//! | `message` | the SIP message being processed, a made-up one for events |
//! | `route` | event routes, callback routes, and their KEMI counterparts |
//! | `tm` | transactions: suspended, resumed |
//! | `kemi` | rows and values of the functions for KEMI languages |
//! | `transformation` | parsing and running `{kz.…}` |
//! | `process` | process table, forks, run-time configuration |
//! | `plain` | processes that Kamailio does not know: supervisor and manager |
//! | `memory` | blocks of shared memory |
//! | `db` | Kamailio's database drivers |
//! | `rpc` | RPC commands |
//! | `statistics` | counters shown by `kamcmd stats.get_statistics kazoo:` |

pub mod db;
pub mod expand;
pub mod guard;
pub mod kemi;
pub mod log;
pub mod memory;
pub mod message;
pub mod params;
pub mod plain;
pub mod process;
pub mod route;
pub mod rpc;
pub mod statistics;
pub mod strings;
pub mod tm;
pub mod transformation;
pub mod vars;

use std::ffi::CStr;
use std::sync::LazyLock;

/// An array of the instances of a function that is generic over a number: Kamailio's callbacks carry no data of
/// ours, so each slot needs a function of its own.
macro_rules! slots {
    ($function:ident: $($slot:literal)+) => { [$($function::<$slot>),+] };
}
pub(crate) use slots;

/// Version of the server, for example `5.6.3`.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        // SAFETY: the shim's constant is a NUL-terminated string that is never written.
        let full = unsafe { CStr::from_ptr((&raw const kamailio_sys::kz_module_version).cast()) };
        // "kamailio 5.6.3 (x86_64/linux)"
        full.to_string_lossy().split(' ').nth(1).unwrap_or_default().to_owned()
    });
    &VERSION
}
