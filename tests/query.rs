//! `kazoo_query` end to end: answers of all kinds, no answer, no broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{
    PATIENCE, ask, assert_takes, broker, complaints, exactly, kamailio, number, sip, stat, stats, still_well, tail,
    until_connected, until_logged, until_stat,
};
use rig::{Broker, Exchange, Kamailio, Message, Peer, Question, Queue, Reply, Response, SipClient, wait_until};
use serde_json::{Value, json};

/// Far from the 20 s that a query waits in most of these tests.
const AT_ONCE: Duration = Duration::from_secs(5);

/// `X-Case` chooses the form of the call, the body is the payload. The answer to SIP tells the code and `$kzR`.
const ROUTES: &str = r#"
request_route {
    $var(rc) = 0;
    $avp(target) = "untouched";
    $var(payload) = $rb;
    switch ($hdr(X-Case)) {
    case "three":
        kazoo_query("$hdr(X-Exchange)", "q.$hdr(X-Kind)", "$rb");
        $var(rc) = $rc;
        break;
    case "three unquoted":
        kazoo_query($hdr(X-Exchange), "q." + $hdr(X-Kind), $var(payload));
        $var(rc) = $rc;
        break;
    case "four":
        kazoo_query("$hdr(X-Exchange)", "q.$hdr(X-Kind)", "$rb", "$avp(target)");
        $var(rc) = $rc;
        break;
    case "five":
        kazoo_query("$hdr(X-Exchange)", "q.$hdr(X-Kind)", "$rb", "$avp(target)", "first=1;second=two");
        $var(rc) = $rc;
        break;
    case "timeout":
        $avp(kz_timeout) = $(hdr(X-Timeout){s.int});
        kazoo_query("$hdr(X-Exchange)", "q.$hdr(X-Kind)", "$rb");
        $var(rc) = $rc;
        break;
    case "timeout as text":
        $avp(kz_timeout) = $hdr(X-Timeout);
        kazoo_query("$hdr(X-Exchange)", "q.$hdr(X-Kind)", "$rb");
        $var(rc) = $rc;
        break;
    case "if":
        if (kazoo_query("$hdr(X-Exchange)", "q.$hdr(X-Kind)", "$rb")) { $var(rc) = 1; } else { $var(rc) = -1; }
        break;
    case "look":
        break;
    }
    if ($kzR == $null) { append_to_reply("X-Null: 1\r\n"); }
    append_to_reply("X-Ret: $var(rc)\r\nX-Say: $(kzR{kz.json,Say})\r\nX-Target: $(avp(target){s.len})\r\n");
    append_to_reply("X-Target-Say: $(avp(target){kz.json,Say})\r\n");
    set_reply_body("$kzR", "application/json");
    sl_send_reply("200", "OK");
    exit;
}
event_route[kazoo:consumer-event-connection-open] { xlog("L_DBG", "connected\n"); }
event_route[kazoo:consumer-event-connection-closed] { xlog("L_DBG", "closed\n"); }
event_route[kazoo:consumer-event] { xlog("L_INFO", "EVENT=$(kzE{kz.json,Say}) $kzRK\n"); }
"#;

/// The peer does what the routing key says: `q.<kind>`.
fn answer(question: &Question) -> Reply {
    let say = question.field("Ask").to_string();
    let reply = Reply::fields(json!({ "Say": say }));
    match question.routing_key.strip_prefix("q.").unwrap_or_default() {
        "late" => reply.after(Duration::from_millis(1_200)),
        "twice" => reply.twice(),
        "foreign id" => Reply::fields(json!({ "Say": say, "Msg-ID": "somebody-else" })),
        "no id" => Reply::raw(json!({ "Say": say }).to_string()),
        "not json" => Reply::raw("this is no JSON"),
        "binary" => Reply::raw(b"\0\xff\xfe".to_vec()),
        "empty" => Reply::raw(""),
        "array" => Reply::raw("[1,2]"),
        "silent" => Reply::silence(),
        "lenient" => Reply::raw(format!("{{'Say':'{say}','Msg-ID':'{}',}} //", question.field("Msg-ID"))),
        "large" => Reply::fields(json!({ "Say": say, "Fill": "x".repeat(1_000_000) })),
        "echo" => Reply::fields(json!({ "Say": say, "Question": question.body })),
        _ => reply,
    }
}

