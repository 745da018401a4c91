//! The targets, by name. `fuzz/run` reads the names from this table.

mod headers;
mod inbound;
mod json;
mod path;
mod records;
mod ring;
mod subscribe;
mod url;

/// Takes any bytes; panics when a promise is broken.
pub type Target = fn(&[u8]);

/// Every target.
pub const ALL: &[(&str, Target)] = &[
    ("json", json::fuzz),
    ("path", path::fuzz),
    ("inbound", inbound::fuzz),
    ("headers", headers::fuzz),
    ("subscribe", subscribe::fuzz),
    ("url", url::fuzz),
    ("records", records::fuzz),
    ("ring", ring::fuzz),
];
