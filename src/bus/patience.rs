//! How long a process waits for room in its outbox. In the process that sends, and nowhere else.
//!
//! Waiting lets a script loop run at the broker's speed. But a process that waits answers no SIP, so it depends on who sends:
//!
//! * **A loop**, a run of the script with its `LOOP_MESSAGES`th message or a quarter of the outbox in bytes, waits the full
//!   time with each message: it is what the outbox is full of, or will be. Refused messages count too, for a loop may begin
//!   when the one before it has just filled the outbox.
//! * **A run without a SIP message** (event route, timer) waits the full time too: nobody's call waits for it.
//! * **Any other SIP message** waits out of its process's allowance: [`Patience::new`]'s `sip` at most, and in vain no more
//!   than a tenth of the process's time and `EARNED_NS` for each message that the outbox took, so that requests do not pile
//!   up behind each other's waits. A wait that ends with room costs nothing: it is how SIP slows down to the speed of a
//!   broker that keeps up with most of it.

use std::time::Duration;

/// A run counts as a loop from this message on ...
const LOOP_MESSAGES: u32 = 16;

/// ... or when its messages so far would fill this part of the outbox.
const LOOP_PART: usize = 4;

/// The allowance grows by this part of the time that passes.
const REFILL_PART: u64 = 10;

/// Each message that the outbox takes adds this to the allowance: after a pause of a broker that is fast otherwise, the next
/// pause finds the allowance whole again.
const EARNED_NS: u64 = 200_000;

/// A loop is woken when this part of the outbox is free: room for many messages.
const LOOP_WAKE_PART: usize = 8;

/// Everyone else is woken when this part is free: with more, eight busy processes would share the broker's speed in naps of
/// ten milliseconds each; with less, each message of a saturated server would cost a nap.
const WAKE_PART: usize = 64;

/// On whose behalf the script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// An event, a timer, a command: no SIP message.
    Unasked,
    /// The SIP message with this number, which no other message of the process has.
    Sip(u64),
}

/// What a process knows of its waits.
#[derive(Debug)]
pub struct Patience {
    full_ns: u64,
    sip_ns: u64,
    run: Run,
    /// Messages of the run, taken or refused.
    messages: u32,
    /// Their bytes.
    bytes: usize,
    /// The allowance at `since_ns`.
    allowance_ns: u64,
    since_ns: u64,
}

/// Longest time of one wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The full time, in nanoseconds.
    Full(u64),
    /// What is left of the allowance, in nanoseconds.
    Allowance(u64),
}

impl Limit {
    /// The time in nanoseconds.
    pub fn ns(self) -> u64 {
        let (Self::Full(ns) | Self::Allowance(ns)) = self;
        ns
    }

    /// How much of an outbox of `capacity` bytes must be free before it is worth waking who waits so long.
    pub fn worth_waking(self, capacity: usize) -> usize {
        match self {
            Self::Full(_) => capacity / LOOP_WAKE_PART,
            Self::Allowance(_) => capacity / WAKE_PART,
        }
    }
}

impl Patience {
    /// `full`: longest wait of one call. `sip`: longest wait for a SIP message that is no loop.
    pub fn new(full: Duration, sip: Duration) -> Self {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let sip_ns = ns(sip.min(full));
        Self { full_ns: ns(full), sip_ns, run: Run::Unasked, messages: 0, bytes: 0, allowance_ns: sip_ns, since_ns: 0 }
    }

    /// Never waits.
    #[cfg(test)]
    pub fn none() -> Self {
        Self::new(Duration::ZERO, Duration::ZERO)
    }

    /// The next messages are sent by `run`.
    pub fn begin(&mut self, run: Run) {
        if self.run != run {
            (self.run, self.messages, self.bytes) = (run, 0, 0);
        }
    }

