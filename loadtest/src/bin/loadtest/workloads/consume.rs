//! Events consumed by event routes, while they are published or from a full queue; beside them plain consumers.
//!
//! The event routes count in a statistic of Kamailio's, which a SIP request asks for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rig::load::{Pump, Pumped, until_depth};
use rig::{Client, Error, Exchange, Queue, Result, SipClient};

use super::{Point, Workload, needed};
use crate::PAYLOAD_BYTES;
use crate::lab::{Lab, Server};
use crate::measure::{Meter, Run};
use crate::plain::{self, Library};
use crate::subject::Subject;

/// Exchange and queue of events.
pub const EVENTS: &str = "load-events";
/// Full is so many events per second of measuring.
const PRELOADED_PER_S: f64 = 30_000.0;
/// How often the events are counted. Counting is one SIP request.
const POLL: Duration = Duration::from_millis(10);
/// Nothing more has come for so long: nothing will.
const SILENCE: Duration = Duration::from_secs(3);

/// The workload.
pub struct Consume;

/// What a point asks for.
struct Form {
    live: bool,
    no_ack: bool,
    reads: bool,
}

impl Form {
    fn of(point: &Point) -> Self {
        let has = |part: &str| point.key.contains(part);
        Self { live: has("live"), no_ack: has("no_ack"), reads: has("fields") }
    }
}

/// Subscription, event route and counter.
pub fn routes(no_ack: bool, reads: bool) -> String {
    let no_ack = u8::from(no_ack);
    let fields = if reads {
        "$var(a) = $(kzE{kz.json,Seq}); $var(b) = $(kzE{kz.json,Event-Name}); $var(c) = $(kzE{kz.json,Last});"
    } else {
        ""
    };
    format!(
        "event_route[kazoo:mod-init] {{\n\
             kazoo_subscribe(\"{{'exchange':'{EVENTS}','type':'topic','queue':'{EVENTS}','routing':'{EVENTS}',\
             'auto_delete':0,'no_ack':{no_ack},'wait_for_consumer_ack':1}}\");\n\
         }}\n\
         event_route[kazoo:consumer-event-load-test] {{ {fields} update_stat(\"events\", \"+1\"); }}\n"
    )
}

/// Answers the number of events so far.
pub const COUNT_ROUTE: &str = "if ($hdr(X-Case) == \"count\") { append_to_reply(\"X-Done: $stat(events)\\r\\n\"); sl_send_reply(\"200\", \"OK\"); exit; }";

/// Loads what [`routes`] need.
pub fn counting(builder: rig::Builder) -> rig::Builder {
    builder.load("statistics").line("modparam(\"statistics\", \"variable\", \"events\")")
}

/// How many events have been consumed.
pub fn consumed(sip: &SipClient) -> Result<u64> {
    let answer = sip.options("X-Case", "count")?;
    answer.header("X-Done").parse().map_err(|_| Error::new("the script does not count its events"))
}

impl Workload for Consume {
    fn unit(&self) -> &'static str {
        "event"
    }

    fn points(&self) -> Vec<Point> {
        let forms = [
            ("live/no_ack", "consume live, no_ack"),
            ("live/ack", "consume live, acknowledged after the event route"),
            ("preloaded/no_ack", "consume a full queue, no_ack"),
            ("preloaded/ack", "consume a full queue, acknowledged after the event route"),
            ("live/no_ack/fields", "consume live, no_ack, event route reads three fields"),
            ("live/ack/fields", "consume live, acknowledged, event route reads three fields"),
        ];
        forms.map(|(key, title)| Point::new(format!("consume/{key}"), title, 0)).into()
    }

    fn subjects(&self, point: &Point) -> Vec<Subject> {
        let mut subjects = vec![Subject::Ours, Subject::CModule];
        if !Form::of(point).reads {
            subjects.extend([Subject::Amqprs, Subject::Lapin]);
        }
        subjects
    }

    /// A server begins to consume when it starts, so the queue is filled before.
    fn start(&self, lab: &Lab, subject: Subject, point: &Point) -> Result<Option<Server>> {
        let form = Form::of(point);
        lab.broker.declare_queue(&Queue::new(EVENTS).bind(&Exchange::topic(EVENTS), EVENTS))?;
        lab.broker.purge(EVENTS)?;
        if !form.live {
            let count = preloaded(lab);
            Pump::to_queue(EVENTS, PAYLOAD_BYTES).run(lab.broker.client(), |sent, _| sent >= count)?;
        }
        if matches!(subject, Subject::Amqprs | Subject::Lapin) {
            return Ok(None);
        }
        let routes = format!("request_route {{ {COUNT_ROUTE} exit; }}\n{}", routes(form.no_ack, form.reads));
        let server = Server::start(lab, subject, 2, &routes, counting)?;
        if form.live {
            let consuming = |depth: rig::load::Depth| depth.consumers > 0;
            until_depth(lab.broker.client(), EVENTS, Duration::from_secs(20), consuming)?
                .ok_or_else(|| Error::new("the module does not consume"))?;
        }
        Ok(Some(server))
    }

    fn same_server(&self, _: &Point, _: &Point) -> bool {
        false
    }

    fn measure(&self, lab: &Lab, subject: Subject, server: Option<&Server>, point: &Point) -> Result<Run> {
        let form = Form::of(point);
        let mut run = match subject {
            Subject::Amqprs => plain(lab, Library::Amqprs, &form)?,
            Subject::Lapin => plain(lab, Library::Lapin, &form)?,
            _ if form.live => live(lab, needed(server)?)?,
            _ => from_full_queue(lab, needed(server)?)?,
        };
        // What is still there, or back again, was not consumed.
        run.lost += u64::from(lab.broker.count(EVENTS)?);
        Ok(run)
    }
}

