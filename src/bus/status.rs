//! How brokers and subscriptions stand, for `kamcmd kazoo.status`: written by the manager, read by any process.
//!
//! A table of records of one size that the manager alone writes ([`shm::seqlock`]). A manager that is killed in the
//! middle of it leaves the record unreadable until the next one has written it, which is the first thing that one does.

use shm::{Seqlock, Words};

/// Subscriptions that the table has room for, counted once per broker. More work, they are only not shown.
pub const MAX_SUBSCRIPTIONS: usize = 256;

/// Words of one record: four fields, lengths, text. With its version it fills eight cache lines.
const RECORD: usize = 63;
const FIELDS: usize = 5;
/// Longest name and longest reason, bytes; together they fill the record.
const MAX_NAME: usize = 255;
const MAX_WHY: usize = (RECORD - FIELDS) * 8 - MAX_NAME;

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
pub struct Board(Seqlock<RECORD>);

impl Board {
    /// Words that a table for `brokers` brokers takes.
    pub const fn words(brokers: usize) -> usize {
        Seqlock::<RECORD>::words(brokers + MAX_SUBSCRIPTIONS)
    }

    /// The table in `words`; zeroed words are one of unknown state.
    pub fn new(words: Words) -> Self {
        Self(Seqlock::new(words))
    }

    /// Records in the table.
    pub fn slots(&self) -> usize {
        self.0.records()
    }

    /// Writes record `slot`; none if there is no such slot. Manager only. Texts are cut to what a record holds.
    pub fn put(&self, slot: usize, status: &Status) {
        self.0.write(slot, &encode(status));
    }

    /// Forgets what an earlier manager wrote. Manager only, at its start.
    pub fn clear(&self) {
        let written = |slot: &usize| self.0.was_written(*slot);
        (0..self.slots()).filter(written).for_each(|slot| self.put(slot, &Status::default()));
    }

    /// Reads record `slot`; `None` if it was never written, or cannot be read now.
    pub fn get(&self, slot: usize) -> Option<Status> {
        self.0.read(slot).and_then(|words| decode(&words))
    }
}

fn encode(status: &Status) -> [u64; RECORD] {
    let (name, why) = (cut(&status.name, MAX_NAME), cut(&status.why, MAX_WHY));
    let mut words = [0; RECORD];
    words[0] = status.state as u64;
    words[1] = status.broker as u64;
    words[2] = status.subscription as u64;
    words[3] = status.since_unix;
    words[4] = (name.len() as u64) << 32 | why.len() as u64;
    let text = [name.as_bytes(), why.as_bytes()].concat();
    for (word, chunk) in words[FIELDS..].iter_mut().zip(text.chunks(8)) {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        *word = u64::from_ne_bytes(bytes);
    }
    words
}

fn decode(words: &[u64; RECORD]) -> Option<Status> {
    let bytes: Vec<u8> = words[FIELDS..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let (name, why) = (usize::try_from(words[4] >> 32).ok()?, usize::try_from(words[4] & u64::from(u32::MAX)).ok()?);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(Status {
        state: State::ALL.get(usize::try_from(words[0]).ok()?).copied()?,
        broker: usize::try_from(words[1]).ok()?,
        subscription: usize::try_from(words[2]).ok()?,
        since_unix: words[3],
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
}
