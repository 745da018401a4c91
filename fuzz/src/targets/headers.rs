//! The headers argument of `kazoo_publish` and `kazoo_query`.

use kazoo::payload::headers::{HeaderError, MAX_NAME_BYTES, pairs, validate};

pub fn fuzz(text: &[u8]) {
    let mut too_long = false;
    for pair in pairs(text) {
        match pair {
            Ok((name, value)) => {
                assert!(!name.is_empty() && name.len() <= MAX_NAME_BYTES && !value.is_empty());
                assert!(![name, value].concat().iter().any(|byte| b";=".contains(byte)));
            }
            Err(HeaderError::NameTooLong { at, len }) => {
                assert!(len > MAX_NAME_BYTES && at + len <= text.len());
                too_long = true;
            }
            Err(_) => {}
        }
    }
    assert!(!too_long || validate(text).is_err());
}