/// A peer on an exchange of its own.
fn peer(broker: &Broker, name: &str) -> Peer {
    let queue = Queue::new(&format!("peer-{name}")).auto_delete().bind(&Exchange::topic(name), "q.#");
    Peer::start(broker.client(), queue, answer).unwrap()
}

/// Patient, so that an answer comes in time on any machine; tests of the timeout set their own.
fn start(name: &str, broker: &Broker, adjust: impl FnOnce(rig::Builder) -> rig::Builder) -> Kamailio {
    let patient = kamailio(name).broker(broker).modparam_int("amqp_query_timeout_sec", 20);
    let kamailio = adjust(patient.routes(ROUTES)).start().unwrap();
    until_connected(&kamailio, 1);
    kamailio
}

/// For [`start`]: a query may set its own timeout.
fn with_own_timeouts(builder: rig::Builder) -> rig::Builder {
    builder.modparam("amqp_query_timeout_avp", "$avp(kz_timeout)")
}

/// A query with a timeout of its own, in milliseconds.
fn query_for(client: &SipClient, timeout: &str, exchange: &str, kind: &str, say: &str) -> Response {
    let headers = [("X-Exchange", exchange), ("X-Kind", kind), ("X-Timeout", timeout)];
    ask(client, "timeout", &headers, &json!({ "Ask": say }).to_string())
}

/// Runs a query; `exchange` is the test's name.
fn query(client: &SipClient, case: &str, exchange: &str, kind: &str, say: &str) -> Response {
    let body = json!({ "Ask": say }).to_string();
    ask(client, case, &[("X-Exchange", exchange), ("X-Kind", kind)], &body)
}

fn code_and_say(response: &Response) -> (i64, &str) {
    (number(response, "X-Ret"), response.header("X-Say"))
}

#[test]
fn answer_reaches_variable_and_target_in_every_form() {
    let broker = broker();
    let peer = peer(&broker, "forms");
    let seen = common::sink(&broker, "forms-seen", "forms", "q.#");
    let kamailio = start("forms", &broker, |builder| builder);
    let sip = sip(&kamailio);
    for (case, has_target) in [("three", false), ("three unquoted", false), ("four", true), ("five", true)] {
        let response = query(&sip, case, "forms", "plain", case);
        assert_eq!(code_and_say(&response), (1, case), "{response:?}");
        let target = number(&response, "X-Target");
        if has_target {
            assert_eq!(response.header("X-Target-Say"), case);
            assert_eq!(target, response.body.len() as i64, "the target is the text of $kzR");
        } else {
            assert_eq!(target, "untouched".len() as i64);
        }
        let message = exactly(&seen, 1).remove(0);
        assert_eq!(message.content_type.as_deref(), Some("application/json"));
        let headers: Vec<_> = message.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let expected: &[(&str, &str)] = if case == "five" { &[("first", "1"), ("second", "two")] } else { &[] };
        assert_eq!(headers, expected, "{case}");
    }
    assert_eq!(code_and_say(&query(&sip, "if", "forms", "plain", "yes")), (1, "yes"));
    assert_eq!((peer.count().questions, stat(&kamailio, "answers")), (5, 5));
}

