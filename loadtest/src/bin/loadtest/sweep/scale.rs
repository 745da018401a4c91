//! How cost grows with the size of what is around the module.

use std::time::Duration;

use super::plan::{Asked, Metric, Panel, Series, Setup, Sweep, Task, Value};

/// An application or a database that takes its time.
const LATER: Duration = Duration::from_millis(5);
const EVENT_WAIT: Duration = Duration::from_millis(1);
/// Asynchronous queries per second; how many wait is this times the application's delay.
const ASYNC_PER_S: u32 = 2000;
/// SIP requests outstanding where the number of workers is not what limits them.
const OUTSTANDING: u32 = 64;

/// All of them, in the order of the page.
pub fn all() -> Vec<Sweep> {
    vec![
        workers(),
        waiting_workers(),
        consumers("consumers", "Consumer processes: events that are only counted", Duration::ZERO),
        consumers("waiting-consumers", "Consumer processes: each event waits 1 ms in its event route", EVENT_WAIT),
        payload(),
        brokers(),
        subscriptions(),
        outstanding(),
    ]
}

fn series(names: &[&'static str]) -> Vec<Series> {
    names.iter().map(|name| Series { name }).collect()
}

/// A value for each number, with the server and the tasks that it makes.
fn values(numbers: &[u32], make: impl Fn(u32) -> (Setup, Vec<Task>)) -> Vec<Value> {
    let value = |number: &u32| {
        let (setup, tasks) = make(*number);
        Value { label: number.to_string(), setup, tasks }
    };
    numbers.iter().map(value).collect()
}

/// The plots of publishes per SIP request.
fn panels(series: &'static [usize]) -> Vec<Panel> {
    vec![
        Panel::of(Metric::Rate, series),
        Panel::of(Metric::Kamailio, series),
        Panel::of(Metric::Memory, series),
        Panel::of(Metric::Refused, &[0]),
    ]
}

fn workers() -> Sweep {
    Sweep {
        key: "workers",
        title: "SIP workers: a publish per request, 64 requests outstanding",
        axis: "SIP workers",
        series: series(&["publishes"]),
        values: values(&[1, 2, 4, 8, 16, 32, 64], |workers| {
            (Setup { workers, ..Setup::default() }, vec![Task::Publish(OUTSTANDING)])
        }),
        panels: panels(&[0]),
    }
}

fn waiting_workers() -> Sweep {
    Sweep {
        key: "waiting-workers",
        title: "SIP workers that wait for answers: queries answered after 5 ms, one outstanding in each worker",
        axis: "SIP workers",
        series: series(&["queries"]),
        values: values(&[1, 2, 4, 8, 16, 32, 64], |workers| {
            let query = Task::Query(Asked { load: workers, delay: LATER, filler: 0 });
            (Setup { workers, ..Setup::default() }, vec![query])
        }),
        panels: vec![
            Panel::logarithmic(Metric::Rate, &[0]),
            Panel::of(Metric::Kamailio, &[0]),
            Panel::logarithmic(Metric::P99, &[0]),
            Panel::of(Metric::Memory, &[0]),
        ],
    }
}

fn consumers(key: &'static str, title: &'static str, event_wait: Duration) -> Sweep {
    let rate = if event_wait.is_zero() { Panel::of } else { Panel::logarithmic };
    Sweep {
        key,
        title,
        axis: "consumer processes",
        series: series(&["events"]),
        values: values(&[1, 2, 4, 8, 16, 32], |consumers| {
            (Setup { consumers, event_wait, ..Setup::default() }, vec![Task::Consume])
        }),
        panels: vec![rate(Metric::Rate, &[0]), Panel::of(Metric::Kamailio, &[0]), Panel::of(Metric::Memory, &[0])],
    }
}

/// A run of the script loop publishes some megabytes at most.
fn payload() -> Sweep {
    let sizes = [("100 B", 100), ("1 KB", 1000), ("10 KB", 10_000), ("100 KB", 100_000), ("1 MB", 1_000_000)];
    let value = |(label, bytes): (&str, usize)| Value {
        label: label.into(),
        setup: Setup { bytes, per_loop: (5_000_000 / bytes as u64).clamp(5, 1000), ..Setup::default() },
        tasks: vec![Task::Loop(4), Task::Consume],
    };
    Sweep {
        key: "payload",
        title: "Size of the payload: publishes from four script loops, and events",
        axis: "payload",
        series: series(&["publishes", "events"]),
        values: sizes.map(value).into(),
        panels: vec![
            Panel::logarithmic(Metric::Rate, &[0, 1]),
            Panel::logarithmic(Metric::Volume, &[0, 1]),
            Panel::logarithmic(Metric::PerKib, &[0, 1]),
            Panel::of(Metric::Memory, &[0, 1]),
        ],
    }
}

fn brokers() -> Sweep {
    Sweep {
        key: "brokers",
        title: "Brokers: publishes go to the first, events come from all; all of them are connections to one RabbitMQ",
        axis: "brokers",
        series: series(&["publishes", "events"]),
        values: values(&[1, 2, 4, 7, 10], |brokers| {
            (Setup { brokers, ..Setup::default() }, vec![Task::Publish(OUTSTANDING), Task::Consume])
        }),
        panels: panels(&[0, 1]),
    }
}

fn subscriptions() -> Sweep {
    Sweep {
        key: "subscriptions",
        title: "Subscriptions: events that come from so many queues in turn",
        axis: "subscriptions",
        series: series(&["events"]),
        values: values(&[1, 10, 50, 100, 200], |subscriptions| {
            (Setup { subscriptions, ..Setup::default() }, vec![Task::Consume])
        }),
        panels: vec![
            Panel::of(Metric::Rate, &[0]),
            Panel::of(Metric::Kamailio, &[0]),
            Panel::of(Metric::Memory, &[0]),
            Panel::of(Metric::Ready, &[0]),
        ],
    }
}

fn outstanding() -> Sweep {
    Sweep {
        key: "outstanding",
        title: "Asynchronous queries that wait at a time: 2000 per second, answered after 5 ms to 5 s",
        axis: "queries outstanding",
        series: series(&["queries"]),
        values: values(&[10, 100, 1000, 10_000], |outstanding| {
            let delay = Duration::from_secs(1) * outstanding / ASYNC_PER_S;
            let query = Task::Async(Asked { load: ASYNC_PER_S, delay, filler: 0 });
            (Setup { shared_mib: 1024, ..Setup::default() }, vec![query])
        }),
        panels: vec![
            Panel::of(Metric::Kamailio, &[0]),
            Panel::logarithmic(Metric::P50, &[0]),
            Panel::logarithmic(Metric::P99, &[0]),
            Panel::of(Metric::Memory, &[0]),
        ],
    }
}
