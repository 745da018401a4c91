//! Properties over random input: nothing panics, and what two pieces of code compute must agree.

use proptest::collection::vec;
use proptest::prelude::*;

use super::shown;
use crate::payload::encode::{ENCODED_BYTES, encode};
use crate::payload::json::{Value, write_string};
use crate::payload::path::{count, find, find_count, find_text, render};
use crate::payload::{Envelope, Memory, Origin, envelope, envelope_in, event, headers, inbound, top_level_string};

/// Pieces that form JSON more often than chance would.
const PIECES: [&[u8]; 32] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"'",
    b"\"a\"",
    b"'Msg-ID'",
    b"\"Msg-ID\":",
    b"\"x\"",
    b"\\u0000",
    b"\\ud800",
    b"\\udc00",
    b"\\n",
    b"\\",
    b"/",
    b"/*c*/",
    b"//\n",
    b"1",
    b"-",
    b".5",
    b"e+",
    b"007",
    b"null",
    b"TRUE",
    b"NaN",
    b"-infinity",
    b" ",
    b"\xff",
    b"\0",
];

fn soup() -> impl Strategy<Value = Vec<u8>> {
    vec(prop::sample::select(PIECES.as_slice()), 0..40).prop_map(|pieces| pieces.concat())
}

/// Lenient text that is valid by construction: values in random spelling.
fn lenient() -> impl Strategy<Value = Vec<u8>> {
    let scalar = prop_oneof![
        prop::sample::select(vec!["null", "True", "FALSE", "NaN", "-INFINITY", "007", "-0", "1.", "1e", "-.5", "1.50"])
            .prop_map(|word| word.as_bytes().to_vec()),
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        text(),
    ];
    scalar.prop_recursive(5, 64, 5, |inner| {
        let member =
            (key(), blank(), inner.clone()).prop_map(|(key, blank, value)| [key, b":".into(), blank, value].concat());
        prop_oneof![
            (vec(inner, 0..5), blank()).prop_map(|(items, blank)| bracketed(b"[", items, &blank, b"]")),
            (vec(member, 0..5), blank()).prop_map(|(members, blank)| bracketed(b"{", members, &blank, b"}")),
        ]
    })
}

fn bracketed(open: &[u8], items: Vec<Vec<u8>>, blank: &[u8], close: &[u8]) -> Vec<u8> {
    let comma = [b",", blank].concat();
    let trailing = if items.len() > 2 { b",".as_slice() } else { b"" };
    [open, blank, &items.join(&comma[..]), trailing, blank, close].concat()
}

fn blank() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec!["", " ", "\r\n\t", "/* , */", "// ]\n"]).prop_map(|blank| blank.as_bytes().to_vec())
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        b"a".as_slice(),
        b"/",
        b"\\/",
        b"\\u0041",
        b"\\ud83d\\ude00",
        b"\\ud800",
        b"\\u0000",
        b"\xe9",
        b"\n",
        b"\\\\",
        b"\x7f",
        b"\\t",
        b"\\\"",
    ]);
    (vec(piece, 0..6), any::<bool>()).prop_map(|(pieces, single)| {
        let quote: &[u8] = if single { b"'" } else { b"\"" };
        [quote, &pieces.concat(), quote].concat()
    })
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec!["\"Msg-ID\"", "'Msg-ID'", "'Msg\\u002dID'", "\"Server-ID\"", "\"a\""]);
    prop_oneof![known.prop_map(|key| key.as_bytes().to_vec()), text()]
}

/// Strict JSON as `serde_json` builds it.
fn strict() -> impl Strategy<Value = serde_json::Value> {
    let scalar = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    scalar.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Into::into),
            vec(("[^\0]{0,6}", inner), 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

/// What a tree says of a top-level member.
fn by_tree(body: &[u8], key: &[u8]) -> Option<Option<Vec<u8>>> {
    let tree = Value::parse(body).ok()?;
    Some(tree.get(key).and_then(Value::scalar_text).map(<[u8]>::to_vec))
}

fn by_one_pass(body: &[u8], key: &[u8]) -> Option<Option<Vec<u8>>> {
    top_level_string(body, key).ok().map(|found| found.map(|text| text.into_owned()))
}

/// Pushes a body through everything that bodies go through.
const FIELDS: Envelope<'_> = Envelope { app_name: b"n/1", app_version: b"v", node: b"k", msg_id: b"m" };
const ORIGIN: Origin<'_> = Origin { zone: b"z/1", broker_id: 1, received_unix: 1 };

/// The members of an object, as a tree has them, each value written.
fn members(body: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let tree = Value::parse(body).ok()?;
    Some(tree.as_object()?.iter().map(|(name, value)| (name.to_vec(), value.to_bytes())).collect())
}

fn quoted(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_string(text, &mut out);
    out
}

/// The member's value, added as `null` at the end if there is none.
fn value<'m>(members: &'m mut Vec<(Vec<u8>, Vec<u8>)>, name: &[u8]) -> &'m mut Vec<u8> {
    let at = members.iter().position(|(known, _)| known == name).unwrap_or(members.len());
    if at == members.len() {
        members.push((name.to_vec(), b"null".to_vec()));
    }
    &mut members[at].1
}

