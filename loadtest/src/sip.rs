//! A small SIP client over UDP for single requests: what did the script answer to exactly this? And for many at a time
//! whose answers are collected: how often was each of them answered?

use std::fmt::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Context, Error, Result};

/// Longest wait for a final answer unless told otherwise; longer than any wait of the module's own.
const PATIENCE: Duration = Duration::from_secs(8);

/// A user agent on a UDP port of its own.
#[derive(Debug)]
pub struct SipClient {
    socket: UdpSocket,
    server: u16,
}

/// A request to be built up and sent; nothing is sent twice, retransmissions are a matter for sipp.
#[derive(Debug)]
pub struct Request<'a> {
    client: &'a SipClient,
    method: String,
    user: String,
    domain: String,
    headers: String,
    body: Vec<u8>,
    timeout: Duration,
}

/// A request that was sent; its answers come out of [`SipClient::next_answer`].
#[derive(Debug, Clone)]
pub struct Posted {
    /// Names it in its answers.
    pub call_id: String,
    text: Vec<u8>,
    cancel: Vec<u8>,
}

/// An answer, usually a final one.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code, e.g. 200.
    pub code: u16,
    /// Reason phrase.
    pub reason: String,
    /// Headers in order, names as sent.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// From sending the request, or from asking for the next answer, to this one.
    pub took: Duration,
}

impl Response {
    /// The first header of that name (any case), or an empty text.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}

impl SipClient {
    /// A client of the server that listens on this UDP port of 127.0.0.1.
    pub fn new(server: u16) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context(|| "opening a UDP socket".into())?;
        socket.connect((Ipv4Addr::LOCALHOST, server)).context(|| "addressing the SIP server".into())?;
        Ok(Self { socket, server })
    }

    /// A request of this method to `sip:test@127.0.0.1`.
    pub fn request(&self, method: &str) -> Request<'_> {
        Request {
            client: self,
            method: method.into(),
            user: "test".into(),
            domain: "rig.test".into(),
            headers: String::new(),
            body: Vec::new(),
            timeout: PATIENCE,
        }
    }

    /// The next answer to any request that was posted, provisional ones included; `None` when none comes within `wait`.
    pub fn next_answer(&self, wait: Duration) -> Result<Option<Response>> {
        let began = Instant::now();
        loop {
            let left = wait.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            if let Some(answer) = self.receive(left)?.and_then(|datagram| parse(&datagram, began.elapsed())) {
                return Ok(Some(answer));
            }
        }
    }

    /// Sends a posted request once more, as a client does that has not heard of it.
    pub fn retransmit(&self, posted: &Posted) -> Result<()> {
        self.socket.send(&posted.text).context(|| "sending a request again".into()).map(drop)
    }

    /// Cancels a posted INVITE.
    pub fn cancel(&self, posted: &Posted) -> Result<()> {
        self.socket.send(&posted.cancel).context(|| "sending a CANCEL".into()).map(drop)
    }

    /// Sends an `OPTIONS` with one header, the usual way to choose a branch of a test script.
    pub fn options(&self, header: &str, value: &str) -> Result<Response> {
        self.request("OPTIONS").header(header, value).send()
    }
}

