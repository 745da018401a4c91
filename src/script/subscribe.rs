//! `kazoo_subscribe(json)` and `kazoo_subscribe(exchange, type, queue, routing_key)`.
//!
//! Registers; the manager process declares and consumes once a broker is there, and again after every reconnect. So
//! what a broker thinks of it is not visible here but in the log. Meant for `event_route[kazoo:mod-init]`.

use crate::bus::subscription::{Subscription, SubscriptionError};
use crate::host::log;
use crate::host::message::SipMsg;
use crate::host::params::{NotEvaluated, TextParam};

use super::Verdict;
use super::process::{self, NotAttached};
use super::subscription_json::{self, DescriptionError};

/// Why a subscription was not registered.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    NotEvaluated(#[from] NotEvaluated),
    #[error("{0} is not valid UTF-8")]
    NotUtf8(&'static str),
    #[error(transparent)]
    Description(#[from] DescriptionError),
    #[error(transparent)]
    Limit(#[from] SubscriptionError),
    #[error(transparent)]
    NotAttached(#[from] NotAttached),
    #[error(transparent)]
    Full(#[from] crate::bus::registry::RegistryFull),
}

/// Subscribes as a JSON text describes it.
pub fn by_json<'m>(msg: SipMsg<'m>, json: TextParam<'m>) -> Verdict {
    conclude(json.get(msg).map_err(Refusal::from).and_then(from_json))
}

/// [`by_json`] with a text that is known already.
pub fn by_json_text(json: &[u8]) -> Verdict {
    conclude(from_json(json))
}

/// Subscribes with four texts and defaults for all else.
pub fn by_names<'m>(
    msg: SipMsg<'m>,
    exchange: TextParam<'m>,
    kind: TextParam<'m>,
    queue: TextParam<'m>,
    routing_key: TextParam<'m>,
) -> Verdict {
    let registered = exchange.get(msg).map_err(Refusal::from).and_then(|exchange| {
        let (kind, queue) = (kind.get(msg)?, queue.get(msg)?);
        from_names(exchange, kind, queue, routing_key.get(msg)?)
    });
    conclude(registered)
}

/// [`by_names`] with texts that are known already.
pub fn by_name_texts(exchange: &[u8], kind: &[u8], queue: &[u8], routing_key: &[u8]) -> Verdict {
    conclude(from_names(exchange, kind, queue, routing_key))
}

fn from_json(json: &[u8]) -> Result<(), Refusal> {
    register(&subscription_json::parse(json)?)
}

fn from_names(exchange: &[u8], kind: &[u8], queue: &[u8], routing_key: &[u8]) -> Result<(), Refusal> {
    let utf8 = |text, what| std::str::from_utf8(text).map_err(|_| Refusal::NotUtf8(what));
    let (exchange, kind) = (utf8(exchange, "exchange")?, utf8(kind, "exchange type")?);
    let (queue, routing_key) = (utf8(queue, "queue")?, utf8(routing_key, "routing key")?);
    let subscription = Subscription::simple(exchange, kind, queue, routing_key);
    subscription.check()?;
    register(&subscription)
}

fn register(subscription: &Subscription) -> Result<(), Refusal> {
    let bytes = subscription.to_bytes()?;
    process::with(|process| process.worker.subscribe(&bytes))??;
    let Subscription { exchange, queue, .. } = subscription;
    log::info!("kazoo_subscribe: exchange \"{}\", queue \"{}\" registered", exchange.name, queue.name);
    Ok(())
}

fn conclude(registered: Result<(), Refusal>) -> Verdict {
    let Err(refusal) = registered else { return Verdict::Done };
    log::error!("kazoo_subscribe: {refusal}");
    match refusal {
        Refusal::Description(DescriptionError::NotJson(_) | DescriptionError::NotAnObject(_)) => Verdict::BadPayload,
        Refusal::Limit(SubscriptionError::TooLong { .. })
        | Refusal::Description(DescriptionError::Limit(SubscriptionError::TooLong { .. })) => Verdict::KeyTooLong,
        Refusal::NotEvaluated(cause) => (&cause).into(),
        _ => Verdict::Failed,
    }
}
