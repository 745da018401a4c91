//! Events end to end: from the bus into the event routes of consumer processes, and the acknowledgement back.
//!
//! Most event routes report through the log, which does not depend on publishing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use common::{
    LONG, PATIENCE, broker, complaints, exactly, kamailio, kill_manager, logged, managers, publish_queued,
    publish_routed, release, reports, stat, stats, still_well, tail, until_connected, until_consumed, until_logged,
    until_queue, until_stat,
};
use rig::{Broker, Exchange, Flood, Kamailio, Message, Queue, Signal, Sink, wait_until};
use serde_json::{Value, json};

/// Events of the module itself (reference 6.8) get routes of their own, else the last route would see them too.
const FRAME: &str = r#"
request_route { exit; }
event_route[kazoo:consumer-event-connection-open] {
    xlog("L_INFO", "CONNECTION=open $(kzE{kz.json,host}) $(kzE{kz.json,zone}) $kzRK\n");
}
event_route[kazoo:consumer-event-connection-closed] {
    xlog("L_INFO", "CONNECTION=closed $(kzE{kz.json,host}) $(kzE{kz.json,zone}) $kzRK\n");
}
"#;

fn start(name: &str, broker: &Broker, routes: &str, adjust: impl FnOnce(rig::Builder) -> rig::Builder) -> Kamailio {
    let builder = kamailio(name).broker(broker).routes(format!("{FRAME}{routes}"));
    let kamailio = adjust(builder).start().unwrap();
    until_connected(&kamailio, 1);
    until_logged(&kamailio, "CONNECTION=open");
    kamailio
}

/// `(ready, unacknowledged)` as the broker counts them.
fn held(broker: &Broker, queue: &str) -> (u64, u64) {
    broker.held(queue).unwrap()
}

fn until_held(broker: &Broker, queue: &str, expected: (u64, u64)) {
    let mut last = (0, 0);
    let reached = wait_until(PATIENCE, || {
        last = held(broker, queue);
        last == expected
    });
    assert!(reached, "ready and unacknowledged in {queue}: {last:?}, expected {expected:?}");
}

const LOOKUP: &str = r##"
event_route[kazoo:mod-init] {
    kazoo_subscribe("lookup", "topic", "lookup", "#");
}
event_route[kazoo:consumer-event-both-parts] { xlog("L_INFO", "ROUTE=both-parts $(kzE{kz.json,Id})\n"); }
event_route[kazoo:consumer-event-both] { xlog("L_INFO", "ROUTE=both $(kzE{kz.json,Id})\n"); }
event_route[kazoo:consumer-event-big-cat] { xlog("L_INFO", "ROUTE=big-cat $(kzE{kz.json,Id})\n"); }
event_route[kazoo:consumer-event-17] { xlog("L_INFO", "ROUTE=17 $(kzE{kz.json,Id})\n"); }
event_route[kazoo:consumer-event] { xlog("L_INFO", "ROUTE=last $(kzE{kz.json,Id})\n"); }
"##;

#[test]
fn first_existing_route_of_the_lookup_order_runs_alone() {
    let table = [
        (json!({"Event-Category": "both", "Event-Name": "parts"}), "both-parts"),
        (json!({"Event-Category": "BOTH", "Event-Name": "Parts"}), "both-parts"),
        (json!({"Event-Category": "both", "Event-Name": "other"}), "both"),
        (json!({"Event-Category": "both"}), "both"),
        (json!({"Event-Category": "Big_Cat"}), "big-cat"),
        (json!({"Event-Category": "Big_Cat", "Event-Name": "none"}), "big-cat"),
        (json!({"Event-Category": "both.parts", "Event-Name": ""}), "last"),
        (json!({"Event-Category": 17, "Event-Name": "n"}), "17"),
        (json!({"Event-Name": "parts"}), "last"),
        (json!({"Event-Category": "unknown", "Event-Name": "parts"}), "last"),
        (json!({}), "last"),
    ];
    let broker = broker();
    let kamailio = start("lookup", &broker, LOOKUP, |builder| builder.modparam_int("amqp_consumer_processes", 1));
    until_queue(&broker, "lookup");
    let bodies = table.iter().enumerate().map(|(id, (event, _))| {
        let mut event = event.clone();
        event["Id"] = json!(id);
        event.to_string()
    });
    publish_queued(&broker, "lookup", bodies);
    // One consumer: in order, each exactly once.
    let expected: Vec<_> = table.iter().enumerate().map(|(id, (_, route))| format!("{route} {id}")).collect();
    assert_eq!(reports(&kamailio, "ROUTE=", table.len()), expected);
}

