//! Kamailio's database interface: a driver (`db_sqlite`, `db_mysql`, `db_postgres`...) is a module of its own.
//!
//! [`Driver::bind`] in the main process at `mod_init`, [`Driver::connect`] in the process that uses the connection. The
//! drivers block: a call takes as long as the database takes, and with a dead database as long as the driver's own
//! timeouts. They log their failures themselves.
//!
//! The driver is looked up as a module, not through `db_bind_mod`: that function lives in a library that the server
//! loads only together with a driver, so a module that names it would not load without one.

use std::ffi::{CStr, CString, c_int};
use std::ptr::NonNull;

use kamailio_sys::{db_func_t, db_key_t, db_val_t, db1_con_t, str_};

use super::strings;

/// SQLite has one writer at a time and refuses a second one at once, unless it is told to wait; milliseconds.
const SQLITE_WAIT: &str = "PRAGMA busy_timeout=5000";
/// As a writer from the start: one that begins to write later is refused at once, if another one was faster.
const SQLITE_BEGIN: &str = "BEGIN IMMEDIATE";

/// Why no driver can be had for a URL. Texts never hold the URL: it has a password in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// No scheme, or something else that no URL has.
    #[error("not a database URL, write for example \"sqlite:////var/lib/kamailio/kamailio.db\"")]
    NoUrl,
    /// The scheme's module is not loaded.
    #[error("no driver for {scheme}://, put loadmodule \"db_{scheme}.so\" before kazoo.so")]
    NotLoaded {
        /// As written.
        scheme: String,
    },
    /// The module is no driver, or one that cannot write.
    #[error("module {0} cannot insert and delete rows")]
    CannotWrite(String),
}

/// No connection; the driver has logged why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no connection to the database, see the driver's lines before")]
pub struct NoConnection;

/// The driver refused a step; it has logged why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} failed, see the driver's lines before")]
pub struct Failed(&'static str);

/// A value for a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'v> {
    /// Characters.
    Text(&'v [u8]),
    /// Any bytes.
    Blob(&'v [u8]),
    /// A number.
    Int(i32),
}

/// A column and its value.
pub type Column<'c> = (&'c str, Value<'c>);

/// Which lock a transaction takes on the table. The numbers are those of `pua_lock_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// None.
    None,
    /// Others may read.
    Write,
    /// Nobody else may even read.
    Full,
}

/// The functions of a driver, and where its database is.
pub struct Driver {
    api: db_func_t,
    url: CString,
}

// SAFETY: function pointers and an immutable text; calls are made by a process's main thread (head of `host/mod.rs`).
unsafe impl Send for Driver {}
// SAFETY: as above.
unsafe impl Sync for Driver {}

impl Driver {
    /// Finds the driver of `url`. `mod_init`: every module is loaded then.
    pub fn bind(url: &str) -> Result<Self, BindError> {
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let url = CString::new(url).map_err(|_| BindError::NoUrl)?;
        if scheme.is_empty() || !is_name(scheme) {
            return Err(BindError::NoUrl);
        }
        let module = CString::new(format!("db_{scheme}")).map_err(|_| BindError::NoUrl)?;
        let api = bind_api(&module).ok_or_else(|| BindError::NotLoaded { scheme: scheme.to_owned() })?;
        // What `Connection` relies on. A driver that offers something offers a function for it.
        let complete = api.init.is_some() && api.close.is_some() && api.use_table.is_some();
        match complete && api.insert.is_some() && api.delete.is_some() {
            true => Ok(Self { api, url }),
            false => Err(BindError::CannotWrite(format!("db_{scheme}"))),
        }
    }

    /// Connects. The connection belongs to the calling process, and must be dropped before that process forks.
    pub fn connect(&'static self, table: &'static str) -> Result<Connection, NoConnection> {
        let url = strings::view(self.url.to_bytes());
        let init = self.api.init.ok_or(NoConnection)?;
        // SAFETY: a NUL-terminated text that the driver reads during the call; main thread.
        let handle = NonNull::new(unsafe { init(&url) }).ok_or(NoConnection)?;
        let table = Box::new(strings::view(table.as_bytes()));
        let is_sqlite = self.url.to_bytes().starts_with(b"sqlite:");
        let mut connection = Connection { api: &self.api, handle, table, is_sqlite };
        if is_sqlite {
            connection.statement("setting of a timeout", SQLITE_WAIT).map_err(|_| NoConnection)?;
        }
        Ok(connection)
    }
}

/// What a driver exports as `db_bind_api`.
type Bind = unsafe extern "C" fn(*mut db_func_t) -> c_int;

/// Asks the module `name` for its functions.
fn bind_api(name: &CStr) -> Option<db_func_t> {
    let entry = c"db_bind_api".as_ptr().cast_mut();
    // SAFETY: reads the names during the call.
    let function = unsafe { kamailio_sys::find_mod_export(name.as_ptr().cast_mut(), entry, 0, 0) };
    // SAFETY: what a driver exports under this name is a function of this type; only the pointer's type changes.
    let bind = unsafe { std::mem::transmute::<kamailio_sys::cmd_function, Option<Bind>>(function) }?;
    let mut api = db_func_t::default();
    // SAFETY: the driver fills the zeroed structure with pointers to its functions.
    (unsafe { bind(&mut api) } >= 0).then_some(api)
}

/// A connection of this process to one table.
pub struct Connection {
    api: &'static db_func_t,
    handle: NonNull<db1_con_t>,
    /// The driver keeps a pointer to it.
    table: Box<str_>,
    /// Its driver lacks what the others have, but passes statements on.
    is_sqlite: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(close) = self.api.close {
            // SAFETY: made by `init` of the same driver, in this process, and not used afterwards.
            unsafe { close(self.handle.as_ptr()) }
        }
    }
}

