//! What starts and what is refused: one line that says what to write, and configurations made for the C module.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::{PATIENCE, broker, complaints_in, kamailio, number, sip, stat, still_well, tail, until_connected};
use kazoo::config::{Kind, PARAMS};
use rig::{Builder, Kamailio, Signal, Sink, wait_until};

/// Lines of the module, at any level that is shown at a start.
fn own_errors(log: &str) -> Vec<String> {
    complaints_in(log).into_iter().filter(|line| !line.contains("WARNING:")).collect()
}

fn bare() -> Builder {
    Kamailio::builder().modparam_int("pua_mode", 0)
}

/// `kamailio -c` refuses it with one line of ours that holds all of `named`.
fn assert_check_refuses(builder: Builder, named: &[&str]) {
    let check = builder.check().unwrap();
    assert!(!check.accepted, "accepted, expected a refusal with {named:?}\n{}", check.log);
    assert_one_line(&check.log, named);
}

fn assert_one_line(log: &str, named: &[&str]) {
    let lines = own_errors(log);
    assert_eq!(lines.len(), 1, "one line expected with {named:?}: {lines:#?}\n{log}");
    for part in named {
        assert!(lines[0].contains(part), "no {part:?} in {}", lines[0]);
    }
}

#[test]
fn missing_node_hostname_is_refused_with_the_line_to_write() {
    let dir = scratch("nohostname");
    let file = dir.join("kamailio.cfg");
    let text = "#!KAMAILIO\nlisten=LISTEN_UDP\nloadmodule \"tm.so\"\nloadmodule \"ctl.so\"\nloadmodule \"kazoo.so\"\n\
        modparam(\"ctl\", \"binrpc\", CTL_SOCKET)\nmodparam(\"kazoo\", \"pua_mode\", 0)\nrequest_route { exit; }\n";
    fs::write(&file, text).unwrap();
    let log = Kamailio::builder().config_file(&file).start_refused().unwrap();
    assert_one_line(&log, &["node_hostname", "modparam(\"kazoo\", \"node_hostname\""]);

    let with = text.replace("pua_mode\", 0)", "pua_mode\", 0)\nmodparam(\"kazoo\", \"node_hostname\", \"a.b\")");
    fs::write(&file, with).unwrap();
    let mut kamailio = Kamailio::builder().config_file(&file).start().unwrap();
    still_well(&mut kamailio);
}

#[test]
fn bad_connections_are_refused_without_their_password() {
    let long = format!("amqp://guest:hidden-secret@{}", "h".repeat(600));
    let table = [
        "localhost:5672",
        "http://guest:hidden-secret@localhost",
        "amqp:/guest:hidden-secret@localhost",
        "amqp://guest:hidden-secret@localhost:port",
        "amqp://guest:hidden-secret@localhost:70000",
        "amqp://guest:hidden-secret@localhost/a/b",
        "amqp://guest:hidden-secret@localhost/?heartbeat=5",
        "amqp://gu:est:hidden-secret@localhost",
        "amqp://guest:hidden-secret%zz@localhost",
        "amqp://guest:hidden-secret@[::1",
        "zone=;amqp://guest:hidden-secret@localhost",
        "zone=east amqp://guest:hidden-secret@localhost",
        long.as_str(),
    ];
    for url in table {
        let builder = bare().modparam("amqp_connection", url);
        let check = builder.check().unwrap();
        assert!(!check.accepted, "{url} is accepted");
        assert_one_line(&check.log, &["amqp_connection", "amqp[s]://"]);
        assert!(!check.log.contains("hidden-secret"), "{url}: the password is in the log\n{}", check.log);
    }
    assert_check_refuses(bare().modparam("amqp_connection", ""), &["amqp_connection", "empty"]);
}

#[test]
fn good_connections_are_accepted() {
    let table = [
        "amqp://guest:guest@localhost:5672",
        "kazoo://guest:guest@otherhost:5672",
        "amqp://localhost",
        "amqp://",
        "amqp://user@host",
        "amqp://user:pass%40word@host:1/vhost",
        "amqp://host/%2F",
        "amqp://host/",
        "amqp://[::1]:5672/vhost",
        "zone=east;amqp://guest:guest@10.0.0.1",
    ];
    let builder = table.iter().fold(bare(), |builder, url| builder.modparam("amqp_connection", url));
    let check = builder.check().unwrap();
    assert!(check.accepted, "{}", check.log);
}

