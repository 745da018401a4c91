//! Parsing and running transformations `{class.name,PARAMETER}`.
//!
//! Kamailio hands over the text behind the class and wants the position where the transformation ends; when the
//! script runs, it hands over the value and gets it back changed. What the names do is the caller's business.

use std::ffi::{c_char, c_int, c_void};

use kamailio_sys::{pv_elem_t, pv_spec_t, pv_value_t, str_, tr_param_t, trans_t};

use super::message::SipMsg;
use super::{log, strings};

/// A name inside the class.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// In lower case.
    pub name: &'static str,
    /// Has a parameter.
    pub takes_parameter: bool,
}

/// The value that goes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'v> {
    /// No value.
    Null,
    /// A number without a text form.
    Int(i64),
    /// A text.
    Text(&'v [u8]),
}

/// The value that comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A text.
    Text(Vec<u8>),
    /// A number without a text form.
    Int(i64),
}

/// Called by the core with the text behind `class.`; fills `out` and returns where the transformation ends.
pub type Parser = unsafe extern "C" fn(*mut str_, *mut trans_t) -> *mut c_char;

/// Kamailio's function for a transformation that is run.
pub type Runner = unsafe extern "C" fn(*mut kamailio_sys::sip_msg_t, *mut tr_param_t, c_int, *mut pv_value_t) -> c_int;

/// Body of a [`Parser`]. `out.subtype` becomes the index into `names`; null: not one of them, or a bad parameter.
///
/// # Safety
///
/// Called by Kamailio: `input` is a text that lives as long as the configuration, `out` is writable.
pub unsafe fn parse(input: *const str_, out: *mut trans_t, names: &[Name], run: Runner) -> *mut c_char {
    // SAFETY: the caller's contract.
    let raw = unsafe { *input };
    // SAFETY: the caller's contract.
    let text: &'static [u8] = unsafe { strings::bytes(&raw) };
    let end = text.iter().position(|b| b",}".contains(b)).unwrap_or(text.len());
    let wanted = text[..end].trim_ascii();
    let Some(subtype) = names.iter().position(|n| n.name.as_bytes().eq_ignore_ascii_case(wanted)) else {
        log::error!("unknown transformation {{kz.{}}}", String::from_utf8_lossy(wanted));
        return std::ptr::null_mut();
    };
    let (params, end) = if names[subtype].takes_parameter {
        match parameter(text, end) {
            Some((param, end)) => (param, end),
            None => return std::ptr::null_mut(),
        }
    } else {
        (std::ptr::null_mut(), end)
    };
    if text.get(end) != Some(&b'}') {
        log::error!("transformation {{kz.{}}} has no closing brace", names[subtype].name);
        return std::ptr::null_mut();
    }
    // SAFETY: the caller's contract.
    let out = unsafe { &mut *out };
    out.subtype = subtype as c_int;
    out.trf = Some(run);
    out.params = params;
    text[end..].as_ptr().cast_mut().cast()
}

/// Parses `,PARAMETER` at `comma`; gives the parameter and where it ends.
fn parameter(text: &'static [u8], comma: usize) -> Option<(*mut tr_param_t, usize)> {
    if text.get(comma) != Some(&b',') {
        log::error!("transformation {{kz.json…}} needs a path: {{kz.json,Field}}");
        return None;
    }
    let blanks = text[comma + 1..].iter().take_while(|b| **b == b' ').count();
    let start = comma + 1 + blanks;
    if text.get(start) == Some(&b'$') {
        let (spec, len) = variable(&text[start..])?;
        return Some((new_param(kamailio_sys::_tr_param_type_TR_PARAM_SPEC, spec.cast())?, start + len));
    }
    let len = text[start..].iter().position(|b| b",\t\n}".contains(b)).unwrap_or(text.len() - start);
    let format = format(&text[start..start + len])?;
    Some((new_param(kamailio_sys::_tr_param_type_TR_PARAM_OTHER, format.cast())?, start + len))
}

/// A variable that is the whole parameter, and the length of its name.
fn variable(text: &'static [u8]) -> Option<(*mut pv_spec_t, usize)> {
    let spec: *mut pv_spec_t = pkg_zeroed()?;
    let mut name = strings::view(text);
    // SAFETY: Kamailio reads the text and fills the zeroed structure, which it frees itself later.
    let end = unsafe { kamailio_sys::pv_parse_spec2(&mut name, spec, 0) };
    if end.is_null() {
        log::error!("transformation {{kz.json,$…}}: the path is not a variable");
        // SAFETY: allocated above and not handed to anybody.
        unsafe { kamailio_sys::kz_pkg_free(spec.cast()) };
        return None;
    }
    Some((spec, end as usize - text.as_ptr() as usize))
}

