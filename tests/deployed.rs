//! What people run today: every example of the module's documentation, the message that introduced the module and the
//! slides that presented it, as configurations in `tests/deployed/`, each driven end to end.
//!
//! The examples are verbatim; the head of each file says what is around them. Where an example cannot work in Kamailio
//! itself, [`two_examples_are_refused_by_kamailio_itself`] shows it with the C module.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use common::{
    PATIENCE, ask, broker, exactly, hostname, number, release, sink, sip, stat, still_well, tail, until_connected,
    until_logged, until_queue,
};
use rig::{
    Broker, Database, Engine, Exchange, Flood, Kamailio, Message, Peer, Queue, Reply, Sink, Sipp, SippReport, SippRun,
    wait_until,
};
use serde_json::{Value, json};

/// Every configuration of the folder.
const ALL: &[&str] = &[
    "event_callback",
    "event_routes",
    "mailing_list",
    "parameters",
    "presence",
    "publish",
    "query",
    "slides",
    "subscribe",
    "subscribe_json",
];

/// A file of the folder.
fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/deployed", name].iter().collect()
}

/// The configuration `name`, with what an operator fills in. `url` is that of the broker.
fn deployed(name: &str, url: &str) -> rig::Builder {
    Kamailio::builder()
        .config_file(file(&format!("{name}.cfg")))
        .substitute("MY_HOSTNAME", &hostname(name))
        .substitute("MY_AMQP_URL", url)
        .substitute("MY_SCRIPT", &file(&format!("{name}.lua")).display().to_string())
        .define("MY_AMQP_MAX_CHANNELS", "25")
}

/// Starts it; returns when it is connected.
fn start(builder: rig::Builder) -> Kamailio {
    let kamailio = builder.start().unwrap();
    until_connected(&kamailio, 1);
    kamailio
}

/// Publishes to the exchange; tried again until something is bound there.
fn publish_routed(broker: &Broker, exchange: &str, key: &str, body: &Value) {
    let message = Message::new(exchange, key, body.to_string());
    Flood::start(broker.client(), 1, 0, move |_| message.clone()).unwrap().wait(PATIENCE).unwrap();
}

/// What comes after `marker` in the log lines that have it, in order of the log.
fn logged(kamailio: &Kamailio, marker: &str) -> Vec<String> {
    let after = |line: &String| line.split_once(marker).map(|(_, rest)| rest.trim().to_string());
    kamailio.log_lines(marker).iter().filter_map(after).collect()
}

/// Waits until exactly `expected` is logged after `marker`, in order.
fn until_logged_in_order(kamailio: &Kamailio, marker: &str, expected: &[&str]) {
    wait_until(PATIENCE, || logged(kamailio, marker).len() >= expected.len());
    assert_eq!(logged(kamailio, marker), expected, "{}", tail(kamailio));
}

/// A column of `rabbitmqctl list_…` for one row.
fn listed(broker: &Broker, list: &str, name: &str, columns: &[&str]) -> Vec<String> {
    let text = broker.ctl(&[&[list, "name"], columns].concat()).unwrap();
    let rows = text.lines().map(|line| line.split_ascii_whitespace().map(str::to_string).collect::<Vec<_>>());
    let row = rows.into_iter().find(|row| row.first().is_some_and(|first| first == name));
    row.unwrap_or_else(|| panic!("no {name} in {text}")).split_off(1)
}

#[test]
fn every_configuration_is_accepted_by_kamailio_c() {
    for name in ALL {
        let builder = deployed(name, "amqp://guest:guest@127.0.0.1:5672");
        let builder = builder.substitute("MY_DB_DRIVER", "db_sqlite").substitute("MY_DB_URL", "sqlite:////none");
        let check = builder.check().unwrap();
        assert!(check.accepted, "{name}: {}", check.log);
    }
    let files = std::fs::read_dir(file("")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "cfg")).collect();
    files.retain(|path| !path.ends_with("frame.cfg") && !path.ends_with("slow.cfg"));
    assert_eq!(files.len(), ALL.len(), "a file that is not in the list: {files:?}");
}

