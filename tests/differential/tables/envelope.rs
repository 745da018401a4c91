//! Fields that are added to what a script publishes (reference 6.3), the routing key, the exchange.

use super::{REFUSED, publish};
use crate::case::{Cases, EXCHANGE, Input, OTHER_EXCHANGE, SINK_QUEUE};

const FIELDS: &[&str] = &["App-Name", "App-Version", "Node", "Msg-ID", "Server-ID"];

pub fn add(cases: &mut Cases) {
    let form = publish();
    cases.group("envelope");
    for field in FIELDS {
        for (name, value) in [
            ("own", "\"own\""),
            ("null", "null"),
            ("empty", "\"\""),
            ("number", "17"),
            ("false", "false"),
            ("array", "[1]"),
            ("object", "{\"x\":null}"),
        ] {
            let body = format!(r#"{{"before":1,"{field}":{value},"after":2}}"#);
            cases.script(format!("{field} {name}"), &form, Input::payload(body));
        }
        let lower = field.to_lowercase();
        cases.script(format!("{lower} is another name"), &form, Input::payload(format!(r#"{{"{lower}":"own"}}"#)));
    }
    let all = |value: &str| {
        let members: Vec<_> = FIELDS.iter().rev().map(|field| format!("\"{field}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    };
    cases.script("all own, in another order", &form, Input::payload(all("\"own\"")));
    cases.script("all null, in another order", &form, Input::payload(all("null")));
    let twice = r#"{"Node":null,"Node":"own","Msg-ID":"own","Msg-ID":null}"#;
    cases.script("fields twice", &form, Input::payload(twice));
    let inner = r#"{"inner":{"Msg-ID":"own","Node":null},"list":[{"App-Name":null}]}"#;
    cases.script("fields further inside", &form, Input::payload(inner));
    let last = format!("{{{},\"more\":{{}}}}", (0..300).map(|n| format!("\"k{n}\":{n}")).collect::<Vec<_>>().join(","));
    cases.script("many members", &form, Input::payload(last));
    cases.script("30 KB", &form, Input::payload(format!(r#"{{"fill":"{}"}}"#, "é/".repeat(10_000))));

    cases.group("routing key");
    for (name, key) in [
        ("words", "one.two.three"),
        ("empty", ""),
        ("blank", "one two"),
        ("dots", "..."),
        ("wildcards", "*.#"),
        ("encoded", "user%40example%2Ecom"),
        ("UTF-8", "é.€"),
        ("255 bytes", &"k".repeat(255)),
        ("256 bytes", &"k".repeat(256)),
        ("5000 bytes", &"k".repeat(5000)),
        ("to broker 1", "consumer://1/one.two"),
        ("to broker 1, empty", "consumer://1/"),
        ("to broker 1, slashes", "consumer://1/one/two"),
        ("to broker 01", "consumer://01/x"),
        ("to broker 0", "consumer://0/x"),
        ("to broker text", "consumer://abc/x"),
        ("to broker 99", "consumer://99/x"),
        ("to broker -1", "consumer://-1/x"),
        ("to broker 1x", "consumer://1x/x"),
        ("to broker, no key", "consumer://1"),
        ("to broker, no number", "consumer:///x"),
        ("to broker, nothing", "consumer://"),
        ("to broker, upper case", "CONSUMER://1/x"),
        ("to broker, 255 bytes in all", &format!("consumer://1/{}", "k".repeat(242))),
        ("to broker, 256 bytes in all", &format!("consumer://1/{}", "k".repeat(243))),
    ] {
        cases.script(name, &form, Input::key(key));
    }

    cases.group("exchange");
    cases.script("with a blank", &form, Input::key("x").with_exchange(OTHER_EXCHANGE));
    cases.script("default, key is a queue", &form, Input::key(SINK_QUEUE).with_exchange(""));
    cases.script("default, no such queue", &form, Input::key("nobody").with_exchange(""));
    // The C module drops its connection over it, and takes 5 s to come back.
    cases.script("256 bytes", &form, Input::key("x").with_exchange("e".repeat(256))).alone(REFUSED);
    // The broker closes the C module's channel, and what it publishes there later is lost without a word.
    cases.script("missing", &form, Input::key("x").with_exchange("nowhere")).alone([
        ("branch", "true"),
        ("rc", "positive"),
        ("messages", "0"),
    ]);
    cases.script("after a missing one", &form, Input::key("x").with_exchange(EXCHANGE)).alone([
        ("branch", "true"),
        ("rc", "positive"),
        ("messages", "1"),
    ]);
}
