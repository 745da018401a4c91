//! The load test in its short form: some workloads once, by our module and the C module. Speed is not judged here; `make
//! loadtest` is the long form.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn workloads_are_compared_and_ours_loses_nothing() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("comparison");
    let run = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .env("RUNS", "1")
        .env("SECONDS", "0.5")
        .env("WORKLOADS", "publish/8,publish-open/2000,query/8,consume/live/ack")
        .env("SUBJECTS", "ours,C module")
        .env("FOLDER", &folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    println!("{said}{}", String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success());
    assert!(said.contains("| publish/8 | ours |"), "no table");

    let result: Value = serde_json::from_slice(&fs::read(folder.join("result.json")).unwrap()).unwrap();
    let cells = result["cells"].as_array().unwrap();
    let who: BTreeSet<&str> = cells.iter().filter_map(|cell| cell["subject"].as_str()).collect();
    assert_eq!(who, BTreeSet::from(["c-module", "ours"]));
    // Two of `query/8`, at once and after 5 ms; two of `consume/live/ack`, with fields and without.
    assert_eq!(cells.len(), 12);
    for cell in cells.iter().filter(|cell| cell["subject"] == "ours") {
        let run = &cell["runs"][0];
        // Refusals are not judged: on a busy machine SIP may outrun the broker.
        let bad = ["lost", "duplicated", "wrong"].map(|what| run[what].as_u64());
        assert_eq!((bad, &run["died"]), ([Some(0); 3], &Value::Bool(false)), "{cell:#}");
        assert!(run["operations"].as_u64() > Some(0), "{cell:#}");
    }
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.ends_with("</html>\n") && page.matches("<svg").count() > 5, "{page}");
    for outside in ["src=", "href=", "url(", "@import"] {
        assert!(!page.contains(outside), "the page needs something else: {outside}");
    }
}
