//! `kazoo_publish` end to end: what arrives at the broker, what the script is told, what the log says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{
    LONG, PATIENCE, ask, ask_patiently, broker, complaints, exactly, hostname, kamailio, number, sink, sip, stat,
    still_well, tail, until_connected, until_stat,
};
use rig::{Broker, Exchange, Kamailio, Queue, Response, Signal, Sink, SipClient, wait_until};
use serde_json::{Value, json};

/// Every branch leaves the return code in `X-Ret`. `LOOP` publishes numbered messages until one is refused and tells
/// how many were accepted, the code that ended the loop, and the longest call in microseconds.
const ROUTES: &str = r#"
request_route {
    $var(rc) = 0;
    switch ($hdr(X-Case)) {
    case "three":
        kazoo_publish("$hdr(X-Exchange)", "$hdr(X-Key)", "$rb");
        $var(rc) = $rc;
        break;
    case "four":
        kazoo_publish("$hdr(X-Exchange)", "$hdr(X-Key)", "$rb", "$hdr(X-Headers)");
        $var(rc) = $rc;
        break;
    case "constants":
        kazoo_publish("constants", "key.of.constants", '{"Quotes": "double"}');
        $var(rc) = $rc;
        break;
    case "single quotes":
        $var(payload) = "{'Quotes': 'single', 'User': '" + $fU + "'}";
        kazoo_publish("constants", "key." + $fU, $var(payload));
        $var(rc) = $rc;
        break;
    case "expanded twice":
        $var(payload) = '{"User": "$fU"}';
        kazoo_publish("constants", "key", $var(payload));
        $var(rc) = $rc;
        break;
    case "unset":
        kazoo_publish("constants", "key", "$avp(nothing)");
        $var(rc) = $rc;
        break;
    case "if":
        if (kazoo_publish("$hdr(X-Exchange)", "key", "$rb")) { $var(rc) = 1; } else { $var(rc) = -1; }
        break;
    case "big":
        $var(fill) = "0123456789abcdef";
        $var(i) = 0;
        while ($var(i) < $(hdr(X-Doublings){s.int})) {
            $var(fill) = $var(fill) + $var(fill);
            $var(i) = $var(i) + 1;
        }
        $var(payload) = '{"Fill":"' + $var(fill) + '"}';
        kazoo_publish("big", "key", $var(payload));
        $var(rc) = $rc;
        break;
    case "key of bytes":
        kazoo_publish("$hdr(X-Exchange)", "$(hdr(X-Key){s.decode.hexa})", "{}");
        $var(rc) = $rc;
        break;
    case "loop":
        route(LOOP);
        break;
    case "transaction":
        # Takes shared memory of Kamailio's own.
        t_newtran();
        t_reply("200", "Transaction");
        exit;
    }
    append_to_reply("X-Ret: $var(rc)\r\n");
    sl_send_reply("200", "OK");
    exit;
}
route[LOOP] {
    $var(i) = 0;
    $var(rc) = 1;
    $var(longest) = 0;
    while ($var(rc) == 1 && $var(i) < $(hdr(X-Count){s.int})) {
        $var(before) = ($TV(sn) mod 1000) * 1000000 + $TV(un);
        kazoo_publish("loop", "key", '{"Number":$var(i),"Text":"some more bytes, as a usual event has them"}');
        $var(rc) = $rc;
        $var(took) = ($TV(sn) mod 1000) * 1000000 + $TV(un) - $var(before);
        if ($var(took) > $var(longest)) { $var(longest) = $var(took); }
        if ($var(rc) == 1) { $var(i) = $var(i) + 1; }
    }
    append_to_reply("X-Accepted: $var(i)\r\nX-Longest: $var(longest)\r\n");
}
"#;

fn start(name: &str, broker: &Broker, adjust: impl FnOnce(rig::Builder) -> rig::Builder) -> Kamailio {
    let builder = kamailio(name).broker(broker).line("max_while_loops=10000000").routes(ROUTES);
    let kamailio = adjust(builder).start().unwrap();
    until_connected(&kamailio, 1);
    kamailio
}

fn publish(client: &SipClient, exchange: &str, key: &str, body: &str) -> i64 {
    number(&ask(client, "three", &[("X-Exchange", exchange), ("X-Key", key)], body), "X-Ret")
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// A UUID in lower case.
fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_digit() || ('a'..='f').contains(&c))
}

