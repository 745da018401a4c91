//! Subscriptions, appended by any process and kept for the life of the server.
//!
//! Usually written by `event_route[kazoo:mod-init]` in the main process before the fork. A subscription must
//! outlive the manager that declared it, so it is not a message in a ring but an entry ([`shm::entries`]) that every
//! manager reads from the start.

use shm::{Entries, Words};

/// Most subscriptions of one server.
pub const MAX_ENTRIES: usize = 1024;

/// The table. Copies refer to the same entries.
#[derive(Clone, Copy, Debug)]
pub struct Registry(Entries<MAX_ENTRIES>);

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
        Entries::<MAX_ENTRIES>::words(text_bytes)
    }

    /// The registry in `words`; zeroed words are an empty one.
    pub fn new(words: Words) -> Self {
        Self(Entries::new(words))
    }

    /// Appends one entry and returns its number. Any process, lock-free.
    pub fn append(&self, text: &[u8]) -> Result<u32, RegistryFull> {
        let entry = self.0.append(text).and_then(|entry| u32::try_from(entry).ok());
        entry.ok_or(RegistryFull { text_bytes: self.0.text_bytes() })
    }

    /// How many entries were begun; the last ones may still be missing.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text of entry `index`; `None` if it is not there (yet) or damaged.
    pub fn get(&self, index: usize) -> Option<Vec<u8>> {
        self.0.get(index)
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
