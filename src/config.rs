//! Every modparam, in one table, and the [`Config`] that they make.
//!
//! The setters of the entry layer call [`set`] while the main process reads the configuration file; `mod_init` calls
//! [`finish`] once; from then on [`get`] gives the same immutable values in every process. Plain data: this file
//! must not call Kamailio, so that the manager process can use it.

#![forbid(unsafe_code)]

mod broker_url;
mod param;

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

pub use broker_url::{BrokerUrl, Connection, Secret, UrlError};
pub use param::{IntKind, Kind, Param, ParamError, Value};
use param::{inert_int, inert_text, int, int_unset, ring, switch_row, text_row};

/// Longest `node_hostname`: the reply routing key `kamailio@HOST-<ID>-targeted-I` must fit AMQP's 255 bytes.
const MAX_NODE_HOSTNAME: usize = 200;
/// Seconds that the AMQP client library uses when no heartbeat is asked for; it cannot go without.
const LIBRARY_HEARTBEAT_S: u32 = 60;

/// All settings of the module, checked. A [`Builder`] makes it; `Config::default()` is blank, not the defaults of the
/// parameters. The names follow the modparams without their `amqp_` prefix.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `node_hostname`: name of this server on the bus.
    pub node_hostname: String,
    /// `app_name`: value of the `App-Name` field.
    pub app_name: String,
    /// Brokers in order of appearance, which is also the order of preference inside a zone.
    pub brokers: Vec<Broker>,
    /// Zone names; index 0 is the primary zone.
    pub zones: Vec<String>,
    /// `amqp_connect_timeout_*`: limit of one connection attempt.
    pub connect_timeout: Duration,
    /// `amqp_heartbeats`, as proposed to the broker.
    pub heartbeat: Duration,
    /// `amqp_reconnect_min_ms`: first pause after a lost connection.
    pub reconnect_min: Duration,
    /// `amqp_reconnect_max_ms`: longest pause between two attempts.
    pub reconnect_max: Duration,
    /// Files and switches of `amqps://` connections.
    pub tls: Tls,

    /// `amqp_consumer_workers`, else `amqp_consumer_processes`: processes that run event routes.
    pub consumers: u32,
    /// `amqp_consumer_event_key`: payload field with the first part of the event name.
    pub event_key: String,
    /// `amqp_consumer_event_subkey`: payload field with the second part of the event name.
    pub event_subkey: String,
    /// `event_callback`: KEMI function that replaces event routes.
    pub event_callback: Option<String>,
    /// `amqp_prefetch`: unacknowledged messages per subscription.
    pub prefetch: u16,
    /// `amqp_max_redeliveries`: after so many redeliveries a message is given up; 0: never.
    pub max_redeliveries: u32,

    /// `amqp_publish_wait_ms`: how long a publish may wait for room while confirms move.
    pub publish_wait: Duration,
    /// `amqp_sip_wait_ms`: the same for a SIP message that is no loop.
    pub sip_wait: Duration,
    /// `amqp_confirm_window`: messages under way on one connection before the next waits.
    pub confirm_window: usize,
    /// `amqp_persistent`: publish with delivery mode 2.
    pub persistent: bool,
    /// `amqp_mandatory`: have the broker return what no queue is bound for.
    pub mandatory: bool,
    /// `amqp_max_message_size`: largest message body in bytes, both directions.
    pub max_message_size: usize,
    /// `amqp_query_timeout_*`: how long a query waits for its reply.
    pub query_timeout: Duration,
    /// `amqp_query_timeout_avp`: variable that holds the timeout of one query in milliseconds.
    pub query_timeout_avp: Option<String>,

    /// Ring sizes, per process.
    pub rings: RingSizes,
    /// `amqp_consumer_ack_loop_count`: acknowledgements handled before the next kind of work has its turn.
    pub ack_loop_count: u32,
    /// `amqp_internal_loop_count`: commands handled before the next kind of work has its turn.
    pub internal_loop_count: u32,
    /// `amqp_consumer_loop_count`: deliveries handled before the next kind of work has its turn.
    pub consumer_loop_count: u32,
    /// `amqp_consumer_ack_timeout_*`: longest sleep without a look at the acknowledgements.
    pub ack_timeout: Duration,
    /// `amqp_interprocess_timeout_*`: longest sleep without a look at the commands.
    pub interprocess_timeout: Duration,
    /// `amqp_waitframe_timeout_*`: longest sleep without a look at the deliveries.
    pub waitframe_timeout: Duration,
    /// `consume_messages_on_reconnect`: no delivery count until the backlog is drained.
    pub consume_messages_on_reconnect: bool,
    /// `single_consumer_on_reconnect`: the backlog goes to one consumer, in order.
    pub single_consumer_on_reconnect: bool,
    /// `amqp_stall_timeout_ms`: messages in flight and no confirm for so long means that confirms stand still.
    pub stall_timeout: Duration,
    /// `amqp_hang_timeout_ms`: a manager whose heartbeat stops for so long is killed and started again.
    pub hang_timeout: Duration,
    /// `amqp_drain_timeout_ms`: at shutdown, how long the manager waits for outstanding confirms.
    pub drain_timeout: Duration,

    /// `json_escape_char`: stands for a literal dot in a JSON path.
    pub json_escape_char: u8,
    /// `expand_unquoted_params`: variables in the value of an unquoted parameter are expanded.
    pub expand_unquoted_params: bool,
    /// Settings of the presence functions.
    pub presence: Presence,
    /// One line each about accepted parameters that do not do what their line in the file suggests.
    pub notices: Vec<String>,
}

