//! JSON paths (reference 5.3) through the function and both transformations, and their null rules (5.1).

use super::json;
use crate::case::{Cases, Form, Input};

const DOCUMENT: &str = r#"{"text":"x","empty":"","zero":0,"n":17,"f":1.50,"t":true,"no":false,"nil":null,
    "deep":{"er":{"est":"down"},"nil":null},"dotted.name":"dot","deep.er":{"in.ner":"both"},"list":[10,20,30],
    "mixed":["a",{"b":["x","y"]},[1,2],null,"",1.5],"none":[],"blank name":"blank","with/slash":"http://x/",
    "nul":"a\u0000b","percent%":"p","br[0]":"bracket","Text":"upper","é":"accent","":"nameless","obj":{},
    "num":{"0":"zero","1":"one"},"esc":"\"\\\n\t","uni":"\u00e9\ud83d\ude00","big":9223372036854775808}"#;

const PATHS: &[(&str, &str)] = &[
    ("string", "text"),
    ("empty string", "empty"),
    ("zero", "zero"),
    ("number", "n"),
    ("float", "f"),
    ("true", "t"),
    ("false", "no"),
    ("null", "nil"),
    ("large number", "big"),
    ("object", "deep"),
    ("array", "list"),
    ("mixed array", "mixed"),
    ("empty array", "none"),
    ("empty object", "obj"),
    ("two levels", "deep.er"),
    ("three levels", "deep.er.est"),
    ("null inside", "deep.nil"),
    ("below null", "deep.nil.x"),
    ("missing", "absent"),
    ("missing below", "deep.absent"),
    ("missing below missing", "absent.absent"),
    ("below a string", "text.x"),
    ("below a number", "n.x"),
    ("below an array", "list.x"),
    ("other case", "Text"),
    ("no such case", "TEXT"),
    ("blank in the name", "blank name"),
    ("slash in the name", "with/slash"),
    ("accent", "é"),
    ("NUL in the value", "nul"),
    ("escapes in the value", "esc"),
    ("unicode in the value", "uni"),
    ("escape character", "dotted%name"),
    ("escape character twice", "deep%er.in%ner"),
    ("escape character, no such name", "deep%absent"),
    ("name with the escape character", "percent%"),
    ("index", "list[0]"),
    ("last index", "list[2]"),
    ("index out of range", "list[3]"),
    ("index far out of range", "list[99999999999999999999]"),
    ("negative index", "list[-1]"),
    ("index with zeros", "list[01]"),
    ("index with a plus", "list[+1]"),
    ("index with blanks", "list[ 1 ]"),
    ("text as index", "list[x]"),
    ("index and text", "list[1x]"),
    ("no index", "list[]"),
    ("second index", "mixed[2][1]"),
    ("text behind the index", "list[1]more"),
    ("open index", "list[1"),
    ("closing bracket only", "list1]"),
    ("index on a string", "text[0]"),
    ("index on an object", "deep[0]"),
    ("index on an object, then a name", "deep[5].er"),
    ("index on null", "nil[0]"),
    ("index on a missing name", "absent[0]"),
    ("element is a string", "mixed[0]"),
    ("element is an object", "mixed[1]"),
    ("member of an element", "mixed[1].b"),
    ("element of a member of an element", "mixed[1].b[1]"),
    ("element is an array", "mixed[2]"),
    ("element is null", "mixed[3]"),
    ("below an element that is null", "mixed[3].x"),
    ("element is empty", "mixed[4]"),
    ("element is a float", "mixed[5]"),
    ("index of an empty array", "none[0]"),
    ("digits as name", "num.1"),
    ("dot at the end", "text."),
    ("dot at the end, two levels", "deep.er."),
    ("blank in front", " text"),
    ("blank behind", "text "),
];

/// The C module ends in an assertion, or uses what lies in memory.
const BROKEN_PATHS: &[(&str, &str)] = &[
    ("empty", ""),
    ("dot", "."),
    ("dot in front", ".text"),
    ("two dots", "deep..er"),
    ("two dots at the end", "text.."),
    ("index only", "[0]"),
    ("index only, below", "deep.[0]"),
    (
        "name of 250 bytes",
        "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\
        nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\
        nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
    ),
];

