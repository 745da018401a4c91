//! The private RabbitMQ and the applications on it, without Kamailio.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use std::time::{Duration, Instant};

use rig::{Broker, Exchange, Flood, Message, Queue, Sink, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn durable_queue_and_its_persistent_messages_outlive_a_kill() {
    let mut broker = Broker::start().unwrap();
    println!("RabbitMQ started in {:?}", broker.startup());
    let queue = Queue::new("kept").durable();
    broker.declare_queue(&queue).unwrap();
    let events: Vec<_> = (0..100).map(|n| Message::new("", "kept", format!("{{\"n\":{n}}}")).persistent()).collect();
    broker.client().publish(&events).unwrap();
    // The channel has them all; the queue has them a moment later.
    assert!(wait_until(PATIENCE, || broker.count("kept").unwrap() == 100));

    let port = broker.port();
    broker.stop().unwrap();
    assert!(broker.client().ping().is_err(), "a stopped broker answers");
    broker.restart().unwrap();
    assert_eq!((broker.port(), broker.count("kept").unwrap()), (port, 100));

    broker.kill().unwrap();
    assert!(!broker.is_running());
    broker.restart().unwrap();
    println!("RabbitMQ started again in {:?}", broker.startup());
    assert_eq!(broker.purge("kept").unwrap(), 100);
    assert!(broker.ctl(&["list_queues", "name"]).unwrap().contains("kept"));
}

#[test]
fn a_frozen_broker_answers_after_the_thaw_only() {
    let mut broker = Broker::start().unwrap();
    broker.freeze().unwrap();
    let client = broker.client();
    let asked = std::thread::spawn(move || client.ping().map(|()| Instant::now()));
    std::thread::sleep(Duration::from_millis(700));
    let thawed = Instant::now();
    broker.thaw().unwrap();
    assert!(asked.join().unwrap().unwrap() >= thawed);
}

#[test]
fn a_flood_through_a_broker_kill_arrives_in_full() {
    const COUNT: u64 = 20_000;
    let mut broker = Broker::start().unwrap();
    let events = Exchange::topic("events").durable();
    // Transient messages: the quorum queue keeps them all the same.
    let queue = Queue::new("collected").quorum().bind(&events, "event.#");
    broker.declare_queue(&queue).unwrap();
    let flood = Flood::start(broker.client(), COUNT, 0, |number| {
        Message::new("events", &format!("event.{number}"), format!("{{\"Number\":{number}}}"))
    })
    .unwrap();
    assert!(wait_until(PATIENCE, || flood.count().confirmed > COUNT / 4), "{flood:?}");
    broker.kill().unwrap();
    assert!(!flood.is_done(), "the broker was killed too late to prove anything");
    broker.restart().unwrap();
    let confirmed = flood.wait(PATIENCE).unwrap();
    assert_eq!(confirmed.confirmed, COUNT);
    let sink = Sink::keyed(broker.client(), queue, "Number").unwrap();
    assert!(sink.wait_distinct(usize::try_from(COUNT).unwrap(), PATIENCE), "{:?}", sink.count());
    println!("{confirmed:?} {:?}", sink.count());
    let mut numbers: Vec<u64> = sink.keys().iter().map(|key| key.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
}
