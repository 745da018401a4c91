//! One publish per SIP request: closed loop for capacity, open loop for latency and for the time inside the function.

use rig::Result;
use rig::load::{Pace, payload};

use super::{Point, Workload, compare, needed, timed, until_arrived, until_publishing};
use crate::PAYLOAD_BYTES;
use crate::lab::{Lab, PUBLISHED, Server};
use crate::measure::{Meter, Run};
use crate::subject::Subject;

/// SIP workers.
const WORKERS: u32 = 8;

/// The workload in either form.
pub struct Publish {
    open: bool,
}

impl Publish {
    /// So many requests outstanding.
    pub fn closed() -> Self {
        Self { open: false }
    }

    /// So many requests per second.
    pub fn open() -> Self {
        Self { open: true }
    }

    /// In the open loop each call is timed inside the script, to the microsecond of Kamailio's benchmark module.
    fn routes(&self, subject: Subject) -> String {
        let publish = subject.publish(PUBLISHED, PUBLISHED, &payload("$hdr(X-Seq)", PAYLOAD_BYTES));
        let (begin, end) = if self.open {
            ("bm_start_timer(\"call\");", "bm_log_timer(\"call\"); append_to_reply(\"X-Time: $BM_time_diff\\r\\n\");")
        } else {
            ("", "")
        };
        format!(
            "request_route {{\n\
                 {begin}\n\
                 if ({publish}) {{\n\
                     {end}\n\
                     sl_send_reply(\"200\", \"OK\");\n\
                 }} else {{\n\
                     sl_send_reply(\"503\", \"Not published\");\n\
                 }}\n\
                 exit;\n\
             }}\n"
        )
    }
}

impl Workload for Publish {
    fn unit(&self) -> &'static str {
        "publish"
    }

    fn points(&self) -> Vec<Point> {
        let closed =
            |n: u32| Point::new(format!("publish/{n}"), format!("publish per SIP request, {n} outstanding"), n);
        let open =
            |n: u32| Point::new(format!("publish-open/{n}"), format!("publish per SIP request, {n} per second"), n);
        if self.open { [2000, 6000].map(open).into() } else { [1, 8, 16].map(closed).into() }
    }

    fn subjects(&self, point: &Point) -> Vec<Subject> {
        let mut subjects = vec![Subject::Ours, Subject::CModule, Subject::Rabbitmq, Subject::SipOnly];
        // More than rabbitmq.so can do: the queue of requests would be measured.
        subjects.retain(|subject| !self.open || point.load <= 2000 || *subject != Subject::Rabbitmq);
        subjects
    }

    fn start(&self, lab: &Lab, subject: Subject, _: &Point) -> Result<Option<Server>> {
        let server = Server::start(lab, subject, WORKERS, &self.routes(subject), timed)?;
        match subject {
            Subject::SipOnly => server.until_ready("publish")?,
            _ => until_publishing(lab, &server, "publish")?,
        }
        Ok(Some(server))
    }

    fn measure(&self, lab: &Lab, subject: Subject, server: Option<&Server>, point: &Point) -> Result<Run> {
        let server = needed(server)?;
        lab.broker.purge(PUBLISHED)?;
        let pace = if self.open { Pace::Open(point.load) } else { Pace::Closed(point.load) };
        let meter = Meter::start(lab, Some(server))?;
        let tally = server.load("publish", pace, lab.duration, false)?;
        let accepted = tally.good.distinct();
        let (publishes, began) = (subject != Subject::SipOnly, meter.began);
        let arrived = if publishes { until_arrived(lab, accepted)? } else { None };
        let mut run = meter.stop(accepted);
        run.sip(&tally);
        if publishes && !self.open {
            // Who answers SIP faster than it publishes has the rest before it.
            run.set_rate(accepted, arrived.unwrap_or(tally.last_good) - began);
        } else {
            run.set_rate(tally.in_time, lab.duration);
        }
        if publishes {
            compare(lab, &tally.good, &mut run)?;
        }
        Ok(run)
    }
}
