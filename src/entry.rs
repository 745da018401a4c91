//! Everything that Kamailio calls: thin functions that guard, convert, call, and convert back.
//!
//! No decision is taken here. The tables at the end are what the loader reads; `lib.rs` lists what they hold.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use kamailio_sys::{
    CStrPtr, PARAM_INT, PARAM_STRING, PARAM_USE_FUNC, cmd_export_t, cmd_function, fixup_function, modparam_t,
    module_exports_t, param_export_t, pv_export_t, pv_param_t, pv_value_t, sip_msg_t, sr_kemi_t, sr_kemi_xval_t, str_,
    tr_export_t, tr_param_t, trans_t,
};

use crate::config::{self, Value};
use crate::engine;
use crate::host::guard::{self, entry};
use crate::host::kemi::{self, Returns};
use crate::host::message::SipMsg;
use crate::host::params::{self, TextParam};
use crate::host::vars::{self, Accepts, TargetParam};
use crate::host::{log, slots, strings, transformation};
use crate::script::async_query::AsyncQuery;
use crate::script::presence::Function;
use crate::script::{self, Verdict};

/// Kamailio is loading the configuration: a wrong parameter is refused instead of logged.
static LOADING: AtomicBool = AtomicBool::new(true);

// Life of the module.

/// # Safety
///
/// Called by Kamailio when the module has been loaded, before the configuration is read any further.
#[unsafe(no_mangle)]
unsafe extern "C" fn mod_register(path: *mut c_char, _: *mut c_int, _: *mut c_void, _: *mut c_void) -> c_int {
    entry("mod_register", -1, || {
        // SAFETY: the table ends with a zeroed row and is static.
        let transformations = unsafe { kamailio_sys::register_trans_mod(path, TRANSFORMATIONS.first()) };
        // SAFETY: as above.
        transformations.min(unsafe { kamailio_sys::sr_kemi_modules_add(KEMI.first()) })
    })
}

unsafe extern "C" fn mod_init() -> c_int {
    entry("mod_init", -1, || {
        guard::log_panics();
        started(engine::mod_init())
    })
}

unsafe extern "C" fn child_init(rank: c_int) -> c_int {
    LOADING.store(false, Relaxed);
    entry("child_init", -1, || started(engine::child_init(rank)))
}

unsafe extern "C" fn destroy() {
    entry("destroy", (), engine::destroy);
}

/// Kamailio's code for a step of the start; an error stops the start.
fn started<E: std::fmt::Display>(result: Result<(), E>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => {
            log::error!("cannot start: {error}");
            -1
        }
    }
}

// Modparams.

/// Sets `PARAMS[INDEX]`. Called while the configuration is read.
unsafe extern "C" fn set_param<const INDEX: usize>(kind: modparam_t, value: *mut c_void) -> c_int {
    entry("modparam", -1, || {
        let value = if kind & PARAM_INT != 0 {
            // Kamailio passes the number itself in the place of the pointer.
            Ok(Value::Int(value as c_int as i64))
        } else {
            // SAFETY: with this type Kamailio passes a NUL-terminated text.
            let text = unsafe { strings::c_bytes(value.cast()) };
            std::str::from_utf8(text).map(Value::Text).map_err(|_| "not valid UTF-8".to_owned())
        };
        match value.and_then(|value| config::set(INDEX, value).map_err(|e| e.to_string())) {
            Ok(()) => 0,
            Err(error) => {
                let name = config::PARAMS.get(INDEX).map_or("?", config::Param::name);
                log::error!("modparam(\"kazoo\", \"{name}\", ...): {error}");
                -1
            }
        }
    })
}

// Script functions.

