//! One block of shared memory, laid out once before the fork: who owns which ring and which words.
//!
//! Made by the main process ([`Shared::create`], in `child_init(PROC_INIT)` when the number of processes is known)
//! and inherited by every child together with the eventfds. The processes then take their ends from it: each
//! `worker`, `inlet` and `manager` call hands out the one producer or consumer of its rings, which is why this file
//! is the only one of the bus with `unsafe`.
//!
//! The words that this file reads and writes itself are numbers that stand alone, all Relaxed: nobody concludes from
//! one of them that something else was written. Orderings are the business of `shm`, whose tables name every edge.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use shm::{Bell, Consumer, Producer, Region, Words, ring};

use super::counters::{COLUMNS, Counter, Row};
use super::registry::Registry;
use super::status::Board;
use super::suspended::Suspensions;

/// Layout of this build; a block written by another one is refused.
const MAGIC: u64 = 0x6b7a_6275_735f_0002;
/// Bytes of an outbox whose pages a process gets when it takes its ends: all of one of the default size.
const POPULATED: usize = 256 * 1024;

/// Words that belong to nobody in particular.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Global {
    /// [`MAGIC`].
    Magic,
    /// Random number of this start of the server; part of every `message_id`.
    Boot,
    /// Counts manager processes.
    Generation,
    /// Monotonic time of the manager's last turn, for the supervisor.
    Heartbeat,
    /// Source of channel epochs; survives the manager.
    Epoch,
    /// [`Flow`] of the primary zone.
    Flow,
    /// Bytes of the host's shared memory that large messages take.
    BlockBytes,
    /// Count.
    Len,
}

/// Words of one process.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Own {
    /// Number of the last message of this process.
    Sequence,
    /// Sequence number of the query that the process waits for; 0: none.
    Waiting,
    /// What the broker had confirmed of this process's commands when the present manager started.
    Inherited,
    /// Of a consumer process: how long an event lately takes, in nanoseconds.
    EventNs,
    /// Count.
    Len,
}

/// What a worker may expect from the primary zone. Written by the manager, read by workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// No broker is connected.
    Down,
    /// Connected, and confirms move (or nothing is under way).
    Moving,
    /// Connected, but messages are under way and no confirm came for the stall timeout.
    Still,
}

impl std::fmt::Display for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Down => "no broker is connected",
            Self::Moving => "the broker confirms too slowly",
            Self::Still => "the broker confirms nothing",
        })
    }
}

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Process slots of the server, the main process included.
    pub processes: usize,
    /// Consumer processes.
    pub consumers: usize,
    /// Bytes of each command ring; all ring sizes are powers of two of at least 1 KiB.
    pub command: u32,
    /// Bytes of each reply ring.
    pub reply: u32,
    /// Bytes of each delivery ring.
    pub delivery: u32,
    /// Bytes of each ack ring.
    pub ack: u32,
    /// Bytes for the subscriptions.
    pub registry: u32,
    /// Brokers.
    pub brokers: usize,
    /// Asynchronous queries that can be under way; 0 when none is possible.
    pub suspended: usize,
    /// Largest message in either direction, bytes.
    pub max_message: usize,
}

/// Why the block cannot be made or attached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A ring or word area does not fit or is damaged.
    #[error(transparent)]
    Shm(#[from] shm::LayoutError),
    /// No eventfd could be made.
    #[error("eventfd: {0}; raise the limit of open files")]
    Eventfd(#[from] nix::Error),
    /// A process number beyond the slots known at start.
    #[error("process number {process_no}, the server was laid out for {processes}")]
    NoSuchProcess {
        /// The number asked for.
        process_no: usize,
        /// Slots there are.
        processes: usize,
    },
    /// Not a block of this build.
    #[error("shared memory block has magic {found:#x}, this build writes {MAGIC:#x}")]
    BadMagic {
        /// What is there.
        found: u64,
    },
}

/// Where everything lies: offsets into the block, all multiples of 64.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    sizes: Sizes,
    rows: usize,
    own: usize,
    registry: usize,
    suspended: usize,
    board: usize,
    bells: usize,
    commands: usize,
    replies: usize,
    deliveries: usize,
    acks: usize,
    end: usize,
}

