//! Bounded single-producer single-consumer ring of variable-length records in shared memory.
//!
//! One per direction and process. Cursors count bytes since creation (u64, multiples of 64); the place of a record is
//! its cursor modulo the capacity. The consumer reads ahead with `sent`; `confirmed` moves only when it is done with
//! a record for good, and that alone frees space. So the ring is also an outbox: a consumer that takes over where
//! another died starts with `sent = confirmed` and sees every unconfirmed record again, in order.
//!
//! ```text
//!   confirmed ............ sent ............ written ............ confirmed + capacity
//!      |  read, may be read again  |  to be read  |  free: the producer's             |
//! ```
//!
//! # Invariants
//! I1  one producer and one consumer at a time; whoever starts processes sees to it, and a successor attaches only
//!     after its predecessor's death was reaped (`waitpid`), which also orders the successor after it
//! I2  bytes outside `confirmed..written` belong to the producer; the consumer never looks at them
//! I3  bytes inside `confirmed..written` are published, belong to the consumer, and are not written by anybody
//! I4  killed between any two instructions, either side leaves I2 and I3 true: only the store of a cursor changes what
//!     exists, so a record is there or it is not, and a reservation that was never committed leaves no trace
//! I5  `confirmed <= sent <= written <= confirmed + capacity`, all multiples of 64
//! I6  a record is contiguous. Where it would reach over the end, a PAD fills the rest and the record starts at
//!     offset 0; both are published by the same store, so a PAD is never the last thing in the ring and never at
//!     offset 0
//! I7  each record carries its own start cursor: leftovers of an earlier lap and cursors between records are recognised
//!
//! # Record life
//! ```text
//! FREE --reserve, write (private)--> FREE --written: SYNC P--> READY --next--> SENT --confirmed: SYNC F--> FREE
//!                                                                ^--- rewind, new consumer ---|
//! ```
//!
//! # Ordering
//! | edge   | release                    | acquire                             | makes visible    | if relaxed        |
//! |--------|----------------------------|-------------------------------------|------------------|-------------------|
//! | SYNC I | `init`: magic.store        | `Shared::attach`: magic.load        | capacity         | ring refused      |
//! | SYNC P | `publish`: written.store   | `refresh_written`: written.load     | record, PAD      | junk is read      |
//! | SYNC F | `confirm`: confirmed.store | `refresh_confirmed`: confirmed.load | consumer is done | overwritten early |
//!
//! A side keeps its own cursors in private memory (nobody else writes them, I1) and a copy of the other side's, which
//! it refreshes only when the copy says "full" or "empty". `sent` is mirrored Relaxed for monitors; nobody acts on
//! it.
//!
//! # Cache lines
//! A free line was last read by the consumer, so its core has a copy and the producer's first store to it waits until
//! that is gone. Stores leave a core in order: while one waits, the queue of those behind it fills with the few lines of
//! a record or two, and then the producer stands still. So after each record the producer asks for the lines of
//! the next ones before it has anything to store there. That is a hint to the processor: it changes no byte, and only
//! lines that are known to be free are asked for (I2).
//!
//! # Progress
//! push, next, confirm: wait-free (bounded by the record's length), no allocation, no system call.
//!
//! # Trust
//! What is read from shared memory is input. A cursor or record header that breaks I5 to I7 is [`Corrupt`]: the call
//! does nothing, and every slice handed out was checked to lie inside the ring.

use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::region::{LayoutError, Region};
use crate::sync::{AtomicU32, AtomicU64, LINE, Ordering, Shadow};

/// Smallest ring, in data bytes.
pub const MIN_CAPACITY: u32 = 1 << 10;
/// Largest ring, in data bytes.
pub const MAX_CAPACITY: u32 = 1 << 30;

/// "kzring", then two bytes that no text has.
const MAGIC: u64 = u64::from_le_bytes(*b"kzring\xf5\x01");
/// Grows with every change of `Header` or `RecordHeader`.
const LAYOUT_VERSION: u32 = 2;
/// `RecordHeader::len` of a PAD; no record is that long, see `MAX_CAPACITY`.
const PAD: u32 = u32::MAX;
/// Cursors beyond this are corrupt: 146 years at 1 GB/s, and sums of a cursor and a length stay far from overflow.
const MAX_CURSOR: u64 = 1 << 62;

/// So many bytes after the last record the producer asks for ahead of its stores: two to three records of 500 bytes.
/// One record ahead gives most of what there is to gain, five give no more.
const AHEAD: u64 = 24 * LINE as u64;

/// Puts a value on cache lines of its own.
#[repr(C, align(64))]
struct Line<T>(T);

/// Head of the region; the data bytes follow. Plain integers only: the other side may be another build.
#[repr(C)]
pub(crate) struct Header {
    fixed: Line<Fixed>,
    /// Written by the producer, see SYNC P.
    written: Line<AtomicU64>,
    /// Written by the consumer, see SYNC F.
    confirmed: Line<AtomicU64>,
    /// Written by the consumer for monitors; away from `confirmed`, which the producer reads.
    gauges: Line<Gauges>,
}

/// What nobody acts on.
#[repr(C)]
struct Gauges {
    sent: AtomicU64,
    /// Most bytes that the consumer ever found in use.
    peak: AtomicU64,
}

/// What `init` writes and nobody changes.
#[repr(C)]
struct Fixed {
    magic: AtomicU64,
    version: AtomicU32,
    capacity: AtomicU32,
}

