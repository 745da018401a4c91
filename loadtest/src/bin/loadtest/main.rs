//! `make loadtest`: the same workloads against our module, the C module, `rabbitmq.so`, and plain clients, in turns, several
//! times, on one broker.
//!
//! Environment: `RUNS` how often each is measured (default 5), `SECONDS` for how long (default 2), `WORKLOADS` parts of
//! the names of workloads with commas between (default: all), `SUBJECTS` the same of subjects, `PARAMS` numbers for parameters of
//! our module (`amqp_prefetch=100,amqp_sip_wait_ms=100`), `BEFORE` another `kazoo.so` of ours, measured too. Prints ratios; `result.json` and `report.html` go to the
//! folder `loadtest` in the target folder, or to `FOLDER`.
//!
//! | file | holds |
//! |---|---|
//! | `subject.rs` | what is compared, and its script text |
//! | `lab.rs` | broker and servers |
//! | `workloads/` | what is done |
//! | `plain/` | the same without Kamailio: ceilings |
//! | `measure.rs` | one measurement: counts, latency, processor time |
//! | `schedule.rs` | whose turn it is |
//! | `report/` | medians, ratios, targets; tables, JSON, HTML |
//! | `sweep/` | the commands `tuning` and `scale`: our module alone, one thing varied |

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "it talks to its user")]

mod lab;
mod measure;
mod plain;
mod report;
mod schedule;
mod subject;
mod sweep;
mod workloads;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rig::{Error, Result};

use lab::Lab;
use schedule::Schedule;

/// Size of every payload, as the usual event on such a bus has.
const PAYLOAD_BYTES: usize = 500;

fn main() -> ExitCode {
    match chosen() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does what the command line asks for.
fn chosen() -> Result<()> {
    match std::env::args().nth(1) {
        None => compare(),
        Some(name) => match sweep::Command::named(&name) {
            Some(command) => sweep::run(command),
            None => Err(Error::new(format!("what is {name}? There are tuning and scale"))),
        },
    }
}

fn compare() -> Result<()> {
    let began = Instant::now();
    let runs = setting("RUNS", 5_usize)?;
    let seconds = setting("SECONDS", 2.0_f64)?;
    let wanted = std::env::var("WORKLOADS").unwrap_or_default();
    let before = std::env::var("BEFORE").ok().filter(|path| !path.is_empty()).map(PathBuf::from);
    let schedule = Schedule::new(&wanted, &std::env::var("SUBJECTS").unwrap_or_default(), before.is_some(), runs)?;
    let params = params(&std::env::var("PARAMS").unwrap_or_default())?;
    raise_descriptor_limit();
    let lab = Lab::open(Duration::from_secs_f64(seconds), params, before)?;
    let cells = schedule.work(&lab);
    let conditions = report::Conditions { runs, seconds, params: lab.params.clone(), took: began.elapsed() };
    let report = report::Report::new(cells, conditions);
    report.write(&folder()?)
}

/// A setting from the environment; empty is the same as not set.
fn setting<T: std::str::FromStr>(name: &str, default: T) -> Result<T> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().map_err(|_| Error::new(format!("{name}={text} is no number"))),
        _ => Ok(default),
    }
}

/// `name=number` with commas between.
fn params(list: &str) -> Result<Vec<(String, i64)>> {
    let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (name, number) = part.split_once('=')?;
        Some((name.trim().to_owned(), number.trim().parse().ok()?))
    };
    parts.map(|part| pair(part).ok_or_else(|| Error::new(format!("PARAMS: {part} is no name=number")))).collect()
}

/// As many descriptors as allowed: the C module takes one per query for two seconds.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Refused: it stays as it is.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Where results go: `FOLDER` in the environment, or a place in the target folder.
fn folder() -> Result<PathBuf> {
    std::env::var_os("FOLDER").map_or_else(|| Ok(target()?.join("loadtest")), |path| Ok(path.into()))
}

/// The target folder, in which this program lies.
fn target() -> Result<PathBuf> {
    let program = std::env::current_exe().map_err(|error| Error::new(format!("where am I? {error}")))?;
    let folder = program.parent().and_then(|profile| profile.parent());
    folder.map(PathBuf::from).ok_or_else(|| Error::new("this program lies in no target folder"))
}
