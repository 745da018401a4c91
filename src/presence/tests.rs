//! Payloads to rows. The documents are written out: they are what phones get.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;
use crate::payload::Value;

const NOW: i64 = 1_700_000_000;
const PLAIN: Options = Options { now: NOW, include_entity: true };

fn try_update(package: Package, payload: &str, options: Options) -> Result<Update, Missing> {
    update(package, &Value::parse(payload.as_bytes()).unwrap(), options)
}

fn written(package: Package, payload: &str) -> Update {
    try_update(package, payload, PLAIN).unwrap()
}

fn presence(members: &str) -> Row {
    let payload = format!(r#"{{"From-User":"1001","From-Realm":"r.test","To-User":"1002","State":"early",{members}}}"#);
    written(Package::Presence, &payload).row
}

fn dialog(members: &str) -> Update {
    let payload = format!(
        r#"{{"From":"sip:1001@r.test","From-User":"1001","From-Realm":"r.test","To":"sip:1002@r.test",
        "State":"early",{members}}}"#
    );
    written(Package::Dialog, &payload)
}

#[test]
fn a_presence_row_holds_a_pidf_document() {
    let update = written(
        Package::Presence,
        r#"{"From":"sip:1001@r.test","From-User":"1001","From-Realm":"r.test","To":"sip:1002@r.test","To-User":"1002",
        "Call-ID":"c1","State":"early","Expires":60}"#,
    );
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
        <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" \
        xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" xmlns:c=\"urn:ietf:params:xml:ns:pidf:cipid\" \
        entity=\"1001\"> <tuple xmlns=\"urn:ietf:params:xml:ns:pidf\" id=\"c1\"><status><basic>open</basic></status>\
        </tuple><note xmlns=\"urn:ietf:params:xml:ns:pidf\">Busy</note>\
        <dm:person xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" \
        id=\"1\"><rpid:activities><rpid:busy/></rpid:activities><dm:note>Busy</dm:note></dm:person></presence>";
    let row = Row {
        event: "presence",
        domain: "r.test".into(),
        username: "1001".into(),
        etag: "c1".into(),
        sender: "sip:1001@r.test".into(),
        body: body.into(),
        received_time: 1_700_000_000,
        expires: 1_700_000_060,
    };
    assert_eq!(update, Update { row, flush: Flush::Presentity });
}

#[test]
fn each_state_has_its_notes() {
    let table = [
        ("early", "open", "Busy", "<rpid:busy/>"),
        ("confirmed", "open", "On the Phone", "<rpid:on-the-phone/>"),
        ("offline", "closed", "Offline", ""),
        ("terminated", "open", "Available", ""),
        ("Early", "open", "Available", ""),
    ];
    for (state, basic, note, activity) in table {
        let payload = format!(r#"{{"From-User":"1001","To-User":"1002","State":"{state}"}}"#);
        let body = written(Package::Presence, &payload).row.body;
        assert!(body.contains(&format!("<basic>{basic}</basic>")), "{body}");
        assert_eq!(body.matches(&format!("note>{note}</dm:note>")).count(), 1, "{body}");
        assert!(body.contains(&format!("pidf\">{note}</note>")), "{body}");
        assert!(body.contains(&format!("<rpid:activities>{activity}</rpid:activities>")), "{body}");
    }
}

#[test]
fn a_mailbox_is_three_lines() {
    let update = written(
        Package::MessageSummary,
        r#"{"From":"sip:1001@r.test","From-User":"1001","From-Realm":"r.test","Sender-URI":"sip:unused","ETag":"e",
        "Messages-Waiting":"yes","Message-Account":"sip:vm@r.test","Messages-New":2,"Messages-Saved":"3",
        "Messages-Urgent":1,"Messages-Urgent-Saved":0}"#,
    );
    assert_eq!(
        update.row.body,
        "Messages-Waiting: yes\r\nMessage-Account: sip:vm@r.test\r\nVoice-Message: 2/3 (1/0)\r\n"
    );
    assert_eq!((update.row.event, update.row.sender.as_str()), ("message-summary", "sip:1001@r.test"));
    assert_eq!((update.flush, update.row.expires), (Flush::Presentity, 0));
    let empty = written(Package::MessageSummary, "{}").row;
    assert_eq!(empty.body, "Messages-Waiting: \r\nMessage-Account: \r\nVoice-Message: / (/)\r\n");
}

