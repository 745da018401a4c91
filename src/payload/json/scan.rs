//! Tokens of the dialect. Knows what a string, a number or a comment is, nothing of arrays and objects.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memmem};

use super::error::{Cause, JsonError};
use super::number;
use super::text::Text;

/// A value without parts.
#[derive(Debug, Clone)]
pub(super) enum Scalar<'a> {
    Null,
    Bool(bool),
    Integer(Cow<'a, [u8]>),
    Float(Cow<'a, [u8]>),
    String(Text<'a>),
}

/// Words of the dialect, matched in any case. `Infinity` and `NaN` are written back in this spelling.
const WORDS: [(&[u8], Scalar<'static>); 6] = [
    (b"null", Scalar::Null),
    (b"true", Scalar::Bool(true)),
    (b"false", Scalar::Bool(false)),
    (b"NaN", Scalar::Float(Cow::Borrowed(b"NaN"))),
    (b"Infinity", Scalar::Float(Cow::Borrowed(b"Infinity"))),
    (b"-Infinity", Scalar::Float(Cow::Borrowed(b"-Infinity"))),
];

/// A position in a text.
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Starts at the first byte. The text ends at its first NUL byte, as it does for a C string.
    pub(super) fn new(text: &'a [u8]) -> Self {
        let end = memchr(0, text).unwrap_or(text.len());
        Self { text: &text[..end], at: 0 }
    }

    /// Offset of the next byte.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next byte, `None` at the end.
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Steps over `byte` if it is the next one.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Steps over `byte`, which must follow.
    pub(super) fn require(&mut self, byte: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.eat(byte) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    /// The error for whatever stands here instead of `expected`.
    pub(super) fn unexpected(&self, expected: &'static str) -> JsonError {
        let what = match self.peek() {
            Some(found) => Cause::Unexpected { found, expected },
            None => Cause::End { expected },
        };
        JsonError { at: self.at, what }
    }

    /// Steps over blanks and comments.
    pub(super) fn skip_blanks(&mut self) -> Result<(), JsonError> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(b'/') => self.skip_comment()?,
                _ => return Ok(()),
            }
        }
    }

    /// Steps over one comment, `/* … */` or `// …` up to and including the end of the line.
    fn skip_comment(&mut self) -> Result<(), JsonError> {
        let rest = &self.text[self.at..];
        let length = match rest.get(1) {
            Some(b'*') => memmem::find(&rest[2..], b"*/").map(|end| 2 + end + 2),
            Some(b'/') => memchr(b'\n', rest).map(|end| end + 1),
            _ => return Err(self.unexpected("a value or a comment")),
        };
        let unclosed = JsonError { at: self.at, what: Cause::Unclosed { what: "comment" } };
        self.at += length.ok_or(unclosed)?;
        Ok(())
    }

    /// Reads a value without parts.
    pub(super) fn scalar(&mut self) -> Result<Scalar<'a>, JsonError> {
        match self.peek() {
            Some(b'"' | b'\'') => self.string("a value").map(Scalar::String),
            Some(b'-' | b'0'..=b'9') if !self.at_minus_infinity() => self.number(),
            _ => self.word(),
        }
    }

    /// Whether a minus sign and the word `Infinity` seem to follow.
    fn at_minus_infinity(&self) -> bool {
        matches!(self.text[self.at..], [b'-', b'i' | b'I', ..])
    }

    fn number(&mut self) -> Result<Scalar<'a>, JsonError> {
        let span = number::span(&self.text[self.at..]);
        let scalar = number::scalar(span).ok_or(JsonError { at: self.at, what: Cause::Number })?;
        self.at += span.len();
        Ok(scalar)
    }

    fn word(&mut self) -> Result<Scalar<'a>, JsonError> {
        let rest = &self.text[self.at..];
        let known = |word: &[u8]| rest.get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word));
        let (word, scalar) = WORDS.iter().find(|(word, _)| known(word)).ok_or_else(|| self.unexpected("a value"))?;
        self.at += word.len();
        Ok(scalar.clone())
    }

    /// Reads a string in either kind of quotes and checks its escape sequences.
    pub(super) fn string(&mut self, expected: &'static str) -> Result<Text<'a>, JsonError> {
        let open = self.at;
        let quote = match self.peek() {
            Some(quote @ (b'"' | b'\'')) => quote,
            _ => return Err(self.unexpected(expected)),
        };
        self.at += 1;
        let mut escaped = false;
        loop {
            let Some(run) = memchr2(quote, b'\\', &self.text[self.at..]) else {
                return Err(JsonError { at: open, what: Cause::Unclosed { what: "string" } });
            };
            self.at += run;
            if self.eat(quote) {
                return Ok(Text::new(&self.text[open + 1..self.at - 1], escaped));
            }
            escaped = true;
            self.escape()?;
        }
    }

    /// Steps over one escape sequence.
    fn escape(&mut self) -> Result<(), JsonError> {
        let length = match self.text[self.at..] {
            [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [_, b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return Err(JsonError { at: self.at, what: Cause::Escape }),
        };
        self.at += length;
        Ok(())
    }
}
