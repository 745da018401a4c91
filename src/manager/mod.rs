//! The AMQP manager: the only process that talks to a broker.
//!
//! One tokio runtime on one thread, made after the fork. It lives on the rings of [`crate::bus`] and on its own heap:
//! it calls no function of Kamailio that takes a lock or allocates, because it may be killed at any moment.
//!
//! ```text
//!  command rings ─▶ outbox ─▶ publisher ─▶ session ─▶ broker        one turn of the loop (turn.rs):
//!   reply rings  ◀─ queries ◀── inbox ◀──  session ◀─ broker          ACK      ack rings → broker
//!                      ▼ resumes                                      SEND     command rings → broker
//! delivery rings ◀─ dispatch ◀─ inbox
//!    ack rings   ─▶ tracker ──▶ session ─▶ broker                     CONSUME  broker → reply, delivery rings
//! ```
//!
//! | file | concern |
//! |---|---|
//! | `run` | start and end of the process: runtime, signals, drain |
//! | `turn` | the loop: three kinds of work with their counts, and sleeping; its parts are in `turn/` |
//! | `outbox` | what of one command ring was sent, confirmed, must be sent again |
//! | `publisher` | commands to the broker, confirms back, poison isolated |
//! | `refusals` | events about messages that the broker did not take |
//! | `queries` | who waits for which `Msg-ID` |
//! | `resumes` | outcomes for suspended transactions |
//! | `taken` | answers that were taken and are acknowledged in bulk |
//! | `links` | state of each broker: down, connecting, up; back-off |
//! | `session` | one connection: reply queue, publish channel, subscriptions |
//! | `subscriptions` | what is declared where; acknowledgements by channel |
//! | `tracker` | delivery tags of one channel that wait for an acknowledgement |
//! | `ahead` | how many messages a subscription may have ahead, by their size |
//! | `dispatch` | which consumer process gets a message |
//! | `poison` | messages that the client library cannot read |
//! | `suspects` | messages that were delivered again and again, and when one is given up |
//! | `inbox` | what the client library's tasks report to the loop |
//! | `tls` | `amqps://`: files read at the start, certificates checked |
//! | `amqp` | the client library: the only file that names it, with its traps |
//! | `wake` | the manager's eventfd in the runtime |
//! | `alarm` | the loop's timer |
//! | `log` | lines for the server's log, storms throttled |

#![deny(unsafe_code)]

mod ahead;
mod alarm;
mod amqp;
mod dispatch;
mod inbox;
mod links;
pub mod log;
mod outbox;
mod poison;
mod publisher;
mod queries;
mod refusals;
mod resumes;
pub mod run;
mod session;
mod subscriptions;
mod suspects;
mod taken;
pub mod tls;
mod tracker;
mod turn;
mod wake;
