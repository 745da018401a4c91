//! `kazoo_query(exchange, routing_key, payload [, target [, headers]])`.
//!
//! Blocks the process until the answer or the timeout. With no broker connected it fails at once.

use std::cell::RefCell;
use std::time::Duration;

use crate::bus::{Outgoing, QueryError, Reply, ShortStr};
use crate::config;
use crate::host::log;
use crate::host::message::SipMsg;
use crate::host::params::TextParam;
use crate::host::vars::{NotAVariable, TargetParam, Value, Var};
use crate::payload::{self, Origin};

use super::outgoing::{Refusal, check_headers};
use super::{Verdict, process, result};

const NAME: &str = "kazoo_query";
/// Longest timeout that a variable can ask for.
const MAX_TIMEOUT: Duration = Duration::from_secs(3_600);

thread_local! {
    /// `amqp_query_timeout_avp`; parsed in the main process, inherited by the others.
    static TIMEOUT_VAR: RefCell<Option<Var>> = const { RefCell::new(None) };
}

/// Prepares what `amqp_query_timeout_avp` names. Main process, `mod_init`.
pub fn prepare(timeout_avp: Option<&str>) -> Result<(), NotAVariable> {
    let var = timeout_avp.map(|name| Var::parse(name.as_bytes())).transpose()?;
    TIMEOUT_VAR.set(var);
    Ok(())
}

/// Why a query brought no answer that can be used.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Query(QueryError),
    #[error("the answer cannot be used: {0}")]
    Answer(payload::PayloadError),
}

/// Queries; see the file head.
pub fn query<'m>(
    msg: SipMsg<'m>,
    exchange: TextParam<'m>,
    routing_key: TextParam<'m>,
    body: TextParam<'m>,
    target: Option<TargetParam<'m>>,
    headers: Option<TextParam<'m>>,
) -> Verdict {
    result::clear();
    let answer = exchange.get(msg).map_err(Refusal::from).map_err(Failure::from).and_then(|exchange| {
        let routing_key = routing_key.get(msg).map_err(Refusal::from)?;
        let body = body.get(msg).map_err(Refusal::from)?;
        let headers = headers.map_or(Ok(&[][..]), |headers| headers.get(msg)).map_err(Refusal::from)?;
        ask(msg, exchange, routing_key, body, headers)
    });
    conclude(msg, answer, target)
}

/// Queries with values that are known already; no headers are an empty text. The answer is in `$kzR`.
pub fn query_texts(msg: SipMsg<'_>, exchange: &[u8], routing_key: &[u8], body: &[u8], headers: &[u8]) -> Verdict {
    result::clear();
    conclude(msg, ask(msg, exchange, routing_key, body, headers), None)
}

fn conclude<'m>(msg: SipMsg<'m>, answer: Result<Vec<u8>, Failure>, target: Option<TargetParam<'m>>) -> Verdict {
    match answer {
        Ok(text) => {
            if let Some(target) = target {
                target.assign(msg, Some(&text));
            }
            result::set(msg.id(), text);
            Verdict::Done
        }
        Err(failure) => failure.report(),
    }
}

/// Sends the query, waits, and gives the answer as script text.
fn ask(msg: SipMsg<'_>, exchange: &[u8], routing_key: &[u8], body: &[u8], headers: &[u8]) -> Result<Vec<u8>, Failure> {
    let timeout = timeout(msg);
    let exchange = ShortStr::new(exchange).map_err(Refusal::Exchange)?;
    let routing_key = ShortStr::new(routing_key).map_err(Refusal::RoutingKey)?;
    let headers = check_headers(NAME, headers).map_err(Refusal::from)?;
    let reply = process::send_for(msg, |process| {
        let sealed = process.seal(body).map_err(Refusal::from)?;
        let msg_id = sealed.correlation().map_err(Refusal::from)?;
        let (body, splice) = (sealed.text.as_slice(), sealed.splice);
        let message = Outgoing { broker: None, exchange, routing_key, headers, body, splice };
        let reply = process.worker.query(&message, &msg_id, timeout);
        drop(msg_id);
        process.reuse(sealed);
        reply.map_err(Failure::from)
    });
    open(&reply.map_err(Refusal::from)??).map_err(Failure::Answer)
}

/// The answer as script text, with the fields that tell where it came from.
pub fn open(reply: &Reply) -> Result<Vec<u8>, payload::PayloadError> {
    let zone = config::get().zone_of(reply.broker_id).as_bytes();
    let origin = Origin { zone, broker_id: reply.broker_id, received_unix: reply.received_unix };
    Ok(payload::inbound(&reply.body, &origin)?.into_text())
}

/// How long this query waits: what the variable says in milliseconds, else the modparam.
pub(super) fn timeout(msg: SipMsg<'_>) -> Duration {
    let value = TIMEOUT_VAR.with_borrow_mut(|var| match var.as_mut()?.get(msg)? {
        Value::Int(ms) => u64::try_from(ms).ok(),
        Value::Text(text) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
        Value::Null => None,
    });
    match value {
        Some(ms) if ms > 0 => Duration::from_millis(ms).min(MAX_TIMEOUT),
        _ => config::get().query_timeout,
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Publish(error) => Self::Refused(error.into()),
            error => Self::Query(error),
        }
    }
}

impl Failure {
    fn report(&self) -> Verdict {
        let verdict = match self {
            Self::Refused(refusal) => return refusal.report(NAME),
            Self::Query(QueryError::NoBroker) => Verdict::NoBroker,
            Self::Query(QueryError::Timeout(_)) => Verdict::Timeout,
            Self::Query(_) => Verdict::QueryLost,
            Self::Answer(_) => Verdict::Failed,
        };
        log::throttled_error!("{NAME}: {self}");
        verdict
    }
}
