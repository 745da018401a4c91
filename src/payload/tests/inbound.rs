//! Incoming payload, and one member without a tree.

use super::shown;
use crate::payload::{Origin, PayloadError, inbound, top_level_string};

const ORIGIN: Origin<'_> = Origin { zone: b"z", broker_id: 3, received_unix: 1_700 };

#[test]
fn edits_of_an_incoming_message() {
    let rows = [
        ("{}", r#"{ "AMQP-Broker-Zone": "z", "AMQP-Received": 1700 }"#),
        (
            r#"{"Server-ID":"srv","a":1}"#,
            r#"{ "a": 1, "AMQP-Broker-Zone": "z", "AMQP-Received": 1700, "Server-ID": "consumer:\/\/3\/srv" }"#,
        ),
        (r#"{"Server-ID":"","a":1}"#, r#"{ "a": 1, "AMQP-Broker-Zone": "z", "AMQP-Received": 1700 }"#),
        (
            r#"{"Server-ID":null,"a":1}"#,
            r#"{ "Server-ID": null, "a": 1, "AMQP-Broker-Zone": "z", "AMQP-Received": 1700 }"#,
        ),
        (
            r#"{"Server-ID":12,"AMQP-Received":"forged","AMQP-Broker-Zone":{},"a":1}"#,
            r#"{ "AMQP-Received": 1700, "AMQP-Broker-Zone": "z", "a": 1, "Server-ID": "consumer:\/\/3\/12" }"#,
        ),
    ];
    for (body, expected) in rows {
        let value = inbound(body.as_bytes(), &ORIGIN).unwrap();
        assert_eq!(shown(value.text()), shown(expected), "{body}");
    }
}

#[test]
fn a_server_id_of_any_length_is_fine() {
    let body = format!("{{\"Server-ID\":\"{}\"}}", "x".repeat(1 << 20));
    let value = inbound(body.as_bytes(), &ORIGIN).unwrap();
    let address = value.get(b"Server-ID").unwrap();
    assert_eq!(address.len(), b"consumer://3/".len() + (1 << 20));
}

#[test]
fn bodies_that_are_no_object_are_refused() {
    for body in [b"".as_slice(), b"null", b"{\"a\":", b"nonsense"] {
        assert!(matches!(inbound(body, &ORIGIN), Err(PayloadError::NotJson(_))), "{}", shown(body));
    }
    for (body, kind) in [(b"[1]".as_slice(), "array"), (b"1.5", "number"), (b"\"x\"", "string"), (b"false", "boolean")]
    {
        let error = inbound(body, &ORIGIN).unwrap_err();
        assert_eq!(error, PayloadError::NotAnObject { found: kind }, "{}", shown(body));
    }
}

#[test]
fn one_member_without_a_tree() {
    let rows: &[(&[u8], Option<&[u8]>)] = &[
        (b"{\"Msg-ID\":\"m\"}", Some(b"m")),
        (b"{'a':[{'Msg-ID':'inner'}],'Msg-ID':'m',}", Some(b"m")),
        (b"{\"a\":{\"Msg-ID\":\"inner\"}}", None),
        (b"{\"Msg-ID\":\"first\",\"Msg-ID\":\"last\"}", Some(b"last")),
        (b"{\"Msg-ID\":\"first\",\"Msg-ID\":null}", None),
        (b"{\"Msg-ID\":\"first\",\"Msg-ID\":{\"Msg-ID\":\"x\"}}", None),
        (b"{\"Msg\\u002dID\":\"a\\/b\\u00e9\"}", Some("a/b\u{e9}".as_bytes())),
        (b"{\"Msg-ID\\u0000x\":\"m\"}", Some(b"m")),
        (b"{\"Msg-ID\":007}", Some(b"7")),
        (b"{\"Msg-ID\":TRUE}", Some(b"true")),
        (b"{\"Msg-ID\":[1]}", None),
        (b"{}", None),
        (b"[{\"Msg-ID\":\"m\"}]", None),
        (b"\"Msg-ID\"", None),
    ];
    for (body, expected) in rows {
        let found = top_level_string(body, b"Msg-ID").unwrap();
        assert_eq!(found.map(shown), expected.map(shown), "{}", shown(body));
    }
    assert!(top_level_string(b"{\"Msg-ID\":\"m\",\"a\":}", b"Msg-ID").is_err(), "the whole body is checked");
    assert!(top_level_string(b"", b"Msg-ID").is_err());
}
