//! Random `Msg-ID`s, made without a system call.
//!
//! Each process seeds a generator of its own from the operating system after it was forked: a generator shared over
//! a fork would give every process the same ids.

use rand::rngs::{StdRng, SysError, SysRng};
use rand::{Rng, SeedableRng};
use uuid::Builder;
use uuid::fmt::Hyphenated;

/// Source of the ids of one process.
#[derive(Debug)]
pub struct MsgIds {
    random: StdRng,
    text: [u8; Hyphenated::LENGTH],
}

impl MsgIds {
    /// Seeds from the operating system: the one system call. Call after the fork.
    pub fn seeded() -> Result<Self, SysError> {
        Ok(Self { random: StdRng::try_from_rng(&mut SysRng)?, text: [0; Hyphenated::LENGTH] })
    }

    /// A new random UUID in lower case.
    pub fn next_id(&mut self) -> &[u8] {
        let mut bytes = [0; 16];
        self.random.fill_bytes(&mut bytes);
        let uuid = Builder::from_random_bytes(bytes).into_uuid();
        uuid.as_hyphenated().encode_lower(&mut self.text).as_bytes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end on the first surprise")]

    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_version_4_uuids_in_lower_case() {
        let mut ids = MsgIds::seeded().unwrap();
        let id = String::from_utf8(ids.next_id().to_vec()).unwrap();
        assert_eq!(id.len(), 36);
        assert_eq!(id, id.to_lowercase());
        assert_eq!((&id[14..15], id.matches('-').count()), ("4", 4));
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"));
    }

    #[test]
    fn two_processes_share_no_id() {
        let (mut one, mut other) = (MsgIds::seeded().unwrap(), MsgIds::seeded().unwrap());
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            assert!(seen.insert(one.next_id().to_vec()));
            assert!(seen.insert(other.next_id().to_vec()));
        }
    }
}
