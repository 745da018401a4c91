//! Wake-ups between processes: an "I sleep" word in shared memory and an eventfd made before the fork.
//!
//! One [`Bell`] per sleeping process. Whoever has published something for it rings; as long as it is awake, that is one
//! fence and one load, no system call. Any number of processes may ring, one sleeps.
//!
//! # Protocol
//! ```text
//! sleeper: announce (word = 1, fence) -> look at all rings once more -> empty: sleep on the eventfd, else retract
//! waker:   publish -> ring (fence, word != 0? then word = 0 and write the eventfd)
//! ```
//!
//! One that sleeps until there is room for a number of bytes announces that number in place of 1; a waker who has only
//! room to offer leaves a word alone that wants more.
//!
//! # Invariants
//! I1  only the sleeper sets the word, so after a waker has swapped it to 0 no other waker makes a system call
//! I2  a sleeper never sleeps without having looked at its rings between `announce` and `sleep`
//! I3  a waker killed between swap and eventfd write loses one wake-up: whoever outlives it makes up for that with `alarm`,
//!     or the sleeper has a timeout
//! I4  who announced a threshold is not rung by those who offer less, and by all others
//! I5  a wake-up may be spurious (the count of an eventfd outlives the reason), never missing
//!
//! # Ordering
//! | edge   | sleeper                          | waker                             | makes visible            |
//! |--------|----------------------------------|-----------------------------------|--------------------------|
//! | SYNC W | word.swap, fence, `written`.load | `written`.store, fence, word.load | one's store to the other |
//!
//! Both fences are SeqCst, in `announce` and in `claim`. So at least one of the two loads sees the other side's
//! store: the waker sees the sleeper, or the sleeper the record. If relaxed: both look too early, and the sleeper
//! sleeps with a record in its ring.
//!
//! The word carries nothing but the threshold, which is the word itself, so its own accesses are Relaxed; the record's bytes
//! travel by SYNC P of the ring.
//!
//! # Progress
//! ring, announce, retract: wait-free.

use core::ptr::NonNull;
use core::time::Duration;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;

use crate::region::{LayoutError, Region};
use crate::sync::{AtomicU32, LINE, Ordering, fence};

/// The "I sleep" word of one process, on a cache line of its own: 0 awake, 1 asleep, more: asleep until so many bytes are free.
/// A new one says "awake".
#[derive(Default)]
#[repr(C, align(64))]
pub struct WakeWord {
    asleep: AtomicU32,
}

const _: () = assert!(align_of::<WakeWord>() == LINE);
#[cfg(not(loom))]
const _: () = assert!(size_of::<WakeWord>() == LINE && Bell::BYTES == LINE);

impl WakeWord {
    /// Sleeper: from now on wakers ring. Look at all rings after this and before sleeping.
    pub fn announce(&self) {
        self.announce_for(1);
    }

    /// Sleeper: from now on wakers ring, but who has only room to offer does so from this many bytes on; `usize::MAX`: never.
    pub fn announce_for(&self, bytes: usize) {
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX).max(1);
        // A swap, so that the changes of the word form one chain that the models can follow.
        self.asleep.swap(wanted, Ordering::Relaxed);
        fence(Ordering::SeqCst); // SYNC W
    }

    /// Sleeper: awake again.
    pub fn retract(&self) {
        self.asleep.store(0, Ordering::Relaxed);
    }

    /// Waker, after publishing: whether the sleeper must be woken, and by this caller.
    pub fn claim(&self) -> bool {
        self.claim_for(usize::MAX)
    }

    /// Waker, after so many bytes have become free: the same, for a sleeper that wants no more than that.
    pub fn claim_for(&self, bytes: usize) -> bool {
        let offered = u32::try_from(bytes).unwrap_or(u32::MAX);
        fence(Ordering::SeqCst); // SYNC W
        // The load alone serves the busy case; the swap picks one of several wakers.
        let wanted = self.asleep.load(Ordering::Relaxed);
        wanted != 0 && wanted <= offered && self.asleep.swap(0, Ordering::Relaxed) != 0
    }
}

/// Why `sleep` came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Somebody rang, or a signal came: look at the rings.
    Rung,
    /// The time is over.
    TimedOut,
}

/// One process's wake-up: its word in shared memory and its eventfd. A handle; it owns neither.
#[derive(Clone, Debug)]
pub struct Bell {
    word: NonNull<WakeWord>,
    fd: RawFd,
}

