//! The `headers` parameter (reference 2.1).

use crate::case::{Cases, Form, Input};

pub fn add(cases: &mut Cases) {
    let form = Form::call(r#"kazoo_publish("$var(exchange)", "$var(key)", "$var(payload)", "$var(headers)")"#);
    cases.group("headers");
    for (name, text) in [
        ("one", "a=1"),
        ("two", "a=1;b=2"),
        ("empty", ""),
        ("semicolons only", ";;;"),
        ("empty parts", ";a=1;;b=2;"),
        ("several equals signs", "a==1"),
        ("leading equals sign", "=a=1"),
        ("second equals sign", "a=1=2"),
        ("second equals sign at the end", "a=1="),
        ("no value", "a"),
        ("no value, equals sign", "a="),
        ("no value among others", "a=1;b;c=3"),
        ("no value first", "a;b=2"),
        ("no name", "=1"),
        ("equals sign only", "="),
        ("blanks", " a = 1 ; b c = 2 3 "),
        ("blank value", "a= "),
        ("colons", "a:b=c:d"),
        ("UTF-8", "é=€"),
        ("quotes", "a=\"x\";b='y'"),
        ("number", "a=17"),
        ("dots and slashes", "x.y/z=1.2/3"),
        ("many", "a=1;b=2;c=3;d=4;e=5;f=6;g=7;h=8;i=9;j=10;k=11;l=12"),
        ("same name twice", "a=1;a=2"),
        ("value of 300 bytes", &format!("a={}", "v".repeat(300))),
        ("name of 255 bytes", &format!("{}=1", "n".repeat(255))),
    ] {
        cases.script(name, &form, Input::default().with_headers(text));
    }
}
