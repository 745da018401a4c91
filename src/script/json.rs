//! `kazoo_json(payload, path, target)`: one value of a JSON text.

use crate::config;
use crate::host::log;
use crate::host::message::SipMsg;
use crate::host::params::TextParam;
use crate::host::vars::TargetParam;
use crate::payload::Value;
use crate::payload::path::{find, render};

use super::Verdict;

/// Assigns the value at `path` to `target`; null when it is missing or null, or `json` is not JSON.
pub fn json<'m>(msg: SipMsg<'m>, json: TextParam<'m>, path: TextParam<'m>, target: TargetParam<'m>) -> Verdict {
    let (Ok(json), Ok(path)) = (json.get(msg), path.get(msg)) else {
        log::throttled_error!("kazoo_json: a parameter cannot be evaluated");
        return Verdict::Failed;
    };
    let root = Value::parse(json)
        .inspect_err(|e| log::throttled_error!("kazoo_json: the text is not JSON: {e}; the target becomes null"))
        .ok();
    let value = root.as_ref().and_then(|root| find(root, path, config::get().json_escape_char));
    target.assign(msg, value.and_then(render).as_deref());
    Verdict::Done
}
