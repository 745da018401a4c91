//! The process table, forks, and run-time configuration.

use std::ffi::{CStr, c_int};

/// Rank of `child_init` before any fork: last chance for shared allocations.
pub const PROC_INIT: c_int = kamailio_sys::PROC_INIT;
/// Rank of the main process, which forks the module's own processes in `child_init`.
pub const PROC_MAIN: c_int = kamailio_sys::PROC_MAIN as c_int;
/// Rank of a process that runs script code for a module: every module's `child_init` runs in it.
pub const PROC_XWORKER: c_int = kamailio_sys::PROC_XWORKER as c_int;
/// Rank of a process in which no `child_init` runs.
pub const PROC_NOCHLDINIT: c_int = kamailio_sys::PROC_NOCHLDINIT;

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forked {
    /// The parent, and the child's pid.
    Parent(i32),
    /// The new process.
    Child,
}

/// Kamailio could not fork; it has logged why.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("process \"{0:?}\" could not be forked")]
pub struct ForkFailed(&'static CStr);

/// Reserves slots for processes that will be forked. `mod_init` only.
///
/// `with_config`: of these, how many call [`config_update`] and so take part in run-time configuration.
pub fn register(processes: u32, with_config: u32) -> Result<(), &'static str> {
    let count = |n: u32| c_int::try_from(n).unwrap_or(c_int::MAX);
    // SAFETY: `mod_init` runs in the main process before the tables are sized.
    if unsafe { kamailio_sys::register_procs(count(processes)) } < 0 {
        return Err("Kamailio cannot take more processes");
    }
    // SAFETY: as above.
    unsafe { kamailio_sys::cfg_register_child(count(with_config)) };
    Ok(())
}

/// Number of process slots. Not before `child_init(PROC_INIT)`: Kamailio aborts when asked earlier.
pub fn max_procs() -> usize {
    // SAFETY: reads a number.
    usize::try_from(unsafe { kamailio_sys::get_max_procs() }).unwrap_or(0)
}

/// Number of the calling process in the process table; the main process is 0. One read, no system call.
pub fn process_no() -> usize {
    // SAFETY: a process-private variable of the core, written at the fork only.
    usize::try_from(unsafe { kamailio_sys::process_no }).unwrap_or(0)
}

/// Forks a process that Kamailio knows. `rank` is [`PROC_XWORKER`] or [`PROC_NOCHLDINIT`]; `tcp`: the process sends
/// over TCP, which only the main process may ask for. Kamailio stops the server when such a process ends.
pub fn fork(rank: c_int, title: &'static CStr, tcp: bool) -> Result<Forked, ForkFailed> {
    // SAFETY: called from `child_init` or from a process that Kamailio forked; the title is static.
    match unsafe { kamailio_sys::fork_process(rank, title.as_ptr().cast_mut(), c_int::from(tcp)) } {
        0 => Ok(Forked::Child),
        pid if pid > 0 => Ok(Forked::Parent(pid)),
        _ => Err(ForkFailed(title)),
    }
}

/// Makes a fresh child take part in run-time configuration. First call of a process's main function.
pub fn config_init() -> bool {
    // SAFETY: once, in a fresh child that was counted by `register`.
    unsafe { kamailio_sys::cfg_child_init() == 0 }
}

/// For a child that never calls [`config_update`].
pub fn config_init_without_updates() -> bool {
    // SAFETY: once, in a fresh child.
    unsafe { kamailio_sys::cfg_child_no_cb_init() == 0 }
}

/// Takes over run-time configuration that has changed. At the top of each turn of a process's loop.
pub fn config_update() {
    // SAFETY: only in processes that called `config_init`.
    unsafe { kamailio_sys::kz_cfg_update() }
}

/// Row of process `pid` in the process table.
pub fn slot_of(pid: i32) -> Option<usize> {
    (0..max_procs()).find(|process_no| {
        // SAFETY: the table has `max_procs` rows and lies in shared memory.
        let row = unsafe { kamailio_sys::pt.add(*process_no) };
        // SAFETY: an aligned `int` inside the table.
        unsafe { (*row).pid == pid }
    })
}

/// Enters `pid` into the process table, so that the server's commands show and signal the right process.
pub fn set_slot_pid(process_no: usize, pid: i32) {
    if process_no < max_procs() {
        // SAFETY: the table has `max_procs` rows and lies in shared memory; the number is checked above.
        let row = unsafe { kamailio_sys::pt.add(process_no) };
        // SAFETY: an aligned `int` in a row that belongs to this module; readers take it as it is.
        unsafe { (*row).pid = pid }
    }
}

/// Makes the calling process appear as `process_no`: for a process that was not forked by Kamailio.
pub fn adopt_slot(process_no: usize) {
    if let Ok(number) = c_int::try_from(process_no) {
        // SAFETY: a process-private variable of the core.
        unsafe { kamailio_sys::process_no = number }
    }
}

/// Names the calling process, as `ps` and `top` show it; at most 15 bytes.
pub fn set_title(title: &CStr) {
    // A name that cannot be set is no reason to fail.
    let _ = nix::sys::prctl::set_name(title);
}