/// `$kzR{kz.json,…}` without parentheses (example 1.29) and a statement without semicolon (1.30).
#[test]
fn two_examples_are_refused_by_kamailio_itself() {
    let text = std::fs::read_to_string(file("query.cfg")).unwrap();
    let line = |part: &str| text.lines().position(|line| line.starts_with(part)).unwrap() + 1;
    let variable = format!("line {}", line("$du = $kzR{kz.json"));
    let as_printed = || deployed("query", "amqp://127.0.0.1").define("AS_PRINTED", "1");
    // Without the module under test, Kamailio loads the one of its distribution: the C module.
    for builder in [as_printed(), as_printed().without_module()] {
        let check = builder.check().unwrap();
        assert!(!check.accepted && check.log.contains(&variable), "{}", check.log);
        assert!(check.log.contains("syntax error"), "{}", check.log);
    }
}

#[test]
fn event_routes_run_from_most_to_least_significant() {
    let events = [("presence", "update", "1"), ("presence", "other", "2"), ("Other_Category", "any", "3")];
    let variants: [(&str, [&str; 3]); 3] = [
        ("ALL_OF_THEM", ["presence-update", "presence", "event-category-event-name"]),
        ("ONLY_LESS_SIGNIFICANT", ["event-category"; 3]),
        ("ONLY_LAST", ["last"; 3]),
    ];
    let broker = broker();
    for (left_out, expected) in variants {
        let mut kamailio = start(deployed("event_routes", &broker.url()).define(left_out, "1"));
        // The module's own event goes the same way.
        wait_until(PATIENCE, || !logged(&kamailio, "ROUTE=").is_empty());
        let before = logged(&kamailio, "ROUTE=").len();
        for (n, (category, name, from)) in events.iter().enumerate() {
            let event =
                json!({"Event-Category": category, "Event-Name": name, "Event-Package": "dialog", "From": from});
            publish_routed(&broker, "events", "any.key", &event);
            // One after the other: four processes work on them.
            assert!(wait_until(PATIENCE, || logged(&kamailio, "ROUTE=").len() > before + n), "{}", tail(&kamailio));
        }
        assert_eq!(logged(&kamailio, "ROUTE=")[before..], expected, "{left_out}");
        if left_out == "ALL_OF_THEM" {
            until_logged(&kamailio, "received dialog update for 1");
            until_logged(&kamailio, "received dialog update for 2");
        }
        still_well(&mut kamailio);
        kamailio.stop().unwrap();
    }
}

#[test]
fn event_callback_runs_instead_of_event_routes() {
    let broker = broker();
    let mut kamailio = start(deployed("event_callback", &broker.url()));
    publish_routed(&broker, "events", "any.key", &json!({"Event-Category": "presence", "Event-Name": "update"}));
    // The module's own event goes the same way.
    let came = || {
        let mut names = logged(&kamailio, "CALLBACK=");
        names.sort();
        names
    };
    assert!(wait_until(PATIENCE, || came().len() == 2), "{}", tail(&kamailio));
    assert_eq!(came(), ["open", "update"]);
    still_well(&mut kamailio);
}

#[test]
fn every_documented_parameter_has_its_effect() {
    let broker = broker();
    let events = sink(&broker, "parameters", "callmgr", "authn.req.#");
    let queue = Queue::new("parameters-peer").auto_delete().bind(&Exchange::topic("callmgr"), "authn.req.#");
    let late = |_: &_| Reply::fields(json!({"Auth-Password": "x"})).after(Duration::from_millis(300));
    let peer = Peer::start(broker.client(), queue, late).unwrap();
    // The first broker of the list is not there, so the second one is used.
    let address = broker.url();
    let address = address.rsplit_once('@').map_or(address.as_str(), |(_, address)| address).trim_end_matches('/');
    let builder =
        deployed("parameters", "").substitute("localhost:5672", "127.0.0.1:1").substitute("otherhost:5672", address);
    let mut kamailio = start(builder);
    assert_eq!(kamailio.processes_titled("kazoo consumer").unwrap().len(), 10);

    let client = sip(&kamailio);
    let published = ask(&client, "publish", &[], "");
    assert_eq!(number(&published, "X-Ret"), 1);
    assert_eq!(exactly(&events, 1)[0].json()["Node"], "kamailio@sipproxy.mydomain.com");

    // 1.2 s by default; 12 in the variable are milliseconds, as deployed scripts mean it.
    assert_eq!(number(&ask(&client, "default", &[], ""), "X-Ret"), 1, "{}", tail(&kamailio));
    let short = ask(&client, "SOME_ROUTE", &[], "");
    // Before the answer, which comes after 300 ms; seconds would be twelve of them.
    assert!(number(&short, "X-Ret") < 0 && short.took < Duration::from_secs(1), "{short:?}");
    assert_eq!(peer.count().questions, 3, "the publish went there too");

    let event = json!({"My-JSON-Field-Name": "First", "My-JSON-SubField-Name": "Second"});
    publish_routed(&broker, "events", "any", &event);
    until_logged(&kamailio, "ROUTE=first-second");
    still_well(&mut kamailio);
}

