//! `kazoo_pua_publish` and its forms on real databases: SQLite, PostgreSQL and MariaDB get the same suite. Then the C
//! module beside ours, and a phone that is told by Kamailio's presence modules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use common::{PATIENCE, broker, kamailio, number, sip, still_well, tail, until_logged, until_queue};
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
    each_package_writes_its_row(&client, &database);
    each_function_writes_its_package(&client, &database);
    flush_levels(&client, &database);
    values_stay_values(&client, &database);
    refusals(&client, &database, &kamailio);
    long_values(&client, &database);
    workers_do_not_disturb_each_other(&kamailio, &database, &broker, name);
    if engine != Engine::Sqlite {
        an_outage_costs_only_what_falls_into_it(&client, &mut database, &broker, &kamailio, name);
    }
    assert!(!kamailio.log().contains("s3cret"), "the password is in the log");
    still_well(&mut kamailio);
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
        ("any", "no json", -2, "is not JSON"),
        ("mwi", "[1]", -2, "not a JSON object but a array"),
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

/// Two SIP workers and two consumers write at the same time.
fn workers_do_not_disturb_each_other(kamailio: &Kamailio, database: &Database, broker: &Broker, exchange: &str) {
    const EACH: usize = 100;
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
    // Nobody is up yet, and nobody is kept waiting for it.
    assert_eq!(send(client, "none", ""), 1);

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
