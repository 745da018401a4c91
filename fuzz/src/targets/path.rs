//! JSON paths, as scripts write them: the first line is the path, the rest the payload.

use kazoo::payload::Value;
use kazoo::payload::path::{Path, count, find, find_count, find_text, render};

pub fn fuzz(data: &[u8]) {
    let end = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (path, text) = data.split_at(end);
    let Ok(value) = Value::parse(text) else {
        return assert!(find_text(text, path, b'%').is_err(), "what is not JSON has no values");
    };
    let found = find(&value, path, b'%');
    assert_eq!(find_text(text, path, b'%'), Ok(found.and_then(render)), "one pass finds what the tree has");
    assert_eq!(find_count(text, path, b'%'), Ok(count(found)));
    assert!(found.is_none() || Path::parse(path, b'%').is_ok(), "a refused path finds nothing");
    assert!(found.is_some() || count(found) == 0);
    if let Some(shown) = found.and_then(render) {
        assert!(found.is_some_and(|value| value.as_string().is_none()) || !shown.contains(&0), "texts end at NUL");
    }
}