impl Connection {
    /// Whether [`Connection::replace`] works.
    pub fn can_replace(&self) -> bool {
        self.api.replace.is_some()
    }

    /// Adds a row.
    pub fn insert(&mut self, row: &[Column<'_>]) -> Result<(), Failed> {
        let mut columns = Columns::of(row);
        let insert = self.api.insert.ok_or(Failed("insert"))?;
        self.use_table()?;
        // SAFETY: a live connection; keys and values are as many as the count says and outlive the call.
        check("insert", unsafe { insert(self.handle.as_ptr(), columns.keys(), columns.values(), columns.count()) })
    }

    /// Removes the rows in which all these columns have these values. No columns: refused, it would empty the table.
    pub fn delete(&mut self, equal: &[Column<'_>]) -> Result<(), Failed> {
        let mut columns = Columns::of(equal);
        let delete = self.api.delete.filter(|_| !equal.is_empty()).ok_or(Failed("delete"))?;
        self.use_table()?;
        let (keys, values, count) = (columns.keys(), columns.values(), columns.count());
        // SAFETY: as in `insert`; without operators every column is compared for equality.
        check("delete", unsafe { delete(self.handle.as_ptr(), keys, std::ptr::null(), values, count) })
    }

    /// Adds a row in the place of one with the same first `key_columns` columns, if there is one.
    pub fn replace(&mut self, row: &[Column<'_>], key_columns: usize) -> Result<(), Failed> {
        let mut columns = Columns::of(row);
        let replace = self.api.replace.ok_or(Failed("replace"))?;
        self.use_table()?;
        let (keys, values, count) = (columns.keys(), columns.values(), columns.count());
        let key_columns = c_int::try_from(key_columns.min(row.len())).unwrap_or(c_int::MAX);
        // SAFETY: as in `insert`. Mode 0: update first, insert if there was nothing to update.
        check("replace", unsafe { replace(self.handle.as_ptr(), keys, values, count, key_columns, 0) })
    }

    /// Runs `steps` as a whole, where there are transactions: all of it happens or nothing.
    pub fn transaction(
        &mut self,
        lock: Lock,
        steps: impl FnOnce(&mut Self) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        self.begin(lock)?;
        let done = steps(self).and_then(|()| self.commit());
        if done.is_err() {
            self.roll_back();
        }
        done
    }

    fn begin(&mut self, lock: Lock) -> Result<(), Failed> {
        const STEP: &str = "start of the transaction";
        let Some(start) = self.api.start_transaction else {
            return if self.is_sqlite { self.statement(STEP, SQLITE_BEGIN) } else { Ok(()) };
        };
        self.use_table()?;
        let lock = match lock {
            Lock::None => kamailio_sys::db_locking_t_DB_LOCKING_NONE,
            Lock::Write => kamailio_sys::db_locking_t_DB_LOCKING_WRITE,
            Lock::Full => kamailio_sys::db_locking_t_DB_LOCKING_FULL,
        };
        // SAFETY: a live connection with a table.
        let started = check(STEP, unsafe { start(self.handle.as_ptr(), lock) });
        // It may have begun and not got the lock.
        started.inspect_err(|_| self.roll_back())
    }

    fn commit(&mut self) -> Result<(), Failed> {
        const STEP: &str = "end of the transaction";
        match self.api.end_transaction {
            // SAFETY: a live connection.
            Some(end) => check(STEP, unsafe { end(self.handle.as_ptr()) }),
            None if self.is_sqlite => self.statement(STEP, "COMMIT"),
            None => Ok(()),
        }
    }

    /// May fail as well, on a lost connection; what failed before is what counts.
    fn roll_back(&mut self) {
        match self.api.abort_transaction {
            // SAFETY: a live connection; without a transaction it does nothing.
            Some(abort) => drop(unsafe { abort(self.handle.as_ptr()) }),
            None if self.is_sqlite => drop(self.statement("rollback", "ROLLBACK")),
            None => {}
        }
    }

    /// Runs a statement of the database's own language and drops what it answers.
    fn statement(&mut self, step: &'static str, statement: &'static str) -> Result<(), Failed> {
        let (Some(query), Some(free)) = (self.api.raw_query, self.api.free_result) else { return Err(Failed(step)) };
        let mut answer = std::ptr::null_mut();
        let statement = strings::view(statement.as_bytes());
        // SAFETY: a live connection, a text that is read during the call, a place for the answer.
        check(step, unsafe { query(self.handle.as_ptr(), &statement, &mut answer) })?;
        if !answer.is_null() {
            // SAFETY: the answer of this connection, not used afterwards.
            unsafe { free(self.handle.as_ptr(), answer) };
        }
        Ok(())
    }

    /// Drivers want the table before each step: connections of one process may share what is behind them.
    fn use_table(&mut self) -> Result<(), Failed> {
        let use_table = self.api.use_table.ok_or(Failed("choice of the table"))?;
        // SAFETY: a live connection; the text is static and its `str` lives as long as the connection.
        check("choice of the table", unsafe { use_table(self.handle.as_ptr(), &*self.table) })
    }
}

fn check(step: &'static str, code: c_int) -> Result<(), Failed> {
    if code < 0 { Err(Failed(step)) } else { Ok(()) }
}

/// Columns in the form of the interface: two arrays side by side.
struct Columns {
    names: Vec<str_>,
    keys: Vec<db_key_t>,
    values: Vec<db_val_t>,
}

impl Columns {
    /// The result points into `columns`: use it only while they live.
    fn of(columns: &[Column<'_>]) -> Self {
        let names = columns.iter().map(|(name, _)| strings::view(name.as_bytes())).collect();
        let values = columns.iter().map(|(_, value)| raw(*value)).collect();
        Self { names, keys: Vec::new(), values }
    }

    fn keys(&mut self) -> *const db_key_t {
        self.keys = self.names.iter_mut().map(std::ptr::from_mut).collect();
        self.keys.as_ptr()
    }

    fn values(&self) -> *const db_val_t {
        self.values.as_ptr()
    }

    fn count(&self) -> c_int {
        c_int::try_from(self.values.len()).unwrap_or(0)
    }
}

fn raw(value: Value<'_>) -> db_val_t {
    let mut raw = db_val_t::default();
    match value {
        Value::Text(text) => {
            raw.type_ = kamailio_sys::db_type_t_DB1_STR;
            raw.val.str_val = strings::view(text);
        }
        Value::Blob(bytes) => {
            raw.type_ = kamailio_sys::db_type_t_DB1_BLOB;
            raw.val.blob_val = strings::view(bytes);
        }
        Value::Int(number) => {
            raw.type_ = kamailio_sys::db_type_t_DB1_INT;
            raw.val.int_val = number;
        }
    }
    raw
}