#[test]
fn reply_text_is_the_payload_with_the_inbound_edits() {
    let broker = broker();
    let _peer = peer(&broker, "edited");
    let kamailio = start("edited", &broker, |builder| builder);
    let sip = sip(&kamailio);
    let response = query(&sip, "three", "edited", "echo", "x");
    let reply: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(reply["AMQP-Broker-Zone"], "local");
    assert!(reply["AMQP-Received"].as_i64().unwrap() > 1_600_000_000, "{reply}");
    let question = &reply["Question"];
    assert_eq!(question["Server-ID"], format!("kamailio@{}-<1>-targeted-0", common::hostname("edited")));
    assert_eq!(question["Msg-ID"], reply["Msg-ID"]);

    let response = query(&sip, "three", "edited", "lenient", "lenient");
    assert_eq!(code_and_say(&response), (1, "lenient"), "{response:?}");
}

#[test]
fn large_answer_fits_through_a_small_ring() {
    let broker = broker();
    let _peer = peer(&broker, "large");
    let routes = r#"
        request_route {
            kazoo_query("large", "q.large", '{"Ask":"large"}');
            append_to_reply("X-Ret: $rc\r\nX-Say: $(kzR{kz.json,Say})\r\nX-Length: $(kzR{kz.json,Fill}{s.len})\r\n");
            sl_send_reply("200", "OK");
            exit;
        }
    "#;
    let kamailio = kamailio("large")
        .broker(&broker)
        .memory(64, 64)
        .modparam_int("amqp_reply_ring_kb", 16)
        .modparam_int("amqp_query_timeout_sec", 20)
        .routes(routes)
        .start()
        .unwrap();
    until_connected(&kamailio, 1);
    for _ in 0..3 {
        let response = sip(&kamailio).request("OPTIONS").send().unwrap();
        assert_eq!(code_and_say(&response), (1, "large"), "{response:?}\n{}", tail(&kamailio));
        assert_eq!(number(&response, "X-Length"), 1_000_000);
    }
}

/// Kamailio numbers messages that it makes up and real ones separately: this one has the number of a request to come.
#[test]
fn the_answer_of_a_made_up_message_belongs_to_no_request() {
    let broker = broker();
    let _peer = peer(&broker, "madeup");
    let routes = r#"
        request_route {
            if ($kzR != $null) { append_to_reply("X-Foreign: $mi\r\n"); }
            sl_send_reply("200", "OK");
            exit;
        }
        event_route[core:worker-one-init] {
            $var(rc) = -1;
            $var(i) = 0;
            while ($var(rc) < 0 && $var(i) < 1000) {
                kazoo_query("madeup", "q.plain", '{"Ask":"who am I"}');
                $var(rc) = $rc;
                if ($var(rc) < 0) { usleep("20000"); }
                $var(i) = $var(i) + 1;
            }
            xlog("L_NOTICE", "ANSWERED message $mi: $(kzR{kz.json,Say})\n");
        }
    "#;
    let kamailio = kamailio("madeup").broker(&broker).children(1).routes(routes).start().unwrap();
    until_logged(&kamailio, ": who am I");
    let line = kamailio.log_lines("ANSWERED message").remove(0);
    let number = line.split_once("ANSWERED message ").unwrap().1;
    let number: usize = number.split(':').next().unwrap().parse().unwrap();
    assert!(number < 30, "{line}");
    let sip = sip(&kamailio);
    for _ in 0..=number {
        let response = sip.request("OPTIONS").send().unwrap();
        assert_eq!(response.header("X-Foreign"), "", "the answer of message {number} is shown to this one");
    }
}

#[test]
fn silence_ends_at_the_timeout_with_its_code() {
    let broker = broker();
    let _peer = peer(&broker, "silent");
    let kamailio = start("silent", &broker, |builder| {
        builder.modparam_int("amqp_query_timeout_sec", 0).modparam_int("amqp_query_timeout_micro", 700_000)
    });
    let sip = sip(&kamailio);
    let mut asked = 0;
    for case in ["three", "four", "if"] {
        assert_takes(700..1_500, case, || {
            let response = query(&sip, case, "silent", "silent", "hello");
            assert_eq!(number(&response, "X-Ret"), if case == "if" { -1 } else { -7 }, "{response:?}");
            assert_eq!(response.header("X-Null"), "1", "$kzR is null after a failed query");
            assert_eq!(number(&response, "X-Target"), "untouched".len() as i64, "the target keeps its value");
            asked += 1;
            response.took.as_millis()
        });
    }
    assert_eq!(stat(&kamailio, "query_timeouts"), asked);
    let answered = || code_and_say(&query(&sip, "three", "silent", "plain", "after")) == (1, "after");
    assert!(wait_until(PATIENCE, answered), "{}", tail(&kamailio));
}

