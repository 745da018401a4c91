//! `amqps://` end to end: certificates that are right and wrong in every way, the two verify switches, client
//! certificates, files that cannot be used.
//!
//! All brokers here are TLS listeners of one RabbitMQ, so one Kamailio sees many certificates at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use common::{
    PATIENCE, ask, complaints, complaints_in, exactly, number, sink, sip, stat, still_well, tail, until_connected,
    until_logged, until_stat,
};
use rig::{Authority, Broker, Builder, Exchange, Identity, Kamailio, Peer, Queue, Reply, wait_until};
use serde_json::json;

/// The password of the user `secure`; must be in no log line of the module.
const SECRET: &str = "s3cret-of-the-bus";

/// Ports of the listeners, by the certificate that they show.
struct Listeners {
    broker: Broker,
    /// Trusted, for 127.0.0.1.
    good: u16,
    /// Trusted, for another host.
    other_name: u16,
    expired: u16,
    self_signed: u16,
    /// As `good`; wants a certificate of the client.
    demanding: u16,
}

struct World {
    authority: Authority,
    /// Nobody's listener has a certificate of it.
    stranger: Authority,
    listeners: Mutex<Listeners>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let authority = Authority::new().unwrap();
    let mut broker = Broker::start().unwrap();
    broker.ctl(&["add_user", "secure", SECRET]).unwrap();
    broker.ctl(&["set_permissions", "secure", ".*", ".*", ".*"]).unwrap();
    let here = ["127.0.0.1"];
    let good = authority.sign(&here).unwrap();
    let listeners = Listeners {
        good: broker.listen_tls(&good, None).unwrap(),
        other_name: broker.listen_tls(&authority.sign(&["elsewhere.test"]).unwrap(), None).unwrap(),
        expired: broker.listen_tls(&authority.sign_expired(&here).unwrap(), None).unwrap(),
        self_signed: broker.listen_tls(&authority.self_signed(&here).unwrap(), None).unwrap(),
        demanding: broker.listen_tls(&good, Some(&authority)).unwrap(),
        broker,
    };
    World { authority, stranger: Authority::new().unwrap(), listeners: Mutex::new(listeners) }
});

fn world() -> (&'static World, MutexGuard<'static, Listeners>) {
    (&WORLD, WORLD.listeners.lock().unwrap_or_else(PoisonError::into_inner))
}

const ROUTES: &str = r#"
request_route {
    if ($hdr(X-Case) == "query") { kazoo_query("tls", "q.any", '{"Ask":1}'); } else { kazoo_publish("tls", "p", "$rb"); }
    append_to_reply("X-Ret: $rc\r\nX-Say: $(kzR{kz.json,Say})\r\n");
    sl_send_reply("200", "OK");
    exit;
}
event_route[kazoo:mod-init] { kazoo_subscribe("tls", "topic", "tls-events", "e.#"); }
event_route[kazoo:consumer-event-connection-open] { xlog("L_INFO", "OPEN\n"); }
event_route[kazoo:consumer-event-connection-closed] { xlog("L_INFO", "CLOSED\n"); }
event_route[kazoo:consumer-event] { xlog("L_INFO", "EVENT=$(kzE{kz.json,Number})\n"); }
"#;

fn builder(name: &str) -> Builder {
    common::kamailio(name).routes(ROUTES)
}

/// One broker with TLS per port, in this order.
fn with_ports(builder: Builder, ports: &[u16]) -> Builder {
    let url = |port: &u16| format!("amqps://secure:{SECRET}@127.0.0.1:{port}");
    ports.iter().fold(builder, |builder, port| builder.modparam("amqp_connection", &url(port)))
}

fn with_file(builder: Builder, name: &str, file: &Path) -> Builder {
    builder.modparam(name, file.to_str().unwrap())
}

fn with_client(builder: Builder, identity: &Identity) -> Builder {
    with_file(with_file(builder, "amqps_cert", &identity.cert), "amqps_key", &identity.key)
}

/// Waits until the log says of the broker at `port` that it cannot be reached, and why.
fn until_refused(kamailio: &Kamailio, port: u16, why: &str) {
    let of_port = format!("127.0.0.1:{port} cannot be reached: ");
    let line = || complaints(kamailio).into_iter().find(|line| line.contains(&of_port));
    assert!(wait_until(PATIENCE, || line().is_some()), "nothing about {port}\n{}", tail(kamailio));
    assert!(line().unwrap().contains(why), "expected {why:?}: {}", line().unwrap());
}

