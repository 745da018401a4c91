//! One connection with one channel, and the runtime it lives on.

use std::future::Future;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use amqprs::channel::Channel;
use amqprs::connection::{Connection, OpenConnectionArguments};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::{Context, Error, Result};

/// Longest wait for any answer of the broker. A frozen broker must fail a test, not hang it.
const PATIENCE: Duration = Duration::from_secs(15);

/// Pause between two attempts to connect.
const RETRY: Duration = Duration::from_millis(50);

static RUNTIME: LazyLock<std::result::Result<Runtime, String>> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|error| error.to_string())
});

/// The runtime that all AMQP work of this process runs on.
pub(super) fn runtime() -> Result<&'static Runtime> {
    RUNTIME.as_ref().map_err(|error| Error::new(format!("no tokio runtime: {error}")))
}

/// Runs `work` to its end, at most [`PATIENCE`].
pub(super) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    runtime()?.block_on(within(work))
}

/// `work`, or an error when it takes longer than [`PATIENCE`].
pub(super) async fn within<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .map_err(|_| Error::new(format!("the broker did not answer within {PATIENCE:?}")))?
}

/// A connection and its channel. Must be made, used and dropped inside [`runtime`].
pub(super) struct Link {
    connection: Connection,
    pub(super) channel: Channel,
}

impl Link {
    /// Logs in as `guest` and opens a channel.
    pub(super) async fn open(port: u16) -> Result<Self> {
        let mut args = OpenConnectionArguments::new("127.0.0.1", port, "guest", "guest");
        // A test decides when a connection ends; with a broker frozen for a while it must not break by itself.
        args.heartbeat(60);
        let connection = Connection::open(&args).await.context(|| format!("connecting to the broker at {port}"))?;
        let channel = connection.open_channel(None).await.context(|| "opening a channel".into())?;
        Ok(Self { connection, channel })
    }

    /// Tries until a broker listens.
    pub(super) async fn insist(port: u16) -> Self {
        loop {
            // An attempt cut off half-way leaves nothing behind: its connection is dropped with it.
            match tokio::time::timeout(Duration::from_secs(5), Self::open(port)).await {
                Ok(Ok(link)) => return link,
                Ok(Err(_)) | Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Resolves when the connection is lost.
    pub(super) async fn lost(&self) {
        self.connection.listen_network_io_failure().await;
    }

    /// Closes in order. Errors are of no interest: the work on it is done.
    pub(super) async fn close(&self) {
        let _ = tokio::time::timeout(Duration::from_secs(2), self.connection.clone().close()).await;
    }
}

/// A background task of the runtime that is asked to end, and waited for, when its owner is dropped.
#[derive(Debug)]
pub(super) struct Task {
    stop: watch::Sender<bool>,
    handle: Option<JoinHandle<()>>,
}

impl Task {
    /// Starts the future that `make` builds; it should end soon after [`Stop::wait`] resolves.
    pub(super) fn spawn<F>(make: impl FnOnce(Stop) -> F) -> Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let handle = Some(runtime()?.spawn(make(Stop(stopped))));
        Ok(Self { stop, handle })
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let (Some(handle), Ok(runtime)) = (self.handle.take(), runtime()) else { return };
        let abort = handle.abort_handle();
        if runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), handle).await }).is_err() {
            abort.abort();
        }
    }
}

/// Tells a [`Task`]'s future that it should end.
#[derive(Debug, Clone)]
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Resolves when the owner wants the end.
    pub(super) async fn wait(&mut self) {
        // An error means that the owner is gone: the same answer.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Runs `work` on one connection after the other until told to end: whenever `work` returns, the connection is
    /// taken for lost and opened again as soon as a broker listens.
    pub(super) async fn on_links<F>(mut self, port: u16, mut work: impl FnMut(Arc<Link>) -> F)
    where
        F: Future<Output = ()>,
    {
        loop {
            let link = tokio::select! {
                link = Link::insist(port) => Arc::new(link),
                () = self.wait() => return,
            };
            let ended = tokio::select! {
                () = work(link.clone()) => false,
                () = link.lost() => false,
                () = self.wait() => true,
            };
            link.close().await;
            if ended {
                return;
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}
