//! What one thing costs beside another, measured in turns: the median of the ratios of each pair, and where it lies.
//!
//! Machines are noisy and drift: only two that ran one after the other are compared. The interval is that of order statistics, which
//! supposes nothing of how the values are spread: as many pairs lie above the true median as below it, like coins.
//!
//! Must not live here: what is measured, and how much it may be.

use std::fmt;

/// How sure it is that the median lies in the interval.
const COVERAGE: f64 = 0.95;

/// A median of measured values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Median {
    /// The median.
    pub value: f64,
    /// That of all that could have been measured lies between these, with a probability of 95 %; with fewer than six values, least and
    /// most.
    pub interval: (f64, f64),
}

impl Median {
    /// Of these, in any order; `None` of none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Median> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (upper, lower) = (values.len() / 2, values.len().checked_sub(1)? / 2);
        let outside = outside(values.len());
        let at = |place: usize| values.get(place).copied();
        Some(Median {
            value: (at(lower)? + at(upper)?) / 2.0,
            interval: (at(outside)?, at(values.len() - 1 - outside)?),
        })
    }

    /// Of what the first of each pair is of the second.
    pub fn of_ratios(pairs: impl IntoIterator<Item = (f64, f64)>) -> Option<Median> {
        Median::of(pairs.into_iter().map(|(ours, theirs)| ours / theirs))
    }
}

impl fmt::Display for Median {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = self.interval;
        write!(f, "{:.3} ({from:.3} to {to:.3})", self.value)
    }
}

/// How many of `count` sorted values lie outside of the interval at either end: the most for which so many heads or fewer, or tails, of
/// `count` coins are improbable enough.
fn outside(count: usize) -> usize {
    let of_all = 0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let (mut ways, mut tail, mut outside) = (1.0, 0.0, 0);
    for heads in 0..count / 2 {
        tail += ways * of_all;
        if 2.0 * tail > 1.0 - COVERAGE {
            break;
        }
        outside = heads;
        ways *= (count - heads) as f64 / (heads + 1) as f64;
    }
    outside
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ranks of the tables for the sign test.
    #[test]
    fn the_interval_is_that_of_the_sign_test() {
        for (count, ranks) in
            [(5, (1, 5)), (6, (1, 6)), (8, (1, 8)), (9, (2, 8)), (15, (4, 12)), (25, (8, 18))]
        {
            let median = Median::of((1..=count).rev().map(f64::from)).expect("values");
            assert_eq!(median.interval, (f64::from(ranks.0), f64::from(ranks.1)), "{count}");
        }
    }

    #[test]
    fn the_median_of_ratios_is_of_pairs() {
        let median = Median::of_ratios([(2.0, 1.0), (30.0, 10.0), (4.0, 4.0), (10.0, 1.0)]).expect("values");
        assert_eq!((median.value, median.interval), (2.5, (1.0, 10.0)));
        assert_eq!(median.to_string(), "2.500 (1.000 to 10.000)");
        assert_eq!(Median::of([]), None);
    }
}
