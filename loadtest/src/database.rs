//! A private database with the tables of Kamailio's `presence` module: SQLite in a file, or a PostgreSQL or MariaDB
//! server on 127.0.0.1 with its own data.
//!
//! Both servers refuse to run as root; then they run as the user that their package made. The tables come from the
//! scripts that Kamailio's packages install. Nothing is kept over a crash of the machine: no data is synced.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::unistd::{User, geteuid};

use crate::error::{Context, Error, Result, last_lines};
use crate::ports::Port;
use crate::process::{Group, program, wait_until};
use crate::rundir::RunDir;

const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Where Kamailio's packages put the scripts that make its tables.
const SCRIPTS: &str = "/usr/share/kamailio";
/// Name of the database and of its user.
const NAME: &str = "kamailio";
/// Of the user; it must never show in a log.
const PASSWORD: &str = "s3cret";

/// Kind of a [`Database`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A file.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MariaDB, for Kamailio's `mysql`.
    MariaDb,
}

/// A database of our own. Dropping it kills its server and removes its data.
#[derive(Debug)]
pub struct Database {
    // Field order is drop order: the server first, then the folder it uses.
    server: Option<Group>,
    engine: Engine,
    port: Port,
    dir: RunDir,
}

impl Database {
    /// Starts a database and makes the tables of the presence module.
    pub fn start(engine: Engine) -> Result<Self> {
        let dir = RunDir::new("database")?;
        let mut database = Self { server: None, engine, port: Port::lease()?, dir };
        database.create()?;
        for script in ["standard-create.sql", "presence-create.sql"] {
            let path = Path::new(SCRIPTS).join(database.scripts()).join(script);
            let sql = fs::read_to_string(&path).context(|| format!("reading {}", path.display()))?;
            database.execute(&sql)?;
        }
        Ok(database)
    }

