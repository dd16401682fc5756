//! How long the rounds of a server's volume take, each by itself, from the metrics that it tells.
//!
//! `keha_volume_round_seconds` counts rounds and adds up their times. It is asked for several times a second, and a volume has about
//! one round a second: so what was added since the last time is the time of one round. Where two ended in between, all of it counts
//! for the longer one.
//!
//! Must not live here: how long a round may take.

use crate::http::Client;
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};

/// How often it is asked.
const INTERVAL: Duration = Duration::from_millis(100);
const FAMILY: &str = "keha_volume_round_seconds";

/// The times of rounds.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    sorted_s: Vec<f64>,
}

impl Rounds {
    /// Looks on until it is over, of a server with one volume.
    ///
    /// # Errors
    /// The server does not tell.
    pub fn watched(client: &Client, is_over: impl Fn() -> bool) -> Result<Rounds> {
        let mut before = told(client)?;
        let mut times_s = Vec::new();
        while !is_over() {
            let began = Instant::now();
            let now = told(client)?;
            // Rounds within a request count as none of no length.
            if now.count > before.count && now.sum_s > before.sum_s {
                times_s.push(now.sum_s - before.sum_s);
            }
            before = now;
            std::thread::sleep(INTERVAL.saturating_sub(began.elapsed()));
        }
        Ok(Self::of(times_s))
    }

    /// These, in seconds.
    fn of(mut times_s: Vec<f64>) -> Rounds {
        times_s.sort_by(f64::total_cmp);
        Rounds { sorted_s: times_s }
    }

    /// Those of both.
    #[must_use]
    pub fn and(self, more: Rounds) -> Rounds {
        Self::of([self.sorted_s, more.sorted_s].concat())
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.sorted_s.len()
    }

    /// The time, in seconds, that this share of them do not exceed: the nearest rank, never less.
    ///
    /// # Errors
    /// There are none.
    pub fn quantile_s(&self, share: f64) -> Result<f64> {
        let rank = (share * self.count() as f64).ceil() as usize;
        self.sorted_s.get(rank.saturating_sub(1)).copied().context("no round ended")
    }
}

#[derive(Clone, Copy)]
struct Told {
    count: u64,
    sum_s: f64,
}

fn told(client: &Client) -> Result<Told> {
    let metrics = client.get("/api/v1/metrics")?.with_status(200)?.text();
    let value = |suffix: &str| -> Result<f64> {
        let name = format!("{FAMILY}_{suffix}{{");
        let mut lines = metrics.lines().filter(|line| line.starts_with(&name));
        let (Some(line), None) = (lines.next(), lines.next()) else { bail!("not one {name} in {metrics}") };
        let (_, value) = line.rsplit_once(' ').context("a metric without a value")?;
        Ok(value.parse()?)
    };
    Ok(Told { count: value("count")? as u64, sum_s: value("sum")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_percentile_of_a_hundred_is_the_last_but_one() -> Result<()> {
        let rounds = Rounds::of((1..=60).rev().map(f64::from).collect());
        let both = rounds.and(Rounds::of((61..=100).map(f64::from).collect()));
        assert_eq!((both.count(), both.quantile_s(0.99)?, both.quantile_s(0.5)?), (100, 99.0, 50.0));
        assert!(Rounds::default().quantile_s(0.99).is_err());
        Ok(())
    }
}
