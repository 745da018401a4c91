//! Percent-encoding of routing key words (reference 5.2).

use crate::case::{Cases, Form, Input};

/// One byte of each class.
const BYTES: &[u8] = &[
    0x01, 0x09, 0x0a, 0x0d, 0x1f, b' ', b'!', b'"', b'#', b'$', b'%', b'&', b'\'', b'(', b')', b'*', b'+', b',', b'-',
    b'.', b'/', b'0', b'9', b':', b';', b'<', b'=', b'>', b'?', b'@', b'A', b'Z', b'[', b'\\', b']', b'^', b'_', b'`',
    b'a', b'z', b'{', b'|', b'}', b'~', 0x7f, 0x80, 0x9f, 0xa5, 0xb0, 0xc3, 0xd7, 0xe9, 0xff,
];

pub fn add(cases: &mut Cases) {
    let function = Form::call(r#"kazoo_encode("$var(text)", "$avp(out)")"#).see("$avp(out)");
    let transformation = Form::statements("$avp(out) = $(var(text){kz.encode});").see("$avp(out)");
    let unquoted = Form::call("kazoo_encode($var(text), \"$var(out)\")").see("$var(out)");
    let texts = [
        ("word", b"plain-Text_09~".to_vec()),
        ("words", b"one.two three".to_vec()),
        ("address", b"user@example.com".to_vec()),
        ("two stars", b"**".to_vec()),
        ("star and hash", b"*#".to_vec()),
        ("star in a word", b"a*b".to_vec()),
        ("encoded already", b"a%2Eb".to_vec()),
        ("empty", Vec::new()),
        ("UTF-8", "é€".as_bytes().to_vec()),
        ("255 letters", vec![b'a'; 255]),
        ("256 letters", vec![b'a'; 256]),
        ("85 dots", vec![b'.'; 85]),
        ("86 dots", vec![b'.'; 86]),
        ("255 dots", vec![b'.'; 255]),
        ("254 letters and a dot", [vec![b'a'; 254], b".".to_vec()].concat()),
        ("253 letters and a dot", [vec![b'a'; 253], b".".to_vec()].concat()),
        ("1000 letters", vec![b'a'; 1000]),
        ("1000 dots", vec![b'.'; 1000]),
    ];
    for (group, form) in [("kazoo_encode", &function), ("kz.encode", &transformation)] {
        cases.group(group);
        for byte in BYTES {
            cases.script(format!("byte {byte:02x}"), form, Input::text([*byte]));
            cases.script(format!("byte {byte:02x} in a word"), form, Input::text([b'a', *byte, b'b']));
        }
        for (name, text) in &texts {
            cases.script(name, form, Input::text(text));
        }
    }
    cases.group("kazoo_encode");
    cases.script("unquoted", &unquoted, Input::text("a.b"));
    cases.script("into a script variable", &unquoted, Input::text("x y"));
    let user = Form::call(r#"kazoo_encode("$ruri", "$du")"#).see("$du");
    cases.script("R-URI into $du", &Form { call: user.call.replace("$ruri", "sip:$rU"), ..user }, Input::default());
    let several = r#"$avp(out) = "[" + $(var(text){kz.encode}) + "." + $(var(payload){kz.encode}) + "]";"#;
    cases.group("kz.encode");
    cases.script(
        "in an expression",
        &Form::statements(several).see("$avp(out)"),
        Input::text("a b").with_payload("c.d"),
    );
    let embedded = r#"$avp(out) = "x.$(var(text){kz.encode}).y";"#;
    cases.script("in a text", &Form::statements(embedded).see("$avp(out)"), Input::text("a.b"));
    let chained = "$avp(out) = $(var(text){s.toupper}{kz.encode}{s.len});";
    cases.script("chained", &Form::statements(chained).see("$avp(out)"), Input::text("a.b"));
    let upper = "$avp(out) = $(var(text){kz.ENCODE});";
    cases.script("name in upper case", &Form::statements(upper).see("$avp(out)"), Input::text("a.b"));
}
