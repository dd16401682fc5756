//! From a camera's samples to a stream of the volume: runs, anchors, gaps and overload in one place.
//!
//! A session's samples come in as they are depacketized, each with its media time and arrival. The first 200 ms of a run are
//! held back: its clock anchors come out of them (the first sample of a session is often late), and every track's
//! configuration is known before the first sample goes out. After that each sample goes straight through.
//!
//! Promises: what came is written or counted in a gap; a run's wall time grows; memory held back is bounded. Pure: time
//! comes in as [`Moment`]s, samples go out through [`Sink`].
//!
//! Must not live here: sockets, RTP, tasks, retries.

mod counters;
mod held;
#[cfg(test)]
mod tests;

use crate::clock::host::HostClock;
use crate::clock::run::RunClock;
use crate::clock::track::{Arrival, Report, Step};
use crate::clock::{Moment, NS_PER_S};
use crate::event::EventKind;
use crate::gaps::{Before, GapLedger};
use crate::overload::{Entry, Overload};
use crate::sink::Sink;
use bytes::Bytes;
pub(crate) use counters::Counters;
use held::{Held, HeldItem};
use keha_fs::{
    Configuration, Gap, GapReason, Rejected, RunId, Sample, SampleFlags, TrackConfiguration, TrackKind,
    TrackNumber, WallTime,
};

/// A sample as it came from a camera.
#[derive(Clone, Debug)]
pub(crate) struct MediaSample {
    pub(crate) track: TrackNumber,
    /// Presentation time on the track's media clock, from an arbitrary zero.
    pub(crate) ticks: i64,
    /// When its first packet arrived.
    pub(crate) arrival: Moment,
    pub(crate) flags: SampleFlags,
    pub(crate) data: Vec<Bytes>,
    pub(crate) bytes: usize,
}

/// The volume has stopped taking samples for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VolumeStopped;

/// Records one stream.
pub(crate) struct Recording<S> {
    sink: S,
    gaps: GapLedger,
    overload: Overload,
    host: HostClock,
    clock: RunClock,
    phase: Phase,
    /// The tracks that this session set up.
    expected: Vec<TrackNumber>,
    configuration: Configuration,
    /// Why the volume does not take the present configuration.
    not_taken: Option<String>,
    counters: Counters,
    events: Vec<(WallTime, EventKind)>,
    clock_off_told: bool,
    /// A media clock jumped in this run, and how.
    jumped: Option<String>,
    stopped: bool,
    /// What arrives is noted promptly.
    prompt: bool,
}

#[derive(Debug)]
enum Phase {
    /// No sample since the session, or the run, ended.
    Idle,
    /// The first samples of a run.
    Holding(Held),
    /// A run is under way.
    Running,
}

impl<S: Sink> Recording<S> {
    /// Begins with a stream whose newest footage is from then, and the reason why there is none since.
    pub(crate) fn new(sink: S, before: Option<Before>, now: Moment) -> Recording<S> {
        let (gaps, open) = GapLedger::new(before, now.wall);
        let mut recording = Recording {
            sink,
            gaps,
            overload: Overload::default(),
            host: HostClock::new(now),
            clock: RunClock::default(),
            phase: Phase::Idle,
            expected: Vec::new(),
            configuration: Configuration::default(),
            not_taken: None,
            counters: Counters::default(),
            events: Vec::new(),
            clock_off_told: false,
            jumped: None,
            stopped: false,
            prompt: true,
        };
        recording.write_gaps(open);
        recording
    }

    /// A session begins, with the tracks it has set up and those configurations that are known.
    pub(crate) fn begin_session(
        &mut self,
        tracks: Vec<TrackNumber>,
        known: Vec<TrackConfiguration>,
        now: Moment,
    ) {
        self.end_run();
        self.clock = self.clock.next(now.mono_ns, self.host.step_ns(now));
        self.host.accept(now);
        self.clock_off_told = false;
        self.expected = tracks;
        self.configuration = Configuration { tracks: known, session: Vec::new() };
        self.configuration.tracks.sort_by_key(|track| track.track);
    }

    /// The configuration of a track, before the first sample that needs it.
    pub(crate) fn configure(&mut self, track: TrackConfiguration, now: Moment) {
        match &mut self.phase {
            Phase::Holding(held) => held.push(HeldItem::Configuration(track)),
            Phase::Idle => set_track(&mut self.configuration, track),
            Phase::Running => {
                if self.configuration.track(track.track) != Some(&track) {
                    set_track(&mut self.configuration, track);
                    self.write_configuration();
                    self.tell(now, EventKind::ConfigurationChanged);
                }
            }
        }
    }

