//! `$kzR`: the answer to the last query made for the SIP message being processed.
//!
//! Belongs to that message: another request handled later by the same process does not see it.

use std::cell::RefCell;

use crate::host::message::MessageId;

struct Answer {
    of: Option<MessageId>,
    /// With a NUL behind it, which Kamailio likes to see.
    text: Vec<u8>,
}

thread_local! {
    static ANSWER: RefCell<Option<Answer>> = const { RefCell::new(None) };
}

/// Forgets the answer.
pub fn clear() {
    ANSWER.set(None);
}

/// Keeps `text` as the answer for message `of`.
pub fn set(of: Option<MessageId>, mut text: Vec<u8>) {
    text.push(0);
    ANSWER.set(Some(Answer { of, text }));
}

/// Hands the answer that belongs to message `of` to `show`. It stays where it is until [`clear`] or [`set`].
pub fn show<R>(of: Option<MessageId>, show: impl FnOnce(Option<&[u8]>) -> R) -> R {
    ANSWER.with_borrow(|answer| {
        let answer = answer.as_ref().filter(|answer| answer.of == of);
        show(answer.and_then(|answer| answer.text.split_last()).map(|(_, text)| text))
    })
}
