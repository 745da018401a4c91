//! Every example of the manual: accepted by `kamailio -c`, and those that say what comes out are performed, with a real
//! Kamailio and RabbitMQ. [`page`] says how the pages mark them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod page;
mod stage;

use std::fs;
use std::path::PathBuf;

use common::broker;
use page::{Example, Kind, examples};
use rig::{Broker, Builder, Database, Engine, Kamailio};
use stage::{Stage, configuration, named, whole};

/// All pages that have examples.
const PAGES: &[&str] = &[
    "README.md",
    "doc/overview.md",
    "doc/parameters.md",
    "doc/functions.md",
    "doc/variables.md",
    "doc/events.md",
    "doc/subscriptions.md",
    "doc/presence.md",
    "doc/kemi.md",
    "doc/monitoring.md",
    "doc/tuning.md",
];

/// A file for a whole configuration, removed in the end.
struct Config(PathBuf);

impl Config {
    fn new(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kazoo-example-{}.cfg", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn kamailio_accepts_every_example() {
    for page in PAGES {
        let examples = examples(page);
        assert!(!examples.is_empty(), "{page} has no examples");
        let check = configuration("check", &examples, |_| true).check().unwrap();
        assert!(check.accepted, "{page}:\n{}", check.log);
        for example in examples.iter().filter(|example| example.kind == Kind::File) {
            let config = Config::new(&whole(example, "amqp://127.0.0.1", "sqlite:///none"));
            let check = Kamailio::builder().config_file(&config.0).check().unwrap();
            assert!(check.accepted, "{}:\n{}", example.place, check.log);
        }
    }
}

/// Performs the examples of a page; whole configurations are left to [`perform_whole`].
fn perform(page: &str) {
    let examples = examples(page);
    let broker = broker();
    act(&broker, configuration("examples", &examples, |params| params.has("run")).broker(&broker), &examples);
}

fn act(broker: &Broker, builder: Builder, examples: &[Example]) {
    let mut stage = Stage::open(broker, builder, examples);
    examples.iter().enumerate().for_each(|(number, example)| stage.perform(number, example));
    stage.close();
}

/// Performs a page's one whole configuration with what follows it.
fn perform_whole(page: &str) {
    let examples = examples(page);
    let at = examples.iter().position(|example| example.kind == Kind::File).unwrap();
    let examples: Vec<Example> = examples[at..].to_vec();
    let broker = broker();
    let database = Database::start(Engine::Sqlite).unwrap();
    let config = Config::new(&whole(&examples[0], &broker.url(), &database.url()));
    act(&broker, Kamailio::builder().config_file(&config.0), &examples);
}

#[test]
fn the_readme_s_configuration_works() {
    perform_whole("README.md");
}

#[test]
fn the_first_configuration_works() {
    perform_whole("doc/overview.md");
}

#[test]
fn functions_do_what_their_examples_say() {
    perform("doc/functions.md");
}

#[test]
fn variables_and_transformations_do_what_their_examples_say() {
    perform("doc/variables.md");
}

#[test]
fn events_do_what_their_examples_say() {
    perform("doc/events.md");
}

#[test]
fn subscriptions_do_what_their_examples_say() {
    perform("doc/subscriptions.md");
}

#[test]
fn the_presence_configuration_works() {
    perform_whole("doc/presence.md");
}

#[test]
fn the_lua_script_works() {
    let examples = examples("doc/kemi.md");
    let script = examples.iter().find(|example| example.kind == Kind::Lua).unwrap();
    let params: String = examples.iter().filter(|e| e.kind == Kind::Params).map(|e| e.text.as_str()).collect();
    let file = Config::new(&script.text);
    let broker = broker();
    let engine = format!("modparam(\"app_lua\", \"load\", \"{}\")\ncfgengine \"lua\"\n", file.0.display());
    let builder = named(common::kamailio("kemi").load("app_lua")).line(&params).line(&engine).routes("");
    act(&broker, builder.broker(&broker), &examples);
}

#[test]
fn monitoring_does_what_its_examples_say() {
    perform("doc/monitoring.md");
}
