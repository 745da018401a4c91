//! Many bytes of text looked at in one step, on any processor and without unsafe code: eight where one of them is looked
//! for, 32 where mostly none of them is.

use std::ops::BitOr;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Bytes of a block: as many as the compiler's vector instructions take in two steps on any 64-bit processor.
pub(super) const BLOCK: usize = 32;

/// Whether a string in these quotes goes on over the whole block, and is written just as it stands.
#[inline(always)]
pub(super) fn is_plain(block: &[u8; BLOCK], quote: u8) -> bool {
    let special = |byte: u8| byte < 0x20 || byte == quote || byte == b'\\' || byte == b'/';
    // No early end: that is what makes vectors of it.
    !block.iter().fold(false, |found, &byte| found | special(byte))
}

/// The text before its first NUL byte. Without `memchr`, whose code nothing else has brought into the cache when a SIP worker
/// publishes.
pub(in crate::payload) fn until_nul(text: &[u8]) -> &[u8] {
    let has_nul = |block: &[u8; BLOCK]| block.iter().fold(false, |found, &byte| found | (byte == 0));
    let (blocks, _) = text.as_chunks();
    let mut clean = blocks.iter().take_while(|block| !has_nul(block)).count() * BLOCK;
    while let Some(chunk) = text.get(clean..).and_then(<[u8]>::first_chunk) {
        if let Some(at) = Chunk::new(chunk).equal(0).first() {
            return &text[..clean + at];
        }
        clean += Chunk::BYTES;
    }
    let rest = text.get(clean..).unwrap_or_default().iter();
    &text[..clean + rest.take_while(|&&byte| byte != 0).count()]
}

/// Eight bytes of text.
#[derive(Clone, Copy)]
pub(super) struct Chunk(u64);

/// Which of the eight bytes were found. The first one is right; those behind it need not be.
#[derive(Clone, Copy)]
pub(super) struct Found(u64);

impl Chunk {
    /// Bytes in a chunk.
    pub(super) const BYTES: usize = 8;

    #[inline(always)]
    pub(super) fn new(bytes: &[u8; Self::BYTES]) -> Self {
        Self(u64::from_le_bytes(*bytes))
    }

    /// Bytes equal to `byte`.
    #[inline(always)]
    pub(super) fn equal(self, byte: u8) -> Found {
        Self(self.0 ^ (ONES * u64::from(byte))).less(1)
    }

    /// Bytes less than `limit`, which is at most 128.
    #[inline(always)]
    pub(super) fn less(self, limit: u8) -> Found {
        // Taking the limit off a byte below it sets the byte's highest bit, and borrows from the next one.
        Found(self.0.wrapping_sub(ONES * u64::from(limit)) & !self.0 & HIGH)
    }
}

impl Found {
    /// No byte.
    pub(super) fn none() -> Self {
        Self(0)
    }

    /// Those before the first of `others`, which has one.
    #[inline(always)]
    pub(super) fn before(self, others: Self) -> Self {
        Self(self.0 & (others.0 - 1) & !others.0)
    }

    /// Position of the first.
    #[inline(always)]
    pub(super) fn first(self) -> Option<usize> {
        (self.0 != 0).then(|| self.0.trailing_zeros() as usize / 8)
    }
}

impl BitOr for Found {
    type Output = Self;

    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
