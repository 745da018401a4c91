//! Finds one value in a text without building a tree: what a script asks for with a path, what the manager needs of
//! every reply. The whole text is checked, so the answer is that of a tree.

use std::borrow::Cow;

use super::error::{JsonError, Read};
use super::read::{Reader, Token};
use super::scan::Scalar;

/// One step of a way into a text: a member, and perhaps an element if the member is an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::payload) struct Step<'p> {
    /// Name of the member.
    pub(in crate::payload) key: Cow<'p, [u8]>,
    /// Index of the element; of anything but an array it is ignored.
    pub(in crate::payload) index: Option<usize>,
}

/// What the steps led to.
pub(in crate::payload) enum Found<'a> {
    /// A value without parts.
    Scalar(Scalar<'a>),
    /// An array or object, as it stands in the text.
    Parts(&'a [u8]),
}

/// Walks `steps` from the top of `text`. Of members with the same name the last counts.
pub(in crate::payload) fn find<'a>(text: &'a [u8], steps: &[Step<'_>]) -> Result<Option<Found<'a>>, JsonError> {
    let mut reader = Reader::new(text);
    let found = reader.first().and_then(|token| reach(&mut reader, token, steps, None));
    found.map_err(|error| *error)
}

/// Text of the top-level member `key`: see [`top_level_string`](crate::payload::top_level_string).
pub(in crate::payload) fn member_text<'a>(text: &'a [u8], key: &[u8]) -> Result<Option<Cow<'a, [u8]>>, JsonError> {
    let found = member(&mut Reader::new(text), key).map_err(|error| *error)?;
    Ok(found.and_then(Scalar::text))
}

/// The member `key` of the object at the top, if it is a value without parts.
fn member<'a>(reader: &mut Reader<'a>, key: &[u8]) -> Read<Option<Scalar<'a>>> {
    let mut found = None;
    match reader.first()? {
        Token::Object(_) => {
            while let Some(name) = reader.member()? {
                if name.is_key(key) {
                    let token = reader.value()?;
                    found = token.scalar();
                    reader.skip(&token)?;
                } else {
                    reader.skip_value()?;
                }
            }
        }
        other => reader.skip(&other)?,
    }
    Ok(found)
}

/// Walks `steps` from the value that began with `token`, and reads to its end. `index`: the element to go on with if
/// that value is an array.
fn reach<'a>(
    reader: &mut Reader<'a>,
    token: Token<'a>,
    steps: &[Step<'_>],
    index: Option<usize>,
) -> Read<Option<Found<'a>>> {
    match (token, index, steps) {
        (Token::Scalar(scalar), _, _) => Ok(steps.is_empty().then_some(Found::Scalar(scalar))),
        (Token::Array(_), Some(index), _) => reach_item(reader, index, steps),
        (Token::Object(_), _, [step, rest @ ..]) => reach_member(reader, step, rest),
        (Token::Array(start) | Token::Object(start), _, _) => {
            reader.skip(&token)?;
            Ok(steps.is_empty().then(|| Found::Parts(reader.since(start))))
        }
    }
}

fn reach_item<'a>(reader: &mut Reader<'a>, index: usize, steps: &[Step<'_>]) -> Read<Option<Found<'a>>> {
    let (mut found, mut at) = (None, 0);
    while reader.item()? {
        if at == index {
            let token = reader.value()?;
            found = reach(reader, token, steps, None)?;
        } else {
            reader.skip_value()?;
        }
        at += 1;
    }
    Ok(found)
}

fn reach_member<'a>(reader: &mut Reader<'a>, step: &Step<'_>, rest: &[Step<'_>]) -> Read<Option<Found<'a>>> {
    let mut found = None;
    while let Some(name) = reader.member()? {
        if name.is_key(&step.key) {
            let token = reader.value()?;
            found = reach(reader, token, rest, step.index)?;
        } else {
            reader.skip_value()?;
        }
    }
    Ok(found)
}
