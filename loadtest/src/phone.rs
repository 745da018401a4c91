//! A phone: registers when it is told to and answers calls. The called side of a test.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Context, Error, Result};
use crate::process::wait_until;

/// How long a registration may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// How often the phone looks whether it is to be switched off.
const LOOK: Duration = Duration::from_millis(50);

/// A request that reached the phone.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its method.
    pub method: String,
    /// Headers in order, names as sent.
    pub headers: Vec<(String, String)>,
}

impl Call {
    /// The first header of that name (any case), or an empty text.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}

/// A phone on a UDP port of its own. Answers every request but ACK with 200. Dropping it switches it off.
#[derive(Debug)]
pub struct Phone {
    socket: UdpSocket,
    user: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    off: AtomicBool,
    calls: Mutex<Vec<Call>>,
    /// Status codes of the answers to registrations.
    answers: Mutex<Vec<u16>>,
}

impl Phone {
    /// Switches on the phone of `user`; it is registered nowhere yet.
    pub fn new(user: &str) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context(|| "opening a UDP socket".into())?;
        socket.set_read_timeout(Some(LOOK)).context(|| "setting a timeout".into())?;
        let listening = socket.try_clone().context(|| "sharing a UDP socket".into())?;
        let shared = Arc::new(Shared::default());
        let inner = shared.clone();
        let thread = std::thread::spawn(move || listen(&listening, &inner));
        Ok(Self { socket, user: user.into(), shared, thread: Some(thread) })
    }

    /// The port that a request URI has to name.
    pub fn port(&self) -> Result<u16> {
        Ok(self.socket.local_addr().context(|| "asking for the own port".into())?.port())
    }

    /// Registers with the server on this UDP port of 127.0.0.1 and waits until it has said 200.
    pub fn register(&self, server: u16) -> Result<()> {
        let (user, own, number) = (&self.user, self.port()?, lock(&self.shared.answers).len() + 1);
        let text = format!(
            "REGISTER sip:127.0.0.1:{server} SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bK-register-{own}-{number};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:{user}@rig.test>;tag=phone-{own}-{number}\r\n\
             To: <sip:{user}@rig.test>\r\n\
             Call-ID: register-{own}-{number}\r\n\
             CSeq: {number} REGISTER\r\n\
             Contact: <sip:{user}@127.0.0.1:{own}>\r\n\
             Expires: 300\r\n\
             Content-Length: 0\r\n\r\n"
        );
        self.socket.send_to(text.as_bytes(), (Ipv4Addr::LOCALHOST, server)).context(|| "sending REGISTER".into())?;
        let began = Instant::now();
        wait_until(PATIENCE, || lock(&self.shared.answers).len() >= number);
        match lock(&self.shared.answers).last() {
            Some(200) => Ok(()),
            Some(code) => Err(Error::new(format!("REGISTER was answered with {code}"))),
            None => Err(Error::new(format!("no answer to REGISTER within {:?}", began.elapsed()))),
        }
    }

    /// The requests that came, retransmissions included, ACK left out.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.shared.calls).clone()
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.shared.off.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A listener that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

fn listen(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = vec![0; 65_536];
    while !shared.off.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let mut lines = text.split("\r\n\r\n").next().unwrap_or_default().split("\r\n");
        let first = lines.next().unwrap_or_default();
        if let Some(status) = first.strip_prefix("SIP/2.0 ") {
            let code: Option<u16> = status.split(' ').next().and_then(|code| code.parse().ok());
            lock(&shared.answers).extend(code);
            continue;
        }
        let header =
            |line: &str| line.split_once(':').map(|(name, value)| (name.to_string(), value.trim().to_string()));
        let method = first.split(' ').next().unwrap_or_default().to_string();
        let call = Call { method, headers: lines.filter_map(header).collect() };
        if call.method == "ACK" {
            continue;
        }
        // The answer goes back the way it came; a lost one is asked for again.
        let answer = answer(&call);
        // Before the answer: who sees that one finds the call.
        lock(&shared.calls).push(call);
        let _ = socket.send_to(answer.as_bytes(), from);
    }
}

/// `200 OK` with what identifies the transaction.
fn answer(call: &Call) -> String {
    let mut text = String::from("SIP/2.0 200 OK\r\n");
    for (name, value) in &call.headers {
        match name.to_ascii_lowercase().as_str() {
            "to" if !value.contains("tag=") => text.push_str(&format!("{name}: {value};tag=phone\r\n")),
            "via" | "from" | "to" | "call-id" | "cseq" | "record-route" => {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
            _ => {}
        }
    }
    text.push_str("X-Phone: answered\r\nContent-Length: 0\r\n\r\n");
    text
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