/// One broker.
#[derive(Clone, Debug)]
pub struct Broker {
    /// 1, 2, 3... over all zones in order of appearance; visible in `Server-ID` and in `consumer://` keys.
    pub id: u32,
    /// Index into [`Config::zones`].
    pub zone: usize,
    /// Address and login.
    pub url: BrokerUrl,
}

/// Sizes of the rings of one process in bytes, each a power of two.
#[derive(Clone, Copy, Debug, Default)]
pub struct RingSizes {
    /// `amqp_command_ring_kb`: script to manager, the outbox.
    pub command: u32,
    /// `amqp_reply_ring_kb`: query replies, manager to script.
    pub reply: u32,
    /// `amqp_delivery_ring_kb`: manager to consumer.
    pub delivery: u32,
    /// `amqp_ack_ring_kb`: consumer to manager.
    pub ack: u32,
}

/// TLS settings of `amqps://` connections.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// `amqps_ca_cert`: PEM file of trusted authorities.
    pub ca_cert: Option<String>,
    /// `amqps_cert`: PEM file of the client certificate.
    pub cert: Option<String>,
    /// `amqps_key`: PEM file of the client key.
    pub key: Option<String>,
    /// `amqps_verify_peer`: check the certificate chain.
    pub verify_peer: bool,
    /// `amqps_verify_hostname`: check the name in the certificate.
    pub verify_hostname: bool,
}

/// Settings of the presence functions.
#[derive(Clone, Debug, Default)]
pub struct Presence {
    /// `pua_mode`: 1 writes presence states to the database.
    pub pua_mode: u32,
    /// `db_url`: database of the presentity table.
    pub db_url: Option<String>,
    /// `presentity_table`: name of the table.
    pub table: String,
    /// `pua_lock_type`: 0 none, 1 write lock, 2 full lock.
    pub lock_type: u32,
    /// `pua_include_entity`: dialog bodies contain target elements.
    pub include_entity: bool,
}

/// Why the parameters, each correct by itself, make no usable whole. Found at `mod_init`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The one mandatory parameter.
    #[error("node_hostname is not set, write modparam(\"kazoo\", \"node_hostname\", \"name.of.this.server\")")]
    NoNodeHostname,
    /// A wait without any length.
    #[error("{0}_sec and {0}_micro are both 0, together they must be more than 0")]
    ZeroTimeout(&'static str),
    /// Back-off limits crossed.
    #[error("amqp_reconnect_min_ms is {min}, which is more than amqp_reconnect_max_ms ({max})")]
    ReconnectOrder {
        /// As configured.
        min: u128,
        /// As configured.
        max: u128,
    },
    /// Half of a client certificate.
    #[error("amqps_cert and amqps_key belong together, set both or none")]
    HalfCertificate,
}

/// The parameters seen so far: a [`Config`] in the making.
#[derive(Debug)]
pub struct Builder {
    config: Config,
    primary_zone: String,
    connections: Vec<Connection>,
    processes: u32,
    workers: Option<u32>,
    heartbeats: u32,
    times: Times,
    inert: Vec<&'static str>,
}

/// The `_sec`/`_micro` pairs. The halves are independent: setting one leaves the other at its default.
#[derive(Debug, Default)]
struct Times {
    query: Halves,
    connect: Halves,
    ack: Halves,
    interprocess: Halves,
    waitframe: Halves,
}

#[derive(Clone, Copy, Debug, Default)]
struct Halves {
    sec: u32,
    micro: u32,
}

impl Halves {
    fn sum(self) -> Duration {
        Duration::from_secs(self.sec.into()) + Duration::from_micros(self.micro.into())
    }

    /// The sum, refused when it is zero.
    fn positive(self, name: &'static str) -> Result<Duration, ConfigError> {
        if self.sum().is_zero() { Err(ConfigError::ZeroTimeout(name)) } else { Ok(self.sum()) }
    }
}

/// Limits of a count that bounds one turn of the manager's loop.
const COUNT: (u32, u32) = (1, 1_000_000);
/// Limits of the seconds half of a time.
const SEC: (u32, u32) = (0, 3_600);
/// Limits of the microseconds half of a time; more than a second is allowed, the halves are added.
const MICRO: (u32, u32) = (0, 1_000_000_000);
/// Any number that Kamailio's own `int` can hold and that is not negative.
const ANY: (u32, u32) = (0, i32::MAX as u32);

