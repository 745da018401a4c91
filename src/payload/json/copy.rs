//! Reads a text and writes it in the one form in the same pass: no tree.

use std::borrow::Cow;

use super::error::Read;
use super::read::{Reader, Start, Token};
use super::scan::Scalar;
use super::text::Text;
use super::write::write_string;
use super::written::{Memory, Written};
use crate::payload::PayloadError;

/// An object on the way from the text it is read from to the one that is written.
pub(in crate::payload) struct Copier<'a> {
    reader: Reader<'a, true>,
    written: Written,
}

impl<'a> Copier<'a> {
    /// Copies the object at the top of `text`, with room for `more` bytes, into `memory`. `instead_of_null` is asked about each
    /// of its members, and may give a string to write in the place of a `null`.
    pub(in crate::payload) fn object<'e>(
        text: &'a [u8],
        more: usize,
        memory: Memory,
        instead_of_null: impl FnMut(Text<'a>) -> Option<&'e [u8]>,
    ) -> Result<Written, PayloadError> {
        let mut copier = Self { reader: Reader::new(text), written: Written::in_memory(memory, text.len() + more) };
        match copier.top(instead_of_null) {
            Ok(Ok(())) => Ok(copier.written),
            Ok(Err(found)) => Err(PayloadError::NotAnObject { found }),
            Err(error) => Err(PayloadError::NotJson(*error)),
        }
    }

    /// Copies the first value. If it is no object its kind is the error, once it is known to be valid.
    fn top<'e>(
        &mut self,
        mut instead_of_null: impl FnMut(Text<'a>) -> Option<&'e [u8]>,
    ) -> Read<Result<(), &'static str>> {
        let first = self.reader.first()?;
        if !matches!(first, Token::Object(_)) {
            self.reader.skip(&first)?;
            return Ok(Err(first.kind()));
        }
        let mut names = self.written.open();
        while let Some(name) = self.reader.member()? {
            self.written.name(&mut names, name);
            match (self.reader.begin()?, instead_of_null(name)) {
                (Start::Plain(first), Some(text)) => match self.reader.plain(first)? {
                    Scalar::Null => write_string(text, &mut self.written.text),
                    scalar => self.plain(scalar),
                },
                (start, _) => self.value(start)?,
            }
        }
        self.written.close(names);
        Ok(Ok(()))
    }

    /// Copies the value that begins with `start`.
    #[inline(always)]
    fn value(&mut self, start: Start) -> Read<()> {
        match start {
            Start::Quote(quote) => match self.reader.string(quote)? {
                Text::Plain(token) => self.written.text.extend_from_slice(token),
                text => self.special(text),
            },
            Start::Plain(first) => {
                let scalar = self.reader.plain(first)?;
                self.plain(scalar);
            }
            Start::Array(_) => return self.items(),
            Start::Object(_) => return self.members(),
        }
        Ok(())
    }

    #[inline(never)]
    fn special(&mut self, text: Text<'a>) {
        write_string(&text.decode(), &mut self.written.text);
    }

    /// Writes a number or word.
    fn plain(&mut self, scalar: Scalar<'a>) {
        let text = scalar.text().unwrap_or(Cow::Borrowed(b"null"));
        self.written.text.extend_from_slice(&text);
    }

    fn items(&mut self) -> Read<()> {
        let mut before = b'[';
        while self.reader.item()? {
            self.written.text.extend_from_slice(&[before, b' ']);
            before = b',';
            let start = self.reader.begin()?;
            self.value(start)?;
        }
        if before == b'[' {
            self.written.text.push(b'[');
        }
        self.written.text.extend_from_slice(b" ]");
        Ok(())
    }

    fn members(&mut self) -> Read<()> {
        let mut names = self.written.open();
        while let Some(name) = self.reader.member()? {
            self.written.name(&mut names, name);
            let start = self.reader.begin()?;
            self.value(start)?;
        }
        self.written.close(names);
        self.written.forget(names);
        Ok(())
    }
}
