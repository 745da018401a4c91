//! Finds one value in a text without building a tree: what a script asks for with a path, what the manager needs of
//! every reply. The whole text is checked, so the answer is that of a tree.

use std::borrow::Cow;

use super::error::JsonError;
use super::parse::{Build, document};
use super::scan::Scalar;
use super::text::Text;

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
    document(text, &Find { steps }, Place::Reached(0))
}

/// Text of the top-level member `key`: see [`top_level_string`](crate::payload::top_level_string).
pub(in crate::payload) fn member_text<'a>(text: &'a [u8], key: &[u8]) -> Result<Option<Cow<'a, [u8]>>, JsonError> {
    let step = Step { key: Cow::Borrowed(key), index: None };
    Ok(match find(text, &[step])? {
        Some(Found::Scalar(scalar)) => scalar.text(),
        Some(Found::Parts(_)) | None => None,
    })
}

struct Find<'s, 'p> {
    steps: &'s [Step<'p>],
}

/// Where a value stands, seen from the steps.
#[derive(Clone, Copy)]
enum Place {
    /// So many steps lead here; the index of the last one is still to be applied.
    Reached(usize),
    /// The same, and this is the element that the index names.
    Element(usize),
    /// Not on the way.
    Aside,
}

impl Find<'_, '_> {
    /// The index to apply at `place`, should an array stand there.
    fn index(&self, place: Place) -> Option<usize> {
        let Place::Reached(steps) = place else { return None };
        self.steps.get(steps.checked_sub(1)?)?.index
    }

    /// Whether all steps lead to `place`.
    fn is_goal(&self, place: Place) -> bool {
        matches!(place, Place::Reached(steps) | Place::Element(steps) if steps == self.steps.len())
    }
}

impl<'a> Build<'a> for Find<'_, '_> {
    type Place = Place;
    type Node = Option<Found<'a>>;
    type Array = Option<Found<'a>>;
    type Object = Option<Found<'a>>;

    fn member(&self, place: Place, key: &Text<'a>) -> Place {
        match place {
            Place::Reached(steps) | Place::Element(steps) => match self.steps.get(steps) {
                Some(step) if key.is_key(&step.key) => Place::Reached(steps + 1),
                _ => Place::Aside,
            },
            Place::Aside => Place::Aside,
        }
    }

    fn item(&self, place: Place, index: usize) -> Place {
        match place {
            Place::Reached(steps) if self.index(place) == Some(index) => Place::Element(steps),
            _ => Place::Aside,
        }
    }

    fn scalar(&self, place: Place, scalar: Scalar<'a>) -> Self::Node {
        self.is_goal(place).then_some(Found::Scalar(scalar))
    }

    fn push(&self, array: &mut Self::Array, item: Self::Node) {
        if item.is_some() {
            *array = item;
        }
    }

    fn insert(&self, object: &mut Self::Object, place: Place, _: Text<'a>, value: Self::Node) {
        if !matches!(place, Place::Aside) {
            *object = value;
        }
    }

    fn array(&self, place: Place, array: Self::Array, text: &'a [u8]) -> Self::Node {
        if self.index(place).is_some() { array } else { self.is_goal(place).then_some(Found::Parts(text)) }
    }

    fn object(&self, place: Place, object: Self::Object, text: &'a [u8]) -> Self::Node {
        if self.is_goal(place) { Some(Found::Parts(text)) } else { object }
    }
}