/// Every modparam. The reference manual is generated from this table.
// Skipped by rustfmt: one row of a table in as few lines as it needs.
#[rustfmt::skip]
pub const PARAMS: &[Param] = &[
    // Identity and brokers.
    text_row(c"node_hostname", None, set_node_hostname,
        "Name of this server on the bus, unique among all servers. Mandatory. Part of the Node field, of the reply \
         queue's name and of Server-ID."),
    text_row(c"amqp_connection", None, add_connection,
        "Adds one broker; may be given several times. The form is \
         [zone=NAME;]amqp[s]://[user[:password]@][host][:port][/vhost]; kazoo:// is amqp://, an IPv6 address stands in \
         brackets, and % codes stand for delimiters. Without zone= it belongs to the primary zone. Brokers are \
         numbered from 1 over all zones in this order (see consumer:// keys and Server-ID), which is also the order of \
         preference inside a zone."),
    text_row(c"amqp_primary_zone", Some("local"), |b, v| put(&mut b.primary_zone, v),
        "Name of the zone of brokers without a zone= prefix. Publishes and queries go to this zone. May stand before \
         or after amqp_connection."),
    text_row(c"app_name", Some("kamailio"), |b, v| put(&mut b.config.app_name, v),
        "Value of the App-Name field that is added to outgoing messages."),

    // Consumers and events.
    int(c"amqp_consumer_processes", 4, (1, 256), "processes", |b, n| b.processes = n,
        "Number of processes that run event routes and the callbacks of kazoo_async_query."),
    int_unset(c"amqp_consumer_workers", (1, 256), "processes", |b, n| b.workers = Some(n),
        "The same as amqp_consumer_processes, under the name that the C module has for it; takes precedence when \
         both are set."),
    text_row(c"amqp_consumer_event_key", Some("Event-Category"), |b, v| put(&mut b.config.event_key, v),
        "Payload field that holds the first part of the event name."),
    text_row(c"amqp_consumer_event_subkey", Some("Event-Name"), |b, v| put(&mut b.config.event_subkey, v),
        "Payload field that holds the second part of the event name."),
    text_row(c"event_callback", None, |b, v| put_some(&mut b.config.event_callback, v),
        "KEMI function that is run instead of event routes; its argument is the name of the event."),
    int(c"amqp_prefetch", 500, (1, 65_535), "messages",
        |b, n| b.config.prefetch = u16::try_from(n).unwrap_or(u16::MAX),
        "Messages of one subscription that the broker hands out before it waits for acknowledgements; they lie in the memory of \
         the manager process. Of large messages it is fewer: as many as fit into 4 MB divided by the number of subscriptions (32 KB \
         at least), by their mean size and 512 bytes beside each, and one at the least. So a subscription begins with 4 and has \
         its number when their size is known. Where small messages are followed by large ones, so many as before are under \
         way already; at the change half as many come on top for a moment. A number below 12 is kept whatever the size."),
    int(c"amqp_max_redeliveries", 20, (0, 1_000_000), "redeliveries", |b, n| b.config.max_redeliveries = n,
        "A message that a queue has delivered again so often, because the server or its connection was lost each time \
         before the event route had ended, is given up at the next: rejected, so that a dead-letter exchange of \
         the queue gets it; counted and logged. 0: never. Only quorum queues count (x-delivery-count); the messages of classic \
         queues are never given up."),

    // Publish and query.
    int(c"amqp_publish_wait_ms", 500, (0, 10_000), "ms", |b, n| b.config.publish_wait = ms(n),
        "How long kazoo_publish may wait for room in the outbox while confirms move, so that a script loop runs at the \
         broker's speed: in a run of the script from its sixteenth message or a quarter of the outbox on, and in event \
         routes and timers. With no broker, or after a wait in which nothing moved, it does not wait."),
    int(c"amqp_sip_wait_ms", 20, (0, 1_000), "ms", |b, n| b.config.sip_wait = ms(n),
        "How long kazoo_publish and kazoo_async_query may wait for room in the outbox when a SIP message is being processed \
         and its script is no such loop. A process waits in vain no more than a tenth of its time, and 0.2 ms more for each \
         message that it gets rid of. At most amqp_publish_wait_ms."),
    int(c"amqp_confirm_window", 1000, (1, 65_535), "messages", |b, n| b.config.confirm_window = n as usize,
        "Messages that a broker may have without having confirmed them; the next waits in its outbox. So many are sent \
         a second time after a lost connection. Of large messages it is fewer: from 8 MB of them on the next waits too."),
    switch_row(c"amqp_persistent", false, |b, on| b.config.persistent = on,
        "Publish with delivery mode 2: durable queues keep the message over a restart of the broker, which then writes \
         every message to disk."),
    switch_row(c"amqp_mandatory", false, |b, on| b.config.mandatory = on,
        "Publish with the mandatory flag: the broker returns a message that no queue is bound for instead of dropping it \
         silently. It is counted as returned, logged, and told to kazoo:consumer-event-amqp-error-returned; it counts as \
         confirmed too. A returned message crosses the network twice."),
    int(c"amqp_max_message_size", 16_777_216, (65_536, 134_217_728), "bytes",
        |b, n| b.config.max_message_size = n as usize,
        "Largest message body, in both directions: a larger publish returns -4, a larger message from the bus is \
         rejected."),
    int(c"amqp_query_timeout_sec", 2, SEC, "s", |b, n| b.times.query.sec = n,
        "How long a query waits for its answer, seconds part."),
    int(c"amqp_query_timeout_micro", 0, MICRO, "us", |b, n| b.times.query.micro = n,
        "How long a query waits for its answer, microseconds part."),
    text_row(c"amqp_query_timeout_avp", None, set_query_timeout_avp,
        "Variable that holds the timeout of one query in milliseconds, as a number or a text with a number, up to an \
         hour. Read at each query; null, 0 or anything else: the default counts."),

    // Connections.
    int(c"amqp_connect_timeout_sec", 0, SEC, "s", |b, n| b.times.connect.sec = n,
        "Limit of one attempt to connect, seconds part. TLS, login and declarations have another 10 s."),
    int(c"amqp_connect_timeout_micro", 200_000, MICRO, "us", |b, n| b.times.connect.micro = n,
        "Limit of one attempt to connect, microseconds part."),
    int(c"amqp_heartbeats", 10, (0, 3_600), "s", |b, n| b.heartbeats = n,
        "Heartbeat proposed to the brokers; a silent broker is given up after two of them. 0 leaves it to the client \
         library (60 s), 1 is raised to 2."),
    int(c"amqp_reconnect_min_ms", 100, (10, 60_000), "ms", |b, n| b.config.reconnect_min = ms(n),
        "Pause before the first attempt to connect again; it doubles with each failure."),
    int(c"amqp_reconnect_max_ms", 5_000, (10, 600_000), "ms", |b, n| b.config.reconnect_max = ms(n),
        "Longest pause between two attempts to connect."),
    text_row(c"amqps_ca_cert", None, |b, v| put_some(&mut b.config.tls.ca_cert, v),
        "PEM file of the authorities that may have signed an amqps:// broker's certificate. Not set: those that the \
         system trusts (/etc/ssl/certs/ca-certificates.crt or what other distributions have instead). Read at the \
         start, as are amqps_cert and amqps_key; a file that cannot be used stops it."),
    text_row(c"amqps_cert", None, |b, v| put_some(&mut b.config.tls.cert, v),
        "PEM file of the client certificate; used together with amqps_key."),
    text_row(c"amqps_key", None, |b, v| put_some(&mut b.config.tls.key, v),
        "PEM file of the client certificate's key."),
    switch_row(c"amqps_verify_peer", true, |b, on| b.config.tls.verify_peer = on,
        "Check that a broker's certificate is signed by a trusted authority and in date. 0: any certificate will do, \
         also one that is signed by itself."),
    switch_row(c"amqps_verify_hostname", true, |b, on| b.config.tls.verify_hostname = on,
        "Check that a broker's certificate (subjectAltName) is made out to the host of amqp_connection. Set both to 0 \
         to accept whatever answers."),

    // The manager's loop.
    int(c"amqp_consumer_ack_loop_count", 20, COUNT, "acknowledgements", |b, n| b.config.ack_loop_count = n,
        "Acknowledgements handled in one turn before commands are looked at."),
    int(c"amqp_internal_loop_count", 5, COUNT, "commands", |b, n| b.config.internal_loop_count = n,
        "Publishes and queries handled in one turn before deliveries are looked at."),
    int(c"amqp_consumer_loop_count", 10, COUNT, "deliveries", |b, n| b.config.consumer_loop_count = n,
        "Deliveries handled in one turn before acknowledgements are looked at."),
    int(c"amqp_consumer_ack_timeout_sec", 0, SEC, "s", |b, n| b.times.ack.sec = n,
        "Longest sleep without a look at the acknowledgements, seconds part."),
    int(c"amqp_consumer_ack_timeout_micro", 100_000, MICRO, "us", |b, n| b.times.ack.micro = n,
        "Longest sleep without a look at the acknowledgements, microseconds part."),
    int(c"amqp_interprocess_timeout_sec", 0, SEC, "s", |b, n| b.times.interprocess.sec = n,
        "Longest sleep without a look at publishes and queries, seconds part."),
    int(c"amqp_interprocess_timeout_micro", 100_000, MICRO, "us", |b, n| b.times.interprocess.micro = n,
        "Longest sleep without a look at publishes and queries, microseconds part."),
    int(c"amqp_waitframe_timeout_sec", 0, SEC, "s", |b, n| b.times.waitframe.sec = n,
        "Longest sleep without a look at the deliveries, seconds part."),
    int(c"amqp_waitframe_timeout_micro", 100_000, MICRO, "us", |b, n| b.times.waitframe.micro = n,
        "Longest sleep without a look at the deliveries, microseconds part."),
    switch_row(c"consume_messages_on_reconnect", true, |b, on| b.config.consume_messages_on_reconnect = on,
        "After a reconnect, take deliveries without a count until the backlog is drained."),
    switch_row(c"single_consumer_on_reconnect", true, |b, on| b.config.single_consumer_on_reconnect = on,
        "After a reconnect, give the backlog to one consumer process, in order."),
    int(c"amqp_stall_timeout_ms", 500, (50, 60_000), "ms", |b, n| b.config.stall_timeout = ms(n),
        "Messages in flight and no confirm for so long: confirms stand still, a full outbox refuses at once."),
    int(c"amqp_hang_timeout_ms", 10_000, (1_000, 600_000), "ms", |b, n| b.config.hang_timeout = ms(n),
        "A manager process that gives no sign of life for so long is killed and started again. After half of it a silent one, \
         which may have nothing to do, is asked. An idle one gives a sign with each heartbeat of AMQP."),
    int(c"amqp_drain_timeout_ms", 3_000, (0, 50_000), "ms", |b, n| b.config.drain_timeout = ms(n),
        "At shutdown, how long the manager process waits for outstanding confirms."),

    // Ring sizes. Each process that runs script has the first two, each consumer process all four.
    ring(c"amqp_command_ring_kb", 256, |b, n| b.config.rings.command = n * 1024,
        "Outbox of one process: publishes and queries that the broker has not confirmed yet."),
    ring(c"amqp_reply_ring_kb", 32, |b, n| b.config.rings.reply = n * 1024,
        "Query replies on their way to one process."),
    ring(c"amqp_delivery_ring_kb", 64, |b, n| b.config.rings.delivery = n * 1024,
        "Deliveries on their way to one consumer process."),
    ring(c"amqp_ack_ring_kb", 32, |b, n| b.config.rings.ack = n * 1024,
        "Acknowledgements on their way from one consumer process."),

    // Script, JSON and presence.
    text_row(c"json_escape_char", Some("%"), set_json_escape_char,
        "In a JSON path this character stands for a literal dot; only the first byte counts."),
    switch_row(c"expand_unquoted_params", true, |b, on| b.config.expand_unquoted_params = on,
        "A parameter of kazoo_publish and the like that is written without quotes, as $var(payload), may have $ in its \
         value. 1: this is expanded once more, which scripts rely on that build a payload in a single-quoted string; \
         a value with a $ that starts no variable makes the function return -14. 0: the value is taken as it is, which is \
         safer, because text of a SIP message can carry a $."),
    int(c"pua_mode", 1, ANY, "mode", |b, n| b.config.presence.pua_mode = n,
        "1: the presence functions write to the database; anything else: they do nothing and return -1."),
    text_row(c"db_url", None, |b, v| put_some(&mut b.config.presence.db_url, v),
        "Database of the presentity table, with pua_mode 1. Its driver must be loaded before kazoo.so, and a connection \
         must succeed at the start. Without it the server starts, and the presence functions return -10."),
    text_row(c"presentity_table", Some("presentity"), |b, v| put(&mut b.config.presence.table, v),
        "Name of the presentity table, as in the presence module's parameter of the same name."),
    int(c"pua_lock_type", 1, (0, 2), "0 none, 1 write lock, 2 full lock", |b, n| b.config.presence.lock_type = n,
        "Lock that is taken on the presentity table during an update, where the driver has transactions."),
    switch_row(c"pua_include_entity", true, |b, on| b.config.presence.include_entity = on,
        "Dialog documents say where both ends are reached (target elements)."),

    // Accepted so that configurations written for the C module load.
    inert_int(c"amqp_max_channels", 50, "publishing uses one confirmed channel, which keeps the order",
        "Number of publish channels of the C module."),
    inert_text(c"amqp_result_avp", "$avp(amqp_result)", "a query's result is in $kzR and in the target variable",
        "Never had an effect."),
    inert_int(c"amqp_command_hashtable_size", 2048, "there is no such table here",
        "Size of the C module's table of pending queries."),
    inert_int(c"amqp_timer_process_interval", 200, "there is no timer process here",
        "Interval of a process that the C module does not start either."),
    inert_int(c"amqp_timmer_process_interval", 200, "there is no timer process here",
        "Older spelling of amqp_timer_process_interval."),
    inert_int(c"presence_use_full_entity", 0, NOBODY_READS_IT, "Never had an effect."),
    inert_int(c"use_federated_exchange", 0, NOBODY_READS_IT, "Never had an effect."),
    inert_text(c"federated_exchange", "federation", NOBODY_READS_IT, "Never had an effect."),
];

