//! Everything at once: publishes and queries per SIP request, and events.

use std::time::Duration;

use rig::load::{Answerer, Pace, Pump, payload, until_depth};
use rig::{Error, Exchange, Queue, Result, SipClient};

use super::consume::{self, COUNT_ROUTE, EVENTS};
use super::{Point, Workload, compare, needed, query, until_arrived};
use crate::PAYLOAD_BYTES;
use crate::lab::{Lab, PUBLISHED, Server};
use crate::measure::{Meter, Run};
use crate::subject::Subject;

/// SIP workers; half of them may wait for queries.
const WORKERS: u32 = 8;
/// Requests of each kind outstanding.
const OUTSTANDING: u32 = 4;
/// Events per second.
const EVENTS_PER_S: u32 = 4000;
/// The application answers so much later: a C module that is answered at once fails too often to be compared.
const ANSWERED_AFTER: Duration = Duration::from_millis(5);

/// The workload.
pub struct Mixed;

fn routes(subject: Subject) -> String {
    let publish = subject.publish(PUBLISHED, PUBLISHED, &payload("$hdr(X-Seq)", PAYLOAD_BYTES));
    let (query, events) = (query::route(subject), consume::routes(true, true));
    format!(
        "request_route {{\n\
             {COUNT_ROUTE}\n\
             if ($hdr(X-Case) == \"query\") {{\n{query}}}\n\
             if ({publish}) {{ sl_send_reply(\"200\", \"OK\"); }} else {{ sl_send_reply(\"503\", \"Not published\"); }}\n\
             exit;\n\
         }}\n\
         {events}"
    )
}

impl Workload for Mixed {
    fn unit(&self) -> &'static str {
        "operation"
    }

    fn points(&self) -> Vec<Point> {
        let title = format!(
            "mixed: publish and query per SIP request ({OUTSTANDING} outstanding each, answered after 5 ms), \
             {EVENTS_PER_S} events per second"
        );
        vec![Point::new("mixed", title, OUTSTANDING)]
    }

    fn subjects(&self, _: &Point) -> Vec<Subject> {
        vec![Subject::Ours, Subject::CModule]
    }

    fn start(&self, lab: &Lab, subject: Subject, _: &Point) -> Result<Option<Server>> {
        let client = lab.broker.client();
        client.declare_queue(&Queue::new(EVENTS).bind(&Exchange::topic(EVENTS), EVENTS))?;
        client.purge(EVENTS)?;
        let server = Server::start(lab, subject, WORKERS, &routes(subject), consume::counting)?;
        let _answerer = Answerer::start(client, ANSWERED_AFTER)?;
        server.until_ready("query")?;
        until_depth(client, EVENTS, Duration::from_secs(20), |depth| depth.consumers > 0)?
            .ok_or_else(|| Error::new("the module does not consume"))?;
        Ok(Some(server))
    }

    fn measure(&self, lab: &Lab, _: Subject, server: Option<&Server>, _: &Point) -> Result<Run> {
        let (server, client) = (needed(server)?, lab.broker.client());
        client.purge(PUBLISHED)?;
        let _answerer = Answerer::start(client, ANSWERED_AFTER)?;
        let events = Pump { per_second: Some(EVENTS_PER_S), ..Pump::to_queue(EVENTS, PAYLOAD_BYTES) };
        let pace = Pace::Closed(OUTSTANDING);
        let meter = Meter::start(lab, Some(server))?;
        let (published, asked, pumped) = std::thread::scope(|scope| {
            let asked = scope.spawn(|| server.load("query", pace, lab.duration, true));
            let pumped = scope.spawn(|| events.run(client, |_, elapsed| elapsed >= lab.duration));
            (server.load("publish", pace, lab.duration, false), asked.join(), pumped.join())
        });
        let ended = |_| Error::new("a load generator panicked");
        let (published, asked, pumped) = (published?, asked.map_err(ended)??, pumped.map_err(ended)??);
        until_arrived(lab, published.good.distinct())?;
        let sip = SipClient::new(server.kamailio.sip_port())?;
        let (events, _) = consume::until_consumed(&sip, pumped.count)?;
        let mut run = meter.stop(published.good.distinct() + asked.good.distinct() + events);
        run.sip(&asked);
        // The latency in the report is that of publishes: a query's is the application's.
        run.sip(&published);
        run.set_rate(published.in_time + asked.in_time + events, lab.duration);
        let per_second = |count: u64| count as f64 / lab.duration.as_secs_f64();
        let parts = [("publishes", published.in_time), ("queries", asked.in_time), ("events", events)];
        run.parts = parts.map(|(kind, count)| (kind, per_second(count))).into();
        consume::account(&mut run, pumped.count, events);
        compare(lab, &published.good, &mut run)?;
        Ok(run)
    }
}
