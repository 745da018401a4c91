//! Outcomes of asynchronous queries on their way to the consumer that resumes the transaction.
//!
//! An outcome is kept until a consumer's ring has room for it: a transaction that waits must not be forgotten. The table
//! of [`crate::bus::suspended`] bounds how many there are; answers that would take too much memory while consumers are
//! busy become failures.
//!
//! This manager decides each query once. The table decides over all managers: should a dead one have handed out an outcome
//! too, only the first to reach a consumer counts.

use std::collections::VecDeque;

use crate::bus::ManagerPort;
use crate::bus::reply::Outcome;
use crate::bus::resume::Resume;
use crate::bus::suspended::{Suspensions, Ticket};

/// Outcomes that wait for a consumer, and which queries have one.
#[derive(Debug)]
pub struct Resumes {
    table: Suspensions,
    /// By slot of the table: the ticket whose outcome is known.
    decided: Vec<Option<Ticket>>,
    waiting: VecDeque<Resume>,
    /// Bytes of the answers that wait, and most that may.
    bytes: usize,
    max_bytes: usize,
}

impl Resumes {
    /// For the queries of `table`; answers that wait may take `max_bytes` together.
    pub fn new(table: Suspensions, max_bytes: usize) -> Self {
        Self { table, decided: vec![None; table.slots()], waiting: VecDeque::new(), bytes: 0, max_bytes }
    }

    /// Whether nobody knows the outcome of `ticket` yet.
    pub fn is_undecided(&self, ticket: Ticket) -> bool {
        self.decided.get(ticket.slot()).is_some_and(|known| *known != Some(ticket)) && self.table.is_open(ticket)
    }

    /// The query of `ticket` has ended. Does nothing if it had before. False if the answer had to be given up for
    /// want of room: then the transaction goes on as without one.
    pub fn decide(&mut self, ticket: Ticket, outcome: Outcome) -> bool {
        if !self.is_undecided(ticket) {
            return true;
        }
        self.decided[ticket.slot()] = Some(ticket);
        let mut resume = Resume { ticket, outcome };
        let fits = self.bytes + resume.body_len() <= self.max_bytes || resume.body_len() == 0;
        if !fits {
            resume.outcome = Outcome::Refused;
        }
        self.bytes += resume.body_len();
        self.waiting.push_back(resume);
        fits
    }

    /// Ends the queries whose time is up, wherever they are: sent, in the outbox, or never sent for want of a broker.
    pub fn expire(&mut self, now_ns: u64) {
        if !self.any_open() {
            return;
        }
        let mut ended = Vec::new();
        self.table.each_open(|ticket, due| match due.deadline_ns {
            None => ended.push((ticket, Outcome::NoBroker)),
            Some(deadline) if deadline <= now_ns => ended.push((ticket, Outcome::Timeout)),
            Some(_) => {}
        });
        for (ticket, outcome) in ended {
            self.decide(ticket, outcome);
        }
    }

    /// Ends the queries of a manager that is gone: what the broker had confirmed to it was answered, if at all, to a
    /// connection that is gone too. Once, at the start of the next one; what was not confirmed is sent again.
    pub fn end_inherited(&mut self, port: &ManagerPort) {
        let mut lost = Vec::new();
        self.table.each_open(|ticket, due| {
            if port.processes.get(due.process_no).is_none_or(|p| p.was_confirmed_before(due.place)) {
                lost.push(ticket);
            }
        });
        for ticket in lost {
            self.decide(ticket, Outcome::ConnectionLost);
        }
    }

    /// The next outcome to hand out.
    pub fn next(&mut self) -> Option<Resume> {
        let resume = self.waiting.pop_front()?;
        self.bytes -= resume.body_len();
        Some(resume)
    }

    /// Puts back what could not be handed out yet; it is the next one again.
    pub fn put_back(&mut self, resume: Resume) {
        self.bytes += resume.body_len();
        self.waiting.push_front(resume);
    }

