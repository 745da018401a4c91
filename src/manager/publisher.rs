//! Commands to the broker, confirms back.
//!
//! A record leaves its ring only when the broker has confirmed it, or when the broker has refused it for good. A refusal
//! closes the channel and with it the confirms of everything under way, so the offender is found by what the close
//! text names, taken out and reported, and the rest is sent again on a new channel. An exchange that was refused is in
//! quarantine for a moment: its messages are refused at once and cost the others no channel.

use std::collections::HashMap;
use std::fmt::Write as _;

use shm::Consumer;

use super::amqp::{ChannelClose, Publish};
use super::inbox::{Confirm, Inbox, Returned};
use super::links::Links;
use super::log::Log;
use super::outbox::{RecordId, Window};
use super::queries::{Outcomes, Pending, Queries};
use super::refusals::{Reason, Refusals, Refused};
use super::session::{Opened, PublishChannel};
use crate::bus::command::{Body, Command};
use crate::bus::counters::Counter;
use crate::bus::reply::Outcome;
use crate::bus::suspended::Ticket;
use crate::bus::{ManagerPort, Shared, ShortStr};
use crate::config::Config;
use crate::payload::headers;
use crate::throttle::Throttle;

/// Pause after the first negative confirm of a message; doubles with each.
const NACK_PAUSE_NS: u64 = 100_000_000;

/// Negative confirms after which a message is given up: after six pauses, 6.3 s in all.
const MAX_NACKS: u8 = 7;

/// Bytes of unconfirmed messages at which no channel takes more, beside `amqp_confirm_window`. What the socket does not
/// take at once, the client library keeps on this process's heap, and nobody knows how much of it that is. The last message
/// may go beyond, so that a large one is neither stuck nor overtaken for ever by small ones.
const WINDOW_BYTES: usize = 8 << 20;

/// Bytes of them that a channel may have whatever the others have, so that brokers which stand still do not stop it.
const SMALLEST_WINDOW_BYTES: usize = 1 << 20;

/// How long a refused exchange stays in quarantine.
const QUARANTINE_NS: u64 = 1_000_000_000;

/// What sending one record came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Sent, or settled without sending.
    Moved,
    /// Cannot be sent now; others may.
    Blocked,
    /// The connection of broker `index` is broken.
    Broken(usize),
}

/// The SEND part of the manager.
#[derive(Debug)]
pub struct Publisher {
    config: &'static Config,
    log: Log,
    windows: Vec<Window>,
    next: usize,
    /// By broker and exchange: refused until then, and why.
    quarantine: HashMap<(usize, Vec<u8>), (u64, Reason)>,
    /// Records that the broker could not take, with the time of their next attempt.
    delayed: Vec<(u64, usize, RecordId)>,
    /// Sends left with a window of one, to find an offender that the close text does not name.
    probing: usize,
    touched: Vec<bool>,
    /// Rings whose next record cannot be sent before something else changes.
    blocked: Vec<bool>,
    /// Rings that cannot be read any more; never expected.
    unreadable: Vec<bool>,
    /// Events about refused messages.
    pub refusals: Refusals,
    refusal_lines: Throttle,
    returned_lines: Throttle,
    damage: Throttle,
    message_ids: MessageIds,
}

/// The parts of the manager that publishing works with.
pub struct Around<'m> {
    /// Rings.
    pub port: &'m mut ManagerPort,
    /// Connections.
    pub links: &'m mut Links,
    /// Pending queries.
    pub queries: &'m mut Queries,
    /// Outcomes on their way.
    pub outcomes: &'m mut Outcomes,
    /// Confirms that came.
    pub inbox: &'m Inbox,
    /// The time of this turn.
    pub now_ns: u64,
}

