//! `kazoo_json(payload, path, target)`: one value of a JSON text.

use crate::config;
use crate::host::log;
use crate::host::message::SipMsg;
use crate::host::params::TextParam;
use crate::host::vars::TargetParam;
use crate::payload::path::find_text;

use super::Verdict;

/// Assigns the value at `path` to `target`; null when it is missing or null, or `payload` is not JSON.
pub fn json<'m>(msg: SipMsg<'m>, payload: TextParam<'m>, path: TextParam<'m>, target: TargetParam<'m>) -> Verdict {
    let texts = payload.get(msg).and_then(|payload| Ok((payload, path.get(msg)?)));
    match texts {
        Ok((payload, path)) => {
            with_value(payload, path, |value| target.assign(msg, value));
            Verdict::Done
        }
        Err(cause) => {
            log::throttled_error!("kazoo_json: {cause}");
            (&cause).into()
        }
    }
}

/// Hands the text of the value at `path` to `body`: `None` when it is missing or null, or `payload` is not JSON.
pub fn with_value<R>(payload: &[u8], path: &[u8], body: impl FnOnce(Option<&[u8]>) -> R) -> R {
    let value = find_text(payload, path, config::get().json_escape_char)
        .inspect_err(|e| log::throttled_error!("kazoo_json: the text is not JSON: {e}; the value becomes null"));
    body(value.ok().flatten().as_deref())
}
