//! One track's mapping from media ticks to wall time.
//!
//! Inside, ticks count from the first sample seen, on and on over the runs of a session; [`TrackClock::begin_run`] only
//! moves the zero that is given out. So an overload, which ends a run but not the media clock, keeps the estimate.

use super::window::MinimumDelay;
use super::{NS_PER_MS, NS_PER_S, ns_to_ticks, ticks_to_ns};
use keha_fs::{Anchor, ClockSource, TrackNumber, WallTime};

/// How fast an estimate is followed, in parts per million.
const SLEW_PPM_MAX: i64 = 500;
/// The same while a new estimate still settles.
const SETTLING_PPM_MAX: i64 = 5_000;
/// How long it settles, in media time.
const SETTLING_NS: i64 = 20 * NS_PER_S;
/// A camera whose clock is farther from ours than this is not believed.
const REPORT_OFFSET_NS_MAX: i64 = 5 * NS_PER_S;
/// Reports that come so much later than others, by the camera's clock, are of a clock that was set.
const CAMERA_SET_NS: i64 = 250 * NS_PER_MS;
/// A report is relied on for this long.
const REPORT_AGE_NS_MAX: i64 = 60 * NS_PER_S;
/// A media clock that runs this far ahead of arrival from one sample to the next has jumped.
const JUMP_AHEAD_NS: i64 = 5 * NS_PER_S;
/// A media clock that goes back this far has jumped; less is the reordering of B pictures.
const JUMP_BACK_NS: i64 = NS_PER_S;
/// A mapping that is this far from its estimate is given up.
const ASTRAY_NS: i64 = 5 * NS_PER_S;
/// How often an anchor is given out at least, in media time.
const ANCHOR_EVERY_NS: i64 = 5 * NS_PER_S;
/// How far the mapping moves at most between two anchors: the unevenness of frame times that a reader may see.
const ANCHOR_STEP_NS: i64 = NS_PER_MS / 2;
/// What is said of an estimate from few samples that were noted promptly: others are up to 100 ms late.
const EARLY_UNCERTAINTY_NS: i64 = 100 * NS_PER_MS;
const EARLY_SAMPLES: u64 = 10;
/// What nothing here can be surer than.
const UNCERTAINTY_NS_MIN: i64 = NS_PER_MS;

/// A camera's lead is forgotten when it was not seen for so long.
const LEAD_AGE_NS_MAX: i64 = 600 * NS_PER_S;

/// By how much a camera's clock that was followed leads arrival, and when that was last seen, on the steady clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lead {
    /// Of the mapping, which may lag behind the camera's clock.
    pub(crate) ns: i64,
    /// Of the camera's clock itself.
    camera_ns: i64,
    seen_mono_ns: i64,
}

impl Lead {
    /// What is left of it at `mono_ns`, after our own clock was set by `step_ns`; nothing if it is too old, or the camera's
    /// clock is now too far from ours to be believed.
    pub(crate) fn after(self, mono_ns: i64, step_ns: i64) -> Option<Lead> {
        let camera_ns = self.camera_ns.saturating_sub(step_ns);
        // What the mapping lags behind is not the camera's.
        let ns = self.ns.saturating_sub(step_ns).clamp(camera_ns.min(0), camera_ns.max(0));
        let fresh = mono_ns.saturating_sub(self.seen_mono_ns) <= LEAD_AGE_NS_MAX;
        (fresh && camera_ns.saturating_abs() <= REPORT_OFFSET_NS_MAX).then_some(Lead {
            ns,
            camera_ns,
            ..self
        })
    }
}

/// When a sample arrived, by the clocks that matter to a track.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// On the steady clock, in nanoseconds.
    pub(crate) mono_ns: i64,
    /// On the wall clock as it is followed, in nanoseconds since 1970.
    pub(crate) wall_ns: i64,
    /// It was noted promptly: what it is late by is not the recorder's doing.
    pub(crate) prompt: bool,
}

/// What a sample says of the media clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It goes on.
    Steady,
    /// It jumped by so many nanoseconds against arrival.
    Jumped(i64),
}

