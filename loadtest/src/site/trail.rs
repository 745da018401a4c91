//! What the consumers did, read from Kamailio's log: it outlives a killed consumer and a restarted server.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Follows the log. Events are those of `demo/kamailio.cfg` with `FAULTS`.
#[derive(Debug)]
pub struct Trail {
    path: PathBuf,
    offset: u64,
    rest: String,
    /// Events whose route ran to its end. Some do so twice: the application publishes again what is not confirmed.
    done: BTreeSet<u64>,
    /// The event whose route each process is in.
    open: BTreeMap<i32, u64>,
}

impl Trail {
    /// The trail in this log file.
    pub fn of(log: &Path) -> Self {
        Self { path: log.into(), offset: 0, rest: String::new(), done: BTreeSet::new(), open: BTreeMap::new() }
    }

    /// Reads what was added since the last call.
    pub fn follow(&mut self) {
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.offset))?;
            file.read_to_end(&mut bytes)
        });
        // A log that cannot be read shows nothing new; the sums at the end will tell.
        self.offset += read.unwrap_or(0) as u64;
        let mut text = std::mem::take(&mut self.rest);
        text.push_str(&String::from_utf8_lossy(&bytes));
        let complete = text.rfind('\n').map_or(0, |end| end + 1);
        text[..complete].lines().for_each(|line| self.take(line));
        self.rest = text[complete..].to_string();
    }

    /// Different events whose route has ended.
    pub fn handled(&self) -> u64 {
        self.done.len() as u64
    }

    /// Events below `count` whose route never ended.
    pub fn unhandled(&self, count: u64) -> Vec<u64> {
        (0..count).filter(|number| !self.done.contains(number)).collect()
    }

    /// The event whose route the process is in.
    pub fn open(&self, pid: i32) -> Option<u64> {
        self.open.get(&pid).copied()
    }

    fn take(&mut self, line: &str) {
        let event = |verb: &str| line.split_once(verb)?.1.split_ascii_whitespace().next()?.parse::<u64>().ok();
        let pid = || line.split_once('(')?.1.split_once(')')?.0.parse::<i32>().ok();
        if let (Some(number), Some(pid)) = (event("event-begun "), pid()) {
            self.open.insert(pid, number);
        } else if let (Some(number), Some(pid)) = (event("event-done "), pid()) {
            self.open.remove(&pid);
            self.done.insert(number);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn routes_are_followed_by_process() {
        let mut trail = Trail::of(Path::new("/none"));
        trail.follow();
        for line in [
            " 9(77) INFO: <script>: event-begun 0",
            "10(78) INFO: <script>: event-begun 1",
            " 9(77) INFO: <script>: event-done 0",
            " 9(79) INFO: <script>: event-begun 0",
            " 9(79) INFO: <script>: event-done 0",
        ] {
            trail.take(line);
        }
        assert_eq!((trail.open(77), trail.open(78)), (None, Some(1)));
        assert_eq!((trail.handled(), trail.unhandled(3)), (1, vec![1, 2]));
    }
}