#[test]
fn message_arrives_with_body_envelope_and_properties() {
    let broker = broker();
    let sink = sink(&broker, "arrives", "arrives", "#");
    let kamailio = start("arrives", &broker, |builder| builder);
    let sip = sip(&kamailio);
    let body = r#"{ "Text": "some \"text\" é/\u0001", "List": [1, 2.50, true, null, {"Deep": {}}], "Empty": "" }"#;

    assert_eq!(publish(&sip, "arrives", "event.one", body), 1);
    let message = exactly(&sink, 1).remove(0);
    assert_eq!((message.exchange.as_str(), message.routing_key.as_str()), ("arrives", "event.one"));
    assert_eq!(message.content_type.as_deref(), Some("application/json"));
    assert!(message.headers.is_empty(), "{message:?}");
    assert!(!message.redelivered);
    assert_eq!(message.delivery_mode.unwrap_or(1), 1, "transient unless amqp_persistent is set");
    assert!(message.properties.contains(&"content_type") && message.properties.contains(&"message_id"), "{message:?}");
    // Nothing that the documents do not name: the C module sends content_type (and headers) only.
    for absent in ["correlation_id", "reply_to", "expiration", "type", "user_id"] {
        assert!(!message.properties.contains(&absent), "{message:?}");
    }

    let arrived = message.json();
    let sent: Value = serde_json::from_str(body).unwrap();
    for (name, value) in sent.as_object().unwrap() {
        assert_eq!(&arrived[name], value, "{name}");
    }
    let envelope = ["App-Name", "App-Version", "Node", "Msg-ID", "Server-ID"];
    assert_eq!(keys(&arrived), [&["Text", "List", "Empty"], &envelope[..]].concat());
    assert_eq!(arrived["App-Name"], "kamailio");
    assert_eq!(arrived["Node"], format!("kamailio@{}", hostname("arrives")));
    assert!(arrived["App-Version"].as_str().unwrap().starts_with(|c: char| c.is_ascii_digit()), "{arrived}");
    assert!(is_uuid(arrived["Msg-ID"].as_str().unwrap()), "{arrived}");
    assert_eq!(arrived["Server-ID"], format!("kamailio@{}-<1>-targeted-0", hostname("arrives")));
}

#[test]
fn envelope_fields_of_the_caller_are_kept_and_null_ones_replaced_in_place() {
    let broker = broker();
    let sink = sink(&broker, "envelope", "envelope", "#");
    let kamailio = start("envelope", &broker, |builder| builder.modparam("app_name", "edge"));
    let sip = sip(&kamailio);

    let own = r#"{"Server-ID":"mine","Node":null,"Msg-ID":"my-id","App-Version":"","A":1,"App-Name":null}"#;
    assert_eq!(publish(&sip, "envelope", "own", own), 1);
    let node = format!("kamailio@{}", hostname("envelope"));
    let expected = json!({"Server-ID": "mine", "Node": node, "Msg-ID": "my-id", "App-Version": "", "A": 1,
        "App-Name": "edge"});
    let arrived = exactly(&sink, 1)[0].json();
    assert_eq!(arrived, expected);
    assert_eq!(keys(&arrived), ["Server-ID", "Node", "Msg-ID", "App-Version", "A", "App-Name"]);

    assert_eq!(publish(&sip, "envelope", "empty", "{}"), 1);
    let arrived = exactly(&sink, 1)[0].json();
    assert_eq!(keys(&arrived), ["App-Name", "App-Version", "Node", "Msg-ID", "Server-ID"]);
}

#[test]
fn message_ids_are_unique_and_persistent_mode_is_set_on_request() {
    const COUNT: usize = 300;
    let broker = broker();
    let sink = sink(&broker, "ids", "loop", "#");
    let kamailio = start("ids", &broker, |builder| builder.modparam_int("amqp_persistent", 1).children(2));
    let clients = [sip(&kamailio), sip(&kamailio)];
    for client in &clients {
        let answer = ask(client, "loop", &[("X-Count", &(COUNT / 2).to_string())], "");
        assert_eq!((number(&answer, "X-Ret"), number(&answer, "X-Accepted")), (1, COUNT as i64 / 2));
    }
    let messages = exactly(&sink, COUNT);
    let ids: BTreeSet<_> = messages.iter().map(|message| message.message_id.clone().unwrap()).collect();
    assert_eq!(ids.len(), COUNT);
    let msg_ids: BTreeSet<_> = messages.iter().map(|message| message.json()["Msg-ID"].to_string()).collect();
    assert_eq!(msg_ids.len(), COUNT);
    assert!(messages.iter().all(|message| message.delivery_mode == Some(2)), "{:?}", messages[0]);
}

#[test]
fn fourth_argument_becomes_headers() {
    let broker = broker();
    let sink = sink(&broker, "headers", "headers", "#");
    let mut kamailio = start("headers", &broker, |builder| builder);
    let sip = sip(&kamailio);
    // Reference 2.1: split on `;`, then on `=`; empty segments ignored; runs of `=` count as one; text after a second
    // `=` dropped; no trimming; a segment without a value skipped with a log line.
    let table: &[(&str, &[(&str, &str)])] = &[
        ("plain=value", &[("plain", "value")]),
        ("one=1;two=2", &[("one", "1"), ("two", "2")]),
        (";;one=1;;two=2;", &[("one", "1"), ("two", "2")]),
        ("one==1", &[("one", "1")]),
        ("one=1=2", &[("one", "1")]),
        ("with blank= value ", &[("with blank", " value")]),
        ("alone;one=1", &[("one", "1")]),
    ];
    for (headers, expected) in table {
        let answer = ask(&sip, "four", &[("X-Exchange", "headers"), ("X-Key", "key"), ("X-Headers", headers)], "{}");
        assert_eq!(number(&answer, "X-Ret"), 1, "{headers}");
        let message = exactly(&sink, 1).remove(0);
        let found: Vec<(&str, &str)> = message.headers.iter().map(|(n, v)| (n.as_str(), v.trim_end())).collect();
        assert_eq!(&found, expected, "{headers}");
        assert!(message.properties.contains(&"headers"));
    }
    assert_eq!(complaints(&kamailio).len(), 1, "one for the segment without a value: {:#?}", complaints(&kamailio));
    assert!(complaints(&kamailio)[0].contains("no value"), "{:#?}", complaints(&kamailio));
    still_well(&mut kamailio);
}