/// Runs a script function. A panic counts as [`Verdict::Failed`].
///
/// # Safety
///
/// `msg` is the message that Kamailio called the function with.
unsafe fn call<'m>(name: &'static str, msg: *mut sip_msg_t, body: impl FnOnce(SipMsg<'m>) -> Verdict) -> c_int {
    // SAFETY: the caller's contract.
    let msg = unsafe { SipMsg::from_raw(msg) };
    entry(name, Verdict::Failed, || body(msg)).code()
}

/// # Safety
///
/// The parameter was prepared by [`fixup_texts`] or, at another position, by [`fixup_with_target`].
unsafe fn text<'m>(raw: *mut c_char) -> TextParam<'m> {
    // SAFETY: the caller's contract.
    unsafe { TextParam::from_raw(raw) }
}

/// # Safety
///
/// The parameter was prepared by [`fixup_with_target`].
unsafe fn target<'m>(raw: *mut c_char) -> TargetParam<'m> {
    // SAFETY: the caller's contract.
    unsafe { TargetParam::from_raw(raw) }
}

/// One `extern "C"` function per arity: message, then as many parameters as the script wrote.
macro_rules! script_function {
    ($function:ident($($param:ident),+) as $script_name:literal = |$msg:ident| $body:expr) => {
        unsafe extern "C" fn $function(msg: *mut sip_msg_t, $($param: *mut c_char),+) -> c_int {
            // SAFETY: Kamailio calls with a live message and with parameters that passed the fixup named in the table.
            unsafe { call($script_name, msg, |$msg| $body) }
        }
    };
}

script_function!(publish_3(exchange, key, body) as "kazoo_publish" =
    |msg| script::publish::publish(msg, text(exchange), text(key), text(body), None));
script_function!(publish_4(exchange, key, body, headers) as "kazoo_publish" =
    |msg| script::publish::publish(msg, text(exchange), text(key), text(body), Some(text(headers))));
script_function!(query_3(exchange, key, body) as "kazoo_query" =
    |msg| script::query::query(msg, text(exchange), text(key), text(body), None, None));
script_function!(query_4(exchange, key, body, result) as "kazoo_query" =
    |msg| script::query::query(msg, text(exchange), text(key), text(body), Some(target(result)), None));
script_function!(query_5(exchange, key, body, result, headers) as "kazoo_query" =
    |msg| script::query::query(msg, text(exchange), text(key), text(body), Some(target(result)), Some(text(headers))));
script_function!(async_query_5(exchange, key, body, ok_route, err_route) as "kazoo_async_query" = |msg| {
    script::async_query::async_query(msg, text(exchange), text(key), text(body), text(ok_route), text(err_route))
});
script_function!(async_query_6(exchange, key, body, ok_route, err_route, _flags) as "kazoo_async_query" = |msg| {
    script::async_query::async_query(msg, text(exchange), text(key), text(body), text(ok_route), text(err_route))
});
script_function!(subscribe_1(json, _second) as "kazoo_subscribe" =
    |msg| script::subscribe::by_json(msg, text(json)));
script_function!(subscribe_4(exchange, kind, queue, key) as "kazoo_subscribe" =
    |msg| script::subscribe::by_names(msg, text(exchange), text(kind), text(queue), text(key)));
script_function!(encode_2(input, result) as "kazoo_encode" =
    |msg| script::encode::encode(msg, text(input), target(result)));
script_function!(json_3(json, path, result) as "kazoo_json" =
    |msg| script::json::json(msg, text(json), text(path), target(result)));
script_function!(json_keys_3(json, path, result) as "kazoo_json_keys" =
    |msg| script::json_keys::json_keys(msg, text(json), text(path), target(result)));
script_function!(pua_publish(json, _second) as "kazoo_pua_publish" =
    |msg| script::presence::publish(msg, Function::Any, text(json)));
script_function!(pua_publish_presence(json, _second) as "kazoo_pua_publish_presence" =
    |msg| script::presence::publish(msg, Function::Presence, text(json)));
script_function!(pua_publish_mwi(json, _second) as "kazoo_pua_publish_mwi" =
    |msg| script::presence::publish(msg, Function::Mwi, text(json)));
