//! A table of records of one size that one process writes and any process reads: a sequence lock for each record.
//!
//! The writer never waits and never knows its readers. A reader that comes in the middle of a write sees the version
//! move and looks again. A writer that is killed there leaves the record unreadable until a successor has written it.
//!
//! # Invariants
//! I1  one writer at a time; a successor starts only after its predecessor's death was reaped
//! I2  a record's version is odd while its words change, and never the same again after they have changed
//! I3  words are atomics: what is read in the middle of a write is thrown away, but it is not a data race
//!
//! # Ordering
//! | edge   | release                      | acquire                       | makes visible             | if relaxed |
//! |--------|------------------------------|-------------------------------|---------------------------|------------|
//! | SYNC V | `write`: even version.store  | `read`: first version.load    | the words of that version | old words  |
//! | SYNC M | `write`: fence before a word | `read`: fence after the words | that a write has begun    | a mixture  |
//!
//! # Progress
//! write: wait-free. read: bounded; gives up when the writer is always in the middle of it, or died there.

use crate::sync::{Ordering, fence};
use crate::words::Words;

/// Looks of a reader that finds the record being written. Models try every order, so two are as good as many.
const ATTEMPTS: usize = if cfg!(loom) { 2 } else { 100 };

/// Records of `N` words. Copies refer to the same records.
#[derive(Clone, Copy, Debug)]
pub struct Seqlock<const N: usize>(Words);

impl<const N: usize> Seqlock<N> {
    /// Words that a table of `records` takes.
    pub const fn words(records: usize) -> usize {
        records * (1 + N)
    }

    /// The table in `words`; zeroed words are records that were never written.
    pub fn new(words: Words) -> Self {
        Self(words)
    }

    /// Records in the table.
    pub fn records(&self) -> usize {
        self.0.count() / (1 + N)
    }

    /// Writes a record; none if there is no such record. The writing process only.
    pub fn write(&self, record: usize, values: &[u64; N]) {
        if record >= self.records() {
            return;
        }
        let first = record * (1 + N);
        let version = self.0.get(first);
        let odd = version.load(Ordering::Relaxed) | 1; // own word (I1)
        version.store(odd, Ordering::Relaxed);
        fence(Ordering::Release); // SYNC M
        for (index, value) in values.iter().enumerate() {
            self.0.get(first + 1 + index).store(*value, Ordering::Relaxed);
        }
        version.store(odd.wrapping_add(1), Ordering::Release); // SYNC V
    }

    /// Reads a record; `None` if it was never written, or cannot be read now. Any process.
    pub fn read(&self, record: usize) -> Option<[u64; N]> {
        if !self.was_written(record) {
            return None;
        }
        (0..ATTEMPTS).find_map(|_| self.read_once(record * (1 + N)))
    }

    fn read_once(&self, first: usize) -> Option<[u64; N]> {
        let version = self.0.get(first).load(Ordering::Acquire); // SYNC V
        if !version.is_multiple_of(2) {
            core::hint::spin_loop();
            return None;
        }
        let values = core::array::from_fn(|index| self.0.get(first + 1 + index).load(Ordering::Relaxed));
        fence(Ordering::Acquire); // SYNC M
        (self.0.get(first).load(Ordering::Relaxed) == version).then_some(values)
    }

    /// Whether the record was ever written, or a write of it has begun.
    pub fn was_written(&self, record: usize) -> bool {
        record < self.records() && self.0.get(record * (1 + N)).load(Ordering::Relaxed) != 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::words::tests::WordsMemory;

    const WORDS: usize = 8;

    #[test]
    fn records_come_back_and_leave_their_neighbours_alone() {
        let mut memory = WordsMemory::new(Seqlock::<WORDS>::words(3));
        let table = Seqlock::<WORDS>::new(memory.words());
        assert_eq!((table.records(), table.read(1), table.was_written(1)), (3, None, false));
        table.write(1, &[7; WORDS]);
        table.write(1, &[8; WORDS]);
        table.write(3, &[9; WORDS]);
        assert_eq!([table.read(0), table.read(1), table.read(2), table.read(3)], [None, Some([8; WORDS]), None, None]);
    }

    #[test]
    fn a_reader_never_sees_a_mixture() {
        const WRITES: u64 = if cfg!(miri) { 60 } else { 40_000 };
        let mut memory = WordsMemory::new(Seqlock::<WORDS>::words(1));
        let table = Seqlock::<WORDS>::new(memory.words());
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (1..=WRITES).for_each(|value| table.write(0, &[value; WORDS])));
            let mut last = 0;
            while !writer.is_finished() {
                let Some(values) = table.read(0) else { continue };
                assert!(values[0] >= last && values == [values[0]; WORDS], "{values:?} after {last}");
                last = values[0];
            }
        });
        assert_eq!(table.read(0), Some([WRITES; WORDS]));
    }

    #[test]
    fn what_a_dead_writer_left_is_unreadable_until_the_next_one_wrote_it() {
        let mut memory = WordsMemory::new(Seqlock::<WORDS>::words(1));
        let table = Seqlock::<WORDS>::new(memory.words());
        table.write(0, &[1; WORDS]);
        table.0.get(0).fetch_add(1, Ordering::Relaxed);
        assert_eq!((table.read(0), table.was_written(0)), (None, true));
        table.write(0, &[2; WORDS]);
        assert_eq!(table.read(0), Some([2; WORDS]));
    }
}
