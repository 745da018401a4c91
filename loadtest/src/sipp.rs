//! Load on SIP by sipp, with the scenarios of `loadtest/scenarios/`, and what its statistics files say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;

use crate::error::{Context, Error, Result, last_lines};
use crate::ports::Port;
use crate::process::{Group, program};
use crate::rundir::RunDir;

/// How to run sipp.
#[derive(Debug, Clone)]
pub struct Sipp {
    scenario: PathBuf,
    calls: u64,
    rate: u32,
    limit: u32,
    users: Vec<(String, String)>,
    repeats: bool,
}

impl Sipp {
    /// A scenario of ours by name: `options` or `register`.
    pub fn scenario(name: &str) -> Self {
        Self::file(Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{name}.xml")))
    }

    /// The scenario in this file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { scenario: path.into(), calls: 1000, rate: 100, limit: 200, users: Vec::new(), repeats: true }
    }

    /// How many calls to make in all (default 1000).
    pub fn calls(self, calls: u64) -> Self {
        Self { calls, ..self }
    }

    /// Calls per second (default 100).
    pub fn rate(self, rate: u32) -> Self {
        Self { rate, ..self }
    }

    /// Calls waiting for an answer at a time (default 200): with so many open, sipp starts no more.
    pub fn limit(self, limit: u32) -> Self {
        Self { limit, ..self }
    }

    /// Adds a user with a password, for `register`; the calls use them in turn.
    pub fn user(mut self, user: &str, password: &str) -> Self {
        self.users.push((user.into(), password.into()));
        self
    }

    /// Sends each request once, however long its answer takes: for counts of what the requests led to.
    pub fn without_repeats(self) -> Self {
        Self { repeats: false, ..self }
    }

    /// Starts sipp against the server on this UDP port of 127.0.0.1.
    pub fn start(self, server: u16) -> Result<SippRun> {
        self.run(Some(server))
    }

    /// Starts sipp as the side that is called: for a scenario that begins by receiving. See [`SippRun::port`].
    pub fn answer(self) -> Result<SippRun> {
        self.run(None)
    }

    fn run(self, server: Option<u16>) -> Result<SippRun> {
        let dir = RunDir::new("sipp")?;
        let (port, control) = (Port::lease()?, Port::lease()?);
        let mut command = Command::new(program("sipp")?);
        command
            .current_dir(dir.path())
            // It draws its screens for a terminal even when there is none.
            .env("TERM", "dumb")
            .args(server.map(|port| format!("127.0.0.1:{port}")))
            .arg("-sf")
            .arg(&self.scenario)
            .args(["-i", "127.0.0.1", "-p", &port.number().to_string()])
            .args(["-ci", "127.0.0.1", "-cp", &control.number().to_string()])
            .args(["-m", &self.calls.to_string(), "-r", &self.rate.to_string(), "-l", &self.limit.to_string()])
            .args(["-nostdin", "-fd", "1", "-trace_stat", "-stf", "stat.csv", "-trace_counts"])
            .args(["-trace_rtt", "-rtt_freq", "1", "-trace_logs", "-log_file", "logged"])
            .args(["-trace_err", "-error_file", "errors"]);
        if !self.repeats {
            command.arg("-nr");
        }
        if !self.users.is_empty() {
            command.arg("-inf").arg(dir.write("users.csv", &self.users_file())?);
        }
        let started = SystemTime::now();
        let sipp = Group::spawn(&mut command, &dir.file("screen"))?;
        Ok(SippRun { sipp, dir, started, port, _control: control })
    }

    fn users_file(&self) -> String {
        let line = |(user, password): &(String, String)| {
            format!("{user};[authentication username={user} password={password}]\n")
        };
        format!("SEQUENTIAL\n{}", self.users.iter().map(line).collect::<String>())
    }
}

/// What sipp counted. While it runs, as of the last full second.
#[derive(Debug, Clone, Default)]
pub struct SippReport {
    /// Calls begun.
    pub calls: u64,
    /// Calls that went through the scenario to its end.
    pub succeeded: u64,
    /// Calls that did not: unexpected answer, or none at all.
    pub failed: u64,
    /// Those of them that got no answer.
    pub unanswered: u64,
    /// Requests sent, retransmissions excluded.
    pub requests: u64,
    /// Requests sent again because no answer came in time.
    pub retransmissions: u64,
    /// Answers the scenario knows, by status code, repeated ones excluded.
    pub answers: BTreeMap<u16, u64>,
    /// Response times in milliseconds, at sipp's resolution of 1 ms.
    pub response_ms: Percentiles,
    /// Each of these answers. Only at the end.
    pub answer_times: Vec<AnswerTime>,
    /// Numbers that the scenario logged.
    pub logged: Percentiles,
    /// The lines that the scenario logged, numbers or not. Only at the end.
    pub log: Vec<String>,
}

/// When one answer came, and how long after its request.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerTime {
    /// When it came, to some milliseconds.
    pub at: SystemTime,
    /// Since the request was first sent, in milliseconds.
    pub ms: f64,
    /// The name that the scenario gives to this kind of answer (`rtd`).
    pub kind: String,
}

impl SippReport {
    /// How often this status code came.
    pub fn answered(&self, code: u16) -> u64 {
        self.answers.get(&code).copied().unwrap_or(0)
    }
}

