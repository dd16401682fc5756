//! Tells the outside what a stream is doing: its snapshot, its events, the log.

use super::Shared;
use crate::event::{Event, EventKind};
use crate::recording::Recording;
use crate::sink::Sink;
use crate::status::{RateMeter, StatusCell, StreamState, TrackStatus};
use keha_fs::{Configuration, GapReason, StreamName};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Reports for one stream.
pub(super) struct Reporter {
    name: StreamName,
    cell: Arc<Mutex<StatusCell>>,
    shared: Arc<Shared>,
    meter: RateMeter,
    /// Packets lost in the sessions before the present one.
    lost_before: u64,
    lost_in_session: u64,
    samples_seen: u64,
}

impl Reporter {
    pub(super) fn new(name: StreamName, cell: Arc<Mutex<StatusCell>>, shared: Arc<Shared>) -> Reporter {
        Reporter {
            name,
            cell,
            shared,
            meter: RateMeter::default(),
            lost_before: 0,
            lost_in_session: 0,
            samples_seen: 0,
        }
    }

    /// The stream enters a state.
    pub(super) fn enter(&mut self, state: StreamState) {
        let now = self.shared.clock.now().wall;
        self.cell().enter(state, now);
    }

    /// The stream waits for its next attempt.
    pub(super) fn wait(&mut self, at_most: Duration, reason: GapReason) {
        let now = self.shared.clock.now().wall;
        let mut cell = self.cell();
        cell.retry_at = Some(Instant::now() + at_most);
        cell.status.bitrate_bps = 0;
        cell.status.frames_per_second = 0.0;
        cell.enter(StreamState::Waiting { retry_in: at_most, reason }, now);
    }

    /// Something went wrong. The text holds no secret.
    pub(super) fn failed(&mut self, detail: &str) {
        self.cell().status.last_error = Some(detail.to_owned());
    }

    /// A session begins.
    pub(super) fn session_begins(&mut self, skipped: &[String]) {
        self.lost_before += std::mem::take(&mut self.lost_in_session);
        self.meter = RateMeter::default();
        for detail in skipped {
            let kind = EventKind::TrackSkipped { detail: detail.clone() };
            self.tell(Event { stream: self.name.clone(), at: self.shared.clock.now().wall, kind });
        }
    }

    /// Brings the snapshot up to date and tells what happened. `lost` are the packets lost in this session, 0 if unknown.
    pub(super) fn update<S: Sink>(&mut self, recording: &mut Recording<S>, lost: u64) {
        self.lost_in_session = self.lost_in_session.max(lost);
        let lost_packets = self.lost_before + self.lost_in_session;
        let counters = recording.counters();
        let rates = self.meter.read(self.shared.clock.elapsed(), counters.bytes, counters.video_samples);
        let now = self.shared.clock.now().wall;
        let began = counters.samples > std::mem::replace(&mut self.samples_seen, counters.samples);
        let mut cell = self.cell();
        if began && recording.interruption().is_none() && cell.status.state != StreamState::Recording {
            cell.enter(StreamState::Recording, now);
            cell.status.tracks = tracks(recording.configuration());
        }
        cell.footage_end = recording.footage_end();
        let status = &mut cell.status;
        if began {
            // Without new samples that may be the end of a gap.
            status.last_sample = recording.footage_end();
        }
        status.samples = counters.samples;
        status.bytes = counters.bytes;
        (status.bitrate_bps, status.frames_per_second) = rates;
        status.lost_packets = lost_packets;
        status.dropped_samples = counters.dropped_samples;
        status.dropped_bytes = counters.dropped_bytes;
        status.drops = counters.drops;
        status.gaps = recording.gap_count();
        status.camera_clock_offset_ns = recording.camera_offset_ns();
        drop(cell);
        for (at, kind) in recording.take_events() {
            if kind == EventKind::ConfigurationChanged {
                self.cell().status.tracks = tracks(recording.configuration());
            }
            self.tell(Event { stream: self.name.clone(), at, kind });
        }
    }

    fn tell(&self, event: Event) {
        let stream = event.stream.as_str();
        match &event.kind {
            EventKind::Recording => tracing::info!(stream, "recording"),
            EventKind::Interrupted { reason, detail } => {
                tracing::warn!(stream, reason = reason.as_str(), detail, "footage is interrupted");
            }
            EventKind::AttemptFailed { reason, detail } => {
                tracing::info!(stream, reason = reason.as_str(), detail, "cannot record yet");
            }
            EventKind::TrackSkipped { detail } => tracing::warn!(stream, detail, "a track is not recorded"),
            EventKind::ConfigurationChanged => tracing::info!(stream, "the camera's configuration changed"),
            EventKind::CameraClockOff { offset_ns } => {
                tracing::warn!(stream, offset_ns, "the camera's clock is off and not followed: set it");
            }
            EventKind::OverloadOver { samples, bytes } => {
                tracing::warn!(stream, samples, bytes, "samples were left out, and go through again");
            }
            EventKind::Restarted { detail } => {
                tracing::error!(stream, detail, "this stream's recording was restarted")
            }
        }
        // Whoever does not read events must not hold up the recording.
        let _ = self.shared.events.try_send(event);
    }

    fn cell(&self) -> MutexGuard<'_, StatusCell> {
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tracks(configuration: &Configuration) -> Vec<TrackStatus> {
    let one = |track: &keha_fs::TrackConfiguration| TrackStatus {
        codec: String::from_utf8_lossy(&track.codec).into_owned(),
        width: track.width,
        height: track.height,
    };
    configuration.tracks.iter().map(one).collect()
}
