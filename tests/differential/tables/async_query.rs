//! `kazoo_async_query`: what it returns, which callback runs and what it sees (reference 2.3).

use super::REFUSED;
use crate::case::{ASK, Cases, Form, Input};

pub fn add(cases: &mut Cases) {
    let form = |arguments: &str| {
        let call = format!("kazoo_async_query({arguments})");
        Form::call(&call).before(r#"$avp(kept) = "kept"; $var(ok) = "OK"; $var(err) = "ERR";"#)
    };
    let five = form(r#""$var(exchange)", "$var(key)", "$var(payload)", "OK", "ERR""#);
    let ask = |key: &str, body: &str| Input::key(key).with_exchange(ASK).with_payload(body);
    cases.group("async query");
    for kind in [
        "plain",
        "id last",
        "lenient",
        "trailing",
        "numbers",
        "texts",
        "edited already",
        "server id",
        "null members",
        "silent",
        "not json",
        "empty",
        "no id",
        "other id",
    ] {
        cases.script(format!("answer {kind}"), &five.clone().resumed(), ask(kind, r#"{"q":1}"#));
    }
    cases.script("fields of its own", &five.clone().resumed(), ask("echo", r#"{"App-Name":"own","Node":null}"#));
    cases.script("Server-ID of its own", &five.clone().resumed(), ask("echo", r#"{"Server-ID":"mine"}"#));
    cases.script("Msg-ID of its own", &five.clone().resumed(), ask("echo", r#"{"Msg-ID":"mine"}"#));
    for (name, arguments) in [
        ("flags", r#""ask", "echo", '{"q":1}', "OK", "ERR", "0""#),
        ("unquoted", r#"$var(exchange), $var(key), $var(payload), "OK", "ERR""#),
        ("concatenated", r#""ask", "ec" + "ho", '{"q":"' + $rm + '"}', "OK", "ERR""#),
        ("callbacks in variables", r#""ask", "echo", '{"q":1}', "$var(ok)", "$var(err)""#),
        ("callbacks in variables, unquoted", r#""ask", "echo", '{"q":1}', $var(ok), $var(err)"#),
    ] {
        cases.script(name, &form(arguments).resumed(), ask("echo", r#"{"q":2}"#));
    }
    let other = Form { call: five.call.replace("kazoo_async_query", "kazoo_query_async"), ..five.clone() };
    cases.script("other name", &other.resumed(), ask("echo", "{}"));
    for (name, body) in [("bad JSON", "{q:1}"), ("empty payload", ""), ("null payload", "null")] {
        cases.script(name, &five, ask("echo", body));
    }
    cases.script("key of 256 bytes", &five, ask(&"k".repeat(256), "{}"));
    // The C module leaves the transaction to its timer.
    let unknown = form(r#""ask", "echo", '{"q":1}', "NOWHERE", "ERR""#);
    cases.script("callback that does not exist", &unknown, ask("echo", "{}"));
    for (name, body) in [("array", "[1]"), ("number", "17")] {
        cases.script(format!("payload {name}"), &five, ask("echo", body)).alone(REFUSED);
    }
}
