//! A string token: the bytes between its quotes, and what they mean once the escape sequences are gone.

use std::borrow::Cow;

use memchr::memchr;

/// A string with its quotes, whose escape sequences the scanner has checked.
#[derive(Debug, Clone, Copy)]
pub(in crate::payload) enum Text<'a> {
    /// What stands between the quotes is the string. It is written just so.
    Plain(&'a [u8]),
    /// What stands between the quotes is the string. Written, it may need escape sequences or other quotes.
    Special(&'a [u8]),
    /// There are escape sequences between the quotes.
    Escaped(&'a [u8]),
}

impl<'a> Text<'a> {
    /// The string itself; borrowed unless it had escape sequences.
    pub(super) fn decode(self) -> Cow<'a, [u8]> {
        match self {
            Self::Plain(token) | Self::Special(token) => Cow::Borrowed(inside(token)),
            Self::Escaped(token) => Cow::Owned(unescape(inside(token))),
        }
    }

    /// Whether the string, taken as a member name, is `key`.
    #[inline(always)]
    pub(super) fn is_key(self, key: &[u8]) -> bool {
        self.with_key(|name| name == key)
    }

    /// Hands the string as a member name to `body`.
    #[inline(always)]
    pub(in crate::payload) fn with_key<R>(self, body: impl Fn(&[u8]) -> R) -> R {
        match self {
            Self::Plain(token) | Self::Special(token) => body(inside(token)),
            Self::Escaped(_) => body(&self.decode_key()),
        }
    }

    /// The string as a member name, which ends at its first NUL (`\u0000`).
    pub(super) fn decode_key(self) -> Cow<'a, [u8]> {
        let mut key = self.decode();
        if let Cow::Owned(bytes) = &mut key
            && let Some(end) = memchr(0, bytes)
        {
            bytes.truncate(end);
        }
        key
    }
}

/// What stands between two quotes.
#[inline(always)]
fn inside(token: &[u8]) -> &[u8] {
    if let [_, inside @ .., _] = token { inside } else { &[] }
}

fn unescape(mut raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    while let Some(run) = memchr(b'\\', raw) {
        out.extend_from_slice(&raw[..run]);
        raw = &raw[run..];
        let (character, length) = escape_sequence(raw);
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        raw = &raw[length..];
    }
    out.extend_from_slice(raw);
    out
}

/// The character an escape sequence stands for and the length of the sequence.
fn escape_sequence(raw: &[u8]) -> (char, usize) {
    match raw.get(1) {
        Some(b'u') => unicode(raw),
        Some(b'b') => ('\u{8}', 2),
        Some(b'f') => ('\u{c}', 2),
        Some(b'n') => ('\n', 2),
        Some(b'r') => ('\r', 2),
        Some(b't') => ('\t', 2),
        Some(&other) => (char::from(other), 2),
        None => (char::REPLACEMENT_CHARACTER, raw.len()),
    }
}

/// `\uXXXX`, or two of them that form a surrogate pair. Half a pair becomes U+FFFD.
fn unicode(raw: &[u8]) -> (char, usize) {
    let first = unit(raw);
    let second = raw.get(6..).filter(|rest| rest.starts_with(b"\\u")).map(unit);
    let pair = char::decode_utf16([first, second.unwrap_or(0)]).next();
    match pair {
        Some(Ok(character)) if u32::from(character) > 0xFFFF => (character, 12),
        Some(Ok(character)) => (character, 6),
        _ => (char::REPLACEMENT_CHARACTER, 6),
    }
}

/// The code unit in `\uXXXX`.
fn unit(raw: &[u8]) -> u16 {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or(0) as u16;
    raw.iter().skip(2).take(4).fold(0, |value, byte| value << 4 | digit(byte))
}