/// Head of each record, followed by its bytes. Starts at a multiple of 64, as the record ends.
#[repr(C)]
#[derive(Clone, Copy)]
struct RecordHeader {
    len: u32,
    kind: u32,
    start: u64,
}

const RECORD_HEADER: usize = size_of::<RecordHeader>();

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<Header>() == 4 * LINE && align_of::<Header>() == LINE);
    assert!(core::mem::offset_of!(Header, written) == LINE);
    assert!(core::mem::offset_of!(Header, confirmed) == 2 * LINE);
    assert!(core::mem::offset_of!(Header, gauges) == 3 * LINE);
    assert!(core::mem::offset_of!(Fixed, capacity) == 12);
};
const _: () = {
    assert!(RECORD_HEADER == 16 && LINE.is_multiple_of(align_of::<RecordHeader>()));
    assert!(size_of::<Header>().is_multiple_of(LINE));
    assert!(MIN_CAPACITY as usize >= 2 * LINE && (MAX_CAPACITY as u64) < PAD as u64);
    assert!(size_of::<usize>() >= 8, "cursors are cut to usize");
};

/// Shared memory that contradicts the invariants: somebody else wrote there, or a cursor was made up by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Corrupt {
    /// Cursors out of order, out of range or not on a record boundary.
    #[error("ring cursors contradict: confirmed {confirmed}, written {written}, capacity {capacity}")]
    Cursors {
        /// `confirmed` as read.
        confirmed: u64,
        /// `written` as read.
        written: u64,
        /// Data bytes of the ring.
        capacity: u64,
    },
    /// No sound record where one should start.
    #[error("no sound record at ring cursor {start}")]
    Record {
        /// The cursor looked at.
        start: u64,
    },
    /// A cursor given to `confirm` or `read_at` that is outside what was read.
    #[error("ring cursor {cursor} is not between confirmed {confirmed} and sent {sent}")]
    OutOfWindow {
        /// The cursor given.
        cursor: u64,
        /// `confirmed` of this consumer.
        confirmed: u64,
        /// `sent` of this consumer.
        sent: u64,
    },
}

/// Builds the loom objects of a ring of `capacity` bytes in `region`; without loom any memory will do.
///
/// # Safety
///
/// The region has `bytes_for(capacity)` bytes, starts at a multiple of 64 and is not in use yet.
#[cfg(loom)]
pub(crate) unsafe fn place(region: Region, capacity: usize) {
    let fixed = Fixed { magic: AtomicU64::new(0), version: AtomicU32::new(0), capacity: AtomicU32::new(0) };
    let cursor = || Line(AtomicU64::new(0));
    let gauges = Line(Gauges { sent: AtomicU64::new(0), peak: AtomicU64::new(0) });
    let header = Header { fixed: Line(fixed), written: cursor(), confirmed: cursor(), gauges };
    // SAFETY: inside the region and aligned, by the caller's contract.
    unsafe { region.base().cast::<Header>().write(header) };
    // SAFETY: as above.
    let shadow = unsafe { region.base().add(size_of::<Header>() + capacity) };
    // SAFETY: as above; `bytes_for` counts one shadow per line.
    unsafe { Shadow::at(shadow).place(capacity / LINE) };
}

/// Why a record was not pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// Does not fit even an empty ring. Not retryable.
    #[error("record of {len} bytes, the ring takes at most {max}")]
    TooLarge {
        /// Length of the record.
        len: usize,
        /// [`Producer::max_record`].
        max: usize,
    },
    /// Back-pressure: the space is taken by records that wait for their confirm. Retryable.
    #[error("ring is full ({free} bytes free)")]
    Full {
        /// Bytes free now, too few or split by the end of the ring.
        free: usize,
    },
    /// The ring cannot be used any more.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

/// Cursors of a ring at one moment, for monitors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursors {
    /// Freed up to here.
    pub confirmed: u64,
    /// Read up to here by the present consumer.
    pub sent: u64,
    /// Published up to here.
    pub written: u64,
    /// Most bytes that were seen in use, now or before. Seen are those of the moments at which the consumer had read
    /// all that it knew of.
    pub peak: u64,
    /// Data bytes of the ring.
    pub capacity: usize,
}

/// Region bytes of a ring of `capacity` data bytes, header included; a multiple of 64.
pub const fn bytes_for(capacity: usize) -> usize {
    size_of::<Header>() + capacity + capacity / LINE * Shadow::BYTES_PER_LINE
}

/// Largest record of a ring of `capacity` data bytes.
///
/// Half the ring: a record that long fits an empty ring wherever the cursors stand, because the PAD before it is
/// shorter than it.
pub const fn max_record_for(capacity: usize) -> usize {
    (capacity / 2).saturating_sub(RECORD_HEADER)
}

/// Makes an empty ring at the start of `region`. `capacity`: a power of two, 1 KiB to 1 GiB, in bytes.
///
/// The data bytes are left as they are. To be called before anybody attaches: a ring in use loses what is in it.
pub fn init(region: Region, capacity: u32) -> Result<(), LayoutError> {
    check_capacity(region, capacity)?;
    let header = header(region)?;
    header.fixed.0.magic.store(0, Ordering::Relaxed);
    header.fixed.0.version.store(LAYOUT_VERSION, Ordering::Relaxed);
    header.fixed.0.capacity.store(capacity, Ordering::Relaxed);
    header.written.0.store(0, Ordering::Relaxed);
    header.confirmed.0.store(0, Ordering::Relaxed);
    header.gauges.0.sent.store(0, Ordering::Relaxed);
    header.gauges.0.peak.store(0, Ordering::Relaxed);
    header.fixed.0.magic.store(MAGIC, Ordering::Release); // SYNC I
    Ok(())
}

