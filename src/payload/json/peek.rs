//! Reads one top-level member without building a tree: what the manager needs of every reply.

use std::borrow::Cow;

use super::error::JsonError;
use super::parse::{Build, document};
use super::scan::Scalar;
use super::text::Text;

/// Text of the top-level member `key`: see [`top_level_string`](crate::payload::top_level_string).
pub(in crate::payload) fn member_text<'a>(text: &'a [u8], key: &[u8]) -> Result<Option<Cow<'a, [u8]>>, JsonError> {
    let Seen::Object(Some(member)) = document(text, &Peek { key })? else { return Ok(None) };
    Ok(match member {
        Scalar::String(text) => Some(text.decode()),
        Scalar::Integer(text) | Scalar::Float(text) => Some(text),
        Scalar::Bool(value) => Some(Cow::Borrowed(if value { b"true" } else { b"false" })),
        Scalar::Null => None,
    })
}

/// Keeps the last scalar seen under `key` in each object; everything else is only checked.
struct Peek<'k> {
    key: &'k [u8],
}

enum Seen<'a> {
    Scalar(Scalar<'a>),
    Array,
    Object(Option<Scalar<'a>>),
}

impl<'a> Build<'a> for Peek<'_> {
    type Node = Seen<'a>;
    type Array = ();
    type Object = Option<Scalar<'a>>;

    fn scalar(&self, scalar: Scalar<'a>) -> Seen<'a> {
        Seen::Scalar(scalar)
    }

    fn push(&self, (): &mut (), _: Seen<'a>) {}

    fn insert(&self, found: &mut Option<Scalar<'a>>, key: Text<'a>, value: Seen<'a>) {
        if *key.decode_key() == *self.key {
            *found = match value {
                Seen::Scalar(scalar) => Some(scalar),
                Seen::Array | Seen::Object(_) => None,
            };
        }
    }

    fn array(&self, (): ()) -> Seen<'a> {
        Seen::Array
    }

    fn object(&self, found: Option<Scalar<'a>>) -> Seen<'a> {
        Seen::Object(found)
    }
}