#[test]
fn example_of_kazoo_publish_reaches_the_bus() {
    let broker = broker();
    let sink = sink(&broker, "publish", "callmgr", "registration.success.#");
    let mut kamailio = start(deployed("publish", &broker.url()));
    let client = sip(&kamailio);
    let response =
        client.request("REGISTER").user("alice").header("User-Agent", "Phone \"7\" of 'Alice' $5").send().unwrap();
    assert_eq!(number(&response, "X-Ret"), 1, "{}", tail(&kamailio));
    let message = exactly(&sink, 1).remove(0);
    assert_eq!(message.routing_key, "registration.success.rig%2Etest.alice");
    let body = message.json();
    for (field, value) in [
        ("Event-Category", "directory"),
        ("Event-Name", "reg_success"),
        ("Call-ID", response.header("Call-ID")),
        ("Realm", "rig.test"),
        ("Username", "alice"),
        ("From-User", "alice"),
        ("From-Host", "rig.test"),
        ("To-User", "alice"),
        ("To-Host", "rig.test"),
        ("User-Agent", "Phone \"7\" of 'Alice' 5"),
        ("App-Name", "kamailio"),
        ("Node", "kamailio@publish.rig.test"),
    ] {
        assert_eq!(body[field], value, "{field} in {body}");
    }
    assert!(body["Contact"].as_str().unwrap().starts_with("<sip:alice@127.0.0.1:"), "{body}");
    still_well(&mut kamailio);
}

#[test]
fn examples_around_kazoo_query_find_the_switch() {
    let broker = broker();
    let queue = Queue::new("query-peer").auto_delete().bind(&Exchange::topic("callevt"), "call.status_req.#");
    let (told, questions) = mpsc::channel();
    let _peer = Peer::start(broker.client(), queue, move |question| {
        told.send(question.clone()).unwrap();
        Reply::fields(json!({"Channels": [{"switch_url": "sip:10.26.0.31:11000"}, {"switch_url": "sip:no"}]}))
    })
    .unwrap();
    let mut kamailio = start(deployed("query", &broker.url()));
    let client = sip(&kamailio);
    let example = |number: &str| {
        let answer = client.request("OPTIONS").user("alice").header("X-Example", number).send().unwrap();
        let question = questions.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{number}: {}", tail(&kamailio)));
        (answer, question)
    };
    // Enough of the encoding for the characters that a Call-ID of the rig has.
    let key_of = |call_id: &str| format!("call.status_req.{}", call_id.replace('@', "%40").replace('.', "%2E"));

    let (answer, question) = example("1.23");
    assert_eq!(answer.header("X-Destination"), "sip:10.26.0.31:11000", "{}", tail(&kamailio));
    assert_eq!(question.routing_key, key_of(answer.header("Call-ID")));
    let fields = [
        ("Event-Category", json!("call_event")),
        ("Event-Name", json!("query_user_channels_req")),
        ("Realm", json!("rig.test")),
        ("Username", json!("alice")),
        ("Active-Only", json!(false)),
    ];
    for (field, value) in fields {
        assert_eq!(question.body[field], value);
    }
    until_logged(&kamailio, "|log|user channels found redirecting call to sip:10.26.0.31:11000");

    for number in ["1.27", "1.30"] {
        let (answer, question) = example(number);
        assert_eq!(question.routing_key, key_of(answer.header("Call-ID")), "{number}");
    }
    for number in ["1.28", "1.29"] {
        assert_eq!(example(number).0.header("X-Destination"), "sip:10.26.0.31:11000", "{number}");
    }
    still_well(&mut kamailio);
}