fn preloaded(lab: &Lab) -> u64 {
    (lab.duration.as_secs_f64() * PRELOADED_PER_S) as u64
}

fn pump_for(client: Client, duration: Duration) -> Result<Pumped> {
    Pump::to_queue(EVENTS, PAYLOAD_BYTES).run(client, |_, elapsed| elapsed >= duration)
}

/// Waits until `count` events are consumed; how many were, and when the last one was seen.
pub fn until_consumed(sip: &SipClient, count: u64) -> Result<(u64, Instant)> {
    let (mut seen, mut last) = (consumed(sip)?, Instant::now());
    while seen < count && last.elapsed() < SILENCE {
        std::thread::sleep(POLL);
        let now = consumed(sip)?;
        if now > seen {
            (seen, last) = (now, Instant::now());
        }
    }
    Ok((seen, last))
}

/// Notes events that are missing or too many.
pub fn account(run: &mut Run, published: u64, consumed: u64) {
    run.lost += published.saturating_sub(consumed);
    run.duplicated += consumed.saturating_sub(published);
}

fn live(lab: &Lab, server: &Server) -> Result<Run> {
    let sip = SipClient::new(server.kamailio.sip_port())?;
    let meter = Meter::start(lab, Some(server))?;
    let began = meter.began;
    let published = pump_for(lab.broker.client(), lab.duration)?;
    let (consumed, last) = until_consumed(&sip, published.count)?;
    let mut run = meter.stop(consumed);
    run.set_rate(consumed, last - began);
    account(&mut run, published.count, consumed);
    Ok(run)
}

/// The server has begun already: measured is from the first look on.
fn from_full_queue(lab: &Lab, server: &Server) -> Result<Run> {
    let sip = SipClient::new(server.kamailio.sip_port())?;
    let mut before = consumed(&sip)?;
    let patience = Instant::now() + Duration::from_secs(20);
    while before == 0 && Instant::now() < patience {
        before = consumed(&sip)?;
    }
    let meter = Meter::start(lab, Some(server))?;
    let began = meter.began;
    let (after, last) = until_consumed(&sip, preloaded(lab))?;
    let mut run = meter.stop(after - before);
    run.set_rate(after - before, last - began);
    account(&mut run, preloaded(lab), after);
    Ok(run)
}

fn plain(lab: &Lab, library: Library, form: &Form) -> Result<Run> {
    let client = lab.broker.client();
    let (known, consuming) = (Arc::new(AtomicU64::new(u64::MAX)), Arc::new(AtomicBool::new(false)));
    let pump = form.live.then(|| {
        let (known, consuming, duration) = (known.clone(), consuming.clone(), lab.duration);
        std::thread::spawn(move || {
            rig::wait_until(Duration::from_secs(5), || consuming.load(Ordering::Acquire));
            let pumped = pump_for(client, duration);
            known.store(pumped.as_ref().map_or(0, |pumped| pumped.count), Ordering::Release);
            pumped
        })
    });
    if !form.live {
        known.store(preloaded(lab), Ordering::Release);
    }
    let meter = Meter::start(lab, None)?;
    let ready = || consuming.store(true, Ordering::Release);
    let work = plain::consume(library, client, EVENTS, form.no_ack, ready, || known.load(Ordering::Acquire))?;
    let mut run = meter.stop(work.count);
    run.plain(&work);
    if let Some(Err(error)) = pump.and_then(|pump| pump.join().ok()) {
        return Err(error);
    }
    account(&mut run, known.load(Ordering::Acquire), work.numbers.distinct());
    Ok(run)
}