script_function!(pua_publish_dialoginfo(json, _second) as "kazoo_pua_publish_dialoginfo" =
    |msg| script::presence::publish(msg, Function::DialogInfo, text(json)));

/// Every parameter is a string with variables.
unsafe extern "C" fn fixup_texts(param: *mut *mut c_void, _: c_int) -> c_int {
    // SAFETY: called by Kamailio as a fixup.
    entry("fixup", kamailio_sys::E_UNSPEC, || unsafe { params::fixup_text(param, LOADING.load(Relaxed)) })
}

unsafe extern "C" fn free_texts(param: *mut *mut c_void, _: c_int) -> c_int {
    // SAFETY: called by Kamailio for a parameter prepared above.
    entry("free fixup", kamailio_sys::E_UNSPEC, || unsafe { params::free_text(param) })
}

/// The parameter is a payload: expanded where the script has it in quotes. A variable without quotes, which Kamailio
/// evaluates and then prepares anew at each call, is data and not expanded a second time.
unsafe extern "C" fn fixup_payload(param: *mut *mut c_void, _: c_int) -> c_int {
    entry("fixup", kamailio_sys::E_UNSPEC, || {
        if LOADING.load(Relaxed) {
            // SAFETY: called by Kamailio as a fixup.
            unsafe { params::fixup_text(param, true) }
        } else {
            // SAFETY: called by Kamailio as a fixup.
            unsafe { params::fixup_verbatim(param) }
        }
    })
}

/// As [`fixup_texts`]; the function needs the module tm, which a configuration without it does not.
unsafe extern "C" fn fixup_async_query(param: *mut *mut c_void, _: c_int) -> c_int {
    entry("fixup", kamailio_sys::E_UNSPEC, || {
        if LOADING.load(Relaxed)
            && let Err(error) = script::async_query::prepare()
        {
            log::error!("kazoo_async_query: {error}; add loadmodule \"tm.so\"");
            return kamailio_sys::E_CFG;
        }
        // SAFETY: called by Kamailio as a fixup.
        unsafe { params::fixup_text(param, LOADING.load(Relaxed)) }
    })
}

/// Parameter `TARGET` names a variable, an AVP if `AVP`; the others are strings with variables.
unsafe extern "C" fn fixup_with_target<const TARGET: c_int, const AVP: bool>(
    param: *mut *mut c_void,
    position: c_int,
) -> c_int {
    entry("fixup", kamailio_sys::E_UNSPEC, || {
        let loading = LOADING.load(Relaxed);
        if position == TARGET {
            let accepts = if AVP { Accepts::Avp } else { Accepts::Writable };
            // SAFETY: called by Kamailio as a fixup.
            unsafe { vars::fixup_target(param, accepts, loading) }
        } else {
            // SAFETY: called by Kamailio as a fixup.
            unsafe { params::fixup_text(param, loading) }
        }
    })
}

unsafe extern "C" fn free_with_target<const TARGET: c_int>(param: *mut *mut c_void, position: c_int) -> c_int {
    entry("free fixup", kamailio_sys::E_UNSPEC, || {
        if position == TARGET {
            // SAFETY: called by Kamailio for a parameter prepared above.
            unsafe { vars::free_target(param) }
        } else {
            // SAFETY: called by Kamailio for a parameter prepared above.
            unsafe { params::free_text(param) }
        }
    })
}

// Functions for KEMI.

/// One `extern "C"` function that gives a return code: message, then texts, which the script language owns for the
/// length of the call.
macro_rules! kemi_function {
    ($function:ident($($param:ident),+) as $script_name:literal = |$msg:pat_param| $body:expr) => {
        unsafe extern "C" fn $function(msg: *mut sip_msg_t, $($param: *mut str_),+) -> c_int {
            // SAFETY: Kamailio calls with a live message and with texts as the table says.
            unsafe {
                $(let $param = kemi::text($param);)+
                call($script_name, msg, |$msg| $body)
            }
        }
    };
}

