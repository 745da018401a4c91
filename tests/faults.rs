//! Servers and processes that die, freeze or are not there: SIP goes on, and nothing that was accepted is lost.
//!
//! The rule that is checked: a message whose `kazoo_publish` returned 1 arrives, unless Kamailio itself dies. Each test
//! has a broker and a Kamailio of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::{
    LONG, PATIENCE, ask, kamailio, kill_manager, number, sip, stat, stats, still_well, tail, until_connected,
    until_stat,
};
use rig::{Broker, Exchange, Flood, Kamailio, Message, Peer, Queue, Reply, Signal, Sink, SipClient, wait_until};

/// `batch` publishes ten messages numbered after `X-Base` until one is refused and tells how many were accepted.
const ROUTES: &str = r##"
request_route {
    switch ($hdr(X-Case)) {
    case "batch":
        $var(i) = 0;
        $var(rc) = 1;
        while ($var(rc) == 1 && $var(i) < 10) {
            kazoo_publish("events", "event", '{"Number":"$hdr(X-Base)-$var(i)","Text":"a payload as usual"}');
            $var(rc) = $rc;
            if ($var(rc) == 1) { $var(i) = $var(i) + 1; }
        }
        append_to_reply("X-Accepted: $var(i)\r\nX-Ret: $var(rc)\r\n");
        break;
    case "query":
        kazoo_query("callmgr", "q.plain", '{"Ask":"anybody"}');
        append_to_reply("X-Ret: $rc\r\n");
        break;
    }
    sl_send_reply("200", "OK");
    exit;
}
event_route[kazoo:mod-init] {
#!ifdef CONSUME
    kazoo_subscribe("{'exchange':'numbers','type':'topic','queue':'numbers','routing':'#','durable':1,
        'auto_delete':0,'no_ack':0,'wait_for_consumer_ack':1}");
#!endif
    xlog("L_DBG", "subscribed\n");
}
event_route[kazoo:consumer-event-connection-open] { xlog("L_DBG", "open\n"); }
event_route[kazoo:consumer-event-connection-closed] { xlog("L_DBG", "closed\n"); }
event_route[kazoo:consumer-event] { xlog("L_INFO", "NUMBER=$(kzE{kz.json,Number})\n"); }
"##;

fn builder(name: &str, broker: &Broker) -> rig::Builder {
    kamailio(name).broker(broker).children(2).routes(ROUTES)
}

/// The queue that keeps what it confirmed over a kill of the broker.
fn collected() -> Queue {
    Queue::new("collected").quorum().bind(&Exchange::topic("events").durable(), "#")
}

/// Clients that publish through SIP without pause until told to stop.
struct Load {
    stop: &'static AtomicBool,
    threads: Vec<JoinHandle<Ledger>>,
}

/// What the clients were told.
#[derive(Debug, Default)]
struct Ledger {
    accepted: Vec<String>,
    refused: u64,
    unanswered: u64,
    slowest: Duration,
}

impl Load {
    /// `clients` threads; `pause` between two requests of each.
    fn start(kamailio: &Kamailio, clients: usize, pause: Duration) -> Self {
        let stop: &AtomicBool = Box::leak(Box::default());
        let thread = |client: usize| {
            let sip = sip(kamailio);
            std::thread::spawn(move || drive(&sip, client, pause, stop))
        };
        Self { stop, threads: (0..clients).map(thread).collect() }
    }

    fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Ledger::default();
        for thread in self.threads {
            let part = thread.join().unwrap();
            sum.accepted.extend(part.accepted);
            sum.refused += part.refused;
            sum.unanswered += part.unanswered;
            sum.slowest = sum.slowest.max(part.slowest);
        }
        sum
    }
}

fn drive(sip: &SipClient, client: usize, pause: Duration, stop: &AtomicBool) -> Ledger {
    let mut ledger = Ledger::default();
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let base = format!("{client}-{round}");
        let request = sip.request("OPTIONS").header("X-Case", "batch").header("X-Base", &base);
        let Ok(response) = request.timeout(Duration::from_secs(5)).send() else {
            ledger.unanswered += 1;
            continue;
        };
        let accepted = number(&response, "X-Accepted");
        ledger.accepted.extend((0..accepted).map(|number| format!("{base}-{number}")));
        ledger.refused += u64::from(accepted < 10);
        ledger.slowest = ledger.slowest.max(response.took);
        if accepted < 10 {
            assert_eq!(number(&response, "X-Ret"), -5, "{response:?}");
        }
        std::thread::sleep(pause);
    }
    ledger
}

