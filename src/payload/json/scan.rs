//! Tokens of the dialect. Knows what a string, a number or a comment is, nothing of arrays and objects.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memmem};

use super::chunk::{self, BLOCK, Chunk, Found};
use super::error::{Cause, JsonError, Read};
use super::number::Number;
use super::text::Text;

/// A value without parts, as it stands in the text.
#[derive(Debug, Clone, Copy)]
pub(in crate::payload) enum Scalar<'a> {
    Null,
    Bool(bool),
    Number(Number<'a>),
    String(Text<'a>),
}

impl<'a> Scalar<'a> {
    /// A string's content, a number's text, `true` or `false`; `None` for null.
    pub(in crate::payload) fn text(self) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::String(text) => Some(text.decode()),
            Self::Number(number) => Some(number.text()),
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
    (b"NaN", Scalar::Number(Number::Float(b"NaN"))),
    (b"Infinity", Scalar::Number(Number::Float(b"Infinity"))),
    (b"-Infinity", Scalar::Number(Number::Float(b"-Infinity"))),
];

/// The bytes of a string before the first `quote` or backslash, all of them if there is none. Most strings are short, so
/// it looks at eight bytes at a time before it goes over to what is made for long ones: blocks, or a search where nobody
/// will write the string.
#[inline(always)]
fn run<const TO_WRITE: bool>(text: &[u8], quote: u8) -> Run {
    let (mut seen, mut special) = (0, Found::none());
    while let Some(chunk) = text.get(seen..).and_then(<[u8]>::first_chunk) {
        let chunk = Chunk::new(chunk);
        let end = chunk.equal(quote) | chunk.equal(b'\\');
        let others = if TO_WRITE { chunk.less(0x20) | chunk.equal(b'/') } else { Found::none() };
        if let Some(at) = end.first() {
            return Run { bytes: seen + at, is_plain: TO_WRITE && (special | others.before(end)).first().is_none() };
        }
        special = special | others;
        seen += Chunk::BYTES;
        if !TO_WRITE && seen == BLOCK {
            break;
        }
        if TO_WRITE && seen.is_multiple_of(2 * BLOCK) {
            seen += plain_blocks(text.get(seen..).unwrap_or_default(), quote);
        }
    }
    let more = text.get(seen..).and_then(|rest| memchr2(quote, b'\\', rest));
    Run { bytes: more.map_or(text.len(), |more| seen + more), is_plain: false }
}

/// Bytes at the start of `text` that are the inside of a string and written as they stand, in whole blocks.
#[inline(always)]
fn plain_blocks(text: &[u8], quote: u8) -> usize {
    let (blocks, _) = text.as_chunks();
    blocks.iter().take_while(|block| chunk::is_plain(block, quote)).count() * BLOCK
}

/// What [`run`] has found.
struct Run {
    bytes: usize,
    /// None of the bytes needs an escape sequence when it is written. False if nobody has looked: in a long run, or in
    /// a text that is not going to be written.
    is_plain: bool,
}

/// What [`Scanner::peek`] shows at the end of the text. No text has this byte: it ends there.
pub(super) const END: u8 = 0;

/// A position in a text. `TO_WRITE`: strings will be written, so find out whether they can be written as they are.
pub(super) struct Scanner<'a, const TO_WRITE: bool> {
    text: &'a [u8],
    /// What is left of it.
    rest: &'a [u8],
}

impl<'a, const TO_WRITE: bool> Scanner<'a, TO_WRITE> {
    /// Starts at the first byte. The text ends at its first NUL byte, as it does for a C string.
    pub(super) fn new(text: &'a [u8]) -> Self {
        let text = chunk::until_nul(text);
        Self { text, rest: text }
    }

    /// Offset of the next byte.
    #[inline(always)]
    pub(super) fn at(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    /// The text from `start` to here.
    #[inline(always)]
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        self.text.get(start..self.at()).unwrap_or_default()
    }

    /// The next byte.
    #[inline(always)]
    pub(super) fn peek(&self) -> u8 {
        self.rest.first().copied().unwrap_or(END)
    }

