//! A table of texts that any process appends to and any process reads; entries are never changed or removed.
//!
//! The text lies in atomic words: slow, and done once per entry.
//!
//! # Invariants
//! I1  room for text and the entry's number are claimed before anything is written, so appenders never meet
//! I2  an entry is one word, place and length: it is there or it is not
//! I3  a process that is killed while it appends leaves an entry that stays missing, and nothing else
//!
//! # Ordering
//! | edge   | release               | acquire           | makes visible      | if relaxed    |
//! |--------|-----------------------|-------------------|--------------------|---------------|
//! | SYNC E | `append`: entry.store | `get`: entry.load | the entry's text   | zeroes in it  |
//!
//! The two claims carry nothing: what they hand out was never written by anybody.
//!
//! # Progress
//! append: lock-free. get: wait-free.

use crate::sync::Ordering;
use crate::words::Words;

/// Words before the entries: entries claimed, words of text claimed.
const ENTRIES: usize = 0;
const TEXT: usize = 1;
const HEAD: usize = 2;

/// A table of at most `MAX` texts. Copies refer to the same entries.
#[derive(Clone, Copy, Debug)]
pub struct Entries<const MAX: usize>(Words);

impl<const MAX: usize> Entries<MAX> {
    /// Words that a table with `text_bytes` of text takes.
    pub const fn words(text_bytes: u32) -> usize {
        HEAD + MAX + text_bytes as usize / 8
    }

    /// The table in `words`; zeroed words are an empty one.
    pub fn new(words: Words) -> Self {
        Self(words)
    }

    /// Bytes for the text of all entries; each takes a multiple of 8.
    pub fn text_bytes(&self) -> usize {
        self.0.count().saturating_sub(HEAD + MAX) * 8
    }

    /// Appends one entry and returns its number; `None` when there is no room.
    pub fn append(&self, text: &[u8]) -> Option<usize> {
        let at = self.claim(TEXT, text.len().div_ceil(8), self.text_bytes() / 8)?;
        let entry = self.claim(ENTRIES, 1, MAX)?;
        for (index, chunk) in text.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0.get(HEAD + MAX + at + index).store(u64::from_ne_bytes(word), Ordering::Relaxed);
        }
        // One more than the length, so that an empty text is an entry too.
        let whole = (at as u64) << 32 | (text.len() as u64 + 1);
        self.0.get(HEAD + entry).store(whole, Ordering::Release); // SYNC E
        Some(entry)
    }

    /// How many entries were begun; the last ones may still be missing.
    pub fn len(&self) -> usize {
        usize::try_from(self.0.get(ENTRIES).load(Ordering::Relaxed)).unwrap_or(0).min(MAX)
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
        let entry = self.0.get(HEAD + index).load(Ordering::Acquire); // SYNC E
        let at = usize::try_from(entry >> 32).ok()?;
        let len = usize::try_from(entry & u64::from(u32::MAX)).ok()?.checked_sub(1)?;
        let words = len.div_ceil(8);
        if at + words > self.text_bytes() / 8 {
            return None;
        }
        let word = |index| self.0.get(HEAD + MAX + at + index).load(Ordering::Relaxed).to_ne_bytes();
        let mut text: Vec<u8> = (0..words).flat_map(word).collect();
        text.truncate(len);
        Some(text)
    }

    /// Reserves `n` of what `word` counts, never beyond `limit`; returns where they start.
    fn claim(&self, word: usize, n: usize, limit: usize) -> Option<usize> {
        let (n, limit) = (n as u64, limit as u64);
        let claimed = |used: u64| used.checked_add(n).filter(|end| *end <= limit);
        let start = self.0.get(word).fetch_update(Ordering::Relaxed, Ordering::Relaxed, claimed).ok()?;
        usize::try_from(start).ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::words::tests::WordsMemory;

    #[test]
    fn entries_come_back_in_order_and_the_table_says_when_it_is_full() {
        let mut memory = WordsMemory::new(Entries::<4>::words(64));
        let table = Entries::<4>::new(memory.words());
        assert!(table.is_empty() && table.get(0).is_none());
        let texts: [&[u8]; 3] = [b"", b"twelve bytes", b"8 bytes."];
        for (index, text) in texts.into_iter().enumerate() {
            assert_eq!(table.append(text), Some(index));
        }
        assert_eq!(table.append(&[b'x'; 41]), None, "five words are left");
        assert_eq!(table.append(&[b'x'; 40]), Some(3));
        assert_eq!((table.append(b""), table.len()), (None, 4));
        for (index, text) in texts.into_iter().enumerate() {
            assert_eq!(table.get(index).as_deref(), Some(text));
        }
        assert_eq!((table.get(3), table.get(4)), (Some(vec![b'x'; 40]), None));
    }

    #[test]
    fn what_is_damaged_is_not_there() {
        let mut memory = WordsMemory::new(Entries::<2>::words(16));
        let table = Entries::<2>::new(memory.words());
        table.append(b"text");
        for entry in [u64::MAX, 1 << 32 | 10, 18] {
            table.0.get(HEAD).store(entry, Ordering::Relaxed);
            assert_eq!(table.get(0), None, "{entry:#x}");
        }
    }

    #[test]
    fn threads_append_beside_each_other() {
        const EACH: usize = if cfg!(miri) { 8 } else { 100 };
        const BOTH: usize = 2 * EACH;
        let mut memory = WordsMemory::new(Entries::<BOTH>::words(BOTH as u32 * 16));
        let table = Entries::<BOTH>::new(memory.words());
        std::thread::scope(|scope| {
            for letter in [b'a', b'b'] {
                scope.spawn(move || (0..EACH).for_each(|_| assert!(table.append(&[letter; 12]).is_some())));
            }
            while table.len() < BOTH {
                for text in (0..table.len()).filter_map(|index| table.get(index)) {
                    assert_eq!(text, [text[0]; 12]);
                }
            }
        });
        let of = |letter| (0..BOTH).filter(|index| table.get(*index).is_some_and(|text| text[0] == letter)).count();
        assert_eq!((of(b'a'), of(b'b')), (EACH, EACH));
    }
}
