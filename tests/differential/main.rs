//! The same cases in a Kamailio with the C module (Debian's package `kamailio-kazoo-modules`) and in one with ours:
//! same RabbitMQ, same applications, same scripts. What a script, an application and the broker see must be the same,
//! except for what [`differences`] lists.
//!
//! | file | what |
//! |---|---|
//! | `tables` | the cases |
//! | `case` | how a case is written |
//! | `subject` | a Kamailio with either module, and how a case is run in it |
//! | `world` | broker, sink, peer |
//! | `outcome` | what a case gave |
//! | `differences` | the differences that are known |
//!
//! `DIFFERENTIAL=text` runs the cases whose name contains the text, and prints their outcomes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod case;
#[path = "../common/mod.rs"]
mod common;
mod differences;
mod outcome;
mod subject;
mod tables;
mod world;

use std::collections::BTreeSet;
use std::time::Instant;

use case::{Case, Setup};
use differences::{DIFFERENCES, Difference};
use outcome::Outcome;
use subject::{REFUSED_BY_CHANCE, Side, Subject};
use world::World;

#[test]
fn both_modules_do_the_same_except_for_what_is_listed() {
    let began = Instant::now();
    let only = std::env::var("DIFFERENTIAL").unwrap_or_default();
    let cases = tables::all();
    names_are_unique(&cases);
    let cases: Vec<_> = cases.into_iter().filter(|case| case.name.contains(&only)).collect();
    let mut verdict = Verdict::default();
    let world = World::start();
    for setup in [Setup::Plain, Setup::Changed, Setup::NoBroker, Setup::Subscriptions] {
        let own: Vec<_> = cases.iter().filter(|case| case.setup == setup).collect();
        if !own.is_empty() {
            compare(&world, setup, &own, &mut verdict, !only.is_empty());
        }
    }
    if only.is_empty() {
        verdict.find_stale();
    }
    for Difference { name, c, ours, why, .. } in DIFFERENCES {
        println!("{name}: the C module {c}; ours {ours}: {why}.");
    }
    let (equal, differ, alone) = (verdict.equal, verdict.differ, verdict.alone);
    println!(
        "{} cases: {equal} equal but for what every message or subscription shows, {differ} with a difference of their \
         own, {alone} with ours alone; {} differences listed; {:.0?}",
        cases.len(),
        DIFFERENCES.len(),
        began.elapsed()
    );
    assert!(verdict.trouble.is_empty(), "{} faults\n{}", verdict.trouble.len(), verdict.trouble.join("\n"));
}

fn names_are_unique(cases: &[Case]) {
    let mut seen = BTreeSet::new();
    for case in cases {
        assert!(seen.insert(&case.name), "two cases are called {}", case.name);
    }
}

/// With three arguments `kazoo_query` of the C module reads a fourth and a fifth one that nobody has passed. Mostly it
/// goes on without them, now and then it refuses the call; then the group is run in a new process.
const RERUNS: u32 = 4;

/// Runs the cases of one setup with both modules.
fn compare(world: &World, setup: Setup, cases: &[&Case], verdict: &mut Verdict, verbose: bool) {
    let shared: Vec<_> = cases.iter().copied().filter(|case| case.alone.is_none()).collect();
    let mut c = run(world, Side::C, setup, &shared, verdict);
    let ours = run(world, Side::Ours, setup, cases, verdict);
    for _ in 0..RERUNS {
        let ours = cases.iter().zip(&ours).filter(|(case, _)| case.alone.is_none()).map(|(_, ours)| ours);
        let judged = shared.iter().zip(c.iter().zip(ours));
        let failed = judged.filter(|(case, (c, ours))| case.asks() && has_unlisted(case, c, ours));
        let groups: BTreeSet<_> = failed.map(|(case, _)| case.group()).collect();
        if groups.is_empty() {
            break;
        }
        let again = |case: &&&Case| groups.contains(case.group());
        let places: Vec<_> = (0..shared.len()).filter(|n| again(&&shared[*n])).collect();
        let again: Vec<_> = shared.iter().filter(again).copied().collect();
        for (place, outcome) in places.into_iter().zip(run(world, Side::C, setup, &again, verdict)) {
            c[place] = outcome;
        }
    }
    let mut c = c.iter();
    for (case, ours) in cases.iter().zip(&ours) {
        if verbose {
            println!("{}: {ours:#?}", case.name);
        }
        match &case.alone {
            Some(expected) => verdict.judge_alone(case, ours, expected),
            None => match c.next().unwrap() {
                c if c.contains_key(REFUSED_BY_CHANCE) => verdict.skip(case),
                c => verdict.judge(case, c, ours),
            },
        }
    }
}

fn run(world: &World, side: Side, setup: Setup, cases: &[&Case], verdict: &mut Verdict) -> Vec<Outcome> {
    let began = Instant::now();
    let mut subject = Subject::start(world, side, setup, cases);
    let started = began.elapsed();
    let outcomes = subject.run(cases);
    println!("{side:?}, {setup:?}: {} cases, start {started:.1?}, all {:.1?}", cases.len(), began.elapsed());
    // What the C module damages is its own affair.
    if side == Side::Ours {
        let damage = subject.damage();
        verdict.trouble.extend(damage.iter().map(|line| format!("{setup:?}: {line}\n{}", subject.tail())));
    }
    outcomes
}

