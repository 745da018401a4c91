//! Who waits for which `Msg-ID`, and replies on their way to a worker.
//!
//! A script may choose the `Msg-ID` itself, so two queries can wait for the same one: answers then go to them in the
//! order in which they were asked.

use std::collections::{HashMap, VecDeque};

use super::outbox::RecordId;
use crate::bus::port::{ManagerPort, Parcel};
use crate::bus::reply::Outcome;

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
}

/// All queries that were sent and neither answered nor expired.
#[derive(Debug, Default)]
pub struct Queries {
    waiting: HashMap<Box<[u8]>, VecDeque<Pending>>,
    count: usize,
}

impl Queries {
    /// Remembers a query; one that is sent again replaces its first entry.
    pub fn insert(&mut self, msg_id: &[u8], pending: Pending) {
        let same = self.waiting.entry(msg_id.into()).or_default();
        match same.iter_mut().find(|p| p.process_no == pending.process_no && p.sequence == pending.sequence) {
            Some(entry) => *entry = pending,
            None => {
                same.push_back(pending);
                self.count += 1;
            }
        }
    }

    /// Takes the oldest query that waits for `msg_id`.
    pub fn take(&mut self, msg_id: &[u8]) -> Option<Pending> {
        let same = self.waiting.get_mut(msg_id)?;
        let pending = same.pop_front();
        self.count -= usize::from(pending.is_some());
        if same.is_empty() {
            self.waiting.remove(msg_id);
        }
        pending
    }

    /// Removes the queries that `gone` picks and returns them.
    pub fn extract(&mut self, mut gone: impl FnMut(&Pending) -> bool) -> Vec<Pending> {
        let mut out = Vec::new();
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
        self.count -= out.len();
        out
    }

    /// Number of queries that wait.
    pub fn len(&self) -> usize {
        self.count
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
        Pending { process_no, sequence, deadline_ns: 10, record: record(), session: 1 }
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
        assert_eq!(queries.len(), 2);
        assert_eq!(queries.take(b"a"), Some(Pending { session: 2, ..pending(1, 1) }));
        assert_eq!(queries.take(b"a"), Some(pending(2, 1)));
        assert_eq!(queries.take(b"a"), None);
        assert_eq!(queries.len(), 0);
    }

    #[test]
    fn expired_queries_are_extracted() {
        let mut queries = Queries::default();
        queries.insert(b"a", pending(1, 1));
        queries.insert(b"b", Pending { deadline_ns: 99, ..pending(2, 1) });
        assert_eq!(queries.extract(|p| p.deadline_ns <= 10), [pending(1, 1)]);
        assert_eq!(queries.len(), 1);
    }
}