impl Publisher {
    /// For `processes` command rings. `boot`: the random number of this start of the server.
    pub fn new(config: &'static Config, log: Log, boot: u64, processes: usize) -> Self {
        Self {
            config,
            log,
            windows: (0..processes).map(|_| Window::default()).collect(),
            next: 0,
            quarantine: HashMap::new(),
            probing: 0,
            delayed: Vec::new(),
            touched: vec![false; processes],
            blocked: vec![false; processes],
            unreadable: vec![false; processes],
            refusals: Refusals::default(),
            refusal_lines: Throttle::default(),
            returned_lines: Throttle::default(),
            damage: Throttle::default(),
            message_ids: MessageIds::new(boot, processes),
        }
    }

    /// Sends up to `limit` records, one of each ring in turn. Returns how many moved and the broken broker, if any.
    pub fn send(&mut self, around: &mut Around<'_>, limit: usize) -> (usize, Option<usize>) {
        let mut moved = 0;
        let mut idle = 0;
        while moved < limit && idle < self.windows.len() {
            let process_no = self.next;
            self.next = (self.next + 1) % self.windows.len();
            let step = self.send_one(around, process_no);
            self.blocked[process_no] = step == Some(Step::Blocked) || self.unreadable[process_no];
            match step {
                Some(Step::Moved) => {
                    moved += 1;
                    idle = 0;
                }
                Some(Step::Blocked) | None => idle += 1,
                Some(Step::Broken(broker)) => return (moved, Some(broker)),
            }
        }
        (moved, None)
    }

    /// Takes the confirms that came. Returns how many.
    pub fn take_confirms(&mut self, around: &mut Around<'_>) -> usize {
        let mut count = 0;
        while let Some(confirm) = around.inbox.next_confirm() {
            count += 1;
            self.take_confirm(around, confirm);
        }
        count
    }

    /// Frees the ring space of what was settled in this turn and wakes workers that wait for it.
    pub fn release(&mut self, port: &mut ManagerPort) {
        for (process_no, touched) in self.touched.iter_mut().enumerate() {
            if !std::mem::take(touched) {
                continue;
            }
            let end = &mut port.processes[process_no];
            match self.windows[process_no].release(&mut end.commands) {
                Ok(true) => end.wake_for_room(),
                Ok(false) => {}
                Err(_) => port.row.inc(Counter::Damaged),
            }
        }
    }

    /// Whether messages are under way at the primary broker and no confirm came for the stall timeout.
    pub fn stands_still(&self, links: &mut Links, now_ns: u64) -> bool {
        let stall = self.config.stall_timeout.as_nanos() as u64;
        let publish = links.primary().and_then(|index| links.at(index)).and_then(|o| o.publish.as_ref());
        publish.is_some_and(|p| !p.in_flight.is_empty() && now_ns.saturating_sub(p.progress_ns) >= stall)
    }

    /// Records whose pause is over may be sent again.
    pub fn tick(&mut self, now_ns: u64) {
        let windows = &mut self.windows;
        self.delayed.retain(|(due_ns, process_no, id)| {
            if *due_ns <= now_ns {
                windows[*process_no].retry(*id);
            }
            *due_ns > now_ns
        });
    }

    /// Whether messages are under way, or wait for their next attempt.
    pub fn is_pressing(&self, links: &Links) -> bool {
        !self.delayed.is_empty() || links.up().filter_map(|(_, o)| o.publish.as_ref()).any(|p| !p.in_flight.is_empty())
    }

    /// Whether a record came since the last [`send`](Self::send), which has looked at every ring. What was blocked then
    /// waits for an event, and that wakes the loop.
    pub fn has_work(&self, port: &ManagerPort) -> bool {
        let mut rings = self.windows.iter().zip(&port.processes).zip(&self.blocked);
        rings.any(|((w, p), blocked)| !blocked && (w.has_waiting() || !p.commands.is_empty()))
    }

    /// Whether a record waits for something else to change, which may also be that time passes.
    pub fn is_held_up(&self) -> bool {
        self.blocked.contains(&true)
    }

    /// Whether everything that was accepted is settled.
    pub fn is_settled(&self, port: &ManagerPort) -> bool {
        self.windows.iter().all(|w| w.open() == 0) && port.processes.iter().all(|p| p.commands.is_empty())
    }

