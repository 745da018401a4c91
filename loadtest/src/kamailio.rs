//! A private Kamailio with the module under test: own run folder, own ports on 127.0.0.1, log in a file.
//!
//! Two ways to configure it. [`Builder::routes`] gets a ready frame (listen, log, usual modules, `kazoo.so` with its
//! broker) and adds the routes of a test. [`Builder::config_file`] starts a complete configuration as an operator
//! writes it; the rig's values reach it as preprocessor defines, which kamailio.cfg sees as if given with `-A`:
//!
//! | define | value |
//! |---|---|
//! | `SIP_PORT` | port for UDP and TCP |
//! | `LISTEN_UDP`, `LISTEN_TCP` | `udp:127.0.0.1:<port>`, `tcp:127.0.0.1:<port>` |
//! | `CTL_SOCKET` | `"unix:<run folder>/ctl"`, for `modparam("ctl", "binrpc", CTL_SOCKET)`: the rig needs it |
//! | `AMQP_URL` | `"amqp://…"`, when a broker was given |

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::broker::Broker;
use crate::error::{Context, Error, Result, last_lines};
use crate::ports::Port;
use crate::process::{self, Group, Memory, program, wait_until};
use crate::rundir::RunDir;

/// A start takes well under a second on an idle machine; this is for busy ones and sanitizer builds.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Kamailio waits for its children before it ends; the module's manager may use some seconds to close.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How much longer both may take below another program, [`Builder::under`].
const UNDER_ANOTHER: u32 = 6;

/// The module under test: `KAZOO_MODULE` in the environment, else what `make` leaves in the workspace.
fn default_module() -> PathBuf {
    std::env::var_os("KAZOO_MODULE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/kazoo.so"), PathBuf::from)
}

/// How to start a [`Kamailio`].
#[derive(Debug, Clone)]
pub struct Builder {
    module: Option<PathBuf>,
    source: Source,
    broker_url: Option<String>,
    loadmodules: String,
    modparams: String,
    globals: String,
    defines: Vec<(String, String)>,
    substitutes: Vec<(String, String)>,
    wrapper: Vec<String>,
    children: u32,
    shared_mb: u32,
    private_mb: u32,
    debug: i32,
}

#[derive(Debug, Clone)]
enum Source {
    Routes(String),
    File(PathBuf),
}

impl Builder {
    fn new() -> Self {
        Self {
            module: Some(default_module()),
            source: Source::Routes("request_route { exit; }\n".into()),
            broker_url: None,
            loadmodules: String::new(),
            modparams: String::new(),
            globals: String::new(),
            defines: Vec::new(),
            substitutes: Vec::new(),
            wrapper: std::env::var("RIG_UNDER").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
            children: 4,
            shared_mb: 64,
            private_mb: 8,
            debug: 2,
        }
    }

    /// The module under test, instead of `KAZOO_MODULE` or `target/release/kazoo.so`. Whatever the file is called, the
    /// configuration loads it as `kazoo.so`.
    pub fn module(mut self, path: impl Into<PathBuf>) -> Self {
        self.module = Some(path.into());
        self
    }

    /// No module under test: the measure to compare with. A [`config_file`](Self::config_file) that loads `kazoo.so` gets
    /// the one of the distribution, the C module.
    pub fn without_module(mut self) -> Self {
        self.module = None;
        self
    }

    /// Adds a broker: `amqp_connection` in the frame (repeat it for a failover list), `AMQP_URL` for a whole file.
    pub fn broker(mut self, broker: &Broker) -> Self {
        self.broker_url.get_or_insert_with(|| broker.url());
        self.modparam("amqp_connection", &broker.url())
    }

    /// The routes of a test, put below the ready frame.
    pub fn routes(mut self, text: impl Into<String>) -> Self {
        self.source = Source::Routes(text.into());
        self
    }