/// Names of the fields that differ.
fn differing<'o>(c: &'o Outcome, ours: &'o Outcome) -> BTreeSet<&'o String> {
    c.keys().chain(ours.keys()).filter(|name| c.get(*name) != ours.get(*name)).collect()
}

fn has_unlisted(case: &Case, c: &Outcome, ours: &Outcome) -> bool {
    differing(c, ours).iter().any(|name| !DIFFERENCES.iter().any(|d| d.covers(case, name)))
}

/// What the comparison came to.
#[derive(Debug, Default)]
struct Verdict {
    equal: usize,
    differ: usize,
    alone: usize,
    trouble: Vec<String>,
    /// Entries of the list that occurred: difference and pattern.
    used: BTreeSet<(usize, usize)>,
    /// The same for fields.
    used_fields: BTreeSet<(usize, usize)>,
}

impl Verdict {
    fn judge(&mut self, case: &Case, c: &Outcome, ours: &Outcome) {
        let names = differing(c, ours);
        let is_general = |name: &str| DIFFERENCES.iter().any(|d| d.is_general() && d.covers(case, name));
        match names.iter().all(|name| is_general(name)) {
            true => self.equal += 1,
            false => self.differ += 1,
        }
        for name in names {
            let listed = self.find_listed(case, Some(name));
            if !listed {
                let missing = "nothing".to_string();
                let (c, ours) = (c.get(name).unwrap_or(&missing), ours.get(name).unwrap_or(&missing));
                self.trouble.push(format!("{}, {name}, is not listed:\n    C    {c}\n    ours {ours}", case.name));
            }
        }
    }

    /// Nothing can be compared.
    fn skip(&mut self, case: &Case) {
        println!("{}: the C module refused it {} times by chance, left out", case.name, RERUNS + 1);
        let fields = DIFFERENCES.iter().filter(|d| !d.is_general()).flat_map(|d| d.fields);
        for field in fields.map(|pattern| pattern.replace(['#', '*'], "1")) {
            self.find_listed(case, Some(&field));
        }
    }

    fn judge_alone(&mut self, case: &Case, ours: &Outcome, expected: &[(&'static str, String)]) {
        self.alone += 1;
        if !self.find_listed(case, None) {
            self.trouble.push(format!("{} runs with ours alone, and the list does not say why", case.name));
        }
        for (name, value) in expected {
            if ours.get(*name) != Some(value) {
                self.trouble.push(format!("{}, {name}: {value} expected\n    ours {ours:?}", case.name));
            }
        }
    }

    /// Whether the list has this field of this case; `None`: the whole case.
    fn find_listed(&mut self, case: &Case, field: Option<&str>) -> bool {
        let mut found = false;
        for (d, difference) in DIFFERENCES.iter().enumerate() {
            let f = match field {
                Some(field) => difference.fields.iter().position(|pattern| matches(pattern, field)),
                None => difference.fields.is_empty().then_some(0),
            };
            let patterns = difference.cases.iter().enumerate().filter(|(_, pattern)| matches(pattern, &case.name));
            if let Some(f) = f {
                for (p, _) in patterns {
                    found = true;
                    self.used.insert((d, p));
                    self.used_fields.insert((d, f));
                }
            }
        }
        found
    }

    /// Entries that did not occur.
    fn find_stale(&mut self) {
        for (d, Difference { name, cases, fields, .. }) in DIFFERENCES.iter().enumerate() {
            for (list, used) in [(cases, &self.used), (fields, &self.used_fields)] {
                let unused = list.iter().enumerate().filter(|(n, _)| !used.contains(&(d, *n)));
                let told = unused.map(|(_, entry)| format!("\"{name}\" is listed for \"{entry}\" and does not occur"));
                self.trouble.extend(told);
            }
        }
    }
}

impl Difference {
    /// It shows in every message or every subscription; a case with no other difference counts as equal.
    fn is_general(&self) -> bool {
        self.cases.iter().all(|pattern| *pattern == "*" || pattern.ends_with("/*"))
    }

    fn covers(&self, case: &Case, field: &str) -> bool {
        self.cases.iter().any(|pattern| matches(pattern, &case.name))
            && self.fields.iter().any(|pattern| matches(pattern, field))
    }
}

/// `*` stands for any text, `#` for a number.
fn matches(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('*') => {
            text.char_indices().any(|(at, _)| matches(rest.as_str(), &text[at..])) || matches(rest.as_str(), "")
        }
        Some('#') => {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            digits > 0 && matches(rest.as_str(), &text[digits..])
        }
        Some(first) => text.strip_prefix(first).is_some_and(|text| matches(rest.as_str(), text)),
    }
}

#[test]
fn patterns_match() {
    for (pattern, text, expected) in [
        ("a/b", "a/b", true),
        ("a/b", "a/bc", false),
        ("a/*", "a/", true),
        ("*/é x", "a/é x", true),
        ("message # body", "message 12 body", true),
        ("message # body", "message body", false),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}
