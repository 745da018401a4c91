//! Values of a script function's parameters.

use std::ffi::{c_char, c_int, c_void};
use std::marker::PhantomData;

use kamailio_sys::{fparam_t, str_};

use super::message::SipMsg;
use super::strings;

/// A parameter "string with variables", prepared by [`fixup_text`] or [`fixup_verbatim`].
#[derive(Clone, Copy, Debug)]
pub struct TextParam<'m> {
    raw: *mut fparam_t,
    during: PhantomData<&'m ()>,
}

/// The value could not be found out; Kamailio has logged why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a parameter cannot be evaluated")]
pub struct NotEvaluated;

impl<'m> TextParam<'m> {
    /// Wraps a parameter of a script function.
    ///
    /// # Safety
    ///
    /// `raw` was prepared by [`fixup_text`] or [`fixup_verbatim`] and lives for `'m`.
    pub unsafe fn from_raw(raw: *mut c_char) -> Self {
        Self { raw: raw.cast(), during: PhantomData }
    }

    /// The text, its variables expanded. Kamailio keeps a handful of such texts at a time, more than a call has.
    pub fn get(self, msg: SipMsg<'m>) -> Result<&'m [u8], NotEvaluated> {
        let mut text = str_::default();
        // SAFETY: the parameter was prepared for this function, by the contract of `from_raw`.
        let result = unsafe { kamailio_sys::get_str_fparam(&mut text, msg.as_ptr(), self.raw) };
        if result < 0 {
            return Err(NotEvaluated);
        }
        // SAFETY: on success the text lies in the parameter or in a format buffer, both untouched during this call.
        Ok(unsafe { strings::bytes(&text) })
    }
}

/// Prepares parameter `*param` as a string with variables; Kamailio's own result code.
///
/// # Safety
///
/// Called by Kamailio as a fixup.
pub unsafe fn fixup_text(param: *mut *mut c_void) -> c_int {
    // SAFETY: the caller's contract. The number only selects the kind, which is the same for all.
    unsafe { kamailio_sys::fixup_spve_null(param, 1) }
}

/// Prepares parameter `*param` as a text in which nothing is expanded; Kamailio's own result code.
///
/// # Safety
///
/// Called by Kamailio as a fixup.
pub unsafe fn fixup_verbatim(param: *mut *mut c_void) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { kamailio_sys::fix_param(kamailio_sys::FPARAM_STR as c_int, param) }
}

/// Undoes [`fixup_text`] and [`fixup_verbatim`].
///
/// # Safety
///
/// Called by Kamailio as a free-fixup of a parameter that one of the two prepared.
pub unsafe fn free_text(param: *mut *mut c_void) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { kamailio_sys::fixup_free_spve_null(param, 1) }
}
