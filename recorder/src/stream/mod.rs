//! One task a stream: connect, record, find out why it ended, wait, again, until told to stop.
//!
//! Promises: nothing that happens to this stream reaches another, a panic in its code neither; told to stop, it writes what
//! has arrived and no gap. The decisions are made elsewhere ([`crate::reconnect`], [`crate::recording`]); here they meet
//! sockets and timers.

mod guard;
mod report;
mod source;
#[cfg(test)]
mod tests;
mod wait;

use crate::camera::CameraUrl;
use crate::clock::Moment;
use crate::event::Event;
use crate::gaps::Before;
use crate::moderation::Moderation;
use crate::now::Clock;
use crate::reconnect::limiter::Limiter;
use crate::reconnect::{Ended, Failure, Reconnect};
use crate::recording::Recording;
use crate::session::error::SessionError;
use crate::sink::Sink;
use crate::status::{StatusCell, StreamState};
use keha_fs::{GapReason, StreamName};
use report::Reporter;
use retina::client::SessionGroup;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// What all streams of a recorder share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) moderation: Arc<Moderation>,
    pub(crate) limiter: Mutex<Limiter>,
    pub(crate) events: SyncSender<Event>,
}

impl Shared {
    pub(crate) fn new(events: SyncSender<Event>) -> Shared {
        let moderation = Arc::new(Moderation::new());
        Shared { clock: Clock::new(), moderation, limiter: Mutex::default(), events }
    }

    /// Waits for this connection's turn.
    pub(crate) async fn turn(&self) {
        let now = self.clock.elapsed();
        let turn = self.limiter.lock().unwrap_or_else(PoisonError::into_inner).turn(now);
        if turn > now {
            sleep(turn - now).await;
        }
    }

    /// Takes a turn if one is free at once.
    pub(crate) fn spare_turn(&self) -> bool {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner).spare(self.clock.elapsed())
    }
}

/// How long the end of a session is waited for before the next begins: some cameras have room for one only.
const TEARDOWN: Duration = Duration::from_secs(1);

/// A stream and all it needs.
pub(crate) struct StreamTask<S> {
    url: CameraUrl,
    name: StreamName,
    recording: Recording<S>,
    shared: Arc<Shared>,
    reporter: Reporter,
    policy: Reconnect,
    stop: watch::Receiver<bool>,
    group: Arc<SessionGroup>,
    /// The next attempt waits for no turn.
    at_once: bool,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Stopped,
    VolumeStopped,
    Ended(Ended, GapReason),
}

impl<S: Sink> StreamTask<S> {
    pub(crate) fn new(
        name: StreamName,
        url: CameraUrl,
        sink: S,
        before: Option<Before>,
        shared: Arc<Shared>,
        cell: Arc<Mutex<StatusCell>>,
        stop: watch::Receiver<bool>,
    ) -> StreamTask<S> {
        let now = shared.clock.now();
        let group = Arc::new(SessionGroup::default().named(name.to_string()));
        StreamTask {
            recording: Recording::new(sink, before, now),
            reporter: Reporter::new(name.clone(), cell, Arc::clone(&shared)),
            url,
            name,
            shared,
            policy: Reconnect::default(),
            stop,
            group,
            at_once: false,
        }
    }

    /// The first connection begins at once, however many others do: the camera was recorded until now, and footage is missing meanwhile.
    pub(crate) fn at_once(self) -> StreamTask<S> {
        StreamTask { at_once: true, ..self }
    }

    /// Records until told to stop.
    pub(crate) async fn run(mut self) {
        let end = loop {
            if *self.stop.borrow() {
                break StreamState::Stopped;
            }
            self.reporter.enter(StreamState::Connecting);
            let outcome = match guard::guarded(self.attempt()).await {
                Ok(outcome) => outcome,
                Err(panic) => self.after_panic(&panic),
            };
            match outcome {
                Outcome::Stopped => break StreamState::Stopped,
                Outcome::VolumeStopped => break StreamState::VolumeStopped,
                Outcome::Ended(ended, reason) => {
                    if self.wait_after(ended, reason).await {
                        break StreamState::Stopped;
                    }
                }
            }
        };
        self.recording.stop();
        self.reporter.update(&mut self.recording, 0);
        self.reporter.enter(end);
        // The session's end is told to the camera, if it listens.
        let _ = timeout(TEARDOWN, self.group.await_teardown()).await;
    }

    /// Waits for the next attempt. True if told to stop.
    async fn wait_after(&mut self, ended: Ended, reason: GapReason) -> bool {
        let wait = self.policy.ended(ended, rand::random());
        self.reporter.wait(wait.at_most, reason);
        let StreamTask { policy, shared, url, group, stop, name, .. } = self;
        let waiting = async {
            let until = Instant::now() + wait.at_most;
            let looking_out = async {
                let attentive = shared.moderation.hold();
                let _ = timeout(TEARDOWN, group.await_teardown()).await;
                drop(attentive);
                wait::wait(wait, policy, url, shared, group).await;
            };
            // Probes read what a camera answers: a panic over that must not end this task.
            if let Err(panic) = guard::guarded(looking_out).await {
                let detail = url.mask_in(&panic);
                tracing::error!(stream = name.as_str(), detail, "looking out for a camera failed");
                sleep_until(until).await;
            }
        };
        tokio::select! {
            biased;
            () = stopped(stop) => true,
            () = waiting => false,
        }
    }

    /// A session ended, or could not be opened.
    fn ended(&mut self, error: &SessionError, began: Moment, recorded: bool) -> Outcome {
        let now = self.shared.clock.now();
        let detail = self.url.mask_in(&error.detail);
        self.reporter.failed(&detail);
        let ended = if recorded {
            self.recording.interrupted(error.reason, &detail, now);
            Ended::Recorded(Duration::from_nanos(now.since_ns(began).max(0).unsigned_abs()))
        } else {
            self.recording.attempt_failed(error.reason, &detail, now);
            Ended::Failed(error.failure)
        };
        self.reporter.update(&mut self.recording, 0);
        Outcome::Ended(ended, error.reason)
    }

    fn after_panic(&mut self, panic: &str) -> Outcome {
        let now = self.shared.clock.now();
        let detail = self.url.mask_in(panic);
        self.reporter.failed(&detail);
        self.recording.recover(now, &detail);
        self.reporter.update(&mut self.recording, 0);
        Outcome::Ended(Ended::Failed(Failure::Declined), GapReason::Protocol)
    }
}

/// Waits until told to stop. Whoever told is gone: that is a stop too.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
