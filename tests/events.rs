//! Which event route and which consumer process an event reaches, and what names from the network cost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{
    LONG, PATIENCE, broker, kamailio, kill_manager, logged, publish_queued, release, reports, stat, still_well, tail,
    until_connected, until_consumed, until_queue,
};
use rig::{Broker, Builder, Flood, Kamailio, Message, wait_until};
use serde_json::{Value, json};

const FRAME: &str = r#"
request_route { exit; }
event_route[kazoo:consumer-event-connection-open] { xlog("L_DBG", "open\n"); }
event_route[kazoo:consumer-event-connection-closed] { xlog("L_DBG", "closed\n"); }
"#;

fn start(name: &str, broker: &Broker, routes: &str, adjust: impl FnOnce(Builder) -> Builder) -> Kamailio {
    let kamailio = adjust(kamailio(name).broker(broker).routes(format!("{FRAME}{routes}"))).start().unwrap();
    until_connected(&kamailio, 1);
    kamailio
}

#[test]
fn names_are_normalised_and_may_be_incomplete_or_of_any_length() {
    let routes = r##"
        event_route[kazoo:mod-init] { kazoo_subscribe("names", "topic", "names", "#"); }
        event_route[kazoo:consumer-event-a-b-c] { xlog("L_INFO", "ROUTE=a-b-c $(kzE{kz.json,Id})\n"); }
        event_route[kazoo:consumer-event-only-] { xlog("L_INFO", "ROUTE=only- $(kzE{kz.json,Id})\n"); }
        event_route[kazoo:consumer-event--name] { xlog("L_INFO", "ROUTE=-name $(kzE{kz.json,Id})\n"); }
        event_route[kazoo:consumer-event-event-category-event-name] { xlog("L_INFO", "ROUTE=keys $(kzE{kz.json,Id})\n"); }
        event_route[kazoo:consumer-event] { xlog("L_INFO", "ROUTE=last $(kzE{kz.json,Id})\n"); }
    "##;
    let long = |length: usize| "n".repeat(length);
    let table = [
        (json!({"Event-Category": "A_B", "Event-Name": "C"}), "a-b-c"),
        (json!({"Event-Category": "a", "Event-Name": "b_c"}), "a-b-c"),
        (json!({"Event-Category": "only"}), "only-"),
        (json!({"Event-Category": "only", "Event-Name": null}), "only-"),
        (json!({"Event-Name": "name"}), "-name"),
        (json!({"Event-Category": "a.b", "Event-Name": "c"}), "keys"),
        (json!({"Event-Category": {"no": "text"}, "Event-Name": [1]}), "keys"),
        (json!({"Event-Category": long(520), "Event-Name": long(520)}), "keys"),
        (json!({"Event-Category": long(200_000), "Event-Name": "c"}), "keys"),
        (json!({"Event-Category": "a\u{0}b", "Event-Name": "ü\u{7f}\n%s%n"}), "keys"),
        (json!({"Event-Category": "a", "Event-Name": "b-c"}), "a-b-c"),
    ];
    let broker = broker();
    let mut kamailio = start("names", &broker, routes, |builder| builder.modparam_int("amqp_consumer_processes", 1));
    until_queue(&broker, "names");
    let with_id = |(id, (event, _)): (usize, &(Value, &str))| {
        let mut event = event.clone();
        event["Id"] = json!(id);
        event.to_string()
    };
    publish_queued(&broker, "names", table.iter().enumerate().map(with_id));
    let expected: Vec<_> = table.iter().enumerate().map(|(id, (_, route))| format!("{route} {id}")).collect();
    assert_eq!(reports(&kamailio, "ROUTE=", table.len()), expected);
    still_well(&mut kamailio);
}

/// Private memory of the consumer process in KiB.
fn consumer_kib(kamailio: &Kamailio) -> u64 {
    let consumer = kamailio.processes_titled("kazoo consumer").unwrap().remove(0);
    kamailio.memory(consumer.pid).unwrap().private_kib
}

