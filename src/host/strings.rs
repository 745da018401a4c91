//! Kamailio's `str` as bytes, and texts handed to Kamailio that outlive the call.

use std::cell::RefCell;
use std::ffi::{CStr, c_char};

use kamailio_sys::str_;

/// How many results of [`lend`] live at the same time; more than any expression of a script uses.
const LENT: usize = 64;
/// A result buffer that grew beyond this is given back when its turn comes again.
const KEEP_BYTES: usize = 64 * 1024;

/// Borrows a Kamailio `str` for `'a`; null or negative length becomes empty.
///
/// # Safety
///
/// If `raw.s` is non-null, `raw.len` bytes from it stay readable and unchanged for `'a`.
pub unsafe fn bytes<'a>(raw: &str_) -> &'a [u8] {
    match usize::try_from(raw.len) {
        // SAFETY: non-null and non-negative were checked, the rest is the caller's contract.
        Ok(len) if !raw.s.is_null() => unsafe { std::slice::from_raw_parts(raw.s.cast(), len) },
        _ => &[],
    }
}

/// A `str` of a constant.
pub const fn constant(text: &'static CStr) -> str_ {
    str_ { s: text.as_ptr().cast_mut(), len: text.count_bytes() as i32 }
}

/// A `str` of `text`, for a callee that reads it before the borrow ends. Longer than 2 GiB becomes empty.
pub fn view(text: &[u8]) -> str_ {
    str_ { s: text.as_ptr().cast_mut().cast(), len: i32::try_from(text.len()).unwrap_or(0) }
}

/// Copies `text` into one of 64 buffers of this process, NUL-terminated. Kamailio may use the result until as many
/// more were lent: long enough for the values of one expression.
pub fn lend(text: &[u8]) -> str_ {
    thread_local! {
        static BUFFERS: RefCell<(usize, Vec<Vec<u8>>)> = RefCell::new((0, vec![Vec::new(); LENT]));
    }
    BUFFERS.with_borrow_mut(|(next, buffers)| {
        *next = (*next + 1) % LENT;
        let buffer = &mut buffers[*next];
        if buffer.capacity() > KEEP_BYTES {
            *buffer = Vec::new();
        }
        buffer.clear();
        buffer.reserve_exact(text.len() + 1);
        buffer.extend_from_slice(text);
        buffer.push(0);
        str_ { s: buffer.as_mut_ptr().cast(), len: i32::try_from(text.len()).unwrap_or(0) }
    })
}

/// Borrows a C string for `'a`; null becomes empty.
///
/// # Safety
///
/// `text`, unless null, is NUL-terminated and stays readable and unchanged for `'a`.
pub unsafe fn c_bytes<'a>(text: *const c_char) -> &'a [u8] {
    if text.is_null() {
        return &[];
    }
    // SAFETY: non-null was checked, the rest is the caller's contract.
    unsafe { CStr::from_ptr(text) }.to_bytes()
}
