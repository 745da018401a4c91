//! SIP requests over UDP from one thread: so many outstanding (closed loop), or at a fixed rate (open loop).
//!
//! Each request carries its number in `X-Seq` and is sent once. In the open loop the moments of sending are fixed
//! beforehand and latency counts from them: a server that stalls pays for every request that it kept waiting, not only
//! for the one that it was working on.

use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use memchr::memmem;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeSpec;

use super::sequence::{Numbers, number};
use crate::error::{Context, Result};

/// Receive buffer: in the open loop answers may come in bursts.
const BUFFER_BYTES: usize = 4 << 20;

/// How requests follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// The next one when an answer came; so many outstanding.
    Closed(u32),
    /// So many per second, whatever is answered.
    Open(u32),
}

/// What to send.
#[derive(Debug, Clone)]
pub struct Load {
    /// SIP port on 127.0.0.1.
    pub port: u16,
    /// Value of the header `X-Case`, by which the script chooses.
    pub case: &'static str,
    /// How requests follow each other.
    pub pace: Pace,
    /// For how long they are sent.
    pub duration: Duration,
    /// After so long without any answer none will come any more.
    pub patience: Duration,
    /// Number of the first one; 0 for a warm-up, else [`FIRST`](super::FIRST).
    pub first: u64,
    /// The answer's header `X-Answer` must be the request's number.
    pub answered_with_number: bool,
}

/// What became of the requests.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Sent.
    pub sent: u64,
    /// Answered with 200 while requests were still being sent.
    pub in_time: u64,
    /// Answered with anything else.
    pub failed: u64,
    /// Answered with 200 and with something that belongs to another request.
    pub wrong: u64,
    /// Not answered.
    pub no_reply: u64,
    /// Answered with 200 and rightly.
    pub good: Numbers,
    /// Sum of the headers `X-Done` of good answers.
    pub done: u64,
    /// From sending, or from the moment at which it should have been sent, to a good answer, in nanoseconds.
    pub latency: Histogram<u64>,
    /// What is in the headers `X-Time`: microseconds inside the function under test, of one call or of several.
    pub inside: Histogram<u64>,
    /// From the first request to the last answer.
    pub took: Duration,
    /// When the last good answer came.
    pub last_good: Instant,
}

/// Sends the load and collects the answers.
pub fn run(load: &Load) -> Result<Tally> {
    // Without it the kernel adds 50 us to each pause. Refused: it stays so.
    let _ = nix::sys::prctl::set_timerslack(1);
    let mut generator = Generator::new(load)?;
    match load.pace {
        Pace::Closed(outstanding) => generator.closed(outstanding)?,
        Pace::Open(per_second) => generator.open(per_second)?,
    }
    let mut tally = generator.tally;
    tally.took = generator.last_answer - generator.began;
    tally.no_reply = generator.outstanding.len() as u64 - generator.free;
    Ok(tally)
}

struct Generator<'a> {
    load: &'a Load,
    socket: UdpSocket,
    began: Instant,
    last_answer: Instant,
    /// When each request without an answer was, or should have been, sent; by number. Answered: `None`.
    outstanding: Vec<Option<Instant>>,
    /// How many of them are answered.
    free: u64,
    text: Vec<u8>,
    datagram: Vec<u8>,
    tally: Tally,
}

impl<'a> Generator<'a> {
    fn new(load: &'a Load) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context(|| "opening a UDP socket".into())?;
        socket.connect((Ipv4Addr::LOCALHOST, load.port)).context(|| "addressing the SIP server".into())?;
        socket.set_nonblocking(true).context(|| "setting O_NONBLOCK".into())?;
        // As large as an ordinary user may have it.
        let _ = setsockopt(&socket, sockopt::RcvBuf, &BUFFER_BYTES);
        let now = Instant::now();
        Ok(Self {
            load,
            socket,
            began: now,
            last_answer: now,
            outstanding: Vec::with_capacity(1 << 18),
            free: 0,
            text: Vec::with_capacity(1024),
            datagram: vec![0; 65_536],
            tally: Tally {
                sent: 0,
                in_time: 0,
                failed: 0,
                wrong: 0,
                no_reply: 0,
                good: Numbers::default(),
                done: 0,
                latency: histogram()?,
                inside: histogram()?,
                took: Duration::ZERO,
                last_good: now,
            },
        })
    }

    /// Keeps `count` requests outstanding. One that gets no answer keeps its place until patience ends.
    fn closed(&mut self, count: u32) -> Result<()> {
        let end = self.began + self.load.duration;
        for _ in 0..count {
            self.send(Instant::now())?;
        }
        loop {
            let answered = self.receive_all()?;
            let now = Instant::now();
            if now < end {
                for _ in 0..answered {
                    self.send(Instant::now())?;
                }
            }
            if now >= end && self.is_over(end, now) {
                return Ok(());
            }
            self.wait(if now < end { end - now } else { self.load.patience })?;
        }
    }