#[test]
fn timeout_variable_is_in_milliseconds() {
    let broker = broker();
    let _peer = peer(&broker, "avp");
    let kamailio = with_own_timeouts(kamailio("avp").broker(&broker)).routes(ROUTES).start().unwrap();
    until_connected(&kamailio, 1);
    let sip = sip(&kamailio);
    let wait = |case: &str, timeout: &str| {
        let headers = [("X-Exchange", "avp"), ("X-Kind", "silent"), ("X-Timeout", timeout)];
        let response = ask(&sip, case, &headers, "{}");
        assert_eq!(number(&response, "X-Ret"), -7, "{response:?}");
        response.took.as_millis()
    };
    for (case, timeout, shortest, longest) in [
        ("timeout", "400", 400, 1_000),
        ("timeout as text", "400", 400, 1_000),
        ("timeout", "2600", 2_600, 3_600),
        // The default of two seconds stays.
        ("timeout", "0", 2_000, 3_000),
        ("timeout as text", "soon", 2_000, 3_000),
        ("three", "ignored", 2_000, 3_000),
    ] {
        assert_takes(shortest..longest, &format!("{case} {timeout}"), || wait(case, timeout));
    }
}

#[test]
fn late_answer_becomes_an_event_and_the_next_query_gets_its_own() {
    let broker = broker();
    let _peer = peer(&broker, "late");
    // One worker, so that it is the same process that asks again.
    let mut kamailio = start("late", &broker, |builder| with_own_timeouts(builder).children(1));
    let sip = sip(&kamailio);
    for round in 0..3 {
        let late = format!("late-{round}");
        assert_eq!(number(&query_for(&sip, "400", "late", "late", &late), "X-Ret"), -7);
        let own = format!("own-{round}");
        assert_eq!(code_and_say(&query(&sip, "three", "late", "plain", &own)), (1, own.as_str()));
        until_logged(&kamailio, &format!("EVENT={late} kamailio@"));
        assert_eq!(code_and_say(&query(&sip, "three", "late", "plain", "after")), (1, "after"));
    }
    assert_eq!((stat(&kamailio, "late"), stat(&kamailio, "answers")), (3, 6));
    assert_eq!(kamailio.log_lines("EVENT=").len(), 3, "answers in time are no events");
    still_well(&mut kamailio);
}

#[test]
fn second_copy_of_an_answer_becomes_an_event() {
    let broker = broker();
    let _peer = peer(&broker, "twice");
    let mut kamailio = start("twice", &broker, |builder| builder.children(1));
    let sip = sip(&kamailio);
    for round in 0..20 {
        let say = format!("round-{round}");
        assert_eq!(code_and_say(&query(&sip, "three", "twice", "twice", &say)), (1, say.as_str()));
    }
    until_stat(&kamailio, "late", 20);
    assert!(wait_until(PATIENCE, || kamailio.log_lines("EVENT=round-").len() == 20), "{}", tail(&kamailio));
    assert_eq!(stat(&kamailio, "answers"), 20);
    still_well(&mut kamailio);
}

