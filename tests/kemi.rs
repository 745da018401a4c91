//! The module's functions from KEMI languages: Lua and Python, each in its own Kamailio, with the same cases.
//!
//! `X-Case` chooses what the script does, `X-1` to `X-4` and the body are its texts. The answer tells the return code
//! and, in its body, a text; `X-Null` says that the text was null.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{
    ask, broker, exactly, kamailio, number, publish_routed, sink, sip, stat, still_well, tail, until_connected,
    until_logged, until_stat,
};
use rig::{Exchange, Kamailio, Peer, Queue, Reply, Response, SipClient};
use serde_json::json;

const LUA: &str = r#"
local function get(name) return KSR.pv.get("$hdr(" .. name .. ")") end

local function say(code, text)
    KSR.hdr.append_to_reply("X-Ret: " .. tostring(code) .. "\r\n")
    if text == nil then
        KSR.hdr.append_to_reply("X-Null: 1\r\n")
    else
        KSR.textops.set_reply_body(tostring(text), "text/plain")
    end
    KSR.sl.sl_send_reply(200, "OK")
end

function ksr_request_route()
    local case, body = get("X-Case"), KSR.pv.get("$rb")
    if case == "publish" then
        say(KSR.kazoo.kazoo_publish(get("X-1"), get("X-2"), body), "")
    elseif case == "publish headers" then
        say(KSR.kazoo.kazoo_publish_headers(get("X-1"), get("X-2"), body, get("X-3")), "")
    elseif case == "query" then
        local code = KSR.kazoo.kazoo_query(get("X-1"), get("X-2"), body)
        say(code, KSR.pv.get("$(kzR{kz.json,Say})"))
    elseif case == "query headers" then
        local code = KSR.kazoo.kazoo_query_headers(get("X-1"), get("X-2"), body, get("X-3"))
        say(code, KSR.pv.get("$(kzR{kz.json,Say})"))
    elseif case == "json" then
        say(1, KSR.kazoo.kazoo_json(body, get("X-1")))
    elseif case == "keys" then
        local code = KSR.kazoo.kazoo_json_keys(body, get("X-1"), get("X-2"))
        say(code, KSR.pv.get("$(avp(keys)[*])"))
    elseif case == "encode" then
        say(1, KSR.kazoo.kazoo_encode(body))
    elseif case == "async" then
        local code = KSR.kazoo.kazoo_async_query(get("X-1"), get("X-2"), body, "answered", "failed")
        if code < 0 then say(code, "") end
    elseif case == "presence" then
        local codes = KSR.kazoo.kazoo_pua_publish(body) .. " " .. KSR.kazoo.kazoo_pua_publish_presence(body)
        codes = codes .. " " .. KSR.kazoo.kazoo_pua_publish_mwi(body)
        say(1, codes .. " " .. KSR.kazoo.kazoo_pua_publish_dialoginfo(body))
    elseif case == "nothing" then
        say(KSR.kazoo.kazoo_publish(nil, nil, nil), KSR.kazoo.kazoo_json(nil, nil))
    elseif case == "numbers" then
        say(KSR.kazoo.kazoo_publish("lua", 17, '{"Number":17}'), KSR.kazoo.kazoo_json('{"5":"five"}', 5))
    elseif case == "too few" then
        say(KSR.kazoo.kazoo_publish("lua") and 1 or 0, "")
    end
end

function answered() say(1, KSR.pv.get("$(kzR{kz.json,Say})")) end
function failed() say(2, KSR.pv.get("$kzR")) end

function ksr_kazoo_event(event)
    if event == "kazoo:mod-init" then
        local one = KSR.kazoo.kazoo_subscribe("{'exchange':'lua','type':'topic','queue':'lua-json','routing':'a'}")
        local four = KSR.kazoo.kazoo_subscribe_queue("lua", "topic", "lua-four", "b")
        local bad = KSR.kazoo.kazoo_subscribe("no json")
        KSR.notice("SUBSCRIBED " .. one .. " " .. four .. " " .. bad .. "\n")
    else
        local text = KSR.kazoo.kazoo_json(KSR.pv.get("$kzE"), "Say")
        KSR.notice("EVENT " .. event .. " " .. (text or "-") .. " " .. (KSR.pv.get("$kzRK") or "-") .. "\n")
    end
end
"#;

const PYTHON: &str = r#"
import KSR as KSR

def get(name):
    return KSR.pv.get("$hdr(" + name + ")")

def say(code, text):
    KSR.hdr.append_to_reply("X-Ret: " + str(code) + "\r\n")
    if text is None:
        KSR.hdr.append_to_reply("X-Null: 1\r\n")
    else:
        KSR.textops.set_reply_body(str(text), "text/plain")
    KSR.sl.sl_send_reply(200, "OK")

def attempt(call):
    try:
        return call()
    except Exception:
        return -100

def mod_init():
    return kamailio()