    /// Sends at fixed moments.
    fn open(&mut self, per_second: u32) -> Result<()> {
        let end = self.began + self.load.duration;
        let interval = self.load.duration.div_f64(self.load.duration.as_secs_f64() * f64::from(per_second));
        let mut due = self.began;
        loop {
            while due < end && due <= Instant::now() {
                self.send(due)?;
                due += interval;
            }
            self.receive_all()?;
            let now = Instant::now();
            if due >= end && self.is_over(end, now) {
                return Ok(());
            }
            self.wait(if due < end { due.saturating_duration_since(now) } else { self.load.patience })?;
        }
    }

    /// Nothing more will come: all are answered, or patience has ended.
    fn is_over(&self, end: Instant, now: Instant) -> bool {
        self.free == self.outstanding.len() as u64 || now >= self.last_answer.max(end) + self.load.patience
    }

    /// Sends the next request; its latency counts from `since`.
    fn send(&mut self, since: Instant) -> Result<()> {
        let index = self.outstanding.len() as u64;
        let seq = self.load.first + index;
        let (port, case) = (self.load.port, self.load.case);
        self.text.clear();
        write!(
            self.text,
            "OPTIONS sip:load@127.0.0.1:{port} SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK{seq};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:load@rig.test>;tag={seq}\r\n\
             To: <sip:load@rig.test>\r\n\
             Call-ID: {seq}@rig.test\r\n\
             CSeq: 1 OPTIONS\r\n\
             X-Case: {case}\r\n\
             X-Seq: {seq}\r\n\
             Content-Length: 0\r\n\r\n"
        )
        .context(|| "writing a request".into())?;
        self.outstanding.push(Some(since));
        self.tally.sent += 1;
        match self.socket.send(&self.text) {
            // A server that died, or a full socket buffer: it shows as a request without an answer.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::WouldBlock) => Ok(()),
            sent => sent.map(drop).context(|| "sending a request".into()),
        }
    }

    /// Takes every answer that is there; how many requests were answered by them.
    fn receive_all(&mut self) -> Result<u32> {
        let mut answered = 0;
        loop {
            match self.socket.recv(&mut self.datagram) {
                Ok(length) => answered += u32::from(self.take(length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(answered),
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error).context(|| "receiving an answer".into()),
            }
        }
    }

    /// Counts the answer in the first `length` bytes of the datagram; false when it answers nothing that was asked.
    fn take(&mut self, length: usize) -> bool {
        let answer = Answer(&self.datagram[..length]);
        let Some(seq) = answer.number("Call-ID: ") else { return false };
        let place = seq.checked_sub(self.load.first).and_then(|index| self.outstanding.get_mut(index as usize));
        let Some(since) = place.and_then(Option::take) else { return false };
        let now = Instant::now();
        self.free += 1;
        self.last_answer = now;
        let tally = &mut self.tally;
        if answer.code() != 200 {
            tally.failed += 1;
        } else if self.load.answered_with_number && answer.number("X-Answer: ") != Some(seq) {
            tally.wrong += 1;
        } else {
            tally.good.add(seq);
            tally.done += answer.number("X-Done: ").unwrap_or_default();
            tally.last_good = now;
            tally.in_time += u64::from(now < self.began + self.load.duration);
            tally.latency.saturating_record((now - since).as_nanos() as u64);
            answer.numbers("X-Time: ").for_each(|us| tally.inside.saturating_record(us));
        }
        true
    }

    fn wait(&self, wait: Duration) -> Result<()> {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut fds, Some(TimeSpec::from_duration(wait)), None) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(error) => Err(error).context(|| "ppoll".into()),
        }
    }
}

/// Up to a minute in nanoseconds, to three digits.
pub fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).context(|| "making a histogram".into())
}

/// A SIP response.
struct Answer<'a>(&'a [u8]);

impl Answer<'_> {
    fn code(&self) -> u64 {
        self.0.strip_prefix(b"SIP/2.0 ").and_then(number).unwrap_or_default()
    }

    /// The number at the beginning of the header that is written as `name`.
    fn number(&self, name: &str) -> Option<u64> {
        self.numbers(name).next()
    }

    /// The numbers with which that header begins, a space between them.
    fn numbers(&self, name: &str) -> impl Iterator<Item = u64> {
        let at = memmem::find(self.0, name.as_bytes()).map_or(self.0.len(), |at| at + name.len());
        let line = self.0[at..].split(|byte| *byte == b'\r').next().unwrap_or_default();
        line.split(|byte| *byte == b' ').map_while(number)
    }
}
