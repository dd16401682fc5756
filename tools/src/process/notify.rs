//! What a service manager wants to hear (sd_notify(3)). Without one, or if it does not listen, nothing happens.

use sd_notify::NotifyState;
use std::time::{Duration, Instant};

/// The line to the service manager.
pub(crate) struct Notifier {
    watchdog: Option<Duration>,
    last_sign_of_life: Option<Instant>,
    last_status: String,
}

impl Notifier {
    /// Reads from the environment what the service manager expects.
    pub(crate) fn new() -> Notifier {
        Notifier {
            watchdog: sd_notify::watchdog_enabled(),
            last_sign_of_life: None,
            last_status: String::new(),
        }
    }

    /// The service does its work now.
    pub(crate) fn ready(&mut self) {
        send(&[NotifyState::Ready]);
    }

    /// The service is on its way out.
    pub(crate) fn stopping(&mut self) {
        send(&[NotifyState::Stopping]);
    }

    /// The service lives. May be called as often as one likes.
    pub(crate) fn alive(&mut self, now: Instant) {
        // Three times within the interval, so that one late sign is no death.
        let Some(interval) = self.watchdog.map(|watchdog| watchdog / 3) else { return };
        if self.last_sign_of_life.is_none_or(|last| now.duration_since(last) >= interval) {
            self.last_sign_of_life = Some(now);
            send(&[NotifyState::Watchdog]);
        }
    }

    /// How many streams are being recorded, of these states.
    pub(crate) fn recording(&mut self, states: impl Iterator<Item = &'static str>) {
        let (recording, all) = states
            .fold((0, 0), |(recording, all), state| (recording + usize::from(state == "recording"), all + 1));
        self.status(&format!("{recording} of {all} streams recording"));
    }

    /// What the service is doing, in a few words. Sent when it changes.
    pub(crate) fn status(&mut self, text: &str) {
        if self.last_status != text {
            text.clone_into(&mut self.last_status);
            send(&[NotifyState::Status(text)]);
        }
    }
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager does not listen");
    }
}
