//! The dialect: what is accepted and how it is written back, what is refused and where.

use std::thread;

use super::shown;
use crate::payload::Inbound;
use crate::payload::json::{Cause, JsonError, MAX_DEPTH, Value};

fn canonical(text: &[u8]) -> Result<Vec<u8>, JsonError> {
    Value::parse(text).map(|value| value.to_bytes())
}

/// Text and its serialisation. Every row was compared with json-c 0.16, except where a remark says otherwise.
const ACCEPTED: &[(&[u8], &[u8])] = &[
    // Form.
    (b"{}", b"{ }"),
    (b"[]", b"[ ]"),
    (b"{\"a\":{},\"b\":[]}", b"{ \"a\": { }, \"b\": [ ] }"),
    (b"{\"z\":1,\"a\":[1,\"x\",null,true,false]}", b"{ \"z\": 1, \"a\": [ 1, \"x\", null, true, false ] }"),
    (b" \t\r\n[ 1 ,\t2 ]", b"[ 1, 2 ]"),
    (b"\"text\"", b"\"text\""),
    (b"true", b"true"),
    // Quotes.
    (b"{'a\"b':'c\"d'}", b"{ \"a\\\"b\": \"c\\\"d\" }"),
    (b"\"it's\"", b"\"it's\""),
    // Commas and comments.
    (b"[1,]", b"[ 1 ]"),
    (b"{\"a\":1,}", b"{ \"a\": 1 }"),
    (b"[/*x*/1/**/,//x\n2]", b"[ 1, 2 ]"),
    (b"{\"a\" /*c*/ : /*d*/ 1 /*e*/, /*f*/ }", b"{ \"a\": 1 }"),
    (b"//x\n/*/*/1", b"1"),
    (b"/***/[/****/1/* * **/]", b"[ 1 ]"), // json-c takes an odd number of stars for no end
    // Words.
    (b"[NULL,True,fALSE]", b"[ null, true, false ]"),
    (b"[nan,infinity,-infinity,NaN,INFINITY]", b"[ NaN, Infinity, -Infinity, NaN, Infinity ]"),
    // Numbers.
    (b"[0,-0,007,-007,00]", b"[ 0, 0, 7, -7, 0 ]"),
    (b"[1.,1.50,1e3,1.5E+3,1E400,-.5,0.0]", b"[ 1., 1.50, 1e3, 1.5E+3, 1E400, -.5, 0.0 ]"),
    (b"[1e,1e+,1E-,1.e,1.-,1.+e]", b"[ 1, 1, 1, 1., 1., 1. ]"),
    (
        b"[9223372036854775807,9223372036854775808,18446744073709551615,18446744073709551616,99999999999999999999]",
        b"[ 9223372036854775807, 9223372036854775808, 18446744073709551615, 18446744073709551615, \
          18446744073709551615 ]",
    ),
    (
        b"[-9223372036854775808,-9223372036854775809,-0099999999999999999999]",
        b"[ -9223372036854775808, -9223372036854775808, -9223372036854775808 ]",
    ),
    // Strings.
    (b"\"\\\" \\\\ \\/ \\b \\f \\n \\r \\t / \\u0041\"", b"\"\\\" \\\\ \\/ \\b \\f \\n \\r \\t \\/ A\""),
    (b"\"a\nb\x01\x1f\x7f\"", b"\"a\\nb\\u0001\\u001f\x7f\""),
    (b"[\"\xff\xed\xa0\x80 caf\xe9\"]", b"[ \"\xff\xed\xa0\x80 caf\xe9\" ]"),
    (b"\"\\u00e9\\uFFFF\\ud83d\\uDE00\"", "\"\u{e9}\u{ffff}\u{1f600}\"".as_bytes()),
    (b"\"\\ud800x\"", "\"\u{fffd}x\"".as_bytes()),
    (b"\"\\ud800\\n\"", "\"\u{fffd}\\n\"".as_bytes()),
    (b"\"\\ud800\\ud800\"", "\"\u{fffd}\u{fffd}\"".as_bytes()),
    (b"\"\\ud800\\u0041\\udc00\"", "\"\u{fffd}A\u{fffd}\"".as_bytes()),
    (b"\"\\ud83d\\ud83d\\ude00\"", "\"\u{fffd}\u{1f600}\"".as_bytes()),
    (b"\"a\\u0000b\"", b"\"a\\u0000b\""),
    // Members.
    (b"{\"\":1}", b"{ \"\": 1 }"),
    (b"{\"a\":1,\"b\":2,\"a\":3}", b"{ \"a\": 3, \"b\": 2 }"),
    (b"{\"a\\u0000b\":1,\"a\":2}", b"{ \"a\": 2 }"),
    // End.
    (b"{\"a\":1}}garbage", b"{ \"a\": 1 }"),
    (b"truex", b"true"),
    (b"1.5.3", b"1.5"),
    (b"1 2", b"1"),
    (b"[1]//", b"[ 1 ]"),
    (b"[1]/x", b"[ 1 ]"), // json-c looks for a comment here and fails
    (b"[1]\0[", b"[ 1 ]"),
];

