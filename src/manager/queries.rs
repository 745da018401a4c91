//! Who waits for which `Msg-ID`, and outcomes on their way to who asked.
//!
//! A script may choose the `Msg-ID` itself, so two queries can wait for the same one: answers then go to them in the
//! order in which they were asked.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::outbox::RecordId;
use super::resumes::Resumes;
use crate::bus::port::{ManagerPort, Parcel};
use crate::bus::reply::Outcome;
use crate::bus::suspended::Ticket;

/// One query that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Process that asks.
    pub process_no: usize,
    /// Number of the query in that process.
    pub sequence: u64,
    /// When it stops waiting.
    pub deadline_ns: u64,
    /// Its record in the outbox.
    pub record: RecordId,
    /// Connection it was sent on last.
    pub session: u64,
    /// The transaction that waits; `None`: the process itself waits.
    pub ticket: Option<Ticket>,
}

impl Pending {
    /// Place in the order of deadlines.
    fn due(&self) -> Due {
        (self.deadline_ns, self.process_no, self.sequence)
    }
}

/// Deadline, process and number of a query.
type Due = (u64, usize, u64);

/// All queries that were sent and neither answered nor expired. Thousands may be: nothing here looks at all of them but
/// [`extract`](Self::extract), for a connection that is gone.
#[derive(Debug, Default)]
pub struct Queries {
    waiting: HashMap<Arc<[u8]>, VecDeque<Pending>>,
    by_deadline: BTreeMap<Due, Arc<[u8]>>,
}

impl Queries {
    /// Remembers a query; one that is sent again replaces its first entry.
    pub fn insert(&mut self, msg_id: &[u8], pending: Pending) {
        let msg_id: Arc<[u8]> = msg_id.into();
        let same = self.waiting.entry(msg_id.clone()).or_default();
        match same.iter_mut().find(|p| p.due() == pending.due()) {
            Some(entry) => *entry = pending,
            None => {
                same.push_back(pending);
                self.by_deadline.insert(pending.due(), msg_id);
            }
        }
    }

    /// Takes the oldest query that waits for `msg_id`.
    pub fn take(&mut self, msg_id: &[u8]) -> Option<Pending> {
        let oldest = self.waiting.get(msg_id)?.front()?.due();
        self.remove(msg_id, oldest)
    }

    /// Takes the query of one record of the outbox, if it is among them.
    pub fn take_record(&mut self, msg_id: &[u8], process_no: usize, record: RecordId) -> Option<Pending> {
        let mut same = self.waiting.get(msg_id)?.iter();
        let due = same.find(|p| p.process_no == process_no && p.record == record)?.due();
        self.remove(msg_id, due)
    }

    /// Forgets the queries whose deadline has passed; who asked knows.
    pub fn expire(&mut self, now_ns: u64) {
        while let Some((due, msg_id)) = self.by_deadline.pop_first() {
            if due.0 > now_ns {
                self.by_deadline.insert(due, msg_id);
                return;
            }
            self.remove(&msg_id, due);
        }
    }

    fn remove(&mut self, msg_id: &[u8], due: Due) -> Option<Pending> {
        self.by_deadline.remove(&due);
        let same = self.waiting.get_mut(msg_id)?;
        let pending = same.iter().position(|p| p.due() == due).and_then(|at| same.remove(at));
        if same.is_empty() {
            self.waiting.remove(msg_id);
        }
        pending
    }

    /// Removes the queries that `gone` picks and returns them.
    pub fn extract(&mut self, mut gone: impl FnMut(&Pending) -> bool) -> Vec<Pending> {
        let mut out: Vec<Pending> = Vec::new();
        self.waiting.retain(|_, same| {
            same.retain(|p| {
                let take = gone(p);
                if take {
                    out.push(*p);
                }
                !take
            });
            !same.is_empty()
        });
        for pending in &out {
            self.by_deadline.remove(&pending.due());
        }
        out
    }

    /// Whether no query waits.
    pub fn is_empty(&self) -> bool {
        self.by_deadline.is_empty()
    }
}

/// Takes outcomes to those who asked: a process that waits, or a consumer that resumes a transaction.
#[derive(Debug)]
pub struct Outcomes {
    /// To processes that wait.
    pub replies: Replies,
    /// To suspended transactions.
    pub resumes: Resumes,
}

impl Outcomes {
    /// Whether who asked still waits for the outcome of `query`.
    pub fn is_wanted(&self, port: &ManagerPort, query: &Pending, now_ns: u64) -> bool {
        query.deadline_ns > now_ns
            && match query.ticket {
                Some(ticket) => self.resumes.is_undecided(ticket),
                None => port.processes.get(query.process_no).is_some_and(|p| p.waits_for(query.sequence)),
            }
    }