impl Layout {
    /// Computes the offsets for `sizes`.
    pub fn new(sizes: Sizes) -> Self {
        let mut end = 0;
        let mut area = |bytes: usize| {
            let at = end;
            end += bytes;
            at
        };
        let ring_area = |capacity: u32, count: usize| ring_bytes(capacity) * count;
        area(Words::bytes_for(Global::Len as usize + sizes.consumers));
        let rows = area(Words::bytes_for(COLUMNS * (sizes.processes + 1)));
        let own = area(Words::bytes_for(Own::Len as usize) * sizes.processes);
        let registry = area(Words::bytes_for(Registry::words(sizes.registry)));
        let suspended = area(Words::bytes_for(Suspensions::words(sizes.suspended)));
        let board = area(Words::bytes_for(Board::words(sizes.brokers)));
        let bells = area(Bell::BYTES * (sizes.processes + 1));
        let commands = area(ring_area(sizes.command, sizes.processes));
        let replies = area(ring_area(sizes.reply, sizes.processes));
        let deliveries = area(ring_area(sizes.delivery, sizes.consumers));
        let acks = area(ring_area(sizes.ack, sizes.consumers));
        Self { sizes, rows, own, registry, suspended, board, bells, commands, replies, deliveries, acks, end }
    }

    /// Bytes of the whole block.
    pub fn bytes(&self) -> usize {
        self.end
    }

    /// The sizes it was made for.
    pub fn sizes(&self) -> &Sizes {
        &self.sizes
    }
}

/// Region bytes of a ring, rounded to whole cache lines.
fn ring_bytes(capacity: u32) -> usize {
    ring::bytes_for(capacity as usize).next_multiple_of(64)
}

/// The host's allocator of shared memory, for messages larger than a ring. Workers only: it takes the host's lock.
#[derive(Clone, Copy, Debug)]
pub struct Heap {
    /// Allocates `len` bytes, aligned to 8; `None` if there is no room.
    pub alloc: fn(usize) -> Option<NonNull<u8>>,
    /// Gives back what `alloc` returned, once.
    pub free: fn(NonNull<u8>),
    /// The span in which every allocation lies. The same addresses in every process.
    pub span: Region,
}

/// The block as one process sees it. Made before the fork, shared by reference afterwards.
#[derive(Debug)]
pub struct Shared {
    region: Region,
    layout: Layout,
    global: Words,
    heap: Heap,
    eventfds: Vec<OwnedFd>,
}

impl Shared {
    /// Lays out `region` (zeroed memory of at least [`Layout::bytes`], aligned to 64) and makes the eventfds.
    ///
    /// Runs once in the main process, before the fork. `boot` is a random number of this start.
    ///
    /// # Safety
    ///
    /// The region and the heap's span stay mapped, at the same addresses, in this process and all its children,
    /// and the region is used by the result and its ends only.
    pub unsafe fn create(region: Region, layout: Layout, heap: Heap, boot: u64) -> Result<Self, LayoutError> {
        // SAFETY: the caller's contract; the area is used as words only.
        let global = unsafe { Words::attach(region, Global::Len as usize + layout.sizes.consumers)? };
        let eventfds = (0..=layout.sizes.processes).map(|_| shm::new_eventfd()).collect::<Result<_, _>>()?;
        let shared = Self { region, layout, global, heap, eventfds };
        shared.init_rings()?;
        shared.word(Global::Boot).store(boot, Relaxed);
        shared.word(Global::Magic).store(MAGIC, Relaxed); // before the fork, which orders it
        Ok(shared)
    }

    fn init_rings(&self) -> Result<(), LayoutError> {
        let Sizes { processes, consumers, command, reply, delivery, ack, .. } = self.layout.sizes;
        for i in 0..=processes {
            Bell::init(self.bell_region(i)?)?;
        }
        for i in 0..processes {
            ring::init(self.ring_region(self.layout.commands, command, i)?, command)?;
            ring::init(self.ring_region(self.layout.replies, reply, i)?, reply)?;
        }
        for i in 0..consumers {
            ring::init(self.ring_region(self.layout.deliveries, delivery, i)?, delivery)?;
            ring::init(self.ring_region(self.layout.acks, ack, i)?, ack)?;
        }
        Ok(())
    }

