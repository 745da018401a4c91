//! The parameters of the module, one at a time; everything else as by default.

use std::time::Duration;

use super::plan::{Asked, Metric, PROFILES, Panel, Series, Setup, Sweep, Task, Value};

/// Queries answered at once, as many outstanding as there are workers.
const QUERIES: Task = Task::Query(Asked { load: 8, delay: Duration::ZERO, filler: 0 });
/// Events per second that are answered: neither idle nor full.
const ECHOES: u32 = 2000;
/// So few that the manager sleeps between them.
const FEW_ECHOES: u32 = 50;

/// All of them, in the order of the page.
pub fn all() -> Vec<Sweep> {
    vec![
        loop_count("amqp_consumer_ack_loop_count", &[1, 5, 20, 100, 1000], "events", Task::Consume),
        loop_count("amqp_internal_loop_count", &[1, 5, 20, 100, 1000], "script loops", Task::Loop(4)),
        loop_count("amqp_consumer_loop_count", &[1, 3, 10, 100, 1000], "events", Task::Consume),
        timeout("amqp_consumer_ack_timeout_micro"),
        timeout("amqp_interprocess_timeout_micro"),
        timeout("amqp_waitframe_timeout_micro"),
        prefetch(),
        outbox(),
        replies(),
        deliveries(),
        acknowledgements(),
        confirm_window(),
        publish_wait(),
        sip_wait(),
        profiles(),
    ]
}

