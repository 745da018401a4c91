//! How many restarts, how long the broker is away, when everything comes to rest.

use std::fmt;
use std::time::Duration;

use rig::{Error, Result};

/// A restart per minute.
const ROUND: Duration = Duration::from_secs(60);

/// Restarts before the first rest, with which all later ones are compared: what is allocated once and kept is there by
/// then, and outages of every kind have been.
const WARM_UP: usize = 5;

/// What the manager may grow by after a full warm-up, in KiB. Of each of the 64 sizes up to 1 KiB the C library keeps
/// seven freed pieces for the next time, 238 KiB in all. Which sizes are needed differs from outage to outage, so this
/// fills slowly, and then no more. A leak of 5 KiB per restart is over the limit in an hour.
const WARM_KIB: u64 = 256;

/// The same after a shorter warm-up, which has not seen the largest backlog yet.
const COLD_KIB: u64 = 768;

/// Every so many restarts the broker is away for longer.
const LONG_EVERY: usize = 5;
const LONG: Duration = Duration::from_secs(20);

/// One soak.
pub struct Plan {
    /// Restarts in each stretch of load. Everything comes to rest after each stretch; the first one is the warm-up.
    pub stretches: Vec<usize>,
    /// From one restart to the next, at least.
    pub round: Duration,
    /// The broker is never away for longer.
    pub longest_absence: Duration,
    /// What the manager may grow by between the first rest and the last, in KiB.
    pub manager_kib: u64,
    /// False: the broker is left alone.
    pub restarts: bool,
    /// The numbers go into files.
    pub is_written: bool,
}

/// What happens to the broker in one round.
pub struct Outage {
    /// SIGKILL, or an orderly stop.
    pub is_kill: bool,
    /// Until it is started again, which takes some seconds more.
    pub absence: Duration,
}

impl Plan {
    /// What the environment says.
    pub fn asked_for() -> Result<Self> {
        let minutes = std::env::var("MINUTES").unwrap_or_else(|_| "60".to_string());
        if minutes == "short" {
            return Ok(Self::short());
        }
        let number = minutes.parse().ok().filter(|minutes| *minutes >= 2);
        let number = number.ok_or_else(|| Error::new(format!("MINUTES={minutes} is no number above 1")))?;
        let restarts = std::env::var("RESTARTS").is_ok_and(|word| word == "no");
        Ok(Self { restarts: !restarts, ..Self::long(number) })
    }

    /// A warm-up, then rests at the quarters of the time.
    fn long(minutes: usize) -> Self {
        let warm_up = WARM_UP.min(minutes / 2);
        let mut stretches = vec![warm_up];
        for quarter in 1..=4 {
            let done: usize = stretches.iter().sum();
            stretches.push((minutes * quarter / 4).saturating_sub(done));
        }
        stretches.retain(|rounds| *rounds > 0);
        let manager_kib = if warm_up == WARM_UP { WARM_KIB } else { COLD_KIB };
        Self { stretches, round: ROUND, longest_absence: LONG, manager_kib, restarts: true, is_written: true }
    }

    fn short() -> Self {
        Self {
            stretches: vec![1, 3],
            round: Duration::ZERO,
            longest_absence: Duration::from_millis(500),
            manager_kib: COLD_KIB,
            restarts: true,
            is_written: false,
        }
    }

    /// What happens in this round, counted from 0 over all stretches.
    pub fn outage(&self, round: usize) -> Outage {
        // Not the same at each restart, and the same in each soak.
        let usual = Duration::from_millis(2_000 + 200 * (round as u64 * 7 % 6));
        let absence = if round % LONG_EVERY == LONG_EVERY - 1 { LONG } else { usual };
        Outage { is_kill: round.is_multiple_of(2), absence: absence.min(self.longest_absence) }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds: usize = self.stretches.iter().sum();
        let what = if self.restarts { "broker restarts" } else { "rounds without a restart" };
        write!(f, "{rounds} {what}, at least {} s each, rests after {:?}", self.round.as_secs(), self.stretches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_are_at_the_quarters() {
        assert_eq!(Plan::long(60).stretches, [5, 10, 15, 15, 15]);
        assert_eq!(Plan::long(10).stretches, [5, 2, 3]);
        assert_eq!(Plan::long(2).stretches, [1, 1]);
    }

    #[test]
    fn both_ways_to_end_get_long_absences() {
        let plan = Plan::long(60);
        let long = (0..60).map(|round| plan.outage(round)).filter(|outage| outage.absence == LONG);
        let kills: Vec<bool> = long.map(|outage| outage.is_kill).collect();
        assert_eq!(kills.len(), 12);
        assert!(kills.contains(&true) && kills.contains(&false));
    }
}
