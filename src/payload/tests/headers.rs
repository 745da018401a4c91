//! AMQP headers of a script.

use super::shown;
use crate::payload::headers::{HeaderError, MAX_TABLE_BYTES, pairs, validate};

#[test]
fn parts_become_pairs() {
    let rows: &[(&str, &[(&str, &str)])] = &[
        ("", &[]),
        (";;", &[]),
        ("a=1", &[("a", "1")]),
        ("a=1;b=2", &[("a", "1"), ("b", "2")]),
        (";a=1;;b=2;", &[("a", "1"), ("b", "2")]),
        ("a==1", &[("a", "1")]),
        ("=a=1", &[("a", "1")]),
        ("a=1=2", &[("a", "1")]),
        (" a b = c ", &[(" a b ", " c ")]),
        ("a=1;novalue;b=;=;c=3", &[("a", "1"), ("c", "3")]),
        ("a=1;a=2", &[("a", "1"), ("a", "2")]),
    ];
    for (raw, expected) in rows {
        let found: Vec<_> = pairs(raw.as_bytes()).flatten().map(|(name, value)| (shown(name), shown(value))).collect();
        let expected: Vec<_> = expected.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(found, expected, "{raw}");
        assert_eq!(validate(raw.as_bytes()), Ok(()), "{raw}");
    }
}

#[test]
fn a_part_without_value_is_reported_with_its_place() {
    let errors: Vec<_> = pairs(b"a=1;novalue;;b=;=").filter_map(Result::err).collect();
    let at = |at| HeaderError::NoValue { at };
    assert_eq!(errors, [at(4), at(13), at(16)]);
    assert_eq!(errors[0].to_string(), "header at byte 4 has no value, expected name=value");
}

#[test]
fn a_name_beyond_a_short_string_refuses_the_call() {
    let header = |len: usize| format!("a=1;{}=v", "n".repeat(len));
    assert_eq!(validate(header(255).as_bytes()), Ok(()));
    let error = validate(header(256).as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "header name at byte 4 is 256 bytes, AMQP allows 255");
    assert_eq!(pairs(header(256).as_bytes()).filter(Result::is_ok).count(), 1);
}

#[test]
fn headers_that_fit_no_frame_refuse_the_call() {
    let header = |len: usize| format!("n={}", "v".repeat(len - 7));
    assert_eq!(validate(header(MAX_TABLE_BYTES).as_bytes()), Ok(()));
    let error = validate(header(MAX_TABLE_BYTES + 1).as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "headers are 130049 bytes in all, the limit is 130048");
}