#[test]
fn routes_named_after_the_keys_come_before_the_last_one() {
    let routes = r##"
        event_route[kazoo:mod-init] { kazoo_subscribe("named", "topic", "named", "#"); }
        event_route[kazoo:consumer-event-event-category-event-name] { xlog("L_INFO", "ROUTE=both keys\n"); }
        event_route[kazoo:consumer-event] { xlog("L_INFO", "ROUTE=last\n"); }
    "##;
    let broker = broker();
    let kamailio = start("named", &broker, routes, |builder| builder);
    until_queue(&broker, "named");
    publish_queued(&broker, "named", [r#"{"Event-Category":"x","Event-Name":"y"}"#]);
    assert_eq!(reports(&kamailio, "ROUTE=", 1), ["both keys"]);
}

#[test]
fn event_without_any_route_is_logged_and_acknowledged() {
    let routes = r##"
        event_route[kazoo:mod-init] { kazoo_subscribe("{'exchange':'noroute','type':'topic','queue':'noroute',
            'routing':'#','no_ack':0,'wait_for_consumer_ack':1}"); }
        event_route[kazoo:consumer-event-known] { xlog("L_INFO", "ROUTE=known\n"); }
    "##;
    let broker = broker();
    let mut kamailio = start("noroute", &broker, routes, |builder| builder);
    until_queue(&broker, "noroute");
    publish_queued(&broker, "noroute", [r#"{"Event-Category":"who"}"#, r#"{"Event-Category":"known"}"#]);
    assert_eq!(reports(&kamailio, "ROUTE=", 1), ["known"]);
    until_stat(&kamailio, "no_route", 1);
    until_held(&broker, "noroute", (0, 0));
    assert!(!complaints(&kamailio).is_empty(), "{}", tail(&kamailio));
    still_well(&mut kamailio);
}

#[test]
fn own_event_keys_of_a_subscription_replace_the_global_ones() {
    let routes = r##"
        event_route[kazoo:mod-init] {
            kazoo_subscribe("{'exchange':'own','type':'topic','queue':'own','routing':'own.#',
                'event_key':'Kind','event_subkey':'Detail'}");
            kazoo_subscribe("global", "topic", "global", "#");
        }
        event_route[kazoo:consumer-event-a-b] { xlog("L_INFO", "ROUTE=a-b $kzRK\n"); }
        event_route[kazoo:consumer-event-kind-detail] { xlog("L_INFO", "ROUTE=kind-detail $kzRK\n"); }
        event_route[kazoo:consumer-event-g-h] { xlog("L_INFO", "ROUTE=g-h $kzRK\n"); }
        event_route[kazoo:consumer-event] { xlog("L_INFO", "ROUTE=last $kzRK\n"); }
    "##;
    let broker = broker();
    let kamailio = start("own", &broker, routes, |builder| {
        builder
            .modparam("amqp_consumer_event_key", "Group")
            .modparam("amqp_consumer_event_subkey", "Hint")
            .modparam_int("amqp_consumer_processes", 1)
    });
    publish_routed(&broker, "own", "own.1", r#"{"Kind":"A","Detail":"B","Group":"g","Hint":"h"}"#);
    publish_routed(&broker, "global", "2", r#"{"Kind":"A","Detail":"B","Group":"g","Hint":"h"}"#);
    // Reference 7.2: a missing field of a subscription's own key stands for itself.
    publish_routed(&broker, "own", "own.3", r#"{"Group":"g","Hint":"h"}"#);
    publish_routed(&broker, "global", "4", r#"{"Kind":"A"}"#);
    // Two queues, two channels: no order between them.
    let mut seen = reports(&kamailio, "ROUTE=", 4);
    seen.sort();
    assert_eq!(seen, ["a-b own.1", "g-h 2", "kind-detail own.3", "last 4"]);
}

#[test]
fn json_subscription_binds_every_key_with_the_flags_given() {
    let routes = r##"
        event_route[kazoo:mod-init] {
            $var(payload) = '{"exchange":"flags","type":"direct","queue":"flags","routing":["one","two"],"durable":1,
                "auto_delete":0,"no_ack":0}';
            kazoo_subscribe("$var(payload)");
            kazoo_subscribe("plain", "fanout", "plain", "");
            kazoo_subscribe('{"exchange":"brokernamed","type":"topic","queue":"","routing":"#","exclusive":"1"}');
        }
        event_route[kazoo:consumer-event] { xlog("L_INFO", "ROUTE=$kzRK $(kzE{kz.json,Id})\n"); }
    "##;
    let broker = broker();
    let kamailio = start("flags", &broker, routes, |builder| builder.modparam_int("amqp_consumer_processes", 1));
    let sent = [("flags", "one"), ("flags", "two"), ("plain", "any"), ("brokernamed", "x.y")];
    for (exchange, key) in sent {
        publish_routed(&broker, exchange, key, &format!("{{\"Id\":\"{exchange}\"}}"));
    }
    let expected: BTreeSet<_> = sent.iter().map(|(exchange, key)| format!("{key} {exchange}")).collect();
    assert_eq!(reports(&kamailio, "ROUTE=", sent.len()).into_iter().collect::<BTreeSet<_>>(), expected);

    let queues = broker.ctl(&["list_queues", "name", "durable", "auto_delete", "exclusive"]).unwrap();
    let of = |queue: &str| {
        let row = queues.lines().map(|line| line.split('\t').collect::<Vec<_>>()).find(|row| row[0] == queue);
        row.unwrap_or_else(|| panic!("no {queue} in {queues}"))[1..].iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(of("flags"), ["true", "false", "false"]);
    assert_eq!(of("plain"), ["false", "true", "false"]);
    let exchanges = broker.ctl(&["list_exchanges", "name", "type", "durable", "auto_delete"]).unwrap();
    for row in ["flags\tdirect\ttrue\tfalse", "plain\tfanout\tfalse\tfalse"] {
        assert!(exchanges.contains(row), "{row:?} in {exchanges}");
    }
}

#[test]
fn variables_show_payload_and_key_during_the_route_only() {
    let routes = r##"
        event_route[kazoo:mod-init] { kazoo_subscribe("edits", "topic", "edits", "#"); }
        event_route[kazoo:consumer-event] {
            kazoo_publish("seen", "[$kzRK] $rm $ru", $kzE);
        }
        route[OUTSIDE] { xlog("L_INFO", "OUTSIDE=$kzE $kzRK $kzR\n"); }
    "##;
    let broker = broker();
    let sink = common::sink(&broker, "seen", "seen", "#");
    let kamailio = kamailio("edits")
        .broker(&broker)
        .modparam_int("amqp_consumer_processes", 1)
        .modparam("amqp_primary_zone", "north")
        .routes(FRAME.replace("exit;", "route(OUTSIDE); sl_send_reply(\"200\", \"OK\"); exit;") + routes)
        .start()
        .unwrap();
    let sent = r#"{"Server-ID":"answer.here","List":[1,2],"Text":"a/b","AMQP-Broker-Zone":"lies","Msg-ID":"m"}"#;
    publish_routed(&broker, "edits", "key.1", sent);
    publish_routed(&broker, "edits", "", r#"{"Server-ID":"","A":1.50}"#);
    let messages = exactly(&sink, 2);

    assert!(messages[0].routing_key.starts_with("[key.1] OPTIONS sip:"), "{}", messages[0].routing_key);
    let event = messages[0].json();
    assert_eq!((&event["List"], &event["Text"], &event["Msg-ID"]), (&json!([1, 2]), &json!("a/b"), &json!("m")));
    assert_eq!(event["AMQP-Broker-Zone"], "north");
    let received = event["AMQP-Received"].as_i64().unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    assert!((now - 60..=now).contains(&received), "{received}, now {now}");
    assert_eq!(event["Server-ID"], "consumer://1/answer.here");
    let order: Vec<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = ["List", "Text", "AMQP-Broker-Zone", "Msg-ID", "AMQP-Received", "Server-ID"];
    assert_eq!(order[..6], expected, "reference 6.4; App-Name and the others follow");

    assert!(messages[1].routing_key.starts_with("[] "), "an empty key is an empty text: {}", messages[1].routing_key);
    assert_eq!(messages[1].json()["A"].to_string(), "1.50", "numbers keep their text");
    // The empty Server-ID was removed; publishing onward put our own in.
    assert!(messages[1].json()["Server-ID"].as_str().unwrap().starts_with("kamailio@"), "{}", messages[1].json());

    common::sip(&kamailio).request("OPTIONS").send().unwrap();
    assert_eq!(reports(&kamailio, "OUTSIDE=", 1), ["<null> <null> <null>"]);
}

#[test]
fn connection_events_tell_host_and_zone() {
    let broker = broker();
    let kamailio = start("connection", &broker, "", |builder| builder.modparam("amqp_primary_zone", "north"));
    assert_eq!(reports(&kamailio, "CONNECTION=", 1), ["open 127.0.0.1 north <null>"]);
    broker.close_connections().unwrap();
    let expected = ["open", "closed", "open"].map(|what| format!("{what} 127.0.0.1 north <null>"));
    assert_eq!(reports(&kamailio, "CONNECTION=", 3), expected);
}

#[test]
fn answer_to_a_consumed_server_id_returns_to_its_sender() {
    let routes = r##"
        event_route[kazoo:mod-init] { kazoo_subscribe("asked", "topic", "asked", "#"); }
        event_route[kazoo:consumer-event] {
            $var(to) = $(kzE{kz.json,Server-ID});
            kazoo_publish("answers", "$var(to)", '{"Answer":42}');
        }
    "##;
    let broker = broker();
    let sink = common::sink(&broker, "answers", "answers", "app.reply.7");
    let _kamailio = start("asked", &broker, routes, |builder| builder);
    publish_routed(&broker, "asked", "q", r#"{"Server-ID":"app.reply.7"}"#);
    assert_eq!(exactly(&sink, 1)[0].json()["Answer"], 42);
}

fn number_routes(options: &str) -> String {
    format!(
        r#"
        event_route[kazoo:mod-init] {{
            kazoo_subscribe("{{'exchange':'numbers','type':'topic','queue':'numbers','routing':'#',
                'durable':1,'auto_delete':0,{options}}}");
        }}
        event_route[kazoo:consumer-event] {{ xlog("L_INFO", "NUMBER=$(kzE{{kz.json,Number}}) $pp\n"); }}
        "#
    )
}

/// The reports of [`number_routes`]: numbers in order of the log, and how many each process had.
fn numbers(kamailio: &Kamailio) -> (Vec<u64>, BTreeMap<String, usize>) {
    let mut by_process = BTreeMap::new();
    let parse = |line: String| {
        let (number, process) = line.split_once(' ').unwrap();
        *by_process.entry(process.to_string()).or_default() += 1;
        number.parse().unwrap()
    };
    (logged(kamailio, "NUMBER=").into_iter().map(parse).collect(), by_process)
}

/// Waits until `count` numbers were reported.
fn until_numbers(kamailio: &Kamailio, count: u64) -> (Vec<u64>, BTreeMap<String, usize>) {
    let came = wait_until(PATIENCE, || kamailio.log_lines("NUMBER=").len() as u64 >= count);
    assert!(came, "{count} numbers expected: {:?}\n{}", stats(kamailio), tail(kamailio));
    numbers(kamailio)
}

#[test]
fn order_is_kept_when_the_broker_hands_out_fewer_or_more_ahead() {
    let broker = broker();
    let options = "'no_ack':0,'wait_for_consumer_ack':1";
    let adjust = |builder: rig::Builder| builder.modparam_int("amqp_consumer_processes", 1);
    let mut kamailio = start("sizes", &broker, &number_routes(options), adjust);
    until_queue(&broker, "numbers");
    // As many of 200 kB as let the number fall to what fits, and as many small ones as let it rise again; twice.
    let sizes = [(300, 10), (100, 200_000)].repeat(2).into_iter().chain([(300, 10)]);
    let sizes: Vec<usize> = sizes.flat_map(|(count, size)| vec![size; count]).collect();
    let body = |(number, size): (usize, &usize)| format!("{{\"Number\":{number},\"Fill\":\"{}\"}}", "x".repeat(*size));
    publish_queued(&broker, "numbers", sizes.iter().enumerate().map(body));
    let (seen, _) = until_numbers(&kamailio, sizes.len() as u64);
    assert!(seen == (0..sizes.len() as u64).collect::<Vec<_>>(), "{seen:?}");
    assert!(wait_until(PATIENCE, || held(&broker, "numbers") == (0, 0)));
    let consumers = broker.ctl(&["list_consumers", "queue_name"]).unwrap();
    assert_eq!(consumers.lines().filter(|queue| *queue == "numbers").count(), 1, "{consumers}");
    still_well(&mut kamailio);
}

fn consume_100_000(name: &str, options: &str) {
    const COUNT: u64 = 100_000;
    let broker = broker();
    let adjust = |builder: rig::Builder| builder.modparam_int("amqp_consumer_processes", 4);
    let mut kamailio = start(name, &broker, &number_routes(options), adjust);
    until_queue(&broker, "numbers");
    let before = stat(&kamailio, "consumed");
    let flood = Flood::start(broker.client(), COUNT, 0, |number| {
        Message::new("numbers", "n", format!("{{\"Event-Category\":\"load\",\"Number\":{number}}}"))
    })
    .unwrap();
    flood.wait(LONG).unwrap();
    let handled = wait_until(LONG, || stat(&kamailio, "handled") >= COUNT);
    assert!(handled, "{:?}\n{}", stats(&kamailio), tail(&kamailio));
    until_held(&broker, "numbers", (0, 0));
    // The log has what the event routes did, whatever the counters say.
    let (mut seen, by_process) = until_numbers(&kamailio, COUNT);
    println!("{by_process:?}, {:?}", stats(&kamailio));
    seen.sort_unstable();
    assert!(seen == (0..COUNT).collect::<Vec<_>>(), "not exactly once: {} reports", seen.len());
    assert_eq!(by_process.len(), 4, "round robin over four processes: {by_process:?}");
    let (least, most) = (by_process.values().min().unwrap(), by_process.values().max().unwrap());
    assert!(least * 2 > *most, "round robin: {by_process:?}");
    assert_eq!((stat(&kamailio, "redelivered"), stat(&kamailio, "consumed")), (0, before + COUNT));
    still_well(&mut kamailio);
}

#[test]
fn events_are_consumed_exactly_once_without_acknowledgement() {
    consume_100_000("noack", "'no_ack':1");
}

#[test]
fn events_are_consumed_exactly_once_with_acknowledgement_after_the_route() {
    consume_100_000("acked", "'no_ack':0,'wait_for_consumer_ack':1");
}

fn slow_routes(queue: &str, wait: u32) -> String {
    format!(
        r#"
        event_route[kazoo:mod-init] {{
            kazoo_subscribe("{{'exchange':'{queue}','type':'topic','queue':'{queue}','routing':'#','durable':1,
                'auto_delete':0,'no_ack':0,'wait_for_consumer_ack':{wait}}}");
        }}
        event_route[kazoo:consumer-event] {{
            xlog("L_INFO", "SLOW=begin $(kzE{{kz.json,Id}})\n");
            while ($shv(released) == 0) {{ usleep("10000"); }}
            xlog("L_INFO", "SLOW=end $(kzE{{kz.json,Id}})\n");
        }}
        "#
    )
}

/// A Kamailio whose event routes last until [`release`]: `rabbitmqctl` takes seconds on a busy machine.
fn start_slow(name: &str, broker: &Broker, wait: u32, adjust: impl FnOnce(rig::Builder) -> rig::Builder) -> Kamailio {
    let patient = |builder: rig::Builder| adjust(builder.line("max_while_loops=100000"));
    let kamailio = start(name, broker, &slow_routes(name, wait), patient);
    until_queue(broker, name);
    kamailio
}

#[test]
fn message_is_acknowledged_after_the_route_ended_when_asked_for() {
    let broker = broker();
    let kamailio = start_slow("slow1", &broker, 1, |builder| builder);
    publish_queued(&broker, "slow1", [r#"{"Id":1}"#]);
    until_logged(&kamailio, "SLOW=begin");
    assert_eq!(held(&broker, "slow1"), (0, 1), "ready and unacknowledged while the route runs");
    release(&kamailio);
    until_logged(&kamailio, "SLOW=end");
    until_held(&broker, "slow1", (0, 0));
}

#[test]
fn message_is_acknowledged_on_receipt_otherwise() {
    let broker = broker();
    let kamailio = start_slow("slow0", &broker, 0, |builder| builder);
    publish_queued(&broker, "slow0", [r#"{"Id":1}"#]);
    until_logged(&kamailio, "SLOW=begin");
    until_held(&broker, "slow0", (0, 0));
    assert_eq!(logged(&kamailio, "SLOW=end").len(), 0, "the route still runs");
    release(&kamailio);
    until_logged(&kamailio, "SLOW=end");
}

#[test]
fn broker_hands_out_no_more_than_the_prefetch() {
    let broker = broker();
    let kamailio = start_slow("prefetch", &broker, 1, |builder| {
        builder.modparam_int("amqp_prefetch", 7).modparam_int("amqp_consumer_processes", 2)
    });
    publish_queued(&broker, "prefetch", (0..50).map(|id| format!("{{\"Id\":{id}}}")));
    // One at a time in each process, and the second process has work while the first is busy.
    assert!(wait_until(PATIENCE, || logged(&kamailio, "SLOW=begin").len() >= 2), "{}", tail(&kamailio));
    until_held(&broker, "prefetch", (43, 7));
    broker.purge("prefetch").unwrap();
    assert_eq!((logged(&kamailio, "SLOW=begin").len(), logged(&kamailio, "SLOW=end").len()), (2, 0));
}

#[test]
fn message_of_a_consumer_that_died_is_delivered_again() {
    let broker = broker();
    let mut first = start_slow("died", &broker, 1, |builder| builder);
    publish_queued(&broker, "died", [r#"{"Id":1}"#]);
    kill_writer(&mut first, "SLOW=begin");
    until_held(&broker, "died", (1, 0));
    drop(first);
    let second = start_slow("died", &broker, 1, |builder| builder);
    release(&second);
    until_logged(&second, "SLOW=end 1");
    assert_eq!(stat(&second, "redelivered"), 1);
    until_held(&broker, "died", (0, 0));
}

/// The structures of `kazoo.status`, each member on a line of its own.
fn status_blocks(kamailio: &Kamailio) -> Vec<String> {
    let text = kamailio.rpc(&["kazoo.status"]).unwrap();
    text.split('}').map(|block| block.trim_matches(['{', ' ', '\n', '\t', '\r']).to_string()).collect()
}

#[test]
fn status_tells_how_brokers_and_subscriptions_stand() {
    let routes = r##"
        event_route[kazoo:mod-init] {
            kazoo_subscribe("{'exchange':'status','type':'topic','queue':'','routing':'#','exclusive':1}");
            kazoo_subscribe("{'exchange':'status','type':'topic','queue':'status-taken','routing':'#'}");
        }
    "##;
    let broker = broker();
    broker.declare_queue(&Queue::new("status-taken").durable()).unwrap();
    let mut kamailio = start("status", &broker, routes, |builder| {
        builder.line(r#"modparam("kazoo", "amqp_connection", "zone=far;amqp://nobody:secret@127.0.0.1:1/else")"#)
    });
    let has = |blocks: &[String], parts: &[&str]| blocks.iter().any(|b| parts.iter().all(|part| b.contains(part)));
    let expected: [&[&str]; 5] = [
        &["primary_zone: up", "manager_starts: 1", "manager_silent_ms: "],
        &["broker: 2", "zone: local", "state: up"],
        &["broker: 1", "zone: far", "port: 1\n", "vhost: else", "last_error: ", "refused"],
        &["queue: amq.gen-", "exchange: status", "on_broker: 2", "state: consuming"],
        &["queue: status-taken", "state: refused", "reason: 406 PRECONDITION_FAILED"],
    ];
    let mut blocks = Vec::new();
    let shown = wait_until(PATIENCE, || {
        blocks = status_blocks(&kamailio);
        expected.iter().all(|parts| has(&blocks, parts))
    });
    assert!(shown, "{blocks:#?}");
    assert!(!blocks.iter().any(|block| block.contains("secret")), "{blocks:#?}");

    // A new manager makes the table anew.
    kill_manager(&kamailio);
    let shown = wait_until(PATIENCE, || {
        blocks = status_blocks(&kamailio);
        expected[1..].iter().all(|parts| has(&blocks, parts)) && has(&blocks, &["manager_starts: 2"])
    });
    assert!(shown, "{blocks:#?}");
    // Each counter is a statistic too, for whatever exports those.
    let statistics = kamailio.rpc(&["stats.get_statistics", "kazoo:"]).unwrap();
    let names = stats(&kamailio).into_keys();
    let missing: Vec<_> = names.filter(|name| !statistics.contains(&format!("kazoo:{name} = "))).collect();
    assert_eq!(missing, Vec::<String>::new(), "{statistics}");
    still_well(&mut kamailio);
}

/// Kills the process that wrote the first line with `part`.
fn kill_writer(kamailio: &mut Kamailio, part: &str) {
    until_logged(kamailio, part);
    let line = &kamailio.log_lines(part)[0];
    let pid = line.split_once('(').unwrap().1.split_once(')').unwrap().0.parse().unwrap();
    kamailio.signal(pid, Signal::SIGKILL).unwrap();
    assert!(wait_until(PATIENCE, || !kamailio.is_running()), "Kamailio stops as for any process that died");
}

#[test]
fn message_that_kills_consumer_after_consumer_is_given_up_and_no_other() {
    const LIMIT: u64 = 2;
    let routes = r##"
        event_route[kazoo:mod-init] {
            kazoo_subscribe("{'exchange':'poison','type':'topic','queue':'poison','queue-def':{'passive':1},'routing':'#',
                'no_ack':0,'wait_for_consumer_ack':1}");
        }
        event_route[kazoo:consumer-event-deadly] { xlog("L_INFO", "DEADLY=begin\n"); usleep("60000000"); }
        event_route[kazoo:consumer-event] { usleep("20000"); xlog("L_INFO", "HANDLED=$(kzE{kz.json,Id})\n"); }
    "##;
    let broker = broker();
    let queue = Queue::new("poison").quorum().dead_letters("poison-dead");
    broker.declare_queue(&Queue::new("poison-dead").durable()).unwrap();
    broker.declare_queue(&queue).unwrap();
    let innocent = (0..10).map(|id| format!("{{\"Id\":{id}}}"));
    let deadly = r#"{"Event-Category":"deadly","Id":"deadly"}"#.to_string();
    publish_queued(&broker, "poison", [deadly].into_iter().chain(innocent));
    let mut handled = Vec::new();
    let mut run = |and_die: bool| {
        let mut kamailio = start("poison", &broker, routes, |builder| {
            builder.modparam_int("amqp_max_redeliveries", LIMIT as i64).modparam_int("amqp_consumer_processes", 1)
        });
        if and_die {
            kill_writer(&mut kamailio, "DEADLY=begin");
        } else {
            reports(&kamailio, "HANDLED=", 10);
            until_held(&broker, "poison", (0, 0));
            assert_eq!((stat(&kamailio, "given_up"), stat(&kamailio, "redelivered")), (1, 10), "{}", tail(&kamailio));
            assert!(complaints(&kamailio).iter().any(|line| line.contains("given up after 3 redeliveries")));
        }
        handled.extend(logged(&kamailio, "HANDLED="));
    };
    // The first delivery, and as many redeliveries as are allowed.
    (0..=LIMIT).for_each(|_| run(true));
    run(false);
    assert_eq!(handled, (0..10).map(|id| id.to_string()).collect::<Vec<_>>(), "each once, none before its turn");
    let dead = Sink::start(broker.client(), Queue::new("poison-dead").durable()).unwrap();
    assert_eq!(exactly(&dead, 1)[0].json()["Id"], "deadly");
}

/// One AMQP connection without a client library: those refuse to send what is not UTF-8.
struct Wire(TcpStream);

impl Wire {
    fn open(broker: &Broker) -> Self {
        let mut wire = Self(TcpStream::connect(("127.0.0.1", broker.port())).unwrap());
        wire.0.set_read_timeout(Some(PATIENCE)).unwrap();
        wire.0.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
        wire.read();
        wire.method(0, 10, 11, b"\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US");
        wire.read();
        wire.send(1, 0, &[0, 10, 0, 31, 0, 10, 0, 2, 0, 0, 0, 0]);
        wire.method(0, 10, 40, b"\x01/\0\0");
        wire.read();
        wire.method(1, 20, 10, b"\0");
        wire.read();
        wire.method(1, 85, 10, b"\0");
        wire.read();
        wire
    }

    /// Publishes into `queue` a persistent message whose content type is no text; returns when the broker has it.
    fn publish_unreadable(&mut self, queue: &str) {
        self.publish(queue, &[0x90, 0, 2, 0xff, 0xfe, 2], b"{}");
    }

    /// Publishes into `queue` a persistent message with this table of headers; returns when the broker has it.
    fn publish_with_headers(&mut self, queue: &str, table: &[u8], body: &[u8]) {
        let len = u32::try_from(table.len()).unwrap().to_be_bytes();
        self.publish(queue, &[&[0x30, 0], &len[..], table, &[2]].concat(), body);
    }

    fn publish(&mut self, queue: &str, properties: &[u8], body: &[u8]) {
        let to = [&[0, 0, 0, u8::try_from(queue.len()).unwrap()], queue.as_bytes(), &[0]].concat();
        self.method(1, 60, 40, &to);
        let size = u64::try_from(body.len()).unwrap().to_be_bytes();
        self.send(2, 1, &[&[0, 60, 0, 0], &size[..], properties].concat());
        self.send(3, 1, body);
        self.read();
    }

    fn method(&mut self, channel: u8, class: u8, method: u8, arguments: &[u8]) {
        self.send(1, channel, &[&[0, class, 0, method], arguments].concat());
    }

    fn send(&mut self, kind: u8, channel: u8, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        self.0.write_all(&[&[kind, 0, channel], &len[..], payload, &[0xce]].concat()).unwrap();
    }

    fn read(&mut self) {
        let mut head = [0; 7];
        self.0.read_exact(&mut head).unwrap();
        let len = u32::from_be_bytes(head[3..].try_into().unwrap()) as usize;
        self.0.read_exact(&mut vec![0; len + 1]).unwrap();
    }
}

#[test]
fn message_that_no_connection_survives_is_removed_and_the_others_are_handled() {
    let routes = r##"
        event_route[kazoo:mod-init] {
            kazoo_subscribe("{'exchange':'unreadable','type':'topic','queue':'unreadable','routing':'#','durable':1,
                'auto_delete':0,'no_ack':0,'wait_for_consumer_ack':1}");
        }
        event_route[kazoo:consumer-event] { xlog("L_INFO", "HANDLED=$(kzE{kz.json,Id})\n"); }
    "##;
    let broker = broker();
    broker.declare_queue(&Queue::new("unreadable").durable()).unwrap();
    let mut wire = Wire::open(&broker);
    for id in 0..3 {
        publish_queued(&broker, "unreadable", [format!("{{\"Id\":{id}}}")]);
        wire.publish_unreadable("unreadable");
    }
    let mut kamailio =
        start("unreadable", &broker, routes, |builder| builder.modparam_int("amqp_reconnect_max_ms", 500));
    until_stat(&kamailio, "unreadable", 3);
    publish_queued(&broker, "unreadable", [r#"{"Id":3}"#]);
    until_logged(&kamailio, "HANDLED=3");
    until_held(&broker, "unreadable", (0, 0));
    let handled: BTreeSet<_> = logged(&kamailio, "HANDLED=").into_iter().collect();
    assert_eq!(handled, ["0", "1", "2", "3"].map(str::to_string).into());
    assert_eq!(stat(&kamailio, "unreadable"), 3);
    assert_eq!(kamailio.log_lines("was removed from queue \"unreadable\"").len(), 3);
    still_well(&mut kamailio);
}

/// Tables or arrays in each other, as deep as one frame can hold.
fn nested(kind: u8, head: &[u8]) -> Vec<u8> {
    const FRAME: usize = 130_000;
    let step = head.len() + 5;
    let level =
        |i: usize| [head, &[kind], &u32::try_from(FRAME / step * step - i * step).unwrap().to_be_bytes()].concat();
    let inside = (1..=FRAME / step).flat_map(level).collect::<Vec<u8>>();
    // The outermost is an entry of the table of headers.
    [&[1, b'n', kind][..], &u32::try_from(inside.len()).unwrap().to_be_bytes(), &inside].concat()
}

#[test]
fn headers_of_every_type_and_depth_are_survived() {
    let routes = r##"
        event_route[kazoo:mod-init] {
            kazoo_subscribe("{'exchange':'headers','type':'topic','queue':'headers','routing':'#','durable':1,
                'auto_delete':0,'no_ack':0,'wait_for_consumer_ack':1}");
        }
        event_route[kazoo:consumer-event] { xlog("L_INFO", "HANDLED=$(kzE{kz.json,Id})\n"); }
    "##;
    let broker = broker();
    broker.declare_queue(&Queue::new("headers").durable()).unwrap();
    let mut wire = Wire::open(&broker);
    let values: [&[u8]; 17] = [
        b"t\x01",
        b"b\xff",
        b"B\xff",
        b"s\xff\xff",
        b"u\xff\xff",
        b"I\xff\0\0\0",
        b"i\xff\0\0\0",
        b"l\xff\0\0\0\0\0\0\0",
        b"f\x3f\xc0\0\0",
        b"d\x3f\xf8\0\0\0\0\0\0",
        b"D\xff\xff\xff\xff\xff",
        b"S\0\0\0\0",
        b"A\0\0\0\0",
        b"T\xff\xff\xff\xff\xff\xff\xff\xff",
        b"F\0\0\0\0",
        b"V",
        b"x\0\0\0\x02\xff\xfe",
    ];
    let name = [&[255][..], &[b'n'; 255]].concat();
    let mut tables: Vec<Vec<u8>> = values.iter().map(|value| [&name, *value].concat()).collect();
    tables.push(Vec::new());
    tables.push(
        (0..4_000).flat_map(|n: u32| [&[4][..], &n.to_be_bytes().map(|b| b'a' + b % 26), b"V"].concat()).collect(),
    );
    tables.push(nested(b'A', b""));
    tables.push(nested(b'F', &[1, b'n']));
    for (id, table) in tables.iter().enumerate() {
        wire.publish_with_headers("headers", table, format!("{{\"Id\":{id}}}").as_bytes());
    }
    let mut kamailio = start("headers", &broker, routes, |builder| builder);
    until_held(&broker, "headers", (0, 0));
    let handled: BTreeSet<usize> = logged(&kamailio, "HANDLED=").iter().map(|id| id.parse().unwrap()).collect();
    println!("{handled:?} {:?}", stats(&kamailio));
    assert_eq!(handled, (0..tables.len()).collect());
    assert_eq!((stat(&kamailio, "manager_starts"), stat(&kamailio, "disconnects")), (1, 0), "{}", tail(&kamailio));
    still_well(&mut kamailio);
}

const HOSTILE: &str = r##"
event_route[kazoo:mod-init] {
    kazoo_subscribe("{'exchange':'hostile','type':'topic','queue':'hostile','routing':'#','no_ack':0,
        'wait_for_consumer_ack':1}");
}
event_route[kazoo:consumer-event-good] { xlog("L_INFO", "GOOD=$(kzE{kz.json,Id})\n"); }
event_route[kazoo:consumer-event] {
    xlog("L_INFO", "OTHER=$(kzE{kz.json,Id}) server id $(kzE{kz.json,Server-ID}{s.len})\n");
}
"##;

/// Bodies that are no JSON object.
fn not_json() -> Vec<Vec<u8>> {
    let deep = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth)).into_bytes();
    vec![
        vec![],
        b"\0\x01\xff\xfe\x80 binary".to_vec(),
        b"not json".to_vec(),
        b"[1,2,3]".to_vec(),
        b"42".to_vec(),
        b"\"text\"".to_vec(),
        b"null".to_vec(),
        b"{\"open\":".to_vec(),
        b"\xef\xbb\xbf{\"Id\":\"bom\"}".to_vec(),
        deep(32),
        deep(1000),
        deep(100_000),
        vec![b'{'; 1 << 20],
    ]
}

#[test]
fn hostile_messages_are_counted_logged_and_acknowledged() {
    let broker = broker();
    let mut kamailio = start("hostile", &broker, HOSTILE, |builder| builder.modparam_int("amqp_consumer_processes", 1));
    until_queue(&broker, "hostile");
    let bad = not_json();
    publish_queued(&broker, "hostile", bad.clone());
    publish_queued(&broker, "hostile", [r#"{"Event-Category":"good","Id":1}"#]);
    assert_eq!(reports(&kamailio, "GOOD=", 1), ["1"]);
    until_stat(&kamailio, "not_json", bad.len() as u64);
    assert_eq!(stat(&kamailio, "not_json"), bad.len() as u64);
    until_held(&broker, "hostile", (0, 0));
    let lines = complaints(&kamailio);
    assert!(!lines.is_empty() && lines.len() <= bad.len(), "logged, not more than once each: {lines:#?}");
    assert!(lines.iter().all(|line| line.len() < 500), "no payload in the log: {lines:#?}");

    // JSON objects whose fields are out of the ordinary.
    let odd = [
        json!({"Event-Category": "c".repeat(600), "Event-Name": "n".repeat(600), "Id": 0}),
        json!({"Event-Category": "c".repeat(5000), "Event-Name": "n".repeat(5000), "Id": 1}),
        json!({"Event-Category": {"a": [1]}, "Event-Name": [], "Id": 2}),
        json!({"Event-Category": "\u{0}\n%s%n$var(x)", "Event-Name": "é", "Id": 3}),
        json!({"Server-ID": "s".repeat(1000), "Id": 4}),
        json!({"Server-ID": {"a": 1}, "Msg-ID": {"b": 2}, "Id": 5}),
        json!({"Msg-ID": null, "Event-Name": null, "Id": 6}),
    ];
    publish_queued(&broker, "hostile", odd.iter().map(Value::to_string));
    let seen = reports(&kamailio, "OTHER=", odd.len());
    let ids: Vec<_> = seen.iter().map(|line| line.split(' ').next().unwrap().to_string()).collect();
    assert_eq!(ids, ["0", "1", "2", "3", "4", "5", "6"]);
    assert_eq!(seen[4], format!("4 server id {}", "consumer://1/".len() + 1000));
    publish_queued(&broker, "hostile", [b"{\"Event-Category\":\"good\",\"Id\":\"\x80\xff\"} trailing \0".to_vec()]);
    assert_eq!(reports(&kamailio, "GOOD=", 2).len(), 2, "bytes that are no UTF-8 and text after the value");
    until_held(&broker, "hostile", (0, 0));
    still_well(&mut kamailio);
}

#[test]
fn a_flood_of_messages_without_json_is_logged_sparingly() {
    const COUNT: usize = 20_000;
    let broker = broker();
    let mut kamailio = start("storm", &broker, &HOSTILE.replace("hostile", "storm"), |builder| builder);
    until_queue(&broker, "storm");
    publish_queued(&broker, "storm", vec!["no json"; COUNT]);
    until_stat(&kamailio, "not_json", COUNT as u64);
    let lines = complaints(&kamailio).len();
    assert!((1..COUNT / 100).contains(&lines), "{lines} log lines for {COUNT} messages");
    until_held(&broker, "storm", (0, 0));
    still_well(&mut kamailio);
}

#[test]
fn large_messages_are_consumed_whole_and_oversized_ones_refused() {
    let routes = r##"
        event_route[kazoo:mod-init] {
            kazoo_subscribe("{'exchange':'large','type':'topic','queue':'large','routing':'#','no_ack':0,
                'wait_for_consumer_ack':1}");
        }
        event_route[kazoo:consumer-event] {
            xlog("L_INFO", "LARGE=$(kzE{kz.json,Id}) $(kzE{kz.json,Fill}{s.len}) $(kzE{kz.json,Last})\n");
        }
    "##;
    let broker = broker();
    let mut kamailio = start("large", &broker, routes, |builder| {
        builder
            .memory(64, 128)
            .modparam_int("amqp_delivery_ring_kb", 32)
            .modparam_int("amqp_max_message_size", 12 << 20)
    });
    until_queue(&broker, "large");
    let body = |id: usize, size: usize| format!("{{\"Id\":{id},\"Fill\":\"{}\",\"Last\":true}}", "x".repeat(size));
    let sizes = [1, 1_000, 20_000, 1_000_000, 10_000_000, 0, 11_000_000];
    publish_queued(&broker, "large", sizes.iter().enumerate().map(|(id, size)| body(id, *size)));
    let seen: BTreeSet<_> = reports(&kamailio, "LARGE=", sizes.len()).into_iter().collect();
    let expected = sizes.iter().enumerate().map(|(id, size)| format!("{id} {size} true")).collect();
    assert_eq!(seen, expected);

    publish_queued(&broker, "large", [body(90, 13 << 20), body(91, 10)]);
    until_logged(&kamailio, "LARGE=91 10 true");
    until_stat(&kamailio, "oversized", 1);
    let lines = complaints(&kamailio);
    assert!(lines.iter().any(|line| line.contains(&(12 << 20).to_string())), "the limit is named: {lines:#?}");
    until_held(&broker, "large", (0, 0));
    still_well(&mut kamailio);
}

#[test]
fn event_larger_than_private_memory_is_survived() {
    let routes = r##"
        event_route[kazoo:mod-init] { kazoo_subscribe("{'exchange':'huge','type':'topic','queue':'huge',
            'routing':'#','no_ack':0,'wait_for_consumer_ack':1}"); }
        event_route[kazoo:consumer-event] {
            $var(fill) = $(kzE{kz.json,Fill});
            xlog("L_INFO", "HUGE=$(kzE{kz.json,Id})\n");
        }
    "##;
    let broker = broker();
    // Kamailio's default of 8 MB, in which a copy of this event finds no room.
    let mut kamailio = start("huge", &broker, routes, |builder| builder.memory(64, 8));
    until_queue(&broker, "huge");
    let body = |id: usize, size: usize| format!("{{\"Id\":{id},\"Fill\":\"{}\"}}", "x".repeat(size));
    publish_queued(&broker, "huge", (0..8).map(|id| body(id, 15_000_000)).chain([body(8, 10), body(9, 10)]));
    until_logged(&kamailio, "HUGE=8");
    until_logged(&kamailio, "HUGE=9");
    until_held(&broker, "huge", (0, 0));
    assert!(kamailio.is_running(), "{}", tail(&kamailio));
}

#[test]
fn two_amqp_consumer_workers_win_over_four_processes() {
    let broker = broker();
    let routes = number_routes("'no_ack':1");
    let kamailio = start("workers", &broker, &routes, |builder| {
        builder.modparam_int("amqp_consumer_processes", 4).modparam_int("amqp_consumer_workers", 2)
    });
    until_queue(&broker, "numbers");
    publish_queued(&broker, "numbers", (0..200).map(|number| format!("{{\"Number\":{number}}}")));
    let (_, by_process) = until_numbers(&kamailio, 200);
    assert_eq!(by_process.len(), 2, "{by_process:?}");
}

/// Cuts the connection from the broker's side, publishes a backlog before the module notices, and returns the log's
/// numbers once the backlog was handled.
fn backlog_after_reconnect(broker: &Broker, kamailio: &Kamailio, count: u64) -> (Vec<u64>, BTreeMap<String, usize>) {
    assert!(wait_until(PATIENCE, || held(broker, "numbers") == (0, 0)));
    let manager = managers(kamailio)[0];
    kamailio.signal(manager, Signal::SIGSTOP).unwrap();
    broker.close_connections().unwrap();
    publish_queued(broker, "numbers", (0..count).map(|number| format!("{{\"Number\":{number}}}")));
    let waiting = || broker.count("numbers").is_ok_and(|ready| u64::from(ready) == count);
    assert!(wait_until(PATIENCE, waiting), "no backlog: {:?}", broker.count("numbers"));
    kamailio.signal(manager, Signal::SIGCONT).unwrap();
    until_stat(kamailio, "connects", 2);
    until_numbers(kamailio, count)
}

fn reconnecting(name: &str, broker: &Broker, single: i64) -> Kamailio {
    let kamailio = start(name, broker, &number_routes("'no_ack':0,'wait_for_consumer_ack':1"), |builder| {
        // The manager is stopped for as long as the broker needs.
        builder.modparam_int("single_consumer_on_reconnect", single).modparam_int("amqp_hang_timeout_ms", 600_000)
    });
    until_queue(broker, "numbers");
    kamailio
}

#[test]
fn backlog_after_a_reconnect_is_handled_by_one_process_in_order() {
    const COUNT: u64 = 3_000;
    let broker = broker();
    let kamailio = reconnecting("single", &broker, 1);
    let (seen, by_process) = backlog_after_reconnect(&broker, &kamailio, COUNT);
    assert_eq!(by_process.len(), 1, "{by_process:?}");
    assert!(seen == (0..COUNT).collect::<Vec<_>>(), "in order");

    publish_queued(&broker, "numbers", (COUNT..COUNT + 400).map(|number| format!("{{\"Number\":{number}}}")));
    let (_, by_process) = until_numbers(&kamailio, COUNT + 400);
    assert_eq!(by_process.len(), 4, "round robin again once the backlog is drained: {by_process:?}");
    // What is not acknowledged yet when the server is killed would come to the next one.
    until_held(&broker, "numbers", (0, 0));
}

#[test]
fn backlog_is_spread_when_a_single_consumer_is_not_wanted() {
    const COUNT: u64 = 3_000;
    let broker = broker();
    let kamailio = reconnecting("spread", &broker, 0);
    let (mut seen, by_process) = backlog_after_reconnect(&broker, &kamailio, COUNT);
    assert_eq!(by_process.len(), 4, "{by_process:?}");
    seen.sort_unstable();
    assert_eq!(seen.len() as u64, COUNT, "others' messages: {:?}", seen.last());
    let missing: Vec<_> = (0..COUNT).filter(|number| seen.binary_search(number).is_err()).collect();
    let twice: Vec<_> = seen.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert!(missing.is_empty() && twice.is_empty(), "missing {missing:?}, twice {twice:?}, {:?}", stats(&kamailio));
    until_held(&broker, "numbers", (0, 0));
}

#[test]
fn subscriptions_are_made_again_after_a_reconnect_and_a_deleted_queue() {
    let broker = broker();
    let routes = r##"
        event_route[kazoo:mod-init] { kazoo_subscribe("again", "topic", "again", "#"); }
        event_route[kazoo:consumer-event] { xlog("L_INFO", "AGAIN=$(kzE{kz.json,Id})\n"); }
    "##;
    let mut kamailio = start("again", &broker, routes, |builder| builder);
    publish_routed(&broker, "again", "k", r#"{"Id":1}"#);
    assert_eq!(reports(&kamailio, "AGAIN=", 1), ["1"]);
    // Its connection goes, and the auto-delete queue with it.
    broker.close_connections().unwrap();
    until_consumed(&kamailio, "again", 2);
    publish_routed(&broker, "again", "k", r#"{"Id":2}"#);
    assert_eq!(reports(&kamailio, "AGAIN=", 2), ["1", "2"]);
    // The C module consumes nothing any more after this.
    broker.ctl(&["delete_queue", "again"]).unwrap();
    publish_routed(&broker, "again", "k", r#"{"Id":3}"#);
    assert_eq!(reports(&kamailio, "AGAIN=", 3), ["1", "2", "3"]);
    still_well(&mut kamailio);
}

/// Far more than the rings of two consumers hold of messages of [`publish_heavy`], and less than the prefetch.
const HELD: u64 = 120;

/// Publishes the numbers from `first` on to the exchange `numbers` and waits until the module has all of them.
fn publish_heavy(broker: &Broker, exchange: &'static str, first: u64) {
    let padding = "x".repeat(4_000);
    let body = move |number| format!("{{\"Number\":{},\"Padding\":\"{padding}\"}}", first + number);
    let flood = Flood::start(broker.client(), HELD, 0, move |number| Message::new(exchange, "n", body(number)));
    flood.unwrap().wait(PATIENCE).unwrap();
    assert!(wait_until(PATIENCE, || broker.count(exchange).is_ok_and(|ready| ready == 0)));
}

fn signal_consumers(kamailio: &Kamailio, signal: Signal) {
    let consumers = kamailio.processes_titled("consumer").unwrap();
    consumers.iter().for_each(|consumer| kamailio.signal(consumer.pid, signal).unwrap());
}

/// Two consumers that are stopped, and a manager that holds most of [`HELD`] messages of the queue `exchange`.
fn start_holding(name: &str, broker: &Broker, routes: &str, exchange: &'static str) -> Kamailio {
    let kamailio = start(name, broker, routes, |builder| builder.modparam_int("amqp_consumer_processes", 2));
    until_queue(broker, exchange);
    signal_consumers(&kamailio, Signal::SIGSTOP);
    publish_heavy(broker, exchange, 0);
    kamailio
}

/// Lets the consumers go on, and checks that each of `batches` times [`HELD`] messages is handled once.
fn each_is_handled_once(kamailio: &mut Kamailio, batches: u64) {
    assert!(stat(kamailio, "consumed") < HELD, "the consumers had all of the first batch: {:?}", stats(kamailio));
    signal_consumers(kamailio, Signal::SIGCONT);
    let (mut seen, _) = until_numbers(kamailio, batches * HELD);
    seen.sort_unstable();
    assert!(seen == (0..batches * HELD).collect::<Vec<_>>(), "not exactly once: {seen:?}");
    assert_eq!((stat(kamailio, "stale_deliveries"), stat(kamailio, "stale_acks")), (0, 0));
    still_well(kamailio);
}

fn queue_deleted_while_the_consumers_are_busy(name: &str, options: &str) {
    let broker = broker();
    let channels = || broker.ctl(&["list_channels", "pid"]).unwrap().lines().count();
    // Not every error: RabbitMQ reports one of its own now and then when another client closes its connection.
    let errors = || {
        let log = broker.log();
        ["Error on AMQP connection", "Channel error on connection"].map(|what| log.matches(what).count())
    };
    let before = errors();
    let mut kamailio = start_holding(name, &broker, &number_routes(options), "numbers");
    let opened = channels();
    for deletion in 1..=2 {
        broker.ctl(&["delete_queue", "numbers"]).unwrap();
        let noticed = || complaints(&kamailio).iter().filter(|line| line.contains("the broker cancelled it")).count();
        assert!(wait_until(PATIENCE, || noticed() == deletion), "{:#?}", complaints(&kamailio));
        // Into the queue that was declared again, while the old one's channel still has its messages.
        publish_heavy(&broker, "numbers", deletion as u64 * HELD);
    }
    each_is_handled_once(&mut kamailio, 3);
    until_held(&broker, "numbers", (0, 0));
    assert!(wait_until(PATIENCE, || channels() == opened), "channels of ended consumers stay: {}", channels());
    assert_eq!((stat(&kamailio, "disconnects"), errors()), (0, before), "{}", broker.log());
}

#[test]
fn held_messages_of_a_deleted_queue_are_handled_and_acknowledged_after_the_route() {
    queue_deleted_while_the_consumers_are_busy("deleted1", "'no_ack':0,'wait_for_consumer_ack':1");
}

#[test]
fn held_messages_of_a_deleted_queue_are_handled_and_acknowledged_on_receipt() {
    queue_deleted_while_the_consumers_are_busy("deleted0", "'no_ack':1");
}

#[test]
fn held_messages_of_a_queue_that_ended_with_its_connection_are_handled() {
    let broker = broker();
    let routes = r##"
        event_route[kazoo:mod-init] { kazoo_subscribe("fleeting", "topic", "fleeting", "#"); }
        event_route[kazoo:consumer-event] { xlog("L_INFO", "NUMBER=$(kzE{kz.json,Number}) $pp\n"); }
    "##;
    let mut kamailio = start_holding("fleeting", &broker, routes, "fleeting");
    // Its only consumer is gone, and so is the queue, with what was not acknowledged.
    broker.close_connections().unwrap();
    until_consumed(&kamailio, "fleeting", 2);
    publish_heavy(&broker, "fleeting", HELD);
    each_is_handled_once(&mut kamailio, 2);
}

#[test]
fn refused_subscription_is_reported_and_its_neighbours_work() {
    let broker = broker();
    // The exchange exists with another type: 406 from the broker.
    broker.declare_exchange(&Exchange::direct("taken")).unwrap();
    let routes = r##"
        event_route[kazoo:mod-init] {
            kazoo_subscribe("taken", "topic", "taken", "#");
            kazoo_subscribe("free", "topic", "free", "#");
            if (!kazoo_subscribe("this is no JSON")) { xlog("L_INFO", "REFUSED=$rc\n"); }
        }
        event_route[kazoo:consumer-event] { xlog("L_INFO", "FREE=$(kzE{kz.json,Id})\n"); }
    "##;
    let mut kamailio = start("taken", &broker, routes, |builder| builder);
    assert_eq!(logged(&kamailio, "REFUSED=").len(), 1);
    publish_routed(&broker, "free", "k", r#"{"Id":1}"#);
    assert_eq!(reports(&kamailio, "FREE=", 1), ["1"]);
    let named = wait_until(PATIENCE, || complaints(&kamailio).iter().any(|line| line.contains("taken")));
    assert!(named, "{:#?}", complaints(&kamailio));
    assert_eq!(stat(&kamailio, "disconnects"), 0, "one channel was closed, not the connection");
    still_well(&mut kamailio);
}

#[test]
fn events_are_passed_on_through_publish_and_arrive_once() {
    const COUNT: usize = 5_000;
    let broker = broker();
    let routes = r##"
        event_route[kazoo:mod-init] { kazoo_subscribe("relay", "topic", "relay", "#"); }
        event_route[kazoo:consumer-event] {
            $var(rc) = -5;
            while ($var(rc) == -5) { kazoo_publish("relayed", "$kzRK", $kzE); $var(rc) = $rc; }
        }
    "##;
    let queue = rig::Queue::new("relayed").bind(&Exchange::topic("relayed"), "#");
    let sink = Sink::keyed(broker.client(), queue, "Number").unwrap();
    let mut kamailio = start("relay", &broker, routes, |builder| builder);
    until_queue(&broker, "relay");
    publish_queued(&broker, "relay", (0..COUNT).map(|number| format!("{{\"Number\":{number}}}")));
    assert!(sink.wait_distinct(COUNT, Duration::from_secs(60)), "{:?} {:?}", sink.count(), stats(&kamailio));
    until_stat(&kamailio, "confirmed", COUNT as u64);
    assert_eq!(sink.count().repeated, 0);
    still_well(&mut kamailio);
}