    /// Sizes of this block.
    pub fn sizes(&self) -> &Sizes {
        &self.layout.sizes
    }

    /// Random number of this start of the server.
    pub fn boot(&self) -> u64 {
        self.word(Global::Boot).load(Relaxed)
    }

    /// What workers may expect from the primary zone.
    pub fn flow(&self) -> Flow {
        match self.word(Global::Flow).load(Relaxed) {
            1 => Flow::Moving,
            2 => Flow::Still,
            _ => Flow::Down,
        }
    }

    /// Tells workers what to expect. Manager and supervisor only.
    pub fn set_flow(&self, flow: Flow) {
        self.word(Global::Flow).store(flow as u64, Relaxed);
    }

    /// Counts a new manager process. Manager only, once at its start.
    pub fn next_generation(&self) -> u64 {
        self.word(Global::Generation).fetch_add(1, Relaxed) + 1
    }

    /// A number no channel had before, over all manager processes.
    pub fn next_epoch(&self) -> u64 {
        self.word(Global::Epoch).fetch_add(1, Relaxed) + 1
    }

    /// When the manager last began a turn, [`super::clock::now_ns`].
    pub fn heartbeat(&self) -> u64 {
        self.word(Global::Heartbeat).load(Relaxed)
    }

    /// Notes that the manager is alive.
    pub fn beat(&self, now_ns: u64) {
        self.word(Global::Heartbeat).store(now_ns, Relaxed);
    }

    /// Has the manager make a turn, whatever it waits for. Supervisor and the manager's panic hook only.
    pub fn alarm_manager(&self) {
        // Its region was found good when the block was made.
        if let Ok(bell) = self.manager_bell() {
            bell.alarm();
        }
    }

    /// The process number of consumer `index`; `None` until it has started.
    pub fn consumer_process(&self, index: usize) -> Option<usize> {
        let stored = self.global.get(Global::Len as usize + index).load(Relaxed);
        usize::try_from(stored).ok()?.checked_sub(1)
    }

    /// Sum of a counter over all processes.
    pub fn total(&self, counter: Counter) -> u64 {
        (0..=self.layout.sizes.processes).filter_map(|row| self.row(row).ok()).map(|row| row.get(counter)).sum()
    }

    /// The counters of one process. The caller is that process, or only reads.
    pub fn process_row(&self, process_no: usize) -> Result<Row, LayoutError> {
        self.check_process(process_no)?;
        self.row(process_no)
    }

    /// The counters of the manager.
    pub fn manager_row(&self) -> Result<Row, LayoutError> {
        self.row(self.layout.sizes.processes)
    }

    fn row(&self, row: usize) -> Result<Row, LayoutError> {
        let count = COLUMNS * (self.layout.sizes.processes + 1);
        let region = self.region.sub(self.layout.rows, Words::bytes_for(count))?;
        // SAFETY: mapped by the contract of `create`; this area is used as words only.
        let words = unsafe { Words::attach(region, count)? };
        Ok(Row::new(words, row))
    }

    /// The subscriptions.
    pub fn registry(&self) -> Result<Registry, LayoutError> {
        let count = Registry::words(self.layout.sizes.registry);
        let region = self.region.sub(self.layout.registry, Words::bytes_for(count))?;
        // SAFETY: as for the counters.
        Ok(Registry::new(unsafe { Words::attach(region, count)? }))
    }

    /// The transactions that wait for an asynchronous query.
    pub fn suspensions(&self) -> Result<Suspensions, LayoutError> {
        let count = Suspensions::words(self.layout.sizes.suspended);
        let region = self.region.sub(self.layout.suspended, Words::bytes_for(count))?;
        // SAFETY: as for the counters.
        Ok(Suspensions::new(unsafe { Words::attach(region, count)? }))
    }

    /// How brokers and subscriptions stand.
    pub fn board(&self) -> Result<Board, LayoutError> {
        let count = Board::words(self.layout.sizes.brokers);
        let region = self.region.sub(self.layout.board, Words::bytes_for(count))?;
        // SAFETY: as for the counters.
        Ok(Board::new(unsafe { Words::attach(region, count)? }))
    }

