//! One thing to compare, and the small language in which the tables write it.

use std::fmt::Write as _;

/// Exchange that most cases publish to; all of it arrives in the sink.
pub const EXCHANGE: &str = "diff";
/// A second one, its name with a blank.
pub const OTHER_EXCHANGE: &str = "diff two";
/// Exchange at which the peer answers questions.
pub const ASK: &str = "ask";
/// The sink's queue, reachable through the default exchange.
pub const SINK_QUEUE: &str = "diff-sink";

/// A configuration that both modules run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setup {
    /// Default parameters.
    Plain,
    /// Other values for the parameters that change what scripts and applications see.
    Changed,
    /// No broker listens.
    NoBroker,
    /// Nothing but `kazoo_subscribe` in all its shapes.
    Subscriptions,
}

/// One case, run once with each module.
#[derive(Clone, Debug)]
pub struct Case {
    /// Unique; `group/what is special`.
    pub name: String,
    pub setup: Setup,
    pub what: What,
    /// The C module crashes or breaks for good: what ours gives, as fields and values of its outcome.
    pub alone: Option<Vec<(&'static str, String)>>,
}

/// What is done.
#[derive(Clone, Debug)]
pub enum What {
    /// A request reaches a script.
    Script(Form, Input),
    /// A message reaches a subscription, see [`crate::subject`].
    Event { exchange: &'static str, key: String, body: Vec<u8> },
    /// A `kazoo_subscribe` call at start-up. `@` stands for the prefix of the case's own names.
    Subscription(String),
    /// The events that the module makes about its connections at the start.
    ConnectionEvents,
}

/// Script text. Cases of the same text share one route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Statements before the call.
    pub before: String,
    /// The call whose result is looked at; empty for none.
    pub call: String,
    /// Statements after the call.
    pub after: String,
    /// Variables reported afterwards.
    pub seen: Vec<&'static str>,
    /// An answer is due: asked again when none comes. The C module loses answers that come before it has stored the
    /// question.
    pub answered: bool,
    /// The script is suspended, and a callback reports.
    pub resumed: bool,
}

/// What a request brings along. In the script: `$var(exchange)`, `$var(key)`, `$var(headers)`, `$var(path)`,
/// `$var(text)`, `$var(payload)`.
#[derive(Clone, Debug)]
pub struct Input {
    pub exchange: Vec<u8>,
    pub key: Vec<u8>,
    pub headers: Vec<u8>,
    pub path: Vec<u8>,
    pub text: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Form {
    /// A call; its truth and `$rc` are reported.
    pub fn call(text: &str) -> Self {
        Self { call: text.into(), ..Self::default() }
    }

    /// Statements only.
    pub fn statements(text: &str) -> Self {
        Self { before: text.into(), ..Self::default() }
    }

    pub fn before(self, text: &str) -> Self {
        Self { before: text.into(), ..self }
    }

    pub fn after(self, text: &str) -> Self {
        Self { after: text.into(), ..self }
    }

    /// Reports this variable.
    pub fn see(mut self, variable: &'static str) -> Self {
        self.seen.push(variable);
        self
    }

    pub fn answered(self) -> Self {
        Self { answered: true, ..self }
    }

    pub fn resumed(self) -> Self {
        Self { resumed: true, ..self }
    }

    /// The route block named `name`. It leaves its report in `$var(report)`, which a later request fetches: a function
    /// that ends the script, the process or its patience then shows in what the report lacks.
    pub fn route(&self, name: &str) -> String {
        let Self { before, call, after, seen, .. } = self;
        let mut text = format!(
            "route[{name}] {{\n    $avp(out) = \"before\";\n    $var(out) = \"before\";\n    {before}\n    \
             $var(done) = \"branch=none\";\n"
        );
        if !call.is_empty() {
            let _ = write!(
                text,
                "    route(FIVE);\n    if ({call}) {{ $var(rc) = $rc; $var(done) = \"branch=true rc=\"; }}\n    \
                 else {{ $var(rc) = $rc; $var(done) = \"branch=false rc=\"; }}\n    \
                 $var(done) = $var(done) + $var(rc);\n"
            );
        }
        let _ = writeln!(text, "    {after}");
        for variable in seen {
            let inner = variable.trim_start_matches('$');
            let _ = write!(
                text,
                "    if ({variable} == $null) {{ $var(done) = $var(done) + \" null\"; }}\n    \
                 else {{ $var(done) = $var(done) + \" text:\" + $({inner}{{s.encode.hexa}}); }}\n"
            );
        }
        text.push_str("    $var(report) = $var(done);\n}\n");
        text
    }
}

impl Default for Input {
    fn default() -> Self {
        Self {
            exchange: EXCHANGE.into(),
            key: "key".into(),
            headers: Vec::new(),
            path: Vec::new(),
            text: Vec::new(),
            payload: br#"{"a":1}"#.to_vec(),
        }
    }
}

impl Input {
    pub fn payload(bytes: impl AsRef<[u8]>) -> Self {
        Self { payload: bytes.as_ref().to_vec(), ..Self::default() }
    }

