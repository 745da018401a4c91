//! Whose turn it is: every round goes through all workloads, and in each through all subjects, so that what the machine does
//! meanwhile hits everybody alike.

use std::collections::BTreeMap;

use indicatif::{ProgressBar, ProgressStyle};
use rig::{Error, Result};

use crate::lab::{Lab, Server};
use crate::measure::Run;
use crate::subject::Subject;
use crate::workloads::{self, Point, Workload};

/// All measurements of one subject at one point.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Setting of a workload.
    pub point: Point,
    /// What one operation is called.
    pub unit: &'static str,
    /// Who did it.
    pub subject: Subject,
    /// One after the other.
    pub runs: Vec<Run>,
}

/// What is to be done.
pub struct Schedule {
    workloads: Vec<Box<dyn Workload>>,
    wanted: Vec<String>,
    rounds: usize,
}

impl Schedule {
    /// The workloads whose points' names contain one of the `wanted`, so often.
    pub fn new(wanted: &str, rounds: usize) -> Result<Self> {
        let parts = wanted.split(',').map(str::trim).filter(|part| !part.is_empty());
        let schedule = Self { workloads: workloads::all(), wanted: parts.map(str::to_owned).collect(), rounds };
        if schedule.turns(0) == 0 {
            let names: Vec<String> =
                schedule.workloads.iter().flat_map(|workload| workload.points()).map(|point| point.key).collect();
            return Err(Error::new(format!("no workload is called {wanted:?}; there are {}", names.join(", "))));
        }
        Ok(schedule)
    }

    /// Does it.
    pub fn work(&self, lab: &Lab) -> Vec<Cell> {
        let progress = Progress::new((0..self.rounds).map(|round| self.turns(round)).sum());
        let mut cells = Cells::default();
        for round in 0..self.rounds {
            for workload in self.workloads.iter().filter(|workload| round == 0 || workload.is_repeated()) {
                for subject in self.subjects(workload.as_ref()) {
                    self.turn(lab, workload.as_ref(), subject, &mut cells, &progress);
                }
            }
        }
        progress.bar.finish_and_clear();
        cells.in_order
    }

    fn points(&self, workload: &dyn Workload) -> Vec<Point> {
        let is_wanted =
            |point: &Point| self.wanted.is_empty() || self.wanted.iter().any(|part| point.key.contains(part.as_str()));
        workload.points().into_iter().filter(is_wanted).collect()
    }

    fn subjects(&self, workload: &dyn Workload) -> Vec<Subject> {
        let mut found: Vec<Subject> = self.points(workload).iter().flat_map(|point| workload.subjects(point)).collect();
        found.sort();
        found.dedup();
        found
    }

    /// How many measurements a round has.
    fn turns(&self, round: usize) -> usize {
        let workloads = self.workloads.iter().filter(|workload| round == 0 || workload.is_repeated());
        workloads
            .flat_map(|workload| {
                self.points(workload.as_ref()).into_iter().map(|point| workload.subjects(&point).len())
            })
            .sum()
    }

    /// One subject does one workload in all its settings.
    fn turn(&self, lab: &Lab, workload: &dyn Workload, subject: Subject, cells: &mut Cells, progress: &Progress) {
        let mut running: Option<(Point, Option<Server>)> = None;
        for point in self.points(workload) {
            if !workload.subjects(&point).contains(&subject) {
                continue;
            }
            progress.begin(subject, &point);
            running.take_if(|(before, server)| {
                !workload.same_server(before, &point)
                    || server.as_mut().is_some_and(|server| !server.kamailio.is_running())
            });
            if running.is_none() {
                match workload.start(lab, subject, &point) {
                    Ok(server) => running = Some((point.clone(), server)),
                    Err(error) => {
                        progress.end(subject, &point, &cells.add(&point, workload, subject, Run::failed(error)));
                        continue;
                    }
                }
            }
            let server = running.as_mut().and_then(|(_, server)| server.as_mut());
            let measured = workload.measure(lab, subject, server.as_deref(), &point);
            let mut run = measured.unwrap_or_else(Run::failed);
            run.died = server.is_some_and(|server| !server.kamailio.is_running());
            progress.end(subject, &point, &cells.add(&point, workload, subject, run.judge()));
        }
    }
}

/// What was measured, in the order of first measurement.
#[derive(Default)]
struct Cells {
    in_order: Vec<Cell>,
    places: BTreeMap<(String, Subject), usize>,
}

impl Cells {
    fn add(&mut self, point: &Point, workload: &dyn Workload, subject: Subject, run: Run) -> Run {
        let place = *self.places.entry((point.key.clone(), subject)).or_insert_with(|| {
            self.in_order.push(Cell { point: point.clone(), unit: workload.unit(), subject, runs: Vec::new() });
            self.in_order.len() - 1
        });
        self.in_order[place].runs.push(run.clone());
        run
    }
}

/// A bar on a terminal, a line per measurement elsewhere.
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn new(turns: usize) -> Self {
        let bar = ProgressBar::new(turns as u64);
        // A constant pattern.
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}, {eta} left  {msg}") {
            bar.set_style(style);
        }
        Self { bar }
    }

    fn begin(&self, subject: Subject, point: &Point) {
        self.bar.set_message(format!("{}: {}", point.key, subject.name()));
        self.bar.tick();
    }

    fn end(&self, subject: Subject, point: &Point, run: &Run) {
        let verdict =
            if run.is_result() { String::new() } else { format!("  NOT A RESULT: {}", run.faults.join(", ")) };
        let line = format!("{:28} {:18} {:>9.0}/s{verdict}", point.key, subject.name(), run.rate);
        if self.bar.is_hidden() {
            println!("{line}");
        } else {
            self.bar.println(line);
        }
        self.bar.inc(1);
    }
}
