//! A consumer process: takes a delivery, runs its event route, acknowledges; or resumes a transaction that waits for
//! the answer to a query.
//!
//! One event or transaction at a time. Runs script code and everything that script code may use, so it is a full Kamailio process:
//! when it dies the server stops, as with any SIP worker, and what it had not acknowledged comes again.

#![forbid(unsafe_code)]

mod event;
mod resume;

use crate::bus::counters::Counter;
use crate::bus::suspended::Suspensions;
use crate::bus::{Handed, Inlet, LayoutError, Shared, Verdict};
use crate::config::Config;
use crate::host::{guard, log, plain, process};
use crate::script;

/// Runs consumer number `index`; does not return.
pub fn run(config: &'static Config, shared: &'static Shared, index: usize) -> ! {
    if !process::config_init() {
        log::error!("consumer {index}: no run-time configuration");
        plain::exit(1);
    }
    let (mut inlet, suspensions) = match attach(shared, index) {
        Ok(ends) => ends,
        Err(error) => {
            log::error!("consumer {index}: {error}");
            plain::exit(1)
        }
    };
    script::presence::connect();
    loop {
        // After a sleep, so that what is handled next knows the run-time configuration of now.
        process::config_update();
        // A panic in the handling of one event ends that event, not the server.
        guard::entry("consumer", (), || turn(config, &mut inlet, suspensions));
    }
}

fn attach(shared: &'static Shared, index: usize) -> Result<(Inlet, Suspensions), LayoutError> {
    Ok((Inlet::attach(shared, index, process::process_no())?, shared.suspensions()?))
}

/// Handles what is there, or sleeps.
fn turn(config: &Config, inlet: &mut Inlet, suspensions: Suspensions) {
    let row = inlet.row();
    match inlet.take() {
        Ok(Some(Handed::Event(delivery))) => {
            // Acknowledged whatever the route did: an event that makes it panic would come again for ever.
            guard::entry("event route", (), || event::handle(config, &row, &delivery));
            let ack = delivery.ack;
            inlet.acknowledge(ack, Verdict::Ack);
        }
        Ok(Some(Handed::Resume(resume))) => {
            guard::entry("callback route", (), || resume::handle(&row, suspensions, resume));
        }
        // For as long as it takes: a wake-up that the manager's death has swallowed is made up for by the next manager.
        Ok(None) => inlet.wait(),
        Err(error) => {
            row.inc(Counter::Damaged);
            log::throttled_error!("consumer: {error}; dropped, the broker sends it again after the next reconnect");
        }
    }
}
