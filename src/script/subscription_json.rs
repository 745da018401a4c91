//! What `kazoo_subscribe(json)` understands: from a JSON description to a [`Subscription`].
//!
//! Fields are looked up on the top level, in exact case. A flag may be an integer, a boolean, a number in quotes or a
//! float. Without `exchange-def` and `queue-def` the same top-level flags apply to both the exchange and the queue.

use crate::bus::subscription::{Exchange, ExchangeBinding, Queue, Subscription, SubscriptionError};
use crate::payload::Value;
use crate::payload::json::JsonError;
use crate::payload::path::render;

/// Why a description cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptionError {
    /// Not JSON.
    #[error("the description is not JSON: {0}")]
    NotJson(#[from] JsonError),
    /// JSON, but no object.
    #[error("the description must be a JSON object, found {0}")]
    NotAnObject(&'static str),
    /// A text that no AMQP name can be made of.
    #[error("\"{0}\" is not valid UTF-8")]
    NotUtf8(&'static str),
    /// A name or key that is too long.
    #[error(transparent)]
    Limit(#[from] SubscriptionError),
}

/// Reads a description.
pub fn parse(text: &[u8]) -> Result<Subscription, DescriptionError> {
    let json = Value::parse(text)?;
    if json.as_object().is_none() {
        return Err(DescriptionError::NotAnObject(json.kind()));
    }
    let fields = Fields(&json);
    let subscription = Subscription {
        exchange: exchange(fields)?,
        queue: queue(fields)?,
        routing: fields.routing()?.unwrap_or_else(|| vec![String::new()]),
        exchange_bindings: bindings(fields)?,
        no_ack: fields.flag("no_ack", true),
        wait_for_consumer_ack: fields.flag("wait_for_consumer_ack", false),
        event_key: fields.optional_text("event_key")?,
        event_subkey: fields.optional_text("event_subkey")?,
        federate: fields.flag("federate", false),
        consistent_worker: fields.flag("consistent-worker", false),
        consistent_worker_key: fields.optional_text("consistent-worker-key")?,
    };
    subscription.check()?;
    Ok(subscription)
}

fn exchange(fields: Fields<'_>) -> Result<Exchange, DescriptionError> {
    let name = fields.text("exchange")?;
    definition(name, fields.object("exchange-def").unwrap_or(fields), false)
}

/// An exchange whose flags stand in `fields`.
fn definition(name: String, fields: Fields<'_>, auto_delete: bool) -> Result<Exchange, DescriptionError> {
    Ok(Exchange {
        name,
        kind: fields.text("type")?,
        passive: fields.flag("passive", false),
        durable: fields.flag("durable", false),
        auto_delete: fields.flag("auto_delete", auto_delete),
        internal: fields.flag("internal", false),
    })
}

fn queue(fields: Fields<'_>) -> Result<Queue, DescriptionError> {
    let flags = fields.object("queue-def").unwrap_or(fields);
    Ok(Queue {
        name: fields.text("queue")?,
        passive: flags.flag("passive", false),
        durable: flags.flag("durable", false),
        exclusive: flags.flag("exclusive", false),
        auto_delete: flags.flag("auto_delete", true),
    })
}

/// All entries with a usable `routing`.
fn bindings(fields: Fields<'_>) -> Result<Vec<ExchangeBinding>, DescriptionError> {
    let Some(entries) = fields.0.get(b"exchange-bindings").and_then(Value::as_object) else { return Ok(Vec::new()) };
    let mut bindings = Vec::new();
    for (name, entry) in entries.iter() {
        let entry = Fields(entry);
        if let Some(routing) = entry.routing()? {
            let name = utf8("exchange-bindings", name)?;
            bindings.push(ExchangeBinding { source: definition(name, entry, false)?, routing });
        }
    }
    Ok(bindings)
}

/// The members of one object of the description.
#[derive(Clone, Copy)]
struct Fields<'v>(&'v Value<'v>);

impl<'v> Fields<'v> {
    fn object(self, name: &str) -> Option<Self> {
        self.0.get(name.as_bytes()).filter(|value| value.as_object().is_some()).map(Fields)
    }

    /// `null` counts as missing.
    fn flag(self, name: &str, default: bool) -> bool {
        let value = self.0.get(name.as_bytes()).filter(|value| !value.is_null());
        value.map_or(default, |value| value.to_int() != 0)
    }

    /// Empty when missing.
    fn text(self, name: &'static str) -> Result<String, DescriptionError> {
        Ok(self.optional_text(name)?.unwrap_or_default())
    }

    /// `None` when missing or empty.
    fn optional_text(self, name: &'static str) -> Result<Option<String>, DescriptionError> {
        match self.0.get(name.as_bytes()).and_then(render) {
            Some(text) if !text.is_empty() => utf8(name, &text).map(Some),
            _ => Ok(None),
        }
    }

    /// One key or several; `None` when missing, an empty array or of another type.
    fn routing(self) -> Result<Option<Vec<String>>, DescriptionError> {
        let keys = match self.0.get(b"routing") {
            Some(Value::String(key)) => vec![utf8("routing", key)?],
            Some(Value::Array(keys)) => {
                let texts = keys.iter().filter_map(render);
                texts.map(|key| utf8("routing", &key)).collect::<Result<Vec<_>, _>>()?
            }
            _ => Vec::new(),
        };
        Ok(if keys.is_empty() { None } else { Some(keys) })
    }
}

fn utf8(what: &'static str, text: &[u8]) -> Result<String, DescriptionError> {
    String::from_utf8(text.to_vec()).map_err(|_| DescriptionError::NotUtf8(what))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end on the first surprise")]

    use super::*;

    #[test]
    fn the_example_of_the_documentation() {
        let s = parse(
            b"{ 'exchange' : 'dialoginfo' , 'type' : 'direct', 'queue' : 'BLF-QUEUE-MY_HOSTNAME', 'routing' : \
              'BLF-MY_HOSTNAME', 'auto_delete' : 0, 'durable' : 1, 'no_ack' : 0, 'wait_for_consumer_ack' : 1 }",
        )
        .unwrap();
        assert_eq!((s.exchange.name.as_str(), s.exchange.kind.as_str()), ("dialoginfo", "direct"));
        assert_eq!((s.queue.name.as_str(), s.routing), ("BLF-QUEUE-MY_HOSTNAME", vec!["BLF-MY_HOSTNAME".to_owned()]));
        // Without definitions of their own both take the same flags.
        assert!(s.queue.durable && !s.queue.auto_delete && s.exchange.durable && !s.exchange.auto_delete);
        assert!(!s.no_ack && s.wait_for_consumer_ack);
    }

    #[test]
    fn missing_fields_take_the_defaults() {
        let s = parse(b"{}").unwrap();
        assert_eq!(s, Subscription { queue: Queue { auto_delete: true, ..Queue::default() }, ..with_defaults() });
    }

    fn with_defaults() -> Subscription {
        Subscription { routing: vec![String::new()], no_ack: true, ..Subscription::default() }
    }

    #[test]
    fn flags_may_be_numbers_booleans_and_texts() {
        for (text, expected) in
            [("1", true), ("true", true), ("'1'", true), ("1.0", true), ("0", false), ("'0'", false), ("[]", false)]
        {
            let s = parse(format!("{{'no_ack':{text},'durable':{text}}}").as_bytes()).unwrap();
            assert_eq!((s.no_ack, s.queue.durable), (expected, expected), "{text}");
        }
    }

    #[test]
    fn null_flags_keep_their_defaults() {
        let s = parse(b"{'exchange':'e','queue':'q','auto_delete':null,'durable':null,'no_ack':null}").unwrap();
        assert_eq!((s.queue.auto_delete, s.queue.durable, s.no_ack), (true, false, true));
        assert_eq!((s.exchange.auto_delete, s.exchange.durable), (false, false));
    }

    #[test]
    fn definitions_of_their_own_replace_the_top_level_flags() {
        let s = parse(
            b"{'exchange':'e','type':'direct','durable':1,'queue':'q',
               'exchange-def':{'type':'topic','internal':1},'queue-def':{'exclusive':1,'auto_delete':0}}",
        )
        .unwrap();
        assert_eq!((s.exchange.kind.as_str(), s.exchange.durable, s.exchange.internal), ("topic", false, true));
        assert_eq!((s.queue.durable, s.queue.exclusive, s.queue.auto_delete), (false, true, false));
    }

    #[test]
    fn routing_may_be_a_text_or_a_list() {
        for (text, expected) in [
            ("'k'", vec!["k"]),
            ("['a','b']", vec!["a", "b"]),
            ("['a',null,'b']", vec!["a", "b"]),
            ("[]", vec![""]),
            ("5", vec![""]),
        ] {
            assert_eq!(parse(format!("{{'routing':{text}}}").as_bytes()).unwrap().routing, expected, "{text}");
        }
    }

    #[test]
    fn every_usable_exchange_binding_is_kept() {
        let s = parse(
            b"{'exchange-bindings':{'a':{'type':'topic','routing':'x.*'},'none':{'type':'topic'},
               'b':{'type':'fanout','durable':1,'routing':['y','z']}}}",
        )
        .unwrap();
        let names: Vec<_> = s.exchange_bindings.iter().map(|b| (b.source.name.as_str(), b.routing.len())).collect();
        assert_eq!(names, [("a", 1), ("b", 2)]);
        assert!(s.exchange_bindings[1].source.durable && !s.exchange_bindings[1].source.auto_delete);
    }

    #[test]
    fn event_keys_and_worker_choice() {
        let s = parse(
            b"{'event_key':'K','event_subkey':'','consistent-worker':1,'consistent-worker-key':'Call-ID','federate':1}",
        )
        .unwrap();
        assert_eq!((s.event_key.as_deref(), s.event_subkey), (Some("K"), None));
        assert!(s.consistent_worker && s.federate);
        assert_eq!(s.consistent_worker_key.as_deref(), Some("Call-ID"));
    }

    #[test]
    fn bad_descriptions_say_what_is_wrong() {
        assert!(matches!(parse(b"{'a':"), Err(DescriptionError::NotJson(_))));
        assert!(matches!(parse(b"[]"), Err(DescriptionError::NotAnObject("array"))));
        assert!(matches!(parse(b"{'queue':'\xff'}"), Err(DescriptionError::NotUtf8("queue"))));
        let long = format!("{{'queue':'{}'}}", "q".repeat(256));
        assert!(matches!(parse(long.as_bytes()), Err(DescriptionError::Limit(_))));
    }
}
