//! The module's functions for KEMI: `KSR.kazoo.…` of Lua, Python, JavaScript and whatever else Kamailio runs.
//!
//! Kamailio reads a table of functions; each gets the message and texts that the script language owns. Results that are
//! no number are a value of this process that the language copies before it goes on.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_int, c_void};

use kamailio_sys::{SR_KEMI_PARAMS_MAX, SR_KEMIP_INT, SR_KEMIP_NULL, SR_KEMIP_STR, SR_KEMIP_XVAL};
use kamailio_sys::{sr_kemi_t, sr_kemi_xval_t, str_};

use super::strings;

/// What a function returns.
#[derive(Clone, Copy, Debug)]
pub enum Returns {
    /// A return code, as in `kamailio.cfg`.
    Code,
    /// A text, or null: see [`value`].
    Value,
}

/// A row of the table: `KSR.kazoo.<name>` with `arity` texts. `function` takes the message and as many `*mut str`.
pub const fn function(name: &'static CStr, arity: usize, returns: Returns, function: *mut c_void) -> sr_kemi_t {
    let mut ptypes = [0; SR_KEMI_PARAMS_MAX as usize];
    let mut i = 0;
    while i < arity {
        ptypes[i] = SR_KEMIP_STR as c_int;
        i += 1;
    }
    let rtype = match returns {
        Returns::Code => SR_KEMIP_INT,
        Returns::Value => SR_KEMIP_XVAL,
    } as c_int;
    sr_kemi_t { mname: strings::constant(c"kazoo"), fname: strings::constant(name), rtype, func: function, ptypes }
}

/// A text that a script passed; a missing one, such as nil, is empty.
///
/// # Safety
///
/// `raw` is null or points to a text that stays as it is for `'a`.
pub unsafe fn text<'a>(raw: *const str_) -> &'a [u8] {
    // SAFETY: the caller's contract.
    unsafe { raw.as_ref().map_or(&[], |raw| strings::bytes(raw)) }
}

/// Hands a text, or null, to the script. The value is good until the next call.
pub fn value(text: Option<&[u8]>) -> *mut sr_kemi_xval_t {
    thread_local! {
        static VALUE: UnsafeCell<sr_kemi_xval_t> = UnsafeCell::default();
    }
    let mut value = sr_kemi_xval_t { vtype: SR_KEMIP_NULL as c_int, ..Default::default() };
    if let Some(text) = text {
        value.vtype = SR_KEMIP_STR as c_int;
        value.v.s = strings::lend(text);
    }
    VALUE.with(|place| {
        // SAFETY: nothing refers to the old value any more: the script language has copied it.
        unsafe { *place.get() = value };
        place.get()
    })
}