    /// A sample came, in decode order within its track.
    pub(crate) fn sample(&mut self, sample: MediaSample) {
        let arrival = self.arrival(sample.arrival);
        if matches!(self.phase, Phase::Running)
            && let Some(detail) = self.jump(&sample, arrival)
        {
            let now = sample.arrival;
            // A mapping that went astray says nothing of the camera's own clock.
            let astray = self.clock.astray_ns().is_some();
            let next = self.clock.next(now.mono_ns, self.host.step_ns(now));
            self.end_run();
            self.begin_gap(GapReason::Clock, &detail, now);
            self.host.accept(now);
            self.clock = if astray { RunClock::default() } else { next };
        }
        match &mut self.phase {
            Phase::Running => self.pass(sample, arrival),
            Phase::Holding(held) => {
                let now = sample.arrival;
                let configuration = self.configuration.track(sample.track);
                let configuration = held.configuration(sample.track).or(configuration);
                if let Some(timescale) = configuration.map(|configuration| configuration.timescale) {
                    held.follow(&sample, timescale);
                }
                held.push(HeldItem::Sample(sample));
                self.tick(now);
            }
            Phase::Idle => {
                self.phase = Phase::Holding(Held::new(sample));
            }
        }
    }

    /// A sender report came: at `ticks` of the track's media clock the camera's clock showed `camera` (RFC 3550, 6.4.1).
    pub(crate) fn sender_report(&mut self, track: TrackNumber, ticks: i64, camera: WallTime, at: Moment) {
        if self.host.step_ns(at) != 0 {
            // Our own clock was set, and the run that follows it has not begun: nothing can be compared.
            return;
        }
        let arrival = self.arrival(at);
        let report = self.clock.report(track, ticks, camera.0, arrival, at.wall);
        if let (Some(Report::Ignored(offset_ns)), false) = (report, self.clock_off_told) {
            self.clock_off_told = true;
            self.tell(at, EventKind::CameraClockOff { offset_ns });
        }
    }

    /// A sample was too large to be gathered; its GOP is left out.
    pub(crate) fn too_large(&mut self, track: TrackNumber, bytes: usize, now: Moment) {
        if matches!(self.phase, Phase::Holding(_)) {
            self.release();
        }
        if matches!(self.phase, Phase::Running) {
            self.refuse(track, GapReason::SampleTooLarge, bytes, now);
        }
    }

    /// Time passed: what was held back long enough goes out.
    pub(crate) fn tick(&mut self, now: Moment) {
        if let Phase::Holding(held) = &self.phase
            && held.is_due(now, self.all_configured())
        {
            self.release();
        }
    }

    /// The session ended: footage is interrupted.
    pub(crate) fn interrupted(&mut self, reason: GapReason, detail: &str, now: Moment) {
        self.end_run();
        self.begin_gap(reason, detail, now);
        self.sink.park();
    }

    /// An attempt to begin a session failed.
    pub(crate) fn attempt_failed(&mut self, reason: GapReason, detail: &str, now: Moment) {
        let gaps = self.gaps.attempt_failed(reason, detail);
        self.write_gaps(gaps);
        self.tell(now, EventKind::AttemptFailed { reason, detail: detail.to_owned() });
    }

    /// Recording stops cleanly: what is held back goes out, and no gap is written.
    pub(crate) fn stop(&mut self) {
        self.end_run();
        self.sink.park();
    }

    /// Begins anew after its own code failed: what was held back is not trusted.
    pub(crate) fn recover(&mut self, now: Moment, detail: &str) {
        self.phase = Phase::Idle;
        self.begin_gap(GapReason::Protocol, "the recorder's own code failed on this camera", now);
        self.sink.park();
        self.tell(now, EventKind::Restarted { detail: detail.to_owned() });
    }

