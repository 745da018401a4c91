//! What a consumer does with a message body before the event route runs.

use kazoo::payload::event::{EventKey, EventKeys, candidates};
use kazoo::payload::{Origin, Value, encode, inbound};

pub fn fuzz(body: &[u8]) {
    let origin = Origin { zone: b"local", broker_id: 1, received_unix: 1_700_000_000 };
    let Ok(payload) = inbound(body, &origin) else { return };
    let again = Value::parse(payload.text()).expect("a script can read what it is given");
    assert_eq!(again.get(b"AMQP-Broker-Zone").and_then(Value::as_string), Some(&b"local"[..]));
    if let Some(address) = again.get(b"Server-ID") {
        assert!(address.as_string().expect("a text").starts_with(b"consumer://1/"));
    }
    let keys =
        EventKeys { key: EventKey::Global(b"Event-Category"), subkey: EventKey::choose(b"Event_Name", b"Event-Name") };
    let names: Vec<_> = candidates(&payload, keys).collect();
    assert_eq!(names.len(), 5);
    for name in &names {
        assert!(name.starts_with(b"kazoo:consumer-event"));
        assert!(!name.iter().any(|byte| *byte == b'_' || byte.is_ascii_uppercase()));
        assert!(encode::encode(name).len() <= 257);
    }
}
