//! Golden cases of the compatibility reference, one file per concern, and properties over random input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod encode;
mod envelope;
mod event;
mod headers;
mod inbound;
mod json;
mod path;
mod properties;

/// Bytes as readable text for failure messages.
fn shown(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().escape_ascii().to_string()
}
