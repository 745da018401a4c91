//! Which publishes the broker has confirmed.

use std::collections::BTreeSet;

/// Delivery tags of one channel, counted from 1 in the order of publishing.
#[derive(Debug, Default)]
pub struct Confirms {
    /// All up to this one.
    upto: u64,
    /// Confirmed singly, before one that was published earlier.
    early: BTreeSet<u64>,
}

impl Confirms {
    /// Notes a confirm; how many are confirmed now without a gap.
    pub fn note(&mut self, tag: u64, multiple: bool) -> u64 {
        if multiple {
            self.upto = self.upto.max(tag);
            self.early = self.early.split_off(&self.upto);
        } else {
            self.early.insert(tag);
        }
        while self.early.remove(&(self.upto + 1)) {
            self.upto += 1;
        }
        self.upto
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_closed() {
        let mut confirms = Confirms::default();
        assert_eq!((confirms.note(1, false), confirms.note(3, false), confirms.note(2, false)), (1, 1, 3));
        assert_eq!((confirms.note(7, false), confirms.note(6, true), confirms.note(5, true)), (3, 7, 7));
    }
}
