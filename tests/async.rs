//! `kazoo_async_query` end to end: suspended transactions and everything that can end their wait.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::{
    PATIENCE, ask, assert_takes, broker, complaints, kamailio, kill_manager, number, publish_routed, sip, stat, stats,
    still_well, tail, until_connected, until_logged, until_stat,
};
use rig::{Broker, Exchange, Kamailio, Peer, Phone, Posted, Question, Queue, Reply, Response, SipClient, wait_until};
use serde_json::json;

/// `X-Case` chooses the form of the call, `X-Exchange` and `X-Kind` where it goes; the body is the payload. A callback
/// answers with where it ran and what it found.
const ROUTES: &str = r#"
request_route {
    if (is_method("ACK")) exit;
    if (is_method("CANCEL")) {
        if (!t_relay_cancel()) { sl_send_reply("481", "No such call"); }
        exit;
    }
    $avp(kept) = "avp of " + $hdr(X-Say);
    $avp(kz_timeout) = $hdr(X-Timeout);
    setflag(7);
    append_to_reply("X-Before: $hdr(X-Say)\r\n");
    append_hf("X-Added: $hdr(X-Say)\r\n");
    switch ($hdr(X-Case)) {
    case "five":
        kazoo_async_query("$hdr(X-Exchange)", "q.$hdr(X-Kind)", "$rb", "OK", "ERR");
        break;
    case "six":
        kazoo_async_query("$hdr(X-Exchange)", "q.$hdr(X-Kind)", "$rb", "OK", "ERR", "flags");
        break;
    case "other name":
        kazoo_query_async("$hdr(X-Exchange)", "q.$hdr(X-Kind)", "$rb", "OK", "ERR");
        break;
    case "other name, six":
        kazoo_query_async($hdr(X-Exchange), "q." + $hdr(X-Kind), "$rb", "OK", "ERR", "0");
        break;
    case "plain routes":
        kazoo_async_query("$hdr(X-Exchange)", "q.$hdr(X-Kind)", "$rb", "PLAIN_OK", "PLAIN_ERR");
        break;
    case "given routes":
        kazoo_async_query("$hdr(X-Exchange)", "q.$hdr(X-Kind)", "$rb", "$hdr(X-Ok)", "$hdr(X-Err)");
        break;
    case "own transaction":
        t_newtran();
        kazoo_async_query("$hdr(X-Exchange)", "q.$hdr(X-Kind)", "$rb", "OK", "ERR");
        break;
    case "chain":
        kazoo_async_query("$hdr(X-Exchange)", "q.$hdr(X-Kind)", "$rb", "CHAIN", "ERR");
        break;
    case "sync inside":
        kazoo_async_query("$hdr(X-Exchange)", "q.$hdr(X-Kind)", "$rb", "SYNC", "ERR");
        break;
    case "call":
        kazoo_async_query("$hdr(X-Exchange)", "q.$hdr(X-Kind)", "$rb", "CALL", "ERR");
        break;
    case "fr":
        t_set_fr(0, 400);
        t_on_failure("TIMER");
        kazoo_async_query("$hdr(X-Exchange)", "q.$hdr(X-Kind)", "$rb", "OK", "ERR");
        break;
    case "slow callback":
        kazoo_async_query("$hdr(X-Exchange)", "q.$hdr(X-Kind)", "$rb", "SLOW", "SLOW");
        break;
    case "after failure":
        t_set_fr(0, 300);
        t_on_failure("NO_PHONE");
        $ru = "sip:nobody@127.0.0.1:9";
        t_relay();
        exit;
    case "look":
        $var(dummy) = 1;
        break;
    }
    append_to_reply("X-Ret: $rc\r\n");
    if ($kzR == $null) { append_to_reply("X-Null: 1\r\n"); }
    send_reply("480", "Refused");
    exit;
}
route[ANSWER] {
    append_to_reply("X-Where: $var(where)\r\nX-Say: $(kzR{kz.json,Say})\r\nX-Kept: $avp(kept)\r\nX-First: $avp(first)\r\n");
    if ($kzR == $null) { append_to_reply("X-Null: 1\r\n"); }
    if ($kzE == $null) { append_to_reply("X-No-Event: 1\r\n"); }
    if (isflagset(7)) { append_to_reply("X-Flag: 1\r\n"); }
    t_reply("200", "OK");
}
onreply_route[OK] { $var(where) = "OK"; route(ANSWER); }
failure_route[ERR] { $var(where) = "ERR"; route(ANSWER); }
failure_route[NO_PHONE] {
    # The timer of the branch that failed would end the wait for the answer as well.
    t_set_fr(0, 20000);
    kazoo_async_query("$hdr(X-Exchange)", "q.$hdr(X-Kind)", "$rb", "OK", "ERR");
    xlog("L_ERR", "SECOND REFUSED $rc\n");
}
failure_route[TIMER] { $var(where) = "TIMER"; route(ANSWER); }
route[SLOW] { usleep("20000"); $var(where) = "SLOW"; route(ANSWER); }
route[PLAIN_OK] { $var(where) = "PLAIN_OK"; route(ANSWER); }
route[PLAIN_ERR] { $var(where) = "PLAIN_ERR"; route(ANSWER); }
# Parsed as reply routes these may not hold request functions; what they call may.
onreply_route[CHAIN] { route(CHAIN_ON); }
route[CHAIN_ON] {
    # tm keeps variables over a second suspension, but not what was appended in between.
    $avp(first) = $(kzR{kz.json,Say});
    $avp(kz_timeout) = $hdr(X-Then-Timeout);
    kazoo_async_query("$hdr(X-Exchange)", "q.$hdr(X-Then)", '{"Ask":"second"}', "OK", "ERR");
    xlog("L_ERR", "SECOND REFUSED $rc\n");
}
onreply_route[SYNC] { route(SYNC_ON); }
route[SYNC_ON] {
    $avp(first) = $(kzR{kz.json,Say});
    $var(where) = "SYNC";
    kazoo_query("$hdr(X-Exchange)", "q.plain", '{"Ask":"inside"}');
    append_to_reply("X-Inner: $rc\r\n");
    route(ANSWER);
}
onreply_route[CALL] { route(CALL_ON); }
route[CALL_ON] {
    $ru = "sip:phone@127.0.0.1:" + $hdr(X-Port);
    t_relay();
}
event_route[kazoo:consumer-event-connection-open] { xlog("L_DBG", "connected\n"); }
event_route[kazoo:consumer-event-connection-closed] { xlog("L_DBG", "closed\n"); }
event_route[kazoo:consumer-event] { xlog("L_INFO", "EVENT=$(kzE{kz.json,Say}) kzR=[$kzR]\n"); }
"#;

