//! What demo and fault matrix have in common: the SIP edge of `demo/kamailio.cfg`, its application on the bus, its load.

use std::path::Path;

use crate::bus::{Client, Exchange, Message, Peer, Question, Queue, Reply};
use crate::error::Result;
use crate::kamailio::{Builder, Kamailio};
use crate::sipp::Sipp;

/// The queue that the edge subscribes to.
pub const SUBSCRIPTION: &str = "BLF-demo";

/// Users that register in turn.
const USERS: usize = 20;

/// The edge, still to be given its brokers.
pub fn kamailio() -> Builder {
    Kamailio::builder().config_file(Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/kamailio.cfg"))
}

/// The queue of the application that is asked for passwords. Durable, so that the module finds its exchange again as
/// soon as a broker is back.
pub fn questions() -> Queue {
    Queue::new("directory").durable().bind(&Exchange::topic("callmgr").durable(), "authn.req.#")
}

/// The application that is asked for passwords.
pub fn directory(client: Client, queue: Queue) -> Result<Peer> {
    Peer::start(client, queue, answer)
}

/// OPTIONS, each of which the edge tells to the bus: exchange `callevt`, routing key `call.probe.<Call-ID>`.
pub fn options() -> Sipp {
    load("options")
}

/// REGISTERs with passwords that the directory knows.
pub fn registers() -> Sipp {
    (0..USERS).fold(load("register"), |sipp, number| {
        let user = format!("user{number}");
        let password = password(&user);
        sipp.user(&user, &password)
    })
}

/// Event number `number` for the subscription.
pub fn event(number: u64) -> Message {
    let body = serde_json::json!({ "Event-Category": "dialog", "Event-Name": "update", "Number": number });
    Message::new("dialoginfo", &format!("dialog.update.{number}"), body.to_string()).persistent()
}

fn load(scenario: &str) -> Sipp {
    // So many open calls that a worker that waits for its query delays nobody else's start.
    Sipp::scenario(scenario).limit(2000)
}

fn password(user: &str) -> String {
    format!("{user}-secret")
}

fn answer(question: &Question) -> Reply {
    Reply::fields(serde_json::json!({
        "Event-Category": "directory",
        "Event-Name": "authn_resp",
        "Auth-Method": "password",
        "Auth-Password": password(question.field("Auth-User")),
    }))
}
