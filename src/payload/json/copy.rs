//! Reads a text and writes it in the one form in the same pass: no tree.

use super::error::Read;
use super::read::{Reader, Token};
use super::scan::Scalar;
use super::text::Text;
use super::write::write_string;
use super::written::Written;
use crate::payload::PayloadError;

/// An object on the way from the text it is read from to the one that is written.
pub(in crate::payload) struct Copier<'a> {
    reader: Reader<'a>,
    written: Written,
}

impl<'a> Copier<'a> {
    /// Copies the object at the top of `text`, with room for `more` bytes. `instead_of_null` is asked about each of its
    /// members, and may give a string to write in the place of a `null`.
    pub(in crate::payload) fn object<'e>(
        text: &'a [u8],
        more: usize,
        instead_of_null: impl FnMut(Text<'a>) -> Option<&'e [u8]>,
    ) -> Result<Written, PayloadError> {
        let mut copier = Self { reader: Reader::new(text), written: Written::with_capacity(text.len() + more) };
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
            let token = self.reader.value()?;
            match (token, instead_of_null(name)) {
                (Token::Scalar(Scalar::Null), Some(text)) => write_string(text, &mut self.written.text),
                _ => self.value(token)?,
            }
        }
        self.written.close(names);
        Ok(Ok(()))
    }

    /// Copies the value that began with `token`.
    #[inline(always)]
    fn value(&mut self, token: Token<'a>) -> Read<()> {
        match token {
            Token::Scalar(scalar) => self.scalar(scalar),
            Token::Array(_) => return self.items(),
            Token::Object(_) => return self.members(),
        }
        Ok(())
    }

    #[inline(always)]
    fn scalar(&mut self, scalar: Scalar<'a>) {
        let out = &mut self.written.text;
        match scalar {
            Scalar::Null => out.extend_from_slice(b"null"),
            Scalar::Bool(true) => out.extend_from_slice(b"true"),
            Scalar::Bool(false) => out.extend_from_slice(b"false"),
            Scalar::Number(number) => out.extend_from_slice(&number.text()),
            Scalar::String(Text::Plain(text)) => {
                out.push(b'"');
                out.extend_from_slice(text);
                out.push(b'"');
            }
            Scalar::String(text) => write_string(&text.decode(), out),
        }
    }

    fn items(&mut self) -> Read<()> {
        let mut before = b'[';
        while self.reader.item()? {
            self.written.text.extend_from_slice(&[before, b' ']);
            before = b',';
            let token = self.reader.value()?;
            self.value(token)?;
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
            let token = self.reader.value()?;
            self.value(token)?;
        }
        self.written.close(names);
        self.written.forget(names);
        Ok(())
    }
}
