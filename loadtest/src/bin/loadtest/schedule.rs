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
    wanted: Parts,
    subjects: Parts,
    has_before: bool,
    rounds: usize,
}

/// Parts of names; none at all stands for everything.
struct Parts(Vec<String>);

impl Parts {
    /// From a list with commas.
    fn of(list: &str) -> Self {
        Self(list.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }

    fn want(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|part| name.contains(part.as_str()))
    }
}

impl Schedule {
    /// The workloads whose points' names contain one of the `wanted`, by the `subjects`, so often. `has_before`: there is
    /// another build of our module.
    pub fn new(wanted: &str, subjects: &str, has_before: bool, rounds: usize) -> Result<Self> {
        let (wanted, subjects) = (Parts::of(wanted), Parts::of(subjects));
        let schedule = Self { workloads: workloads::all(), wanted, subjects, has_before, rounds };
        if schedule.turns(0) == 0 {
            let points = schedule.workloads.iter().flat_map(|workload| workload.points());
            let names: Vec<String> = points.map(|point| point.key).collect();
            return Err(Error::new(format!("nothing like this to do; workloads are {}", names.join(", "))));
        }
        Ok(schedule)
    }

    /// Does it.
    pub fn work(&self, lab: &Lab) -> Vec<Cell> {
        let progress = Progress::new((0..self.rounds).map(|round| self.turns(round)).sum());
        let mut cells = Cells::default();
        for round in 0..self.rounds {
            for workload in self.of_round(round) {
                for subject in Subject::ALL {
                    self.turn(lab, workload, subject, &progress, &mut cells);
                }
            }
        }
        progress.bar.finish_and_clear();
        cells.in_order
    }

    fn of_round(&self, round: usize) -> impl Iterator<Item = &dyn Workload> {
        self.workloads.iter().map(AsRef::as_ref).filter(move |workload| round == 0 || workload.is_repeated())
    }

    /// What the subject has to do of a workload.
    fn points(&self, workload: &dyn Workload, subject: Subject) -> Vec<Point> {
        let mut points = workload.points();
        points.retain(|point| self.wanted.want(&point.key) && workload.subjects(point).contains(&subject.role()));
        points.retain(|_| self.subjects.want(subject.name()) && (self.has_before || subject != Subject::Before));
        points
    }

    /// How many measurements a round has.
    fn turns(&self, round: usize) -> usize {
        let all = |workload| Subject::ALL.iter().map(move |subject| self.points(workload, *subject).len());
        self.of_round(round).flat_map(all).sum()
    }

    /// One subject does one workload in all its settings.
    fn turn(&self, lab: &Lab, workload: &dyn Workload, subject: Subject, progress: &Progress, cells: &mut Cells) {
        let mut running = Running::default();
        for point in self.points(workload, subject) {
            progress.begin(subject, &point);
            let run = running.measure(lab, workload, subject, &point);
            progress.end(subject, &point, &run);
            cells.add(&point, workload, subject, run);
        }
    }
}

/// The server of a turn, with the point that it was started for.
#[derive(Default)]
struct Running(Option<(Point, Option<Server>)>);

impl Running {
    /// Measures once, on the server that runs if it is the right one.
    fn measure(&mut self, lab: &Lab, workload: &dyn Workload, subject: Subject, point: &Point) -> Run {
        self.0.take_if(|(before, server)| {
            !workload.same_server(before, point) || server.as_mut().is_some_and(|server| !server.kamailio.is_running())
        });
        if self.0.is_none() {
            match workload.start(lab, subject, point) {
                Ok(server) => self.0 = Some((point.clone(), server)),
                Err(error) => return Run::failed(error),
            }
        }
        let server = self.0.as_mut().and_then(|(_, server)| server.as_mut());
        let mut run = workload.measure(lab, subject, server.as_deref(), point).unwrap_or_else(Run::failed);
        run.died = server.is_some_and(|server| !server.kamailio.is_running());
        run.judge()
    }
}

/// What was measured, in the order of first measurement.
#[derive(Default)]
struct Cells {
    in_order: Vec<Cell>,
    places: BTreeMap<(String, Subject), usize>,
}

impl Cells {
    fn add(&mut self, point: &Point, workload: &dyn Workload, subject: Subject, run: Run) {
        let place = *self.places.entry((point.key.clone(), subject)).or_insert_with(|| {
            self.in_order.push(Cell { point: point.clone(), unit: workload.unit(), subject, runs: Vec::new() });
            self.in_order.len() - 1
        });
        self.in_order[place].runs.push(run);
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
            run.faults.first().map_or(String::new(), |_| format!("  NOT A RESULT: {}", run.faults_in_short()));
        let line = format!("{:28} {:18} {:>9.0}/s{verdict}", point.key, subject.name(), run.rate);
        if self.bar.is_hidden() {
            println!("{line}");
        } else {
            self.bar.println(line);
        }
        self.bar.inc(1);
    }
}
