//! What the rig has to make trouble with: proxy, cluster, alarms, permissions, limits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rig::{Broker, Cluster, Exchange, Flood, Kamailio, Message, Proxy, Queue, Signal, Sink, Sipp, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that sends back what it gets, one connection after the other.
fn echo() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut copy = client.try_clone().unwrap();
            // A reset ends this connection, which is what the test wants.
            let _ = std::io::copy(&mut client, &mut copy);
        }
    });
    port
}

fn client(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends the text and returns after how long it was back.
fn echoed(stream: &mut TcpStream, text: &[u8]) -> Duration {
    let began = Instant::now();
    stream.write_all(text).unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, text);
    began.elapsed()
}

#[test]
fn proxy_forwards_holds_back_slows_and_resets() {
    let proxy = Proxy::start(echo()).unwrap();
    let mut stream = client(&proxy);
    echoed(&mut stream, b"hello");

    proxy.stall();
    stream.write_all(b"held").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut back = [0; 4];
    let silence = stream.read(&mut back).unwrap_err();
    assert!(matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silence}");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    proxy.forward();
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"held", "late, not lost");

    // Five pieces there and five back, the ways overlapping: six delays at least.
    proxy.slow(Duration::from_millis(50), 1000);
    let took = echoed(&mut stream, &[7; 5000]);
    assert!(took >= Duration::from_millis(300), "{took:?}");
    proxy.forward();

    proxy.reset_all();
    let reset = stream.read(&mut back).unwrap_err();
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    proxy.target(echo());
    echoed(&mut client(&proxy), b"a new connection, to another server");
}

#[test]
fn proxy_without_a_server_closes() {
    let nobody = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let proxy = Proxy::start(nobody).unwrap();
    assert!(client(&proxy).read(&mut [0]).is_ok_and(|read| read == 0));
}

#[test]
fn cluster_keeps_a_quorum_queue_without_its_leader() {
    let mut cluster = Cluster::start(3).unwrap();
    let queue = Queue::new("kept").quorum();
    cluster.declare_queue(queue.clone(), 1).unwrap();
    assert_eq!(cluster.leader("kept", 0).unwrap(), 1);
    let publish = |node: &Broker, text: &str| {
        let flood = Flood::start(node.client(), 1, 0, {
            let text = text.to_string();
            move |_| Message::new("", "kept", text.clone())
        });
        flood.unwrap().wait(PATIENCE).unwrap();
    };
    publish(&cluster.nodes()[0], "before");
    cluster.nodes_mut()[1].kill().unwrap();
    assert!(wait_until(PATIENCE, || cluster.leader("kept", 0).is_ok_and(|leader| leader != 1)));
    publish(&cluster.nodes()[2], "without it");
    cluster.nodes_mut()[1].restart().unwrap();
    let sink = Sink::start(cluster.nodes()[1].client(), queue).unwrap();
    assert!(sink.wait_for(2, PATIENCE));
    let bodies: Vec<_> = sink.take().into_iter().map(|message| message.body).collect();
    assert_eq!(bodies, [b"before".to_vec(), b"without it".to_vec()]);
}

#[test]
fn alarms_hold_publishers_and_permissions_keep_users_out() {
    let broker = Broker::start().unwrap();
    let queue = Queue::new("q").bind(&Exchange::topic("e"), "#");
    broker.declare_queue(&queue).unwrap();
    for raise in [Broker::raise_memory_alarm, Broker::raise_disk_alarm] {
        raise(&broker).unwrap();
        let flood = Flood::start(broker.client(), 10, 0, |_| Message::new("e", "k", "{}")).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(flood.count().confirmed, 0, "an alarm stops publishers");
        broker.clear_alarms().unwrap();
        assert_eq!(flood.wait(PATIENCE).unwrap().confirmed, 10);
    }

    let connects = |user: &str| {
        let url = format!("amqp://{user}:word@127.0.0.1:{}", broker.port());
        let kamailio = Kamailio::builder().modparam("amqp_connection", &url).modparam_int("pua_mode", 0);
        let kamailio = kamailio.start().unwrap();
        let connected = || kamailio.rpc_numbers(&["kazoo.stats"]).is_ok_and(|stats| stats["connects"] > 0);
        wait_until(Duration::from_secs(3), connected)
    };
    broker.add_user("somebody", "word").unwrap();
    assert!(!connects("somebody"));
    broker.set_permissions("somebody", ".*", ".*", ".*").unwrap();
    assert!(connects("somebody"));
    broker.clear_permissions("somebody").unwrap();
    assert!(!connects("somebody"));
}

#[test]
fn a_flood_ends_when_told_and_a_kamailio_starts_again() {
    let broker = Broker::start().unwrap();
    broker.declare_queue(&Queue::new("q")).unwrap();
    let flood = Flood::start(broker.client(), u64::MAX, 1000, |n| Message::new("", "q", n.to_string())).unwrap();
    assert!(wait_until(PATIENCE, || flood.count().confirmed > 100));
    let count = flood.end(PATIENCE).unwrap().confirmed;
    assert_eq!(u64::from(broker.count("q").unwrap()), count);

    let routes = "request_route { sl_send_reply(\"200\", \"OK\"); exit; }\n";
    let mut kamailio = Kamailio::builder().without_module().routes(routes).start().unwrap();
    let sipp = Sipp::scenario("options").calls(1_000_000).rate(200).start(kamailio.sip_port()).unwrap();
    assert!(wait_until(PATIENCE, || sipp.progress().succeeded > 100));
    let worker = kamailio.processes_titled("udp receiver").unwrap()[0].pid;
    kamailio.limit_descriptors(&[worker], Some(5)).unwrap();
    assert!(kamailio.descriptors(worker) > 5, "what is open stays open");
    kamailio.limit_descriptors(&[worker], None).unwrap();

    kamailio.signal(worker, Signal::SIGKILL).unwrap();
    assert!(wait_until(PATIENCE, || !kamailio.is_running()), "Kamailio stops when a worker dies");
    let port = kamailio.sip_port();
    kamailio.restart().unwrap();
    assert_eq!(kamailio.sip_port(), port);
    let before = sipp.progress().succeeded;
    assert!(wait_until(PATIENCE, || sipp.progress().succeeded > before + 100));
    let report = sipp.finish(PATIENCE).unwrap();
    assert_eq!((report.failed, report.answer_times.len() as u64), (0, report.succeeded), "{report:?}");
}