#[test]
fn example_of_kazoo_subscribe_receives_what_is_routed_there() {
    let broker = broker();
    broker.client().delete_exchange("dialoginfo").unwrap();
    let mut kamailio = start(deployed("subscribe", &broker.url()));
    let queue = format!("BLF-QUEUE-{}", hostname("subscribe"));
    until_queue(&broker, &queue);
    publish_routed(&broker, "dialoginfo", &format!("BLF-{}", hostname("subscribe")), &json!({"State": "early"}));
    until_logged(&kamailio, "Received json payload : { \"State\": \"early\"");
    assert_eq!(listed(&broker, "list_exchanges", "dialoginfo", &["type", "durable"]), ["direct", "false"]);
    assert_eq!(listed(&broker, "list_queues", &queue, &["durable", "auto_delete"]), ["false", "true"]);
    still_well(&mut kamailio);
}

#[test]
fn example_of_json_subscription_acknowledges_when_the_route_has_ended() {
    let broker = broker();
    broker.client().delete_exchange("dialoginfo").unwrap();
    let mut kamailio = start(deployed("subscribe_json", &broker.url()).define("HELD", "1"));
    let queue = format!("BLF-QUEUE-{}", hostname("subscribe_json"));
    until_queue(&broker, &queue);
    let unacknowledged = || broker.held(&queue).unwrap().1;
    publish_routed(&broker, "dialoginfo", &format!("BLF-{}", hostname("subscribe_json")), &json!({"State": "early"}));
    assert!(wait_until(PATIENCE, || unacknowledged() == 1), "{}", tail(&kamailio));
    assert_eq!(logged(&kamailio, "Received json payload").len(), 0, "acknowledged only after the route");
    release(&kamailio);
    until_logged(&kamailio, "Received json payload : { \"State\": \"early\"");
    assert!(wait_until(PATIENCE, || unacknowledged() == 0), "{}", tail(&kamailio));
    assert_eq!(listed(&broker, "list_exchanges", "dialoginfo", &["type", "durable"]), ["direct", "true"]);
    assert_eq!(listed(&broker, "list_queues", &queue, &["durable", "auto_delete"]), ["true", "false"]);
    still_well(&mut kamailio);
    kamailio.stop().unwrap();
    broker.client().delete_exchange("dialoginfo").unwrap();
}

/// An application that knows alice's password, answers without one for a user called stranger, and ignores others.
fn directory(broker: &Broker) -> Peer {
    let queue = Queue::new("directory").auto_delete().bind(&Exchange::topic("callmgr"), "authn.req.#");
    Peer::start(broker.client(), queue, |question| {
        let well = question.field("Method") == "REGISTER"
            && question.field("Auth-Realm") == "rig.test"
            && question.routing_key == "authn.req.rig%2Etest"
            && question.field("From").starts_with("sip:");
        match question.field("Auth-User") {
            "alice" | "bob" | "carol" if well => Reply::fields(json!({
                "Event-Category": "directory",
                "Event-Name": "authn_resp",
                "Auth-Password": "secret",
                "Custom-Channel-Vars": {"Account-ID": "4a"},
            })),
            "stranger" => Reply::fields(json!({"Event-Category": "directory", "Event-Name": "authn_err"})),
            _ => Reply::silence(),
        }
    })
    .unwrap()
}

/// One REGISTER with credentials, through the scenario of that name; fails when it goes another way.
fn register(kamailio: &Kamailio, scenario: Sipp, user: &str, password: &str) {
    // Once: a request that is repeated would ask the bus once more.
    let run = scenario.calls(1).user(user, password).without_repeats().start(kamailio.sip_port()).unwrap();
    succeeded(run, kamailio);
}

