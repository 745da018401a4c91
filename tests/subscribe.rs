//! What `kazoo_subscribe` makes at the broker: every field of its description, as the broker lists it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use common::{
    PATIENCE, broker, complaints, kamailio, logged, publish_queued, publish_routed, reports, stat, still_well, tail,
    until_connected, until_consumed, until_logged, until_queue,
};
use rig::{Broker, Exchange, Kamailio, Queue, wait_until};

const FRAME: &str = r#"
request_route { exit; }
event_route[kazoo:consumer-event-connection-open] { xlog("L_DBG", "open\n"); }
event_route[kazoo:consumer-event-connection-closed] { xlog("L_DBG", "closed\n"); }
event_route[kazoo:consumer-event] { xlog("L_INFO", "GOT=$(kzE{kz.json,Id}) $kzRK\n"); }
"#;

/// A Kamailio that makes these subscriptions.
fn start(name: &str, broker: &Broker, subscriptions: &[&str]) -> Kamailio {
    let calls: String = subscriptions.iter().map(|json| format!("    kazoo_subscribe(\"{json}\");\n")).collect();
    let routes = format!("{FRAME}event_route[kazoo:mod-init] {{\n{calls}}}\n");
    let builder = kamailio(name).broker(broker).modparam_int("amqp_consumer_processes", 1);
    let kamailio = builder.routes(routes).start().unwrap();
    until_connected(&kamailio, 1);
    kamailio
}

/// The rows that `rabbitmqctl` lists, as columns.
fn rows(broker: &Broker, command: &str, columns: &[&str]) -> Vec<Vec<String>> {
    let listed = broker.ctl(&[&[command], columns].concat()).unwrap();
    listed.lines().map(|line| line.split('\t').map(str::to_string).collect()).collect()
}

/// The row of `name`, without it.
fn row(rows: &[Vec<String>], name: &str) -> Vec<String> {
    rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("no {name} in {rows:#?}"))[1..].to_vec()
}

fn exchanges(broker: &Broker) -> Vec<Vec<String>> {
    rows(broker, "list_exchanges", &["name", "type", "durable", "auto_delete", "internal"])
}

fn queues(broker: &Broker) -> Vec<Vec<String>> {
    rows(broker, "list_queues", &["name", "durable", "auto_delete", "exclusive"])
}

/// `source key destination` of every binding to `destination`, sorted.
fn bindings(broker: &Broker, destination: &str) -> Vec<String> {
    let all = rows(broker, "list_bindings", &["source_name", "routing_key", "destination_name", "destination_kind"]);
    let to = all.iter().filter(|row| row[2] == destination && !row[0].is_empty());
    let mut found: Vec<_> = to.map(|row| format!("{} {} {}", row[0], row[1], row[3])).collect();
    found.sort();
    found
}