    /// The wake-up of one process.
    pub fn process_bell(&self, process_no: usize) -> Result<Bell, LayoutError> {
        self.check_process(process_no)?;
        self.bell(process_no)
    }

    /// The wake-up of the manager.
    pub fn manager_bell(&self) -> Result<Bell, LayoutError> {
        self.bell(self.layout.sizes.processes)
    }

    fn bell(&self, index: usize) -> Result<Bell, LayoutError> {
        let fd = self.eventfds[index].as_raw_fd();
        // SAFETY: initialised by `create`; the eventfd lives as long as `self`, which is never dropped in a server.
        Ok(unsafe { Bell::attach(self.bell_region(index)?, fd)? })
    }

    /// Fill level of every ring that a process has used.
    pub fn levels(&self) -> Vec<Level> {
        let Sizes { processes, consumers, command, reply, delivery, ack, .. } = self.layout.sizes;
        let areas = [
            ("command", self.layout.commands, command, processes),
            ("reply", self.layout.replies, reply, processes),
            ("delivery", self.layout.deliveries, delivery, consumers),
            ("ack", self.layout.acks, ack, consumers),
        ];
        let mut levels = Vec::new();
        for (ring, area, capacity, count) in areas {
            for index in 0..count {
                let cursors = self.ring_region(area, capacity, index).and_then(|r| Ok(ring::cursors(r)?));
                let Some(cursors) = cursors.ok().filter(|c| c.written > 0) else { continue };
                let process_no = if count == processes { index } else { self.consumer_process(index).unwrap_or(0) };
                let used = cursors.written.saturating_sub(cursors.confirmed);
                levels.push(Level { process_no, ring, used, peak: cursors.peak, size: u64::from(capacity) });
            }
        }
        levels
    }

    /// Every eventfd, for a process that closes all other descriptors.
    pub fn eventfds(&self) -> Vec<RawFd> {
        self.eventfds.iter().map(AsRawFd::as_raw_fd).collect()
    }