#[test]
fn impossible_numbers_are_refused_with_what_is_allowed() {
    let table: &[(&str, i64, &[&str])] = &[
        ("amqp_consumer_processes", 0, &["1", "256"]),
        ("amqp_consumer_processes", -1, &["1", "256"]),
        ("amqp_consumer_processes", 100_000, &["1", "256"]),
        ("amqp_consumer_loop_count", 0, &["1"]),
        ("amqp_internal_loop_count", -5, &["1"]),
        ("amqp_consumer_ack_loop_count", 0, &["1"]),
        ("amqp_query_timeout_sec", -1, &["0"]),
        ("amqp_query_timeout_micro", -1, &["0"]),
        ("amqp_heartbeats", -1, &["0"]),
        ("amqp_prefetch", 0, &["65535"]),
        ("amqp_prefetch", 70_000, &["65535"]),
        ("amqp_max_message_size", 10, &["65536"]),
        ("amqp_command_ring_kb", 100, &["power of two"]),
        ("amqp_command_ring_kb", 0, &["16"]),
        ("amqp_reply_ring_kb", 1 << 20, &["16384"]),
        ("single_consumer_on_reconnect", 2, &["0", "1"]),
    ];
    for (name, value, allowed) in table {
        let named: Vec<&str> = [*name].into_iter().chain(allowed.iter().copied()).collect();
        assert_check_refuses(bare().modparam_int(name, *value), &named);
    }
}

#[test]
fn numbers_as_text_are_accepted_when_they_are_numbers() {
    // The documentation calls some numbers strings.
    let good = bare().modparam("amqp_max_channels", "100").modparam("amqp_consumer_processes", "3");
    let check = good.check().unwrap();
    assert!(check.accepted, "{}", check.log);
    assert_check_refuses(bare().modparam("amqp_consumer_processes", "three"), &["amqp_consumer_processes"]);
}

/// Reference section 1: every parameter of the C module, in the type that its code has.
#[test]
fn every_parameter_of_the_c_module_is_accepted_in_its_type() {
    let texts = [
        ("amqp_consumer_event_key", "Event-Category"),
        ("amqp_consumer_event_subkey", "Event-Name"),
        ("event_callback", "ksr_kazoo_event"),
        ("amqp_query_timeout_avp", "$avp(kz_timeout)"),
        ("amqp_result_avp", "$avp(amqp_result)"),
        ("amqp_primary_zone", "local"),
        ("amqps_ca_cert", "/etc/ssl/ca.pem"),
        ("amqps_cert", "/etc/ssl/cert.pem"),
        ("amqps_key", "/etc/ssl/key.pem"),
        ("json_escape_char", "%"),
        ("app_name", "kamailio"),
        ("db_url", "mysql://kamailio:kamailiorw@localhost/kamailio"),
        ("presentity_table", "presentity"),
        ("federated_exchange", "federation"),
    ];
    let numbers = "amqp_max_channels amqp_consumer_processes amqp_consumer_workers amqp_query_timeout_sec \
        amqp_query_timeout_micro amqp_connect_timeout_sec amqp_connect_timeout_micro amqp_heartbeats \
        amqp_command_hashtable_size amqps_verify_peer amqps_verify_hostname pua_mode pua_lock_type pua_include_entity \
        presence_use_full_entity use_federated_exchange amqp_timer_process_interval amqp_timmer_process_interval \
        amqp_consumer_ack_timeout_sec amqp_consumer_ack_timeout_micro amqp_interprocess_timeout_sec \
        amqp_interprocess_timeout_micro amqp_waitframe_timeout_sec amqp_waitframe_timeout_micro \
        amqp_consumer_loop_count amqp_internal_loop_count amqp_consumer_ack_loop_count \
        consume_messages_on_reconnect single_consumer_on_reconnect";
    let builder = Kamailio::builder().modparam("amqp_connection", "amqp://localhost");
    let builder = texts.iter().fold(builder, |builder, (name, value)| builder.modparam(name, value));
    // As a number, and as a number in quotes.
    let builder = numbers.split_whitespace().fold(builder, |b, name| b.modparam_int(name, 1).modparam(name, "1"));
    let check = builder.check().unwrap();
    assert!(check.accepted && complaints_in(&check.log).is_empty(), "{}", check.log);
}

