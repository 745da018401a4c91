//! Publishes from a loop in the script, by one or more processes, timed until everything has arrived; beside it the plain
//! clients, timed until everything is confirmed.

use rig::Result;
use rig::load::{FIRST, Numbers, Pace, payload};

use super::{Point, Workload, compare, needed, until_arrived};
use crate::PAYLOAD_BYTES;
use crate::lab::{Lab, PUBLISHED, Server};
use crate::measure::{Meter, Run};
use crate::plain::{self, Library};
use crate::subject::Subject;

/// Publishes per SIP request. Their numbers are the request's with three more digits, 100 to 999.
const PER_REQUEST: u64 = 900;

/// The workload.
pub struct ScriptLoop;

fn routes(subject: Subject) -> String {
    let publish = subject.publish(PUBLISHED, PUBLISHED, &payload("$hdr(X-Seq)$var(i)", PAYLOAD_BYTES));
    format!(
        "request_route {{\n\
             $var(i) = 100;\n\
             $var(end) = 1000;\n\
             if ($hdr(X-Case) == \"once\") {{ $var(end) = 101; }}\n\
             $var(done) = 0;\n\
             while ($var(i) < $var(end)) {{\n\
                 if ({publish}) {{ $var(done) = $var(done) + 1; }}\n\
                 $var(i) = $var(i) + 1;\n\
             }}\n\
             append_to_reply(\"X-Done: $var(done)\\r\\n\");\n\
             sl_send_reply(\"200\", \"OK\");\n\
             exit;\n\
         }}\n"
    )
}

impl Workload for ScriptLoop {
    fn unit(&self) -> &'static str {
        "publish"
    }

    fn points(&self) -> Vec<Point> {
        let point = |n: u32| {
            Point::new(
                format!("loop/{n}"),
                format!("publish from a script loop, {n} processes, until all have arrived"),
                n,
            )
        };
        [1, 4, 8].map(point).into()
    }

    fn subjects(&self, point: &Point) -> Vec<Subject> {
        let mut subjects = vec![Subject::Ours, Subject::CModule, Subject::Rabbitmq];
        if point.load == 1 {
            subjects.extend([Subject::Amqprs, Subject::Lapin]);
        }
        subjects
    }

    fn start(&self, lab: &Lab, subject: Subject, _: &Point) -> Result<Option<Server>> {
        if matches!(subject, Subject::Amqprs | Subject::Lapin) {
            return Ok(None);
        }
        let server = Server::start(lab, subject, 8, &routes(subject), |builder| builder)?;
        server.until_ready("once")?;
        Ok(Some(server))
    }

    fn measure(&self, lab: &Lab, subject: Subject, server: Option<&Server>, point: &Point) -> Result<Run> {
        lab.broker.purge(PUBLISHED)?;
        match subject {
            Subject::Amqprs => plain(lab, Library::Amqprs),
            Subject::Lapin => plain(lab, Library::Lapin),
            _ => script(lab, needed(server)?, point),
        }
    }
}

fn script(lab: &Lab, server: &Server, point: &Point) -> Result<Run> {
    let meter = Meter::start(lab, Some(server))?;
    let began = meter.began;
    let tally = server.load("loop", Pace::Closed(point.load), lab.duration, false)?;
    let arrived = until_arrived(lab, tally.done)?;
    let mut run = meter.stop(tally.done);
    run.sip(&tally);
    // That of the loop, not of a publish.
    (run.latency, run.latency_us) = (None, None);
    run.set_rate(tally.done, arrived.unwrap_or(tally.last_good) - began);
    run.failed += tally.good.distinct() * PER_REQUEST - tally.done;
    let mut accepted = Numbers::default();
    for request in FIRST..FIRST + tally.sent {
        if tally.good.contains(request) {
            accepted.add_range(request * 1000 + 100..request * 1000 + 100 + PER_REQUEST);
        }
    }
    compare(lab, &accepted, &mut run)?;
    // Those that the script was told of are failed, not lost.
    run.lost = run.lost.saturating_sub(run.failed);
    Ok(run)
}

fn plain(lab: &Lab, library: Library) -> Result<Run> {
    let meter = Meter::start(lab, None)?;
    let work = plain::publish(library, lab.broker.client(), PUBLISHED, PAYLOAD_BYTES, lab.duration)?;
    let mut run = meter.stop(work.count);
    run.plain(&work);
    compare(lab, &work.numbers, &mut run)?;
    Ok(run)
}
