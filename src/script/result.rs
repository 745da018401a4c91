//! `$kzR`: the answer to the last query made for the SIP message being processed.
//!
//! Belongs to that message: another request handled later by the same process does not see it. While a transaction is
//! resumed, it is the answer to the asynchronous query until a query of the callback replaces it.

use std::cell::RefCell;

use crate::host::message::MessageId;

struct Answer {
    of: Owner,
    /// With a NUL behind it, which Kamailio likes to see.
    text: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Message(Option<MessageId>),
    /// The request of the transaction that is being resumed. tm makes it up anew from its own copy, and nothing else
    /// is processed until the callback has ended.
    Resumed,
}

thread_local! {
    static ANSWER: RefCell<Option<Answer>> = const { RefCell::new(None) };
}

/// Forgets the answer.
pub fn clear() {
    ANSWER.set(None);
}

/// Keeps `text` as the answer for message `of`.
pub fn set(of: Option<MessageId>, text: Vec<u8>) {
    keep(Owner::Message(of), text);
}

/// Runs `callback`, in which a transaction is resumed, with this answer; it is null again afterwards, also when that
/// panics.
pub fn during_resume<R>(answer: Option<Vec<u8>>, callback: impl FnOnce() -> R) -> R {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            clear();
        }
    }
    match answer {
        Some(text) => keep(Owner::Resumed, text),
        None => clear(),
    }
    let _reset = Reset;
    callback()
}

fn keep(of: Owner, mut text: Vec<u8>) {
    text.push(0);
    ANSWER.set(Some(Answer { of, text }));
}

/// Hands the answer that belongs to message `of` to `show`. It stays where it is until [`clear`] or [`set`].
pub fn show<R>(of: Option<MessageId>, show: impl FnOnce(Option<&[u8]>) -> R) -> R {
    ANSWER.with_borrow(|answer| {
        let answer = answer.as_ref().filter(|answer| [Owner::Message(of), Owner::Resumed].contains(&answer.of));
        show(answer.and_then(|answer| answer.text.split_last()).map(|(_, text)| text))
    })
}