#[test]
fn a_flood_of_answers_is_taken_and_the_last_of_it_is_acknowledged_too() {
    let broker = broker();
    let _peer = peer(&broker, "flood");
    let mut kamailio = start("flood", &broker, |builder| builder.children(1));
    let host = format!("kamailio@{}", common::hostname("flood"));
    // More than the broker sends unacknowledged, and no multiple of what is acknowledged at once.
    let answer = Message::new("targeted", &format!("{host}-<1>-targeted-0"), r#"{"Msg-ID":"nobody's"}"#);
    broker.client().publish(&vec![answer; 2_345]).unwrap();
    until_stat(&kamailio, "late", 2_345);
    assert_eq!(code_and_say(&query(&sip(&kamailio), "three", "flood", "plain", "own")), (1, "own"));
    let settled = || broker.held(&format!("{host}-<1-0>")).unwrap().1 == 0;
    assert!(wait_until(PATIENCE, settled), "{}", tail(&kamailio));
    still_well(&mut kamailio);
}

#[test]
fn unusable_answers_end_in_the_timeout() {
    let broker = broker();
    let _peer = peer(&broker, "unusable");
    let mut kamailio = start("unusable", &broker, with_own_timeouts);
    let sip = sip(&kamailio);
    for kind in ["not json", "binary", "empty", "array"] {
        assert_eq!(number(&query_for(&sip, "300", "unusable", kind, "x"), "X-Ret"), -7, "{kind}");
    }
    until_stat(&kamailio, "not_json", 4);
    assert!(!complaints(&kamailio).is_empty(), "{}", tail(&kamailio));
    for kind in ["foreign id", "no id"] {
        assert_eq!(number(&query_for(&sip, "300", "unusable", kind, kind), "X-Ret"), -7, "{kind}");
        until_logged(&kamailio, &format!("EVENT={kind} "));
    }
    assert_eq!(code_and_say(&query(&sip, "three", "unusable", "plain", "fine")), (1, "fine"));
    still_well(&mut kamailio);
}

#[test]
fn message_id_of_the_caller_correlates() {
    let broker = broker();
    let _peer = peer(&broker, "ownid");
    let kamailio = start("ownid", &broker, |builder| builder);
    let sip = sip(&kamailio);
    for id in ["my-own-id", "a", &"long".repeat(100)] {
        let body = json!({ "Ask": "own", "Msg-ID": id }).to_string();
        let response = ask(&sip, "three", &[("X-Exchange", "ownid"), ("X-Kind", "plain")], &body);
        assert_eq!(code_and_say(&response), (1, "own"), "{response:?}");
        let reply: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(reply["Msg-ID"], id);
    }
}

#[test]
fn bad_input_gets_a_negative_code_and_clears_the_result() {
    let broker = broker();
    let _peer = peer(&broker, "bad");
    let mut kamailio = start("bad", &broker, |builder| builder.children(1));
    let sip = sip(&kamailio);
    let long = "k".repeat(300);
    let table = [
        ("plain", "bad", "no JSON", -2),
        ("plain", "bad", "[1]", -2),
        ("plain", "bad", "null", -2),
        ("plain", "bad", "17", -2),
        (long.as_str(), "bad", "{}", -3),
        ("plain", long.as_str(), "{}", -3),
    ];
    for (kind, exchange, body, code) in table {
        assert_eq!(code_and_say(&query(&sip, "three", "bad", "plain", "before")), (1, "before"));
        let before = complaints(&kamailio).len();
        let response = ask(&sip, "three", &[("X-Exchange", exchange), ("X-Kind", kind)], body);
        assert_eq!((number(&response, "X-Ret"), response.header("X-Null")), (code, "1"), "{body}: {response:?}");
        assert!(response.took < AT_ONCE, "refused at once: {:?}", response.took);
        let new = complaints(&kamailio).split_off(before);
        assert_eq!(new.len(), 1, "{body}: {new:#?}");
    }
    still_well(&mut kamailio);
}

#[test]
fn query_to_a_missing_exchange_fails_and_is_reported() {
    let broker = broker();
    let _peer = peer(&broker, "present");
    let mut kamailio = start("missing", &broker, |builder| builder);
    let sip = sip(&kamailio);
    let response = query(&sip, "three", "missing", "plain", "x");
    assert_eq!(number(&response, "X-Ret"), -8, "the broker refused it\n{}", tail(&kamailio));
    assert!(response.took < AT_ONCE, "no need to wait for the timeout: {:?}", response.took);
    let named = wait_until(PATIENCE, || complaints(&kamailio).iter().any(|line| line.contains("missing")));
    assert!(named, "{:#?}", complaints(&kamailio));
    assert_eq!(code_and_say(&query(&sip, "three", "present", "plain", "next")), (1, "next"));
    still_well(&mut kamailio);
}

#[test]
fn query_without_a_broker_fails_at_once() {
    let broker = Broker::prepare().unwrap();
    let patient = kamailio("nobroker").broker(&broker).modparam_int("amqp_query_timeout_sec", 20);
    let mut kamailio = patient.routes(ROUTES).start().unwrap();
    let sip = sip(&kamailio);
    for case in ["three", "four", "five", "if"] {
        let response = query(&sip, case, "any", "plain", "x");
        assert_eq!(number(&response, "X-Ret"), if case == "if" { -1 } else { -6 }, "{}", tail(&kamailio));
        assert!(response.took < AT_ONCE, "not after the timeout: {:?}", response.took);
        assert_eq!(response.header("X-Null"), "1");
    }
    assert_eq!(stat(&kamailio, "query_no_broker"), 4);
    still_well(&mut kamailio);
}

#[test]
fn a_result_belongs_to_the_message_being_processed() {
    let broker = broker();
    let _peer = peer(&broker, "owner");
    let kamailio = start("owner", &broker, |builder| builder.children(1));
    let sip = sip(&kamailio);
    assert_eq!(code_and_say(&query(&sip, "three", "owner", "plain", "mine")), (1, "mine"));
    // The same process, another SIP message.
    assert_eq!(ask(&sip, "look", &[], "").header("X-Null"), "1");
}

#[test]
fn many_workers_get_each_their_own_answer() {
    const CLIENTS: usize = 4;
    const EACH: usize = 250;
    let broker = broker();
    let _peer = peer(&broker, "many");
    let mut kamailio = start("many", &broker, |builder| builder.children(CLIENTS as u32));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let sip = sip(&kamailio);
            scope.spawn(move || {
                for round in 0..EACH {
                    let say = format!("{client}-{round}");
                    assert_eq!(code_and_say(&query(&sip, "three", "many", "plain", &say)), (1, say.as_str()));
                }
            });
        }
    });
    let asked = (CLIENTS * EACH) as u64;
    assert_eq!((stat(&kamailio, "queries"), stat(&kamailio, "answers")), (asked, asked), "{:?}", stats(&kamailio));
    still_well(&mut kamailio);
}

