//! A Kamailio with one of the two modules, and how cases are run in it.
//!
//! Scripts run in the one UDP worker: a request starts the script, a second one fetches the report. That one is
//! handled after the first, so nothing has to be timed: a report that says "exit" means that the function ended the
//! script, no report means that the worker hangs or is gone. Each report is followed by a marking message; what lies
//! between two marks in the sink belongs to one case.
//!
//! Event routes write what they see to the log; a marking event follows each event.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use rig::{Arrived, Builder, Kamailio, Message, SipClient, wait_until};

use crate::case::{Case, EXCHANGE, Form, Input, Setup, What};
use crate::common::{PATIENCE, tail};
use crate::outcome::{Outcome, add_messages, from_hex, shown, to_hex};
use crate::tables::event;
use crate::world::World;

/// Whose module it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    C,
    Ours,
}

/// The server and everything needed to start it again.
pub struct Subject<'w> {
    world: &'w World,
    side: Side,
    setup: Setup,
    builder: Builder,
    forms: Vec<Form>,
    kamailio: Kamailio,
    sip: SipClient,
    /// What has arrived and belongs to no case yet.
    arrived: Vec<Arrived>,
    marks: u32,
}

/// Longest wait for a worker before it counts as hanging.
const HANGS: Duration = Duration::from_secs(8);

/// Field of an outcome: `kazoo_query` of the C module took what it found in a register for its fifth argument.
pub const REFUSED_BY_CHANCE: &str = "refused by chance";
/// What it logs then.
const BY_CHANCE: &str = "cannot get amqp_headers string value";

/// Longest wait for a callback: some times the timeout of a query.
const RESUMES: Duration = Duration::from_secs(3);

/// The C module loses an answer now and then, see [`Form::answered`].
const TRIES: u32 = 4;

impl<'w> Subject<'w> {
    /// Starts Kamailio for these cases, all of one setup, and waits until the broker knows it.
    pub fn start(world: &'w World, side: Side, setup: Setup, cases: &[&Case]) -> Self {
        let mut forms: Vec<Form> = Vec::new();
        for case in cases {
            if let What::Script(form, _) = &case.what
                && !forms.contains(form)
            {
                forms.push(form.clone());
            }
        }
        let builder = configuration(world, side, setup, &forms, cases);
        let (kamailio, sip) = launch(&builder);
        let (arrived, marks) = (Vec::new(), 0);
        let mut subject = Self { world, side, setup, builder, forms, kamailio, sip, arrived, marks };
        subject.until_ready();
        subject
    }

    /// Runs the cases and returns their outcomes in order.
    pub fn run(&mut self, cases: &[&Case]) -> Vec<Outcome> {
        let mut outcomes = vec![Outcome::new(); cases.len()];
        self.run_connection_events(cases, &mut outcomes);
        self.run_events(cases, &mut outcomes);
        self.run_subscriptions(cases, &mut outcomes);
        self.run_scripts(cases, &mut outcomes);
        outcomes
    }

    /// The log's end, for reports of trouble.
    pub fn tail(&self) -> String {
        tail(&self.kamailio)
    }

    /// Lines of the log that tell of memory trouble or lost processes.
    pub fn damage(&mut self) -> Vec<String> {
        let signs = ["panicked", "exited by a signal", "no more pkg memory", "no more shm memory"];
        let mut found: Vec<_> = signs.iter().flat_map(|sign| self.kamailio.log_lines(sign)).collect();
        if !self.kamailio.is_running() {
            found.push("Kamailio has ended".into());
        }
        found
    }

    fn until_ready(&mut self) {
        if self.setup == Setup::NoBroker {
            return;
        }
        if self.side == Side::C {
            assert!(self.kamailio.rpc(&["kazoo.stats"]).is_err(), "the installed kazoo.so is not the C module");
        }
        if self.setup == Setup::Subscriptions {
            return self.until_subscribed(crate::tables::subscribe::LAST);
        }
        let published = wait_until(PATIENCE, || {
            let mark = self.mark();
            self.fetch_report(Some(&mark));
            self.sink_has(&mark, Duration::from_millis(500))
        });
        assert!(published, "the module does not publish\n{}", self.tail());
        for exchange in event::EXCHANGES {
            self.until_subscribed(exchange);
        }
    }

