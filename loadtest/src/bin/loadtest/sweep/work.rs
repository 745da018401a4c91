//! Whose turn it is: each round goes through all sweeps, and in each through all values, up and down in turns, so that
//! what the machine does meanwhile hits every value alike.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use rig::Result;

use super::plan::{Sweep, Task, Value};
use super::result::{Outcome, Sample};
use super::site::Site;
use super::task;
use crate::lab::Lab;
use crate::measure::Run;

/// Measures everything so often.
pub fn work(lab: &Lab, sweeps: Vec<Sweep>, rounds: usize) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = sweeps.into_iter().map(Outcome::new).collect();
    let values: usize = outcomes.iter().map(|outcome| outcome.sweep.values.len()).sum();
    let progress = progress(values * rounds);
    for round in 0..rounds {
        for outcome in &mut outcomes {
            let mut order: Vec<usize> = (0..outcome.sweep.values.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for at in order {
                let value = &outcome.sweep.values[at];
                let place = format!("{} = {}", outcome.sweep.key, value.label);
                progress.set_message(place.clone());
                let samples = measure(lab, value);
                say(&progress, &place, &samples);
                let cells = outcome.cells[at].iter_mut();
                cells.zip(samples).for_each(|(cell, sample)| cell.samples.push(sample));
                progress.inc(1);
            }
        }
    }
    progress.finish_and_clear();
    outcomes
}

/// One server, all that is to be done on it.
fn measure(lab: &Lab, value: &Value) -> Vec<Sample> {
    let began = Instant::now();
    let site = match Site::open(lab, value.setup.clone()) {
        Ok(site) => site,
        Err(error) => return vec![Sample { run: Run::failed(error), ..Sample::default() }; value.tasks.len()],
    };
    let ready_ms = began.elapsed().as_secs_f64() * 1e3;
    value.tasks.iter().map(|task| Sample { ready_ms, ..once(lab, &site, *task) }).collect()
}

/// One measurement on it.
fn once(lab: &Lab, site: &Site, task: Task) -> Sample {
    let mut sample = watched(lab, site, task).unwrap_or_else(|error| Run::failed(error).into());
    sample.run.died = site.manager_switches().is_err();
    sample.run = sample.run.judge();
    sample
}

fn watched(lab: &Lab, site: &Site, task: Task) -> Result<Sample> {
    let (switches, began) = (site.manager_switches()?, Instant::now());
    let mut sample = task::perform(lab, site, task)?;
    let more = site.manager_switches()?.saturating_sub(switches);
    sample.wake_ups = more as f64 / began.elapsed().as_secs_f64();
    Ok(sample)
}

fn say(progress: &ProgressBar, place: &str, samples: &[Sample]) {
    let each = samples.iter().map(|sample| {
        let latency = sample.run.latency_us.map(|us| format!(" p50 {:.0} p99 {:.0} us", us.p50, us.p99));
        let fault = if sample.run.is_result() {
            String::new()
        } else {
            format!(" NOT A RESULT: {}", sample.run.faults_in_short())
        };
        format!("{:.0}/s{}{fault}", sample.run.rate, latency.unwrap_or_default())
    });
    let line = format!("{place:36} {}", each.collect::<Vec<_>>().join(" | "));
    if progress.is_hidden() {
        println!("{line}");
    } else {
        progress.println(line);
    }
}

/// A bar on a terminal.
fn progress(turns: usize) -> ProgressBar {
    let bar = ProgressBar::new(turns as u64);
    // A constant pattern.
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}, {eta} left  {msg}") {
        bar.set_style(style);
    }
    bar
}
