//! The generated part of the user manual.
//!
//! | file | from |
//! |---|---|
//! | `doc/parameters.md` | the parameter table of the module's code, examples of [`parameters`] |
//! | tables between `<!-- generated: … -->` and `<!-- end -->` in the other pages | tables of the module's code |
//! | `doc/kazoo_admin.xml` | all pages, in the form of Kamailio's own module manuals |
//!
//! `make doc` writes them; a test fails when a committed file is not what would be written. Links nothing of Kamailio
//! and is no part of the module.

#![forbid(unsafe_code)]

pub mod chapter;
/// What the differential suite found, and goes by.
#[path = "../../../tests/differential/differences.rs"]
pub mod differences;
pub mod docbook;
pub mod pages;
pub mod parameters;

use std::fs;
use std::path::{Path, PathBuf};

/// Why the manual cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A page cannot be read or written.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        cause: std::io::Error,
    },
    /// A parameter of the module that no section of the reference has, or the other way round.
    #[error("parameter {0}: not in both config::PARAMS and the sections in doc/generate/src/parameters.rs")]
    Parameter(String),
    /// A page lacks what the plan of the chapter expects.
    #[error("{page}: {what}")]
    Page {
        /// File name of the page.
        page: String,
        /// What is wrong with it.
        what: String,
    },
}

/// The folder `doc/` of this source tree.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Name and text of every file that is generated, wholly or in part.
pub fn files() -> Result<Vec<(String, String)>, Error> {
    let pages = pages::read_all()?;
    let chapter = chapter::write(&pages)?;
    let mut files: Vec<_> = pages.into_iter().map(|page| (page.name, page.text)).collect();
    files.push(("kazoo_admin.xml".to_owned(), chapter));
    Ok(files)
}

/// Writes the files whose text has changed.
pub fn write() -> Result<(), Error> {
    for (name, text) in files()? {
        let path = folder().join(&name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        fs::write(&path, text).map_err(|cause| Error::File { path: name.clone(), cause })?;
        eprintln!("wrote doc/{name}");
    }
    Ok(())
}