#[test]
fn accepted_text_is_written_in_the_one_form() {
    for (text, expected) in ACCEPTED {
        let written = canonical(text).unwrap_or_else(|error| panic!("{}: {error}", shown(text)));
        assert_eq!(shown(&written), shown(expected), "{}", shown(text));
        assert_eq!(shown(canonical(&written).unwrap()), shown(written), "written form is read back unchanged");
    }
}

#[test]
fn refused_text_names_cause_and_byte() {
    let rows: &[(&[u8], &str)] = &[
        (b"", "no value (empty text) at byte 0"),
        (b" /**/ ", "no value (empty text) at byte 6"),
        (b"\0{}", "no value (empty text) at byte 0"),
        (b"null", "the value is null at byte 0"),
        (b" NULL ", "the value is null at byte 1"),
        (b"{a:1}", "'a' where a quoted member name or '}' should follow at byte 1"),
        (b"{,}", "',' where a quoted member name or '}' should follow at byte 1"),
        (b"{\"a\"}", "'}' where ':' should follow at byte 4"),
        (b"{\"a\":}", "'}' where a value should follow at byte 5"),
        (b"{\"a\":1 \"b\":2}", "'\"' where ',' or '}' should follow at byte 7"),
        (b"[1,,2]", "',' where a value should follow at byte 3"),
        (b"[,]", "',' where a value should follow at byte 1"),
        (b"[1 2]", "'2' where ',' or ']' should follow at byte 3"),
        (b"[truex]", "'x' where ',' or ']' should follow at byte 5"),
        (b"[1\x0b]", "byte 0x0b where ',' or ']' should follow at byte 2"),
        (b"\xef\xbb\xbf{}", "byte 0xef where a value should follow at byte 0"),
        (b"[1", "text ends where ',' or ']' should follow at byte 2"),
        (b"[1\0]", "text ends where ',' or ']' should follow at byte 2"),
        (b"{\"a\":", "text ends where a value should follow at byte 5"),
        (b"tru", "'t' where a value should follow at byte 0"),
        (b"['it\\'s']", "unknown escape sequence at byte 4"),
        (b"[\"\\x41\"]", "unknown escape sequence at byte 2"),
        (b"[\"\\u12g4\"]", "unknown escape sequence at byte 2"),
        (b"[\"\\ud800\\u\"]", "unknown escape sequence at byte 8"),
        (b"[\"abc]", "string is never closed at byte 1"),
        (b"[\"abc\\", "unknown escape sequence at byte 5"),
        (b"[1 /* x ]", "comment is never closed at byte 3"),
        (b"[1 // x ]", "comment is never closed at byte 3"),
        (b"[1 / 2]", "'/' where a value or a comment should follow at byte 3"),
        (b"[+1]", "'+' where a value should follow at byte 1"),
        (b"[.5]", "'.' where a value should follow at byte 1"),
        (b"[0x10]", "'x' where ',' or ']' should follow at byte 2"),
        (b"[-]", "malformed number at byte 1"),
        (b"[1.-5]", "malformed number at byte 1"),
        (b"[-e5]", "malformed number at byte 1"),
        (b"-nan", "malformed number at byte 0"),
        (b"-inf", "'-' where a value should follow at byte 0"),
    ];
    for (text, expected) in rows {
        let error = canonical(text).expect_err(&shown(text));
        assert_eq!(error.to_string(), *expected, "{}", shown(text));
    }
}

fn nested(open: &str, inner: &str, close: &str, levels: usize) -> Vec<u8> {
    [open.repeat(levels), inner.to_owned(), close.repeat(levels)].concat().into_bytes()
}

#[test]
fn values_nest_32_deep_and_no_deeper() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        assert!(Value::parse(&nested(open, "1", close, MAX_DEPTH - 1)).is_ok(), "{open}");
        let error = Value::parse(&nested(open, "1", close, MAX_DEPTH)).unwrap_err();
        assert_eq!(error, JsonError { at: open.len() * MAX_DEPTH, what: Cause::TooDeep { max: 32 } });
    }
    assert!(Value::parse(&nested("[", "", "]", MAX_DEPTH)).is_ok(), "nothing stands in the innermost array");
    assert!(Value::parse(&nested("[", "", "]", MAX_DEPTH + 1)).is_err());
}

#[test]
fn a_small_stack_is_enough_for_any_nesting() {
    let deep = nested("[", "", "", 1 << 20);
    let parse = move || Value::parse(&deep).is_err() && Value::parse(&nested("{'a':[", "1", "]}", 15)).is_ok();
    let thread = thread::Builder::new().stack_size(128 * 1024).spawn(parse).unwrap();
    assert!(thread.join().unwrap());
}