    /// Messages that were accepted and are not settled, for the log line at shutdown. Nothing is sent after this.
    pub fn unsettled(&mut self, port: &mut ManagerPort) -> usize {
        let taken: usize = self.windows.iter().map(Window::open).sum();
        let unread = |ring: &mut Consumer| std::iter::from_fn(|| ring.next().ok().flatten().map(|_| ())).count();
        taken + port.processes.iter_mut().map(|p| unread(&mut p.commands)).sum::<usize>()
    }

    /// A connection is gone: what it had under way is sent again, and who waits for an answer from it learns so.
    pub fn session_lost(&mut self, around: &mut Around<'_>, session: u64, publish: Option<PublishChannel>) {
        let resent = publish.map_or(0, |publish| self.send_again(publish));
        around.port.row.add(Counter::Resent, resent);
        // Queries that were not confirmed are among those that are sent again.
        let windows = &self.windows;
        let lost = around.queries.extract(|q| q.session == session && !windows[q.process_no].is_open(q.record));
        for query in lost {
            around.outcomes.send(around.port, &query, Outcome::ConnectionLost);
        }
    }

    /// The broker closed a publish channel because of one message: finds it, refuses it, sends the rest again.
    pub fn channel_closed(
        &mut self,
        around: &mut Around<'_>,
        broker: usize,
        publish: PublishChannel,
        close: &ChannelClose,
    ) {
        let open: Vec<_> = publish.in_flight.into_open().collect();
        let offender = self.find_offender(around, broker, &open, close);
        // Found: no need to send one by one any longer.
        self.probing = 0;
        let mut resent = 0;
        for (process_no, id) in &open {
            if offender == Some((*process_no, *id)) {
                self.refuse(around, *process_no, *id, &Reason::closed(close));
            } else {
                resent += u64::from(self.windows[*process_no].again(*id));
            }
        }
        around.port.row.add(Counter::Resent, resent);
        if offender.is_none() {
            self.probing = open.len();
            self.log.warn(format_args!(
                "broker closed a publish channel ({} {}) without naming a message; sending {} one by one to find it",
                close.code,
                close.text,
                open.len()
            ));
        }
        self.release(around.port);
    }

    /// The broker gave a message back: no queue is bound for it. Its confirm follows.
    pub fn returned(&mut self, around: &mut Around<'_>, message: &Returned) {
        around.port.row.inc(Counter::Returned);
        let Returned { code, text, exchange, routing_key, message_id } = message;
        let process_no = process_of(message_id);
        let reason = Reason::returned(*code, text);
        let (exchange_bytes, key_bytes) = (exchange.as_bytes(), routing_key.as_bytes());
        let refused =
            Refused { process_no, message_id, exchange: exchange_bytes, routing_key: key_bytes, reason: &reason };
        self.refusals.push(self.config, &refused, around.now_ns);
        if let Some(more) = self.returned_lines.pass() {
            self.log.warn(format_args!(
                "message {message_id} (exchange \"{exchange}\", routing key \"{routing_key}\") returned: {reason}{more}"
            ));
        }
    }

    fn window(&self) -> usize {
        if self.probing > 0 { 1 } else { self.config.confirm_window }
    }

    fn send_again(&mut self, publish: PublishChannel) -> u64 {
        let mut resent = 0;
        for (process_no, id) in publish.in_flight.into_open() {
            resent += u64::from(self.windows[process_no].again(id));
        }
        resent
    }

