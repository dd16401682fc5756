//! What a camera offers, found out by recording it into nothing: what is said here is what would be recorded.
//!
//! Promises: no volume is touched; one attempt, bounded in time; no secret in what is said.

use crate::camera::{CameraUrl, Credentials};
use crate::event::EventKind;
use crate::sink::Sink;
use crate::status::StatusCell;
use crate::stream::{Shared, StreamTask};
use crate::supervisor;
use keha_fs::{Anchor, Configuration, Gap, GapReason, Rejected, RunId, Sample, StreamName};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::timeout;

/// Events of one attempt.
const EVENTS: usize = 256;
/// How long the end of the session is waited for.
const STOP: Duration = Duration::from_secs(2);

/// What a camera offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The tracks that would be recorded.
    pub tracks: Vec<OfferedTrack>,
    /// The others, and why each would not be.
    pub skipped: Vec<String>,
}

/// A track that would be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedTrack {
    /// What it is: `avc1`, `hvc1`, `mp4a`, `ulaw`, `alaw`.
    pub codec: String,
    /// Width of the picture in pixels, 0 for sound.
    pub width: u16,
    /// Height of the picture in pixels, 0 for sound.
    pub height: u16,
    /// Channels of sound, 0 for pictures.
    pub channels: u8,
    /// Samples of sound a second, 0 for pictures.
    pub sample_rate: u32,
}

/// Why a camera offers nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoOffer {
    /// It cannot be recorded.
    #[error("{reason}: {detail}", reason = .reason.as_str())]
    Failed {
        /// Why, as a gap would say it.
        reason: GapReason,
        /// More about it.
        detail: String,
    },
    /// Nothing was heard of it in time, or no picture came.
    #[error("nothing that can be recorded came within {0:?}")]
    TooLate(Duration),
    /// The operating system gives no threads.
    #[error("cannot start a thread: {0}")]
    Threads(std::io::Error),
}

/// Tries an address, with these credentials where they are not in it: what would be recorded. Blocks for as long as `patience`
/// and a few seconds more; not to be called from async code.
///
/// # Errors
/// Why nothing would be.
pub fn offer(
    url: &CameraUrl,
    credentials: Option<&Credentials>,
    patience: Duration,
) -> Result<Offer, NoOffer> {
    let url = match credentials {
        Some(credentials) => url.clone().with_credentials(credentials.clone()),
        None => url.clone(),
    };
    let threads = |why: &str| NoOffer::Threads(std::io::Error::other(why.to_owned()));
    let name = StreamName::new("test").map_err(|error| threads(&error.to_string()))?;
    let (sender, events) = sync_channel(EVENTS);
    let shared = Arc::new(Shared::new(sender));
    let cell = StatusCell::new(name.clone(), url.clone(), shared.clock.now().wall);
    let nothing = Nothing::default();
    let (stop, stopping) = watch::channel(false);
    let sink = nothing.clone();
    let runtime = supervisor::runtime(1, Arc::clone(&shared.moderation)).map_err(NoOffer::Threads)?;
    let task = StreamTask::new(name, url, sink, None, shared, Arc::new(Mutex::new(cell)), stopping);
    let handle = runtime.spawn(task.run());

    let end = Instant::now() + patience;
    let mut skipped = Vec::new();
    let outcome = loop {
        match events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(event) => match event.kind {
                EventKind::TrackSkipped { detail } => skipped.push(detail),
                EventKind::Recording => break Ok(()),
                EventKind::AttemptFailed { reason, detail } | EventKind::Interrupted { reason, detail } => {
                    break Err(NoOffer::Failed { reason, detail });
                }
                _ => {}
            },
            Err(RecvTimeoutError::Timeout) => break Err(NoOffer::TooLate(patience)),
            Err(RecvTimeoutError::Disconnected) => break Err(threads("the attempt ended by itself")),
        }
    };
    stop.send_replace(true);
    // A camera that does not hang up in time is hung up on.
    let _ = runtime.block_on(async { timeout(STOP, handle).await });
    runtime.shutdown_background();
    outcome.map(|()| Offer { tracks: nothing.tracks(), skipped })
}

/// Keeps what is said of tracks, and no sample.
#[derive(Clone, Default)]
struct Nothing(Arc<Mutex<Configuration>>);

impl Nothing {
    fn tracks(&self) -> Vec<OfferedTrack> {
        let configuration = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let track = |track: &keha_fs::TrackConfiguration| OfferedTrack {
            codec: String::from_utf8_lossy(&track.codec).into_owned(),
            width: track.width,
            height: track.height,
            channels: track.channels,
            sample_rate: track.sample_rate,
        };
        configuration.tracks.iter().map(track).collect()
    }
}

impl Sink for Nothing {
    fn configure(&mut self, configuration: &Configuration) -> Result<(), keha_fs::Error> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = configuration.clone();
        Ok(())
    }

    fn begin_run(&mut self, _run: RunId) {}

    fn anchor(&mut self, _anchor: Anchor) {}

    fn push(&mut self, _sample: Sample) -> Result<(), Rejected> {
        Ok(())
    }

    fn gap(&mut self, _gap: &Gap) {}

    fn park(&mut self) {}

    fn was_waited_for(&self) -> bool {
        false
    }
}
