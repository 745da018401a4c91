//! What the end-to-end tests share: one private RabbitMQ per test file, a Kamailio with the module, small questions to
//! both of them.
//!
//! Run them one at a time, the machine is part of what they measure:
//! `cargo test -p kazoo --no-default-features --test publish -- --test-threads=1`.
//! The module under test is `KAZOO_MODULE`, else `target/release/kazoo.so`. Nothing here links Kamailio or the module.
//! Every wait has an end: [`PATIENCE`], unless a test says otherwise.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rig::{Arrived, Broker, Exchange, Flood, Kamailio, Message, Queue, Response, Signal, Sink, SipClient, wait_until};

/// Watchdog of a single step. Far longer than any step takes on two busy cores.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Watchdog of a step that moves 100 000 messages.
pub const LONG: Duration = Duration::from_secs(180);

static BROKER: LazyLock<Mutex<Broker>> = LazyLock::new(|| Mutex::new(Broker::start().unwrap()));

/// The broker that the tests of a file share. Tests that stop, kill or freeze a broker start their own.
pub fn broker() -> MutexGuard<'static, Broker> {
    BROKER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A Kamailio with the module; `name` becomes its host name on the bus, so that no two tests share a reply queue.
pub fn kamailio(name: &str) -> rig::Builder {
    Kamailio::builder().modparam("node_hostname", &hostname(name)).modparam_int("pua_mode", 0)
}

/// The `node_hostname` of the test `name`.
pub fn hostname(name: &str) -> String {
    format!("{name}.rig.test")
}

/// A sink on a queue of its own, bound to the topic exchange `exchange` with `key`.
pub fn sink(broker: &Broker, queue: &str, exchange: &str, key: &str) -> Sink {
    Sink::start(broker.client(), Queue::new(queue).bind(&Exchange::topic(exchange), key)).unwrap()
}

/// The next `count` messages; fails when they do not come or more of them do.
pub fn exactly(sink: &Sink, count: usize) -> Vec<Arrived> {
    let before = Instant::now();
    let mut messages = Vec::new();
    while messages.len() < count && before.elapsed() < PATIENCE {
        sink.wait_for(1, Duration::from_millis(20));
        messages.extend(sink.take());
    }
    assert_eq!(messages.len(), count, "{messages:?}");
    messages
}

/// Waits until the module is connected to `links` brokers.
pub fn until_connected(kamailio: &Kamailio, links: u64) {
    let connected = wait_until(PATIENCE, || stat(kamailio, "connects") - stat(kamailio, "disconnects") >= links);
    assert!(connected, "{:?}\n{}", stats(kamailio), kamailio.log());
}

/// All counters of the module.
pub fn stats(kamailio: &Kamailio) -> BTreeMap<String, u64> {
    kamailio.rpc_numbers(&["kazoo.stats"]).unwrap()
}

/// One counter of the module.
pub fn stat(kamailio: &Kamailio, name: &str) -> u64 {
    let stats = stats(kamailio);
    *stats.get(name).unwrap_or_else(|| panic!("kazoo.stats has no {name}: {stats:?}"))
}

/// Waits until a counter has at least this value.
pub fn until_stat(kamailio: &Kamailio, name: &str, value: u64) {
    let reached = wait_until(PATIENCE, || stat(kamailio, name) >= value);
    assert!(reached, "{name} did not reach {value}: {:?}\n{}", stats(kamailio), tail(kamailio));
}

/// A wait that must end at its time, told by `attempt` in milliseconds: never before `allowed` begins, and before it
/// ends at least once in three attempts. A busy machine delays now and then, a wrong wait is wrong each time.
pub fn assert_takes(allowed: Range<u128>, what: &str, mut attempt: impl FnMut() -> u128) {
    let mut seen = Vec::new();
    while seen.last().is_none_or(|took| *took >= allowed.end) {
        assert!(seen.len() < 3, "{what}: {seen:?} ms, expected {allowed:?}");
        seen.push(attempt());
        assert!(seen.last() >= Some(&allowed.start), "{what}: {seen:?} ms, expected {allowed:?}");
    }
}

/// Waits until the log holds `part`.
pub fn until_logged(kamailio: &Kamailio, part: &str) {
    assert!(kamailio.wait_for_log(part, PATIENCE), "not logged: {part}\n{}", tail(kamailio));
}

/// Waits until the module has begun to consume the queue for the `times`th time: it is bound by then.
pub fn until_consumed(kamailio: &Kamailio, queue: &str, times: usize) {
    let line = format!("consuming queue \"{queue}\"");
    let consumed = wait_until(PATIENCE, || kamailio.log_lines(&line).len() >= times);
    assert!(consumed, "queue {queue} is not consumed\n{}", tail(kamailio));
}

