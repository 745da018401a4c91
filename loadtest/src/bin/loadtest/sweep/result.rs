//! What was measured: medians, and everything as JSON.

use rig::{Error, Result};
use serde::Serialize;
use serde_json::json;

use super::plan::{Metric, Setup, Sweep};
use crate::measure::Run;
use crate::report::{Machine, Spread};

/// How the measurements were made.
#[derive(Debug, Serialize)]
pub struct Conditions {
    /// Rounds.
    pub runs: usize,
    /// Of each measurement.
    pub seconds: f64,
    /// On what.
    pub machine: Machine,
}

/// A sweep with its measurements.
#[derive(Debug)]
pub struct Outcome {
    /// What was done.
    pub sweep: Sweep,
    /// By value, then by series.
    pub cells: Vec<Vec<Cell>>,
}

/// One series at one value.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cell {
    /// One of each round.
    pub samples: Vec<Sample>,
}

/// One measurement.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Sample {
    /// What every measurement has.
    pub run: Run,
    /// Refused where that is no fault.
    pub refused: u64,
    /// From the start of the server to its last subscription, ms.
    pub ready_ms: f64,
    /// How often the manager woke up per second.
    pub wake_ups: f64,
}

impl Sample {
    /// What it says about this; `None` when it says nothing.
    pub fn value(&self, metric: Metric, setup: &Setup) -> Option<f64> {
        let run = &self.run;
        let volume = run.rate * setup.bytes as f64;
        Some(match metric {
            Metric::Rate => run.rate,
            Metric::Volume => volume / 1e6,
            Metric::P50 => run.latency_us?.p50,
            Metric::P99 => run.latency_us?.p99,
            Metric::Kamailio => run.kamailio_us(),
            Metric::Manager => run.cpu_us.get("manager").copied()?,
            Metric::PerKib => run.kamailio_us() * 1024.0 / setup.bytes as f64,
            Metric::Memory => run.manager_own_kib? as f64 / 1024.0,
            Metric::Resident => run.manager_kib? as f64 / 1024.0,
            Metric::WakeUps => self.wake_ups,
            Metric::Refused => 100.0 * self.refused as f64 / (self.refused + run.operations).max(1) as f64,
            Metric::Ready => self.ready_ms,
            Metric::Busy => (run.kamailio_us() + run.broker_us + run.generator_us) * run.rate / 1e6,
        })
    }
}

impl Outcome {
    /// Of a sweep that has not begun.
    pub fn new(sweep: Sweep) -> Self {
        let cells = vec![vec![Cell::default(); sweep.series.len()]; sweep.values.len()];
        Self { sweep, cells }
    }

    /// Smallest, middle and largest of a metric at a value; `None` where it was not measured.
    pub fn spread(&self, metric: Metric, value: usize, series: usize) -> Option<Spread> {
        let cell = self.cells.get(value)?.get(series)?;
        Spread::of(metric.values(cell, &self.sweep.values.get(value)?.setup))
    }

    /// A line for each measurement that is no result.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (value, cells) in self.sweep.values.iter().zip(&self.cells) {
            for (series, cell) in self.sweep.series.iter().zip(cells) {
                let bad = cell.samples.iter().filter(|sample| !sample.run.is_result());
                let place = format!("{} = {}, {}", self.sweep.key, value.label, series.name);
                faults.extend(bad.map(|sample| format!("{place}: {}", sample.run.faults_in_short())));
            }
        }
        faults
    }

    /// How many measurements of a value there are, and how many of them are no results.
    pub fn counts(&self, value: usize) -> (usize, usize) {
        let samples = || self.cells.iter().skip(value).take(1).flatten().flat_map(|cell| &cell.samples);
        (samples().count(), samples().filter(|sample| !sample.run.is_result()).count())
    }

    /// Everything, for programs.
    pub fn json(&self, conditions: &Conditions) -> Result<String> {
        let series = |cells: &[Cell]| -> Vec<serde_json::Value> {
            let each = self.sweep.series.iter().zip(cells);
            each.map(|(series, cell)| json!({ "series": series.name, "samples": cell.samples })).collect()
        };
        let values = self.sweep.values.iter().zip(&self.cells);
        let value = json!({
            "sweep": self.sweep.key,
            "title": self.sweep.title,
            "axis": self.sweep.axis,
            "conditions": conditions,
            "values": values.map(|(value, cells)| json!({ "value": value.label, "series": series(cells) }))
                .collect::<Vec<_>>(),
        });
        serde_json::to_string_pretty(&value).map_err(|error| Error::new(format!("writing JSON: {error}")))
    }
}
