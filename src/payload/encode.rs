//! Percent-encoding of one word of a routing key: `kazoo_encode`, `{kz.encode}`.
//!
//! Dots separate the words of a routing key, so a word that comes from a SIP message has its dots encoded.
//! Bytes from 0x80 on become upper-case `%XX`, as the Kazoo servers write them. The C module prints a wrong first
//! digit for them where `char` is signed (x86): this difference is on purpose.

/// No source byte is taken once this many output bytes exist; the last unit may still run two bytes beyond.
/// AMQP short strings hold at most this many bytes.
pub const ENCODED_BYTES: usize = 255;

/// Most bytes that `kazoo_encode` takes.
pub const MAX_INPUT_BYTES: usize = 255;

/// Why `kazoo_encode` refuses a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Script's fault: a word of a routing key cannot be that long.
    #[error("text to encode is {len} bytes, the limit is {MAX_INPUT_BYTES}")]
    TooLong {
        /// Bytes in the text.
        len: usize,
    },
}

/// The transformation's rule: encodes as much of `text` as fits, silently.
pub fn encode(text: &[u8]) -> Vec<u8> {
    if matches!(text, b"*" | b"#") {
        return text.to_vec(); // alone, these are wildcards of a binding key
    }
    let mut out = Vec::with_capacity(ENCODED_BYTES + 2);
    for &byte in text {
        if out.len() >= ENCODED_BYTES {
            break;
        }
        encode_byte(byte, &mut out);
    }
    out
}

/// The function's rule: refuses more than [`MAX_INPUT_BYTES`], else as [`encode`].
pub fn encode_checked(text: &[u8]) -> Result<Vec<u8>, EncodeError> {
    if text.len() > MAX_INPUT_BYTES {
        return Err(EncodeError::TooLong { len: text.len() });
    }
    Ok(encode(text))
}

fn encode_byte(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'~' | b'_' => out.push(byte),
        b' ' => out.push(b'+'),
        _ => out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xF)]]),
    }
}
