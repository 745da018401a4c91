//! JSON paths: `Caller.Numbers[2].sip%uri` names the member `sip.uri` of an element of an array.
//!
//! Runs wherever a script reads a payload: `kazoo_json`, `{kz.json}`, `{kz.json.count}`, `kazoo_json_keys`.
//! A path is split at its dots first; then the escape character becomes a dot in each segment. A segment is a
//! member name and an optional index. Only objects have members, so a path cannot start in an array.

use std::borrow::Cow;

use memchr::memchr;

use super::json::{self, Found, JsonError, Step, Value, leading_int, write};

/// A path into a payload. Any length is fine: names are compared, never copied into buffers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path<'a> {
    steps: Vec<Step<'a>>,
}

/// Why a path can name nothing. A lookup with such a path has the result "missing".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Nothing between two dots, before the first one, or in the whole path.
    #[error("JSON path has an empty segment at byte {at}")]
    EmptySegment {
        /// Offset of the segment in the path.
        at: usize,
    },
    /// An index without a member name before it.
    #[error("JSON path has an index without a member name at byte {at}")]
    NoName {
        /// Offset of the segment in the path.
        at: usize,
    },
}

impl<'a> Path<'a> {
    /// Parses a path. `escape` stands for a dot inside a member name (modparam `json_escape_char`, `%` by
    /// default). One dot at the end is ignored.
    pub fn parse(path: &'a [u8], escape: u8) -> Result<Self, PathError> {
        let path = path.strip_suffix(b".").unwrap_or(path);
        let mut at = 0;
        let segments = path.split(|&byte| byte == b'.').map(|text| {
            let step = step(text, at, escape);
            at += text.len() + 1;
            step
        });
        segments.collect::<Result<_, _>>().map(|steps| Self { steps })
    }
}

/// Reads the segment `text`, which starts at byte `at` of its path.
fn step(text: &[u8], at: usize, escape: u8) -> Result<Step<'_>, PathError> {
    let bracket = memchr(b'[', text);
    match bracket {
        Some(0) => return Err(PathError::NoName { at }),
        None if text.is_empty() => return Err(PathError::EmptySegment { at }),
        _ => {}
    }
    let key = &text[..bracket.unwrap_or(text.len())];
    Ok(Step { key: unescape(key, escape), index: bracket.and_then(|open| index(&text[open + 1..])) })
}

/// Puts a dot in the place of each escape character.
fn unescape(key: &[u8], escape: u8) -> Cow<'_, [u8]> {
    if memchr(escape, key).is_none() {
        return Cow::Borrowed(key);
    }
    key.iter().map(|&byte| if byte == escape { b'.' } else { byte }).collect()
}

/// The index in `3]…`; text counts as 0, an empty index as none. A negative one names no element: no array is so long.
fn index(after_bracket: &[u8]) -> Option<usize> {
    let end = memchr(b']', after_bracket).unwrap_or(after_bracket.len());
    (end > 0).then(|| usize::try_from(leading_int(&after_bracket[..end])).unwrap_or(usize::MAX))
}

/// Walks `path` from the top of a payload. `None` if a member is missing, an index is out of range or negative,
/// or a value on the way is not an object. An index on something that is not an array is ignored.
pub fn lookup<'v, 'a>(root: &'v Value<'a>, path: &Path<'_>) -> Option<&'v Value<'a>> {
    path.steps.iter().try_fold(root, |value, step| {
        let value = value.get(&step.key)?;
        match (value, step.index) {
            (Value::Array(items), Some(index)) => items.get(index),
            _ => Some(value),
        }
    })
}

/// [`Path::parse`] and [`lookup`] in one; a path that can name nothing finds nothing.
pub fn find<'v, 'a>(root: &'v Value<'a>, path: &[u8], escape: u8) -> Option<&'v Value<'a>> {
    lookup(root, &Path::parse(path, escape).ok()?)
}

/// [`find`] and [`render`] in one pass over `text`, without a tree of it.
pub fn find_text<'a>(text: &'a [u8], path: &[u8], escape: u8) -> Result<Option<Cow<'a, [u8]>>, JsonError> {
    Ok(match steps_to(text, path, escape)? {
        Some(Found::Scalar(scalar)) => scalar.text().map(until_nul),
        Some(Found::Parts(parts)) => Some(Cow::Owned(Value::parse(parts)?.to_bytes())),
        None => None,
    })
}

/// [`find`] and [`count`] in one pass over `text`.
pub fn find_count(text: &[u8], path: &[u8], escape: u8) -> Result<usize, JsonError> {
    Ok(match steps_to(text, path, escape)? {
        Some(Found::Parts(parts)) => count(Some(&Value::parse(parts)?)),
        _ => 0,
    })
}

/// A path that can name nothing finds nothing; the text is checked all the same.
fn steps_to<'a>(text: &'a [u8], path: &[u8], escape: u8) -> Result<Option<Found<'a>>, JsonError> {
    match Path::parse(path, escape) {
        Ok(path) => json::find(text, &path.steps),
        Err(_) => json::find(text, &[]).map(|_| None),
    }
}

/// A script sees a text up to its first NUL.
pub(super) fn until_nul(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(json::until_nul(text)),
        Cow::Owned(mut text) => {
            text.truncate(json::until_nul(&text).len());
            Cow::Owned(text)
        }
    }
}

/// A value as script text: a string's content up to an embedded NUL, a number's text, `true` or `false`, an
/// array or object serialised. `None` for `null`, which a script sees as missing.
pub fn render<'v>(value: &'v Value<'_>) -> Option<Cow<'v, [u8]>> {
    match value {
        Value::Null => None,
        Value::Array(_) | Value::Object(_) => {
            let mut text = Vec::new();
            write(value, &mut text);
            Some(Cow::Owned(text))
        }
        scalar => scalar.scalar_text().map(|text| until_nul(Cow::Borrowed(text))),
    }
}

/// `{kz.json.count}`: the length of an array, 0 for anything else.
pub fn count(value: Option<&Value<'_>>) -> usize {
    value.and_then(Value::as_array).map_or(0, <[_]>::len)
}
