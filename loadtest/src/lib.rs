//! The rig: real servers on loopback for tests, load tests and the demo.
//!
//! | piece | what it is |
//! |---|---|
//! | [`Broker`] | a private RabbitMQ that can be stopped, killed, frozen and started again |
//! | [`Cluster`] | several of them that share queues |
//! | [`Authority`] | certificates for its TLS listeners |
//! | [`Kamailio`] | a Kamailio with the module under test; [`SipClient`] sends it single requests, [`Sipp`] many, [`Phone`] is called |
//! | [`Database`] | SQLite, PostgreSQL or MariaDB with the tables of Kamailio's presence module |
//! | [`locked_instructions`] | follows a SIP worker through one request, to see what it locks |
//! | [`Proxy`] | a bad network between them: black holes, slow lines, resets |
//! | [`Site`](site::Site) | all of these together, for the fault matrix and the soak |
//! | [`Peer`], [`Sink`], [`Flood`], [`Client`] | applications on that broker |
//! | [`load`] | generators and counters that cost little, for measurements |
//!
//! Everything started here ends when its value is dropped, and also when the process is killed (`guardian.rs`). All
//! calls block; use them from plain threads, not inside an async runtime. `RIG_KEEP=1` keeps the run folders;
//! `RIG_UNDER='valgrind --trace-children=yes --log-file=FOLDER/%p'` puts every Kamailio below another program;
//! `RIG_OPTIONS='-X fm'` gives every Kamailio further options.

#![forbid(unsafe_code)]

mod broker;
mod bus;
mod cluster;
mod database;
pub mod edge;
mod error;
mod guardian;
mod kamailio;
pub mod load;
mod phone;
mod ports;
mod process;
mod rundir;
mod sip;
mod sipp;
pub mod site;
#[cfg(target_arch = "x86_64")]
mod steps;
mod tls;

pub use broker::Broker;
pub use bus::{
    Arrived, Client, Exchange, Flood, FloodCount, Message, Peer, PeerCount, Proxy, Question, Queue, Reply, Sink,
    SinkCount,
};
pub use cluster::Cluster;
pub use database::{Database, Engine};
pub use error::{Error, Result};
pub use kamailio::{Builder, Check, Kamailio, Process, Stopped, kamailio_options};
pub use nix::sys::signal::Signal;
pub use phone::{Call, Phone};
pub use process::{Memory, cpu, voluntary_switches, voluntary_switches_of_thread, wait_until};
pub use sip::{Posted, Request, Response, SipClient};
pub use sipp::{AnswerTime, Percentiles, Sipp, SippReport, SippRun};
#[cfg(target_arch = "x86_64")]
pub use steps::{Locked, LockedCounts, locked_instructions};
pub use tls::{Authority, Identity};
