//! The server of a value: one script for everything that is done on it.

use std::time::Duration;

use rig::load::{Answerer, Depth, payload, until_depth};
use rig::{Builder, Error, Exchange, Queue, Result};

use super::plan::Setup;
use crate::lab::{Kinds, Lab, PUBLISHED, Server, by_kind};
use crate::subject::Subject;
use crate::workloads::script_loop::FIRST_OF_REQUEST;
use crate::workloads::{consume, query};

/// Exchange and routing key of the event routes' own publishes, and the queue in which they arrive.
pub const BACK: &str = "load-back";
/// Queue of the events that are answered so.
pub const ECHO: &str = "load-echo";
/// Longest text that a script has as one literal; longer payloads it builds once in each process.
const LITERAL: usize = 4000;
/// A server has all its consumers after so long, or will not.
const READY: Duration = Duration::from_secs(30);

/// A running server.
#[derive(Debug)]
pub struct Site {
    /// The server.
    pub server: Server,
    /// How it was made.
    pub setup: Setup,
    kinds: Kinds,
}

/// Declares what outlives the servers.
pub fn prepare(lab: &Lab) -> Result<()> {
    lab.broker.declare_queue(&Queue::new(BACK).bind(&Exchange::topic(BACK), BACK))
}

impl Site {
    /// Starts it. Its broker has nothing left of the one before.
    pub fn open(lab: &Lab, setup: Setup) -> Result<Self> {
        for queue in [PUBLISHED, BACK] {
            lab.broker.purge(queue)?;
        }
        for queue in queues(&setup) {
            lab.broker.declare_queue(&Queue::new(&queue).bind(&Exchange::topic(consume::EVENTS), &queue))?;
            lab.broker.purge(&queue)?;
        }
        let adjust = |builder| adjusted(builder, lab, &setup);
        let server = Server::start(lab, Subject::Ours, setup.workers, &script(&setup), adjust)?;
        let _answerer = Answerer::start(lab.broker.client(), Duration::ZERO)?;
        server.until_ready("query")?;
        for queue in queues(&setup) {
            let consumed = |depth: Depth| depth.consumers >= setup.brokers.into();
            until_depth(lab.broker.client(), &queue, READY, consumed)?
                .ok_or_else(|| Error::new(format!("nobody consumes {queue}\n{}", server.kamailio.log_end())))?;
        }
        let kinds = server.kinds()?;
        Ok(Self { server, setup, kinds })
    }

    /// How often the manager has gone to sleep.
    pub fn manager_switches(&self) -> Result<u64> {
        let all = by_kind(&self.kinds, rig::voluntary_switches);
        all.get("manager").copied().ok_or_else(|| Error::new("there is no manager"))
    }
}

/// Queues of events that are only counted.
pub fn event_queues(setup: &Setup) -> Vec<String> {
    (0..setup.subscriptions).map(|number| format!("{}-{number}", consume::EVENTS)).collect()
}

fn queues(setup: &Setup) -> Vec<String> {
    event_queues(setup).into_iter().chain([ECHO.to_string()]).collect()
}

fn adjusted(builder: Builder, lab: &Lab, setup: &Setup) -> Builder {
    let mut builder = consume::counting(builder)
        .memory(setup.shared_mib, if setup.bytes > LITERAL { 512 } else { 16 })
        .modparam_int("amqp_consumer_workers", setup.consumers.into())
        .modparam_int("amqp_query_timeout_sec", 15);
    if setup.bytes > LITERAL {
        builder = builder.line(&format!("pv_buffer_size={}", 2 * setup.bytes));
    }
    for _ in 1..setup.brokers {
        builder = builder.broker(&lab.broker);
    }
    for (name, value) in &setup.parameters {
        builder = builder.modparam_int(name, *value);
    }
    builder
}

