//! Deployed configurations (`tests/deployed/`) under valgrind's memcheck: no invalid read or write, no use of
//! uninitialised memory, no leak with a frame of ours, in any process of the server.
//!
//! Kamailio's own pools hide its allocations from valgrind; the module's Rust code uses malloc, so that what it does is
//! seen byte by byte. `make valgrind` runs both tests with more rounds: a leak per message then is a leak in each of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{PATIENCE, broker, hostname, number, sip, still_well, tail, until_connected, until_stat};
use rig::{Broker, Database, Engine, Exchange, Kamailio, Message, Peer, Queue, Reply, Sipp, wait_until};
use serde_json::json;

/// Longest wait of one step: valgrind makes everything some thirty times slower.
const SLOW: Duration = Duration::from_secs(120);

/// How often everything is done: `KAZOO_VALGRIND_ROUNDS`, else 2.
fn rounds() -> u32 {
    std::env::var("KAZOO_VALGRIND_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// A file of the deployed configurations.
fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/deployed", name].iter().collect()
}

/// Where the processes of one Kamailio leave what valgrind saw, a file each.
struct Findings(PathBuf);

impl Findings {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("valgrind-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// A Kamailio with the configuration `name`, under valgrind.
    fn watch(&self, name: &str, broker: &Broker) -> rig::Builder {
        let xml = format!("--xml-file={}/%p.xml", self.0.display());
        let suppressions = format!("--suppressions={}", file("valgrind.supp").display());
        Kamailio::builder()
            .under(&[
                "valgrind",
                "--tool=memcheck",
                "--trace-children=yes",
                "--leak-check=full",
                "--show-leak-kinds=definite",
                "--num-callers=40",
                "--xml=yes",
                &xml,
                &suppressions,
            ])
            .config_file(file(&format!("{name}.cfg")))
            .substitute("MY_HOSTNAME", &hostname(&format!("valgrind-{name}")))
            .substitute("MY_AMQP_URL", &broker.url())
            .define("MY_AMQP_MAX_CHANNELS", "25")
            .define("QUERY_TIMEOUT_MS", "10000")
            .define("SLOW", "1")
    }

    /// Fails when valgrind found something in which code of ours took part. For the time after the stop.
    fn check(&self) {
        let texts = self.texts();
        // Main, workers, timers, consumers, supervisor, manager; each ended and gave its list of leaks.
        let ended = texts.iter().filter(|text| text.contains("<state>FINISHED</state>")).count();
        assert!(ended >= 10 && ended == texts.len(), "{ended} of {} processes ended: {:?}", texts.len(), self.0);
        let (all, ours) = found(&texts);
        println!("{ended} processes, {all} findings, {} of ours", ours.len());
        assert!(ours.is_empty(), "a finding of ours");
        fs::remove_dir_all(&self.0).unwrap();
    }

    /// What each process wrote so far.
    fn texts(&self) -> Vec<String> {
        let files = fs::read_dir(&self.0).into_iter().flatten().flatten();
        files.map(|file| fs::read_to_string(file.path()).unwrap_or_default()).collect()
    }
}

impl Drop for Findings {
    /// A test that fails tells what valgrind saw: it may be why.
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", found(&self.texts()).1.join("\n"));
        }
    }
}

/// How many errors there are, and those with a frame of ours.
fn found(texts: &[String]) -> (usize, Vec<String>) {
    let errors: Vec<_> = texts.iter().flat_map(|text| text.split("<error>").skip(1)).collect();
    let ours = errors.iter().filter(|error| error.contains("kazoo.so</obj>"));
    (errors.len(), ours.map(|error| summary(error)).collect())
}

/// Kind of the error and its frames, one line each.
fn summary(error: &str) -> String {
    let tag = |text: &str, name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value.to_string())
    };
    let frames = error.split("<frame>").skip(1).map(|frame| {
        let place = |name| tag(frame, name).unwrap_or_default();
        format!("    {} ({}:{})", place("fn"), place("file"), place("line"))
    });
    let what = tag(error, "text").or_else(|| tag(error, "what")).unwrap_or_default();
    std::iter::once(format!("{}: {what}", tag(error, "kind").unwrap_or_default()))
        .chain(frames)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Waits until the queue exists and is empty: what was published into it is in the module.
fn until_taken(broker: &Broker, queue: &str) {
    assert!(
        wait_until(SLOW, || broker.count(queue).is_ok_and(|count| count == 0)),
        "queue {queue}: {:?}",
        broker.count(queue)
    );
}

