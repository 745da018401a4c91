//! Builds a tree of [`Value`]s.

use super::error::{JsonError, Read};
use super::number::Number;
use super::read::{Reader, Token};
use super::scan::Scalar;
use super::value::{Object, Value};

impl<'a> Value<'a> {
    /// Parses the first JSON value of `text`, leniently.
    ///
    /// The dialect is described at the head of [this module](super). Strings without escape sequences and numbers
    /// borrow from `text`. Errors name the cause and the byte; the single value `null` is an error.
    pub fn parse(text: &'a [u8]) -> Result<Self, JsonError> {
        let mut reader = Reader::new(text);
        let value = reader.first().and_then(|token| value(&mut reader, token));
        value.map_err(|error| *error)
    }
}

fn value<'a>(reader: &mut Reader<'a>, token: Token<'a>) -> Read<Value<'a>> {
    match token {
        Token::Scalar(scalar) => Ok(scalar.into()),
        Token::Array(_) => array(reader).map(Value::Array),
        Token::Object(_) => object(reader).map(Value::Object),
    }
}

fn array<'a>(reader: &mut Reader<'a>) -> Read<Vec<Value<'a>>> {
    let mut items = Vec::new();
    while reader.item()? {
        let token = reader.value()?;
        items.push(value(reader, token)?);
    }
    Ok(items)
}

fn object<'a>(reader: &mut Reader<'a>) -> Read<Object<'a>> {
    let mut members = Object::default();
    while let Some(name) = reader.member()? {
        let token = reader.value()?;
        members.append(name.decode_key(), value(reader, token)?);
    }
    members.settle();
    Ok(members)
}

impl<'a> From<Scalar<'a>> for Value<'a> {
    fn from(scalar: Scalar<'a>) -> Self {
        match scalar {
            Scalar::Null => Self::Null,
            Scalar::Bool(value) => Self::Bool(value),
            Scalar::Number(number @ Number::Integer(_)) => Self::Integer(number.text()),
            Scalar::Number(number @ Number::Float(_)) => Self::Float(number.text()),
            Scalar::String(text) => Self::String(text.decode()),
        }
    }
}
