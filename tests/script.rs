//! `kazoo_encode`, `kazoo_json`, `kazoo_json_keys`, `{kz.json}`, `{kz.json.count}` and `{kz.encode}` evaluated by a real Kamailio: the
//! tables of reference section 5.
//!
//! One Kamailio, no broker. The payload travels as body of a request, the path in a header; the answer's body holds
//! what each form gave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use common::{LONG, complaints, kamailio, number, sip, still_well, tail};
use rig::{Builder, Kamailio, Response, SipClient};

/// `X-Null` tells whether the transformation's value compares equal to null. Variables start with a known value, so
/// that a missing assignment shows.
const ROUTES: &str = r#"
request_route {
    $var(path) = $hdr(X-Path);
    $var(json) = $rb;
    $avp(out) = "before";
    $var(out) = "before";
    $var(rc) = 0;
    switch ($hdr(X-Case)) {
    case "kazoo_json":
        kazoo_json("$rb", "$hdr(X-Path)", "$avp(out)");
        $var(rc) = $rc;
        set_reply_body("$avp(out)", "text/plain");
        break;
    case "kazoo_json var":
        kazoo_json("$rb", "$hdr(X-Path)", "$var(out)");
        $var(rc) = $rc;
        set_reply_body("$var(out)", "text/plain");
        break;
    case "kazoo_json du":
        kazoo_json("$rb", "$hdr(X-Path)", "$du");
        $var(rc) = $rc;
        set_reply_body("$du", "text/plain");
        break;
    case "kz.json":
        $avp(out) = $(rb{kz.json,$var(path)});
        if ($(rb{kz.json,$var(path)}) == $null) { append_to_reply("X-Null: 1\r\n"); }
        set_reply_body("$avp(out)", "text/plain");
        break;
    case "kz.json.count":
        $var(out) = $(rb{kz.json.count,$var(path)});
        set_reply_body("$var(out)", "text/plain");
        break;
    case "kz.json of null":
        $avp(gone) = $null;
        $var(out) = $(avp(gone){kz.json,a});
        if ($(avp(gone){kz.json,a}) == $null) { append_to_reply("X-Null: 1\r\n"); }
        set_reply_body("[$(avp(gone){kz.json,a})] $var(out)", "text/plain");
        break;
    case "kz.encode of null":
        $avp(gone) = $null;
        $var(out) = $(avp(gone){kz.encode});
        if ($(avp(gone){kz.encode}) == $null) { append_to_reply("X-Null: 1\r\n"); }
        set_reply_body("[$(avp(gone){kz.encode})] $var(out)", "text/plain");
        break;
    case "kz.encode":
        $avp(out) = $(rb{kz.encode});
        set_reply_body("$avp(out)", "text/plain");
        break;
    case "kazoo_encode":
        kazoo_encode("$rb", "$avp(out)");
        $var(rc) = $rc;
        set_reply_body("$avp(out)", "text/plain");
        break;
    case "fixed paths":
        $var(i) = 1;
        $avp(out) = $(rb{kz.json,a}) + "|" + $(rb{kz.json,b[$var(i)]}) + "|" + $(rb{kz.json,with blank}) + "|"
            + $(rb{kz.JSON,c.d}) + "|" + $(rb{kz.json,c}{kz.json,d}) + "|" + $(rb{kz.json,a}{kz.encode}) + "|"
            + $(rb{kz.json, a});
        set_reply_body("$avp(out)", "text/plain");
        break;
    case "many results":
        set_reply_body("$(rb{kz.json,a}) $(rb{kz.json,b[0]}) $(rb{kz.json,b[1]}) $(rb{kz.json,c.d}) $(rb{kz.json,with blank}) $(rb{kz.json,a})", "text/plain");
        break;
    case "big":
        $var(fill) = "0123456789abcdef";
        $var(i) = 0;
        while ($var(i) < 16) { $var(fill) = $var(fill) + $var(fill); $var(i) = $var(i) + 1; }
        $var(json) = '{"Fill":"' + $var(fill) + '","Last":"end"}';
        $var(out) = $(var(json){kz.json,Fill});
        if ($var(out) == $var(fill)) { $var(rc) = 1; }
        kazoo_json($var(json), "Fill", "$var(copy)");
        if ($var(copy) != $var(fill)) { $var(rc) = -1; }
        set_reply_body("$(var(out){s.len}) $(var(json){kz.json,Last})", "text/plain");
        break;
    case "keys":
        kazoo_json_keys("$rb", "$hdr(X-Path)", "$avp(keys)");
        $var(rc) = $rc;
        set_reply_body("$avp(keys) $(avp(keys)[1]) $(avp(keys)[*])", "text/plain");
        break;
    case "more keys":
        kazoo_json_keys("$rb", "a", "$avp(keys)");
        kazoo_json_keys("$rb", "b", "$(avp(keys)[*])");
        set_reply_body("$(avp(keys)[*])", "text/plain");
        break;
    case "keys unquoted":
        $var(name) = $hdr(X-Path);
        kazoo_json_keys("$rb", "a", $var(name));
        $var(rc) = $rc;
        set_reply_body("$avp(keys)", "text/plain");
        break;
    case "expand":
        kazoo_json($var(json), "a", "$avp(out)");
        $var(rc) = $rc;
        set_reply_body("$avp(out)", "text/plain");
        break;
    case "expand a path":
        kazoo_json("$rb", $var(path), "$avp(out)");
        $var(rc) = $rc;
        set_reply_body("$avp(out)", "text/plain");
        break;
    case "twenty results":
        $var(out) = $(var(json){kz.json,a0}) + $(var(json){kz.json,a1}) + $(var(json){kz.json,a2})
            + $(var(json){kz.json,a3}) + $(var(json){kz.json,a4}) + $(var(json){kz.json,a5}) + $(var(json){kz.json,a6})
            + $(var(json){kz.json,a7}) + $(var(json){kz.json,a8}) + $(var(json){kz.json,a9})
            + $(var(json){kz.json,b0}) + $(var(json){kz.json,b1}) + $(var(json){kz.json,b2})
            + $(var(json){kz.json,b3}) + $(var(json){kz.json,b4}) + $(var(json){kz.json,b5}) + $(var(json){kz.json,b6})
            + $(var(json){kz.json,b7}) + $(var(json){kz.json,b8}) + $(var(json){kz.json,b9});
        set_reply_body("$var(out)", "text/plain");
        break;
    case "grow":
        $var(i) = 0;
        $var(limit) = $(hdr(X-Count){s.int});
        while ($var(i) < $var(limit)) {
            $var(json) = '{"a":"' + $hdr(X-Mark) + '(' + $hdr(X-Path) + $var(i) + ')"}';
            kazoo_json($var(json), "a", "$avp(out)");
            if ($rc == -14) { $var(rc) = $var(rc) + 1; }
            $avp(out) = $null;
            $var(i) = $var(i) + 1;
        }
        break;
    }
    append_to_reply("X-Ret: $var(rc)\r\n");
    sl_send_reply("200", "OK");
    exit;
}
"#;

