//! SIP load at a fixed rate, whatever the answers, and the answer times of any window of it.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use crate::edge;
use crate::error::{Error, Result};
use crate::sipp::{AnswerTime, Percentiles, Sipp, SippReport, SippRun};

/// So many that a run never gets there.
const ENDLESS: u64 = 100_000_000;
/// What sipp waits for a last answer is 40 s.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two sipps at work.
#[derive(Debug)]
pub struct Load {
    options: SippRun,
    registers: SippRun,
}

impl Load {
    /// Against the server on this port, so many per second: OPTIONS, each of which publishes, and REGISTERs, each of
    /// which is challenged without the bus, then queries.
    pub fn start(port: u16, options: u32, registers: u32) -> Result<Self> {
        let endless = |sipp: Sipp, rate| sipp.rate(rate).calls(ENDLESS).start(port);
        Ok(Self { options: endless(edge::options(), options)?, registers: endless(edge::registers(), registers)? })
    }

    /// OPTIONS answered so far, for progress lines.
    pub fn answered(&self) -> u64 {
        self.options.progress().succeeded
    }

    /// Ends it; every request begun has its answer or its timeout.
    pub fn finish(self) -> Result<Answers> {
        // Both stop before one is waited for.
        let registers = std::thread::spawn(move || self.registers.finish(PATIENCE));
        let options = self.options.finish(PATIENCE)?;
        let registers = registers.join().map_err(|_| Error::new("the thread that waits for sipp died"))??;
        Ok(Answers { options, registers })
    }
}

/// A stretch of time.
pub type Window = (SystemTime, SystemTime);

/// What SIP was told.
#[derive(Debug)]
pub struct Answers {
    /// The OPTIONS.
    pub options: SippReport,
    /// The REGISTERs.
    pub registers: SippReport,
}

impl Answers {
    /// Call-IDs of the OPTIONS whose publish was accepted.
    pub fn accepted(&self) -> BTreeSet<String> {
        self.options.log.iter().filter_map(|line| line.split(' ').next()).map(str::to_string).collect()
    }

    /// Milliseconds that the calls of `kazoo_publish` that were accepted took inside the worker.
    pub fn publish_ms(&self) -> Percentiles {
        let us = self.options.log.iter().filter_map(|line| line.split(' ').nth(1)?.parse::<f64>().ok());
        Percentiles::of(us.map(|us| us / 1000.0).collect())
    }

    /// Requests without any answer.
    pub fn timeouts(&self) -> u64 {
        self.options.unanswered + self.registers.unanswered
    }

    /// Calls that ended with an answer that the scenario has no place for. When SIP is so late that requests are sent
    /// again, a second challenge after the credentials were sent is one.
    pub fn unexpected(&self) -> u64 {
        self.options.failed + self.registers.failed - self.timeouts()
    }

    /// Answer times inside of the windows of everything that waits for nobody by design: publishes and challenges.
    pub fn sip_ms(&self, windows: &[Window]) -> Vec<f64> {
        let challenges = self.registers.answer_times.iter().filter(|answer| answer.kind == "challenge");
        within(self.options.answer_times.iter().chain(challenges), windows)
    }

    /// Answer times inside of the windows of requests that wait for a query.
    pub fn query_ms(&self, windows: &[Window]) -> Vec<f64> {
        within(self.registers.answer_times.iter().filter(|answer| answer.kind == "answer"), windows)
    }
}

/// An answer belongs to a window when its request was open in it.
fn within<'a>(answers: impl Iterator<Item = &'a AnswerTime>, windows: &[Window]) -> Vec<f64> {
    let touches = |answer: &&AnswerTime| {
        let asked = answer.at - Duration::from_secs_f64(answer.ms.max(0.0) / 1000.0);
        windows.iter().any(|(from, to)| answer.at >= *from && asked <= *to)
    };
    answers.filter(touches).map(|answer| answer.ms).collect()
}