/// Reads the cursors of the ring in `region`. They are loaded one after the other: good for gauges, not for decisions.
pub fn cursors(region: Region) -> Result<Cursors, LayoutError> {
    let ring = Shared::attach(region)?;
    let confirmed = ring.header().confirmed.0.load(Ordering::Relaxed);
    let sent = ring.header().gauges.0.sent.load(Ordering::Relaxed);
    let written = ring.header().written.0.load(Ordering::Relaxed);
    // The consumer may not have looked since the producer wrote.
    let peak = ring.header().gauges.0.peak.load(Ordering::Relaxed).min(ring.capacity as u64);
    let peak = peak.max(used(written, confirmed, ring.capacity) as u64);
    Ok(Cursors { confirmed, sent, written, peak, capacity: ring.capacity })
}

fn check_capacity(region: Region, capacity: u32) -> Result<(), LayoutError> {
    if !capacity.is_power_of_two() || !(MIN_CAPACITY..=MAX_CAPACITY).contains(&capacity) {
        return Err(LayoutError::BadCapacity { capacity });
    }
    let need = bytes_for(capacity as usize);
    if region.len() < need { Err(LayoutError::TooSmall { need, have: region.len() }) } else { Ok(()) }
}

fn header<'a>(region: Region) -> Result<&'a Header, LayoutError> {
    let header = region.head::<Header>()?;
    // SAFETY: aligned and inside the region (`head`), mapped while it is in use (`Region::from_raw`), and made of
    // atomics only, for which any bytes are a value.
    Ok(unsafe { header.as_ref() })
}

/// Ring bytes of a record with a payload of `len` bytes. Where it crosses the end of the ring it leaves a gap before it,
/// which is shorter.
pub const fn record_bytes(len: usize) -> usize {
    (RECORD_HEADER + len).next_multiple_of(LINE)
}

/// What starts at a cursor.
enum Entry {
    Pad { end: u64 },
    Record(Span),
}

/// Place of a record that was checked to be sound.
#[derive(Clone, Copy)]
struct Span {
    kind: u32,
    len: usize,
    start: u64,
    end: u64,
}

/// The mapped ring as both sides see it. The capacity is read once, checked, and kept here.
struct Shared {
    header: NonNull<Header>,
    data: NonNull<u8>,
    shadow: Shadow,
    capacity: usize,
}

impl Shared {
    fn attach(region: Region) -> Result<Self, LayoutError> {
        let fixed = &header(region)?.fixed.0;
        let magic = fixed.magic.load(Ordering::Acquire); // SYNC I
        if magic != MAGIC {
            return Err(LayoutError::BadMagic { found: magic, expected: MAGIC });
        }
        let version = fixed.version.load(Ordering::Relaxed);
        if version != LAYOUT_VERSION {
            return Err(LayoutError::BadVersion { found: version, expected: LAYOUT_VERSION });
        }
        let capacity = fixed.capacity.load(Ordering::Relaxed);
        check_capacity(region, capacity)?;
        let capacity = capacity as usize;
        let data = region.sub(size_of::<Header>(), capacity)?;
        let shadow = region.sub(size_of::<Header>() + capacity, capacity / LINE * Shadow::BYTES_PER_LINE)?;
        Ok(Self { header: region.head()?, data: data.base(), shadow: Shadow::at(shadow.base()), capacity })
    }

    fn header(&self) -> &Header {
        // SAFETY: as in `header()`, which looked at the same region in `attach`.
        unsafe { self.header.as_ref() }
    }

    /// Place of a cursor among the data bytes; below the capacity by construction.
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits, asserted above")]
    fn offset(&self, cursor: u64) -> usize {
        cursor as usize & (self.capacity - 1)
    }

    fn check_cursors(&self, confirmed: u64, written: u64) -> Result<(), Corrupt> {
        let capacity = self.capacity as u64;
        let aligned = (confirmed | written).is_multiple_of(LINE as u64);
        if aligned && confirmed <= written && written <= MAX_CURSOR && written - confirmed <= capacity {
            return Ok(());
        }
        Err(Corrupt::Cursors { confirmed, written, capacity })
    }

    /// Checks what starts at `start`, of which `start..limit` is published. Both are multiples of 64, `start < limit`.
    fn entry(&self, start: u64, limit: u64) -> Result<Entry, Corrupt> {
        let offset = self.offset(start);
        let head = self.read_header(offset);
        let to_end = (self.capacity - offset) as u64;
        let published = limit - start;
        let size = record_bytes(head.len as usize) as u64;
        if head.start != start {
            return Err(Corrupt::Record { start });
        }
        if head.len == PAD {
            // I6: something follows. At offset 0 that would be more than the ring holds, so a PAD there fails as well.
            let sound = to_end < published;
            return if sound { Ok(Entry::Pad { end: start + to_end }) } else { Err(Corrupt::Record { start }) };
        }
        if size > to_end.min(published) {
            return Err(Corrupt::Record { start });
        }
        Ok(Entry::Record(Span { kind: head.kind, len: head.len as usize, start, end: start + size }))
    }