static KAMAILIO: LazyLock<Mutex<Kamailio>> =
    LazyLock::new(|| Mutex::new(started("script", |builder| builder.memory(64, 64))));

fn started(name: &str, adjust: impl FnOnce(Builder) -> Builder) -> Kamailio {
    let lines = ["pv_buffer_size=65000", "max_while_loops=10000000"];
    let builder = lines.iter().fold(kamailio(name).children(1), |builder, line| builder.line(line));
    adjust(builder.routes(ROUTES)).start().unwrap()
}

fn server() -> MutexGuard<'static, Kamailio> {
    KAMAILIO.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ask(client: &SipClient, case: &str, path: &str, body: &[u8]) -> Response {
    let request = client.request("MESSAGE").header("X-Case", case).header("X-Path", path);
    request.body("text/plain", body).send().unwrap()
}

fn text(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}

/// Payload, path, what is found; `None` for missing.
type Row = (&'static str, &'static str, Option<&'static str>);

/// Reference 5.3 and 5.4.
const PATHS: &[Row] = &[
    (r#"{"a":"text"}"#, "a", Some("text")),
    (r#"{"a":{"b":{"c":"deep"}}}"#, "a.b.c", Some("deep")),
    (r#"{"a":{"b.c":"dotted"}}"#, "a.b%c", Some("dotted")),
    (r#"{"a.b":{"c.d":"both"}}"#, "a%b.c%d", Some("both")),
    (r#"{"a":"x"}"#, "a.", Some("x")),
    (r#"{"a":[10,20,30]}"#, "a[1]", Some("20")),
    (r#"{"a":[10,20,30]}"#, "a[01]", Some("20")),
    (r#"{"a":[10,20,30]}"#, "a[3]", None),
    (r#"{"a":[10,20,30]}"#, "a[-1]", None),
    (r#"{"a":[10,20,30]}"#, "a[x]", Some("10")),
    (r#"{"a":[10,20,30]}"#, "a[1][0]", Some("20")),
    (r#"{"a":[{"b":["x","y"]}]}"#, "a[0].b[1]", Some("y")),
    (r#"{"a":"text"}"#, "a[0]", Some("text")),
    (r#"{"a":"text"}"#, "a[]", Some("text")),
    (r#"{"a":"text"}"#, "b", None),
    (r#"{"a":"text"}"#, "a.b", None),
    (r#"{"a":"text"}"#, "A", None),
    (r#"{"a":null}"#, "a", None),
    (r#"{"a":""}"#, "a", Some("")),
    (r#"{"with blank":1}"#, "with blank", Some("1")),
    (r#"{"a":17}"#, "a", Some("17")),
    (r#"{"a":-9223372036854775808}"#, "a", Some("-9223372036854775808")),
    (r#"{"a":1.50}"#, "a", Some("1.50")),
    (r#"{"a":1e3}"#, "a", Some("1e3")),
    (r#"{"a":true,"b":false}"#, "a", Some("true")),
    (r#"{"a":true,"b":false}"#, "b", Some("false")),
    (r#"{"a":{"b":1,"c":[]}}"#, "a", Some(r#"{ "b": 1, "c": [ ] }"#)),
    (r#"{"a":[1,"x",{}]}"#, "a", Some(r#"[ 1, "x", { } ]"#)),
    (r#"{"a":{"u":"http:\/\/x"}}"#, "a", Some(r#"{ "u": "http:\/\/x" }"#)),
    (r#"{"a":{"u":"http:\/\/x"}}"#, "a.u", Some("http://x")),
    (r#"{"a":"\u00e9\n\t\"\\"}"#, "a", Some("\u{e9}\n\t\"\\")),
    (r#"{"a":"\ud83d\ude00"}"#, "a", Some("\u{1f600}")),
    (r#"{"a":1,"a":2}"#, "a", Some("2")),
    // The dialect.
    (r#"{'a':'single "double" inside'}"#, "a", Some(r#"single "double" inside"#)),
    (r#"{"a":1,}"#, "a", Some("1")),
    (r#"{"a":[1,2,]}"#, "a[1]", Some("2")),
    ("/* c */ {\"a\": // line\n 1}", "a", Some("1")),
    (r#"{"a":TRUE}"#, "a", Some("true")),
    (r#"{"a":Null}"#, "a", None),
    (r#"{"a":007}"#, "a", Some("7")),
    (r#"{"a":1} trailing"#, "a", Some("1")),
    (r#"   {"a":1}"#, "a", Some("1")),
    ("{\"a\":\"raw\ttab\"}", "a", Some("raw\ttab")),
    // Rejected.
    ("{a:1}", "a", None),
    (r#"{"a":'it\'s'}"#, "a", None),
    (r#"{"a":"\x41"}"#, "a", None),
    (r#"{"a":+1}"#, "a", None),
    (r#"{"a":.5}"#, "a", None),
    (r#"{"a":[1,,2]}"#, "a", None),
    (r#"{"a":1"#, "a", None),
    ("\u{feff}{\"a\":1}", "a", None),
    ("no json", "a", None),
    ("null", "a", None),
    ("[1,2]", "a", None),
    (r#""text""#, "a", None),
    // Paths that make the C module abort.
    (r#"{"a":1}"#, ".a", None),
    (r#"{"a":{"b":1}}"#, "a..b", None),
    (r#"{"a":1}"#, "[0]", None),
];

#[test]
fn kazoo_json_finds_what_the_path_names() {
    let kamailio = server();
    let client = sip(&kamailio);
    for (json, path, expected) in PATHS {
        let response = ask(&client, "kazoo_json", path, json.as_bytes());
        assert_eq!(number(&response, "X-Ret"), 1, "{path} in {json}");
        // A null assignment removes an AVP, which prints as <null>.
        assert_eq!(text(&response), expected.unwrap_or("<null>"), "{path} in {json}");
    }
}

#[test]
fn kz_json_finds_what_the_path_names() {
    let kamailio = server();
    let client = sip(&kamailio);
    for (json, path, expected) in PATHS {
        let response = ask(&client, "kz.json", path, json.as_bytes());
        assert_eq!(text(&response), expected.unwrap_or(""), "{path} in {json}");
        assert_eq!(response.header("X-Null"), "", "an empty text, not null: {path} in {json}");
    }
}

#[test]
fn kz_json_count_is_the_length_of_an_array() {
    let table = [
        (r#"{"a":[1,2,3]}"#, "a", "3"),
        (r#"{"a":[]}"#, "a", "0"),
        (r#"{"a":{"b":[1,[2,3],{}]}}"#, "a.b", "3"),
        (r#"{"a":[[1,2],[3]]}"#, "a[0]", "2"),
        (r#"{"a":"text"}"#, "a", "0"),
        (r#"{"a":{"b":1}}"#, "a", "0"),
        (r#"{"a":null}"#, "a", "0"),
        (r#"{"a":1}"#, "b", "0"),
        ("no json", "a", "0"),
    ];
    let kamailio = server();
    let client = sip(&kamailio);
    for (json, path, expected) in table {
        assert_eq!(text(&ask(&client, "kz.json.count", path, json.as_bytes())), expected, "{path} in {json}");
    }
}

#[test]
fn missing_values_reset_the_target() {
    let kamailio = server();
    let client = sip(&kamailio);
    let found = ask(&client, "kazoo_json du", "u", br#"{"u":"sip:10.0.0.1"}"#);
    assert_eq!(text(&found), "sip:10.0.0.1");
    assert_eq!(text(&ask(&client, "kazoo_json du", "v", br#"{"u":"sip:10.0.0.1"}"#)), "<null>");
    // Kamailio's `$var` knows no null: it becomes 0.
    assert_eq!(text(&ask(&client, "kazoo_json var", "v", b"{}")), "0");
    assert_eq!(text(&ask(&client, "kazoo_json var", "v", br#"{"v":5}"#)), "5");
}

#[test]
fn transformations_of_null_fail_as_null() {
    let kamailio = server();
    let client = sip(&kamailio);
    for case in ["kz.json of null", "kz.encode of null"] {
        let response = ask(&client, case, "a", b"x");
        // What assigning null makes of a `$var`.
        assert_eq!(text(&response), "[] 0", "{case}");
        assert_eq!(response.header("X-Null"), "1", "{case}");
    }
}

#[test]
fn paths_may_be_fixed_hold_variables_and_be_chained() {
    let kamailio = server();
    let client = sip(&kamailio);
    let json = br#"{"a":"x.y","b":["zero","one"],"c":{"d":"deep"},"with blank":"w"}"#;
    let response = ask(&client, "fixed paths", "", json);
    assert_eq!(text(&response), "x.y|one|w|deep|deep|x%2Ey|x.y");
    // The C module keeps four results alive.
    assert_eq!(text(&ask(&client, "many results", "", json)), "x.y zero one deep w x.y");
}

#[test]
fn a_value_of_1_mb_is_whole() {
    let kamailio = server();
    let response = ask(&sip(&kamailio), "big", "", b"x");
    assert_eq!((text(&response).as_str(), number(&response, "X-Ret")), ("1048576 end", 1), "{}", tail(&kamailio));
}

#[test]
fn twenty_results_live_in_one_expression() {
    let kamailio = server();
    let names = ["a", "b"].iter().flat_map(|letter| (0..10).map(move |n| format!("{letter}{n}"))).collect::<Vec<_>>();
    let members = names.iter().map(|name| format!("\"{name}\":\"<{name}>\"")).collect::<Vec<_>>();
    let response = ask(&sip(&kamailio), "twenty results", "", format!("{{{}}}", members.join(",")).as_bytes());
    assert_eq!(text(&response), names.iter().map(|name| format!("<{name}>")).collect::<String>());
}

/// Reference 2.7. AVPs are a stack: the last member's name comes first.
#[test]
fn kazoo_json_keys_stacks_the_names() {
    let table = [
        (r#"{"a":{"x":1,"y":2,"z":3}}"#, "a", 1, "z y z, y, x"),
        (r#"{"a":{"b":{"x":1,"y":{}}}}"#, "a.b", 1, "y x y, x"),
        (r#"{"a":[{"x":1},{"y":1,"z":1}]}"#, "a[1]", 1, "z y z, y"),
        (r#"{"a":{}}"#, "a", 1, "<null> <null> <null>"),
        (r#"{"a":{"x":1}}"#, "b", 1, "<null> <null> <null>"),
        (r#"{"a":null}"#, "a", 1, "<null> <null> <null>"),
        ("no json", "a", 1, "<null> <null> <null>"),
        // Ours: the payload's own names. The C module crashes on these and those that follow.
        (r#"{"x":1,"y":2}"#, "", 1, "y x y, x"),
        (r#"{"a":[1,2]}"#, "a", -2, "<null> <null> <null>"),
        (r#"{"a":"text"}"#, "a", -2, "<null> <null> <null>"),
        (r#"{"a":17}"#, "a", -2, "<null> <null> <null>"),
        ("[1]", "", -2, "<null> <null> <null>"),
    ];
    let kamailio = server();
    let client = sip(&kamailio);
    for (json, path, code, keys) in table {
        let response = ask(&client, "keys", path, json.as_bytes());
        assert_eq!((number(&response, "X-Ret"), text(&response).as_str()), (code, keys), "\"{path}\" in {json}");
    }
    let response = ask(&client, "more keys", "", br#"{"a":{"x":1},"b":{"y":1,"z":1}}"#);
    assert_eq!(text(&response), "z, y, x", "an index in the target is ignored");
    let big: String = (0..5_001).map(|n| format!("\"k{n}\":1,")).collect();
    let response = ask(&client, "keys", "", format!("{{{}}}", &big[..big.len() - 1]).as_bytes());
    assert_eq!((number(&response, "X-Ret"), text(&response).as_str()), (-1, "<null> <null> <null>"));
}

#[test]
fn kazoo_json_keys_wants_an_avp() {
    let kamailio = server();
    let client = sip(&kamailio);
    let json = br#"{"a":{"x":1}}"#;
    let good = ask(&client, "keys unquoted", "$avp(keys)", json);
    assert_eq!((number(&good, "X-Ret"), text(&good).as_str()), (1, "x"));
    for name in ["$var(keys)", "$du", "keys", "$avp(keys"] {
        assert_eq!(number(&ask(&client, "keys unquoted", name, json), "X-Ret"), -1, "{name}");
    }
}

#[test]
fn unquoted_parameters_are_expanded_once_more() {
    let table = [
        (r#"{"a":"$rm"}"#, "MESSAGE"),
        (r#"{"a":"$rm$rm $(rm{s.len}) $$ $hdr(X-Case)"}"#, "MESSAGEMESSAGE 7 $ expand"),
        (r#"{"a":"$(rm{s.tolower}) $(hdr(X-Case){kz.encode})-"}"#, "message expand-"),
        // As in Kamailio's own expansion: null, and what cannot be evaluated.
        (r#"{"a":"[$avp(never)] [$(avp(never){kz.json,a})] [$var(never)]"}"#, "[<null>] [] [0]"),
        (r#"{"a":"no variable"}"#, "no variable"),
        // Learnt names stay good.
        (r#"{"a":"$hdr(X-Case) $avp(never)"}"#, "expand <null>"),
    ];
    let kamailio = server();
    let client = sip(&kamailio);
    for (json, expected) in table {
        let response = ask(&client, "expand", "", json.as_bytes());
        assert_eq!((number(&response, "X-Ret"), text(&response).as_str()), (1, expected), "{json}");
    }
    let response = ask(&client, "expand a path", "$rm", br#"{"MESSAGE":"by method"}"#);
    assert_eq!((number(&response, "X-Ret"), text(&response).as_str()), (1, "by method"));
    // Kamailio's own expansion ends at `pv_buffer_size`.
    let filled = format!(r#"{{"Fill":"{}","a":"$rm"}}"#, "x".repeat(40_000) + &"$rm".repeat(2_000));
    let response = ask(&client, "expand", "", filled.as_bytes());
    assert_eq!((number(&response, "X-Ret"), text(&response).as_str()), (1, "MESSAGE"));
}

#[test]
fn text_that_cannot_be_expanded_gives_a_code_and_a_line() {
    let kamailio = server();
    let client = sip(&kamailio);
    for json in [
        r#"{"a":"$100"}"#,
        r#"{"a":"it costs 5 $"}"#,
        r#"{"a":"$var(open"}"#,
        r#"{"a":"$(open"}"#,
        r#"{"a":"$()"}"#,
        r#"{"a":"$nonsense(x)"}"#,
        r#"{"a":"$var()"}"#,
        r#"{"a":"$(rm{s.nonsense})"}"#,
        "$",
    ] {
        let response = ask(&client, "expand", "", json.as_bytes());
        assert_eq!((number(&response, "X-Ret"), text(&response).as_str()), (-14, "before"), "{json}");
    }
    let lines = complaints(&kamailio).join("\n");
    assert!(lines.contains("$100") && lines.contains("expand_unquoted_params"), "{lines}");
}

#[test]
fn expansion_can_be_turned_off() {
    let mut kamailio = started("plain", |builder| builder.modparam_int("expand_unquoted_params", 0));
    let client = sip(&kamailio);
    for (json, expected) in
        [(r#"{"a":"$rm"}"#, "$rm"), (r#"{"a":"$100"}"#, "$100"), (r#"{"a":"$nonsense(x"}"#, "$nonsense(x")]
    {
        let response = ask(&client, "expand", "", json.as_bytes());
        assert_eq!((number(&response, "X-Ret"), text(&response).as_str()), (1, expected), "{json}");
    }
    // In quotes there is one expansion, as ever.
    assert_eq!(text(&ask(&client, "kazoo_json", "MESSAGE", br#"{"MESSAGE":"x"}"#)), "x");
    still_well(&mut kamailio);
}

/// Whoever can put text into a payload can put names of variables into it.
#[test]
fn names_of_variables_in_a_text_do_not_use_up_memory() {
    const COUNT: i64 = 100_000;
    let mut kamailio = started("hostile", |builder| builder.memory(64, 16));
    let worker = kamailio.processes_titled("udp receiver").unwrap()[0].pid;
    let client = sip(&kamailio);
    let grow = |mark: &str, name: &str, count: i64| {
        let request = client.request("MESSAGE").header("X-Case", "grow").header("X-Mark", mark);
        let request = request.header("X-Path", name).header("X-Count", &count.to_string()).timeout(LONG);
        number(&request.send().unwrap(), "X-Ret")
    };
    assert_eq!(text(&ask(&client, "expand", "", br#"{"a":"$hdr(X-Case)"}"#)), "expand");
    // A transformation that the script does not contain, learnt in time.
    assert_eq!(text(&ask(&client, "expand", "", br#"{"a":"$(rm{s.tolower})"}"#)), "message");
    // Every name once: what there is to learn is learnt, and the lists inside Kamailio are as long as they get.
    assert!(grow("$var", "aaa", COUNT / 10) > 0, "all of them were learnt");
    let before = kamailio.memory(worker).unwrap();
    for mark in ["$var", "$hdr", "$avp", "$nonsense", "$"] {
        let refused = grow(mark, "bbb", COUNT / 5);
        assert_eq!(refused, COUNT / 5, "{mark}: refused");
    }
    let after = kamailio.memory(worker).unwrap();
    println!("private KiB before {} and after {} of {COUNT} names", before.private_kib, after.private_kib);
    assert!(after.private_kib <= before.private_kib + 256, "{before:?} {after:?}");
    // What the script contains, what was learnt, and what needs no learning goes on.
    let known = br#"{"a":"$hdr(X-Case) $(rm{s.tolower}) $rm $var(path)"}"#;
    assert_eq!(text(&ask(&client, "expand", "p", known)), "expand message MESSAGE p");
    still_well(&mut kamailio);
}

/// Reference 5.2, with bytes above 0x7F as the Kazoo servers write them.
#[test]
fn routing_keys_are_encoded() {
    let table: &[(&[u8], &str)] = &[
        (b"plain-Text_09~", "plain-Text_09~"),
        (b"a.b", "a%2Eb"),
        (b"a b", "a+b"),
        (b"*", "*"),
        (b"#", "#"),
        (b"**", "%2A%2A"),
        (b"a#", "a%23"),
        (b"+", "%2B"),
        (b"%", "%25"),
        (b"user@example.com", "user%40example%2Ecom"),
        (b"/:;=?&<>\"'", "%2F%3A%3B%3D%3F%26%3C%3E%22%27"),
        (b"\x01\x7f", "%01%7F"),
        ("\u{e9}\u{20ac}".as_bytes(), "%C3%A9%E2%82%AC"),
        (b"\xff\x80", "%FF%80"),
    ];
    let kamailio = server();
    let client = sip(&kamailio);
    for (input, expected) in table {
        let shown = String::from_utf8_lossy(input);
        assert_eq!(text(&ask(&client, "kz.encode", "", input)), *expected, "{{kz.encode}} of {shown:?}");
        let response = ask(&client, "kazoo_encode", "", input);
        assert_eq!((text(&response).as_str(), number(&response, "X-Ret")), (*expected, 1), "{shown:?}");
    }
}

#[test]
fn encoding_ends_at_the_limit_of_a_routing_key() {
    let kamailio = server();
    let client = sip(&kamailio);
    let long = "a".repeat(255);
    assert_eq!(text(&ask(&client, "kazoo_encode", "", long.as_bytes())), long);
    assert_eq!(text(&ask(&client, "kz.encode", "", long.as_bytes())), long);

    let before = complaints(&kamailio).len();
    let response = ask(&client, "kazoo_encode", "", "a".repeat(256).as_bytes());
    assert!(number(&response, "X-Ret") < 0, "{response:?}");
    assert_eq!(text(&response), "before", "the target keeps its value");
    let new = complaints(&kamailio).split_off(before);
    assert!(new.len() == 1 && new[0].contains("256") && new[0].contains("255"), "{new:#?}");
    // The transformation has no return code: it cuts, in full units.
    let cut = text(&ask(&client, "kz.encode", "", "a".repeat(600).as_bytes()));
    assert!((255..=257).contains(&cut.len()) && cut.chars().all(|c| c == 'a'), "{} bytes", cut.len());
    let cut = text(&ask(&client, "kz.encode", "", ".".repeat(600).as_bytes()));
    assert!(cut.len() <= 257 && cut.len().is_multiple_of(3) && cut == "%2E".repeat(cut.len() / 3), "{cut}");
}

#[test]
fn kamailio_is_well_after_all_of_it() {
    let mut kamailio = server();
    let client = sip(&kamailio);
    let deep = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    // 32 levels, the object and the number included, are the last that is accepted.
    assert_eq!(text(&ask(&client, "kazoo_json", "a", deep(30).as_bytes())).matches('[').count(), 30);
    assert_eq!(text(&ask(&client, "kazoo_json", "a", deep(31).as_bytes())), "<null>");
    for _ in 0..2_000 {
        assert_eq!(text(&ask(&client, "kz.json", "a.b", br#"{"a":{"b":"again"}}"#)), "again");
    }
    still_well(&mut kamailio);
}