/// Lets event routes end that wait while `$shv(released)` is 0: what is asked meanwhile may take seconds on a busy machine.
pub fn release(kamailio: &Kamailio) {
    kamailio.rpc(&["pv.shvSet", "released", "int", "1"]).unwrap();
}

/// Waits until the broker has the queue, which the module declares when it is connected. It is not yet bound then: what
/// is published to an exchange has to go through [`publish_routed`] or a [`Flood`].
pub fn until_queue(broker: &Broker, queue: &str) {
    assert!(wait_until(PATIENCE, || broker.count(queue).is_ok()), "queue {queue} was not declared");
}

/// Publishes to the exchange; tried again until something is bound there.
pub fn publish_routed(broker: &Broker, exchange: &str, key: &str, body: &str) {
    let message = Message::new(exchange, key, body);
    Flood::start(broker.client(), 1, 0, move |_| message.clone()).unwrap().wait(PATIENCE).unwrap();
}

/// Publishes straight into a queue.
pub fn publish_queued(broker: &Broker, queue: &str, bodies: impl IntoIterator<Item = impl Into<Vec<u8>>>) {
    let messages: Vec<_> = bodies.into_iter().map(|body| Message::new("", queue, body).persistent()).collect();
    broker.client().publish(&messages).unwrap();
}

/// What the event routes logged after `marker`, in order of the log.
pub fn logged(kamailio: &Kamailio, marker: &str) -> Vec<String> {
    let after = |line: &String| line.split_once(marker).map(|(_, rest)| rest.trim().to_string());
    kamailio.log_lines(marker).iter().filter_map(after).collect()
}

/// Waits for `count` reports and returns them.
pub fn reports(kamailio: &Kamailio, marker: &str, count: usize) -> Vec<String> {
    let came = wait_until(PATIENCE, || logged(kamailio, marker).len() >= count);
    assert!(came, "{count} reports {marker:?} expected\n{}", tail(kamailio));
    let reports = logged(kamailio, marker);
    assert_eq!(reports.len(), count, "{reports:?}");
    reports
}

/// A client of this Kamailio.
pub fn sip(kamailio: &Kamailio) -> SipClient {
    SipClient::new(kamailio.sip_port()).unwrap()
}

/// An OPTIONS that chooses the branch `case` of the test's script, with further headers and a body.
pub fn ask(client: &SipClient, case: &str, headers: &[(&str, &str)], body: &str) -> Response {
    ask_patiently(client, case, headers, body, PATIENCE)
}

/// [`ask`] with a watchdog of its own, for scripts that loop for long.
pub fn ask_patiently(
    client: &SipClient,
    case: &str,
    headers: &[(&str, &str)],
    body: &str,
    timeout: Duration,
) -> Response {
    let mut request = client.request("OPTIONS").header("X-Case", case).timeout(timeout);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    if !body.is_empty() {
        request = request.body("application/json", body);
    }
    request.send().unwrap()
}

/// A header of the answer as a number; what the script reports.
pub fn number(response: &Response, header: &str) -> i64 {
    response.header(header).parse().unwrap_or_else(|_| panic!("{header} is no number: {response:?}"))
}

/// The module's warnings and errors in the log.
pub fn complaints(kamailio: &Kamailio) -> Vec<String> {
    complaints_in(&kamailio.log())
}

/// The same in a text.
pub fn complaints_in(log: &str) -> Vec<String> {
    let levels = ["WARNING: kazoo", "ERROR: kazoo", "CRITICAL: kazoo", "ALERT: kazoo", "BUG: kazoo"];
    log.lines().filter(|line| levels.iter().any(|level| line.contains(level))).map(str::to_string).collect()
}

/// Process ids of the manager; one, except for the moment in which a new one takes over.
pub fn managers(kamailio: &Kamailio) -> Vec<i32> {
    kamailio.processes_titled("manager").unwrap().iter().map(|process| process.pid).collect()
}

/// Kills the manager with SIGKILL and waits until another one has started.
pub fn kill_manager(kamailio: &Kamailio) {
    let starts = stat(kamailio, "manager_starts");
    let pids = managers(kamailio);
    assert_eq!(pids.len(), 1, "{:?}", kamailio.processes());
    kamailio.signal(pids[0], Signal::SIGKILL).unwrap();
    until_stat(kamailio, "manager_starts", starts + 1);
}

/// The end of the log, for failure texts.
pub fn tail(kamailio: &Kamailio) -> String {
    let log = kamailio.log();
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// Fails when Kamailio is gone or a process of it complained of memory trouble.
pub fn still_well(kamailio: &mut Kamailio) {
    assert!(kamailio.is_running(), "Kamailio ended\n{}", tail(kamailio));
    for trouble in ["panicked", "exited by a signal", "no more pkg memory", "no more shm memory"] {
        assert_eq!(kamailio.log_lines(trouble), Vec::<String>::new());
    }
}