// SAFETY: the word is an atomic and an eventfd may be used by any thread.
unsafe impl Send for Bell {}
// SAFETY: as above.
unsafe impl Sync for Bell {}

impl Bell {
    /// Region bytes of one bell.
    pub const BYTES: usize = size_of::<WakeWord>();

    /// Longest single sleep; also keeps every `Duration` inside the range of the system call.
    const LONGEST_SLEEP: Duration = Duration::from_secs(24 * 3600);

    /// Sets the word at the start of `region` to "awake".
    pub fn init(region: Region) -> Result<(), LayoutError> {
        let word = region.head::<WakeWord>()?;
        // SAFETY: aligned and inside the region (`head`), mapped while it is in use; any bytes are a value of an
        // atomic.
        unsafe { word.as_ref() }.retract();
        Ok(())
    }

    /// Joins the word at the start of `region` and the eventfd of the same process.
    ///
    /// # Safety
    ///
    /// `fd` is an eventfd of [`new_eventfd`] that stays open as long as this bell or a clone is in use.
    pub unsafe fn attach(region: Region, fd: RawFd) -> Result<Self, LayoutError> {
        Ok(Self { word: region.head()?, fd })
    }

    /// Sleeper: from now on wakers ring. Look at all rings after this and before sleeping.
    pub fn announce(&self) {
        self.word().announce();
    }

    /// Sleeper: the same, but who has only room to offer rings from this many bytes on.
    pub fn announce_for(&self, bytes: usize) {
        self.word().announce_for(bytes);
    }

    /// Sleeper: awake again, without having slept.
    pub fn retract(&self) {
        self.word().retract();
    }

    /// Supervisor: the sleeper died, its successor starts awake.
    pub fn reset(&self) {
        self.word().retract();
    }

    /// Sleeper, after `announce` and a look at the rings: blocks until somebody rings, a signal comes or time is over.
    ///
    /// Longer than a day counts as a day. Comes back awake: word cleared, eventfd drained.
    pub fn sleep(&self, timeout: Option<Duration>) -> Result<Woken, Errno> {
        let woken = self.wait(timeout);
        self.drain();
        self.retract();
        woken
    }

    fn wait(&self, timeout: Option<Duration>) -> Result<Woken, Errno> {
        let timeout = timeout.map(|limit| TimeSpec::from_duration(limit.min(Self::LONGEST_SLEEP)));
        let mut polled = [PollFd::new(self.eventfd(), PollFlags::POLLIN)];
        match ppoll(&mut polled, timeout, None) {
            Ok(0) => Ok(Woken::TimedOut),
            Ok(_) => match polled[0].revents() {
                Some(flags) if flags.contains(PollFlags::POLLIN) => Ok(Woken::Rung),
                _ => Err(Errno::EBADF),
            },
            Err(Errno::EINTR) => Ok(Woken::Rung),
            Err(errno) => Err(errno),
        }
    }

    /// Takes the count of the eventfd without blocking.
    fn drain(&self) {
        let mut count = [0; 8];
        // EAGAIN says that there was nothing to take; an eventfd of the contract gives no other error.
        let _ = nix::unistd::read(self.eventfd(), &mut count);
    }

    /// Waker, after publishing: wakes the sleeper if it sleeps. True if that took a system call.
    pub fn ring(&self) -> bool {
        self.ring_for(usize::MAX)
    }

    /// Waker, after so many bytes have become free: wakes the sleeper if that is enough for it.
    pub fn ring_for(&self, bytes: usize) -> bool {
        let claimed = self.word().claim_for(bytes);
        if claimed {
            // EAGAIN says that the count is at its maximum: the sleeper is woken by what is there.
            let _ = nix::unistd::write(self.eventfd(), &1_u64.to_ne_bytes());
        }
        claimed
    }

    /// Wakes the sleeper whatever its word says: for one whose waker died on the way, or who is asked for a sign of life.
    /// One that is awake sleeps once less. Always a system call.
    pub fn alarm(&self) {
        // EAGAIN as in `ring`. The word is left alone: the sleeper takes it back, as after any wake-up.
        let _ = nix::unistd::write(self.eventfd(), &1_u64.to_ne_bytes());
    }