/// Checks that every accepted number has arrived, and reports how often one came twice.
fn assert_nothing_lost(sink: &Sink, ledger: &Ledger, kamailio: &Kamailio) {
    let accepted: BTreeSet<&String> = ledger.accepted.iter().collect();
    sink.wait_distinct(accepted.len(), PATIENCE);
    let missing = |arrived: &BTreeSet<String>| accepted.iter().filter(|number| !arrived.contains(**number)).count();
    let mut lost = 0;
    let complete = wait_until(PATIENCE, || {
        lost = missing(&sink.keys().into_iter().collect());
        lost == 0
    });
    println!(
        "accepted {}, refused batches {}, unanswered {}, slowest answer {:?}, {:?}",
        accepted.len(),
        ledger.refused,
        ledger.unanswered,
        ledger.slowest,
        sink.count()
    );
    assert!(complete, "{lost} of {} lost\n{}", accepted.len(), tail(kamailio));
}

/// Numbered persistent events into the durable queue that the script consumes (`CONSUME`).
struct Events {
    flood: Flood,
    count: u64,
}

impl Events {
    fn start(broker: &Broker, count: u64, rate: u32) -> Self {
        common::until_queue(broker, "numbers");
        let make = |number| Message::new("numbers", "n", format!("{{\"Number\":{number}}}")).persistent();
        Self { flood: Flood::start(broker.client(), count, rate, make).unwrap(), count }
    }

    /// Each confirmed event reached a route; those in the hands of whatever died perhaps twice.
    fn assert_handled(&self, broker: &Broker, kamailio: &Kamailio) {
        self.flood.wait(LONG).unwrap();
        let mut seen = BTreeSet::new();
        let complete = wait_until(PATIENCE, || {
            let lines = kamailio.log_lines("NUMBER=");
            seen = lines.iter().filter_map(|line| line.split_once("NUMBER=")?.1.trim().parse::<u64>().ok()).collect();
            seen.len() as u64 == self.count
        });
        assert!(complete, "{} of {} handled: {:?}\n{}", seen.len(), self.count, stats(kamailio), tail(kamailio));
        assert!(wait_until(PATIENCE, || broker.count("numbers").is_ok_and(|waiting| waiting == 0)));
    }
}

fn accepted_so_far(kamailio: &Kamailio) -> u64 {
    stat(kamailio, "published")
}

#[test]
fn nothing_accepted_is_lost_when_the_broker_is_killed_under_load() {
    let mut broker = Broker::start().unwrap();
    // Nobody consumes it before the kill: what was confirmed waits in the broker. Durable and no more, so that it is
    // amqp_persistent which makes the messages survive.
    let queue = Queue::new("kept").durable().bind(&Exchange::topic("events").durable(), "#");
    broker.declare_queue(&queue).unwrap();
    let kamailio = builder("brokerkill", &broker).modparam_int("amqp_persistent", 1).define("CONSUME", "1");
    let mut kamailio = kamailio.start().unwrap();
    until_connected(&kamailio, 1);
    let events = Events::start(&broker, 10_000, 2_000);
    let load = Load::start(&kamailio, 3, Duration::from_millis(5));
    until_stat(&kamailio, "confirmed", 2_000);
    broker.kill().unwrap();
    // SIP goes on, and publishes wait in the outbox until it is full.
    let before = accepted_so_far(&kamailio);
    assert!(wait_until(PATIENCE, || accepted_so_far(&kamailio) > before || stat(&kamailio, "refused_full") > 0));
    broker.restart().unwrap();
    let sink = Sink::keyed(broker.client(), queue, "Number").unwrap();
    let resumed = stat(&kamailio, "confirmed");
    until_stat(&kamailio, "confirmed", resumed + 2_000);
    let ledger = load.stop();
    until_stat(&kamailio, "confirmed", accepted_so_far(&kamailio));
    assert_nothing_lost(&sink, &ledger, &kamailio);
    assert_eq!(ledger.unanswered, 0);
    assert!(ledger.slowest < Duration::from_secs(3), "{:?}", ledger.slowest);
    assert_eq!(stat(&kamailio, "refused_by_broker"), 0, "{}", tail(&kamailio));
    events.assert_handled(&broker, &kamailio);
    still_well(&mut kamailio);
}

