//! What a modparam is: its kind, its limits, and how a value of the configuration file becomes one of ours.
//!
//! Used while the configuration file is read, in the main process. Knows nothing of Kamailio: the entry layer hands in
//! [`Value`]s, and everything a value can be refused for is decided here, so that `kamailio -c` finds it.

use std::ffi::CStr;

use super::Builder;

/// A value as the configuration file has it: `modparam("kazoo", "name", 5)` or `modparam("kazoo", "name", "text")`.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Written without quotes.
    Int(i64),
    /// Written with quotes. A number in quotes is taken as a number where one is needed.
    Text(&'a str),
}

/// One modparam: a row of [`super::PARAMS`].
#[derive(Debug)]
pub struct Param {
    /// Name in `modparam("kazoo", "name", ...)`, as a C string because the server reads it in this form.
    pub c_name: &'static CStr,
    /// Type, default, limits and where the value goes.
    pub kind: Kind,
    /// Why the parameter does nothing, for those that are accepted only so that old configurations load.
    pub inert: Option<&'static str>,
    /// What it does, in a sentence or two for the reference manual.
    pub meaning: &'static str,
}

/// Type, default and limits of a modparam.
#[derive(Debug)]
pub enum Kind {
    /// A whole number in `min..=max`.
    Int(IntKind),
    /// 0 (off) or 1 (on).
    Switch {
        /// Value when the parameter is not set.
        default: bool,
        /// Puts the value where it belongs.
        store: fn(&mut Builder, bool),
    },
    /// A text, never empty.
    Text {
        /// Value when the parameter is not set; `None`: nothing.
        default: Option<&'static str>,
        /// Checks the value and puts it where it belongs; the error says what is allowed.
        store: fn(&mut Builder, &str) -> Result<(), String>,
    },
}

/// Limits of a whole number.
#[derive(Debug)]
pub struct IntKind {
    /// Value when the parameter is not set; `None`: as its meaning says.
    pub default: Option<u32>,
    /// Smallest accepted value.
    pub min: u32,
    /// Largest accepted value.
    pub max: u32,
    /// What is counted: `ms`, `bytes`, `messages`...
    pub unit: &'static str,
    /// Accept powers of two only.
    pub power_of_two: bool,
    /// Puts the value where it belongs.
    pub store: fn(&mut Builder, u32),
}

/// Why a value was refused; the text says what is allowed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamError {
    /// A number outside the limits.
    #[error("{value} is out of range, allowed are {min} to {max} ({unit})")]
    OutOfRange {
        /// As written.
        value: i64,
        /// Smallest allowed.
        min: u32,
        /// Largest allowed.
        max: u32,
        /// Unit of all three.
        unit: &'static str,
    },
    /// A ring size that is no power of two.
    #[error("{value} is not a power of two, allowed are 16, 32, 64 ... up to {max} ({unit})")]
    NotAPowerOfTwo {
        /// As written.
        value: u32,
        /// Largest allowed.
        max: u32,
        /// Unit of both.
        unit: &'static str,
    },
    /// A text where a number is needed.
    #[error("not a number, allowed are {min} to {max} ({unit})")]
    NotANumber {
        /// Smallest allowed.
        min: u32,
        /// Largest allowed.
        max: u32,
        /// Unit of both.
        unit: &'static str,
    },
    /// Neither 0 nor 1.
    #[error("neither off nor on, write 0 or 1")]
    NotASwitch,
    /// A number where a text is needed.
    #[error("a number, but a text is needed: put it in quotes")]
    NotAText,
    /// An empty text.
    #[error("empty, write a text or leave the parameter out")]
    Empty,
    /// Refused by the parameter's own check.
    #[error("{0}")]
    Refused(String),
}

impl Param {
    /// Name in `modparam("kazoo", "name", ...)`.
    pub fn name(&self) -> &'static str {
        self.c_name.to_str().unwrap_or_default()
    }

    /// Checks `value` and stores it.
    pub(super) fn set(&self, builder: &mut Builder, value: Value<'_>) -> Result<(), ParamError> {
        match &self.kind {
            Kind::Int(kind) => (kind.store)(builder, kind.check(value)?),
            Kind::Switch { store, .. } => store(builder, switch(value)?),
            Kind::Text { store, .. } => {
                store(builder, text(value)?).map_err(ParamError::Refused)?;
            }
        }
        Ok(())
    }

    /// Stores the default, if there is one. Defaults pass the same checks; a test proves that they do.
    pub(super) fn set_default(&self, builder: &mut Builder) -> Result<(), ParamError> {
        match &self.kind {
            Kind::Int(IntKind { default: Some(n), .. }) => self.set(builder, Value::Int(i64::from(*n))),
            Kind::Switch { default, .. } => self.set(builder, Value::Int(i64::from(*default))),
            Kind::Text { default: Some(text), .. } => self.set(builder, Value::Text(text)),
            _ => Ok(()),
        }
    }
}