    pub fn text(bytes: impl AsRef<[u8]>) -> Self {
        Self { text: bytes.as_ref().to_vec(), ..Self::default() }
    }

    pub fn key(bytes: impl AsRef<[u8]>) -> Self {
        Self { key: bytes.as_ref().to_vec(), ..Self::default() }
    }

    pub fn with_path(self, path: &str) -> Self {
        Self { path: path.into(), ..self }
    }

    pub fn with_exchange(self, exchange: impl AsRef<[u8]>) -> Self {
        Self { exchange: exchange.as_ref().to_vec(), ..self }
    }

    pub fn with_headers(self, headers: &str) -> Self {
        Self { headers: headers.into(), ..self }
    }

    pub fn with_payload(self, payload: impl AsRef<[u8]>) -> Self {
        Self { payload: payload.as_ref().to_vec(), ..self }
    }
}

/// Collects the cases of one table.
#[derive(Debug, Default)]
pub struct Cases {
    list: Vec<Case>,
    group: &'static str,
    setup: Option<Setup>,
}

impl Cases {
    /// The cases that follow belong to this group.
    pub fn group(&mut self, name: &'static str) -> &mut Self {
        self.group = name;
        self.setup = None;
        self
    }

    /// The cases that follow, up to the next group, run in this configuration instead of [`Setup::Plain`].
    pub fn setup(&mut self, setup: Setup) -> &mut Self {
        self.setup = Some(setup);
        self
    }

    pub fn add(&mut self, name: impl AsRef<str>, what: What) -> &mut Case {
        let setup = self.setup.unwrap_or(Setup::Plain);
        self.list.push(Case { name: format!("{}/{}", self.group, name.as_ref()), setup, what, alone: None });
        let last = self.list.len() - 1;
        &mut self.list[last]
    }

    pub fn script(&mut self, name: impl AsRef<str>, form: &Form, input: Input) -> &mut Case {
        self.add(name, What::Script(form.clone(), input))
    }

    pub fn into_vec(self) -> Vec<Case> {
        self.list
    }
}

impl Case {
    /// The part of the name before the first slash.
    pub fn group(&self) -> &str {
        self.name.split_once('/').map_or("", |(group, _)| group)
    }

    /// Whether a question is asked.
    pub fn asks(&self) -> bool {
        let asks = |text: &str| text.contains("kazoo_query") || text.contains("kazoo_async_query");
        matches!(&self.what, What::Script(form, _) if asks(&form.before) || asks(&form.call))
    }

    /// Only ours is run, and gives this.
    pub fn alone<const N: usize>(&mut self, expected: [(&'static str, &str); N]) {
        self.alone = Some(expected.map(|(field, value)| (field, value.to_string())).to_vec());
    }
}
