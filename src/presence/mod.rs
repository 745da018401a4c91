//! Presence: an event of the bus becomes a row of the table that Kamailio's `presence` module reads.
//!
//! Runs in every process that runs script code. Pure: a payload and the time go in, an [`Update`] comes out; nothing
//! here knows a database (that is `script/presence.rs` over `host/db.rs`), blocks or logs. Every value may come from
//! the network: it is cleaned when it is read, escaped where a body quotes it, and of any length.
//!
//! | file | concern |
//! |---|---|
//! | `fields` | values of the payload, as clean text |
//! | `xml` | what a text may hold in XML |
//! | `body` | PIDF, message-summary, dialog-info |
//! | `update` | from payload to row, what is mandatory, defaults |
//! | `row` | the columns, and which older rows an update removes |
#![forbid(unsafe_code)]

mod body;
mod fields;
mod row;
mod update;
mod xml;

pub use row::{Cell, Flush, KEY_COLUMNS, Row};
pub use update::{Addressed, Missing, Options, Package, Update, addressed, update};

#[cfg(test)]
mod tests;
