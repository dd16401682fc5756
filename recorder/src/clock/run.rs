//! All tracks of a run on one origin.
//!
//! Each track has its own media clock with its own arbitrary zero. A run's ticks count, in every track, from the wall time
//! of the run's first sample, so that the tracks are aligned as well as their anchors are known.

use super::track::{Arrival, Lead, Report, Step, TrackClock};
use keha_fs::{Anchor, TrackNumber, WallTime};

/// The clocks of a session's tracks, and the origin of the present run.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunClock {
    tracks: Vec<TrackClock>,
    origin_ns: Option<i64>,
    /// By how much the camera's clock, followed before, leads arrival in each track.
    leads: Vec<(TrackNumber, Lead)>,
}

impl RunClock {
    /// The clocks of the next session, or of a media clock that begins anew, at `mono_ns`: nothing is known of the tracks, but
    /// that the camera's own clock is about where it was. Ours was set by `step_ns` meanwhile.
    pub(crate) fn next(&self, mono_ns: i64, step_ns: i64) -> RunClock {
        let mut leads: Vec<_> = self.tracks.iter().map(|clock| (clock.track(), clock.lead())).collect();
        let unheard = self.leads.iter().filter(|(track, _)| self.get(*track).is_none());
        leads.extend(unheard.map(|(track, lead)| (*track, Some(*lead))));
        let kept = |(track, lead): (TrackNumber, Option<Lead>)| Some((track, lead?.after(mono_ns, step_ns)?));
        RunClock { leads: leads.into_iter().filter_map(kept).collect(), ..RunClock::default() }
    }

    /// Whether a sample continues its track's media clock. Changes nothing.
    pub(crate) fn step(&self, track: TrackNumber, media_ticks: i64, arrival: Arrival) -> Step {
        self.get(track).map_or(Step::Steady, |clock| clock.step(media_ticks, arrival))
    }

    /// Lets a sample whose track's media clock jumped continue it all the same, as far behind the last one as it arrived.
    pub(crate) fn bridge(&mut self, track: TrackNumber, media_ticks: i64, arrival: Arrival) {
        if let Some(clock) = self.tracks.iter_mut().find(|clock| clock.track() == track) {
            clock.bridge(media_ticks, arrival);
        }
    }

    /// Takes a sample's arrival into account; a track not seen before joins the run.
    pub(crate) fn observe(&mut self, track: TrackNumber, timescale: u32, media_ticks: i64, arrival: Arrival) {
        match self.tracks.iter_mut().find(|clock| clock.track() == track) {
            Some(clock) => clock.observe(media_ticks, arrival),
            None => {
                let lead = self.leads.iter().find(|(led, _)| *led == track).map(|(_, lead)| lead.ns);
                let mut clock =
                    TrackClock::new(track, timescale, media_ticks, arrival, lead.unwrap_or_default());
                if let Some(origin) = self.origin_ns {
                    clock.begin_run(origin);
                }
                self.tracks.push(clock);
            }
        }
    }

    /// Takes a sender report. `None` for a track that has no sample yet.
    pub(crate) fn report(
        &mut self,
        track: TrackNumber,
        media_ticks: i64,
        camera_ns: i64,
        arrival: Arrival,
        host: WallTime,
    ) -> Option<Report> {
        let clock = self.tracks.iter_mut().find(|clock| clock.track() == track)?;
        Some(clock.report(media_ticks, camera_ns, arrival, host))
    }

    /// Lets a run begin with the sample at `media_ticks` of `track`.
    pub(crate) fn begin_run(&mut self, origin_ns: i64) {
        self.origin_ns = Some(origin_ns);
        self.tracks.iter_mut().for_each(|clock| clock.begin_run(origin_ns));
    }

    /// The wall time of a sample of a known track, in nanoseconds.
    pub(crate) fn wall_ns(&self, track: TrackNumber, media_ticks: i64) -> Option<i64> {
        self.get(track).map(|clock| clock.wall_ns(media_ticks))
    }

    /// Ticks in the run of a sample of a known track.
    pub(crate) fn run_ticks(&self, track: TrackNumber, media_ticks: i64) -> Option<i64> {
        self.get(track).map(|clock| clock.run_ticks(media_ticks))
    }

    /// The track's anchor, if one is due.
    pub(crate) fn anchor_due(&mut self, track: TrackNumber) -> Option<Anchor> {
        self.tracks.iter_mut().find(|clock| clock.track() == track)?.anchor_due()
    }

    /// How far the mapping of any track is off, where that is too far to slew.
    pub(crate) fn astray_ns(&self) -> Option<i64> {
        self.tracks.iter().find_map(TrackClock::astray_ns)
    }

    /// The camera's clock minus ours, by the reports of the last minute for any track; `None` if there was none.
    pub(crate) fn camera_offset_ns(&self) -> Option<i64> {
        self.tracks.iter().map(TrackClock::camera_offset_ns).find(|offset| *offset != 0)
    }

    fn get(&self, track: TrackNumber) -> Option<&TrackClock> {
        self.tracks.iter().find(|clock| clock.track() == track)
    }
}