    /// As `entry`, past a PAD. Two PADs in a row do not exist (I6), so this ends after one step.
    fn record(&self, start: u64, limit: u64) -> Result<Span, Corrupt> {
        let after_pad = match self.entry(start, limit)? {
            Entry::Record(span) => return Ok(span),
            Entry::Pad { end } => end,
        };
        match self.entry(after_pad, limit)? {
            Entry::Record(span) => Ok(span),
            Entry::Pad { .. } => Err(Corrupt::Record { start: after_pad }),
        }
    }

    /// Reads a record header at `offset`, a multiple of 64 below the capacity.
    fn read_header(&self, offset: usize) -> RecordHeader {
        self.shadow.read(offset, RECORD_HEADER);
        // SAFETY: `offset` is below the capacity.
        let at = unsafe { self.data.add(offset) };
        // SAFETY: 64 bytes from a multiple of 64 below the capacity (a power of two >= 1024) are data bytes, aligned
        // for the header; any bytes are a value of it. Published, so nobody writes them (I3).
        unsafe { at.cast::<RecordHeader>().read() }
    }

    /// Writes a record header at `offset`, a multiple of 64 below the capacity.
    ///
    /// # Safety
    ///
    /// The caller is the producer and the line at `offset` is free (I2).
    unsafe fn write_header(&self, offset: usize, head: RecordHeader) {
        self.shadow.write(offset, RECORD_HEADER);
        // SAFETY: `offset` is below the capacity.
        let at = unsafe { self.data.add(offset) };
        // SAFETY: inside and aligned as in `read_header`; free, so nobody else looks at it.
        unsafe { at.cast::<RecordHeader>().write(head) }
    }

    /// Asks for the lines from `from` to `to`, multiples of 64, to be this core's own before they are written.
    fn own_soon(&self, from: u64, to: u64) {
        for cursor in (from..to).step_by(LINE) {
            // SAFETY: the offset of a cursor is below the capacity.
            fetch_for_writing(unsafe { self.data.add(self.offset(cursor)) });
        }
    }

    /// The bytes of a record.
    fn payload(&self, span: Span) -> Record<'_> {
        let offset = self.offset(span.start) + RECORD_HEADER;
        self.shadow.read(offset, span.len);
        // SAFETY: `entry` has checked that the record ends inside the data bytes.
        let first = unsafe { self.data.add(offset) };
        // SAFETY: as above; published, so nobody writes it (I3) until `confirm`, which the borrow of the consumer holds
        // off as long as the record is in use.
        let bytes = unsafe { core::slice::from_raw_parts(first.as_ptr(), span.len) };
        Record { kind: span.kind, bytes, start: span.start, end: span.end }
    }
}

/// Tells the processor that the line at `place` will be written soon. Where there is no such hint it does nothing.
#[inline(always)]
fn fetch_for_writing(place: NonNull<u8>) {
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    // SAFETY: a hint. It changes no memory and no register and cannot fault; a processor without it skips it.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) place.as_ptr(), options(readonly, nostack, preserves_flags));
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
    let _ = place;
}

/// The writing end. One live producer per ring, in all processes.
pub struct Producer {
    ring: Shared,
    /// Own cursor; the header has the same value.
    written: u64,
    /// Last seen `confirmed`, never ahead of the real one.
    confirmed_seen: u64,
    /// Lines were asked for up to here, see [`AHEAD`].
    asked: u64,
    _one_thread: PhantomData<*mut ()>,
}

// SAFETY: all shared state is atomics, or bytes that the cursors give to one side; the private part moves along.
unsafe impl Send for Producer {}

impl Producer {
    /// Takes the writing end of the ring in `region`, after the last record that was committed.
    ///
    /// # Safety
    ///
    /// `init` is not called on the region any more, and no other producer of this ring is in use in any process: an
    /// earlier one was dropped, or its process was reaped.
    pub unsafe fn attach(region: Region) -> Result<Self, LayoutError> {
        let ring = Shared::attach(region)?;
        let written = ring.header().written.0.load(Ordering::Relaxed); // own cursor (I1)
        let confirmed_seen = ring.header().confirmed.0.load(Ordering::Acquire); // SYNC F
        ring.check_cursors(confirmed_seen, written)?;
        Ok(Self { ring, written, confirmed_seen, asked: written, _one_thread: PhantomData })
    }

    /// Bytes of the largest record that this ring takes.
    pub fn max_record(&self) -> usize {
        max_record_for(self.ring.capacity)
    }

    /// Writes one record out of `parts`, one after the other, and publishes it. Returns its end cursor.
    ///
    /// `kind` is the caller's: the ring only carries it.
    pub fn push(&mut self, kind: u32, parts: &[&[u8]]) -> Result<u64, PushError> {
        let len = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        let mut reservation = self.reserve(len)?;
        let mut rest = reservation.bytes();
        for part in parts {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
        Ok(reservation.commit(kind, len))
    }

    /// Takes room for a record of up to `len` bytes, to be written in place. Nothing exists before the commit.
    pub fn reserve(&mut self, len: usize) -> Result<Reservation<'_>, PushError> {
        let max = self.max_record();
        if len > max {
            return Err(PushError::TooLarge { len, max });
        }
        let start = self.start_for(len);
        let end = start + record_bytes(len) as u64;
        let limit = self.ring.capacity as u64;
        if end - self.confirmed_seen > limit {
            self.refresh_confirmed()?;
            if end - self.confirmed_seen > limit {
                return Err(PushError::Full { free: self.free() });
            }
        }
        Ok(Reservation { producer: self, start, len })
    }

