//! What the author of a `kamailio.cfg` touches: functions, pseudo-variables, transformations.
//!
//! Runs in every process that runs script code. A call takes its parameters, does its work on the bus or on a
//! payload, and ends with a [`Verdict`]; `entry.rs` turns that into the number Kamailio wants. One file per function
//! or family of variables.
//!
//! | file | script name |
//! |---|---|
//! | `publish` | `kazoo_publish` |
//! | `query` | `kazoo_query` |
//! | `async_query` | `kazoo_async_query`, `kazoo_query_async` |
//! | `result` | `$kzR` |
//! | `subscribe` | `kazoo_subscribe` |
//! | `subscription_json` | what `kazoo_subscribe(json)` understands |
//! | `event` | `$kzE`, `$kzRK` |
//! | `encode` | `kazoo_encode` |
//! | `json` | `kazoo_json` |
//! | `presence` | `kazoo_pua_publish` and its forms for one package |
//! | `json_keys` | `kazoo_json_keys` |
//! | `transformation` | `{kz.encode}`, `{kz.json}`, `{kz.json.count}` |
//! | `verdict` | return codes |
//! | `statistics`, `rpc` | statistics group `kazoo`, `kamcmd kazoo.…` |
//! | `process` | what a process keeps between calls: its end of the bus, its source of `Msg-ID`s |

#![forbid(unsafe_code)]

#[cfg(feature = "host")]
pub mod async_query;
#[cfg(feature = "host")]
pub mod encode;
#[cfg(feature = "host")]
pub mod event;
#[cfg(feature = "host")]
pub mod json;
#[cfg(feature = "host")]
pub mod json_keys;
pub mod msg_id;
#[cfg(feature = "host")]
mod outgoing;
#[cfg(feature = "host")]
pub mod presence;
#[cfg(feature = "host")]
pub mod process;
#[cfg(feature = "host")]
pub mod publish;
#[cfg(feature = "host")]
pub mod query;
#[cfg(feature = "host")]
pub mod result;
#[cfg(feature = "host")]
pub mod rpc;
#[cfg(feature = "host")]
pub mod statistics;
#[cfg(feature = "host")]
pub mod subscribe;
pub mod subscription_json;
#[cfg(feature = "host")]
pub mod transformation;
pub mod verdict;

pub use verdict::Verdict;
