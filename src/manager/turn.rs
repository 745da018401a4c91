//! The loop of the manager: ACK, SEND, CONSUME, and sleep when there is nothing to do.
//!
//! The counts (`amqp_consumer_ack_loop_count`, `amqp_internal_loop_count`, `amqp_consumer_loop_count`) bound how many
//! items of one kind are handled before the next kind has its turn. Work is announced by wake-ups, so an idle loop
//! answers at once; the timeouts only bound how long it may sleep without looking while there is something to do now and then.
//! When nothing has happened for a second it sleeps until somebody rings, the library reports, or something is due at a
//! time: nobody who rings can die unnoticed, and the supervisor asks for a sign of life in any case.
//!
//! | part | concern |
//! |---|---|
//! | `events` | what happened to connections, channels and subscriptions |
//! | `deliveries` | messages on their way to the consumers |
//! | `replies` | answers on their way to workers and transactions |
//! | `notices` | what the module itself tells event routes |
//! | `flow` | what workers are told about a full outbox |

mod deliveries;
mod events;
mod flow;
mod notices;
mod replies;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use super::alarm::Alarm;
use super::dispatch::Dispatch;
use super::inbox::Inbox;
use super::links::Links;
use super::log::Log;
use super::publisher::{Around, Publisher};
use super::queries::{Outcomes, Queries, Replies};
use super::resumes::Resumes;
use super::session::Setup;
use super::subscriptions::{HOLD_NS, Subscriptions};
use super::suspects::Suspects;
use super::tls::ClientTls;
use super::wake::Wake;
use crate::bus::clock::now_ns;
use crate::bus::counters::Counter;
use crate::bus::{Delivery, DeliveryKind, ManagerPort};
use crate::config::Config;
use crate::throttle::Throttle;

pub use events::LIBRARY_PANICKED;

/// Longest sleep while something has a time limit of its own: a retry, a query, a stall.
const BUSY_SLEEP: Duration = Duration::from_millis(20);

/// Without anything to do for so long, the manager is idle and looks around only when there is a reason to.
const IDLE_NS: u64 = 1_000_000_000;

/// Longest sleep while there was something to do not long ago, or a message waits for what may also be a matter of time.
const QUIET_SLEEP: Duration = Duration::from_secs(1);

/// How often the periodic work is done while the loop is busy.
const TICK_NS: u64 = 10_000_000;

/// How often each kind of work has its turn before the client library has: what it does for the messages of one turn, system
/// calls above all, it does once for those of all rounds.
const ROUNDS: usize = 8;

/// Longest that publishes wait for the subscriptions of a new connection to be declared.
const DECLARE_WAIT_NS: u64 = 2_000_000_000;

/// Answers to asynchronous queries that wait for a consumer may take as much memory as so many messages of the largest
/// size.
const MAX_WAITING_ANSWERS: usize = 4;

/// Everything the manager knows.
pub struct Manager {
    config: &'static Config,
    log: Log,
    port: ManagerPort,
    inbox: Inbox,
    setup: Setup,
    links: Links,
    publisher: Publisher,
    queries: Queries,
    outcomes: Outcomes,
    subscriptions: Subscriptions,
    suspects: Suspects,
    dispatch: Dispatch,
    wake: Wake,
    alarm: Alarm,
    /// Late replies and connection events that wait for a consumer.
    local: VecDeque<Delivery<'static>>,
    next_ack_ring: usize,
    last_delivery_ns: u64,
    /// How many messages had been handed out when the consumers' pace was looked at, and when that was.
    paced: (u64, u64),
    next_tick_ns: u64,
    last_moved_ns: u64,
    given_up: Throttle,
    /// At shutdown: send what was accepted, hand out nothing more.
    draining: bool,
}