fn series(names: &[&'static str]) -> Vec<Series> {
    names.iter().map(|name| Series { name }).collect()
}

/// One value of one parameter for each of these.
fn values(name: &'static str, values: &[i64], tasks: &[Task]) -> Vec<Value> {
    let value =
        |value: &i64| Value { label: value.to_string(), setup: Setup::with(&[(name, *value)]), tasks: tasks.into() };
    values.iter().map(value).collect()
}

fn loop_count(name: &'static str, counts: &[i64], full: &'static str, task: Task) -> Sweep {
    Sweep {
        key: name,
        title: "A loop count: rate at full load, and the time from an event to its answer at 2000 per second",
        axis: name,
        series: series(&[full, "event to answer"]),
        values: values(name, counts, &[task, Task::Echo(ECHOES)]),
        panels: vec![
            Panel::of(Metric::Rate, &[0]),
            Panel::of(Metric::Manager, &[0, 1]),
            Panel::of(Metric::P50, &[1]),
            Panel::of(Metric::P99, &[1]),
        ],
    }
}

fn timeout(name: &'static str) -> Sweep {
    Sweep {
        key: name,
        title: "A timeout: the time from an event to its answer at 50 per second, and how often the manager wakes up",
        axis: name,
        series: series(&["event to answer"]),
        values: values(name, &[1000, 10_000, 100_000, 1_000_000], &[Task::Echo(FEW_ECHOES)]),
        panels: vec![
            Panel::of(Metric::P50, &[0]),
            Panel::of(Metric::P99, &[0]),
            Panel::of(Metric::WakeUps, &[0]),
            Panel::of(Metric::Manager, &[0]),
        ],
    }
}

fn prefetch() -> Sweep {
    let name = "amqp_prefetch";
    Sweep {
        key: name,
        title: "Prefetch: rate of events, and the memory of the manager",
        axis: name,
        series: series(&["events"]),
        values: values(name, &[1, 10, 50, 100, 500, 2000, 10_000], &[Task::Consume]),
        panels: vec![Panel::of(Metric::Rate, &[0]), Panel::of(Metric::Kamailio, &[0]), Panel::of(Metric::Memory, &[0])],
    }
}

/// What a parameter does to script loops that publish as fast as they can.
fn script_loops(name: &'static str, title: &'static str, sizes: &[i64], metrics: &[Metric]) -> Sweep {
    Sweep {
        key: name,
        title,
        axis: name,
        series: series(&["one process", "eight"]),
        values: values(name, sizes, &[Task::Loop(1), Task::Loop(8)]),
        panels: metrics.iter().map(|metric| Panel::of(*metric, &[0, 1])).collect(),
    }
}

fn outbox() -> Sweep {
    script_loops(
        "amqp_command_ring_kb",
        "Outbox: publishes from script loops in one process and in eight",
        &[16, 64, 256, 1024, 4096],
        &[Metric::Rate, Metric::Kamailio, Metric::Refused],
    )
}

fn replies() -> Sweep {
    let name = "amqp_reply_ring_kb";
    let large = Task::Query(Asked { load: 8, delay: Duration::ZERO, filler: 100_000 });
    Sweep {
        key: name,
        title: "Reply ring: queries with small answers and with answers of 100 KB",
        axis: name,
        series: series(&["small", "100 KB"]),
        values: values(name, &[16, 32, 64, 256], &[QUERIES, large]),
        panels: vec![
            Panel::logarithmic(Metric::Rate, &[0, 1]),
            Panel::logarithmic(Metric::P50, &[0, 1]),
            Panel::logarithmic(Metric::P99, &[0, 1]),
        ],
    }
}

fn consumer_ring(name: &'static str, title: &'static str) -> Sweep {
    Sweep {
        key: name,
        title,
        axis: name,
        series: series(&["events"]),
        values: values(name, &[16, 32, 64, 256, 1024], &[Task::Consume]),
        panels: vec![
            Panel::of(Metric::Rate, &[0]),
            Panel::of(Metric::Kamailio, &[0]),
            Panel::of(Metric::Manager, &[0]),
        ],
    }
}

fn deliveries() -> Sweep {
    consumer_ring("amqp_delivery_ring_kb", "Delivery ring: rate of events and what each costs")
}

fn acknowledgements() -> Sweep {
    consumer_ring("amqp_ack_ring_kb", "Acknowledgement ring: rate of events and what each costs")
}

fn publish_wait() -> Sweep {
    script_loops(
        "amqp_publish_wait_ms",
        "How long a script loop waits for room: rate of what arrives, and what is refused",
        &[0, 1, 5, 20, 100, 500],
        &[Metric::Rate, Metric::Refused],
    )
}

fn confirm_window() -> Sweep {
    script_loops(
        "amqp_confirm_window",
        "Confirm window: publishes from script loops in one process and in eight",
        &[10, 50, 100, 300, 1000, 4000],
        &[Metric::Rate, Metric::Manager],
    )
}

fn sip_wait() -> Sweep {
    let name = "amqp_sip_wait_ms";
    Sweep {
        key: name,
        title: "How long a SIP request waits for room, with more requests than the broker takes messages",
        axis: name,
        series: series(&["publish per request"]),
        values: values(name, &[0, 1, 5, 20, 100], &[Task::Publish(16)]),
        panels: vec![Panel::of(Metric::Rate, &[0]), Panel::of(Metric::P99, &[0]), Panel::of(Metric::Refused, &[0])],
    }
}

/// The settings that the page recommends.
fn profiles() -> Sweep {
    let latency: &[(&'static str, i64)] =
        &[("amqp_consumer_ack_loop_count", 5), ("amqp_internal_loop_count", 1), ("amqp_consumer_loop_count", 3)];
    let throughput: &[(&'static str, i64)] = &[
        ("amqp_consumer_ack_loop_count", 100),
        ("amqp_internal_loop_count", 100),
        ("amqp_consumer_loop_count", 100),
        ("amqp_prefetch", 2000),
        ("amqp_command_ring_kb", 1024),
        ("amqp_delivery_ring_kb", 256),
    ];
    let small: &[(&'static str, i64)] = &[
        ("amqp_prefetch", 50),
        ("amqp_command_ring_kb", 64),
        ("amqp_reply_ring_kb", 16),
        ("amqp_delivery_ring_kb", 16),
        ("amqp_ack_ring_kb", 16),
    ];
    let value = |label: &str, consumers, parameters: &[(&'static str, i64)]| Value {
        label: label.into(),
        setup: Setup { consumers, ..Setup::with(parameters) },
        tasks: vec![Task::Loop(4), Task::Consume, Task::Echo(ECHOES)],
    };
    Sweep {
        key: PROFILES,
        title: "The recommended profiles: rates at full load, and the time from an event to its answer",
        axis: "profile",
        series: series(&["script loops", "events", "event to answer"]),
        values: vec![
            value("default", 4, &[]),
            value("latency", 4, latency),
            value("throughput", 4, throughput),
            value("small", 1, small),
        ],
        panels: vec![
            Panel::of(Metric::Rate, &[0, 1]),
            Panel::of(Metric::P50, &[2]),
            Panel::of(Metric::P99, &[2]),
            Panel::of(Metric::Memory, &[1]),
        ],
    }
}
