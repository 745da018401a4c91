//! Parameters that change what scripts and applications see.

use rig::Builder;

use super::{json, publish};
use crate::case::{ASK, Cases, Form, Input, Setup, What};

/// [`Setup::Changed`].
pub fn change(builder: Builder) -> Builder {
    builder
        .modparam("amqp_consumer_event_key", "Changed_Key")
        .modparam("amqp_consumer_event_subkey", "Changed-Sub")
        .modparam("json_escape_char", "^")
        .modparam("app_name", "another app")
        .modparam("amqp_query_timeout_avp", "$avp(timeout)")
}

pub fn add(cases: &mut Cases) {
    cases.group("changed parameters").setup(Setup::Changed);
    for (name, body) in [
        ("category", r#"{"Changed_Key":"changed"}"#),
        ("category and name", r#"{"Changed_Key":"changed","Changed-Sub":"twice"}"#),
        ("default names do not count", r#"{"Event-Category":"alpha","Event-Name":"beta"}"#),
        ("nothing", "{}"),
    ] {
        cases.add(format!("event: {name}"), What::Event { exchange: "ev", key: "k".into(), body: body.into() });
    }
    for (name, body) in [("own subkey", r#"{"Only":"changed","Changed-Sub":"twice"}"#), ("nothing", "{}")] {
        let what = What::Event { exchange: "ev-only", key: "k".into(), body: body.into() };
        cases.add(format!("event with own key: {name}"), what);
    }
    cases.add("connection events", What::ConnectionEvents);

    cases.script("app_name", &publish(), Input::payload("{}"));
    cases.script("app_name, own", &publish(), Input::payload(r#"{"App-Name":"own"}"#));
    let body = r#"{"a.b":{"c":"dotted"},"a%b":"percent","a^b":"caret"}"#;
    for path in ["a^b", "a^b.c", "a%b", "a%b.c"] {
        cases.script(format!("escape character {path}"), &json(), Input::payload(body).with_path(path));
    }
    let transformation = Form::statements("$avp(out) = $(var(payload){kz.json,a^b.c});").see("$avp(out)");
    cases.script("escape character in a transformation", &transformation, Input::payload(body));

    let ask = |key: &str| Input::key(key).with_exchange(ASK).with_payload(r#"{"q":1}"#);
    let query = |timeout: &str| {
        Form::call(r#"kazoo_query($var(exchange), "$var(key)", "$var(payload)")"#)
            .before(&format!("{timeout} $var(began) = $TS;"))
            .after(
                "$var(took) = $TS - $var(began); if ($var(took) > 0) { $var(out) = \"a second or more\"; } \
                 else { $var(out) = \"less\"; }",
            )
            .see("$kzR")
    };
    for (name, timeout) in [
        ("none", ""),
        ("100 ms", "$avp(timeout) = 100;"),
        ("0", "$avp(timeout) = 0;"),
        ("text that is no number", "$avp(timeout) = \"soon\";"),
    ] {
        cases.script(format!("timeout variable, {name}, answered"), &query(timeout).answered(), ask("plain"));
        cases.script(format!("timeout variable, {name}, silent"), &query(timeout), ask("silent"));
    }
    let slow = query("$avp(timeout) = 2100;").see("$var(out)");
    cases.script("timeout variable, 2100 ms, silent", &slow, ask("silent"));
}