fn script(setup: &Setup) -> String {
    let (asked, key) = (query::route(Subject::Ours), rig::load::QUESTIONS_KEY);
    let question = payload("' + $hdr(X-Seq) + '", setup.bytes.min(LITERAL));
    let (publish, publish_next) = (publish(setup, "$hdr(X-Seq)"), publish(setup, "$hdr(X-Seq)$var(i)"));
    let (count, end) = (consume::COUNT_ROUTE, FIRST_OF_REQUEST + setup.per_loop);
    format!(
        "request_route {{\n\
             {count}\n\
             switch ($hdr(X-Case)) {{\n\
             case \"publish\":\n\
                 {publish}\n\
                 if ($var(ok) > 0) {{ sl_send_reply(\"200\", \"OK\"); }} else {{ sl_send_reply(\"503\", \"Refused\"); }}\n\
                 exit;\n\
             case \"query\":\n\
                 {asked}\
             case \"async\":\n\
                 $var(p) = '{question}';\n\
                 kazoo_async_query(\"{key}\", \"{key}\", $var(p), \"ANSWERED\", \"UNANSWERED\");\n\
                 sl_send_reply(\"503\", \"Not asked\");\n\
                 exit;\n\
             case \"loop\":\n\
                 $var(i) = {FIRST_OF_REQUEST};\n\
                 $var(done) = 0;\n\
                 while ($var(i) < {end}) {{\n\
                     {publish_next}\n\
                     if ($var(ok) > 0) {{ $var(done) = $var(done) + 1; }}\n\
                     $var(i) = $var(i) + 1;\n\
                 }}\n\
                 append_to_reply(\"X-Done: $var(done)\\r\\n\");\n\
                 sl_send_reply(\"200\", \"OK\");\n\
                 exit;\n\
             }}\n\
         }}\n\
         route[ANSWERED] {{\n\
             append_to_reply(\"X-Answer: $(kzR{{kz.json,Seq}})\\r\\n\");\n\
             t_reply(\"200\", \"OK\");\n\
         }}\n\
         route[UNANSWERED] {{ t_reply(\"504\", \"No answer\"); }}\n\
         {}",
        events(setup)
    )
}

/// Script text that publishes a payload with this number; `$var(ok)` is the return code.
fn publish(setup: &Setup, number: &str) -> String {
    if setup.bytes <= LITERAL {
        let payload = payload(number, setup.bytes);
        return format!("kazoo_publish(\"{PUBLISHED}\", \"{PUBLISHED}\", '{payload}');\n$var(ok) = $rc;");
    }
    // Variables live as long as their process.
    let bytes = setup.bytes;
    format!(
        "if ($var(made) != 1) {{\n\
             $var(filler) = \"xxxxxxxxxx\";\n\
             while ($(var(filler){{s.len}}) * 2 < {bytes}) {{ $var(filler) = $var(filler) + $var(filler); }}\n\
             $var(filler) = $var(filler) + $(var(filler){{s.substr,0,{rest}}});\n\
             $var(made) = 1;\n\
         }}\n\
         $var(p) = '{{\"Seq\":\"' + {number} + '\",\"Filler\":\"' + $var(filler) + '\"}}';\n\
         kazoo_publish(\"{PUBLISHED}\", \"{PUBLISHED}\", $var(p));\n\
         $var(ok) = $rc;",
        rest = rest(bytes),
        number = number.replace(")$", ") + $"),
    )
}

/// What doubling ten bytes as long as that fits leaves.
fn rest(bytes: usize) -> usize {
    let doubled = std::iter::successors(Some(10), |size| (size * 2 < bytes).then_some(size * 2));
    bytes - doubled.last().unwrap_or(bytes)
}

/// Subscriptions and their event route.
fn events(setup: &Setup) -> String {
    let exchange = consume::EVENTS;
    let subscribe = |queue: &String| {
        format!(
            "kazoo_subscribe(\"{{'exchange':'{exchange}','type':'topic','queue':'{queue}','routing':'{queue}',\
             'auto_delete':0,'no_ack':0,'wait_for_consumer_ack':1}}\");\n"
        )
    };
    let subscriptions: String = queues(setup).iter().map(subscribe).collect();
    let wait = match setup.event_wait.as_micros() {
        0 => String::new(),
        us => format!("usleep(\"{us}\");"),
    };
    let answer = payload("$(kzE{kz.json,Seq})", crate::PAYLOAD_BYTES);
    format!(
        "event_route[kazoo:mod-init] {{ {subscriptions} }}\n\
         event_route[kazoo:consumer-event-load-test] {{\n\
             if ($kzRK == \"{ECHO}\") {{\n\
                 kazoo_publish(\"{BACK}\", \"{BACK}\", '{answer}');\n\
             }} else {{\n\
                 {wait}\n\
                 update_stat(\"events\", \"+1\");\n\
             }}\n\
         }}\n"
    )
}