    /// A complete configuration file, instead of frame and routes.
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.source = Source::File(path.into());
        self
    }

    /// One more module of the distribution for the frame, e.g. `"htable"`.
    pub fn load(mut self, module: &str) -> Self {
        self.loadmodules.push_str(&format!("loadmodule \"{module}.so\"\n"));
        self
    }

    /// A text parameter of the kazoo module.
    pub fn modparam(mut self, name: &str, value: &str) -> Self {
        self.modparams.push_str(&format!("modparam(\"kazoo\", \"{name}\", \"{value}\")\n"));
        self
    }

    /// A number parameter of the kazoo module.
    pub fn modparam_int(mut self, name: &str, value: i64) -> Self {
        self.modparams.push_str(&format!("modparam(\"kazoo\", \"{name}\", {value})\n"));
        self
    }

    /// A line among the global parameters of the frame, or a `modparam` of another module.
    pub fn line(mut self, text: &str) -> Self {
        self.globals.push_str(text);
        self.globals.push('\n');
        self
    }

    /// A preprocessor define, as `kamailio -A name=value`; texts need their quotes.
    pub fn define(mut self, name: &str, value: &str) -> Self {
        self.defines.push((name.into(), value.into()));
        self
    }

    /// Puts `value` for `word` wherever the configuration has it, in quoted texts too: `kamailio --substdef`. The first
    /// one given wins, so a longer word goes before one that it contains. Neither may hold a `!`.
    pub fn substitute(mut self, word: &str, value: &str) -> Self {
        self.substitutes.push((word.into(), value.into()));
        self
    }

    /// Runs Kamailio below another program, e.g. `&["valgrind", "--tool=memcheck"]`, and waits longer for its start and
    /// its end. Without this call, below what `RIG_UNDER` in the environment says, its words parted by blanks.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_string()).collect();
        self
    }

    /// SIP worker processes (default 4).
    pub fn children(mut self, count: u32) -> Self {
        self.children = count;
        self
    }

    /// Shared and private memory in MB (default 64 and 8, as Kamailio's own).
    pub fn memory(mut self, shared_mb: u32, private_mb: u32) -> Self {
        (self.shared_mb, self.private_mb) = (shared_mb, private_mb);
        self
    }

    /// Log level (default 2 = info, 3 = debug).
    pub fn debug(mut self, level: i32) -> Self {
        self.debug = level;
        self
    }

    /// Starts Kamailio and waits until it answers on its control socket.
    pub fn start(self) -> Result<Kamailio> {
        let mut server = self.launch()?;
        server.until_ready()?;
        Ok(server)
    }

    /// Starts Kamailio expecting that it refuses; returns its log. Fails when it starts all the same.
    pub fn start_refused(self) -> Result<String> {
        let mut server = self.launch()?;
        let ended =
            wait_until(START_TIMEOUT, || server.main.status().is_some() || server.rpc(&["core.uptime"]).is_ok());
        match server.main.status() {
            Some(_) => Ok(server.log()),
            None => Err(Error::new(format!("Kamailio started (answered: {ended}) though it should have refused"))),
        }
    }

    /// Runs `kamailio -c`, which parses the configuration and loads the modules without starting them.
    pub fn check(self) -> Result<Check> {
        let run = Run::prepare(&self)?;
        let output = run.command(&self)?.arg("-c").output().context(|| "starting kamailio -c".into())?;
        let log = [output.stdout, output.stderr].concat();
        Ok(Check { accepted: output.status.success(), log: String::from_utf8_lossy(&log).into_owned() })
    }

    fn launch(self) -> Result<Kamailio> {
        let run = Run::prepare(&self)?;
        let main = run.spawn(&self)?;
        Ok(Kamailio { main, run, builder: self })
    }

    /// The configuration text of frame and routes.
    fn frame(&self, routes: &str) -> String {
        let (debug, children) = (self.debug, self.children);
        let (loadmodules, modparams, globals) = (&self.loadmodules, &self.modparams, &self.globals);
        let kazoo = if self.module.is_some() { "loadmodule \"kazoo.so\"\n" } else { "" };
        let hostname = match &self.module {
            Some(_) if !modparams.contains("\"node_hostname\"") => {
                "modparam(\"kazoo\", \"node_hostname\", \"rig.test\")\n"
            }
            _ => "",
        };
        let usual: String = ["kex", "corex", "ctl", "tm", "sl", "pv", "xlog", "textops", "siputils", "cfgutils"]
            .map(|module| format!("loadmodule \"{module}.so\"\n"))
            .concat();
        format!(
            "#!KAMAILIO\n\
             debug={debug}\n\
             children={children}\n\
             tcp_children=2\n\
             auto_aliases=no\n\
             listen=LISTEN_UDP\n\
             listen=LISTEN_TCP\n\
             {usual}{loadmodules}{kazoo}\
             modparam(\"ctl\", \"binrpc\", CTL_SOCKET)\n\
             {globals}{hostname}{modparams}{routes}\n"
        )
    }
}

