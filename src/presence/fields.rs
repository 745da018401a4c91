//! Values of a presence payload as text.

use std::borrow::Cow;

use crate::payload::Value;
use crate::payload::path::render;

use super::xml::clean;

/// A payload whose members are read as text.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'v>(pub &'v Value<'v>);

impl<'v> Fields<'v> {
    /// The member `name` as clean text: a value of any type, empty when it is missing or null.
    pub fn text(self, name: &str) -> Cow<'v, str> {
        match self.0.get(name.as_bytes()).and_then(render) {
            Some(Cow::Borrowed(raw)) => clean(raw),
            Some(Cow::Owned(raw)) => clean(&raw).into_owned().into(),
            None => Cow::Borrowed(""),
        }
    }

    /// The first of these members that is not empty; empty when all are.
    pub fn first_of(self, names: &[&str]) -> Cow<'v, str> {
        names.iter().map(|name| self.text(name)).find(|text| !text.is_empty()).unwrap_or_default()
    }

    /// The member `name` as a number, 0 when it is none.
    pub fn int(self, name: &str) -> i64 {
        self.0.get(name.as_bytes()).map_or(0, Value::to_int)
    }
}