#[test]
fn event_route_can_query() {
    let broker = broker();
    let _peer = peer(&broker, "inner");
    let routes = r##"
        request_route { exit; }
        event_route[kazoo:mod-init] { kazoo_subscribe("outer", "topic", "outer", "#"); }
        event_route[kazoo:consumer-event-connection-open] { xlog("L_DBG", "connected\n"); }
        event_route[kazoo:consumer-event] {
            kazoo_query("inner", "q.plain", '{"Ask":"from a route"}', "$var(answer)");
            xlog("L_INFO", "INNER=$rc $(var(answer){kz.json,Say})\n");
        }
    "##;
    let patient = kamailio("inner").broker(&broker).modparam_int("amqp_query_timeout_sec", 20);
    let mut kamailio = patient.modparam_int("amqp_consumer_processes", 1).routes(routes).start().unwrap();
    common::until_queue(&broker, "outer");
    let events: Vec<_> = (0..50).map(|_| rig::Message::new("", "outer", "{}")).collect();
    broker.client().publish(&events).unwrap();
    let answered = wait_until(PATIENCE, || kamailio.log_lines("INNER=1 from a route").len() == events.len());
    assert!(answered, "{}", tail(&kamailio));
    still_well(&mut kamailio);
}

/// Examples of the documentation as they stand there, each in a route of its own. One had to change: Kamailio's own
/// parser refuses `$kzR{kz.json,…}` without parentheses.
const EXAMPLES: &str = r#"
request_route {
    $var(rc) = 0;
    if (is_method("REGISTER")) {
        route(AUTHN);
        if ($var(rc) == 0) {
            sl_send_reply("403", "No Password");
        } else {
            sl_send_reply("200", "OK");
        }
        exit;
    }
    switch ($hdr(X-Case)) {
    case "channels": route(CHANNELS); break;
    case "transformation": route(TRANSFORMATION); break;
    }
    append_to_reply("X-Ret: $var(rc)\r\nX-Du: $du\r\n");
    sl_send_reply("200", "OK");
    exit;
}
route[AUTHN] {
    if ($hdr(Authorization) == $null) {
        auth_challenge("$fd", "0");
        exit;
    }
    if ($sht(auth_cache=>$Au) != $null && pv_auth_check("$fd", "$sht(auth_cache=>$Au)", "0", "0")) {
        xlog("L_INFO", "$ci|log|authenticated $Au via cached SIP creds");
        $var(rc) = 2;
    } else {
        $var(amqp_payload_request) = "{'Event-Category' : 'directory' , 'Event-Name' : 'authn_req', 'Method' : 'REGISTER', 'Auth-Realm' : '" + $fd + "', 'Auth-User' : '" + $fU + "', 'From' : '" + $fu + "', 'To' : '" + $tu +"' }";

        $var(amqp_routing_key) = "authn.req." + $(fd{kz.encode});  // kz.encode is a helper function to encode properly to amqp

        if(kazoo_query("callmgr", $var(amqp_routing_key), $var(amqp_payload_request))) {       // kazoo_query publishes and expects answer
            xlog("L_DBG", "$ci|log|amqp_result = $kzR");   // $kzR is the result payload
            $var(password) = $(kzR{kz.json,Auth-Password});
            // kz.json is a helper to extract values from payload, nested values are permitted
            if($var(password) != $null) {
                if (!pv_auth_check("$fd", "$var(password)", "0", "0")) {
                    auth_challenge("$fd", "0");
                    exit;
                }
                $sht(auth_cache=>$Au) = $var(password);
                $var(rc) = 1;
            }
        }
    }
}
route[CHANNELS] {
    $var(amqp_payload_request) = "{'Event-Category' : 'call_event' , 'Event-Name' : 'query_user_channels_req', 'Realm' : '" + $fd + "', 'Username' : '" + $fU + "', 'Active-Only' : false }";
    kazoo_encode("$ci", "$var(callid_encoded)");
    $var(amqp_routing_key) = "call.status_req.$var(callid_encoded)";
    if(kazoo_query("callevt", $var(amqp_routing_key), $var(amqp_payload_request), "$var(amqp_result)")) {
       $var(rc) = 1;
       kazoo_json("$var(amqp_result)", "Channels[0].switch_url", "$du");
       if($du != $null) {
           xlog("L_INFO", "$ci|log|user channels found redirecting call to $du");
           return;
       }
    }
}
route[TRANSFORMATION] {
    $var(amqp_payload_request) = "{'Event-Category' : 'call_event' , 'Event-Name' : 'query_user_channels_req', 'Realm' : '" + $fd + "', 'Username' : '" + $fU + "', 'Active-Only' : false }";
    $var(amqp_routing_key) = "call.status_req." + $(ci{kz.encode});
    kazoo_query("callevt", $var(amqp_routing_key), $var(amqp_payload_request));
    $var(rc) = $rc;
    $du = $(kzR{kz.json,Channels[0].switch_url});
    if($du != $null) {
      xlog("L_INFO", "$ci|log|user channels found redirecting call to $du");
      return;
    }
}
"#;

