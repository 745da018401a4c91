//! `kazoo_subscribe` in all its shapes (reference 2.4, 2.5): what the broker then shows.

use crate::case::{Cases, Setup, What};

/// Exchange of a last subscription, made after all others.
pub const LAST: &str = "subscribed-last";
/// Its call, text of kamailio.cfg.
pub const LAST_CALL: &str = "    kazoo_subscribe(\"subscribed-last\", \"topic\", \"subscribed-last-q\", \"#\");\n";

/// Members of a description, besides exchange, type, queue and routing.
const MEMBERS: &[(&str, &str)] = &[
    ("defaults", ""),
    ("auto_delete 0", r#","auto_delete":0"#),
    ("auto_delete 1", r#","auto_delete":1"#),
    ("durable", r#","durable":1"#),
    ("durable, auto_delete 0", r#","durable":1,"auto_delete":0"#),
    ("durable as boolean", r#","durable":true,"auto_delete":false"#),
    ("durable as text", r#","durable":"1","auto_delete":"0""#),
    ("durable as float", r#","durable":1.9,"auto_delete":0.9"#),
    ("durable as word", r#","durable":"yes","auto_delete":"no""#),
    ("durable as null", r#","durable":null,"auto_delete":null"#),
    ("durable as array", r#","durable":[1],"auto_delete":[0]"#),
    ("exclusive", r#","exclusive":1"#),
    ("internal", r#","internal":1"#),
    ("no_ack 0", r#","no_ack":0"#),
    ("no_ack 0, wait for the consumer", r#","no_ack":0,"wait_for_consumer_ack":1"#),
    ("no_ack as boolean", r#","no_ack":false"#),
    ("no_ack as text", r#","no_ack":"0""#),
    ("event keys", r#","event_key":"K","event_subkey":"S""#),
    ("federate", r#","federate":1"#),
    ("consistent worker", r#","consistent-worker":1,"consistent-worker-key":"Call-ID""#),
    ("unknown members", r#","other":{"durable":1},"Durable":1"#),
    ("exchange-def", r#","exchange-def":{"type":"direct","durable":1}"#),
    ("exchange-def, flags above do not count", r#","durable":1,"exchange-def":{"type":"topic"}"#),
    ("exchange-def, auto_delete and internal", r#","exchange-def":{"type":"fanout","auto_delete":1,"internal":1}"#),
    ("queue-def", r#","queue-def":{"durable":1,"auto_delete":0}"#),
    ("queue-def, empty", r#","queue-def":{}"#),
    ("queue-def, flags above do not count", r#","durable":1,"auto_delete":0,"queue-def":{"exclusive":1}"#),
    ("both defs", r#","exchange-def":{"type":"topic","durable":1},"queue-def":{"durable":1,"auto_delete":0}"#),
    ("one source exchange", r#","exchange-bindings":{"@src":{"type":"topic","routing":"x.*"}}"#),
    ("one source exchange, two keys", r#","exchange-bindings":{"@src":{"type":"topic","routing":["x.*","y"]}}"#),
    (
        "one source exchange, flags",
        r#","exchange-bindings":{"@src":{"type":"direct","durable":1,"auto_delete":1,"routing":"x"}}"#,
    ),
    ("source exchange without routing", r#","exchange-bindings":{"@src":{"type":"topic"}}"#),
    (
        "two source exchanges",
        r#","exchange-bindings":{"@src1":{"type":"topic","routing":"x"},"@src2":{"type":"topic","routing":"y"}}"#,
    ),
    ("exchange-bindings, empty", r#","exchange-bindings":{}"#),
];

/// Values of `routing`.
const ROUTINGS: &[(&str, &str)] = &[
    ("text", r#""one.two""#),
    ("empty text", r#""""#),
    ("wildcards", r##""one.*.#""##),
    ("array of one", r#"["one"]"#),
    ("array of three", r#"["one","two.*","three.#"]"#),
    ("same key twice", r#"["one","one"]"#),
    ("numbers in an array", r#"["one",17]"#),
    ("empty array", "[]"),
    ("number", "17"),
    ("object", r#"{"a":1}"#),
    ("null", "null"),
    ("blank", r#""one two""#),
];

/// Whole descriptions.
const DESCRIPTIONS: &[(&str, &str)] = &[
    ("broker names the queue", r#"{"exchange":"@x","type":"topic","queue":"","routing":"k"}"#),
    ("no queue", r#"{"exchange":"@x","type":"topic","routing":"k"}"#),
    ("no routing", r#"{"exchange":"@x","type":"topic","queue":"@q"}"#),
    ("direct", r#"{"exchange":"@x","type":"direct","queue":"@q","routing":"k"}"#),
    ("fanout", r#"{"exchange":"@x","type":"fanout","queue":"@q","routing":""}"#),
    ("headers", r#"{"exchange":"@x","type":"headers","queue":"@q","routing":""}"#),
    ("lenient", r#"{"exchange":"@x","type":"topic","queue":"@q","routing":["k",],} // c"#),
    ("members in another order", r#"{"routing":"k","queue":"@q","type":"topic","exchange":"@x"}"#),
    ("passive, not there", r#"{"exchange":"@x","type":"topic","queue":"@q","routing":"k","passive":1}"#),
    ("bad JSON", r#"{"exchange":"@x""#),
    ("empty", ""),
    ("null", "null"),
];

pub fn add(cases: &mut Cases) {
    let json = |text: &str| What::Subscription(format!("kazoo_subscribe('{text}')"));
    cases.group("subscribe").setup(Setup::Subscriptions);
    for (name, members) in MEMBERS {
        let text = format!(r#"{{"exchange":"@x","type":"topic","queue":"@q","routing":"k"{members}}}"#);
        cases.add(name, json(&text));
    }
    for (name, routing) in ROUTINGS {
        let text = format!(r#"{{"exchange":"@x","type":"topic","queue":"@q","routing":{routing}}}"#);
        cases.add(format!("routing, {name}"), json(&text));
    }
    for (name, text) in DESCRIPTIONS {
        cases.add(name, json(text));
    }
    for (name, text) in [
        ("four arguments", r#"kazoo_subscribe("@x", "topic", "@q", "one.#")"#),
        ("four arguments, direct", r#"kazoo_subscribe("@x", "direct", "@q", "one")"#),
        ("four arguments, no queue name", r#"kazoo_subscribe("@x", "topic", "", "one")"#),
        ("four arguments, no key", r#"kazoo_subscribe("@x", "topic", "@q", "")"#),
        (
            "description in a variable",
            r#"$var(d) = '{"exchange":"@x","type":"topic","queue":"@q","routing":"v"}'; kazoo_subscribe("$var(d)")"#,
        ),
        (
            "description in a variable, unquoted",
            r#"$var(d) = '{"exchange":"@x","type":"topic","queue":"@q","routing":"v"}'; kazoo_subscribe($var(d))"#,
        ),
        ("name in a variable", r#"$var(n) = "@x"; kazoo_subscribe("$var(n)", "topic", "@q", "one")"#),
        ("name concatenated", r#"$var(n) = "@"; kazoo_subscribe($var(n) + "x", "topic", "@q", "one")"#),
    ] {
        cases.add(name, What::Subscription(text.into()));
    }
    // Null in a list ends the C module.
    let text = r#"{"exchange":"@x","type":"topic","queue":"@q","routing":["one",null,"two"]}"#;
    cases
        .add("null in routing", json(text))
        .alone([("rc", "positive"), ("bindings", " q queue q; x q queue one; x q queue two")]);
}
