//! Numbers of the dialect: `007`, `1.`, `1e`, `-.5` are numbers, `+1`, `.5`, `0x1f` are not.
//!
//! Integers get canonical text (no leading zeros, saturated at 64 bits); floats keep the text they came with,
//! so that `1.50` goes back on the wire as `1.50`.

use std::borrow::Cow;

use super::scan::Scalar;

const MAX_POSITIVE: &[u8] = b"18446744073709551615";
const MIN_NEGATIVE: &[u8] = b"-9223372036854775808";

/// The longest run at the start of `text` that looks like one number. A sign may stand at the start, after the
/// point and after the exponent; there is at most one exponent, and a point only before anything made it a float.
pub(super) fn span(text: &[u8]) -> &[u8] {
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
    &text[..length.count()]
}

/// The number that a [`span`] denotes, `None` if it denotes none.
pub(super) fn scalar(span: &[u8]) -> Option<Scalar<'_>> {
    if span.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        float(span).map(|text| Scalar::Float(Cow::Borrowed(text)))
    } else {
        integer(span).map(Scalar::Integer)
    }
}

/// Drops an exponent without digits (`1e+`, `1.e`) and checks what remains.
fn float(span: &[u8]) -> Option<&[u8]> {
    let unfinished = |byte: &u8| matches!(byte, b'e' | b'E' | b'+' | b'-');
    let end = span.iter().rposition(|byte| !unfinished(byte))? + 1;
    let text = std::str::from_utf8(&span[..end]).ok()?;
    text.parse::<f64>().ok().map(|_| text.as_bytes())
}

fn integer(span: &[u8]) -> Option<Cow<'_, [u8]>> {
    let negative = span.starts_with(b"-");
    let digits = &span[usize::from(negative)..];
    let Some(zeros) = digits.iter().position(|&digit| digit != b'0') else {
        return (!digits.is_empty()).then_some(Cow::Borrowed(b"0"));
    };
    let significant = &digits[zeros..];
    Some(match (negative, zeros) {
        (true, _) if exceeds(significant, &MIN_NEGATIVE[1..]) => Cow::Borrowed(MIN_NEGATIVE),
        (true, 0) => Cow::Borrowed(span),
        (true, _) => Cow::Owned([b"-", significant].concat()),
        (false, _) if exceeds(significant, MAX_POSITIVE) => Cow::Borrowed(MAX_POSITIVE),
        (false, _) => Cow::Borrowed(significant),
    })
}

/// Compares two numbers written without leading zeros.
fn exceeds(digits: &[u8], limit: &[u8]) -> bool {
    (digits.len(), digits) > (limit.len(), limit)
}