/// Every row of the table: a value of the wrong type or out of its limits is refused by `kamailio -c` with one line that
/// names the parameter and says what is allowed.
#[test]
fn every_parameter_refuses_what_it_cannot_take() {
    for param in PARAMS {
        let name = param.name();
        match &param.kind {
            Kind::Int(kind) => {
                let (min, max) = (kind.min.to_string(), kind.max.to_string());
                assert_check_refuses(bare().modparam(name, "many"), &[name, &min, &max]);
                assert_check_refuses(bare().modparam_int(name, -1), &[name, &min, &max]);
            }
            Kind::Switch { .. } => {
                assert_check_refuses(bare().modparam_int(name, 2), &[name, "0 or 1"]);
                assert_check_refuses(bare().modparam(name, "yes"), &[name, "0 or 1"]);
            }
            Kind::Text { .. } => {
                assert_check_refuses(bare().modparam_int(name, 5), &[name, "quotes"]);
                assert_check_refuses(bare().modparam(name, ""), &[name, "empty"]);
            }
        }
    }
}

/// What Kamailio itself sees: the names of parameters, functions, transformations, and the numbers of arguments.
#[test]
fn misspelt_names_and_wrong_numbers_of_arguments_are_refused_by_the_check() {
    let table = [
        ("kazoo_publish(\"e\", \"k\");", "kazoo_publish"),
        ("kazoo_query(\"e\", \"k\", \"{}\", \"$var(x)\", \"h=1\", \"more\");", "kazoo_query"),
        ("kazoo_json(\"{}\", \"a\");", "kazoo_json"),
        ("kazoo_json_keys(\"{}\", \"a\");", "kazoo_json_keys"),
        ("kazoo_encode(\"a\");", "kazoo_encode"),
        ("kazoo_async_query(\"e\", \"k\", \"{}\", \"OK\");", "kazoo_async_query"),
        ("kazoo_pua_publish();", "kazoo_pua_publish"),
        ("kazoo_publsh(\"e\", \"k\", \"{}\");", "kazoo_publsh"),
        ("$var(x) = $(rb{kz.jsn,a});", "kz.jsn"),
        ("$var(x) = $(rb{kz.json});", "kz.json"),
        ("$var(x) = $kzX;", "kzX"),
    ];
    for (statement, named) in table {
        let routes = format!("request_route {{ {statement} exit; }}\n");
        let check = bare().routes(routes).check().unwrap();
        assert!(!check.accepted, "accepted: {statement}\n{}", check.log);
        let line = check.log.lines().find(|line| line.contains("ERROR") && line.contains(named));
        let position =
            check.log.lines().any(|line| line.contains("parse error in config file") && line.contains("line"));
        assert!(line.is_some() || position, "{statement}\n{}", check.log);
    }
    let check = bare().modparam_int("amqp_chanels", 5).check().unwrap();
    assert!(!check.accepted && check.log.contains("amqp_chanels"), "{}", check.log);
}

/// What only the start sees, because Kamailio prepares functions then.
#[test]
fn targets_that_cannot_be_assigned_are_refused_at_the_start() {
    let table = [
        ("kazoo_json(\"{}\", \"a\", \"$rm\");", "$rm", "$var(x)"),
        ("kazoo_json(\"{}\", \"a\", \"target\");", "target", "$var(x)"),
        ("kazoo_encode(\"a\", \"$kzE\");", "$kzE", "$var(x)"),
        ("kazoo_query(\"e\", \"k\", \"{}\", \"$ci\");", "$ci", "$var(x)"),
        ("kazoo_json_keys(\"{}\", \"a\", \"$var(x)\");", "$var(x)", "$avp(x)"),
        ("kazoo_json_keys(\"{}\", \"a\", \"$avp(x\");", "$avp(x", "$avp(x)"),
    ];
    for (statement, named, hint) in table {
        let log = bare().routes(format!("request_route {{ {statement} exit; }}\n")).start_refused().unwrap();
        assert_one_line(&log, &["target parameter", named, hint]);
    }
    let unknown = "request_route { kazoo_publish(\"e\", \"k\", \"{'a':'$nonsense(x)'}\"); exit; }\n";
    assert!(bare().routes(unknown).start_refused().unwrap().contains("nonsense"));
}

