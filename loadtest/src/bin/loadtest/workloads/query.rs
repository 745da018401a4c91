//! Queries that a SIP worker waits for, answered at once or after 5 ms; beside them the round trips of plain clients.

use std::time::Duration;

use rig::Result;
use rig::load::{Answerer, Pace, QUESTIONS_KEY, payload};

use super::{Point, Workload, needed};
use crate::PAYLOAD_BYTES;
use crate::lab::{Lab, Server};
use crate::measure::{Meter, Run};
use crate::plain::{self, Library};
use crate::subject::Subject;

/// When the application answers "later".
const LATER: Duration = Duration::from_millis(5);

/// The workload in either form.
pub struct Query {
    open: bool,
}

impl Query {
    /// As many queries outstanding as there are workers.
    pub fn closed() -> Self {
        Self { open: false }
    }

    /// So many queries per second, 16 workers.
    pub fn open() -> Self {
        Self { open: true }
    }

    fn workers(&self, point: &Point) -> u32 {
        if self.open { 16 } else { point.load }
    }
}

/// The script of a query.
pub fn route(subject: Subject) -> String {
    let query = subject.query(QUESTIONS_KEY, QUESTIONS_KEY);
    // Kamailio expands no variables in an assigned text.
    let (payload, answer) = (payload("' + $hdr(X-Seq) + '", PAYLOAD_BYTES), subject.answer());
    format!(
        "$var(p) = '{payload}';\n\
         if ({query}) {{\n\
             append_to_reply(\"X-Answer: {answer}\\r\\n\");\n\
             sl_send_reply(\"200\", \"OK\");\n\
         }} else {{\n\
             sl_send_reply(\"504\", \"No answer\");\n\
         }}\n\
         exit;\n"
    )
}

fn is_later(point: &Point) -> bool {
    point.key.ends_with("5ms")
}

impl Workload for Query {
    fn unit(&self) -> &'static str {
        "query"
    }

    fn points(&self) -> Vec<Point> {
        if self.open {
            let point =
                |n: u32| Point::new(format!("query-open/{n}"), format!("query, answered at once, {n} per second"), n);
            return [1000].map(point).into();
        }
        let at_once = |n: u32| Point::new(format!("query/{n}"), format!("query, {n} outstanding, answered at once"), n);
        let later =
            |n: u32| Point::new(format!("query/{n}/5ms"), format!("query, {n} outstanding, answered after 5 ms"), n);
        [1, 4, 8, 16].map(at_once).into_iter().chain([4, 8, 16].map(later)).collect()
    }

    fn subjects(&self, point: &Point) -> Vec<Subject> {
        let modules = [Subject::Ours, Subject::CModule, Subject::Rabbitmq];
        let plain = [Subject::Amqprs, Subject::Lapin];
        match (self.open || is_later(point), point.load) {
            (true, _) => modules.into(),
            (false, 1) => plain.into(),
            (false, _) => modules.into_iter().chain(plain).collect(),
        }
    }

    fn start(&self, lab: &Lab, subject: Subject, point: &Point) -> Result<Option<Server>> {
        if matches!(subject, Subject::Amqprs | Subject::Lapin) {
            return Ok(None);
        }
        let routes = format!("request_route {{\n{}}}\n", route(subject));
        let server = Server::start(lab, subject, self.workers(point), &routes, |builder| builder)?;
        let _answerer = Answerer::start(lab.broker.client(), LATER)?;
        server.until_ready("query")?;
        Ok(Some(server))
    }

    fn same_server(&self, one: &Point, other: &Point) -> bool {
        one.load == other.load
    }

    fn measure(&self, lab: &Lab, subject: Subject, server: Option<&Server>, point: &Point) -> Result<Run> {
        let delay = if is_later(point) { LATER } else { Duration::ZERO };
        let _answerer = Answerer::start(lab.broker.client(), delay)?;
        match subject {
            Subject::Amqprs => plain(lab, Library::Amqprs, point),
            Subject::Lapin => plain(lab, Library::Lapin, point),
            _ => {
                let pace = if self.open { Pace::Open(point.load) } else { Pace::Closed(point.load) };
                sip(lab, needed(server)?, pace)
            }
        }
    }
}

fn sip(lab: &Lab, server: &Server, pace: Pace) -> Result<Run> {
    let meter = Meter::start(lab, Some(server))?;
    let tally = server.load("query", pace, lab.duration, true)?;
    let mut run = meter.stop(tally.good.distinct());
    run.sip(&tally);
    run.set_rate(tally.in_time, lab.duration);
    Ok(run)
}

fn plain(lab: &Lab, library: Library, point: &Point) -> Result<Run> {
    let meter = Meter::start(lab, None)?;
    let work = plain::round_trips(library, lab.broker.client(), point.load, lab.duration)?;
    let mut run = meter.stop(work.count);
    run.plain(&work);
    Ok(run)
}