/// Waits until exactly these brokers are connected.
fn until_connected_to(kamailio: &Kamailio, ports: &[u16]) {
    for port in ports {
        until_logged(kamailio, &format!("broker 127.0.0.1:{port} connected"));
    }
    assert_eq!(stat(kamailio, "connects"), ports.len() as u64, "{}", tail(kamailio));
}

fn assert_silent_about_the_secret(kamailio: &Kamailio) {
    let lines = kamailio.log_lines(SECRET);
    assert_eq!(lines, Vec::<String>::new());
}

#[test]
fn a_good_certificate_is_accepted_and_each_bad_one_refused_with_its_cause() {
    let (world, listeners) = world();
    let plain = listeners.broker.port();
    let ports =
        [listeners.expired, listeners.other_name, listeners.self_signed, listeners.demanding, plain, listeners.good];
    let builder = with_file(with_ports(builder("verified"), &ports), "amqps_ca_cert", &world.authority.file());
    let mut kamailio = builder.start().unwrap();
    until_connected_to(&kamailio, &[listeners.good]);
    until_refused(&kamailio, listeners.expired, "certificate expired");
    until_refused(&kamailio, listeners.other_name, "not valid for name \"127.0.0.1\"");
    until_refused(&kamailio, listeners.other_name, "amqps_verify_hostname");
    until_refused(&kamailio, listeners.self_signed, "amqps_ca_cert");
    until_refused(&kamailio, listeners.demanding, "amqps_cert, amqps_key");
    until_refused(&kamailio, plain, "does not speak TLS");

    // Beside all these failing attempts everything works through the good one.
    let sip = sip(&kamailio);
    let sink = sink(&listeners.broker, "tls-sink", "tls", "p");
    let queue = Queue::new("tls-peer").auto_delete().bind(&Exchange::topic("tls"), "q.#");
    let _peer =
        Peer::start(listeners.broker.client(), queue, |_| Reply::fields(json!({"Say": "through TLS"}))).unwrap();
    let body = json!({"Fill": "x".repeat(5_000)}).to_string();
    assert_eq!(number(&ask(&sip, "publish", &[], &body), "X-Ret"), 1);
    assert_eq!(exactly(&sink, 1)[0].json()["Fill"].as_str().unwrap().len(), 5_000);
    let answer = ask(&sip, "query", &[], "");
    assert_eq!((number(&answer, "X-Ret"), answer.header("X-Say")), (1, "through TLS"));
    let events: Vec<_> = (0..50)
        .map(|n| rig::Message::new("", "tls-events", json!({ "Number": n, "Fill": "x".repeat(20_000) }).to_string()))
        .collect();
    listeners.broker.client().publish(&events).unwrap();
    assert!(wait_until(PATIENCE, || kamailio.log_lines("EVENT=").len() == 50), "{}", tail(&kamailio));

    // And again after a reconnect.
    listeners.broker.ctl(&["close_all_user_connections", "secure", "a test"]).unwrap();
    until_stat(&kamailio, "disconnects", 1);
    until_connected(&kamailio, 1);
    assert_eq!(number(&ask(&sip, "publish", &[], "{}"), "X-Ret"), 1);
    exactly(&sink, 1);
    assert_silent_about_the_secret(&kamailio);
    still_well(&mut kamailio);
}

#[test]
fn a_broker_of_an_unknown_authority_is_refused() {
    let (world, listeners) = world();
    let ports = [listeners.good];
    let wrong = with_file(with_ports(builder("wrongca"), &ports), "amqps_ca_cert", &world.stranger.file());
    let kamailio = wrong.start().unwrap();
    until_refused(&kamailio, listeners.good, "amqps_ca_cert");
    assert_eq!(stat(&kamailio, "connects"), 0);
    // Without the parameter the authorities of the system count, and ours is none of them.
    let kamailio = with_ports(builder("systemca"), &ports).start().unwrap();
    until_refused(&kamailio, listeners.good, "amqps_ca_cert");
    assert_eq!(stat(&kamailio, "connects"), 0);
    assert_silent_about_the_secret(&kamailio);
}