    fn until_subscribed(&mut self, exchange: &str) {
        let client = self.world.broker.client();
        let subscribed = wait_until(PATIENCE, || {
            let mark = self.mark();
            let _ = client.publish(&[event_mark(exchange, &mark)]);
            self.kamailio.wait_for_log(&logged_mark(&mark), Duration::from_millis(300))
        });
        assert!(subscribed, "the module does not subscribe to {exchange}\n{}", self.tail());
    }

    fn mark(&mut self) -> String {
        self.marks += 1;
        format!("mark.{}", self.marks)
    }

    /// Collects messages until the mark is among them.
    fn sink_has(&mut self, mark: &str, patience: Duration) -> bool {
        wait_until(patience, || {
            self.arrived.extend(self.world.sink.take());
            self.arrived.iter().any(|message| message.routing_key == mark)
        })
    }

    // Scripts.

    fn run_scripts(&mut self, cases: &[&Case], outcomes: &mut [Outcome]) {
        let mut marks = Vec::new();
        for (case, outcome) in cases.iter().zip(&mut *outcomes) {
            let What::Script(form, input) = &case.what else { continue };
            let mut mark = None;
            for _ in 0..TRIES {
                *outcome = Outcome::new();
                mark = self.run_script(form, input, outcome);
                if !form.answered || outcome.get("branch").is_some_and(|branch| branch == "true") {
                    break;
                }
            }
            marks.push(mark);
        }
        if self.setup != Setup::NoBroker {
            self.add_messages(cases, &marks, outcomes);
        }
    }

    /// Returns the mark behind what the case published.
    fn run_script(&mut self, form: &Form, input: &Input, outcome: &mut Outcome) -> Option<String> {
        let mark = (self.setup != Setup::NoBroker).then(|| self.mark());
        let by_chance = self.kamailio.log_lines(BY_CHANCE).len();
        let route = self.forms.iter().position(|known| known == form).unwrap();
        let number = self.mark();
        let request = self.sip.request("MESSAGE").header("X-Number", &number);
        let mut request = request.header("X-Route", &format!("FORM{route}"));
        for (name, value) in [
            ("X-Exchange", &input.exchange),
            ("X-Key", &input.key),
            ("X-Headers", &input.headers),
            ("X-Path", &input.path),
            ("X-Text", &input.text),
        ] {
            request = request.header(name, &to_hex(value));
        }
        let accepted = request.body("text/plain", input.payload.clone()).timeout(HANGS).send();
        if form.resumed {
            self.add_callback(&number, outcome);
        }
        let report = accepted.ok().and_then(|_| self.fetch_report(mark.as_deref()));
        if self.side == Side::C && self.kamailio.log_lines(BY_CHANCE).len() > by_chance {
            outcome.insert(REFUSED_BY_CHANCE.into(), "yes".into());
        }
        match report {
            Some(report) => read_report(&report, form, outcome),
            None => {
                let ended = wait_until(Duration::from_secs(3), || !self.kamailio.is_running());
                outcome.insert("branch".into(), if ended { "crash" } else { "hang" }.into());
                self.restart();
                self.fetch_report(mark.as_deref());
            }
        }
        mark
    }

    /// What the callback of a suspended script reported.
    fn add_callback(&self, number: &str, outcome: &mut Outcome) {
        let sign = format!("RESUMED {number} ");
        self.kamailio.wait_for_log(&sign, RESUMES);
        let lines = self.kamailio.log_lines(&sign);
        outcome.insert("callbacks".into(), lines.len().to_string());
        for line in &lines {
            let mut words = line.split_once(&sign).map_or("", |(_, rest)| rest).split(' ');
            outcome.insert("callback".into(), words.next().unwrap_or_default().into());
            outcome.insert("callback $kzR".into(), value(words.next().unwrap_or_default()));
            outcome.insert("callback $avp(kept)".into(), value(words.next().unwrap_or_default()));
        }
    }

    fn fetch_report(&mut self, mark: Option<&str>) -> Option<String> {
        let request = self.sip.request("MESSAGE").header("X-Do", "report").header("X-Mark", mark.unwrap_or_default());
        let response = request.timeout(HANGS).send().ok()?;
        Some(String::from_utf8_lossy(&response.body).into_owned())
    }

    fn restart(&mut self) {
        let (kamailio, sip) = launch(&self.builder);
        (self.kamailio, self.sip) = (kamailio, sip);
        self.until_ready();
    }

