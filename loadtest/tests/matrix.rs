//! The fault matrix in its short form: faults that no other test makes, each once, on the same servers, under load.
//! `make faults` is the long form.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::process::Command;

#[test]
fn each_fault_once() {
    let run = Command::new(env!("CARGO_BIN_EXE_faults")).env("FAULT", "short").output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
    println!("{said}");
}
