//! Event route names.

use super::shown;
use crate::payload::Inbound;
use crate::payload::event::{EventKey, EventKeys, candidates};

fn names(payload: &str, own: [&str; 2]) -> Vec<String> {
    let payload = Inbound::unedited(payload.as_bytes()).unwrap();
    let keys = EventKeys {
        key: EventKey::choose(own[0].as_bytes(), b"Event-Category"),
        subkey: EventKey::choose(own[1].as_bytes(), b"Event-Name"),
    };
    candidates(&payload, keys).map(|name| shown(name).replacen("kazoo:consumer-event", "", 1)).collect()
}

#[test]
fn names_in_the_order_they_are_tried() {
    let fallback = ["-event-category-event-name", "-event-category", ""];
    let rows = [
        (
            r#"{"Event-Category":"Presence","Event-Name":"Update"}"#,
            ["", ""],
            ["-presence-update", "-presence"],
            fallback,
        ),
        (r#"{"Event-Category":"Big_Cat"}"#, ["", ""], ["-big-cat-", "-big-cat"], fallback),
        (r#"{"Event-Name":"N"}"#, ["", ""], ["--n", "-"], fallback),
        (r#"{"Event-Category":"","Event-Name":null}"#, ["", ""], ["--", "-"], fallback),
        (r#"{"Event-Category":12,"Event-Name":true}"#, ["", ""], ["-12-true", "-12"], fallback),
        (
            r#"{"Event-Category":"a b.C\u0000d","Event-Name":"\u00c9"}"#,
            ["", ""],
            ["-a b.c-\\xc3\\x89", "-a b.c"],
            fallback,
        ),
        (r#"{"My_Key":"V"}"#, ["My_Key", ""], ["-v-", "-v"], ["-my-key-event-name", "-my-key", ""]),
        (r#"{"x":1}"#, ["My_Key", "Sub"], ["-my-key-sub", "-my-key"], ["-my-key-sub", "-my-key", ""]),
        (
            r#"{"Event-Category":"C","Sub":""}"#,
            ["", "Sub"],
            ["-c-sub", "-c"],
            ["-event-category-sub", "-event-category", ""],
        ),
    ];
    for (payload, own, specific, general) in rows {
        assert_eq!(names(payload, own), [&specific[..], &general[..]].concat(), "{payload}");
    }
}

#[test]
fn a_category_of_any_length_is_fine() {
    let category = "C_".repeat(1 << 19);
    let payload = format!("{{\"Event-Category\":\"{category}\",\"Event-Name\":\"{category}\"}}");
    assert_eq!(names(&payload, ["", ""])[0], format!("-{0}-{0}", "c-".repeat(1 << 19)));
}
