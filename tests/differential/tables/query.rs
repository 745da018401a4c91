//! `kazoo_query` and the odd answers it may get (reference 2.2, 6.4). The routing key tells the peer how to answer.

use crate::case::{ASK, Cases, Form, Input};

const BEFORE: &str = r#"$var(text) = "user"; $var(half) = "ho";"#;

/// Answers that reach the script.
const ANSWERED: &[&str] = &[
    "plain",
    "id last",
    "id twice",
    "lenient",
    "trailing",
    "numbers",
    "texts",
    "latin",
    "edited already",
    "server id",
    "empty server id",
    "null server id",
    "null members",
    "large",
];

/// Answers that cannot be used, or none.
const UNANSWERED: &[&str] =
    &["silent", "not json", "binary", "empty", "json null", "no id", "null id", "other id", "upper id"];

/// Answers over which the C module crashes.
const CRASHING: &[&str] = &["array", "number", "string"];

pub fn add(cases: &mut Cases) {
    // One argument unquoted: with all of them quoted the C module of Kamailio 5.6 crashes.
    let three = Form::call(r#"kazoo_query($var(exchange), "$var(key)", "$var(payload)")"#).see("$kzR");
    let ask = |key: &str, body: &str| Input::key(key).with_exchange(ASK).with_payload(body);
    cases.group("query");
    for kind in ANSWERED {
        cases.script(format!("answer {kind}"), &three.clone().answered(), ask(kind, r#"{"q":1}"#));
    }
    for kind in UNANSWERED {
        cases.script(format!("answer {kind}"), &three, ask(kind, r#"{"q":1}"#));
    }
    for kind in CRASHING {
        let case = cases.script(format!("answer {kind}"), &three, ask(kind, r#"{"q":1}"#));
        case.alone([("branch", "false"), ("rc", "negative"), ("$kzR", "null")]);
    }
    cases.script("answer long server id", &three, ask("long server id", "{}")).alone([("branch", "true")]);

    for (name, body) in [
        ("empty object", "{}"),
        ("fields of its own", r#"{"App-Name":"own","Node":null,"z":1}"#),
        ("lenient payload", "{'q':1,} // c"),
        ("dollar in the payload", r#"{"q":"5$"}"#),
    ] {
        cases.script(name, &three.clone().answered(), ask("echo", body));
    }
    cases.script("Msg-ID of its own", &three, ask("echo", r#"{"Msg-ID":"mine"}"#));
    cases.script("Server-ID of its own", &three, ask("echo", r#"{"Server-ID":"mine"}"#));
    for (name, body) in [("bad JSON", "{q:1}"), ("empty payload", ""), ("null payload", "null")] {
        cases.script(name, &three, ask("echo", body));
    }
    for (name, body) in [("array", "[1]"), ("number", "17"), ("string", "\"x\"")] {
        let case = cases.script(format!("payload {name}"), &three, ask("echo", body));
        case.alone([("branch", "false"), ("rc", "negative"), ("$kzR", "null"), ("messages", "0")]);
    }
    cases.script("key of 255 bytes", &three, ask(&"k".repeat(255), "{}"));
    cases.script("key of 256 bytes", &three, ask(&"k".repeat(256), "{}"));
    cases.script("key with consumer://", &three, ask("consumer://1/echo", "{}"));
    cases.script("nobody bound", &three, Input::key("x").with_exchange(crate::case::EXCHANGE));

    for (name, arguments) in [
        ("unquoted payload", r#""ask", "echo", $var(payload)"#),
        ("unquoted key", r#""ask", $var(key), '{"q":"$var(text)"}'"#),
        ("concatenated key", r#""ask", "ec" + $var(half), '{"q":1}'"#),
        ("concatenated payload", r#""ask", "echo", '{"q":"' + $var(text) + '"}'"#),
    ] {
        let form = Form::call(&format!("kazoo_query({arguments})")).before(BEFORE).see("$kzR").answered();
        cases.script(name, &form, ask("echo", r#"{"q":2}"#));
    }
    let parts = Form::call(r#"kazoo_query($var(exchange), "$var(key)", "$var(payload)")"#)
        .answered()
        .after("$avp(out) = $(kzR{kz.json,Question.q}); $var(out) = $(kzR{kz.json.count,Question});")
        .see("$avp(out)")
        .see("$var(out)");
    cases.script("parts of the answer", &parts, ask("echo", r#"{"q":"v"}"#));
    let earlier = r#"kazoo_query($var(exchange), "plain", "$var(payload)");"#;
    let failed = three.clone().before(earlier);
    let cleared = [("branch", "false"), ("$kzR", "null")];
    cases.script("failure clears the answer before", &failed, ask("silent", "{}")).alone(cleared);
    let refused = three.clone().before(&format!("{earlier} $var(payload) = \"bad\";"));
    cases.script("refusal clears the answer before", &refused, ask("silent", "{}")).alone(cleared);
    let publish = three.clone().answered().after(r#"kazoo_publish("diff", "key", "{}");"#);
    cases.script("publish keeps the answer", &publish, ask("echo", "{}"));
    cases.script("an answer to be left behind", &three.clone().answered(), ask("echo", "{}"));
    cases.script("the next request", &Form::statements("").see("$kzR"), Input::default());

    add_arities(cases);
}

/// Forms over which the C module of Kamailio 5.6 crashes.
fn add_arities(cases: &mut Cases) {
    let say = [("branch", "true"), ("rc", "positive"), ("$avp(out)", "\"echo\""), ("messages", "1")];
    let input = || Input::key("echo").with_exchange(ASK);
    let parts = "$avp(out) = $(kzR{kz.json,Say});";
    let quoted = Form::call(r#"kazoo_query("ask", "echo", '{"q":1}')"#).after(parts).see("$avp(out)");
    cases.script("all quoted", &quoted, input()).alone(say);
    let constants = Form::call(r#"kazoo_query("ask", "ec" + "ho", '{"q":1}')"#).after(parts).see("$avp(out)");
    cases.script("constants, concatenated", &constants, input()).alone(say);
    for (name, arguments) in [
        ("target", r#""ask", "echo", '{"q":1}', "$avp(out)""#),
        ("target and headers", r#""ask", "echo", '{"q":1}', "$avp(out)", "a=1""#),
        ("target, unquoted payload", r#""ask", "echo", $var(payload), "$avp(out)""#),
    ] {
        let form = Form::call(&format!("kazoo_query({arguments})"))
            .after("$avp(out) = $(avp(out){kz.json,Say});")
            .see("$avp(out)");
        cases.script(name, &form, input()).alone(say);
    }
    let silent = Form::call(r#"kazoo_query("ask", "silent", '{"q":1}', "$avp(out)")"#).see("$avp(out)");
    cases.script("target keeps its value", &silent, input()).alone([("branch", "false"), ("$avp(out)", "\"before\"")]);
}
