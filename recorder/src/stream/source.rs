//! One attempt to record: from an RTSP camera, or from the built-in one.

use super::{Outcome, StreamTask, stopped};
use crate::camera::{Credentials, Source};
use crate::clock::Moment;
use crate::moderation::{ATTENTIVE, Moderation};
use crate::recording::Recording;
use crate::session::error::SessionError;
use crate::session::media::TrackInput;
use crate::session::open::{Opened, open};
use crate::session::play::{End, Play, Stopping, numbers};
use crate::session::silence;
use crate::sink::Sink;
use crate::testsrc::{TestSource, camera};
use keha_fs::GapReason;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::task::coop::unconstrained;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use url::Url;

/// How often a stream looks at its timers, all of them: flushes, silence, status.
const TICK: Duration = Duration::from_millis(100);
/// How long a session goes on after the word to stop. The runtime learns of what the kernel has received only when it
/// sleeps, so without this a stop could overtake packets that came before it.
const LAST_LOOK: Duration = ATTENTIVE.saturating_mul(3);
/// How long a camera that never pauses may keep a session from ending after that.
const LAST_LOOK_MAX: Duration = Duration::from_secs(1);

impl<S: Sink> StreamTask<S> {
    /// Opens a session and records it to its end.
    pub(super) async fn attempt(&mut self) -> Outcome {
        match self.url.source().clone() {
            Source::Rtsp { url, credentials } => self.attempt_rtsp(&url, credentials.as_ref()).await,
            Source::TestSource(source) => self.attempt_test_source(source).await,
        }
    }

    async fn attempt_rtsp(&mut self, url: &Url, credentials: Option<&Credentials>) -> Outcome {
        let StreamTask { shared, group, stop, at_once, .. } = self;
        let at_once = std::mem::take(at_once);
        let opening = async {
            if !at_once {
                shared.turn().await;
            }
            shared.moderation.attend();
            let began = shared.clock.now();
            (began, open(url, credentials, group, shared.turn(), &shared.moderation).await)
        };
        let (began, opened) = tokio::select! {
            biased;
            () = stopped(stop) => return Outcome::Stopped,
            opened = opening => opened,
        };
        match opened {
            Ok(opened) => self.play(opened, began).await,
            Err(error) => self.ended(&error, began, false),
        }
    }

    async fn play(&mut self, opened: Opened, began: Moment) -> Outcome {
        self.shared.moderation.attend();
        self.reporter.session_begins(&opened.skipped);
        let opened_at = self.shared.clock.now();
        let known = opened.tracks.iter().filter_map(TrackInput::known_configuration).collect();
        self.recording.begin_session(numbers(&opened.tracks), known, opened_at);
        let counted_from = silence::counted_from(began, opened_at);
        let (end, recorded) = {
            let StreamTask { recording, shared, reporter, stop, .. } = self;
            let clock = &shared.clock;
            let mut play = Play { opened, recording, clock, counted_from, last_sample: None, samples: 0 };
            let mut tick = ticking();
            let mut stop = pin!(async {
                stopped(stop).await;
                shared.moderation.attend();
                sleep(LAST_LOOK).await;
            });
            let mut told: Option<Instant> = None;
            // Bounded by its own batches. tokio's bound would make a socket that still has packets look empty.
            let end = unconstrained(poll_fn(|cx| {
                if told.is_none() && stop.as_mut().poll(cx).is_ready() {
                    told = Some(Instant::now());
                }
                let stopping = match told {
                    None => Stopping::No,
                    Some(at) if at.elapsed() < LAST_LOOK_MAX => Stopping::WhenDrained,
                    Some(_) => Stopping::Now,
                };
                play.poll(cx, &mut tick, stopping, &mut |recording, tracks| {
                    moderate(&shared.moderation, recording);
                    recording.note_promptness(shared.moderation.is_prompt());
                    reporter.update(recording, lost(tracks));
                })
            }))
            .await;
            play.finish();
            let recorded = play.samples > 0;
            reporter.update(play.recording, lost(&play.opened.tracks));
            (end, recorded)
        };
        match end {
            End::Stopped => Outcome::Stopped,
            End::VolumeStopped => Outcome::VolumeStopped,
            End::Lost(error) => self.ended(&error, began, recorded),
        }
    }

    async fn attempt_test_source(&mut self, source: TestSource) -> Outcome {
        let began = self.shared.clock.now();
        let mut items = match camera::start(source, self.name.as_str(), self.shared.clock.clone()) {
            Ok(items) => items,
            Err(error) => {
                let detail = format!("cannot start the built-in camera's thread: {error}");
                return self.ended(&SessionError::new(GapReason::Refused, detail), began, false);
            }
        };
        let mut tracks = vec![camera::VIDEO];
        tracks.extend(source.audio.then_some(camera::AUDIO));
        self.reporter.session_begins(&[]);
        self.recording.begin_session(tracks, Vec::new(), began);
        let mut tick = ticking();
        let mut samples = 0_u64;
        let error = loop {
            let item = tokio::select! {
                biased;
                () = stopped(&mut self.stop) => {
                    while let Ok(item) = items.try_recv() {
                        self.take(item, &mut samples);
                    }
                    return Outcome::Stopped;
                }
                item = items.recv() => item,
                _ = tick.tick() => {
                    self.recording.tick(self.shared.clock.now());
                    moderate(&self.shared.moderation, &self.recording);
                    self.reporter.update(&mut self.recording, 0);
                    if self.recording.check().is_err() {
                        return Outcome::VolumeStopped;
                    }
                    continue;
                }
            };
            let ended = SessionError::new(GapReason::ConnectionLost, "the built-in camera ended");
            match item.map(|item| self.take(item, &mut samples)) {
                Some(None) => {}
                Some(Some(failure)) => break failure,
                None => break ended,
            }
        };
        self.ended(&error, began, samples > 0)
    }

    fn take(&mut self, item: camera::Item, samples: &mut u64) -> Option<SessionError> {
        match item {
            camera::Item::Configuration(track) => self.recording.configure(track, self.shared.clock.now()),
            camera::Item::Sample(sample) => {
                *samples += 1;
                self.recording.sample(sample);
            }
            camera::Item::Failed(detail) => {
                return Some(SessionError::new(
                    GapReason::Protocol,
                    format!("the built-in camera failed: {detail}"),
                ));
            }
        }
        None
    }
}

/// Whoever follows a stream is given each picture at once.
fn moderate<S: Sink>(moderation: &Moderation, recording: &Recording<S>) {
    if recording.was_waited_for() {
        moderation.attend();
    }
}

fn ticking() -> Interval {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

fn lost(tracks: &[TrackInput]) -> u64 {
    tracks.iter().map(|track| track.counters().lost_packets).sum()
}
