//! The second expansion: a text that came about while the script ran may name variables itself.
//!
//! `$var(p) = '{"From":"$fu"}'; kazoo_publish("e", "k", $var(p));` publishes the caller's URI: scripts written for the
//! C module build payloads this way. Kamailio's own expansion keeps every name it ever saw, and this text may come
//! from a SIP message, so the work is done here and bounded:
//!
//! * a name without parentheses (`$fu`) is looked up each time and leaves nothing behind;
//! * a name that the script itself contains is taken from Kamailio's cache of names;
//! * any other name is learnt, which takes private memory for good, until `LEARNT_BYTES` are used up. Later ones are
//!   refused; everything known by then goes on.
//!
//! Unlike Kamailio's, the result is not bound to `pv_buffer_size`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_int;

use kamailio_sys::{pv_spec_t, pv_value_t};
use memchr::memchr;

use super::message::SipMsg;
use super::strings;

/// Text of learnt names that a process keeps: some hundred names, and one MB of private memory at the very worst.
const LEARNT_BYTES: usize = 32 * 1024;
/// What each name counts for besides its text.
const NAME_BYTES: usize = 16;
/// Most bytes of a name in an error.
const SHOWN_BYTES: usize = 64;

/// Why a text cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpandError {
    /// A `$` that starts no variable.
    #[error("\"{0}\" is not a variable; set expand_unquoted_params to 0 if this text shall stay as it is")]
    NotAVariable(String),
    /// No room for another name.
    #[error("\"{0}\" is a new name and this process has learnt too many; use the variable elsewhere in the script")]
    TooMany(String),
    /// Longer than any message can be.
    #[error("the expanded text is longer than {0} bytes (amqp_max_message_size)")]
    TooLong(usize),
}

/// Expands the variables in `text`. A null prints as `<null>`, what cannot be evaluated as nothing.
pub fn expand(msg: SipMsg<'_>, text: &[u8], limit: usize) -> Result<Vec<u8>, ExpandError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr(b'$', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let len = reference_len(rest).ok_or_else(|| not_a_variable(rest))?;
        let (name, behind) = rest.split_at(len);
        with_spec(name, |spec| print(msg, spec, &mut out))?;
        if out.len() > limit {
            return Err(ExpandError::TooLong(limit));
        }
        rest = behind;
    }
    out.extend_from_slice(rest);
    Ok(out)
}

fn not_a_variable(text: &[u8]) -> ExpandError {
    ExpandError::NotAVariable(shown(text))
}

fn shown(text: &[u8]) -> String {
    text[..text.len().min(SHOWN_BYTES)].escape_ascii().to_string()
}

/// Length of the reference at the start of `text`: `$$`, `$name`, `$name(inner)` or `$(name…)`.
fn reference_len(text: &[u8]) -> Option<usize> {
    match text.get(1)? {
        b'$' => Some(2),
        b'(' => closing(text, 1),
        _ => {
            let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'?');
            let end = text.iter().skip(1).position(|b| !is_name(b)).map_or(text.len(), |at| at + 1);
            if text.get(end) == Some(&b'(') { closing(text, end) } else { Some(end) }
        }
    }
}

/// Position behind the parenthesis that closes the one at `open`.
fn closing(text: &[u8], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let end = text[open..].iter().position(|byte| {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        depth == 0
    })?;
    Some(open + end + 1)
}

/// Appends the value as Kamailio prints it inside a string.
fn print(msg: SipMsg<'_>, spec: &mut pv_spec_t, out: &mut Vec<u8>) {
    let mut value = pv_value_t::default();
    // SAFETY: a specification that Kamailio has filled, a live message.
    if unsafe { kamailio_sys::pv_get_spec_value(msg.as_ptr(), spec, &mut value) } != 0 {
        return;
    }
    if value.flags & kamailio_sys::PV_VAL_NULL as c_int != 0 {
        out.extend_from_slice(b"<null>");
    } else {
        // SAFETY: Kamailio keeps a value's text for the expression that asked; without a text it is empty.
        out.extend_from_slice(unsafe { strings::bytes(&value.rs) });
    }
}

