//! What happens to streams and volumes, as events for people: once for each change, not for each retry.
//!
//! ```text
//! stream:  new --recorded--> up --ended, failed, stopped--> down (each reason told once) --recorded--> up
//!          up --left out--> up, in a gap --goes through again--> up
//! disk:    good --cannot be opened, fails, does not answer--> in trouble (each text told once) --works--> good
//! ```
//! A stream that goes down was recorded before, so a gap begins; one that was never reached has none. Events of a recorder may come late or not
//! at all: what a stream does is looked at each second, too, so that one which ended is not taken for recorded.
//!
//! Pure. Must not live here: finding out what happens, and keeping events.

use crate::recording::{News, Tick, answers_again};
use crate::secret;
use keha_api::events::{EventKind, NewEvent};
use keha_fs::{GapReason, Health, RoundReport};
use keha_recorder::Event;
use std::collections::{BTreeMap, BTreeSet};

/// What was told of all streams and volumes.
#[derive(Default)]
pub(super) struct Happenings {
    streams: BTreeMap<String, Stream>,
    volumes: BTreeMap<String, Disk>,
}

/// What was told of a stream.
#[derive(Default)]
struct Stream {
    is_up: bool,
    in_gap: bool,
    /// Why it is down, all that was told since it was up.
    told: BTreeSet<&'static str>,
}

/// What was told of a volume.
#[derive(Default)]
struct Disk {
    /// Why it is not open.
    closed: Option<String>,
    is_failing: bool,
    lost: u32,
    cut_short: u32,
}

impl Happenings {
    /// Something happened to a stream.
    pub(super) fn happened(&mut self, event: &Event) -> Vec<NewEvent> {
        use keha_recorder::EventKind as Kind;
        let name = event.stream.as_str();
        match &event.kind {
            Kind::Recording => self.up(name),
            Kind::OverloadOver { .. } => self.goes_on(name),
            // The session goes on, and the camera is there.
            Kind::Interrupted { reason, detail }
                if matches!(reason, GapReason::Overload | GapReason::SampleTooLarge | GapReason::Clock) =>
            {
                self.left_out(name, reason.as_str(), detail)
            }
            Kind::Interrupted { reason, detail } | Kind::AttemptFailed { reason, detail } => {
                self.down(name, reason.as_str(), detail)
            }
            Kind::Restarted { detail } => self.down(name, "restarted", detail),
            _ => Vec::new(),
        }
    }

    /// A stream is not to be recorded any more, until it is said otherwise.
    pub(super) fn stopped(&mut self, name: &str) -> Vec<NewEvent> {
        self.down(name, "stopped", "")
    }

    /// A second has passed, in which these streams were wanted.
    pub(super) fn tick(&mut self, ticks: &[(String, Tick)], wanted: &BTreeSet<String>) -> Vec<NewEvent> {
        let mut events = Vec::new();
        for (volume, tick) in ticks {
            if tick.silent.is_some() {
                events.push(disk(volume, crate::recording::SILENT));
            }
            for stream in &tick.streams {
                match stream.state {
                    "stopped" => events.extend(self.ended(&stream.name, "stopped")),
                    "volume_stopped" => events.extend(self.ended(&stream.name, "its volume takes nothing")),
                    _ => {}
                }
            }
        }
        let gone: Vec<String> = self.streams.keys().filter(|name| !wanted.contains(*name)).cloned().collect();
        for name in gone {
            events.extend(self.ended(&name, "no longer to be recorded"));
            self.streams.remove(&name);
        }
        events
    }

    /// A volume was tried: why it is not open, if so.
    pub(super) fn tried(&mut self, volume: &str, failed: Option<&str>) -> Option<NewEvent> {
        let known = self.volumes.entry(volume.to_owned()).or_default();
        let before = std::mem::replace(&mut known.closed, failed.map(str::to_owned));
        match failed {
            Some(why) => (before.as_deref() != Some(why)).then(|| disk(volume, why)),
            None => before.map(|_| disk(volume, "it is open again")),
        }
    }

