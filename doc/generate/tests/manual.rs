//! The committed manual is what `make doc` would write, describes everything that the module exports, and is valid.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use kazoo::bus::counters::Counter;
use kazoo::config::PARAMS;
use kazoo_doc::{docbook, files, folder, pages};

#[test]
fn the_committed_files_are_not_stale() {
    for (name, text) in files().unwrap() {
        let committed = fs::read_to_string(folder().join(&name)).unwrap_or_default();
        assert!(committed == text, "doc/{name} is stale: run `make doc` and commit what it writes");
    }
}

#[test]
fn the_chapter_is_valid_docbook() {
    let chapter = folder().join("kazoo_admin.xml");
    // --nonet: the document type comes from the catalogue of Debian's docbook-xml, not from the network.
    let output = Command::new("xmllint").args(["--nonet", "--noout", "--valid"]).arg(chapter).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A file of the module's source.
fn source(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src").join(path)).unwrap()
}

/// What stands between `before` and the next `"` in `text`, wherever `before` occurs.
fn names_after<'t>(text: &'t str, before: &str) -> BTreeSet<&'t str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// Ids of all sections of the chapter.
fn ids() -> BTreeSet<String> {
    let pages = pages::read_all().unwrap();
    let all = pages.iter().flat_map(|page| {
        let parts = docbook::parts(&page.name, &page.text);
        parts.into_iter().map(|part| docbook::id(&page.name, &part.heading))
    });
    all.collect()
}

/// One kind of export: the ids that the chapter has for it are exactly these.
fn documented(kind: &str, exported: &BTreeSet<&str>) {
    let prefix = format!("kazoo.{kind}.");
    let expected: BTreeSet<_> = exported.iter().map(|name| format!("{prefix}{name}")).collect();
    let found: BTreeSet<_> = ids().into_iter().filter(|id| id.starts_with(&prefix)).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_parameter_has_its_section() {
    documented("p", &PARAMS.iter().map(kazoo::config::Param::name).collect());
}

#[test]
fn every_function_has_its_section() {
    let entry = source("entry.rs");
    let exported = names_after(&entry, "command(c\"");
    assert!(exported.contains("kazoo_publish"));
    documented("f", &exported);
}

#[test]
fn every_kemi_function_is_in_the_table() {
    let page = fs::read_to_string(folder().join("kemi.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `KSR.kazoo.")?.split('(').next());
    let entry = source("entry.rs");
    assert_eq!(rows.collect::<BTreeSet<_>>(), names_after(&entry, "kemi::function(c\""));
}

#[test]
fn every_variable_has_its_section() {
    documented("v", &names_after(&source("entry.rs"), "read_only(c\""));
}

#[test]
fn every_transformation_has_its_section() {
    let table = source("script/transformation.rs");
    let exported: Vec<_> = names_after(&table, "Name { name: \"").into_iter().map(|n| format!("kz.{n}")).collect();
    documented("t", &exported.iter().map(String::as_str).collect());
}

#[test]
fn every_event_route_has_its_section() {
    documented("e", &BTreeSet::from(["mod-init", "consumer-event"]));
}

#[test]
fn every_rpc_command_has_its_section() {
    let table = source("script/rpc.rs");
    let exported = table.split("c\"kazoo.").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    documented("r", &exported);
}

#[test]
fn every_statistic_is_in_the_table() {
    let page = fs::read_to_string(folder().join("monitoring.md")).unwrap();
    for counter in Counter::ALL {
        assert!(page.contains(&format!("| `{}` |", counter.name())), "{}", counter.name());
    }
}

#[test]
fn every_return_code_is_in_the_table() {
    let table = source("script/verdict.rs");
    let page = fs::read_to_string(folder().join("functions.md")).unwrap();
    let codes: BTreeSet<i32> = table
        .lines()
        .filter_map(|line| line.trim().split_once(" = "))
        .filter_map(|(_, code)| code.strip_suffix(',')?.parse().ok())
        .collect();
    assert!(codes.contains(&1) && codes.contains(&-8), "{codes:?}");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()?.parse().ok());
    assert_eq!(rows.collect::<BTreeSet<i32>>(), codes);
}

/// All Rust text below a folder.
fn all_sources(folder: &Path, out: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all_sources(&path, out);
        } else {
            out.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// In the table of log lines `…` and `N` stand for what differs; the rest stands in the code.
#[test]
fn every_log_line_is_one_that_the_module_writes() {
    let mut code = String::new();
    all_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src"), &mut code);
    // A quote inside a text of the code has a backslash.
    let code = code.replace("\\\"", "\"");
    let page = fs::read_to_string(folder().join("monitoring.md")).unwrap();
    let (_, table) = page.split_once("## Log lines").unwrap();
    let lines = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut checked = 0;
    for piece in lines.flat_map(|line| line.split(['…', 'N'])).map(str::trim).filter(|piece| piece.len() > 4) {
        assert!(code.contains(piece), "no log line has: {piece}");
        checked += 1;
    }
    assert!(checked > 10, "{checked}");
}