#[test]
fn payload_forms_of_the_documentation_are_accepted() {
    let broker = broker();
    let sink = sink(&broker, "constants", "constants", "#");
    let kamailio = start("constants", &broker, |builder| builder);
    let sip = sip(&kamailio);

    assert_eq!(number(&ask(&sip, "constants", &[], ""), "X-Ret"), 1);
    let message = exactly(&sink, 1).remove(0);
    assert_eq!((message.routing_key.as_str(), &message.json()["Quotes"]), ("key.of.constants", &json!("double")));

    assert_eq!(number(&ask(&sip, "single quotes", &[], ""), "X-Ret"), 1);
    let message = exactly(&sink, 1).remove(0);
    assert_eq!(message.routing_key, "key.test");
    assert_eq!((&message.json()["Quotes"], &message.json()["User"]), (&json!("single"), &json!("test")));

    // An unquoted parameter is scanned for variables once more; deployed scripts rely on it.
    assert_eq!(number(&ask(&sip, "expanded twice", &[], ""), "X-Ret"), 1);
    assert_eq!(exactly(&sink, 1)[0].json()["User"], "test");

    for (case, expected) in [(r#"{"a":1}"#, 1), ("[1]", -1)] {
        let answer = ask(&sip, "if", &[("X-Exchange", "constants")], case);
        assert_eq!(number(&answer, "X-Ret"), expected, "as a condition: {case}");
    }
    assert_eq!(exactly(&sink, 1)[0].json()["a"], 1);

    // Reference 5.4: accepted although no standard JSON.
    let dialect = [
        (r#"{'a':'b "c"'}"#, json!(r#"b "c""#)),
        (r#"{"a":"it's",}"#, json!("it's")),
        (r#"{"a":TRUE}"#, json!(true)),
        (r#"/* first */ {"a":[1,2,],} and the rest"#, json!([1, 2])),
        ("{\"a\":\"tab\there\"}", json!("tab\there")),
        (r#"{"a":1,"a":2}"#, json!(2)),
    ];
    for (body, expected) in dialect {
        assert_eq!(publish(&sip, "constants", "dialect", body), 1, "{body}");
        assert_eq!(exactly(&sink, 1)[0].json()["a"], expected, "{body}");
    }
}

/// One bad input: exactly one log line, which holds all of `named`, and the documented code.
struct Refusal {
    exchange: String,
    key: String,
    body: String,
    code: i64,
    named: &'static [&'static str],
}

fn refusal(key: &str, body: &str, code: i64, named: &'static [&'static str]) -> Refusal {
    Refusal { exchange: "refused".into(), key: key.into(), body: body.into(), code, named }
}

fn bad_inputs() -> Vec<Refusal> {
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(40), "]".repeat(40));
    vec![
        refusal("key", "this is no JSON", -2, &["JSON"]),
        refusal("key", "{\"a\":", -2, &["JSON"]),
        refusal("key", "{a:1}", -2, &["JSON"]),
        refusal("key", &deep, -2, &["JSON", "32"]),
        refusal("key", "   ", -2, &[]),
        refusal("key", "null", -2, &["null"]),
        refusal("key", "[1,2]", -2, &["object"]),
        refusal("key", "17", -2, &["object"]),
        refusal("key", "\"text\"", -2, &["object"]),
        refusal(&"k".repeat(256), "{}", -3, &["256", "255", "routing key"]),
        refusal(&"k".repeat(5000), "{}", -3, &["5000", "255", "routing key"]),
        Refusal { exchange: "e".repeat(256), ..refusal("key", "{}", -3, &["256", "255", "exchange"]) },
        refusal("consumer://nokey", "{}", -1, &["consumer://"]),
        refusal("consumer:///key", "{}", -1, &["consumer://"]),
        refusal("consumer://7/key", "{}", -1, &["consumer://", "broker"]),
    ]
}

#[test]
fn bad_input_gets_a_negative_code_and_one_log_line() {
    let broker = broker();
    let sink = sink(&broker, "refused", "refused", "#");
    let mut kamailio = start("refused", &broker, |builder| builder.children(1));
    let sip = sip(&kamailio);
    for bad in bad_inputs() {
        let before = complaints(&kamailio).len();
        let what = format!("key {:.20}, body {:.40}", bad.key, bad.body);
        assert_eq!(publish(&sip, &bad.exchange, &bad.key, &bad.body), bad.code, "{what}");
        let new = complaints(&kamailio).split_off(before);
        assert_eq!(new.len(), 1, "{what}: {new:#?}");
        for part in bad.named {
            assert!(new[0].contains(part), "{what}: no {part:?} in {}", new[0]);
        }
        // The one worker that there is goes on.
        assert_eq!(publish(&sip, "refused", "key", r#"{"good":true}"#), 1, "{what}");
        assert_eq!(exactly(&sink, 1)[0].json()["good"], true, "{what}");
    }
    let before = complaints(&kamailio).len();
    assert_eq!(number(&ask(&sip, "unset", &[], ""), "X-Ret"), -2, "an unset variable prints as <null>");
    assert_eq!(complaints(&kamailio).split_off(before).len(), 1);
    // A parameter that outgrows Kamailio's 8 KiB format buffer cannot be evaluated.
    assert_eq!(publish(&sip, "refused", "key", &format!("{{\"a\":\"{}\"}}", "x".repeat(20_000))), -1);
    assert_eq!(stat(&kamailio, "refused_invalid"), bad_inputs().len() as u64 + 2, "{:?}", common::stats(&kamailio));
    still_well(&mut kamailio);
}

#[test]
fn keys_of_255_bytes_and_consumer_keys_go_where_they_say() {
    let broker = broker();
    let sink = sink(&broker, "routed", "routed", "#");
    let kamailio = start("routed", &broker, |builder| builder);
    let sip = sip(&kamailio);
    let longest = "k".repeat(255);
    let table = [
        (longest.as_str(), longest.as_str()),
        ("consumer://1/to.one", "to.one"),
        ("consumer://0/to.zone", "to.zone"),
        ("consumer://any/to.zone", "to.zone"),
        ("consumer://1/with/slash", "with/slash"),
        ("", ""),
    ];
    for (key, routed) in table {
        assert_eq!(publish(&sip, "routed", key, "{}"), 1, "{key}");
        assert_eq!(exactly(&sink, 1)[0].routing_key, routed, "{key}");
    }
}

#[test]
fn message_over_the_maximum_is_refused_with_the_limit() {
    let broker = broker();
    let sink = sink(&broker, "maximum", "maximum", "#");
    let kamailio = start("maximum", &broker, |builder| {
        builder.modparam_int("amqp_max_message_size", 65_536).line("pv_buffer_size=65000")
    });
    let sip = sip(&kamailio);
    // 60 000 bytes in SIP, more than 65 536 on the bus: each control character takes six bytes there.
    let body = format!("{{\"a\":\"{}{}\"}}", "x".repeat(50_000), "\u{1}".repeat(4_000));
    assert_eq!(publish(&sip, "maximum", "key", &body), -4);
    let lines = complaints(&kamailio);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("65536") && lines[0].contains("amqp_max_message_size"), "{}", lines[0]);
    assert_eq!(stat(&kamailio, "refused_size"), 1);
    let fits = format!("{{\"a\":\"{}\"}}", "x".repeat(50_000));
    assert_eq!(publish(&sip, "maximum", "key", &fits), 1);
    assert_eq!(exactly(&sink, 1)[0].json()["a"].as_str().unwrap().len(), 50_000);
}

#[test]
fn messages_up_to_16_mb_arrive_whole() {
    let broker = broker();
    let sink = sink(&broker, "big", "big", "#");
    let mut kamailio =
        start("big", &broker, |builder| builder.memory(128, 256).children(1).modparam_int("amqp_command_ring_kb", 64));
    let sip = sip(&kamailio);
    let pattern = "0123456789abcdef";
    // 256 KiB, 1 MiB, 8 MiB; the last doubling makes 16 MiB and the envelope on top, which is too much.
    for (doublings, code) in [(14, 1), (16, 1), (19, 1), (20, -4)] {
        let answer =
            ask_patiently(&sip, "big", &[("X-Doublings", &doublings.to_string())], "", Duration::from_secs(60));
        assert_eq!(number(&answer, "X-Ret"), code, "2^{doublings} x 16\n{}", tail(&kamailio));
        if code == 1 {
            let fill = exactly(&sink, 1)[0].json()["Fill"].as_str().unwrap().to_string();
            assert!(fill == pattern.repeat(1 << doublings), "{} bytes arrived", fill.len());
        }
    }
    // The blocks in shared memory came back: many more than would fit at once.
    for _ in 0..30 {
        assert_eq!(number(&ask_patiently(&sip, "big", &[("X-Doublings", "19")], "", PATIENCE), "X-Ret"), 1);
        assert!(sink.wait_for(1, PATIENCE));
        until_stat(&kamailio, "confirmed", stat(&kamailio, "published"));
    }
    still_well(&mut kamailio);
}

#[test]
fn message_just_below_16_mib_arrives_through_event_and_publish() {
    let broker = broker();
    let sink = sink(&broker, "onward", "onward", "#");
    let routes = r##"
        event_route[kazoo:mod-init] { kazoo_subscribe("inward", "topic", "inward", "#"); }
        event_route[kazoo:consumer-event-connection-open] { xlog("L_DBG", "connected\n"); }
        event_route[kazoo:consumer-event] {
            kazoo_publish("onward", "$kzRK", $kzE);
            xlog("L_INFO", "passed on with $rc\n");
        }
    "##;
    let mut kamailio = start("onward", &broker, |builder| {
        builder.memory(256, 256).routes(format!("{ROUTES}{routes}")).modparam_int("amqp_consumer_processes", 1)
    });
    common::until_queue(&broker, "inward");
    let pattern = "fedcba9876543210".repeat((16_777_216 - 600) / 16);
    let body = format!("{{\"Fill\":\"{pattern}\"}}");
    broker.client().publish(&[rig::Message::new("", "inward", body)]).unwrap();
    common::until_logged(&kamailio, "passed on with 1");
    let arrived = exactly(&sink, 1).remove(0);
    assert_eq!(arrived.routing_key, "inward");
    assert!(arrived.json()["Fill"] == pattern.as_str(), "{} bytes arrived", arrived.body.len());
    still_well(&mut kamailio);
}

#[test]
fn unknown_exchange_is_reported_and_every_other_message_arrives() {
    const CLIENTS: usize = 6;
    const EACH: usize = 60;
    let broker = broker();
    let sink = sink(&broker, "neighbours", "neighbours", "#");
    let mut kamailio = start("neighbours", &broker, |builder| builder);
    let offenders: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let sip = sip(&kamailio);
                scope.spawn(move || (0..EACH).filter(|number| publish_beside_offenders(&sip, client, *number)).count())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let good = CLIENTS * EACH;
    let arrived = wait_until(PATIENCE, || sink.count().arrived >= good);
    assert!(arrived, "{} of {good}\n{}", sink.count().arrived, tail(&kamailio));
    let bodies: BTreeSet<String> = sink.take().iter().map(|message| message.json()["Id"].to_string()).collect();
    assert_eq!(bodies.len(), good, "each of them");
    until_stat(&kamailio, "refused_by_broker", offenders as u64);
    assert_eq!(stat(&kamailio, "refused_by_broker"), offenders as u64);
    assert!(complaints(&kamailio).iter().any(|line| line.contains("nowhere")), "{:#?}", complaints(&kamailio));
    assert_eq!(stat(&kamailio, "published"), stat(&kamailio, "confirmed") + stat(&kamailio, "refused_by_broker"));
    still_well(&mut kamailio);
}

#[test]
fn event_route_is_told_which_message_the_broker_refused() {
    const STORM: usize = 400;
    let routes = r##"
        event_route[kazoo:consumer-event-connection] { xlog("L_DBG", "open\n"); }
        event_route[kazoo:consumer-event-amqp-error-not-found] {
            xlog("L_INFO", "REFUSED=$(kzE{kz.json,exchange}) $(kzE{kz.json,routing_key}) $(kzE{kz.json,code})"
                " $(kzE{kz.json,message_id}) $(kzE{kz.json,process}) $(kzE{kz.json,left_out}) $(kzE{kz.json,text})\n");
        }
        event_route[kazoo:consumer-event-amqp-error] { xlog("L_INFO", "OTHER=$(kzE{kz.json,Event-Name})\n"); }
    "##;
    let broker = broker();
    let mut kamailio = start("told", &broker, |builder| {
        builder.routes(format!("{ROUTES}{routes}")).modparam_int("amqp_consumer_processes", 1).children(1)
    });
    let sip = sip(&kamailio);
    assert_eq!(publish(&sip, "nowhere", "the.key", "{}"), 1);
    let told = common::reports(&kamailio, "REFUSED=", 1).remove(0);
    let words: Vec<_> = told.splitn(7, ' ').collect();
    assert_eq!((words[0], words[1], words[2]), ("nowhere", "the.key", "404"), "{told}");
    assert!(words[3].ends_with(&format!("-{}-1", words[4])), "message_id names the process: {told}");
    assert!(words[6].contains("no exchange 'nowhere'"), "{told}");

    // "loop" publishes to an exchange of that name, which another test may have made.
    broker.client().delete_exchange("loop").unwrap();
    let answer = ask(&sip, "loop", &[("X-Count", &STORM.to_string())], "");
    assert_eq!(number(&answer, "X-Accepted"), STORM as i64);
    until_stat(&kamailio, "refused_by_broker", STORM as u64 + 1);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(publish(&sip, "nowhere", "last", "{}"), 1);
    common::until_logged(&kamailio, "REFUSED=nowhere last");
    let all = common::logged(&kamailio, "REFUSED=");
    let left_out: usize = all.iter().map(|line| line.split(' ').nth(5).unwrap().parse::<usize>().unwrap()).sum();
    assert_eq!(all.len() + left_out, STORM + 2, "told or counted: {all:#?}");
    assert!(left_out > STORM / 2, "held back in a storm: {all:#?}");
    assert_eq!(common::logged(&kamailio, "OTHER="), Vec::<String>::new(), "the most specific route alone");
    still_well(&mut kamailio);
}

/// Undoes what a test has changed in the broker that all tests of this file share.
struct Restore<'b>(&'b Broker);

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        let undone = [
            self.0.set_permissions("guest", ".*", ".*", ".*").is_ok(),
            self.0.eval("application:set_env(rabbit, max_message_size, 134217728)").is_ok(),
            self.0.ctl(&["clear_policy", "narrow"]).is_ok(),
        ];
        println!("the broker is as before: {undone:?}");
    }
}

#[test]
fn messages_that_the_broker_refuses_for_any_reason_are_told_and_their_neighbours_arrive() {
    let routes = r##"
        event_route[kazoo:consumer-event-amqp-error] {
            xlog("L_INFO", "REFUSED=$(kzE{kz.json,Event-Name}) $(kzE{kz.json,exchange})\n");
        }
    "##;
    let broker = broker();
    let sink = sink(&broker, "beside", "beside", "#");
    broker.declare_exchange(&Exchange::topic("forbidden")).unwrap();
    broker.declare_exchange(&Exchange::topic("big")).unwrap();
    broker.declare_queue(&Queue::new("narrow").bind(&Exchange::topic("narrow"), "#")).unwrap();
    let restore = Restore(&broker);
    broker.set_permissions("guest", ".*", "^(?!forbidden).*", ".*").unwrap();
    broker.eval("application:set_env(rabbit, max_message_size, 50000)").unwrap();
    let policy = r#"{"max-length":1,"overflow":"reject-publish"}"#;
    broker.ctl(&["set_policy", "narrow", "^narrow$", policy, "--apply-to", "queues"]).unwrap();

    let mut kamailio = start("reasons", &broker, |builder| builder.routes(format!("{ROUTES}{routes}")).children(1));
    let sip = sip(&kamailio);
    let mut beside = 0;
    let mut neighbour = || {
        beside += 1;
        assert_eq!(publish(&sip, "beside", "key", "{}"), 1);
    };
    neighbour();
    assert_eq!(publish(&sip, "forbidden", "key", "{}"), 1);
    neighbour();
    assert_eq!(number(&ask(&sip, "big", &[("X-Doublings", "12")], ""), "X-Ret"), 1);
    neighbour();
    let no_text = [("X-Exchange", "beside"), ("X-Key", "fffe")];
    assert_eq!(number(&ask(&sip, "key of bytes", &no_text, ""), "X-Ret"), 1);
    neighbour();
    // One fits into the queue; of the others one finds room when it is tried again, the last one never does.
    (0..3).for_each(|_| assert_eq!(publish(&sip, "narrow", "key", "{}"), 1));
    neighbour();
    until_stat(&kamailio, "nacked", 2);
    assert_eq!(broker.purge("narrow").unwrap(), 1);
    assert!(wait_until(PATIENCE, || broker.count("narrow").is_ok_and(|count| count == 1)), "not tried again");
    neighbour();
    let told: BTreeSet<String> = common::reports(&kamailio, "REFUSED=", 4).into_iter().collect();
    let expected = ["access_refused forbidden", "too_large big", "invalid beside", "not_taken narrow"];
    assert_eq!(told, expected.map(str::to_string).into());
    // What was under way with an offender was sent again and may have come twice, with its message_id.
    let mut ids = BTreeSet::new();
    let arrived = wait_until(PATIENCE, || {
        ids.extend(sink.take().into_iter().filter_map(|message| message.message_id));
        ids.len() == beside
    });
    assert!(arrived, "{} of {beside} neighbours arrived", ids.len());
    let stats = common::stats(&kamailio);
    assert_eq!((stats["refused_by_broker"], stats["disconnects"]), (4, 0), "{stats:?}");
    assert_eq!(stats["published"], stats["confirmed"] + 4, "{stats:?}");
    assert!((8..20).contains(&stats["nacked"]) && stats["resent"] < 30, "not in a circle: {stats:?}");
    still_well(&mut kamailio);
    drop(restore);
}

#[test]
fn message_without_a_queue_is_returned_when_asked_for() {
    let routes = r##"
        event_route[kazoo:consumer-event-connection] { xlog("L_DBG", "open\n"); }
        event_route[kazoo:consumer-event] { xlog("L_INFO", "GENERAL=$kzE\n"); }
        event_route[kazoo:consumer-event-amqp-error-returned] {
            xlog("L_INFO", "RETURNED=$(kzE{kz.json,exchange}) $(kzE{kz.json,routing_key}) $(kzE{kz.json,code})\n");
        }
    "##;
    let broker = broker();
    let sink = sink(&broker, "bound", "half-bound", "bound");
    let mut kamailio = start("returned", &broker, |builder| {
        builder
            .routes(format!("{ROUTES}{routes}"))
            .modparam_int("amqp_mandatory", 1)
            .modparam_int("amqp_consumer_processes", 1)
    });
    let sip = sip(&kamailio);
    for key in ["bound", "unbound", "bound"] {
        assert_eq!(publish(&sip, "half-bound", key, "{}"), 1);
    }
    assert_eq!(common::reports(&kamailio, "RETURNED=", 1), ["half-bound unbound 312"]);
    assert_eq!(exactly(&sink, 2).len(), 2);
    until_stat(&kamailio, "confirmed", 3);
    assert_eq!((stat(&kamailio, "returned"), stat(&kamailio, "refused_by_broker")), (1, 0));

    // A refusal that no route of its own waits for is not for the general one.
    assert_eq!(publish(&sip, "nowhere", "key", "{}"), 1);
    until_stat(&kamailio, "refused_by_broker", 1);
    assert_eq!(publish(&sip, "half-bound", "unbound", "{}"), 1);
    common::reports(&kamailio, "RETURNED=", 2);
    assert_eq!(common::logged(&kamailio, "GENERAL="), Vec::<String>::new());
    still_well(&mut kamailio);
}

/// Publishes message `number` of `client`; each tenth time one to a missing exchange before it. True when it did.
fn publish_beside_offenders(sip: &SipClient, client: usize, number: usize) -> bool {
    let offends = number % 10 == client;
    if offends {
        assert_eq!(publish(sip, "nowhere", "key", "{}"), 1, "accepted: the outbox cannot know the broker's exchanges");
    }
    assert_eq!(publish(sip, "neighbours", "key", &format!("{{\"Id\":\"{client}-{number}\"}}")), 1);
    offends
}

fn run_loop(sip: &SipClient, count: usize) -> Response {
    ask_patiently(sip, "loop", &[("X-Count", &count.to_string())], "", LONG)
}

#[test]
fn a_loop_of_100_000_is_accepted_and_arrives_in_order() {
    const COUNT: usize = 100_000;
    let broker = broker();
    let queue = Queue::new("loop").bind(&Exchange::topic("loop"), "#");
    let sink = Sink::keyed(broker.client(), queue, "Number").unwrap();
    // On a busy machine confirms pause for longer than a broker may take that is not called frozen.
    let mut kamailio = start("loop", &broker, |builder| {
        builder.children(1).modparam_int("amqp_publish_wait_ms", 10_000).modparam_int("amqp_stall_timeout_ms", 10_000)
    });
    let answer = run_loop(&sip(&kamailio), COUNT);
    println!("{COUNT} publishes in {:?}, the longest call {} us", answer.took, answer.header("X-Longest"));
    assert_eq!((number(&answer, "X-Ret"), number(&answer, "X-Accepted")), (1, COUNT as i64), "{}", tail(&kamailio));
    assert!(sink.wait_for(COUNT, LONG), "{:?}", sink.count());
    let expected: Vec<String> = (0..COUNT).map(|number| number.to_string()).collect();
    assert!(sink.keys() == expected, "each once and in order: {:?}", sink.count());
    until_stat(&kamailio, "confirmed", COUNT as u64);
    still_well(&mut kamailio);
}

#[test]
fn requests_with_a_full_outbox_wait_for_milliseconds_and_a_loop_as_long_as_it_may() {
    const REQUESTS: usize = 200;
    let broker = broker();
    let _sink = sink(&broker, "patience", "loop", "#");
    let mut kamailio = start("patience", &broker, |builder| {
        builder.modparam_int("amqp_command_ring_kb", 16).modparam_int("amqp_publish_wait_ms", 1_000).children(1)
    });
    let sip = sip(&kamailio);
    // Nobody empties the outbox, and nobody has told the workers so.
    let manager = common::managers(&kamailio)[0];
    kamailio.signal(manager, Signal::SIGSTOP).unwrap();
    let mut accepted = 0;
    let mut waits = Vec::new();
    for _ in 0..REQUESTS {
        let answer = run_loop(&sip, 1);
        accepted += number(&answer, "X-Accepted");
        if number(&answer, "X-Ret") == -5 {
            waits.push(Duration::from_micros(number(&answer, "X-Longest").cast_unsigned()));
        }
    }
    waits.sort();
    let (longest, median, all) = (waits[waits.len() - 1], waits[waits.len() / 2], waits.iter().sum::<Duration>());
    println!("{} of {REQUESTS} refused; waited {all:?} in all, {longest:?} at most, {median:?} usually", waits.len());
    assert!(waits.len() > REQUESTS / 3, "{} refused", waits.len());
    let rings = kamailio.rpc(&["kazoo.rings"]).unwrap();
    let full = rings.split('}').filter(|ring| ring.contains("ring: command") && ring.contains("size: 16384"));
    let level = |ring: &str, name: &str| {
        let value = ring.split_once(name).and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<u64>().ok());
        value.unwrap_or_else(|| panic!("no {name} in {ring}"))
    };
    let levels: Vec<_> = full.map(|ring| (level(ring, "used: "), level(ring, "peak: "))).collect();
    assert!(levels.iter().any(|(used, peak)| *used > 15_000 && peak >= used), "{rings}");
    assert!(median < Duration::from_millis(50), "{median:?}");
    assert!(longest < Duration::from_millis(500) && all < Duration::from_secs(2), "{longest:?}, {all:?}");

    kamailio.signal(manager, Signal::SIGCONT).unwrap();
    until_stat(&kamailio, "confirmed", accepted.cast_unsigned());
    kamailio.signal(manager, Signal::SIGSTOP).unwrap();
    let answer = run_loop(&sip, REQUESTS);
    assert_eq!(number(&answer, "X-Ret"), -5);
    assert!(number(&answer, "X-Longest") >= 1_000_000, "a loop waits: {answer:?}");
    kamailio.signal(manager, Signal::SIGCONT).unwrap();
    still_well(&mut kamailio);
}