fn succeeded(run: SippRun, kamailio: &Kamailio) -> SippReport {
    let report = run.wait(PATIENCE).unwrap_or_else(|error| panic!("{error}\n{}", tail(kamailio)));
    assert_eq!((report.succeeded, report.failed), (1, 0), "{report:?}\n{}", tail(kamailio));
    report
}

/// A REGISTER that ends with 200.
fn accepted() -> Sipp {
    Sipp::file(file("accepted.xml"))
}

/// A REGISTER that ends with 403.
fn refused() -> Sipp {
    Sipp::file(file("refused.xml"))
}

#[test]
fn mailing_list_configuration_authenticates_and_caches() {
    let broker = broker();
    broker.client().delete_exchange("dialoginfo").unwrap();
    let peer = directory(&broker);
    let mut kamailio = start(deployed("mailing_list", &broker.url()));
    register(&kamailio, refused(), "alice", "wrong");
    assert_eq!(peer.count().questions, 1);
    register(&kamailio, accepted(), "alice", "secret");
    assert_eq!(peer.count().questions, 2);
    register(&kamailio, accepted(), "alice", "secret");
    assert_eq!(peer.count().questions, 2, "the second time the table has it");
    until_logged(&kamailio, "authenticated alice@rig.test via cached SIP creds");
    // A wrong password is not excused by the table.
    register(&kamailio, refused(), "alice", "wrong");
    register(&kamailio, refused(), "stranger", "any");

    let queue = format!("BLF-{}", hostname("mailing_list"));
    let event =
        json!({"Event-Category": "presence", "Event-Name": "update", "Event-Package": "dialog", "From": "sip:a@b"});
    publish_routed(&broker, "dialoginfo", &queue, &event);
    until_logged(&kamailio, "received dialog update for sip:a@b");
    still_well(&mut kamailio);
    kamailio.stop().unwrap();
    broker.client().delete_exchange("dialoginfo").unwrap();
}

/// The slides' Kamailio, shared by their tests.
fn slides(broker: &Broker) -> MutexGuard<'static, Kamailio> {
    static SLIDES: OnceLock<Mutex<Kamailio>> = OnceLock::new();
    let shared = SLIDES.get_or_init(|| Mutex::new(start(deployed("slides", &broker.url()))));
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn slides_authenticate_cache_and_flush() {
    let broker = broker();
    let peer = directory(&broker);
    let mut kamailio = slides(&broker);
    register(&kamailio, accepted(), "alice", "secret");
    until_logged(&kamailio, "|log|authenticating alice@rig.test via Kazoo query response");
    assert!(kamailio.rpc(&["ul.lookup", "location", "alice"]).unwrap().contains("sip:alice@127.0.0.1"));
    assert_eq!(peer.count().questions, 1);
    register(&kamailio, accepted(), "alice", "secret");
    until_logged(&kamailio, "|log|authenticating sip:alice@rig.test via cached SIP creds");
    assert_eq!(peer.count().questions, 1, "the second time the table has it");

    let flush =
        json!({"Event-Category": "directory", "Event-Name": "reg_flush", "Username": "alice", "Realm": "rig.test"});
    publish_routed(&broker, "callmgr", "registration.flush.rig%2Etest", &flush);
    until_logged(&kamailio, "log|removing SIP credentials cache for alice@rig.test");
    register(&kamailio, accepted(), "alice", "secret");
    assert_eq!(peer.count().questions, 2, "asked again after the flush");

    // A wrong password, an answer without a password, no answer at all.
    register(&kamailio, refused(), "carol", "wrong");
    register(&kamailio, refused(), "stranger", "any");
    register(&kamailio, refused(), "nobody", "any");
    until_logged(&kamailio, "|log|failed to query Kazoo for authentication credentials for nobody@rig.test 127.0.0.1:");
    assert_eq!(peer.count().questions, 5);
    still_well(&mut kamailio);
}