/// Judges two samples of a track, given how far apart they are on the media clock and in arrival, in nanoseconds.
pub(crate) fn step(media_ns: i64, arrived_ns: i64) -> Step {
    let ahead = media_ns.saturating_sub(arrived_ns);
    if media_ns < -JUMP_BACK_NS || ahead > JUMP_AHEAD_NS { Step::Jumped(ahead) } else { Step::Steady }
}

/// What became of a sender report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The mapping now slews towards the camera's clock.
    Followed,
    /// The camera's clock is this far from ours, in nanoseconds: ignored.
    Ignored(i64),
}

/// The mapping of one track.
#[derive(Clone, Debug)]
pub(crate) struct TrackClock {
    track: TrackNumber,
    timescale: u32,
    /// The media ticks that count as zero inside.
    base: i64,
    /// The inner ticks that are zero in the run.
    run_zero: i64,
    /// The wall time of inner tick zero, in nanoseconds.
    offset_ns: i64,
    delays: MinimumDelay,
    report: Option<FollowedReport>,
    /// By how much the camera's clock, which was followed in the session before, led arrival; relied on while reports may
    /// still come, so that a reconnect does not set wall time back.
    lead_ns: i64,
    camera_offset_ns: i64,
    /// How late the reports of the last minute came, by the camera's clock, and whether the last one did by far.
    report_delays: Option<MinimumDelay>,
    late_report: bool,
    /// The latest presentation so far.
    newest_ns: i64,
    last: Last,
    slewed_at_ns: i64,
    anchored: Option<Anchored>,
    /// Whether an anchor was ever given out: until then the estimate may be taken as it is.
    relied_on: bool,
}

/// The anchor given out last.
#[derive(Clone, Copy, Debug)]
struct Anchored {
    at_ns: i64,
    offset_ns: i64,
    source: ClockSource,
    camera_known: bool,
}

impl Anchored {
    /// Whether nothing new is to be told by `due`.
    fn covers(self, due: Anchored) -> bool {
        due.at_ns.saturating_sub(self.at_ns) < ANCHOR_EVERY_NS
            && due.offset_ns.saturating_sub(self.offset_ns).saturating_abs() < ANCHOR_STEP_NS
            && (due.source, due.camera_known) == (self.source, self.camera_known)
    }
}

#[derive(Clone, Copy, Debug)]
struct FollowedReport {
    offset_ns: i64,
    mono_ns: i64,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    media_ns: i64,
    arrival: Arrival,
}

impl TrackClock {
    /// A mapping that begins with a sample at `media_ticks`. `lead_ns` is that of the session before, else 0.
    pub(crate) fn new(
        track: TrackNumber,
        timescale: u32,
        media_ticks: i64,
        arrival: Arrival,
        lead_ns: i64,
    ) -> TrackClock {
        TrackClock {
            track,
            timescale: timescale.max(1),
            base: media_ticks,
            run_zero: 0,
            offset_ns: arrival.wall_ns.saturating_add(lead_ns),
            delays: MinimumDelay::new(arrival.mono_ns, arrival.wall_ns),
            report: None,
            lead_ns,
            camera_offset_ns: 0,
            report_delays: None,
            late_report: false,
            newest_ns: 0,
            last: Last { media_ns: 0, arrival },
            slewed_at_ns: 0,
            anchored: None,
            relied_on: false,
        }
    }

    pub(crate) fn track(&self) -> TrackNumber {
        self.track
    }

    /// Whether a sample at `media_ticks` continues the media clock. Changes nothing.
    pub(crate) fn step(&self, media_ticks: i64, arrival: Arrival) -> Step {
        let media = self.media_ns(media_ticks).saturating_sub(self.last.media_ns);
        let arrived = arrival.mono_ns.saturating_sub(self.last.arrival.mono_ns);
        step(media, arrived)
    }

    /// From here on `media_ticks` follow the last sample as closely as they arrived behind it.
    pub(crate) fn bridge(&mut self, media_ticks: i64, arrival: Arrival) {
        let arrived_ns = arrival.mono_ns.saturating_sub(self.last.arrival.mono_ns).max(NS_PER_MS);
        let inner_ns = self.last.media_ns.saturating_add(arrived_ns);
        self.base = media_ticks.saturating_sub(ns_to_ticks(inner_ns, self.timescale));
    }