/// The peer does what the routing key says: `q.<kind>`.
fn answer(question: &Question) -> Reply {
    let say = question.field("Ask").to_string();
    let reply = Reply::fields(json!({ "Say": say }));
    match question.routing_key.strip_prefix("q.").unwrap_or_default() {
        "silent" => Reply::silence(),
        "twice" => reply.twice(),
        "slow" => reply.after(Duration::from_millis(1_500)),
        "pause" => reply.after(Duration::from_millis(600)),
        "after" => reply.after(Duration::from_millis(say.parse().unwrap_or(0))),
        "not json" => Reply::raw(format!("['Msg-ID':'{}'", question.field("Msg-ID"))),
        "large" => Reply::fields(json!({ "Say": say, "Fill": "x".repeat(1_000_000) })),
        _ => reply,
    }
}

fn peer(broker: &Broker, name: &str) -> Peer {
    let queue = Queue::new(&format!("peer-{name}")).auto_delete().bind(&Exchange::topic(name), "q.#");
    Peer::start(broker.client(), queue, answer).unwrap()
}

/// A server whose script may set the timeout of a query.
fn builder(name: &str, broker: &Broker) -> rig::Builder {
    kamailio(name).broker(broker).modparam("amqp_query_timeout_avp", "$avp(kz_timeout)").routes(ROUTES)
}

/// Patient, so that an answer comes in time on any machine, unless the request says how long it waits.
fn start(name: &str, broker: &Broker, adjust: impl FnOnce(rig::Builder) -> rig::Builder) -> Kamailio {
    let kamailio = adjust(builder(name, broker).modparam_int("amqp_query_timeout_sec", 20)).start().unwrap();
    until_connected(&kamailio, 1);
    kamailio
}

/// Asks and waits for the final answer.
fn query(client: &SipClient, case: &str, exchange: &str, kind: &str, say: &str, more: &[(&str, &str)]) -> Response {
    let mut headers = vec![("X-Exchange", exchange), ("X-Kind", kind), ("X-Say", say)];
    headers.extend(more);
    ask(client, case, &headers, &json!({ "Ask": say }).to_string())
}

/// Asks without waiting.
fn post(client: &SipClient, method: &str, case: &str, exchange: &str, kind: &str, say: &str, timeout: &str) -> Posted {
    let request = client.request(method).header("X-Case", case).header("X-Exchange", exchange);
    let request = request.header("X-Kind", kind).header("X-Say", say).header("X-Timeout", timeout);
    request.body("application/json", json!({ "Ask": say }).to_string()).post().unwrap()
}

/// Where the transaction went on and with what.
fn went_on(response: &Response) -> (&str, &str) {
    assert_eq!(response.code, 200, "{response:?}");
    (response.header("X-Where"), response.header("X-Say"))
}

/// Final answers by Call-ID.
#[derive(Default)]
struct Finals(BTreeMap<String, Vec<Response>>);

impl Finals {
    /// Takes one answer if one comes within `wait`. To be called between many requests too: a socket holds some hundreds.
    fn look(&mut self, client: &SipClient, wait: Duration) -> bool {
        let Some(answer) = client.next_answer(wait).unwrap() else { return false };
        if answer.code >= 200 {
            self.0.entry(answer.header("Call-ID").to_string()).or_default().push(answer);
        }
        true
    }

    /// Waits until `count` calls have an answer and none came for `quiet`.
    fn complete(mut self, client: &SipClient, count: usize, quiet: Duration) -> BTreeMap<String, Vec<Response>> {
        let began = Instant::now();
        while self.look(client, quiet) || (self.0.len() < count && began.elapsed() < PATIENCE) {}
        assert_eq!(self.0.len(), count);
        self.0
    }
}

/// Final answers of a few calls.
fn finals(client: &SipClient, count: usize, quiet: Duration) -> BTreeMap<String, Vec<Response>> {
    Finals::default().complete(client, count, quiet)
}

