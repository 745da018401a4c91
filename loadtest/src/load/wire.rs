//! As much of AMQP 0-9-1 as a cheap load generator needs: one connection, one channel, on the caller's thread.
//!
//! Frames are read many per system call and parsed where they lie; what is to be sent is collected until
//! [`Wire::flush`]. No recovery of any kind: an answer that was not expected is an error.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use crate::error::{Context, Error, Result};

const CHANNEL: u16 = 1;
const FRAME_END: u8 = 0xce;
const FRAME_MAX: u32 = 131_072;
/// Room for what is read in one go. It grows for larger messages, up to the limit.
const BUFFER: usize = 512 * 1024;
const BUFFER_LIMIT: usize = 64 << 20;
/// Most of a body that one frame can hold.
const BODY_MAX: usize = FRAME_MAX as usize - 8;
/// Longest wait for an answer to a request.
const PATIENCE: Duration = Duration::from_secs(15);

/// Class and method numbers of the specification.
mod method {
    pub(super) const CONNECTION_START: (u16, u16) = (10, 10);
    pub(super) const CONNECTION_START_OK: (u16, u16) = (10, 11);
    pub(super) const CONNECTION_TUNE: (u16, u16) = (10, 30);
    pub(super) const CONNECTION_TUNE_OK: (u16, u16) = (10, 31);
    pub(super) const CONNECTION_OPEN: (u16, u16) = (10, 40);
    pub(super) const CONNECTION_OPEN_OK: (u16, u16) = (10, 41);
    pub(super) const CHANNEL_OPEN: (u16, u16) = (20, 10);
    pub(super) const CHANNEL_OPEN_OK: (u16, u16) = (20, 11);
    pub(super) const QUEUE_DECLARE: (u16, u16) = (50, 10);
    pub(super) const QUEUE_DECLARE_OK: (u16, u16) = (50, 11);
    pub(super) const BASIC_CONSUME: (u16, u16) = (60, 20);
    pub(super) const BASIC_CONSUME_OK: (u16, u16) = (60, 21);
    pub(super) const BASIC_PUBLISH: (u16, u16) = (60, 40);
    pub(super) const BASIC_DELIVER: (u16, u16) = (60, 60);
    pub(super) const BASIC_ACK: (u16, u16) = (60, 80);
    pub(super) const BASIC_NACK: (u16, u16) = (60, 120);
    pub(super) const CONFIRM_SELECT: (u16, u16) = (85, 10);
    pub(super) const CONFIRM_SELECT_OK: (u16, u16) = (85, 11);
}

/// Kinds of frames.
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;

/// What the broker sent.
pub(super) enum Event<'a> {
    /// A message for the consumer of this connection.
    Deliver(Delivery<'a>),
    /// Publisher confirm of this tag, or of all up to it.
    Ack { tag: u64, multiple: bool },
    /// The broker could not take the message.
    Nack,
}

/// A message that came.
pub(super) struct Delivery<'a> {
    pub(super) body: &'a [u8],
    pub(super) reply_to: &'a [u8],
    pub(super) correlation_id: &'a [u8],
}

/// Messages and consumers of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Waiting, without those that a consumer holds unacknowledged.
    pub messages: u64,
    /// Who consumes it.
    pub consumers: u64,
}

/// One connection with one channel.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
    from: usize,
    to: usize,
    output: Vec<u8>,
    reply_to: Vec<u8>,
    correlation_id: Vec<u8>,
    /// A body that came in several frames.
    body: Vec<u8>,
}