    /// Takes a sample's arrival into the estimate and slews towards it.
    pub(crate) fn observe(&mut self, media_ticks: i64, arrival: Arrival) {
        let media_ns = self.media_ns(media_ticks);
        self.delays.observe(arrival.mono_ns, arrival.wall_ns.saturating_sub(media_ns), arrival.prompt);
        self.last = Last { media_ns, arrival };
        self.newest_ns = self.newest_ns.max(media_ns);
        if self
            .report
            .is_some_and(|report| arrival.mono_ns.saturating_sub(report.mono_ns) > REPORT_AGE_NS_MAX)
        {
            self.report = None;
        }
        if media_ns > REPORT_AGE_NS_MAX {
            self.lead_ns = 0;
        }
        if !self.relied_on {
            self.offset_ns = self.target_ns();
            self.slewed_at_ns = self.newest_ns;
        }
        self.slew();
    }

    /// Takes a sender report: at `media_ticks` the camera's clock showed `camera_ns`; it arrived when ours showed `arrival`.
    pub(crate) fn report(
        &mut self,
        media_ticks: i64,
        camera_ns: i64,
        arrival: Arrival,
        host: WallTime,
    ) -> Report {
        self.camera_offset_ns = self.offset_by_reports(camera_ns, arrival.mono_ns, host);
        let off_ns = camera_ns.saturating_sub(host.0);
        if off_ns.saturating_abs() > REPORT_OFFSET_NS_MAX {
            self.report = None;
            self.lead_ns = 0;
            return Report::Ignored(off_ns);
        }
        let offset_ns = camera_ns.saturating_sub(self.media_ns(media_ticks));
        // A report whose RTP time has nothing to do with the samples' would lead astray.
        if offset_ns.saturating_sub(self.delays.minimum_ns()).saturating_abs() > 2 * REPORT_OFFSET_NS_MAX {
            self.report = None;
            return Report::Ignored(self.camera_offset_ns);
        }
        self.report = Some(FollowedReport { offset_ns, mono_ns: arrival.mono_ns });
        Report::Followed
    }

    /// The camera's clock minus ours, by the report that was the least late in the last minute: how late each is is a matter of the
    /// network, and of when it was looked for. Two in a row that are later by far are of a clock that was set, and one by seconds.
    fn offset_by_reports(&mut self, camera_ns: i64, mono_ns: i64, host: WallTime) -> i64 {
        let late_ns = host.0.saturating_sub(camera_ns);
        let least_ns = self.report_delays.as_ref().map_or(late_ns, MinimumDelay::minimum_ns);
        let later_ns = late_ns.saturating_sub(least_ns);
        let far = later_ns >= CAMERA_SET_NS;
        let set = far && self.late_report || later_ns > REPORT_OFFSET_NS_MAX;
        // Of a clock that was set the next one is compared anew.
        self.late_report = far && !set;
        let known = self.report_delays.take().filter(|_| !set);
        let mut delays = known.unwrap_or_else(|| MinimumDelay::new(mono_ns, late_ns));
        delays.observe(mono_ns, late_ns, false);
        0_i64.saturating_sub(self.report_delays.insert(delays).minimum_ns())
    }

    /// Whether the mapping is so far off its estimate that slewing would take hours.
    pub(crate) fn astray_ns(&self) -> Option<i64> {
        let off = self.delays.minimum_ns().saturating_sub(self.offset_ns);
        let led = self.report.is_some() || self.lead_ns != 0;
        let excused = if led { REPORT_OFFSET_NS_MAX } else { 0 };
        (off.saturating_abs() > ASTRAY_NS + excused).then_some(off)
    }

    /// By how much the camera's clock leads arrival in this mapping; `None` if it is not followed.
    pub(crate) fn lead(&self) -> Option<Lead> {
        let minimum_ns = self.delays.minimum_ns();
        let (ns, camera_ns) = match self.report {
            Some(report) => {
                (self.offset_ns.saturating_sub(minimum_ns), report.offset_ns.saturating_sub(minimum_ns))
            }
            None if self.lead_ns == 0 => return None,
            None => (self.lead_ns, self.lead_ns),
        };
        Some(Lead { ns, camera_ns, seen_mono_ns: self.last.arrival.mono_ns })
    }