/// Every transaction that was suspended has ended, and the table of the suspended ones is empty.
fn none_is_left(kamailio: &Kamailio) {
    let ended = wait_until(PATIENCE, || {
        let stats = stats(kamailio);
        stats["async_queries"] == stats["async_resumed"] + stats["async_gone"]
    });
    assert!(ended, "{:?}\n{}", stats(kamailio), tail(kamailio));
}

#[test]
fn answer_goes_on_in_the_ok_route_in_every_form() {
    let broker = broker();
    let peer = peer(&broker, "forms");
    let mut kamailio = start("forms", &broker, |builder| builder);
    let sip = sip(&kamailio);
    for case in ["five", "six", "other name", "other name, six", "own transaction"] {
        let response = query(&sip, case, "forms", "plain", case, &[]);
        assert_eq!(went_on(&response), ("OK", case), "{response:?}");
        assert_eq!(response.header("X-Before"), case, "lumps of before are kept");
        assert_eq!(response.header("X-Kept"), format!("avp of {case}"), "AVPs of before are kept");
        assert_eq!((response.header("X-Flag"), response.header("X-No-Event")), ("1", "1"), "{response:?}");
    }
    assert_eq!(went_on(&query(&sip, "plain routes", "forms", "plain", "p", &[])), ("PLAIN_OK", "p"));
    assert_eq!((peer.count().questions, stat(&kamailio, "answers")), (6, 6));
    assert_eq!((stat(&kamailio, "async_queries"), stat(&kamailio, "queries")), (6, 6));
    none_is_left(&kamailio);
    assert_eq!(complaints(&kamailio), Vec::<String>::new());
    // $kzR is gone with its transaction, in every process.
    for _ in 0..8 {
        assert_eq!(query(&sip, "look", "forms", "plain", "x", &[]).header("X-Null"), "1");
    }
    still_well(&mut kamailio);
}

#[test]
fn without_an_answer_it_goes_on_in_the_err_route() {
    let broker = broker();
    let _peer = peer(&broker, "errs");
    let mut kamailio = builder("errs", &broker).start().unwrap();
    until_connected(&kamailio, 1);
    let sip = sip(&kamailio);
    let mut asked = 0;
    for (case, place) in [("five", "ERR"), ("plain routes", "PLAIN_ERR")] {
        assert_takes(400..1_500, case, || {
            let response = query(&sip, case, "errs", "silent", "silent", &[("X-Timeout", "400")]);
            assert_eq!(went_on(&response), (place, ""), "{response:?}");
            assert_eq!((response.header("X-Null"), response.header("X-Kept")), ("1", "avp of silent"));
            asked += 1;
            response.took.as_millis()
        });
    }
    assert_eq!((stat(&kamailio, "query_timeouts"), stat(&kamailio, "async_resumed")), (asked, asked));
    assert_takes(2_000..3_500, "the default of amqp_query_timeout_sec", || {
        query(&sip, "five", "errs", "silent", "silent", &[]).took.as_millis()
    });

    let refused = query(&sip, "five", "no-such-exchange", "plain", "lost", &[("X-Timeout", "20000")]);
    assert_eq!(went_on(&refused), ("ERR", ""));
    assert!(refused.took < Duration::from_secs(5), "refused by the broker: {:?}", refused.took);
    assert_eq!(stat(&kamailio, "query_lost"), 1);
    assert_eq!(went_on(&query(&sip, "five", "errs", "plain", "after", &[("X-Timeout", "20000")])), ("OK", "after"));
    none_is_left(&kamailio);
    still_well(&mut kamailio);
}

#[test]
fn no_broker_and_a_lost_one_end_the_wait_at_once() {
    let mut broker = Broker::prepare().unwrap();
    let mut kamailio = builder("nobroker", &broker).start().unwrap();
    let sip = sip(&kamailio);
    let long = &[("X-Timeout", "25000")];
    let response = query(&sip, "five", "nobroker", "plain", "x", long);
    assert_eq!(went_on(&response), ("ERR", ""), "{response:?}");
    assert!(response.took < Duration::from_secs(5), "{:?}", response.took);
    assert_eq!(stat(&kamailio, "query_no_broker"), 1);

    broker.restart().unwrap();
    until_connected(&kamailio, 1);
    let peer = peer(&broker, "nobroker");
    assert_eq!(went_on(&query(&sip, "five", "nobroker", "plain", "up", long)), ("OK", "up"));
    let posted: Vec<_> =
        (0..20).map(|i| post(&sip, "OPTIONS", "five", "nobroker", "silent", &i.to_string(), "25000")).collect();
    assert!(wait_until(PATIENCE, || peer.count().questions == 21), "{:?}", peer.count());
    until_stat(&kamailio, "confirmed", 21);
    let began = Instant::now();
    broker.kill().unwrap();
    let finals = finals(&sip, posted.len(), Duration::from_millis(500));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    for answers in finals.values() {
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!(went_on(&answers[0]), ("ERR", ""));
    }
    assert_eq!(stat(&kamailio, "query_lost"), 20);
    none_is_left(&kamailio);
    still_well(&mut kamailio);
}

