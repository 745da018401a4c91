//! What a `kazoo_subscribe` asks for, as it travels from the script to the manager process.
//!
//! Plain data. The script side fills it, the bus carries [`Subscription::to_bytes`], the manager declares, binds and
//! consumes. Made before any broker is connected, so nothing here can know whether a broker will accept it.

use serde::{Deserialize, Serialize};

/// Longest AMQP short string: names and routing keys.
const SHORT_STRING: usize = 255;

/// One subscription: an exchange, a queue, the routing keys that bind them, and how its messages are handled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Declared before anything else.
    pub exchange: Exchange,
    /// Declared after the exchange and its bindings.
    pub queue: Queue,
    /// The queue is bound once per key. Never empty; one empty key when the script named none.
    pub routing: Vec<String>,
    /// Exchanges that feed [`Subscription::exchange`].
    pub exchange_bindings: Vec<ExchangeBinding>,
    /// The script does not want to acknowledge: a message counts as delivered when a consumer process has it.
    pub no_ack: bool,
    /// With `no_ack` off: acknowledge after the event route ended instead of on receipt.
    pub wait_for_consumer_ack: bool,
    /// Payload field that replaces `amqp_consumer_event_key` for this subscription.
    pub event_key: Option<String>,
    /// Payload field that replaces `amqp_consumer_event_subkey` for this subscription.
    pub event_subkey: Option<String>,
    /// Consume from the brokers of all zones, not only of the primary zone.
    pub federate: bool,
    /// Choose the consumer process by hash instead of round robin.
    pub consistent_worker: bool,
    /// Payload field to hash; `None` hashes the message's routing key.
    pub consistent_worker_key: Option<String>,
}

/// An exchange to declare.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// Name.
    pub name: String,
    /// `direct`, `topic`, `fanout`, `headers` or a type of a broker plugin.
    pub kind: String,
    /// Only check that it exists.
    pub passive: bool,
    /// Survives a restart of the broker.
    pub durable: bool,
    /// Goes away with its last binding.
    pub auto_delete: bool,
    /// Publishers cannot use it, only other exchanges can.
    pub internal: bool,
}

/// A queue to declare.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Name; empty lets the broker choose one.
    pub name: String,
    /// Only check that it exists.
    pub passive: bool,
    /// Survives a restart of the broker.
    pub durable: bool,
    /// Belongs to one connection.
    pub exclusive: bool,
    /// Goes away with its last consumer.
    pub auto_delete: bool,
}

impl Queue {
    /// Whether what is in it, or was delivered and not acknowledged, comes again when a connection was lost.
    pub fn outlives_connection(&self) -> bool {
        // The flags of a passive declaration say nothing.
        !self.name.is_empty() && !self.exclusive && (!self.auto_delete || self.passive)
    }
}

/// A source exchange and the keys with which it is bound to the subscription's exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeBinding {
    /// Declared, then bound once per key.
    pub source: Exchange,
    /// Never empty.
    pub routing: Vec<String>,
}

/// Why a subscription cannot be carried out or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriptionError {
    /// Longer than an AMQP short string.
    #[error("{what} is {len} bytes, AMQP allows 255")]
    TooLong {
        /// Which name or key.
        what: &'static str,
        /// Its length.
        len: usize,
    },
    /// No encoding of a [`Subscription`].
    #[error("not an encoded subscription: {0}")]
    Encoding(#[from] serde_json::Error),
}

impl Subscription {
    /// What the four-argument form asks for: a transient exchange, an auto-delete queue, one routing key, `no_ack`.
    pub fn simple(exchange: &str, kind: &str, queue: &str, routing: &str) -> Self {
        Self {
            exchange: Exchange { name: exchange.to_owned(), kind: kind.to_owned(), ..Exchange::default() },
            queue: Queue { name: queue.to_owned(), auto_delete: true, ..Queue::default() },
            routing: vec![routing.to_owned()],
            no_ack: true,
            ..Self::default()
        }
    }

