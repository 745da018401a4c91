//! `make demo`: a private RabbitMQ, Kamailio with our kazoo.so and an application on the bus, under SIP load; in the
//! middle the broker is killed, and at the end the numbers of all parties must add up.
//!
//! Usage: `demo [path/to/kazoo.so]`. Exits 0 and ends with a line `demo: ok, …`, or exits 1 and ends with
//! `demo: FAILED, …`. Everything started is ended, whatever happens.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a demo talks to its user")]

mod ledger;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ledger::{Counts, Ledger};
use rig::edge::{self, SUBSCRIPTION};
use rig::{Broker, Exchange, Flood, Kamailio, Peer, Queue, Result, Sink, Sipp, SippRun, wait_until};

/// How long SIP load and flood run.
const LOAD: Duration = Duration::from_secs(36);

/// When the broker is killed, from the start of the load.
const KILL_AFTER: Duration = Duration::from_secs(12);

/// How long it stays away on top of the time its start takes.
const ABSENCE: Duration = Duration::from_secs(1);

const OPTIONS_PER_SECOND: u32 = 300;
const REGISTERS_PER_SECOND: u32 = 100;
const EVENTS_PER_SECOND: u32 = 500;

/// Time to come to rest after the load.
const DRAIN: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let began = Instant::now();
    let (verdict, code) = match run() {
        Ok(summary) => (format!("ok, {summary} ({} s)", began.elapsed().as_secs()), ExitCode::SUCCESS),
        Err(error) => {
            // The last line must be the verdict: what follows the first line of an error goes above it.
            let text = error.to_string();
            let (first, details) = text.split_once('\n').unwrap_or((&text, ""));
            println!("{details}");
            (format!("FAILED, {first}"), ExitCode::FAILURE)
        }
    };
    println!("demo: {verdict}");
    code
}

fn run() -> Result<String> {
    let mut demo = Demo::start(std::env::args_os().nth(1).map(PathBuf::from))?;
    let ledger = demo.load()?;
    println!("\n{ledger}");
    demo.stop()?;
    match ledger.faults() {
        faults if faults.is_empty() => Ok(ledger.summary()),
        faults => Err(rig::Error::new(faults.join("; "))),
    }
}

/// All parties. Field order is drop order: load first, broker last.
struct Demo {
    kamailio: Kamailio,
    peer: Peer,
    sink: Sink,
    broker: Broker,
    /// Length of Kamailio's log when the load began: what a start complains about is not the load's fault.
    log_at_load: usize,
}

impl Demo {
    fn start(module: Option<PathBuf>) -> Result<Self> {
        println!("starting RabbitMQ ...");
        let broker = Broker::start()?;
        println!("  AMQP on 127.0.0.1:{} after {:.1} s", broker.port(), broker.startup().as_secs_f64());
        let peer = edge::directory(broker.client(), edge::questions())?;
        let probes = Queue::new("probes").quorum().bind(&Exchange::topic("callevt").durable(), "call.probe.#");
        let sink = Sink::keyed(broker.client(), probes, "Msg-ID")?;

        println!("starting Kamailio ...");
        let mut builder = edge::kamailio().broker(&broker);
        if let Some(module) = module {
            builder = builder.module(module);
        }
        let kamailio = builder.start()?;
        println!("  SIP on 127.0.0.1:{}, {} processes", kamailio.sip_port(), kamailio.processes()?.len());
        let log_at_load = kamailio.log().len();
        Ok(Self { kamailio, peer, sink, broker, log_at_load })
    }

    /// Runs the load with the kill in its middle, waits until all is at rest, and takes all numbers.
    fn load(&mut self) -> Result<Ledger> {
        let events = per_run(EVENTS_PER_SECOND);
        let flood = Flood::start(self.broker.client(), events, EVENTS_PER_SECOND, edge::event)?;
        let began = Instant::now();
        let run = |sipp: Sipp, rate| sipp.rate(rate).calls(per_run(rate)).start(self.kamailio.sip_port());
        let options = run(edge::options(), OPTIONS_PER_SECOND)?;
        let register = run(edge::registers(), REGISTERS_PER_SECOND)?;
        println!("load for {} s:", LOAD.as_secs());

        let load = Load { began, flood: &flood, options: &options, register: &register };
        self.watch(&load, KILL_AFTER)?;
        println!("  {:>2} s  killing RabbitMQ (SIGKILL) and starting it again", began.elapsed().as_secs());
        self.broker.kill()?;
        self.watch(&load, began.elapsed() + ABSENCE)?;
        self.broker.restart()?;
        println!("  {:>2} s  RabbitMQ answers again", began.elapsed().as_secs());
        self.watch(&load, LOAD)?;

        let options = options.wait(DRAIN)?;
        let register = register.wait(DRAIN)?;
        flood.wait(DRAIN)?;
        println!("  {:>2} s  load ended, waiting for the rest to arrive", began.elapsed().as_secs());
        self.settle(events);
        Ok(Ledger {
            options,
            register,
            module: self.module()?,
            script: self.script()?,
            arrived: self.sink.count(),
            peer: self.peer.count(),
            flood: flood.count(),
            events,
            left_in_queue: self.left_in_queue()?,
            log_errors: self.log_errors(),
        })
    }

