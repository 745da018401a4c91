//! Paths, rendering, count. The rows of `LOOKUPS` were run through the C module, too, except where it aborts.

use super::shown;
use crate::payload::json::Value;
use crate::payload::path::{Path, count, find, find_text, lookup, render};

const PAYLOAD: &[u8] = br#"{"x":[10,11,12],"s":"str","o":{"y":[1,2],"z":{"k":true}},"a.b":7,"n":null,"":5,"e":[],
    "f":1.50,"g":1e3,"big":99999999999999999999,"t":true,"u":false,"nul":"ab\u0000cd","esc":"a\"\/\nb",
    "list":[{"id":1},{"id":2}],"nan":NaN,"dotted":{"p.q":["r"]}}"#;

const LOOKUPS: &[(&str, Option<&str>)] = &[
    ("s", Some("str")),
    ("s.", Some("str")),
    ("x", Some("[ 10, 11, 12 ]")),
    ("x[1]", Some("11")),
    ("x[1", Some("11")),
    ("x[", Some("[ 10, 11, 12 ]")),
    ("x[]", Some("[ 10, 11, 12 ]")),
    ("x[1]]", Some("11")),
    ("x[1]y", Some("11")),
    ("x[2][0]", Some("12")),
    ("x[[1]]", Some("10")),
    ("x[ 2]", Some("12")),
    ("x[+1]", Some("11")),
    ("x[1x]", Some("11")),
    ("x[1%2]", Some("11")),
    ("x[a]", Some("10")),
    ("x[0x2]", Some("10")),
    ("x[-1]", None),
    ("x[3]", None),
    ("x[99999999999999999999]", None),
    ("x]", None),
    ("x]1[2", None),
    ("x.0", None),
    ("s[0]", Some("str")),
    ("s[7]", Some("str")),
    ("s.t", None),
    ("a%b", Some("7")),
    ("a.b", None),
    ("o", Some("{ \"y\": [ 1, 2 ], \"z\": { \"k\": true } }")),
    ("o.y[1]", Some("2")),
    ("o%y[1]", None),
    ("o.z.k", Some("true")),
    ("o.Z.k", None),
    ("dotted.p%q[0]", Some("r")),
    ("list[1].id", Some("2")),
    ("list.id", None),
    ("n", None),
    ("n.x", None),
    ("e", Some("[ ]")),
    ("f", Some("1.50")),
    ("g", Some("1e3")),
    ("big", Some("18446744073709551615")),
    ("nan", Some("NaN")),
    ("t", Some("true")),
    ("u", Some("false")),
    ("nul", Some("ab")),
    ("esc", Some("a\"/\nb")),
    ("missing", None),
    // The C module aborts on these.
    ("", None),
    (".", None),
    ("..", None),
    (".s", None),
    ("s..", None),
    ("o..y", None),
    ("[0]", None),
    ("o.[0]", None),
];

#[test]
fn a_path_finds_the_text_of_a_value() {
    let payload = Value::parse(PAYLOAD).unwrap();
    for (path, expected) in LOOKUPS {
        let found = find(&payload, path.as_bytes(), b'%').and_then(render);
        assert_eq!(found.map(shown), expected.map(shown), "{path}");
        let found = find_text(PAYLOAD, path.as_bytes(), b'%').unwrap();
        assert_eq!(found.map(shown), expected.map(shown), "{path}, in one pass");
    }
}

#[test]
fn an_empty_name_cannot_be_reached_and_says_why() {
    let message = |path: &'static [u8]| Path::parse(path, b'%').unwrap_err().to_string();
    assert_eq!(message(b""), "JSON path has an empty segment at byte 0");
    assert_eq!(message(b"a..b"), "JSON path has an empty segment at byte 2");
    assert_eq!(message(b"a.b.[2]"), "JSON path has an index without a member name at byte 4");
}

#[test]
fn the_escape_character_can_be_chosen() {
    let payload = Value::parse(PAYLOAD).unwrap();
    let path = Path::parse(b"a|b", b'|').unwrap();
    assert_eq!(lookup(&payload, &path).map(Value::to_int), Some(7));
    assert_eq!(find(&payload, b"a%b", b'|'), None);
}

#[test]
fn names_and_indices_of_any_length_are_fine() {
    let name = "k".repeat(1 << 20);
    let text = format!("{{\"{name}\":[1,2]}}");
    let payload = Value::parse(text.as_bytes()).unwrap();
    let path = format!("{name}[{}1]", "0".repeat(1 << 20));
    assert_eq!(find(&payload, path.as_bytes(), b'%').map(Value::to_int), Some(2));
    let dots = "a.".repeat(1 << 20);
    assert_eq!(find(&payload, dots.as_bytes(), b'%'), None);
}

#[test]
fn a_path_cannot_start_in_an_array_or_a_text() {
    for text in [b"[{\"a\":1}]".as_slice(), b"\"a\"", b"1"] {
        assert_eq!(find(&Value::parse(text).unwrap(), b"a", b'%'), None);
    }
}

#[test]
fn count_is_the_length_of_an_array_and_else_0() {
    let payload = Value::parse(PAYLOAD).unwrap();
    for (path, expected) in [("x", 3), ("list", 2), ("e", 0), ("o", 0), ("s", 0), ("n", 0), ("missing", 0), ("", 0)] {
        assert_eq!(count(find(&payload, path.as_bytes(), b'%')), expected, "{path}");
    }
}