/// One `extern "C"` function that gives a text, or null.
macro_rules! kemi_value {
    ($function:ident($($param:ident),+) as $script_name:literal = $body:expr) => {
        unsafe extern "C" fn $function(_: *mut sip_msg_t, $($param: *mut str_),+) -> *mut sr_kemi_xval_t {
            // SAFETY: Kamailio calls with texts as the table says.
            $(let $param = unsafe { kemi::text($param) };)+
            entry($script_name, kemi::value(None), || $body)
        }
    };
}

kemi_function!(kemi_publish(exchange, key, body) as "kazoo_publish" =
    |msg| script::publish::publish_texts(msg, exchange, key, body, b""));
kemi_function!(kemi_publish_headers(exchange, key, body, headers) as "kazoo_publish" =
    |msg| script::publish::publish_texts(msg, exchange, key, body, headers));
kemi_function!(kemi_query(exchange, key, body) as "kazoo_query" =
    |msg| script::query::query_texts(msg, exchange, key, body, b""));
kemi_function!(kemi_query_headers(exchange, key, body, headers) as "kazoo_query" =
    |msg| script::query::query_texts(msg, exchange, key, body, headers));
kemi_function!(kemi_async_query(exchange, routing_key, body, ok_route, err_route) as "kazoo_async_query" = |msg| {
    let query = AsyncQuery { exchange, routing_key, body, ok_route, err_route };
    script::async_query::ask(msg, &query)
});
kemi_function!(kemi_subscribe(json) as "kazoo_subscribe" = |_| script::subscribe::by_json_text(json));
kemi_function!(kemi_subscribe_queue(exchange, kind, queue, key) as "kazoo_subscribe" =
    |_| script::subscribe::by_name_texts(exchange, kind, queue, key));
kemi_function!(kemi_json_keys(payload, path, avp) as "kazoo_json_keys" =
    |msg| script::json_keys::json_keys_texts(msg, payload, path, avp));
kemi_function!(kemi_pua_publish(payload) as "kazoo_pua_publish" =
    |_| script::presence::publish_bytes(Function::Any, payload));
kemi_function!(kemi_pua_publish_presence(payload) as "kazoo_pua_publish_presence" =
    |_| script::presence::publish_bytes(Function::Presence, payload));
kemi_function!(kemi_pua_publish_mwi(payload) as "kazoo_pua_publish_mwi" =
    |_| script::presence::publish_bytes(Function::Mwi, payload));
kemi_function!(kemi_pua_publish_dialoginfo(payload) as "kazoo_pua_publish_dialoginfo" =
    |_| script::presence::publish_bytes(Function::DialogInfo, payload));
kemi_value!(kemi_json(payload, path) as "kazoo_json" = script::json::with_value(payload, path, kemi::value));
kemi_value!(kemi_encode(word) as "kazoo_encode" = kemi::value(script::encode::encode_text(word).as_deref()));

// Pseudo-variables and transformations.

/// Gives a text, or null, as the value of a pseudo-variable.
fn variable(msg: *mut sip_msg_t, param: *mut pv_param_t, result: *mut pv_value_t, text: Option<&[u8]>) -> c_int {
    match text {
        // SAFETY: Kamailio calls a getter with a writable result; it keeps the text for the expression at hand.
        Some(text) => unsafe { kamailio_sys::pv_get_strval(msg, param, result, &mut strings::view(text)) },
        // SAFETY: as above.
        None => unsafe { kamailio_sys::pv_get_null(msg, param, result) },
    }
}

unsafe extern "C" fn get_kzr(msg: *mut sip_msg_t, param: *mut pv_param_t, result: *mut pv_value_t) -> c_int {
    entry("$kzR", -1, || {
        // SAFETY: the message Kamailio evaluates the variable for, or null.
        let of = unsafe { SipMsg::from_raw(msg) }.id();
        script::result::show(of, |text| variable(msg, param, result, text))
    })
}

