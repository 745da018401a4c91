//! What the measurements say together: medians, ratios, and whether the targets are met.
//!
//! | file | holds |
//! |---|---|
//! | `summary.rs` | several runs of one cell in one line |
//! | `paired.rs` | one cell beside another, round by round |
//! | `targets.rs` | what was promised, and what was measured |
//! | `machine.rs` | on what |
//! | `table.rs` | the Markdown |
//! | `json.rs` | every number, for programs |
//! | `html.rs`, `style.css` | the page |
//! | `plots.rs`, `svg.rs` | its pictures |

mod html;
mod json;
mod machine;
mod paired;
mod plots;
mod summary;
pub mod svg;
mod table;
mod targets;

use std::fs;
use std::path::Path;
use std::time::Duration;

use rig::{Error, Result};

use crate::schedule::Cell;
use crate::subject::Subject;
pub use machine::Machine;
pub use summary::{Spread, Summary};
use targets::Target;

/// How it was measured.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// How often everything.
    pub runs: usize,
    /// For how long each time.
    pub seconds: f64,
    /// Parameters of our module that differ from the defaults.
    pub params: Vec<(String, i64)>,
    /// How long all of it took.
    pub took: Duration,
}

impl Conditions {
    /// The parameters as they are written in a configuration, or an empty text.
    fn params_text(&self) -> String {
        self.params.iter().map(|(name, number)| format!("{name} {number}")).collect::<Vec<_>>().join(", ")
    }
}

/// Everything that was measured.
pub struct Report {
    cells: Vec<Cell>,
    conditions: Conditions,
    machine: Machine,
    targets: Vec<Target>,
}

impl Report {
    /// Of these cells.
    pub fn new(cells: Vec<Cell>, conditions: Conditions) -> Self {
        let mut report = Self { cells, conditions, machine: Machine::look(), targets: Vec::new() };
        report.targets = targets::all(&report);
        report
    }

    /// Prints the tables and writes the files into `folder`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).map_err(|error| Error::new(format!("making {}: {error}", folder.display())))?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|error| Error::new(format!("writing {}: {error}", path.display())))
        };
        write("result.json", json::text(self)?)?;
        write("report.html", html::page(self))?;
        write("result.md", table::markdown(self))?;
        println!("{}", table::markdown(self));
        let count: usize = self.cells.iter().map(|cell| cell.runs.len()).sum();
        println!("{count} measurements in {} s: {}/report.html", self.conditions.took.as_secs(), folder.display());
        Ok(())
    }

    fn cell(&self, point: &str, subject: Subject) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.point.key == point && cell.subject == subject)
    }

    /// The summary of one cell, if it was measured.
    fn summary(&self, point: &str, subject: Subject) -> Option<Summary> {
        self.cell(point, subject).map(Summary::of)
    }

    /// The better plain client at a point.
    fn plain(&self, point: &str) -> Option<&Cell> {
        let plain = [Subject::Amqprs, Subject::Lapin].map(|subject| self.cell(point, subject));
        let rate = |cell: &Cell| Summary::of(cell).rate.median;
        plain.into_iter().flatten().max_by(|one, other| rate(one).total_cmp(&rate(other)))
    }

    /// What does the same at a point without the module.
    fn ceiling_of(&self, point: &str) -> Option<&Cell> {
        match point.split_once('/')? {
            ("publish", _) => self.cell(point, Subject::SipOnly),
            ("loop", _) => self.plain("loop/1"),
            ("query", rest) if rest.ends_with("5ms") => None,
            ("query" | "consume", _) => self.plain(point.trim_end_matches("/fields")),
            _ => None,
        }
    }
}