#[test]
fn nothing_accepted_is_lost_when_the_manager_is_killed_under_load() {
    const KILLS: usize = 6;
    let broker = Broker::start().unwrap();
    let queue = Queue::new("collected").bind(&Exchange::topic("events"), "#");
    let sink = Sink::keyed(broker.client(), queue, "Number").unwrap();
    let mut kamailio = builder("managerkill", &broker).define("CONSUME", "1").start().unwrap();
    until_connected(&kamailio, 1);
    let events = Events::start(&broker, 20_000, 3_000);
    let load = Load::start(&kamailio, 3, Duration::from_millis(1));
    for _ in 0..KILLS {
        let (confirmed, consumed) = (stat(&kamailio, "confirmed"), stat(&kamailio, "consumed"));
        until_stat(&kamailio, "confirmed", confirmed + 500);
        let consumes = || events.flood.is_done() || stat(&kamailio, "consumed") >= consumed + 100;
        assert!(wait_until(PATIENCE, consumes), "{:?}\n{}", stats(&kamailio), tail(&kamailio));
        kill_manager(&kamailio);
    }
    let confirmed = stat(&kamailio, "confirmed");
    until_stat(&kamailio, "confirmed", confirmed + 500);
    let ledger = load.stop();
    until_stat(&kamailio, "confirmed", accepted_so_far(&kamailio));
    assert_nothing_lost(&sink, &ledger, &kamailio);
    assert_eq!(ledger.unanswered, 0, "the server stayed up");
    assert_eq!(stat(&kamailio, "manager_starts"), KILLS as u64 + 1);

    events.assert_handled(&broker, &kamailio);
    println!("{:?}", stats(&kamailio));
    still_well(&mut kamailio);
}

#[test]
fn a_manager_that_hangs_is_replaced() {
    let broker = Broker::start().unwrap();
    let queue = Queue::new("collected").bind(&Exchange::topic("events"), "#");
    let sink = Sink::keyed(broker.client(), queue, "Number").unwrap();
    let mut kamailio = builder("hang", &broker).modparam_int("amqp_hang_timeout_ms", 1_000).start().unwrap();
    until_connected(&kamailio, 1);
    let load = Load::start(&kamailio, 2, Duration::from_millis(10));
    until_stat(&kamailio, "confirmed", 200);
    let pid = common::managers(&kamailio)[0];
    kamailio.signal(pid, Signal::SIGSTOP).unwrap();
    until_stat(&kamailio, "manager_starts", 2);
    let confirmed = stat(&kamailio, "confirmed");
    until_stat(&kamailio, "confirmed", confirmed + 200);
    let ledger = load.stop();
    assert_nothing_lost(&sink, &ledger, &kamailio);
    assert_eq!(ledger.unanswered, 0);
    assert!(!common::managers(&kamailio).contains(&pid));
    still_well(&mut kamailio);
}

#[test]
fn a_manager_that_hangs_with_nothing_to_do_is_replaced() {
    let broker = Broker::start().unwrap();
    let queue = Queue::new("collected").bind(&Exchange::topic("events"), "#");
    let sink = Sink::keyed(broker.client(), queue, "Number").unwrap();
    let mut kamailio = builder("idle-hang", &broker).modparam_int("amqp_hang_timeout_ms", 2_000).start().unwrap();
    until_connected(&kamailio, 1);
    // Half of the limit is less than the pause between two heartbeats: it is asked several times.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(stat(&kamailio, "manager_starts"), 1, "an idle one that answers is left alone");
    let pid = common::managers(&kamailio)[0];
    kamailio.signal(pid, Signal::SIGSTOP).unwrap();
    let began = Instant::now();
    until_stat(&kamailio, "manager_starts", 2);
    println!("replaced after {:?}", began.elapsed());
    let load = Load::start(&kamailio, 2, Duration::from_millis(10));
    until_stat(&kamailio, "confirmed", 100);
    let ledger = load.stop();
    assert_nothing_lost(&sink, &ledger, &kamailio);
    still_well(&mut kamailio);
}

