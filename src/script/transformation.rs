//! `{kz.encode}`, `{kz.json,PATH}`, `{kz.json.count,PATH}`.
//!
//! A missing path, a JSON null and a text that is not JSON give an empty text (0 for the count), not null: scripts
//! written for the C module compare with `""`.

use crate::config;
use crate::host::transformation::{Input, Name, Output};
use crate::payload::Value;
use crate::payload::encode::encode;
use crate::payload::path::{count, find, render};

/// The names inside the class `kz`; [`transform`] goes by their index.
pub const NAMES: &[Name] = &[
    Name { name: "encode", takes_parameter: false },
    Name { name: "json", takes_parameter: true },
    Name { name: "json.count", takes_parameter: true },
];

/// Runs transformation number `index` of [`NAMES`]; `None` is an evaluation error. Numbers and null have no text to
/// work on.
pub fn transform(index: usize, input: Input<'_>, path: &[u8]) -> Option<Output> {
    let Input::Text(text) = input else { return None };
    match index {
        0 => Some(Output::Text(encode(text))),
        1 => {
            let root = Value::parse(text).ok();
            let value = root.as_ref().and_then(|root| at(root, path));
            Some(Output::Text(value.and_then(render).map(|text| text.into_owned()).unwrap_or_default()))
        }
        2 => {
            let root = Value::parse(text).ok();
            let items = count(root.as_ref().and_then(|root| at(root, path)));
            Some(Output::Int(i64::try_from(items).unwrap_or(i64::MAX)))
        }
        _ => None,
    }
}

fn at<'v, 'a>(root: &'v Value<'a>, path: &[u8]) -> Option<&'v Value<'a>> {
    find(root, path, config::get().json_escape_char)
}