pub fn add(cases: &mut Cases) {
    let value = Form::statements(
        "$var(isnull) = 0; $avp(out) = $(var(payload){kz.json,$var(path)}); \
         if ($(var(payload){kz.json,$var(path)}) == $null) { $var(isnull) = 1; } \
         $var(text) = \"[$(var(payload){kz.json,$var(path)})]\";",
    )
    .see("$avp(out)")
    .see("$var(isnull)")
    .see("$var(text)");
    let count = Form::statements(
        "$var(out) = $(var(payload){kz.json.count,$var(path)}); \
         $var(text) = \"[$(var(payload){kz.json.count,$var(path)})]\"; \
         if ($(var(payload){kz.json.count,$var(path)}) > 2) { $var(isnull) = 3; } else { $var(isnull) = 2; }",
    )
    .see("$var(out)")
    .see("$var(text)")
    .see("$var(isnull)");
    let input = |path: &str| Input::payload(DOCUMENT).with_path(path);
    for (group, form, nothing) in [
        ("kazoo_json", json(), [("$avp(out)", "null")]),
        ("kz.json", value, [("$avp(out)", "\"\"")]),
        ("kz.json.count", count, [("$var(out)", "\"0\"")]),
    ] {
        cases.group(group);
        for (name, path) in PATHS {
            cases.script(name, &form, input(path));
        }
        for (name, path) in BROKEN_PATHS {
            // An empty variable is no path: the transformation fails, in both modules.
            match (group, *name) {
                ("kz.json" | "kz.json.count", "empty") => cases.script(name, &form, input(path)),
                _ => {
                    cases.script(name, &form, input(path)).alone(nothing);
                    continue;
                }
            };
        }
        for (name, text) in
            [("no JSON", "hello"), ("empty text", ""), ("top is an array", "[1,2]"), ("top is a string", "\"x\"")]
        {
            cases.script(name, &form, Input::payload(text).with_path("text"));
        }
    }
    add_targets(cases);
    add_expressions(cases);
    add_keys(cases);
    add_null_rules(cases);
}