    /// Hands each case the messages between its marks.
    fn add_messages(&mut self, cases: &[&Case], marks: &[Option<String>], outcomes: &mut [Outcome]) {
        let Some(last) = marks.iter().rev().flatten().next() else { return };
        if !self.sink_has(last, PATIENCE) {
            let known = |mark: &String| self.arrived.iter().any(|message| message.routing_key == *mark);
            let lost = scripts(cases).zip(marks).find(|(_, mark)| !mark.as_ref().is_some_and(known));
            let first = lost.map_or("", |(case, _)| &case.name);
            panic!("nothing arrived from {first} on\n{}", self.tail());
        }
        let arrived = std::mem::take(&mut self.arrived);
        let own = cases.iter().zip(outcomes).filter(|(case, _)| matches!(case.what, What::Script(..)));
        for ((_, outcome), mark) in own.zip(marks) {
            let is_mark = |message: &&Arrived| message.routing_key.starts_with("mark.");
            let end = arrived.iter().position(|message| Some(&message.routing_key) == mark.as_ref());
            let Some(end) = end else { continue };
            let own = arrived[..end].iter().rev().take_while(|message| !is_mark(message));
            let mut own: Vec<_> = own.cloned().collect();
            own.reverse();
            add_messages(outcome, &own);
        }
    }

    // Events.

    fn run_events(&mut self, cases: &[&Case], outcomes: &mut [Outcome]) {
        for exchange in event::EXCHANGES {
            let mut messages = Vec::new();
            let mut ends = Vec::new();
            for (case, outcome) in cases.iter().zip(&mut *outcomes) {
                let What::Event { exchange: to, key, body } = &case.what else { continue };
                if to == exchange {
                    let mark = self.mark();
                    messages.push(Message::new(exchange, key, body.clone()));
                    messages.push(event_mark(exchange, &mark));
                    ends.push((mark, outcome));
                }
            }
            let Some((last, _)) = ends.last() else { continue };
            self.world.broker.client().publish(&messages).unwrap();
            let came = self.kamailio.wait_for_log(&logged_mark(last), PATIENCE);
            assert!(came, "events of {exchange} did not all arrive\n{}", self.tail());
            let logged = self.kamailio.log_lines(EVENT);
            for (mark, outcome) in ends {
                let end = logged.iter().position(|line| line.contains(&logged_mark(&mark))).unwrap();
                let own = logged[..end].iter().rev().take_while(|line| !line.contains(MARK_ROUTE));
                let own: Vec<_> = own.collect();
                add_events(outcome, own.into_iter().rev());
            }
        }
    }

    fn run_connection_events(&mut self, cases: &[&Case], outcomes: &mut [Outcome]) {
        for (case, outcome) in cases.iter().zip(outcomes) {
            if matches!(case.what, What::ConnectionEvents) {
                let logged = self.kamailio.log_lines(EVENT);
                add_events(outcome, logged.iter().filter(|line| line.contains("connection")));
            }
        }
    }

    // Subscriptions.

    fn run_subscriptions(&mut self, cases: &[&Case], outcomes: &mut [Outcome]) {
        if self.setup != Setup::Subscriptions {
            return;
        }
        let list = |args: &[&str]| self.world.broker.ctl(args).unwrap();
        let lists = [
            ("exchanges", list(&["list_exchanges", "name", "type", "durable", "auto_delete", "internal"])),
            ("queues", list(&["list_queues", "name", "durable", "auto_delete", "exclusive", "arguments"])),
            (
                "bindings",
                list(&["list_bindings", "source_name", "destination_name", "destination_kind", "routing_key"]),
            ),
            ("consumers", list(&["list_consumers", "queue_name", "ack_required", "arguments"])),
            ("prefetch", list(&["list_consumers", "queue_name", "prefetch_count"])),
        ];
        let log = self.kamailio.log();
        for ((n, case), outcome) in cases.iter().enumerate().zip(outcomes) {
            if !matches!(case.what, What::Subscription(_)) {
                continue;
            }
            let returned = log.split_once(&format!("SUBSCRIBED {n} ")).map_or("nothing", |(_, rest)| rest);
            outcome.insert("rc".into(), class(returned.split_whitespace().next().unwrap_or_default()).into());
            let prefix = own_names(n);
            for (name, list) in &lists {
                let mut own: Vec<_> =
                    list.lines().filter(|line| line.contains(&prefix)).map(|line| named(line, &prefix)).collect();
                own.sort();
                outcome.insert((*name).into(), own.join("; "));
            }
        }
    }
}

