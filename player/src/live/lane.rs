//! One track on the axis: wall time in ticks of the track.
//!
//! Ticks of a run are put on the wall by the run's first sample that is seen. Later anchors correct the clock by fractions of a second
//! a day; without them pictures and sound would part, and both would leave the wall. So a track is led after its anchors at sync
//! samples, by steps that nobody sees or hears.

use super::times::LiveTimes;
use crate::mp4::{FragmentSample, FragmentTrack, Track};
use keha_fs::{SampleFlags, StoredSample, TrackKind, TrackNumber, WallTime};

const SECOND_NS: i128 = 1_000_000_000;
/// A track that is further than this from the wall is led after it, in nanoseconds.
const DRIFT_NS: i64 = 5_000_000;
/// By so much at a time.
const STEP_NS: i64 = 10_000_000;
/// What is further off has jumped.
pub(super) const JUMP_NS: i64 = 500_000_000;

/// A track with what waits to be sent of it.
pub(super) struct Lane {
    pub(super) number: TrackNumber,
    pub(super) track: Track,
    ahead_ns: i64,
    floor_ns: i64,
    placed: Option<Placed>,
    pub(super) waiting: Vec<FragmentSample>,
    /// How long the last one lasts, in ticks.
    lasts: u32,
    pub(super) waits_since: Option<WallTime>,
}

struct Placed {
    base: i64,
    times: LiveTimes,
}

impl Lane {
    /// A lane for a period whose axis is `ahead_ns` ahead of the wall; all it decodes comes behind `floor_ns` of the axis.
    pub(super) fn new(number: TrackNumber, track: Track, ahead_ns: i64, floor_ns: i64) -> Lane {
        Lane {
            number,
            track,
            ahead_ns,
            floor_ns,
            placed: None,
            waiting: Vec::new(),
            lasts: 0,
            waits_since: None,
        }
    }

    /// How far a sample's wall time is from where its ticks are put, in nanoseconds.
    pub(super) fn drift_ns(&self, sample: &StoredSample) -> i64 {
        let Some(placed) = &self.placed else { return 0 };
        let ticks = self.ticks(sample.wall).saturating_sub(sample.ticks.saturating_add(placed.base));
        self.ns(ticks)
    }

    /// Takes the next sample.
    pub(super) fn push(&mut self, sample: StoredSample) {
        let sync = sample.flags.contains(SampleFlags::SYNC);
        let drift_ns = self.drift_ns(&sample);
        let correction = match drift_ns.saturating_abs() {
            ..=DRIFT_NS => 0,
            off if off > JUMP_NS => drift_ns,
            _ => drift_ns.clamp(-STEP_NS, STEP_NS),
        };
        let correction = self.ticks_of(if sync { correction } else { 0 });
        let on_wall = self.ticks(sample.wall).saturating_sub(sample.ticks);
        let floor = self.ticks_of(self.floor_ns).saturating_add(1);
        let (depth, timescale, assumed) =
            (self.track.reorder_max(), self.track.timescale(), self.track.assumed_ticks());
        let placed = self.placed.get_or_insert_with(|| Placed {
            base: on_wall,
            times: LiveTimes::new(depth, timescale, assumed, floor),
        });
        placed.base = placed.base.saturating_add(correction);
        let presentation = sample.ticks.saturating_add(placed.base);
        let video = self.track.kind() == TrackKind::Video;
        let natural = self.track.natural_ticks(Some(sample.data.len()));
        let (times, lasts) = placed.times.push(presentation, video && sync, natural);
        self.lasts = lasts;
        self.waits_since.get_or_insert(sample.wall);
        self.waiting.push(FragmentSample { times, flags: sample.flags, data: sample.data });
    }

    /// What waits, as a part of a fragment.
    pub(super) fn part(&self) -> FragmentTrack<'_> {
        let next = self.waiting.last().map(|last| last.times.decode.saturating_add(i64::from(self.lasts)));
        FragmentTrack { track: &self.track, samples: &self.waiting, next }
    }

    /// How long what waits lasts, in nanoseconds.
    pub(super) fn waiting_ns(&self) -> i64 {
        let (Some(first), Some(last)) = (self.waiting.first(), self.waiting.last()) else { return 0 };
        let ticks = last.times.presentation().saturating_sub(first.times.presentation());
        self.ns(ticks.saturating_add(i64::from(self.lasts)))
    }

    /// Where on the axis what waits ends: its presentation, in nanoseconds. After a stall a picture is said to last long; what
    /// follows need not come so late.
    pub(super) fn end_ns(&self) -> Option<i64> {
        let lasts = match self.track.kind() {
            TrackKind::Video => self.lasts.min(self.track.assumed_ticks()),
            _ => self.lasts,
        };
        let ends = self.waiting.iter().map(|sample| sample.times.presentation());
        ends.max().map(|last| self.ns(last.saturating_add(i64::from(lasts))))
    }

    /// It was sent, or is given up.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.waits_since = None;
    }

    fn ticks(&self, wall: WallTime) -> i64 {
        self.ticks_of(wall.0.saturating_add(self.ahead_ns))
    }

    fn ticks_of(&self, ns: i64) -> i64 {
        let ticks = (i128::from(ns) * i128::from(self.track.timescale())).div_euclid(SECOND_NS);
        i64::try_from(ticks).unwrap_or(i64::MAX)
    }

    fn ns(&self, ticks: i64) -> i64 {
        let ns = (i128::from(ticks) * SECOND_NS).div_euclid(i128::from(self.track.timescale().max(1)));
        i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
    }
}
