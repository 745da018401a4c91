//! What a process keeps between calls: its end of the bus and its source of `Msg-ID`s.
//!
//! Made at the first use in each process, keyed on the process number: what the main process made before a fork
//! (an event route at start-up may publish) must not be used by its children, or two would write one ring.

use std::cell::RefCell;
use std::sync::OnceLock;

use crate::bus::patience::{Patience, Run};
use crate::bus::{LayoutError, Shared, Worker};
use crate::config;
use crate::host;
use crate::host::message::{MessageId, SipMsg};
use crate::payload::{self, Envelope, Enveloped, Memory, PayloadError};

use super::msg_id::MsgIds;

static SHARED: OnceLock<&'static Shared> = OnceLock::new();

thread_local! {
    static PROCESS: RefCell<Option<Process>> = const { RefCell::new(None) };
}

/// Why this process cannot use the bus.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotAttached {
    /// Called before `child_init`, in which the bus is laid out.
    #[error("the module is not initialised yet")]
    TooEarly,
    /// A function of the module called another one.
    #[error("called from within another call")]
    Busy,
    /// The bus has no place for this process.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The operating system gave no random numbers.
    #[error("no random numbers: {0}")]
    Random(#[from] rand::rngs::SysError),
}

/// One process's means to send.
pub struct Process {
    process_no: usize,
    /// The process's end of the bus.
    pub worker: Worker,
    /// Source of `Msg-ID`s.
    pub ids: MsgIds,
    /// Value of the `Node` field.
    node: String,
    memory: Memory,
}

/// Makes the bus known to the script functions. Main process, before any fork.
pub fn use_bus(shared: &'static Shared) {
    SHARED.get_or_init(|| shared);
}

/// Runs `body` with what this process keeps.
pub fn with<R>(body: impl FnOnce(&mut Process) -> R) -> Result<R, NotAttached> {
    PROCESS.with(|slot| {
        let mut slot = slot.try_borrow_mut().map_err(|_| NotAttached::Busy)?;
        let process_no = host::process::process_no();
        match slot.as_mut() {
            Some(process) if process.process_no == process_no => {
                process.worker.reclaim();
                Ok(body(process))
            }
            _ => Ok(body(slot.insert(Process::attach(process_no)?))),
        }
    })
}

/// Runs `body` with what this process keeps, to send on behalf of `msg`.
pub fn send_for<R>(msg: SipMsg<'_>, body: impl FnOnce(&mut Process) -> R) -> Result<R, NotAttached> {
    let run = msg.id().and_then(MessageId::sip_number).map_or(Run::Unasked, Run::Sip);
    with(|process| {
        process.worker.begin(run);
        body(process)
    })
}

impl Process {
    fn attach(process_no: usize) -> Result<Self, NotAttached> {
        let shared = SHARED.get().ok_or(NotAttached::TooEarly)?;
        let config = config::get();
        let patience = Patience::new(config.publish_wait, config.sip_wait);
        let worker = Worker::attach(shared, process_no, patience)?;
        Ok(Self { process_no, worker, ids: MsgIds::seeded()?, node: config.node(), memory: Memory::default() })
    }

    /// Adds the sender's fields to an outgoing payload; each has a `Msg-ID` of its own.
    pub fn seal(&mut self, body: &[u8]) -> Result<Enveloped, PayloadError> {
        let fields = Envelope {
            app_name: config::get().app_name.as_bytes(),
            app_version: host::version().as_bytes(),
            node: self.node.as_bytes(),
            msg_id: self.ids.next_id(),
        };
        payload::envelope_in(&mut self.memory, body, &fields)
    }

    /// Takes back what [`seal`](Self::seal) gave, for the next payload.
    pub fn reuse(&mut self, sealed: Enveloped) {
        self.memory.keep(sealed.text);
    }
}