    /// A round of a volume ended, with this news.
    pub(super) fn round(&mut self, volume: &str, report: &RoundReport, news: Option<&News>) -> Vec<NewEvent> {
        let mut events = Vec::new();
        if let Some(silent) = news.and_then(|news| news.answers) {
            events.push(disk(volume, &answers_again(silent)));
        }
        let known = self.volumes.entry(volume.to_owned()).or_default();
        let was_failing = known.is_failing;
        known.is_failing = report.health != Health::Good;
        match &report.health {
            Health::Failing { error } if !was_failing => {
                events.push(disk(volume, &format!("the disk fails: {error}; samples wait in memory")));
            }
            Health::Good if was_failing => events.push(disk(volume, "the disk works again")),
            _ => {}
        }
        let (lost, cut_short) = (report.holds.lost, report.holds.cut_short);
        if lost > std::mem::replace(&mut known.lost, lost) {
            let text = "a hold is lost: what may have been held is overwritten last";
            events.push(of_volume(EventKind::HoldLost, volume, text));
        }
        if cut_short > std::mem::replace(&mut known.cut_short, cut_short) {
            let text = "a hold ended early: the volume has no room to hold more";
            events.push(of_volume(EventKind::HoldLost, volume, text));
        }
        events
    }

    fn stream(&mut self, name: &str) -> &mut Stream {
        self.streams.entry(name.to_owned()).or_default()
    }

    fn up(&mut self, name: &str) -> Vec<NewEvent> {
        let stream = self.stream(name);
        stream.told.clear();
        let was_up = std::mem::replace(&mut stream.is_up, true);
        let mut events = Vec::new();
        if !was_up {
            events.push(of_stream(EventKind::CameraUp, name, "recording", ""));
        }
        events.extend(self.goes_on(name));
        events
    }

    fn goes_on(&mut self, name: &str) -> Vec<NewEvent> {
        let was_in_gap = std::mem::take(&mut self.stream(name).in_gap);
        Vec::from_iter(was_in_gap.then(|| of_stream(EventKind::GapEnded, name, "footage goes on", "")))
    }

    fn left_out(&mut self, name: &str, reason: &'static str, detail: &str) -> Vec<NewEvent> {
        let was_in_gap = std::mem::replace(&mut self.stream(name).in_gap, true);
        Vec::from_iter((!was_in_gap).then(|| of_stream(EventKind::GapBegan, name, reason, detail)))
    }

    fn down(&mut self, name: &str, reason: &'static str, detail: &str) -> Vec<NewEvent> {
        let stream = self.stream(name);
        let was_up = std::mem::take(&mut stream.is_up);
        let mut events = Vec::new();
        if stream.told.insert(reason) {
            events.push(of_stream(EventKind::CameraDown, name, reason, detail));
        }
        if was_up {
            events.extend(self.left_out(name, reason, detail));
        }
        events
    }

    /// It is seen that a stream is not recorded; who is known to be down is no news.
    fn ended(&mut self, name: &str, reason: &'static str) -> Vec<NewEvent> {
        let is_up = self.streams.get(name).is_some_and(|stream| stream.is_up);
        if is_up { self.down(name, reason, "") } else { Vec::new() }
    }
}

fn of_stream(kind: EventKind, name: &str, what: &str, detail: &str) -> NewEvent {
    let camera = name.split('/').next().map(str::to_owned);
    let detail = secret::mask(detail);
    let separator = if detail.is_empty() { "" } else { ": " };
    NewEvent { kind, camera, user: None, text: line(&format!("{name}: {what}{separator}{detail}")) }
}

fn disk(volume: &str, text: &str) -> NewEvent {
    of_volume(EventKind::Disk, volume, text)
}

fn of_volume(kind: EventKind, volume: &str, text: &str) -> NewEvent {
    NewEvent {
        kind,
        camera: None,
        user: None,
        text: line(&format!("volume {volume}: {}", secret::mask(text))),
    }
}

fn line(text: &str) -> String {
    crate::failure::one_line(text)
}

#[cfg(test)]
#[path = "happenings_tests.rs"]
mod tests;
