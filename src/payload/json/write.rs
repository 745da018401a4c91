//! Serialisation, byte for byte the form that peers and scripts have always seen: `{ "k": v, "l": [ 1, 2 ] }`.

use super::chunk::Chunk;
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
        Value::Object(members) => object(members, out),
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

fn object(object: &Object<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut before: &[u8] = b" ";
    for (key, value) in object.iter() {
        out.extend_from_slice(before);
        write_string(key, out);
        out.extend_from_slice(b": ");
        write(value, out);
        before = b", ";
    }
    out.extend_from_slice(b" }");
}

/// Appends `text` to `out` as a JSON string with its quotes.
pub fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let plain = plain_run(text);
    out.extend_from_slice(&text[..plain]);
    if plain < text.len() {
        write_rest(&text[plain..], out);
    }
    out.push(b'"');
}

/// Goes on with a text from a byte that needs an escape sequence.
#[inline(never)]
fn write_rest(mut text: &[u8], out: &mut Vec<u8>) {
    while let [byte, rest @ ..] = text {
        write_escape(*byte, out);
        let plain = plain_run(rest);
        out.extend_from_slice(&rest[..plain]);
        text = &rest[plain..];
    }
}

/// Bytes before the first that needs an escape sequence, all of them if there is none.
#[inline]
fn plain_run(text: &[u8]) -> usize {
    let found = |chunk: &[u8; Chunk::BYTES]| {
        let chunk = Chunk::new(chunk);
        (chunk.less(0x20) | chunk.equal(b'"') | chunk.equal(b'\\') | chunk.equal(b'/')).first()
    };
    let Some(last) = text.last_chunk() else {
        return text.iter().position(|&byte| needs_escape(byte)).unwrap_or(text.len());
    };
    let mut seen = 0;
    // The last eight bytes are looked at together, even if some of them have been seen.
    while let Some(chunk) = text.get(seen..).and_then(<[u8]>::first_chunk) {
        if let Some(at) = found(chunk) {
            return seen + at;
        }
        seen += Chunk::BYTES;
    }
    found(last).map_or(text.len(), |at| text.len() - Chunk::BYTES + at)
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
