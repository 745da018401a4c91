//! What a case gave, as named fields, with what differs from run to run replaced by a word for its form.

use std::collections::BTreeMap;

use rig::Arrived;

/// Fields and their values; two outcomes are the same when all fields are.
pub type Outcome = BTreeMap<String, String>;

/// Bytes as readable text, random ids and times replaced.
pub fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.push_str(&chunk.invalid().escape_ascii().to_string());
    }
    without_times(&without_uuids(&text))
}

/// `1a2b3c4d-0000-0000-0000-000000000000` becomes `<uuid>`, lower case only.
fn without_uuids(text: &str) -> String {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    const LENGTH: usize = 36;
    let is_uuid = |candidate: &str| {
        let groups: Vec<_> = candidate.split('-').collect();
        let hex = |group: &str| group.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        groups.iter().map(|group| group.len()).eq(GROUPS) && groups.iter().all(|group| hex(group))
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.get(..LENGTH).is_some_and(is_uuid) {
            out.push_str("<uuid>");
            rest = &rest[LENGTH..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// The value of `AMQP-Received`.
fn without_times(text: &str) -> String {
    const FIELD: &str = "\"AMQP-Received\": ";
    let mut parts = text.split(FIELD);
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        out.push_str(FIELD);
        // Ten digits: seconds, in this century and the next two.
        out.push_str(if digits == 10 { "<time>" } else { &part[..digits] });
        out.push_str(&part[digits..]);
    }
    out
}

/// Adds the messages that arrived.
pub fn add_messages(outcome: &mut Outcome, messages: &[Arrived]) {
    outcome.insert("messages".into(), messages.len().to_string());
    for (n, message) in (1..).zip(messages) {
        let mut add = |field: &str, value: String| outcome.insert(format!("message {n} {field}"), value);
        // Its presence is a field of its own; it names the message and is different each time.
        let others: Vec<_> = message.properties.iter().copied().filter(|name| *name != "message_id").collect();
        let headers: Vec<_> = message.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        add("exchange", message.exchange.clone());
        add("routing key", message.routing_key.clone());
        add("properties", others.join(", "));
        add("content type", message.content_type.clone().unwrap_or_default());
        add("delivery mode", message.delivery_mode.map(|mode| mode.to_string()).unwrap_or_default());
        add("message id", if message.message_id.is_some() { "present" } else { "absent" }.into());
        add("headers", headers.join("; "));
        add("redelivered", message.redelivered.to_string());
        add("body", shown(&message.body));
    }
}

/// Bytes from hexadecimal digits; what is wrong comes out as it is.
pub fn from_hex(text: &str) -> Vec<u8> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).map(pair).collect::<Option<_>>().unwrap_or_else(|| text.into())
}

pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_differs_each_time_is_replaced() {
    let id = "0a2b3c4d-1111-4222-8333-0123456789ab";
    assert_eq!(
        shown(format!("x{id}y é {}", id.to_uppercase()).as_bytes()),
        format!("x<uuid>y é {}", id.to_uppercase())
    );
    assert_eq!(shown(b"{ \"AMQP-Received\": 1763692800, \"a\": 1 }"), "{ \"AMQP-Received\": <time>, \"a\": 1 }");
    assert_eq!(shown(b"\"AMQP-Received\": 17"), "\"AMQP-Received\": 17");
    assert_eq!(shown(b"\"\xff\""), "\"\\xff\"");
    assert_eq!(from_hex(&to_hex(b"\0\xffa")), b"\0\xffa");
}