class kamailio:
    def child_init(self, rank):
        return 0

    def ksr_request_route(self, msg):
        case, body = get("X-Case"), KSR.pv.get("$rb")
        if case == "publish":
            say(KSR.kazoo.kazoo_publish(get("X-1"), get("X-2"), body), "")
        elif case == "publish headers":
            say(KSR.kazoo.kazoo_publish_headers(get("X-1"), get("X-2"), body, get("X-3")), "")
        elif case == "query":
            code = KSR.kazoo.kazoo_query(get("X-1"), get("X-2"), body)
            say(code, KSR.pv.get("$(kzR{kz.json,Say})"))
        elif case == "query headers":
            code = KSR.kazoo.kazoo_query_headers(get("X-1"), get("X-2"), body, get("X-3"))
            say(code, KSR.pv.get("$(kzR{kz.json,Say})"))
        elif case == "json":
            say(1, KSR.kazoo.kazoo_json(body, get("X-1")))
        elif case == "keys":
            code = KSR.kazoo.kazoo_json_keys(body, get("X-1"), get("X-2"))
            say(code, KSR.pv.get("$(avp(keys)[*])"))
        elif case == "encode":
            say(1, KSR.kazoo.kazoo_encode(body))
        elif case == "async":
            code = KSR.kazoo.kazoo_async_query(get("X-1"), get("X-2"), body, "answered", "failed")
            if code < 0:
                say(code, "")
        elif case == "presence":
            codes = [KSR.kazoo.kazoo_pua_publish(body), KSR.kazoo.kazoo_pua_publish_presence(body)]
            codes += [KSR.kazoo.kazoo_pua_publish_mwi(body), KSR.kazoo.kazoo_pua_publish_dialoginfo(body)]
            say(1, " ".join(str(code) for code in codes))
        elif case == "nothing":
            say(attempt(lambda: KSR.kazoo.kazoo_publish(None, None, None)), None)
        elif case == "numbers":
            say(attempt(lambda: KSR.kazoo.kazoo_publish("python", "17", '{"Number":17}')), "five")
        elif case == "too few":
            say(attempt(lambda: KSR.kazoo.kazoo_publish("python")), "")
        return 1

    def answered(self, msg):
        say(1, KSR.pv.get("$(kzR{kz.json,Say})"))
        return 1

    def failed(self, msg):
        say(2, KSR.pv.get("$kzR"))
        return 1

    def ksr_kazoo_event(self, msg, event):
        if event == "kazoo:mod-init":
            text = "{'exchange':'python','type':'topic','queue':'python-json','routing':'a'}"
            one = KSR.kazoo.kazoo_subscribe(text)
            four = KSR.kazoo.kazoo_subscribe_queue("python", "topic", "python-four", "b")
            bad = KSR.kazoo.kazoo_subscribe("no json")
            KSR.notice("SUBSCRIBED " + str(one) + " " + str(four) + " " + str(bad) + "\n")
        else:
            text = KSR.kazoo.kazoo_json(KSR.pv.get("$kzE"), "Say")
            KSR.notice("EVENT " + event + " " + str(text) + " " + str(KSR.pv.get("$kzRK")) + "\n")
        return 1
"#;

fn script(name: &str, text: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&file, text).unwrap();
    file
}

/// `engine`: the name for `cfgengine`, which is also the exchange and the host name of the test.
fn start(engine: &str, module: &str, file: &Path) -> Kamailio {
    let builder = kamailio(engine)
        .modparam_int("pua_mode", 1)
        .broker(&broker())
        .load(module)
        .modparam("event_callback", "ksr_kazoo_event");
    let load = format!("modparam(\"{module}\", \"load\", \"{}\")\ncfgengine \"{engine}\"", file.display());
    let kamailio = builder.children(1).line(&load).routes("").start().unwrap();
    until_connected(&kamailio, 1);
    kamailio
}

fn call(client: &SipClient, case: &str, texts: &[&str], body: &str) -> Response {
    let names = ["X-1", "X-2", "X-3"];
    let headers: Vec<(&str, &str)> = names.into_iter().zip(texts.iter().copied()).collect();
    ask(client, case, &headers, body)
}

fn outcome(response: &Response) -> (i64, String) {
    (number(response, "X-Ret"), String::from_utf8_lossy(&response.body).into_owned())
}

