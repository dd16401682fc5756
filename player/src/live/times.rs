//! When the samples of one track are decoded, said at once: no sample waits for the next.
//!
//! A volume keeps presentation times in decode order. With a reorder depth of `d`, the i-th sample in decode order is given the
//! (i-d)-th smallest presentation time as its decode time: that one is settled when the i-th sample comes, it is never behind the
//! sample's own presentation, and it rises. Presentation times stay exact to the tick; decode times lag by `d` pictures, which
//! delays nothing, for they only order.
//!
//! Browsers take a decode time that is more than twice the last duration behind the last one for a break, and then drop every track up
//! to the next keyframe (Media Source Extensions, 3.5.8, "coded frame processing"). A camera that stalls for a moment, or a lost
//! packet of sound, must not cost a group of pictures: so decode times catch up in steps that a browser takes, and the offsets carry
//! the rest. At a keyframe they catch up at once.

use crate::mp4::Timed;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A stall longer than this is a break after all, in seconds: offsets have 32 bits.
const LAG_S_MAX: i64 = 10;
/// The longest duration that a picture is given, in seconds.
const DURATION_S_MAX: i64 = 2;

/// Gives the samples of one track, in decode order, their times.
#[derive(Clone, Debug)]
pub(super) struct LiveTimes {
    depth: usize,
    timescale: i64,
    /// A duration where nothing tells one, in ticks.
    assumed: i64,
    /// The presentation times that no sample was given as decode time yet.
    earliest: BinaryHeap<Reverse<i64>>,
    settled: Option<i64>,
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    decode: i64,
    duration: i64,
}

impl LiveTimes {
    /// `floor`: all decode times are behind this one.
    pub(super) fn new(depth: usize, timescale: u32, assumed: u32, floor: i64) -> LiveTimes {
        let (timescale, assumed) = (i64::from(timescale), i64::from(assumed));
        let last = Some(Last { decode: floor, duration: i64::from(u32::MAX) });
        LiveTimes { depth, timescale, assumed, earliest: BinaryHeap::new(), settled: None, last }
    }

    /// The times of the next sample, and how long it lasts; `natural` is how long where the sample itself says so. `break_free`: here
    /// decode times may jump ahead.
    pub(super) fn push(&mut self, presentation: i64, break_free: bool, natural: Option<u32>) -> (Timed, u32) {
        self.earliest.push(Reverse(presentation));
        let settled = self.settle();
        let interval = self.settled.map(|before| settled.saturating_sub(before)).filter(|ticks| *ticks > 0);
        self.settled = Some(settled);
        let before = self.last.map(|last| last.duration).filter(|ticks| *ticks < i64::from(u32::MAX));
        let duration = natural.map(i64::from).or(interval).or(before).unwrap_or(self.assumed);
        let duration = duration.clamp(1, self.timescale.saturating_mul(DURATION_S_MAX).max(1));
        let decode = self.in_steps(settled, break_free);
        self.last = Some(Last { decode, duration });
        let timed = Timed { decode, offset: presentation.saturating_sub(decode) };
        (timed, u32::try_from(duration).unwrap_or(u32::MAX))
    }

    /// The smallest presentation time that is settled. The first ones are made up, at even distances before the first picture.
    fn settle(&mut self) -> i64 {
        let missing = (self.depth + 1).saturating_sub(self.earliest.len());
        let first = self.earliest.peek().map_or(0, |Reverse(ticks)| *ticks);
        if missing == 0 {
            self.earliest.pop();
            return first;
        }
        first.saturating_sub(self.assumed.saturating_mul(i64::try_from(missing).unwrap_or(i64::MAX)))
    }

    fn in_steps(&self, settled: i64, break_free: bool) -> i64 {
        let Some(last) = self.last else { return settled };
        let reach = last.decode.saturating_add(last.duration.saturating_mul(15) / 8);
        let breaks = break_free || settled.saturating_sub(reach) > self.timescale.saturating_mul(LAG_S_MAX);
        let decode = if breaks { settled } else { settled.min(reach) };
        decode.max(last.decode.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pushed(times: &mut LiveTimes, ticks: &[i64]) -> Vec<(i64, i64, u32)> {
        let timed = |(index, ticks): (usize, &i64)| {
            let (timed, duration) = times.push(*ticks, index == 0, None);
            (timed.decode, timed.presentation(), duration)
        };
        ticks.iter().enumerate().map(timed).collect()
    }

    #[test]
    fn pictures_in_order_are_decoded_when_they_are_shown() {
        let made = pushed(&mut LiveTimes::new(0, 1000, 40, 0), &[1000, 1040, 1080]);
        assert_eq!(made, [(1000, 1000, 40), (1040, 1040, 40), (1080, 1080, 40)]);
    }

    #[test]
    fn b_pictures_are_decoded_evenly_and_never_behind_their_presentation() {
        let made = pushed(&mut LiveTimes::new(1, 1000, 40, 0), &[1000, 1120, 1040, 1080, 1240, 1160, 1200]);
        let decode: Vec<i64> = made.iter().map(|(decode, ..)| *decode).collect();
        assert_eq!(decode, [960, 1000, 1040, 1080, 1120, 1160, 1200]);
        assert!(made.iter().all(|(_, _, duration)| *duration == 40));
    }

    #[test]
    fn after_a_stall_decode_times_catch_up_in_steps_that_browsers_take() {
        let made = pushed(&mut LiveTimes::new(0, 1000, 40, 0), &[1000, 1040, 3040, 3080, 3120]);
        let decode: Vec<i64> = made.iter().map(|(decode, ..)| *decode).collect();
        assert_eq!(decode, [1000, 1040, 1115, 3080, 3120]);
        assert_eq!(
            made.iter().map(|(_, shown, _)| *shown).collect::<Vec<_>>(),
            [1000, 1040, 3040, 3080, 3120]
        );
    }

    proptest! {
        #[test]
        fn decode_times_rise_without_a_break_and_presentation_times_are_exact(
            depth in 0..4usize, floor in 0..3000i64, steps in proptest::collection::vec(-50..400i64, 1..60),
        ) {
            let mut times = LiveTimes::new(depth, 1000, 40, floor);
            let (mut shown, mut last) = (1000, (floor, i64::from(u32::MAX)));
            for (index, step) in steps.into_iter().enumerate() {
                shown += step;
                let (timed, duration) = times.push(shown, index == 0, None);
                prop_assert_eq!(timed.presentation(), shown);
                prop_assert!(timed.decode > last.0 && timed.decode - last.0 <= 2 * last.1);
                last = (timed.decode, i64::from(duration));
            }
        }
    }
}
