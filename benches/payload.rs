//! What a payload costs: reading it, taking a field, adding the envelope, beside json-c (the library of the C module)
//! and plain serde_json.
//!
//! `cargo bench -p kazoo --no-default-features --bench payload`. json-c is loaded at run time; without its shared
//! library (Debian: libjson-c5) its lines are left out. json-c reads the same lenient dialect, serde_json only JSON.

#![allow(clippy::unwrap_used, missing_docs, reason = "benches")]

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::hint::black_box;

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use kazoo::payload::encode::encode;
use kazoo::payload::path::find_text;
use kazoo::payload::{Envelope, envelope, top_level_string};
use serde_json::value::RawValue;

/// A registration as a SIP edge publishes it: 500 bytes, 13 members, one of them an object.
const PAYLOAD: &str = include_str!("payload.json");
/// Near the end of the payload: a reader sees all of it either way.
const FIELD: &str = "Call-ID";
const FIELDS: Envelope<'static> = Envelope {
    app_name: b"kamailio",
    app_version: b"5.6.3",
    node: b"kamailio@sip1.example.com",
    msg_id: b"5f0c8f5e-6c5b-4f6e-9d3a-0a1b2c3d4e5f",
};
const SERVER_ID: &str = "kamailio@sip1.example.com-<1>-targeted-0";

type Object = *mut c_void;

type Parse = unsafe extern "C" fn(*const c_char) -> Object;
type Get = unsafe extern "C" fn(Object, *const c_char, *mut Object) -> c_int;
type ToText = unsafe extern "C" fn(Object) -> *const c_char;
type Add = unsafe extern "C" fn(Object, *const c_char, Object) -> c_int;
type NewString = unsafe extern "C" fn(*const c_char) -> Object;
type Put = unsafe extern "C" fn(Object) -> c_int;

/// The functions of json-c that the C module uses.
struct JsonC {
    parse: Parse,
    get: Get,
    text: ToText,
    add: Add,
    string: NewString,
    serialise: ToText,
    put: Put,
}

impl JsonC {
    fn load() -> Option<Self> {
        // SAFETY: loads a library that runs no code of ours.
        let library = unsafe { libc::dlopen(c"libjson-c.so.5".as_ptr(), libc::RTLD_NOW) };
        if library.is_null() {
            return None;
        }
        let symbol = |name: &CStr| {
            // SAFETY: the library stays loaded.
            let found = unsafe { libc::dlsym(library, name.as_ptr()) };
            (!found.is_null()).then_some(found)
        };
        // SAFETY: the types are those of json-c's headers, unchanged since its version 0.13.
        unsafe {
            Some(Self {
                parse: std::mem::transmute::<Object, Parse>(symbol(c"json_tokener_parse")?),
                get: std::mem::transmute::<Object, Get>(symbol(c"json_object_object_get_ex")?),
                text: std::mem::transmute::<Object, ToText>(symbol(c"json_object_get_string")?),
                add: std::mem::transmute::<Object, Add>(symbol(c"json_object_object_add")?),
                string: std::mem::transmute::<Object, NewString>(symbol(c"json_object_new_string")?),
                serialise: std::mem::transmute::<Object, ToText>(symbol(c"json_object_to_json_string")?),
                put: std::mem::transmute::<Object, Put>(symbol(c"json_object_put")?),
            })
        }
    }

    /// Length of the text of member `key`.
    fn field(&self, text: &CStr, key: &CStr) -> usize {
        // SAFETY: json-c's own rules: what was parsed is valid until it is put, the member's text as long as that.
        unsafe {
            let root = (self.parse)(text.as_ptr());
            let mut member = std::ptr::null_mut();
            let found = (self.get)(root, key.as_ptr(), &mut member);
            let len = if found != 0 { CStr::from_ptr((self.text)(member)).count_bytes() } else { 0 };
            (self.put)(root);
            len
        }
    }

    /// Length of the serialised text after `fields` were added.
    fn sealed(&self, text: &CStr, fields: &[(CString, CString)]) -> usize {
        // SAFETY: as above; an added member belongs to the object.
        unsafe {
            let root = (self.parse)(text.as_ptr());
            for (name, value) in fields {
                (self.add)(root, name.as_ptr(), (self.string)(value.as_ptr()));
            }
            let len = CStr::from_ptr((self.serialise)(root)).count_bytes();
            (self.put)(root);
            len
        }
    }
}

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

/// One field of a payload.
fn field(criterion: &mut Criterion) {
    let mut group = group(criterion, "field");
    let bytes = PAYLOAD.as_bytes();
    group.bench_function("kazoo, one pass", |b| {
        b.iter(|| top_level_string(black_box(bytes), FIELD.as_bytes()).unwrap().unwrap().len())
    });
    group.bench_function("kazoo, path", |b| {
        b.iter(|| find_text(black_box(bytes), FIELD.as_bytes(), b'%').unwrap().unwrap().len())
    });
    group.bench_function("serde_json, RawValue in a struct", |b| {
        b.iter(|| serde_json::from_slice::<OneField<'_>>(black_box(bytes)).unwrap().field.get().len())
    });
    group.bench_function("serde_json, map of RawValue", |b| {
        b.iter(|| serde_json::from_slice::<HashMap<&str, &RawValue>>(black_box(bytes)).unwrap()[FIELD].get().len())
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

criterion_group!(benches, field, seal, key);
criterion_main!(benches);