#[test]
fn flags_reach_exchange_and_queue_in_every_form_of_writing() {
    let broker = broker();
    let kamailio = start(
        "forms",
        &broker,
        &[
            // Without definitions the same flags apply to both.
            "{'exchange':'both','type':'topic','queue':'both','routing':'#','durable':1,'auto_delete':1}",
            "{'exchange':'bools','type':'fanout','queue':'bools','durable':true,'auto_delete':false}",
            "{'exchange':'texts','type':'direct','queue':'texts','routing':'t','durable':'1','auto_delete':'0','exclusive':'0'}",
            "{'exchange':'floats','type':'headers','queue':'floats','durable':1.7,'auto_delete':0.9,'exclusive':null}",
            "{'exchange':'plain','type':'topic','queue':'plain'}",
            // With definitions each takes its own, and the type stands there too.
            "{'exchange':'defs','queue':'defs','routing':'d','durable':1,'type':'no such type',\
              'exchange-def':{'type':'direct','auto_delete':1},'queue-def':{'durable':1,'auto_delete':0}}",
            "{'exchange':'inside','queue':'inside','routing':'i.#',\
              'exchange-def':{'type':'topic','internal':true,'durable':'1'},\
              'queue-def':{'exclusive':1}}",
        ],
    );
    for queue in ["both", "bools", "texts", "floats", "plain", "defs", "inside"] {
        until_consumed(&kamailio, queue, 1);
    }
    let listed = exchanges(&broker);
    assert_eq!(row(&listed, "both"), ["topic", "true", "true", "false"]);
    assert_eq!(row(&listed, "bools"), ["fanout", "true", "false", "false"]);
    assert_eq!(row(&listed, "texts"), ["direct", "true", "false", "false"]);
    assert_eq!(row(&listed, "floats"), ["headers", "true", "false", "false"]);
    assert_eq!(row(&listed, "plain"), ["topic", "false", "false", "false"]);
    assert_eq!(row(&listed, "defs"), ["direct", "false", "true", "false"]);
    assert_eq!(row(&listed, "inside"), ["topic", "true", "false", "true"]);
    let listed = queues(&broker);
    assert_eq!(row(&listed, "both"), ["true", "true", "false"]);
    assert_eq!(row(&listed, "bools"), ["true", "false", "false"]);
    assert_eq!(row(&listed, "texts"), ["true", "false", "false"]);
    assert_eq!(row(&listed, "floats"), ["true", "false", "false"]);
    assert_eq!(row(&listed, "plain"), ["false", "true", "false"], "a queue goes with its last consumer by default");
    assert_eq!(row(&listed, "defs"), ["true", "false", "false"]);
    assert_eq!(row(&listed, "inside"), ["false", "true", "true"]);
    assert_eq!(complaints(&kamailio), Vec::<String>::new());
}

#[test]
fn every_key_and_every_exchange_binding_is_made() {
    let broker = broker();
    let kamailio = start(
        "bound",
        &broker,
        &[
            "{'exchange':'keys','type':'topic','queue':'keys','routing':['one.#','two.*',3]}",
            "{'exchange':'nokey','type':'fanout','queue':'nokey','routing':[]}",
            "{'exchange':'main','type':'topic','queue':'main','routing':'#','exchange-bindings':{\
              'source-a':{'type':'topic','routing':['a.1','a.2']},\
              'source-b':{'type':'direct','durable':1,'routing':'b'},\
              'without':{'type':'topic'},\
              'source-c':{'type':'fanout','auto_delete':'1','routing':''}}}",
            "{'exchange':'named-by-broker','type':'topic','queue':'','routing':['x','y']}",
            "{'exchange':'','queue':'no-exchange'}",
        ],
    );
    for queue in ["keys", "nokey", "main", "no-exchange"] {
        until_consumed(&kamailio, queue, 1);
    }
    until_logged(&kamailio, "(exchange \"named-by-broker\")");
    assert_eq!(bindings(&broker, "keys"), ["keys 3 queue", "keys one.# queue", "keys two.* queue"]);
    assert_eq!(bindings(&broker, "nokey"), ["nokey  queue"]);
    let expected = ["source-a a.1 exchange", "source-a a.2 exchange", "source-b b exchange", "source-c  exchange"];
    let mut all = bindings(&broker, "main");
    all.retain(|binding| binding.ends_with("exchange"));
    assert_eq!(all, expected);
    let listed = exchanges(&broker);
    assert_eq!(row(&listed, "source-b"), ["direct", "true", "false", "false"]);
    assert_eq!(row(&listed, "source-c"), ["fanout", "false", "true", "false"]);
    assert!(listed.iter().all(|row| row[0] != "without"), "an entry without routing is left out: {listed:#?}");
    let of_broker = queues(&broker).into_iter().find(|row| row[0].starts_with("amq.gen")).unwrap();
    assert_eq!(bindings(&broker, &of_broker[0]), ["named-by-broker x queue", "named-by-broker y queue"]);

    let sent =
        [("source-a", "a.2"), ("source-b", "b"), ("source-c", "any"), ("named-by-broker", "y"), ("keys", "two.x")];
    for (exchange, key) in sent {
        publish_routed(&broker, exchange, key, &format!("{{\"Id\":\"{exchange}\"}}"));
    }
    publish_queued(&broker, "no-exchange", ["{\"Id\":\"no-exchange\"}"]);
    // Different queues: no order between them.
    let mut expected: Vec<_> = sent.iter().map(|(exchange, key)| format!("{exchange} {key}")).collect();
    expected.push("no-exchange no-exchange".to_string());
    expected.sort();
    let mut seen = reports(&kamailio, "GOT=", 6);
    seen.sort();
    assert_eq!(seen, expected);
}