    /// Which kind it is.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Kamailio's module for it.
    pub fn driver(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite => "db_sqlite",
            Engine::Postgres => "db_postgres",
            Engine::MariaDb => "db_mysql",
        }
    }

    /// What goes into `modparam(…, "db_url", …)`.
    pub fn url(&self) -> String {
        let scheme = match self.engine {
            // One slash more than a URL has: the driver takes what is behind three.
            Engine::Sqlite => return format!("sqlite:///{}", self.file().display()),
            Engine::Postgres => "postgres",
            Engine::MariaDb => "mysql",
        };
        format!("{scheme}://{NAME}:{PASSWORD}@127.0.0.1:{}/{NAME}", self.port.number())
    }

    /// The password in [`url`](Self::url).
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Runs SQL statements through the database's own client; returns the rows of a query, a line each, columns with
    /// tabs between them.
    pub fn execute(&self, sql: &str) -> Result<String> {
        let input = self.dir.write("input.sql", sql)?;
        let input = fs::File::open(&input).context(|| "opening the SQL text".into())?;
        let output = self.client()?.stdin(input).output().context(|| "starting the database's client".into())?;
        text(output, "SQL")
    }

    /// The rows of a table, ordered by `order`; each with the bytes of these columns, `None` for NULL.
    pub fn rows(&self, table: &str, columns: &[&str], order: &str) -> Result<Vec<Vec<Option<Vec<u8>>>>> {
        let list: Vec<_> = columns.iter().map(|column| self.hex(column)).collect();
        let text = self.execute(&format!("SELECT {} FROM {table} ORDER BY {order};", list.join(", ")))?;
        Ok(text.lines().map(|line| line.split('\t').map(cell).collect()).collect())
    }

    /// An expression with the bytes of a column in hexadecimal digits, `x` before them; `-` for NULL.
    fn hex(&self, column: &str) -> String {
        let hex = match (self.engine, column) {
            (Engine::Sqlite, _) => format!("hex(CAST({column} AS BLOB))"),
            (Engine::MariaDb, _) => format!("HEX(CAST({column} AS BINARY))"),
            (Engine::Postgres, "body") => "encode(body, 'hex')".into(),
            (Engine::Postgres, _) => format!("encode(convert_to({column}::text, 'UTF8'), 'hex')"),
        };
        format!("CASE WHEN {column} IS NULL THEN '-' ELSE {} END", self.concat("'x'", &hex))
    }

    fn concat(&self, left: &str, right: &str) -> String {
        match self.engine {
            Engine::MariaDb => format!("CONCAT({left}, {right})"),
            _ => format!("{left} || {right}"),
        }
    }

    /// Kills the server with SIGKILL. A file cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.server.take().ok_or_else(|| Error::new("no database server runs"))?.kill_all();
        Ok(())
    }

    /// Starts a killed server again, on the same port and data, and waits until it answers.
    pub fn restart(&mut self) -> Result<()> {
        // What the killed one left behind would make the new one think that it still runs.
        let _ = fs::remove_file(self.dir.file("data/postmaster.pid"));
        let mut command = self.server_command()?;
        let mut server = Group::spawn(&mut command, &self.dir.file("server.log"))?;
        let ready = wait_until(START_TIMEOUT, || server.status().is_some() || self.ping().is_ok());
        if !ready || server.status().is_some() {
            return Err(Error::new(format!("{:?} does not start\n{}", self.engine, self.log_end())));
        }
        self.server = Some(server);
        Ok(())
    }

    fn file(&self) -> PathBuf {
        self.dir.file("kamailio.db")
    }

    fn data(&self) -> PathBuf {
        self.dir.file("data")
    }

    fn scripts(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite => "db_sqlite",
            Engine::Postgres => "postgres",
            Engine::MariaDb => "mysql",
        }
    }

    /// Makes the data folder and the first database, and leaves the server running.
    fn create(&mut self) -> Result<()> {
        if self.engine == Engine::Sqlite {
            return Ok(());
        }
        self.own(self.dir.path())?;
        let output = self.init_command()?.stdin(Stdio::null()).output().context(|| "making a database".into())?;
        text(output, "making a database")?;
        self.restart()?;
        let rest = match self.engine {
            Engine::MariaDb => format!(
                " CHARACTER SET utf8mb4; CREATE USER {NAME}@'%' IDENTIFIED BY '{PASSWORD}'; \
                 GRANT ALL ON {NAME}.* TO {NAME}@'%'"
            ),
            _ => String::new(),
        };
        let output = self.admin(&format!("CREATE DATABASE {NAME}{rest};"))?;
        text(output, "making a database").map(drop)
    }

    fn init_command(&self) -> Result<Command> {
        let data = self.data().display().to_string();
        Ok(match self.engine {
            Engine::Sqlite | Engine::Postgres => {
                let mut command = self.as_owner(postgres("initdb")?)?;
                command.args(["-D", &data, "-U", NAME, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"]);
                command
            }
            Engine::MariaDb => {
                let mut command = self.as_owner(program("mariadb-install-db")?)?;
                command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
                command.arg(format!("--datadir={data}"));
                command
            }
        })
    }

    fn server_command(&self) -> Result<Command> {
        let (data, folder) = (self.data().display().to_string(), self.dir.path().display().to_string());
        let port = self.port.number().to_string();
        Ok(match self.engine {
            Engine::Sqlite => return Err(Error::new("a file has no server")),
            Engine::Postgres => {
                let mut command = self.as_owner(postgres("postgres")?)?;
                command.args(["-D", &data, "-h", "127.0.0.1", "-p", &port, "-k", &folder]);
                command.args(["-c", "fsync=off", "-c", "max_connections=50", "-c", "shared_buffers=16MB"]);
                // In its data folder, not in /dev/shm, where a killed server would leave files behind.
                command.args(["-c", "dynamic_shared_memory_type=mmap"]);
                command
            }
            Engine::MariaDb => {
                let mut command = self.as_owner(program("mariadbd")?)?;
                command.args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-name-resolve"]);
                command.args(["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M", "--skip-log-bin"]);
                command.arg(format!("--datadir={data}")).arg(format!("--port={port}"));
                command.arg(format!("--socket={folder}/socket")).arg(format!("--pid-file={folder}/pid"));
                command
            }
        })
    }

    /// The client, logged in to the database.
    fn client(&self) -> Result<Command> {
        let port = self.port.number().to_string();
        Ok(match self.engine {
            Engine::Sqlite => {
                let mut command = Command::new(program("sqlite3")?);
                command.args(["-batch", "-bail", "-separator", "\t", "-cmd", ".timeout 10000"]).arg(self.file());
                command
            }
            Engine::Postgres => {
                let mut command = Command::new(program("psql")?);
                command.args(["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]);
                command.args(["-p", &port, "-U", NAME, NAME]);
                command
            }
            Engine::MariaDb => {
                let mut command = Command::new(program("mariadb")?);
                command.args(["--no-defaults", "-N", "-B", "-h", "127.0.0.1", "-P", &port, "-u", NAME]);
                command.arg(format!("-p{PASSWORD}")).arg(NAME);
                command
            }
        })
    }

    /// Runs SQL as the server's administrator, before there is a database.
    fn admin(&self, sql: &str) -> Result<Output> {
        let port = self.port.number().to_string();
        let mut command = match self.engine {
            Engine::MariaDb => {
                let mut command = Command::new(program("mariadb")?);
                command.args(["--no-defaults", "-N", "-h", "127.0.0.1", "-P", &port, "-u", "root", "-e", sql]);
                command
            }
            _ => {
                let mut command = Command::new(program("psql")?);
                command.args(["-X", "-q", "-h", "127.0.0.1", "-p", &port, "-U", NAME, "postgres", "-c", sql]);
                command
            }
        };
        command.stdin(Stdio::null()).output().context(|| "starting the database's client".into())
    }

    fn ping(&self) -> Result<()> {
        text(self.admin("SELECT 1;")?, "ping").map(drop)
    }

    fn log_end(&self) -> String {
        last_lines(&fs::read_to_string(self.dir.file("server.log")).unwrap_or_default(), 40).to_string()
    }

    /// The user that the server runs as, when we are root.
    fn owner(&self) -> Result<Option<User>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let name = if self.engine == Engine::MariaDb { "mysql" } else { "postgres" };
        let user = User::from_name(name).context(|| format!("looking up user {name}"))?;
        user.map(Some)
            .ok_or_else(|| Error::new(format!("there is no user {name} (.ci/packages installs what is needed)")))
    }

    fn own(&self, path: &Path) -> Result<()> {
        let Some(user) = self.owner()? else { return Ok(()) };
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .context(|| format!("giving {} to {}", path.display(), user.name))
    }

    fn as_owner(&self, program: PathBuf) -> Result<Command> {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).env("LC_ALL", "C.UTF-8");
        if let Some(user) = self.owner()? {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).env("HOME", self.dir.path());
        }
        Ok(command)
    }
}

/// A program of PostgreSQL's newest installed version; Debian keeps them out of `PATH`.
fn postgres(name: &str) -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        versions.map(|version| version.path().join("bin").join(name)).filter(|file| file.is_file()).collect();
    found.sort();
    found.pop().map_or_else(|| program(name), Ok)
}

fn text(output: Output, what: &str) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::new(format!("{what}: {}", last_lines(&String::from_utf8_lossy(&output.stderr), 10))))
}

fn cell(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix('x')?;
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.as_bytes().chunks(2).map(byte).collect()
}