    /// Where a record of `len` bytes starts: here, or at offset 0 when it would reach over the end (I6).
    fn start_for(&self, len: usize) -> u64 {
        let to_end = self.ring.capacity - self.ring.offset(self.written);
        if record_bytes(len) <= to_end { self.written } else { self.written + to_end as u64 }
    }

    fn refresh_confirmed(&mut self) -> Result<(), Corrupt> {
        let confirmed = self.ring.header().confirmed.0.load(Ordering::Acquire); // SYNC F
        self.ring.check_cursors(confirmed, self.written)?;
        if confirmed < self.confirmed_seen {
            let capacity = self.ring.capacity as u64;
            return Err(Corrupt::Cursors { confirmed, written: self.written, capacity });
        }
        self.confirmed_seen = confirmed;
        Ok(())
    }

    /// Writes the PAD, if one is needed, and the record's header; then publishes both at once.
    fn publish(&mut self, start: u64, kind: u32, len: usize) -> u64 {
        if start != self.written {
            let pad = RecordHeader { len: PAD, kind: 0, start: self.written };
            // SAFETY: `written` is the first free byte, and `reserve` has found `written..end` free (I2).
            unsafe { self.ring.write_header(self.ring.offset(self.written), pad) };
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most `max_record`, half of `MAX_CAPACITY`")]
        let head = RecordHeader { len: len as u32, kind, start };
        // SAFETY: as above.
        unsafe { self.ring.write_header(self.ring.offset(start), head) };
        self.written = start + record_bytes(len) as u64;
        self.ring.header().written.0.store(self.written, Ordering::Release); // SYNC P
        self.ask_ahead();
        self.written
    }

    /// Asks for the lines of the next records that were not asked for yet, as far as they are known to be free.
    fn ask_ahead(&mut self) {
        let free_to = self.confirmed_seen + self.ring.capacity as u64;
        let (from, to) = (self.asked.max(self.written), free_to.min(self.written + AHEAD));
        if from < to {
            self.ring.own_soon(from, to);
            self.asked = to;
        }
    }

    /// End of the last committed record.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// What the consumer has confirmed so far. Memory that a confirmed record pointed to is the producer's again.
    pub fn confirmed(&self) -> u64 {
        self.ring.header().confirmed.0.load(Ordering::Acquire) // SYNC F
    }

    /// Bytes that wait for their confirm, headers and padding included.
    pub fn used(&self) -> usize {
        used(self.written, self.confirmed(), self.ring.capacity)
    }

    /// Bytes free; the largest record that fits now may be shorter, since records are contiguous.
    pub fn free(&self) -> usize {
        self.ring.capacity - self.used()
    }

    /// Data bytes of the ring.
    pub fn capacity(&self) -> usize {
        self.ring.capacity
    }
}

/// Distance of two cursors as a gauge: a corrupt one gives a wrong number, never more than the capacity.
fn used(written: u64, confirmed: u64, capacity: usize) -> usize {
    usize::try_from(written.saturating_sub(confirmed)).unwrap_or(capacity).min(capacity)
}

/// Room for one record. Dropped without a commit it leaves no trace.
#[must_use = "nothing is written before `commit`"]
pub struct Reservation<'a> {
    producer: &'a mut Producer,
    start: u64,
    len: usize,
}

impl Reservation<'_> {
    /// The room, filled with leftovers: write all that `commit` will count.
    pub fn bytes(&mut self) -> &mut [u8] {
        let ring = &self.producer.ring;
        let offset = ring.offset(self.start) + RECORD_HEADER;
        ring.shadow.write(offset, self.len);
        // SAFETY: `reserve` has placed the record inside the data bytes.
        let first = unsafe { ring.data.add(offset) };
        // SAFETY: as above; free, so nobody else looks at it (I2), and the borrow of the producer keeps it so.
        unsafe { core::slice::from_raw_parts_mut(first.as_ptr(), self.len) }
    }

    /// Publishes the first `len` bytes as one record and returns its end cursor.
    ///
    /// `len` is at most what was reserved; more is cut to that.
    pub fn commit(self, kind: u32, len: usize) -> u64 {
        debug_assert!(len <= self.len, "commit of {len} bytes, {} reserved", self.len);
        self.producer.publish(self.start, kind, len.min(self.len))
    }
}

/// One record, borrowed from the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// As the producer gave it.
    pub kind: u32,
    /// The payload.
    pub bytes: &'a [u8],
    /// Cursor of the record, for [`Consumer::read_at`].
    pub start: u64,
    /// Cursor after the record, for [`Consumer::confirm`].
    pub end: u64,
}

/// The reading end. One live consumer per ring, in all processes.
pub struct Consumer {
    ring: Shared,
    /// Own cursor; the header has the same value.
    confirmed: u64,
    /// Own cursor, private; the header's copy is for monitors.
    sent: u64,
    /// Last seen `written`, never ahead of the real one.
    written_seen: u64,
    /// What the header has as `peak`.
    peak: u64,
    _one_thread: PhantomData<*mut ()>,
}

// SAFETY: all shared state is atomics, or bytes that the cursors give to one side; the private part moves along.
unsafe impl Send for Consumer {}

