//! `doc/parameters.md`: the parameter reference.
//!
//! What a parameter is called, accepts and does comes from [`PARAMS`], the table that the module itself goes by. Here
//! stand the order of the sections and an example for each parameter, written as in kamailio.cfg.

use std::fmt::Write as _;

use kazoo::config::{IntKind, Kind, PARAMS, Param};

use crate::Error;

/// Parameters that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Heading.
    pub title: &'static str,
    /// What they have in common.
    pub intro: &'static str,
    /// Name and example value of each.
    pub params: &'static [(&'static str, &'static str)],
}

const INTRO: &str = "# Parameters

Set with `modparam(\"kazoo\", \"name\", value)`. Numbers stand without quotes; in quotes they are accepted too. A text
must be in quotes and not empty. A value that is not allowed is refused when the configuration is read, so `kamailio -c`
finds it; the log line names the parameter and says what is allowed. A parameter that is set several times has the last
value; only `amqp_connection` adds up.

Only `node_hostname` must be set. Parameters cannot be changed while Kamailio runs.

The two halves of a time, `…_sec` and `…_micro`, are added. Each has its own default: setting one leaves the other as
it is, so write both. A sum of 0 is refused.
";

/// The reference, section by section.
pub const SECTIONS: &[Section] = &[
    Section {
        title: "Server and brokers",
        intro: "Who this server is, and where its brokers are.",
        params: &[
            ("node_hostname", "\"sip1.example.com\""),
            ("amqp_connection", "\"amqp://kamailio:secret@mq1.example.com:5672/voip\""),
            ("amqp_primary_zone", "\"east\""),
            ("app_name", "\"edge-proxy\""),
        ],
    },
    Section {
        title: "Publishing and querying",
        intro: "What `kazoo_publish` and the queries wait for, and what they accept.",
        params: &[
            ("amqp_publish_wait_ms", "100"),
            ("amqp_sip_wait_ms", "0"),
            ("amqp_confirm_window", "300"),
            ("amqp_persistent", "1"),
            ("amqp_mandatory", "1"),
            ("amqp_max_message_size", "1048576"),
            ("amqp_query_timeout_sec", "1"),
            ("amqp_query_timeout_micro", "500000"),
            ("amqp_query_timeout_avp", "\"$avp(kz_timeout)\""),
        ],
    },
    Section {
        title: "Consuming",
        intro: "Who runs event routes, and which one for which message. See [Events](events.md).",
        params: &[
            ("amqp_consumer_processes", "8"),
            ("amqp_consumer_workers", "8"),
            ("amqp_consumer_event_key", "\"Category\""),
            ("amqp_consumer_event_subkey", "\"Name\""),
            ("event_callback", "\"ksr_kazoo_event\""),
            ("amqp_prefetch", "100"),
            ("amqp_max_redeliveries", "5"),
        ],
    },
    Section {
        title: "Connections",
        intro: "How connections are made, watched and made again.",
        params: &[
            ("amqp_connect_timeout_sec", "1"),
            ("amqp_connect_timeout_micro", "0"),
            ("amqp_heartbeats", "5"),
            ("amqp_reconnect_min_ms", "200"),
            ("amqp_reconnect_max_ms", "10000"),
            ("amqps_ca_cert", "\"/etc/kamailio/mq-ca.pem\""),
            ("amqps_cert", "\"/etc/kamailio/sip1.pem\""),
            ("amqps_key", "\"/etc/kamailio/sip1.key\""),
            ("amqps_verify_peer", "0"),
            ("amqps_verify_hostname", "0"),
        ],
    },
    Section {
        title: "The manager's loop",
        intro: "One process talks to the brokers. In turn it handles acknowledgements of the consumer processes, sends what \
                scripts publish, and hands out what the brokers deliver. The counts say how much of one kind it does before \
                the next kind has its turn; the times bound its sleep until it had nothing to do for a second, and are a safety net: \
                work wakes it up. The defaults are right for nearly everybody.",
        params: &[
            ("amqp_consumer_ack_loop_count", "5"),
            ("amqp_internal_loop_count", "1"),
            ("amqp_consumer_loop_count", "3"),
            ("consume_messages_on_reconnect", "0"),
            ("single_consumer_on_reconnect", "0"),
            ("amqp_consumer_ack_timeout_sec", "1"),
            ("amqp_consumer_ack_timeout_micro", "200000"),
            ("amqp_interprocess_timeout_sec", "1"),
            ("amqp_interprocess_timeout_micro", "200000"),
            ("amqp_waitframe_timeout_sec", "1"),
            ("amqp_waitframe_timeout_micro", "200000"),
            ("amqp_stall_timeout_ms", "1000"),
            ("amqp_hang_timeout_ms", "20000"),
            ("amqp_drain_timeout_ms", "5000"),
        ],
    },
    Section {
        title: "Memory",
        intro: "Sizes of the queues in shared memory. Every process that runs script has an outbox and a place for replies; \
                every consumer process has all four. With the defaults this is 288 KiB of Kamailio's shared memory (`-m`) \
                per SIP process and 384 KiB per consumer process. Sizes are powers of two.",
        params: &[
            ("amqp_command_ring_kb", "1024"),
            ("amqp_reply_ring_kb", "64"),
            ("amqp_delivery_ring_kb", "128"),
            ("amqp_ack_ring_kb", "64"),
        ],
    },
    Section {
        title: "Script and JSON",
        intro: "How parameters and paths are read.",
        params: &[("json_escape_char", "\"~\""), ("expand_unquoted_params", "0")],
    },
    Section {
        title: "Presence",
        intro: "For the `kazoo_pua_publish` functions.",
        params: &[
            ("pua_mode", "0"),
            ("db_url", "\"mysql://kamailio:kamailiorw@localhost/kamailio\""),
            ("presentity_table", "\"my_presentity\""),
            ("pua_lock_type", "0"),
            ("pua_include_entity", "0"),
        ],
    },
    Section {
        title: "Accepted without effect",
        intro: "Configurations written for the C module may set these. They are accepted, and one line in the log at the start \
                says why each does nothing. Remove them.",
        params: &[
            ("amqp_max_channels", "100"),
            ("amqp_result_avp", "\"$avp(amqp_result)\""),
            ("amqp_command_hashtable_size", "4096"),
            ("amqp_timer_process_interval", "100"),
            ("amqp_timmer_process_interval", "100"),
            ("presence_use_full_entity", "1"),
            ("use_federated_exchange", "1"),
            ("federated_exchange", "\"federation\""),
        ],
    },
];