    /// The eventfd, for an event loop that sleeps on several sources.
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    fn word(&self) -> &WakeWord {
        // SAFETY: `attach` has checked alignment and length, the region is mapped while the bell is in use.
        unsafe { self.word.as_ref() }
    }

    fn eventfd(&self) -> BorrowedFd<'_> {
        // SAFETY: open as long as the bell is in use, by the contract of `attach`.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

/// Makes an eventfd for a bell: non-blocking, kept over `fork`, closed by `exec`.
pub fn new_eventfd() -> Result<OwnedFd, Errno> {
    EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC).map(OwnedFd::from)
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::os::fd::AsRawFd as _;

    use super::*;

    /// Memory and descriptor of one bell.
    struct Home(Box<WakeWord>, OwnedFd);

    impl Home {
        fn new() -> Self {
            Self(Box::new(WakeWord { asleep: AtomicU32::new(9) }), new_eventfd().unwrap())
        }

        fn bell(&mut self) -> Bell {
            let base = NonNull::from(self.0.as_mut()).cast();
            // SAFETY: the box's memory, kept by the test.
            let region = unsafe { Region::from_raw(base, Bell::BYTES) };
            Bell::init(region).unwrap();
            // SAFETY: the descriptor is kept by the test.
            unsafe { Bell::attach(region, self.1.as_raw_fd()) }.unwrap()
        }
    }

    #[test]
    fn a_busy_peer_costs_no_system_call() {
        let mut home = Home::new();
        let bell = home.bell();
        assert!(!bell.ring());
        bell.announce();
        bell.retract();
        assert!(!bell.ring());
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no ppoll")]
    fn the_first_waker_rings_and_the_sleeper_wakes() {
        let mut home = Home::new();
        let bell = home.bell();
        bell.announce();
        let waker = bell.clone();
        assert!(waker.ring());
        assert!(!waker.ring(), "already woken");
        assert_eq!(bell.sleep(None), Ok(Woken::Rung));
        bell.announce();
        assert_eq!(bell.sleep(Some(Duration::from_micros(300))), Ok(Woken::TimedOut), "the count was drained");
        assert!(!bell.ring(), "awake after the time was over");
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no ppoll")]
    fn who_waits_for_room_is_not_woken_for_less_and_for_everything_else() {
        let mut home = Home::new();
        let bell = home.bell();
        bell.announce_for(4096);
        assert!(!bell.ring_for(4095));
        assert!(bell.ring_for(4096));
        assert_eq!(bell.sleep(None), Ok(Woken::Rung));
        bell.announce_for(4096);
        assert!(bell.ring(), "an answer, say");
        bell.announce();
        assert!(bell.ring_for(1), "no threshold");
        bell.announce_for(usize::MAX);
        assert!(!bell.ring_for(1 << 30), "no room is enough");
        assert!(bell.ring());
        bell.announce_for(0);
        assert!(bell.ring(), "asleep, whatever it wants");
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no ppoll")]
    fn an_alarm_makes_up_for_a_waker_that_died_on_the_way() {
        let mut home = Home::new();
        let bell = home.bell();
        bell.announce();
        assert!(bell.word().claim(), "a waker that is killed before it writes");
        assert!(!bell.ring(), "and for the next one the sleeper is awake");
        bell.alarm();
        assert_eq!(bell.sleep(None), Ok(Woken::Rung));
        bell.announce();
        assert!(bell.ring(), "as before");
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no ppoll")]
    fn a_sleeping_process_is_woken_by_another_thread() {
        let mut home = Home::new();
        let bell = home.bell();
        bell.announce();
        std::thread::scope(|scope| {
            let waker = bell.clone();
            scope.spawn(move || assert!(waker.ring()));
            assert_eq!(bell.sleep(Some(Duration::from_secs(20))), Ok(Woken::Rung));
        });
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no ppoll")]
    fn a_descriptor_that_is_none_is_an_error_not_a_spin() {
        let mut home = Home::new();
        let good = home.bell();
        let bad = Bell { word: good.word, fd: 1 << 20 };
        bad.announce();
        assert_eq!(bad.sleep(None), Err(Errno::EBADF));
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no ppoll")]
    fn the_longest_timeout_is_accepted() {
        let mut home = Home::new();
        let bell = home.bell();
        bell.announce();
        bell.ring();
        assert_eq!(bell.sleep(Some(Duration::MAX)), Ok(Woken::Rung));
    }
}
