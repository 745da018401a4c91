//! What both modules meet: one broker, a sink that sees what they publish, a peer that answers their questions.

use std::time::Duration;

use rig::{Broker, Exchange, Peer, Question, Queue, Reply, Sink};
use serde_json::json;

use crate::case::{ASK, EXCHANGE, OTHER_EXCHANGE, SINK_QUEUE};

/// Server, application and observer; the same for both modules.
pub struct World {
    pub broker: Broker,
    /// A port at which nobody listens.
    pub nobody: Broker,
    pub sink: Sink,
    _peer: Peer,
}

/// The C module stores a question after it was sent, and loses an answer that is faster.
const ANSWER_AFTER: Duration = Duration::from_millis(15);

impl World {
    pub fn start() -> Self {
        let broker = Broker::start().unwrap();
        let queue = [EXCHANGE, OTHER_EXCHANGE, ASK]
            .iter()
            .fold(Queue::new(SINK_QUEUE), |queue, name| queue.bind(&Exchange::topic(name), "#"));
        let sink = Sink::start(broker.client(), queue).unwrap();
        let asked = Queue::new("diff-peer").bind(&Exchange::topic(ASK), "#");
        let peer = Peer::start(broker.client(), asked, |question| answer(question).after(ANSWER_AFTER)).unwrap();
        Self { nobody: Broker::prepare().unwrap(), broker, sink, _peer: peer }
    }
}

/// The routing key says how to answer.
fn answer(question: &Question) -> Reply {
    let id = question.field("Msg-ID");
    let with = |text: &str| Reply::raw(text.replace("@", &format!("\"{id}\"")));
    match question.routing_key.as_str() {
        "silent" => Reply::silence(),
        "not json" => Reply::raw("this is no JSON"),
        "binary" => Reply::raw(b"\0\xff\xfe".to_vec()),
        "empty" => Reply::raw(""),
        "json null" => Reply::raw("null"),
        "no id" => Reply::raw(r#"{"Say":"no id"}"#),
        "null id" => Reply::raw(r#"{"Say":"null id","Msg-ID":null}"#),
        "other id" => Reply::raw(r#"{"Say":"other id","Msg-ID":"somebody-else"}"#),
        "upper id" => Reply::raw(format!(r#"{{"Say":"upper id","Msg-ID":"{}"}}"#, id.to_uppercase())),
        "id last" => with(r#"{"Say":"id last","Msg-ID":@}"#),
        "id twice" => with(r#"{"Msg-ID":"somebody-else","Say":"id twice","Msg-ID":@}"#),
        "lenient" => with("/* c */ {'Say':'lenient','Msg-ID':ID,} //"),
        "trailing" => with(r#"{"Say":"trailing","Msg-ID":@} and more"#),
        "numbers" => with(r#"{"Msg-ID":@,"a":1.50,"b":1e3,"c":007,"d":[1,2,{"e":null}],"f":true}"#),
        "texts" => with(r#"{"Msg-ID":@,"a":"\u00e9\n\t\"\\/","b":"\ud800","c":"","d":"raw é"}"#),
        "latin" => Reply::raw([format!(r#"{{"Msg-ID":"{id}","a":""#).as_bytes(), b"caf\xe9\"}"].concat()),
        "edited already" => with(r#"{"AMQP-Broker-Zone":"x","Msg-ID":@,"AMQP-Received":17,"z":1}"#),
        "server id" => with(r#"{"Server-ID":"peer-1","Msg-ID":@,"z":1}"#),
        "empty server id" => with(r#"{"Server-ID":"","Msg-ID":@,"z":1}"#),
        "null server id" => with(r#"{"Server-ID":null,"Msg-ID":@,"z":1}"#),
        "null members" => with(r#"{"Msg-ID":@,"App-Name":null,"Node":null}"#),
        "large" => Reply::fields(json!({ "Say": "x".repeat(20_000) })),
        "array" => Reply::raw("[1,2]"),
        "number" => Reply::raw("17"),
        "string" => Reply::raw("\"text\""),
        "long server id" => with(&format!(r#"{{"Server-ID":"{}","Msg-ID":@}}"#, "s".repeat(200))),
        kind => Reply::fields(json!({ "Say": kind, "Question": question.body })),
    }
}
