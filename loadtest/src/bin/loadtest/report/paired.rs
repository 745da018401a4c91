//! One cell beside another, round by round.
//!
//! A shared machine may be half as fast two minutes later. The runs of one round follow each other closely, so their ratio
//! says more than that of two medians, which need not even be of the same round.

use super::Spread;
use crate::measure::Run;
use crate::schedule::Cell;

/// Median over the rounds of what `compare` makes of the two runs of each; rounds without a value do not count.
pub fn paired(one: &Cell, other: &Cell, compare: impl Fn(&Run, &Run) -> Option<f64>) -> Option<f64> {
    let rounds = one.runs.iter().zip(&other.runs);
    Spread::of(rounds.filter_map(|(one, other)| compare(one, other))).map(|spread| spread.median)
}

/// The rate of one in parts of the other's.
pub fn rates(one: &Cell, other: &Cell) -> Option<f64> {
    paired(one, other, |one, other| (one.rate > 0.0 && other.rate > 0.0).then(|| one.rate / other.rate))
}

/// Kamailio's processor time per operation: what one takes more than the other, in microseconds.
pub fn more_kamailio_us(one: &Cell, other: &Cell) -> Option<f64> {
    paired(one, other, |one, other| both_did(one, other).then(|| one.kamailio_us() - other.kamailio_us()))
}

/// The same in parts of the other's.
pub fn kamailio_us(one: &Cell, other: &Cell) -> Option<f64> {
    paired(one, other, |one, other| {
        (both_did(one, other) && other.kamailio_us() > 0.0).then(|| one.kamailio_us() / other.kamailio_us())
    })
}

fn both_did(one: &Run, other: &Run) -> bool {
    one.operations > 0 && other.operations > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Subject;
    use crate::workloads::Point;

    fn cell(rates: &[f64]) -> Cell {
        let point = Point { key: "some/1".into(), title: String::new(), load: 1 };
        let runs = rates.iter().map(|rate| Run { rate: *rate, ..Run::default() }).collect();
        Cell { point, unit: "operation", subject: Subject::Ours, runs }
    }

    #[test]
    fn runs_of_one_round_are_compared_and_none_that_did_nothing() {
        // Twice as fast in every round, while the machine becomes slower: the medians would say 2.5.
        let (one, other) = (cell(&[400.0, 200.0, 0.0, 100.0]), cell(&[200.0, 100.0, 80.0, 50.0]));
        assert_eq!(rates(&one, &other), Some(2.0));
        assert_eq!(rates(&one, &cell(&[])), None);
    }
}
