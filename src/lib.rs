//! `kazoo.so`: a connector between the Kamailio SIP server and a message bus (AMQP 0-9-1, RabbitMQ).
//!
//! Scripts publish, query and consume; SIP processes never touch the network. One manager process owns every
//! connection to a broker, and four kinds of queues in shared memory connect it with the others:
//!
//! ```text
//!                          Kamailio main (forks all below)
//!       any process that         supervisor                    consumer 1..C
//!       runs script              └─ manager (tokio, AMQP)      (event routes)
//!           │ ── command ring ──────▶│                               │
//!           │ ◀──── reply ring ──────│ ──────── delivery ring ──────▶│
//!                                    │ ◀─────── ack ring ────────────│
//!                                    ▼
//!                                 brokers
//! ```
//!
//! The command ring is the outbox: a message stays in it until a broker has confirmed it, so neither a lost connection
//! nor a killed manager loses what `kazoo_publish` has accepted.
//!
//! | module | runs in | concern |
//! |---|---|---|
//! | [`config`] | all | every modparam, in one table |
//! | `entry` | all | what Kamailio calls: guard, convert, call, convert back |
//! | `engine` | main, supervisor | start and stop: shared memory, processes |
//! | [`host`] | all but the manager | safe wrappers over Kamailio |
//! | [`script`] | script processes | functions, pseudo-variables, transformations |
//! | [`bus`] | all | records of the four queues and their ends |
//! | [`manager`] | manager | connections, confirms, queries, subscriptions |
//! | `consumer` | consumers | deliveries to event routes, acknowledgements |
//! | [`presence`] | script processes | payloads to rows of the presentity table |
//! | [`payload`] | all | JSON dialect, paths, envelope, encoding |
//! | [`throttle`] | all | keeps storms out of the log |
//!
//! What the module exports to scripts (the table itself is at the end of `entry.rs`):
//!
//! | kind | names |
//! |---|---|
//! | functions | `kazoo_publish` (3, 4), `kazoo_query` (3, 4, 5), `kazoo_subscribe` (1, 4), `kazoo_encode` (2), `kazoo_json` (3), `kazoo_json_keys` (3), `kazoo_pua_publish`, `…_presence`, `…_mwi`, `…_dialoginfo` (1) |
//! | functions that need `tm` | `kazoo_async_query`, `kazoo_query_async` (5, 6) |
//! | KEMI | `KSR.kazoo.kazoo_publish`, `…_publish_headers`, `…_query`, `…_query_headers`, `…_async_query`, `…_subscribe`, `…_subscribe_queue`, `…_json`, `…_json_keys`, `…_encode`, `…_pua_publish` and its forms |
//! | pseudo-variables | `$kzR`, `$kzE`, `$kzRK` |
//! | transformations | `{kz.encode}`, `{kz.json,PATH}`, `{kz.json.count,PATH}` |
//! | event routes | `kazoo:mod-init`, `kazoo:consumer-event…` |
//! | modparams | [`config::PARAMS`] |
//!
//! The feature `host` (on by default) is the part that calls Kamailio; without it the rest builds and is tested with
//! no Kamailio installed.

pub mod bus;
pub mod config;
pub mod manager;
pub mod payload;
pub mod presence;
pub mod script;
pub mod throttle;

#[cfg(feature = "host")]
mod consumer;
#[cfg(feature = "host")]
mod engine;
#[cfg(feature = "host")]
mod entry;
#[cfg(feature = "host")]
pub mod host;