impl IntKind {
    fn check(&self, value: Value<'_>) -> Result<u32, ParamError> {
        let &Self { min, max, unit, .. } = self;
        let number = number(value).ok_or(ParamError::NotANumber { min, max, unit })?;
        match u32::try_from(number) {
            Ok(n) if n < min || n > max => Err(ParamError::OutOfRange { value: number, min, max, unit }),
            Ok(n) if self.power_of_two && !n.is_power_of_two() => {
                Err(ParamError::NotAPowerOfTwo { value: n, max, unit })
            }
            Ok(n) => Ok(n),
            Err(_) => Err(ParamError::OutOfRange { value: number, min, max, unit }),
        }
    }
}

/// A number, also one in quotes: the C module's documentation calls some of its numbers `str`.
fn number(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Int(n) => Some(n),
        Value::Text(text) => text.trim().parse().ok(),
    }
}

fn switch(value: Value<'_>) -> Result<bool, ParamError> {
    match number(value) {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        _ => Err(ParamError::NotASwitch),
    }
}

fn text(value: Value<'_>) -> Result<&str, ParamError> {
    match value {
        Value::Int(_) => Err(ParamError::NotAText),
        Value::Text("") => Err(ParamError::Empty),
        Value::Text(text) => Ok(text),
    }
}

/// Row of a number in `min..=max`.
pub(super) const fn int(
    c_name: &'static CStr,
    default: u32,
    (min, max): (u32, u32),
    unit: &'static str,
    store: fn(&mut Builder, u32),
    meaning: &'static str,
) -> Param {
    let kind = Kind::Int(IntKind { default: Some(default), min, max, unit, power_of_two: false, store });
    Param { c_name, kind, inert: None, meaning }
}

/// Row of a number whose default depends on something else.
pub(super) const fn int_unset(
    c_name: &'static CStr,
    (min, max): (u32, u32),
    unit: &'static str,
    store: fn(&mut Builder, u32),
    meaning: &'static str,
) -> Param {
    let kind = Kind::Int(IntKind { default: None, min, max, unit, power_of_two: false, store });
    Param { c_name, kind, inert: None, meaning }
}

/// Row of a ring size in KiB.
pub(super) const fn ring(
    c_name: &'static CStr,
    default: u32,
    store: fn(&mut Builder, u32),
    meaning: &'static str,
) -> Param {
    let kind = IntKind { default: Some(default), min: 16, max: 16_384, unit: "KiB", power_of_two: true, store };
    Param { c_name, kind: Kind::Int(kind), inert: None, meaning }
}

/// Row of an on/off parameter.
pub(super) const fn switch_row(
    c_name: &'static CStr,
    default: bool,
    store: fn(&mut Builder, bool),
    meaning: &'static str,
) -> Param {
    Param { c_name, kind: Kind::Switch { default, store }, inert: None, meaning }
}

/// Row of a text.
pub(super) const fn text_row(
    c_name: &'static CStr,
    default: Option<&'static str>,
    store: fn(&mut Builder, &str) -> Result<(), String>,
    meaning: &'static str,
) -> Param {
    Param { c_name, kind: Kind::Text { default, store }, inert: None, meaning }
}

/// Row of a number that is accepted and does nothing.
pub(super) const fn inert_int(c_name: &'static CStr, default: u32, why: &'static str, meaning: &'static str) -> Param {
    Param { inert: Some(why), ..int(c_name, default, (0, i32::MAX as u32), "any number", |_, _| {}, meaning) }
}

/// Row of a text that is accepted and does nothing.
pub(super) const fn inert_text(
    c_name: &'static CStr,
    default: &'static str,
    why: &'static str,
    meaning: &'static str,
) -> Param {
    Param { c_name, kind: Kind::Text { default: Some(default), store: |_, _| Ok(()) }, inert: Some(why), meaning }
}
