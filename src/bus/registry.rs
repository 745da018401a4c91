//! Subscriptions, appended by any process and kept for the life of the server.
//!
//! Usually written by `event_route[kazoo:mod-init]` in the main process before the fork. A subscription must
//! outlive the manager that declared it, so it is not a message in a ring but an entry that every manager reads
//! from the start. Entries are never changed or removed. The text lies in atomic words: slow, and done once.
//!
//! | edge | release | acquire | makes visible |
//! |---|---|---|---|
//! | SYNC E | `append`: entry word store | `get`: entry word load | the words of the entry's text |

use shm::words::Words;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// Most subscriptions of one server.
pub const MAX_ENTRIES: usize = 1024;

/// Words before the text: claimed entries, claimed text words, one word per entry.
const HEAD: usize = 2 + MAX_ENTRIES;
const ENTRIES: usize = 0;
const TEXT_USED: usize = 1;

/// The table. Copies refer to the same entries.
#[derive(Clone, Copy, Debug)]
pub struct Registry(Words);

/// No room for another subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room for another subscription: at most {MAX_ENTRIES}, {text_bytes} bytes in all")]
pub struct RegistryFull {
    /// Bytes for the text of all subscriptions.
    pub text_bytes: usize,
}

impl Registry {
    /// Words that a registry with `text_bytes` of text takes.
    pub const fn words(text_bytes: u32) -> usize {
        HEAD + text_bytes as usize / 8
    }

    /// The registry in `words`; zeroed words are an empty one.
    pub fn new(words: Words) -> Self {
        Self(words)
    }

    /// Appends one entry and returns its number. Any process, lock-free.
    pub fn append(&self, text: &[u8]) -> Result<u32, RegistryFull> {
        let full = RegistryFull { text_bytes: (self.0.count() - HEAD) * 8 };
        let need = text.len().div_ceil(8) as u64;
        let room = (self.0.count() - HEAD) as u64;
        let at = self.claim(TEXT_USED, need, room).ok_or(full)?;
        let entry = self.claim(ENTRIES, 1, MAX_ENTRIES as u64).ok_or(full)?;
        let (at_index, entry_index) = (at as usize, entry as usize);
        for (i, chunk) in text.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0.get(HEAD + at_index + i).store(u64::from_ne_bytes(word), Relaxed);
        }
        // Offset and length in one word, so that an entry is there or not: SYNC E. The length is never 0.
        self.0.get(2 + entry_index).store(at << 32 | text.len() as u64, Release);
        u32::try_from(entry).map_err(|_| full)
    }

    /// How many entries were begun; the last ones may still be missing.
    pub fn len(&self) -> usize {
        usize::try_from(self.0.get(ENTRIES).load(Acquire)).unwrap_or(0).min(MAX_ENTRIES)
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text of entry `index`; `None` if it is not there (yet) or damaged.
    pub fn get(&self, index: usize) -> Option<Vec<u8>> {
        if index >= self.len() {
            return None;
        }
        let entry = self.0.get(2 + index).load(Acquire); // SYNC E
        let (at, len) = (usize::try_from(entry >> 32).ok()?, usize::try_from(entry & u64::from(u32::MAX)).ok()?);
        let words = len.div_ceil(8);
        if len == 0 || HEAD + at + words > self.0.count() {
            return None;
        }
        let mut text: Vec<u8> =
            (0..words).flat_map(|i| self.0.get(HEAD + at + i).load(Relaxed).to_ne_bytes()).collect();
        text.truncate(len);
        Some(text)
    }

    /// Reserves `n` of `word`, never beyond `limit`; returns where they start.
    fn claim(&self, word: usize, n: u64, limit: u64) -> Option<u64> {
        self.0.get(word).fetch_update(AcqRel, Acquire, |used| used.checked_add(n).filter(|end| *end <= limit)).ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::port::test_block;

    #[test]
    fn entries_come_back_in_order_and_the_table_says_when_it_is_full() {
        let block = test_block(1, 1);
        let registry = block.registry().unwrap();
        assert!(registry.is_empty());
        let texts: Vec<Vec<u8>> = (1..40).map(|i| vec![b'a' + (i % 26) as u8; i]).collect();
        for (i, text) in texts.iter().enumerate() {
            assert_eq!(registry.append(text), Ok(u32::try_from(i).unwrap()));
        }
        for (i, text) in texts.iter().enumerate() {
            assert_eq!(registry.get(i).as_ref(), Some(text));
        }
        assert_eq!(registry.get(texts.len()), None);
        let big = vec![0; block.sizes().registry as usize];
        assert!(registry.append(&big).is_err());
        assert_eq!(registry.len(), texts.len(), "a refused entry leaves nothing behind");
    }
}
