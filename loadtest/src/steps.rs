//! Follows one process instruction by instruction from the datagram it receives to the answer it sends, and notes
//! every instruction that locks memory. What `strace` is for system calls, this is for locks: an uncontended lock makes
//! no system call, but it cannot be taken without a locked exchange.
//!
//! x86-64 only. A SIP request is some hundred thousand instructions, so a second or two.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::error::{Context, Error, Result};

const PAGE: u64 = 4096;
const RECVFROM: u64 = 45;
const RECVMSG: u64 = 47;

/// What a locked instruction is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Locked {
    /// Compare-and-exchange, or a bit test-and-set: how the C library takes a lock.
    CompareExchange,
    /// Exchange: how Kamailio takes a lock. The C library empties its heap's free lists with it.
    Exchange,
    /// Anything else with a lock prefix: counters, bits, fences.
    Other,
}

/// How often each kind ran, by the file that holds the code.
pub type LockedCounts = BTreeMap<(Locked, String), u64>;

/// Counts locked instructions of process `pid` from the next datagram that it receives until its next system call
/// that sends. `trigger` makes the datagram come; it runs once the process is followed. Returns the counts and how
/// many instructions there were.
pub fn locked_instructions(pid: i32, trigger: impl FnOnce()) -> Result<(LockedCounts, u64)> {
    let mut stepper = Stepper::attach(pid)?;
    trigger();
    let result = stepper.until_received().and_then(|()| stepper.until_system_call());
    let detached = ptrace::detach(stepper.pid, None).context(|| format!("detach from {pid}"));
    result.and_then(|counts| detached.map(|()| counts))
}

struct Stepper {
    pid: Pid,
    memory: File,
    code: BTreeMap<u64, Vec<u8>>,
    maps: Vec<(u64, u64, String)>,
}

impl Stepper {
    fn attach(pid: i32) -> Result<Self> {
        let memory = File::open(format!("/proc/{pid}/mem")).context(|| format!("memory of {pid}"))?;
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).context(|| format!("mappings of {pid}"))?;
        let maps = maps.lines().filter_map(mapping).collect();
        let pid = Pid::from_raw(pid);
        ptrace::seize(pid, ptrace::Options::PTRACE_O_TRACESYSGOOD).context(|| format!("trace {pid}"))?;
        let stepper = Self { pid, memory, code: BTreeMap::new(), maps };
        ptrace::interrupt(pid).context(|| format!("interrupt {pid}"))?;
        stepper.wait()?;
        ptrace::syscall(pid, None).context(|| format!("continue {pid}"))?;
        Ok(stepper)
    }

    /// Waits for the next stop; the signal that the process is to get, if that is the cause.
    fn wait(&self) -> Result<Option<Signal>> {
        match waitpid(self.pid, None).context(|| format!("wait for {}", self.pid))? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) | WaitStatus::PtraceSyscall(_) | WaitStatus::PtraceEvent(..) => {
                Ok(None)
            }
            WaitStatus::Stopped(_, signal) => Ok(Some(signal)),
            other => Err(Error::new(format!("{} ended while it was followed: {other:?}", self.pid))),
        }
    }

    /// Until a datagram has been received.
    fn until_received(&self) -> Result<()> {
        loop {
            let signal = self.wait()?;
            let registers = ptrace::getregs(self.pid).context(|| "registers".to_owned())?;
            // A positive result: the call has ended, with as many bytes.
            let received = i64::try_from(registers.rax).is_ok_and(|bytes| bytes > 0);
            if signal.is_none() && received && [RECVFROM, RECVMSG].contains(&registers.orig_rax) {
                return Ok(());
            }
            ptrace::syscall(self.pid, signal).context(|| "continue".to_owned())?;
        }
    }

    /// Instruction by instruction, until the next one is a system call that may send.
    fn until_system_call(&mut self) -> Result<(LockedCounts, u64)> {
        let (mut counts, mut steps) = (LockedCounts::new(), 0);
        let mut signal = None;
        loop {
            ptrace::step(self.pid, signal).context(|| "step".to_owned())?;
            signal = self.wait()?;
            steps += 1;
            let registers = ptrace::getregs(self.pid).context(|| "registers".to_owned())?;
            let code = self.code_at(registers.rip)?;
            if code.starts_with(&[0x0f, 0x05]) && sends(registers.rax) {
                return Ok((counts, steps));
            }
            if let Some(kind) = locked(&code) {
                *counts.entry((kind, self.file_of(registers.rip))).or_default() += 1;
            }
        }
    }

    /// The bytes of the instruction at `address`, and some more.
    fn code_at(&mut self, address: u64) -> Result<[u8; 15]> {
        let mut bytes = [0; 15];
        for (i, byte) in bytes.iter_mut().enumerate() {
            let at = address + i as u64;
            let page = self.page(at / PAGE)?;
            *byte = page.get((at % PAGE) as usize).copied().unwrap_or_default();
        }
        Ok(bytes)
    }

    /// Code does not change while the process runs, so each page is read once; one that is not mapped is empty.
    fn page(&mut self, number: u64) -> Result<&[u8]> {
        if !self.code.contains_key(&number) {
            let mut page = vec![0; PAGE as usize];
            let read = self.memory.read_exact_at(&mut page, number * PAGE);
            self.code.insert(number, if read.is_ok() { page } else { Vec::new() });
        }
        self.code.get(&number).map(Vec::as_slice).ok_or_else(|| Error::new("no such page"))
    }

    fn file_of(&self, address: u64) -> String {
        let found = self.maps.iter().find(|(from, to, _)| (*from..*to).contains(&address));
        found.map_or_else(|| format!("{address:#x}"), |(_, _, file)| file.clone())
    }
}