#[test]
fn slides_advertise_this_node_every_five_seconds() {
    let broker = broker();
    let _peer = directory(&broker);
    let mut kamailio = slides(&broker);
    register(&kamailio, accepted(), "bob", "secret");
    let sink =
        Sink::start(broker.client(), Queue::new("watcher").auto_delete().bind(&Exchange::fanout("nodes"), "")).unwrap();
    let next = || {
        let ours = json!(format!("kamailio@{}", hostname("slides")));
        let mut found = None;
        wait_until(PATIENCE, || {
            found = sink.take().into_iter().find(|message| message.json()["Node"] == ours);
            found.is_some()
        });
        (Instant::now(), found.unwrap_or_else(|| panic!("no advertisement\n{}", tail(&kamailio))))
    };
    let (first_at, first) = next();
    // One that is seen late makes the next interval short.
    let (mut last, mut intervals) = (first_at, Vec::new());
    while !intervals.last().is_some_and(|interval: &Duration| (4_500..6_500).contains(&interval.as_millis())) {
        assert!(intervals.len() < 3, "{intervals:?}");
        let (now, _) = next();
        intervals.push(now - std::mem::replace(&mut last, now));
    }

    let body = first.json();
    assert_eq!((first.exchange.as_str(), first.routing_key.as_str()), ("nodes", ""));
    for (field, value) in
        [("Event-Category", json!("nodes")), ("Event-Name", json!("advertise")), ("Expires", json!(5000))]
    {
        assert_eq!(body[field], value);
    }
    assert!(body["Used-Memory"].as_u64().unwrap() > 100_000, "{body}");
    assert!(body["Registrations"].as_u64().unwrap() >= 1, "{body}");
    assert!(body["WhApps"]["kamailio"]["Startup"].as_u64().unwrap() > 1_600_000_000, "{body}");
    // It is on that exchange too; without media servers its own advertisement ends at the first `if`.
    assert_eq!(stat(&kamailio, "no_route"), 0);
    still_well(&mut kamailio);
}

