//! `kazoo_pua_publish(json)`, `kazoo_pua_publish_presence(json)`, `kazoo_pua_publish_mwi(json)`,
//! `kazoo_pua_publish_dialoginfo(json)`: write the state that an event of the bus tells to the presentity table.
//!
//! | function | acts on |
//! |---|---|
//! | `kazoo_pua_publish` | payloads with `Event-Name` `update`, by `Event-Package`: see [`presence::addressed`] |
//! | `…_presence`, `…_mwi`, `…_dialoginfo` | any payload, as an update of their package |
//!
//! Watchers are told by the `presence` module: `pres_refresh_watchers(uri, event, 1)` after this. It must read the
//! table (`publ_cache` 0), and rows count until `Expires`.
//!
//! A text in quotes is expanded once, a variable without quotes not at all: `kazoo_pua_publish("$kzE")` and
//! `kazoo_pua_publish($kzE)` do the same, and a `$` in the payload stays one. A variable in quotes must fit
//! `pv_buffer_size`.
//!
//! Returns 1: written, or nothing to write (another event or package). -1: `pua_mode` is not 1, or a parameter cannot
//! be evaluated. -2: no JSON object. -9: a mandatory field is missing. -10: not written, and the log says why.
//!
//! The database is a blocking one: a call takes as long as the database does. Consumer processes have a connection from
//! their start. Any other process may call as well and connects at its first call, so a SIP worker that does waits
//! for the database. How long it waits for one that is silent is the driver's matter: `db_mysql` gives up after three
//! times its `timeout_interval` (6 s by default), `db_postgres` waits until it hears something or TCP gives up. So
//! calls belong in event routes. A connection is given up after a failed write. While none can be made, calls fail
//! without trying for ten times as long as the last attempt took, one second at least: a process spends at most a tenth
//! of its time on attempts.

use std::cell::RefCell;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::config::{self, Presence};
use crate::host::db::{self, BindError, Connection, Driver, Failed, Lock, NoConnection};
use crate::host::message::SipMsg;
use crate::host::params::{NotEvaluated, TextParam};
use crate::host::{log, process};
use crate::payload::{PayloadError, Value};
use crate::presence::{self, Addressed, Cell, Flush, KEY_COLUMNS, Missing, Options, Package, Row, Update};
use crate::throttle::Throttle;

use super::Verdict;

/// Shortest pause between two attempts of a process to connect.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// How many times longer than the failed attempt itself the pause after it is.
const PAUSE_FACTOR: u32 = 10;

/// The functions of this family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `kazoo_pua_publish`: the payload says which package.
    Any,
    /// `kazoo_pua_publish_presence`.
    Presence,
    /// `kazoo_pua_publish_mwi`.
    Mwi,
    /// `kazoo_pua_publish_dialoginfo`.
    DialogInfo,
}

impl Function {
    const fn name(self) -> &'static str {
        match self {
            Self::Any => "kazoo_pua_publish",
            Self::Presence => "kazoo_pua_publish_presence",
            Self::Mwi => "kazoo_pua_publish_mwi",
            Self::DialogInfo => "kazoo_pua_publish_dialoginfo",
        }
    }

    /// The package to write; `None`: nothing to do.
    fn package(self, payload: &Value<'_>) -> Option<Package> {
        match self {
            Self::Presence => Some(Package::Presence),
            Self::Mwi => Some(Package::MessageSummary),
            Self::DialogInfo => Some(Package::Dialog),
            Self::Any => match presence::addressed(payload) {
                Addressed::To(package) => Some(package),
                Addressed::NoUpdate => None,
                Addressed::Unknown(name) => {
                    log::throttled_error!("{}: no function for Event-Package {name:?}, not written", self.name());
                    None
                }
            },
        }
    }
}

/// Why the server does not start with this `db_url`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoDatabase {
    /// No driver.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The database does not let us in.
    #[error(transparent)]
    Connect(#[from] NoConnection),
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    NotEvaluated(#[from] NotEvaluated),
    #[error("pua_mode is {0}: presence is off, set it to 1 to write")]
    Off(u32),
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error("not written, db_url is not set: set it, or pua_mode to 0")]
    NoUrl,
    #[error("not written: {0}")]
    NoConnection(#[from] NoConnection),
    #[error("not written: the database could not be reached just now, tried again later")]
    Pausing,
    #[error("{event} of {user:?} in {realm:?} not written to {table}: {cause}")]
    Refused { event: &'static str, user: String, realm: String, table: &'static str, cause: Failed },
}

static DRIVER: OnceLock<Driver> = OnceLock::new();

/// What this process knows of the database.
struct Link {
    connection: Option<Connection>,
    /// Without a connection: none is tried before.
    not_before: Option<Instant>,
}

thread_local! {
    static LINK: RefCell<Link> = const { RefCell::new(Link { connection: None, not_before: None }) };
}

/// Finds the driver and proves that it can connect, so that a wrong `db_url` is found at the start. Main process,
/// `mod_init`.
pub fn prepare(settings: &'static Presence) -> Result<(), NoDatabase> {
    let Some(url) = settings.db_url.as_deref().filter(|_| settings.pua_mode == 1) else { return Ok(()) };
    let driver = Driver::bind(url)?;
    let driver = DRIVER.get_or_init(|| driver);
    // Closed at once: a connection must not be inherited over a fork.
    drop(driver.connect(&settings.table)?);
    Ok(())
}

/// Connects, so that the first event does not wait for it. Consumer process, at its start; a failure is logged and
/// made good by a later call.
pub fn connect() {
    if DRIVER.get().is_none() {
        return;
    }
    if let Err(failure) = with_connection(|_| Ok(())) {
        log::error!("presence: {failure}");
    }
}

/// Script function; see the file head.
pub fn publish<'m>(msg: SipMsg<'m>, function: Function, payload: TextParam<'m>) -> Verdict {
    match payload.get(msg) {
        Ok(payload) => publish_bytes(function, payload),
        Err(error) => Failure::from(error).report(function),
    }
}