/// What `kamailio -c` said.
#[derive(Debug, Clone)]
pub struct Check {
    /// The configuration is accepted.
    pub accepted: bool,
    /// Everything printed.
    pub log: String,
}

/// Folder and ports of one Kamailio.
#[derive(Debug)]
struct Run {
    dir: RunDir,
    sip: Port,
    config: PathBuf,
    log: PathBuf,
}

impl Run {
    fn prepare(builder: &Builder) -> Result<Self> {
        let dir = RunDir::new("kamailio")?;
        let sip = Port::lease()?;
        fs::create_dir(dir.file("modules")).context(|| "making the module folder".into())?;
        if let Some(module) = &builder.module {
            let file = fs::canonicalize(module).context(|| format!("module under test {}", module.display()))?;
            symlink(file, dir.file("modules/kazoo.so")).context(|| "linking the module under test".into())?;
        }
        let config = match &builder.source {
            Source::File(path) => path.clone(),
            Source::Routes(routes) => dir.write("kamailio.cfg", &builder.frame(routes))?,
        };
        let log = dir.file("kamailio.log");
        Ok(Self { dir, sip, config, log })
    }

    fn command(&self, builder: &Builder) -> Result<Command> {
        let binary = program("kamailio")?;
        let modules = format!("{}:{}", self.dir.file("modules").display(), distribution_modules(&binary)?);
        let port = self.sip.number();
        let mut command = match builder.wrapper.split_first() {
            None => Command::new(binary),
            Some((wrapper, arguments)) => {
                let mut command = Command::new(program(wrapper)?);
                command.args(arguments).arg(binary);
                command
            }
        };
        command
            .env("LANG", "C.UTF-8")
            .arg("-f")
            .arg(&self.config)
            .args(["-L", &modules])
            .arg("-w")
            .arg(self.dir.path())
            .arg("-Y")
            .arg(self.dir.path())
            .args(["-m", &builder.shared_mb.to_string(), "-M", &builder.private_mb.to_string()])
            .args(kamailio_options().split_whitespace())
            .stdin(Stdio::null());
        let mut defines = vec![
            ("SIP_PORT".to_string(), port.to_string()),
            ("LISTEN_UDP".to_string(), format!("udp:127.0.0.1:{port}")),
            ("LISTEN_TCP".to_string(), format!("tcp:127.0.0.1:{port}")),
            ("CTL_SOCKET".to_string(), format!("\"{}\"", self.control_socket())),
        ];
        defines.extend(builder.broker_url.iter().map(|url| ("AMQP_URL".to_string(), format!("\"{url}\""))));
        defines.extend(builder.defines.iter().cloned());
        for (name, value) in defines {
            command.args(["-A", &format!("{name}={value}")]);
        }
        for (word, value) in &builder.substitutes {
            command.args(["--substdef", &format!("!{word}!{value}!g")]);
        }
        Ok(command)
    }

    fn spawn(&self, builder: &Builder) -> Result<Group> {
        let mut command = self.command(builder)?;
        // -DD: in the foreground with all processes; -E: log to standard error.
        Group::spawn(command.args(["-DD", "-E"]), &self.log)
    }

    fn control_socket(&self) -> String {
        format!("unix:{}", self.dir.file("ctl").display())
    }
}

/// Further options of every Kamailio, from `RIG_OPTIONS` in the environment: `-X fm`.
pub fn kamailio_options() -> String {
    std::env::var("RIG_OPTIONS").unwrap_or_default()
}

/// The folder that this Kamailio searches by default, from its help text.
fn distribution_modules(kamailio: &Path) -> Result<String> {
    let output = Command::new(kamailio).arg("-h").output().context(|| "asking kamailio for its modules".into())?;
    let help = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    help.split_once("Modules search path (default:")
        .and_then(|(_, rest)| rest.split_once(')'))
        .map(|(path, _)| path.trim().to_string())
        .ok_or_else(|| Error::new("kamailio -h names no module folder"))
}

/// A process of a running Kamailio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Process id of its parent.
    pub parent: i32,
    /// What Kamailio calls it in `kamcmd core.psx`; empty for processes that Kamailio does not know, such as the
    /// manager below its supervisor.
    pub title: String,
    /// The kernel's name for it (`/proc/<pid>/comm`), 15 bytes.
    pub name: String,
}

