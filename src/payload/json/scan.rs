//! Tokens of the dialect. Knows what a string, a number or a comment is, nothing of arrays and objects.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memmem};

use super::error::{Cause, JsonError, Read};
use super::number;
use super::text::Text;

/// A value without parts.
#[derive(Debug, Clone)]
pub(in crate::payload) enum Scalar<'a> {
    Null,
    Bool(bool),
    Integer(Cow<'a, [u8]>),
    Float(Cow<'a, [u8]>),
    String(Text<'a>),
}

impl<'a> Scalar<'a> {
    /// A string's content, a number's text, `true` or `false`; `None` for null.
    pub(in crate::payload) fn text(self) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::String(text) => Some(text.decode()),
            Self::Integer(text) | Self::Float(text) => Some(text),
            Self::Bool(value) => Some(Cow::Borrowed(if value { b"true" } else { b"false" })),
            Self::Null => None,
        }
    }
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

/// Bytes before the first `quote` or backslash. Most strings are short, so it looks at eight bytes at a time before it
/// calls for the search that is made for long ones.
fn plain_run(text: &[u8], quote: u8) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    /// Chunks looked at here.
    const FEW: usize = 2;
    // The lowest marked byte is the first that is zero; those above it need not be right.
    let zero_bytes = |chunk: u64| chunk.wrapping_sub(ONES) & !chunk & HIGH;
    let (quotes, backslashes) = (ONES * u64::from(quote), ONES * u64::from(b'\\'));
    let mut seen = 0;
    while let Some(chunk) = text[seen..].first_chunk::<8>() {
        let chunk = u64::from_le_bytes(*chunk);
        let found = zero_bytes(chunk ^ quotes) | zero_bytes(chunk ^ backslashes);
        if found != 0 {
            return Some(seen + found.trailing_zeros() as usize / 8);
        }
        seen += 8;
        if seen == FEW * 8 {
            break;
        }
    }
    memchr2(quote, b'\\', &text[seen..]).map(|run| seen + run)
}

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

    /// The text from `start` to here.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        self.text.get(start..self.at).unwrap_or_default()
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
    pub(super) fn require(&mut self, byte: u8, expected: &'static str) -> Read<()> {
        if self.eat(byte) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    /// The error for whatever stands here instead of `expected`.
    pub(super) fn unexpected(&self, expected: &'static str) -> Box<JsonError> {
        let what = match self.peek() {
            Some(found) => Cause::Unexpected { found, expected },
            None => Cause::End { expected },
        };
        JsonError::boxed(self.at, what)
    }

    /// Steps over blanks and comments. Mostly there is one blank or none.
    #[inline(always)]
    pub(super) fn skip_blanks(&mut self) -> Read<()> {
        self.at += usize::from(self.peek() == Some(b' '));
        match self.peek() {
            Some(b' ' | b'\t' | b'\n' | b'\r' | b'/') => self.skip_more_blanks(),
            _ => Ok(()),
        }
    }

    #[cold]
    fn skip_more_blanks(&mut self) -> Read<()> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(b'/') => self.skip_comment()?,
                _ => return Ok(()),
            }
        }
    }

    /// Steps over one comment, `/* … */` or `// …` up to and including the end of the line.
    fn skip_comment(&mut self) -> Read<()> {
        let rest = &self.text[self.at..];
        let length = match rest.get(1) {
            Some(b'*') => memmem::find(&rest[2..], b"*/").map(|end| 2 + end + 2),
            Some(b'/') => memchr(b'\n', rest).map(|end| end + 1),
            _ => return Err(self.unexpected("a value or a comment")),
        };
        let at = self.at;
        self.at += length.ok_or_else(|| JsonError::boxed(at, Cause::Unclosed { what: "comment" }))?;
        Ok(())
    }

    /// Reads a value without parts.
    pub(super) fn scalar(&mut self) -> Read<Scalar<'a>> {
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

    fn number(&mut self) -> Read<Scalar<'a>> {
        let span = number::span(&self.text[self.at..]);
        let scalar = number::scalar(span).ok_or_else(|| JsonError::boxed(self.at, Cause::Number))?;
        self.at += span.len();
        Ok(scalar)
    }

    fn word(&mut self) -> Read<Scalar<'a>> {
        let rest = &self.text[self.at..];
        let known = |word: &[u8]| rest.get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word));
        let (word, scalar) = WORDS.iter().find(|(word, _)| known(word)).ok_or_else(|| self.unexpected("a value"))?;
        self.at += word.len();
        Ok(scalar.clone())
    }

    /// Reads a string in either kind of quotes and checks its escape sequences.
    #[inline]
    pub(super) fn string(&mut self, expected: &'static str) -> Read<Text<'a>> {
        let open = self.at;
        let quote = match self.peek() {
            Some(quote @ (b'"' | b'\'')) => quote,
            _ => return Err(self.unexpected(expected)),
        };
        self.at += 1;
        match plain_run(&self.text[self.at..], quote) {
            Some(run) if self.text.get(self.at + run) == Some(&quote) => {
                self.at += run + 1;
                Ok(Text::new(&self.text[open + 1..self.at - 1], false))
            }
            _ => self.escaped_string(open, quote),
        }
    }

    /// Goes on with a string that opened at `open` and is not plain up to its end.
    fn escaped_string(&mut self, open: usize, quote: u8) -> Read<Text<'a>> {
        let mut escaped = false;
        loop {
            let Some(run) = plain_run(&self.text[self.at..], quote) else {
                return Err(JsonError::boxed(open, Cause::Unclosed { what: "string" }));
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
    fn escape(&mut self) -> Read<()> {
        let length = match self.text[self.at..] {
            [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [_, b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return Err(JsonError::boxed(self.at, Cause::Escape)),
        };
        self.at += length;
        Ok(())
    }
}
