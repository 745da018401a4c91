//! What a payload costs: reading it, taking a field, adding the envelope, beside json-c (the library of the C module)
//! and plain serde_json.
//!
//! `cargo bench -p kazoo --no-default-features --bench payload`. json-c is loaded at run time; without its shared
//! library (Debian: libjson-c5) its lines are left out. json-c reads the same lenient dialect, serde_json only JSON.

#![allow(clippy::unwrap_used, missing_docs, reason = "benches")]

mod json_c;

use std::collections::HashMap;
use std::ffi::CString;
use std::hint::black_box;

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use kazoo::payload::encode::encode;
use kazoo::payload::path::find_text;
use kazoo::payload::{Envelope, Value, envelope, top_level_string};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use json_c::JsonC;

/// A registration as a SIP edge publishes it: 500 bytes, 13 members, one of them an object.
const PAYLOAD: &str = include_str!("payload.json");
/// The last member of the payload. A reader sees all of the text for any of them: it must know that it is valid.
const FIELD: &str = "Call-ID";
const FIELDS: Envelope<'static> = Envelope {
    app_name: b"kamailio",
    app_version: b"5.6.3",
    node: b"kamailio@sip1.example.com",
    msg_id: b"5f0c8f5e-6c5b-4f6e-9d3a-0a1b2c3d4e5f",
};
const SERVER_ID: &str = "kamailio@sip1.example.com-<1>-targeted-0";

fn group<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(PAYLOAD.len() as u64));
    group
}

#[derive(serde::Deserialize)]
struct OneField<'a> {
    #[serde(rename = "Call-ID", borrow)]
    field: &'a RawValue,
}

/// The whole text: is it valid, and all of it as a tree.
fn read(criterion: &mut Criterion) {
    let mut group = group(criterion, "read");
    let bytes = PAYLOAD.as_bytes();
    group.bench_function("kazoo, valid", |b| b.iter(|| top_level_string(black_box(bytes), b"").unwrap().is_none()));
    group.bench_function("kazoo, tree", |b| b.iter(|| Value::parse(black_box(bytes)).unwrap()));
    group.bench_function("serde_json, valid", |b| {
        b.iter(|| serde_json::from_slice::<IgnoredAny>(black_box(bytes)).unwrap())
    });
    group.bench_function("serde_json, tree", |b| {
        b.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(bytes)).unwrap())
    });
    if let Some(json_c) = JsonC::load() {
        let text = CString::new(PAYLOAD).unwrap();
        group.bench_function("json-c, tree", |b| b.iter(|| json_c.parse(black_box(&text))));
    }
}

/// One field of a payload.
fn field(criterion: &mut Criterion) {
    let mut group = group(criterion, "field");
    let bytes = PAYLOAD.as_bytes();
    for (place, name) in [("first", "Event-Category"), ("middle", "To"), ("last", FIELD)] {
        group.bench_function(format!("kazoo, {place} member"), |b| {
            b.iter(|| top_level_string(black_box(bytes), name.as_bytes()).unwrap().unwrap().len())
        });
    }
    for (what, path) in [("path of one step", FIELD), ("path of two steps", "Custom.Expires")] {
        group.bench_function(format!("kazoo, {what}"), |b| {
            b.iter(|| find_text(black_box(bytes), path.as_bytes(), b'%').unwrap().unwrap().len())
        });
    }
    group.bench_function("serde_json, RawValue in a struct", |b| {
        b.iter(|| serde_json::from_slice::<OneField<'_>>(black_box(bytes)).unwrap().field.get().len())
    });
    group.bench_function("serde_json, map of RawValue", |b| {
        b.iter(|| serde_json::from_slice::<HashMap<&str, &RawValue>>(black_box(bytes)).unwrap()[FIELD].get().len())
    });
    group.bench_function("serde_json, Value", |b| {
        b.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(bytes)).unwrap()[FIELD].as_str().unwrap().len())
    });
    if let Some(json_c) = JsonC::load() {
        let (text, key) = (CString::new(PAYLOAD).unwrap(), CString::new(FIELD).unwrap());
        group.bench_function("json-c", |b| b.iter(|| json_c.field(black_box(&text), &key)));
    }
}

/// All fields that a publish adds, and the text that goes on the wire.
fn seal(criterion: &mut Criterion) {
    let mut group = group(criterion, "envelope");
    let bytes = PAYLOAD.as_bytes();
    group.bench_function("kazoo", |b| {
        let mut wire = Vec::new();
        b.iter(|| {
            let sealed = envelope(black_box(bytes), &FIELDS).unwrap();
            wire.clear();
            sealed.splice.apply(&sealed.text, SERVER_ID.as_bytes(), &mut wire).unwrap();
            wire.len()
        })
    });
    let added = [("App-Name", FIELDS.app_name), ("App-Version", FIELDS.app_version), ("Node", FIELDS.node)];
    let added: Vec<_> =
        added.into_iter().chain([("Msg-ID", FIELDS.msg_id), ("Server-ID", SERVER_ID.as_bytes())]).collect();
    group.bench_function("serde_json", |b| {
        b.iter(|| {
            let mut root: serde_json::Map<String, serde_json::Value> =
                serde_json::from_slice(black_box(bytes)).unwrap();
            for (name, value) in &added {
                root.insert((*name).to_owned(), String::from_utf8_lossy(value).into());
            }
            serde_json::to_vec(&root).unwrap().len()
        })
    });
    if let Some(json_c) = JsonC::load() {
        let text = CString::new(PAYLOAD).unwrap();
        let added: Vec<_> =
            added.iter().map(|(name, value)| (CString::new(*name).unwrap(), CString::new(*value).unwrap())).collect();
        group.bench_function("json-c", |b| b.iter(|| json_c.sealed(black_box(&text), &added)));
    }
}

/// A routing key from a user name.
fn key(criterion: &mut Criterion) {
    criterion.bench_function("encode/kazoo", |b| b.iter(|| encode(black_box(b"user_1234567@sip.example.com")).len()));
}

criterion_group!(benches, read, field, seal, key);
criterion_main!(benches);