#[test]
fn a_broker_that_appears_later_gets_what_waited() {
    let mut broker = Broker::start().unwrap();
    broker.declare_queue(&collected()).unwrap();
    broker.stop().unwrap();

    let mut kamailio = builder("later", &broker).start().unwrap();
    let sip = sip(&kamailio);
    let mut waiting = Vec::new();
    let full = wait_until(PATIENCE, || {
        let base = format!("waits-{}", waiting.len());
        let began = Instant::now();
        let response = ask(&sip, "batch", &[("X-Base", &base)], "");
        assert!(began.elapsed() < Duration::from_secs(1), "nobody to wait for: {:?}", began.elapsed());
        let accepted = number(&response, "X-Accepted");
        waiting.extend((0..accepted).map(|number| format!("{base}-{number}")));
        let full = accepted < 10;
        assert_eq!(number(&response, "X-Ret"), if full { -5 } else { 1 }, "never 0, which would end the script");
        full
    });
    assert!(full && waiting.len() > 100, "the outbox holds {} messages", waiting.len());
    let response = ask(&sip, "query", &[], "");
    assert_eq!(number(&response, "X-Ret"), -6);
    assert!(response.took < Duration::from_secs(1), "{:?}", response.took);
    // Two workers: the second one's outbox may have room still.
    let unconfirmed = stats(&kamailio);
    assert_eq!((unconfirmed["confirmed"], unconfirmed["connects"]), (0, 0), "{unconfirmed:?}");
    assert!(!common::complaints(&kamailio).is_empty(), "an absent broker is logged");
    let lines = common::complaints(&kamailio).len();
    assert!(lines < 50, "sparingly: {lines} lines");

    broker.restart().unwrap();
    until_connected(&kamailio, 1);
    let sink = Sink::keyed(broker.client(), collected(), "Number").unwrap();
    let ledger = Ledger { accepted: waiting, ..Ledger::default() };
    assert_nothing_lost(&sink, &ledger, &kamailio);
    assert_eq!(number(&ask(&sip, "batch", &[("X-Base", "now")], ""), "X-Accepted"), 10);
    still_well(&mut kamailio);
}

#[test]
fn sigterm_under_load_drains_the_outboxes() {
    let broker = Broker::start().unwrap();
    let queue = Queue::new("collected").bind(&Exchange::topic("events"), "#");
    let sink = Sink::keyed(broker.client(), queue, "Number").unwrap();
    let mut kamailio = builder("sigterm", &broker).children(4).start().unwrap();
    until_connected(&kamailio, 1);
    let load = Load::start(&kamailio, 6, Duration::ZERO);
    until_stat(&kamailio, "confirmed", 2_000);
    let stopped = kamailio.stop().unwrap();
    let ledger = load.stop();
    assert!(stopped.status.success(), "{stopped:?}\n{}", tail(&kamailio));
    assert!(stopped.took < Duration::from_secs(8), "{stopped:?}");
    assert_nothing_lost(&sink, &ledger, &kamailio);
}

#[test]
fn sigterm_with_a_frozen_broker_ends_after_the_drain_limit() {
    let mut broker = Broker::start().unwrap();
    let queue = Queue::new("collected").bind(&Exchange::topic("events"), "#");
    let sink = Sink::keyed(broker.client(), queue, "Number").unwrap();
    let mut kamailio = builder("undrained", &broker).modparam_int("amqp_drain_timeout_ms", 1_000).start().unwrap();
    until_connected(&kamailio, 1);
    broker.freeze().unwrap();
    let response = ask(&sip(&kamailio), "batch", &[("X-Base", "frozen")], "");
    assert_eq!(number(&response, "X-Accepted"), 10);
    let stopped = kamailio.stop().unwrap();
    assert!(stopped.status.success(), "{stopped:?}\n{}", tail(&kamailio));
    assert!(stopped.took < Duration::from_secs(10), "{stopped:?}");
    let lines = common::complaints(&kamailio);
    assert!(lines.iter().any(|line| line.contains(" 10 ")), "the undrained messages are counted: {lines:#?}");
    broker.thaw().unwrap();
    drop(sink);
}