/// Why some parameters are inert.
const NOBODY_READS_IT: &str = "the C module does not read it either";

fn put(field: &mut String, value: &str) -> Result<(), String> {
    value.clone_into(field);
    Ok(())
}

fn put_some(field: &mut Option<String>, value: &str) -> Result<(), String> {
    *field = Some(value.to_owned());
    Ok(())
}

fn set_node_hostname(builder: &mut Builder, value: &str) -> Result<(), String> {
    if value.len() > MAX_NODE_HOSTNAME {
        return Err(format!("{} bytes long, allowed are {MAX_NODE_HOSTNAME}", value.len()));
    }
    put(&mut builder.config.node_hostname, value)
}

fn add_connection(builder: &mut Builder, value: &str) -> Result<(), String> {
    let form = "[zone=NAME;]amqp[s]://[user[:password]@][host][:port][/vhost]";
    builder.connections.push(Connection::parse(value).map_err(|e| format!("{e}; the form is {form}"))?);
    Ok(())
}

fn set_query_timeout_avp(builder: &mut Builder, value: &str) -> Result<(), String> {
    if !value.starts_with('$') {
        return Err("not a variable, write for example \"$avp(kz_timeout)\"".to_owned());
    }
    put_some(&mut builder.config.query_timeout_avp, value)
}

