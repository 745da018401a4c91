//! The grammar, written once. What comes out is decided by a [`Build`]: a tree of [`Value`]s, or one value
//! that a path leads to.

use super::error::{Cause, JsonError, Read};
use super::scan::{Scalar, Scanner};
use super::text::Text;
use super::value::{Object, Value};

/// Most values inside one another, the innermost counted too; the limit json-c has built in. It also bounds the
/// recursion of this module.
pub const MAX_DEPTH: usize = 32;

/// Makes something of the values in the order they are read.
pub(super) trait Build<'a> {
    /// Where a value stands, as far as it matters for what becomes of it.
    type Place: Copy;
    /// What a value becomes.
    type Node;
    /// An array under construction.
    type Array: Default;
    /// An object under construction.
    type Object: Default;

    /// The place of member `key` of the object at `place`.
    fn member(&self, place: Self::Place, key: &Text<'a>) -> Self::Place;
    /// The place of element `index` of the array at `place`.
    fn item(&self, place: Self::Place, index: usize) -> Self::Place;
    fn scalar(&self, place: Self::Place, scalar: Scalar<'a>) -> Self::Node;
    fn push(&self, array: &mut Self::Array, item: Self::Node);
    /// `place` is that of the member.
    fn insert(&self, object: &mut Self::Object, place: Self::Place, key: Text<'a>, value: Self::Node);
    /// `text` is the array's own, brackets included.
    fn array(&self, place: Self::Place, array: Self::Array, text: &'a [u8]) -> Self::Node;
    /// `text` is the object's own, braces included.
    fn object(&self, place: Self::Place, object: Self::Object, text: &'a [u8]) -> Self::Node;
}

/// Reads the first value of `text`, which stands at `place`; what follows it is ignored.
pub(super) fn document<'a, B: Build<'a>>(text: &'a [u8], build: &B, place: B::Place) -> Result<B::Node, JsonError> {
    first_value(text, build, place).map_err(|error| *error)
}

fn first_value<'a, B: Build<'a>>(text: &'a [u8], build: &B, place: B::Place) -> Read<B::Node> {
    let mut scanner = Scanner::new(text);
    scanner.skip_blanks()?;
    let at = scanner.at();
    match scanner.peek() {
        None => Err(JsonError::boxed(at, Cause::Empty)),
        Some(b'[' | b'{') => value(&mut scanner, build, place, 1),
        Some(_) => match scanner.scalar()? {
            Scalar::Null => Err(JsonError::boxed(at, Cause::Null)),
            scalar => Ok(build.scalar(place, scalar)),
        },
    }
}

fn value<'a, B: Build<'a>>(scanner: &mut Scanner<'a>, build: &B, place: B::Place, depth: usize) -> Read<B::Node> {
    let parts = match scanner.peek() {
        Some(b'{') => object,
        Some(b'[') => array,
        _ if depth <= MAX_DEPTH => return scanner.scalar().map(|scalar| build.scalar(place, scalar)),
        _ => return Err(too_deep(scanner)),
    };
    if depth > MAX_DEPTH { Err(too_deep(scanner)) } else { parts(scanner, build, place, depth) }
}

fn too_deep(scanner: &Scanner<'_>) -> Box<JsonError> {
    JsonError::boxed(scanner.at(), Cause::TooDeep { max: MAX_DEPTH })
}

fn array<'a, B: Build<'a>>(scanner: &mut Scanner<'a>, build: &B, place: B::Place, depth: usize) -> Read<B::Node> {
    let (start, mut index, mut items) = (scanner.at(), 0, B::Array::default());
    scanner.require(b'[', "'['")?;
    scanner.skip_blanks()?;
    while !scanner.eat(b']') {
        build.push(&mut items, value(scanner, build, build.item(place, index), depth + 1)?);
        separator(scanner, b']', "',' or ']'")?;
        index += 1;
    }
    Ok(build.array(place, items, scanner.since(start)))
}

fn object<'a, B: Build<'a>>(scanner: &mut Scanner<'a>, build: &B, place: B::Place, depth: usize) -> Read<B::Node> {
    let (start, mut members) = (scanner.at(), B::Object::default());
    scanner.require(b'{', "'{'")?;
    scanner.skip_blanks()?;
    while !scanner.eat(b'}') {
        let key = scanner.string("a quoted member name or '}'")?;
        scanner.skip_blanks()?;
        scanner.require(b':', "':'")?;
        scanner.skip_blanks()?;
        let member = build.member(place, &key);
        build.insert(&mut members, member, key, value(scanner, build, member, depth + 1)?);
        separator(scanner, b'}', "',' or '}'")?;
    }
    Ok(build.object(place, members, scanner.since(start)))
}

/// Steps over a comma and the blanks around it; without a comma, `close` must follow.
fn separator(scanner: &mut Scanner<'_>, close: u8, expected: &'static str) -> Read<()> {
    scanner.skip_blanks()?;
    if scanner.eat(b',') {
        scanner.skip_blanks()
    } else if scanner.peek() == Some(close) {
        Ok(())
    } else {
        Err(scanner.unexpected(expected))
    }
}

/// Builds a tree of [`Value`]s.
struct Tree;

impl<'a> Build<'a> for Tree {
    type Place = ();
    type Node = Value<'a>;
    type Array = Vec<Value<'a>>;
    type Object = Object<'a>;

    fn member(&self, (): (), _: &Text<'a>) {}

    fn item(&self, (): (), _: usize) {}

    fn scalar(&self, (): (), scalar: Scalar<'a>) -> Value<'a> {
        match scalar {
            Scalar::Null => Value::Null,
            Scalar::Bool(value) => Value::Bool(value),
            Scalar::Integer(text) => Value::Integer(text),
            Scalar::Float(text) => Value::Float(text),
            Scalar::String(text) => Value::String(text.decode()),
        }
    }

    fn push(&self, array: &mut Vec<Value<'a>>, item: Value<'a>) {
        array.push(item);
    }

    fn insert(&self, object: &mut Object<'a>, (): (), key: Text<'a>, value: Value<'a>) {
        object.append(key.decode_key(), value);
    }

    fn array(&self, (): (), array: Vec<Value<'a>>, _: &'a [u8]) -> Value<'a> {
        Value::Array(array)
    }

    fn object(&self, (): (), mut object: Object<'a>, _: &'a [u8]) -> Value<'a> {
        object.settle();
        Value::Object(object)
    }
}

impl<'a> Value<'a> {
    /// Parses the first JSON value of `text`, leniently.
    ///
    /// The dialect is described at the head of [this module](super). Strings without escape sequences and numbers
    /// borrow from `text`. Errors name the cause and the byte; the single value `null` is an error.
    pub fn parse(text: &'a [u8]) -> Result<Self, JsonError> {
        document(text, &Tree, ())
    }
}
