//! The SIP message being processed, and a made-up one for events.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use kamailio_sys::sip_msg_t;

/// The message of the script call in progress; some contexts have none.
#[derive(Clone, Copy, Debug)]
pub struct SipMsg<'m> {
    raw: *mut sip_msg_t,
    during: PhantomData<&'m ()>,
}

/// Tells messages of one process apart. Kamailio counts real messages and made-up ones separately, so two of them can
/// have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageId {
    id: u32,
    pid: i32,
    made_up: bool,
}

impl MessageId {
    /// A number that no other SIP message of the process has; `None` for a made-up one.
    pub fn sip_number(self) -> Option<u64> {
        (!self.made_up).then_some(u64::from(self.id) << 32 | u64::from(self.pid.cast_unsigned()))
    }
}

/// Where Kamailio keeps the text of the messages it makes up: one buffer for all, learnt from the first that is made
/// for this module. That is before the processes are forked, so each of them knows it.
static MADE_UP_TEXT: AtomicUsize = AtomicUsize::new(0);

/// No message could be made; Kamailio has logged why.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("Kamailio could not make a message for the event")]
pub struct NoMessage;

impl<'m> SipMsg<'m> {
    /// Wraps what Kamailio gave to a script function.
    ///
    /// # Safety
    ///
    /// `raw` is null or a message that lives for `'m`.
    pub unsafe fn from_raw(raw: *mut sip_msg_t) -> Self {
        Self { raw, during: PhantomData }
    }

    /// Which message this is; `None` where there is none.
    pub fn id(self) -> Option<MessageId> {
        // SAFETY: null, or a live message by the contract of `from_raw`.
        let msg = unsafe { self.raw.as_ref() }?;
        Some(MessageId { id: msg.id, pid: msg.pid, made_up: self.is_made_up(msg) })
    }

    fn is_made_up(self, msg: &sip_msg_t) -> bool {
        // Some modules put a text of their own into the message that Kamailio makes up for everybody.
        // SAFETY: compares addresses only.
        let is_shared_one = unsafe { kamailio_sys::faked_msg_match(self.raw) } != 0;
        is_shared_one || msg.buf.addr() == MADE_UP_TEXT.load(Relaxed)
    }

    pub(crate) fn as_ptr(self) -> *mut sip_msg_t {
        self.raw
    }
}

/// A message that is freed with everything a script attached to it.
struct Faked(MaybeUninit<sip_msg_t>);

impl Drop for Faked {
    fn drop(&mut self) {
        // SAFETY: only made after `faked_msg_get_new` had filled it.
        unsafe { kamailio_sys::free_sip_msg(self.0.as_mut_ptr()) }
    }
}

/// Runs `body` with a made-up OPTIONS request. A fresh one per event: what a script attaches to it goes away with it.
pub fn with_faked<R>(body: impl FnOnce(SipMsg<'_>) -> R) -> Result<R, NoMessage> {
    // Kamailio skips the set-up of its own shared made-up message once a private one was made, and would then hand a
    // blank message to every timer route.
    // SAFETY: no precondition; does its work once.
    if unsafe { kamailio_sys::faked_msg_init() } < 0 {
        return Err(NoMessage);
    }
    let mut msg = MaybeUninit::<sip_msg_t>::zeroed();
    // SAFETY: the function fills the whole structure, which is writable.
    if unsafe { kamailio_sys::faked_msg_get_new(msg.as_mut_ptr()) } < 0 {
        return Err(NoMessage);
    }
    let mut msg = Faked(msg);
    // SAFETY: filled above.
    MADE_UP_TEXT.store(unsafe { (*msg.0.as_ptr()).buf.addr() }, Relaxed);
    // SAFETY: filled above, and it lives until after the call.
    Ok(body(unsafe { SipMsg::from_raw(msg.0.as_mut_ptr()) }))
}