/// The cases that are scripts.
fn scripts<'c>(cases: &[&'c Case]) -> impl Iterator<Item = &'c Case> {
    cases.iter().copied().filter(|case| matches!(case.what, What::Script(..)))
}

/// Prefix of the names that belong to subscription case number `n`.
fn own_names(n: usize) -> String {
    format!("s{n}-")
}

/// A row of a listing without the prefix and without names that the broker made up.
fn named(line: &str, prefix: &str) -> String {
    let word = |word: &str| {
        if word.starts_with("amq.gen-") { "<named by the broker>".to_string() } else { word.replace(prefix, "") }
    };
    line.split('\t').map(word).collect::<Vec<_>>().join(" ")
}

// What event routes log.

const EVENT: &str = "EVENT ";
/// The route of marks: no other event has this routing key.
const MARK_ROUTE: &str = "EVENT mark ";

fn event_mark(exchange: &str, mark: &str) -> Message {
    // Both fields of every subscription and configuration: looking for a route that does not exist changes what the C
    // module finds later.
    let keys = ["Event-Category", "Event-Name", "Kind", "Sub_Kind", "Only", "Changed_Key", "Changed-Sub"];
    let members: Vec<_> = keys.iter().map(|key| format!("\"{key}\":\"mark\"")).collect();
    Message::new(exchange, mark, format!("{{{}}}", members.join(",")))
}

fn logged_mark(mark: &str) -> String {
    format!("{MARK_ROUTE}text:{} ", to_hex(mark.as_bytes()))
}

fn add_events<'l>(outcome: &mut Outcome, lines: impl Iterator<Item = &'l String>) {
    let mut count = 0;
    for line in lines {
        count += 1;
        let words: Vec<_> = line.split_once(EVENT).map_or("", |(_, rest)| rest).split_whitespace().collect();
        let word = |n: usize| words.get(n).copied().unwrap_or_default();
        outcome.insert(format!("event {count} route"), word(0).to_string());
        outcome.insert(format!("event {count} routing key"), value(word(1)));
        outcome.insert(format!("event {count} payload"), value(word(2)));
    }
    outcome.insert("events".into(), count.to_string());
}

// Reports.

fn read_report(report: &str, form: &Form, outcome: &mut Outcome) {
    let mut words = report.split(' ');
    let branch = words.next().unwrap_or_default();
    outcome.insert("branch".into(), branch.trim_start_matches("branch=").into());
    if !form.call.is_empty()
        && let Some(code) = words.next()
    {
        outcome.insert("rc".into(), class(code.trim_start_matches("rc=")).into());
    }
    for (variable, word) in form.seen.iter().zip(words) {
        outcome.insert((*variable).into(), value(word));
    }
}

/// `null` or a quoted text.
fn value(word: &str) -> String {
    match word.strip_prefix("text:") {
        Some(hex) => format!("\"{}\"", shown(&from_hex(hex))),
        None => word.into(),
    }
}

/// Return codes are compared by what a script can rely on.
fn class(code: &str) -> &'static str {
    match code.parse() {
        Ok(UNCHANGED) => "unchanged",
        Ok(0) => "zero",
        Ok(1..) => "positive",
        Ok(_) => "negative",
        Err(_) => "none",
    }
}

/// `$rc` before each call.
const UNCHANGED: i32 = 5;

// Configuration.

fn launch(builder: &Builder) -> (Kamailio, SipClient) {
    let kamailio = builder.clone().start().unwrap();
    let sip = SipClient::new(kamailio.sip_port()).unwrap();
    (kamailio, sip)
}

/// The C module as Debian installs it.
fn c_module() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    let mut files = folders.map(|folder| folder.join("kamailio/modules/kazoo.so")).filter(|file| file.exists());
    files.next().expect("kazoo.so of Debian's package kamailio-kazoo-modules, see .ci/packages")
}