#[test]
fn impossible_combinations_are_refused_at_the_start() {
    let zero = bare().modparam_int("amqp_query_timeout_sec", 0).modparam_int("amqp_query_timeout_micro", 0);
    assert_one_line(&zero.start_refused().unwrap(), &["amqp_query_timeout_sec", "amqp_query_timeout_micro"]);
    let crossed = bare().modparam_int("amqp_reconnect_min_ms", 5_000).modparam_int("amqp_reconnect_max_ms", 100);
    assert_one_line(&crossed.start_refused().unwrap(), &["amqp_reconnect_min_ms", "amqp_reconnect_max_ms"]);
    let half = bare().modparam("amqps_cert", "/nowhere/cert.pem");
    assert_one_line(&half.start_refused().unwrap(), &["amqps_cert", "amqps_key"]);
    let unparsable = bare().modparam("amqp_query_timeout_avp", "$nonsense(x");
    assert_one_line(&unparsable.start_refused().unwrap(), &["amqp_query_timeout_avp"]);
    assert_check_refuses(bare().modparam("amqp_query_timeout_avp", "kz_timeout"), &["amqp_query_timeout_avp", "$avp("]);
}

#[test]
fn rings_that_do_not_fit_are_refused_with_the_number_to_raise() {
    let builder = bare().modparam_int("amqp_command_ring_kb", 16_384).memory(64, 8).children(8);
    let log = builder.start_refused().unwrap();
    let lines = own_errors(&log);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("-m "), "says which option to raise, and to what: {}", lines[0]);
    // And the number it names is enough.
    let after = lines[0].split_once("-m ").unwrap().1;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    let enough: u32 = digits.parse().unwrap_or_else(|_| panic!("no number after -m: {}", lines[0]));
    assert!(enough < 2_000, "{}", lines[0]);
    let mut kamailio =
        bare().modparam_int("amqp_command_ring_kb", 16_384).memory(enough, 8).children(8).start().unwrap();
    still_well(&mut kamailio);
}

#[test]
fn passwords_stay_out_of_the_log() {
    let broker = broker();
    let port = broker.port();
    let url = format!("amqp://guest:a-wrong%20secret@127.0.0.1:{port}");
    let mut kamailio = kamailio("password").modparam("amqp_connection", &url).debug(3).start().unwrap();
    let refused = common::sip(&kamailio);
    drop(refused);
    // The broker refuses the login some time after the start; the module says so, without the secret.
    let named = wait_until(PATIENCE, || !complaints_in(&kamailio.log()).is_empty());
    assert!(named, "{}", tail(&kamailio));
    assert_eq!(stat(&kamailio, "connects"), 0);
    let log = kamailio.log();
    // Kamailio's own debug log of the parsing shows the line of the file; that is none of ours.
    let ours: Vec<_> = log.lines().filter(|line| line.contains("kazoo")).collect();
    for secret in ["a-wrong%20secret", "a-wrong secret"] {
        assert!(!ours.iter().any(|line| line.contains(secret)), "{ours:#?}");
    }
    still_well(&mut kamailio);
}

