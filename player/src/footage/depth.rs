//! How far decode times must come before their presentation, so that no composition offset of a fragmented file is negative.
//!
//! Negative ones are allowed (ISO/IEC 14496-12, 8.8.8), but there are players that delay a track by the deepest of them, and show
//! reordered pictures behind their sound.

use crate::mp4::{DecodeTimes, Timed};

/// Watches the offsets of a track.
#[derive(Clone, Debug)]
pub(super) struct Depth {
    times: DecodeTimes,
    settled: Vec<Timed>,
    deepest: i64,
}

impl Depth {
    pub(super) fn new(reorder_max: usize) -> Depth {
        Depth { times: DecodeTimes::new(reorder_max), settled: Vec::new(), deepest: 0 }
    }

    /// Takes the next sample, in decode order.
    pub(super) fn push(&mut self, ticks: i64, sync: bool) {
        self.times.push(ticks, sync, &mut self.settled);
        self.settle();
    }

    /// By how many ticks decoding has to come earlier; on an axis that is rounded otherwise, too.
    pub(super) fn finish(mut self) -> i64 {
        self.times.finish(&mut self.settled);
        self.settle();
        if self.deepest < 0 { self.deepest.saturating_neg().saturating_add(ROUNDING_TICKS) } else { 0 }
    }

    fn settle(&mut self) {
        let deepest = self.settled.drain(..).map(|timed| timed.offset).min();
        self.deepest = self.deepest.min(deepest.unwrap_or(0));
    }
}

/// Two times are each rounded by up to a tick.
const ROUNDING_TICKS: i64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_comes_earlier_by_what_is_reordered_and_else_not() {
        let mut in_order = Depth::new(0);
        (0..9).for_each(|index| in_order.push(index * 3600, index == 0));
        assert_eq!(in_order.finish(), 0);
        let mut reordered = Depth::new(2);
        [0, 3, 1, 2, 6, 4, 5].iter().for_each(|index| reordered.push(index * 3600, *index == 0));
        assert_eq!(reordered.finish(), 3602);
    }
}
