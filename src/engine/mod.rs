//! The life of the module inside Kamailio: what happens at `mod_init`, before the fork, and in each new process.
//!
//! ```text
//! main  mod_init             settings checked, process slots reserved, statistics and RPC registered
//!       child_init(INIT)     shared memory laid out, event_route[kazoo:mod-init] run
//!       child_init(MAIN)     forks:  supervisor ── forks ── manager (again whenever it dies or hangs)
//!                                    consumer 1..C
//! ```
//!
//! Everything here runs in the main process or at the very start of a child. SIP workers need no start of their own:
//! they take their end of the bus when a script first uses it.

mod memory;
mod supervisor;

use std::ffi::c_int;
use std::sync::OnceLock;

use crate::bus::Shared;
use crate::config::{self, Config};
use crate::host::process::{self, Forked};
use crate::host::{log, message, route};
use crate::manager::tls::ClientTls;
use crate::{consumer, script};

/// Why the server does not start with this module.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

impl StartError {
    fn new(why: impl std::fmt::Display) -> Self {
        Self(why.to_string())
    }
}

/// Name of the event route that runs once before the fork; subscriptions belong there.
const MOD_INIT_EVENT: &std::ffi::CStr = c"kazoo:mod-init";

static SHARED: OnceLock<&'static Shared> = OnceLock::new();
/// Set when a broker is `amqps://`.
static TLS: OnceLock<ClientTls> = OnceLock::new();

/// `mod_init`: the settings are complete, no other process exists.
pub fn mod_init() -> Result<(), StartError> {
    let config = config::finish().map_err(StartError::new)?;
    for notice in &config.notices {
        log::notice!("{notice}");
    }
    script::query::prepare(config.query_timeout_avp.as_deref())
        .map_err(|e| StartError(format!("amqp_query_timeout_avp: {e}, write for example \"$avp(kz_timeout)\"")))?;
    script::presence::prepare(&config.presence).map_err(|e| StartError(format!("db_url: {e}")))?;
    if config.event_callback.is_some() && !route::kemi_is_loaded() {
        return Err(StartError::new("event_callback is set, but no KEMI engine is loaded (cfgengine)"));
    }
    if config.uses_tls() {
        let tls = ClientTls::load(&config.tls).map_err(StartError::new)?;
        TLS.get_or_init(|| tls);
    }
    // Supervisor, manager and consumers; only consumers follow changes of the run-time configuration.
    process::register(2 + config.consumers, config.consumers).map_err(StartError::new)?;
    script::statistics::register().map_err(StartError::new)?;
    script::rpc::register().map_err(StartError::new)
}

/// `child_init`: only the two ranks before any SIP worker runs are of interest.
pub fn child_init(rank: c_int) -> Result<(), StartError> {
    match rank {
        process::PROC_INIT => before_fork(config::get()),
        process::PROC_MAIN => fork_processes(config::get()),
        _ => Ok(()),
    }
}

/// `destroy`: the operating system takes back memory and descriptors; nothing may block here.
pub fn destroy() {}

/// The bus, once it is laid out.
pub fn shared() -> Option<&'static Shared> {
    SHARED.get().copied()
}

fn before_fork(config: &'static Config) -> Result<(), StartError> {
    let suspends = script::async_query::prepare().is_ok();
    let shared = memory::lay_out(config, suspends)?;
    SHARED.get_or_init(|| shared);
    script::process::use_bus(shared);
    run_mod_init_event(config)
}

fn run_mod_init_event(config: &Config) -> Result<(), StartError> {
    let run = |msg: message::SipMsg<'_>| {
        if let Some(callback) = &config.event_callback {
            if !route::run_kemi(callback, MOD_INIT_EVENT, msg) {
                log::error!("event_callback {callback} failed for {MOD_INIT_EVENT:?}");
            }
        } else if let Some(event) = route::EventRoute::find(MOD_INIT_EVENT) {
            event.run(msg);
        }
    };
    message::with_faked(run).map_err(StartError::new)
}

fn fork_processes(config: &'static Config) -> Result<(), StartError> {
    let Some(shared) = shared() else { return Err(StartError::new("shared memory was not laid out")) };
    let main = nix::unistd::getpid();
    let supervisor = process::fork(process::PROC_NOCHLDINIT, c"kazoo supervisor", false).map_err(StartError::new)?;
    if supervisor == Forked::Child {
        supervisor::run(config, shared, TLS.get().cloned(), main);
    }
    for index in 0..config.consumers as usize {
        let consumer = process::fork(process::PROC_XWORKER, c"kazoo consumer", true).map_err(StartError::new)?;
        if consumer == Forked::Child {
            consumer::run(config, shared, index);
        }
    }
    Ok(())
}