    /// Sends the outcome on its way. False if an answer had to be given up for want of room.
    pub fn send(&mut self, port: &mut ManagerPort, query: &Pending, outcome: Outcome) -> bool {
        match query.ticket {
            Some(ticket) => self.resumes.decide(ticket, outcome),
            None => {
                self.replies.send(port, query, &outcome);
                true
            }
        }
    }
}

/// Replies that did not fit their worker's ring yet.
#[derive(Debug)]
pub struct Replies {
    by_process: Vec<VecDeque<(u64, Parcel)>>,
    waiting: usize,
}

impl Replies {
    /// For `processes` workers.
    pub fn new(processes: usize) -> Self {
        Self { by_process: (0..processes).map(|_| VecDeque::new()).collect(), waiting: 0 }
    }

    /// Sends `outcome` to the process that asks, or keeps it until there is room, at most to the query's deadline.
    pub fn send(&mut self, port: &mut ManagerPort, query: &Pending, outcome: &Outcome) {
        let mut text = Vec::new();
        outcome.encode(query.sequence, &mut text);
        let parcel = Parcel::new(port.next_parcel(), text);
        let Some(queue) = self.by_process.get_mut(query.process_no) else { return };
        queue.push_back((query.deadline_ns, parcel));
        self.waiting += 1;
        self.flush_one(port, query.process_no);
    }

    /// Sends what fits now. A reply past its deadline is dropped, unless a part of it was sent.
    pub fn flush(&mut self, port: &mut ManagerPort, now_ns: u64) {
        if self.waiting == 0 {
            return;
        }
        for process_no in 0..self.by_process.len() {
            let queue = &mut self.by_process[process_no];
            let before = queue.len();
            queue.retain(|(deadline, parcel)| parcel.started() || *deadline > now_ns);
            self.waiting -= before - queue.len();
            self.flush_one(port, process_no);
        }
    }

    /// Whether a reply that somebody still wants waits for room. A torn one that nobody wants any more goes out with
    /// the worker's next query.
    pub fn is_waiting(&self, now_ns: u64) -> bool {
        self.waiting > 0 && self.by_process.iter().flatten().any(|(deadline, _)| *deadline > now_ns)
    }

    fn flush_one(&mut self, port: &mut ManagerPort, process_no: usize) {
        let queue = &mut self.by_process[process_no];
        while let Some((_, parcel)) = queue.front_mut() {
            if !port.processes[process_no].send_reply(parcel) {
                return;
            }
            queue.pop_front();
            self.waiting -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::outbox::Window;

    fn pending(process_no: usize, sequence: u64) -> Pending {
        Pending { process_no, sequence, deadline_ns: 10, record: record(), session: 1, ticket: None }
    }

    /// Ids are only made by windows; any will do here.
    fn record() -> RecordId {
        Window::any_id()
    }

    #[test]
    fn the_same_msg_id_is_answered_in_the_order_of_asking_and_a_resend_is_not_a_second_query() {
        let mut queries = Queries::default();
        queries.insert(b"a", pending(1, 1));
        queries.insert(b"a", pending(2, 1));
        queries.insert(b"a", Pending { session: 2, ..pending(1, 1) });
        assert_eq!(queries.take(b"a"), Some(Pending { session: 2, ..pending(1, 1) }));
        assert_eq!(queries.take(b"a"), Some(pending(2, 1)));
        assert_eq!(queries.take(b"a"), None);
        assert!(queries.is_empty());
    }

    #[test]
    fn expired_queries_are_forgotten_and_the_others_of_the_same_msg_id_are_not() {
        let mut queries = Queries::default();
        let later = Pending { deadline_ns: 99, ..pending(2, 1) };
        queries.insert(b"a", pending(1, 1));
        queries.insert(b"a", later);
        queries.insert(b"b", pending(3, 1));
        queries.expire(9);
        assert_eq!(queries.by_deadline.len(), 3);
        queries.expire(10);
        assert_eq!((queries.take(b"b"), queries.take(b"a")), (None, Some(later)));
        queries.expire(u64::MAX);
        assert!(queries.is_empty());
    }

    #[test]
    fn queries_are_found_by_record_and_by_connection() {
        let mut queries = Queries::default();
        queries.insert(b"a", pending(1, 1));
        queries.insert(b"a", Pending { session: 2, ..pending(2, 1) });
        assert_eq!(queries.take_record(b"a", 3, record()), None);
        assert_eq!(queries.take_record(b"a", 1, record()), Some(pending(1, 1)));
        assert_eq!(queries.extract(|p| p.session == 2).len(), 1);
        assert!(queries.is_empty() && queries.waiting.is_empty());
    }
}
