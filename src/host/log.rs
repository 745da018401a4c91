//! Lines for the server's log.
//!
//! `log::error!("…")`, `warn!`, `notice!`, `info!`, `debug!` test the level first and format only when the line will
//! be written; Kamailio puts module, file and line before it. ERR: an operator must act; WARN: degraded and healing;
//! NOTICE, INFO: a state changed; DBG: per message. What can storm goes through
//! `throttled_error!`, `throttled_notice!`.
//!
//! One thread of a process only, the main one but in the manager: Kamailio's log calls keep unguarded state.

use std::ffi::{CStr, c_int};
use std::fmt::Arguments;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Level {
    /// An operator must act.
    Error = kamailio_sys::L_ERR,
    /// Degraded, and healing by itself.
    Warn = kamailio_sys::L_WARN as i32,
    /// A state changed, and an operator wants to know.
    Notice = kamailio_sys::L_NOTICE as i32,
    /// A state changed.
    Info = kamailio_sys::L_INFO as i32,
    /// Details of single messages.
    Debug = kamailio_sys::L_DBG as i32,
}

/// Place in the source, as it stands before the text of a line.
#[derive(Clone, Copy, Debug)]
pub struct Place(&'static CStr);

impl Place {
    /// `text`: `"kazoo [file:line]: "` and a NUL. Used by the macros, at compile time.
    pub const fn new(text: &'static str) -> Self {
        match CStr::from_bytes_with_nul(text.as_bytes()) {
            Ok(text) => Self(text),
            Err(_) => Self(c"kazoo: "),
        }
    }
}

/// Whether a line of `level` would be written.
pub fn enabled(level: Level) -> bool {
    // SAFETY: only reads the process's log level; one thread by this file's contract.
    unsafe { kamailio_sys::kz_log_enabled(level as c_int) != 0 }
}

/// Writes one line. The macros are the usual way.
pub fn write(level: Level, place: Place, text: Arguments<'_>) {
    let formatted;
    let text = match text.as_str() {
        Some(text) => text,
        None => {
            formatted = text.to_string();
            &formatted
        }
    };
    let len = c_int::try_from(text.len()).unwrap_or(c_int::MAX);
    // SAFETY: the place is NUL-terminated and static, the text is passed with its length and only read during the
    // call; one thread by this file's contract.
    unsafe { kamailio_sys::kz_log(level as c_int, place.0.as_ptr(), std::ptr::null(), text.as_ptr().cast(), len) }
}

macro_rules! log_line {
    ($level:ident, $($text:tt)+) => {
        if $crate::host::log::enabled($crate::host::log::Level::$level) {
            const PLACE: $crate::host::log::Place =
                $crate::host::log::Place::new(concat!("kazoo [", file!(), ":", line!(), "]: \0"));
            $crate::host::log::write($crate::host::log::Level::$level, PLACE, format_args!($($text)+))
        }
    };
}
macro_rules! error { ($($text:tt)+) => { $crate::host::log::log_line!(Error, $($text)+) } }
#[allow(unused_macros, reason = "one macro per level, used or not")]
macro_rules! warn_line { ($($text:tt)+) => { $crate::host::log::log_line!(Warn, $($text)+) } }
macro_rules! notice { ($($text:tt)+) => { $crate::host::log::log_line!(Notice, $($text)+) } }
macro_rules! info { ($($text:tt)+) => { $crate::host::log::log_line!(Info, $($text)+) } }
#[allow(unused_macros, reason = "one macro per level, used or not")]
macro_rules! debug { ($($text:tt)+) => { $crate::host::log::log_line!(Debug, $($text)+) } }
/// One line a second; says how many were left out before it.
macro_rules! throttled {
    ($level:ident, $($text:tt)+) => {{
        static THROTTLE: $crate::throttle::Throttle = $crate::throttle::Throttle::new();
        if let Some(held_back) = THROTTLE.pass() {
            $crate::host::log::log_line!($level, "{}{held_back}", format_args!($($text)+))
        }
    }};
}
macro_rules! throttled_error { ($($text:tt)+) => { $crate::host::log::throttled!(Error, $($text)+) } }
macro_rules! throttled_notice { ($($text:tt)+) => { $crate::host::log::throttled!(Notice, $($text)+) } }
#[allow(unused_imports, reason = "one macro per level, used or not")]
pub(crate) use {
    debug, error, info, log_line, notice, throttled, throttled_error, throttled_notice, warn_line as warn,
};

/// For parts that must not know Kamailio and are handed a function to log with.
pub fn sink(level: Level, text: Arguments<'_>) {
    if enabled(level) {
        write(level, Place(c"kazoo: "), text);
    }
}
