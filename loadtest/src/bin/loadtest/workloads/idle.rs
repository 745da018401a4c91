//! Nothing to do: how often each process wakes up, and what that costs; beside it a plain client, which wakes up for its
//! heartbeats and whatever the library has to do for them.

use std::time::Duration;

use rig::Result;

use super::{Point, Workload, needed};
use crate::lab::{Lab, Server, by_kind};
use crate::measure::{Meter, Run};
use crate::plain;
use crate::subject::Subject;

/// How long nothing is done before it counts, and while it counts.
const SETTLE: Duration = Duration::from_secs(3);
const WATCH: Duration = Duration::from_secs(20);
/// The module's default of `amqp_heartbeats`.
const HEARTBEAT_S: u16 = 10;
/// What the plain client's wake-ups are counted as.
pub const CLIENT: &str = "client";

/// The workload.
pub struct Idle;

impl Workload for Idle {
    fn unit(&self) -> &'static str {
        "second"
    }

    fn points(&self) -> Vec<Point> {
        vec![Point::new("idle", "idle", 0)]
    }

    fn subjects(&self, _: &Point) -> Vec<Subject> {
        vec![Subject::Ours, Subject::CModule, Subject::SipOnly, Subject::Amqprs]
    }

    fn start(&self, lab: &Lab, subject: Subject, _: &Point) -> Result<Option<Server>> {
        if subject == Subject::Amqprs {
            return Ok(None);
        }
        let server = Server::start(lab, subject, 4, "request_route { exit; }\n", |builder| builder)?;
        std::thread::sleep(SETTLE);
        Ok(Some(server))
    }

    fn measure(&self, lab: &Lab, subject: Subject, server: Option<&Server>, _: &Point) -> Result<Run> {
        if subject == Subject::Amqprs {
            return plain_client(lab);
        }
        let server = needed(server)?;
        let (meter, kinds) = (Meter::start(lab, Some(server))?, server.kinds()?);
        let before = by_kind(&kinds, rig::voluntary_switches);
        std::thread::sleep(WATCH);
        let after = by_kind(&kinds, rig::voluntary_switches);
        let seconds = WATCH.as_secs();
        let mut run = meter.stop(seconds);
        run.set_rate(seconds, WATCH);
        let per_second = |(kind, count): (&&'static str, &u64)| {
            (*kind, count.saturating_sub(before.get(kind).copied().unwrap_or_default()) as f64 / seconds as f64)
        };
        run.wake_ups = after.iter().map(per_second).collect();
        Ok(run)
    }

    fn is_repeated(&self) -> bool {
        false
    }
}

fn plain_client(lab: &Lab) -> Result<Run> {
    let woken = plain::idle(lab.broker.client(), HEARTBEAT_S, SETTLE, WATCH)?;
    let mut run = Run::default();
    run.set_rate(WATCH.as_secs(), WATCH);
    run.wake_ups = [(CLIENT, woken as f64 / WATCH.as_secs_f64())].into();
    Ok(run)
}
