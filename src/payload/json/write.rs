//! Serialisation, byte for byte the form that peers and scripts have always seen: `{ "k": v, "l": [ 1, 2 ] }`.

use std::ops::Range;

use super::value::{Object, Value};

/// Appends `value` to `out`: one line, members in order, `/` as `\/`, control characters escaped, bytes above
/// 0x7E as they are, floats in their source text.
pub fn write(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Integer(text) | Value::Float(text) => out.extend_from_slice(text),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => array(items, out),
        Value::Object(members) => write_object_noting(members, out, |_, _| ()),
    }
}

fn array(items: &[Value<'_>], out: &mut Vec<u8>) {
    out.push(b'[');
    let mut before: &[u8] = b" ";
    for item in items {
        out.extend_from_slice(before);
        write(item, out);
        before = b", ";
    }
    out.extend_from_slice(b" ]");
}

/// Writes an object and tells `note` the name of each member and where in `out` its value stands.
pub(in crate::payload) fn write_object_noting(
    object: &Object<'_>,
    out: &mut Vec<u8>,
    mut note: impl FnMut(&[u8], Range<usize>),
) {
    out.push(b'{');
    let mut before: &[u8] = b" ";
    for (key, value) in object.iter() {
        out.extend_from_slice(before);
        write_string(key, out);
        out.extend_from_slice(b": ");
        let start = out.len();
        write(value, out);
        note(key, start..out.len());
        before = b", ";
    }
    out.extend_from_slice(b" }");
}

/// Appends `text` to `out` as a JSON string with its quotes.
pub fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(plain) = rest.iter().position(|&byte| needs_escape(byte)) {
        out.extend_from_slice(&rest[..plain]);
        write_escape(rest[plain], out);
        rest = &rest[plain + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | b'/')
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' | b'/' => byte,
        0x08 => b'b',
        0x0C => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => return write_unicode(byte, out),
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn write_unicode(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\u00");
    out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xF)]]);
}
