//! `make faults`: each kind of trouble with broker, network and processes, several times, under SIP load that publishes,
//! queries and consumes at once. At the end a table says what it cost, and whether a promise was broken.
//!
//! Environment: `FAULT` names one fault or several with commas between (default: all of them), `ROUNDS` how often each
//! is made (default 5, at moments that differ). Numbers go to `faults.json` and `faults.md` in the target folder; those
//! of faults that were not run stay in there. `FAULT=short` makes each fault that no other test makes once and briefly,
//! and writes nothing. `QUERY=sync` lets every query block a SIP worker. Exits 0 when every promise was kept.
//!
//! | file | holds |
//! |---|---|
//! | `list.rs` | the faults |
//! | `run.rs` | the rounds of one fault, and the sums at their end |
//! | `table.rs` | the numbers, the promises, the table |

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "it talks to its user")]

mod list;
mod run;
mod table;

use std::process::ExitCode;

use list::{FAULTS, Fault, Plan, SHORT};
use rig::{Error, Result, site};
use table::{Numbers, Report};

fn main() -> ExitCode {
    site::judge("faults", matrix)
}

/// Runs what was asked for; returns the broken promises.
fn matrix() -> Result<Vec<String>> {
    let wanted = std::env::var("FAULT").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let rounds = std::env::var("ROUNDS").unwrap_or_else(|_| "5".to_string());
    let rounds: usize = rounds.parse().map_err(|_| Error::new(format!("ROUNDS={rounds} is no number")))?;
    if let Some(unknown) = wanted.iter().find(|name| FAULTS.iter().all(|fault| fault.name != **name) && **name != SHORT)
    {
        let names: Vec<&str> = FAULTS.iter().map(|fault| fault.name).collect();
        return Err(Error::new(format!("there is no fault {unknown}; there are {}", names.join(", "))));
    }
    let is_wanted = |fault: &&Fault| wanted.is_empty() || wanted.contains(&fault.name);
    let plans: Vec<Plan> = match wanted.as_slice() {
        [SHORT] => vec![Plan::short()],
        _ => FAULTS.iter().filter(is_wanted).map(|fault| Plan::of(fault, rounds)).collect(),
    };
    let mut report = Report::open(site::target()?)?;
    let mut broken = Vec::new();
    for plan in &plans {
        println!("{}: {}", plan.name, plan.what);
        // One fault that cannot be made must not hide what the others show.
        let numbers = run::rounds(plan).unwrap_or_else(|error| Numbers::failed(plan, &error));
        println!("{numbers}");
        broken.extend(numbers.broken.iter().map(|promise| format!("{}: {promise}", plan.name)));
        if plan.name != SHORT {
            report.add(&numbers)?;
        }
    }
    println!("\n{}", report.markdown());
    Ok(broken)
}