/// Answers all queries of the slides: credentials and channels.
fn application(broker: &Broker) -> [Peer; 2] {
    let directory = Queue::new("directory").auto_delete().bind(&Exchange::topic("callmgr"), "authn.req.#");
    let channels = Queue::new("channels").auto_delete().bind(&Exchange::topic("callevt"), "call.status_req.#");
    [
        Peer::start(broker.client(), directory, |_| {
            Reply::fields(json!({"Auth-Password": "secret", "Custom-Channel-Vars": {"Account-ID": "4a"}}))
        })
        .unwrap(),
        Peer::start(broker.client(), channels, |_| Reply::fields(json!({"Channels": []}))).unwrap(),
    ]
}

#[test]
fn slides_have_no_memory_error() {
    let broker = broker();
    let _application = application(&broker);
    let findings = Findings::new("slides");
    let mut kamailio = findings.watch("slides", &broker).start().unwrap();
    until_connected(&kamailio, 1);
    let flush_queue = format!("MSG-FLUSH-{}", hostname("valgrind-slides"));
    until_taken(&broker, &flush_queue);
    let client = sip(&kamailio);
    for round in 0..rounds() {
        for (scenario, password) in
            [(Sipp::file(file("accepted.xml")), "secret"), (Sipp::file(file("refused.xml")), "wrong")]
        {
            let run = scenario.calls(1).user(&format!("user{round}"), password).start(kamailio.sip_port()).unwrap();
            let report = run.wait(SLOW).unwrap();
            assert_eq!(report.failed, 0, "{report:?}\n{}", tail(&kamailio));
        }
        let subscribe = client.request("SUBSCRIBE").header("Event", "dialog").header("Expires", "60").timeout(PATIENCE);
        assert_eq!(number(&subscribe.send().unwrap(), "X-Ret"), 1);
        // A call that the switch does not know.
        let call = client.request("INVITE").header("Replaces", "1@10.26.0.7;to-tag=1;from-tag=2").timeout(PATIENCE);
        assert_eq!(call.send().unwrap().code, 404, "{}", tail(&kamailio));

        let flush = json!({"Event-Category": "directory", "Event-Name": "reg_flush", "Username": format!("user{round}"),
            "Realm": "rig.test"});
        let nodes = json!({"Event-Category": "nodes", "Event-Name": "advertise", "Server-ID": "reply.here",
            "Media-Servers": ["freeswitch@10.26.0.31", "freeswitch@10.26.0.32"]});
        // Larger than a ring takes in one piece.
        let large = json!({"Event-Category": "nodes", "Event-Name": "advertise", "Fill": "x".repeat(200_000)});
        let bodies =
            [flush.to_string(), nodes.to_string(), large.to_string(), "[1, 2".into(), "17".into(), String::new()];
        let messages: Vec<_> = bodies.iter().map(|body| Message::new("", &flush_queue, body.as_str())).collect();
        broker.client().publish(&messages).unwrap();
        until_stat(&kamailio, "not_json", u64::from(3 * (round + 1)));
    }
    until_taken(&broker, &flush_queue);
    assert!(wait_until(SLOW, || !kamailio.log_lines("=> sip:10.26.0.32:11000").is_empty()), "{}", tail(&kamailio));
    still_well(&mut kamailio);
    kamailio.stop().unwrap();
    findings.check();
}

#[test]
#[ignore = "for make valgrind: as long again"]
fn presence_has_no_memory_error() {
    let broker = broker();
    let database = Database::start(Engine::Postgres).unwrap();
    let findings = Findings::new("presence");
    let builder = findings.watch("presence", &broker);
    let builder = builder.substitute("MY_DB_DRIVER", database.driver()).substitute("MY_DB_URL", &database.url());
    let mut kamailio = builder.start().unwrap();
    until_connected(&kamailio, 1);
    let queue = format!("BLF-QUEUE-{}", hostname("valgrind-presence"));
    until_taken(&broker, &queue);
    let client = sip(&kamailio);
    for round in 0..rounds() {
        let subscribe = client.request("SUBSCRIBE").header("Event", "dialog").header("Expires", "60").timeout(PATIENCE);
        assert!(subscribe.send().unwrap().code < 300, "{}", tail(&kamailio));
        let update = |package: &str| {
            json!({"Event-Category": "presence", "Event-Name": "update", "Event-Package": package, "Expires": 3600,
                "From": "sip:test@rig.test", "From-User": "test", "From-Realm": "rig.test", "To": "sip:<b>&@rig.test",
                "To-User": "b", "State": "early", "Call-ID": format!("call-{round}"), "Messages-Waiting": "yes"})
        };
        let messages = ["dialog", "presence", "message-summary", "none"]
            .map(|package| Message::new("", &queue, update(package).to_string()));
        broker.client().publish(&messages).unwrap();
        until_stat(&kamailio, "handled", u64::from(4 * (round + 1)));
    }
    assert_eq!(database.rows("presentity", &["event"], "event").unwrap().len(), 2 + rounds() as usize);
    still_well(&mut kamailio);
    kamailio.stop().unwrap();
    findings.check();
}
