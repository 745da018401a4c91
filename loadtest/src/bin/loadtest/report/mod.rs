//! What the measurements say together: medians, ratios, and whether the targets are met.

mod json;
mod summary;
mod table;

use std::fs;
use std::path::Path;
use std::time::Duration;

use rig::{Error, Result};

use crate::schedule::Cell;
pub use summary::Summary;

/// Everything that was measured.
pub struct Report {
    cells: Vec<Cell>,
    runs: usize,
    seconds: f64,
    took: Duration,
}

impl Report {
    /// Of these cells; each was measured `runs` times for `seconds`, all of it took `took`.
    pub fn new(cells: Vec<Cell>, runs: usize, seconds: f64, took: Duration) -> Self {
        Self { cells, runs, seconds, took }
    }

    /// Prints the table and writes the files into `folder`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).map_err(|error| Error::new(format!("making {}: {error}", folder.display())))?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|error| Error::new(format!("writing {}: {error}", path.display())))
        };
        write("result.json", json::text(self)?)?;
        println!("{}", table::markdown(self));
        println!(
            "{} measurements in {} s; all of them in {}",
            self.cells.iter().map(|cell| cell.runs.len()).sum::<usize>(),
            self.took.as_secs(),
            folder.display()
        );
        Ok(())
    }
}