impl Manager {
    /// Takes the manager's ends. Inside the runtime. `inbox`: where others report to it.
    pub fn new(
        config: &'static Config,
        port: ManagerPort,
        tls: Option<ClientTls>,
        log: Log,
        inbox: Inbox,
    ) -> Result<Self, String> {
        let setup = Setup { config, shared: port.shared, tls, inbox: inbox.clone() };
        let was_up = port.row.get(Counter::Connects) > 0;
        let processes = port.processes.len();
        let consumers = port.consumers.len();
        let wake = Wake::new(port.shared).map_err(|e| format!("no wake-up: {e}"))?;
        let board = port.shared.board().map_err(|e| e.to_string())?;
        board.clear();
        let suspensions = port.shared.suspensions().map_err(|e| e.to_string())?;
        let mut resumes = Resumes::new(suspensions, config.max_message_size.saturating_mul(MAX_WAITING_ANSWERS));
        resumes.end_inherited(&port);
        // Workers that wait for an answer of the manager before this one shall look again.
        port.alarm_all();
        Ok(Self {
            config,
            log,
            links: Links::new(setup.clone(), log, board, was_up),
            publisher: Publisher::new(config, log, port.shared.boot(), processes),
            queries: Queries::default(),
            outcomes: Outcomes { replies: Replies::new(processes), resumes },
            subscriptions: Subscriptions::new(setup.clone(), log, board),
            suspects: Suspects::new(config.max_redeliveries),
            dispatch: Dispatch::new(consumers),
            wake,
            alarm: Alarm::new(),
            local: VecDeque::new(),
            next_ack_ring: 0,
            last_delivery_ns: 0,
            paced: (0, 0),
            next_tick_ns: 0,
            last_moved_ns: 0,
            given_up: Throttle::default(),
            draining: false,
            port,
            inbox,
            setup,
        })
    }

    /// One turn: state changes, then rounds of ACK, SEND, CONSUME. Sleeps when nothing is left to do.
    pub async fn turn(&mut self) {
        let now = now_ns();
        self.port.shared.beat(now);
        self.inbox.look();
        let mut moved = self.take_events(now);
        if now >= self.next_tick_ns {
            self.next_tick_ns = now + TICK_NS;
            self.tick(now);
        }
        let (in_rounds, more) = self.rounds(now);
        moved += in_rounds;
        if moved > 0 {
            self.last_moved_ns = now;
        }
        // As long as they do, nobody needs to ring.
        let_others_run().await;
        if !more {
            self.sleep(now).await;
        }
    }

    /// ACK, SEND, CONSUME, again and again while there is something to do, [`ROUNDS`] times at most. Returns how much moved,
    /// and whether there may be more.
    fn rounds(&mut self, now_ns: u64) -> (usize, bool) {
        let mut moved = 0;
        let mut more = true;
        for _ in 0..ROUNDS {
            let parts = [self.ack_turn(), self.send_turn(now_ns), self.consume_turn(now_ns)];
            let in_round: usize = parts.iter().sum();
            moved += in_round;
            // Each part goes on until it finds nothing, or its count is reached.
            more = in_round > 0
                && (parts.iter().zip(self.counts()).any(|(moved, count)| *moved >= count) || self.has_work());
            if !more {
                break;
            }
        }
        self.publisher.release(&mut self.port);
        self.settle_due(now_ns);
        (moved, more)
    }

    /// How many items of each kind a round handles.
    fn counts(&self) -> [usize; 3] {
        let c = self.config;
        [c.ack_loop_count, c.internal_loop_count, c.consumer_loop_count].map(|count| count as usize)
    }

    /// Whether the server stops: what was accepted is still sent, nothing more is handed out.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether everything that was accepted is confirmed or refused.
    pub fn is_drained(&self) -> bool {
        self.publisher.is_settled(&self.port)
    }

    /// Messages that were accepted and are neither confirmed nor refused. Nothing is sent after this.
    pub fn undrained(&mut self) -> usize {
        self.publisher.unsettled(&mut self.port)
    }

