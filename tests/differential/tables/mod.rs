//! The cases, one file per topic.

mod async_query;
mod dialect;
mod encode;
mod envelope;
pub mod event;
mod forms;
mod headers;
pub mod params;
mod path;
mod query;
pub mod subscribe;

use crate::case::{Case, Cases, Form};

/// All of them.
pub fn all() -> Vec<Case> {
    let mut cases = Cases::default();
    dialect::add(&mut cases);
    envelope::add(&mut cases);
    headers::add(&mut cases);
    forms::add(&mut cases);
    encode::add(&mut cases);
    path::add(&mut cases);
    query::add(&mut cases);
    async_query::add(&mut cases);
    event::add(&mut cases);
    params::add(&mut cases);
    subscribe::add(&mut cases);
    cases.into_vec()
}

/// `kazoo_publish` with everything from the request.
fn publish() -> Form {
    Form::call(r#"kazoo_publish("$var(exchange)", "$var(key)", "$var(payload)")"#)
}

/// `kazoo_json` with everything from the request.
fn json() -> Form {
    Form::call(r#"kazoo_json("$var(payload)", "$var(path)", "$avp(out)")"#).see("$avp(out)")
}

/// What `kazoo_publish` gives when it refuses.
const REFUSED: [(&str, &str); 3] = [("branch", "false"), ("rc", "negative"), ("messages", "0")];
