//! What is compared, and how each one's functions are written in a script.

use std::path::PathBuf;

use rig::{Builder, Error, Kamailio, Result};
use serde::Serialize;

use crate::lab::Lab;

/// One of those that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The module under test.
    Ours,
    /// Another build of it, to see what a change has done.
    Before,
    /// `kazoo.so` of the distribution.
    CModule,
    /// `rabbitmq.so` of the distribution.
    Rabbitmq,
    /// Kamailio without AMQP.
    SipOnly,
    /// A plain client with the library amqprs.
    Amqprs,
    /// A plain client with the library lapin.
    Lapin,
}

impl Subject {
    /// All of them, in the order of their turns.
    pub const ALL: [Self; 7] =
        [Self::Ours, Self::Before, Self::CModule, Self::Rabbitmq, Self::SipOnly, Self::Amqprs, Self::Lapin];

    /// Whose workloads it does.
    pub fn role(self) -> Self {
        if self == Self::Before { Self::Ours } else { self }
    }

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Before => "before",
            Self::CModule => "C module",
            Self::Rabbitmq => "rabbitmq.so",
            Self::SipOnly => "SIP without AMQP",
            Self::Amqprs => "plain amqprs",
            Self::Lapin => "plain lapin",
        }
    }

    /// Its colour in plots; they differ in grey too.
    pub fn color(self) -> &'static str {
        match self {
            Self::Ours => "#1f4e79",
            Self::Before => "#7fa3c7",
            Self::CModule => "#d97f2e",
            Self::Rabbitmq => "#a9a9a9",
            Self::SipOnly => "#6d6d6d",
            Self::Amqprs => "#3d8b5f",
            Self::Lapin => "#a6d0b1",
        }
    }

    /// How its lines are broken.
    pub fn dashes(self) -> &'static str {
        match self {
            Self::Ours => "none",
            Self::Before => "10 2",
            Self::CModule => "8 3",
            Self::Rabbitmq => "3 3",
            Self::SipOnly => "1 3",
            Self::Amqprs => "12 3 2 3",
            Self::Lapin => "6 3 2 3 2 3",
        }
    }

    /// A Kamailio with this module.
    pub fn builder(self, lab: &Lab) -> Result<Builder> {
        // As many processes for event routes with either module; the rest as an operator gets it.
        let kazoo = |builder: Builder| {
            builder
                .broker(&lab.broker)
                .modparam("node_hostname", "load.rig.test")
                .modparam_int("pua_mode", 0)
                .modparam_int("amqp_consumer_workers", 4)
        };
        let builder = Kamailio::builder().debug(1).memory(256, 16).line("max_while_loops=1000000");
        Ok(match self {
            Self::Ours => lab.params.iter().fold(kazoo(builder), |builder, (name, n)| builder.modparam_int(name, *n)),
            Self::Before => {
                let module = lab.before.clone().ok_or_else(|| Error::new("BEFORE names no module"))?;
                kazoo(builder.module(module))
            }
            Self::CModule => kazoo(builder.module(c_module()?)),
            Self::Rabbitmq => {
                let url = format!("modparam(\"rabbitmq\", \"url\", \"{}/%2F\")", lab.broker.url());
                builder.without_module().load("rabbitmq").line(&url)
            }
            Self::SipOnly | Self::Amqprs | Self::Lapin => builder.without_module(),
        })
    }

    /// Script text: an expression that publishes, true when it did.
    pub fn publish(self, exchange: &str, routing_key: &str, payload: &str) -> String {
        match self {
            Self::Rabbitmq => {
                format!("rabbitmq_publish(\"{exchange}\", \"{routing_key}\", \"application/json\", '{payload}')")
            }
            Self::SipOnly => "(1 == 1)".into(),
            _ => format!("kazoo_publish(\"{exchange}\", \"{routing_key}\", '{payload}')"),
        }
    }

    /// Script text: an expression that asks with the payload in `$var(p)`, true when an answer came. The C module crashes
    /// unless an argument is unquoted.
    pub fn query(self, exchange: &str, routing_key: &str) -> String {
        match self {
            Self::Rabbitmq => format!(
                "rabbitmq_publish_consume(\"{exchange}\", \"{routing_key}\", \"application/json\", \"$var(p)\", \
                 \"$var(r)\")"
            ),
            _ => format!("kazoo_query(\"{exchange}\", \"{routing_key}\", $var(p))"),
        }
    }

    /// Script text: the number in the answer.
    pub fn answer(self) -> &'static str {
        match self {
            Self::Rabbitmq => "$(var(r){s.select,3,\\\"})",
            _ => "$(kzR{kz.json,Seq})",
        }
    }
}

/// The C module as the distribution installs it.
fn c_module() -> Result<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files = folders.map(|folder| folder.join("kamailio/modules/kazoo.so")).filter(|file| file.exists());
    files.next().ok_or_else(|| Error::new("the C module is not installed (.ci/packages installs it)"))
}
