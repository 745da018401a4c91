//! JSON paths, as scripts write them: the first line is the path, the rest the payload.

use kazoo::payload::Value;
use kazoo::payload::path::{Path, count, find, render};

pub fn fuzz(data: &[u8]) {
    let end = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (path, text) = data.split_at(end);
    let Ok(value) = Value::parse(text) else { return };
    let found = find(&value, path, b'%');
    assert!(found.is_none() || Path::parse(path, b'%').is_ok(), "a refused path finds nothing");
    assert!(found.is_some() || count(found) == 0);
    if let Some(shown) = found.and_then(render) {
        assert!(found.is_some_and(|value| value.as_string().is_none()) || !shown.contains(&0), "texts end at NUL");
    }
}
