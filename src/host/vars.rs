//! Variables by name: targets of functions, and variables that a modparam names.

use std::ffi::{c_char, c_int, c_void};
use std::marker::PhantomData;

use kamailio_sys::{pv_spec_t, pv_value_t};

use super::expand::with_spec;
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

    /// Whether it is an AVP: each assignment adds a value.
    pub fn is_avp(&self) -> bool {
        self.0.type_ == kamailio_sys::_pv_type_PVT_AVP
    }

    /// Lets an AVP that was written with an index, as `$(avp(x)[*])`, take values like one without.
    fn without_index(mut self) -> Self {
        self.0.pvp.pvi.type_ = kamailio_sys::PV_IDX_NONE as c_int;
        self
    }

    /// Assigns a text. `false` when Kamailio refuses; it has logged why.
    pub fn set_text(&mut self, msg: SipMsg<'_>, text: &[u8]) -> bool {
        self.assign(msg, text_value(text))
    }

    /// Assigns null: an `$avp` is removed, `$du` is reset, a `$var` becomes 0.
    pub fn set_null(&mut self, msg: SipMsg<'_>) -> bool {
        self.assign(msg, pv_value_t { flags: kamailio_sys::PV_VAL_NULL as c_int, ..pv_value_t::default() })
    }

    fn assign(&mut self, msg: SipMsg<'_>, value: pv_value_t) -> bool {
        assign(&mut self.0, msg, value)
    }
}

fn assign(spec: &mut pv_spec_t, msg: SipMsg<'_>, mut value: pv_value_t) -> bool {
    let equals = kamailio_sys::EQ_T as c_int;
    // SAFETY: a specification that Kamailio has filled, a live message; the value's text lives in a lent buffer.
    unsafe { kamailio_sys::pv_set_spec_value(msg.as_ptr(), spec, equals, &mut value) >= 0 }
}

/// Hands each text of `feed` to the AVP that is written `name`; for names that come about while the script runs. `feed`
/// gets the function that adds one text and says whether that worked.
pub fn feed_avp<R>(
    name: &[u8],
    msg: SipMsg<'_>,
    feed: impl FnOnce(&mut dyn FnMut(&[u8]) -> bool) -> R,
) -> Result<R, NotAVariable> {
    let spec = with_spec(name.trim_ascii(), |spec| *spec).map_err(|_| NotAVariable)?;
    if spec.type_ != kamailio_sys::_pv_type_PVT_AVP || spec.setf.is_none() {
        return Err(NotAVariable);
    }
    // A copy: what it refers to stays in Kamailio's cache of names, or among those learnt.
    let mut spec = spec;
    spec.pvp.pvi.type_ = kamailio_sys::PV_IDX_NONE as c_int;
    Ok(feed(&mut |text| assign(&mut spec, msg, text_value(text))))
}

fn text_value(text: &[u8]) -> pv_value_t {
    pv_value_t { rs: strings::lend(text), flags: kamailio_sys::PV_VAL_STR as c_int, ..pv_value_t::default() }
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

    /// Adds a value to an AVP. `false` when there is none or Kamailio refuses.
    pub fn push(self, msg: SipMsg<'m>, text: &[u8]) -> bool {
        // SAFETY: as in `assign`.
        unsafe { &mut *self.raw }.var.as_mut().is_some_and(|var| var.set_text(msg, text))
    }
}

/// Which variables a target parameter accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    /// Everything that can be assigned.
    Writable,
    /// AVPs, which take several values.
    Avp,
}

impl Accepts {
    /// The variable that is written `name`, if it is accepted.
    pub fn parse(self, name: &[u8]) -> Option<Var> {
        let var = Var::parse(name).ok().filter(Var::is_writable)?;
        match self {
            Self::Writable => Some(var),
            Self::Avp => var.is_avp().then(|| var.without_index()),
        }
    }

    /// What to write instead.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Writable => "write the name of a variable that can be assigned, in quotes: \"$var(x)\"",
            Self::Avp => "write the name of an AVP in quotes: \"$avp(x)\"",
        }
    }
}

/// Prepares parameter `*param`, the name of a variable for a result. `loading`: the configuration is being loaded, so a
/// wrong name is refused; later it comes from an unquoted parameter, and the call goes on without it.
///
/// # Safety
///
/// Called by Kamailio as a fixup: `*param` is a NUL-terminated text.
pub unsafe fn fixup_target(param: *mut *mut c_void, accepts: Accepts, loading: bool) -> c_int {
    // SAFETY: the caller's contract.
    let original = unsafe { *param };
    // SAFETY: the caller's contract; the text outlives this call.
    let name = unsafe { strings::c_bytes(original.cast()) };
    let var = accepts.parse(name);
    if var.is_none() {
        let (name, hint) = (String::from_utf8_lossy(name), accepts.hint());
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
