//! What the script is told about messages that the broker did not take: events for `kazoo:consumer-event-amqp-error-…`.
//!
//! A script that publishes to a missing exchange is refused as fast as it publishes, so the events are limited to
//! [`PER_SECOND`]; the next one says how many are missing. The counter has them all.

use std::collections::VecDeque;

use super::amqp::ChannelClose;
use crate::config::Config;

/// Most events in one second.
const PER_SECOND: u64 = 10;
const SECOND_NS: u64 = 1_000_000_000;

/// Value of the first part of the event name.
const CATEGORY: &str = "amqp_error";

/// Why a message was refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Second part of the event name.
    pub name: &'static str,
    /// AMQP reply code; 0 if it was not the broker that closed a channel.
    pub code: u16,
    /// The broker's text, or ours.
    pub text: String,
}

impl Reason {
    /// The broker closed the channel.
    pub fn closed(close: &ChannelClose) -> Self {
        let name = match close.code {
            403 => "access_refused",
            404 => "not_found",
            406 if close.text.contains("message size ") => "too_large",
            _ => "refused",
        };
        Self { name, code: close.code, text: close.text.clone() }
    }

    /// No queue is bound for it, and the broker said so because of `amqp_mandatory`.
    pub fn returned(code: u16, text: &str) -> Self {
        Self { name: "returned", code, text: text.to_owned() }
    }

    /// Negative confirms, again and again.
    pub fn not_taken() -> Self {
        let text = "the broker could not take it (negative confirm), again and again".to_owned();
        Self { name: "not_taken", code: 0, text }
    }

    /// Meant for a broker that is not connected.
    pub fn not_connected(broker_id: u32) -> Self {
        Self { name: "not_connected", code: 0, text: format!("broker {broker_id} is not connected") }
    }

    /// AMQP names are UTF-8.
    pub fn not_utf8() -> Self {
        Self { name: "invalid", code: 0, text: "exchange or routing key is not UTF-8".to_owned() }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.code == 0 { f.write_str(&self.text) } else { write!(f, "{} {}", self.code, self.text) }
    }
}

/// One refused message.
#[derive(Debug)]
pub struct Refused<'m> {
    /// Number of the process that published it.
    pub process_no: usize,
    /// AMQP `message_id`.
    pub message_id: &'m str,
    /// Exchange, any bytes.
    pub exchange: &'m [u8],
    /// Routing key, any bytes.
    pub routing_key: &'m [u8],
    /// What was wrong with it.
    pub reason: &'m Reason,
}

/// The events that are to be handed to a consumer.
#[derive(Debug, Default)]
pub struct Refusals {
    waiting: VecDeque<Vec<u8>>,
    /// Start of the present second.
    since_ns: u64,
    /// Events in it.
    made: u64,
    /// Refused messages without an event since the last one.
    left_out: u64,
}

impl Refusals {
    /// Makes an event of `refused`, or counts it if there were enough of them in this second.
    pub fn push(&mut self, config: &Config, refused: &Refused<'_>, now_ns: u64) {
        if now_ns.saturating_sub(self.since_ns) >= SECOND_NS {
            (self.since_ns, self.made) = (now_ns, 0);
        }
        if self.made >= PER_SECOND {
            self.left_out += 1;
            return;
        }
        self.made += 1;
        let left_out = std::mem::take(&mut self.left_out);
        self.waiting.push_back(payload(config, refused, left_out));
    }

    /// The payload of the next event.
    pub fn next(&mut self) -> Option<Vec<u8>> {
        self.waiting.pop_front()
    }
}

fn payload(config: &Config, refused: &Refused<'_>, left_out: u64) -> Vec<u8> {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let mut fields = serde_json::Map::new();
    fields.insert(config.event_key.clone(), CATEGORY.into());
    fields.insert(config.event_subkey.clone(), refused.reason.name.into());
    fields.insert("exchange".into(), text(refused.exchange).into());
    fields.insert("routing_key".into(), text(refused.routing_key).into());
    fields.insert("message_id".into(), refused.message_id.into());
    fields.insert("code".into(), refused.reason.code.into());
    fields.insert("text".into(), refused.reason.text.as_str().into());
    fields.insert("process".into(), refused.process_no.into());
    fields.insert("left_out".into(), left_out.into());
    serde_json::Value::Object(fields).to_string().into_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_cut_short_and_counted() {
        let config = Config { event_key: "Category".into(), event_subkey: "Name".into(), ..Config::default() };
        let reason = Reason::closed(&ChannelClose { code: 404, text: "NOT_FOUND - no exchange 'x'".into() });
        let refused =
            Refused { process_no: 3, message_id: "b-3-1", exchange: b"x", routing_key: b"k\xff", reason: &reason };
        let mut refusals = Refusals::default();
        (0..1000).for_each(|n| refusals.push(&config, &refused, SECOND_NS + n));
        let first: Vec<_> = std::iter::from_fn(|| refusals.next()).collect();
        assert_eq!(first.len() as u64, PER_SECOND);
        refusals.push(&config, &refused, 2 * SECOND_NS);
        let after: serde_json::Value = serde_json::from_slice(&refusals.next().unwrap()).unwrap();
        assert_eq!((&after["left_out"], &after["code"]), (&(1000 - PER_SECOND).into(), &404.into()));
        assert_eq!((&after["Category"], &after["Name"]), (&"amqp_error".into(), &"not_found".into()));
        assert_eq!(after["routing_key"], "k\u{fffd}");
    }
}
