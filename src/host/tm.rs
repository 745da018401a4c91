//! The transaction module `tm`, as far as asynchronous queries need it: suspend here, resume in another process.
//!
//! Bound when the configuration turns out to use it: until then no other module's presence is required. The main
//! process binds, the others inherit.

use std::ffi::{c_int, c_uint};
use std::ptr::NonNull;
use std::sync::OnceLock;

use kamailio_sys::{action, cell, sip_msg, str_, tm_api_t};

use super::message::SipMsg;
use super::route;
use super::strings;
use crate::bus::suspended::{Continuation, Transaction};

/// The functions in use; the server keeps the module that holds them for its whole life.
#[derive(Clone, Copy)]
struct Tm {
    get: unsafe extern "C" fn() -> *mut cell,
    new: unsafe extern "C" fn(*mut sip_msg) -> c_int,
    suspend: unsafe extern "C" fn(*mut sip_msg, *mut c_uint, *mut c_uint) -> c_int,
    cancel_suspend: unsafe extern "C" fn(c_uint, c_uint) -> c_int,
    resume: unsafe extern "C" fn(c_uint, c_uint, *mut action) -> c_int,
    resume_function: unsafe extern "C" fn(c_uint, c_uint, *mut str_, *mut str_) -> c_int,
}

static TM: OnceLock<Tm> = OnceLock::new();

/// `tm` cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoTm {
    /// It is not in the configuration.
    #[error("the module tm is not loaded")]
    NotLoaded,
    /// It is, but gave no interface; Kamailio has logged why.
    #[error("the module tm gave no interface")]
    Refused,
}

/// Why a transaction was not suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSuspended {
    /// [`bind`] was not called or failed.
    #[error("the module tm is not loaded")]
    NoTm,
    /// The request was sent again by its sender, and has a transaction. `tm` has repeated its last reply.
    #[error("the request is a retransmission")]
    Retransmission,
    /// What is being processed cannot have one, such as an ACK, or `tm` is out of memory.
    #[error("no transaction could be made for this message (code {0})")]
    NoTransaction(i32),
    /// There is one, but it has been cancelled or answered.
    #[error("the transaction cannot be suspended (code {0}); it was cancelled or answered before")]
    Ended(i32),
}

/// The transaction has ended before it could be resumed: CANCEL, or its own timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the transaction has ended already (code {0})")]
pub struct Gone(i32);

/// Binds to `tm`. Main process, after every module was initialised: the order of `loadmodule` does not matter.
pub fn bind() -> Result<(), NoTm> {
    if TM.get().is_some() {
        return Ok(());
    }
    // SAFETY: looks up a name among the loaded modules; the name is read during the call only.
    let found = unsafe { kamailio_sys::find_export(c"load_tm".as_ptr().cast_mut(), kamailio_sys::NO_SCRIPT, 0) };
    if found.is_none() {
        return Err(NoTm::NotLoaded);
    }
    let mut api = tm_api_t::default();
    // SAFETY: fills the structure, which is writable and of this release's layout.
    if unsafe { kamailio_sys::tm_load_api(&mut api) } < 0 {
        return Err(NoTm::Refused);
    }
    let tm = functions(&api).ok_or(NoTm::Refused)?;
    TM.get_or_init(|| tm);
    Ok(())
}

fn functions(api: &tm_api_t) -> Option<Tm> {
    Some(Tm {
        get: api.t_gett?,
        new: api.t_newtran?,
        suspend: api.t_suspend?,
        cancel_suspend: api.t_cancel_suspend?,
        resume: api.t_continue?,
        resume_function: api.t_continue_cb?,
    })
}

/// Suspends the transaction of the message being processed; makes one if there is none. The sender gets a `100`.
pub fn suspend(msg: SipMsg<'_>) -> Result<Transaction, NotSuspended> {
    let tm = TM.get().ok_or(NotSuspended::NoTm)?;
    if !tm.has_transaction() {
        // SAFETY: the message being processed, in the process's main thread.
        match unsafe { (tm.new)(msg.as_ptr()) } {
            0 => return Err(NotSuspended::Retransmission),
            code if code < 0 || !tm.has_transaction() => return Err(NotSuspended::NoTransaction(code)),
            _ => {}
        }
    }
    let (mut hash_index, mut label) = (0, 0);
    // SAFETY: as above, with two writable numbers.
    match unsafe { (tm.suspend)(msg.as_ptr(), &mut hash_index, &mut label) } {
        0 => Ok(Transaction { hash_index, label }),
        code => Err(NotSuspended::Ended(code)),
    }
}

/// Takes back a suspension that this process has just made: nobody will resume it. False if `tm` refuses.
pub fn cancel_suspend(transaction: Transaction) -> bool {
    // SAFETY: two numbers; `tm` finds out whether they are the transaction at hand.
    TM.get().is_some_and(|tm| unsafe { (tm.cancel_suspend)(transaction.hash_index, transaction.label) } >= 0)
}

/// Runs the continuation on the suspended transaction, in this process. Returns when the script has ended.
pub fn resume(transaction: Transaction, continuation: &Continuation) -> Result<(), Gone> {
    let tm = TM.get().ok_or(Gone(0))?;
    let Transaction { hash_index, label } = transaction;
    let code = match continuation {
        Continuation::Route { table, index } => {
            let actions = route::actions(*table, *index);
            // SAFETY: numbers that `tm` looks up itself, and a complete action list (null: `tm` says so and answers
            // the request with 500).
            unsafe { (tm.resume)(hash_index, label, actions) }
        }
        Continuation::Function(name) => {
            let (mut name, mut none) = (strings::lend(name.as_bytes()), strings::lend(b""));
            // SAFETY: as above; the texts are NUL-terminated and outlive the call.
            unsafe { (tm.resume_function)(hash_index, label, &mut name, &mut none) }
        }
    };
    if code < 0 { Err(Gone(code)) } else { Ok(()) }
}

impl Tm {
    /// Whether the message being processed has a transaction; not looked for yet counts as none.
    fn has_transaction(&self) -> bool {
        // SAFETY: reads a variable of the process.
        let cell = NonNull::new(unsafe { (self.get)() });
        // tm marks "not looked for yet" with an address that no transaction has.
        cell.is_some_and(|cell| cell.addr().get() != usize::MAX)
    }
}