/// How a stop went.
#[derive(Debug, Clone, Copy)]
pub struct Stopped {
    /// Exit status of the main process.
    pub status: ExitStatus,
    /// From SIGTERM to the end of the last process.
    pub took: Duration,
}

/// A running Kamailio. Dropping it kills all its processes and removes its folder.
#[derive(Debug)]
pub struct Kamailio {
    main: Group,
    run: Run,
    builder: Builder,
}

impl Kamailio {
    /// How to start one.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Starts it again after it has ended, by [`stop`](Self::stop) or by itself: same ports, same configuration, the log
    /// goes on in the same file.
    pub fn restart(&mut self) -> Result<()> {
        if self.is_running() {
            return Err(Error::new("Kamailio runs already: stop it first"));
        }
        // What an unclean end has left of its processes would hold the port.
        self.main.kill_all();
        self.main = self.run.spawn(&self.builder)?;
        self.until_ready()
    }

    /// How much longer everything takes than on its own.
    fn slowness(&self) -> u32 {
        if self.builder.wrapper.is_empty() { 1 } else { UNDER_ANOTHER }
    }

    fn until_ready(&mut self) -> Result<()> {
        let patience = START_TIMEOUT * self.slowness();
        let ready = wait_until(patience, || self.main.status().is_some() || self.rpc(&["core.uptime"]).is_ok());
        let text = match self.main.status() {
            None if ready => return Ok(()),
            None => "Kamailio does not answer on its control socket".to_string(),
            Some(status) => format!("Kamailio refused to start ({status})"),
        };
        Err(Error::new(format!("{text}\n{}", self.log_end())))
    }

    /// SIP port on 127.0.0.1, UDP and TCP.
    pub fn sip_port(&self) -> u16 {
        self.run.sip.number()
    }

    /// Process id of the main process.
    pub fn pid(&self) -> i32 {
        self.main.pid()
    }

    /// Runs a command through the control socket, e.g. `rpc(&["core.uptime"])`, and returns what kamcmd prints.
    pub fn rpc(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(program("kamcmd")?)
            .args(["-s", &self.run.control_socket()])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .context(|| "starting kamcmd".into())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // kamcmd reports faults of the command on standard output, with status 0.
        if !output.status.success() || text.starts_with("error:") {
            let error = String::from_utf8_lossy(&output.stderr);
            return Err(Error::new(format!("kamcmd {}: {}{}", args.join(" "), text.trim(), error.trim())));
        }
        Ok(text)
    }

