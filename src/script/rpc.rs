//! RPC commands: `kamcmd kazoo.stats`, `kamcmd kazoo.rings`.
//!
//! Run in the process that serves the request; they only read shared memory.

use std::ffi::CString;

use crate::bus::counters::Counter;
use crate::bus::layout::Flow;
use crate::engine;
use crate::host::rpc::{self, Answer, Command, RegisterError};

const COMMANDS: &[Command] = &[
    Command { name: c"kazoo.stats", doc: c"All counters of the module, summed over all processes.", run: stats },
    Command {
        name: c"kazoo.rings",
        doc: c"Fill level in bytes of the rings of each process that uses them.",
        run: rings,
    },
];

/// Registers the commands. `mod_init`, once.
pub fn register() -> Result<(), RegisterError> {
    rpc::register(COMMANDS)
}

fn stats(answer: &mut Answer<'_>) {
    let Some(shared) = engine::shared() else {
        answer.fault(500, c"not started yet");
        return;
    };
    let Some(mut structure) = answer.structure() else { return };
    let state: &[u8] = match shared.flow() {
        Flow::Down => b"down",
        Flow::Moving => b"up",
        Flow::Still => b"blocked",
    };
    structure.text(c"primary_zone", state);
    for counter in Counter::ALL {
        if let Ok(name) = CString::new(counter.name()) {
            structure.number(&name, shared.total(*counter));
        }
    }
}

fn rings(answer: &mut Answer<'_>) {
    let Some(shared) = engine::shared() else {
        answer.fault(500, c"not started yet");
        return;
    };
    for level in shared.levels() {
        let Some(mut structure) = answer.structure() else { return };
        structure.number(c"process", level.process_no as u64);
        structure.text(c"ring", level.ring.as_bytes());
        structure.number(c"used", level.used);
        structure.number(c"size", level.size);
    }
}