#[test]
fn a_loop_against_a_frozen_broker_ends_with_the_code_for_full() {
    /// Far from the default of 500, so that it is this wait that is seen on a busy machine too.
    const WAIT_MS: i64 = 60;
    let mut broker = Broker::start().unwrap();
    let queue = Queue::new("loop").bind(&Exchange::topic("loop"), "#");
    let sink = Sink::keyed(broker.client(), queue, "Number").unwrap();
    let mut kamailio = start("frozen", &broker, |builder| builder.modparam_int("amqp_publish_wait_ms", WAIT_MS));
    let sip = sip(&kamailio);
    broker.freeze().unwrap();

    let answer = run_loop(&sip, 100_000);
    let (code, accepted, longest) =
        (number(&answer, "X-Ret"), number(&answer, "X-Accepted"), number(&answer, "X-Longest"));
    println!("{accepted} accepted, then {code}; the longest call {longest} us, all of it {:?}", answer.took);
    assert_eq!(code, -5, "{}", tail(&kamailio));
    assert!((1..100_000).contains(&accepted), "{accepted}");
    assert!((WAIT_MS * 1_000..480_000).contains(&longest), "one call took {longest} us");
    assert!(!complaints(&kamailio).is_empty(), "a full outbox is logged");

    // Confirms stand still: from now on a refusal does not wait at all.
    let at_once = wait_until(PATIENCE, || {
        let answer = ask(&sip, "loop", &[("X-Count", "1")], "");
        // Another worker may have taken it, with an empty outbox of its own.
        number(&answer, "X-Ret") == -5 && number(&answer, "X-Longest") < WAIT_MS * 1000 / 3
    });
    assert!(at_once, "{}", tail(&kamailio));

    broker.thaw().unwrap();
    let all = usize::try_from(stat(&kamailio, "published")).unwrap();
    assert!(sink.wait_distinct(usize::try_from(accepted).unwrap(), PATIENCE), "{:?}", sink.count());
    assert!(sink.wait_for(all, PATIENCE), "{all} accepted, {:?}", sink.count());
    // The first worker's messages in order; the few of the others repeat their numbers.
    let mut next = 0;
    sink.keys().iter().for_each(|key| next += usize::from(*key == next.to_string()));
    assert_eq!(next, usize::try_from(accepted).unwrap());
    assert_eq!(number(&run_loop(&sip, 10), "X-Ret"), 1, "and it goes on");
    still_well(&mut kamailio);
}

