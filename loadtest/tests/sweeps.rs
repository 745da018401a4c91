//! `make tuning` and `make scale` in their short form: one value of a sweep of each kind, once. Nothing is judged but
//! that nothing is lost and that files come out.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Runs the command on the first value of these sweeps; where its files are.
fn swept(command: &str, sweeps: &str, page: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(command);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{command}.md")), page).unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .arg(command)
        .env("RUNS", "1")
        .env("SECONDS", "0.3")
        .env("VALUES", "1")
        .env("SWEEPS", sweeps)
        .env("FOLDER", &folder)
        .env_remove("DOC")
        .output()
        .unwrap();
    println!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success());
    folder
}

/// A page with places for these parts.
fn page(parts: &[&str]) -> String {
    parts.iter().map(|part| format!("<!-- measured: {part} -->\n<!-- end -->\nwords\n")).collect()
}

/// Every series of this sweep did something, well.
fn measured(folder: &Path, command: &str, sweep: &str) {
    let result: Value =
        serde_json::from_slice(&fs::read(folder.join(format!("{command}-{sweep}.json"))).unwrap()).unwrap();
    let series = result["values"][0]["series"].as_array().unwrap();
    assert!(!series.is_empty());
    for series in series {
        let run = &series["samples"][0]["run"];
        assert_eq!((&run["faults"], run["rate"].as_f64() > Some(1.0)), (&Value::Array(vec![]), true), "{series:#}");
    }
    let plot = fs::read_to_string(folder.join(format!("plots/{command}-{sweep}.svg"))).unwrap();
    assert!(plot.starts_with("<svg") && plot.contains("<polyline"), "{plot}");
    let page = fs::read_to_string(folder.join(format!("{command}.md"))).unwrap();
    let (_, part) = page.split_once(&format!("<!-- measured: {sweep} -->")).unwrap();
    let (part, rest) = part.split_once("<!-- end -->").unwrap();
    assert!(part.contains(&format!("(plots/{command}-{sweep}.svg)")) && part.contains("|--:|"), "{part}");
    assert!(rest.starts_with("\nwords\n"), "{rest}");
}

#[test]
fn parameters_are_swept_without_loss() {
    let sweeps = ["amqp_reply_ring_kb", "profiles"];
    let folder = swept("tuning", &sweeps.join(","), &page(&["conditions", sweeps[0], sweeps[1]]));
    sweeps.iter().for_each(|sweep| measured(&folder, "tuning", sweep));
}

#[test]
fn sizes_are_swept_without_loss() {
    let sweeps = ["brokers", "outstanding"];
    let folder = swept("scale", &sweeps.join(","), &page(&["conditions", sweeps[0], sweeps[1]]));
    sweeps.iter().for_each(|sweep| measured(&folder, "scale", sweep));
}
