//! What the client library's tasks report to the loop: confirms, deliveries, state changes.
//!
//! Everything runs on one thread; the lock only satisfies the library's `Send` bounds and is never contended.
//! Bounded: deliveries by the prefetch of their channels (`ahead`), confirms and returns by the messages under way, the rest by the
//! number of brokers and subscriptions.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::amqp::ChannelClose;
use super::poison::Found;
use super::session::{Opened, PublishChannel, SetupError, Subscribed};

/// A publisher confirm.
#[derive(Clone, Copy, Debug)]
pub struct Confirm {
    /// Epoch of the publish channel.
    pub epoch: u64,
    /// Delivery tag, counted per channel from 1.
    pub tag: u64,
    /// All tags up to this one.
    pub multiple: bool,
    /// Confirmed; else the broker could not take the message.
    pub ack: bool,
}

/// A message of ours that no queue was bound for.
#[derive(Clone, Debug)]
pub struct Returned {
    /// AMQP reply code, 312.
    pub code: u16,
    /// AMQP reply text.
    pub text: String,
    /// Exchange it was published to.
    pub exchange: String,
    /// Routing key it was published with.
    pub routing_key: String,
    /// Its `message_id`.
    pub message_id: String,
}

/// A message from the broker.
#[derive(Debug)]
pub struct Incoming {
    /// Epoch of the channel that delivered it.
    pub epoch: u64,
    /// Delivery tag on that channel.
    pub tag: u64,
    /// Delivered before.
    pub redelivered: bool,
    /// How often it was delivered again, as far as its queue counts; a classic queue does not.
    pub redeliveries: u64,
    /// Exchange it was published to.
    pub exchange: String,
    /// Routing key it was published with.
    pub routing_key: String,
    /// Body.
    pub body: Vec<u8>,
    /// Unix seconds.
    pub received_unix: u64,
}

/// A change of state.
#[derive(Debug)]
pub enum Event {
    /// A connection attempt ended. The reason is fit for the log.
    Opened { broker: usize, result: Result<Box<Opened>, SetupError> },
    /// The broker gave a message back.
    Returned(Returned),
    /// The queues of a broker were looked through for unreadable messages.
    Probed { broker: usize, found: Found },
    /// A connection is gone.
    Lost { session: u64, why: String },
    /// The broker closed a channel.
    ChannelClosed { epoch: u64, close: ChannelClose },
    /// The broker cancelled a consumer: its queue was deleted or moved.
    Cancelled { epoch: u64 },
    /// Every message of a consumer that ended is among the deliveries, or was.
    Drained { epoch: u64 },
    /// A subscription was declared, or was refused.
    Subscribed { session: u64, index: usize, result: Result<Box<Subscribed>, SetupError> },
    /// Another server has the same name: it consumes a reply queue that would be ours.
    Namesake { session: u64 },
    /// A new publish channel in place of a closed one.
    PublishChannel { session: u64, result: Result<PublishChannel, SetupError> },
    /// The server stops.
    Terminated,
}

#[derive(Debug, Default)]
struct State {
    confirms: VecDeque<Confirm>,
    deliveries: VecDeque<Incoming>,
    replies: VecDeque<Incoming>,
    events: VecDeque<Event>,
    /// Subscriptions whose messages may come.
    shares: usize,
    /// Something was put in since the loop looked last.
    news: bool,
    /// The loop, when it waits for news.
    waiting: Option<Waker>,
}

/// Shared by the loop and the library's callbacks.
#[derive(Clone, Debug, Default)]
pub struct Inbox {
    state: Arc<Mutex<State>>,
}

impl Inbox {
    /// A confirm came.
    pub fn confirm(&self, confirm: Confirm) {
        self.put(|state| state.confirms.push_back(confirm));
    }

    /// Messages of a subscription came.
    pub fn deliveries(&self, messages: impl IntoIterator<Item = Incoming>) {
        self.put(|state| state.deliveries.extend(messages));
    }

    /// Messages of one more subscription may come, as long as this is kept.
    pub fn share(&self) -> Share {
        self.state().shares += 1;
        Share { inbox: self.clone() }
    }

