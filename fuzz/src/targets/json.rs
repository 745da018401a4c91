//! Lenient JSON and the envelope, as `kazoo_publish` uses them on the text of a script.

use kazoo::payload::{Envelope, Value, envelope, top_level_string};

const FIELDS: Envelope<'static> =
    Envelope { app_name: b"kamailio", app_version: b"5.6.3", node: b"kamailio@fuzz", msg_id: b"fresh-id" };

/// Deepest nesting of the dialect.
const DEPTH: usize = 32;

pub fn fuzz(text: &[u8]) {
    let parsed = Value::parse(text);
    if let Ok(value) = &parsed {
        // A float that lost an unfinished exponent (`1e`) is an integer the next time, so compare from then on.
        let once = rewritten(&value.to_bytes());
        assert_eq!(rewritten(&once), once, "written the same each time");
        assert_eq!(
            top_level_string(text, b"Msg-ID")
                .expect("the scanner accepts what the parser does")
                .map(|id| id.into_owned()),
            value.get(b"Msg-ID").and_then(Value::scalar_text).map(<[u8]>::to_vec),
        );
    } else {
        assert!(top_level_string(text, b"Msg-ID").is_err(), "the scanner refuses what the parser does");
        let standard = serde_json::from_slice::<serde_json::Value>(text);
        assert!(!standard.is_ok_and(|value| depth(&value) <= DEPTH && !value.is_null()), "standard JSON is accepted");
    }
    sealed(text, parsed.is_ok_and(|value| value.as_object().is_some()));
}

fn rewritten(text: &[u8]) -> Vec<u8> {
    Value::parse(text).expect("what was written is read again").to_bytes()
}

/// The envelope of an object, with `Server-ID` in its place, is an object that has every field.
fn sealed(text: &[u8], is_object: bool) {
    let Ok(sealed) = envelope(text, &FIELDS) else { return assert!(!is_object) };
    let mut wire = Vec::new();
    sealed.splice.apply(&sealed.text, b"the \"address\"", &mut wire).expect("the place is inside the text");
    let value = Value::parse(&wire).expect("what goes on the wire is JSON");
    for field in ["App-Name", "App-Version", "Node", "Msg-ID", "Server-ID"] {
        assert!(!value.get(field.as_bytes()).expect("every field is there").is_null());
    }
}

fn depth(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        serde_json::Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
