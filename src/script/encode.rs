//! `kazoo_encode(text, target)`: one word of a routing key, percent-encoded.

use crate::host::log;
use crate::host::message::SipMsg;
use crate::host::params::TextParam;
use crate::host::vars::TargetParam;
use crate::payload::encode::encode_checked;

use super::Verdict;

/// Encodes `text` into `target`.
pub fn encode<'m>(msg: SipMsg<'m>, text: TextParam<'m>, target: TargetParam<'m>) -> Verdict {
    let encoded = match text.get(msg) {
        Ok(text) => encode_checked(text).map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    };
    match encoded {
        Ok(encoded) => {
            target.assign(msg, Some(&encoded));
            Verdict::Done
        }
        Err(cause) => {
            log::throttled_error!("kazoo_encode: {cause}");
            Verdict::Failed
        }
    }
}