impl Wire {
    /// Logs in as `guest` and opens the channel.
    pub(super) fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context(|| "connecting to the broker".into())?;
        stream.set_nodelay(true).context(|| "setting TCP_NODELAY".into())?;
        stream.set_nonblocking(true).context(|| "setting O_NONBLOCK".into())?;
        let (input, output) = (vec![0; BUFFER], b"AMQP\0\0\x09\x01".to_vec());
        let (reply_to, correlation_id, body) = (Vec::new(), Vec::new(), Vec::new());
        let mut wire = Self { stream, input, from: 0, to: 0, output, reply_to, correlation_id, body };
        wire.expect(method::CONNECTION_START)?;
        wire.method(0, method::CONNECTION_START_OK, |out| {
            out.long(0).short_text("PLAIN").long_text(b"\0guest\0guest").short_text("en_US");
        });
        wire.expect(method::CONNECTION_TUNE)?;
        wire.method(0, method::CONNECTION_TUNE_OK, |out| {
            out.short(1).long(FRAME_MAX).short(0);
        });
        wire.method(0, method::CONNECTION_OPEN, |out| {
            out.short_text("/").short_text("").octet(0);
        });
        wire.expect(method::CONNECTION_OPEN_OK)?;
        wire.method(CHANNEL, method::CHANNEL_OPEN, |out| {
            out.short_text("");
        });
        wire.expect(method::CHANNEL_OPEN_OK)?;
        Ok(wire)
    }

    /// How many messages and consumers the queue has.
    pub(super) fn depth(&mut self, queue: &str) -> Result<Depth> {
        const PASSIVE: u8 = 1;
        self.method(CHANNEL, method::QUEUE_DECLARE, |out| {
            out.short(0).short_text(queue).octet(PASSIVE).long(0);
        });
        let mut arguments = self.expect(method::QUEUE_DECLARE_OK)?;
        arguments.short_text();
        Ok(Depth { messages: arguments.long().into(), consumers: arguments.long().into() })
    }

    /// Consumes without acknowledgements.
    pub(super) fn consume(&mut self, queue: &str) -> Result<()> {
        const NO_ACK: u8 = 2;
        self.method(CHANNEL, method::BASIC_CONSUME, |out| {
            out.short(0).short_text(queue).short_text("").octet(NO_ACK).long(0);
        });
        self.expect(method::BASIC_CONSUME_OK).map(drop)
    }

    /// From now on the broker confirms what is published.
    pub(super) fn confirm(&mut self) -> Result<()> {
        self.method(CHANNEL, method::CONFIRM_SELECT, |out| {
            out.octet(0);
        });
        self.expect(method::CONFIRM_SELECT_OK).map(drop)
    }

    /// Puts a transient JSON message into the output.
    pub(super) fn publish(&mut self, exchange: &str, routing_key: &[u8], correlation_id: &[u8], body: &[u8]) {
        const CONTENT_TYPE: u16 = 1 << 15;
        const CORRELATION_ID: u16 = 1 << 10;
        self.method(CHANNEL, method::BASIC_PUBLISH, |out| {
            out.short(0).short_text(exchange).short_bytes(routing_key).octet(0);
        });
        frame(&mut self.output, HEADER, CHANNEL, |out| {
            let more = if correlation_id.is_empty() { 0 } else { CORRELATION_ID };
            out.short(60).short(0).long_long(body.len() as u64).short(CONTENT_TYPE | more);
            out.short_text("application/json");
            if more != 0 {
                out.short_bytes(correlation_id);
            }
        });
        for part in body.chunks(BODY_MAX) {
            frame(&mut self.output, BODY, CHANNEL, |out| {
                out.0.extend_from_slice(part);
            });
        }
    }

    /// Bytes that wait for [`flush`](Self::flush).
    pub(super) fn pending(&self) -> usize {
        self.output.len()
    }

    /// Writes all output. While the broker takes none, what it sends is read, so that neither waits for the other.
    pub(super) fn flush(&mut self) -> Result<()> {
        let mut written = 0;
        while written < self.output.len() {
            match self.stream.write(&self.output[written..]) {
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.poll(PollFlags::POLLOUT, PATIENCE)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::new(format!("writing to the broker: {error}"))),
            }
        }
        self.output.clear();
        Ok(())
    }

    /// The next event among the frames that were read already; `None` when [`fill`](Self::fill) must read more.
    pub(super) fn next(&mut self) -> Result<Option<Event<'_>>> {
        let rewind = self.from;
        while let Some(frame) = self.take_frame()? {
            match (frame.kind, frame.method(&self.input)) {
                (METHOD, Some((method::BASIC_DELIVER, _))) => {
                    let Some((header, body)) = self.take_content()? else {
                        // The rest of the message has not come yet.
                        self.from = rewind;
                        return Ok(None);
                    };
                    return Ok(Some(Event::Deliver(self.delivery(header, body))));
                }
                (METHOD, Some((method::BASIC_ACK, mut arguments))) => {
                    let (tag, multiple) = (arguments.long_long(), arguments.octet() & 1 != 0);
                    return Ok(Some(Event::Ack { tag, multiple }));
                }
                (METHOD, Some((method::BASIC_NACK, _))) => return Ok(Some(Event::Nack)),
                (HEARTBEAT, _) => {}
                (_, what) => {
                    let method = what.map(|(method, _)| method);
                    return Err(Error::new(format!("the broker sent {method:?} (frame type {})", frame.kind)));
                }
            }
        }
        Ok(None)
    }

    /// Reads once what the broker has sent, waiting up to `wait` for it; false when nothing came.
    pub(super) fn fill(&mut self, wait: Duration) -> Result<bool> {
        self.input.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
        if self.to == self.input.len() {
            if self.to >= BUFFER_LIMIT {
                return Err(Error::new("a message is larger than the load generator's buffer"));
            }
            self.input.resize(2 * self.to, 0);
        }
        if let Some(read) = self.read()? {
            return Ok(read);
        }
        if wait.is_zero() || !self.poll(PollFlags::POLLIN, wait)? {
            return Ok(false);
        }
        Ok(self.read()?.unwrap_or(false))
    }

    fn read(&mut self) -> Result<Option<bool>> {
        match self.stream.read(&mut self.input[self.to..]) {
            Ok(0) => Err(Error::new("the broker closed the connection")),
            Ok(bytes) => {
                self.to += bytes;
                Ok(Some(true))
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(Error::new(format!("reading from the broker: {error}"))),
        }
    }

    /// Waits for the socket, to the microsecond.
    fn poll(&self, flags: PollFlags, wait: Duration) -> Result<bool> {
        let mut fds = [PollFd::new(self.stream.as_fd(), flags)];
        let ready = ppoll(&mut fds, Some(TimeSpec::from_duration(wait)), None);
        Ok(ready
            .or_else(|error| if error == nix::Error::EINTR { Ok(0) } else { Err(error) })
            .context(|| "ppoll".into())?
            > 0)
    }

    /// Sends what is pending and waits for this answer, whose arguments it returns.
    fn expect(&mut self, wanted: (u16, u16)) -> Result<Arguments<'_>> {
        self.flush()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(frame) = self.take_frame()? {
                match frame.method(&self.input) {
                    Some((found, arguments)) if found == wanted => {
                        let at = frame.to - arguments.0.len();
                        return Ok(Arguments(&self.input[at..frame.to]));
                    }
                    None if frame.kind == HEARTBEAT => {}
                    other => {
                        let text = other.map(|(method, rest)| (method, String::from_utf8_lossy(rest.0).into_owned()));
                        return Err(Error::new(format!("the broker answered {text:?} instead of {wanted:?}")));
                    }
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.fill(left)? && left.is_zero() {
                return Err(Error::new(format!("the broker did not answer within {PATIENCE:?}")));
            }
        }
    }

    /// The next complete frame of what was read.
    fn take_frame(&mut self) -> Result<Option<Frame>> {
        let bytes = &self.input[self.from..self.to];
        let [kind, _, _, a, b, c, d, ..] = *bytes else { return Ok(None) };
        let size = u32::from_be_bytes([a, b, c, d]) as usize;
        if size > FRAME_MAX as usize {
            return Err(Error::new(format!("a frame of {size} bytes")));
        }
        match bytes.get(7 + size) {
            None => Ok(None),
            Some(&FRAME_END) => {
                let from = self.from + 7;
                self.from = from + size + 1;
                Ok(Some(Frame { kind, from, to: from + size }))
            }
            Some(_) => Err(Error::new("a frame without its end")),
        }
    }

    /// Header and body of a message; `None` when not all of it has come yet.
    fn take_content(&mut self) -> Result<Option<(Frame, Body)>> {
        let Some(header) = self.take_frame()? else { return Ok(None) };
        let mut fields = Arguments(&self.input[header.from..header.to]);
        let (_class, _weight) = (fields.short(), fields.short());
        let size = fields.long_long() as usize;
        if header.kind != HEADER {
            return Err(Error::new(format!("a frame of type {} instead of a message's header", header.kind)));
        }
        let Some(first) = self.take_body()? else { return Ok(None) };
        let mut have = first.to - first.from;
        if have == size {
            return Ok(Some((header, Body::Whole(first))));
        }
        self.body.clear();
        self.body.extend_from_slice(&self.input[first.from..first.to]);
        while have < size {
            let Some(next) = self.take_body()? else { return Ok(None) };
            self.body.extend_from_slice(&self.input[next.from..next.to]);
            have += next.to - next.from;
        }
        Ok(Some((header, Body::Joined)))
    }

    fn take_body(&mut self) -> Result<Option<Frame>> {
        match self.take_frame()? {
            Some(frame) if frame.kind != BODY => Err(Error::new(format!("a frame of type {} in a body", frame.kind))),
            frame => Ok(frame),
        }
    }

    /// Properties and body of a message.
    fn delivery(&mut self, header: Frame, body: Body) -> Delivery<'_> {
        let mut properties = Arguments(&self.input[header.from + 12..header.to]);
        self.reply_to.clear();
        self.correlation_id.clear();
        let flags = properties.short();
        for bit in (9..16).rev().filter(|bit| flags & (1 << bit) != 0) {
            match bit {
                15 | 14 => drop(properties.short_text()),
                13 => drop(properties.long_text()),
                12 | 11 => drop(properties.octet()),
                10 => self.correlation_id.extend_from_slice(properties.short_text()),
                _ => self.reply_to.extend_from_slice(properties.short_text()),
            }
        }
        let body = match body {
            Body::Whole(frame) => &self.input[frame.from..frame.to],
            Body::Joined => &self.body,
        };
        Delivery { body, reply_to: &self.reply_to, correlation_id: &self.correlation_id }
    }

    fn method(&mut self, channel: u16, (class, method): (u16, u16), arguments: impl FnOnce(&mut Writer<'_>)) {
        frame(&mut self.output, METHOD, channel, |out| {
            arguments(out.short(class).short(method));
        });
    }
}