fn set_json_escape_char(builder: &mut Builder, value: &str) -> Result<(), String> {
    builder.config.json_escape_char = value.bytes().next().unwrap_or(b'%');
    Ok(())
}

fn ms(n: u32) -> Duration {
    Duration::from_millis(n.into())
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// All parameters at their defaults.
    pub fn new() -> Self {
        let mut builder = Self::blank();
        for param in PARAMS {
            let applied = param.set_default(&mut builder);
            debug_assert!(applied.is_ok(), "default of {}: {applied:?}", param.name());
        }
        builder
    }

    /// Nothing set, not even the defaults.
    fn blank() -> Self {
        Self {
            config: Config::default(),
            primary_zone: String::new(),
            connections: Vec::new(),
            processes: 0,
            workers: None,
            heartbeats: 0,
            times: Times::default(),
            inert: Vec::new(),
        }
    }

    /// Sets the parameter `PARAMS[index]`. `Err` leaves the old value.
    pub fn set_at(&mut self, index: usize, value: Value<'_>) -> Result<(), ParamError> {
        let Some(param) = PARAMS.get(index) else {
            return Err(ParamError::Refused("no such parameter".to_owned()));
        };
        param.set(self, value)?;
        if param.inert.is_some() && !self.inert.contains(&param.name()) {
            self.inert.push(param.name());
        }
        Ok(())
    }

    /// Sets a parameter by name.
    pub fn set(&mut self, name: &str, value: Value<'_>) -> Result<(), ParamError> {
        self.set_at(PARAMS.iter().position(|p| p.name() == name).unwrap_or(usize::MAX), value)
    }

    /// Checks what concerns several parameters and gives the finished configuration.
    pub fn finish(mut self) -> Result<Config, ConfigError> {
        if self.config.node_hostname.is_empty() {
            return Err(ConfigError::NoNodeHostname);
        }
        self.finish_times()?;
        self.finish_notices();
        self.finish_brokers();
        let config = self.config;
        if config.reconnect_min > config.reconnect_max {
            let (min, max) = (config.reconnect_min.as_millis(), config.reconnect_max.as_millis());
            return Err(ConfigError::ReconnectOrder { min, max });
        }
        if config.tls.cert.is_some() != config.tls.key.is_some() {
            return Err(ConfigError::HalfCertificate);
        }
        Ok(Config { consumers: self.workers.unwrap_or(self.processes), ..config })
    }

    fn finish_times(&mut self) -> Result<(), ConfigError> {
        let (times, config) = (&self.times, &mut self.config);
        config.query_timeout = times.query.positive("amqp_query_timeout")?;
        config.connect_timeout = times.connect.positive("amqp_connect_timeout")?;
        config.ack_timeout = times.ack.positive("amqp_consumer_ack_timeout")?;
        config.interprocess_timeout = times.interprocess.positive("amqp_interprocess_timeout")?;
        config.waitframe_timeout = times.waitframe.positive("amqp_waitframe_timeout")?;
        let heartbeat_s = if self.heartbeats == 0 { LIBRARY_HEARTBEAT_S } else { self.heartbeats.max(2) };
        config.heartbeat = Duration::from_secs(heartbeat_s.into());
        Ok(())
    }

    fn finish_notices(&mut self) {
        let notices = &mut self.config.notices;
        match self.heartbeats {
            0 => notices.push(format!(
                "amqp_heartbeats = 0: the AMQP client cannot go without heartbeats, {LIBRARY_HEARTBEAT_S} s are used"
            )),
            1 => notices.push("amqp_heartbeats = 1 is too short for the AMQP client, 2 s are used".to_owned()),
            _ => {}
        }
        let inert = PARAMS.iter().filter(|p| self.inert.contains(&p.name()));
        notices.extend(inert.filter_map(|p| Some(format!("{} is accepted and has no effect: {}", p.name(), p.inert?))));
        let tls = &self.config.tls;
        if tls.ca_cert.iter().chain(&tls.cert).chain(&tls.key).next().is_some()
            && !self.connections.iter().any(|connection| connection.url.tls)
        {
            notices.push(
                "amqps_ca_cert, amqps_cert and amqps_key have no effect: no amqp_connection is amqps://".to_owned(),
            );
        }
        if self.connections.is_empty() {
            notices.push("no amqp_connection is set: nothing can be published, queried or consumed".to_owned());
        }
    }

    fn finish_brokers(&mut self) {
        let zones = &mut self.config.zones;
        zones.push(std::mem::take(&mut self.primary_zone));
        for (connection, id) in std::mem::take(&mut self.connections).into_iter().zip(1..) {
            let zone = connection.zone.map_or(0, |name| zone_index(zones, name));
            self.config.brokers.push(Broker { id, zone, url: connection.url });
        }
    }
}

