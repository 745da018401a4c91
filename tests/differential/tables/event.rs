//! Events: which route runs for a message, and what it sees (reference 6.4, 7.2).

use crate::case::{Cases, What};

/// Subscribed exchanges, the same in every configuration that has events.
pub const EXCHANGES: &[&str] = &["ev", "ev-own", "ev-only", "ev-ack"];

/// Body of `event_route[kazoo:mod-init]`.
pub const SUBSCRIPTIONS: &str = r##"
    kazoo_subscribe("ev", "topic", "ev-q", "#");
    kazoo_subscribe('{"exchange":"ev-own","type":"topic","queue":"ev-own-q","routing":"#","event_key":"Kind","event_subkey":"Sub_Kind"}');
    kazoo_subscribe('{"exchange":"ev-only","type":"topic","queue":"ev-only-q","routing":"#","event_key":"Only"}');
    kazoo_subscribe('{"exchange":"ev-ack","type":"topic","queue":"ev-ack-q","routing":"#","no_ack":0,"wait_for_consumer_ack":1}');
"##;

/// The event routes there are. All of them report their name.
pub const ROUTES: &[&str] = &[
    "kazoo:consumer-event",
    "kazoo:consumer-event-connection-open",
    "kazoo:consumer-event-connection-closed",
    "kazoo:consumer-event-mark-mark",
    "kazoo:consumer-event-alpha",
    "kazoo:consumer-event-alpha-beta",
    "kazoo:consumer-event-big-cat",
    "kazoo:consumer-event-big-cat-a-name",
    "kazoo:consumer-event-nameless-",
    "kazoo:consumer-event-17",
    "kazoo:consumer-event-true",
    "kazoo:consumer-event--only-a-name",
    "kazoo:consumer-event-red",
    "kazoo:consumer-event-red-round",
    "kazoo:consumer-event-kind-sub-kind",
    "kazoo:consumer-event-kind-flat",
    "kazoo:consumer-event-only",
    "kazoo:consumer-event-only-alpha",
    "kazoo:consumer-event-changed",
    "kazoo:consumer-event-changed-twice",
];

