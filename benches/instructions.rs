//! Instructions per call of the hot paths. Timings on a shared machine go up and down, instruction counts do not:
//! `benches/instructions.sh` runs this under callgrind and compares with `benches/instructions.txt`.
//!
//! `instructions` lists the names; `instructions NAME COUNT` makes COUNT calls and prints nothing.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "benches")]

mod json_c;

use std::ffi::CString;
use std::hint::black_box;

use kazoo::payload::encode::encode;
use kazoo::payload::event::{EventKey, EventKeys, candidates};
use kazoo::payload::path::find_text;
use kazoo::payload::{Envelope, Memory, Origin, Value, envelope_in, inbound, top_level_string};
use serde_json::value::RawValue;
use shm::{Consumer, Mapping, Producer, ring};

use json_c::JsonC;

/// 500 bytes, 13 members; the same as in `payload.rs`.
const PAYLOAD: &[u8] = include_bytes!("payload.json");
const FIELDS: Envelope<'static> = Envelope {
    app_name: b"kamailio",
    app_version: b"5.6.3",
    node: b"kamailio@sip1.example.com",
    msg_id: b"5f0c8f5e-6c5b-4f6e-9d3a-0a1b2c3d4e5f",
};

const SERVER_ID: &[u8] = b"kamailio@sip1.example.com-<1>-targeted-0";

type Case = (&'static str, fn(usize));

const CASES: &[Case] = &[
    ("json-field", |count| repeat(count, || top_level_string(black_box(PAYLOAD), b"Call-ID").unwrap().unwrap().len())),
    ("json-path", |count| {
        repeat(count, || find_text(black_box(PAYLOAD), b"Custom.Expires", b'%').unwrap().unwrap().len())
    }),
    ("json-three-fields", three_fields),
    ("json-tree", |count| repeat(count, || Value::parse(black_box(PAYLOAD)).unwrap().to_bytes().len())),
    ("envelope", seal),
    ("event", receive),
    ("encode", |count| repeat(count, || encode(black_box(b"user_1234567@sip.example.com")).len())),
    ("ring-500", pass_records),
    ("serde-json-field", |count| {
        repeat(count, || serde_json::from_slice::<OneField<'_>>(black_box(PAYLOAD)).unwrap().field.get().len())
    }),
    ("json-c-tree", |count| {
        let (json_c, text) = (JsonC::load().unwrap(), CString::new(PAYLOAD).unwrap());
        repeat(count, || usize::from(json_c.parse(black_box(&text))));
    }),
    ("json-c-field", |count| {
        let (json_c, text) = (JsonC::load().unwrap(), CString::new(PAYLOAD).unwrap());
        repeat(count, || json_c.field(black_box(&text), c"Call-ID"));
    }),
    ("json-c-envelope", |count| {
        let (json_c, text, added) = (JsonC::load().unwrap(), CString::new(PAYLOAD).unwrap(), added());
        repeat(count, || json_c.sealed(black_box(&text), &added));
    }),
];

#[derive(serde::Deserialize)]
struct OneField<'a> {
    #[serde(rename = "Call-ID", borrow)]
    field: &'a RawValue,
}

fn repeat(count: usize, mut call: impl FnMut() -> usize) {
    (0..count).for_each(|_| {
        black_box(call());
    });
}

/// What an event route does that reads three fields.
fn three_fields(count: usize) {
    repeat(count, || {
        let text = |path: &[u8]| find_text(black_box(PAYLOAD), path, b'%').unwrap().unwrap().len();
        text(b"Event-Name") + text(b"Custom.Expires") + text(b"Call-ID")
    });
}

/// What a consumer does with a body before it runs the route: the edited text and the name of the route.
fn receive(count: usize) {
    let origin = Origin { zone: b"local", broker_id: 1, received_unix: 1_700_000_000 };
    let keys = EventKeys { key: EventKey::Global(b"Event-Category"), subkey: EventKey::Global(b"Event-Name") };
    repeat(count, || {
        let payload = inbound(black_box(PAYLOAD), &origin).unwrap();
        payload.text().len() + candidates(&payload, keys).next().unwrap().len()
    });
}

/// The fields of the envelope as json-c gets them.
fn added() -> Vec<(CString, CString)> {
    let fields: [(&str, &[u8]); 5] = [
        ("App-Name", FIELDS.app_name),
        ("App-Version", FIELDS.app_version),
        ("Node", FIELDS.node),
        ("Msg-ID", FIELDS.msg_id),
        ("Server-ID", SERVER_ID),
    ];
    fields.into_iter().map(|(name, text)| (CString::new(name).unwrap(), CString::new(text).unwrap())).collect()
}

/// All fields of the envelope, and the text that goes on the wire.
fn seal(count: usize) {
    let (mut wire, mut memory) = (Vec::new(), Memory::default());
    repeat(count, || {
        let sealed = envelope_in(&mut memory, black_box(PAYLOAD), &FIELDS).unwrap();
        wire.clear();
        sealed.splice.apply(&sealed.text, SERVER_ID, &mut wire).unwrap();
        memory.keep(sealed.text);
        wire.len()
    });
}

/// One record of 500 bytes: written, read, confirmed.
fn pass_records(count: usize) {
    const CAPACITY: u32 = 256 * 1024;
    let mapping = Mapping::create(ring::bytes_for(CAPACITY as usize)).unwrap();
    ring::init(mapping.region(), CAPACITY).unwrap();
    // SAFETY: one of each, in one thread.
    let mut producer = unsafe { Producer::attach(mapping.region()) }.unwrap();
    // SAFETY: as above.
    let mut consumer = unsafe { Consumer::attach(mapping.region()) }.unwrap();
    repeat(count, || {
        producer.push(1, &[black_box(&[7; 500])]).unwrap();
        let end = consumer.next().unwrap().unwrap().end;
        consumer.confirm(end).unwrap();
        end as usize
    });
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.as_slice() {
        [name, count] => {
            let case = CASES.iter().find(|(known, _)| known == name);
            case.unwrap().1(count.parse().unwrap());
        }
        _ => CASES.iter().for_each(|(name, _)| println!("{name}")),
    }
}
