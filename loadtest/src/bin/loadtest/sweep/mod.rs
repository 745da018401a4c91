//! `make tuning` and `make scale`: what one parameter of the module, or the size of one thing around it, does to rate,
//! latency, processor time and memory.
//!
//! Every value is measured in each round, upwards in one and downwards in the next, each time on a server of its own.
//! Results are medians of the rounds. Into a page `tuning.md` or `scale.md`, where there is one, this writes numbers
//! and plots; the words around them are not its own.
//!
//! | file | holds |
//! |---|---|
//! | `plan.rs` | what a sweep is made of |
//! | `tuning.rs`, `scale.rs` | the sweeps |
//! | `site.rs` | the server that all of them use |
//! | `task.rs` | what is done on it |
//! | `work.rs` | whose turn it is |
//! | `result.rs` | medians, and the JSON |
//! | `picture.rs` | plots |
//! | `page.rs` | the generated parts of the pages |

mod page;
mod picture;
mod plan;
mod result;
mod scale;
mod site;
mod task;
mod tuning;
mod work;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rig::{Error, Result};

use crate::lab::Lab;
use crate::report::Machine;
use plan::Sweep;
use result::{Conditions, Outcome};

/// One of the two commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Parameters of the module.
    Tuning,
    /// Sizes of what is around it.
    Scale,
}

impl Command {
    /// By its name on the command line.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Tuning, Self::Scale].into_iter().find(|command| command.name() == name)
    }

    /// Also the first part of the names of its files.
    fn name(self) -> &'static str {
        match self {
            Self::Tuning => "tuning",
            Self::Scale => "scale",
        }
    }

    fn sweeps(self) -> Vec<Sweep> {
        match self {
            Self::Tuning => tuning::all(),
            Self::Scale => scale::all(),
        }
    }
}

/// Does it. Environment: `RUNS` rounds (default 3), `SECONDS` per measurement (default 2), `SWEEPS` parts of the names
/// of sweeps with commas between (default: all), `VALUES` how many values of each at most (default: all), `DOC` the folder
/// with the pages (default: the JSON's). JSON goes to the folder `loadtest` in the target folder or to `FOLDER`.
pub fn run(command: Command) -> Result<()> {
    let (runs, seconds) = (crate::setting("RUNS", 3_usize)?, crate::setting("SECONDS", 2.0_f64)?);
    let sweeps = wanted(command)?;
    let folder = crate::folder()?;
    let pages = std::env::var_os("DOC").filter(|path| !path.is_empty()).map_or(folder.clone(), PathBuf::from);
    let lab = Lab::open(Duration::from_secs_f64(seconds), Vec::new(), None)?;
    site::prepare(&lab)?;
    let outcomes = work::work(&lab, sweeps, runs);
    let conditions = Conditions { runs, seconds, machine: Machine::look() };
    for folder in [folder.clone(), pages.join("plots")] {
        fs::create_dir_all(&folder).map_err(|error| Error::new(format!("making {}: {error}", folder.display())))?;
    }
    for outcome in &outcomes {
        let name = format!("{}-{}", command.name(), outcome.sweep.key);
        write(folder.join(format!("{name}.json")), &outcome.json(&conditions)?)?;
        write(pages.join("plots").join(format!("{name}.svg")), &picture::plot(outcome))?;
    }
    page::update(&pages.join(format!("{}.md", command.name())), command.name(), &conditions, &outcomes)?;
    report(&outcomes)
}

/// The sweeps and values that the environment asks for.
fn wanted(command: Command) -> Result<Vec<Sweep>> {
    let list = std::env::var("SWEEPS").unwrap_or_default();
    let parts: Vec<&str> = list.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let mut sweeps = command.sweeps();
    let names = sweeps.iter().map(|sweep| sweep.key).collect::<Vec<_>>().join(", ");
    sweeps.retain(|sweep| parts.is_empty() || parts.iter().any(|part| sweep.key.contains(part)));
    let most = crate::setting("VALUES", usize::MAX)?;
    sweeps.iter_mut().for_each(|sweep| sweep.values.truncate(most));
    if sweeps.is_empty() {
        return Err(Error::new(format!("nothing like this to do; there are {names}")));
    }
    Ok(sweeps)
}

/// Prints the tables; fails when a measurement is no result.
fn report(outcomes: &[Outcome]) -> Result<()> {
    for outcome in outcomes {
        println!("\n{}: {}\n\n{}", outcome.sweep.key, outcome.sweep.title, page::table(outcome));
    }
    let faults: Vec<String> = outcomes.iter().flat_map(Outcome::faults).collect();
    if faults.is_empty() { Ok(()) } else { Err(Error::new(format!("no results:\n{}", faults.join("\n")))) }
}

fn write(path: PathBuf, text: &str) -> Result<()> {
    fs::write(&path, text).map_err(|error| Error::new(format!("writing {}: {error}", path.display())))
}
