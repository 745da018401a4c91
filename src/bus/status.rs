//! How brokers and subscriptions stand, for `kamcmd kazoo.status`: written by the manager, read by any process.
//!
//! A table of records of one size. The manager alone writes; a reader that comes in the middle of it sees the
//! record's version move and looks again. A manager that is killed there leaves the record unreadable until the next one
//! has written it, which is the first thing that one does.
//!
//! | edge | release | acquire | makes visible |
//! |---|---|---|---|
//! | SYNC V | `put`: even version | `get`: first load of the version | the words of the record |
//! | SYNC W | `put`: fence after the odd version | `get`: fence before the second load | that the record is being written |

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::fence;

use shm::words::Words;

/// Subscriptions that the table has room for, counted once per broker. More work, they are only not shown.
pub const MAX_SUBSCRIPTIONS: usize = 256;

/// Words of one record: version, four fields, lengths, text.
const RECORD: usize = 64;
const FIELDS: usize = 6;
/// Longest name and longest reason, bytes; together they fill the record.
const MAX_NAME: usize = 255;
const MAX_WHY: usize = (RECORD - FIELDS) * 8 - MAX_NAME;

/// Looks of a reader that finds the record being written.
const ATTEMPTS: usize = 100;

macro_rules! states {
    ($($(#[$meta:meta])+ $variant:ident = $name:literal),+ $(,)?) => {
        /// How a broker or a subscription stands.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[repr(u8)]
        pub enum State { $($(#[$meta])+ $variant),+ }

        impl State {
            const ALL: &[Self] = &[$(Self::$variant),+];

            /// As the command shows it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

states! {
    /// Nothing is known yet.
    #[default]
    Unknown = "unknown",
    /// A broker that is not connected; the next attempt follows.
    Down = "down",
    /// A broker that is being connected.
    Connecting = "connecting",
    /// A broker that is connected.
    Up = "up",
    /// A broker that is connected and confirms nothing.
    Stalled = "stalled",
    /// A subscription whose broker is not connected.
    Waiting = "waiting",
    /// A subscription that is being declared.
    Declaring = "declaring",
    /// A subscription that is consumed.
    Consuming = "consuming",
    /// A subscription that the broker refused; it is tried again.
    Refused = "refused",
}

/// One record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// How it stands.
    pub state: State,
    /// Index of the broker.
    pub broker: usize,
    /// Index of the subscription in the registry; 0 for a broker.
    pub subscription: usize,
    /// Since when, Unix seconds.
    pub since_unix: u64,
    /// The queue as the broker named it; empty for a broker.
    pub name: String,
    /// What went wrong last, in the broker's words where it has some; no password.
    pub why: String,
}

/// The table: first one record for each broker, then those of subscriptions. Copies refer to the same records.
#[derive(Clone, Copy, Debug)]
pub struct Board(Words);

impl Board {
    /// Words that a table for `brokers` brokers takes.
    pub const fn words(brokers: usize) -> usize {
        (brokers + MAX_SUBSCRIPTIONS) * RECORD
    }

    /// The table in `words`; zeroed words are one of unknown state.
    pub fn new(words: Words) -> Self {
        Self(words)
    }

    /// Records in the table.
    pub fn slots(&self) -> usize {
        self.0.count() / RECORD
    }

    /// Writes record `slot`; none if there is no such slot. Manager only. Texts are cut to what a record holds.
    pub fn put(&self, slot: usize, status: &Status) {
        if slot >= self.slots() {
            return;
        }
        let word = |index: usize| self.0.get(slot * RECORD + index);
        let (name, why) = (cut(&status.name, MAX_NAME), cut(&status.why, MAX_WHY));
        let mut text = Vec::with_capacity(name.len() + why.len());
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(why.as_bytes());
        let odd = word(0).load(Relaxed) | 1;
        word(0).store(odd, Relaxed);
        fence(Release); // SYNC W
        word(1).store(status.state as u64, Relaxed);
        word(2).store(status.broker as u64, Relaxed);
        word(3).store(status.subscription as u64, Relaxed);
        word(4).store(status.since_unix, Relaxed);
        word(5).store((name.len() as u64) << 32 | why.len() as u64, Relaxed);
        for (index, chunk) in text.chunks(8).enumerate() {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            word(FIELDS + index).store(u64::from_ne_bytes(bytes), Relaxed);
        }
        word(0).store(odd + 1, Release); // SYNC V
    }

    /// Forgets what an earlier manager wrote. Manager only, at its start.
    pub fn clear(&self) {
        let written = |slot: &usize| self.0.get(slot * RECORD).load(Relaxed) != 0;
        (0..self.slots()).filter(written).for_each(|slot| self.put(slot, &Status::default()));
    }

    /// Reads record `slot`; `None` if it was never written, or cannot be read now.
    pub fn get(&self, slot: usize) -> Option<Status> {
        if slot >= self.slots() {
            return None;
        }
        (0..ATTEMPTS)
            .find_map(|_| {
                let version = self.0.get(slot * RECORD).load(Acquire); // SYNC V
                if !version.is_multiple_of(2) {
                    std::hint::spin_loop();
                    return None;
                }
                let words: [u64; RECORD] = std::array::from_fn(|index| self.0.get(slot * RECORD + index).load(Relaxed));
                fence(Acquire); // SYNC W
                (self.0.get(slot * RECORD).load(Relaxed) == version).then_some(words)
            })
            .and_then(|words| decode(&words))
    }
}

fn decode(words: &[u64; RECORD]) -> Option<Status> {
    if words[0] == 0 {
        return None;
    }
    let bytes: Vec<u8> = words[FIELDS..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let (name, why) = (usize::try_from(words[5] >> 32).ok()?, usize::try_from(words[5] & u64::from(u32::MAX)).ok()?);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(Status {
        state: State::ALL.get(usize::try_from(words[1]).ok()?).copied()?,
        broker: usize::try_from(words[2]).ok()?,
        subscription: usize::try_from(words[3]).ok()?,
        since_unix: words[4],
        name: text(bytes.get(..name)?),
        why: text(bytes.get(name..name.checked_add(why)?)?),
    })
}

/// At most `max` bytes of `text`, whole characters.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::port::test_block;
    use super::*;

    fn status(text: &str) -> Status {
        let (name, why) = (text.to_owned(), text.chars().rev().collect());
        Status { state: State::Refused, broker: 1, subscription: text.len(), since_unix: 7, name, why }
    }

    #[test]
    fn records_come_back_and_long_texts_are_cut() {
        let board = test_block(1, 1).board().unwrap();
        assert_eq!(board.get(0), None, "never written");
        for text in ["", "queue", "NOT_FOUND - no queue 'é'"] {
            board.put(3, &status(text));
            assert_eq!(board.get(3), Some(status(text)));
        }
        board.put(0, &status(&"é".repeat(300)));
        let read = board.get(0).unwrap();
        assert_eq!((read.name.len(), read.why.len()), (254, 208));
        assert_eq!(board.get(3), Some(status("NOT_FOUND - no queue 'é'")), "its neighbour is untouched");
        board.put(board.slots(), &status("x"));
        assert_eq!(board.get(board.slots()), None);
    }

    #[test]
    fn a_reader_never_sees_half_a_record() {
        let board = test_block(1, 1).board().unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..20_000).for_each(|n| board.put(1, &status(&"ab".repeat(n % 100))));
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                let Some(read) = board.get(1) else { continue };
                assert_eq!(read, status(&read.name));
            }
        });
    }

    #[test]
    fn a_record_that_a_dead_writer_left_is_unreadable_until_the_next_one_wrote_it() {
        let board = test_block(1, 1).board().unwrap();
        board.put(2, &status("whole"));
        board.0.get(2 * RECORD).fetch_add(1, Ordering::Relaxed);
        assert_eq!(board.get(2), None);
        board.put(2, &status("new"));
        assert_eq!(board.get(2), Some(status("new")));
    }
}