    /// Sends the next record of one ring; `None` if it has none.
    fn send_one(&mut self, around: &mut Around<'_>, process_no: usize) -> Option<Step> {
        let (id, start) = self.next_record(around.port, process_no)?;
        let Around { port, links, queries, now_ns, .. } = &mut *around;
        let record = port.processes[process_no].commands.read_at(start);
        let Some(command) = record.ok().and_then(|r| Command::decode(r.bytes)) else {
            self.damaged(port, process_no, Some(id));
            return Some(Step::Moved);
        };
        match self.decide(links, *now_ns, &command) {
            Decision::Send { broker, exchange, routing_key } => {
                let sending = Sending { process_no, id, start, command: &command, exchange, routing_key };
                return Some(self.transmit(port, links.at(broker)?, queries, &sending, (broker, *now_ns)));
            }
            Decision::Wait => return Some(Step::Blocked),
            Decision::Refuse(why) => self.refuse(around, process_no, id, &why),
            Decision::NoBroker(ticket) => {
                around.port.row.inc(Counter::Expired);
                around.outcomes.resumes.decide(ticket, Outcome::NoBroker);
                self.settle(process_no, id);
            }
            Decision::Expired => {
                around.port.row.inc(Counter::Expired);
                self.settle(process_no, id);
            }
        }
        Some(Step::Moved)
    }

    fn next_record(&mut self, port: &mut ManagerPort, process_no: usize) -> Option<(RecordId, u64)> {
        let (window, ring) = (&mut self.windows[process_no], &mut port.processes[process_no].commands);
        if self.unreadable[process_no] || (!window.has_waiting() && ring.is_empty()) {
            return None;
        }
        match window.next(ring) {
            Ok(next) => next,
            Err(_) => {
                self.unreadable[process_no] = true;
                self.damaged(port, process_no, None);
                None
            }
        }
    }

