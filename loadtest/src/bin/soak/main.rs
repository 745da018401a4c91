//! `make soak`: an hour of SIP load that publishes, queries and consumes, while the broker is restarted every minute. At
//! the end a table says what every process and ring used, and whether a promise was broken.
//!
//! Environment: `MINUTES` (default 60, at least 2); `RESTARTS=no` leaves the broker alone, to see what the load itself
//! does; `MINUTES=short` is the form that the tests run: a restart to warm up, three that count, nothing written. Numbers
//! go to `soak.json` and `soak.md` in the target folder. `QUERY=sync` lets every query block a SIP worker. Exits 0 when
//! every promise was kept.
//!
//! | file | holds |
//! |---|---|
//! | `plan.rs` | how many restarts, how long the broker is away, when everything comes to rest |
//! | `run.rs` | load, restarts, rests |
//! | `snapshot.rs` | every process, ring and memory of Kamailio at one moment |
//! | `record.rs` | what was seen and counted, and the promises it is held against |
//! | `table.rs` | the numbers as text and JSON |

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "it talks to its user")]

mod plan;
mod record;
mod run;
mod snapshot;
mod table;

use std::fs;
use std::process::ExitCode;

use plan::Plan;
use rig::{Error, Result, site};

fn main() -> ExitCode {
    site::judge("soak", soak)
}

/// Runs what was asked for; returns the broken promises.
fn soak() -> Result<Vec<String>> {
    let plan = Plan::asked_for()?;
    println!("{plan}");
    let record = run::soak(&plan)?;
    let broken = record.broken();
    println!("\n{}", table::markdown(&record));
    if plan.is_written {
        let folder = site::target()?;
        let json = serde_json::to_string_pretty(&table::json(&record, &broken)).unwrap_or_default();
        for (name, text) in [("soak.json", json + "\n"), ("soak.md", table::markdown(&record))] {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|error| Error::new(format!("writing {}: {error}", path.display())))?;
        }
    }
    Ok(broken)
}
