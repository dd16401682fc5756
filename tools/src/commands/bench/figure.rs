//! How a measured value is shown: its median, and where that lies.

use keha_bench::Median;
use serde::Serialize;

/// What the intervals in a table are.
pub(super) const INTERVALS: &str =
    "Medians; in brackets where they lie with 95 %, or, of fewer than six turns, the least and the most.";

/// A value in a document, to four decimals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Figure {
    median: f64,
    from: f64,
    to: f64,
}

impl Figure {
    pub(super) fn new(median: Median) -> Figure {
        let rounded = |value: f64| (value * 10_000.0).round() / 10_000.0;
        let (from, to) = median.interval;
        Figure { median: rounded(median.value), from: rounded(from), to: rounded(to) }
    }
}

/// A value for people: as many digits as mean something.
pub(super) fn show(median: Median) -> String {
    let number = |value: f64| match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    };
    format!("{} ({} to {})", number(median.value), number(median.interval.0), number(median.interval.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_values_have_no_decimals_and_small_ones_three() {
        let shown = |value, interval| show(Median { value, interval });
        assert_eq!(shown(1811.6, (99.95, 2000.4)), "1812 (100.0 to 2000)");
        assert_eq!(shown(0.25, (0.2174, 12.34)), "0.250 (0.217 to 12.3)");
    }
}
