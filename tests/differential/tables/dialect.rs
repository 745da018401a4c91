//! Which texts are JSON (reference 5.4), and how they are written back.

use super::{REFUSED, json, publish};
use crate::case::{Cases, Input};

/// A value of a member, published and looked up.
const VALUES: &[(&str, &[u8])] = &[
    ("string", br#""text""#),
    ("empty string", br#""""#),
    ("number", b"17"),
    ("zero", b"0"),
    ("minus zero", b"-0"),
    ("negative", b"-17"),
    ("true", b"true"),
    ("false", b"false"),
    ("null", b"null"),
    ("object", br#"{"b":{"c":1}}"#),
    ("array", br#"[1,"x",null,[],{}]"#),
    ("empty object", b"{}"),
    ("empty array", b"[]"),
    ("single quotes", b"'text'"),
    ("double inside single", br#"'say "x"'"#),
    ("single inside double", br#""it's""#),
    ("escaped single", br"'it\'s'"),
    ("trailing comma in array", b"[1,2,]"),
    ("trailing comma in object", br#"{"b":1,}"#),
    ("only a comma in array", b"[,]"),
    ("only a comma in object", b"{,}"),
    ("missing element", b"[1,,2]"),
    ("two trailing commas", b"[1,,]"),
    ("no comma in array", b"[1 2]"),
    ("block comment", b"/* c */ 1 /* d */"),
    ("empty comment", b"/**/1"),
    ("comment of stars", b"/***/1"),
    ("comment of four stars", b"/****/1"),
    ("line comment", b"// c\n 1 // d\n"),
    ("half a comment", b"1 / 2"),
    ("TRUE", b"TRUE"),
    ("False", b"False"),
    ("NULL", b"NULL"),
    ("NaN", b"NaN"),
    ("nan", b"nan"),
    ("Infinity", b"Infinity"),
    ("-Infinity", b"-Infinity"),
    ("infinity", b"infinity"),
    ("-nan", b"-nan"),
    ("inf", b"inf"),
    ("leading zeros", b"007"),
    ("negative leading zeros", b"-007"),
    ("dot at the end", b"1."),
    ("dot at the start", b".5"),
    ("minus dot", b"-.5"),
    ("e at the end", b"1e"),
    ("E+ at the end", b"1E+"),
    ("dot e", b"1.e"),
    ("dot minus", b"1.-"),
    ("exponent", b"1e3"),
    ("large exponent", b"1E400"),
    ("float as written", b"1.50"),
    ("two dots", b"1.5.3"),
    ("plus", b"+1"),
    ("hexadecimal", b"0x10"),
    ("minus alone", b"-"),
    ("two minus", b"--1"),
    ("largest integer", b"9223372036854775807"),
    ("above signed", b"9223372036854775808"),
    ("largest unsigned", b"18446744073709551615"),
    ("above unsigned", b"18446744073709551616"),
    ("far above", b"99999999999999999999999"),
    ("smallest integer", b"-9223372036854775808"),
    ("below it", b"-9223372036854775809"),
    ("long float", b"3.14159265358979323846264338327950288"),
    ("short escapes", br#""\" \\ \/ \b \f \n \r \t""#),
    ("unicode escape", br#""\u00e9\u0041""#),
    ("upper-case digits", br#""\u00E9\u20AC""#),
    ("surrogate pair", br#""\ud83d\ude00""#),
    ("high surrogate alone", br#""\ud800x""#),
    ("high surrogate at the end", br#""\ud800""#),
    ("low surrogate alone", br#""\udc00x""#),
    ("two high surrogates", br#""\ud800\ud800""#),
    ("high surrogate, other escape", br#""\ud800\n""#),
    ("high surrogate, letter", br#""\ud800\u0041""#),
    ("NUL escape", br#""a\u0000b""#),
    ("delete", b"\"\x7f\""),
    ("short unicode escape", br#""\u12""#),
    ("bad unicode escape", br#""\u12g4""#),
    ("x escape", br#""\x41""#),
    ("a escape", br#""\a""#),
    ("0 escape", br#""\0""#),
    ("raw tab", b"\"a\tb\""),
    ("raw newline", b"\"a\nb\""),
    ("raw control", b"\"a\x01\x1fb\""),
    ("UTF-8", "\"é€😀\"".as_bytes()),
    ("Latin-1", b"\"caf\xe9\""),
    ("broken UTF-8", b"\"\xff\xc3\""),
    ("slash", br#""http://x/""#),
    ("dollar", br#""100$ $$ 5""#),
    ("open string", br#""abc"#),
    ("open array", b"[1"),
    ("bare word", b"word"),
    ("word that goes on", b"truex"),
    ("half a word", b"tru"),
    ("nothing", b""),
    ("duplicate keys", br#"{"x":1,"y":2,"x":3}"#),
    ("empty key", br#"{"":1}"#),
    ("NUL in a key", br#"{"a\u0000b":1,"a":2}"#),
    ("key in single quotes", br#"{'k "x"':1}"#),
    ("key with escapes", br#"{"\u0061\n\/":1}"#),
    ("bare key", b"{b:1}"),
    ("number as key", b"{1:1}"),
    ("missing colon", br#"{"b" 1}"#),
    ("missing value", br#"{"b":}"#),
    ("equals sign", br#"{"b"=1}"#),
    ("semicolon", br#"{"b":1;"c":2}"#),
];

/// The whole text.
const TEXTS: &[(&str, &[u8])] = &[
    ("empty object", b"{}"),
    ("blanks around", b" \t\r\n{\"v\":1}\n "),
    ("text behind", br#"{"v":1} and more"#),
    ("second value behind", br#"{"v":1}{"v":2}"#),
    ("brace behind", br#"{"v":1}}"#),
    ("comment behind", br#"{"v":1} // done"#),
    ("comment in front", br#"/* x */ {"v":1}"#),
    ("slash behind", br#"{"v":1} /x"#),
    ("open comment behind", br#"{"v":1} /* x"#),
    ("NUL behind", b"{\"v\":1}\0{"),
    ("NUL inside", b"{\"v\":\0 1}"),
    ("NUL in a string", b"{\"v\":\"a\0b\"}"),
    ("byte order mark", b"\xef\xbb\xbf{\"v\":1}"),
    ("vertical tab", b"{\x0b\"v\":1}"),
    ("form feed", b"{\x0c\"v\":1}"),
    ("no-break space", b"{\xa0\"v\":1}"),
    ("empty", b""),
    ("blanks only", b"   "),
    ("comment only", b"/* x */"),
    ("null", b"null"),
    ("NULL", b"NULL"),
    ("plain text", b"hello"),
    ("open object", br#"{"v":1"#),
    ("closing brace only", b"}"),
    ("order kept", br#"{"z":1,"a":2,"v":3,"m":{"z":1,"a":2}}"#),
    ("quotes missing", b"{v:1}"),
];

/// JSON, but nothing that fields can be added to: the C module ends in an assertion of its JSON library.
const NOT_OBJECTS: &[(&str, &[u8])] =
    &[("array", b"[1,2]"), ("number", b"17"), ("string", b"\"text\""), ("true", b"true"), ("NaN", b"NaN")];

pub fn add(cases: &mut Cases) {
    let bodies: Vec<_> = VALUES
        .iter()
        .map(|(name, value)| (*name, [b"{\"first\":0,\"v\":", *value, b",\"last\":9}"].concat()))
        .collect();
    let deep = |levels: usize| format!("{{\"v\":{}1{}}}", "[".repeat(levels), "]".repeat(levels)).into_bytes();
    let nested = [("30 arrays deep", deep(30)), ("31 arrays deep", deep(31)), ("200 arrays deep", deep(200))];
    let texts = TEXTS.iter().map(|(name, text)| (*name, text.to_vec()));
    let texts: Vec<_> = texts.chain(nested).collect();

    cases.group("publish value");
    for (name, body) in &bodies {
        cases.script(name, &publish(), Input::payload(body));
    }
    cases.group("publish text");
    for (name, body) in &texts {
        cases.script(name, &publish(), Input::payload(body));
    }
    for (name, body) in NOT_OBJECTS {
        cases.script(name, &publish(), Input::payload(body)).alone(REFUSED);
    }
    let open = br#"{"first":0,"v":1 /* d ,"last":9}"#;
    cases.script("open comment inside", &publish(), Input::payload(open)).alone(REFUSED);
    cases.group("kazoo_json value");
    for (name, body) in &bodies {
        cases.script(name, &json(), Input::payload(body).with_path("v"));
    }
    cases.group("kazoo_json text");
    for (name, body) in texts.iter().map(|(name, body)| (*name, body.as_slice())).chain(NOT_OBJECTS.iter().copied()) {
        cases.script(name, &json(), Input::payload(body).with_path("v"));
    }
}