/// Appends one frame.
fn frame(output: &mut Vec<u8>, kind: u8, channel: u16, content: impl FnOnce(&mut Writer<'_>)) {
    let start = output.len();
    Writer(output).octet(kind).short(channel).long(0);
    content(&mut Writer(output));
    let size = u32::try_from(output.len() - start - 7).unwrap_or(u32::MAX);
    output[start + 3..start + 7].copy_from_slice(&size.to_be_bytes());
    output.push(FRAME_END);
}

/// Where a frame's content lies in the input.
#[derive(Clone, Copy)]
struct Frame {
    kind: u8,
    from: usize,
    to: usize,
}

/// Where a message's body lies.
enum Body {
    /// In the input.
    Whole(Frame),
    /// In `Wire::body`.
    Joined,
}

impl Frame {
    /// Class, method and arguments of a method frame.
    fn method(self, input: &[u8]) -> Option<((u16, u16), Arguments<'_>)> {
        let mut content = Arguments(&input[self.from..self.to]);
        (self.kind == METHOD).then(|| ((content.short(), content.short()), content))
    }
}

/// Writes fields in AMQP's byte order.
struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn octet(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    fn short(&mut self, value: u16) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn long(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn long_long(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Names here have far less than the 255 bytes that are possible.
    fn short_bytes(&mut self, text: &[u8]) -> &mut Self {
        let text = &text[..text.len().min(255)];
        self.0.push(text.len() as u8);
        self.0.extend_from_slice(text);
        self
    }

    fn short_text(&mut self, text: &str) -> &mut Self {
        self.short_bytes(text.as_bytes())
    }

    fn long_text(&mut self, text: &[u8]) -> &mut Self {
        self.long(u32::try_from(text.len()).unwrap_or(u32::MAX)).0.extend_from_slice(text);
        self
    }
}

/// Reads fields; what is not there is 0 or empty.
struct Arguments<'a>(&'a [u8]);

impl<'a> Arguments<'a> {
    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(count.min(self.0.len()));
        self.0 = tail;
        head
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.bytes(N).try_into().unwrap_or([0; N])
    }

    fn octet(&mut self) -> u8 {
        u8::from_be_bytes(self.array())
    }

    fn short(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    fn long(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    fn long_long(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    fn short_text(&mut self) -> &'a [u8] {
        let length = self.octet();
        self.bytes(length.into())
    }

    fn long_text(&mut self) -> &'a [u8] {
        let length = self.long();
        self.bytes(length as usize)
    }
}
