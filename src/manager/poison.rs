//! Messages that the client library cannot read: a routing key, header or property that is not UTF-8.
//!
//! The library ends the connection over such a message, the broker puts it back, and the next connection ends the same way: all
//! that this broker has for the server would stand still until somebody removed the message. So when connections
//! break again and again within moments, each queue is looked through on connections of its own, message by message and without acknowledging, until
//! one breaks. Only if a second look breaks at the same place, a third takes that message without acknowledgement, which removes it
//! from the queue. Should it turn out to be readable after all, because another consumer was faster, it is handed
//! to the event routes like any other.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::amqp::{Channel, Connection};
use super::inbox::{Event, Incoming};
use super::session::Setup;

/// After so many connections in a row that broke at once, and after each further so many, the queues are looked through.
pub const SHORT_LIVED: u32 = 3;

/// Unreadable messages that are removed from one queue before the next attempt to connect.
const MAX_REMOVED: usize = 100;

/// Limit of one answer of the broker.
const ANSWER: Duration = Duration::from_secs(5);

/// What a broker needs to notice that a connection is gone and to put its messages back.
const PUT_BACK: Duration = Duration::from_millis(500);

/// What came of looking through the queues of one broker.
#[derive(Debug, Default)]
pub struct Found {
    /// Queues from which an unreadable message was removed, once for each.
    pub removed: Vec<String>,
    /// Messages that were removed and can be read, with the number of their subscription.
    pub readable: Vec<(usize, Incoming)>,
}

/// A queue to be looked through, with the number of its subscription.
pub type Suspect = (usize, String);

/// How one look at a queue ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Nothing wrong with what would be prefetched.
    Clean,
    /// The connection broke at the message behind so many.
    BrokeBehind(usize),
    /// The broker does not answer as it should: no look is possible now.
    Unclear,
}

impl Setup {
    /// Looks through `queues` of broker number `index`, which is not connected meanwhile; reports [`Event::Probed`].
    pub fn probe(&self, index: usize, queues: Vec<Suspect>) {
        let setup = self.clone();
        tokio::spawn(async move {
            // In a task of its own: the library may panic over what it cannot read.
            let work = tokio::spawn({
                let setup = setup.clone();
                async move { setup.probe_all(index, queues).await }
            });
            let found = work.await.unwrap_or_default();
            setup.inbox.event(Event::Probed { broker: index, found });
        });
    }

    async fn probe_all(&self, index: usize, queues: Vec<Suspect>) -> Found {
        let mut found = Found::default();
        for (subscription, queue) in queues {
            for _ in 0..MAX_REMOVED {
                if !self.remove_one(index, subscription, &queue, &mut found).await {
                    break;
                }
            }
        }
        found
    }

    /// Removes the first unreadable message of `queue`. False if there is none.
    async fn remove_one(&self, index: usize, subscription: usize, queue: &str, found: &mut Found) -> bool {
        let first = self.look(index, queue).await;
        let Look::BrokeBehind(before) = first else { return false };
        // A network that fails now and then does not fail at the same message twice.
        if self.look(index, queue).await != first {
            return false;
        }
        let Ok((connection, channel)) = self.look_out(index).await else { return false };
        if !hold(&channel, queue, before).await {
            end(connection).await;
            return false;
        }
        let taken = timeout(ANSWER, channel.get(queue, true)).await;
        let broke = !channel.is_open();
        end(connection).await;
        match taken {
            Ok(Ok(Some(message))) => {
                found.readable.push((subscription, message));
                true
            }
            _ if broke => {
                found.removed.push(queue.to_owned());
                true
            }
            _ => false,
        }
    }

    /// Takes as many messages as would be prefetched, and gives them back.
    async fn look(&self, index: usize, queue: &str) -> Look {
        let Ok((connection, channel)) = self.look_out(index).await else { return Look::Unclear };
        let mut look = Look::Clean;
        for before in 0..usize::from(self.config.prefetch) {
            match timeout(ANSWER, channel.get(queue, false)).await {
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None)) => break,
                _ if connection.is_open() => {
                    look = Look::Unclear;
                    break;
                }
                _ if connection.close_reason().is_some() => {
                    look = Look::Unclear;
                    break;
                }
                _ => {
                    look = Look::BrokeBehind(before);
                    break;
                }
            }
        }
        end(connection).await;
        look
    }

    async fn look_out(&self, index: usize) -> Result<(Connection, Channel), String> {
        let opening = async {
            let connection = self.log_in(&self.config.brokers[index]).await?;
            let channel = connection.channel(self.shared.next_epoch(), &self.inbox).await?;
            Ok((connection, channel))
        };
        timeout(ANSWER, opening).await.unwrap_or_else(|_| Err("no answer".to_owned()))
    }
}

/// Takes `count` messages without acknowledging them. False if there were not so many.
async fn hold(channel: &Channel, queue: &str, count: usize) -> bool {
    for _ in 0..count {
        if !matches!(timeout(ANSWER, channel.get(queue, false)).await, Ok(Ok(Some(_)))) {
            return false;
        }
    }
    true
}

/// Ends a connection, and waits until its messages are back in their queue.
async fn end(connection: Connection) {
    let _ = timeout(ANSWER, connection.close()).await;
    sleep(PUT_BACK).await;
}
