//! `kazoo_pua_publish` and its forms on real databases: SQLite, PostgreSQL and MariaDB get the same suite. Then the C
//! module beside ours, and a phone that is told by Kamailio's presence modules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use common::{PATIENCE, broker, kamailio, number, publish_routed, sip, still_well, tail, until_logged, until_queue};
use rig::{Broker, Builder, Database, Engine, Kamailio, Message, Response, SipClient, wait_until};

/// A SIP worker writes what the body of a request says; a consumer what a message says.
const ROUTES: &str = r##"
request_route {
    switch ($hdr(X-Case)) {
    case "any": kazoo_pua_publish($rb); $var(rc) = $rc; break;
    case "any quoted": kazoo_pua_publish("$rb"); $var(rc) = $rc; break;
    case "presence": kazoo_pua_publish_presence($rb); $var(rc) = $rc; break;
    case "mwi": kazoo_pua_publish_mwi($rb); $var(rc) = $rc; break;
    case "dialoginfo": kazoo_pua_publish_dialoginfo($rb); $var(rc) = $rc; break;
    case "none": $var(rc) = 1; break;
    }
    append_to_reply("X-Ret: $var(rc)\r\n");
    sl_send_reply("200", "OK");
    exit;
}
event_route[kazoo:consumer-event] {
    kazoo_pua_publish($kzE);
    xlog("L_NOTICE", "consumed: $rc\n");
}
"##;

/// The columns that the module writes, in the order of the table's documentation, and one that it leaves alone.
const COLUMNS: [&str; 10] =
    ["event", "domain", "username", "etag", "sender", "body", "received_time", "expires", "priority", "ruid"];

/// A row of the table as text; NULL is `NULL`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    event: String,
    domain: String,
    username: String,
    etag: String,
    sender: String,
    body: String,
    received: i64,
    expires: i64,
    priority: String,
    ruid: String,
}

fn rows(database: &Database) -> Vec<Row> {
    let text = |cell: Option<Vec<u8>>| cell.map_or("NULL".into(), |bytes| String::from_utf8(bytes).unwrap());
    let row = |cells: Vec<Option<Vec<u8>>>| {
        let mut cells = cells.into_iter().map(text);
        let mut next = || cells.next().unwrap();
        Row {
            event: next(),
            domain: next(),
            username: next(),
            etag: next(),
            sender: next(),
            body: next(),
            received: next().parse().unwrap(),
            expires: next().parse().unwrap(),
            priority: next(),
            ruid: next(),
        }
    };
    database.rows("presentity", &COLUMNS, "event, domain, username, etag").unwrap().into_iter().map(row).collect()
}

/// `event domain username etag` of each row.
fn keys(database: &Database) -> Vec<String> {
    let key = |row: Row| format!("{} {} {} {}", row.event, row.domain, row.username, row.etag);
    rows(database).into_iter().map(key).collect()
}

fn only_row(database: &Database) -> Row {
    let rows = rows(database);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.into_iter().next().unwrap()
}

fn clear(database: &Database) {
    database.execute("DELETE FROM presentity;").unwrap();
}

fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// A Kamailio that writes to `database`.
fn writer(name: &str, database: &Database) -> Builder {
    kamailio(name)
        .modparam_int("pua_mode", 1)
        .modparam("db_url", &database.url())
        .load(database.driver())
        .children(2)
        .modparam_int("amqp_consumer_processes", 2)
}

/// [`writer`] with the usual routes and a queue of its own.
fn start(name: &str, database: &Database, broker: &Broker) -> Kamailio {
    let subscription =
        format!("event_route[kazoo:mod-init] {{ kazoo_subscribe(\"{name}\", \"topic\", \"{name}\", \"#\"); }}");
    let kamailio = writer(name, database).broker(broker).routes(format!("{ROUTES}{subscription}")).start().unwrap();
    until_queue(broker, name);
    kamailio
}

/// Sends `payload` through a SIP worker and gives the function's return code.
fn send(client: &SipClient, case: &str, payload: &str) -> i64 {
    number(&answer(client, case, payload), "X-Ret")
}

fn answer(client: &SipClient, case: &str, payload: &str) -> Response {
    let request = client.request("MESSAGE").header("X-Case", case).timeout(PATIENCE);
    request.body("application/json", payload).send().unwrap()
}