    /// Refuses names and keys that do not fit AMQP's short strings.
    pub fn check(&self) -> Result<(), SubscriptionError> {
        let exchanges = self.exchange_bindings.iter().map(|binding| &binding.source).chain([&self.exchange]);
        for exchange in exchanges {
            short("exchange", &exchange.name)?;
            short("exchange type", &exchange.kind)?;
        }
        short("queue", &self.queue.name)?;
        let bound = self.exchange_bindings.iter().flat_map(|binding| &binding.routing);
        bound.chain(&self.routing).try_for_each(|key| short("routing key", key))
    }

    /// The bytes that travel to the manager.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SubscriptionError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Reads what [`Subscription::to_bytes`] wrote; checks it again, the bytes come from shared memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SubscriptionError> {
        let subscription: Self = serde_json::from_slice(bytes)?;
        subscription.check()?;
        Ok(subscription)
    }
}

fn short(what: &'static str, text: &str) -> Result<(), SubscriptionError> {
    if text.len() > SHORT_STRING { Err(SubscriptionError::TooLong { what, len: text.len() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end on the first surprise")]

    use super::*;

    #[test]
    fn bytes_give_back_what_went_in() {
        let mut subscription = Subscription::simple("dialoginfo", "direct", "BLF-QUEUE", "BLF-é\"");
        let source = Exchange { name: "src".into(), kind: "topic".into(), internal: true, ..Exchange::default() };
        subscription.exchange_bindings.push(ExchangeBinding { source, routing: vec!["a.*".into(), "b.#".into()] });
        subscription.event_key = Some("Event-Package".into());
        let bytes = subscription.to_bytes().unwrap();
        assert_eq!(Subscription::from_bytes(&bytes).unwrap(), subscription);
    }

    #[test]
    fn the_simple_form_has_the_flags_of_the_reference() {
        let s = Subscription::simple("e", "topic", "q", "k");
        assert!(s.no_ack && s.queue.auto_delete && !s.queue.durable && !s.queue.exclusive && !s.queue.passive);
        assert!(!s.exchange.durable && !s.exchange.auto_delete && !s.exchange.passive && !s.exchange.internal);
        assert_eq!((s.event_key, s.wait_for_consumer_ack), (None, false));
    }

    #[test]
    fn long_names_are_refused_wherever_they_stand() {
        let long = "x".repeat(256);
        let mut binding = Subscription::simple("e", "topic", "q", "k");
        binding.exchange_bindings =
            vec![ExchangeBinding { source: Exchange::default(), routing: vec![String::new(), long.clone()] }];
        for subscription in [
            Subscription::simple(&long, "topic", "q", "k"),
            Subscription::simple("e", &long, "q", "k"),
            Subscription::simple("e", "topic", &long, "k"),
            Subscription::simple("e", "topic", "q", &long),
            binding,
        ] {
            assert!(subscription.check().unwrap_err().to_string().contains("256 bytes"));
        }
        assert!(Subscription::simple(&"x".repeat(255), "topic", "q", "k").check().is_ok());
    }

    #[test]
    fn noise_is_an_error() {
        assert!(Subscription::from_bytes(b"").is_err());
        assert!(Subscription::from_bytes(b"{}").is_err());
    }

    #[test]
    fn a_queue_outlives_a_connection_unless_it_is_bound_to_it() {
        let queue = Queue { name: "q".into(), ..Queue::default() };
        assert!(queue.outlives_connection());
        let deleted = Queue { auto_delete: true, ..queue.clone() };
        assert!(!deleted.outlives_connection());
        assert!(Queue { passive: true, ..deleted }.outlives_connection(), "its real flags are unknown");
        assert!(!Queue { exclusive: true, ..queue }.outlives_connection());
        assert!(!Queue::default().outlives_connection(), "the next one has another name");
    }
}