    /// Takes what happened since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<(WallTime, EventKind)> {
        std::mem::take(&mut self.events)
    }

    /// Up to when there is footage.
    pub(crate) fn footage_end(&self) -> Option<WallTime> {
        self.gaps.footage_end()
    }

    /// The tracks of the present session.
    pub(crate) fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// What was recorded so far.
    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// Gaps begun since the recorder started.
    pub(crate) fn gap_count(&self) -> u64 {
        self.gaps.count()
    }

    /// Why footage is interrupted, if it is.
    pub(crate) fn interruption(&self) -> Option<GapReason> {
        self.gaps.open_reason()
    }

    /// The camera's clock minus the recorder's in nanoseconds, by its reports of the last minute.
    pub(crate) fn camera_offset_ns(&self) -> Option<i64> {
        self.clock.camera_offset_ns()
    }

    /// An error once the volume takes nothing any more.
    pub(crate) fn check(&self) -> Result<(), VolumeStopped> {
        if self.stopped { Err(VolumeStopped) } else { Ok(()) }
    }

    /// Whether what arrives from now on is noted promptly. It is at first.
    pub(crate) fn note_promptness(&mut self, prompt: bool) {
        self.prompt = prompt;
    }

    /// Whether somebody has waited for the next sample since this was asked last.
    pub(crate) fn was_waited_for(&self) -> bool {
        self.sink.was_waited_for()
    }

    fn arrival(&mut self, at: Moment) -> Arrival {
        Arrival { mono_ns: at.mono_ns, wall_ns: self.host.wall_ns(at), prompt: self.prompt }
    }

    fn all_configured(&self) -> bool {
        let held = match &self.phase {
            Phase::Holding(held) => Some(held),
            _ => None,
        };
        self.expected.iter().all(|&track| {
            self.configuration.track(track).is_some()
                || held.is_some_and(|held| held.configuration(track).is_some())
        })
    }

    fn has_video(&self) -> bool {
        self.configuration.tracks.iter().any(|track| track.kind == TrackKind::Video)
    }

    fn entry(&self, track: TrackNumber, flags: SampleFlags) -> Entry {
        let kind = self.configuration.track(track).map(|configuration| configuration.kind);
        if !self.has_video() {
            Entry::WithoutVideo
        } else if kind == Some(TrackKind::Video) && flags.contains(SampleFlags::SYNC) {
            Entry::Sync
        } else {
            Entry::Dependent
        }
    }

    /// Why a run has to end before this sample, if so. It ends only where decoding can begin anew: a run that begins with
    /// anything else would have a beginning that nobody can use. Until then a media clock that jumped is bridged.
    fn jump(&mut self, sample: &MediaSample, arrival: Arrival) -> Option<String> {
        let seconds = |ns: i64| ns as f64 / NS_PER_S as f64;
        if let Step::Jumped(by) = self.clock.step(sample.track, sample.ticks, arrival) {
            self.clock.bridge(sample.track, sample.ticks, arrival);
            let detail = || format!("the camera's media clock jumped by {:+.3} s", seconds(by));
            self.jumped.get_or_insert_with(detail);
        }
        if self.entry(sample.track, sample.flags) == Entry::Dependent {
            return None;
        }
        match (self.jumped.take(), self.host.step_ns(sample.arrival), self.clock.astray_ns()) {
            (Some(jumped), ..) => Some(jumped),
            (None, 0, None) => None,
            (None, 0, Some(off)) => {
                Some(format!("the camera's media clock drifted by {:+.3} s", seconds(off)))
            }
            (None, step, _) => Some(format!("the recorder's clock was set by {:+.3} s", seconds(step))),
        }
    }

    /// Gives out what is held back and forgets the run.
    fn end_run(&mut self) {
        if matches!(self.phase, Phase::Holding(_)) {
            self.release();
        }
        if let Some(dropped) = self.overload.over() {
            self.gaps.lost(dropped.samples, dropped.bytes);
        }
        self.jumped = None;
        self.phase = Phase::Idle;
    }

    /// Begins the run with what is held back.
    fn release(&mut self) {
        let Phase::Holding(held) = std::mem::replace(&mut self.phase, Phase::Running) else { return };
        held.first_configurations().into_iter().for_each(|track| set_track(&mut self.configuration, track));
        for sample in held.samples() {
            // Some of them may have been noted before that was so.
            let arrival = Arrival { prompt: false, ..self.arrival(sample.arrival) };
            self.observe(sample, arrival);
        }
        let walls = held.samples().filter_map(|sample| self.clock.wall_ns(sample.track, sample.ticks));
        let Some(origin_ns) = walls.min() else { return };
        let now = held.samples().next().map(|sample| sample.arrival);
        let closed = self.gaps.resumed(WallTime(origin_ns));
        self.write_gaps(closed);
        self.begin_run(origin_ns);
        self.tell_wall(now.map_or(WallTime(origin_ns), |now| now.wall), EventKind::Recording);
        for item in held.into_items() {
            match item {
                HeldItem::Configuration(track) => {
                    if self.configuration.track(track.track) != Some(&track) {
                        set_track(&mut self.configuration, track);
                        self.write_configuration();
                    }
                }
                HeldItem::Sample(sample) => self.write(sample),
            }
        }
    }

    fn begin_run(&mut self, origin_ns: i64) {
        self.sink.begin_run(RunId::random());
        self.clock.begin_run(origin_ns);
        self.write_configuration();
    }

    /// Takes a sample into its track's clock. Without a configuration there is no timescale and no clock.
    fn observe(&mut self, sample: &MediaSample, arrival: Arrival) {
        if let Some(configuration) = self.configuration.track(sample.track) {
            self.clock.observe(sample.track, configuration.timescale, sample.ticks, arrival);
        }
    }

    /// A sample of a run that is under way.
    fn pass(&mut self, sample: MediaSample, arrival: Arrival) {
        self.observe(&sample, arrival);
        self.write(sample);
    }

    fn write(&mut self, sample: MediaSample) {
        let MediaSample { track, ticks, arrival, flags, data, bytes } = sample;
        let entry = self.entry(track, flags);
        if !self.overload.admits(entry, bytes, arrival) {
            self.count_dropped(self.overload.reason().unwrap_or(GapReason::Overload), bytes);
            return;
        }
        let Some(wall_ns) = self.clock.wall_ns(track, ticks) else {
            // Its track has no configuration: nobody could ever decode it.
            self.count_dropped(GapReason::Protocol, bytes);
            return;
        };
        if self.overload.is_dropping() {
            // What was left out ended the run, though not the media clock.
            self.begin_run(wall_ns);
        }
        if self.not_taken.is_some() {
            // Under the configuration before it nobody could decode it.
            return self.refuse(track, GapReason::Protocol, bytes, arrival);
        }
        if let Some(anchor) = self.clock.anchor_due(track) {
            self.sink.anchor(anchor);
        }
        let run_ticks = self.clock.run_ticks(track, ticks).unwrap_or_default();
        match self.sink.push(Sample { track, ticks: run_ticks, flags, data }) {
            Ok(()) => self.written(track, bytes, WallTime(wall_ns), arrival),
            Err(Rejected::Full) => self.refuse(track, GapReason::Overload, bytes, arrival),
            Err(Rejected::Size) if bytes == 0 => {}
            Err(Rejected::Size) => self.refuse(track, GapReason::SampleTooLarge, bytes, arrival),
            Err(Rejected::Stopped) => self.stopped = true,
            Err(_) => self.refuse(track, GapReason::Protocol, bytes, arrival),
        }
    }

    fn written(&mut self, track: TrackNumber, bytes: usize, wall: WallTime, arrival: Moment) {
        self.counters.samples += 1;
        self.counters.bytes += bytes as u64;
        let is_video = self.configuration.track(track).is_some_and(|track| track.kind == TrackKind::Video);
        self.counters.video_samples += u64::from(is_video);
        if let Some(dropped) = self.overload.over() {
            self.gaps.lost(dropped.samples, dropped.bytes);
            self.tell(arrival, EventKind::OverloadOver { samples: dropped.samples, bytes: dropped.bytes });
        }
        if let Some(closed) = self.gaps.resumed(wall) {
            self.sink.gap(&closed);
        }
        self.gaps.footage(wall);
    }

    fn refuse(&mut self, track: TrackNumber, reason: GapReason, bytes: usize, now: Moment) {
        self.count_dropped(reason, bytes);
        if self.overload.refused(reason, bytes, now) {
            let detail = match &self.not_taken {
                Some(why) if reason == GapReason::Protocol => why.clone(),
                _ => format!("track {track}: left out up to the next sync sample"),
            };
            self.begin_gap(reason, &detail, now);
        }
    }

    fn count_dropped(&mut self, reason: GapReason, bytes: usize) {
        self.counters.dropped_samples += 1;
        self.counters.dropped_bytes += bytes as u64;
        for drops in self.counters.drops.iter_mut().filter(|drops| drops.reason == reason) {
            drops.samples += 1;
            drops.bytes += bytes as u64;
        }
    }

    fn begin_gap(&mut self, reason: GapReason, detail: &str, now: Moment) {
        let gap = self.gaps.interrupted(now.wall, reason, detail);
        self.write_gaps(gap);
        self.tell(now, EventKind::Interrupted { reason, detail: detail.to_owned() });
    }

    fn write_configuration(&mut self) {
        if self.configuration.tracks.is_empty() {
            return;
        }
        self.not_taken = self.sink.configure(&self.configuration).err().map(|error| error.to_string());
    }

    fn write_gaps(&mut self, gaps: impl IntoIterator<Item = Gap>) {
        gaps.into_iter().for_each(|gap| self.sink.gap(&gap));
    }

    fn tell(&mut self, at: Moment, kind: EventKind) {
        self.tell_wall(at.wall, kind);
    }

    fn tell_wall(&mut self, at: WallTime, kind: EventKind) {
        self.events.push((at, kind));
    }
}

fn set_track(configuration: &mut Configuration, track: TrackConfiguration) {
    match configuration.tracks.iter_mut().find(|known| known.track == track.track) {
        Some(known) => *known = track,
        None => {
            configuration.tracks.push(track);
            configuration.tracks.sort_by_key(|track| track.track);
        }
    }
}
