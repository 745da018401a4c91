//! `{kz.encode}`, `{kz.json,PATH}`, `{kz.json.count,PATH}`.
//!
//! A missing path, a JSON null and a text that is not JSON give an empty text (0 for the count), not null: scripts
//! written for the C module compare with `""`.

use std::borrow::Cow;

use crate::config;
use crate::host::transformation::{Input, Name, Output};
use crate::payload::encode::encode;
use crate::payload::path::{find_count, find_text};

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
            let value = find_text(text, path, config::get().json_escape_char).ok().flatten();
            Some(Output::Text(value.map(Cow::into_owned).unwrap_or_default()))
        }
        2 => {
            let items = find_count(text, path, config::get().json_escape_char).unwrap_or(0);
            Some(Output::Int(i64::try_from(items).unwrap_or(i64::MAX)))
        }
        _ => None,
    }
}