    /// The run has a message of so many bytes for the outbox.
    pub fn attempt(&mut self, bytes: usize) {
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// The outbox took it.
    pub fn accepted(&mut self) {
        self.allowance_ns = self.allowance_ns.saturating_add(EARNED_NS).min(self.sip_ns);
    }

    /// The wait of one that waits for more than room anyway.
    pub fn full(&self) -> Limit {
        Limit::Full(self.full_ns)
    }

    /// How long the run may wait now for room in an outbox of `capacity` bytes.
    pub fn limit(&mut self, capacity: usize, now_ns: u64) -> Limit {
        if self.run == Run::Unasked || self.is_loop(capacity) {
            return self.full();
        }
        let grown = now_ns.saturating_sub(self.since_ns) / REFILL_PART;
        self.allowance_ns = self.allowance_ns.saturating_add(grown).min(self.sip_ns);
        self.since_ns = now_ns;
        Limit::Allowance(self.allowance_ns)
    }

    fn is_loop(&self, capacity: usize) -> bool {
        self.messages >= LOOP_MESSAGES || self.bytes >= capacity / LOOP_PART
    }

    /// A wait within `limit` took so long, and there was no room in the end.
    pub fn waited_in_vain(&mut self, limit: Limit, ns: u64) {
        if let Limit::Allowance(_) = limit {
            self.allowance_ns = self.allowance_ns.saturating_sub(ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: usize = 4096;
    const MS: u64 = 1_000_000;

    fn patience() -> Patience {
        Patience::new(Duration::from_millis(500), Duration::from_millis(20))
    }

    #[test]
    fn sip_messages_share_an_allowance_that_grows_slowly() {
        let mut patience = patience();
        let mut waited = 0;
        // Each waits as long as it may, one after the other, for a second.
        let (mut now, end) = (7 * MS, 1_007 * MS);
        for message in 0.. {
            patience.begin(Run::Sip(message));
            let limit = patience.limit(CAPACITY, now);
            assert!(matches!(limit, Limit::Allowance(ns) if ns <= 20 * MS), "{limit:?}");
            patience.waited_in_vain(limit, limit.ns());
            waited += limit.ns();
            now += limit.ns() + MS;
            if now >= end {
                break;
            }
        }
        assert!((100 * MS..=125 * MS).contains(&waited), "a tenth of the time, and the first 20 ms: {waited}");
        assert_eq!(patience.limit(CAPACITY, now + 1_000 * MS), Limit::Allowance(20 * MS), "and never more than that");
    }

    #[test]
    fn a_loop_may_wait_with_each_message_and_the_next_message_is_no_loop() {
        let mut patience = patience();
        let begin_loop: [&dyn Fn(&mut Patience); 2] =
            [&|patience| (1..LOOP_MESSAGES).for_each(|_| patience.attempt(0)), &|patience| {
                patience.attempt(CAPACITY / LOOP_PART - 1)
            }];
        for (message, begin_loop) in (0..).zip(begin_loop) {
            patience.begin(Run::Sip(2 * message));
            begin_loop(&mut patience);
            assert!(matches!(patience.limit(CAPACITY, MS), Limit::Allowance(_)));
            patience.begin(Run::Sip(2 * message));
            patience.attempt(1);
            for _ in 0..3 {
                let limit = patience.limit(CAPACITY, MS);
                assert_eq!(limit, Limit::Full(500 * MS));
                patience.waited_in_vain(limit, 500 * MS);
            }
            patience.begin(Run::Sip(2 * message + 1));
            assert_eq!(patience.limit(CAPACITY, MS), Limit::Allowance(20 * MS), "the loop's waits were its own");
        }
    }

    #[test]
    fn what_the_outbox_takes_earns_patience() {
        let mut patience = patience();
        patience.begin(Run::Sip(1));
        patience.waited_in_vain(Limit::Allowance(20 * MS), 20 * MS);
        assert_eq!(patience.limit(CAPACITY, 0), Limit::Allowance(0));
        patience.accepted();
        assert_eq!(patience.limit(CAPACITY, 0), Limit::Allowance(EARNED_NS));
        (0..1000).for_each(|_| patience.accepted());
        assert_eq!(patience.limit(CAPACITY, 0), Limit::Allowance(20 * MS), "no more than a wait of its own");
    }

    #[test]
    fn what_nobody_waits_for_has_the_full_time_and_no_wait_is_longer_than_that() {
        let mut patience = patience();
        patience.begin(Run::Unasked);
        assert_eq!(patience.limit(CAPACITY, MS), Limit::Full(500 * MS));
        let mut never = Patience::new(Duration::ZERO, Duration::from_millis(20));
        never.begin(Run::Sip(1));
        assert_eq!(never.limit(CAPACITY, MS).ns(), 0);
    }
}