#[test]
fn sip_goes_on_while_the_broker_is_frozen() {
    let mut broker = Broker::start().unwrap();
    let queue = Queue::new("collected").bind(&Exchange::topic("events"), "#");
    let sink = Sink::keyed(broker.client(), queue, "Number").unwrap();
    // Heartbeats off the default, so that the connection is given up within the test as well.
    let mut kamailio = builder("frozen", &broker).modparam_int("amqp_heartbeats", 2).start().unwrap();
    until_connected(&kamailio, 1);
    let load = Load::start(&kamailio, 3, Duration::from_millis(10));
    until_stat(&kamailio, "confirmed", 200);
    broker.freeze().unwrap();
    // Until the heartbeat finds out, and while reconnecting to a port that accepts and never speaks.
    until_stat(&kamailio, "disconnects", 1);
    until_stat(&kamailio, "refused_full", 20);
    let sip = sip(&kamailio);
    for _ in 0..50 {
        let response = ask(&sip, "none", &[], "");
        assert!(response.code == 200 && response.took < Duration::from_secs(1), "{response:?}");
    }
    broker.thaw().unwrap();
    let confirmed = stat(&kamailio, "confirmed");
    until_stat(&kamailio, "confirmed", confirmed + 200);
    let ledger = load.stop();
    assert_eq!(ledger.unanswered, 0);
    assert!(ledger.refused > 0 && ledger.slowest < Duration::from_secs(2), "{:?}", ledger.slowest);
    assert_nothing_lost(&sink, &ledger, &kamailio);
    still_well(&mut kamailio);
}

#[test]
fn second_broker_takes_over_and_the_first_is_preferred_again() {
    let mut first = Broker::start().unwrap();
    let second = Broker::start().unwrap();
    let sink_of = |broker: &Broker| Sink::keyed(broker.client(), collected(), "Number").unwrap();
    let (first_sink, second_sink) = (sink_of(&first), sink_of(&second));
    let mut kamailio = builder("failover", &first).broker(&second).start().unwrap();
    until_connected(&kamailio, 2);
    let sip = sip(&kamailio);
    let publish = |base: &str| assert_eq!(number(&ask(&sip, "batch", &[("X-Base", base)], ""), "X-Accepted"), 10);
    publish("first");
    assert!(first_sink.wait_distinct(10, PATIENCE), "{}", tail(&kamailio));
    assert_eq!(second_sink.count().arrived, 0);
    first.kill().unwrap();
    publish("second");
    assert!(second_sink.wait_distinct(10, PATIENCE), "{}", tail(&kamailio));
    first.restart().unwrap();
    until_stat(&kamailio, "connects", 3);
    publish("again");
    assert!(first_sink.wait_distinct(20, PATIENCE), "{:?}\n{}", first_sink.count(), tail(&kamailio));
    still_well(&mut kamailio);
}

/// A query that nobody answers, asked in a thread of its own; returns once the peer has it.
fn query_in_flight(kamailio: &Kamailio, peer: &Peer) -> JoinHandle<rig::Response> {
    let before = peer.count().questions;
    let sip = sip(kamailio);
    let asked = std::thread::spawn(move || ask(&sip, "query", &[], ""));
    assert!(wait_until(PATIENCE, || peer.count().questions > before));
    asked
}

