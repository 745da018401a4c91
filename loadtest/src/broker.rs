//! A private RabbitMQ: own node name, cookie, data, ports; everything on 127.0.0.1; root or ordinary user.
//!
//! Two processes: the Erlang port mapper `epmd`, which lives as long as the [`Broker`], and the server itself, which
//! tests stop, kill, freeze and start again on the same port and data. The nodes of a [`Cluster`](crate::Cluster) share
//! port mapper and cookie.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::bus::{Client, Exchange, Queue};
use crate::error::{Context, Error, Result, last_lines};
use crate::ports::Port;
use crate::process::{Group, cpu, program, wait_until};
use crate::rundir::RunDir;
use crate::tls::{Authority, Identity};

/// The server's own folder of the Debian package. The scripts in `/usr/sbin` insist on root or the user `rabbitmq`.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";

/// A first start takes 3 to 5 s on two idle cores; this is for busy ones.
const START_TIMEOUT: Duration = Duration::from_secs(90);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Limits that no test reaches by accident.
const MEMORY_LIMIT: &str = "1GB";
const DISK_LIMIT: &str = "50MB";

/// A RabbitMQ server of our own. Dropping it kills the server and removes its data.
#[derive(Debug)]
pub struct Broker {
    // Field order is drop order: processes first, then the folder they use.
    server: Option<Group>,
    mapper: Arc<Mapper>,
    dir: RunDir,
    node: String,
    amqp: Port,
    /// Of the listeners that were opened later.
    further: Vec<Port>,
    distribution: Port,
    startup: Duration,
}

/// Erlang's port mapper and the folder with the cookie: who shares one can talk to each other, nobody else can.
#[derive(Debug)]
pub(crate) struct Mapper {
    _epmd: Group,
    port: Port,
    home: RunDir,
}

impl Mapper {
    /// Starts a port mapper on a port of its own.
    pub(crate) fn start() -> Result<Arc<Self>> {
        let home = RunDir::new("erlang")?;
        let port = Port::lease()?;
        let epmd = Group::spawn(
            Command::new(program("epmd")?)
                .args(["-address", "127.0.0.1", "-port", &port.number().to_string()])
                .env_clear(),
            &home.file("epmd.log"),
        )?;
        // Written here, because several nodes that start at once would each write their own.
        let cookie = home.write(".erlang.cookie", &format!("rig{}x{}", std::process::id(), port.number()))?;
        let only_owner = fs::Permissions::from_mode(0o400);
        fs::set_permissions(&cookie, only_owner).context(|| format!("protecting {}", cookie.display()))?;
        Ok(Arc::new(Self { _epmd: epmd, port, home }))
    }
}

impl Broker {
    /// Starts a server and waits until a client can log in.
    pub fn start() -> Result<Self> {
        let mut broker = Self::prepare()?;
        broker.restart()?;
        Ok(broker)
    }

    /// Reserves port, folder and node name without starting the server: for "no broker at start, then one appears".
    /// [`restart`](Self::restart) starts it.
    pub fn prepare() -> Result<Self> {
        Self::prepare_with(Mapper::start()?)
    }

    /// The same with a port mapper that others use too.
    pub(crate) fn prepare_with(mapper: Arc<Mapper>) -> Result<Self> {
        let dir = RunDir::new("broker")?;
        let (amqp, distribution) = (Port::lease()?, Port::lease()?);
        write_configuration(&dir, &amqp)?;
        // By address: a minimal system has no name for itself, not even localhost.
        let node = format!("rig-{}@127.0.0.1", amqp.number());
        Ok(Self { server: None, mapper, dir, node, amqp, further: Vec::new(), distribution, startup: Duration::ZERO })
    }

    /// The node's name, `rig-<port>@127.0.0.1`.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// Adds lines to the configuration that the next start reads.
    pub(crate) fn configure(&self, lines: &str) -> Result<()> {
        let path = self.dir.file("rabbitmq.conf");
        let text = fs::read_to_string(&path).context(|| format!("reading {}", path.display()))?;
        self.dir.write("rabbitmq.conf", &format!("{text}{lines}")).map(|_| ())
    }

