//! Numbers of the dialect: `007`, `1.`, `1e`, `-.5` are numbers, `+1`, `.5`, `0x1f` are not.
//!
//! Integers get canonical text (no leading zeros, saturated at 64 bits); floats keep the text they came with,
//! so that `1.50` goes back on the wire as `1.50`.

use std::borrow::Cow;

const MAX_POSITIVE: &[u8] = b"18446744073709551615";
const MIN_NEGATIVE: &[u8] = b"-9223372036854775808";

/// A number that was found valid.
#[derive(Debug, Clone, Copy)]
pub(in crate::payload) enum Number<'a> {
    /// Digits with an optional minus sign, as they came.
    Integer(&'a [u8]),
    /// Text that goes back on the wire.
    Float(&'a [u8]),
}

impl<'a> Number<'a> {
    /// The number at the start of `text` and what follows it, `None` if there is none.
    #[inline(always)]
    pub(super) fn leading(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match text.split_at_checked(digits)? {
            (_, [b'.' | b'e' | b'E' | b'-', ..]) => Self::signed_or_float(text),
            (digits, rest) => (!digits.is_empty()).then_some((Self::Integer(digits), rest)),
        }
    }

    #[inline(never)]
    fn signed_or_float(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (span, rest) = text.split_at_checked(span(text))?;
        let number = match span {
            _ if span.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) => Self::Float(float(span)?),
            [] | [b'-'] => return None,
            integer => Self::Integer(integer),
        };
        Some((number, rest))
    }

    /// Canonical text.
    pub(super) fn text(self) -> Cow<'a, [u8]> {
        match self {
            Self::Integer(digits) => integer(digits),
            Self::Float(text) => Cow::Borrowed(text),
        }
    }
}

/// Bytes of the longest run at the start of `text` that looks like one number. A sign may stand at the start, after the
/// point and after the exponent; there is at most one exponent, and a point only before anything made it a float.
fn span(text: &[u8]) -> usize {
    let (mut float, mut exponent, mut previous) = (false, false, None);
    let length = text.iter().take_while(|&&byte| {
        let fits = match byte {
            b'0'..=b'9' => true,
            b'-' => matches!(previous, None | Some(b'.' | b'e' | b'E')),
            b'+' => matches!(previous, Some(b'.' | b'e' | b'E')),
            b'.' => !float,
            b'e' | b'E' => !exponent,
            _ => false,
        };
        exponent |= matches!(byte, b'e' | b'E');
        float |= matches!(byte, b'.' | b'e' | b'E');
        previous = Some(byte);
        fits
    });
    length.count()
}

/// Drops an exponent without digits (`1e+`, `1.e`) and checks what remains.
fn float(span: &[u8]) -> Option<&[u8]> {
    let unfinished = |byte: &u8| matches!(byte, b'e' | b'E' | b'+' | b'-');
    let end = span.iter().rposition(|byte| !unfinished(byte))? + 1;
    let text = std::str::from_utf8(&span[..end]).ok()?;
    text.parse::<f64>().ok().map(|_| text.as_bytes())
}

/// Canonical text of digits with an optional minus sign.
fn integer(span: &[u8]) -> Cow<'_, [u8]> {
    let negative = span.starts_with(b"-");
    let digits = &span[usize::from(negative)..];
    let Some(zeros) = digits.iter().position(|&digit| digit != b'0') else { return Cow::Borrowed(b"0") };
    let significant = &digits[zeros..];
    match (negative, zeros) {
        (true, _) if exceeds(significant, &MIN_NEGATIVE[1..]) => Cow::Borrowed(MIN_NEGATIVE),
        (true, 0) => Cow::Borrowed(span),
        (true, _) => Cow::Owned([b"-", significant].concat()),
        (false, _) if exceeds(significant, MAX_POSITIVE) => Cow::Borrowed(MAX_POSITIVE),
        (false, _) => Cow::Borrowed(significant),
    }
}

/// Compares two numbers written without leading zeros.
fn exceeds(digits: &[u8], limit: &[u8]) -> bool {
    (digits.len(), digits) > (limit.len(), limit)
}
