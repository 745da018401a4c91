//! Load, restarts, rests.

use std::time::{Duration, Instant};

use rig::site::{Layout, Load, Setup, Site};
use rig::{Result, wait_until};

use crate::plan::Plan;
use crate::record::Record;
use crate::snapshot::Snapshot;

/// OPTIONS, REGISTERs and events per second: enough that each restart of the broker meets messages of all kinds on their
/// way, and that an hour moves some hundred thousand; so few that the machine can do something else meanwhile.
const OPTIONS: u32 = 40;
const REGISTERS: u32 = 15;
const SETUP: Setup = Setup { layout: Layout::Single, entrances: false, shared_mb: 64, events: 60 };

/// What has to move again after a restart: confirms, answers to queries, events.
const FLOW: [&str; 3] = ["confirmed", "answers", "handled"];

/// From one look at the processes to the next.
const SAMPLE: Duration = Duration::from_secs(10);

/// `tm` keeps a transaction that is answered for 5 s more, and looks at its timers now and then.
const TRANSACTIONS: Duration = Duration::from_secs(7);

/// The longest that a rest may take to look like the one before.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes the plan's restarts under load, and looks.
pub fn soak(plan: &Plan) -> Result<Record> {
    let mut site = Site::start(SETUP)?;
    let mut record = Record::begin(plan.manager_kib);
    let made = stretches(plan, &mut site, &mut record);
    if made.is_err() {
        println!("  the end of Kamailio's log, without the events:\n{}", site.log_end());
    }
    made?;
    record.end(&mut site)?;
    if !record.broken().is_empty() {
        println!("  the end of Kamailio's log, without the events:\n{}", site.log_end());
    }
    Ok(record)
}

fn stretches(plan: &Plan, site: &mut Site, record: &mut Record) -> Result<()> {
    let mut round = 0;
    for rounds in &plan.stretches {
        let load = Load::start(site.kamailio.sip_port(), OPTIONS, REGISTERS)?;
        site.resume_events();
        record.flows(site.until_flowing(&FLOW));
        for _ in 0..*rounds {
            one_round(plan, round, site, record)?;
            round += 1;
        }
        record.told.add(&load.finish()?);
        rest(site, record)?;
        println!("  {}", record.progress(site));
    }
    Ok(())
}

/// One restart, and load until the next.
fn one_round(plan: &Plan, round: usize, site: &mut Site, record: &mut Record) -> Result<()> {
    let began = Instant::now();
    if plan.restarts {
        let outage = plan.outage(round);
        let broker = site.broker_mut(0)?;
        if outage.is_kill { broker.kill() } else { broker.stop() }?;
        site.pass(outage.absence, |site| record.look(site, SAMPLE))?;
        site.broker_mut(0)?.restart()?;
        record.restarts += 1;
        record.flows(site.until_flowing(&FLOW));
    }
    site.pass(plan.round.saturating_sub(began.elapsed()), |site| record.look(site, SAMPLE))
}

/// Waits until nothing is on its way any more, and looks.
fn rest(site: &mut Site, record: &mut Record) -> Result<()> {
    record.events = site.pause_events()?;
    site.until_settled(&record.told.accepted, record.events);
    std::thread::sleep(TRANSACTIONS);
    // What is asked is a process too: it may still hold the question before.
    let mut last = Ok(Snapshot::default());
    wait_until(PATIENCE, || {
        last = Snapshot::take(&site.kamailio, record.elapsed());
        last.as_ref()
            .is_ok_and(|now| now.is_at_rest() && record.rests.first().is_none_or(|first| now.has_handles_of(first)))
    });
    record.rests.push(last?);
    Ok(())
}
