//! How a script writes the parameters: quoted, unquoted, concatenated, expanded twice (reference 0).

use crate::case::{Cases, Form, Input, Setup};

/// Name and arguments of `kazoo_publish`. In the script: `$var(payload)` is the request's body, `$var(text)` the text
/// `user`, `$var(key)` the routing key `key`.
const PUBLISH: &[(&str, &str)] = &[
    ("all quoted", r#""diff", "key", '{"a":1}'"#),
    ("double quotes, escaped", r#""diff", "key", "{\"a\":1}""#),
    ("single quotes", r#"'diff', 'key', '{"a":1}'"#),
    ("all variables, unquoted", "$var(exchange), $var(key), $var(payload)"),
    ("all variables, quoted", r#""$var(exchange)", "$var(key)", "$var(payload)""#),
    ("text around a variable", r#""diff", "key.$var(text).end", '{"a":"<$var(text)>"}'"#),
    ("two variables in a text", r#""diff", "$var(text).$var(key)", '{"$var(key)":"$var(text)"}'"#),
    ("variable in parentheses", r#""diff", "$(var(text)).x", '{"a":"$(var(text){s.toupper})"}'"#),
    ("concatenated key", r#""diff", "key." + $var(text), '{"a":1}'"#),
    ("concatenated payload", r#""diff", "key", '{"a":"' + $var(text) + '"}'"#),
    ("concatenated exchange", r#""di" + "ff", "key", '{"a":1}'"#),
    ("concatenated constants", r#""diff", "k" + "ey", '{"a":' + '1}'"#),
    ("pseudo-variables of the request", r#""diff", "$(rm).$rU", '{"m":"$rm","u":"$rU","p":"$proto"}'"#),
    ("unquoted pseudo-variables", r#""diff", $rm, '{"a":1}'"#),
    ("header", r#""diff", "key", '{"h":"$hdr(X-Route)"}'"#),
    ("unset AVP", r#""diff", "key", '{"a":"$avp(unset)"}'"#),
    ("unset AVP as key", r#""diff", "$avp(unset)", '{"a":1}'"#),
    ("unset AVP as key, unquoted", r#""diff", $avp(unset), '{"a":1}'"#),
    ("unset AVP as payload", r#""diff", "key", $avp(unset)"#),
    ("unset AVP as payload, quoted", r#""diff", "key", "$avp(unset)""#),
    ("number variable", r#""diff", "key", '{"a":$var(number)}'"#),
    ("number variable as key", r#""diff", $var(number), '{"a":1}'"#),
    ("number as key", r#""diff", 17, '{"a":1}'"#),
    ("transformation", r#""diff", "$(var(dots){kz.encode})", '{"a":"$(var(dots){s.len})"}'"#),
    ("failing transformation", r#""diff", "key", '{"a":"$(avp(unset){kz.json,x})"}'"#),
    ("two dollars", r#""diff", "key", '{"a":"5$$"}'"#),
    ("template in a variable, unquoted", r#""diff", "key", $var(template)"#),
    ("template in a variable, quoted", r#""diff", "key", "$var(template)""#),
    ("template in a variable, concatenated", r#""diff", "key", $var(template) + """#),
    ("template as key, unquoted", r#""diff", $var(keytemplate), '{"a":1}'"#),
    ("template as key, quoted", r#""diff", "$var(keytemplate)", '{"a":1}'"#),
    ("price in a variable, unquoted", r#""diff", "key", $var(price)"#),
    ("price in a variable, quoted", r#""diff", "key", "$var(price)""#),
    ("two dollars in a variable, unquoted", r#""diff", "key", $var(dollars)"#),
    ("two dollars in a variable, quoted", r#""diff", "key", "$var(dollars)""#),
    ("body, unquoted", r#""diff", "key", $rb"#),
    ("body, quoted", r#""diff", "key", "$rb""#),
    ("headers, quoted", r#""diff", "key", '{"a":1}', "x=1;y=$var(text)""#),
    ("headers, unquoted", r#""diff", "key", '{"a":1}', $var(pairs)"#),
    ("headers, concatenated", r#""diff", "key", '{"a":1}', "x=" + $var(text)"#),
    ("headers, unset AVP", r#""diff", "key", '{"a":1}', $avp(unset)"#),
    ("headers, unset AVP, quoted", r#""diff", "key", '{"a":1}', "$avp(unset)""#),
    ("headers, literal empty", r#""diff", "key", '{"a":1}', """#),
];

/// Single quotes keep the `$` of these out of the assignment.
const BEFORE: &str = r#"$var(text) = "user"; $var(number) = 17; $var(dots) = "a.b"; $var(pairs) = "x=1;y=2";
    $var(template) = '{"user":"$var(text)","method":"$rm"}'; $var(keytemplate) = 'key.$var(text)';
    $var(price) = '{"price":"$100"}'; $var(dollars) = '{"price":"5$$"}';"#;

pub fn add(cases: &mut Cases) {
    cases.group("parameter forms");
    for (name, arguments) in PUBLISH {
        let form = Form::call(&format!("kazoo_publish({arguments})")).before(BEFORE);
        cases.script(name, &form, Input::default());
    }
    // There is no exchange <null>; the C module loses what it publishes afterwards.
    let unset = Form::call(r#"kazoo_publish("$avp(unset)", "key", '{"a":1}')"#);
    cases.script("unset AVP as exchange", &unset, Input::default()).alone([("branch", "true"), ("messages", "0")]);
    let statement = r#"kazoo_publish("diff", "statement", '{"a":1}'); $avp(out) = $rc;"#;
    cases.script("as a statement", &Form::statements(statement).see("$avp(out)"), Input::default());
    let negated = Form::call(r#"!kazoo_publish("diff", "negated", '{"a":1}')"#);
    cases.script("negated", &negated, Input::default());
    let both = Form::call(r#"kazoo_publish("diff", "one", "{}") && kazoo_publish("diff", "two", "bad")"#);
    cases.script("two in one condition", &both, Input::default());
    let either = Form::call(r#"kazoo_publish("diff", "one", "bad") || kazoo_publish("diff", "two", "{}")"#);
    cases.script("either in one condition", &either, Input::default());
    let sequence = Form::statements(
        r#"$var(i) = 0; while ($var(i) < 20) { kazoo_publish("diff", "n.$var(i)", '{"n":$var(i)}'); $var(i) = $var(i) + 1; }"#,
    );
    cases.script("loop keeps the order", &sequence, Input::default());

    cases.group("no broker").setup(Setup::NoBroker);
    cases.script("publish", &Form::call(r#"kazoo_publish("diff", "key", '{"a":1}')"#), Input::default());
    cases.script("publish, bad JSON", &Form::call(r#"kazoo_publish("diff", "key", "bad")"#), Input::default());
    let query = Form::call(r#"kazoo_query($var(exchange), "key", '{"a":1}')"#).see("$kzR");
    cases.script("query", &query, Input::default());
    cases.script("kazoo_json", &super::json(), Input::payload(r#"{"a":"x"}"#).with_path("a"));
    cases.script(
        "kz.encode",
        &Form::statements("$avp(out) = $(var(text){kz.encode});").see("$avp(out)"),
        Input::text("a.b"),
    );
}