    /// Starts the server after [`prepare`](Self::prepare), [`stop`](Self::stop) or [`kill`](Self::kill), on the same
    /// port and data, and waits until a client can log in.
    pub fn restart(&mut self) -> Result<()> {
        if self.server.is_some() {
            return Err(Error::new("the broker runs already: stop or kill it first"));
        }
        let began = Instant::now();
        let mut command = self.command("rabbitmq-server");
        // ALLOW_INPUT makes the script become the Erlang machine instead of watching over it: one process to signal.
        command.arg("-noinput").env("RABBITMQ_ALLOW_INPUT", "true");
        let mut server = Group::spawn(&mut command, &self.dir.file("console.log"))?;
        let ready = wait_until(START_TIMEOUT, || server.status().is_some() || self.client().ping().is_ok());
        if !ready || server.status().is_some() {
            let outcome = server.status().map_or("does not answer".to_string(), |status| format!("ended: {status}"));
            return Err(Error::new(format!("RabbitMQ {outcome}\n{}", self.console())));
        }
        self.server = Some(server);
        self.startup = began.elapsed();
        Ok(())
    }

    /// How long the last start took, from process start to the first login.
    pub fn startup(&self) -> Duration {
        self.startup
    }

    /// The AMQP port on 127.0.0.1; the same over restarts.
    pub fn port(&self) -> u16 {
        self.amqp.number()
    }

