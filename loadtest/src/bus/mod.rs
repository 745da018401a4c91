//! The applications on the bus that tests and demo need, all of them AMQP clients of a private [`Broker`]:
//! a [`Client`] for single operations, a [`Peer`] that answers queries, a [`Sink`] that collects what arrives, a
//! [`Flood`] that publishes events and knows exactly which the broker has confirmed, a [`Proxy`] between them and their broker.
//!
//! Their API is blocking; behind it works one tokio runtime of two threads, shared by the whole rig process. Call it
//! from plain threads (`#[test]`), not from inside another runtime.
//!
//! [`Broker`]: crate::Broker

mod client;
mod flood;
mod link;
mod peer;
mod proxy;
mod sink;

pub use client::{Client, Exchange, Message, Queue};
pub use flood::{Flood, FloodCount};
pub use peer::{Peer, PeerCount, Question, Reply};
pub use proxy::Proxy;
pub use sink::{Arrived, Sink, SinkCount};
