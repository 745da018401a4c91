//! Variables by name: targets of functions, and variables that a modparam names.

use std::ffi::{c_char, c_int, c_void};
use std::marker::PhantomData;

use kamailio_sys::{pv_spec_t, pv_value_t};

use super::log;
use super::message::SipMsg;
use super::strings;

/// Value of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'m> {
    /// Not set.
    Null,
    /// A number; it may have a text form as well, which is not kept.
    Int(i64),
    /// A text.
    Text(&'m [u8]),
}

/// A text that names no variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a variable")]
pub struct NotAVariable;

/// A variable of the script language.
pub struct Var(Box<pv_spec_t>);

impl std::fmt::Debug for Var {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Var")
    }
}

impl Var {
    /// Parses a name such as `$avp(x)`; blanks around it are ignored.
    pub fn parse(name: &[u8]) -> Result<Self, NotAVariable> {
        let name = name.trim_ascii();
        if name.len() < 2 || name[0] != b'$' {
            return Err(NotAVariable);
        }
        let mut raw = strings::view(name);
        let mut spec = Box::<pv_spec_t>::default();
        // SAFETY: Kamailio reads the name during the call and fills the zeroed structure; it logs a bad name itself.
        let end = unsafe { kamailio_sys::pv_parse_spec2(&mut raw, &mut *spec, 0) };
        if end.is_null() {
            return Err(NotAVariable);
        }
        let var = Self(spec);
        if end.cast_const().cast() == name.as_ptr_range().end { Ok(var) } else { Err(NotAVariable) }
    }

    /// Whether a script may assign to it.
    pub fn is_writable(&self) -> bool {
        self.0.setf.is_some()
    }

    /// Its value; `None` when Kamailio cannot tell.
    pub fn get<'m>(&mut self, msg: SipMsg<'m>) -> Option<Value<'m>> {
        let mut value = pv_value_t::default();
        // SAFETY: the specification was filled by `pv_parse_spec2`, the message is live.
        let result = unsafe { kamailio_sys::pv_get_spec_value(msg.as_ptr(), &mut *self.0, &mut value) };
        // SAFETY: Kamailio keeps a value's text for the expression that asked, which is longer than this call.
        (result == 0).then(|| unsafe { from_raw(&value) })
    }

    /// Assigns a text. `false` when Kamailio refuses; it has logged why.
    pub fn set_text(&mut self, msg: SipMsg<'_>, text: &[u8]) -> bool {
        let rs = strings::lend(text);
        self.assign(msg, pv_value_t { rs, flags: kamailio_sys::PV_VAL_STR as c_int, ..pv_value_t::default() })
    }

    /// Assigns null: an `$avp` is removed, `$du` is reset, a `$var` becomes 0.
    pub fn set_null(&mut self, msg: SipMsg<'_>) -> bool {
        self.assign(msg, pv_value_t { flags: kamailio_sys::PV_VAL_NULL as c_int, ..pv_value_t::default() })
    }

    fn assign(&mut self, msg: SipMsg<'_>, mut value: pv_value_t) -> bool {
        let equals = kamailio_sys::EQ_T as c_int;
        // SAFETY: as in `get`; the value's text lives in a lent buffer.
        unsafe { kamailio_sys::pv_set_spec_value(msg.as_ptr(), &mut *self.0, equals, &mut value) >= 0 }
    }
}

impl Drop for Var {
    fn drop(&mut self) {
        // SAFETY: filled by `pv_parse_spec2`; frees what that allocated inside, not the structure itself.
        unsafe { kamailio_sys::pv_spec_destroy(&mut *self.0) }
    }
}

/// # Safety
///
/// A text in `value` stays readable for `'m`.
unsafe fn from_raw<'m>(value: &pv_value_t) -> Value<'m> {
    let has = |flag: u32| value.flags & flag as c_int != 0;
    if has(kamailio_sys::PV_VAL_NULL) {
        Value::Null
    } else if has(kamailio_sys::PV_TYPE_INT) || !has(kamailio_sys::PV_VAL_STR) {
        Value::Int(i64::from(value.ri))
    } else {
        // SAFETY: the caller's contract.
        Value::Text(unsafe { strings::bytes(&value.rs) })
    }
}

/// A parameter that names the variable for a result, prepared by [`fixup_target`].
#[derive(Clone, Copy, Debug)]
pub struct TargetParam<'m> {
    raw: *mut Target,
    during: PhantomData<&'m ()>,
}

/// What [`fixup_target`] puts in the place of the parameter.
#[derive(Debug)]
struct Target {
    /// `None`: the text of an unquoted parameter named no variable; the result goes nowhere.
    var: Option<Var>,
    /// The parameter as Kamailio gave it; it wants it back.
    original: *mut c_void,
}

impl<'m> TargetParam<'m> {
    /// Wraps a parameter of a script function.
    ///
    /// # Safety
    ///
    /// `raw` was prepared by [`fixup_target`] and lives for `'m`; no other copy of it is in use.
    pub unsafe fn from_raw(raw: *mut c_char) -> Self {
        Self { raw: raw.cast(), during: PhantomData }
    }

    /// Assigns `text`, or null for `None`.
    pub fn assign(self, msg: SipMsg<'m>, text: Option<&[u8]>) {
        // SAFETY: a `Target` by the contract of `from_raw`, and this is the only use of it now.
        let Some(var) = unsafe { &mut *self.raw }.var.as_mut() else { return };
        let done = match text {
            Some(text) => var.set_text(msg, text),
            None => var.set_null(msg),
        };
        if !done {
            log::throttled_error!("the target variable could not be assigned");
        }
    }
}

/// Prepares parameter `*param`, the name of a variable that can be written. `loading`: the configuration is being
/// loaded, so a wrong name is refused; later it comes from an unquoted parameter, and the call goes on without it.
///
/// # Safety
///
/// Called by Kamailio as a fixup: `*param` is a NUL-terminated text.
pub unsafe fn fixup_target(param: *mut *mut c_void, loading: bool) -> c_int {
    // SAFETY: the caller's contract.
    let original = unsafe { *param };
    // SAFETY: the caller's contract; the text outlives this call.
    let name = unsafe { strings::c_bytes(original.cast()) };
    let var = Var::parse(name).ok().filter(Var::is_writable);
    if var.is_none() {
        let name = String::from_utf8_lossy(name);
        let hint = "write the name of a variable that can be assigned, in quotes: \"$var(x)\"";
        if loading {
            log::error!("target parameter \"{name}\": {hint}");
            return kamailio_sys::E_CFG;
        }
        log::throttled_error!("target parameter \"{name}\": {hint}; the result is not stored");
    }
    // SAFETY: the caller's contract.
    unsafe { *param = Box::into_raw(Box::new(Target { var, original })).cast() };
    0
}

/// Undoes [`fixup_target`]: Kamailio gets back what it had passed.
///
/// # Safety
///
/// Called by Kamailio as a free-fixup of a parameter that [`fixup_target`] prepared.
pub unsafe fn free_target(param: *mut *mut c_void) -> c_int {
    // SAFETY: `*param` is the box made by `fixup_target`, by the caller's contract.
    let target = unsafe { Box::from_raw((*param).cast::<Target>()) };
    // SAFETY: the caller's contract.
    unsafe { *param = target.original };
    0
}