/// A dialog payload of user 1001 with further members.
fn dialog(members: &str) -> String {
    format!(
        r#"{{"Event-Name":"update","Event-Package":"dialog","From":"sip:1001@r.test","From-User":"1001",
        "From-Realm":"r.test","To":"sip:1002@r.test","To-User":"1002","State":"early","Direction":"initiator",
        {members}}}"#
    )
}

/// The body that [`dialog`] gives for this Call-ID.
fn dialog_body(call_id: &str, state: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" \
         version=\"1\" state=\"full\" entity=\"sip:1001@r.test\"><dialog id=\"{call_id}\" call-id=\"{call_id}\"   \
         direction=\"initiator\"><state>{state}</state><local><identity display=\"1001\">sip:1001@r.test</identity>\
         <target uri=\"sip:1001@r.test\"/></local><remote><identity display=\"1002\">sip:1002@r.test</identity>\
         <target uri=\"sip:1002@r.test\"/></remote></dialog></dialog-info>"
    )
}

// The suite that every database runs.

fn suite(name: &str, engine: Engine) {
    let broker = broker();
    let mut database = Database::start(engine).unwrap();
    let mut kamailio = start(name, &database, &broker);
    let client = sip(&kamailio);
    if engine == Engine::Postgres {
        consumers_are_connected_from_the_start(&database);
    }
    each_package_writes_its_row(&client, &database);
    each_function_writes_its_package(&client, &database);
    flush_levels(&client, &database);
    values_stay_values(&client, &database);
    refusals(&client, &database, &kamailio);
    long_values(&client, &database);
    a_refused_row_removes_nothing(&client, &database);
    workers_do_not_disturb_each_other(&kamailio, &database, &broker, name);
    if engine != Engine::Sqlite {
        an_outage_costs_only_what_falls_into_it(&client, &mut database, &broker, &kamailio, name);
    }
    assert!(!kamailio.log().contains(database.password()), "the password is in the log");
    still_well(&mut kamailio);
    drop(kamailio);
    settings_are_heeded(name, &database);
}

#[test]
fn sqlite() {
    suite("sqlite", Engine::Sqlite);
}

#[test]
fn postgres() {
    suite("postgres", Engine::Postgres);
}

#[test]
fn mariadb() {
    suite("mariadb", Engine::MariaDb);
}

fn each_package_writes_its_row(client: &SipClient, database: &Database) {
    let before = unix_now();
    let payload = dialog(r#""Call-ID":"c1","Expires":3600"#);
    assert_eq!(send(client, "any", &payload), 1);
    let row = only_row(database);
    assert!((before..=unix_now()).contains(&row.received), "{row:?}");
    let common = Row {
        event: "dialog".into(),
        domain: "r.test".into(),
        username: "1001".into(),
        etag: "c1".into(),
        sender: "sip:c1".into(),
        body: dialog_body("c1", "early"),
        received: row.received,
        expires: row.received + 3600,
        priority: "0".into(),
        ruid: "NULL".into(),
    };
    assert_eq!(row, common);
    clear(database);

    let payload = r#"{"Event-Name":"update","Event-Package":"message-summary","From":"sip:1001@r.test",
        "From-User":"1001","From-Realm":"r.test","Messages-Waiting":"yes","Message-Account":"sip:1001@r.test",
        "Messages-New":2,"Messages-Saved":3,"ETag":"mwi-1","Call-ID":"unused"}"#;
    assert_eq!(send(client, "any", payload), 1);
    let row = only_row(database);
    let expected = Row {
        event: "message-summary".into(),
        etag: "mwi-1".into(),
        sender: "sip:1001@r.test".into(),
        body: "Messages-Waiting: yes\r\nMessage-Account: sip:1001@r.test\r\nVoice-Message: 2/3 (/)\r\n".into(),
        received: row.received,
        expires: 0,
        ..common.clone()
    };
    assert_eq!(row, expected);
    clear(database);

    let payload = r#"{"Event-Name":"update","Event-Package":"presence","From":"sip:1001@r.test","From-User":"1001",
        "From-Realm":"r.test","To-User":"1002","Call-ID":"c1","State":"confirmed","Switch-URI":"sip:sw","Expires":-5}"#;
    assert_eq!(send(client, "any", payload), 1);
    let row = only_row(database);
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
        xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" \
        xmlns:c=\"urn:ietf:params:xml:ns:pidf:cipid\" entity=\"1001\"> \
        <tuple xmlns=\"urn:ietf:params:xml:ns:pidf\" id=\"c1\"><status><basic>open</basic></status></tuple>\
        <note xmlns=\"urn:ietf:params:xml:ns:pidf\">On the Phone</note>\
        <dm:person xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" \
        id=\"1\"><rpid:activities><rpid:on-the-phone/></rpid:activities><dm:note>On the Phone</dm:note></dm:person>\
        </presence>";
    let (received, sender) = (row.received, "sip:sw".into());
    assert_eq!(row, Row { event: "presence".into(), sender, body: body.into(), received, expires: -5, ..common });
    clear(database);
}

