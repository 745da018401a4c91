//! Every process, ring and memory of Kamailio at one moment.

use std::collections::BTreeMap;
use std::time::Duration;

use rig::{Kamailio, Result};

/// One process.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// What it is for, e.g. `SIP worker`; several may be of one kind.
    pub kind: String,
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Its own heap and stack.
    pub private_kib: u64,
    /// With what it has touched of Kamailio's shared memory.
    pub resident_kib: u64,
    /// Used of Kamailio's package memory, in bytes.
    pub package: u64,
}

/// One ring in shared memory.
#[derive(Debug, Clone, Default)]
pub struct Ring {
    /// Which one it is: `command`, `delivery`, …
    pub name: String,
    /// Bytes in it, the most that ever were, and that fit.
    pub used: u64,
    pub peak: u64,
    pub size: u64,
}

/// Kamailio at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Since the soak began.
    pub at: Duration,
    /// By process id.
    pub processes: BTreeMap<i32, Process>,
    pub rings: Vec<Ring>,
    /// Used of Kamailio's shared memory, in bytes.
    pub shared: u64,
    /// Suspended transactions that wait for an answer from the bus.
    pub suspended: u64,
}

impl Snapshot {
    /// Looks at everything.
    pub fn take(kamailio: &Kamailio, at: Duration) -> Result<Self> {
        let shared = kamailio.rpc_numbers(&["core.shmmem"])?.get("used").copied().unwrap_or(0);
        let stats = kamailio.rpc_numbers(&["kazoo.stats"])?;
        let stat = |name: &str| stats.get(name).copied().unwrap_or(0);
        let suspended = stat("async_queries").saturating_sub(stat("async_resumed") + stat("async_gone"));
        let rings = kamailio.rpc_structures(&["kazoo.rings"])?.iter().map(ring).collect();
        Ok(Self { at, processes: processes(kamailio)?, rings, shared, suspended })
    }

    /// No message and no transaction is on its way.
    pub fn is_at_rest(&self) -> bool {
        self.suspended == 0 && self.rings.iter().all(|ring| ring.used == 0)
    }

    /// Each process has as many descriptors and threads as at that moment.
    pub fn has_handles_of(&self, other: &Self) -> bool {
        let handles = |process: &Process| (process.descriptors, process.threads);
        let same = |(pid, process): (&i32, &Process)| self.processes.get(pid).map(handles) == Some(handles(process));
        self.processes.len() == other.processes.len() && other.processes.iter().all(same)
    }
}

fn processes(kamailio: &Kamailio) -> Result<BTreeMap<i32, Process>> {
    let package = |process: &BTreeMap<String, String>| Some((number(process, "pid") as i32, number(process, "used")));
    let packages: BTreeMap<i32, u64> = kamailio.rpc_structures(&["pkg.stats"])?.iter().filter_map(package).collect();
    let process = |process: rig::Process| {
        // A process that is gone by now has ended during a soak: it is missing, and that is a broken promise.
        let memory = kamailio.memory(process.pid)?;
        let seen = Process {
            kind: kind(&process.title).to_string(),
            descriptors: kamailio.descriptors(process.pid),
            threads: kamailio.threads(process.pid),
            private_kib: memory.private_kib,
            resident_kib: memory.resident_kib,
            package: packages.get(&process.pid).copied().unwrap_or(0),
        };
        Some((process.pid, seen))
    };
    Ok(kamailio.processes()?.into_iter().filter_map(process).collect())
}

/// Kamailio's title without what tells processes of one kind apart.
fn kind(title: &str) -> &str {
    match title {
        "" => "unknown to Kamailio",
        title if title.starts_with("udp receiver") => "SIP worker",
        title if title.starts_with("tcp receiver") => "TCP worker",
        title if title.starts_with("main process") => "main process",
        title => title,
    }
}

fn ring(fields: &BTreeMap<String, String>) -> Ring {
    Ring {
        name: fields.get("ring").cloned().unwrap_or_default(),
        used: number(fields, "used"),
        peak: number(fields, "peak"),
        size: number(fields, "size"),
    }
}

fn number(fields: &BTreeMap<String, String>, name: &str) -> u64 {
    fields.get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
}
