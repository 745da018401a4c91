//! Compares the layout of every struct the module uses with what the C compiler makes of it.
//!
//! The bindings come from libclang, the server from a C compiler; a define that reaches only one of them shifts
//! fields silently, and the loader does not notice. `build.rs` makes both tables out of `build/layout.list`.
//!
//! This is a program, not a module: it reads the C table and calls nothing of Kamailio, so it links without it.

use std::ffi::{CStr, c_char};

/// One answer of the C compiler; the table ends with a null `what`.
#[repr(C)]
struct Answer {
    what: *const c_char,
    value: usize,
}

unsafe extern "C" {
    static kz_layouts: Answer;
}

/// The Rust side's answers.
const RUST: &[(&CStr, usize)] = include!(concat!(env!("OUT_DIR"), "/layout.rs"));

fn c_answers() -> Vec<(&'static CStr, usize)> {
    let mut answers = Vec::new();
    let mut answer = &raw const kz_layouts;
    loop {
        // SAFETY: the table is a C constant and ends with a null `what`, at which this loop stops.
        let Answer { what, value } = unsafe { answer.read() };
        if what.is_null() {
            return answers;
        }
        // SAFETY: `what` is a C string literal.
        answers.push((unsafe { CStr::from_ptr(what) }, value));
        // SAFETY: not at the end yet, so the next entry is still inside the table.
        answer = unsafe { answer.add(1) };
    }
}

#[test]
fn rust_and_the_c_compiler_agree_on_every_used_struct() {
    // Names the crate, which brings in the C table that is bundled with it.
    let _linked: kamailio_sys::str_ = Default::default();
    let c = c_answers();
    assert!(c.len() > 100, "only {} answers from C", c.len());
    assert_eq!(c.len(), RUST.len());
    let differing: Vec<String> = c
        .iter()
        .zip(RUST)
        .filter(|(c, rust)| c != rust)
        .map(|((what, c), (_, rust))| format!("{}: C {c}, Rust {rust}", what.to_string_lossy()))
        .collect();
    assert!(differing.is_empty(), "{} of {} differ:\n{}", differing.len(), c.len(), differing.join("\n"));
}