/// The functions for one package look neither at `Event-Name` nor at `Event-Package`.
fn each_function_writes_its_package(client: &SipClient, database: &Database) {
    let payload = dialog(r#""Call-ID":"c1""#).replace(r#""Event-Name":"update""#, r#""Event-Name":"other""#);
    assert_eq!(send(client, "any", &payload), 1);
    assert_eq!(rows(database), []);
    let unknown = dialog(r#""Call-ID":"c1","Event-Package":"conference""#);
    assert_eq!(send(client, "any", &unknown), 1);
    assert_eq!(rows(database), []);
    for case in ["presence", "mwi", "dialoginfo"] {
        assert_eq!(send(client, case, &payload), 1, "{case}");
    }
    let written = ["dialog r.test 1001 c1", "message-summary r.test 1001 c1", "presence r.test 1001 c1"];
    assert_eq!(keys(database), written);
    clear(database);
}

/// Five rows, then an update of one of them with each level.
fn flush_levels(client: &SipClient, database: &Database) {
    let members = |realm: &str, user: &str, etag: &str, level: &str| {
        format!(
            r#""Presentity":"sip:{user}@{realm}","Presentity-User":"{user}","Presentity-Realm":"{realm}",
            "ETag":"{etag}","Call-ID":"c","Flush-Level":{level}"#
        )
    };
    let table: [(&str, &[&str]); 6] = [
        ("0", &["dialog a u1 e1", "dialog a u1 e2", "dialog a u2 e1", "dialog b u1 e1", "message-summary a u1 e1"]),
        ("1", &["dialog a u1 e1", "dialog a u2 e1", "dialog b u1 e1", "message-summary a u1 e1"]),
        ("2", &["dialog a u1 e1", "dialog b u1 e1", "message-summary a u1 e1"]),
        ("3", &["dialog a u1 e1", "message-summary a u1 e1"]),
        // Never beyond the package.
        (r#""4""#, &["dialog a u1 e1", "message-summary a u1 e1"]),
        ("1000000", &["dialog a u1 e1", "message-summary a u1 e1"]),
    ];
    for (level, left) in table {
        let mwi = r#"{"From-User":"u1","From-Realm":"a","ETag":"e1"}"#;
        assert_eq!(send(client, "mwi", mwi), 1);
        for (realm, user, etag) in [("a", "u1", "e1"), ("a", "u1", "e2"), ("a", "u2", "e1"), ("b", "u1", "e1")] {
            assert_eq!(send(client, "dialoginfo", &dialog(&members(realm, user, etag, "0"))), 1);
        }
        assert_eq!(rows(database).len(), 5);
        let update = dialog(&members("a", "u1", "e1", level)).replace("early", "confirmed");
        assert_eq!(send(client, "any", &update), 1, "level {level}");
        assert_eq!(keys(database), left, "level {level}");
        let updated = rows(database).into_iter().find(|row| row.etag == "e1" && row.username == "u1").unwrap();
        assert!(updated.body.contains("<state>confirmed</state>"), "{updated:?}");
        clear(database);
    }
    // Presence and mailbox have one row per user, whatever the ETag.
    for (case, etag) in [("presence", "e1"), ("presence", "e2"), ("mwi", "e1"), ("mwi", "e2")] {
        assert_eq!(send(client, case, &dialog(&format!(r#""ETag":"{etag}""#))), 1);
    }
    assert_eq!(keys(database), ["message-summary r.test 1001 e2", "presence r.test 1001 e2"]);
    clear(database);
}

/// Neither SQL nor XML nor the script language finds anything in a value.
fn values_stay_values(client: &SipClient, database: &Database) {
    let special = r#"a'b"c;--\\ %s %00 $ru $(avp(x)) <b> & é ' OR '1'='1"#;
    let json = special.replace('"', "\\\"");
    let payload = dialog(&format!(r#""Call-ID":"{json}","Sender-URI":"{json}""#));
    assert_eq!(send(client, "any", &payload), 1);
    let row = only_row(database);
    let value = special.replace("\\\\", "\\");
    assert_eq!((&row.etag, &row.sender), (&value, &value));
    let escaped = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    assert_eq!(row.body, dialog_body(&escaped, "early"));
    // In quotes the variable is expanded, and what it holds is not.
    clear(database);
    assert_eq!(send(client, "any quoted", &payload), 1);
    assert_eq!(Row { received: row.received, ..only_row(database) }, row);
    clear(database);
}

fn refusals(client: &SipClient, database: &Database, kamailio: &Kamailio) {
    for (case, payload, code, line) in [
        ("any", "no json", -2, "payload is not valid JSON"),
        ("mwi", "[1]", -2, "payload must be a JSON object, found array"),
        ("presence", r#"{"From-User":"1001"}"#, -9, "kazoo_pua_publish_presence: the payload lacks To-User, State"),
        ("dialoginfo", r#"{"From":"x"}"#, -9, "kazoo_pua_publish_dialoginfo: the payload lacks To, State"),
    ] {
        // The lines are throttled.
        let logged = wait_until(PATIENCE, || {
            assert_eq!(send(client, case, payload), code, "{case} {payload}");
            kamailio.log().contains(line)
        });
        assert!(logged, "not logged: {line}\n{}", tail(kamailio));
    }
    assert_eq!(rows(database), []);
}

/// Bodies have no limit of ours. What does not fit a column is the database's to refuse, and costs nothing else.
fn long_values(client: &SipClient, database: &Database) {
    let long = "x".repeat(20_000);
    assert_eq!(send(client, "any", &dialog(&format!(r#""Call-ID":"c1","To-User":"{long}""#))), 1);
    assert!(only_row(database).body.contains(&format!("display=\"{long}\"")));
    clear(database);
    let code = send(client, "any", &dialog(&format!(r#""Call-ID":"c1","From-User":"{}""#, "u".repeat(300))));
    if database.engine() == Engine::Sqlite {
        assert_eq!((code, only_row(database).username.len()), (1, 300));
        clear(database);
    } else {
        assert_eq!((code, rows(database)), (-10, vec![]));
    }
    assert_eq!(send(client, "any", &dialog(r#""Call-ID":"c1""#)), 1);
    assert_eq!(keys(database), ["dialog r.test 1001 c1"]);
    clear(database);
}

/// The removal of older rows and the new row are one step.
fn a_refused_row_removes_nothing(client: &SipClient, database: &Database) {
    if database.engine() == Engine::Sqlite {
        let trigger = "CREATE TRIGGER long_etag BEFORE INSERT ON presentity WHEN length(NEW.etag) > 128 \
            BEGIN SELECT RAISE(ABORT, 'too long'); END;";
        database.execute(trigger).unwrap();
    }
    assert_eq!(send(client, "any", &dialog(r#""Call-ID":"c1""#)), 1);
    let refused = dialog(&format!(r#""Call-ID":"{}","Flush-Level":3"#, "c".repeat(300)));
    assert_eq!(send(client, "any", &refused), -10);
    assert_eq!(keys(database), ["dialog r.test 1001 c1"]);
    assert_eq!(send(client, "any", &dialog(r#""Call-ID":"c2","Flush-Level":3"#)), 1);
    assert_eq!(keys(database), ["dialog r.test 1001 c2"]);
    clear(database);
}

/// Two SIP workers and two consumers write at the same time.
fn workers_do_not_disturb_each_other(kamailio: &Kamailio, database: &Database, broker: &Broker, exchange: &str) {
    const EACH: usize = 50;
    let payload = |source: &str, n: usize| {
        let members = format!(r#""Call-ID":"{source}-{n}","From-User":"{source}-{n}""#);
        if n.is_multiple_of(2) { dialog(&members) } else { dialog(&members).replace("\"dialog\"", "\"presence\"") }
    };
    let messages: Vec<_> = (0..2 * EACH).map(|n| Message::new(exchange, "k", payload("bus", n))).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| broker.client().publish(&messages).unwrap());
        for source in ["one", "two"] {
            scope.spawn(move || {
                let client = sip(kamailio);
                for n in 0..EACH {
                    let code = send(&client, "any", &payload(source, n));
                    assert_eq!(code, 1, "{source} {n}\n{}", tail(kamailio));
                }
            });
        }
    });
    let all = wait_until(PATIENCE, || rows(database).len() == 4 * EACH);
    assert!(all, "{} rows\n{}", rows(database).len(), tail(kamailio));
    clear(database);
}

fn an_outage_costs_only_what_falls_into_it(
    client: &SipClient,
    database: &mut Database,
    broker: &Broker,
    kamailio: &Kamailio,
    exchange: &str,
) {
    let publish = |call_id: &str| {
        let payload = dialog(&format!(r#""Call-ID":"{call_id}""#));
        broker.client().publish(&[Message::new(exchange, "k", payload)]).unwrap();
    };
    let during = dialog(r#""Call-ID":"during""#);
    database.kill().unwrap();
    let down = answer(client, "any", &during);
    assert_eq!(number(&down, "X-Ret"), -10);
    publish("during");
    until_logged(kamailio, "consumed: -10");
    assert!(kamailio.log().contains("kazoo_pua_publish: "), "{}", tail(kamailio));
    // Other SIP is not kept waiting, and a worker does not try to connect each time.
    assert_eq!(send(client, "none", ""), 1);
    let pausing = wait_until(PATIENCE, || {
        assert_eq!(send(client, "any", &during), -10);
        kamailio.log().contains("tried again later")
    });
    assert!(pausing, "{}", tail(kamailio));

    database.restart().unwrap();
    let again = wait_until(PATIENCE, || send(client, "any", &dialog(r#""Call-ID":"worker""#)) == 1);
    assert!(again, "the worker does not write again\n{}", tail(kamailio));
    let again = wait_until(PATIENCE, || {
        publish("consumer");
        keys(database).contains(&"dialog r.test 1001 consumer".to_string())
    });
    assert!(again, "the consumer does not write again\n{}", tail(kamailio));
    clear(database);
}

fn consumers_are_connected_from_the_start(database: &Database) {
    let others = "SELECT count(*) FROM pg_stat_activity \
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid();";
    let connected = wait_until(PATIENCE, || database.execute(others).unwrap().trim() == "2");
    assert!(connected, "{}", database.execute("SELECT * FROM pg_stat_activity;").unwrap());
}

/// Another table, the other locks, no targets; and a call before the fork, whose connection nobody may inherit.
fn settings_are_heeded(name: &str, database: &Database) {
    database.execute("CREATE TABLE states AS SELECT * FROM presentity WHERE 1 = 0;").unwrap();
    for lock in [0, 2] {
        let early = r#"event_route[kazoo:mod-init] { kazoo_pua_publish_mwi('{"From-User":"early"}'); }"#;
        let mut kamailio = writer(&format!("{name}-settings"), database)
            .modparam("presentity_table", "states")
            .modparam_int("pua_lock_type", lock)
            .modparam_int("pua_include_entity", 0)
            .routes(format!("{ROUTES}{early}"))
            .start()
            .unwrap();
        if database.engine() == Engine::Postgres {
            consumers_are_connected_from_the_start(database);
        }
        let client = sip(&kamailio);
        for n in 0..8 {
            assert_eq!(send(&client, "any", &dialog(&format!(r#""Call-ID":"c{n}""#))), 1, "{}", tail(&kamailio));
        }
        let written = database.rows("states", &["username", "body"], "username, etag").unwrap();
        let cell = |row: &[Option<Vec<u8>>], at: usize| String::from_utf8(row[at].clone().unwrap()).unwrap();
        assert_eq!((written.len(), cell(&written[8], 0)), (9, "early".to_string()), "{}", tail(&kamailio));
        assert!(written.iter().all(|row| !cell(row, 1).contains("target")), "{}", cell(&written[0], 1));
        assert_eq!(rows(database), []);
        database.execute("DELETE FROM states;").unwrap();
        still_well(&mut kamailio);
    }
}

// Start.

#[test]
fn a_db_url_that_does_not_work_stops_the_start() {
    let with = |url: &str| kamailio("refused").modparam_int("pua_mode", 1).modparam("db_url", url);
    let refused = |builder: Builder, line: &str| {
        let log = builder.start_refused().unwrap();
        assert!(log.contains(line), "not logged: {line}\n{log}");
        assert!(!log.contains("s3cret"), "the password is in the log\n{log}");
    };
    let no_driver =
        "cannot start: db_url: no driver for postgres://, put loadmodule \"db_postgres.so\" before kazoo.so";
    refused(with("postgres://kamailio:s3cret@127.0.0.1:1/kamailio"), no_driver);
    refused(with("kamailio:s3cret"), "cannot start: db_url: ");
    refused(with("/var/lib/kamailio.db"), "cannot start: db_url: not a database URL");
    let nobody = with("postgres://kamailio:s3cret@127.0.0.1:1/kamailio").load("db_postgres");
    refused(nobody, "cannot start: db_url: no connection to the database");
    let no_file = with("sqlite:////nowhere/kamailio.db").load("db_sqlite");
    refused(no_file, "cannot start: db_url: no connection to the database");
}

#[test]
fn without_a_database_the_server_starts_and_the_functions_say_what_is_missing() {
    let payload = dialog(r#""Call-ID":"c1""#);
    let mut without = kamailio("without").modparam_int("pua_mode", 1).routes(ROUTES).start().unwrap();
    assert_eq!(send(&sip(&without), "any", &payload), -10);
    until_logged(&without, "kazoo_pua_publish: not written, db_url is not set: set it, or pua_mode to 0");
    still_well(&mut without);
    // With presence off, db_url is not looked at.
    let off = kamailio("off").modparam_int("pua_mode", 0).modparam("db_url", "postgres://127.0.0.1/kamailio");
    let mut off = off.routes(ROUTES).start().unwrap();
    assert_eq!(send(&sip(&off), "any", &payload), -1);
    until_logged(&off, "kazoo_pua_publish: pua_mode is 0: presence is off, set it to 1 to write");
    still_well(&mut off);
}

// The C module beside ours.

/// The C module, as Kamailio's package installs it.
fn c_module() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let mut files = folders.map(|folder| folder.path().join("kamailio/modules/kazoo.so"));
    files.find(|file| file.is_file()).expect("kamailio-kazoo-modules is installed")
}

/// Payloads without characters that need an escape, each for another user. `{n}` becomes the number of the payload.
fn plain_payloads() -> Vec<String> {
    let users =
        r#""From":"sip:u{n}@r.test","From-User":"u{n}","From-Realm":"r.test","To":"sip:t@r.test","To-User":"t""#;
    let presence = [
        r#""State":"early","Call-ID":"c{n}","Expires":3600"#,
        r#""State":"confirmed","Call-ID":"c{n}","ETag":"e{n}","Expires":"60""#,
        r#""State":"offline","Call-ID":"c{n}","Sender-URI":"sip:s","Switch-URI":"sip:w","Expires":-5"#,
        r#""State":"terminated","Switch-URI":"sip:w","Expires":"12abc""#,
        r#""State":"Early","Sender-URI":"","ETag":"","Call-ID":"c{n}","Expires":null"#,
        r#""State":true,"Call-ID":17,"ETag":1.5,"Expires":3.9"#,
        r#""State":"early","To-User":"""#,
        r#""State":"""#,
        r#""Call-ID":"c{n}""#,
    ];
    let mwi = [
        r#""Messages-Waiting":"yes","Message-Account":"sip:u{n}@r.test","Messages-New":"2","Messages-Saved":"3""#,
        r#""Messages-Waiting":"no","Messages-New":0,"Messages-Saved":0,"Messages-Urgent":1,"Messages-Urgent-Saved":4"#,
        r#""Call-ID":"c{n}","Sender-URI":"sip:s","Expires":86400"#,
        r#""From":null,"ETag":"e{n}""#,
    ];
    let dialog = [
        r#""State":"early","Call-ID":"c{n}","Direction":"initiator","Expires":3600"#,
        r#""State":"confirmed","Call-ID":"c{n}","Direction":"recipient","From-Tag":"f","To-Tag":"t","Dialog-ID":"d""#,
        r#""State":"confirmed","Call-ID":"c{n}","From-Tag":"f","From-URI":"sip:f","To-URI":"sip:t","Switch-URI":"sip:w""#,
        r#""State":"confirmed","Call-ID":"c{n}","To-Tag":"t","From-URI":"","Sender-URI":"sip:s","Switch-URI":"sip:w""#,
        r#""State":"terminated","Call-ID":"c{n}","Presentity":"sip:p@p","Presentity-User":"p{n}","Presentity-Realm":"p""#,
        r#""State":"terminated","Call-ID":"c{n}","Presentity":"sip:p@p","Presentity-User":"p{n}""#,
        r#""State":"terminated","ETag":"e{n}""#,
        r#""State":"terminated","Presentity":"sip:p@p","Presentity-User":"p{n}","Presentity-Realm":"p""#,
        r#""State":"confirmed","Call-ID":"c{n}","To-User":null,"To-Realm":"x","Direction":[1,2]"#,
        r#""State":"confirmed","Call-ID":"c{n}","To":"""#,
        r#""State":"","Call-ID":"c{n}""#,
        r#""Call-ID":"c{n}""#,
    ];
    let packages = [("presence", &presence[..]), ("message-summary", &mwi), ("dialog", &dialog)];
    let members = packages.into_iter().flat_map(|(package, list)| list.iter().map(move |members| (package, members)));
    let payload = |(n, (package, members)): (usize, (&str, &&str))| {
        let text = format!(r#"{{{users},"Event-Name":"update","Event-Package":"{package}",{members}}}"#);
        text.replace("{n}", &n.to_string())
    };
    let mut payloads: Vec<_> = members.enumerate().map(payload).collect();
    // Not an update, no package, several calls of one user of which one flushes the others.
    payloads.push(r#"{"Event-Name":"Update","Event-Package":"dialog","From":"a","To":"b","State":"c"}"#.into());
    payloads.push(r#"{"Event-Name":"update","Event-Package":"conference","From":"a","To":"b","State":"c"}"#.into());
    for (user, level) in [("l0", 0), ("l1", 1)] {
        let call = |id: &str, level: i32| {
            format!(
                r#"{{"Event-Name":"update","Event-Package":"dialog","From":"sip:{user}@r","From-User":"{user}",
                "From-Realm":"r","To":"sip:t","State":"early","Call-ID":"{id}","Flush-Level":{level}}}"#
            )
        };
        payloads.extend([call("a", 0), call("b", 0), call("a", level)]);
    }
    payloads
}

#[test]
fn rows_are_those_of_the_c_module() {
    let broker = broker();
    let databases = [Database::start(Engine::Sqlite).unwrap(), Database::start(Engine::Sqlite).unwrap()];
    let routes = |queue: &str| {
        format!(
            r##"request_route {{ exit; }}
            event_route[kazoo:mod-init] {{ kazoo_subscribe("both", "topic", "{queue}", "#"); }}
            event_route[kazoo:consumer-event-pua] {{ kazoo_pua_publish($kzE); xlog("L_NOTICE", "consumed\n"); }}"##
        )
    };
    let builder = |queue: &str, database: &Database| {
        // In order: one process that runs event routes, in the C module also one that consumes.
        let one = writer(queue, database).modparam_int("amqp_consumer_processes", 1);
        one.modparam_int("amqp_consumer_workers", 1).broker(&broker).routes(routes(queue))
    };
    let ours = builder("ours", &databases[0]).start().unwrap();
    let theirs = builder("theirs", &databases[1]).module(c_module()).start().unwrap();
    until_queue(&broker, "ours");
    until_queue(&broker, "theirs");
    let payloads = plain_payloads();
    let addressed = |payload: &String| payload.replacen('{', r#"{"Event-Category":"pua","#, 1);
    // Straight into each queue: a queue that is there may not be bound yet.
    for queue in ["ours", "theirs"] {
        let messages: Vec<_> = payloads.iter().map(|payload| Message::new("", queue, addressed(payload))).collect();
        broker.client().publish(&messages).unwrap();
    }
    for kamailio in [&ours, &theirs] {
        let all = wait_until(PATIENCE, || kamailio.log_lines("consumed").len() == payloads.len());
        let count = kamailio.log_lines("consumed").len();
        assert!(all, "{count} of {} consumed\n{}", payloads.len(), tail(kamailio));
    }
    // The clock may have gone on between the two.
    let relative = |row: Row| Row {
        expires: if row.expires > 0 { row.expires - row.received } else { row.expires },
        received: 0,
        ..row
    };
    let [ours, theirs] = databases.map(|database| rows(&database).into_iter().map(relative).collect::<Vec<_>>());
    assert!(ours.len() > 20, "{ours:?}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
}

// A phone that is told.

/// A phone that watches: it subscribes, and answers each NOTIFY.
struct Phone {
    socket: UdpSocket,
    server: u16,
}

impl Phone {
    fn new(server: u16) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", server)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, server }
    }

    /// Watches user 1001; the first NOTIFY has come when this returns.
    fn subscribe(&self, event: &str, accept: &str) {
        let (own, server) = (self.socket.local_addr().unwrap(), self.server);
        let request = format!(
            "SUBSCRIBE sip:1001@r.test SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK-{event};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:watcher@r.test>;tag=w-{event}\r\nTo: <sip:1001@r.test>\r\n\
             Call-ID: watch-{event}-{server}\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:watcher@{own}>\r\nEvent: {event}\r\n\
             Accept: {accept}\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n"
        );
        self.socket.send(request.as_bytes()).unwrap();
        let (mut accepted, mut notified) = (false, false);
        while !(accepted && notified) {
            let message = self.receive();
            accepted |= message.starts_with("SIP/2.0 20");
            notified |= message.starts_with("NOTIFY");
            assert!(accepted || notified, "{message}");
        }
    }

    /// Waits for the NOTIFY of this event whose body holds `part`.
    fn until_notified(&self, event: &str, part: &str) -> String {
        loop {
            let message = self.receive();
            let (head, body) = message.split_once("\r\n\r\n").unwrap();
            if head.starts_with("NOTIFY") && head.contains(&format!("Event: {event}")) && body.contains(part) {
                return body.to_string();
            }
        }
    }

    /// The next message; a NOTIFY is answered.
    fn receive(&self) -> String {
        let mut buffer = vec![0; 65_536];
        let length = self.socket.recv(&mut buffer).expect("a message for the phone");
        let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
        if message.starts_with("NOTIFY") {
            let copied = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
            let headers = message.lines().filter(|line| copied.iter().any(|name| line.starts_with(name)));
            let headers: String = headers.map(|line| format!("{line}\r\n")).collect();
            let answer = format!("SIP/2.0 200 OK\r\n{headers}Content-Length: 0\r\n\r\n");
            self.socket.send(answer.as_bytes()).unwrap();
        }
        message
    }
}

#[test]
fn a_phone_is_told_what_a_message_on_the_bus_says() {
    let broker = broker();
    let database = Database::start(Engine::Sqlite).unwrap();
    let url = database.url();
    let mut kamailio = writer("phone", &database)
        .broker(&broker)
        .load("presence")
        .load("presence_xml")
        .load("presence_dialoginfo")
        .load("presence_mwi")
        .line(&format!("modparam(\"presence|presence_xml\", \"db_url\", \"{url}\")"))
        .line("modparam(\"presence\", \"publ_cache\", 0)")
        .line("modparam(\"presence\", \"subs_db_mode\", 3)")
        .line("modparam(\"presence_xml\", \"force_active\", 1)")
        .routes(
            r##"
            request_route { if (is_method("SUBSCRIBE")) { handle_subscribe(); } exit; }
            event_route[kazoo:mod-init] { kazoo_subscribe("phone", "topic", "phone", "#"); }
            event_route[kazoo:consumer-event-presence-update] {
                kazoo_pua_publish($kzE);
                pres_refresh_watchers("$(kzE{kz.json,From})", "$(kzE{kz.json,Event-Package})", 1);
            }"##,
        )
        .start()
        .unwrap();
    until_queue(&broker, "phone");
    let phone = Phone::new(kamailio.sip_port());
    phone.subscribe("dialog", "application/dialog-info+xml");
    phone.subscribe("presence", "application/pidf+xml");
    phone.subscribe("message-summary", "application/simple-message-summary");

    let publish = |package: &str, members: &str| {
        let payload = format!(
            r#"{{"Event-Category":"presence","Event-Name":"update","Event-Package":"{package}","From":"sip:1001@r.test",
            "From-User":"1001","From-Realm":"r.test","To":"sip:1002@r.test","To-User":"<b>&","Call-ID":"call-1",
            "Expires":600,{members}}}"#
        );
        publish_routed(&broker, "phone", "k", &payload);
    };
    publish("dialog", r#""State":"confirmed","Direction":"initiator""#);
    let body = phone.until_notified("dialog", "confirmed");
    assert!(body.contains("call-id=\"call-1\"") && body.contains("display=\"&lt;b&gt;&amp;\""), "{body}");
    publish("dialog", r#""State":"terminated","Direction":"initiator""#);
    phone.until_notified("dialog", "<state>terminated</state>");
    publish("presence", r#""State":"confirmed""#);
    let body = phone.until_notified("presence", "On the Phone");
    assert!(body.contains("entity=\"1001\"") || body.contains("entity=\"sip:1001@r.test\""), "{body}");
    publish("message-summary", r#""Messages-Waiting":"yes","Messages-New":7,"Messages-Saved":1"#);
    phone.until_notified("message-summary", "Voice-Message: 7/1");
    still_well(&mut kamailio);
}
