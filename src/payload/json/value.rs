//! A parsed payload: light, in member order, over bytes instead of `str`, borrowing from the text it came from.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::write::write;

/// A JSON value. Strings are bytes, not checked for UTF-8; numbers keep their text.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Decimal digits with an optional minus sign, no leading zeros, within `i64::MIN..=u64::MAX`.
    Integer(Cow<'a, [u8]>),
    /// Source text of a number with a point or an exponent; or `NaN`, `Infinity`, `-Infinity`.
    Float(Cow<'a, [u8]>),
    /// Unescaped bytes.
    String(Cow<'a, [u8]>),
    /// Items in order.
    Array(Vec<Value<'a>>),
    /// Members in order.
    Object(Object<'a>),
}

impl<'a> Value<'a> {
    /// What kind of value this is, for error messages: `null`, `boolean`, `number`, `string`, `array`, `object`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Integer(_) | Self::Float(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The members, if this is an object.
    pub fn as_object(&self) -> Option<&Object<'a>> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    /// The items, if this is an array.
    pub fn as_array(&self) -> Option<&[Value<'a>]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// The bytes, if this is a string.
    pub fn as_string(&self) -> Option<&[u8]> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The member `key`, if this is an object that has it.
    pub fn get(&self, key: &[u8]) -> Option<&Value<'a>> {
        self.as_object()?.get(key)
    }

    /// Text of a value without parts: a string's bytes, a number's digits, `true` or `false`. `None` for `null`,
    /// arrays and objects.
    pub fn scalar_text(&self) -> Option<&[u8]> {
        match self {
            Self::String(text) | Self::Integer(text) | Self::Float(text) => Some(text),
            Self::Bool(value) => Some(if *value { b"true" } else { b"false" }),
            Self::Null | Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// The value as a flag or count: integers and integer prefixes of strings (saturated), floats truncated,
    /// booleans 0 or 1, anything else 0.
    pub fn to_int(&self) -> i64 {
        match self {
            Self::Integer(text) | Self::String(text) => leading_int(text),
            Self::Float(text) => truncated(text),
            Self::Bool(value) => i64::from(*value),
            Self::Null | Self::Array(_) | Self::Object(_) => 0,
        }
    }

    /// The value serialised: see [`write()`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write(self, &mut out);
        out
    }
}

/// A float without its fraction, saturated; `NaN` is 0.
fn truncated(text: &[u8]) -> i64 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).map_or(0, |number: f64| number as i64)
}

/// The decimal integer at the start of `text`, after blanks and a sign; 0 if there is none, saturated if it is
/// out of range.
pub(in crate::payload) fn leading_int(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let signed = |digit: u8| if negative { -i64::from(digit - b'0') } else { i64::from(digit - b'0') };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: i64, &digit| number.saturating_mul(10).saturating_add(signed(digit)))
}

/// Members of a JSON object in order. Each name occurs once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object<'a> {
    members: Vec<(Cow<'a, [u8]>, Value<'a>)>,
}

impl<'a> Object<'a> {
    /// Up to this many members a repeated name is found by looking at all of them; a hash table costs more.
    const FEW: usize = 32;

    /// Number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &Value<'a>)> {
        self.members.iter().map(|(key, value)| (&**key, value))
    }

    /// The value of member `key`.
    pub fn get(&self, key: &[u8]) -> Option<&Value<'a>> {
        self.members.iter().find(|(name, _)| **name == *key).map(|(_, value)| value)
    }

    /// Sets member `key`: in its place if it exists, else at the end.
    fn set(&mut self, key: Cow<'a, [u8]>, value: Value<'a>) {
        match self.members.iter_mut().find(|(name, _)| *name == key) {
            Some((_, old)) => *old = value,
            None => self.members.push((key, value)),
        }
    }

    /// Adds a member while parsing. A name may occur twice until [`settle`](Self::settle).
    pub(super) fn append(&mut self, key: Cow<'a, [u8]>, value: Value<'a>) {
        if self.members.len() < Self::FEW {
            self.set(key, value);
        } else {
            self.members.push((key, value));
        }
    }

    /// Ends parsing: of members with the same name the last value stays, in the place of the first. Linear, so
    /// that an object with a million members cannot hold up a process.
    pub(super) fn settle(&mut self) {
        if self.members.len() <= Self::FEW {
            return;
        }
        let repeats = self.repeats();
        for &(later, first) in &repeats {
            self.members[first].1 = std::mem::replace(&mut self.members[later].1, Value::Null);
        }
        let mut repeats = repeats.iter().map(|&(later, _)| later).peekable();
        let mut at = 0;
        self.members.retain(|_| {
            let repeated = repeats.next_if_eq(&at).is_some();
            at += 1;
            !repeated
        });
    }

    /// Positions of members whose name occurred before, in order, each with the position of the first.
    fn repeats(&self) -> Vec<(usize, usize)> {
        let mut first_at = HashMap::with_capacity(self.members.len());
        let keys = self.members.iter().enumerate();
        keys.filter_map(|(at, (key, _))| match first_at.entry(&**key) {
            Entry::Occupied(first) => Some((at, *first.get())),
            Entry::Vacant(free) => {
                free.insert(at);
                None
            }
        })
        .collect()
    }
}