impl Consumer {
    /// Takes the reading end of the ring in `region`. It starts with `sent = confirmed`: what an earlier consumer read
    /// and did not confirm is read again.
    ///
    /// # Safety
    ///
    /// `init` is not called on the region any more, and no other consumer of this ring is in use in any process: an
    /// earlier one was dropped, or its process was reaped.
    pub unsafe fn attach(region: Region) -> Result<Self, LayoutError> {
        let ring = Shared::attach(region)?;
        let confirmed = ring.header().confirmed.0.load(Ordering::Relaxed); // own cursor (I1)
        let peak = ring.header().gauges.0.peak.load(Ordering::Relaxed);
        let mut consumer =
            Self { ring, confirmed, sent: confirmed, written_seen: confirmed, peak, _one_thread: PhantomData };
        consumer.refresh_written()?;
        consumer.mirror_sent();
        Ok(consumer)
    }

    /// Takes the next record that was not read yet and moves `sent` past it; `None` when there is none.
    #[expect(clippy::should_implement_trait, reason = "a record borrows the consumer, an iterator's item cannot")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, Corrupt> {
        let Some(span) = self.upcoming()? else { return Ok(None) };
        self.sent = span.end;
        self.mirror_sent();
        Ok(Some(self.ring.payload(span)))
    }

    /// As `next`, but leaves `sent` where it is.
    pub fn peek(&mut self) -> Result<Option<Record<'_>>, Corrupt> {
        let span = self.upcoming()?;
        Ok(span.map(|span| self.ring.payload(span)))
    }

    /// Reads again the record that starts at `start` and lies between `confirmed` and `sent`.
    pub fn read_at(&self, start: u64) -> Result<Record<'_>, Corrupt> {
        if !start.is_multiple_of(LINE as u64) || start < self.confirmed || start >= self.sent {
            return Err(self.out_of_window(start));
        }
        match self.ring.entry(start, self.sent)? {
            Entry::Record(span) => Ok(self.ring.payload(span)),
            Entry::Pad { .. } => Err(Corrupt::Record { start }),
        }
    }

    /// Frees all up to `end`: the end of a record, between `confirmed` and `sent`.
    pub fn confirm(&mut self, end: u64) -> Result<(), Corrupt> {
        if !end.is_multiple_of(LINE as u64) || end < self.confirmed || end > self.sent {
            return Err(self.out_of_window(end));
        }
        if end < self.sent {
            // A cursor inside a record would cost a later consumer all that follows.
            self.ring.entry(end, self.sent)?;
        }
        self.confirmed = end;
        self.ring.header().confirmed.0.store(end, Ordering::Release); // SYNC F
        Ok(())
    }

    /// Goes back to `confirmed`: what is not confirmed is read again, in order.
    pub fn rewind(&mut self) {
        self.sent = self.confirmed;
        self.mirror_sent();
    }

    fn upcoming(&mut self) -> Result<Option<Span>, Corrupt> {
        if self.sent == self.written_seen {
            self.refresh_written()?;
            if self.sent == self.written_seen {
                return Ok(None);
            }
        }
        self.ring.record(self.sent, self.written_seen).map(Some)
    }

    fn refresh_written(&mut self) -> Result<(), Corrupt> {
        let written = self.ring.header().written.0.load(Ordering::Acquire); // SYNC P
        self.ring.check_cursors(self.confirmed, written)?;
        if written < self.written_seen {
            let capacity = self.ring.capacity as u64;
            return Err(Corrupt::Cursors { confirmed: self.confirmed, written, capacity });
        }
        self.written_seen = written;
        let used = written - self.confirmed;
        if used > self.peak {
            self.peak = used;
            self.ring.header().gauges.0.peak.store(used, Ordering::Relaxed); // a gauge
        }
        Ok(())
    }

    fn mirror_sent(&self) {
        self.ring.header().gauges.0.sent.store(self.sent, Ordering::Relaxed); // a gauge
    }

    fn out_of_window(&self, cursor: u64) -> Corrupt {
        Corrupt::OutOfWindow { cursor, confirmed: self.confirmed, sent: self.sent }
    }

    /// Read up to here.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Published up to here, at this moment.
    pub fn written(&self) -> u64 {
        self.ring.header().written.0.load(Ordering::Relaxed) // a gauge; `next` looks again with SYNC P
    }

    /// Freed up to here.
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Whether all that is published at this moment was read. After [`crate::Bell::announce`] this is the re-check.
    pub fn is_empty(&self) -> bool {
        self.sent == self.written()
    }

    /// Bytes that wait for their confirm, headers and padding included.
    pub fn used(&self) -> usize {
        used(self.written(), self.confirmed, self.ring.capacity)
    }

    /// Data bytes of the ring.
    pub fn capacity(&self) -> usize {
        self.ring.capacity
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const CAPACITY: usize = 1024;

    /// Memory of one ring, on the heap of the test.
    struct Memory(Vec<Line<[u8; LINE]>>);

    impl Memory {
        fn new() -> Self {
            let mut memory = Self((0..bytes_for(CAPACITY) / LINE).map(|_| Line([0xAA; LINE])).collect());
            init(memory.region(), 1024).unwrap();
            memory
        }

        fn region(&mut self) -> Region {
            let base = NonNull::new(self.0.as_mut_ptr().cast()).unwrap();
            // SAFETY: the vector's memory, kept by the test.
            unsafe { Region::from_raw(base, self.0.len() * LINE) }
        }
    }

    fn ends(region: Region) -> (Producer, Consumer) {
        // SAFETY: each test makes one pair at a time.
        let producer = unsafe { Producer::attach(region) }.unwrap();
        // SAFETY: as above.
        let consumer = unsafe { Consumer::attach(region) }.unwrap();
        (producer, consumer)
    }

    /// Pops one record and frees it.
    fn take(consumer: &mut Consumer) -> (u32, Vec<u8>) {
        let record = consumer.next().unwrap().unwrap();
        let (taken, end) = ((record.kind, record.bytes.to_vec()), record.end);
        consumer.confirm(end).unwrap();
        taken
    }

    #[test]
    fn records_come_out_as_they_went_in() {
        let mut memory = Memory::new();
        let (mut producer, mut consumer) = ends(memory.region());
        assert_eq!(producer.push(7, &[b"call", b"", b"mgr"]).unwrap(), 64);
        assert_eq!(producer.push(8, &[]).unwrap(), 128);
        assert!(!consumer.is_empty());
        assert_eq!(consumer.peek().unwrap().unwrap().bytes, b"callmgr");
        assert_eq!(take(&mut consumer), (7, b"callmgr".to_vec()));
        assert_eq!(take(&mut consumer), (8, Vec::new()));
        assert!(consumer.is_empty() && consumer.next().unwrap().is_none());
        assert_eq!((producer.used(), producer.free()), (0, CAPACITY));
    }

    #[test]
    fn the_largest_record_fits_an_empty_ring_at_every_offset() {
        let mut memory = Memory::new();
        let (mut producer, mut consumer) = ends(memory.region());
        let largest = vec![5; producer.max_record()];
        for _ in 0..CAPACITY / LINE {
            producer.push(1, &[&largest]).unwrap();
            assert_eq!(take(&mut consumer).1, largest);
            producer.push(2, &[b"step"]).unwrap();
            assert_eq!(take(&mut consumer).1, b"step");
        }
        let (len, max) = (largest.len() + 1, largest.len());
        assert_eq!(producer.push(1, &[&largest, b"x"]), Err(PushError::TooLarge { len, max }));
    }

    #[test]
    fn full_until_confirmed() {
        let mut memory = Memory::new();
        let (mut producer, mut consumer) = ends(memory.region());
        for n in 0..16_u8 {
            producer.push(u32::from(n), &[&[n; 48]]).unwrap();
        }
        assert_eq!(producer.push(99, &[b"x"]), Err(PushError::Full { free: 0 }));
        let end = consumer.next().unwrap().unwrap().end;
        assert_eq!(producer.push(99, &[b"x"]), Err(PushError::Full { free: 0 }));
        consumer.confirm(end).unwrap();
        producer.push(99, &[b"x"]).unwrap();
    }

    #[test]
    fn only_free_lines_are_asked_for() {
        let mut memory = Memory::new();
        let (mut producer, mut consumer) = ends(memory.region());
        for kind in 0..100 {
            while producer.push(kind, &[&[7; 100]]).is_ok() {
                assert!(producer.asked <= producer.confirmed_seen + CAPACITY as u64);
            }
            take(&mut consumer);
        }
    }

    #[test]
    fn rewind_and_a_new_consumer_replay_what_is_not_confirmed() {
        let mut memory = Memory::new();
        let region = memory.region();
        let (mut producer, mut consumer) = ends(region);
        for n in 0..4 {
            producer.push(n, &[b"outbox"]).unwrap();
        }
        let kinds = |consumer: &mut Consumer| {
            let mut kinds = Vec::new();
            while let Some(record) = consumer.next().unwrap() {
                kinds.push(record.kind);
            }
            kinds
        };
        assert_eq!(kinds(&mut consumer), [0, 1, 2, 3]);
        consumer.confirm(128).unwrap();
        consumer.rewind();
        assert_eq!(kinds(&mut consumer), [2, 3]);
        // SAFETY: the first consumer is not used any more.
        let mut successor = unsafe { Consumer::attach(region) }.unwrap();
        assert_eq!(cursors(region).unwrap().sent, 128);
        assert_eq!(kinds(&mut successor), [2, 3]);
        let expected = Cursors { confirmed: 128, sent: 256, written: 256, peak: 256, capacity: CAPACITY };
        assert_eq!(cursors(region).unwrap(), expected);
    }

    #[test]
    fn an_abandoned_reservation_leaves_no_trace() {
        let mut memory = Memory::new();
        let (mut producer, mut consumer) = ends(memory.region());
        producer.push(1, &[&[0; 400]]).unwrap();
        take(&mut consumer);
        producer.reserve(496).unwrap().bytes().fill(0xEE);
        assert!(consumer.next().unwrap().is_none());
        let mut reservation = producer.reserve(496).unwrap();
        reservation.bytes()[..3].copy_from_slice(b"yes");
        reservation.commit(2, 3);
        assert_eq!(take(&mut consumer), (2, b"yes".to_vec()));
    }

    #[test]
    fn read_at_reaches_what_was_read_and_not_confirmed() {
        let mut memory = Memory::new();
        let (mut producer, mut consumer) = ends(memory.region());
        producer.push(1, &[b"one"]).unwrap();
        let second = producer.push(2, &[&[2; 100]]).unwrap() - 128;
        assert!(consumer.read_at(0).is_err());
        while consumer.next().unwrap().is_some() {}
        assert_eq!(consumer.read_at(second).unwrap().bytes, [2; 100]);
        assert_eq!(consumer.read_at(128), Err(Corrupt::Record { start: 128 }));
        consumer.confirm(64).unwrap();
        assert_eq!(consumer.read_at(0), Err(Corrupt::OutOfWindow { cursor: 0, confirmed: 64, sent: 192 }));
    }

    #[test]
    fn confirm_takes_record_ends_inside_the_window_only() {
        let mut memory = Memory::new();
        let (mut producer, mut consumer) = ends(memory.region());
        producer.push(1, &[&[1; 100]]).unwrap();
        producer.push(2, &[&[2; 100]]).unwrap();
        assert!(consumer.confirm(128).is_err(), "not read yet");
        while consumer.next().unwrap().is_some() {}
        assert_eq!(consumer.confirm(64), Err(Corrupt::Record { start: 64 }));
        assert!(consumer.confirm(100).is_err());
        assert!(consumer.confirm(320).is_err());
        consumer.confirm(128).unwrap();
        assert!(consumer.confirm(0).is_err(), "confirmed never goes back");
        consumer.confirm(256).unwrap();
    }

    #[test]
    fn foreign_memory_is_refused() {
        let mut memory = Memory::new();
        let region = memory.region();
        assert_eq!(init(region, 1000), Err(LayoutError::BadCapacity { capacity: 1000 }));
        assert!(matches!(init(region, 2048), Err(LayoutError::TooSmall { .. })));
        let inner = region.sub(64, bytes_for(CAPACITY) - 64).unwrap();
        assert!(matches!(cursors(inner), Err(LayoutError::BadMagic { .. })));
        let header = header(region).unwrap();
        header.fixed.0.capacity.store(1 << 20, Ordering::Relaxed);
        assert!(matches!(cursors(region), Err(LayoutError::TooSmall { .. })));
        header.fixed.0.version.store(77, Ordering::Relaxed);
        assert_eq!(cursors(region), Err(LayoutError::BadVersion { found: 77, expected: LAYOUT_VERSION }));
    }

    #[test]
    fn cursors_that_contradict_are_refused_by_both_ends() {
        let mut memory = Memory::new();
        let region = memory.region();
        let (mut producer, mut consumer) = ends(region);
        let header = header(region).unwrap();
        for written in [1, 64 * 1024, u64::MAX, !63] {
            header.written.0.store(written, Ordering::Relaxed);
            assert!(matches!(consumer.next(), Err(Corrupt::Cursors { .. })), "{written}");
            // SAFETY: refused, so there is no second consumer.
            assert!(unsafe { Consumer::attach(region) }.is_err(), "{written}");
        }
        for _ in 0..16 {
            producer.push(1, &[b"fill"]).unwrap();
        }
        for confirmed in [1, 2048, u64::MAX, !63] {
            header.confirmed.0.store(confirmed, Ordering::Relaxed);
            assert!(matches!(producer.push(1, &[b"x"]), Err(PushError::Corrupt(_))), "{confirmed}");
            // SAFETY: refused, so there is no second producer.
            assert!(unsafe { Producer::attach(region) }.is_err(), "{confirmed}");
        }
    }

    #[test]
    fn cursors_that_go_back_are_refused_by_both_ends() {
        let mut memory = Memory::new();
        let region = memory.region();
        let (mut producer, mut consumer) = ends(region);
        for _ in 0..16 {
            producer.push(1, &[b"lap"]).unwrap();
            take(&mut consumer);
        }
        for _ in 0..15 {
            producer.push(1, &[b"lap"]).unwrap();
        }
        let header = header(region).unwrap();
        header.confirmed.0.store(1024 - 64, Ordering::Relaxed);
        assert!(matches!(producer.push(1, &[&[0; 100]]), Err(PushError::Corrupt(_))));
        while consumer.next().unwrap().is_some() {}
        header.written.0.store(1024 + 64, Ordering::Relaxed);
        assert!(matches!(consumer.next(), Err(Corrupt::Cursors { .. })));
    }

    #[test]
    fn leftovers_of_an_earlier_lap_are_not_records() {
        let mut memory = Memory::new();
        let region = memory.region();
        let (mut producer, mut consumer) = ends(region);
        for _ in 0..16 {
            producer.push(1, &[b"old"]).unwrap();
            take(&mut consumer);
        }
        header(region).unwrap().written.0.store(1024 + 64, Ordering::Relaxed);
        assert_eq!(consumer.next(), Err(Corrupt::Record { start: 1024 }));
    }

    #[test]
    fn two_threads_pass_records_over_many_laps() {
        const RECORDS: u32 = if cfg!(miri) { 60 } else { 100_000 };
        let mut memory = Memory::new();
        let (mut producer, mut consumer) = ends(memory.region());
        let len = |kind: u32| kind as usize * 31 % 300;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for kind in 0..RECORDS {
                    while producer.push(kind, &[&[kind as u8; 300][..len(kind)]]).is_err() {
                        std::thread::yield_now();
                    }
                }
            });
            for kind in 0..RECORDS {
                while consumer.is_empty() {
                    std::thread::yield_now();
                }
                assert_eq!(take(&mut consumer), (kind, vec![kind as u8; len(kind)]));
            }
        });
        assert!(consumer.is_empty());
    }
}
