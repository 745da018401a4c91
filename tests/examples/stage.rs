//! Where examples are performed: one Kamailio with the examples of a page, applications around it.

use std::collections::BTreeMap;
use std::time::Duration;

use rig::{Arrived, Broker, Builder, Exchange, Kamailio, Message, Peer, Queue, Reply, Sink, SipClient, wait_until};
use serde_json::Value;

use crate::common::{PATIENCE, kamailio, stat, still_well, tail, until_connected};
use crate::page::{Example, Kind};

/// Name of the server in the manual.
const HOSTNAME: &str = "sip1.example.com";
/// Broker in the manual's whole configurations.
const BROKER_URL: &str = "amqp://guest:guest@localhost:5672";
/// Database there.
const DATABASE_URL: &str = "sqlite:////var/lib/kamailio/kamailio.sqlite";
/// What the rig needs in a whole configuration.
const RIG_LINES: &str = "debug=2\nauto_aliases=no\nlisten=LISTEN_UDP\nlisten=LISTEN_TCP\nloadmodule \"ctl.so\"\n\
                         loadmodule \"kex.so\"\nmodparam(\"ctl\", \"binrpc\", CTL_SOCKET)\n";

/// The configuration of a page: parameters and routes as they stand, each script in a route of its own that a request
/// chooses by its number.
pub fn configuration(name: &str, examples: &[Example], with_params: impl Fn(&Example) -> bool) -> Builder {
    let mut routes = String::new();
    let (mut start, mut choice) = (String::new(), String::new());
    let mut builder = kamailio(name);
    for (number, example) in examples.iter().enumerate() {
        for module in example.attribute("load").split(',').filter(|module| !module.is_empty()) {
            builder = builder.load(module);
        }
        match example.kind {
            Kind::Params if with_params(example) => builder = builder.line(&example.text),
            Kind::Routes => routes.push_str(&without_start(&example.text, &mut start)),
            Kind::Script => {
                routes.push_str(&format!("route[EXAMPLE_{number}] {{\n{}}}\n", example.text));
                choice.push_str(&format!("    case \"{number}\": route(EXAMPLE_{number}); break;\n"));
            }
            _ => {}
        }
    }
    // Kamailio takes no empty blocks.
    if !choice.is_empty() {
        choice = format!("    switch ($hdr(X-Example)) {{\n{choice}    }}\n");
    }
    if !start.is_empty() {
        start = format!("event_route[kazoo:mod-init] {{\n{start}}}\n");
    }
    let reply = "    sl_send_reply(\"200\", \"OK\");\n";
    named(builder).routes(format!("{routes}{start}request_route {{\n{choice}{reply}}}\n"))
}

/// With the name that the server has in the manual.
pub fn named(builder: Builder) -> Builder {
    builder.modparam("node_hostname", HOSTNAME)
}

/// Takes `event_route[kazoo:mod-init]` out of route blocks and adds its statements to `start`: a configuration can
/// have it once only.
fn without_start(routes: &str, start: &mut String) -> String {
    let Some((before, rest)) = routes.split_once("event_route[kazoo:mod-init] {\n") else { return routes.into() };
    let (body, after) = rest.split_once("\n}\n").unwrap();
    start.push_str(body);
    start.push('\n');
    format!("{before}{after}")
}

/// The text of a whole configuration with what the rig needs.
pub fn whole(example: &Example, broker_url: &str, database_url: &str) -> String {
    let text = example.text.replace(BROKER_URL, broker_url).replace(DATABASE_URL, database_url);
    format!("#!KAMAILIO\n{RIG_LINES}{text}")
}

/// A running configuration.
pub struct Stage<'b> {
    broker: &'b Broker,
    kamailio: Kamailio,
    sip: SipClient,
    sinks: BTreeMap<String, Sink>,
    arrived: BTreeMap<String, Vec<Arrived>>,
    _services: Vec<Peer>,
}

impl<'b> Stage<'b> {
    /// Sets up the applications that `examples` speak of, starts Kamailio, waits for its subscriptions.
    pub fn open(broker: &'b Broker, builder: Builder, examples: &[Example]) -> Self {
        let sinks = examples.iter().filter(|e| e.kind == Kind::Published).map(|e| (target(e), sink(broker, e)));
        let sinks: BTreeMap<_, _> = sinks.collect();
        let services = examples.iter().filter(|e| e.kind == Kind::Answer).map(|e| service(broker, e)).collect();
        let kamailio = builder.start().unwrap();
        until_connected(&kamailio, 1);
        let wanted = examples.iter().map(|e| e.text.matches("kazoo_subscribe").count()).sum::<usize>();
        let consuming = || kamailio.log_lines("consuming queue").len() >= wanted;
        assert!(wait_until(PATIENCE, consuming), "not all subscribed\n{}", tail(&kamailio));
        let sip = SipClient::new(kamailio.sip_port()).unwrap();
        Self { broker, kamailio, sip, sinks, arrived: BTreeMap::new(), _services: services }
    }