#[test]
fn names_that_lead_nowhere_cost_no_memory() {
    const COUNT: u64 = 50_000;
    let routes = r##"
        event_route[kazoo:mod-init] { kazoo_subscribe("flatnames", "topic", "flatnames", "#"); }
        event_route[kazoo:consumer-event-known] { xlog("L_INFO", "KNOWN\n"); }
    "##;
    let broker = broker();
    let mut kamailio =
        start("flatnames", &broker, routes, |builder| builder.modparam_int("amqp_consumer_processes", 1));
    until_queue(&broker, "flatnames");
    let send = |from: u64, count: u64| {
        let event = move |n: u64| {
            let event = json!({"Event-Category": format!("category-{}", from + n), "Event-Name": format!("name-{n}")});
            Message::new("flatnames", "k", event.to_string())
        };
        Flood::start(broker.client(), count, 0, event).unwrap().wait(LONG).unwrap();
        assert!(wait_until(LONG, || stat(&kamailio, "no_route") == from + count), "{}", tail(&kamailio));
    };
    send(0, 5_000);
    let before = consumer_kib(&kamailio);
    send(5_000, COUNT);
    let after = consumer_kib(&kamailio);
    println!("{COUNT} names: {before} KiB before, {after} KiB after");
    // An entry of Kamailio's route table takes about a hundred bytes, and each name would be looked up under four.
    assert!(after <= before + 512, "{before} KiB before, {after} KiB after {COUNT} names");
    publish_queued(&broker, "flatnames", [r#"{"Event-Category":"known"}"#]);
    assert!(kamailio.wait_for_log("KNOWN", PATIENCE));
    still_well(&mut kamailio);
}

const KEYED: &str = r##"
event_route[kazoo:mod-init] {
    kazoo_subscribe("{'exchange':'keyed','type':'topic','queue':'keyed','routing':'#','consistent-worker':1,
        'consistent-worker-key':'Call-ID','no_ack':0,'wait_for_consumer_ack':1}");
    kazoo_subscribe("{'exchange':'routed','type':'topic','queue':'routed','routing':'#','consistent-worker':true}");
    kazoo_subscribe("spread", "topic", "spread", "#");
}
event_route[kazoo:consumer-event-slow] { while ($shv(released) == 0) { usleep("10000"); } xlog("L_INFO", "SLOW\n"); }
event_route[kazoo:consumer-event] { xlog("L_INFO", "BY=$(kzE{kz.json,Call-ID})|$kzRK|$pp\n"); }
"##;

/// The processes that handled each key: the `field`th part of the reports.
fn processes_by_key(kamailio: &Kamailio, field: usize) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in logged(kamailio, "BY=") {
        let parts: Vec<&str> = line.split('|').collect();
        found.entry(parts[field].to_string()).or_default().insert(parts[2].to_string());
    }
    found
}

fn until_handled(kamailio: &Kamailio, count: usize) {
    let handled = wait_until(PATIENCE, || logged(kamailio, "BY=").len() >= count);
    assert!(handled, "{} of {count}\n{}", logged(kamailio, "BY=").len(), tail(kamailio));
}

/// Different keys. No multiple of the number of consumers: in turn, each key would meet the same consumer by chance.
const KEYS: usize = 31;

/// `count` events of the keys call-0, call-1..., in turn.
fn keyed_events(count: usize) -> Vec<String> {
    (0..count).map(|n| json!({"Call-ID": format!("call-{}", n % KEYS), "Number": n}).to_string()).collect()
}

#[test]
fn a_key_stays_with_one_consumer_and_keys_spread_over_all() {
    let broker = broker();
    // Three: the C module would leave one without work.
    let mut kamailio = start("keyed", &broker, KEYED, |builder| builder.modparam_int("amqp_consumer_processes", 3));
    ["keyed", "routed", "spread"].iter().for_each(|queue| until_queue(&broker, queue));
    publish_queued(&broker, "keyed", keyed_events(300));
    until_handled(&kamailio, 300);
    let first = processes_by_key(&kamailio, 0);
    assert_eq!(first.len(), KEYS);
    assert!(first.values().all(|processes| processes.len() == 1), "{first:?}");
    assert_eq!(first.values().flatten().collect::<BTreeSet<_>>().len(), 3, "{first:?}");

    // A new manager chooses in the same way.
    kill_manager(&kamailio);
    ["keyed", "routed"].iter().for_each(|queue| until_consumed(&kamailio, queue, 2));
    publish_queued(&broker, "keyed", keyed_events(300));
    until_handled(&kamailio, 600);
    assert_eq!(processes_by_key(&kamailio, 0), first);

    // Without the field, and without a field to look for, the routing key decides.
    let by_route = |n: usize| Message::new("routed", &format!("r{}", n % KEYS), json!({"Call-ID": n}).to_string());
    broker.client().publish(&(0..300).map(by_route).collect::<Vec<_>>()).unwrap();
    let no_field = |n: usize| Message::new("keyed", &format!("r{}", n % KEYS), "{}");
    broker.client().publish(&(0..300).map(no_field).collect::<Vec<_>>()).unwrap();
    until_handled(&kamailio, 1_200);
    let mut by_route = processes_by_key(&kamailio, 1);
    by_route.remove("keyed");
    assert_eq!(by_route.len(), KEYS, "{by_route:?}");
    assert!(by_route.values().all(|processes| processes.len() == 1), "{by_route:?}");
    assert_eq!(by_route.values().flatten().collect::<BTreeSet<_>>().len(), 3, "{by_route:?}");
    still_well(&mut kamailio);
}

#[test]
fn a_slow_key_holds_up_nobody_but_its_consumer() {
    let broker = broker();
    let mut kamailio = start("slowkey", &broker, KEYED, |builder| {
        let builder = builder.line("max_while_loops=100000").modparam_int("amqp_consumer_processes", 2);
        builder.modparam_int("amqp_delivery_ring_kb", 16)
    });
    ["keyed", "spread"].iter().for_each(|queue| until_queue(&broker, queue));
    publish_queued(&broker, "keyed", keyed_events(KEYS));
    until_handled(&kamailio, KEYS);
    let processes = processes_by_key(&kamailio, 0);
    let slow = &processes["call-0"];
    let other = processes.iter().find(|(_, processes)| *processes != slow).unwrap().0;

    // One event that lasts until it is released, and more behind it than its consumer's ring holds.
    let fill = "x".repeat(1_000);
    let event =
        |key: &str, category: &str| json!({"Call-ID": key, "Event-Category": category, "Fill": fill}).to_string();
    publish_queued(&broker, "keyed", [event("call-0", "slow")]);
    publish_queued(&broker, "keyed", (0..100).map(|_| event("call-0", "quick")));
    publish_queued(&broker, "keyed", (0..50).map(|_| event(other, "quick")));
    publish_queued(&broker, "spread", (0..20).map(|_| event("spread", "quick")));
    let count = |key: &str| logged(&kamailio, "BY=").iter().filter(|line| line.starts_with(&format!("{key}|"))).count();
    assert!(wait_until(PATIENCE, || count(other) == 51), "{}", tail(&kamailio));
    assert_eq!((logged(&kamailio, "SLOW").len(), count("call-0")), (0, 1), "the slow one holds up its own key alone");
    release(&kamailio);
    assert!(wait_until(PATIENCE, || count("call-0") == 101 && count("spread") == 20), "{}", tail(&kamailio));
    still_well(&mut kamailio);
}