    /// Messages of a reply queue came.
    pub fn replies(&self, messages: impl IntoIterator<Item = Incoming>) {
        self.put(|state| state.replies.extend(messages));
    }

    /// Something changed.
    pub fn event(&self, event: Event) {
        self.put(|state| state.events.push_back(event));
    }

    /// Has the loop make a turn.
    pub fn nudge(&self) {
        self.put(|_| {});
    }

    /// The next confirm.
    pub fn next_confirm(&self) -> Option<Confirm> {
        self.state().confirms.pop_front()
    }

    /// The next message of a subscription.
    pub fn next_delivery(&self) -> Option<Incoming> {
        self.state().deliveries.pop_front()
    }

    /// Puts back what could not be handed out yet; it is the next one again.
    pub fn put_back(&self, message: Incoming) {
        self.state().deliveries.push_front(message);
    }

    /// The next message of a reply queue.
    pub fn next_reply(&self) -> Option<Incoming> {
        self.state().replies.pop_front()
    }

    /// The next change of state.
    pub fn next_event(&self) -> Option<Event> {
        self.state().events.pop_front()
    }

    /// Whether a message of a subscription waits.
    pub fn has_delivery(&self) -> bool {
        !self.state().deliveries.is_empty()
    }

    /// Whether a message of the subscription's channel `epoch` waits.
    pub fn holds(&self, epoch: u64) -> bool {
        self.state().deliveries.iter().any(|message| message.epoch == epoch)
    }

    /// Whether anything but a message of a subscription waits.
    pub fn has_news(&self) -> bool {
        let state = self.state();
        !(state.confirms.is_empty() && state.replies.is_empty() && state.events.is_empty())
    }

    /// The loop looks at everything that is in: none of that is news any more.
    pub fn look(&self) {
        self.state().news = false;
    }

    /// Ready when something was put in since the last [`look`](Self::look). One task waits.
    pub fn poll_news(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.news {
            return Poll::Ready(());
        }
        state.waiting = Some(context.waker().clone());
        Poll::Pending
    }

    fn put(&self, add: impl FnOnce(&mut State)) {
        let mut state = self.state();
        add(&mut state);
        state.news = true;
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A callback that panicked while holding the lock left at worst one message out.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one subscription has of the memory for messages that came ahead.
#[derive(Debug)]
pub struct Share {
    inbox: Inbox,
}

impl Share {
    /// How many subscriptions have one.
    pub fn of(&self) -> usize {
        self.inbox.state().shares
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.inbox.state().shares -= 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_held_until_its_last_message_is_taken() {
        let inbox = Inbox::default();
        let message = |epoch, tag| Incoming {
            epoch,
            tag,
            redelivered: false,
            redeliveries: 0,
            exchange: String::new(),
            routing_key: String::new(),
            body: Vec::new(),
            received_unix: 0,
        };
        inbox.deliveries([(7, 1), (8, 1), (7, 2)].map(|(epoch, tag)| message(epoch, tag)));
        assert!(inbox.holds(7) && inbox.holds(8) && !inbox.holds(9));
        let taken: Vec<u64> = std::iter::from_fn(|| inbox.next_delivery()).take(2).map(|m| m.epoch).collect();
        assert_eq!((taken, inbox.holds(7), inbox.holds(8)), (vec![7, 8], true, false));
        let last = inbox.next_delivery().unwrap();
        assert!(!inbox.holds(7));
        inbox.put_back(last);
        assert!(inbox.holds(7), "no consumer had room");
    }

    #[test]
    fn news_wakes_the_loop_until_it_has_looked() {
        let inbox = Inbox::default();
        let mut context = Context::from_waker(Waker::noop());
        assert!(inbox.poll_news(&mut context).is_pending());
        inbox.event(Event::Cancelled { epoch: 1 });
        assert!(inbox.poll_news(&mut context).is_ready());
        // What it leaves where it is does not wake it again.
        inbox.look();
        assert!(inbox.poll_news(&mut context).is_pending() && inbox.has_news());
    }
}