    /// Performs one example, number `number` of its page.
    pub fn perform(&mut self, number: usize, example: &Example) {
        match example.kind {
            Kind::Script => self.request(&number.to_string()),
            Kind::File | Kind::Lua => self.request("whole"),
            Kind::Message => self.send(example),
            Kind::Published => self.expect_message(example),
            Kind::Output => self.expect_lines(example),
            Kind::Params | Kind::Routes | Kind::Answer => {}
        }
    }

    /// Nothing broke on the way.
    pub fn close(mut self) {
        still_well(&mut self.kamailio);
        assert_eq!(stat(&self.kamailio, "manager_starts"), 1);
    }

    fn request(&self, example: &str) {
        let request = self.sip.request("OPTIONS").user("alice").domain("example.com");
        let request = request.header("X-Example", example).header("User-Agent", "Desk \"Phone\" 2.1");
        let response = request.timeout(PATIENCE).send().unwrap();
        assert_eq!(response.code, 200, "{}", tail(&self.kamailio));
    }

    fn send(&self, example: &Example) {
        let (exchange, key) = (example.attribute("exchange"), example.attribute("key"));
        self.broker.client().publish(&[Message::new(exchange, key, example.text.as_str())]).unwrap();
    }

    fn expect_message(&mut self, example: &Example) {
        let (target, key, expected) = (target(example), example.attribute("key"), example.json());
        let sink = &self.sinks[&target];
        let arrived = self.arrived.entry(target).or_default();
        let came = wait_until(PATIENCE, || {
            sink.wait_for(1, Duration::from_millis(20));
            arrived.extend(sink.take());
            arrived
                .iter()
                .any(|message| (key.is_empty() || message.routing_key == key) && fits(&expected, &message.json()))
        });
        let shown: Vec<_> = arrived.iter().map(|m| (&m.routing_key, m.json())).collect();
        assert!(came, "{}: not published, but {shown:#?}\n{}", example.place, tail(&self.kamailio));
    }

    fn expect_lines(&self, example: &Example) {
        for expected in example.text.lines() {
            let logged = wait_until(PATIENCE, || self.kamailio.log().lines().any(|line| has_in_order(line, expected)));
            assert!(logged, "{}: not logged: {expected}\n{}", example.place, tail(&self.kamailio));
        }
    }
}

/// Where something is published to: an exchange, or a queue by its name.
fn target(example: &Example) -> String {
    let (exchange, queue) = (example.attribute("exchange"), example.attribute("queue"));
    if exchange == "targeted" {
        format!("{exchange} {}", example.attribute("key"))
    } else {
        format!("{exchange}{queue}")
    }
}

fn sink(broker: &Broker, example: &Example) -> Sink {
    let queue = match (example.attribute("exchange"), example.attribute("queue")) {
        ("", queue) => Queue::new(queue),
        // The exchange of replies is a direct one.
        ("targeted", _) => own_queue(example).bind(&Exchange::direct("targeted"), example.attribute("key")),
        (exchange, _) => own_queue(example).bind(&Exchange::topic(exchange), "#"),
    };
    Sink::start(broker.client(), queue).unwrap()
}

fn service(broker: &Broker, example: &Example) -> Peer {
    let queue = own_queue(example).bind(&Exchange::topic(example.attribute("exchange")), example.attribute("key"));
    let answer = example.json();
    Peer::start(broker.client(), queue, move |_| Reply::fields(answer.clone())).unwrap()
}

/// A queue that no other example uses.
fn own_queue(example: &Example) -> Queue {
    Queue::new(&example.place).auto_delete()
}

/// `found` has everything that `expected` has; `…` stands for any text.
fn fits(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::String(text), Value::String(_)) if text == "…" => true,
        (Value::Object(expected), Value::Object(found)) => {
            expected.iter().all(|(name, value)| found.get(name).is_some_and(|other| fits(value, other)))
        }
        (expected, found) => expected == found,
    }
}

/// `line` contains `expected`, whose `…` stands for any text.
fn has_in_order(line: &str, expected: &str) -> bool {
    let mut rest = Some(line);
    for part in expected.split('…') {
        rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, after)| after);
    }
    rest.is_some()
}
