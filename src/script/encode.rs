//! `kazoo_encode(text, target)`: one word of a routing key, percent-encoded.

use crate::host::log;
use crate::host::message::SipMsg;
use crate::host::params::{NotEvaluated, TextParam};
use crate::host::vars::TargetParam;
use crate::payload::encode::{EncodeError, encode_checked};

use super::Verdict;

/// Encodes `text` into `target`.
pub fn encode<'m>(msg: SipMsg<'m>, text: TextParam<'m>, target: TargetParam<'m>) -> Verdict {
    let encoded = text.get(msg).map_err(Refusal::from).and_then(|text| Ok(encode_checked(text)?));
    match encoded {
        Ok(encoded) => {
            target.assign(msg, Some(&encoded));
            Verdict::Done
        }
        Err(cause) => {
            log::throttled_error!("kazoo_encode: {cause}");
            cause.verdict()
        }
    }
}

/// Encodes `text` for KEMI; `None` when it is too long.
pub fn encode_text(text: &[u8]) -> Option<Vec<u8>> {
    encode_checked(text).inspect_err(|cause| log::throttled_error!("kazoo_encode: {cause}")).ok()
}

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    NotEvaluated(#[from] NotEvaluated),
    #[error(transparent)]
    TooLong(#[from] EncodeError),
}

impl Refusal {
    fn verdict(&self) -> Verdict {
        match self {
            Self::NotEvaluated(cause) => cause.into(),
            Self::TooLong(_) => Verdict::Failed,
        }
    }
}
