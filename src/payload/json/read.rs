//! The grammar, written once: a reader that is asked for one value, member or element after the other.
//!
//! Who asks decides what becomes of them: a tree, one value that a path leads to, a copy in the one written form.

use super::error::{Cause, JsonError, Read};
use super::scan::{END, Scalar, Scanner};
use super::text::Text;

/// Most values inside one another, the innermost counted too; the limit json-c has built in. It also bounds the
/// recursion of this module.
pub const MAX_DEPTH: usize = 32;

/// What a value is. After [`Array`](Self::Array) or [`Object`](Self::Object) the reader is inside it: every one of its
/// parts has to be read before anything behind it. The number is the offset of the bracket or brace.
#[derive(Clone, Copy)]
pub(super) enum Token<'a> {
    /// A value without parts: it has been read.
    Scalar(Scalar<'a>),
    /// To be read with [`Reader::item`].
    Array(usize),
    /// To be read with [`Reader::member`].
    Object(usize),
}

impl<'a> Token<'a> {
    /// The value, if it has no parts.
    pub(super) fn scalar(self) -> Option<Scalar<'a>> {
        if let Self::Scalar(scalar) = self { Some(scalar) } else { None }
    }

    /// Kind of the value: see [`Value::kind`](super::Value::kind).
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Scalar(Scalar::Null) => "null",
            Self::Scalar(Scalar::Bool(_)) => "boolean",
            Self::Scalar(Scalar::Number(_)) => "number",
            Self::Scalar(Scalar::String(_)) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

/// How a value begins.
#[derive(Clone, Copy)]
pub(super) enum Start {
    /// With these quotes: to be read with [`Reader::string`].
    Quote(u8),
    /// With this byte, a number or word: to be read with [`Reader::plain`].
    Plain(u8),
    /// As in [`Token::Array`].
    Array(usize),
    /// As in [`Token::Object`].
    Object(usize),
}

/// A position in a text whose structure is checked on the way. `TO_WRITE`: see [`Scanner`].
pub(super) struct Reader<'a, const TO_WRITE: bool = false> {
    scanner: Scanner<'a, TO_WRITE>,
    /// Arrays and objects around this position.
    depth: usize,
    /// Whether the last thing read is an opening bracket or brace: no comma is due.
    opened: bool,
}

impl<'a, const TO_WRITE: bool> Reader<'a, TO_WRITE> {
    /// Starts before the first value of `text`. What follows that value is never looked at.
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { scanner: Scanner::new(text), depth: 0, opened: false }
    }

    /// Reads the first value.
    pub(super) fn first(&mut self) -> Read<Token<'a>> {
        if self.scanner.next()? == END {
            return Err(JsonError::boxed(self.scanner.at(), Cause::Empty));
        }
        let at = self.scanner.at();
        match self.value()? {
            Token::Scalar(Scalar::Null) => Err(JsonError::boxed(at, Cause::Null)),
            token => Ok(token),
        }
    }

    /// Reads the value that follows.
    #[inline(always)]
    pub(super) fn value(&mut self) -> Read<Token<'a>> {
        Ok(match self.begin()? {
            Start::Quote(quote) => Token::Scalar(Scalar::String(self.string(quote)?)),
            Start::Plain(first) => Token::Scalar(self.plain(first)?),
            Start::Array(at) => Token::Array(at),
            Start::Object(at) => Token::Object(at),
        })
    }

    /// Begins to read the value that follows.
    #[inline(always)]
    pub(super) fn begin(&mut self) -> Read<Start> {
        let first = self.scanner.next()?;
        let at = self.scanner.at();
        if self.depth == MAX_DEPTH {
            return Err(JsonError::boxed(at, Cause::TooDeep { max: MAX_DEPTH }));
        }
        let start = match first {
            b'"' | b'\'' => return Ok(Start::Quote(first)),
            b'{' => Start::Object(at),
            b'[' => Start::Array(at),
            _ => return Ok(Start::Plain(first)),
        };
        self.scanner.step(1);
        self.depth += 1;
        self.opened = true;
        Ok(start)
    }

    /// Reads a string that begins with `quote`.
    #[inline(always)]
    pub(super) fn string(&mut self, quote: u8) -> Read<Text<'a>> {
        self.scanner.string(quote)
    }

    /// Reads a number or word that begins with `first`.
    #[inline(always)]
    pub(super) fn plain(&mut self, first: u8) -> Read<Scalar<'a>> {
        self.scanner.plain(first)
    }

    /// Steps to the next element of an array; false at its end, behind which the reader stands then.
    #[inline(always)]
    pub(super) fn item(&mut self) -> Read<bool> {
        self.part(b']', "',' or ']'").map(|found| found != b']')
    }

    /// Reads the name of the next member of an object and steps to its value; `None` at the end of the object, behind
    /// which the reader stands then.
    #[inline(always)]
    pub(super) fn member(&mut self) -> Read<Option<Text<'a>>> {
        let quote = if !self.opened && self.scanner.eat_comma() {
            b'"'
        } else {
            match self.part(b'}', "',' or '}'")? {
                quote @ (b'"' | b'\'') => quote,
                b'}' => return Ok(None),
                _ => return Err(self.scanner.unexpected("a quoted member name or '}'")),
            }
        };
        let name = self.scanner.string(quote)?;
        if !self.scanner.eat(b": ") {
            if self.scanner.next()? != b':' {
                return Err(self.scanner.unexpected("':'"));
            }
            self.scanner.step(1);
        }
        Ok(Some(name))
    }

    /// Steps over the comma that is due, and over `close` if that follows. Shows the byte that does.
    #[inline(always)]
    fn part(&mut self, close: u8, expected: &'static str) -> Read<u8> {
        let mut found = self.scanner.next()?;
        if !self.opened {
            if found == b',' {
                self.scanner.step(1);
                found = self.scanner.next()?;
            } else if found != close {
                return Err(self.scanner.unexpected(expected));
            }
        }
        self.opened = false;
        if found == close {
            self.scanner.step(1);
            self.depth -= 1;
        }
        Ok(found)
    }

    /// Reads the value that follows and forgets it.
    #[inline(always)]
    pub(super) fn skip_value(&mut self) -> Read<()> {
        match self.begin()? {
            Start::Quote(quote) => self.string(quote).map(drop),
            Start::Plain(first) => self.plain(first).map(drop),
            Start::Array(_) => self.skip_items(),
            Start::Object(_) => self.skip_members(),
        }
    }

    /// Reads what is left of the value that began with `token`.
    #[inline(always)]
    pub(super) fn skip(&mut self, token: &Token<'a>) -> Read<()> {
        match token {
            Token::Scalar(_) => Ok(()),
            Token::Array(_) => self.skip_items(),
            Token::Object(_) => self.skip_members(),
        }
    }

    fn skip_items(&mut self) -> Read<()> {
        while self.item()? {
            self.skip_value()?;
        }
        Ok(())
    }

    fn skip_members(&mut self) -> Read<()> {
        while self.member()?.is_some() {
            self.skip_value()?;
        }
        Ok(())
    }

    /// The text from `start` to here.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        self.scanner.since(start)
    }
}
