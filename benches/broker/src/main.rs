//! What a message costs the manager, beside plain AMQP clients on the same broker: messages per second, and processor time
//! per message of the clients' process and of the broker. No Kamailio: this process starts a private RabbitMQ and runs
//! itself again in each part, so that every part is a process whose time can be told.
//!
//! `cargo run --release -p kazoo-bench-broker -- [MESSAGES] [ROUNDS] [NAME]`: the parts take turns, so that a busy minute of
//! the machine hits all alike; the table has medians. NAME picks the workloads that contain it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "benches"
)]

mod ours;
mod plain;
mod run;

use std::process::{Command, Stdio};

use rig::{Broker, Exchange, Message, Queue};

use run::{Cost, Job};

const EXCHANGE: &str = "bench";
const QUEUE: &str = "bench";
const KEY: &str = "call.event";
/// Bytes of a body.
const BODY: usize = 500;

/// Workload, and the parts that run it. The first is what the others are compared with.
const WORKLOADS: &[(&str, &[&str])] = &[
    ("publish", &["amqprs", "lapin", "manager"]),
    ("publish-8", &["amqprs", "lapin", "manager"]),
    // What more channels or connections would bring to the manager, which has one of each.
    ("publish-2", &["amqprs"]),
    ("publish-2-connections", &["amqprs"]),
    ("publish-8-connections", &["amqprs"]),
    ("publish-paced", &["manager"]),
    ("consume", &["amqprs", "lapin", "manager"]),
    ("consume-ack", &["amqprs", "lapin", "manager"]),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [part, workload, url, messages] = args.as_slice()
        && let Ok(messages) = messages.parse()
    {
        let job = Job { workload: workload.clone(), url: url.clone(), messages };
        let cost = if part == "manager" { ours::run(&job) } else { plain::run(part, &job) };
        println!("{cost}");
        return;
    }
    if args == ["serve"] {
        serve();
        return;
    }
    let number = |at: usize, default| args.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    compare(number(0, 100_000), number(1, 5), args.get(2).map_or("", String::as_str));
}

/// A broker with what the workloads need.
fn start_broker() -> Broker {
    let broker = Broker::start().unwrap();
    let exchange = Exchange::topic(EXCHANGE).durable();
    broker.declare_queue(&Queue::new(QUEUE).bind(&exchange, KEY)).unwrap();
    broker
}

/// For profiles: a broker until the input ends. `... manager publish URL 10000` then runs one part under a profiler.
fn serve() {
    let broker = start_broker();
    println!("{}", broker.url());
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn compare(messages: u64, rounds: u64, chosen: &str) {
    let broker = start_broker();
    let header = ["workload", "part", "messages/s", "ratio", "client us", "worker us", "broker us"];
    println!(
        "{:<21} {:<8} {:>10} {:>6} {:>10} {:>10} {:>10}",
        header[0], header[1], header[2], header[3], header[4], header[5], header[6]
    );
    for (workload, parts) in WORKLOADS.iter().filter(|(name, _)| name.contains(chosen)) {
        let mut costs: Vec<Vec<Cost>> = parts.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for (part, costs) in parts.iter().zip(&mut costs) {
                costs.push(measure(&broker, part, workload, messages));
            }
        }
        let medians: Vec<Cost> = costs.iter().map(|costs| Cost::median(costs)).collect();
        for (part, cost) in parts.iter().zip(&medians) {
            println!(
                "{workload:<21} {part:<8} {:>10.0} {:>6.2} {:>10.2} {:>10.2} {:>10.2}",
                cost.rate(),
                cost.rate() / medians[0].rate(),
                cost.client * 1e6,
                cost.worker * 1e6,
                cost.broker * 1e6
            );
        }
    }
}

/// One run of one part in a process of its own.
fn measure(broker: &Broker, part: &str, workload: &str, messages: u64) -> Cost {
    broker.purge(QUEUE).unwrap();
    if workload.starts_with("consume") {
        let message = Message::new(EXCHANGE, KEY, run::body());
        for _ in 0..messages / 1000 {
            broker.client().publish(&vec![message.clone(); 1000]).unwrap();
        }
    }
    let before = broker.cpu();
    let child = Command::new(std::env::current_exe().unwrap())
        .args([part, workload, &broker.url(), &messages.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let line = String::from_utf8(child.stdout).unwrap();
    let mut cost: Cost = line.trim().parse().unwrap_or_else(|()| panic!("{part} {workload}: {line}"));
    cost.broker = (broker.cpu() - before).as_secs_f64() / messages as f64;
    cost
}