    /// What to do with a command, without doing it.
    fn decide<'c>(&self, links: &mut Links, now_ns: u64, command: &Command<'c>) -> Decision<'c> {
        if command.query.is_some_and(|q| q.deadline_ns <= now_ns) {
            return Decision::Expired;
        }
        let broker = match command.broker {
            None => match links.primary() {
                Some(index) => index,
                None if links.is_starting() || links.has_primary() => return Decision::Wait,
                // A process that waits has seen this itself.
                None => return command.query.and_then(|q| q.ticket).map_or(Decision::Wait, Decision::NoBroker),
            },
            Some(id) => {
                let index = (id as usize).wrapping_sub(1);
                if links.may_return(index, now_ns, self.config.stall_timeout.as_nanos() as u64) {
                    return Decision::Wait;
                }
                if links.at(index).is_none() {
                    return Decision::Refuse(Reason::not_connected(id));
                }
                index
            }
        };
        if !self.quarantine.is_empty()
            && let Some((until, why)) = self.quarantine.get(&(broker, command.exchange.as_bytes().to_vec()))
            && *until > now_ns
        {
            return Decision::Refuse(why.clone());
        }
        let text = |name: ShortStr<'c>| str::from_utf8(name.as_bytes()).ok();
        let (Some(exchange), Some(routing_key)) = (text(command.exchange), text(command.routing_key)) else {
            return Decision::Refuse(Reason::not_utf8());
        };
        if self.has_room(links, broker) { Decision::Send { broker, exchange, routing_key } } else { Decision::Wait }
    }

    /// Whether a broker may have one more message that it has not confirmed.
    fn has_room(&self, links: &mut Links, broker: usize) -> bool {
        let Some(publish) = links.at(broker).and_then(|o| o.publish.as_ref()) else { return false };
        let (messages, bytes) = (publish.in_flight.len(), publish.in_flight.bytes());
        messages < self.window() && (bytes < SMALLEST_WINDOW_BYTES || links.unconfirmed_bytes() < WINDOW_BYTES)
    }

    /// Hands one record to its broker, which is up.
    fn transmit(
        &mut self,
        port: &ManagerPort,
        opened: &mut Opened,
        queries: &mut Queries,
        sending: &Sending<'_, '_>,
        (broker, now_ns): (usize, u64),
    ) -> Step {
        let Sending { process_no, id, start, command, exchange, routing_key } = *sending;
        let Some(publish) = opened.publish.as_mut() else { return Step::Blocked };
        let Some(body) = wire_body(port.shared, command, &opened.server_id) else {
            self.damaged(port, process_no, Some(id));
            return Step::Moved;
        };
        let bytes = body.len();
        let message = Publish {
            exchange,
            routing_key,
            message_id: self.message_ids.of(process_no, command.sequence),
            persistent: self.config.persistent,
            mandatory: self.config.mandatory,
            headers: header_pairs(command.headers),
            body,
        };
        if publish.channel.publish(message).is_err() {
            // A closed channel reports itself and is replaced; an open one that takes nothing is a dead connection.
            return if publish.channel.is_open() { Step::Broken(broker) } else { Step::Blocked };
        }
        if publish.in_flight.is_empty() {
            publish.progress_ns = now_ns;
        }
        publish.in_flight.push((process_no, id), bytes);
        if let Some(query) = command.query {
            let (sequence, deadline_ns, session) = (command.sequence, query.deadline_ns, opened.session);
            let ticket = query.ticket;
            queries.insert(query.msg_id, Pending { process_no, sequence, deadline_ns, record: id, session, ticket });
        }
        if self.windows[process_no].sent(id) == 1 && start < port.processes[process_no].sent_before {
            port.row.inc(Counter::Resent);
        }
        Step::Moved
    }

    fn take_confirm(&mut self, around: &mut Around<'_>, confirm: Confirm) {
        let Some(publish) = around.links.by_publish_epoch(confirm.epoch).and_then(|(_, o)| o.publish.as_mut()) else {
            return;
        };
        publish.progress_ns = around.now_ns;
        if confirm.ack {
            let mut settled = 0;
            publish.in_flight.confirm(confirm.tag, confirm.multiple, |(process_no, id)| {
                settled += 1;
                self.settle(process_no, id);
            });
            self.probing = self.probing.saturating_sub(settled);
            around.port.row.add(Counter::Confirmed, settled as u64);
            return;
        }
        let mut refused = Vec::new();
        publish.in_flight.confirm(confirm.tag, confirm.multiple, |item| refused.push(item));
        self.probing = self.probing.saturating_sub(refused.len());
        for (process_no, id) in refused {
            around.port.row.inc(Counter::Nacked);
            let Some(nacks) = self.windows[process_no].nacked(id) else { continue };
            if nacks >= MAX_NACKS {
                self.refuse(around, process_no, id, &Reason::not_taken());
            } else {
                let due_ns = around.now_ns + (NACK_PAUSE_NS << (nacks - 1));
                self.delayed.push((due_ns, process_no, id));
                around.port.row.inc(Counter::Resent);
            }
        }
    }

    /// Gives up one record: counts, logs, makes an event, and tells a worker that waits for its answer.
    fn refuse(&mut self, around: &mut Around<'_>, process_no: usize, id: RecordId, why: &Reason) {
        around.port.row.inc(Counter::RefusedByBroker);
        self.settle(process_no, id);
        let Some(start) = self.windows[process_no].place_of(id) else { return };
        let record = around.port.processes[process_no].commands.read_at(start);
        let Some(command) = record.ok().and_then(|r| Command::decode(r.bytes)) else { return };
        let asked = command.query.map(|query| {
            // It is among the queries only if it was sent before.
            around.queries.take_record(query.msg_id, process_no, id);
            let (sequence, deadline_ns, ticket) = (command.sequence, query.deadline_ns, query.ticket);
            Pending { process_no, sequence, deadline_ns, record: id, session: 0, ticket }
        });
        let (exchange, routing_key) = (command.exchange.as_bytes(), command.routing_key.as_bytes());
        let message_id = self.message_ids.of(process_no, command.sequence);
        let refused = Refused { process_no, message_id, exchange, routing_key, reason: why };
        self.refusals.push(self.config, &refused, around.now_ns);
        if let Some(more) = self.refusal_lines.pass() {
            self.log.error(format_args!(
                "message {} of process {process_no} (exchange \"{}\", routing key \"{}\") refused: {why}{more}",
                command.sequence,
                String::from_utf8_lossy(exchange),
                String::from_utf8_lossy(routing_key)
            ));
        }
        if let Some(query) = asked {
            around.outcomes.send(around.port, &query, Outcome::Refused);
        }
    }

    /// The record is done with; [`release`](Self::release) frees its place.
    fn settle(&mut self, process_no: usize, id: RecordId) {
        self.windows[process_no].done(id);
        self.touched[process_no] = true;
    }

    fn damaged(&mut self, port: &ManagerPort, process_no: usize, id: Option<RecordId>) {
        port.row.inc(Counter::Damaged);
        if self.damage.pass().is_some() {
            self.log
                .error(format_args!("command ring of process {process_no} is damaged; was shared memory overwritten?"));
        }
        if let Some(id) = id {
            self.settle(process_no, id);
        }
    }

    fn command<'p>(&self, port: &'p ManagerPort, process_no: usize, id: RecordId) -> Option<Command<'p>> {
        let start = self.windows[process_no].place_of(id)?;
        port.processes[process_no].commands.read_at(start).ok().and_then(|r| Command::decode(r.bytes))
    }

    /// The first message under way that fits what the broker names. Puts a refused exchange into quarantine.
    fn find_offender(
        &mut self,
        around: &Around<'_>,
        broker: usize,
        open: &[(usize, RecordId)],
        close: &ChannelClose,
    ) -> Option<(usize, RecordId)> {
        let culprit = Culprit::named_in(close);
        if let Some(Culprit::Exchange(name)) = culprit {
            self.quarantine.retain(|_, (until, _)| *until > around.now_ns);
            let until = around.now_ns + QUARANTINE_NS;
            self.quarantine.insert((broker, name.as_bytes().to_vec()), (until, Reason::closed(close)));
        }
        let found = culprit.and_then(|culprit| self.first(around.port, open, |command| culprit.fits(command)));
        found.or(if let [only] = open { Some(*only) } else { None })
    }

    fn first(
        &self,
        port: &ManagerPort,
        open: &[(usize, RecordId)],
        fits: impl Fn(&Command<'_>) -> bool,
    ) -> Option<(usize, RecordId)> {
        open.iter().copied().find(|(process_no, id)| self.command(port, *process_no, *id).is_some_and(|c| fits(&c)))
    }
}