/// [`publish`] with a payload that is known already.
pub fn publish_bytes(function: Function, payload: &[u8]) -> Verdict {
    match write(function, payload) {
        Ok(()) => Verdict::Done,
        Err(failure) => failure.report(function),
    }
}

fn write(function: Function, payload: &[u8]) -> Result<(), Failure> {
    let settings = &config::get().presence;
    if settings.pua_mode != 1 {
        return Err(Failure::Off(settings.pua_mode));
    }
    let payload = Value::parse(payload).map_err(PayloadError::from)?;
    if payload.as_object().is_none() {
        return Err(PayloadError::NotAnObject { found: payload.kind() }.into());
    }
    let Some(package) = function.package(&payload) else { return Ok(()) };
    let options = Options { now: unix_now(), include_entity: settings.include_entity };
    let update = presence::update(package, &payload, options)?;
    with_connection(|connection| store(connection, settings, &update))
}

/// Runs `body` with this process's connection, which is made if there is none.
fn with_connection(body: impl FnOnce(&mut Connection) -> Result<(), Failure>) -> Result<(), Failure> {
    LINK.with_borrow_mut(|link| {
        let done = body(link.open()?);
        // A failed write may mean that the connection is dead. The main process keeps none: its children would inherit
        // it (event_route[kazoo:mod-init] runs before the fork).
        if done.is_err() || process::process_no() == 0 {
            link.connection = None;
        }
        done
    })
}

impl Link {
    fn open(&mut self) -> Result<&mut Connection, Failure> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        Ok(self.connection.insert(connection))
    }

    fn connect(&mut self) -> Result<Connection, Failure> {
        let driver = DRIVER.get().ok_or(Failure::NoUrl)?;
        let began = Instant::now();
        if self.not_before.is_some_and(|time| began < time) {
            return Err(Failure::Pausing);
        }
        let connected = driver.connect(&config::get().presence.table);
        self.not_before = connected.is_err().then(|| Instant::now() + pause(began.elapsed()));
        Ok(connected?)
    }
}

/// How long to leave a database alone after an attempt that failed.
fn pause(attempt: Duration) -> Duration {
    attempt.saturating_mul(PAUSE_FACTOR).max(MIN_PAUSE)
}

/// Writes the row and removes those that it replaces.
fn store(connection: &mut Connection, settings: &'static Presence, update: &Update) -> Result<(), Failure> {
    let row = &update.row;
    let columns = row.cells().map(|(name, cell)| (name, column(cell)));
    let stored = connection.transaction(lock(settings), |connection| {
        if update.flush == Flush::Same && connection.can_replace() {
            return connection.replace(&columns, KEY_COLUMNS);
        }
        connection.delete(&columns[..update.flush.equal_columns()])?;
        connection.insert(&columns)
    });
    stored.map_err(|cause| Failure::refused(row, &settings.table, cause))
}

fn column(cell: Cell<'_>) -> db::Value<'_> {
    match cell {
        Cell::Text(text) => db::Value::Text(text.as_bytes()),
        Cell::Blob(bytes) => db::Value::Blob(bytes),
        Cell::Int(number) => db::Value::Int(number),
    }
}

fn lock(settings: &Presence) -> Lock {
    match settings.lock_type {
        0 => Lock::None,
        1 => Lock::Write,
        _ => Lock::Full,
    }
}

/// Seconds since 1970; a clock before that counts as 1970.
fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

impl Failure {
    fn refused(row: &Row, table: &'static str, cause: Failed) -> Self {
        Self::Refused { event: row.event, user: row.username.clone(), realm: row.domain.clone(), table, cause }
    }

    fn verdict(&self) -> Verdict {
        match self {
            Self::NotEvaluated(_) | Self::Off(_) => Verdict::Failed,
            Self::Payload(_) => Verdict::BadPayload,
            Self::Missing(_) => Verdict::Incomplete,
            Self::NoUrl | Self::NoConnection(_) | Self::Pausing | Self::Refused { .. } => Verdict::NotWritten,
        }
    }

    /// Logs the failure and gives the return code. What is wrong with the database is not hidden by a storm of bad
    /// payloads, nor the other way round.
    fn report(&self, function: Function) -> Verdict {
        static DATABASE: Throttle = Throttle::new();
        static PAYLOAD: Throttle = Throttle::new();
        let verdict = self.verdict();
        let throttle = if verdict == Verdict::NotWritten { &DATABASE } else { &PAYLOAD };
        if let Some(held_back) = throttle.pass() {
            log::error!("{}: {self}{held_back}", function.name());
        }
        verdict
    }
}
