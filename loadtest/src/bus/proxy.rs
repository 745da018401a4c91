//! A TCP proxy on 127.0.0.1 that plays a bad network: black holes, slow lines, resets.
//!
//! Two tasks per connection, one for each direction, on the runtime of the AMQP applications. What they do is read from
//! one shared set of [`Rules`], so that a change acts on every open connection at once.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::link::{Stop, Task, block_on, runtime};
use crate::error::{Context, Result};
use crate::ports::Port;

/// Bytes that one step carries on a good line.
const WINDOW: usize = 64 * 1024;

/// What the proxy does to everything that passes.
#[derive(Debug, Clone, Copy)]
struct Rules {
    /// Where new connections go.
    target: u16,
    /// False: nothing passes, and nothing is closed.
    passes: bool,
    /// How much later each piece arrives.
    delay: Duration,
    /// Largest piece: with a delay, `window / delay` bytes per second pass.
    window: usize,
    /// Connections opened under a smaller number are reset.
    generation: u64,
}

/// A running proxy. Dropping it closes every connection that runs through it.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    rules: watch::Sender<Rules>,
    _task: Task,
}

impl Proxy {
    /// Forwards a port of its own to `target`, both on 127.0.0.1. `target` need not listen yet: a client whose
    /// connection cannot be passed on sees it closed.
    pub fn start(target: u16) -> Result<Self> {
        let port = Port::lease()?;
        let good = Rules { target, passes: true, delay: Duration::ZERO, window: WINDOW, generation: 0 };
        let (rules, watched) = watch::channel(good);
        let number = port.number();
        let listener = block_on(async move {
            TcpListener::bind((Ipv4Addr::LOCALHOST, number)).await.context(|| format!("listening on port {number}"))
        })?;
        let task = Task::spawn(|stop| accept(listener, watched, stop))?;
        Ok(Self { port, rules, _task: task })
    }

    /// The port that clients connect to.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Connections made from now on go to another port; those that are open stay.
    pub fn target(&self, port: u16) {
        self.rules.send_modify(|rules| rules.target = port);
    }

    /// A black hole: connections stay open and new ones are accepted, but no byte passes, in no direction.
    pub fn stall(&self) {
        self.rules.send_modify(|rules| rules.passes = false);
    }

    /// A slow line: at most `window` bytes per direction every `delay`, and each of them as much later.
    pub fn slow(&self, delay: Duration, window: usize) {
        self.rules.send_modify(|rules| (rules.delay, rules.window) = (delay, window.clamp(1, WINDOW)));
    }

    /// A good line again, after [`stall`](Self::stall) or [`slow`](Self::slow). What was held back arrives.
    pub fn forward(&self) {
        self.rules.send_modify(|rules| (rules.passes, rules.delay, rules.window) = (true, Duration::ZERO, WINDOW));
    }

    /// Ends every open connection with a TCP reset on both sides. New ones are welcome.
    pub fn reset_all(&self) {
        self.rules.send_modify(|rules| rules.generation += 1);
    }
}

async fn accept(listener: TcpListener, rules: watch::Receiver<Rules>, mut stop: Stop) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.wait() => return,
        };
        // A client that is gone before it was accepted is its own affair.
        let Ok((client, _)) = accepted else { continue };
        if let Ok(runtime) = runtime() {
            runtime.spawn(connect(client, rules.clone(), stop.clone()));
        }
    }
}

/// Carries one connection until a side closes it, a reset is asked for, or the proxy ends.
async fn connect(mut client: TcpStream, rules: watch::Receiver<Rules>, mut stop: Stop) {
    let begun = *rules.borrow();
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, begun.target)).await else { return };
    for side in [&client, &server] {
        // Small frames must not wait for each other; a socket that refuses the option is merely slower.
        let _ = side.set_nodelay(true);
    }
    let is_reset = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        tokio::select! {
            // The first direction that ends closes both sockets.
            () = carry(from_client, to_server, rules.clone()) => false,
            () = carry(from_server, to_client, rules.clone()) => false,
            () = until(rules, |rules| rules.generation > begun.generation) => true,
            () = stop.wait() => false,
        }
    };
    if is_reset {
        for side in [&client, &server] {
            // A close without lingering is a reset. It fails for a socket that is closed already.
            let _ = side.set_zero_linger();
        }
    }
}

/// Carries one direction until it ends.
async fn carry(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, rules: watch::Receiver<Rules>) {
    let mut buffer = vec![0; WINDOW];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            until(rules.clone(), |rules| rules.passes).await;
            let Rules { delay, window, .. } = *rules.borrow();
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let (piece, later) = rest.split_at(window.min(rest.len()));
            if to.write_all(piece).await.is_err() {
                return;
            }
            rest = later;
        }
    }
}

/// Resolves when the rules are so, or when the proxy is gone.
async fn until(mut rules: watch::Receiver<Rules>, is_so: impl Fn(&Rules) -> bool) {
    // The guard that comes back would keep the rules locked.
    drop(rules.wait_for(is_so).await);
}
