//! Every difference between the C module of Kamailio 5.6 and this one that a script, an application or the broker can
//! see, as far as the suite goes. A difference that is not listed here fails the suite, and so does an entry that no
//! longer occurs. The user manual's page about coming from the C module shows this table.

/// One difference.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// What it is about.
    pub name: &'static str,
    /// Cases in which it occurs: `group/case`; `*` stands for any text. Each entry must occur.
    pub cases: &'static [&'static str],
    /// Fields of the outcome that differ; `#` stands for a number, `*` for any text. Each entry must occur. Empty: the
    /// C module crashes or is broken afterwards, so only ours is run, and the case says what it must give.
    pub fields: &'static [&'static str],
    /// What the C module does.
    pub c: &'static str,
    /// What ours does.
    pub ours: &'static str,
    /// Why ours stays different.
    pub why: &'static str,
}

/// Fields of a call that one module accepts and the other one refuses.
const ACCEPTED_OR_NOT: &[&str] = &["branch", "rc"];
/// The same, and what was published.
const PUBLISHED_OR_NOT: &[&str] = &["branch", "rc", "messages", "message 1 *"];
/// Ours alone.
const ALONE: &[&str] = &[];

/// The list.
pub const DIFFERENCES: &[Difference] = &[
    // What every message and every subscription shows.
    Difference {
        name: "message_id",
        cases: &["*"],
        fields: &["message # message id"],
        c: "sets no message_id",
        ours: "every message has a message_id",
        why: "after a broken connection a message is sent again; applications tell the repetition by its message_id",
    },
    Difference {
        name: "Acknowledgements to the broker",
        cases: &["subscribe/*"],
        fields: &["consumers"],
        c: "consumes without acknowledgements when no_ack is 1, the default",
        ours: "always consumes with acknowledgements; with no_ack 1 it sends them itself, on receipt",
        why: "the broker then limits what is under way, and memory stays bounded",
    },
    Difference {
        name: "Prefetch",
        cases: &["subscribe/*"],
        fields: &["prefetch"],
        c: "takes as many messages as the broker has",
        ours: "takes amqp_prefetch messages (500) ahead of their acknowledgement",
        why: "a large backlog must not fill the memory of the server",
    },
    // Publishing.
    Difference {
        name: "Payload that is no JSON object",
        cases: &[
            "publish text/array",
            "publish text/number",
            "publish text/string",
            "publish text/true",
            "publish text/NaN",
            "query/payload array",
            "query/payload number",
            "query/payload string",
            "async query/payload array",
            "async query/payload number",
        ],
        fields: ALONE,
        c: "crashes, and the whole server with it",
        ours: "refuses the payload with a negative code",
        why: "no payload may end the server",
    },
    Difference {
        name: "Comment that is never closed",
        cases: &["publish text/open comment inside"],
        fields: ALONE,
        c: "crashes when the text ends inside a comment",
        ours: "refuses the payload with a negative code",
        why: "no payload may end the server",
    },
    Difference {
        name: "Comment of three stars",
        cases: &["publish value/comment of stars", "kazoo_json value/comment of stars"],
        fields: &["branch", "rc", "messages", "message 1 *", "$avp(out)"],
        c: "takes /***/ for the beginning of a longer comment, and refuses the text",
        ours: "takes /***/ for a whole comment",
        why: "everybody else reads it so",
    },
    Difference {
        name: "Slash behind the payload",
        cases: &["publish text/slash behind", "kazoo_json text/slash behind"],
        fields: &["branch", "rc", "messages", "message 1 *", "$avp(out)"],
        c: "ignores text behind the first value, but refuses it when it starts with a slash and is no comment",
        ours: "ignores any text behind the first value",
        why: "one rule for all texts",
    },
    Difference {
        name: "Exchange name over 255 bytes",
        cases: &["exchange/256 bytes"],
        fields: ALONE,
        c: "drops its connection, and nothing can be published for 5 s",
        ours: "refuses it with a negative code",
        why: "a wrong name costs nobody else",
    },
    Difference {
        name: "Exchange that does not exist",
        cases: &["exchange/missing", "exchange/after a missing one", "parameter forms/unset AVP as exchange"],
        fields: ALONE,
        c: "returns 1, and from then on loses one publish in amqp_max_channels without a word",
        ours: "returns 1 and logs the broker's answer; later publishes are not affected",
        why: "nothing that was accepted is lost in silence",
    },
    Difference {
        name: "consumer:// with an unknown broker",
        cases: &["routing key/to broker 99", "routing key/to broker -1"],
        fields: ACCEPTED_OR_NOT,
        c: "returns 0, which ends the script",
        ours: "returns a negative code and logs the form that is expected",
        why: "no function of ours returns 0 by mistake",
    },
    Difference {
        name: "consumer:// that is incomplete",
        cases: &["routing key/to broker, no key", "routing key/to broker, no number", "routing key/to broker, nothing"],
        fields: ACCEPTED_OR_NOT,
        c: "returns 1 and sends nothing",
        ours: "returns a negative code",
        why: "success means that the message is on its way",
    },
    Difference {
        name: "Length of a key with consumer://",
        cases: &["routing key/to broker, 256 bytes in all"],
        fields: PUBLISHED_OR_NOT,
        c: "counts consumer://ID/ when it limits the routing key to 255 bytes",
        ours: "counts the routing key that is sent",
        why: "an answer to a Server-ID of an event must be possible, however long that was",
    },
    Difference {
        name: "Publish without a broker",
        cases: &["no broker/publish"],
        fields: ACCEPTED_OR_NOT,
        c: "returns 0, which ends the script; the message is lost",
        ours: "returns 1 while there is room in the outbox, and sends the message when a broker is there",
        why: "a SIP request is answered whatever the broker does",
    },
    Difference {
        name: "Unquoted parameter that cannot be expanded",
        cases: &["parameter forms/price in a variable, unquoted"],
        fields: &["rc"],
        c: "does not call the function and leaves $rc as it was",
        ours: "returns a negative code and logs why",
        why: "a script can see that nothing was sent",
    },
    // Encoding and JSON.
    Difference {
        name: "Encoding of bytes above 0x7F",
        cases: &[
            "*.encode/byte 80*",
            "*.encode/byte 9f*",
            "*.encode/byte a5*",
            "*.encode/byte b0*",
            "*.encode/byte c3*",
            "*.encode/byte d7*",
            "*.encode/byte e9*",
            "*.encode/byte ff*",
            "*.encode/UTF-8",
            "*_encode/byte 80*",
            "*_encode/byte 9f*",
            "*_encode/byte a5*",
            "*_encode/byte b0*",
            "*_encode/byte c3*",
            "*_encode/byte d7*",
            "*_encode/byte e9*",
            "*_encode/byte ff*",
            "*_encode/UTF-8",
        ],
        fields: &["$avp(out)"],
        c: "writes a wrong first digit on x86, such as %,3 for the byte C3",
        ours: "writes %C3",
        why: "the applications write it so, and so does the C module on other processors",
    },
    Difference {
        name: "JSON path that names nothing",
        cases: &[
            "kazoo_json/empty",
            "*/dot",
            "*/dot in front",
            "*/two dots",
            "*/two dots at the end",
            "*/index only",
            "*/index only, below",
        ],
        fields: ALONE,
        c: "crashes, or uses what lies in memory",
        ours: "finds nothing",
        why: "no path may end the server",
    },
    Difference {
        name: "Long names in JSON paths",
        cases: &["*/name of 250 bytes"],
        fields: ALONE,
        c: "writes beyond a buffer when a name has more than 249 bytes",
        ours: "takes names of any length",
        why: "no path may end the server",
    },
    Difference {
        name: "kazoo_json_keys of a value that is no object",
        cases: &["kazoo_json_keys/array", "kazoo_json_keys/string", "kazoo_json_keys/number"],
        fields: ALONE,
        c: "crashes",
        ours: "adds nothing",
        why: "no payload may end the server",
    },
    // Queries.
    Difference {
        name: "kazoo_query with three arguments",
        cases: &["query/all quoted", "query/constants, concatenated", "query/* clears the answer before"],
        fields: ALONE,
        c: "reads two more that were not passed, in Kamailio 5.6 and 5.7: crashes when all three are in quotes, refuses \
            other calls now and then",
        ours: "works",
        why: "documented form",
    },
    Difference {
        name: "kazoo_query with a target variable or headers",
        cases: &["query/target", "query/target *", "query/target, *"],
        fields: ALONE,
        c: "crashes in Kamailio 5.4 to 5.7",
        ours: "works; without an answer the target keeps its value",
        why: "documented form",
    },
    Difference {
        name: "Msg-ID of its own in a query",
        cases: &["query/Msg-ID of its own"],
        fields: &["branch", "rc", "$kzR"],
        c: "waits for another Msg-ID than it sends, so the query always times out",
        ours: "waits for the one that it sends",
        why: "the answer belongs to the question",
    },
    Difference {
        name: "Msg-ID of its own in an asynchronous query",
        cases: &["async query/Msg-ID of its own"],
        fields: &["callback", "callback $kzR"],
        c: "waits for another Msg-ID than it sends, so the query always times out",
        ours: "waits for the one that it sends",
        why: "the answer belongs to the question",
    },
    Difference {
        name: "Callback that does not exist",
        cases: &["async query/callback that does not exist"],
        fields: &["branch", "rc", "messages", "message 1 *"],
        c: "suspends the transaction, which nobody resumes then",
        ours: "refuses the call with a negative code",
        why: "no transaction is left hanging",
    },
    Difference {
        name: "$kzR in the next request",
        cases: &["query/the next request"],
        fields: &["$kzR"],
        c: "keeps the last answer for every later request of the same process",
        ours: "$kzR belongs to the SIP message being processed",
        why: "a request must not see an answer that was meant for another one",
    },
    Difference {
        name: "Answer that is no JSON object",
        cases: &["query/answer array", "query/answer number", "query/answer string"],
        fields: ALONE,
        c: "crashes, and the whole server with it: any application on the bus can do that",
        ours: "logs and ignores it; the query times out",
        why: "no message may end the server",
    },
    Difference {
        name: "Long Server-ID",
        cases: &["query/answer long server id", "event payload/Server-ID of 200 bytes"],
        fields: ALONE,
        c: "writes beyond a buffer of 100 bytes, and the server ends",
        ours: "takes a Server-ID of any length",
        why: "no message may end the server",
    },
    // Events.
    Difference {
        name: "Event that is no JSON object",
        cases: &["event payload/array", "event payload/number", "event payload/string"],
        fields: ALONE,
        c: "crashes, and the whole server with it: any application on the bus can do that",
        ours: "logs and drops it",
        why: "no message may end the server",
    },
    Difference {
        name: "Long event name",
        cases: &["event payload/name of 600 bytes"],
        fields: ALONE,
        c: "writes beyond a buffer of 512 bytes, and the server ends",
        ours: "takes names of any length",
        why: "no message may end the server",
    },
    Difference {
        name: "Event routes after unknown events",
        cases: &["event route/ev: dash makes a category of two", "event route/ev-only: own key, global subkey"],
        fields: &["event # route"],
        c: "looking for a route that does not exist leaves a trace, over which a later event can miss its route; which \
            ones depends on the length of the names and grows with their number",
        ours: "finds the same route whatever came before",
        why: "an event must not depend on others, nor memory grow with their names",
    },
    Difference {
        name: "Connection events",
        cases: &["connection events/at the start", "changed parameters/connection events"],
        fields: &["events", "event # payload", "event # route", "event # routing key"],
        c: "one for each of its connections, two with one broker; blanks before the colons of the payload",
        ours: "one for each broker",
        why: "there is one connection to a broker",
    },
    // Subscriptions.
    Difference {
        name: "Several exchange-bindings",
        cases: &["subscribe/two source exchanges"],
        fields: &["exchanges", "bindings"],
        c: "makes the first one only",
        ours: "makes all of them",
        why: "the description asks for them",
    },
    Difference {
        name: "null in a list of routing keys",
        cases: &["subscribe/null in routing"],
        fields: ALONE,
        c: "crashes",
        ours: "leaves it out",
        why: "no description may end the server",
    },
];
