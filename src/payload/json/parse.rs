//! The grammar, written once. What comes out is decided by a [`Build`]: a tree of [`Value`]s, or one member.

use super::error::{Cause, JsonError};
use super::scan::{Scalar, Scanner};
use super::text::Text;
use super::value::{Object, Value};

/// Most values inside one another, the innermost counted too; the limit json-c has built in. It also bounds the
/// recursion of this module.
pub const MAX_DEPTH: usize = 32;

/// Makes something of the values in the order they are read.
pub(super) trait Build<'a> {
    /// What a value becomes.
    type Node;
    /// An array under construction.
    type Array: Default;
    /// An object under construction.
    type Object: Default;

    fn scalar(&self, scalar: Scalar<'a>) -> Self::Node;
    fn push(&self, array: &mut Self::Array, item: Self::Node);
    fn insert(&self, object: &mut Self::Object, key: Text<'a>, value: Self::Node);
    fn array(&self, array: Self::Array) -> Self::Node;
    fn object(&self, object: Self::Object) -> Self::Node;
}

/// Reads the first value of `text`; what follows it is ignored.
pub(super) fn document<'a, B: Build<'a>>(text: &'a [u8], build: &B) -> Result<B::Node, JsonError> {
    let mut scanner = Scanner::new(text);
    scanner.skip_blanks()?;
    let at = scanner.at();
    match scanner.peek() {
        None => Err(JsonError { at, what: Cause::Empty }),
        Some(b'[' | b'{') => value(&mut scanner, build, 1),
        Some(_) => match scanner.scalar()? {
            Scalar::Null => Err(JsonError { at, what: Cause::Null }),
            scalar => Ok(build.scalar(scalar)),
        },
    }
}

fn value<'a, B: Build<'a>>(scanner: &mut Scanner<'a>, build: &B, depth: usize) -> Result<B::Node, JsonError> {
    if depth > MAX_DEPTH {
        return Err(JsonError { at: scanner.at(), what: Cause::TooDeep { max: MAX_DEPTH } });
    }
    if scanner.eat(b'{') {
        object(scanner, build, depth)
    } else if scanner.eat(b'[') {
        array(scanner, build, depth)
    } else {
        scanner.scalar().map(|scalar| build.scalar(scalar))
    }
}

fn array<'a, B: Build<'a>>(scanner: &mut Scanner<'a>, build: &B, depth: usize) -> Result<B::Node, JsonError> {
    let mut items = B::Array::default();
    scanner.skip_blanks()?;
    while !scanner.eat(b']') {
        build.push(&mut items, value(scanner, build, depth + 1)?);
        separator(scanner, b']', "',' or ']'")?;
    }
    Ok(build.array(items))
}

fn object<'a, B: Build<'a>>(scanner: &mut Scanner<'a>, build: &B, depth: usize) -> Result<B::Node, JsonError> {
    let mut members = B::Object::default();
    scanner.skip_blanks()?;
    while !scanner.eat(b'}') {
        let key = scanner.string("a quoted member name or '}'")?;
        scanner.skip_blanks()?;
        scanner.require(b':', "':'")?;
        scanner.skip_blanks()?;
        build.insert(&mut members, key, value(scanner, build, depth + 1)?);
        separator(scanner, b'}', "',' or '}'")?;
    }
    Ok(build.object(members))
}

/// Steps over a comma and the blanks around it; without a comma, `close` must follow.
fn separator(scanner: &mut Scanner<'_>, close: u8, expected: &'static str) -> Result<(), JsonError> {
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
    type Node = Value<'a>;
    type Array = Vec<Value<'a>>;
    type Object = Object<'a>;

    fn scalar(&self, scalar: Scalar<'a>) -> Value<'a> {
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

    fn insert(&self, object: &mut Object<'a>, key: Text<'a>, value: Value<'a>) {
        object.append(key.decode_key(), value);
    }

    fn array(&self, array: Vec<Value<'a>>) -> Value<'a> {
        Value::Array(array)
    }

    fn object(&self, mut object: Object<'a>) -> Value<'a> {
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
        document(text, &Tree)
    }
}
