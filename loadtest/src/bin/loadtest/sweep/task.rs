//! What is done at one value, and what it says.

use std::time::Duration;

use rig::load::{Answerer, Echo, Pace, Pump};
use rig::{Result, SipClient};

use super::plan::{Asked, Task};
use super::result::Sample;
use super::site::{BACK, ECHO, Site, event_queues};
use crate::lab::{Lab, PUBLISHED};
use crate::measure::{Meter, Percentiles, Run};
use crate::subject::Subject;
use crate::workloads::{Point, Workload, consume, publish, script_loop};

/// Does it.
pub fn perform(lab: &Lab, site: &Site, task: Task) -> Result<Sample> {
    match task {
        Task::Publish(outstanding) => per_request(lab, site, outstanding),
        Task::Loop(processes) => looping(lab, site, processes),
        Task::Query(asked) => ask(lab, site, "query", Pace::Closed(asked.load), asked),
        Task::Async(asked) => ask(lab, site, "async", Pace::Open(asked.load), asked),
        Task::Echo(per_second) => echo(lab, site, per_second),
        Task::Consume => live(lab, site),
    }
}

impl From<Run> for Sample {
    fn from(run: Run) -> Self {
        Self { run, ..Self::default() }
    }
}

/// A worker alone may be faster than the broker confirms; what does not fit into its outbox is refused.
fn per_request(lab: &Lab, site: &Site, outstanding: u32) -> Result<Sample> {
    let point = Point { key: "publish".into(), title: String::new(), load: outstanding };
    let run = publish::Publish::closed().measure(lab, Subject::Ours, Some(&site.server), &point)?;
    Ok(Sample { refused: run.failed, ..Run { failed: 0, ..run }.into() })
}

fn looping(lab: &Lab, site: &Site, processes: u32) -> Result<Sample> {
    lab.broker.purge(PUBLISHED)?;
    let (run, refused) = script_loop::script(lab, &site.server, processes, site.setup.per_loop)?;
    Ok(Sample { refused, ..run.into() })
}

/// Queries. In the open loop an application that takes its time delays the last answers beyond the end; they count.
fn ask(lab: &Lab, site: &Site, case: &'static str, pace: Pace, asked: Asked) -> Result<Sample> {
    let _answerer = Answerer::with_filler(lab.broker.client(), asked.delay, asked.filler)?;
    let duration = match pace {
        // Long enough that as many are outstanding as there will be.
        Pace::Open(_) => lab.duration + asked.delay,
        Pace::Closed(_) => lab.duration,
    };
    let meter = Meter::start(lab, Some(&site.server))?;
    let tally = site.server.load(case, pace, duration, true)?;
    let mut run = meter.stop(tally.good.distinct());
    run.sip(&tally);
    match pace {
        Pace::Open(_) => run.set_rate(tally.good.distinct(), duration),
        Pace::Closed(_) => run.set_rate(tally.in_time, duration),
    }
    run.latency_us = run.latency_us.map(|latency| latency.less(asked.delay));
    Ok(run.into())
}

impl Percentiles {
    /// Beyond what somebody else takes.
    fn less(self, delay: Duration) -> Self {
        let rest = |us: f64| us - delay.as_secs_f64() * 1e6;
        Self {
            mean: rest(self.mean),
            p50: rest(self.p50),
            p90: rest(self.p90),
            p99: rest(self.p99),
            p999: rest(self.p999),
            max: rest(self.max),
        }
    }
}

fn echo(lab: &Lab, site: &Site, per_second: u32) -> Result<Sample> {
    let echo = Echo { to: ECHO, back: BACK, bytes: crate::PAYLOAD_BYTES, per_second, duration: lab.duration };
    let meter = Meter::start(lab, Some(&site.server))?;
    let echoed = echo.run(lab.broker.client())?;
    let mut run = meter.stop(echoed.back.distinct());
    run.set_rate(echoed.back.distinct(), lab.duration);
    run.latency_us = Percentiles::of(&echoed.latency, 1e3);
    run.lost = echoed.sent - echoed.back.distinct();
    run.duplicated = echoed.back.repeated();
    Ok(run.into())
}

fn live(lab: &Lab, site: &Site) -> Result<Sample> {
    let sip = SipClient::new(site.server.kamailio.sip_port())?;
    let before = consume::consumed(&sip)?;
    let pump = Pump::to_queues(event_queues(&site.setup), site.setup.bytes);
    let meter = Meter::start(lab, Some(&site.server))?;
    let began = meter.began;
    let published = pump.run(lab.broker.client(), |_, elapsed| elapsed >= lab.duration)?;
    let (seen, last) = consume::until_consumed(&sip, before + published.count)?;
    let mut run = meter.stop(seen - before);
    run.set_rate(seen - before, last - began);
    consume::account(&mut run, published.count, seen - before);
    unhandled(lab, site, &mut run)?;
    Ok(run.into())
}

/// What is still in a queue, or back in it, was not handled.
fn unhandled(lab: &Lab, site: &Site, run: &mut Run) -> Result<()> {
    for queue in event_queues(&site.setup) {
        run.lost += u64::from(lab.broker.count(&queue)?);
    }
    Ok(())
}
