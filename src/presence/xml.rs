//! What a text may hold in XML: characters that XML 1.0 knows, and no markup.

use std::borrow::Cow;

/// Makes any bytes a text that XML 1.0 can hold: bytes that are no UTF-8 and control characters become U+FFFD. Tab,
/// line feed and carriage return stay.
pub fn clean(raw: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(raw);
    if text.chars().all(is_allowed) {
        return text;
    }
    text.chars().map(|c| if is_allowed(c) { c } else { char::REPLACEMENT_CHARACTER }).collect::<String>().into()
}

/// The characters of XML 1.0; surrogates are no `char`.
fn is_allowed(c: char) -> bool {
    !matches!(c, '\0'..='\x08' | '\x0B' | '\x0C' | '\x0E'..='\x1F' | '\u{FFFE}' | '\u{FFFF}')
}

/// A clean text as it stands between tags or in double quotes. What needs no escape is not copied.
pub fn escape(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| entity(c).is_none()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match entity(c) {
            Some(entity) => out.push_str(entity),
            None => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Line ends and tabs as well: a reader would turn them into blanks inside an attribute.
fn entity(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        '\t' => Some("&#9;"),
        '\n' => Some("&#10;"),
        '\r' => Some("&#13;"),
        _ => None,
    }
}