#[test]
fn each_switch_turns_off_its_own_check_only() {
    let (world, listeners) = world();
    let ports = [listeners.good, listeners.other_name, listeners.self_signed, listeners.expired];
    let start = |name, peer, hostname| {
        let builder = with_file(with_ports(builder(name), &ports), "amqps_ca_cert", &world.authority.file());
        builder.modparam_int("amqps_verify_peer", peer).modparam_int("amqps_verify_hostname", hostname).start().unwrap()
    };
    let any_name = start("anyname", 1, 0);
    until_connected_to(&any_name, &[listeners.good, listeners.other_name]);
    until_refused(&any_name, listeners.self_signed, "amqps_ca_cert");
    until_refused(&any_name, listeners.expired, "certificate expired");

    let any_chain = start("anychain", 0, 1);
    until_connected_to(&any_chain, &[listeners.good, listeners.self_signed, listeners.expired]);
    until_refused(&any_chain, listeners.other_name, "not valid for name");

    let anything = start("anything", 0, 0);
    until_connected_to(&anything, &ports);
    assert_eq!(complaints(&anything), Vec::<String>::new());
}

#[test]
fn a_client_certificate_is_shown_to_a_broker_that_wants_one() {
    let (world, listeners) = world();
    let start = |name: &str, identity: &Identity| {
        let builder = with_ports(builder(name), &[listeners.demanding]);
        with_client(with_file(builder, "amqps_ca_cert", &world.authority.file()), identity).start().unwrap()
    };
    let known = start("client", &world.authority.sign(&["client.test"]).unwrap());
    until_connected_to(&known, &[listeners.demanding]);
    let unknown = start("strangeclient", &world.stranger.sign(&["client.test"]).unwrap());
    until_refused(&unknown, listeners.demanding, "");
    assert_eq!(stat(&unknown, "connects"), 0);
    assert_silent_about_the_secret(&known);
}

#[test]
fn files_that_cannot_be_used_stop_the_start_with_their_name() {
    let (world, listeners) = world();
    let identity = world.authority.sign(&["client.test"]).unwrap();
    let other = world.authority.sign(&["client.test"]).unwrap();
    let file = |name: &str, text: &str| {
        let path = world.authority.folder().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let missing = world.authority.folder().join("missing.pem");
    let garbage = file("garbage.pem", "this is no certificate\n");
    let cut = fs::read_to_string(&identity.cert).unwrap();
    let cut = file("cut.pem", &cut[..cut.len() / 2]);
    let noise = file("noise.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let locked =
        file("locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let folder = world.authority.folder();
    let (good_cert, good_key) = (identity.cert.as_path(), identity.key.as_path());
    let ca = world.authority.file();
    let cases: [(&Path, &Path, &Path, &[&str]); 12] = [
        (&missing, good_cert, good_key, &["amqps_ca_cert", "missing.pem", "No such file"]),
        (folder, good_cert, good_key, &["amqps_ca_cert", "s a directory"]),
        (&garbage, good_cert, good_key, &["amqps_ca_cert", "garbage.pem", "no certificate"]),
        (&cut, good_cert, good_key, &["amqps_ca_cert", "cut.pem"]),
        (&noise, good_cert, good_key, &["amqps_ca_cert", "noise.pem"]),
        (&ca, &missing, good_key, &["amqps_cert", "missing.pem", "No such file"]),
        (&ca, good_key, good_key, &["amqps_cert", good_key.to_str().unwrap(), "no certificate"]),
        (&ca, &noise, good_key, &["amqps_cert"]),
        (&ca, good_cert, &missing, &["amqps_key", "missing.pem", "No such file"]),
        (&ca, good_cert, good_cert, &["amqps_key", good_cert.to_str().unwrap(), "no private key"]),
        (&ca, good_cert, &locked, &["amqps_key", "locked.key", "password"]),
        (&ca, good_cert, &other.key, &["amqps_cert and amqps_key"]),
    ];
    for (ca, cert, key, named) in cases {
        let builder = with_file(with_ports(builder("badfile"), &[listeners.good]), "amqps_ca_cert", ca);
        let client = Identity { cert: cert.into(), key: key.into() };
        let log = with_client(builder, &client).start_refused().unwrap();
        let lines = complaints_in(&log);
        assert!(lines.iter().any(|line| named.iter().all(|part| line.contains(part))), "{named:?} in {lines:#?}");
        assert!(!log.contains("panicked"), "{log}");
    }
}