    /// Lets the run's ticks count from the wall time `origin_ns`; the next anchor is due at once.
    pub(crate) fn begin_run(&mut self, origin_ns: i64) {
        self.run_zero = ns_to_ticks(origin_ns.saturating_sub(self.offset_ns), self.timescale);
        self.anchored = None;
    }

    /// Ticks in the run of a sample at `media_ticks`.
    pub(crate) fn run_ticks(&self, media_ticks: i64) -> i64 {
        media_ticks.saturating_sub(self.base).saturating_sub(self.run_zero)
    }

    /// The wall time of a sample at `media_ticks` by the present mapping, in nanoseconds.
    pub(crate) fn wall_ns(&self, media_ticks: i64) -> i64 {
        self.offset_ns.saturating_add(self.media_ns(media_ticks))
    }

    /// The anchor to give out now, if one is due.
    pub(crate) fn anchor_due(&mut self) -> Option<Anchor> {
        let source = if self.report.is_some() { ClockSource::SenderReport } else { ClockSource::Arrival };
        let due = Anchored {
            at_ns: self.newest_ns,
            offset_ns: self.offset_ns,
            source,
            camera_known: self.camera_offset_ns != 0,
        };
        if self.anchored.is_some_and(|last| last.covers(due)) {
            return None;
        }
        self.anchored = Some(due);
        self.relied_on = true;
        let inner = ns_to_ticks(self.last.media_ns, self.timescale);
        let uncertainty_ns = self.uncertainty_ns();
        Some(Anchor {
            track: self.track,
            timescale: self.timescale,
            ticks: inner.saturating_sub(self.run_zero),
            wall: WallTime(self.offset_ns.saturating_add(ticks_to_ns(inner, self.timescale))),
            source,
            uncertainty_us: u32::try_from(uncertainty_ns / 1_000).unwrap_or(u32::MAX),
            arrival: WallTime(self.last.arrival.wall_ns),
            camera_offset_ns: self.camera_offset_ns,
        })
    }

    /// The camera's clock minus ours, by the reports of the last minute; 0 if there was none.
    pub(crate) fn camera_offset_ns(&self) -> i64 {
        self.camera_offset_ns
    }

    fn uncertainty_ns(&self) -> i64 {
        let still_to_slew = self.target_ns().saturating_sub(self.offset_ns).saturating_abs();
        let estimate = match self.report {
            Some(_) => 0,
            None if self.delays.observed() < EARLY_SAMPLES => EARLY_UNCERTAINTY_NS,
            None => self.delays.jitter_ns(),
        };
        // What a camera said before, and nobody has confirmed since, is a guess.
        let unconfirmed = if self.report.is_none() { self.lead_ns.saturating_abs() } else { 0 };
        let estimate = estimate.saturating_add(unconfirmed);
        still_to_slew.saturating_add(estimate).max(UNCERTAINTY_NS_MIN)
    }

    fn target_ns(&self) -> i64 {
        let by_arrival = self.delays.minimum_ns().saturating_add(self.lead_ns);
        self.report.map_or(by_arrival, |report| report.offset_ns)
    }

    /// Moves the mapping towards its target, by media time passed: so wall time cannot turn back however samples arrive.
    fn slew(&mut self) {
        let passed = self.newest_ns.saturating_sub(self.slewed_at_ns);
        let settling = self.report.is_none() && self.newest_ns < SETTLING_NS;
        let ppm = if settling { SETTLING_PPM_MAX } else { SLEW_PPM_MAX };
        let allowed = passed.saturating_mul(ppm) / 1_000_000;
        if allowed == 0 {
            return;
        }
        let wanted = self.target_ns().saturating_sub(self.offset_ns);
        self.offset_ns = self.offset_ns.saturating_add(wanted.clamp(-allowed, allowed));
        self.slewed_at_ns = self.newest_ns;
    }

    fn media_ns(&self, media_ticks: i64) -> i64 {
        ticks_to_ns(media_ticks.saturating_sub(self.base), self.timescale)
    }
}

#[cfg(test)]
#[path = "track_tests.rs"]
mod tests;
