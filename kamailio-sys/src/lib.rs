//! Bindings to the Kamailio that is installed here: raw declarations and the shim, no policy.
//!
//! `build.rs` translates the headers that `headers.sh` has put into place. Names are Kamailio's own (`sip_msg_t`,
//! `pv_get_strval`); the C type `str` is [`str_`]. Function-like macros have no binding: those the module needs are
//! functions of the shim, named `kz_*` (`c/shim.h`). `static inline` functions are callable like any other.
//!
//! Linking a program (not a module) against this crate works as long as it calls none of it: the functions live in
//! the server that loads the module.
#![no_std]

use core::ffi::{c_char, c_uint};

/// Set in a modparam's type when its value goes to a setter function. A macro in C, with `sizeof` in it.
pub const PARAM_USE_FUNC: c_uint = 1 << 31;

/// A NUL-terminated C string in a static: what Kamailio's loader expects behind `module_version`.
///
/// C symbols linked into a module are hidden, so the module exports its own static of this type:
///
/// ```
/// # #![allow(non_upper_case_globals)]
/// use kamailio_sys::{CStrPtr, kz_module_version};
///
/// #[unsafe(no_mangle)]
/// static module_version: CStrPtr = CStrPtr::new(&raw const kz_module_version);
/// ```
#[repr(transparent)]
pub struct CStrPtr(*const c_char);

impl CStrPtr {
    /// `array` is one of the shim's constant strings, e.g. [`kz_module_version`].
    pub const fn new<T>(array: *const T) -> Self {
        Self(array.cast())
    }
}

// SAFETY: the pointer leads to a C constant, which nothing ever writes.
unsafe impl Sync for CStrPtr {}

/// The integer in a [`pv_value_t`]: an `int` up to 5.6, a `long` since 5.7.
#[cfg(not(kam_pv_long))]
pub type PvInt = core::ffi::c_int;

/// The integer in a [`pv_value_t`]: an `int` up to 5.6, a `long` since 5.7.
#[cfg(kam_pv_long)]
pub type PvInt = core::ffi::c_long;

#[expect(missing_docs, reason = "generated from Kamailio's headers")]
mod bindings {
    #![allow(
        non_camel_case_types,
        non_snake_case,
        non_upper_case_globals,
        unsafe_op_in_unsafe_fn,
        unnecessary_transmutes,
        improper_ctypes,
        clippy::all,
        clippy::undocumented_unsafe_blocks,
        clippy::missing_safety_doc,
        rustdoc::all
    )]
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

pub use bindings::*;