/// A distribution.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Percentiles {
    /// How many values.
    pub count: usize,
    /// Half of them are not above this.
    pub p50: f64,
    /// 99 of 100 are not above this.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Percentiles {
    /// Of these values, in any order.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let at = |percent: usize| values.get((values.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Self {
            count: values.len(),
            p50: at(50).unwrap_or(0.0),
            p99: at(99).unwrap_or(0.0),
            max: at(100).unwrap_or(0.0),
        }
    }
}

/// A running sipp. Dropping it kills it.
#[derive(Debug)]
pub struct SippRun {
    sipp: Group,
    dir: RunDir,
    started: SystemTime,
    port: Port,
    _control: Port,
}

impl SippRun {
    /// Its own UDP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// True until sipp ends.
    pub fn is_running(&mut self) -> bool {
        self.sipp.status().is_none()
    }

    /// The counts of the last full second.
    pub fn progress(&self) -> SippReport {
        let mut report = SippReport::default();
        for (name, value) in last_row(&self.read_ending("stat.csv")) {
            match name.as_str() {
                "TotalCallCreated" => report.calls = value,
                "SuccessfulCall(C)" => report.succeeded = value,
                "FailedCall(C)" => report.failed = value,
                "FailedMaxUDPRetrans(C)" | "FailedTimeoutOnRecv(C)" => report.unanswered += value,
                "Retransmissions(C)" => report.retransmissions = value,
                _ => {}
            }
        }
        // Columns are `<step>_<method or code>_<what>`.
        for (name, value) in last_row(&self.read_ending("_counts.csv")) {
            let mut parts = name.split('_').skip(1);
            match (parts.next().map(str::parse::<u16>), parts.next()) {
                (Some(Err(_)), Some("Sent")) => report.requests += value,
                (Some(Ok(code)), Some("Recv")) => *report.answers.entry(code).or_default() += value,
                _ => {}
            }
        }
        report.answers.retain(|_, count| *count > 0);
        report
    }

    /// Begins no further call, and waits until those begun are answered.
    pub fn finish(mut self, timeout: Duration) -> Result<SippReport> {
        self.sipp.signal(Signal::SIGUSR1);
        self.wait(timeout)
    }

    /// Waits until all calls are made and answered.
    pub fn wait(mut self, timeout: Duration) -> Result<SippReport> {
        let status = self.sipp.wait(timeout).ok_or_else(|| Error::new(format!("sipp still runs after {timeout:?}")))?;
        let mut report = self.progress();
        // 1: some calls failed, which the report tells.
        if !matches!(status.code(), Some(0 | 1)) || report.calls == 0 {
            let said = self.read_ending("errors") + &self.read_ending("screen");
            return Err(Error::new(format!("sipp ended with {status}\n{}", last_lines(&said, 30))));
        }
        report.answer_times = answer_times(&self.read_ending("_rtt.csv"), self.started);
        report.response_ms = Percentiles::of(report.answer_times.iter().map(|answer| answer.ms).collect());
        report.log = self.read_ending("logged").lines().map(str::to_string).collect();
        report.logged = Percentiles::of(report.log.iter().filter_map(|line| line.trim().parse().ok()).collect());
        Ok(report)
    }

    /// The unexpected answers, as sipp describes them.
    pub fn errors(&self) -> String {
        self.read_ending("errors")
    }

    /// The file in the run folder whose name ends so (sipp puts its process id into some), or an empty text.
    fn read_ending(&self, ending: &str) -> String {
        let find = || -> Result<String> {
            let files = fs::read_dir(self.dir.path()).context(|| "reading the folder of sipp".into())?;
            let mut paths = files.flatten().map(|file| file.path());
            let path = paths.find(|path| path.to_string_lossy().ends_with(ending));
            let path = path.ok_or_else(|| Error::new(format!("no file {ending}")))?;
            let bytes = fs::read(&path).context(|| format!("reading {}", path.display()))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        find().unwrap_or_default()
    }
}

/// Names of the first line with the whole numbers of the last complete one.
fn last_row(csv: &str) -> Vec<(String, u64)> {
    let complete = csv.rfind('\n').map_or("", |end| &csv[..end]);
    let (Some(names), Some(values)) = (complete.lines().next(), complete.lines().next_back()) else {
        return Vec::new();
    };
    let pairs = names.split(';').zip(values.split(';'));
    pairs.filter_map(|(name, value)| Some((name.to_string(), value.trim().parse().ok()?))).collect()
}

/// The lines of sipp's file of response times: milliseconds since it was started, milliseconds, name.
fn answer_times(csv: &str, started: SystemTime) -> Vec<AnswerTime> {
    let line = |line: &str| {
        let mut fields = line.split(';');
        let at = fields.next()?.trim().parse::<f64>().ok()?;
        let ms = fields.next()?.trim().parse().ok()?;
        let at = started.checked_add(Duration::try_from_secs_f64(at / 1000.0).ok()?)?;
        Some(AnswerTime { at, ms, kind: fields.next()?.trim().trim_matches('"').to_string() })
    };
    csv.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let found = Percentiles::of((1..=200).rev().map(f64::from).collect());
        assert_eq!((found.p50, found.p99, found.max), (100.0, 198.0, 200.0));
        assert_eq!(Percentiles::of(Vec::new()), Percentiles::default());
    }

    #[test]
    fn an_unfinished_last_line_is_passed_over() {
        assert_eq!(last_row("a;b;\n1;2;\n3;"), [("a".to_string(), 1), ("b".to_string(), 2)]);
        assert!(last_row("").is_empty());
    }
}