#[test]
fn large_messages_against_a_frozen_broker_are_refused_when_memory_is_used_up() {
    let mut broker = Broker::start().unwrap();
    let queue = Queue::new("big").bind(&Exchange::topic("big"), "#");
    let sink = Sink::start(broker.client(), queue).unwrap();
    let mut kamailio = start("memory", &broker, |builder| builder.memory(64, 128).children(1));
    let sip = sip(&kamailio);
    broker.freeze().unwrap();
    // 4 MiB each; 64 MB of shared memory hold some of them.
    let publish = || number(&ask_patiently(&sip, "big", &[("X-Doublings", "18")], "", PATIENCE), "X-Ret");
    let codes: Vec<i64> = (0..30).map(|_| publish()).collect();
    let accepted = codes.iter().filter(|code| **code == 1).count();
    assert!((1..30).contains(&accepted), "{codes:?}");
    assert!(codes.iter().all(|code| [1, -1, -4, -5].contains(code)), "{codes:?}");
    assert!(!complaints(&kamailio).is_empty(), "{}", tail(&kamailio));
    // What is left is enough for SIP to go on.
    for _ in 0..200 {
        assert_eq!(ask(&sip, "transaction", &[], "").code, 200, "{codes:?}");
    }
    assert_eq!(kamailio.log_lines("no more shared memory"), Vec::<String>::new(), "{codes:?}");
    broker.thaw().unwrap();
    assert!(sink.wait_for(accepted, LONG), "{:?} of {accepted}\n{}", sink.count(), tail(&kamailio));
    assert!(wait_until(PATIENCE, || publish() == 1), "the memory came back\n{}", tail(&kamailio));
    assert!(kamailio.is_running());
}

