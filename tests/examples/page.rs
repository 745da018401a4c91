//! The examples in a page of the manual: its fenced blocks whose info string says what they are.
//!
//! | info string | holds |
//! |---|---|
//! | `kamailio params` | `modparam` lines; with `run`, the page's configuration has them when its examples are run |
//! | `kamailio routes` | route blocks; `event_route[kazoo:mod-init]` may come several times in a page |
//! | `kamailio script` | statements of a route; run for a request from `alice@example.com` |
//! | `kamailio file` | a whole configuration |
//! | `lua file` | a whole script in Lua |
//! | `json message exchange=E key=K` | a message that an application sends |
//! | `json answer exchange=E key=K` | what a service answers that listens there |
//! | `json published exchange=E key=K`, `json published queue=Q` | what arrives there, at least these fields; `…` for any text |
//! | `text output` | lines of the log, in any order; `…` for any text |
//!
//! Behind the kind: `load=a,b` for further modules of Kamailio. Other info strings are for the reader only.

use std::fs;
use std::path::Path;

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Params,
    Routes,
    Script,
    File,
    Lua,
    Message,
    Answer,
    Published,
    Output,
}

/// One block.
#[derive(Clone, Debug)]
pub struct Example {
    pub kind: Kind,
    /// File and line, for failure texts.
    pub place: String,
    pub text: String,
    words: Vec<String>,
}

impl Example {
    /// The value of `name=value` in the info string, or an empty text.
    pub fn attribute(&self, name: &str) -> &str {
        let value = |word: &'_ String| word.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        let found = self.words.iter().find(|word| value(word));
        found.map_or("", |word| &word[name.len() + 1..])
    }

    /// Whether the info string has this word.
    pub fn has(&self, word: &str) -> bool {
        self.words.iter().any(|other| other == word)
    }

    /// The payload.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.place))
    }
}

/// The examples of `page`, a path from the top of the source tree.
pub fn examples(page: &str) -> Vec<Example> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let mut found = Vec::new();
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let body: Vec<_> = lines.by_ref().map(|(line, _)| line).take_while(|line| !line.starts_with("```")).collect();
        let place = format!("{page}:{number}");
        let words: Vec<_> = info.split_whitespace().map(str::to_string).collect();
        if let Some(kind) = kind(&words, &place) {
            found.push(Example { kind, place, text: body.join("\n") + "\n", words });
        }
    }
    found
}

fn kind(words: &[String], place: &str) -> Option<Kind> {
    let word = |n: usize| words.get(n).map_or("", String::as_str);
    Some(match (word(0), word(1)) {
        ("kamailio", "params") => Kind::Params,
        ("kamailio", "routes") => Kind::Routes,
        ("kamailio", "script") => Kind::Script,
        ("kamailio", "file") => Kind::File,
        ("lua", "file") => Kind::Lua,
        ("json", "message") => Kind::Message,
        ("json", "answer") => Kind::Answer,
        ("json", "published") => Kind::Published,
        ("text", "output") => Kind::Output,
        // The next two would go untested.
        ("kamailio" | "lua" | "", _) => panic!("{place}: the info string does not say what this is"),
        _ => return None,
    })
}