    /// The eventfd of the manager's wake-up, for a runtime that waits for it among other things.
    pub fn manager_eventfd(&self) -> BorrowedFd<'_> {
        self.eventfds[self.layout.sizes.processes].as_fd()
    }

    /// The words of one process.
    pub(super) fn own(&self, process_no: usize) -> Result<OwnWords, LayoutError> {
        self.check_process(process_no)?;
        let bytes = Words::bytes_for(Own::Len as usize);
        let region = self.region.sub(self.layout.own + bytes * process_no, bytes)?;
        // SAFETY: as for the counters.
        Ok(OwnWords(unsafe { Words::attach(region, Own::Len as usize)? }))
    }

    /// The worker's ends of the command and reply ring of `process_no`. Only that process may call this, once.
    pub(super) fn worker_rings(&self, process_no: usize) -> Result<(Producer, Consumer), LayoutError> {
        self.check_process(process_no)?;
        let Sizes { command, reply, .. } = self.layout.sizes;
        let commands = self.ring_region(self.layout.commands, command, process_no)?;
        commands.populate(POPULATED);
        // SAFETY: initialised by `create`. A process number has one process, which takes its ends once.
        let commands = unsafe { Producer::attach(commands)? };
        // SAFETY: as above.
        let replies = unsafe { Consumer::attach(self.ring_region(self.layout.replies, reply, process_no)?)? };
        Ok((commands, replies))
    }

    /// The consumer's ends of the rings of consumer `index`, and notes that `process_no` is that consumer.
    pub(super) fn inlet_rings(&self, index: usize, process_no: usize) -> Result<(Consumer, Producer), LayoutError> {
        self.check_process(process_no)?;
        let Sizes { delivery, ack, .. } = self.layout.sizes;
        // SAFETY: initialised by `create`; each consumer process has its own index and takes its ends once.
        let deliveries = unsafe { Consumer::attach(self.ring_region(self.layout.deliveries, delivery, index)?)? };
        // SAFETY: as above.
        let acks = unsafe { Producer::attach(self.ring_region(self.layout.acks, ack, index)?)? };
        self.global.get(Global::Len as usize + index).store(process_no as u64 + 1, Relaxed);
        Ok((deliveries, acks))
    }

    /// How far a manager has sent the commands of process `process_no`.
    pub(super) fn commands_sent(&self, process_no: usize) -> Result<u64, LayoutError> {
        let region = self.ring_region(self.layout.commands, self.layout.sizes.command, process_no)?;
        Ok(ring::cursors(region)?.sent)
    }

    /// The manager's ends of the rings of process `process_no`. One manager runs at a time.
    pub(super) fn manager_worker_rings(&self, process_no: usize) -> Result<(Consumer, Producer), LayoutError> {
        let Sizes { command, reply, .. } = self.layout.sizes;
        // SAFETY: initialised by `create`; the supervisor starts a manager after it has reaped the one before.
        let commands = unsafe { Consumer::attach(self.ring_region(self.layout.commands, command, process_no)?)? };
        // SAFETY: as above.
        let replies = unsafe { Producer::attach(self.ring_region(self.layout.replies, reply, process_no)?)? };
        Ok((commands, replies))
    }

    /// The manager's ends of the rings of consumer `index`. One manager runs at a time.
    pub(super) fn manager_consumer_rings(&self, index: usize) -> Result<(Producer, Consumer), LayoutError> {
        let Sizes { delivery, ack, .. } = self.layout.sizes;
        // SAFETY: as in `manager_worker_rings`.
        let deliveries = unsafe { Producer::attach(self.ring_region(self.layout.deliveries, delivery, index)?)? };
        // SAFETY: as above.
        let acks = unsafe { Consumer::attach(self.ring_region(self.layout.acks, ack, index)?)? };
        Ok((deliveries, acks))
    }

    fn ring_region(&self, area: usize, capacity: u32, index: usize) -> Result<Region, LayoutError> {
        Ok(self.region.sub(area + ring_bytes(capacity) * index, ring_bytes(capacity))?)
    }

    fn bell_region(&self, index: usize) -> Result<Region, LayoutError> {
        Ok(self.region.sub(self.layout.bells + Bell::BYTES * index, Bell::BYTES)?)
    }

    fn check_process(&self, process_no: usize) -> Result<(), LayoutError> {
        let found = self.word(Global::Magic).load(Relaxed);
        if found != MAGIC && found != 0 {
            return Err(LayoutError::BadMagic { found });
        }
        let processes = self.layout.sizes.processes;
        if process_no >= processes { Err(LayoutError::NoSuchProcess { process_no, processes }) } else { Ok(()) }
    }

    fn word(&self, word: Global) -> &AtomicU64 {
        self.global.get(word as usize)
    }

    /// Most bytes that large messages may take together: half of the host's shared memory. The rest of the server lives
    /// on the other half, however long a broker is away.
    pub fn max_block_bytes(&self) -> usize {
        self.heap.span.len() / 2
    }

    /// Copies `text` into a new block; `None` when there is no room for it.
    pub(super) fn new_block(&self, text: &[u8]) -> Option<Block> {
        let taken = self.word(Global::BlockBytes);
        let max = self.max_block_bytes() as u64;
        let claim = |now: u64| now.checked_add(text.len() as u64).filter(|sum| *sum <= max);
        taken.fetch_update(Relaxed, Relaxed, claim).ok()?;
        let block = self.fill_block(text);
        if block.is_none() {
            taken.fetch_sub(text.len() as u64, Relaxed);
        }
        block
    }

    fn fill_block(&self, text: &[u8]) -> Option<Block> {
        let at = (self.heap.alloc)(BLOCK_HEADER + text.len())?;
        let offset = at.addr().get().checked_sub(self.heap.span.base().addr().get());
        let Some(offset) = offset.filter(|o| self.in_span(*o, text.len())) else {
            (self.heap.free)(at);
            return None;
        };
        // SAFETY: `alloc` gave at least header plus text, aligned to 8, and nobody else knows the block yet.
        unsafe {
            at.cast::<[u64; 2]>().write([BLOCK_MAGIC, text.len() as u64]);
            at.add(BLOCK_HEADER).copy_from_nonoverlapping(NonNull::from(text).cast(), text.len());
        }
        Some(Block { at, offset: offset as u64, len: text.len() as u64 })
    }

    /// Frees a block. Only the worker that made it, after its record was confirmed or refused.
    pub(super) fn free_block(&self, block: Block) {
        // SAFETY: the block is ours until `free`. The mark makes a stale reference fail its check.
        unsafe { block.at.cast::<u64>().write(0) };
        (self.heap.free)(block.at);
        self.word(Global::BlockBytes).fetch_sub(block.len, Relaxed);
    }

    /// The text of the block at `offset`; `None` if there is no block of that length.
    pub fn block(&self, offset: u64, len: u64) -> Option<&[u8]> {
        let (offset, size) = (usize::try_from(offset).ok()?, usize::try_from(len).ok()?);
        if !offset.is_multiple_of(8) || !self.in_span(offset, size) {
            return None;
        }
        // SAFETY: inside the heap's span by the check, which is mapped by the contract of `create`.
        let at = unsafe { self.heap.span.base().add(offset) };
        // SAFETY: as above; aligned to 8 by the check.
        if unsafe { at.cast::<[u64; 2]>().read() } != [BLOCK_MAGIC, len] {
            return None;
        }
        // SAFETY: written by the worker before the record was committed, and not freed before it is confirmed.
        Some(unsafe { NonNull::slice_from_raw_parts(at.add(BLOCK_HEADER), size).as_ref() })
    }

    fn in_span(&self, offset: usize, len: usize) -> bool {
        offset
            .checked_add(BLOCK_HEADER)
            .and_then(|end| end.checked_add(len))
            .is_some_and(|end| end <= self.heap.span.len())
    }
}