fn configuration(world: &World, side: Side, setup: Setup, forms: &[Form], cases: &[&Case]) -> Builder {
    let broker = if setup == Setup::NoBroker { &world.nobody } else { &world.broker };
    let builder = Kamailio::builder()
        .broker(broker)
        .children(1)
        .memory(128, 32)
        .line("pv_buffer_size=65000")
        .line("modparam(\"xlog\", \"buf_size\", 65000)")
        .modparam("node_hostname", "diff.rig.test")
        .modparam_int("pua_mode", 0)
        // One of each, so that both modules handle things in the order in which they come.
        .modparam_int("amqp_consumer_workers", 1)
        .modparam_int("amqp_max_channels", 1)
        .modparam_int("amqp_connect_timeout_sec", 3)
        .modparam_int("amqp_query_timeout_sec", 0)
        .modparam_int("amqp_query_timeout_micro", 400_000);
    let builder = match side {
        Side::C => builder.module(c_module()),
        Side::Ours => builder,
    };
    let builder = if setup == Setup::Changed { crate::tables::params::change(builder) } else { builder };
    let mut routes = FRAME.to_string();
    for (n, form) in forms.iter().enumerate() {
        routes.push_str(&form.route(&format!("FORM{n}")));
    }
    for name in event::ROUTES {
        let _ = writeln!(routes, "event_route[{name}] {{ $var(route) = \"{name}\"; route(EVENT); }}");
    }
    let subscriptions = match setup {
        Setup::Plain | Setup::Changed => event::SUBSCRIPTIONS.to_string(),
        Setup::NoBroker => String::new(),
        Setup::Subscriptions => subscribe_calls(cases),
    };
    if !subscriptions.is_empty() {
        let _ = writeln!(routes, "event_route[kazoo:mod-init] {{\n{subscriptions}}}");
    }
    builder.routes(routes)
}

fn subscribe_calls(cases: &[&Case]) -> String {
    let mut text = String::new();
    for (n, case) in cases.iter().enumerate() {
        if let What::Subscription(call) = &case.what {
            let call = call.replace('@', &own_names(n));
            let _ = writeln!(text, "    {call};\n    xlog(\"L_NOTICE\", \"SUBSCRIBED {n} $rc .\\n\");");
        }
    }
    text + crate::tables::subscribe::LAST_CALL
}

const _: () = assert!(EXCHANGE.len() == 4, "FRAME names it");

const FRAME: &str = r#"
request_route {
    if ($hdr(X-Do) == "report") {
        set_reply_body("$var(report)", "text/plain");
        sl_send_reply("200", "OK");
        if ($hdr(X-Mark) != $null && $hdr(X-Mark) != "") { kazoo_publish("diff", "$hdr(X-Mark)", "{}"); }
        exit;
    }
    $var(report) = "branch=exit";
    sl_send_reply("200", "OK");
    if ($hdr(X-Exchange) == "") { $var(exchange) = ""; } else { $var(exchange) = $(hdr(X-Exchange){s.decode.hexa}); }
    if ($hdr(X-Key) == "") { $var(key) = ""; } else { $var(key) = $(hdr(X-Key){s.decode.hexa}); }
    if ($hdr(X-Headers) == "") { $var(headers) = ""; } else { $var(headers) = $(hdr(X-Headers){s.decode.hexa}); }
    if ($hdr(X-Path) == "") { $var(path) = ""; } else { $var(path) = $(hdr(X-Path){s.decode.hexa}); }
    if ($hdr(X-Text) == "") { $var(text) = ""; } else { $var(text) = $(hdr(X-Text){s.decode.hexa}); }
    if ($rb == $null) { $var(payload) = ""; } else { $var(payload) = $rb; }
    $var(route) = $hdr(X-Route);
    route($var(route));
    exit;
}
route[FIVE] { return 5; }
onreply_route[OK] { $var(route) = "onreply_route[OK]"; route(RESUMED); }
failure_route[ERR] { $var(route) = "failure_route[ERR]"; route(RESUMED); }
route[RESUMED] {
    if ($kzR == $null) { $var(shown) = "null"; } else { $var(shown) = "text:" + $(kzR{s.encode.hexa}); }
    if ($avp(kept) == $null) { $var(shown) = $var(shown) + " null"; }
    else { $var(shown) = $var(shown) + " text:" + $(avp(kept){s.encode.hexa}); }
    xlog("L_NOTICE", "RESUMED $hdr(X-Number) $var(route) $var(shown) .\n");
}
route[EVENT] {
    if ($kzRK == $null) { $var(shown) = "null"; } else { $var(shown) = "text:" + $(kzRK{s.encode.hexa}); }
    if ($kzE == $null) { $var(shown) = $var(shown) + " null"; }
    else { $var(shown) = $var(shown) + " text:" + $(kzE{s.encode.hexa}); }
    if ($(kzRK{s.substr,0,5}) == "mark.") { $var(route) = "mark"; }
    xlog("L_NOTICE", "EVENT $var(route) $var(shown) .\n");
}
"#;