/// Every parameter of the C module, as its documentation and its code know them.
const C_MODULE_PARAMETERS: &str = r##"
modparam("kazoo", "node_hostname", "sipproxy.mydomain.com")
modparam("kazoo", "amqp_consumer_processes", 10)
modparam("kazoo", "amqp_consumer_workers", 2)
modparam("kazoo", "amqp_consumer_event_key", "My-JSON-Field-Name")
modparam("kazoo", "amqp_consumer_event_subkey", "My-JSON-SubField-Name")
modparam("kazoo", "amqp_max_channels", 100)
modparam("kazoo", "amqp_connection", AMQP_URL)
modparam("kazoo", "amqp_connection", "kazoo://guest:guest@127.0.0.1:1")
modparam("kazoo", "amqp_consumer_loop_count", 3)
modparam("kazoo", "amqp_internal_loop_count", 1)
modparam("kazoo", "amqp_consumer_ack_loop_count", 5)
modparam("kazoo", "consume_messages_on_reconnect", 0)
modparam("kazoo", "single_consumer_on_reconnect", 0)
modparam("kazoo", "amqp_consumer_ack_timeout_sec", 1)
modparam("kazoo", "amqp_consumer_ack_timeout_micro", 200000)
modparam("kazoo", "amqp_interprocess_timeout_sec", 1)
modparam("kazoo", "amqp_interprocess_timeout_micro", 200000)
modparam("kazoo", "amqp_waitframe_timeout_sec", 1)
modparam("kazoo", "amqp_waitframe_timeout_micro", 200000)
modparam("kazoo", "amqp_query_timeout_sec", 1)
modparam("kazoo", "amqp_query_timeout_micro", 200000)
modparam("kazoo", "amqp_query_timeout_avp", "$var(kz_timeout)")
modparam("kazoo", "presentity_table", "my_presentity_table")
modparam("kazoo", "pua_mode", 0)
modparam("kazoo", "amqp_result_avp", "$avp(amqp_result)")
modparam("kazoo", "amqp_connect_timeout_sec", 0)
modparam("kazoo", "amqp_connect_timeout_micro", 200000)
modparam("kazoo", "amqp_heartbeats", 5)
modparam("kazoo", "amqp_primary_zone", "local")
modparam("kazoo", "amqp_command_hashtable_size", 2048)
modparam("kazoo", "amqps_verify_peer", 1)
modparam("kazoo", "amqps_verify_hostname", 1)
modparam("kazoo", "json_escape_char", "%")
modparam("kazoo", "app_name", "kamailio")
modparam("kazoo", "pua_lock_type", 1)
modparam("kazoo", "pua_include_entity", 1)
modparam("kazoo", "presence_use_full_entity", 0)
modparam("kazoo", "use_federated_exchange", 0)
modparam("kazoo", "federated_exchange", "federation")
modparam("kazoo", "amqp_timmer_process_interval", 200)
"##;

/// The examples of the documentation for publish, query and consume, in the routes where they belong.
const C_MODULE_ROUTES: &str = r##"
request_route {
    $var(kz_timeout) = 12;
    switch ($hdr(X-Case)) {
    case "query": route(SOME_ROUTE); break;
    case "publish": route(PUBLISH); break;
    }
    append_to_reply("X-Ret: $var(rc)\r\n");
    sl_send_reply("200", "OK");
    exit;
}
route[SOME_ROUTE]
{
    $var(kz_timeout) = 12;
    kazoo_query("exchange", "routingkey", "{}");
    $var(rc) = $rc;
}
route[PUBLISH]
{
    $var(amqp_payload_request) = $_s({"Event-Category" : "directory", "Event-Name" : "reg_success", "Contact" : "$(ct{s.escape.common}{s.replace,\','}{s.replace,$$,})", "Call-ID" : "$ci", "Realm" : "$fd", "Username" : "$fU", "From-User" : "$fU", "From-Host" : "$fd", "To-User" : "$tU", "To-Host" : "$td", "User-Agent" : "$(ua{s.escape.common}{s.replace,\','}{s.replace,$$,})" });
    $var(amqp_routing_key) = "registration.success." + $(fd{kz.encode}) + "." + $fU;
    kazoo_publish("callmgr", $var(amqp_routing_key), $var(amqp_payload_request));
    $var(rc) = $rc;
}
event_route[kazoo:mod-init]
{
   kazoo_subscribe("dialoginfo", "direct", "BLF-QUEUE-MY_HOSTNAME", "BLF-MY_HOSTNAME");
    $var(payload) = "{ 'exchange' : 'dialoginfo2' , 'type' : 'direct', 'queue' : 'BLF-QUEUE-MY_HOSTNAME2', 'routing' : 'BLF-MY_HOSTNAME', 'auto_delete' : 0, 'durable' : 1, 'no_ack' : 0, 'wait_for_consumer_ack' : 1 }";
    kazoo_subscribe("$var(payload)");
}
event_route[kazoo:consumer-event-presence-update]
{
# presence is the value extracted from Event-Category field in json payload
# update is the value extracted from Event-Name field in json payload
xlog("L_INFO", "received $(kzE{kz.json,Event-Package}) update for $(kzE{kz.json,From})\n");
}
event_route[kazoo:consumer-event-my-json-field-name-my-json-subfield-name]
{
xlog("L_INFO", "by the names of the keys\n");
}
event_route[kazoo:consumer-event]
{
    xlog("L_INFO","Received json payload : $kzE\n");
}
"##;