#[test]
fn slides_put_advertised_media_servers_into_the_table() {
    let broker = broker();
    let mut kamailio = slides(&broker);
    let servers = ["freeswitch@10.26.0.31", "freeswitch@10.26.0.32", "freeswitch@10.26.0.33"];
    let node = json!({"Event-Category": "nodes", "Event-Name": "advertise", "Media-Servers": servers});
    publish_routed(&broker, "nodes", "", &node);
    until_logged(&kamailio, "received node 2 - freeswitch@10.26.0.33 => sip:10.26.0.33:11000");
    let list = "received nodes advertise for media servers : ";
    until_logged_in_order(
        &kamailio,
        list,
        &[r#"[ "freeswitch@10.26.0.31", "freeswitch@10.26.0.32", "freeswitch@10.26.0.33" ]"#],
    );
    let in_table = || kamailio.rpc(&["htable.dump", "media"]).unwrap_or_default();
    assert!(wait_until(PATIENCE, || in_table().contains("freeswitch@10.26.0.33")), "{}", in_table());
    for last in 31..=33 {
        assert!(in_table().contains(&format!("sip:10.26.0.{last}:11000")), "{}", in_table());
    }
    still_well(&mut kamailio);
}

#[test]
fn slides_tell_the_bus_of_a_presence_subscription() {
    let broker = broker();
    let sink = sink(&broker, "subscriptions", "dialoginfo_subs", "dialoginfo_subs");
    let mut kamailio = slides(&broker);
    let client = sip(&kamailio);
    let request = client.request("SUBSCRIBE").user("alice").header("Event", "dialog").header("Expires", "3600");
    let response = request.header("User-Agent", "Phone \"7\"").send().unwrap();
    assert_eq!((response.code, number(&response, "X-Ret")), (202, 1), "{}", tail(&kamailio));
    let body = exactly(&sink, 1)[0].json();
    let queue = format!("BLF-{}", hostname("slides"));
    for (field, value) in [
        ("Event-Category", "presence"),
        ("Event-Name", "subscription"),
        ("Event-Package", "dialog"),
        ("Expires", "3600"),
        ("Queue", queue.as_str()),
        ("Server-ID", queue.as_str()),
        ("Call-ID", response.header("Call-ID")),
        ("From", "sip:alice@rig.test"),
        ("User", "sip:alice@rig.test"),
        ("User-Agent", "Phone \"7\""),
    ] {
        assert_eq!(body[field], value, "{field} in {body}");
    }
    assert!(body["Contact"].as_str().unwrap().contains("sip:alice@127.0.0.1"), "{body}");
    still_well(&mut kamailio);
}

#[test]
fn update_on_the_bus_reaches_the_phone_that_subscribed() {
    let broker = broker();
    broker.client().delete_exchange("dialoginfo").unwrap();
    // Not a file: Kamailio's presence processes hold locks on it, and a busy machine makes them long.
    let database = Database::start(Engine::Postgres).unwrap();
    let application = sink(&broker, "blf", "dialoginfo_subs", "dialoginfo_subs");
    let builder = deployed("presence", &broker.url()).substitute("MY_DB_URL", &database.url());
    let mut kamailio = start(builder.substitute("MY_DB_DRIVER", database.driver()));
    let phone = Sipp::file(file("phone.xml")).calls(1).start(kamailio.sip_port()).unwrap();
    let subscription = exactly(&application, 1).remove(0).json();
    assert_eq!(
        (&subscription["Event-Package"], &subscription["User"]),
        (&json!("dialog"), &json!("sip:1001@rig.test"))
    );
    let update = json!({
        "Event-Category": "presence",
        "Event-Name": "update",
        "Event-Package": "dialog",
        "From": subscription["User"],
        "From-User": "1001",
        "From-Realm": "rig.test",
        "To": "sip:1002@rig.test",
        "To-User": "1002",
        "State": "early",
        "Direction": "initiator",
        "Call-ID": "5a7f",
        "Expires": 3600,
    });
    publish_routed(&broker, "dialoginfo", subscription["Queue"].as_str().unwrap(), &update);
    until_logged(&kamailio, "received dialog update for sip:1001@rig.test");
    succeeded(phone, &kamailio);
    still_well(&mut kamailio);
    kamailio.stop().unwrap();
    broker.client().delete_exchange("dialoginfo").unwrap();
}

#[test]
fn slides_redirect_a_call_to_the_switch_that_has_it() {
    let broker = broker();
    let mut kamailio = slides(&broker);
    let callee = Sipp::file(file("callee.xml")).calls(1).answer().unwrap();
    let switch = format!("sip:127.0.0.1:{}", callee.port());
    let queue = Queue::new("channels").auto_delete().bind(&Exchange::topic("callevt"), "call.status_req.#");
    let answered = switch.clone();
    let peer = Peer::start(broker.client(), queue, move |question| {
        assert_eq!(question.routing_key, "call.status_req.3848276298220188511%4010%2E26%2E0%2E7");
        assert_eq!(question.field("Call-ID"), "3848276298220188511@10.26.0.7");
        assert_eq!(question.body["Active-Only"], json!(true));
        Reply::fields(json!({"Switch-URL": answered}))
    })
    .unwrap();
    let caller = Sipp::file(file("replaces.xml")).calls(1).start(kamailio.sip_port()).unwrap();
    succeeded(caller, &kamailio);
    succeeded(callee, &kamailio);
    assert_eq!((peer.count().questions, peer.count().answers), (1, 1));
    until_logged(&kamailio, &format!("found redirecting call to {switch}, courtesy of kazoo"));
    still_well(&mut kamailio);
}

#[test]
fn slides_use_the_secondary_broker_while_the_first_is_away() {
    let broker = broker();
    let peer = directory(&broker);
    let builder = Kamailio::builder()
        .config_file(file("slides.cfg"))
        .substitute("MY_HOSTNAME", &hostname("secondary"))
        // The longer name first.
        .substitute("MY_AMQP_URL_SECONDARY", &broker.url())
        .substitute("MY_AMQP_URL", "amqp://guest:guest@127.0.0.1:1")
        .define("MY_AMQP_MAX_CHANNELS", "25");
    let mut kamailio = start(builder);
    register(&kamailio, accepted(), "alice", "secret");
    assert_eq!(peer.count().questions, 1);
    assert_eq!(stat(&kamailio, "answers"), 1);
    still_well(&mut kamailio);
}
