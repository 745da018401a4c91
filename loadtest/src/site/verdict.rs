//! The last lines of the programs that hold the module against its promises, and their exit code.

use std::process::ExitCode;
use std::time::Instant;

use crate::error::Result;

/// Runs a program called `name`, which returns the promises that were broken, and says how it went. Success when none was.
#[allow(clippy::print_stdout, reason = "it talks to the program's user")]
pub fn judge(name: &str, program: impl FnOnce() -> Result<Vec<String>>) -> ExitCode {
    let began = Instant::now();
    let verdict = program();
    let took = began.elapsed().as_secs();
    match verdict {
        Ok(broken) if broken.is_empty() => {
            println!("{name}: ok, every promise kept ({took} s)");
            ExitCode::SUCCESS
        }
        Ok(broken) => {
            println!("{}\n{name}: FAILED, {} promises broken ({took} s)", broken.join("\n"), broken.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("{error}\n{name}: FAILED, could not be run ({took} s)");
            ExitCode::FAILURE
        }
    }
}
