//! Publishes from a loop in the script, by one or more processes, timed until everything has arrived; beside it the plain
//! clients, timed until everything is confirmed.

use std::time::Duration;

use rig::Result;
use rig::load::{FIRST, Load, Numbers, Pace, payload};

use super::{Point, Workload, compare, needed, timed, until_arrived, until_publishing};
use crate::PAYLOAD_BYTES;
use crate::lab::{Lab, PUBLISHED, Server};
use crate::measure::{Meter, Run};
use crate::plain::{self, Library};
use crate::subject::Subject;

/// Numbers of publishes are those of their request with four more digits, from these on.
pub const FIRST_OF_REQUEST: u64 = 1000;
/// The longest loops take some seconds where eight share a slow broker.
const PATIENCE: Duration = Duration::from_secs(20);

/// The workload.
pub struct ScriptLoop;

/// Publishes per SIP request: enough that the requests do not count, few enough that the last one ends soon.
fn per_request(subject: Subject) -> u64 {
    if subject == Subject::Rabbitmq { 200 } else { 3000 }
}

/// One call of so many is timed, to the microsecond of Kamailio's benchmark module.
const TIMED: u64 = 25;

fn routes(subject: Subject) -> String {
    let end = FIRST_OF_REQUEST + per_request(subject);
    let publish = subject.publish(PUBLISHED, PUBLISHED, &payload("$hdr(X-Seq)$var(i)", PAYLOAD_BYTES));
    format!(
        "request_route {{\n\
             $var(i) = {FIRST_OF_REQUEST};\n\
             $var(end) = {end};\n\
             if ($hdr(X-Case) == \"once\") {{ $var(end) = {FIRST_OF_REQUEST} + 1; }}\n\
             $var(done) = 0;\n\
             $var(times) = \"\";\n\
             while ($var(i) < $var(end)) {{\n\
                 if ($var(i) mod {TIMED} == 0) {{\n\
                     bm_start_timer(\"call\");\n\
                     if ({publish}) {{ $var(done) = $var(done) + 1; }}\n\
                     bm_log_timer(\"call\");\n\
                     $var(times) = $var(times) + $BM_time_diff + \" \";\n\
                 }} else if ({publish}) {{ $var(done) = $var(done) + 1; }}\n\
                 $var(i) = $var(i) + 1;\n\
             }}\n\
             append_to_reply(\"X-Done: $var(done)\\r\\nX-Time: $var(times)\\r\\n\");\n\
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
        let server = Server::start(lab, subject, 8, &routes(subject), timed)?;
        until_publishing(lab, &server, "once")?;
        Ok(Some(server))
    }

    fn measure(&self, lab: &Lab, subject: Subject, server: Option<&Server>, point: &Point) -> Result<Run> {
        lab.broker.purge(PUBLISHED)?;
        match subject {
            Subject::Amqprs => plain(lab, Library::Amqprs),
            Subject::Lapin => plain(lab, Library::Lapin),
            _ => {
                let (run, refused) = script(lab, needed(server)?, point.load, per_request(subject))?;
                Ok(Run { failed: run.failed + refused, ..run })
            }
        }
    }
}

/// So many processes publish `per_request` messages for each SIP request. Returns how many messages the script was told
/// are refused, too: these count as neither failed nor lost.
pub fn script(lab: &Lab, server: &Server, processes: u32, per_request: u64) -> Result<(Run, u64)> {
    let meter = Meter::start(lab, Some(server))?;
    let began = meter.began;
    let requests = server.requests("loop", Pace::Closed(processes), lab.duration);
    let tally = rig::load::run(&Load { patience: PATIENCE, ..requests })?;
    let arrived = until_arrived(lab, tally.done)?;
    let mut run = meter.stop(tally.done);
    run.sip(&tally);
    // That of the loop, not of a publish.
    (run.latency, run.latency_us) = (None, None);
    run.set_rate(tally.done, arrived.unwrap_or(tally.last_good) - began);
    let refused = tally.good.distinct() * per_request - tally.done;
    let mut accepted = Numbers::default();
    for request in (FIRST..FIRST + tally.sent).filter(|request| tally.good.contains(*request)) {
        let from = request * 10_000 + FIRST_OF_REQUEST;
        accepted.add_range(from..from + per_request);
    }
    compare(lab, &accepted, &mut run)?;
    run.lost = run.lost.saturating_sub(refused);
    Ok((run, refused))
}

fn plain(lab: &Lab, library: Library) -> Result<Run> {
    let meter = Meter::start(lab, None)?;
    let work = plain::publish(library, lab.broker.client(), PUBLISHED, PAYLOAD_BYTES, lab.duration)?;
    let mut run = meter.stop(work.count);
    run.plain(&work);
    compare(lab, &work.numbers, &mut run)?;
    Ok(run)
}
