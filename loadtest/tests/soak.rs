//! The soak in its short form: under load the broker is restarted once to warm up and three times more; then every
//! process has the memory, descriptors and threads it had before, and every ring is empty. `make soak` is the long form.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::process::Command;

#[test]
fn nothing_grows_over_three_restarts_of_the_broker() {
    let run = Command::new(env!("CARGO_BIN_EXE_soak")).env("MINUTES", "short").output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
    println!("{said}");
}
