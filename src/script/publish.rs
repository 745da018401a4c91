//! `kazoo_publish(exchange, routing_key, payload [, headers])`.
//!
//! Ends when the message is in the outbox of this process; the manager process sends it and sends it again until a
//! broker has confirmed it. Makes no system call while the manager is awake and the outbox has room.

use crate::bus::{Outgoing, ShortStr};
use crate::config;
use crate::host::message::SipMsg;
use crate::host::params::TextParam;

use super::outgoing::{Refusal, check_headers};
use super::{Verdict, process};

const NAME: &str = "kazoo_publish";
/// Head of a routing key that names the broker to use: `consumer://ID/KEY`.
const ADDRESS: &[u8] = b"consumer://";

/// Publishes; see the file head.
pub fn publish<'m>(
    msg: SipMsg<'m>,
    exchange: TextParam<'m>,
    routing_key: TextParam<'m>,
    body: TextParam<'m>,
    headers: Option<TextParam<'m>>,
) -> Verdict {
    let sent = exchange.get(msg).map_err(Refusal::from).and_then(|exchange| {
        let routing_key = routing_key.get(msg)?;
        let body = body.get(msg)?;
        let headers = headers.map_or(Ok(&[][..]), |headers| headers.get(msg))?;
        send(msg, exchange, routing_key, body, headers)
    });
    conclude(sent)
}

/// Publishes values that are known already; no headers are an empty text.
pub fn publish_texts(msg: SipMsg<'_>, exchange: &[u8], routing_key: &[u8], body: &[u8], headers: &[u8]) -> Verdict {
    conclude(send(msg, exchange, routing_key, body, headers))
}

fn conclude(sent: Result<(), Refusal>) -> Verdict {
    sent.map_or_else(|refusal| refusal.report(NAME), |()| Verdict::Done)
}

fn send(msg: SipMsg<'_>, exchange: &[u8], routing_key: &[u8], body: &[u8], headers: &[u8]) -> Result<(), Refusal> {
    let (broker, routing_key) = address(routing_key)?;
    let exchange = ShortStr::new(exchange).map_err(Refusal::Exchange)?;
    let routing_key = ShortStr::new(routing_key).map_err(Refusal::RoutingKey)?;
    let headers = check_headers(NAME, headers)?;
    process::send_for(msg, |process| {
        let sealed = process.seal(body)?;
        let (body, splice) = (sealed.text.as_slice(), sealed.splice);
        let sent = process.worker.publish(&Outgoing { broker, exchange, routing_key, headers, body, splice });
        process.reuse(sealed);
        Ok(sent?)
    })?
}

/// Takes `consumer://ID/` off a routing key. ID 0 and an ID that is no number stand for the primary zone.
fn address(routing_key: &[u8]) -> Result<(Option<u32>, &[u8]), Refusal> {
    let Some(rest) = routing_key.strip_prefix(ADDRESS) else { return Ok((None, routing_key)) };
    let slash = rest.iter().position(|b| *b == b'/').filter(|at| *at > 0).ok_or(Refusal::Address)?;
    let number = &rest[..slash];
    let digits = number.strip_prefix(b"-").unwrap_or(number).iter().take_while(|b| b.is_ascii_digit());
    let id = digits.fold(0_u32, |id, digit| id.saturating_mul(10).saturating_add(u32::from(digit - b'0')));
    let is_negative = number.starts_with(b"-");
    let is_known = id == 0 || !is_negative && config::get().brokers.iter().any(|broker| broker.id == id);
    if is_known { Ok(((id > 0).then_some(id), &rest[slash + 1..])) } else { Err(Refusal::Address) }
}