/// What null and texts become in each kind of variable.
fn add_targets(cases: &mut Cases) {
    cases.group("kazoo_json target");
    for (name, target, preset) in [
        ("script variable", "$var(out)", ""),
        ("AVP", "$avp(out)", ""),
        ("unset AVP", "$avp(fresh)", ""),
        ("numbered AVP", "$avp(i:5)", ""),
        ("extended AVP", "$xavp(x=>y)", ""),
        ("destination", "$du", "$du = \"sip:127.0.0.1:9\";"),
        ("R-URI user", "$rU", ""),
    ] {
        let form = Form::call(&format!(r#"kazoo_json("$var(payload)", "$var(path)", "{target}")"#));
        let form = Form { seen: vec![target], ..form.before(preset) };
        for (what, path) in [("text", "u"), ("number", "n"), ("null", "nil"), ("missing", "absent")] {
            let body = r#"{"u":"sip:alice@127.0.0.1:9","n":17,"nil":null}"#;
            cases.script(format!("{name}, {what}"), &form, Input::payload(body).with_path(path));
        }
    }
    let form = |call: &str| Form::call(call).see("$avp(out)");
    cases.script(
        "unquoted payload",
        &form(r#"kazoo_json($var(payload), "n", "$avp(out)")"#),
        Input::payload("{\"n\":1}"),
    );
    cases.script("literal payload", &form(r#"kazoo_json('{"n":"x"}', "n", "$avp(out)")"#), Input::default());
    let stacked = Form::call(r#"kazoo_json("$var(payload)", "n", "$avp(out)")"#).see("$avp(out)").see("$(avp(out)[1])");
    cases.script("AVP keeps what was below", &Form { seen: vec!["$avp(out)"], ..stacked }, Input::payload("{\"n\":1}"));
}

/// Transformations in the expressions that scripts write.
fn add_expressions(cases: &mut Cases) {
    cases.group("kz.json expression");
    let body = r#"{"a":"x.y","b":["zero","one"],"c":{"d":"deep"},"with blank":"w","n":3,"k":"a"}"#;
    for (name, text) in [
        ("fixed path", "$avp(out) = $(var(payload){kz.json,a});"),
        ("fixed path, two levels", "$avp(out) = $(var(payload){kz.json,c.d});"),
        ("fixed path with a blank", "$avp(out) = $(var(payload){kz.json,with blank});"),
        ("blank in front of the path", "$avp(out) = $(var(payload){kz.json, a});"),
        ("blanks behind the path", "$avp(out) = $(var(payload){kz.json,a });"),
        ("fixed index", "$avp(out) = $(var(payload){kz.json,b[1]});"),
        ("index in a variable", "$var(i) = 1; $avp(out) = $(var(payload){kz.json,b[$var(i)]});"),
        ("name in a variable", "$var(p) = \"a\"; $avp(out) = $(var(payload){kz.json,$var(p)});"),
        ("name in an AVP", "$avp(p) = \"c.d\"; $avp(out) = $(var(payload){kz.json,$avp(p)});"),
        ("path partly in a variable", "$var(p) = \"d\"; $avp(out) = $(var(payload){kz.json,c.$var(p)});"),
        ("name in an empty variable", "$var(p) = \"\"; $avp(out) = $(var(payload){kz.json,$var(p)});"),
        ("name in an unset AVP", "$avp(out) = $(var(payload){kz.json,$avp(unset)});"),
        ("name in upper case", "$avp(out) = $(var(payload){kz.JSON,a});"),
        ("chained", "$avp(out) = $(var(payload){kz.json,c}{kz.json,d});"),
        ("chained with encode", "$avp(out) = $(var(payload){kz.json,a}{kz.encode});"),
        ("chained with s.len", "$avp(out) = $(var(payload){kz.json,a}{s.len});"),
        ("chained behind s.replace", "$avp(out) = $(var(payload){s.replace,deep,shallow}{kz.json,c.d});"),
        ("count chained", "$avp(out) = $(var(payload){kz.json.count,b}{s.len});"),
        ("sum of texts", "$avp(out) = $(var(payload){kz.json,a}) + \"|\" + $(var(payload){kz.json,c.d});"),
        (
            "four in one text",
            "$avp(out) = \"$(var(payload){kz.json,a}) $(var(payload){kz.json,b[0]}) $(var(payload){kz.json,b[1]}) $(var(payload){kz.json,c.d})\";",
        ),
        (
            "six in one text",
            "$avp(out) = \"$(var(payload){kz.json,a}) $(var(payload){kz.json,b[0]}) $(var(payload){kz.json,b[1]}) $(var(payload){kz.json,c.d}) $(var(payload){kz.json,n}) $(var(payload){kz.json,k})\";",
        ),
        (
            "six in one sum",
            "$avp(out) = $(var(payload){kz.json,a}) + $(var(payload){kz.json,b[0]}) + $(var(payload){kz.json,b[1]}) + $(var(payload){kz.json,c.d}) + $(var(payload){kz.json,n}) + $(var(payload){kz.json,k});",
        ),
        ("as number", "$var(out) = $(var(payload){kz.json,n}{s.int}) + 4; $avp(out) = $var(out);"),
        ("compared", "if ($(var(payload){kz.json,a}) == \"x.y\") { $avp(out) = \"same\"; }"),
        ("compared with a number", "if ($(var(payload){kz.json,n}) == 3) { $avp(out) = \"same\"; }"),
        ("missing compared with empty", "if ($(var(payload){kz.json,absent}) == \"\") { $avp(out) = \"same\"; }"),
        (
            "in a switch",
            "switch ($(var(payload){kz.json,k})) { case \"a\": $avp(out) = \"found\"; break; default: $avp(out) = \"other\"; }",
        ),
        (
            "count in a loop",
            "$var(i) = 0; $avp(out) = \"\"; while ($var(i) < $(var(payload){kz.json.count,b})) { $avp(out) = $(avp(out)) + $(var(payload){kz.json,b[$var(i)]}) + \",\"; $var(i) = $var(i) + 1; }",
        ),
        ("of the body", "$avp(out) = $(rb{kz.json,c});"),
        ("of a longer body", "$avp(out) = $(rb{kz.json,c.d}) + $(rb{kz.json.count,b});"),
    ] {
        cases.script(name, &Form::statements(text).see("$avp(out)"), Input::payload(body));
    }
}

/// The names of an object's members, as a list of AVPs.
fn add_keys(cases: &mut Cases) {
    let form = Form::call(r#"kazoo_json_keys("$var(payload)", "$var(path)", "$avp(keys)")"#)
        .before("$avp(keys) = $null;")
        .after(
            "$var(i) = 0; $avp(out) = \"\"; while ($var(i) < $cnt($avp(keys))) \
             { $avp(out) = $(avp(out)) + $(avp(keys)[$var(i)]) + \",\"; $var(i) = $var(i) + 1; }",
        )
        .see("$avp(out)")
        .see("$avp(keys)");
    let body = r#"{"o":{"z":1,"a":null,"m":{"x":1}},"one":{"k":1},"e":{},"l":[1],"s":"x","n":1,"nil":null,
        "d":{"a.b":1,"é":2,"":3,"q\"":4},"list":[{"p":1,"q":2}]}"#;
    cases.group("kazoo_json_keys");
    for (name, path) in [
        ("three", "o"),
        ("one", "one"),
        ("none", "e"),
        ("below", "o.m"),
        ("element", "list[0]"),
        ("odd names", "d"),
        ("missing", "absent"),
        ("null", "nil"),
        ("missing below", "o.absent.x"),
    ] {
        cases.script(name, &form, Input::payload(body).with_path(path));
    }
    cases.script("bad JSON", &form, Input::payload("{o").with_path("o"));
    let kept = Form { before: "$avp(keys) = $null; $avp(keys) = \"before\";".into(), ..form.clone() };
    cases.script("keeps what was there", &kept, Input::payload(body).with_path("o"));
    for (name, path) in [("array", "l"), ("string", "s"), ("number", "n")] {
        cases.script(name, &form, Input::payload(body).with_path(path)).alone([("$avp(keys)", "null")]);
    }
}

/// Null and numbers as input.
fn add_null_rules(cases: &mut Cases) {
    cases.group("null rules");
    for (input, value) in [("null", "$null"), ("number", "17"), ("empty text", "\"\"")] {
        for (name, transformation) in
            [("kz.encode", "{kz.encode}"), ("kz.json", "{kz.json,a}"), ("kz.json.count", "{kz.json.count,a}")]
        {
            let of = format!("$(avp(in){transformation})");
            let text = format!(
                "$avp(in) = {value}; $avp(out) = {of}; $var(out) = {of}; $var(isnull) = \"no\"; \
                 if ({of} == $null) {{ $var(isnull) = \"yes\"; }} $var(text) = \"[{of}]\";"
            );
            let form = Form::statements(&text).see("$avp(out)").see("$var(out)").see("$var(isnull)").see("$var(text)");
            cases.script(format!("{name} of {input}"), &form, Input::default());
        }
    }
    for (name, text) in [
        ("$kzR before a query", "if ($kzR == $null) { $avp(out) = \"null\"; }"),
        ("$kzE outside an event", "if ($kzE == $null) { $avp(out) = \"null\"; }"),
        ("$kzRK outside an event", "if ($kzRK == $null) { $avp(out) = \"null\"; }"),
        ("$kzE in a text", "$avp(out) = \"[$kzE]\";"),
        ("transformation of $kzE outside an event", "$avp(out) = \"[$(kzE{kz.json,a})]\";"),
        ("transformation of $kzR before a query", "$avp(out) = \"[$(kzR{kz.json,a})]\";"),
    ] {
        cases.script(name, &Form::statements(text).see("$avp(out)"), Input::default());
    }
}