    /// Closes all connections; a second at most.
    pub async fn close(&mut self) {
        while self.ack_turn() > 0 {}
        let settled = self.subscriptions.settle_all();
        self.acknowledged(settled);
        let sessions: Vec<u64> = self.links.up().map(|(_, o)| o.session).collect();
        let taken: Vec<_> =
            sessions.into_iter().filter_map(|s| self.links.take(s, "the server stops", u64::MAX / 2)).collect();
        let closing: Vec<_> = taken.into_iter().map(|(_, opened)| tokio::spawn(opened.close_and_wait())).collect();
        for task in closing {
            let _ = task.await;
        }
    }

    /// ACK: what consumers finished.
    fn ack_turn(&mut self) -> usize {
        let mut moved = 0;
        let mut damaged = 0;
        let rings = self.port.consumers.len();
        let mut idle = 0;
        while moved < self.config.ack_loop_count as usize && idle < rings {
            let ring = self.next_ack_ring;
            self.next_ack_ring = (ring + 1) % rings;
            let Some(ack) = self.port.consumers[ring].next_ack(&mut damaged) else {
                idle += 1;
                continue;
            };
            idle = 0;
            moved += 1;
            if !self.subscriptions.finish(ack.epoch, ack.delivery_tag, ack.verdict) {
                // Its connection is gone; the broker delivers the message again.
                self.port.row.inc(Counter::StaleAcks);
            }
        }
        self.port.row.add(Counter::Damaged, damaged);
        moved
    }

    /// SEND: commands to the broker.
    fn send_turn(&mut self, now_ns: u64) -> usize {
        let limit = self.config.internal_loop_count as usize;
        let (publisher, mut around) = self.split(now_ns);
        let (sent, broken) = publisher.send(&mut around, limit);
        if let Some(broker) = broken
            && let Some(session) = self.links.at(broker).map(|o| o.session)
        {
            self.session_lost(session, "takes no more data", now_ns);
        }
        sent
    }

    /// CONSUME: replies to the workers, messages to the consumers.
    fn consume_turn(&mut self, now_ns: u64) -> usize {
        let mut moved = self.take_replies(now_ns);
        while let Some(event) = self.publisher.refusals.next() {
            self.push_local(Delivery::local(DeliveryKind::RefusalEvent, event));
        }
        self.outcomes.replies.flush(&mut self.port, now_ns);
        for origin in self.dispatch.resume(&mut self.port) {
            self.handed_out(origin);
            moved += 1;
        }
        if !self.draining {
            moved += self.hand_out(now_ns);
        }
        if !self.subscriptions.drains() {
            self.dispatch.unstick();
        }
        self.dispatch.ring(&mut self.port);
        moved
    }

    fn settle_due(&mut self, now_ns: u64) {
        let settled = self.subscriptions.settle_due(now_ns);
        self.acknowledged(settled);
    }

    fn acknowledged(&mut self, settled: u64) {
        self.port.row.add(Counter::Acknowledged, settled);
        if let Some(session) = self.subscriptions.take_broken() {
            self.session_lost(session, "takes no more acknowledgements", now_ns());
        }
    }

    /// What has a time of its own: attempts to connect, subscriptions to declare, queries past their deadline.
    fn tick(&mut self, now_ns: u64) {
        let subscriptions = &self.subscriptions;
        self.links.tick(now_ns, |broker| subscriptions.lasting_queues(broker));
        self.publisher.tick(now_ns);
        self.subscriptions.forget_spent();
        if !self.draining {
            self.subscriptions.tick(&self.port, self.links.up(), now_ns);
        }
        self.admit(now_ns);
        self.queries.expire(now_ns);
        self.acknowledge_replies(now_ns);
        self.outcomes.resumes.expire(now_ns);
        let quiet = now_ns.saturating_sub(self.last_delivery_ns) >= self.config.waitframe_timeout.as_nanos() as u64;
        let waiting = self.inbox.has_delivery() || self.dispatch.has_parked();
        if quiet && self.subscriptions.drains() && !waiting {
            self.subscriptions.backlog_ended();
        }
        self.set_pace(now_ns);
        self.update_flow(now_ns);
    }

