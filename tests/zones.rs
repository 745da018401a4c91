//! Several brokers in several zones: who gets a message, where answers come from, what happens when one is gone; and
//! two servers that were given the same name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use std::net::TcpListener;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{
    PATIENCE, ask, complaints, exactly, hostname, kamailio, number, publish_routed, reports, sip, stat, still_well,
    tail, until_connected, until_logged, until_queue, until_stat,
};
use rig::{Broker, Exchange, Kamailio, Message, Peer, Queue, Reply, Sink, SipClient, wait_until};
use serde_json::json;

const ROUTES: &str = r#"
request_route {
    if ($hdr(X-Case) == "query") {
        kazoo_query("$hdr(X-Exchange)", "q.any", '{"Ask":"$hdr(X-Say)"}');
    } else {
        kazoo_publish("$hdr(X-Exchange)", "$hdr(X-Key)", "$rb");
    }
    append_to_reply("X-Ret: $rc\r\nX-Say: $(kzR{kz.json,Say})\r\nX-Zone: $(kzR{kz.json,AMQP-Broker-Zone})\r\n");
    append_to_reply("X-Server: $(kzR{kz.json,Server-ID})\r\n");
    sl_send_reply("200", "OK");
    exit;
}
event_route[kazoo:consumer-event-connection-open] {
    xlog("L_INFO", "STATE=open $(kzE{kz.json,zone}) $(kzE{kz.json,host}) $kzRK\n");
}
event_route[kazoo:consumer-event-connection-closed] {
    xlog("L_INFO", "STATE=closed $(kzE{kz.json,zone}) $(kzE{kz.json,host}) $kzRK\n");
}
event_route[kazoo:consumer-event] {
    xlog("L_INFO", "EVENT=$(kzE{kz.json,Id}) $(kzE{kz.json,AMQP-Broker-Zone}) $(kzE{kz.json,Server-ID}) $kzRK\n");
}
"#;

/// Three servers; tests put them into zones as they like.
static BROKERS: LazyLock<Mutex<[Broker; 3]>> = LazyLock::new(|| {
    // Side by side: a start takes some seconds.
    let started = [(); 3].map(|()| std::thread::spawn(|| Broker::start().unwrap()));
    Mutex::new(started.map(|thread| thread.join().unwrap()))
});

fn brokers() -> MutexGuard<'static, [Broker; 3]> {
    BROKERS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn publish(client: &SipClient, exchange: &str, key: &str, body: &str) -> i64 {
    number(&ask(client, "publish", &[("X-Exchange", exchange), ("X-Key", key)], body), "X-Ret")
}

/// A peer on queue and exchange `name` that says which broker it sits at.
fn peer(broker: &Broker, name: &str, says: &'static str) -> Peer {
    let queue = Queue::new(&format!("peer-{name}")).auto_delete().bind(&Exchange::topic(name), "q.#");
    Peer::start(broker.client(), queue, move |question| {
        Reply::fields(json!({"Say": format!("{says} to {}", question.field("Ask")), "Server-ID": "peer.queue"}))
    })
    .unwrap()
}

fn sink(broker: &Broker, name: &str) -> Sink {
    common::sink(broker, &format!("sink-{name}"), name, "#")
}

/// remote is broker 1, first is 2, second is 3; the two latter are the primary zone `home`.
fn three_brokers(name: &str, [first, second, remote]: &[Broker; 3], subscriptions: &str) -> Kamailio {
    let kamailio = kamailio(name)
        .modparam("amqp_connection", &format!("zone=remote;{}", remote.url()))
        .modparam("amqp_connection", &first.url().replace("amqp://", "kazoo://"))
        .modparam("amqp_connection", &format!("zone=home;{}", second.url()))
        .modparam("amqp_primary_zone", "home")
        .modparam_int("amqp_consumer_processes", 1)
        .routes(format!("{ROUTES}event_route[kazoo:mod-init] {{\n{subscriptions}\n}}\n"))
        .start()
        .unwrap();
    until_connected(&kamailio, 3);
    kamailio
}