#[test]
fn bad_calls_are_refused_and_leave_the_request_to_the_script() {
    let broker = broker();
    let peer = peer(&broker, "refused");
    let mut kamailio = start("refused", &broker, |builder| builder.children(1));
    let sip = sip(&kamailio);
    let long = "k".repeat(300);
    let routes = |ok: &'static str, err: &'static str| vec![("X-Ok", ok), ("X-Err", err)];
    let good = routes("OK", "ERR");
    let table = [
        (good.clone(), "plain", "no JSON", -2, "not valid JSON"),
        (good.clone(), "plain", "[1]", -2, "object"),
        (good.clone(), "plain", "{\"Msg-ID\":{}}", -2, "Msg-ID"),
        (good, long.as_str(), "{}", -3, "routing key"),
        (routes("OK", "NOWHERE"), "plain", "{}", -11, "neither failure_route[NOWHERE] nor route[NOWHERE]"),
        (routes("NOWHERE", "ERR"), "plain", "{}", -11, "neither onreply_route[NOWHERE] nor route[NOWHERE]"),
        (routes("ERR", "ERR"), "plain", "{}", -11, "neither onreply_route[ERR] nor route[ERR]"),
        (routes("OK", "OK"), "plain", "{}", -11, "neither failure_route[OK] nor route[OK]"),
        (routes("OK", ""), "plain", "{}", -11, "neither failure_route[] nor route[]"),
    ];
    for (i, (more, kind, body, code, why)) in table.into_iter().enumerate() {
        let before = complaints(&kamailio).len();
        let mut headers = vec![("X-Exchange", "refused"), ("X-Kind", kind)];
        headers.extend(more);
        let response = ask(&sip, "given routes", &headers, body);
        assert_eq!((response.code, number(&response, "X-Ret")), (480, code), "{i}: {response:?}");
        let new = complaints(&kamailio).split_off(before);
        assert_eq!(new.len(), 1, "{i}: {new:#?}");
        assert!(new[0].contains(why), "{i}: {new:#?}");
        if code == -11 {
            // These lines are throttled to one a second.
            std::thread::sleep(Duration::from_millis(1_050));
        }
    }
    assert_eq!((stat(&kamailio, "async_queries"), stat(&kamailio, "published"), peer.count().questions), (0, 0, 0));
    let tm = kamailio.rpc(&["tm.stats"]).unwrap();
    assert!(tm.contains("total: 0"), "no transaction was made: {tm}");
    let both = &[("X-Ok", "OK"), ("X-Err", "PLAIN_ERR")];
    assert_eq!(went_on(&query(&sip, "given routes", "refused", "plain", "fine", both)), ("OK", "fine"));
    still_well(&mut kamailio);
}

#[test]
fn callback_asks_again_with_or_without_waiting() {
    let broker = broker();
    let _peer = peer(&broker, "again");
    let mut kamailio = start("again", &broker, |builder| builder.modparam_int("amqp_consumer_processes", 1));
    let sip = sip(&kamailio);
    let response = query(&sip, "chain", "again", "plain", "first", &[("X-Then", "plain")]);
    assert_eq!((went_on(&response), response.header("X-First")), (("OK", "second"), "first"), "{response:?}");
    let response = query(&sip, "chain", "again", "plain", "first", &[("X-Then", "silent"), ("X-Then-Timeout", "300")]);
    assert_eq!((went_on(&response), response.header("X-First")), (("ERR", ""), "first"), "{response:?}");
    let response = query(&sip, "sync inside", "again", "plain", "first", &[]);
    assert_eq!((went_on(&response), response.header("X-First")), (("SYNC", "inside"), "first"), "{response:?}");
    assert_eq!(number(&response, "X-Inner"), 1);
    assert_eq!((stat(&kamailio, "async_queries"), stat(&kamailio, "answers")), (5, 5));
    none_is_left(&kamailio);
    assert_eq!(kamailio.log_lines("SECOND REFUSED"), Vec::<String>::new());
    still_well(&mut kamailio);
}

#[test]
fn answer_that_races_with_the_timeout_resumes_once() {
    const TRIALS: usize = 400;
    let broker = broker();
    let peer = peer(&broker, "race");
    let mut kamailio = start("race", &broker, |builder| builder);
    let sip = sip(&kamailio);
    let (mut answered, mut timed_out, mut asked) = (0, 0, 0);
    // The answer comes from 60 ms before to 60 ms after the timeout; sooner when the machine is slower than that.
    for earlier in [0, 60, 120, 180] {
        let mut finals = Finals::default();
        for i in 0..TRIALS {
            let delay = 240 - earlier + i % 120;
            post(&sip, "OPTIONS", "five", "race", "after", &delay.to_string(), "300");
            finals.look(&sip, Duration::from_millis(1));
        }
        asked += TRIALS as u64;
        for answers in finals.complete(&sip, TRIALS, Duration::from_millis(800)).values() {
            assert_eq!(answers.len(), 1, "{answers:?}");
            match answers[0].header("X-Where") {
                "OK" => answered += 1,
                place => {
                    assert_eq!(place, "ERR");
                    timed_out += 1;
                }
            }
        }
        if answered > 20 {
            break;
        }
    }
    println!("{answered} answered, {timed_out} timed out, {:?}", stats(&kamailio));
    assert!(answered > 20 && timed_out > 20, "no race: {answered} answered, {timed_out} timed out");
    assert!(wait_until(PATIENCE, || peer.count().answers == asked), "{:?}", peer.count());
    until_stat(&kamailio, "late", timed_out);
    none_is_left(&kamailio);
    assert_eq!(stat(&kamailio, "async_resumed"), asked);
    assert_eq!((stat(&kamailio, "answers"), stat(&kamailio, "query_timeouts")), (answered, timed_out));
    still_well(&mut kamailio);
}