/// Quadratic work on any of these would take minutes.
#[test]
fn hostile_text_takes_linear_time() {
    let size = 1 << 18;
    let members = |name: &dyn Fn(usize) -> usize| {
        let members: Vec<_> = (0..size / 2).map(|n| format!("\"{}\":{n}", name(n))).collect();
        format!("{{{}}}", members.join(","))
    };
    let texts = [
        members(&|n| n),
        members(&|n| n % 64),
        members(&|_| 0),
        format!("[{}]", "1,".repeat(size)),
        format!("[{}]", "{},".repeat(size)),
        format!("[{}]", "[[[],],],".repeat(size / 4)),
        format!("[{}0]", "0".repeat(size)),
        format!("[9.{}]", "1".repeat(size)),
        format!("[9e{}]", "1".repeat(size)),
        format!("[{}1]", "/**/".repeat(size)),
        format!("/*{}", "*".repeat(size)),
        format!("\"{}\"", "\\ud800".repeat(size)),
        format!("'{}'", "\"".repeat(size)),
        format!("[{}", "'',".repeat(size)),
    ];
    for text in &texts {
        if let Ok(value) = Value::parse(text.as_bytes()) {
            assert!(!value.to_bytes().is_empty());
        }
    }
}

#[test]
fn repeated_names_keep_the_first_place_and_the_last_value_in_large_objects() {
    let members: Vec<_> = (0..200).map(|n| format!("\"k{}\":{n}", n % 70)).collect();
    let text = format!("{{{}}}", members.join(","));
    let value = Value::parse(text.as_bytes()).unwrap();
    let object = value.as_object().unwrap();
    assert_eq!(object.len(), 70);
    for (place, (name, value)) in object.iter().enumerate() {
        assert_eq!(shown(name), format!("k{place}"));
        let last = (0..200).rfind(|n| n % 70 == place).unwrap();
        assert_eq!(value.to_int(), last as i64, "k{place}");
    }
}

/// `serde_json` with `arbitrary_precision` takes such an object for a number.
#[test]
fn no_member_name_is_special() {
    let text = b"{ \"$serde_json::private::Number\": \"1\" }";
    assert_eq!(shown(canonical(text).unwrap()), shown(text));
}

#[test]
fn strings_and_numbers_borrow_from_the_text() {
    use std::borrow::Cow;
    let value = Value::parse(b"{\"a\":\"plain\",\"b\":12,\"c\":1.5}").unwrap();
    for (name, value) in value.as_object().unwrap().iter() {
        let (Value::String(text) | Value::Integer(text) | Value::Float(text)) = value else { panic!("{value:?}") };
        assert!(matches!(text, Cow::Borrowed(_)), "{}", shown(name));
    }
}

#[test]
fn flags_are_read_from_any_type() {
    let rows: &[(&[u8], i64)] = &[
        (b"1", 1),
        (b"-3", -3),
        (b"true", 1),
        (b"false", 0),
        (b"\"1\"", 1),
        (b"\" 12abc\"", 12),
        (b"\"+5\"", 5),
        (b"\"-7\"", -7),
        (b"\"\"", 0),
        (b"\"on\"", 0),
        (b"1.9", 1),
        (b"-1.9", -1),
        (b"1e3", 1000),
        (b"NaN", 0),
        (b"1e400", i64::MAX),
        (b"18446744073709551615", i64::MAX),
        (b"\"-99999999999999999999\"", i64::MIN),
        (b"[1]", 0),
        (b"{\"a\":1}", 0),
    ];
    for (text, expected) in rows {
        assert_eq!(Value::parse(text).unwrap().to_int(), *expected, "{}", shown(text));
    }
}

/// Strings are looked at eight bytes at a time: no byte may be overlooked at any place of any length.
#[test]
fn each_byte_is_written_as_it_must_be_wherever_it_stands() {
    let escaped = |byte: u8| match byte {
        8 => b"\\b".to_vec(),
        9 => b"\\t".to_vec(),
        10 => b"\\n".to_vec(),
        12 => b"\\f".to_vec(),
        13 => b"\\r".to_vec(),
        b'/' => b"\\/".to_vec(),
        0..0x20 => format!("\\u{byte:04x}").into_bytes(),
        _ => vec![byte],
    };
    for (length, byte) in (1..=24).flat_map(|length| (1..=255).map(move |byte| (length, byte))) {
        if matches!(byte, b'"' | b'\\') {
            continue;
        }
        for at in 0..length {
            let (before, after) = ("a".repeat(at), "z".repeat(length - at - 1));
            let body = [b"{ \"k\": \"", before.as_bytes(), &[byte], after.as_bytes(), b"\" }"].concat();
            let expected = [b"{ \"k\": \"", before.as_bytes(), &escaped(byte), after.as_bytes(), b"\" }"].concat();
            let copied = Inbound::unedited(&body).unwrap();
            assert_eq!(shown(copied.text()), shown(&expected), "{}", shown(&body));
            assert_eq!(shown(canonical(&body).unwrap()), shown(&expected), "{}", shown(&body));
        }
    }
}