/// Runs `body` with the specification of the variable that is written `name`; what it refers to stays.
pub fn with_spec<R>(name: &[u8], body: impl FnOnce(&mut pv_spec_t) -> R) -> Result<R, ExpandError> {
    if memchr(b'(', name).is_none() {
        let mut spec = parse(name).ok_or_else(|| not_a_variable(name))?;
        return Ok(body(&mut spec));
    }
    if let Some(spec) = cached(name) {
        // SAFETY: an entry of Kamailio's cache, which only grows, or drops names that are not in use.
        return Ok(body(unsafe { &mut *spec }));
    }
    let spec = LEARNT.with_borrow_mut(|learnt| learnt.get(name).map(|spec| &raw mut *spec))?;
    // SAFETY: boxed, never dropped, and used by this process's main thread only.
    Ok(body(unsafe { &mut *spec }))
}

/// Parses `name`; `None` if it names no variable. Silent: the caller reports.
fn parse(name: &[u8]) -> Option<pv_spec_t> {
    let mut spec = pv_spec_t::default();
    let mut raw = strings::view(name);
    // SAFETY: Kamailio reads the name and fills the zeroed structure.
    let end = unsafe { kamailio_sys::pv_parse_spec2(&mut raw, &mut spec, 1) };
    (end.cast_const().cast() == name.as_ptr_range().end).then_some(spec)
}

/// The entry for `name` in Kamailio's cache of names, which holds those that the configuration contains.
fn cached(name: &[u8]) -> Option<*mut pv_spec_t> {
    let len = c_int::try_from(name.len()).ok()?;
    // SAFETY: reads the name only.
    let hash = unsafe { kamailio_sys::get_hash1_raw(name.as_ptr().cast(), len) };
    // SAFETY: no precondition; null until the cache exists.
    let table = unsafe { kamailio_sys::pv_cache_get_table() };
    if table.is_null() {
        return None;
    }
    // SAFETY: the table has this many slots.
    let mut entry = unsafe { *table.add((hash % kamailio_sys::PV_CACHE_SIZE) as usize) };
    // SAFETY: a slot is null or the head of a list of entries, each with its own text.
    while let Some(found) = unsafe { entry.as_mut() } {
        // SAFETY: as above.
        if found.pvid == hash && unsafe { strings::bytes(&found.pvname) } == name {
            return Some(&raw mut found.spec);
        }
        entry = found.next;
    }
    None
}

thread_local! {
    static LEARNT: RefCell<Learnt> = RefCell::new(Learnt::default());
}

/// Names that the configuration does not contain, and what Kamailio made of them. Never forgotten: Kamailio cannot give
/// back all that such a name takes.
#[derive(Default)]
struct Learnt {
    /// `None` for names of no variable. A specification points into its name, so both stay where they are.
    specs: HashMap<Box<[u8]>, Option<Box<pv_spec_t>>>,
    bytes: usize,
}

impl Learnt {
    fn get(&mut self, name: &[u8]) -> Result<&mut pv_spec_t, ExpandError> {
        if !self.specs.contains_key(name) {
            self.learn(name)?;
        }
        self.specs.get_mut(name).and_then(|spec| spec.as_deref_mut()).ok_or_else(|| not_a_variable(name))
    }

    fn learn(&mut self, name: &[u8]) -> Result<(), ExpandError> {
        let bytes = self.bytes + name.len() + NAME_BYTES;
        if bytes > LEARNT_BYTES {
            return Err(ExpandError::TooMany(shown(name)));
        }
        self.bytes = bytes;
        let name: Box<[u8]> = name.into();
        let spec = parse(&name).map(Box::new);
        self.specs.insert(name, spec);
        Ok(())
    }
}