/// Index of the zone `name`, which is added when it is new.
fn zone_index(zones: &mut Vec<String>, name: String) -> usize {
    zones.iter().position(|zone| *zone == name).unwrap_or_else(|| {
        zones.push(name);
        zones.len() - 1
    })
}

impl Config {
    /// Whether a broker is `amqps://`.
    pub fn uses_tls(&self) -> bool {
        self.brokers.iter().any(|broker| broker.url.tls)
    }

    /// Name of the zone of broker `id`; empty for an id that no broker has.
    pub fn zone_of(&self, id: u32) -> &str {
        let broker = self.brokers.iter().find(|broker| broker.id == id);
        broker.and_then(|broker| self.zones.get(broker.zone)).map_or("", String::as_str)
    }

    /// `kamailio@<node_hostname>`, value of the `Node` field and head of queue names.
    pub fn node(&self) -> String {
        format!("kamailio@{}", self.node_hostname)
    }

    /// Name of reply queue number `index` at broker `id`. One is used; the others are for servers that were given the
    /// same name by mistake.
    pub fn reply_queue(&self, id: u32, index: u32) -> String {
        format!("{}-<{id}-{index}>", self.node())
    }

    /// Routing key of that queue, which outgoing messages carry as `Server-ID`.
    pub fn server_id(&self, id: u32, index: u32) -> String {
        format!("{}-<{id}>-targeted-{index}", self.node())
    }
}

