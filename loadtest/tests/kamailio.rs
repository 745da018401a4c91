//! Kamailio under the rig, with the module under test: `KAZOO_MODULE` or `target/release/kazoo.so`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use rig::{Broker, Exchange, Kamailio, Peer, Queue, Reply, Signal, Sink, SipClient, Sipp, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

const ROUTES: &str = r#"
request_route {
    switch ($hdr(X-Case)) {
    case "publish":
        kazoo_publish("events", "event.$ci", '{"Event-Category":"test","Event-Name":"options","Call-ID":"$ci"}');
        append_to_reply("X-Ret: $rc\r\n");
        break;
    case "query":
        $var(question) = '{"Event-Category":"directory","Event-Name":"authn_req","Auth-User":"$fU"}';
        kazoo_query("callmgr", "authn.req.test", $var(question));
        append_to_reply("X-Ret: $rc\r\nX-Password: $(kzR{kz.json,Auth-Password})\r\n");
        break;
    }
    sl_send_reply("200", "OK");
    exit;
}
"#;

fn builder() -> rig::Builder {
    Kamailio::builder().modparam_int("pua_mode", 0)
}

#[test]
fn publish_arrives_and_query_is_answered() {
    let broker = Broker::start().unwrap();
    let client = broker.client();
    let sink = Sink::start(client, Queue::new("seen").bind(&Exchange::topic("events"), "event.#")).unwrap();
    // Not at once: the C module loses answers that come within a millisecond.
    let queue = Queue::new("passwords").bind(&Exchange::topic("callmgr"), "authn.req.#");
    let _peer = Peer::start(client, queue, |question| {
        let password = format!("of-{}", question.field("Auth-User"));
        Reply::fields(serde_json::json!({ "Auth-Password": password })).after(Duration::from_millis(10))
    })
    .unwrap();
    let mut kamailio = builder().broker(&broker).routes(ROUTES).start().unwrap();
    let sip = SipClient::new(kamailio.sip_port()).unwrap();

    // A Kamailio that has just started may still be connecting to its broker.
    assert!(wait_until(PATIENCE, || sip
        .options("X-Case", "publish")
        .is_ok_and(|answer| answer.header("X-Ret") == "1")));
    assert!(sink.wait_for(1, PATIENCE));
    let message = sink.take().remove(0);
    assert_eq!(message.exchange, "events");
    assert!(message.routing_key.starts_with("event.rig-"), "{message:?}");
    assert_eq!(message.content_type.as_deref(), Some("application/json"));
    assert_eq!(message.json()["Event-Name"], "options");
    assert_eq!(message.json()["Node"], "kamailio@rig.test");

    let answer = sip.request("OPTIONS").user("alice").header("X-Case", "query").send().unwrap();
    assert_eq!((answer.code, answer.header("X-Ret"), answer.header("X-Password")), (200, "1", "of-alice"));

    let stopped = kamailio.stop().unwrap();
    assert!(stopped.status.success(), "{stopped:?}\n{}", kamailio.log());
}

#[test]
fn a_silent_peer_makes_the_query_time_out() {
    let broker = Broker::start().unwrap();
    let queue = Queue::new("silent").bind(&Exchange::topic("callmgr"), "#");
    let peer = Peer::start(broker.client(), queue, |_| Reply::silence()).unwrap();
    let kamailio = builder().broker(&broker).routes(ROUTES).start().unwrap();
    let sip = SipClient::new(kamailio.sip_port()).unwrap();
    assert!(wait_until(PATIENCE, || {
        let answer = sip.options("X-Case", "query").unwrap();
        assert!(answer.header("X-Ret").starts_with('-'), "{answer:?}");
        peer.count().questions > 0
    }));
    assert_eq!(peer.count().answers, 0);
}

#[test]
fn processes_are_listed_measured_and_killed() {
    let mut kamailio = Kamailio::builder().without_module().children(2).start().unwrap();
    let answer = SipClient::new(kamailio.sip_port()).unwrap();
    assert!(
        answer.request("OPTIONS").timeout(Duration::from_millis(200)).send().is_err(),
        "the script answers nothing"
    );
    let workers = kamailio.processes_titled("udp receiver").unwrap();
    assert_eq!(workers.len(), 2, "{:?}", kamailio.processes());
    assert!(kamailio.memory(workers[0].pid).unwrap().private_kib > 0);
    assert!(kamailio.total_cpu() > Duration::ZERO);
    assert!(kamailio.rpc_numbers(&["core.uptime"]).unwrap().contains_key("uptime"));

    kamailio.signal(workers[0].pid, Signal::SIGKILL).unwrap();
    assert!(wait_until(PATIENCE, || !kamailio.is_running()), "Kamailio stops when a worker dies");
    assert!(!kamailio.log_lines("exited by a signal 9").is_empty(), "{}", kamailio.log());
}

#[test]
fn a_bad_configuration_is_refused() {
    let bad = || Kamailio::builder().without_module().routes("request_route { no_such_function(); }\n");
    let check = bad().check().unwrap();
    assert!(!check.accepted && check.log.contains("no_such_function"), "{}", check.log);
    assert!(bad().start_refused().unwrap().contains("no_such_function"));
    assert!(Kamailio::builder().without_module().check().unwrap().accepted);
}

/// Digest authentication with a password that the script knows, and two kinds of answers to OPTIONS.
const LOAD: &str = r#"
loadmodule "auth.so"
request_route {
    if (is_method("REGISTER")) {
        append_to_reply("X-Query-Us: 42\r\n");
        if (pv_auth_check("$fd", "secret-$fU", "0", "0")) {
            sl_send_reply("200", "OK");
        } else {
            auth_challenge("$fd", "0");
        }
        exit;
    }
    if ($ci =~ "^[0-9]*[02468]-") {
        sl_send_reply("480", "No");
    } else {
        sl_send_reply("200", "OK");
    }
    exit;
}
"#;

#[test]
fn sipp_counts_answers_and_digests() {
    let kamailio = Kamailio::builder().without_module().routes(LOAD).start().unwrap();
    let options = Sipp::scenario("options").calls(300).rate(300).start(kamailio.sip_port()).unwrap();
    let report = options.wait(PATIENCE).unwrap();
    assert_eq!((report.calls, report.succeeded, report.failed, report.requests), (300, 300, 0, 300));
    assert_eq!((report.answered(200), report.answered(480)), (150, 150), "{report:?}");
    assert_eq!(report.response_ms.count, 300);

    let register = Sipp::scenario("register").calls(30).user("alice", "secret-alice").user("bob", "wrong");
    let report = register.start(kamailio.sip_port()).unwrap().wait(PATIENCE).unwrap();
    assert_eq!((report.answered(401), report.answered(200), report.failed), (30, 15, 15), "{report:?}");
    assert_eq!((report.requests, report.logged.count, report.logged.p50), (60, 15, 42.0));
}