#[test]
fn passive_ones_are_used_as_they_are_and_waited_for() {
    let broker = broker();
    broker.declare_exchange(&Exchange::direct("there").durable()).unwrap();
    broker.declare_queue(&Queue::new("there").durable()).unwrap();
    let mut kamailio = start(
        "passive",
        &broker,
        &[
            // Neither type nor flags fit what is there.
            "{'exchange':'there','type':'topic','queue':'there','routing':'t','passive':1,'durable':0}",
            "{'exchange':'later','type':'topic','queue':'later','routing':'l','exchange-def':{'passive':1}}",
        ],
    );
    until_consumed(&kamailio, "there", 1);
    assert!(wait_until(PATIENCE, || complaints(&kamailio).iter().any(|line| line.contains("no exchange 'later'"))));
    assert_eq!(row(&queues(&broker), "there"), ["true", "false", "false"]);
    broker.declare_exchange(&Exchange::direct("later")).unwrap();
    until_consumed(&kamailio, "later", 1);
    publish_routed(&broker, "there", "t", r#"{"Id":1}"#);
    publish_routed(&broker, "later", "l", r#"{"Id":2}"#);
    let mut seen = reports(&kamailio, "GOT=", 2);
    seen.sort();
    assert_eq!(seen, ["1 t", "2 l"]);
    assert_eq!(stat(&kamailio, "disconnects"), 0);
    still_well(&mut kamailio);
}

#[test]
fn each_refusal_is_reported_and_costs_the_others_nothing() {
    let broker = broker();
    broker.declare_queue(&Queue::new("durable").durable()).unwrap();
    let mut kamailio = start(
        "refusals",
        &broker,
        &[
            // A broker closes the whole connection for a type that it does not know: 503.
            "{'exchange':'strange','type':'x-no-such-type','queue':'strange'}",
            "{'exchange':'typeless','queue':'typeless'}",
            "{'exchange':'fed','type':'topic','queue':'fed','exchange-bindings':{'odd':{'type':'x-odd','routing':'k'}}}",
            "{'exchange':'mismatch','type':'topic','queue':'durable','durable':0}",
            "{'exchange':'amq.reserved','type':'topic','queue':'reserved'}",
            "{'exchange':'well','type':'topic','queue':'well','routing':'#'}",
        ],
    );
    until_queue(&broker, "well");
    publish_routed(&broker, "well", "k", r#"{"Id":1}"#);
    assert_eq!(reports(&kamailio, "GOT=", 1), ["1 k"]);
    let causes = [
        ("strange", "x-no-such-type"),
        ("typeless", "invalid exchange type"),
        ("fed", "x-odd"),
        ("durable", "inequivalent arg 'durable'"),
        ("reserved", "ACCESS_REFUSED"),
    ];
    for (queue, cause) in causes {
        let line = |line: &String| line.contains(&format!("cannot consume queue \"{queue}\"")) && line.contains(cause);
        let named = wait_until(PATIENCE, || complaints(&kamailio).iter().any(line));
        assert!(named, "{queue}: {cause}\n{}", tail(&kamailio));
    }
    assert_eq!(complaints(&kamailio).len(), causes.len(), "one line each: {:#?}", complaints(&kamailio));
    assert_eq!(stat(&kamailio, "disconnects"), 0, "{}", tail(&kamailio));
    assert_eq!(logged(&kamailio, "GOT=").len(), 1);
    still_well(&mut kamailio);
}
