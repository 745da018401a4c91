//! The pages of the manual: read from `doc/`, their generated parts made anew.

use std::fmt::Write as _;
use std::fs;

use kazoo::bus::counters::Counter;

use crate::differences::DIFFERENCES;
use crate::{Error, folder, parameters};

/// Pages in reading order. `README.md` is the index and no part of the chapter.
pub const NAMES: &[&str] = &[
    "README.md",
    "overview.md",
    "parameters.md",
    "functions.md",
    "variables.md",
    "events.md",
    "subscriptions.md",
    "presence.md",
    "kemi.md",
    "monitoring.md",
    "coming-from-the-c-module.md",
];

/// A page as it should be.
#[derive(Clone, Debug)]
pub struct Page {
    /// File name.
    pub name: String,
    /// Markdown.
    pub text: String,
}

/// All pages, [`NAMES`] in order.
pub fn read_all() -> Result<Vec<Page>, Error> {
    NAMES.iter().map(|name| read(name)).collect()
}

fn read(name: &str) -> Result<Page, Error> {
    let text = if name == "parameters.md" {
        parameters::page()?
    } else {
        let read = fs::read_to_string(folder().join(name));
        filled(name, &read.map_err(|cause| Error::File { path: format!("doc/{name}"), cause })?)?
    };
    Ok(Page { name: name.to_owned(), text })
}

/// The page with its generated tables.
fn filled(page: &str, text: &str) -> Result<String, Error> {
    const OPEN: &str = "<!-- generated: ";
    const CLOSE: &str = "<!-- end -->";
    let wrong = |what: &str| Error::Page { page: page.to_owned(), what: what.to_owned() };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        let (name, after) = after.split_once(" -->").ok_or_else(|| wrong("a mark of a generated part has no end"))?;
        let (_, after) = after.split_once(CLOSE).ok_or_else(|| wrong("a generated part has no end"))?;
        let table = match name {
            "statistics" => statistics(),
            "differences" => differences(),
            _ => return Err(wrong("nothing of this name is generated")),
        };
        let _ = write!(out, "{before}{OPEN}{name} -->\n{table}{CLOSE}");
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn statistics() -> String {
    let mut table = "| name | counts |\n|---|---|\n".to_owned();
    for counter in Counter::ALL {
        let _ = writeln!(table, "| `{}` | {} |", counter.name(), counter.meaning().trim());
    }
    table
}

fn differences() -> String {
    let mut table = "| what | the C module | here | why |\n|---|---|---|---|\n".to_owned();
    for difference in DIFFERENCES {
        let [name, c, ours, why] = [difference.name, difference.c, difference.ours, difference.why].map(cell);
        let _ = writeln!(table, "| {name} | {c} | {ours} | {why} |");
    }
    table
}

/// A text of the module's tables as a cell: nothing in it is taken for Markdown.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('*', "\\*")
}
