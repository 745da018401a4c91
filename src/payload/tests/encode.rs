//! Routing-key encoding.

use super::shown;
use crate::payload::encode::{encode, encode_checked};

#[test]
fn every_class_of_bytes() {
    let rows: &[(&[u8], &str)] = &[
        (b"", ""),
        (b"*", "*"),
        (b"#", "#"),
        (b"**", "%2A%2A"),
        (b"#.*", "%23%2E%2A"),
        (b"AZaz09-~_", "AZaz09-~_"),
        (b"a b", "a+b"),
        (b"+", "%2B"),
        (b"sip:1001@spec.test", "sip%3A1001%40spec%2Etest"),
        (b"\x00\x1f\x7f/%", "%00%1F%7F%2F%25"),
        (b"caf\xc3\xa9", "caf%C3%A9"),
        (b"\x80\x9f\xff", "%80%9F%FF"),
    ];
    for (text, expected) in rows {
        assert_eq!(shown(encode(text)), *expected, "{}", shown(text));
    }
}

#[test]
fn output_stops_at_the_first_byte_that_starts_beyond_255() {
    assert_eq!(encode(&[b'a'; 300]).len(), 255);
    assert_eq!(encode(&[b'.'; 300]).len(), 255);
    let mut text = vec![b'a'; 254];
    text.extend_from_slice(b"..");
    assert_eq!(encode(&text).len(), 257, "the last unit may run two bytes beyond");
    assert_eq!(encode(&vec![b'.'; 1 << 24]).len(), 255);
}

#[test]
fn the_function_refuses_more_than_255_bytes() {
    assert_eq!(encode_checked(&[b'a'; 255]).unwrap().len(), 255);
    let error = encode_checked(&[b'a'; 256]).unwrap_err();
    assert_eq!(error.to_string(), "text to encode is 256 bytes, the limit is 255");
}
