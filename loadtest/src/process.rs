//! Child processes in groups of their own, and what `/proc` tells about them.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::error::{Context, Error, Result};
use crate::guardian;

/// How often a state is looked at while waiting for it.
const POLL: Duration = Duration::from_millis(10);

/// Waits until `ready` answers true; false when `timeout` passed first.
pub fn wait_until(timeout: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        if ready() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

/// The full path of a program, looked up in `PATH` and in the system folders that an ordinary user's `PATH` lacks.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| Error::new(format!("program {name} is not installed (.ci/packages installs what is needed)")))
}

/// A file opened for appending, as standard output and error of a child.
pub(crate) fn append(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(path).context(|| format!("opening {}", path.display()))
}

/// A started program that leads its own process group. Dropping it kills the whole group.
#[derive(Debug)]
pub(crate) struct Group {
    child: Child,
    status: Option<ExitStatus>,
}

impl Group {
    /// Starts `command` as leader of a new group, with both outputs appended to `log`.
    pub(crate) fn spawn(command: &mut Command, log: &Path) -> Result<Self> {
        let out = append(log)?;
        let err = out.try_clone().context(|| "sharing a log file".into())?;
        let name = command.get_program().display().to_string();
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .context(|| format!("starting {name}"))?;
        let group = Self { child, status: None };
        guardian::watch_group(group.pid())?;
        Ok(group)
    }

    /// Process id of the leader, which is the id of the group as well.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Sends `signal` to the leader; a leader that is gone already is no error.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.status().is_none() {
            send(self.pid(), signal);
        }
    }

    /// The exit status of the leader, `None` while it runs.
    pub(crate) fn status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// Waits for the leader's end; `None` when it still runs after `timeout`.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        wait_until(timeout, || self.status().is_some());
        self.status
    }

    /// Processes of the group that are alive.
    pub(crate) fn members(&self) -> Vec<i32> {
        let group = self.pid();
        all().filter(|p| p.group == group && p.state != 'Z').map(|p| p.pid).collect()
    }

    /// Kills what is left of the group and waits until it is gone.
    pub(crate) fn kill_all(&mut self) {
        let group = Pid::from_raw(self.pid());
        let gone = wait_until(Duration::from_secs(5), || {
            // ESRCH: nobody left, which is what is wanted.
            let _ = killpg(group, Signal::SIGKILL);
            self.status().is_some() && self.members().is_empty()
        });
        if gone {
            guardian::forget_group(group.as_raw());
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill_all();
    }
}

/// Sends `signal` to one process; a process that is gone already is no error.
pub(crate) fn send(pid: i32, signal: Signal) {
    // ESRCH is the only failure for own processes.
    let _ = kill(Pid::from_raw(pid), signal);
}

/// One line of the process table.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) state: char,
    pub(crate) name: String,
}

/// Every process of the machine that can be read.
pub(crate) fn all() -> impl Iterator<Item = Entry> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|dir| dir.file_name().to_str()?.parse().ok())
        .filter_map(entry)
}

/// The table's line for `pid`; `None` when there is no such process.
pub(crate) fn entry(pid: i32) -> Option<Entry> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold blanks and parentheses itself.
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_string();
    let mut fields = after.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some(Entry { pid, parent, group, state, name })
}

/// `root` and everything below it in the process tree, alive, root first.
pub(crate) fn tree(root: i32) -> Vec<Entry> {
    let table: Vec<Entry> = all().filter(|p| p.state != 'Z').collect();
    let mut known = BTreeSet::from([root]);
    loop {
        let before = known.len();
        known.extend(table.iter().filter(|p| known.contains(&p.parent)).map(|p| p.pid).collect::<Vec<_>>());
        if known.len() == before {
            break;
        }
    }
    let mut found: Vec<Entry> = table.into_iter().filter(|p| known.contains(&p.pid)).collect();
    found.sort_by_key(|p| (p.pid != root, p.pid));
    found
}

/// Memory of one process in KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Everything resident, Kamailio's shared memory included.
    pub resident_kib: u64,
    /// Its own heap and stack only: the number that grows when the process leaks.
    pub private_kib: u64,
}

/// Memory of the process, `None` when it is gone.
pub(crate) fn memory(pid: i32) -> Option<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = |key: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    Some(Memory { resident_kib: kib("VmRSS:")?, private_kib: kib("RssAnon:")? })
}

/// Processor time the process's threads used so far, to the nanosecond; `None` when it is gone.
pub fn cpu(pid: i32) -> Option<Duration> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let nanoseconds = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| text.split_ascii_whitespace().next()?.parse::<u64>().ok())
        .sum();
    Some(Duration::from_nanos(nanoseconds))
}

/// How often the process's threads went to sleep so far, which is how often they woke up; `None` when it is gone.
pub fn voluntary_switches(pid: i32) -> Option<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    Some(threads.flatten().filter_map(|thread| switches_of(&thread.path())).sum())
}

/// The same of one thread of this process.
pub fn voluntary_switches_of_thread(thread: Pid) -> Option<u64> {
    switches_of(&PathBuf::from(format!("/proc/self/task/{thread}")))
}

fn switches_of(thread: &Path) -> Option<u64> {
    let status = fs::read_to_string(thread.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    line.trim().parse().ok()
}

/// Threads of the process; 0 when it is gone.
pub(crate) fn threads(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// Descriptors that the process has open; 0 when it is gone.
pub(crate) fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Sets the soft limit of open descriptors of a running process, `None`: as many as the hard limit allows.
pub(crate) fn limit_descriptors(pid: i32, limit: Option<u64>) -> Result<()> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).context(|| format!("limits of {pid}"))?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let hard = line.and_then(|line| line.split_ascii_whitespace().nth(1)).unwrap_or("unlimited");
    let soft = limit.map_or_else(|| hard.to_string(), |limit| limit.to_string());
    let output = Command::new(program("prlimit")?)
        .args(["--pid", &pid.to_string(), &format!("--nofile={soft}:{hard}")])
        .output()
        .context(|| "starting prlimit".into())?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::new(format!("prlimit: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::*;
    use crate::rundir::RunDir;

    fn shell(script: &str, dir: &RunDir) -> Group {
        Group::spawn(Command::new("/bin/sh").args(["-c", script]), &dir.file("log")).unwrap()
    }

    #[test]
    fn dropping_a_group_ends_grandchildren() {
        let dir = RunDir::new("process").unwrap();
        let group = shell("sleep 1000 & sleep 1001 & wait", &dir);
        assert!(wait_until(Duration::from_secs(5), || group.members().len() == 3), "{:?}", group.members());
        let members = group.members();
        drop(group);
        for pid in members {
            assert!(entry(pid).is_none_or(|p| p.state == 'Z'), "process {pid} survived");
        }
    }

    #[test]
    fn tree_finds_grandchildren_and_their_cost() {
        let dir = RunDir::new("process").unwrap();
        let group = shell("(sleep 1000; :) & wait", &dir);
        assert!(wait_until(Duration::from_secs(5), || tree(group.pid()).len() == 3), "{:?}", tree(group.pid()));
        assert_eq!(tree(group.pid())[0].pid, group.pid());
        assert!(memory(group.pid()).unwrap().private_kib > 0);
        assert!(cpu(group.pid()).unwrap() > Duration::ZERO);
    }
}