    /// Lets publishes use the connections whose subscriptions are in place.
    fn admit(&mut self, now_ns: u64) {
        let subscriptions = &self.subscriptions;
        self.links.admit(|broker, opened| {
            let waited = now_ns.saturating_sub(opened.opened_ns);
            waited >= DECLARE_WAIT_NS || subscriptions.is_settled(broker, opened.session)
        });
    }

    /// Sleeps until somebody rings, the library reports, or a timeout passes.
    async fn sleep(&mut self, now_ns: u64) {
        self.port.bell.announce();
        if self.has_work() {
            self.port.bell.retract();
            return;
        }
        let limit = self.sleep_limit(now_ns);
        let due_ns = limit.map(|limit| now_ns.saturating_add(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)));
        poll_fn(|context| self.poll_wait(context, due_ns)).await;
        self.port.bell.retract();
    }

    fn poll_wait(&mut self, context: &mut Context<'_>, due_ns: Option<u64>) -> Poll<()> {
        // Each of them, so that each wakes this task.
        let rung = self.wake.poll_rung(context).is_ready();
        let news = self.inbox.poll_news(context).is_ready();
        let due = due_ns.is_some_and(|due_ns| self.alarm.poll_due(context, due_ns).is_ready());
        if rung || news || due { Poll::Ready(()) } else { Poll::Pending }
    }

    fn has_work(&self) -> bool {
        self.port.has_ack() || self.inbox.has_news() || self.publisher.has_work(&self.port)
    }

    /// How long a sleep may be without a look around; `None`: for as long as nobody rings and the library is silent.
    fn sleep_limit(&self, now_ns: u64) -> Option<Duration> {
        let c = self.config;
        let look = c.ack_timeout.min(c.interprocess_timeout).min(c.waitframe_timeout);
        let look = if self.is_pressed(now_ns) {
            Some(look.min(BUSY_SLEEP))
        } else if now_ns.saturating_sub(self.last_moved_ns) < IDLE_NS {
            Some(look.min(QUIET_SLEEP))
        } else {
            self.publisher.is_held_up().then_some(QUIET_SLEEP)
        };
        // Whoever rang may have meant the periodic work, which was not due.
        let ticked = self.next_tick_ns == now_ns + TICK_NS;
        let missed = (!ticked && look.is_none()).then_some(now_ns);
        let due = [missed, self.links.next_due(DECLARE_WAIT_NS), self.subscriptions.next_due()].into_iter().flatten();
        // All that is due is done by a tick.
        let tick =
            due.min().map(|due_ns| due_ns.max(self.next_tick_ns).saturating_sub(now_ns)).map(Duration::from_nanos);
        let held = self.subscriptions.holds_acks().then_some(Duration::from_nanos(HOLD_NS));
        look.into_iter().chain(tick).chain(held).min()
    }

    /// Whether something is under way that has a time limit of its own.
    fn is_pressed(&self, now_ns: u64) -> bool {
        !self.queries.is_empty()
            || self.outcomes.resumes.any_open()
            || self.outcomes.replies.is_waiting(now_ns)
            || self.dispatch.is_unfinished()
            || self.inbox.has_delivery()
            || self.dispatch.has_parked()
            || !self.local.is_empty()
            || self.draining
            || self.subscriptions.drains()
            || self.publisher.is_pressing(&self.links)
    }

    fn split(&mut self, now_ns: u64) -> (&mut Publisher, Around<'_>) {
        let around = Around {
            port: &mut self.port,
            links: &mut self.links,
            queries: &mut self.queries,
            outcomes: &mut self.outcomes,
            inbox: &self.inbox,
            now_ns,
        };
        (&mut self.publisher, around)
    }
}

/// Lets the client library's reader and writer run, as far as they have something to do. The runtime's own way asks the
/// kernel first whether there is more.
async fn let_others_run() {
    let mut began = false;
    poll_fn(|context| {
        if std::mem::replace(&mut began, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