#[test]
fn a_value_makes_no_line_of_its_own_in_a_mailbox() {
    let body = written(Package::MessageSummary, r#"{"Messages-Waiting":"no\r\nVoice-Message: 9/9"}"#).row.body;
    assert_eq!(body.lines().count(), 3, "{body}");
}

#[test]
fn a_dialog_row_holds_a_dialog_info_document() {
    let update = dialog(
        r#""To-User":"1002","Call-ID":"c1","Dialog-ID":"d1","From-Tag":"ft","To-Tag":"tt","From-URI":"sip:f",
        "To-URI":"sip:t","Direction":"recipient","Presentity":"sip:p@p.test","Presentity-User":"p",
        "Presentity-Realm":"p.test","Switch-URI":"sip:sw""#,
    );
    assert_eq!(
        update.row.body,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" \
        version=\"1\" state=\"full\" entity=\"sip:p@p.test\">\
        <dialog id=\"d1\" call-id=\"c1\" local-tag=\"ft\" remote-tag=\"tt\" direction=\"recipient\">\
        <state>early</state><local><identity display=\"1001\">sip:1001@r.test</identity><target uri=\"sip:f\"/></local>\
        <remote><identity display=\"1002\">sip:1002@r.test</identity><target uri=\"sip:t\"/></remote>\
        </dialog></dialog-info>"
    );
    let row = &update.row;
    assert_eq!((row.event, row.username.as_str(), row.domain.as_str()), ("dialog", "p", "p.test"));
    assert_eq!((row.etag.as_str(), row.sender.as_str(), update.flush), ("c1", "sip:sw", Flush::Same));
}

#[test]
fn absent_parts_of_a_dialog_have_their_defaults() {
    let update = dialog(r#""Call-ID":"c1","Direction":"initiator""#);
    assert_eq!(
        update.row.body,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" \
        version=\"1\" state=\"full\" entity=\"sip:1001@r.test\">\
        <dialog id=\"c1\" call-id=\"c1\"   direction=\"initiator\"><state>early</state>\
        <local><identity display=\"1001\">sip:1001@r.test</identity><target uri=\"sip:1001@r.test\"/></local>\
        <remote><identity display=\"\">sip:1002@r.test</identity><target uri=\"sip:1002@r.test\"/></remote>\
        </dialog></dialog-info>"
    );
    assert_eq!(update.row.sender, "sip:c1");
    // Two of three: the others count.
    let row = dialog(r#""Call-ID":"c1","Presentity":"sip:p@p.test","Presentity-User":"p""#).row;
    assert_eq!((row.username.as_str(), row.domain.as_str()), ("1001", "r.test"));
}

#[test]
fn a_dialog_without_call_id_says_that_there_is_none() {
    let row = dialog(r#""Direction":"recipient""#).row;
    assert_eq!(
        row.body,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" \
        version=\"1\" state=\"full\" entity=\"sip:1001@r.test\"> \
        <dialog call-id=\"76001e23e09704ea9e1257ebea85e1f3\" direction=\"initiator\"><state>terminated</state></dialog>\
        </dialog-info>"
    );
    assert_eq!((row.etag.as_str(), row.sender.as_str()), ("", "sip:"));
}

#[test]
fn targets_can_be_left_out() {
    let payload = r#"{"From":"a","To":"b","State":"early","Call-ID":"c1"}"#;
    let body = try_update(Package::Dialog, payload, Options { include_entity: false, ..PLAIN }).unwrap().row.body;
    assert!(!body.contains("target"), "{body}");
    assert!(body.contains("</identity></local>"), "{body}");
}

#[test]
fn etag_and_sender_fall_back() {
    let etag = |members: &str| presence(members).etag;
    assert_eq!(etag(r#""ETag":"e","Call-ID":"c""#), "e");
    assert_eq!(etag(r#""ETag":"","Call-ID":"c""#), "c");
    assert_eq!(etag(r#""ETag":null,"Call-ID":7"#), "7");
    let sender = |members: &str| presence(members).sender;
    assert_eq!(sender(r#""Sender-URI":"s","Switch-URI":"w","From":"f""#), "s");
    assert_eq!(sender(r#""Switch-URI":"w","From":"f""#), "w");
    assert_eq!(sender(r#""From":"f""#), "f");
}

#[test]
fn expires_counts_from_now_when_it_is_more_than_0() {
    let expires = |value: &str| presence(&format!(r#""Expires":{value}"#)).expires;
    assert_eq!(expires("3600"), 1_700_003_600);
    assert_eq!(expires(r#""3600""#), 1_700_003_600);
    assert_eq!(expires(r#""60s""#), 1_700_000_060);
    assert_eq!((expires("0"), expires("-5"), expires("null"), expires(r#""never""#)), (0, -5, 0, 0));
    assert_eq!((expires("9223372036854775807"), expires("-9223372036854775808")), (i32::MAX, i32::MIN));
}

#[test]
fn flush_levels_stay_inside_the_package() {
    let columns = |level: &str| dialog(&format!(r#""Flush-Level":{level}"#)).flush.equal_columns();
    assert_eq!((columns("0"), columns("1"), columns("2"), columns("3")), (4, 3, 2, 1));
    assert_eq!((columns("4"), columns(r#""99""#), columns("9223372036854775807")), (1, 1, 1));
    assert_eq!((columns("-1"), columns("null"), columns(r#""x""#)), (4, 4, 4));
    let key: Vec<_> = dialog(r#""Flush-Level":0"#).row.cells()[..KEY_COLUMNS].iter().map(|(name, _)| *name).collect();
    assert_eq!(key, ["event", "domain", "username", "etag"]);
}

#[test]
fn what_is_mandatory_is_named_when_it_is_missing() {
    let missing = |package, payload| try_update(package, payload, PLAIN).unwrap_err().to_string();
    assert_eq!(missing(Package::Presence, "{}"), "the payload lacks From-User, To-User, State");
    assert_eq!(
        missing(Package::Presence, r#"{"From-User":"a","To-User":"","State":null}"#),
        "the payload lacks To-User, State"
    );
    assert_eq!(missing(Package::Dialog, r#"{"From":"a","State":"early"}"#), "the payload lacks To");
}

#[test]
fn only_updates_are_addressed_to_a_package() {
    let to = |payload: &str| match addressed(&Value::parse(payload.as_bytes()).unwrap()) {
        Addressed::To(package) => package.event().to_owned(),
        Addressed::Unknown(name) => format!("? {name}"),
        Addressed::NoUpdate => "-".to_owned(),
    };
    assert_eq!(to(r#"{"Event-Name":"update","Event-Package":"dialog"}"#), "dialog");
    assert_eq!(to(r#"{"Event-Name":"update","Event-Package":"presence"}"#), "presence");
    assert_eq!(to(r#"{"Event-Name":"update","Event-Package":"message-summary"}"#), "message-summary");
    assert_eq!(to(r#"{"Event-Name":"update","Event-Package":"Dialog"}"#), "? Dialog");
    assert_eq!(to(r#"{"Event-Name":"update"}"#), "? ");
    assert_eq!((to(r#"{"Event-Name":"Update","Event-Package":"dialog"}"#), to("{}")), ("-".into(), "-".into()));
}

#[test]
fn markup_in_values_is_escaped() {
    let row = dialog(r#""Call-ID":"<a b=\"c\">&'","To-User":"\u0001\n\u00e9","ETag":"<&\">""#).row;
    assert!(row.body.contains(r#"call-id="&lt;a b=&quot;c&quot;&gt;&amp;'""#), "{}", row.body);
    assert!(row.body.contains("display=\"\u{fffd}&#10;\u{e9}\""), "{}", row.body);
    assert_eq!(row.etag, "<&\">");
    let body = presence(r#""From-User":"a<b>","Call-ID":"\"/>""#).body;
    assert!(body.contains(r#"entity="a&lt;b&gt;""#) && body.contains(r#"id="&quot;/&gt;""#), "{body}");
}

#[test]
fn bytes_that_are_no_text_do_not_reach_the_row() {
    let payload = b"{\"From\":\"a\xff\x00b\",\"To\":\"t\",\"State\":\"s\",\"Call-ID\":\"\\u0000x\"}";
    // The text ends at its first NUL byte, so this is no complete payload.
    assert!(Value::parse(payload).is_err());
    let payload = b"{\"From\":\"a\xffb\",\"To\":\"t\",\"State\":\"s\",\"Call-ID\":\"c\\u0000x\"}";
    let row = update(Package::Dialog, &Value::parse(payload).unwrap(), PLAIN).unwrap().row;
    assert!(row.body.contains("a\u{fffd}b"), "{}", row.body);
    assert_eq!(row.etag, "c");
}

/// Takes XML apart as far as these documents use it; `None` when it is not well-formed.
fn elements(document: &str) -> Option<Vec<String>> {
    let (mut open, mut seen) = (Vec::new(), Vec::new());
    for part in document.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?.split('<').skip(1) {
        let (tag, text) = part.split_once('>')?;
        let name = tag.split(' ').next()?.trim_matches('/').to_owned();
        let quotes_pair = tag.matches('"').count() % 2 == 0;
        if !quotes_pair || text.contains(['>', '"']) {
            return None;
        }
        if tag.starts_with('/') {
            (open.pop()? == name).then_some(())?;
        } else {
            seen.push(name.clone());
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
    }
    open.is_empty().then_some(seen)
}

proptest! {
    #[test]
    fn no_value_changes_the_shape_of_a_document(value in "[ -~\u{0}-\u{1f}\u{80}-\u{ff}]{1,20}") {
        let mut text = Vec::new();
        crate::payload::json::write_string(value.as_bytes(), &mut text);
        let value = String::from_utf8(text).unwrap();
        let members = ["From", "From-User", "To", "To-User", "State", "Call-ID", "From-Tag", "Direction", "Presentity",
            "Presentity-User", "Presentity-Realm"].map(|name| format!(r#""{name}":{value}"#)).join(",");
        let payload = format!("{{{members}}}");
        // A value that starts with NUL is an empty one, and so is not there.
        if let Ok(update) = try_update(Package::Dialog, &payload, PLAIN) {
            let party = ["identity", "target"];
            let shape = [&["dialog-info", "dialog", "state", "local"][..], &party, &["remote"], &party].concat();
            prop_assert_eq!(elements(&update.row.body), Some(shape.into_iter().map(String::from).collect()));
        }
        if let Ok(update) = try_update(Package::Presence, &payload, PLAIN) {
            prop_assert_eq!(elements(&update.row.body).map(|seen| seen.len()), Some(8));
        }
    }
}