/// A text with variables in it.
fn format(text: &'static [u8]) -> Option<*mut pv_elem_t> {
    let mut elements: *mut pv_elem_t = std::ptr::null_mut();
    let mut text = strings::view(text);
    // SAFETY: the text lives as long as the configuration; Kamailio keeps pointers into it.
    if text.len > 0 && unsafe { kamailio_sys::pv_parse_format(&mut text, &mut elements) } < 0 {
        log::error!("transformation {{kz.json,…}}: bad variable in the path");
        return None;
    }
    Some(elements)
}

fn new_param(kind: u32, data: *mut c_void) -> Option<*mut tr_param_t> {
    let param: *mut tr_param_t = pkg_zeroed()?;
    // SAFETY: fresh memory of this size, zeroed.
    let filled = unsafe { &mut *param };
    filled.type_ = kind as c_int;
    filled.v.data = data;
    Some(param)
}

/// Zeroed memory that Kamailio frees together with the transformation.
fn pkg_zeroed<T>() -> Option<*mut T> {
    // SAFETY: main thread; the size is that of the type.
    let block: *mut T = unsafe { kamailio_sys::kz_pkg_malloc(size_of::<T>()) }.cast();
    if block.is_null() {
        log::error!("out of private memory while parsing a transformation; start the server with more (-M)");
        return None;
    }
    // SAFETY: fresh memory of this size.
    unsafe { block.write_bytes(0, 1) };
    Some(block)
}

/// Body of a [`Runner`]: `transform(subtype, value, parameter)`; `None` is an evaluation error.
///
/// # Safety
///
/// Called by Kamailio with what [`parse`] has filled in.
pub unsafe fn run(
    msg: SipMsg<'_>,
    params: *mut tr_param_t,
    subtype: c_int,
    value: *mut pv_value_t,
    transform: impl FnOnce(usize, Input<'_>, &[u8]) -> Option<Output>,
) -> c_int {
    // SAFETY: the caller's contract.
    let Some(value) = (unsafe { value.as_mut() }) else { return -1 };
    // SAFETY: null or made by `parse`, by the caller's contract.
    let parameter = match unsafe { params.as_ref() } {
        None => Some(&[][..]),
        // SAFETY: as above.
        Some(param) => unsafe { evaluate(msg, param) },
    };
    // SAFETY: a text in the value stays readable until it is replaced below.
    let input = unsafe { input(value) };
    let output = parameter.and_then(|parameter| transform(usize::try_from(subtype).ok()?, input, parameter));
    match output {
        None => -1,
        Some(output) => {
            *value = output.into_value();
            0
        }
    }
}

/// Text of the parameter; `None` when it cannot be found out.
///
/// # Safety
///
/// `param` was made by [`parse`].
unsafe fn evaluate<'p>(msg: SipMsg<'_>, param: &tr_param_t) -> Option<&'p [u8]> {
    // SAFETY: `new_param` set this member of the union.
    let data = unsafe { param.v.data };
    if param.type_ == kamailio_sys::_tr_param_type_TR_PARAM_SPEC as c_int {
        let mut value = pv_value_t::default();
        // SAFETY: a specification filled by `variable`, a live message.
        let result = unsafe { kamailio_sys::pv_get_spec_value(msg.as_ptr(), data.cast(), &mut value) };
        let is_text = result == 0 && value.flags & kamailio_sys::PV_VAL_STR as c_int != 0;
        // SAFETY: Kamailio keeps a value's text for the expression that asked.
        return is_text.then(|| unsafe { strings::bytes(&value.rs) }).filter(|text| !text.is_empty());
    }
    if data.is_null() {
        return Some(&[]);
    }
    let mut text = str_::default();
    // SAFETY: elements made by `format`, a live message.
    let result = unsafe { kamailio_sys::pv_printf_s(msg.as_ptr(), data.cast(), &mut text) };
    // SAFETY: the text lies in one of Kamailio's format buffers, which stay for the expression.
    (result == 0).then(|| unsafe { strings::bytes(&text) })
}

/// # Safety
///
/// A text in `value` stays readable for `'v`.
unsafe fn input<'v>(value: &pv_value_t) -> Input<'v> {
    let has = |flag: u32| value.flags & flag as c_int != 0;
    if has(kamailio_sys::PV_VAL_NULL) {
        Input::Null
    } else if has(kamailio_sys::PV_VAL_STR) {
        // SAFETY: the caller's contract.
        Input::Text(unsafe { strings::bytes(&value.rs) })
    } else {
        Input::Int(i64::from(value.ri))
    }
}

impl Output {
    fn into_value(self) -> pv_value_t {
        match self {
            Self::Text(text) => {
                let rs = strings::lend(&text);
                pv_value_t { rs, flags: kamailio_sys::PV_VAL_STR as c_int, ..pv_value_t::default() }
            }
            Self::Int(number) => {
                let flags = (kamailio_sys::PV_VAL_INT | kamailio_sys::PV_TYPE_INT) as c_int;
                let ri = kamailio_sys::PvInt::try_from(number).unwrap_or(kamailio_sys::PvInt::MAX);
                pv_value_t { ri, flags, ..pv_value_t::default() }
            }
        }
    }
}