    /// Steps over bytes that were looked at.
    #[inline(always)]
    pub(super) fn step(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// Steps over `text` if it follows.
    #[inline(always)]
    pub(super) fn eat<const N: usize>(&mut self, text: &[u8; N]) -> bool {
        match self.rest.split_first_chunk() {
            Some((found, rest)) if found == text => self.rest = rest,
            _ => return false,
        }
        true
    }

    /// Steps over a comma as most write it before a member: one blank behind it or none, then the usual quotes.
    #[inline(always)]
    pub(super) fn eat_comma(&mut self) -> bool {
        match self.rest {
            [b',', b' ', b'"', ..] => self.step(2),
            [b',', b'"', ..] => self.step(1),
            _ => return false,
        }
        true
    }

    /// The error for whatever stands here instead of `expected`.
    #[cold]
    pub(super) fn unexpected(&self, expected: &'static str) -> Box<JsonError> {
        let what = match self.peek() {
            END => Cause::End { expected },
            found => Cause::Unexpected { found, expected },
        };
        JsonError::boxed(self.at(), what)
    }

    /// Steps over blanks and comments, and shows the byte behind them. Mostly there is one blank or none.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Read<u8> {
        if let [b' ', rest @ ..] = self.rest {
            self.rest = rest;
        }
        let byte = self.peek();
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'/') { self.next_behind_more() } else { Ok(byte) }
    }

    #[cold]
    fn next_behind_more(&mut self) -> Read<u8> {
        loop {
            match self.peek() {
                b' ' | b'\t' | b'\n' | b'\r' => self.step(1),
                b'/' => self.skip_comment()?,
                byte => return Ok(byte),
            }
        }
    }

    /// Steps over one comment, `/* … */` or `// …` up to and including the end of the line.
    fn skip_comment(&mut self) -> Read<()> {
        let bytes = match self.rest {
            [_, b'*', inside @ ..] => memmem::find(inside, b"*/").map(|end| 2 + end + 2),
            [_, b'/', ..] => memchr(b'\n', self.rest).map(|end| end + 1),
            _ => return Err(self.unexpected("a value or a comment")),
        };
        self.step(bytes.ok_or_else(|| JsonError::boxed(self.at(), Cause::Unclosed { what: "comment" }))?);
        Ok(())
    }

    /// Reads the number or word that begins with `first`, which stands here.
    #[inline(always)]
    pub(super) fn plain(&mut self, first: u8) -> Read<Scalar<'a>> {
        if first.is_ascii_digit() { self.number() } else { self.word() }
    }

    #[inline(always)]
    fn number(&mut self) -> Read<Scalar<'a>> {
        let found = Number::leading(self.rest);
        let (number, rest) = found.ok_or_else(|| JsonError::boxed(self.at(), Cause::Number))?;
        self.rest = rest;
        Ok(Scalar::Number(number))
    }

    /// Reads a word, or a number with a sign.
    fn word(&mut self) -> Read<Scalar<'a>> {
        if self.peek() == b'-' && !matches!(self.rest, [_, b'i' | b'I', ..]) {
            return self.number();
        }
        let known = |word: &[u8]| self.rest.get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word));
        let (word, scalar) = WORDS.iter().find(|(word, _)| known(word)).ok_or_else(|| self.unexpected("a value"))?;
        self.step(word.len());
        Ok(*scalar)
    }

    /// Reads a string in these quotes, the first of which stands here, and checks its escape sequences.
    #[inline(always)]
    pub(super) fn string(&mut self, quote: u8) -> Read<Text<'a>> {
        const QUOTES: usize = 2;
        let run = run::<TO_WRITE>(self.rest.get(1..).unwrap_or_default(), quote);
        match self.rest.split_at_checked(run.bytes + QUOTES) {
            Some((token, rest)) if token.last() == Some(&quote) => {
                self.rest = rest;
                let is_plain = run.is_plain && quote == b'"';
                Ok(if is_plain { Text::Plain(token) } else { Text::Special(token) })
            }
            _ => self.escaped_string(quote),
        }
    }

    /// The same for a string that has escape sequences, or no end.
    #[inline(never)]
    fn escaped_string(&mut self, quote: u8) -> Read<Text<'a>> {
        let start = self.at();
        self.step(1);
        loop {
            self.step(run::<false>(self.rest, quote).bytes);
            match self.peek() {
                END => return Err(JsonError::boxed(start, Cause::Unclosed { what: "string" })),
                b'\\' => self.escape()?,
                _ => break,
            }
        }
        self.step(1);
        Ok(Text::Escaped(self.since(start)))
    }

    /// Steps over one escape sequence.
    fn escape(&mut self) -> Read<()> {
        let bytes = match self.rest {
            [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [_, b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|byte| byte.is_ascii_hexdigit()) => 6,
            _ => return Err(JsonError::boxed(self.at(), Cause::Escape)),
        };
        self.step(bytes);
        Ok(())
    }
}