#[test]
fn timer_processes_and_tm_routes_publish_as_well() {
    let broker = broker();
    let sink = sink(&broker, "elsewhere", "elsewhere", "#");
    let routes = r#"
        request_route {
            # Nobody listens there: the transaction ends in its timer.
            $du = "sip:127.0.0.1:9";
            t_set_fr("500", "500");
            t_on_failure("FAILED");
            t_relay();
            exit;
        }
        failure_route[FAILED] { kazoo_publish("elsewhere", "failure", '{"Route":"failure"}'); }
        route[TICK] { kazoo_publish("elsewhere", "timer", '{"Route":"timer"}'); }
    "#;
    let kamailio = kamailio("elsewhere")
        .broker(&broker)
        .load("rtimer")
        .line("modparam(\"rtimer\", \"timer\", \"name=t;interval=1;mode=1;\")")
        .line("modparam(\"rtimer\", \"exec\", \"timer=t;route=TICK\")")
        .routes(routes)
        .start()
        .unwrap();
    until_connected(&kamailio, 1);
    assert!(sip(&kamailio).request("OPTIONS").send().unwrap().code >= 400);
    let mut seen = BTreeSet::new();
    let both = wait_until(PATIENCE, || {
        seen.extend(sink.take().into_iter().map(|message| message.routing_key));
        seen.contains("timer") && seen.contains("failure")
    });
    assert!(both, "{seen:?}\n{}", tail(&kamailio));
}
