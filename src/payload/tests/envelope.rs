//! Outgoing payload and the place for `Server-ID`.

use super::shown;
use crate::payload::{Envelope, Enveloped, PayloadError, Splice, envelope};

const FIELDS: Envelope<'_> = Envelope { app_name: b"k", app_version: b"5", node: b"n", msg_id: b"u" };

const SERVER_ID: &[u8] = b"s";

fn sealed(body: &str) -> Enveloped {
    envelope(body.as_bytes(), &FIELDS).unwrap_or_else(|error| panic!("{body}: {error}"))
}

fn on_the_wire(body: &str) -> String {
    let sealed = sealed(body);
    let mut out = b"kept ".to_vec();
    sealed.splice.apply(&sealed.text, SERVER_ID, &mut out).unwrap();
    String::from_utf8(out.split_off(b"kept ".len())).unwrap()
}

#[test]
fn fields_come_in_order_and_only_where_the_caller_has_none() {
    let rows = [
        ("{}", r#"{ "App-Name": "k", "App-Version": "5", "Node": "n", "Msg-ID": "u", "Server-ID": "s" }"#),
        (
            r#"{'a':1,"Node":"me",}"#,
            r#"{ "a": 1, "Node": "me", "App-Name": "k", "App-Version": "5", "Msg-ID": "u", "Server-ID": "s" }"#,
        ),
        (
            r#"{"Msg-ID":null,"Server-ID":null,"App-Name":"","a":"x/y"}"#,
            r#"{ "Msg-ID": "u", "Server-ID": "s", "App-Name": "", "a": "x\/y", "App-Version": "5", "Node": "n" }"#,
        ),
        (
            r#"{"Server-ID":"me","App-Name":0,"App-Version":false,"Node":[],"Msg-ID":"m"}"#,
            r#"{ "Server-ID": "me", "App-Name": 0, "App-Version": false, "Node": [ ], "Msg-ID": "m" }"#,
        ),
    ];
    for (body, expected) in rows {
        assert_eq!(on_the_wire(body), expected, "{body}");
    }
}

#[test]
fn a_server_id_deeper_down_is_not_the_place() {
    assert_eq!(
        on_the_wire(r#"{"App-Name":1,"App-Version":1,"Node":1,"Msg-ID":7,"in":{"Server-ID":null}}"#),
        r#"{ "App-Name": 1, "App-Version": 1, "Node": 1, "Msg-ID": 7, "in": { "Server-ID": null }, "Server-ID": "s" }"#
    );
}

#[test]
fn the_msg_id_reported_is_the_one_in_the_body() {
    let rows: [(&str, Result<&str, &str>); 9] = [
        ("{}", Ok("u")),
        (r#"{"Msg-ID":null}"#, Ok("u")),
        (r#"{"Msg-ID":"own"}"#, Ok("own")),
        (r#"{"Msg-ID":"a","Msg-ID":"o\u0077n"}"#, Ok("own")),
        (r#"{"Msg-ID":""}"#, Ok("")),
        (r#"{"Msg-ID":0042}"#, Ok("42")),
        (r#"{"Msg-ID":true}"#, Ok("true")),
        (r#"{"Msg-ID":{"a":1}}"#, Err("object")),
        (r#"{"Msg-ID":[]}"#, Err("array")),
    ];
    for (body, expected) in rows {
        let sealed = sealed(body);
        let expected_id = expected.map(|id| id.as_bytes().to_vec());
        let id = sealed.correlation().map(|id| id.into_owned());
        assert_eq!(id, expected_id.clone().map_err(|found| PayloadError::MsgIdNotText { found }), "{body}");
        let read_back = crate::payload::top_level_string(&sealed.text, b"Msg-ID").unwrap();
        assert_eq!(read_back.map(|id| id.into_owned()), expected_id.ok(), "{body}: as the manager reads a reply");
    }
    let error = sealed(r#"{"Msg-ID":[]}"#).correlation().unwrap_err();
    assert_eq!(error.to_string(), "Msg-ID must be a string, number or boolean to wait for a reply, found array");
}

#[test]
fn a_server_id_is_written_as_a_json_string() {
    let sealed = sealed("{}");
    let mut out = Vec::new();
    sealed.splice.apply(&sealed.text, b"a\"b/\n", &mut out).unwrap();
    assert!(shown(&out).ends_with(&shown(br#", "Server-ID": "a\"b\/\n" }"#)), "{}", shown(out));
}

#[test]
fn bodies_that_are_no_object_are_refused() {
    let rows: [(&[u8], &str); 8] = [
        (b"", "payload is not valid JSON: no value (empty text) at byte 0"),
        (b"null", "payload is not valid JSON: the value is null at byte 0"),
        (b"hello", "payload is not valid JSON: 'h' where a value should follow at byte 0"),
        (b"{\"a\":<null>}", "payload is not valid JSON: '<' where a value should follow at byte 5"),
        (b"[1]", "payload must be a JSON object, found array"),
        (b"12", "payload must be a JSON object, found number"),
        (b"'x'", "payload must be a JSON object, found string"),
        (b"true", "payload must be a JSON object, found boolean"),
    ];
    for (body, expected) in rows {
        assert_eq!(envelope(body, &FIELDS).unwrap_err().to_string(), expected, "{}", shown(body));
    }
}

#[test]
fn an_error_never_quotes_the_payload() {
    let body = format!("{{\"secret\": \"{}\"", "s3cret".repeat(10_000));
    let error: PayloadError = envelope(body.as_bytes(), &FIELDS).unwrap_err();
    assert!(error.to_string().len() < 200 && !error.to_string().contains("s3cret"), "{error}");
}

#[test]
fn a_splice_outside_its_text_is_an_error() {
    let text = b"{ }";
    let damaged = [
        Splice::Member { at: 4 },
        Splice::Member { at: u32::MAX },
        Splice::Value { at: 3, len: 1 },
        Splice::Value { at: u32::MAX, len: u32::MAX },
    ];
    for splice in damaged {
        let mut out = Vec::new();
        let error = splice.apply(text, b"id", &mut out).unwrap_err();
        assert_eq!(error.len, 3, "{splice:?}");
        assert!(out.is_empty(), "{splice:?}");
    }
    assert!(Splice::Value { at: 3, len: 0 }.apply(text, b"id", &mut Vec::new()).is_ok());
}
