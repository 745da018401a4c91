//! Plain processes: a fork that Kamailio does not know, its signals and descriptors. For supervisor and manager only.

use std::os::fd::RawFd;

use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::unistd::{ForkResult, Pid, getppid};

use super::process::Forked;

/// Signals that the supervisor takes from a descriptor instead of a handler.
const WATCHED: [Signal; 7] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGCHLD,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGPIPE,
];

/// Forks without Kamailio's knowledge: the child has no row in the process table and the parent must reap it.
/// Only in a process with one thread.
pub fn fork() -> nix::Result<Forked> {
    // SAFETY: the supervisor has one thread, so no lock can be held by another one at the fork.
    match unsafe { nix::unistd::fork()? } {
        ForkResult::Child => Ok(Forked::Child),
        ForkResult::Parent { child } => Ok(Forked::Parent(child.as_raw())),
    }
}

/// Ends the process at once: no exit handler of the server runs a second time.
pub fn exit(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// The signals that the supervisor watches.
pub fn watched() -> SigSet {
    WATCHED.into_iter().collect()
}

/// Takes Kamailio's signal handlers away, which end a process at once, and blocks the signals. Supervisor.
pub fn block_signals() -> nix::Result<()> {
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&watched()), None)?;
    WATCHED.into_iter().try_for_each(|s| handle(s, SigHandler::SigDfl))
}

/// Ignores the signals (the runtime will take SIGTERM) and unblocks what the supervisor blocked. Manager.
pub fn ignore_signals() -> nix::Result<()> {
    for signal in WATCHED {
        // SIGTERM too: the runtime calls the handler that it finds, and Kamailio's would end the process.
        handle(signal, if signal == Signal::SIGCHLD { SigHandler::SigDfl } else { SigHandler::SigIgn })?;
    }
    sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&watched()), None)
}

fn handle(which: Signal, handler: SigHandler) -> nix::Result<()> {
    // SAFETY: default and ignore install no code.
    unsafe { signal(which, handler) }.map(|_| ())
}

/// Asks for SIGTERM when the parent dies. False if it is dead already.
pub fn die_with(parent: Pid) -> bool {
    let asked = prctl::set_pdeathsig(Signal::SIGTERM).is_ok();
    asked && getppid() == parent
}

/// Lets this process run when another one sleeps or its time is over, and not in the middle of its work: without it the
/// manager, woken by a SIP worker's publish, takes that worker's processor away before the worker can go on.
/// Manager, before its threads.
pub fn yield_to_workers() -> nix::Result<()> {
    let no_priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: the structure is complete and only read. 0 is the calling process.
    nix::Error::result(unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &no_priority) }).map(drop)
}

/// Closes every descriptor but standard input and output and those of `keep`: SIP sockets must not stay open in a
/// process that may outlive the server.
pub fn close_descriptors(keep: &[RawFd]) {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> =
        entries.flatten().filter_map(|e| e.file_name().to_str().and_then(|name| name.parse().ok())).collect();
    // Else the next log line would go to whatever gets the number of the socket to the system log.
    // SAFETY: no other thread; the next log line opens the connection again.
    unsafe { libc::closelog() };
    for fd in open.into_iter().filter(|fd| *fd > 2 && !keep.contains(fd)) {
        // SAFETY: a child that was forked for the manager: nobody in it uses these descriptors any more. The one of
        // the directory that was read is closed already, which is no harm.
        unsafe { libc::close(fd) };
    }
}
