//! `kazoo_async_query(exchange, routing_key, payload, ok_route, err_route [, flags])`, also called `kazoo_query_async`.
//!
//! Suspends the transaction (making one if there is none), sends the query and ends the script; no process waits. The
//! outcome resumes the transaction in a consumer process: with the answer in `ok_route`, else in `err_route` (timeout, no
//! broker, connection lost, refused). `$kzR` is the answer there, or null.
//!
//! `ok_route` is looked up as `onreply_route[]`, `err_route` as `failure_route[]`, then both as `route[]`; in a KEMI
//! script they are names of functions. What would end in a transaction that nobody resumes is refused before the
//! transaction is touched. Flags are accepted and mean nothing, as in the C module.

use crate::bus::suspended::{Continuation, FunctionName, RouteTable, Suspended, TableFull};
use crate::bus::{AsyncError, Outgoing, ShortStr};
use crate::host::message::SipMsg;
use crate::host::params::TextParam;
use crate::host::tm::{self, NotSuspended};
use crate::host::{log, process as host_process, route};

use super::outgoing::Refusal;
use super::{Verdict, process, query};

const NAME: &str = "kazoo_async_query";

/// What a call asks for, its parameters evaluated.
#[derive(Clone, Copy, Debug)]
pub struct AsyncQuery<'a> {
    /// Exchange.
    pub exchange: &'a [u8],
    /// Routing key.
    pub routing_key: &'a [u8],
    /// Payload.
    pub body: &'a [u8],
    /// Where the transaction goes on with the answer.
    pub ok_route: &'a [u8],
    /// Where it goes on without one.
    pub err_route: &'a [u8],
}

/// Why the transaction was not left suspended.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("there is neither {kind}[{name}] nor route[{name}]")]
    NoSuchRoute { kind: &'static str, name: String },
    #[error("\"{name}\" cannot be a function's name: 1 to {} bytes", FunctionName::MAX)]
    NoFunctionName { name: String },
    #[error("a transaction that is suspended before the server has started cannot be resumed")]
    StartUp,
    #[error(transparent)]
    NotSuspended(#[from] NotSuspended),
    #[error(transparent)]
    TableFull(TableFull),
}

/// Makes ready for calls, which need `tm`. Main process, after all modules were initialised. Which functions a script will
/// call is not known in advance: Kamailio tells only of calls with a quoted parameter, and nothing of KEMI.
pub fn prepare() -> Result<(), tm::NoTm> {
    tm::bind()
}

/// Asks; see the file head.
pub fn async_query<'m>(
    msg: SipMsg<'m>,
    exchange: TextParam<'m>,
    routing_key: TextParam<'m>,
    body: TextParam<'m>,
    ok_route: TextParam<'m>,
    err_route: TextParam<'m>,
) -> Verdict {
    let query = exchange.get(msg).and_then(|exchange| {
        let (routing_key, body) = (routing_key.get(msg)?, body.get(msg)?);
        let (ok_route, err_route) = (ok_route.get(msg)?, err_route.get(msg)?);
        Ok(AsyncQuery { exchange, routing_key, body, ok_route, err_route })
    });
    match query {
        Ok(query) => ask(msg, &query),
        Err(error) => Refusal::from(error).report(NAME),
    }
}

/// Asks with parameters whose values are known. For KEMI too: there 0 does not end the script, which has to do so itself.
pub fn ask(msg: SipMsg<'_>, query: &AsyncQuery<'_>) -> Verdict {
    match suspend_and_send(msg, query) {
        // The sender repeated its request; the first copy of it is the one that waits.
        Ok(()) | Err(Failure::NotSuspended(NotSuspended::Retransmission)) => Verdict::Suspended,
        Err(failure) => failure.report(),
    }
}

fn suspend_and_send(msg: SipMsg<'_>, query: &AsyncQuery<'_>) -> Result<(), Failure> {
    // In the main process no consumer exists yet, and tm has not started either.
    if host_process::process_no() == 0 {
        return Err(Failure::StartUp);
    }
    let exchange = ShortStr::new(query.exchange).map_err(Refusal::Exchange)?;
    let routing_key = ShortStr::new(query.routing_key).map_err(Refusal::RoutingKey)?;
    let on_answer = continuation(RouteTable::Reply, query.ok_route)?;
    let on_failure = continuation(RouteTable::Failure, query.err_route)?;
    let sealed = process::with(|process| process.seal(query.body));
    let sealed = sealed.map_err(Refusal::from)?.map_err(Refusal::from)?;
    let msg_id = sealed.correlation().map_err(Refusal::from)?;
    let (body, splice) = (sealed.text.as_slice(), sealed.splice);
    let message = Outgoing { broker: None, exchange, routing_key, headers: &[], body, splice };
    let timeout = query::timeout(msg);

    let suspended = Suspended { transaction: tm::suspend(msg)?, on_answer, on_failure };
    let sent = process::send_for(msg, |process| process.worker.query_async(&message, &msg_id, timeout, &suspended));
    let sent = sent.map_err(|error| Failure::Refused(error.into())).and_then(|sent| sent.map_err(Failure::from));
    if sent.is_err() && !tm::cancel_suspend(suspended.transaction) {
        log::error!("{NAME}: tm does not take its suspension back; the transaction ends with its own timer");
    }
    sent
}

fn continuation(table: RouteTable, name: &[u8]) -> Result<Continuation, Failure> {
    let shown = || String::from_utf8_lossy(name).into_owned();
    if route::kemi_is_loaded() {
        let function = FunctionName::new(name).ok_or_else(|| Failure::NoFunctionName { name: shown() })?;
        return Ok(Continuation::Function(function));
    }
    let kind = if table == RouteTable::Reply { "onreply_route" } else { "failure_route" };
    route::callback(table, name).ok_or_else(|| Failure::NoSuchRoute { kind, name: shown() })
}

impl From<AsyncError> for Failure {
    fn from(error: AsyncError) -> Self {
        match error {
            AsyncError::Publish(error) => Self::Refused(error.into()),
            AsyncError::TableFull(full) => Self::TableFull(full),
        }
    }
}

impl Failure {
    fn report(&self) -> Verdict {
        let verdict = match self {
            Self::Refused(refusal) => return refusal.report(NAME),
            Self::NoSuchRoute { .. } | Self::NoFunctionName { .. } => Verdict::NoSuchRoute,
            Self::StartUp | Self::NotSuspended(_) => Verdict::NotSuspended,
            Self::TableFull(_) => Verdict::TooManySuspended,
        };
        log::throttled_error!("{NAME}: {self}");
        verdict
    }
}
