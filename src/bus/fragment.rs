//! Messages of any size through a ring of fixed size: cut into fragments by the manager, joined by the reader.
//!
//! A fragment names its message by number. A reader that sees a fragment out of sequence (the manager was killed
//! half way and its successor started over) drops the torn message: the broker still holds it and sends it again.

use std::ops::Range;

use super::wire::Take;

/// Bytes of a fragment's own header: message number, offset, total length.
pub const HEADER: usize = 24;

/// Where the next piece of a message starts. Held by the manager while the message is under way.
#[derive(Debug)]
pub struct Cutter {
    message: u64,
    at: usize,
}

impl Cutter {
    /// Starts on message number `message`; numbers only have to differ from one message to the next.
    pub fn new(message: u64) -> Self {
        Self { message, at: 0 }
    }

    /// The header of the next fragment, and its piece of a message of `total` bytes, at most `room` bytes of record in all.
    ///
    /// An empty message is one empty fragment. Call [`advance`](Self::advance) after the fragment is in the ring.
    pub fn piece(&self, total: usize, room: usize) -> ([u8; HEADER], Range<usize>) {
        let end = total.min(self.at + room.saturating_sub(HEADER));
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(&self.message.to_ne_bytes());
        header[8..16].copy_from_slice(&(self.at as u64).to_ne_bytes());
        header[16..].copy_from_slice(&(total as u64).to_ne_bytes());
        (header, self.at..end)
    }

    /// Moves past `sent` bytes; true when the message of `total` bytes is complete.
    pub fn advance(&mut self, sent: usize, total: usize) -> bool {
        self.at += sent;
        self.at >= total
    }

    /// Whether a part of the message is already in the ring.
    pub fn started(&self) -> bool {
        self.at > 0
    }
}

/// Joins the fragments of one ring. Held by the reader.
#[derive(Debug, Default)]
pub struct Joiner {
    message: u64,
    total: usize,
    text: Vec<u8>,
}

/// What one fragment did.
#[derive(Debug, PartialEq, Eq)]
pub enum Joined {
    /// More is to come.
    Partial,
    /// The message is complete: [`Joiner::text`] holds it.
    Complete,
    /// Complete, and an unfinished message before it was dropped.
    CompleteAfterTorn,
    /// More is to come, and an unfinished message before it was dropped.
    PartialAfterTorn,
}

impl Joiner {
    /// Takes one fragment. `None` if it is damaged or the middle of a message whose start was not seen.
    ///
    /// `limit`: the largest message that is joined, in bytes; a larger announcement counts as damage.
    pub fn take(&mut self, fragment: &[u8], limit: usize) -> Option<Joined> {
        let mut take = Take(fragment);
        let (message, at, total) =
            (take.u64()?, usize::try_from(take.u64()?).ok()?, usize::try_from(take.u64()?).ok()?);
        let piece = take.rest();
        let torn = self.begin(message, at, total, limit)?;
        if self.text.len() + piece.len() > self.total {
            self.text.clear();
            self.total = 0;
            return None;
        }
        self.text.extend_from_slice(piece);
        Some(match (self.text.len() == self.total, torn) {
            (true, false) => Joined::Complete,
            (true, true) => Joined::CompleteAfterTorn,
            (false, false) => Joined::Partial,
            (false, true) => Joined::PartialAfterTorn,
        })
    }

    /// The joined message, after `Complete`.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Makes ready for the fragment at `at`; says whether an unfinished message was dropped for it.
    fn begin(&mut self, message: u64, at: usize, total: usize, limit: usize) -> Option<bool> {
        let unfinished = self.text.len() < self.total;
        if at == 0 {
            if total > limit {
                return None;
            }
            self.text.clear();
            // A message of 16 MB once must not keep 16 MB for ever.
            self.text.shrink_to(total.max(64 * 1024));
            self.message = message;
            self.total = total;
            return Some(unfinished);
        }
        (unfinished && message == self.message && at == self.text.len() && total == self.total).then_some(false)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cut(message: u64, text: &[u8], room: usize) -> Vec<Vec<u8>> {
        let mut cutter = Cutter::new(message);
        let mut out = Vec::new();
        loop {
            let (header, piece) = cutter.piece(text.len(), room);
            let len = piece.len();
            out.push([&header, &text[piece]].concat());
            if cutter.advance(len, text.len()) {
                return out;
            }
        }
    }

    #[test]
    fn any_length_through_any_room_is_joined_whole() {
        for len in [0, 1, 75, 76, 77, 1000, 10_000] {
            let text: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let mut joiner = Joiner::default();
            let pieces = cut(1, &text, 100);
            for (i, p) in pieces.iter().enumerate() {
                let last = i + 1 == pieces.len();
                assert_eq!(joiner.take(p, 1 << 20), Some(if last { Joined::Complete } else { Joined::Partial }));
            }
            assert_eq!(joiner.text(), &text[..]);
        }
    }

    #[test]
    fn a_torn_message_is_dropped_and_the_next_is_whole() {
        let mut joiner = Joiner::default();
        let torn = cut(1, &[b'a'; 300], 100);
        assert_eq!(joiner.take(&torn[0], 1000), Some(Joined::Partial));
        assert_eq!(joiner.take(&cut(2, b"whole", 100)[0], 1000), Some(Joined::CompleteAfterTorn));
        assert_eq!(joiner.text(), b"whole");
        assert_eq!(joiner.take(&torn[1], 1000), None, "the middle of a dropped message is not a message");
    }

    #[test]
    fn a_length_over_the_limit_is_damage() {
        assert_eq!(Joiner::default().take(&cut(1, &[0; 300], 100)[0], 299), None);
    }
}
