//! An application that answers the module's queries, well or badly, as a test wants it.
//!
//! A query comes to the peer's queue as JSON with a `Msg-ID` and a `Server-ID`. The answer is published to the direct
//! exchange `targeted` with the `Server-ID` as routing key and the same `Msg-ID` in its payload.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amqprs::channel::{BasicAckArguments, ConsumerMessage};
use serde_json::{Map, Value};

use super::client::{Client, Exchange, Message, Queue, declare_exchange, publish};
use super::link::{Link, Task};
use super::sink::subscribe;
use crate::error::{Context, Error, Result};
use crate::process::wait_until;

/// Queries taken ahead; more than any Kamailio here has processes that could ask.
const PREFETCH: u16 = 200;

/// Exchange that carries the answers; the module declares it in the same way.
const ANSWERS: &str = "targeted";

/// A query as the peer received it.
#[derive(Debug, Clone)]
pub struct Question {
    /// Routing key it was sent with.
    pub routing_key: String,
    /// Its payload; `null` if that was not JSON.
    pub body: Value,
}

impl Question {
    /// A top-level string field of the payload, or an empty text.
    pub fn field(&self, name: &str) -> &str {
        self.body.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// What the peer sends back.
#[derive(Debug, Clone)]
enum Answer {
    Silence,
    /// A JSON object with these fields; `Msg-ID` is taken from the question unless given here.
    Fields(Map<String, Value>),
    Raw(Vec<u8>),
}

/// An answer with its timing.
#[derive(Debug, Clone)]
pub struct Reply {
    answer: Answer,
    delay: Duration,
    copies: u32,
}

impl Reply {
    /// Answers with the members of a JSON object, e.g. `json!({"Auth-Password": "secret"})`.
    pub fn fields(object: Value) -> Self {
        let fields = match object {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        Self { answer: Answer::Fields(fields), delay: Duration::ZERO, copies: 1 }
    }

    /// Answers with bytes that need not be JSON.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { answer: Answer::Raw(bytes.into()), ..Self::silence() }
    }

    /// Does not answer.
    pub fn silence() -> Self {
        Self { answer: Answer::Silence, delay: Duration::ZERO, copies: 1 }
    }

    /// Answers that much later.
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Sends the same answer twice.
    pub fn twice(self) -> Self {
        Self { copies: 2, ..self }
    }
}

/// How much a peer did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerCount {
    /// Queries received, redeliveries included.
    pub questions: u64,
    /// Answers handed to the broker.
    pub answers: u64,
}

/// An application on the bus that answers queries; reconnects by itself.
pub struct Peer {
    shared: Arc<Shared>,
    _task: Task,
}

type Decide = dyn Fn(&Question) -> Reply + Send + Sync;

struct Shared {
    decide: Box<Decide>,
    queue: Queue,
    ready: AtomicU64,
    questions: AtomicU64,
    answers: AtomicU64,
    failure: Mutex<Option<String>>,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("count", &self.count()).finish_non_exhaustive()
    }
}

impl Peer {
    /// Consumes `queue` and answers each question as `decide` says. Returns when the consumer is set up.
    pub fn start(
        client: Client,
        queue: Queue,
        decide: impl Fn(&Question) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            decide: Box::new(decide),
            queue,
            ready: AtomicU64::new(0),
            questions: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            failure: Mutex::new(None),
        });
        let worker = shared.clone();
        let task = Task::spawn(|stop| stop.on_links(client.port, move |link| run(link, worker.clone())))?;
        let peer = Self { shared, _task: task };
        wait_until(Duration::from_secs(15), || peer.is_ready() || peer.failure().is_some());
        match peer.failure() {
            _ if peer.is_ready() => Ok(peer),
            failure => Err(Error::new(failure.unwrap_or("the peer got no connection to the broker".into()))),
        }
    }

    /// Answers the documentation's credential queries (exchange `callmgr`, routing key `authn.req.#`) with the
    /// password that `password` gives for `(Auth-User, Auth-Realm)`; stays silent when it gives none.
    pub fn credentials(
        client: Client,
        callmgr: &Exchange,
        password: impl Fn(&str, &str) -> Option<String> + Send + Sync + 'static,
    ) -> Result<Self> {
        let queue = Queue::new("rig-authn").auto_delete().bind(callmgr, "authn.req.#");
        Self::start(client, queue, move |question| {
            match password(question.field("Auth-User"), question.field("Auth-Realm")) {
                None => Reply::silence(),
                Some(password) => Reply::fields(serde_json::json!({
                    "Event-Category": "directory",
                    "Event-Name": "authn_resp",
                    "Auth-Method": "password",
                    "Auth-Password": password,
                })),
            }
        })
    }

    /// What it did so far.
    pub fn count(&self) -> PeerCount {
        PeerCount {
            questions: self.shared.questions.load(Ordering::Relaxed),
            answers: self.shared.answers.load(Ordering::Relaxed),
        }
    }

    fn is_ready(&self) -> bool {
        self.shared.ready.load(Ordering::Relaxed) > 0
    }

    fn failure(&self) -> Option<String> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers on one connection until it breaks.
async fn run(link: Arc<Link>, shared: Arc<Shared>) {
    if let Err(error) = serve(&link, &shared).await {
        *shared.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }
}

async fn serve(link: &Arc<Link>, shared: &Arc<Shared>) -> Result<()> {
    declare_exchange(link, &Exchange::direct(ANSWERS)).await?;
    let mut messages = subscribe(link, &shared.queue, PREFETCH).await?;
    shared.ready.fetch_add(1, Ordering::Relaxed);
    while let Some(message) = messages.recv().await {
        let tag = message.deliver.as_ref().map_or(0, |deliver| deliver.delivery_tag());
        answer(link, shared, &question(message)).await?;
        let ack = BasicAckArguments::new(tag, false);
        link.channel.basic_ack(ack).await.context(|| "acknowledging".into())?;
    }
    Ok(())
}

fn question(message: ConsumerMessage) -> Question {
    Question {
        routing_key: message.deliver.map(|deliver| deliver.routing_key().clone()).unwrap_or_default(),
        body: serde_json::from_slice(&message.content.unwrap_or_default()).unwrap_or_default(),
    }
}

async fn answer(link: &Arc<Link>, shared: &Arc<Shared>, question: &Question) -> Result<()> {
    shared.questions.fetch_add(1, Ordering::Relaxed);
    let reply = (shared.decide)(question);
    let body = match reply.answer {
        Answer::Silence => return Ok(()),
        Answer::Raw(bytes) => bytes,
        Answer::Fields(mut fields) => {
            let id = || question.body.get("Msg-ID").cloned().unwrap_or_default();
            fields.entry("Msg-ID").or_insert_with(id);
            Value::Object(fields).to_string().into_bytes()
        }
    };
    let message = Message::new(ANSWERS, question.field("Server-ID"), body);
    let (link, shared, copies) = (link.clone(), shared.clone(), reply.copies);
    let send = async move {
        for _ in 0..copies {
            publish(&link, &message, false).await?;
            shared.answers.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    if reply.delay.is_zero() {
        return send.await;
    }
    tokio::spawn(async move {
        tokio::time::sleep(reply.delay).await;
        // The connection may be gone by then; then the answer is lost, as a real application's would be.
        let _: Result<()> = send.await;
    });
    Ok(())
}
