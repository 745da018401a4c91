//! What is inside a message: the JSON dialect of the bus, its paths, its envelope, its names.
//!
//! Runs in every process: SIP workers seal payloads and read paths, the manager finds the `Msg-ID` of a reply
//! and puts the `Server-ID` in, consumers prepare an event. Pure functions over byte slices: nothing here
//! blocks, logs, keeps state or imports another part of the module. Every byte may come from the network, so
//! no input panics, recursion is bounded by the nesting limit, and time grows linearly with the input.
//!
//! | file             | concern                                                                          |
//! |------------------|----------------------------------------------------------------------------------|
//! | `json`         | the lenient JSON dialect: parse, edit, serialise, read one member without a tree |
//! | `path`         | `a.b[3].c%d`: where a value stands in a payload                                  |
//! | `encode`       | percent-encoding of one word of a routing key                                    |
//! | [`mod@envelope`] | fields added to an outgoing payload, the place where `Server-ID` goes            |
//! | [`mod@inbound`]  | edits on a payload that arrived, `Msg-ID` of a reply                             |
//! | `event`        | event route names tried for a payload                                            |
//! | `headers`      | `name=value;name=value` of `kazoo_publish`                                       |
#![forbid(unsafe_code)]

pub mod encode;
pub mod envelope;
mod error;
pub mod event;
pub mod headers;
pub mod inbound;
pub mod json;
pub mod path;

pub use envelope::{Envelope, Enveloped, Splice, envelope, envelope_in};
pub use error::PayloadError;
pub use inbound::{Inbound, Origin, inbound, top_level_string};
pub use json::{JsonError, Memory, Value};

#[cfg(test)]
mod tests;