/// The page.
pub fn page() -> Result<String, Error> {
    complete()?;
    let mut out = INTRO.to_owned();
    for section in SECTIONS {
        let _ = write!(out, "\n## {}\n\n{}\n", section.title, wrapped(section.intro));
        for (name, example) in section.params {
            let param = find(name).ok_or_else(|| Error::Parameter((*name).to_owned()))?;
            out.push_str(&entry(param, example));
        }
    }
    Ok(out)
}

/// `integer`, `text`... as shown behind the name of the parameter; empty for a name that no parameter has.
pub fn kind_of(name: &str) -> &'static str {
    match find(name).map(|param| &param.kind) {
        Some(Kind::Int(_) | Kind::Switch { .. }) => "integer",
        Some(Kind::Text { .. }) => "string",
        None => "",
    }
}

fn find(name: &str) -> Option<&'static Param> {
    PARAMS.iter().find(|param| param.name() == name)
}

/// Every parameter is in one section, and in one only.
fn complete() -> Result<(), Error> {
    let listed = || SECTIONS.iter().flat_map(|section| section.params).map(|(name, _)| *name);
    let wrong = PARAMS.iter().map(Param::name).find(|name| listed().filter(|other| other == name).count() != 1);
    wrong.map_or(Ok(()), |name| Err(Error::Parameter(name.to_owned())))
}

fn entry(param: &Param, example: &str) -> String {
    let name = param.name();
    let mut text = format!("\n### {name}\n\n{}\n\n{}\n", facts(param), wrapped(&plain(param.meaning)));
    if let Some(why) = param.inert {
        let _ = write!(text, "\nNo effect: {}.\n", plain(why));
    }
    let _ = write!(text, "\n```kamailio params\nmodparam(\"kazoo\", \"{name}\", {example})\n```\n");
    text
}

/// Type, what is allowed, default.
fn facts(param: &Param) -> String {
    match &param.kind {
        Kind::Int(_) if param.inert.is_some() => "*Integer, any.*".to_owned(),
        Kind::Int(kind) => format!("*Integer, {}.* {}", range(kind), default(kind.default.map(|n| n.to_string()))),
        Kind::Switch { default: on, .. } => {
            format!("*Integer, 0 (off) or 1 (on).* {}", default(Some(u8::from(*on).to_string())))
        }
        Kind::Text { .. } if param.inert.is_some() => "*String, any.*".to_owned(),
        Kind::Text { default: text, .. } => format!("*String.* {}", default(text.map(|text| format!("\"{text}\"")))),
    }
}

fn range(kind: &IntKind) -> String {
    let IntKind { min, max, unit, power_of_two, .. } = kind;
    let steps = if *power_of_two { ", a power of two" } else { "" };
    if *max == i32::MAX as u32 { "any".to_owned() } else { format!("{min} to {max} ({unit}){steps}") }
}

fn default(value: Option<String>) -> String {
    value.map_or_else(|| "Not set by default.".to_owned(), |value| format!("Default: `{value}`."))
}

/// A text of the module's tables, with nothing in it that Markdown would take for its own.
fn plain(text: &str) -> String {
    text.replace('<', "&lt;").replace('*', "\\*")
}

/// A paragraph in lines of at most 120 characters.
fn wrapped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        let fits = column + 1 + length <= 120;
        if column > 0 {
            out.push(if fits { ' ' } else { '\n' });
        }
        column = if column > 0 && fits { column + 1 + length } else { length };
        out.push_str(word);
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end on the first surprise")]

    use super::*;
    use kazoo::config::{Builder, Value};

    #[test]
    fn the_module_accepts_every_example() {
        for (name, example) in SECTIONS.iter().flat_map(|section| section.params) {
            let value = match example.strip_prefix('"') {
                Some(text) => Value::Text(text.strip_suffix('"').unwrap()),
                None => Value::Int(example.parse().unwrap()),
            };
            assert_eq!(Builder::new().set(name, value), Ok(()), "{name}");
        }
    }

    #[test]
    fn an_example_shows_another_value_than_the_default() {
        for (name, example) in SECTIONS.iter().flat_map(|section| section.params) {
            let param = find(name).unwrap();
            let default = match &param.kind {
                Kind::Int(kind) => kind.default.map(|n| n.to_string()),
                Kind::Switch { default, .. } => Some(u8::from(*default).to_string()),
                Kind::Text { default, .. } => default.map(|text| format!("\"{text}\"")),
            };
            assert!(param.inert.is_some() || default.as_deref() != Some(example), "{name}");
        }
    }
}