fn scratch(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("start-{name}"));
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn c_module_configuration(name: &str, modules: &str) -> PathBuf {
    let file = scratch(name).join("kamailio.cfg");
    let text = format!(
        "#!KAMAILIO\ndebug=2\nchildren=2\ntcp_children=1\nlisten=LISTEN_UDP\nlisten=LISTEN_TCP\n{modules}\
         modparam(\"ctl\", \"binrpc\", CTL_SOCKET)\n{C_MODULE_PARAMETERS}{C_MODULE_ROUTES}"
    );
    fs::write(&file, text).unwrap();
    file
}

fn usual_modules() -> String {
    ["kex", "corex", "ctl", "tm", "sl", "pv", "xlog", "textops", "siputils"]
        .map(|module| format!("loadmodule \"{module}.so\"\n"))
        .concat()
}

#[test]
fn configuration_of_the_c_module_loads_and_works() {
    let broker = broker();
    let callmgr = rig::Exchange::topic("callmgr");
    let queue = rig::Queue::new("registrations").bind(&callmgr, "registration.success.rig%2Etest.*");
    let sink = Sink::start(broker.client(), queue).unwrap();
    let file = c_module_configuration("compatible", &format!("{}loadmodule \"kazoo.so\"\n", usual_modules()));
    let check = Kamailio::builder().broker(&broker).config_file(&file).check().unwrap();
    assert!(check.accepted && complaints_in(&check.log).is_empty(), "{}", check.log);

    let mut kamailio = Kamailio::builder().broker(&broker).config_file(&file).start().unwrap();
    until_connected(&kamailio, 1);
    assert!(own_errors(&kamailio.log()).is_empty(), "{:#?}", own_errors(&kamailio.log()));
    let client = sip(&kamailio);
    let request =
        client.request("OPTIONS").user("alice").header("X-Case", "publish").header("User-Agent", "it's \"me\"");
    let response = request.send().unwrap();
    assert_eq!(number(&response, "X-Ret"), 1, "{}", tail(&kamailio));
    let message = common::exactly(&sink, 1).remove(0);
    assert_eq!(message.routing_key, "registration.success.rig%2Etest.alice");
    let body = message.json();
    assert_eq!((&body["Username"], &body["Realm"]), (&"alice".into(), &"rig.test".into()), "{body}");
    assert_eq!(body["Node"], "kamailio@sipproxy.mydomain.com");

    // Dead parameters are accepted with one notice each.
    let notices = kamailio.log_lines("NOTICE: kazoo");
    for name in ["amqp_max_channels", "amqp_command_hashtable_size", "federated_exchange"] {
        let about = notices.iter().filter(|line| line.contains(&format!(" {name} "))).count();
        assert!(about == 1 || notices.iter().any(|line| line.contains(name)), "{name} in {notices:#?}");
    }
    let workers = kamailio.processes_titled("consumer").unwrap();
    assert_eq!(workers.len(), 2, "amqp_consumer_workers takes precedence: {workers:?}");

    for (queue, event, logged) in [
        (
            "BLF-QUEUE-MY_HOSTNAME",
            r#"{"My-JSON-Field-Name":"presence","My-JSON-SubField-Name":"update","From":"x"}"#,
            "update for x",
        ),
        ("BLF-QUEUE-MY_HOSTNAME2", r#"{"other":1}"#, "by the names of the keys"),
    ] {
        common::until_queue(&broker, queue);
        broker.client().publish(&[rig::Message::new("", queue, event)]).unwrap();
        common::until_logged(&kamailio, logged);
    }
    still_well(&mut kamailio);
}

#[test]
fn module_is_found_through_mpath_by_its_plain_name() {
    let folder = scratch("mpath").join("modules");
    fs::create_dir_all(&folder).unwrap();
    let module = std::env::var_os("KAZOO_MODULE")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/release/kazoo.so"), PathBuf::from);
    fs::copy(module, folder.join("kazoo.so")).unwrap();
    // A parameter that the distribution's own kazoo.so does not know tells which of the two was loaded.
    let check = |mpath: &str| {
        let file = scratch("mpath").join("kamailio.cfg");
        let text = format!(
            "#!KAMAILIO\n{mpath}loadmodule \"tm.so\"\nloadmodule \"kazoo.so\"\n\
             modparam(\"kazoo\", \"amqp_prefetch\", 10)\nrequest_route {{ exit; }}\n"
        );
        fs::write(&file, text).unwrap();
        let output = Command::new("/usr/sbin/kamailio").arg("-c").arg("-f").arg(&file).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (accepted, log) =
        check(&format!("mpath=\"{}:/usr/lib/x86_64-linux-gnu/kamailio/modules\"\n", folder.display()));
    assert!(accepted, "{log}");
    let (accepted, log) = check("");
    assert!(!accepted, "without mpath the distribution's module is found, or none\n{log}");
}

#[test]
fn publish_and_query_in_mod_init_do_not_hang_the_start() {
    let broker = broker();
    let routes = r#"
        request_route { sl_send_reply("200", "OK"); exit; }
        event_route[kazoo:mod-init] {
            kazoo_publish("early", "key", '{"Too":"early"}');
            xlog("L_INFO", "EARLY publish $rc\n");
            kazoo_query("early", "key", '{"Too":"early"}');
            xlog("L_INFO", "EARLY query $rc\n");
        }
    "#;
    let mut kamailio = kamailio("early").broker(&broker).routes(routes).start().unwrap();
    let codes = kamailio.log_lines("EARLY ");
    assert_eq!(codes.len(), 2, "neither of them may end the script: {}", tail(&kamailio));
    assert!(codes[1].contains("query -"), "{codes:#?}");
    until_connected(&kamailio, 1);
    assert_eq!(sip(&kamailio).request("OPTIONS").send().unwrap().code, 200);
    still_well(&mut kamailio);
}

#[test]
fn stop_leaves_nothing_behind() {
    let broker = broker();
    let mut kamailio = kamailio("stop").broker(&broker).start().unwrap();
    until_connected(&kamailio, 1);
    let before = broker.log().len();
    let stopped = kamailio.stop().unwrap();
    assert!(stopped.status.success(), "{stopped:?}\n{}", tail(&kamailio));
    let closed = || broker.log()[before..].to_string();
    assert!(wait_until(PATIENCE, || closed().contains("closing AMQP connection")), "{}", closed());
    assert!(!closed().contains("client unexpectedly closed TCP connection"), "{}", closed());
}

fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn whichever_process_ends_first_the_others_follow_without_a_crash() {
    let broker = broker();
    // The main process leaves its other children behind when it is killed, as it always does.
    let cases = [
        ("supervisor", Signal::SIGKILL, true),
        ("supervisor", Signal::SIGTERM, true),
        ("consumer", Signal::SIGTERM, true),
        ("main process", Signal::SIGKILL, false),
    ];
    for (victim, signal, all_end) in cases {
        let mut kamailio = kamailio("order").broker(&broker).start().unwrap();
        until_connected(&kamailio, 1);
        let pids = |title| kamailio.processes_titled(title).unwrap().iter().map(|p| p.pid).collect::<Vec<_>>();
        let ours = [pids("supervisor"), common::managers(&kamailio)].concat();
        let all: Vec<i32> = kamailio.processes().unwrap().iter().map(|process| process.pid).collect();
        let pid = if victim == "main process" { kamailio.pid() } else { pids(victim)[0] };
        kamailio.signal(pid, signal).unwrap();
        let expected = if all_end { &all } else { &ours };
        let ended = wait_until(PATIENCE, || !expected.iter().any(|pid| is_alive(*pid)));
        assert!(ended, "{signal} to the {victim}: some go on\n{}", tail(&kamailio));
        let crashed = |line: &String| !line.contains("signal 9") && !line.contains("signal 15");
        let crashes: Vec<_> = kamailio.log_lines("exited by a signal").into_iter().filter(crashed).collect();
        assert_eq!((crashes, kamailio.log_lines("panicked")), (vec![], vec![]), "{signal} to the {victim}");
        assert!(!kamailio.is_running());
    }
}