unsafe extern "C" fn get_kze(msg: *mut sip_msg_t, param: *mut pv_param_t, result: *mut pv_value_t) -> c_int {
    entry("$kzE", -1, || script::event::show_payload(|text| variable(msg, param, result, text)))
}

unsafe extern "C" fn get_kzrk(msg: *mut sip_msg_t, param: *mut pv_param_t, result: *mut pv_value_t) -> c_int {
    entry("$kzRK", -1, || script::event::show_routing_key(|text| variable(msg, param, result, text)))
}

unsafe extern "C" fn parse_transformation(input: *mut str_, out: *mut trans_t) -> *mut c_char {
    entry("transformation", std::ptr::null_mut(), || {
        // SAFETY: called by Kamailio as a parser of this class.
        unsafe { transformation::parse(input, out, script::transformation::NAMES, run_transformation) }
    })
}

unsafe extern "C" fn run_transformation(
    msg: *mut sip_msg_t,
    params: *mut tr_param_t,
    subtype: c_int,
    value: *mut pv_value_t,
) -> c_int {
    entry("transformation", -1, || {
        // SAFETY: the message Kamailio evaluates the transformation for, or null.
        let msg = unsafe { SipMsg::from_raw(msg) };
        // SAFETY: called by Kamailio with what the parser above has filled in.
        unsafe { transformation::run(msg, params, subtype, value, script::transformation::transform) }
    })
}

// Tables that the loader reads.

/// A table that Kamailio reads, and may write to, in the main thread of a process.
#[repr(transparent)]
struct Table<T>(UnsafeCell<T>);

// SAFETY: only Kamailio touches the content, in one thread.
unsafe impl<T> Sync for Table<T> {}

impl<T> Table<T> {
    const fn new(content: T) -> Self {
        Self(UnsafeCell::new(content))
    }
}

impl<T, const N: usize> Table<[T; N]> {
    const fn first(&'static self) -> *mut T {
        self.0.get().cast()
    }
}

/// What the parameters of a function are, besides strings with variables.
#[derive(Clone, Copy)]
enum Target {
    /// Nothing else.
    None,
    /// The one at this position names a variable.
    Var2,
    Var3,
    Var4,
    /// The third names an AVP.
    Avp3,
    /// The only one is a payload, which may have come from the bus.
    Payload,
    /// Nothing else, but the function needs tm.
    Async,
}

/// Allowed in every route.
const fn command(name: &'static CStr, arity: c_int, function: cmd_function, target: Target) -> cmd_export_t {
    let (fixup, free_fixup): (fixup_function, fixup_function) = match target {
        Target::None => (Some(fixup_texts), Some(free_texts)),
        Target::Var2 => (Some(fixup_with_target::<2, false>), Some(free_with_target::<2>)),
        Target::Var3 => (Some(fixup_with_target::<3, false>), Some(free_with_target::<3>)),
        Target::Var4 => (Some(fixup_with_target::<4, false>), Some(free_with_target::<4>)),
        Target::Avp3 => (Some(fixup_with_target::<3, true>), Some(free_with_target::<3>)),
        Target::Payload => (Some(fixup_payload), Some(free_texts)),
        Target::Async => (Some(fixup_async_query), Some(free_texts)),
    };
    let name = name.as_ptr().cast_mut();
    cmd_export_t { name, function, param_no: arity, fixup, free_fixup, flags: kamailio_sys::ANY_ROUTE }
}

/// Kamailio calls each function with as many parameters as its row says; C has one type for all of them.
macro_rules! erased {
    ($function:ident($($param:ident),+)) => {{
        let function: unsafe extern "C" fn(*mut sip_msg_t, $(erased!(@ $param)),+) -> c_int = $function;
        // SAFETY: only a change of the pointer's type; the row's arity makes Kamailio call with the right one.
        unsafe { std::mem::transmute::<*const (), cmd_function>(function as *const ()) }
    }};
    (@ $param:ident) => { *mut c_char };
}

