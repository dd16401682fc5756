//! Measures a track's distance from sample to sample in presentation order, although samples come in decode order.

/// How far decode order may run ahead of presentation order, in samples (H.264 and H.265 both stop at 16).
const REORDER_MAX: usize = 16;

/// Watches the times of one track.
#[derive(Clone, Debug, Default)]
pub(crate) struct IntervalMeter {
    /// Times not yet in their final order, ascending.
    window: Vec<i64>,
    last: Option<i64>,
    shortest: Option<i64>,
    longest: Option<i64>,
    total: i64,
    count: i64,
}

impl IntervalMeter {
    /// Takes the next sample's presentation time in ticks.
    pub(crate) fn push(&mut self, ticks: i64) {
        let at = self.window.partition_point(|&known| known <= ticks);
        self.window.insert(at, ticks);
        if self.window.len() > REORDER_MAX {
            let first = self.window.remove(0);
            self.settle(first);
        }
    }

    /// What follows is not continuous with what came: a new run.
    pub(crate) fn interrupt(&mut self) {
        for ticks in std::mem::take(&mut self.window) {
            self.settle(ticks);
        }
        self.last = None;
    }

    fn settle(&mut self, ticks: i64) {
        if let Some(interval) = self.last.replace(ticks).map(|last| ticks.saturating_sub(last)) {
            self.shortest = Some(self.shortest.map_or(interval, |known| known.min(interval)));
            self.longest = Some(self.longest.map_or(interval, |known| known.max(interval)));
            self.total = self.total.saturating_add(interval);
            self.count += 1;
        }
    }

    /// The shortest interval in nanoseconds, 0 if there was none: how long the last sample is taken to last.
    pub(crate) fn shortest_ns(&self, timescale: u32) -> i64 {
        nanoseconds(self.shortest.unwrap_or(0).max(0), 1, timescale)
    }

    /// The interval in nanoseconds if all were the same, but for a tick of rounding.
    pub(crate) fn constant_ns(&self, timescale: u32) -> Option<u64> {
        let (shortest, longest) = (self.shortest?, self.longest?);
        let constant = shortest > 1 && longest - shortest <= 1;
        constant.then(|| nanoseconds(self.total, self.count, timescale).unsigned_abs())
    }
}

fn nanoseconds(ticks: i64, count: i64, timescale: u32) -> i64 {
    let divisor = i128::from(count.max(1)) * i128::from(timescale.max(1));
    let nanoseconds = (i128::from(ticks) * 1_000_000_000 + divisor / 2) / divisor;
    i64::try_from(nanoseconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(ticks: impl IntoIterator<Item = i64>) -> Option<u64> {
        let mut meter = IntervalMeter::default();
        ticks.into_iter().for_each(|ticks| meter.push(ticks));
        meter.interrupt();
        meter.constant_ns(90_000)
    }

    #[test]
    fn reordered_frames_of_a_constant_rate_are_seen_as_constant() {
        let decode_order = [0, 4, 2, 1, 3, 8, 6, 5, 7];
        assert_eq!(measured(decode_order.map(|frame| frame * 3600)), Some(40_000_000));
        assert_eq!(measured((0..300).map(|frame| frame * 3003)), Some(33_366_667));
    }

    #[test]
    fn a_missing_frame_or_a_wandering_rate_is_not_constant() {
        assert_eq!(measured([0, 3600, 7200, 14_400]), None);
        assert_eq!(measured([0, 3600, 7290, 10_800]), None);
        assert_eq!(measured([0]), None);
    }

    #[test]
    fn the_distance_between_two_runs_does_not_count() {
        let mut meter = IntervalMeter::default();
        for ticks in [0, 3600, 7200] {
            meter.push(ticks);
        }
        meter.interrupt();
        for ticks in [1_000_000, 1_003_600] {
            meter.push(ticks);
        }
        meter.interrupt();
        assert_eq!(meter.constant_ns(90_000), Some(40_000_000));
    }
}