#[test]
fn messages_go_to_the_broker_that_the_key_names_and_answers_return_from_each() {
    let brokers = brokers();
    let mut kamailio = three_brokers("keys", &brokers, "return;");
    let sip = sip(&kamailio);
    let sinks = brokers.each_ref().map(|broker| sink(broker, "zonekeys"));
    let [first, second, remote] = &sinks;
    let cases = [
        ("plain", first, "plain", 2),
        ("consumer://1/to.remote", remote, "to.remote", 1),
        ("consumer://2/to.first", first, "to.first", 2),
        ("consumer://3/to.second", second, "to.second", 3),
        ("consumer://0/to.primary", first, "to.primary", 2),
    ];
    for (sent, sink, key, id) in cases {
        assert_eq!(publish(&sip, "zonekeys", sent, "{}"), 1, "{sent}");
        let message = exactly(sink, 1).remove(0);
        assert_eq!(message.routing_key, key);
        assert_eq!(message.json()["Server-ID"], format!("kamailio@{}-<{id}>-targeted-0", hostname("keys")));
    }
    assert!(sinks.iter().all(|sink| sink.take().is_empty()), "each went to one broker only");

    // An answer to that Server-ID comes back from the broker it was sent to, of whichever zone.
    let zones = [(1, &brokers[2], "remote"), (2, &brokers[0], "home"), (3, &brokers[1], "home")];
    for (id, broker, zone) in zones {
        let server_id = format!("kamailio@{}-<{id}>-targeted-0", hostname("keys"));
        let body = json!({"Id": id, "Server-ID": "peer.key"}).to_string();
        publish_routed(broker, "targeted", &server_id, &body);
        until_logged(&kamailio, &format!("EVENT={id} {zone} consumer://{id}/peer.key {server_id}"));
    }
    still_well(&mut kamailio);
}