/// What to do with a command.
#[derive(Debug)]
enum Decision<'c> {
    /// To broker `broker`, under names that the client library takes.
    Send {
        broker: usize,
        exchange: &'c str,
        routing_key: &'c str,
    },
    Wait,
    Refuse(Reason),
    /// An asynchronous query that no broker can take.
    NoBroker(Ticket),
    Expired,
}

/// A record on its way to a broker.
struct Sending<'s, 'c> {
    process_no: usize,
    id: RecordId,
    /// Where it lies in its ring.
    start: u64,
    command: &'s Command<'c>,
    exchange: &'c str,
    routing_key: &'c str,
}

/// Most bytes that `Server-ID` adds to a body.
const SERVER_ID_ROOM: usize = 512;

/// What the text of a channel close says about the message that caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Culprit<'t> {
    /// Missing, or forbidden for this user.
    Exchange(&'t str),
    /// A routing key that this user may not use on that exchange; others are fine.
    Topic { key: &'t str, exchange: &'t str },
    /// Larger than the broker takes.
    Size(usize),
}

impl<'t> Culprit<'t> {
    /// `NOT_FOUND - no exchange 'X' in vhost '/'`, `ACCESS_REFUSED - access to exchange 'X' in vhost ...`,
    /// `ACCESS_REFUSED - access to topic 'K' in exchange 'X' in vhost ...`,
    /// `PRECONDITION_FAILED - message size N is larger than configured max size M`.
    fn named_in(close: &'t ChannelClose) -> Option<Self> {
        let text = close.text.as_str();
        if matches!(close.code, 403 | 404) {
            // A name may hold a quote itself, so the ends are looked for from outside.
            let (text, _) = text.rsplit_once("' in vhost")?;
            if let Some((_, rest)) = text.split_once("access to topic '") {
                return rest.rsplit_once("' in exchange '").map(|(key, exchange)| Self::Topic { key, exchange });
            }
            return text.split_once("exchange '").map(|(_, name)| Self::Exchange(name));
        }
        let (_, rest) = text.split_once("message size ")?;
        rest.split(' ').next()?.parse().ok().map(Self::Size)
    }