/// Exchange, case, payload.
const PAYLOADS: &[(&str, &str, &[u8])] = &[
    ("ev", "category and name", br#"{"Event-Category":"alpha","Event-Name":"beta"}"#),
    ("ev", "other name", br#"{"Event-Category":"alpha","Event-Name":"gamma"}"#),
    ("ev", "no name", br#"{"Event-Category":"alpha"}"#),
    ("ev", "empty name", br#"{"Event-Category":"alpha","Event-Name":""}"#),
    ("ev", "null name", br#"{"Event-Category":"alpha","Event-Name":null}"#),
    ("ev", "upper case", br#"{"Event-Category":"ALPHA","Event-Name":"Beta"}"#),
    ("ev", "underscore", br#"{"Event-Category":"Big_Cat","Event-Name":"a_name"}"#),
    ("ev", "underscore, no name", br#"{"Event-Category":"big_cat"}"#),
    ("ev", "route with an empty name", br#"{"Event-Category":"nameless"}"#),
    ("ev", "number as category", br#"{"Event-Category":17}"#),
    ("ev", "boolean as category", br#"{"Event-Category":true}"#),
    ("ev", "array as category", br#"{"Event-Category":["alpha"]}"#),
    ("ev", "object as category", br#"{"Event-Category":{"a":1}}"#),
    ("ev", "name only", br#"{"Event-Name":"only_a_name"}"#),
    ("ev", "unknown category", br#"{"Event-Category":"omega","Event-Name":"beta"}"#),
    ("ev", "blank in category", br#"{"Event-Category":"alpha beta"}"#),
    ("ev", "dot in category", br#"{"Event-Category":"alpha.beta","Event-Name":"x"}"#),
    ("ev", "dash makes a category of two", br#"{"Event-Category":"alpha-beta"}"#),
    ("ev", "nothing", b"{}"),
    ("ev", "field names in lower case", br#"{"event-category":"alpha"}"#),
    ("ev", "category further inside", br#"{"x":{"Event-Category":"alpha"}}"#),
    ("ev", "category twice", br#"{"Event-Category":"omega","Event-Category":"alpha"}"#),
    ("ev", "accent in category", "{\"Event-Category\":\"É\"}".as_bytes()),
    ("ev", "global keys are not those of others", br#"{"Kind":"red","Sub_Kind":"round"}"#),
    ("ev-own", "own keys", br#"{"Kind":"red","Sub_Kind":"round"}"#),
    ("ev-own", "own key only", br#"{"Kind":"RED"}"#),
    ("ev-own", "own subkey only", br#"{"Sub_Kind":"flat"}"#),
    ("ev-own", "no own keys", b"{}"),
    ("ev-own", "unknown", br#"{"Kind":"blue","Sub_Kind":"square"}"#),
    ("ev-own", "global keys do not count", br#"{"Event-Category":"alpha","Event-Name":"beta"}"#),
    ("ev-own", "empty own key", br#"{"Kind":"","Sub_Kind":"flat"}"#),
    ("ev-own", "null own key", br#"{"Kind":null,"Sub_Kind":"flat"}"#),
    ("ev-only", "own key, global subkey", br#"{"Only":"alpha","Event-Name":"beta"}"#),
    ("ev-only", "own key alone", br#"{"Only":"alpha"}"#),
    ("ev-only", "missing own key", br#"{"Event-Name":"alpha"}"#),
    ("ev-only", "nothing", b"{}"),
    ("ev-only", "unknown own key", br#"{"Only":"omega","Event-Name":"beta"}"#),
    ("ev-ack", "with acknowledgement", br#"{"Event-Category":"alpha"}"#),
    ("ev-ack", "bad JSON with acknowledgement", b"hello"),
];

/// What the route sees of the payload, and what is dropped.
const TEXTS: &[(&str, &[u8])] = &[
    ("lenient", b"/* c */ {'a':'x',\"b\":[1,2,],} // d"),
    ("order and numbers", br#"{"z":1.50,"a":1e3,"m":007,"big":99999999999999999999}"#),
    ("strings", br#"{"a":"\u00e9\n\t\"\\\/","b":"\ud83d\ude00","c":"\ud800"}"#),
    ("Latin-1", b"{\"a\":\"caf\xe9\"}"),
    ("words", br#"{"a":NaN,"b":TRUE,"c":null}"#),
    ("NUL escape", br#"{"a":"x\u0000y"}"#),
    ("zone and time already there", br#"{"AMQP-Received":1,"a":1,"AMQP-Broker-Zone":"east"}"#),
    ("Server-ID", br#"{"Server-ID":"peer-1","a":1}"#),
    ("Server-ID last", br#"{"a":1,"Server-ID":"peer-1"}"#),
    ("Server-ID empty", br#"{"Server-ID":"","a":1}"#),
    ("Server-ID null", br#"{"Server-ID":null,"a":1}"#),
    ("Server-ID number", br#"{"Server-ID":17,"a":1}"#),
    ("Server-ID with a slash", br#"{"Server-ID":"consumer://1/peer","a":1}"#),
    ("Msg-ID", br#"{"Msg-ID":"some","a":1}"#),
    ("Node and App-Name", br#"{"Node":"n","App-Name":"a"}"#),
    ("text behind", br#"{"a":1} and more"#),
    ("text", b"hello"),
    ("empty", b""),
    ("null", b"null"),
    ("open object", b"{\"a\":1"),
    ("binary", b"\0\x01\xff"),
    ("bare key", b"{a:1}"),
    ("nested too deep", b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"),
];

/// The C module ends, and the server with it.
const CRASHING: &[(&str, &[u8])] = &[("array", b"[1,2]"), ("number", b"17"), ("string", b"\"text\"")];

pub fn add(cases: &mut Cases) {
    let event = |exchange, key: &str, body: &[u8]| What::Event { exchange, key: key.into(), body: body.to_vec() };
    cases.group("event route");
    for (exchange, name, body) in PAYLOADS {
        cases.add(format!("{exchange}: {name}"), event(exchange, "some.key", body));
    }
    cases.group("event payload");
    for (name, body) in TEXTS {
        cases.add(name, event("ev", "some.key", body));
    }
    for (name, body) in CRASHING {
        cases.add(name, event("ev", "some.key", body)).alone([("events", "0")]);
    }
    let long = format!(r#"{{"Event-Category":"alpha","Event-Name":"{}"}}"#, "n".repeat(600));
    cases
        .add("name of 600 bytes", event("ev", "some.key", long.as_bytes()))
        .alone([("event 1 route", "kazoo:consumer-event-alpha")]);
    let long = format!(r#"{{"Server-ID":"{}"}}"#, "s".repeat(200));
    cases.add("Server-ID of 200 bytes", event("ev", "some.key", long.as_bytes())).alone([("events", "1")]);

    cases.group("event routing key");
    for (name, key) in
        [("empty", ""), ("blank", "a b"), ("encoded", "a%2Eb.c"), ("UTF-8", "é"), ("255 bytes", &"k".repeat(255))]
    {
        cases.add(name, event("ev", key, b"{}"));
    }
    cases.group("connection events");
    cases.add("at the start", What::ConnectionEvents);
}