#[test]
fn federated_subscriptions_are_made_everywhere_and_others_in_the_primary_zone() {
    let brokers = brokers();
    let subscriptions = r##"
        kazoo_subscribe("{'exchange':'everywhere','type':'topic','queue':'everywhere','routing':'#','federate':1}");
        kazoo_subscribe("{'exchange':'home','type':'topic','queue':'home','routing':'#'}");
    "##;
    let mut kamailio = three_brokers("federation", &brokers, subscriptions);
    let [first, second, remote] = &*brokers;
    for broker in [first, second, remote] {
        until_queue(broker, "everywhere");
    }
    until_queue(first, "home");
    until_queue(second, "home");
    assert!(remote.count("home").is_err(), "broker of another zone");
    for (id, broker, zone) in [(1, remote, "remote"), (2, first, "home"), (3, second, "home")] {
        publish_routed(broker, "everywhere", "k", &json!({"Id": id, "Server-ID": "app"}).to_string());
        until_logged(&kamailio, &format!("EVENT={id} {zone} consumer://{id}/app k"));
    }
    publish_routed(second, "home", "h", r#"{"Id":4}"#);
    until_logged(&kamailio, "EVENT=4 home");
    let mut states = reports(&kamailio, "STATE=", 3);
    states.sort();
    let open = |zone| format!("open {zone} 127.0.0.1 <null>");
    assert_eq!(states, [open("home"), open("home"), open("remote")]);
    still_well(&mut kamailio);
}

#[test]
fn the_second_broker_stands_in_for_the_first_and_gives_back() {
    let mut brokers = brokers();
    let mut kamailio = three_brokers("standin", &brokers, "return;");
    let sip = sip(&kamailio);
    let query = |say: &str| ask(&sip, "query", &[("X-Exchange", "standin"), ("X-Say", say)], "");
    let says = |response: &rig::Response| (number(response, "X-Ret"), response.header("X-Say").to_string());
    let (_first, _second, _remote) = (
        peer(&brokers[0], "standin", "first"),
        peer(&brokers[1], "standin", "second"),
        peer(&brokers[2], "standin", "remote"),
    );
    assert_eq!(says(&query("a")), (1, "first to a".into()));

    brokers[0].kill().unwrap();
    until_logged(&kamailio, "STATE=closed home");
    let answer = query("b");
    assert_eq!(says(&answer), (1, "second to b".into()));
    assert_eq!((answer.header("X-Zone"), answer.header("X-Server")), ("home", "consumer://3/peer.queue"));
    // Meant for the dead one alone: refused once it has been away for longer than a moment.
    let began = Instant::now();
    assert_eq!(publish(&sip, "standin", "consumer://2/k", "{}"), 1);
    until_logged(&kamailio, "broker 2 is not connected");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(stat(&kamailio, "refused_by_broker"), 1);

    // Another zone does not stand in.
    brokers[1].kill().unwrap();
    until_stat(&kamailio, "disconnects", 2);
    assert_eq!(number(&query("c"), "X-Ret"), -6);
    assert_eq!(publish(&sip, "standin", "consumer://1/q.k", r#"{"Ask":"d"}"#), 1);

    brokers[1].restart().unwrap();
    until_connected(&kamailio, 2);
    assert!(wait_until(PATIENCE, || says(&query("e")) == (1, "second to e".into())), "{}", tail(&kamailio));
    brokers[0].restart().unwrap();
    until_connected(&kamailio, 3);
    assert!(wait_until(PATIENCE, || says(&query("f")) == (1, "first to f".into())), "{}", tail(&kamailio));

    let mut states = reports(&kamailio, "STATE=", 7);
    states.sort();
    let home = |what| std::iter::repeat_n(format!("{what} home 127.0.0.1 <null>"), if what == "open" { 4 } else { 2 });
    let expected: Vec<_> = home("closed").chain(home("open")).chain(["open remote 127.0.0.1 <null>".into()]).collect();
    assert_eq!(states, expected);
    still_well(&mut kamailio);
}

#[test]
fn addresses_vhosts_and_logins_are_decoded() {
    let mut brokers = brokers();
    let broker = &mut brokers[2];
    // A machine may have no IPv6 at all.
    let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
    let port = if has_ipv6 { broker.listen_ipv6().unwrap() } else { broker.port() };
    let (host, in_url) = if has_ipv6 { ("::1", "[::1]") } else { ("127.0.0.1", "127.0.0.1") };
    broker.ctl(&["add_vhost", "v /h"]).unwrap();
    broker.ctl(&["add_user", "a@b", "p:w/d%"]).unwrap();
    broker.ctl(&["set_permissions", "-p", "v /h", "a@b", ".*", ".*", ".*"]).unwrap();
    let mut kamailio = kamailio("decoded")
        .modparam("amqp_connection", &format!("zone=six;kazoo://a%40b:p%3Aw%2Fd%25@{in_url}:{port}/v%20%2Fh"))
        .modparam("amqp_connection", &format!("amqp://127.0.0.1:{}/%2F", broker.port()))
        .routes(ROUTES)
        .start()
        .unwrap();
    until_connected(&kamailio, 2);
    let listed = broker.ctl(&["list_connections", "user", "vhost", "host"]).unwrap();
    assert!(listed.lines().any(|line| line == format!("a@b\tv /h\t{host}")), "{listed}");
    assert!(listed.lines().any(|line| line == "guest\t/\t127.0.0.1"), "{listed}");
    let queues = broker.ctl(&["list_queues", "-p", "v /h", "name"]).unwrap();
    assert!(queues.contains(&format!("kamailio@{}-<1-0>", hostname("decoded"))), "{queues}");
    until_logged(&kamailio, &format!("STATE=open six {host}"));
    assert!(kamailio.log_lines("p:w/d").is_empty() && kamailio.log_lines("p%3Aw").is_empty());
    still_well(&mut kamailio);
}

/// A Kamailio that notices within seconds whether somebody else has its name.
fn namesake(name: &str, broker: &Broker) -> Kamailio {
    let kamailio = kamailio(name).broker(broker).modparam_int("amqp_heartbeats", 2).routes(ROUTES).start().unwrap();
    until_connected(&kamailio, 1);
    kamailio
}

#[test]
fn servers_of_the_same_name_get_each_its_own_answers_and_say_so() {
    const QUERIES: usize = 100;
    let brokers = brokers();
    let broker = &brokers[0];
    // What a connection of its own that the broker still believes in looks like: somebody consumes the reply queue.
    let stale_queue = format!("kamailio@{}-<1-0>", hostname("stale"));
    let stale = Sink::start(broker.client(), Queue::new(&stale_queue).auto_delete()).unwrap();
    let alone = namesake("stale", broker);
    drop(stale);

    let mut servers = [namesake("twins", broker), namesake("twins", broker)];
    let _peer = peer(broker, "twins", "peer");
    std::thread::scope(|scope| {
        for (index, server) in servers.iter().enumerate() {
            scope.spawn(move || {
                let sip = sip(server);
                for number in 0..QUERIES {
                    let say = format!("{index}-{number}");
                    let answer = ask(&sip, "query", &[("X-Exchange", "twins"), ("X-Say", &say)], "");
                    assert_eq!(answer.header("X-Say"), format!("peer to {say}"));
                }
            });
        }
    });
    let queues = broker.ctl(&["list_queues", "name"]).unwrap();
    for index in 0..2 {
        assert!(queues.contains(&format!("kamailio@{}-<1-{index}>", hostname("twins"))), "{queues}");
    }
    assert!(!queues.contains(&stale_queue), "{queues}");
    until_logged(&servers[1], "another server uses the node_hostname \"twins.rig.test\"");
    assert_eq!(complaints(&servers[1]).len(), 1, "{:#?}", complaints(&servers[1]));
    assert_eq!(complaints(&servers[0]), Vec::<String>::new());
    assert_eq!(stat(&servers[0], "late") + stat(&servers[1], "late"), 0);
    // It looked at the same time after its start, and there was nobody any more.
    until_logged(&alone, "reply queue 1 is used instead of 0");
    assert_eq!(complaints(&alone), Vec::<String>::new());
    // Which is what it uses: Server-ID has the same form.
    let sink = sink(broker, "twins");
    assert_eq!(publish(&sip(&alone), "twins", "k", "{}"), 1);
    let server_id = exactly(&sink, 1)[0].json()["Server-ID"].clone();
    assert_eq!(server_id, format!("kamailio@{}-<1>-targeted-1", hostname("stale")));
    broker.client().publish(&[Message::new("targeted", server_id.as_str().unwrap(), r#"{"Id":7}"#)]).unwrap();
    until_logged(&alone, "EVENT=7");
    servers.iter_mut().for_each(still_well);
}