    /// What goes into `modparam("kazoo", "amqp_connection", …)`.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.port())
    }

    /// Opens one more listener, for TLS with `identity`, and returns its port on 127.0.0.1. With `clients`, only clients
    /// with a certificate of that authority may log in. Gone when the server is stopped or killed.
    pub fn listen_tls(&mut self, identity: &Identity, clients: Option<&Authority>) -> Result<u16> {
        let port = Port::lease()?;
        let mut options = format!("{{certfile,{:?}}},{{keyfile,{:?}}}", identity.cert, identity.key);
        options += &match clients {
            None => ",{verify,verify_none}".to_string(),
            Some(authority) => {
                format!(",{{cacertfile,{:?}}},{{verify,verify_peer}},{{fail_if_no_peer_cert,true}}", authority.file())
            }
        };
        let number = port.number();
        let listen = format!("rabbit_networking:start_ssl_listener({{\"127.0.0.1\",{number}}},[{options}],2)");
        self.eval(&format!("{{ok,_}} = application:ensure_all_started(ssl), {listen}"))?;
        self.further.push(port);
        Ok(number)
    }

    /// Opens one more listener on `[::1]` and returns its port. Gone when the server is stopped or killed.
    pub fn listen_ipv6(&mut self) -> Result<u16> {
        let port = Port::lease()?;
        let number = port.number();
        self.eval(&format!("rabbit_networking:start_tcp_listener({{\"::1\",{number}}},2)"))?;
        self.further.push(port);
        Ok(number)
    }

    /// Stops the server in order, as an operator would: everything durable is written.
    pub fn stop(&mut self) -> Result<()> {
        let mut server = self.take_server()?;
        // A frozen server would never see the other signal.
        server.signal(Signal::SIGCONT);
        server.signal(Signal::SIGTERM);
        server.wait(STOP_TIMEOUT).map(|_| ()).ok_or_else(|| Error::new("RabbitMQ ignored SIGTERM and was killed"))
    }

    /// Kills the server with SIGKILL: connections break at once, nothing more is written.
    pub fn kill(&mut self) -> Result<()> {
        self.take_server()?.kill_all();
        Ok(())
    }

    /// Stops the server's clock (SIGSTOP): connections stay open and nothing is answered.
    pub fn freeze(&mut self) -> Result<()> {
        self.running()?.signal(Signal::SIGSTOP);
        Ok(())
    }

    /// Lets a frozen server go on.
    pub fn thaw(&mut self) -> Result<()> {
        self.running()?.signal(Signal::SIGCONT);
        Ok(())
    }

    /// True while the server process exists.
    pub fn is_running(&mut self) -> bool {
        self.server.as_mut().is_some_and(|server| server.status().is_none())
    }

    /// Runs `rabbitmqctl` with these arguments and returns what it printed. Takes about 0.6 s.
    pub fn ctl(&self, args: &[&str]) -> Result<String> {
        let mut command = self.command("rabbitmqctl");
        let output = command
            .args(["--quiet", "-n", &self.node])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .context(|| "starting rabbitmqctl".into())?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(Error::new(format!("rabbitmqctl {}: {}", args.join(" "), text.trim())));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Evaluates Erlang expressions, without the full stop, inside the server and returns the last one's value as Erlang
    /// writes it. Takes some milliseconds, where `rabbitmqctl` starts an Erlang machine of its own first.
    pub fn eval(&self, expressions: &str) -> Result<String> {
        let cookie = fs::read_to_string(self.mapper.home.file(".erlang.cookie"))
            .context(|| "reading the cookie of Erlang".into())?;
        let mut call = Command::new(program("erl_call")?)
            .args(["-c", &cookie, "-address", &format!("127.0.0.1:{}", self.distribution.number()), "-r", "-e"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context(|| "starting erl_call".into())?;
        // Dropped at once, which is the end of the expressions.
        let written = call.stdin.take().map_or(Ok(()), |mut input| writeln!(input, "{expressions}."));
        let output = call.wait_with_output().context(|| "waiting for erl_call".into())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match text.trim().strip_prefix("{ok, ").and_then(|rest| rest.strip_suffix('}')) {
            Some(value) if written.is_ok() => Ok(value.to_string()),
            _ => {
                let error = String::from_utf8_lossy(&output.stderr);
                Err(Error::new(format!("{expressions}: {}{}", text.trim(), error.trim())))
            }
        }
    }

    /// `(ready, unacknowledged)` messages of a queue, as the queue counts them.
    pub fn held(&self, queue: &str) -> Result<(u64, u64)> {
        let held = self.eval(&format!(
            "{{ok, Queue}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<{queue:?}>>)), \
             [{{_, Ready}}, {{_, Held}}] = rabbit_amqqueue:info(Queue, [messages_ready, messages_unacknowledged]), \
             {{Ready, Held}}"
        ))?;
        let numbers = held.trim_matches(['{', '}']).split_once(", ");
        let numbers = numbers.and_then(|(ready, held)| Some((ready.parse().ok()?, held.parse().ok()?)));
        numbers.ok_or_else(|| Error::new(format!("no numbers of queue {queue}: {held}")))
    }

    /// Closes all connections from the server's side, as `rabbitmqctl close_all_connections` does.
    pub fn close_connections(&self) -> Result<()> {
        let close =
            "[rabbit_networking:close_connection(One, \"a test\") || One <- rabbit_networking:connections()], ok";
        self.eval(close).map(|_| ())
    }

    /// Raises the memory alarm: the broker reads nothing more from connections that publish.
    pub fn raise_memory_alarm(&self) -> Result<()> {
        self.ctl(&["set_vm_memory_high_watermark", "absolute", "1"]).map(|_| ())
    }

    /// Raises the disk alarm, with the same effect.
    pub fn raise_disk_alarm(&self) -> Result<()> {
        self.ctl(&["set_disk_free_limit", "1000000GB"]).map(|_| ())
    }

    /// Ends both alarms.
    pub fn clear_alarms(&self) -> Result<()> {
        self.ctl(&["set_vm_memory_high_watermark", "absolute", MEMORY_LIMIT])?;
        self.ctl(&["set_disk_free_limit", DISK_LIMIT]).map(|_| ())
    }

    /// Adds a user without any permission.
    pub fn add_user(&self, user: &str, password: &str) -> Result<()> {
        self.ctl(&["add_user", user, password]).map(|_| ())
    }

    /// What the user may configure, write to and read from, as regular expressions over names. The broker's channels
    /// remember what they have looked up: one that has published goes on until its connection ends.
    pub fn set_permissions(&self, user: &str, configure: &str, write: &str, read: &str) -> Result<()> {
        self.ctl(&["set_permissions", user, configure, write, read]).map(|_| ())
    }

    /// Takes all permissions from the user, who cannot even connect any more.
    pub fn clear_permissions(&self, user: &str) -> Result<()> {
        self.ctl(&["clear_permissions", user]).map(|_| ())
    }

    /// A client that opens a connection for each call: declare, purge, count, publish.
    pub fn client(&self) -> Client {
        Client::new(self.port())
    }

    /// Declares an exchange; see [`Exchange`].
    pub fn declare_exchange(&self, exchange: &Exchange) -> Result<()> {
        self.client().declare_exchange(exchange)
    }

    /// Declares a queue and its bindings; see [`Queue`].
    pub fn declare_queue(&self, queue: &Queue) -> Result<()> {
        self.client().declare_queue(queue)
    }

    /// Messages waiting in the queue, without those that a consumer holds unacknowledged.
    pub fn count(&self, queue: &str) -> Result<u32> {
        self.client().count(queue)
    }

    /// Empties the queue and returns how many messages were waiting.
    pub fn purge(&self, queue: &str) -> Result<u32> {
        self.client().purge(queue)
    }

    /// Processor time used by the server so far.
    pub fn cpu(&self) -> Duration {
        self.server.as_ref().and_then(|server| cpu(server.pid())).unwrap_or_default()
    }

    /// The server's log file.
    pub fn log_path(&self) -> PathBuf {
        self.dir.file("log").join(format!("{}.log", self.node))
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn running(&mut self) -> Result<&mut Group> {
        self.server.as_mut().ok_or_else(|| Error::new("the broker does not run"))
    }

    fn take_server(&mut self) -> Result<Group> {
        self.server.take().ok_or_else(|| Error::new("the broker does not run"))
    }

    fn console(&self) -> String {
        let mut text = fs::read_to_string(self.dir.file("console.log")).unwrap_or_default();
        text.push_str(&self.log());
        last_lines(&text, 40).to_string()
    }

    /// A command of the package with an environment that keeps all it does inside our folder and on 127.0.0.1.
    fn command(&self, script: &str) -> Command {
        let file = |name: &str| self.dir.file(name);
        let mut command = Command::new(Path::new(SCRIPTS).join(script));
        command
            // A killed or failing node leaves its dumps where it was started.
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("LANG", "C.UTF-8")
            // Erlang keeps its cookie there: nobody else's server or tool can reach this node.
            .env("HOME", self.mapper.home.path())
            .env("ERL_EPMD_PORT", self.mapper.port.number().to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", &self.node)
            .env("RABBITMQ_USE_LONGNAME", "true")
            .env("RABBITMQ_DIST_PORT", self.distribution.number().to_string())
            .env("RABBITMQ_MNESIA_BASE", file("data"))
            .env("RABBITMQ_LOG_BASE", file("log"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", file("generated"))
            .env("RABBITMQ_CONFIG_FILE", file("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", file("enabled_plugins"))
            .env("RABBITMQ_PID_FILE", file("pid"))
            // Not there on purpose: the machine's own files must not apply.
            .env("RABBITMQ_CONF_ENV_FILE", file("none"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", file("none.config"))
            // Two schedulers without busy waiting: the machine is shared with Kamailio and the load generator.
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+S 2:2 +SDio 4 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
            )
            .env("RABBITMQ_CTL_ERL_ARGS", "+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}");
        command
    }
}

fn write_configuration(dir: &RunDir, amqp: &Port) -> Result<()> {
    for folder in ["data", "log"] {
        let path = dir.file(folder);
        fs::create_dir_all(&path).context(|| format!("making {}", path.display()))?;
    }
    let port = amqp.number();
    dir.write(
        "rabbitmq.conf",
        &format!(
            "listeners.tcp.local = 127.0.0.1:{port}\n\
             log.file.level = info\n\
             disk_free_limit.absolute = {DISK_LIMIT}\n\
             vm_memory_high_watermark.absolute = {MEMORY_LIMIT}\n"
        ),
    )?;
    dir.write("enabled_plugins", "[].\n")?;
    Ok(())
}