fn written(members: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let members: Vec<_> =
        members.iter().map(|(name, value)| [b" ", &quoted(name)[..], b": ", &value[..]].concat()).collect();
    [b"{", &members.join(&b","[..])[..], b" }"].concat()
}

/// What [`envelope`] and [`Splice`](crate::payload::Splice) do, told step by step.
fn sealed_slowly(body: &[u8]) -> Option<Vec<u8>> {
    let mut members = members(body)?;
    let fields: [(&[u8], &[u8]); 5] = [
        (b"App-Name", FIELDS.app_name),
        (b"App-Version", FIELDS.app_version),
        (b"Node", FIELDS.node),
        (b"Msg-ID", FIELDS.msg_id),
        (b"Server-ID", b"server"),
    ];
    for (name, text) in fields {
        let value = value(&mut members, name);
        if value == b"null" {
            *value = quoted(text);
        }
    }
    Some(written(&members))
}

/// What [`inbound`] does, told step by step.
fn received_slowly(body: &[u8]) -> Option<Vec<u8>> {
    let address = Value::parse(body).ok()?.get(b"Server-ID").and_then(render).map(|text| text.into_owned());
    let mut members = members(body)?;
    *value(&mut members, b"AMQP-Broker-Zone") = quoted(ORIGIN.zone);
    *value(&mut members, b"AMQP-Received") = ORIGIN.received_unix.to_string().into_bytes();
    if let Some(address) = address {
        members.retain(|(name, _)| name != b"Server-ID");
        if !address.is_empty() {
            members.push((b"Server-ID".to_vec(), quoted(&[b"consumer://1/", &address[..]].concat())));
        }
    }
    Some(written(&members))
}

/// One pass gives the bytes that a tree gives, and each member is found in them.
fn agree_on_edits(body: &[u8]) {
    let sealed = envelope(body, &FIELDS).ok().map(|sealed| {
        let mut wire = Vec::new();
        sealed.splice.apply(&sealed.text, b"server", &mut wire).unwrap();
        wire
    });
    assert_eq!(sealed, sealed_slowly(body), "{}", shown(body));
    agree_on_memory(body);
    let received = inbound(body, &ORIGIN).ok();
    assert_eq!(received.as_ref().map(|received| received.text().to_vec()), received_slowly(body), "{}", shown(body));
    if let Some(received) = received {
        let tree = Value::parse(received.text()).unwrap();
        for (name, value) in tree.as_object().unwrap().iter() {
            assert_eq!(received.get(name), render(value), "{}", shown(body));
        }
    }
}

/// What is left in the memory of former texts is not seen.
fn agree_on_memory(body: &[u8]) {
    let mut memory = Memory::default();
    let other = &br#"{"App-Name":"other","a":{"b":[1,2,3]},"c":"longer than most of what is sealed next"}"#[..];
    for former in [other, body] {
        let sealed = envelope_in(&mut memory, former, &FIELDS);
        assert_eq!(sealed, envelope(former, &FIELDS), "{}", shown(body));
        sealed.into_iter().for_each(|sealed| memory.keep(sealed.text));
    }
}