    /// Prints a line every two seconds until `until` has passed since the load began.
    fn watch(&mut self, load: &Load<'_>, until: Duration) -> Result<()> {
        while load.began.elapsed() < until {
            let pause = until.saturating_sub(load.began.elapsed()).min(Duration::from_secs(2));
            std::thread::sleep(pause);
            if !self.kamailio.is_running() {
                return Err(rig::Error::new(format!("Kamailio has ended by itself\n{}", self.kamailio.log_end())));
            }
            let (options, register) = (load.options.progress(), load.register.progress());
            let script = self.script().unwrap_or_default();
            println!(
                "  {:>2} s  OPTIONS {} answered ({} x 503), REGISTER {} ok ({} x 503), arrived {}, events {} of {}",
                load.began.elapsed().as_secs(),
                options.succeeded,
                options.answered(503),
                register.answered(200),
                register.answered(503),
                self.sink.count().distinct,
                script.get("events"),
                load.flood.count().confirmed,
            );
        }
        Ok(())
    }

    /// Waits until the outbox is confirmed, the probes have arrived and the events are handled; whoever does not get
    /// there shows in the sums.
    fn settle(&self, events: u64) {
        wait_until(DRAIN, || {
            let (Ok(module), Ok(script)) = (self.module(), self.script()) else { return false };
            module.get("published") == module.sum(&["confirmed", "refused_by_broker", "expired"])
                && self.sink.count().distinct as u64 >= script.get("accepted")
                && script.get("events") >= events
                && self.left_in_queue().is_ok_and(|left| left == 0)
        });
    }

    /// What the module counted.
    fn module(&self) -> Result<Counts> {
        self.kamailio.rpc_numbers(&["kazoo.stats"]).map(Counts)
    }

    /// What the script counted in its table.
    fn script(&self) -> Result<Counts> {
        let dump = self.kamailio.rpc(&["htable.dump", "count"])?;
        let value = |line: &str, field: &str| line.trim().strip_prefix(field).map(|text| text.trim().to_string());
        let names = dump.lines().filter_map(|line| value(line, "name:"));
        let values = dump.lines().filter_map(|line| value(line, "value:")?.parse().ok());
        Ok(Counts(names.zip(values).collect()))
    }

    fn left_in_queue(&self) -> Result<u64> {
        let list = self.broker.ctl(&["list_queues", "--no-table-headers", "name", "messages"])?;
        let of = |line: &str| line.strip_prefix(SUBSCRIPTION)?.trim().parse().ok();
        Ok(list.lines().find_map(of).unwrap_or(0))
    }

    /// Lines since the load began that ask for an operator. The lost broker and the queries that failed with it have numbers of their own.
    fn log_errors(&self) -> Vec<String> {
        let log = self.kamailio.log();
        let log = log.get(self.log_at_load..).unwrap_or_default();
        let serious = |line: &&str| ["ERROR:", "CRITICAL:", "ALERT:"].iter().any(|level| line.contains(level));
        let explained = |line: &&str| line.contains("broker") || line.contains("kazoo_query:");
        log.lines().filter(serious).filter(|line| !explained(line)).map(str::to_string).collect()
    }

    fn stop(&mut self) -> Result<()> {
        let stopped = self.kamailio.stop()?;
        if !stopped.status.success() {
            return Err(rig::Error::new(format!("Kamailio: {}\n{}", stopped.status, self.kamailio.log_end())));
        }
        self.broker.stop()
    }
}

/// What runs during the load, for the progress lines.
struct Load<'a> {
    began: Instant,
    flood: &'a Flood,
    options: &'a SippRun,
    register: &'a SippRun,
}

fn per_run(per_second: u32) -> u64 {
    u64::from(per_second) * LOAD.as_secs()
}
