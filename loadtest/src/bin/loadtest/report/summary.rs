//! Several runs of one cell in one line.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::measure::{Percentiles, Run};
use crate::schedule::Cell;

/// Smallest, middle and largest of several values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Smallest.
    pub min: f64,
    /// Middle; of two middle ones their mean.
    pub median: f64,
    /// Largest.
    pub max: f64,
}

impl Spread {
    /// Of these values; `None` when there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 };
        Some(Self { min, median, max })
    }
}

/// One cell.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Good operations per second.
    pub rate: Spread,
    /// Medians over the runs of their percentiles.
    pub latency_us: Option<Percentiles>,
    /// The same of the time inside the function under test.
    pub inside_us: Option<Percentiles>,
    /// Median of Kamailio's processor time per operation.
    pub kamailio_us: f64,
    /// The same by kind of process.
    pub cpu_us: BTreeMap<&'static str, f64>,
    /// The same of the broker.
    pub broker_us: f64,
    /// The same of the load generator.
    pub generator_us: f64,
    /// Largest resident memory of our manager, KiB.
    pub manager_kib: Option<u64>,
    /// Medians of the parts of a workload of several kinds.
    pub parts: BTreeMap<&'static str, f64>,
    /// Runs that are no result.
    pub bad_runs: usize,
    /// Sums over all runs: lost, duplicated, failed, wrong, without reply, died.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Summary {
    /// Of all runs of a cell, bad ones included: what they did is shown with what went wrong.
    pub fn of(cell: &Cell) -> Self {
        let median = |value: &dyn Fn(&Run) -> f64| {
            let measured = cell.runs.iter().filter(|run| run.operations > 0);
            Spread::of(measured.map(value)).unwrap_or_default().median
        };
        let mut kinds: Vec<&'static str> = cell.runs.iter().flat_map(|run| run.cpu_us.keys().copied()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let cpu = |kind: &'static str| (kind, median(&|run| run.cpu_us.get(kind).copied().unwrap_or_default()));
        Self {
            rate: Spread::of(cell.runs.iter().map(|run| run.rate)).unwrap_or_default(),
            latency_us: middle(cell, |run| run.latency_us),
            inside_us: middle(cell, |run| run.inside_us),
            kamailio_us: median(&Run::kamailio_us),
            cpu_us: kinds.into_iter().map(cpu).collect(),
            broker_us: median(&|run| run.broker_us),
            generator_us: median(&|run| run.generator_us),
            manager_kib: cell.runs.iter().filter_map(|run| run.manager_kib).max(),
            parts: cell.runs.first().map_or_else(BTreeMap::new, |run| {
                let part =
                    |kind: &&'static str| (*kind, median(&|run| run.parts.get(kind).copied().unwrap_or_default()));
                run.parts.keys().map(part).collect()
            }),
            bad_runs: cell.runs.iter().filter(|run| !run.is_result()).count(),
            faults: faults(cell),
        }
    }
}

/// Sums of what went wrong; what did not is left out.
fn faults(cell: &Cell) -> BTreeMap<&'static str, u64> {
    let sum = |value: &dyn Fn(&Run) -> u64| cell.runs.iter().map(value).sum();
    let all: [(&'static str, u64); 6] = [
        ("lost", sum(&|run| run.lost)),
        ("duplicated", sum(&|run| run.duplicated)),
        ("failed", sum(&|run| run.failed)),
        ("wrong", sum(&|run| run.wrong)),
        ("no reply", sum(&|run| run.no_reply)),
        ("died", sum(&|run| u64::from(run.died))),
    ];
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// The median of each percentile.
fn middle(cell: &Cell, value: impl Fn(&Run) -> Option<Percentiles>) -> Option<Percentiles> {
    let values: Vec<Percentiles> = cell.runs.iter().filter_map(value).collect();
    let median = |part: fn(&Percentiles) -> f64| Some(Spread::of(values.iter().map(part))?.median);
    Some(Percentiles {
        mean: median(|p| p.mean)?,
        p50: median(|p| p.p50)?,
        p90: median(|p| p.p90)?,
        p99: median(|p| p.p99)?,
        p999: median(|p| p.p999)?,
        max: median(|p| p.max)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_of_sorted_values() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0]), Some(Spread { min: 1.0, median: 2.5, max: 4.0 }));
        assert_eq!(Spread::of([]), None);
    }
}
