//! `make doc`: writes the generated files of the user manual, see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    match kazoo_doc::write() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kazoo-doc: {error}");
            ExitCode::FAILURE
        }
    }
}
