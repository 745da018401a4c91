//! Values of a script function's parameters.

use std::cell::OnceCell;
use std::ffi::{c_char, c_int, c_void};
use std::marker::PhantomData;

use kamailio_sys::str_;
use memchr::memchr;

use super::expand::{ExpandError, expand};
use super::message::SipMsg;
use super::strings;
use crate::config;

/// A parameter "string with variables", prepared by [`fixup_text`] or [`fixup_verbatim`].
#[derive(Clone, Copy, Debug)]
pub struct TextParam<'m> {
    raw: *const Prepared,
    during: PhantomData<&'m ()>,
}

/// What the fixups put in the place of the parameter.
#[derive(Debug)]
enum Prepared {
    /// Written in quotes, prepared by Kamailio when the configuration was loaded.
    Quoted(*mut c_void),
    /// Written without quotes, lives for one call: the text, and what became of the variables in it.
    Unquoted { text: *mut c_void, expanded: OnceCell<Result<Vec<u8>, ExpandError>> },
    /// Written without quotes, lives for one call: the text, in which nothing is expanded.
    Verbatim(*mut c_void),
}

/// Why a parameter has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotEvaluated {
    /// Kamailio has logged why.
    #[error("a parameter cannot be evaluated")]
    Unknown,
    /// Written without quotes, with a `$` in its value that Kamailio cannot follow.
    #[error("an unquoted parameter cannot be expanded: {0}")]
    NotExpanded(#[from] ExpandError),
}

impl<'m> TextParam<'m> {
    /// Wraps a parameter of a script function.
    ///
    /// # Safety
    ///
    /// `raw` was prepared by [`fixup_text`] or [`fixup_verbatim`] and lives for `'m`.
    pub unsafe fn from_raw(raw: *mut c_char) -> Self {
        Self { raw: raw.cast_const().cast(), during: PhantomData }
    }

    /// The text, its variables expanded. Kamailio keeps a handful of such texts at a time, more than a call has.
    pub fn get(self, msg: SipMsg<'m>) -> Result<&'m [u8], NotEvaluated> {
        // SAFETY: prepared by a fixup of this file and alive, by the contract of `from_raw`; nobody changes it.
        match unsafe { &*self.raw } {
            // SAFETY: prepared by Kamailio for this.
            Prepared::Quoted(param) => unsafe { quoted(msg, *param) },
            // SAFETY: the text Kamailio passed to the fixup; it frees it after the call.
            Prepared::Verbatim(text) => Ok(unsafe { strings::c_bytes(text.cast_const().cast()) }),
            Prepared::Unquoted { text, expanded } => {
                // SAFETY: as above.
                let text = unsafe { strings::c_bytes(text.cast_const().cast()) };
                let config = config::get();
                if !config.expand_unquoted_params || memchr(b'$', text).is_none() {
                    return Ok(text);
                }
                let expanded = expanded.get_or_init(|| expand(msg, text, config.max_message_size));
                Ok(expanded.as_deref().map_err(ExpandError::clone)?)
            }
        }
    }
}

/// # Safety
///
/// `param` was prepared by `fixup_spve_null`.
unsafe fn quoted<'m>(msg: SipMsg<'m>, param: *mut c_void) -> Result<&'m [u8], NotEvaluated> {
    let mut text = str_::default();
    // SAFETY: the caller's contract.
    if unsafe { kamailio_sys::get_str_fparam(&mut text, msg.as_ptr(), param.cast()) } < 0 {
        return Err(NotEvaluated::Unknown);
    }
    // SAFETY: on success the text lies in the parameter or in a format buffer, both untouched during this call.
    Ok(unsafe { strings::bytes(&text) })
}

/// Prepares parameter `*param` as a string with variables; Kamailio's own result code. `loading`: the configuration is
/// being loaded, so this is a text in quotes; later it is the value of an unquoted parameter, for one call.
///
/// # Safety
///
/// Called by Kamailio as a fixup: `*param` is a NUL-terminated text.
pub unsafe fn fixup_text(param: *mut *mut c_void, loading: bool) -> c_int {
    let prepared = if loading {
        // SAFETY: the caller's contract. The number only selects the kind, which is the same for all.
        let result = unsafe { kamailio_sys::fixup_spve_null(param, 1) };
        if result < 0 {
            return result;
        }
        // SAFETY: the caller's contract.
        Prepared::Quoted(unsafe { *param })
    } else {
        // SAFETY: the caller's contract.
        Prepared::Unquoted { text: unsafe { *param }, expanded: OnceCell::new() }
    };
    // SAFETY: the caller's contract.
    unsafe { *param = Box::into_raw(Box::new(prepared)).cast() };
    0
}

/// Prepares the value of an unquoted parameter, for one call, as a text in which nothing is expanded.
///
/// # Safety
///
/// Called by Kamailio as a fixup: `*param` is a NUL-terminated text.
pub unsafe fn fixup_verbatim(param: *mut *mut c_void) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { *param = Box::into_raw(Box::new(Prepared::Verbatim(*param))).cast() };
    0
}

/// Undoes [`fixup_text`] and [`fixup_verbatim`]: Kamailio gets back what it had passed.
///
/// # Safety
///
/// Called by Kamailio as a free-fixup of a parameter that one of the two prepared.
pub unsafe fn free_text(param: *mut *mut c_void) -> c_int {
    // SAFETY: `*param` is the box made by the fixup, by the caller's contract.
    match *unsafe { Box::from_raw((*param).cast::<Prepared>()) } {
        Prepared::Quoted(prepared) => {
            // SAFETY: the caller's contract.
            unsafe { *param = prepared };
            // SAFETY: prepared by the counterpart.
            unsafe { kamailio_sys::fixup_free_spve_null(param, 1) }
        }
        Prepared::Unquoted { text, .. } | Prepared::Verbatim(text) => {
            // SAFETY: the caller's contract.
            unsafe { *param = text };
            0
        }
    }
}