static BUILDER: Mutex<Option<Builder>> = Mutex::new(None);
static CONFIG: OnceLock<Config> = OnceLock::new();

/// Sets `PARAMS[index]` from a line of the configuration file. Main process, before `mod_init`.
pub fn set(index: usize, value: Value<'_>) -> Result<(), ParamError> {
    let mut builder = BUILDER.lock().unwrap_or_else(PoisonError::into_inner);
    builder.get_or_insert_with(Builder::new).set_at(index, value)
}

/// Ends the setting of parameters. Main process, once, at `mod_init`; processes forked later inherit the result.
pub fn finish() -> Result<&'static Config, ConfigError> {
    let builder = BUILDER.lock().unwrap_or_else(PoisonError::into_inner).take();
    let config = builder.unwrap_or_default().finish()?;
    Ok(CONFIG.get_or_init(|| config))
}

/// The configuration; before [`finish`], the defaults.
pub fn get() -> &'static Config {
    static DEFAULTS: OnceLock<Config> = OnceLock::new();
    CONFIG.get().unwrap_or_else(|| DEFAULTS.get_or_init(|| Builder::new().config))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end on the first surprise")]

    use super::*;

    fn finished(lines: &[(&str, Value<'_>)]) -> Config {
        let mut builder = Builder::new();
        builder.set("node_hostname", Value::Text("sip.test")).unwrap();
        for &(name, value) in lines {
            builder.set(name, value).unwrap();
        }
        builder.finish().unwrap()
    }

    fn refusal(name: &str, value: Value<'_>) -> String {
        Builder::new().set(name, value).unwrap_err().to_string()
    }

    #[test]
    fn names_are_unique_and_every_default_passes_its_own_check() {
        let mut builder = Builder::blank();
        for (i, param) in PARAMS.iter().enumerate() {
            assert_eq!(param.set_default(&mut builder), Ok(()), "{}", param.name());
            assert!(PARAMS[..i].iter().all(|other| other.name() != param.name()), "{} is there twice", param.name());
            assert!(param.meaning.ends_with('.'), "{}", param.name());
        }
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let config = finished(&[]);
        assert_eq!((config.consumers, config.event_key.as_str()), (4, "Event-Category"));
        assert_eq!(config.event_subkey, "Event-Name");
        assert_eq!((config.ack_loop_count, config.internal_loop_count, config.consumer_loop_count), (20, 5, 10));
        assert_eq!(config.query_timeout, Duration::from_secs(2));
        assert_eq!(config.ack_timeout, Duration::from_millis(100));
        assert_eq!(config.connect_timeout, Duration::from_millis(200));
        assert!(config.consume_messages_on_reconnect && config.single_consumer_on_reconnect);
        assert!(!config.persistent);
        assert_eq!(config.zones, ["local"]);
        assert_eq!(config.json_escape_char, b'%');
    }

    #[test]
    fn default_rings_of_one_process_fit_in_400_kib() {
        let rings = finished(&[]).rings;
        assert!(rings.command + rings.reply + rings.delivery + rings.ack <= 400 * 1024);
    }

    #[test]
    fn numbers_may_stand_in_quotes_and_texts_may_not_be_numbers() {
        assert_eq!(finished(&[("amqp_prefetch", Value::Text(" 7 "))]).prefetch, 7);
        finished(&[("amqp_max_channels", Value::Text("100"))]);
        assert!(refusal("amqp_prefetch", Value::Text("many")).contains("allowed are 1 to 65535"));
        assert!(refusal("node_hostname", Value::Int(5)).contains("quotes"));
        assert!(refusal("node_hostname", Value::Text("")).contains("empty"));
    }

    #[test]
    fn impossible_numbers_are_refused_with_the_limits() {
        for outside in [i64::MIN, 0, 65_536, i64::MAX] {
            assert!(refusal("amqp_prefetch", Value::Int(outside)).contains("1 to 65535"), "{outside}");
        }
        assert!(refusal("amqp_consumer_processes", Value::Int(-1)).contains("1 to 256"));
        assert!(refusal("amqp_command_ring_kb", Value::Int(100)).contains("power of two"));
        assert!(refusal("amqp_command_ring_kb", Value::Int(8)).contains("16 to 16384"));
        assert!(refusal("amqp_persistent", Value::Int(2)).contains("0 or 1"));
        assert!(refusal("amqp_query_timeout_avp", Value::Text("timeout")).contains("$avp"));
        assert!(refusal("node_hostname", Value::Text(&"h".repeat(201))).contains("200"));
    }

    #[test]
    fn a_refused_connection_says_the_form_and_not_the_password() {
        let text = refusal("amqp_connection", Value::Text("amqp://voip:s3cret@mq:port"));
        assert!(text.contains("port") && text.contains("amqp[s]://"), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }

    #[test]
    fn workers_take_precedence_over_processes() {
        let processes = ("amqp_consumer_processes", Value::Int(2));
        assert_eq!(finished(&[processes]).consumers, 2);
        assert_eq!(finished(&[("amqp_consumer_workers", Value::Int(8)), processes]).consumers, 8);
    }

    #[test]
    fn the_halves_of_a_time_are_independent_and_add_up() {
        let micro = ("amqp_query_timeout_micro", Value::Int(200_000));
        assert_eq!(finished(&[micro]).query_timeout, Duration::from_millis(2_200));
        assert_eq!(
            finished(&[micro, ("amqp_query_timeout_sec", Value::Int(0))]).query_timeout,
            Duration::from_millis(200)
        );
        let mut builder = Builder::new();
        builder.set("node_hostname", Value::Text("h")).unwrap();
        builder.set("amqp_query_timeout_sec", Value::Int(0)).unwrap();
        assert_eq!(builder.finish().unwrap_err(), ConfigError::ZeroTimeout("amqp_query_timeout"));
    }

    #[test]
    fn brokers_are_numbered_over_all_zones_and_the_primary_zone_may_stand_last() {
        let config = finished(&[
            ("amqp_connection", Value::Text("amqp://a")),
            ("amqp_connection", Value::Text("zone=east;amqp://b")),
            ("amqp_connection", Value::Text("zone=home;amqp://c")),
            ("amqp_primary_zone", Value::Text("home")),
        ]);
        assert_eq!(config.zones, ["home", "east"]);
        let brokers: Vec<_> = config.brokers.iter().map(|b| (b.id, b.zone, b.url.host.as_str())).collect();
        assert_eq!(brokers, [(1, 0, "a"), (2, 1, "b"), (3, 0, "c")]);
        assert_eq!((config.zone_of(2), config.zone_of(9)), ("east", ""));
        assert_eq!(config.server_id(2, 0), "kamailio@sip.test-<2>-targeted-0");
        assert_eq!(config.reply_queue(2, 1), "kamailio@sip.test-<2-1>");
    }

    #[test]
    fn missing_hostname_and_crossed_limits_are_refused() {
        assert_eq!(Builder::new().finish().unwrap_err(), ConfigError::NoNodeHostname);
        let mut builder = Builder::new();
        builder.set("node_hostname", Value::Text("h")).unwrap();
        builder.set("amqp_reconnect_min_ms", Value::Int(6_000)).unwrap();
        assert_eq!(builder.finish().unwrap_err(), ConfigError::ReconnectOrder { min: 6_000, max: 5_000 });
    }

    #[test]
    fn tls_files_without_a_tls_broker_give_a_notice() {
        let file = ("amqps_ca_cert", Value::Text("/etc/ca.pem"));
        let noticed = |url| {
            let config = finished(&[file, ("amqp_connection", Value::Text(url))]);
            config.notices.iter().any(|n| n.contains("amqps_ca_cert"))
        };
        assert!(noticed("amqp://mq") && !noticed("amqps://mq"));
    }

    #[test]
    fn heartbeats_that_the_client_cannot_do_are_replaced_with_a_notice() {
        for (asked, used) in [(0, 60), (1, 2), (2, 2), (5, 5)] {
            let config = finished(&[("amqp_heartbeats", Value::Int(asked))]);
            assert_eq!(config.heartbeat, Duration::from_secs(used));
            let noticed = config.notices.iter().any(|n| n.contains("amqp_heartbeats"));
            assert_eq!(noticed, asked < 2);
        }
    }

    #[test]
    fn a_parameter_without_effect_gives_one_notice() {
        let line = ("amqp_max_channels", Value::Int(100));
        let notices = finished(&[line, line]).notices;
        assert_eq!(notices.iter().filter(|n| n.contains("amqp_max_channels")).count(), 1);
        assert!(finished(&[]).notices.iter().all(|n| !n.contains("amqp_max_channels")));
    }
}
