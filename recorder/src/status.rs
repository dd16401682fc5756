//! What each stream is doing, as a snapshot that costs the recording nothing.

use crate::camera::CameraUrl;
use keha_fs::{GapReason, StreamName, WallTime};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a stream is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamState {
    /// A session is being opened, or nothing has come in it yet.
    Connecting,
    /// Samples come.
    Recording,
    /// The last attempt failed; the next follows.
    Waiting {
        /// In how long, at the latest.
        retry_in: Duration,
        /// Why the last attempt failed or the session ended.
        reason: GapReason,
    },
    /// It was stopped.
    Stopped,
    /// The volume takes nothing any more.
    VolumeStopped,
}

/// A track that is being recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackStatus {
    /// What it is: `avc1`, `hvc1`, `mp4a`, `ulaw`, `alaw`.
    pub codec: String,
    /// Width of the picture in pixels, 0 for sound.
    pub width: u16,
    /// Height of the picture in pixels, 0 for sound.
    pub height: u16,
}

/// Samples that were left out for one reason since the stream was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drops {
    /// Why: the disk did not keep up, the sample was too large, or nobody could have decoded it.
    pub reason: GapReason,
    /// How many.
    pub samples: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Drops {
    /// The reasons for which samples are left out.
    pub(crate) const REASONS: [GapReason; 3] =
        [GapReason::Overload, GapReason::SampleTooLarge, GapReason::Protocol];

    /// None yet.
    pub(crate) fn none() -> [Drops; 3] {
        Drops::REASONS.map(|reason| Drops { reason, samples: 0, bytes: 0 })
    }
}

/// A snapshot of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamStatus {
    /// Its name.
    pub name: StreamName,
    /// Where it comes from; shows no password.
    pub url: CameraUrl,
    /// What it is doing.
    pub state: StreamState,
    /// Since when, by the recorder's clock.
    pub since: WallTime,
    /// Up to when there is footage of it, as far as is known: the end of the newest sample, or its start where that was recorded
    /// before the recorder was started.
    pub last_sample: Option<WallTime>,
    /// The tracks of the present session.
    pub tracks: Vec<TrackStatus>,
    /// Samples recorded since the stream was started.
    pub samples: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bits per second over the last seconds.
    pub bitrate_bps: u64,
    /// Pictures per second over the last seconds.
    pub frames_per_second: f64,
    /// RTP packets lost in transport since the stream was started.
    pub lost_packets: u64,
    /// Samples left out because the disk did not keep up, too large, or not to be decoded.
    pub dropped_samples: u64,
    /// Their bytes.
    pub dropped_bytes: u64,
    /// The same by reason.
    pub drops: [Drops; 3],
    /// Gaps begun since the stream was started.
    pub gaps: u64,
    /// The last thing that went wrong, without secrets.
    pub last_error: Option<String>,
    /// The camera's clock minus the recorder's in nanoseconds, by its reports of the last minute.
    pub camera_clock_offset_ns: Option<i64>,
}

/// What lies behind a snapshot; kept by the stream's task.
#[derive(Debug)]
pub(crate) struct StatusCell {
    pub(crate) status: StreamStatus,
    pub(crate) retry_at: Option<Instant>,
    /// Up to when there is footage, as the stream's task last knew.
    pub(crate) footage_end: Option<WallTime>,
}

impl StatusCell {
    pub(crate) fn new(name: StreamName, url: CameraUrl, now: WallTime) -> StatusCell {
        let status = StreamStatus {
            name,
            url,
            state: StreamState::Connecting,
            since: now,
            last_sample: None,
            tracks: Vec::new(),
            samples: 0,
            bytes: 0,
            bitrate_bps: 0,
            frames_per_second: 0.0,
            lost_packets: 0,
            dropped_samples: 0,
            dropped_bytes: 0,
            drops: Drops::none(),
            gaps: 0,
            last_error: None,
            camera_clock_offset_ns: None,
        };
        StatusCell { status, retry_at: None, footage_end: None }
    }

    /// The snapshot as of now.
    pub(crate) fn snapshot(&self) -> StreamStatus {
        let mut status = self.status.clone();
        if let (StreamState::Waiting { retry_in, .. }, Some(at)) = (&mut status.state, self.retry_at) {
            *retry_in = at.saturating_duration_since(Instant::now());
        }
        status
    }

    pub(crate) fn enter(&mut self, state: StreamState, now: WallTime) {
        if self.status.state != state {
            self.status.state = state;
            self.status.since = now;
        }
    }
}

/// Bits and pictures per second over a few seconds.
#[derive(Debug, Default)]
pub(crate) struct RateMeter {
    readings: VecDeque<Reading>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Duration,
    bytes: u64,
    pictures: u64,
}

const READINGS_EVERY: Duration = Duration::from_secs(1);
const READINGS: usize = 6;

impl RateMeter {
    /// Takes the counters at a time; gives bits and pictures per second.
    pub(crate) fn read(&mut self, at: Duration, bytes: u64, pictures: u64) -> (u64, f64) {
        if self.readings.back().is_none_or(|last| at.saturating_sub(last.at) >= READINGS_EVERY) {
            if self.readings.len() == READINGS {
                self.readings.pop_front();
            }
            self.readings.push_back(Reading { at, bytes, pictures });
        }
        let Some(first) = self.readings.front() else { return (0, 0.0) };
        let seconds = at.saturating_sub(first.at).as_secs_f64();
        if seconds < 0.5 {
            return (0, 0.0);
        }
        let bits = bytes.saturating_sub(first.bytes) as f64 * 8.0 / seconds;
        (bits as u64, pictures.saturating_sub(first.pictures) as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_seconds() {
        let mut meter = RateMeter::default();
        assert_eq!(meter.read(Duration::ZERO, 0, 0), (0, 0.0));
        for second in 1..20_u64 {
            meter.read(Duration::from_secs(second), second * 500_000, second * 25);
        }
        assert_eq!(meter.read(Duration::from_secs(20), 10_000_000, 500), (4_000_000, 25.0));
        for second in 21..30 {
            meter.read(Duration::from_secs(second), 10_000_000, 500);
        }
        assert_eq!(meter.read(Duration::from_secs(30), 10_000_000, 500), (0, 0.0));
    }
}