    fn fits(self, command: &Command<'_>) -> bool {
        match self {
            Self::Exchange(name) => command.exchange.as_bytes() == name.as_bytes(),
            Self::Topic { key, exchange } => {
                command.exchange.as_bytes() == exchange.as_bytes() && command.routing_key.as_bytes() == key.as_bytes()
            }
            Self::Size(size) => {
                let len = match command.body {
                    Body::Inline(text) => text.len(),
                    Body::Block { len, .. } => usize::try_from(len).unwrap_or(usize::MAX),
                };
                // The broker counts Server-ID, the record does not have it yet.
                (len..=len.saturating_add(SERVER_ID_ROOM)).contains(&size)
            }
        }
    }
}

/// The body with `Server-ID` in it; `None` if the record is damaged.
fn wire_body(shared: &Shared, command: &Command<'_>, server_id: &str) -> Option<Vec<u8>> {
    let text = match command.body {
        Body::Inline(text) => text,
        Body::Block { offset, len } => shared.block(offset, len)?,
    };
    let mut body = Vec::with_capacity(text.len() + server_id.len() + 32);
    command.splice.apply(text, server_id.as_bytes(), &mut body).ok()?;
    Some(body)
}

/// The `message_id` of each message: the same however often it is sent, different for every other message of this server.
#[derive(Debug)]
struct MessageIds {
    /// By process: what all of its messages have in common.
    starts: Vec<String>,
    text: String,
}

impl MessageIds {
    fn new(boot: u64, processes: usize) -> Self {
        Self { starts: (0..processes).map(|number| format!("{boot:016x}-{number}-")).collect(), text: String::new() }
    }

    fn of(&mut self, process_no: usize, sequence: u64) -> &str {
        self.text.clear();
        self.text.push_str(&self.starts[process_no]);
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{sequence}");
        &self.text
    }
}

/// The process in what [`MessageIds`] made; 0 if it is none of ours.
fn process_of(message_id: &str) -> usize {
    message_id.split('-').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Application headers; the worker has checked and logged what is wrong with them.
fn header_pairs(raw: &[u8]) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    headers::pairs(raw).flatten().map(|(name, value)| (text(name), text(value))).collect()
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn the_close_text_names_exchange_or_size() {
        let close = |code, text: &str| ChannelClose { code, text: text.to_owned() };
        let missing = close(404, "NOT_FOUND - no exchange 'it's' in vhost '/'");
        assert_eq!(Culprit::named_in(&missing), Some(Culprit::Exchange("it's")));
        let refused = close(403, "ACCESS_REFUSED - access to exchange 'x' in vhost '/' refused for user 'guest'");
        assert_eq!(Culprit::named_in(&refused), Some(Culprit::Exchange("x")));
        let topic =
            close(403, "ACCESS_REFUSED - access to topic 'a.b' in exchange 'ev' in vhost '/' refused for user 'u'");
        assert_eq!(Culprit::named_in(&topic), Some(Culprit::Topic { key: "a.b", exchange: "ev" }));
        let large = close(406, "PRECONDITION_FAILED - message size 2000 is larger than configured max size 1000");
        assert_eq!(Culprit::named_in(&large), Some(Culprit::Size(2000)));
        assert_eq!(Culprit::named_in(&close(541, "INTERNAL_ERROR")), None);
    }

    #[test]
    fn a_message_id_is_stable_and_unique() {
        let mut ids = MessageIds::new(0xabc, 8);
        assert_eq!(ids.of(7, 12), "0000000000000abc-7-12");
        assert_eq!((process_of(ids.of(7, 12)), process_of("")), (7, 0));
    }
}