static COMMANDS: Table<[cmd_export_t; 19]> = Table::new([
    command(c"kazoo_publish", 3, erased!(publish_3(a, b, c)), Target::None),
    command(c"kazoo_publish", 4, erased!(publish_4(a, b, c, d)), Target::None),
    command(c"kazoo_query", 3, erased!(query_3(a, b, c)), Target::None),
    command(c"kazoo_query", 4, erased!(query_4(a, b, c, d)), Target::Var4),
    command(c"kazoo_query", 5, erased!(query_5(a, b, c, d, e)), Target::Var4),
    command(c"kazoo_async_query", 5, erased!(async_query_5(a, b, c, d, e)), Target::Async),
    command(c"kazoo_async_query", 6, erased!(async_query_6(a, b, c, d, e, f)), Target::Async),
    command(c"kazoo_query_async", 5, erased!(async_query_5(a, b, c, d, e)), Target::Async),
    command(c"kazoo_query_async", 6, erased!(async_query_6(a, b, c, d, e, f)), Target::Async),
    command(c"kazoo_subscribe", 1, Some(subscribe_1), Target::None),
    command(c"kazoo_subscribe", 4, erased!(subscribe_4(a, b, c, d)), Target::None),
    command(c"kazoo_encode", 2, Some(encode_2), Target::Var2),
    command(c"kazoo_json", 3, erased!(json_3(a, b, c)), Target::Var3),
    command(c"kazoo_json_keys", 3, erased!(json_keys_3(a, b, c)), Target::Avp3),
    command(c"kazoo_pua_publish", 1, Some(pua_publish), Target::Payload),
    command(c"kazoo_pua_publish_presence", 1, Some(pua_publish_presence), Target::Payload),
    command(c"kazoo_pua_publish_mwi", 1, Some(pua_publish_mwi), Target::Payload),
    command(c"kazoo_pua_publish_dialoginfo", 1, Some(pua_publish_dialoginfo), Target::Payload),
    // SAFETY: a zeroed row ends the table; every field may be zero.
    unsafe { std::mem::zeroed() },
]);

/// `KSR.kazoo.…`: KEMI knows no arity, so each form has a name of its own.
static KEMI: Table<[sr_kemi_t; 15]> = Table::new([
    kemi::function(c"kazoo_publish", 3, Returns::Code, kemi_publish as *mut c_void),
    kemi::function(c"kazoo_publish_headers", 4, Returns::Code, kemi_publish_headers as *mut c_void),
    kemi::function(c"kazoo_query", 3, Returns::Code, kemi_query as *mut c_void),
    kemi::function(c"kazoo_query_headers", 4, Returns::Code, kemi_query_headers as *mut c_void),
    kemi::function(c"kazoo_async_query", 5, Returns::Code, kemi_async_query as *mut c_void),
    kemi::function(c"kazoo_subscribe", 1, Returns::Code, kemi_subscribe as *mut c_void),
    kemi::function(c"kazoo_subscribe_queue", 4, Returns::Code, kemi_subscribe_queue as *mut c_void),
    kemi::function(c"kazoo_json", 2, Returns::Value, kemi_json as *mut c_void),
    kemi::function(c"kazoo_json_keys", 3, Returns::Code, kemi_json_keys as *mut c_void),
    kemi::function(c"kazoo_encode", 1, Returns::Value, kemi_encode as *mut c_void),
    kemi::function(c"kazoo_pua_publish", 1, Returns::Code, kemi_pua_publish as *mut c_void),
    kemi::function(c"kazoo_pua_publish_presence", 1, Returns::Code, kemi_pua_publish_presence as *mut c_void),
    kemi::function(c"kazoo_pua_publish_mwi", 1, Returns::Code, kemi_pua_publish_mwi as *mut c_void),
    kemi::function(c"kazoo_pua_publish_dialoginfo", 1, Returns::Code, kemi_pua_publish_dialoginfo as *mut c_void),
    // SAFETY: a zeroed row ends the table; every field may be zero.
    unsafe { std::mem::zeroed() },
]);