fn start_examples(name: &str, broker: &Broker) -> Kamailio {
    let kamailio = kamailio(name)
        .broker(broker)
        .load("auth")
        .load("htable")
        .line("modparam(\"htable\", \"htable\", \"auth_cache=>size=8;\")")
        .routes(EXAMPLES)
        .start()
        .unwrap();
    until_connected(&kamailio, 1);
    kamailio
}

#[test]
fn documented_credential_query_authenticates() {
    let broker = broker();
    let callmgr = Exchange::topic("callmgr");
    let peer = Peer::credentials(broker.client(), &callmgr, |user, realm| {
        (realm == "rig.test" && user != "stranger").then(|| format!("secret-{user}"))
    })
    .unwrap();
    let mut kamailio = start_examples("authn", &broker);
    let register = |user: &str, password: &str, calls: u64| {
        // Once each: a request that is repeated would ask once more.
        let sipp = rig::Sipp::scenario("register").calls(calls).limit(1).user(user, password).without_repeats();
        sipp.start(kamailio.sip_port()).unwrap().wait(PATIENCE).unwrap()
    };
    let report = register("alice", "secret-alice", 5);
    assert_eq!((report.succeeded, report.answered(200)), (5, 5), "{report:?}\n{}", tail(&kamailio));
    assert_eq!(peer.count().questions, 1, "the password is cached after the first query");
    let report = register("bob", "wrong", 2);
    assert_eq!(
        (report.succeeded, report.answered(200), report.answered(401)),
        (0, 0, 2),
        "challenged again: {report:?}"
    );
    assert_eq!(peer.count().questions, 3);
    assert!(kamailio.log().matches("via cached SIP creds").count() == 4, "{}", tail(&kamailio));
    let report = register("stranger", "any", 1);
    assert_eq!((report.succeeded, report.answered(200)), (0, 0), "no answer, no registration: {report:?}");
    assert_eq!(stat(&kamailio, "query_timeouts"), 1);
    still_well(&mut kamailio);
}