    /// The `name: number` lines that a command prints, e.g. of `kazoo.stats`; other lines are left out.
    pub fn rpc_numbers(&self, args: &[&str]) -> Result<BTreeMap<String, u64>> {
        let text = self.rpc(args)?;
        let number = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_string(), value.trim().parse().ok()?))
        };
        Ok(text.lines().filter_map(number).collect())
    }

    /// The structures that a command prints, e.g. of `kazoo.rings`: the `name: value` lines of each.
    pub fn rpc_structures(&self, args: &[&str]) -> Result<Vec<BTreeMap<String, String>>> {
        Ok(structures(&self.rpc(args)?))
    }

    /// All processes, the main one first, those that Kamailio does not know of included.
    pub fn processes(&self) -> Result<Vec<Process>> {
        let titles = titles(&self.rpc(&["core.psx"])?);
        let process = |entry: process::Entry| Process {
            title: titles.get(&entry.pid).cloned().unwrap_or_default(),
            pid: entry.pid,
            parent: entry.parent,
            name: entry.name,
        };
        Ok(process::tree(self.pid()).into_iter().map(process).collect())
    }

    /// The processes whose title contains `part`.
    pub fn processes_titled(&self, part: &str) -> Result<Vec<Process>> {
        let mut found = self.processes()?;
        found.retain(|process| process.title.contains(part));
        if found.is_empty() {
            return Err(Error::new(format!("no process is called {part:?}: {}", self.rpc(&["core.psx"])?)));
        }
        Ok(found)
    }

    /// The processes below the one whose title contains `part`: the manager below its supervisor.
    pub fn children_of(&self, part: &str) -> Result<Vec<Process>> {
        let parents: Vec<i32> = self.processes_titled(part)?.iter().map(|process| process.pid).collect();
        let mut found = self.processes()?;
        found.retain(|process| parents.contains(&process.parent));
        Ok(found)
    }

    /// Sends a signal to one process of this Kamailio.
    pub fn signal(&self, pid: i32, signal: Signal) -> Result<()> {
        if !process::tree(self.pid()).iter().any(|entry| entry.pid == pid) {
            return Err(Error::new(format!("{pid} is no process of this Kamailio")));
        }
        process::send(pid, signal);
        Ok(())
    }

    /// Bounds the descriptors that each of these processes may have open (soft `RLIMIT_NOFILE`); what is open above
    /// stays open. `None` lifts the bound up to the hard limit.
    pub fn limit_descriptors(&self, pids: &[i32], limit: Option<u64>) -> Result<()> {
        pids.iter().try_for_each(|pid| process::limit_descriptors(*pid, limit))
    }

    /// Descriptors that the process has open; 0 when it is gone.
    pub fn descriptors(&self, pid: i32) -> usize {
        process::descriptors(pid)
    }

    /// Threads of the process; 0 when it is gone.
    pub fn threads(&self, pid: i32) -> usize {
        process::threads(pid)
    }

    /// Memory of one process; `None` when it is gone.
    pub fn memory(&self, pid: i32) -> Option<Memory> {
        process::memory(pid)
    }

    /// Processor time of one process so far; `None` when it is gone.
    pub fn cpu(&self, pid: i32) -> Option<Duration> {
        process::cpu(pid)
    }

    /// Processor time of all processes so far.
    pub fn total_cpu(&self) -> Duration {
        process::tree(self.pid()).iter().filter_map(|entry| process::cpu(entry.pid)).sum()
    }

    /// True while the main process exists.
    pub fn is_running(&mut self) -> bool {
        self.main.status().is_none()
    }

    /// Path of the log file.
    pub fn log_path(&self) -> &Path {
        &self.run.log
    }

    /// The log so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.run.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of the log, for an error text.
    pub fn log_end(&self) -> String {
        last_lines(&self.log(), 40).to_string()
    }

    /// The log lines that contain `part`.
    pub fn log_lines(&self, part: &str) -> Vec<String> {
        self.log().lines().filter(|line| line.contains(part)).map(str::to_string).collect()
    }

    /// Waits until the log contains `part`; false when `timeout` passed first.
    pub fn wait_for_log(&self, part: &str, timeout: Duration) -> bool {
        wait_until(timeout, || self.log().contains(part))
    }

    /// Stops Kamailio as an operator does (SIGTERM to the main process) and checks that every process of it is gone.
    /// `self` stays: the log can be read afterwards.
    pub fn stop(&mut self) -> Result<Stopped> {
        let began = Instant::now();
        let family: Vec<i32> = process::tree(self.pid()).iter().map(|entry| entry.pid).collect();
        self.main.signal(Signal::SIGTERM);
        let status =
            self.main.wait(STOP_TIMEOUT * self.slowness()).ok_or_else(|| Error::new("Kamailio ignored SIGTERM"))?;
        // Those that became orphans are found by their group, those in a group of their own by the list taken before.
        let left = || {
            let listed = family.iter().copied().filter(|pid| process::entry(*pid).is_some_and(|p| p.state != 'Z'));
            listed.chain(self.main.members()).collect::<Vec<_>>()
        };
        if !wait_until(Duration::from_secs(5), || left().is_empty()) {
            let names: Vec<_> = left().into_iter().filter_map(process::entry).collect();
            return Err(Error::new(format!("Kamailio left processes behind: {names:?}")));
        }
        Ok(Stopped { status, took: began.elapsed() })
    }
}

/// `core.psx` prints one structure per process with the lines `PID: n` and `DSC: text`.
fn titles(psx: &str) -> BTreeMap<i32, String> {
    let title = |mut process: BTreeMap<String, String>| {
        Some((process.get("PID")?.parse().ok()?, process.remove("DSC").unwrap_or_default()))
    };
    structures(psx).into_iter().filter_map(title).collect()
}

/// What kamcmd prints between each `{` and `}`.
fn structures(text: &str) -> Vec<BTreeMap<String, String>> {
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_string(), value.trim().to_string()))
    };
    text.split("\n}").filter(|part| part.contains('{')).map(|part| part.lines().filter_map(field).collect()).collect()
}