    /// Whether an asynchronous query is under way, and so has a deadline to watch.
    pub fn any_open(&self) -> bool {
        self.table.any_open()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bus::layout::{Flow, Shared};
    use crate::bus::patience::Patience;
    use crate::bus::port::test_block;
    use crate::bus::reply::Reply;
    use crate::bus::suspended::{Continuation, RouteTable, Suspended, Transaction};
    use crate::bus::{Outgoing, ShortStr, Worker};
    use crate::payload::envelope::Splice;

    fn ask(worker: &mut Worker, timeout: Duration) {
        let name = ShortStr::new(b"x").unwrap();
        let (headers, body, splice) = (&b""[..], &b"{}"[..], Splice::None);
        let message = Outgoing { broker: None, exchange: name, routing_key: name, headers, body, splice };
        let route = Continuation::Route { table: RouteTable::Plain, index: 1 };
        let transaction = Transaction { hash_index: 1, label: 2 };
        let suspended = Suspended { transaction, on_answer: route.clone(), on_failure: route };
        worker.query_async(&message, b"id", timeout, &suspended).unwrap();
    }

    fn open(block: &'static Shared) -> Vec<Ticket> {
        let mut open = Vec::new();
        block.suspensions().unwrap().each_open(|ticket, _| open.push(ticket));
        open
    }

    fn answer(len: usize) -> Outcome {
        Outcome::Answer(Reply { broker_id: 1, received_unix: 0, body: vec![b'x'; len] })
    }

    #[test]
    fn a_query_has_one_outcome_and_its_deadline_is_kept_wherever_it_is() {
        let block = test_block(1, 1);
        block.set_flow(Flow::Moving);
        let mut worker = Worker::attach(block, 0, Patience::none()).unwrap();
        let mut resumes = Resumes::new(block.suspensions().unwrap(), 100);
        ask(&mut worker, Duration::from_secs(9));
        ask(&mut worker, Duration::ZERO);
        let [answered, late] = open(block)[..] else { panic!("{:?}", open(block)) };
        assert!(resumes.decide(answered, answer(3)));
        resumes.expire(crate::bus::clock::now_ns());
        resumes.expire(u64::MAX);
        assert_eq!(resumes.next(), Some(Resume { ticket: answered, outcome: answer(3) }));
        assert_eq!(resumes.next(), Some(Resume { ticket: late, outcome: Outcome::Timeout }));
        assert_eq!(resumes.next(), None);
    }

    #[test]
    fn without_a_broker_nothing_is_sent_and_the_query_ends_at_once() {
        let block = test_block(1, 1);
        let mut worker = Worker::attach(block, 0, Patience::none()).unwrap();
        let mut resumes = Resumes::new(block.suspensions().unwrap(), 100);
        ask(&mut worker, Duration::from_secs(9));
        resumes.expire(0);
        assert_eq!(resumes.next().map(|r| r.outcome), Some(Outcome::NoBroker));
        assert!(ManagerPort::attach(block).unwrap().processes[0].commands.is_empty());
    }

    #[test]
    fn answers_that_wait_are_bounded_and_what_is_over_goes_on_without_one() {
        let block = test_block(1, 1);
        block.set_flow(Flow::Moving);
        let mut worker = Worker::attach(block, 0, Patience::none()).unwrap();
        let mut resumes = Resumes::new(block.suspensions().unwrap(), 100);
        (0..3).for_each(|_| ask(&mut worker, Duration::from_secs(9)));
        let kept: Vec<_> = open(block).into_iter().map(|ticket| resumes.decide(ticket, answer(60))).collect();
        assert_eq!(kept, [true, false, false]);
        let first = resumes.next().unwrap();
        assert_eq!(first.outcome, answer(60));
        resumes.put_back(first);
        let outcomes: Vec<_> = std::iter::from_fn(|| resumes.next()).map(|resume| resume.outcome).collect();
        assert_eq!(outcomes, [answer(60), Outcome::Refused, Outcome::Refused]);
    }

    #[test]
    fn a_new_manager_ends_what_was_confirmed_to_the_old_one_and_waits_for_what_it_sends_again() {
        let block = test_block(1, 1);
        block.set_flow(Flow::Moving);
        let mut worker = Worker::attach(block, 0, Patience::none()).unwrap();
        let mut first = ManagerPort::attach(block).unwrap();
        ask(&mut worker, Duration::from_secs(9));
        ask(&mut worker, Duration::from_secs(9));
        let [confirmed, unconfirmed] = open(block)[..] else { panic!("{:?}", open(block)) };
        let end = first.processes[0].commands.next().unwrap().unwrap().end;
        first.processes[0].commands.confirm(end).unwrap();
        drop(first);
        let second = ManagerPort::attach(block).unwrap();
        let mut resumes = Resumes::new(block.suspensions().unwrap(), 100);
        resumes.end_inherited(&second);
        assert_eq!(resumes.next(), Some(Resume { ticket: confirmed, outcome: Outcome::ConnectionLost }));
        assert_eq!(resumes.next(), None);
        assert!(resumes.is_undecided(unconfirmed));
    }
}