#[test]
fn documented_channel_query_sets_the_destination() {
    let broker = broker();
    let queue = Queue::new("channels").auto_delete().bind(&Exchange::topic("callevt"), "call.status_req.#");
    let keys = Arc::new(Mutex::new(Vec::new()));
    let seen = keys.clone();
    let _peer = Peer::start(broker.client(), queue, move |question| {
        seen.lock().unwrap().push(question.routing_key.clone());
        let wanted = json!({"Event-Category": "call_event", "Event-Name": "query_user_channels_req",
            "Realm": "rig.test", "Username": question.field("Username"), "Active-Only": false});
        let asked = question.body.as_object().unwrap();
        if wanted.as_object().unwrap().iter().any(|(name, value)| asked.get(name) != Some(value)) {
            return Reply::silence();
        }
        let channels = match question.field("Username") {
            "busy" => json!([{"switch_url": "sip:10.0.0.9:5070"}, {"switch_url": "sip:other"}]),
            _ => json!([]),
        };
        Reply::fields(json!({ "Channels": channels }))
    })
    .unwrap();
    let kamailio = start_examples("channels", &broker);
    let sip = sip(&kamailio);
    for case in ["channels", "transformation"] {
        let response = sip.request("OPTIONS").user("busy").header("X-Case", case).send().unwrap();
        assert_eq!(number(&response, "X-Ret"), 1, "{case}: {response:?}\n{}", tail(&kamailio));
        assert_eq!(response.header("X-Du"), "sip:10.0.0.9:5070", "{case}");
        let asked = keys.lock().unwrap().pop().unwrap();
        let key = asked.strip_prefix("call.status_req.").unwrap_or_default();
        assert!(key.starts_with("rig-") && key.ends_with("%40127%2E0%2E0%2E1"), "the Call-ID encoded: {asked}");
        let response = sip.request("OPTIONS").user("idle").header("X-Case", case).send().unwrap();
        assert_eq!(number(&response, "X-Ret"), 1, "{case}");
    }
    let idle = sip.request("OPTIONS").user("idle").header("X-Case", "channels").send().unwrap();
    assert_eq!(idle.header("X-Du"), "<null>", "no channel, no destination");
}