impl Request<'_> {
    /// User part of request URI, From and To.
    pub fn user(mut self, user: &str) -> Self {
        self.user = user.into();
        self
    }

    /// Domain of From and To, instead of `rig.test`.
    pub fn domain(mut self, domain: &str) -> Self {
        self.domain = domain.into();
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        // Writing to a String cannot fail.
        let _ = write!(self.headers, "{name}: {value}\r\n");
        self
    }

    /// Sets the body, any bytes; UDP carries at most about 65 000.
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("Content-Type", content_type)
    }

    /// Waits that long for the final answer instead of 8 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends it once and waits for the final answer; provisional ones are passed over.
    pub fn send(self) -> Result<Response> {
        let call_id = self.call_id();
        let began = Instant::now();
        self.client.socket.send(&self.text(&self.method, &call_id)?).context(|| format!("sending {}", self.method))?;
        loop {
            let left = self.timeout.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(Error::new(format!("no answer to {} within {:?}", self.method, self.timeout)));
            }
            let Some(answer) = self.client.receive(left)? else { continue };
            let response = parse(&answer, began.elapsed());
            match response {
                Some(response) if response.code >= 200 && response.header("Call-ID") == call_id => return Ok(response),
                // An answer to an earlier request that was given up, or a provisional one.
                _ => {}
            }
        }
    }

    /// Sends it once and does not wait for answers.
    pub fn post(self) -> Result<Posted> {
        let call_id = self.call_id();
        let text = self.text(&self.method, &call_id)?;
        self.client.socket.send(&text).context(|| format!("sending {}", self.method))?;
        let bare = Self { headers: String::new(), body: Vec::new(), ..self };
        let cancel = bare.text("CANCEL", &call_id)?;
        Ok(Posted { call_id, text, cancel })
    }

    fn call_id(&self) -> String {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        format!("rig-{}-{}@127.0.0.1", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
    }

    fn text(&self, method: &str, call_id: &str) -> Result<Vec<u8>> {
        let own = self.client.socket.local_addr().context(|| "asking for the own port".into())?;
        let (user, domain, headers, server) = (&self.user, &self.domain, &self.headers, self.client.server);
        let mut text = format!(
            "{method} sip:{user}@127.0.0.1:{server} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {own};branch=z9hG4bK-{call_id};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:{user}@{domain}>;tag=from-{call_id}\r\n\
             To: <sip:{user}@{domain}>\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: 1 {method}\r\n\
             Contact: <sip:{user}@{own}>\r\n\
             {headers}Content-Length: {}\r\n\r\n",
            self.body.len()
        )
        .into_bytes();
        text.extend_from_slice(&self.body);
        Ok(text)
    }
}

impl SipClient {
    /// One datagram; `None` when none came within `wait`.
    fn receive(&self, wait: Duration) -> Result<Option<Vec<u8>>> {
        use std::io::ErrorKind::{ConnectionRefused, Interrupted, TimedOut, WouldBlock};
        self.socket.set_read_timeout(Some(wait)).context(|| "setting a timeout".into())?;
        let mut buffer = vec![0; 65_536];
        match self.socket.recv(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                Ok(Some(buffer))
            }
            Err(error) if matches!(error.kind(), WouldBlock | TimedOut | Interrupted) => Ok(None),
            Err(error) if error.kind() == ConnectionRefused => Err(Error::new("nobody listens on the SIP port")),
            Err(error) => Err(Error::new(format!("receiving: {error}"))),
        }
    }
}

/// A response; `None` for anything else.
fn parse(datagram: &[u8], took: Duration) -> Option<Response> {
    let split = datagram.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&datagram[..split]).into_owned();
    let mut lines = head.split("\r\n");
    let (code, reason) = lines.next()?.strip_prefix("SIP/2.0 ")?.split_once(' ')?;
    let header = |line: &str| line.split_once(':').map(|(name, value)| (name.to_string(), value.trim().to_string()));
    Some(Response {
        code: code.parse().ok()?,
        reason: reason.to_string(),
        headers: lines.filter_map(header).collect(),
        body: datagram[split + 4..].to_vec(),
        took,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_response_is_taken_apart() {
        let text = b"SIP/2.0 486 Busy Here\r\nX-Ret: -1\r\nCall-ID:  a:b \r\n\r\nbody";
        let response = parse(text, Duration::ZERO).unwrap();
        assert_eq!((response.code, response.reason.as_str()), (486, "Busy Here"));
        assert_eq!((response.header("x-ret"), response.header("call-id")), ("-1", "a:b"));
        assert_eq!(response.body, b"body");
        assert!(parse(b"OPTIONS sip:a@b SIP/2.0\r\n\r\n", Duration::ZERO).is_none());
    }
}
