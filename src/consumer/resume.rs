//! The outcome of an asynchronous query: its transaction goes on in this process.
//!
//! Whoever takes the ticket resumes; one that was taken before, by another outcome of the same query, is let go.

use crate::bus::counters::{Counter, Row};
use crate::bus::reply::{Outcome, Reply};
use crate::bus::resume::Resume;
use crate::bus::suspended::{Suspended, Suspensions};
use crate::host::{log, tm};
use crate::script::{query, result};

/// Resumes the transaction that waits for this outcome. Returns when the callback has ended.
pub fn handle(row: &Row, suspensions: Suspensions, resume: Resume) {
    let Some(suspended) = suspensions.take(resume.ticket) else {
        // The manager that had this answer died, and the next one had the transaction go on without it; or the
        // other way round.
        row.inc(Counter::LateReplies);
        return;
    };
    let answer = match resume.outcome {
        Outcome::Answer(reply) => usable(&reply),
        Outcome::ConnectionLost | Outcome::Refused => Err(Counter::QueryLost),
        Outcome::Timeout => Err(Counter::QueryTimeouts),
        Outcome::NoBroker => Err(Counter::QueryNoBroker),
    };
    row.inc(answer.as_ref().map_or_else(|counter| *counter, |_| Counter::Answers));
    go_on(row, &suspended, answer.ok());
}

/// The answer as script text.
fn usable(reply: &Reply) -> Result<Vec<u8>, Counter> {
    query::open(reply).map_err(|error| {
        log::throttled_error!("kazoo_async_query: the answer cannot be used: {error}");
        Counter::QueryLost
    })
}

fn go_on(row: &Row, suspended: &Suspended, answer: Option<Vec<u8>>) {
    let continuation = if answer.is_some() { &suspended.on_answer } else { &suspended.on_failure };
    match result::during_resume(answer, || tm::resume(suspended.transaction, continuation)) {
        Ok(()) => row.inc(Counter::AsyncResumed),
        Err(gone) => {
            // A caller who hangs up while he waits is no fault.
            row.inc(Counter::AsyncGone);
            log::throttled_notice!("kazoo_async_query: nothing to resume: {gone}");
        }
    }
}