type Setter = unsafe extern "C" fn(modparam_t, *mut c_void) -> c_int;

/// One setter per row of `config::PARAMS`, and some to spare.
static SETTERS: [Setter; 72] = slots!(set_param:
    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35
    36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65 66 67 68 69 70 71);

const PARAM_COUNT: usize = config::PARAMS.len();

/// Each parameter twice: written as a number and written as a text. The setter decides what it accepts.
static MODPARAMS: Table<[param_export_t; 2 * PARAM_COUNT + 1]> = Table::new(modparams());

const fn modparams() -> [param_export_t; 2 * PARAM_COUNT + 1] {
    // SAFETY: a zeroed row ends the table; every field may be zero.
    let mut rows: [param_export_t; 2 * PARAM_COUNT + 1] = unsafe { std::mem::zeroed() };
    let mut i = 0;
    while i < PARAM_COUNT {
        let name = config::PARAMS[i].c_name.as_ptr().cast_mut();
        let param_pointer = SETTERS[i] as *mut c_void;
        rows[2 * i] = param_export_t { name, type_: PARAM_INT | PARAM_USE_FUNC, param_pointer };
        rows[2 * i + 1] = param_export_t { name, type_: PARAM_STRING | PARAM_USE_FUNC, param_pointer };
        i += 1;
    }
    rows
}

type Getter = unsafe extern "C" fn(*mut sip_msg_t, *mut pv_param_t, *mut pv_value_t) -> c_int;

const fn read_only(name: &'static CStr, get: Getter) -> pv_export_t {
    pv_export_t {
        name: strings::constant(name),
        type_: kamailio_sys::_pv_type_PVT_OTHER,
        getf: Some(get),
        setf: None,
        parse_name: None,
        parse_index: None,
        init_param: None,
        iparam: 0,
    }
}

static VARIABLES: Table<[pv_export_t; 4]> = Table::new([
    read_only(c"kzR", get_kzr),
    read_only(c"kzE", get_kze),
    read_only(c"kzRK", get_kzrk),
    // SAFETY: a zeroed row ends the table; every field may be zero.
    unsafe { std::mem::zeroed() },
]);

static TRANSFORMATIONS: Table<[tr_export_t; 2]> = Table::new([
    tr_export_t { tclass: strings::constant(c"kz"), tparse: Some(parse_transformation) },
    // SAFETY: a zeroed row ends the table; every field may be zero.
    unsafe { std::mem::zeroed() },
]);

/// What the module is made of; read by the loader.
#[unsafe(no_mangle)]
static exports: Table<module_exports_t> = Table::new(module_exports_t {
    name: c"kazoo".as_ptr().cast_mut(),
    dlflags: 0,
    cmds: COMMANDS.first(),
    params: MODPARAMS.first(),
    rpc_methods: std::ptr::null_mut(),
    pv_items: VARIABLES.first(),
    response_f: None,
    init_mod_f: Some(mod_init),
    init_child_f: Some(child_init),
    destroy_mod_f: Some(destroy),
});

/// Version that the loader compares with its own.
#[unsafe(no_mangle)]
static module_version: CStrPtr = CStrPtr::new(&raw const kamailio_sys::kz_module_version);

/// Compile flags that the loader compares with its own.
#[unsafe(no_mangle)]
static module_flags: CStrPtr = CStrPtr::new(&raw const kamailio_sys::kz_module_flags);

/// Kind of the module interface.
#[unsafe(no_mangle)]
static module_interface_ver: c_uint = 4;
