//! `kazoo_json_keys(payload, path, "$avp(x)")`: the member names of a JSON object.
//!
//! Each name is pushed onto the AVP, first member first. AVPs are a stack, so the script reads the last member's name
//! first: `$avp(x)` or `$(avp(x)[0])`. An empty path means the payload itself.

use crate::config;
use crate::host::log;
use crate::host::message::SipMsg;
use crate::host::params::{NotEvaluated, TextParam};
use crate::host::vars::{self, NotAVariable, TargetParam};
use crate::payload::Value;
use crate::payload::path::find;

use super::Verdict;

/// Most names that one call pushes: AVPs lie in the memory that all processes share.
const MAX_KEYS: usize = 5_000;

/// Why nothing, or not everything, was pushed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    NotEvaluated(#[from] NotEvaluated),
    #[error("the value at \"{path}\" is no object, it is of type {kind}")]
    NotAnObject { path: String, kind: &'static str },
    #[error("the object has {0} members, at most {MAX_KEYS} can be listed")]
    TooMany(usize),
    #[error("the target variable could not be assigned")]
    Target,
    #[error("the target is {0}, or no AVP: write for example \"$avp(keys)\"")]
    NotAnAvp(#[from] NotAVariable),
}

impl Refusal {
    /// Logs it and gives the return code.
    pub(super) fn report(&self) -> Verdict {
        log::throttled_error!("kazoo_json_keys: {self}");
        match self {
            Self::NotEvaluated(cause) => cause.into(),
            Self::NotAnObject { .. } => Verdict::BadPayload,
            Self::TooMany(_) | Self::Target | Self::NotAnAvp(_) => Verdict::Failed,
        }
    }
}

/// Pushes the names onto `target`. A missing path, a JSON null and a text that is not JSON push nothing and count as
/// done, as in `kazoo_json`; a value that is no object gives -2.
pub fn json_keys<'m>(msg: SipMsg<'m>, payload: TextParam<'m>, path: TextParam<'m>, target: TargetParam<'m>) -> Verdict {
    let pushed = payload.get(msg).map_err(Refusal::from).and_then(|payload| {
        let path = path.get(msg)?;
        each_key(payload, path, |key| target.push(msg, key))
    });
    pushed.map_or_else(|refusal| refusal.report(), |()| Verdict::Done)
}

/// [`json_keys`] for KEMI: texts that are known already, the target by name.
pub fn json_keys_texts(msg: SipMsg<'_>, payload: &[u8], path: &[u8], target: &[u8]) -> Verdict {
    let pushed = vars::feed_avp(target, msg, |push| each_key(payload, path, push)).unwrap_or_else(|e| Err(e.into()));
    pushed.map_or_else(|refusal| refusal.report(), |()| Verdict::Done)
}

/// Hands each member name of the object at `path` to `push`, until it returns false.
pub(super) fn each_key(payload: &[u8], path: &[u8], mut push: impl FnMut(&[u8]) -> bool) -> Result<(), Refusal> {
    let parsed = Value::parse(payload).inspect_err(|e| {
        log::throttled_error!("kazoo_json_keys: the text is not JSON: {e}; it has no keys");
    });
    let Ok(root) = parsed else { return Ok(()) };
    let value = if path.is_empty() { Some(&root) } else { find(&root, path, config::get().json_escape_char) };
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(()) };
    let object = value
        .as_object()
        .ok_or_else(|| Refusal::NotAnObject { path: String::from_utf8_lossy(path).into_owned(), kind: value.kind() })?;
    if object.len() > MAX_KEYS {
        return Err(Refusal::TooMany(object.len()));
    }
    if object.iter().all(|(key, _)| push(key)) { Ok(()) } else { Err(Refusal::Target) }
}
