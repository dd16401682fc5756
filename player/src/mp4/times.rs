//! Decode times, which volumes do not keep, from presentation times, which they do.
//!
//! Samples come in decode order. The i-th of them is given the i-th smallest presentation time as its decode time: then
//! decode times rise, take up exactly the span of the presentation, and differ from the presentation times only where
//! pictures are reordered. Composition offsets are signed (ISO/IEC 14496-12, 8.6.1.3 and 8.8.8, version 1), so nothing
//! is delayed, and sound and pictures stay in step without an edit list.
//!
//! No picture crosses a sync sample in presentation order, so each stretch from one to the next has the same decode times
//! whether it is looked at alone or in its stream. Within one, `reorder_max` samples have to be looked ahead.

use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// When a sample is decoded and shown, in ticks of its track's timescale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed {
    /// Its decode time. Rises strictly within a track.
    pub decode: i64,
    /// Its presentation time minus its decode time; may be negative.
    pub offset: i64,
}

impl Timed {
    /// Its presentation time.
    pub fn presentation(self) -> i64 {
        self.decode.saturating_add(self.offset)
    }
}

/// Gives the samples of one track, in decode order, their decode times.
#[derive(Clone, Debug, Default)]
pub struct DecodeTimes {
    reorder_max: usize,
    /// Presentation times in decode order, and the same in their own.
    waiting: VecDeque<i64>,
    earliest: BinaryHeap<Reverse<i64>>,
    last: Option<i64>,
}

/// What decides the times of the samples to come, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TimesState {
    waiting: Vec<i64>,
    earliest: Vec<i64>,
    last: Option<i64>,
}

impl DecodeTimes {
    /// What it holds, to go on with elsewhere.
    pub(crate) fn state(&self) -> TimesState {
        let mut earliest: Vec<i64> = self.earliest.iter().map(|Reverse(ticks)| *ticks).collect();
        earliest.sort_unstable();
        TimesState { waiting: self.waiting.iter().copied().collect(), earliest, last: self.last }
    }

    /// Goes on with what another one held.
    pub(crate) fn resumed(reorder_max: usize, state: &TimesState) -> DecodeTimes {
        DecodeTimes {
            reorder_max,
            waiting: state.waiting.iter().copied().collect(),
            earliest: state.earliest.iter().map(|ticks| Reverse(*ticks)).collect(),
            last: state.last,
        }
    }

    /// `reorder_max`: how many samples may precede one in decode order and follow it in presentation order (see
    /// [`crate::mp4::Track::reorder_max`]); 0 means that each sample is given its time at once.
    pub fn new(reorder_max: usize) -> DecodeTimes {
        DecodeTimes { reorder_max, ..DecodeTimes::default() }
    }

    /// Takes the next sample's presentation time, and appends to `out` the times of the samples that are settled, in
    /// decode order.
    pub fn push(&mut self, ticks: i64, sync: bool, out: &mut Vec<Timed>) {
        if sync {
            self.finish(out);
        }
        self.waiting.push_back(ticks);
        self.earliest.push(Reverse(ticks));
        while self.waiting.len() > self.reorder_max {
            self.settle(out);
        }
    }

    /// No more samples, or none that matter: settles all that were taken.
    pub fn finish(&mut self, out: &mut Vec<Timed>) {
        while !self.waiting.is_empty() {
            self.settle(out);
        }
    }

    /// The times of a stretch of samples, given as presentation times and whether each is a sync sample.
    pub fn of(samples: impl IntoIterator<Item = (i64, bool)>, reorder_max: usize) -> Vec<Timed> {
        let (mut times, mut out) = (DecodeTimes::new(reorder_max), Vec::new());
        samples.into_iter().for_each(|(ticks, sync)| times.push(ticks, sync, &mut out));
        times.finish(&mut out);
        out
    }

    fn settle(&mut self, out: &mut Vec<Timed>) {
        let (Some(ticks), Some(Reverse(decode))) = (self.waiting.pop_front(), self.earliest.pop()) else {
            return;
        };
        // Clocks that stand still or go back must not take decode times with them.
        let decode = self.last.map_or(decode, |last| decode.max(last.saturating_add(1)));
        self.last = Some(decode);
        out.push(Timed { decode, offset: ticks.saturating_sub(decode) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(times: &[Timed]) -> Vec<i64> {
        times.iter().map(|timed| timed.decode).collect()
    }

    #[test]
    fn samples_in_order_are_decoded_when_they_are_shown_and_at_once() {
        let (mut times, mut out) = (DecodeTimes::new(0), Vec::new());
        for (index, ticks) in [-5, 0, 10, 20].into_iter().enumerate() {
            times.push(ticks, false, &mut out);
            assert_eq!(out[index], Timed { decode: ticks, offset: 0 });
        }
    }

    #[test]
    fn b_pictures_get_signed_offsets_and_no_delay() {
        let order = [(0, true), (3, false), (1, false), (2, false), (6, false), (4, false), (5, false)];
        let times = DecodeTimes::of(order, 2);
        assert_eq!(decoded(&times), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(times.iter().map(|timed| timed.offset).collect::<Vec<_>>(), [0, 2, -1, -1, 2, -1, -1]);
    }

    #[test]
    fn pictures_that_lead_a_cra_are_decoded_behind_it_and_shown_before() {
        let times = DecodeTimes::of([(0, true), (1, false), (4, true), (2, false), (3, false)], 3);
        assert_eq!(decoded(&times), [0, 1, 2, 3, 4]);
        assert_eq!(times[2].presentation(), 4);
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_does_not_take_decode_times_with_it() {
        let times = DecodeTimes::of([(5, true), (5, false), (3, false), (4, true), (9, true)], 0);
        assert_eq!(decoded(&times), [5, 6, 7, 8, 9]);
        assert_eq!(times.iter().map(|timed| timed.presentation()).collect::<Vec<_>>(), [5, 5, 3, 4, 9]);
    }

    proptest! {
        /// Groups of pictures, each shuffled within the depth, each beginning with its sync sample.
        #[test]
        fn a_group_has_the_same_times_alone_and_in_its_stream(
            groups in proptest::collection::vec(proptest::collection::vec(0..3u8, 1..20), 1..6),
        ) {
            let (mut stream, mut at) = (Vec::new(), 0);
            for group in &groups {
                let mut order: Vec<i64> = (0..group.len() as i64).map(|index| at + index).collect();
                // The anchor of each small group of pictures is decoded first, as encoders do.
                let mut index = 1;
                for size in group {
                    let end = (index + usize::from(*size) + 1).min(order.len());
                    if index < end {
                        order[index..end].rotate_right(1);
                    }
                    index = end.max(index + 1);
                }
                at += group.len() as i64;
                stream.push(order.into_iter().enumerate().map(|(i, t)| (t * 10, i == 0)).collect::<Vec<_>>());
            }
            let whole = DecodeTimes::of(stream.concat(), 2);
            let alone: Vec<Timed> = stream.iter().flat_map(|group| DecodeTimes::of(group.clone(), 2)).collect();
            prop_assert_eq!(&whole, &alone);
            let even: Vec<i64> = (0..whole.len() as i64).map(|index| index * 10).collect();
            prop_assert_eq!(decoded(&whole), even);
        }
    }
}