#[test]
fn second_answer_resumes_nothing_and_a_repeated_request_asks_once() {
    let broker = broker();
    let peer = peer(&broker, "once");
    let mut kamailio = start("once", &broker, |builder| builder);
    let sip = sip(&kamailio);
    for i in 0..20 {
        post(&sip, "OPTIONS", "five", "once", "twice", &i.to_string(), "");
    }
    let answered = finals(&sip, 20, Duration::from_millis(400));
    assert!(answered.values().all(|answers| answers.len() == 1), "{answered:?}");
    until_stat(&kamailio, "late", 20);
    assert!(wait_until(PATIENCE, || kamailio.log_lines("EVENT=").len() == 20), "{}", tail(&kamailio));
    assert_eq!(kamailio.log_lines("kzR=[<null>]").len(), 20, "$kzR ends with its transaction: {}", tail(&kamailio));

    let posted = post(&sip, "INVITE", "five", "once", "pause", "patient", "");
    for _ in 0..5 {
        sip.retransmit(&posted).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    let answered = finals(&sip, 1, Duration::from_millis(400));
    assert!(answered[&posted.call_id].iter().all(|answer| went_on(answer) == ("OK", "patient")), "{answered:?}");
    assert_eq!((peer.count().questions, stat(&kamailio, "async_queries")), (21, 21));
    none_is_left(&kamailio);
    still_well(&mut kamailio);
}

#[test]
fn transaction_that_ends_while_it_waits_is_let_go() {
    let broker = broker();
    let _peer = peer(&broker, "gone");
    let mut kamailio = start("gone", &broker, |builder| builder);
    let sip = sip(&kamailio);
    let posted = post(&sip, "INVITE", "five", "gone", "slow", "cancelled", "");
    let provisional = sip.next_answer(PATIENCE).unwrap().unwrap();
    assert_eq!(provisional.code, 100, "{provisional:?}");
    sip.cancel(&posted).unwrap();
    let answers = finals(&sip, 1, Duration::from_millis(300)).remove(&posted.call_id).unwrap();
    let of = |method: &str| {
        let fits = |answer: &&Response| answer.header("CSeq").ends_with(method);
        answers.iter().filter(fits).map(|answer| answer.code).collect::<Vec<_>>()
    };
    assert_eq!(of("CANCEL"), [200], "{answers:?}");
    assert!(!of("INVITE").is_empty() && of("INVITE").iter().all(|code| *code == 487), "{answers:?}");
    until_stat(&kamailio, "async_gone", 1);
    until_logged(&kamailio, "nothing to resume");

    // The timer of the transaction is shorter than the query's.
    let response = query(&sip, "fr", "gone", "silent", "timer", &[("X-Timeout", "3000")]);
    assert_eq!(went_on(&response), ("TIMER", ""), "{response:?}");
    until_stat(&kamailio, "async_gone", 2);
    none_is_left(&kamailio);
    assert_eq!(went_on(&query(&sip, "five", "gone", "plain", "after", &[])), ("OK", "after"));
    still_well(&mut kamailio);
}

#[test]
fn hundreds_wait_while_the_only_worker_is_free() {
    const CALLS: usize = 500;
    let broker = broker();
    let _peer = peer(&broker, "many");
    let mut kamailio = start("many", &broker, |builder| builder.children(1).modparam_int("amqp_consumer_processes", 2));
    let sip = sip(&kamailio);
    let began = Instant::now();
    let (mut finals, mut say) = (Finals::default(), BTreeMap::new());
    for i in 0..CALLS {
        let posted = post(&sip, "OPTIONS", "five", "many", "slow", &i.to_string(), "60000");
        say.insert(posted.call_id, i.to_string());
        finals.look(&sip, Duration::from_millis(1));
    }
    // A blocking query would keep the worker for 1.5 s each.
    let other = common::sip(&kamailio);
    let free = query(&other, "look", "many", "plain", "x", &[]);
    assert_eq!(free.code, 480, "{free:?}");
    println!("{CALLS} suspended, the worker answers after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(8), "the worker was busy for {:?}", began.elapsed());
    for (call, answers) in finals.complete(&sip, CALLS, Duration::from_millis(500)) {
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!(went_on(&answers[0]), ("OK", say[&call].as_str()), "each gets its own answer");
    }
    println!("all resumed after {:?}", began.elapsed());
    none_is_left(&kamailio);
    still_well(&mut kamailio);
}

#[test]
fn large_answers_reach_busy_consumers() {
    let broker = broker();
    let _peer = peer(&broker, "bulk");
    let mut kamailio = start("bulk", &broker, |builder| {
        builder.memory(64, 64).modparam_int("amqp_consumer_processes", 1).modparam_int("amqp_delivery_ring_kb", 16)
    });
    let sip = sip(&kamailio);
    for i in 0..12 {
        post(&sip, "OPTIONS", "five", "bulk", "large", &i.to_string(), "20000");
    }
    let answered = finals(&sip, 12, Duration::from_millis(300));
    let all_ok = |answers: &Vec<Response>| answers.len() == 1 && went_on(&answers[0]).0 == "OK";
    assert!(answered.values().all(all_ok), "{answered:?}");
    none_is_left(&kamailio);
    still_well(&mut kamailio);
}

#[test]
fn killed_manager_leaves_no_transaction_waiting() {
    const CALLS: usize = 300;
    let broker = broker();
    let peer = peer(&broker, "killed");
    let mut kamailio = start("killed", &broker, |builder| builder);
    let sip = sip(&kamailio);
    // Confirmed, never answered: the next manager ends the wait, long before the timeout.
    for i in 0..20 {
        post(&sip, "OPTIONS", "five", "killed", "silent", &i.to_string(), "25000");
    }
    assert!(wait_until(PATIENCE, || peer.count().questions == 20));
    until_stat(&kamailio, "confirmed", 20);
    let began = Instant::now();
    kill_manager(&kamailio);
    for answers in finals(&sip, 20, Duration::from_millis(300)).values() {
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!(went_on(&answers[0]), ("ERR", ""));
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());

    // In every stage: in the outbox, on the way, waiting, answered. Every fourth waits when the manager is killed, and
    // some were answered, on a slow machine too.
    let (mut ended, mut posted) = (Finals::default(), 0);
    for _ in 0..3 {
        until_connected(&kamailio, 1);
        let before = ended.0.len();
        for i in 0..CALLS / 3 {
            let delay = if i % 4 == 0 { "5000" } else { "100" };
            post(&sip, "OPTIONS", "five", "killed", "after", delay, "25000");
            posted += 1;
            ended.look(&sip, Duration::from_millis(4));
        }
        while ended.0.len() < before + 10 && ended.look(&sip, PATIENCE) {}
        kill_manager(&kamailio);
    }
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for answers in ended.complete(&sip, posted, Duration::from_millis(1_500)).values() {
        assert_eq!(answers.len(), 1, "{answers:?}");
        *places.entry(answers[0].header("X-Where").to_string()).or_default() += 1;
    }
    println!("{places:?} {:?}", stats(&kamailio));
    assert!(places["OK"] > 20 && places["ERR"] > 20, "{places:?}");
    none_is_left(&kamailio);
    assert_eq!(stat(&kamailio, "async_gone"), 0);
    still_well(&mut kamailio);
}

#[test]
fn full_outbox_gives_the_transaction_back() {
    let mut broker = Broker::start().unwrap();
    let mut kamailio = start("full", &broker, |builder| {
        builder.children(1).modparam_int("amqp_command_ring_kb", 16).modparam_int("amqp_publish_wait_ms", 50)
    });
    let sip = sip(&kamailio);
    broker.freeze().unwrap();
    let body = json!({ "Fill": "x".repeat(1_500) }).to_string();
    let mut waiting = 0;
    let refused = loop {
        assert!(waiting < 200, "never refused");
        let request = sip.request("OPTIONS").header("X-Case", "five").header("X-Exchange", "full");
        let request = request.header("X-Kind", "plain").header("X-Say", "x").header("X-Timeout", "25000");
        request.body("application/json", body.as_str()).post().unwrap();
        // Suspended or answered: the one worker takes one after the other.
        let mut answer = None;
        let decided = wait_until(PATIENCE, || {
            answer = sip.next_answer(Duration::from_millis(5)).unwrap();
            answer.is_some() || stat(&kamailio, "async_queries") > waiting
        });
        assert!(decided, "{}", tail(&kamailio));
        match answer {
            Some(answer) => break answer,
            None => waiting += 1,
        }
    };
    assert_eq!((refused.code, number(&refused, "X-Ret")), (480, -5), "{refused:?}");
    assert!(waiting > 3, "{waiting}");
    assert_eq!(stat(&kamailio, "async_queries"), waiting);
    broker.thaw().unwrap();
    drop(broker);
    // Not confirmed, and no broker any more.
    let began = Instant::now();
    let ended = finals(&sip, waiting as usize, Duration::from_millis(300));
    assert!(ended.values().all(|answers| went_on(&answers[0]).0 == "ERR"), "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    none_is_left(&kamailio);
    still_well(&mut kamailio);
}

#[test]
fn server_stops_with_transactions_suspended() {
    let broker = broker();
    let _peer = peer(&broker, "stop");
    let mut kamailio = start("stop", &broker, |builder| builder);
    let sip = sip(&kamailio);
    for i in 0..100 {
        post(&sip, "OPTIONS", "five", "stop", if i % 2 == 0 { "slow" } else { "silent" }, "x", "25000");
    }
    until_stat(&kamailio, "async_queries", 100);
    let stopped = kamailio.stop().unwrap();
    assert!(stopped.status.success(), "{stopped:?}\n{}", tail(&kamailio));
    assert!(stopped.took < Duration::from_secs(10), "{stopped:?}");
    for trouble in ["panicked", "exited by a signal", "BUG"] {
        assert_eq!(kamailio.log_lines(trouble), Vec::<String>::new());
    }
}

#[test]
fn callback_relays_the_call_with_what_was_added_before() {
    let broker = broker();
    let _peer = peer(&broker, "relay");
    let mut kamailio = start("relay", &broker, |builder| builder);
    let phone = Phone::new("phone").unwrap();
    let sip = sip(&kamailio);
    let port = phone.port().unwrap().to_string();
    let request =
        sip.request("INVITE").header("X-Case", "call").header("X-Exchange", "relay").header("X-Kind", "plain");
    let request = request.header("X-Say", "ring").header("X-Port", &port);
    let response = request.body("application/json", r#"{"Ask":"x"}"#).timeout(PATIENCE).send().unwrap();
    assert_eq!((response.code, response.header("X-Phone")), (200, "answered"), "{response:?}");
    let calls = phone.calls();
    assert_eq!((calls[0].method.as_str(), calls[0].header("X-Added")), ("INVITE", "ring"), "{calls:?}");
    none_is_left(&kamailio);
    still_well(&mut kamailio);
}

#[test]
fn where_no_transaction_can_wait_the_call_is_refused() {
    let broker = broker();
    let _peer = peer(&broker, "nowhere");
    let routes = r#"
request_route {
    if (is_method("ACK")) {
        kazoo_async_query("nowhere", "q.plain", "{}", "OK", "ERR");
        xlog("L_NOTICE", "ACK GOT $rc\n");
        exit;
    }
    if ($hdr(X-Case) == "reply first") {
        t_newtran();
        t_reply("486", "Busy");
        kazoo_async_query("nowhere", "q.plain", "{}", "OK", "ERR");
        xlog("L_NOTICE", "AFTER THE REPLY $rc\n");
        exit;
    }
    sl_send_reply("200", "OK");
    exit;
}
route[OK] { t_reply("200", "OK"); }
route[ERR] { t_reply("500", "Not OK"); }
event_route[kazoo:mod-init] {
    kazoo_async_query("nowhere", "q.plain", "{}", "OK", "ERR");
    xlog("L_NOTICE", "START-UP GOT $rc\n");
}
"#;
    let mut kamailio = kamailio("nowhere").broker(&broker).routes(routes).start().unwrap();
    until_connected(&kamailio, 1);
    until_logged(&kamailio, "START-UP GOT -12");
    let sip = sip(&kamailio);
    sip.request("ACK").post().unwrap();
    until_logged(&kamailio, "ACK GOT -12");
    assert_eq!(ask(&sip, "reply first", &[], "").code, 486);
    until_logged(&kamailio, "AFTER THE REPLY -12");
    assert_eq!(sip.options("X-Case", "after").unwrap().code, 200);
    assert_eq!(stat(&kamailio, "async_queries"), 0);
    still_well(&mut kamailio);
}

#[test]
fn configuration_without_tm_is_refused_if_it_needs_it() {
    let folder = tempfile("without-tm");
    let file = folder.join("kamailio.cfg");
    let with = "#!KAMAILIO\nlisten=LISTEN_UDP\nloadmodule \"ctl.so\"\nloadmodule \"pv.so\"\nloadmodule \"kazoo.so\"\n\
        modparam(\"ctl\", \"binrpc\", CTL_SOCKET)\nmodparam(\"kazoo\", \"node_hostname\", \"notm.rig.test\")\n\
        request_route { kazoo_async_query(\"a\", \"b\", \"{}\", \"X\", \"X\"); exit; }\nroute[X] { exit; }\n";
    std::fs::write(&file, with).unwrap();
    let log = Kamailio::builder().config_file(&file).start_refused().unwrap();
    let lines: Vec<_> = common::complaints_in(&log);
    assert!(lines.len() == 1 && lines[0].contains("loadmodule \"tm.so\""), "{lines:#?}\n{log}");

    // tm may be loaded after this module.
    let later = with.replace("\"kazoo.so\"\n", "\"kazoo.so\"\nloadmodule \"tm.so\"\n");
    std::fs::write(&file, later).unwrap();
    still_well(&mut Kamailio::builder().config_file(&file).start().unwrap());

    let without = with.replace("kazoo_async_query", "kazoo_publish").replace(", \"X\", \"X\"", "");
    std::fs::write(&file, without).unwrap();
    still_well(&mut Kamailio::builder().config_file(&file).start().unwrap());
}

/// A folder for a whole configuration.
fn tempfile(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("rig-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The pattern of push notifications: the call waits until the phone that was woken up has registered.
const PUSH: &str = r#"
request_route {
    if (is_method("ACK")) exit;
    if (is_method("REGISTER")) {
        if (!save("location")) { sl_reply_error(); }
        exit;
    }
    route(PUSHASYNC);
    route(LOCATION);
}
route[PUSHASYNC] {
    if (!is_method("INVITE")) return;
    if (registered("location")) return;
    kazoo_async_query("push", "push.req.$rU", '{"Event-Category":"push","Event-Name":"wake","User":"$rU"}', "LOCATION", "NOPUSH");
    send_reply("501", "Unknown destination");
    exit;
}
route[LOCATION] {
    if (!lookup("location")) {
        send_reply("404", "Not Found");
        exit;
    }
    append_hf("X-Woken: $(kzR{kz.json,Woken})\r\n");
    t_relay();
    exit;
}
route[NOPUSH] { t_reply("480", "Phone does not wake up"); }
"#;

#[test]
fn call_waits_for_the_phone_that_a_push_notification_wakes() {
    let broker = broker();
    let builder = kamailio("push").broker(&broker).load("usrloc").load("registrar").routes(PUSH);
    let mut kamailio = builder.modparam_int("amqp_query_timeout_sec", 5).start().unwrap();
    until_connected(&kamailio, 1);
    let phone = std::sync::Arc::new(Phone::new("alice").unwrap());
    let woken = std::sync::Arc::new(Mutex::new(Vec::new()));
    // The push service: it wakes alice's phone, which registers, and answers then. Nobody else has one.
    let (server, its_phone, seen) = (kamailio.sip_port(), phone.clone(), woken.clone());
    let queue = Queue::new("push-service").auto_delete().bind(&Exchange::topic("push"), "push.req.#");
    let _service = Peer::start(broker.client(), queue, move |question: &Question| {
        let user = question.field("User").to_string();
        seen.lock().unwrap().push(user.clone());
        if user != "alice" {
            return Reply::silence();
        }
        its_phone.register(server).unwrap();
        Reply::fields(json!({ "Event-Category": "push", "Event-Name": "woken", "Woken": user }))
    })
    .unwrap();
    let sip = sip(&kamailio);
    let call = |user: &str| sip.request("INVITE").user(user).timeout(PATIENCE).send().unwrap();

    let response = call("alice");
    assert_eq!((response.code, response.header("X-Phone")), (200, "answered"), "{response:?}\n{}", tail(&kamailio));
    assert_eq!(phone.calls()[0].header("X-Woken"), "alice");
    // Registered now: no second push.
    assert_eq!(call("alice").code, 200);
    let response = call("bob");
    assert_eq!((response.code, response.reason.as_str()), (480, "Phone does not wake up"));
    assert_eq!(*woken.lock().unwrap(), ["alice", "bob"]);
    assert_eq!((stat(&kamailio, "answers"), stat(&kamailio, "query_timeouts")), (1, 1));
    none_is_left(&kamailio);
    still_well(&mut kamailio);
}

#[test]
fn failure_and_event_routes_ask_too() {
    let broker = broker();
    let peer = peer(&broker, "elsewhere");
    let routes = ROUTES.replace(
        "event_route[kazoo:consumer-event] {",
        "route[EVENT_OK] { xlog(\"L_NOTICE\", \"EVENT GOT $(kzR{kz.json,Say})\n\"); t_reply(\"200\", \"OK\"); }\n\
         event_route[kazoo:consumer-event] {\n\
             kazoo_async_query(\"elsewhere\", \"q.plain\", '{\"Ask\":\"event\"}', \"EVENT_OK\", \"ERR\");\n",
    );
    let builder = builder("elsewhere", &broker).modparam_int("amqp_query_timeout_sec", 20);
    let subscribe =
        "event_route[kazoo:mod-init] { kazoo_subscribe(\"elsewhere-ev\", \"topic\", \"elsewhere-q\", \"#\"); }";
    let mut kamailio = builder.routes(format!("{routes}{subscribe}\n")).start().unwrap();
    until_connected(&kamailio, 1);
    let sip = sip(&kamailio);
    let response = query(&sip, "after failure", "elsewhere", "plain", "late", &[]);
    assert_eq!(went_on(&response), ("OK", "late"), "{response:?}\n{}", tail(&kamailio));
    let response = query(&sip, "after failure", "elsewhere", "silent", "late", &[("X-Timeout", "300")]);
    assert_eq!(went_on(&response), ("ERR", ""), "{response:?}\n{}", tail(&kamailio));

    publish_routed(&broker, "elsewhere-ev", "key", r#"{"Event-Category":"a","Event-Name":"b"}"#);
    until_logged(&kamailio, "EVENT GOT event");
    assert_eq!(peer.count().questions, 3);
    none_is_left(&kamailio);
    still_well(&mut kamailio);
}

#[test]
fn outcomes_of_two_managers_resume_once() {
    const CALLS: usize = 60;
    let broker = broker();
    let _peer = peer(&broker, "twomgr");
    let mut kamailio = start("twomgr", &broker, |builder| builder.modparam_int("amqp_consumer_processes", 1));
    let sip = sip(&kamailio);
    // The outcomes lie in the ring of a consumer that takes 20 ms for each. The next manager sees transactions that still
    // wait and hands out a second outcome for each; it may come too late on a busy machine, hence several rounds.
    for round in 1.. {
        until_connected(&kamailio, 1);
        let resumed = stat(&kamailio, "async_resumed");
        let mut ended = Finals::default();
        for i in 0..CALLS {
            post(&sip, "OPTIONS", "slow callback", "twomgr", "plain", &i.to_string(), "25000");
            ended.look(&sip, Duration::from_millis(1));
        }
        until_stat(&kamailio, "async_resumed", resumed + 5);
        kill_manager(&kamailio);
        for answers in ended.complete(&sip, CALLS, Duration::from_millis(500)).values() {
            assert_eq!(answers.len(), 1, "{answers:?}");
        }
        none_is_left(&kamailio);
        assert_eq!((stat(&kamailio, "async_resumed"), stat(&kamailio, "async_gone")), (resumed + CALLS as u64, 0));
        if wait_until(Duration::from_secs(2), || stat(&kamailio, "late") > 0) {
            break;
        }
        assert!(round < 4, "no second outcome: {:?}", stats(&kamailio));
    }
    still_well(&mut kamailio);
}
