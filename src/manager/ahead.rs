//! How many messages of a subscription the broker hands out ahead of their acknowledgement: `amqp_prefetch`, fewer if they are large.
//!
//! The prefetch of AMQP counts messages, memory counts bytes. So a subscription begins with [`FIRST`] messages, and their
//! size says how many more may come: as many as fit into its [`part`] of the memory. When the mean size changes a lot, so does
//! the number. Before the first large one comes nobody knows of it: where sizes jump, up to `amqp_prefetch` of the new ones
//! may be on their way already.
//!
//! The broker takes a new number for a new consumer only, so `amqp::Intake` makes one.

/// Bytes of messages that all subscriptions together may have in the manager.
const MESSAGES: usize = 4 << 20;

/// Bytes of their messages and of the client library's queues for them. From 160 subscriptions on it is this that leaves less for
/// messages.
const ALL: usize = 13 << 20;

/// What the queues of a busy subscription take, measured.
const QUEUES: usize = 56 << 10;

/// Part of a subscription, however many there are.
const SMALLEST_PART: usize = 8 << 10;

/// What a message takes beside its body, measured: its names, its places in queues, what the allocator adds.
const PER_MESSAGE: usize = 512;

/// Messages to begin with.
const FIRST: u16 = 4;

/// A setting below this is taken as it stands, whatever the size.
const FEW: u16 = 3 * FIRST;

/// The mean is of about so many messages.
const MEMORY: usize = 32;

/// What one subscription may have ahead. In the task that takes its messages.
#[derive(Debug)]
pub struct Ahead {
    /// `amqp_prefetch`.
    limit: u16,
    now: u16,
    /// Messages since the last change.
    seen: usize,
    /// Mean of the bytes that a message takes.
    mean: usize,
}

impl Ahead {
    /// For `limit` messages at most.
    pub fn new(limit: u16) -> Self {
        Self { limit, now: if limit < FEW { limit } else { FIRST }, seen: 0, mean: 0 }
    }

    /// For `limit` messages, whatever their size.
    pub fn fixed(limit: u16) -> Self {
        Self { limit, now: limit, seen: 0, mean: 0 }
    }

    /// The number now.
    pub fn count(&self) -> u16 {
        self.now
    }

    /// Some more messages came, with bodies of so many bytes in all.
    pub fn saw(&mut self, messages: usize, bytes: usize) {
        let weight = if self.mean == 0 { MEMORY } else { messages.min(MEMORY) };
        let size = bytes / messages.max(1) + PER_MESSAGE;
        self.mean = (self.mean * (MEMORY - weight) + size * weight) / MEMORY;
        self.seen = self.seen.saturating_add(messages);
    }

    /// Another number if it is time for one. `subscriptions`: how many share the budget.
    pub fn change(&mut self, subscriptions: usize) -> Option<u16> {
        if self.limit < FEW {
            return None;
        }
        let fits = u16::try_from(part(subscriptions) / self.mean.max(1)).unwrap_or(u16::MAX).clamp(1, self.limit);
        // The consumer before this one may still have all of its own.
        let more = fits.min(self.limit - self.now);
        // Large ones are soon forgotten, but not at once.
        let enough = if self.now == FIRST { usize::from(FIRST) } else { usize::from(self.now).max(4 * MEMORY) };
        let grows = more / 2 >= self.now && self.seen >= enough;
        let next = if fits <= self.now / 2 {
            fits
        } else if grows {
            more
        } else {
            return None;
        };
        self.now = next;
        self.seen = 0;
        Some(next)
    }
}

/// Bytes of messages that one of so many subscriptions may have in the manager.
fn part(subscriptions: usize) -> usize {
    let left = ALL.saturating_sub(subscriptions.saturating_mul(QUEUES));
    (left.min(MESSAGES) / subscriptions.max(1)).max(SMALLEST_PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it comes to after many messages of one size.
    fn settled(ahead: &mut Ahead, size: usize, subscriptions: usize) -> u16 {
        for _ in 0..1_000 {
            ahead.saw(1, size);
            ahead.change(subscriptions);
        }
        ahead.count()
    }

    #[test]
    fn small_messages_get_nearly_all_and_large_ones_what_fits() {
        for (size, subscriptions, expected) in [
            (500, 1, 496),
            (500, 16, 259),
            (500, 100, 41),
            (500, 200, 10),
            (0, 1, 496),
            (100_000, 1, 41),
            (100_000, 10, 4),
            (16 << 20, 1, 1),
            (1_000, 1_000, FIRST),
        ] {
            let count = settled(&mut Ahead::new(500), size, subscriptions);
            assert_eq!(count, expected, "{size} bytes, {subscriptions} subscriptions");
        }
    }

    #[test]
    fn a_subscription_begins_with_few_and_never_has_more_than_the_setting() {
        for limit in [1, 7, 12, 50, 500, 5_000] {
            let mut ahead = Ahead::new(limit);
            assert!(ahead.count() <= limit.min(FEW));
            let mut before = 0;
            for _ in 0..10_000 {
                ahead.saw(3, 300);
                if ahead.change(1).is_some() {
                    assert!(u32::from(before) + u32::from(ahead.count()) <= u32::from(limit), "{limit}");
                }
                before = ahead.count();
            }
            assert!(ahead.count() >= limit / 3 * 2, "{limit}: {}", ahead.count());
        }
    }

    #[test]
    fn it_follows_a_change_of_size_and_ignores_an_exception() {
        let mut ahead = Ahead::new(500);
        assert_eq!(settled(&mut ahead, 500, 1), 496);
        ahead.saw(1, 100_000);
        assert_eq!(ahead.change(1), None, "one of them");
        assert!(settled(&mut ahead, 100_000, 1) <= 82);
        assert!(settled(&mut ahead, 500, 1) >= 500 / 3);
    }
}
