//! Load that costs little: what generates and counts it must not be what is measured.
//!
//! Everything here works on plain sockets and on the caller's thread. Messages are numbered, in a field
//! `Seq`, so that what is lost, comes twice or is answered wrongly is known by number.
//!
//! | file | what it is |
//! |---|---|
//! | `sip.rs` | SIP requests, many outstanding or at a fixed rate |
//! | `wire.rs` | as much of AMQP 0-9-1 as the others need, many frames per system call |
//! | `drain.rs` | empties a queue and tells which numbers were in it |
//! | `pump.rs` | publishes numbered events with confirms |
//! | `confirms.rs` | which publishes are confirmed |
//! | `echo.rs` | publishes events at fixed moments and times what comes back for each |
//! | `answerer.rs` | answers queries, at once or later |
//! | `sequence.rs` | sets of numbers, and numbers in payloads |

mod answerer;
mod confirms;
mod drain;
mod echo;
mod pump;
mod sequence;
mod sip;
mod wire;

pub use answerer::{Answerer, QUESTIONS_KEY};
pub use confirms::Confirms;
pub use drain::{Depth, drain, until_depth};
pub use echo::{Echo, Echoed};
pub use pump::{Pump, Pumped};
pub use sequence::{FIRST, Numbers, payload};
pub use sip::{Load, Pace, Tally, histogram, run};