/// First word of a live block.
const BLOCK_MAGIC: u64 = 0x6b7a_626c_6f63_6b21;

/// Bytes before the text of a block: magic and length.
const BLOCK_HEADER: usize = 16;

/// A message in the host's shared memory; belongs to the worker that made it.
#[derive(Debug)]
pub struct Block {
    at: NonNull<u8>,
    /// Offset in the heap's span.
    pub(super) offset: u64,
    len: u64,
}

// SAFETY: an address in memory that every process and thread shares; its owner is whoever holds the value.
unsafe impl Send for Block {}

/// Fill level of one ring.
#[derive(Clone, Copy, Debug)]
pub struct Level {
    /// Process that runs script at the other end from the manager.
    pub process_no: usize,
    /// `command`, `reply`, `delivery` or `ack`.
    pub ring: &'static str,
    /// Bytes in the ring.
    pub used: u64,
    /// Most bytes that were in it, [`ring::Cursors::peak`].
    pub peak: u64,
    /// Bytes it can hold.
    pub size: u64,
}

/// The words of one process.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnWords(Words);

impl OwnWords {
    /// Takes the next message number. The owning process only.
    pub(super) fn next_sequence(&self) -> u64 {
        let word = self.0.get(Own::Sequence as usize);
        let next = word.load(Relaxed) + 1;
        word.store(next, Relaxed);
        next
    }

    /// Says which query the process waits for; 0: none. Before its command is pushed: so whoever reads the command sees
    /// this number, or a later one.
    pub(super) fn set_waiting(&self, sequence: u64) {
        self.0.get(Own::Waiting as usize).store(sequence, Relaxed);
    }

    /// Notes what was confirmed before the present manager. Manager only, at its start.
    pub(super) fn set_inherited(&self, confirmed: u64) {
        self.0.get(Own::Inherited as usize).store(confirmed, Relaxed);
    }

    /// End of what only a manager that is gone has seen confirmed.
    pub(super) fn inherited(&self) -> u64 {
        self.0.get(Own::Inherited as usize).load(Relaxed)
    }

    /// Says how long an event lately takes here. The owning consumer process only.
    pub(super) fn set_event_ns(&self, event_ns: u64) {
        self.0.get(Own::EventNs as usize).store(event_ns, Relaxed);
    }

    /// How long an event lately takes in this consumer process, in nanoseconds; 0 before the first ones.
    pub(super) fn event_ns(&self) -> u64 {
        self.0.get(Own::EventNs as usize).load(Relaxed)
    }

    /// The query that the process waits for; 0: none.
    pub(super) fn waiting(&self) -> u64 {
        self.0.get(Own::Waiting as usize).load(Relaxed)
    }
}