/// Range and file name of one line of `/proc/<pid>/maps`.
fn mapping(line: &str) -> Option<(u64, u64, String)> {
    let mut words = line.split_ascii_whitespace();
    let (from, to) = words.next()?.split_once('-')?;
    let file = words.nth(4).unwrap_or("[anonymous]").rsplit('/').next()?.to_owned();
    Some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?, file))
}

/// `sendto`, `sendmsg` and `sendmmsg`.
fn sends(system_call: u64) -> bool {
    [44, 46, 307].contains(&system_call)
}

/// Whether the instruction locks memory: a lock prefix, or an exchange with memory, which locks by itself.
fn locked(code: &[u8; 15]) -> Option<Locked> {
    let is_prefix = |byte: &u8| matches!(byte, 0xf0 | 0xf2 | 0xf3 | 0x2e | 0x36 | 0x3e | 0x26 | 0x64..=0x67);
    let prefixes = code.iter().take_while(|byte| is_prefix(byte)).count();
    let rex = usize::from(code.get(prefixes).is_some_and(|byte| (0x40..=0x4f).contains(byte)));
    let opcode = &code[(prefixes + rex).min(12)..];
    let has_lock = code[..prefixes].contains(&0xf0);
    let to_memory = |modrm: u8| modrm >> 6 != 3;
    match opcode {
        [0x86 | 0x87, modrm, ..] if to_memory(*modrm) => Some(Locked::Exchange),
        // cmpxchg, cmpxchg8b/16b, bts/btr/btc.
        [0x0f, 0xb0 | 0xb1 | 0xc7 | 0xab | 0xb3 | 0xbb | 0xba, ..] if has_lock => Some(Locked::CompareExchange),
        _ if has_lock => Some(Locked::Other),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(bytes: &[u8]) -> Option<Locked> {
        let mut code = [0x90; 15];
        code[..bytes.len()].copy_from_slice(bytes);
        locked(&code)
    }

    #[test]
    fn instructions_are_told_apart() {
        assert_eq!(kind(&[0xf0, 0x48, 0x0f, 0xb1, 0x0f]), Some(Locked::CompareExchange), "lock cmpxchg [rdi], rcx");
        assert_eq!(kind(&[0x87, 0x07]), Some(Locked::Exchange), "xchg [rdi], eax");
        assert_eq!(kind(&[0xf0, 0x83, 0x0c, 0x24, 0x00]), Some(Locked::Other), "lock or dword [rsp], 0");
        assert_eq!(kind(&[0xf0, 0x48, 0x0f, 0xc1, 0x07]), Some(Locked::Other), "lock xadd [rdi], rax");
        assert_eq!(kind(&[0x48, 0x87, 0xd8]), None, "xchg rax, rbx");
        assert_eq!(kind(&[0x48, 0x89, 0x07]), None, "mov [rdi], rax");
        assert_eq!(kind(&[0xf3, 0x48, 0xa5]), None, "rep movsq");
    }
}