fn use_everything(body: &[u8]) {
    agree_on_edits(body);
    if let Ok(sealed) = envelope(body, &FIELDS) {
        let mut wire = Vec::new();
        sealed.splice.apply(&sealed.text, b"server", &mut wire).unwrap();
        let id = top_level_string(&wire, b"Msg-ID").unwrap();
        assert_eq!(id, sealed.correlation().ok(), "the reply is recognised");
        let server = top_level_string(&wire, b"Server-ID").unwrap();
        assert!(server.is_some() || !Value::parse(&wire).unwrap().get(b"Server-ID").unwrap().is_null());
    }
    if let Ok(value) = inbound(body, &ORIGIN) {
        let keys = event::EventKeys { key: event::EventKey::Own(b"a"), subkey: event::EventKey::Global(b"Msg-ID") };
        assert_eq!(event::candidates(&value, keys).count(), 5);
    }
    assert!(headers::pairs(body).count() <= body.len());
}

fn naive_encode(text: &[u8]) -> Vec<u8> {
    if text == b"*" || text == b"#" {
        return text.to_vec();
    }
    let unit = |&byte: &u8| match char::from(byte) {
        plain if plain.is_ascii_alphanumeric() || "-~_".contains(plain) => plain.to_string(),
        ' ' => "+".to_owned(),
        _ => format!("%{byte:02X}"),
    };
    let mut out = String::new();
    text.iter().map(unit).for_each(|unit| {
        if out.len() < ENCODED_BYTES {
            out += &unit
        }
    });
    out.into_bytes()
}

proptest! {
    #[test]
    fn one_pass_finds_what_the_tree_has(
        text in prop_oneof![lenient(), soup()],
        path in "(Msg-ID|a|x|)(\\[[0-3]?\\])?(\\.(a|x|Msg-ID)(\\[[0-3]\\])?){0,2}",
    ) {
        let path = path.as_bytes();
        match Value::parse(&text) {
            Ok(root) => {
                let value = find(&root, path, b'%');
                prop_assert_eq!(find_text(&text, path, b'%').unwrap(), value.and_then(render));
                prop_assert_eq!(find_count(&text, path, b'%').unwrap(), count(value));
            }
            Err(error) => prop_assert_eq!(find_text(&text, path, b'%').unwrap_err(), error),
        }
    }

    #[test]
    fn any_bytes_are_survived(body in vec(any::<u8>(), 0..200)) {
        use_everything(&body);
        prop_assert_eq!(by_one_pass(&body, b"Msg-ID"), by_tree(&body, b"Msg-ID"));
    }

    #[test]
    fn any_pieces_are_survived(body in soup()) {
        use_everything(&body);
        prop_assert_eq!(by_one_pass(&body, b"Msg-ID"), by_tree(&body, b"Msg-ID"));
    }

    #[test]
    fn lenient_text_has_one_written_form(body in lenient()) {
        use_everything(&body);
        prop_assert_eq!(by_one_pass(&body, b"Msg-ID"), by_tree(&body, b"Msg-ID"));
        match Value::parse(&body) {
            Ok(value) => {
                let written = value.to_bytes();
                prop_assert_eq!(Value::parse(&written).unwrap().to_bytes(), written);
            }
            Err(error) => prop_assert_eq!(&body[..], b"null", "{}", error),
        }
    }

    #[test]
    fn objects_of_any_size_are_edited_alike(names in vec(0_usize..400, 0..300), value in key()) {
        let members: Vec<_> =
            names.iter().map(|name| [b"'k", name.to_string().as_bytes(), b"':", &value[..]].concat()).collect();
        let body = bracketed(b"{", members, b"", b"}");
        agree_on_edits(&body);
        agree_on_edits(&[b"{'in':", &body[..], b",\"Node\":null,'in':", &body[..], b"}"].concat());
    }

    #[test]
    fn strict_json_is_what_serde_json_says(value in strict(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        match Value::parse(text.as_bytes()) {
            Ok(ours) => prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&ours.to_bytes()).unwrap(), value),
            Err(error) => prop_assert!(text == "null" || text.contains("\\u0000"), "{error}: {text}"),
        }
    }

    #[test]
    fn encoding_is_what_the_table_says(text in vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(encode(&text), naive_encode(&text));
    }

    #[test]
    fn paths_reach_what_they_name(name in "[^.\\[%\0]{1,8}", index in 0usize..3, escape in Just(b'%')) {
        let quoted = serde_json::to_string(&name).unwrap();
        let text = format!("{{\"top\":{{{quoted}:[0,1,2]}}}}");
        let value = Value::parse(text.as_bytes()).unwrap();
        let path = format!("top.{name}[{index}]");
        prop_assert_eq!(find(&value, path.as_bytes(), escape).map(Value::to_int), Some(index as i64));
    }
}