#[test]
fn query_in_flight_ends_when_manager_or_broker_die() {
    let mut broker = Broker::start().unwrap();
    let silent = AtomicBool::new(true);
    let silent: &AtomicBool = Box::leak(Box::new(silent));
    let queue = Queue::new("asked").bind(&Exchange::topic("callmgr"), "q.#");
    let peer = Peer::start(broker.client(), queue, move |_| match silent.load(Ordering::Relaxed) {
        true => Reply::silence(),
        false => Reply::fields(serde_json::json!({})),
    })
    .unwrap();
    let mut kamailio = builder("inflight", &broker).modparam_int("amqp_query_timeout_sec", 5).start().unwrap();
    until_connected(&kamailio, 1);

    let asked = query_in_flight(&kamailio, &peer);
    kill_manager(&kamailio);
    let response = asked.join().unwrap();
    assert!([-7, -8].contains(&number(&response, "X-Ret")), "{response:?}");
    assert!(response.took < Duration::from_millis(5_900), "{:?}", response.took);

    let again = || number(&ask(&sip(&kamailio), "query", &[], ""), "X-Ret") == 1;
    silent.store(false, Ordering::Relaxed);
    assert!(wait_until(PATIENCE, again), "{}", tail(&kamailio));
    silent.store(true, Ordering::Relaxed);

    let asked = query_in_flight(&kamailio, &peer);
    broker.kill().unwrap();
    let response = asked.join().unwrap();
    assert_eq!(number(&response, "X-Ret"), -8, "the connection broke\n{}", tail(&kamailio));
    assert!(response.took < Duration::from_secs(4), "at once, not at the timeout: {:?}", response.took);
    silent.store(false, Ordering::Relaxed);
    broker.restart().unwrap();
    assert!(wait_until(PATIENCE, again), "{}", tail(&kamailio));
    still_well(&mut kamailio);
}

#[test]
fn an_alarm_of_the_broker_holds_messages_back_and_loses_none() {
    let broker = Broker::start().unwrap();
    let queue = Queue::new("collected").bind(&Exchange::topic("events"), "#");
    let sink = Sink::keyed(broker.client(), queue, "Number").unwrap();
    let mut kamailio = builder("alarm", &broker).start().unwrap();
    until_connected(&kamailio, 1);
    let load = Load::start(&kamailio, 3, Duration::from_millis(2));
    until_stat(&kamailio, "confirmed", 500);
    broker.ctl(&["set_vm_memory_high_watermark", "absolute", "1"]).unwrap();
    until_stat(&kamailio, "refused_full", 50);
    let held = wait_until(PATIENCE, || !common::complaints(&kamailio).is_empty());
    assert!(held, "blocked publishing is logged\n{}", tail(&kamailio));
    let status = || kamailio.rpc(&["kazoo.status"]).unwrap();
    let is_shown = |text: &str| text.contains("primary_zone: blocked") && text.contains("state: stalled");
    assert!(wait_until(PATIENCE, || is_shown(&status())), "{}", status());
    broker.ctl(&["set_vm_memory_high_watermark", "absolute", "1GB"]).unwrap();
    let confirmed = stat(&kamailio, "confirmed");
    until_stat(&kamailio, "confirmed", confirmed + 500);
    let ledger = load.stop();
    assert_eq!(ledger.unanswered, 0);
    assert_nothing_lost(&sink, &ledger, &kamailio);
    still_well(&mut kamailio);
}

#[test]
fn a_peer_that_accepts_and_never_speaks_is_passed_over() {
    // The kernel completes the connection; nobody ever reads or writes.
    let mute = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("amqp://guest:guest@127.0.0.1:{}", mute.local_addr().unwrap().port());
    let broker = Broker::start().unwrap();
    let queue = Queue::new("collected").bind(&Exchange::topic("events"), "#");
    let sink = Sink::keyed(broker.client(), queue, "Number").unwrap();
    let alone = kamailio("mute").modparam("amqp_connection", &url).routes(ROUTES).start().unwrap();
    let client = sip(&alone);
    for _ in 0..5 {
        assert_eq!(number(&ask(&client, "batch", &[("X-Base", "mute")], ""), "X-Ret"), 1, "waits in the outbox");
        let response = ask(&client, "query", &[], "");
        assert!(number(&response, "X-Ret") == -6 && response.took < Duration::from_secs(1), "{response:?}");
    }
    drop(alone);
    let mut both = kamailio("passed").modparam("amqp_connection", &url).broker(&broker).routes(ROUTES).start().unwrap();
    until_connected(&both, 1);
    assert_eq!(number(&ask(&sip(&both), "batch", &[("X-Base", "b")], ""), "X-Accepted"), 10);
    assert!(sink.wait_distinct(10, PATIENCE), "{:?}\n{}", sink.count(), tail(&both));
    still_well(&mut both);
}