fn every_function_works(engine: &str, module: &str, file: &Path) {
    let mut kamailio = start(engine, module, file);
    let client = sip(&kamailio);
    let broker = broker();

    // Events: the callback was called at the start and subscribed, and is called for each message.
    until_logged(&kamailio, "SUBSCRIBED 1 1 -2");
    for (queue, key) in [("json", "a"), ("four", "b")] {
        let body = format!("{{\"Say\":\"to {queue}\",\"Event-Category\":\"any\"}}");
        publish_routed(&broker, engine, key, &body);
        until_logged(&kamailio, &format!("EVENT kazoo:consumer-event to {queue} {key}"));
    }
    until_stat(&kamailio, "handled", 2);

    // Publish.
    let seen = sink(&broker, &format!("{engine}-seen"), engine, "seen.#");
    assert_eq!(outcome(&call(&client, "publish", &[engine, "seen.x"], r#"{"Say":"hello"}"#)).0, 1);
    let with_headers = call(&client, "publish headers", &[engine, "seen.y", "first=1;second=two"], r#"{"Say":"h"}"#);
    assert_eq!(outcome(&with_headers).0, 1);
    let messages = exactly(&seen, 2);
    assert_eq!((messages[0].routing_key.as_str(), &messages[0].json()["Say"]), ("seen.x", &json!("hello")));
    let headers: Vec<_> = messages[1].headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(headers, [("first", "1"), ("second", "two")]);
    // KEMI texts are not expanded: a dollar is a dollar.
    assert_eq!(outcome(&call(&client, "publish", &[engine, "seen.z"], r#"{"Say":"$fu $100"}"#)).0, 1);
    assert_eq!(exactly(&seen, 1)[0].json()["Say"], "$fu $100");

    // Query.
    let queue = Queue::new(&format!("peer-{engine}")).auto_delete().bind(&Exchange::topic(engine), "ask.#");
    let peer = Peer::start(broker.client(), queue, |q| Reply::fields(json!({ "Say": q.field("Ask") }))).unwrap();
    let answered = outcome(&call(&client, "query", &[engine, "ask.x"], r#"{"Ask":"you"}"#));
    assert_eq!(answered, (1, "you".to_owned()), "{}", tail(&kamailio));
    let answered = outcome(&call(&client, "query headers", &[engine, "ask.x", "a=b"], r#"{"Ask":"me"}"#));
    assert_eq!(answered, (1, "me".to_owned()), "{}", tail(&kamailio));
    assert_eq!((peer.count().questions, stat(&kamailio, "answers")), (2, 2));
    let answered = outcome(&call(&client, "async", &[engine, "ask.x"], r#"{"Ask":"later"}"#));
    assert_eq!(answered, (1, "later".to_owned()), "{}", tail(&kamailio));
    let failed = call(&client, "async", &[engine, "nobody.listens"], r#"{"Ask":"x"}"#);
    assert_eq!((number(&failed, "X-Ret"), failed.header("X-Null")), (2, "1"), "{failed:?}");
    assert_eq!(outcome(&call(&client, "async", &[engine, "ask.x"], "[1]")).0, -2);
    assert_eq!(outcome(&call(&client, "query", &[engine, "ask.x"], "[1]")).0, -2);

    // Payloads.
    let payload = r#"{"a":{"b":["x","y"],"c":1},"n":null}"#;
    assert_eq!(outcome(&call(&client, "json", &["a.b[1]"], payload)).1, "y");
    for (path, text) in [("missing", payload), ("n", payload), ("a", "no json")] {
        assert_eq!(call(&client, "json", &[path], text).header("X-Null"), "1", "{path} in {text}");
    }
    assert_eq!(outcome(&call(&client, "keys", &["a", "$avp(keys)"], payload)), (1, "c, b".to_owned()));
    assert_eq!(outcome(&call(&client, "keys", &["a.c", "$avp(keys)"], payload)).0, -2);
    for target in ["$var(keys)", "keys", "$avp(keys", "$100"] {
        assert_eq!(outcome(&call(&client, "keys", &["a", target], payload)).0, -1, "{target}");
    }
    assert_eq!(outcome(&call(&client, "encode", &[], "a.b c@d")).1, "a%2Eb+c%40d");
    assert_eq!(call(&client, "encode", &[], &"a".repeat(256)).header("X-Null"), "1");

    // Presence: what each function does with a database is tested elsewhere; here there is none.
    let update = r#"{"Event-Name":"update","Event-Package":"dialog","From":"sip:a@b","To":"sip:c@d","State":"early"}"#;
    assert_eq!(outcome(&call(&client, "presence", &[], update)).1, "-10 -9 -10 -10");
    assert_eq!(outcome(&call(&client, "presence", &[], "no json")).1, "-2 -2 -2 -2");

    // Bad values.
    let long = "k".repeat(256);
    assert_eq!(outcome(&call(&client, "publish", &[engine, &long], "{}")).0, -3);
    assert_eq!(outcome(&call(&client, "query", &[&long, "k"], "{}")).0, -3);
    assert_eq!(outcome(&call(&client, "publish", &[engine, "k"], "no json")).0, -2);
    let nothing = call(&client, "nothing", &[], "");
    assert!(number(&nothing, "X-Ret") < 0 && nothing.header("X-Null") == "1", "{nothing:?}");
    assert_eq!(outcome(&call(&client, "numbers", &[], "")), (1, "five".to_owned()));
    assert!(number(&call(&client, "too few", &[], ""), "X-Ret") <= 0);
    still_well(&mut kamailio);
}

#[test]
fn every_function_works_from_lua() {
    every_function_works("lua", "app_lua", &script("kemi.lua", LUA));
}

#[test]
fn every_function_works_from_python() {
    every_function_works("python", "app_python3", &script("kemi.py", PYTHON));
}

#[test]
fn an_event_callback_needs_a_language() {
    let log = kamailio("alone").modparam("event_callback", "ksr_kazoo_event").start_refused().unwrap();
    assert!(log.contains("event_callback is set, but no KEMI engine is loaded"), "{log}");
}
