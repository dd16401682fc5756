//! What a recorder shows: documents with `--json`, live lines on a terminal, a line for each change of state in a pipe.

use super::document::{Document, Line, OpenDocument, RoundDocument, StreamStatus};
use super::lines;
use super::reporter::Reporter;
use super::watch::{News, SILENT, Tick, answers_again};
use crate::commands::volume::scrub::{self, DamageDocument};
use crate::output::document::{Moment, VolumeDocument};
use crate::output::{self, Output, style};
use crate::secret;
use crate::units::{size, time};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use keha_fs::{RoundReport, ScrubDamage, StreamName, WallTime};
use keha_recorder::{Event, EventKind};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

/// Shows what a recorder does.
pub(crate) struct View {
    reporter: Reporter,
    json: bool,
    /// Live lines are drawn on standard error.
    live: bool,
    /// Changes are told on standard output.
    lines: bool,
    zone: TimeZone,
    round: Option<RoundReport>,
    /// What was last told of each stream.
    last: HashMap<StreamName, (&'static str, Option<&'static str>)>,
}

impl View {
    pub(crate) fn start(json: bool, output: Output) -> std::io::Result<View> {
        let live = std::io::stderr().is_terminal() && !output.quiet;
        let shown_live = live && std::io::stdout().is_terminal();
        let lines = !(json || output.quiet || shown_live);
        let zone = TimeZone::system();
        Ok(View { reporter: Reporter::start()?, json, live, lines, zone, round: None, last: HashMap::new() })
    }

    pub(crate) fn started(
        &mut self,
        volume: &VolumeDocument,
        opened: OpenDocument,
        streams: &[StreamStatus],
    ) {
        self.document(Line::Started { volume, opened, streams });
    }

    /// A second has passed.
    pub(crate) fn tick(&mut self, tick: &Tick) {
        self.status(&tick.streams);
        if let Some(since) = tick.silent {
            self.silent(since);
        }
    }

    /// A round ended, with this news.
    pub(crate) fn round(&mut self, news: &News, report: RoundReport) {
        if let Some(silent) = news.answers {
            self.answers(silent);
        }
        for (damage, stream) in &news.damage {
            self.damaged(damage, stream);
        }
        if self.json {
            self.document(Line::Round(RoundDocument::new(&report)));
        }
        let well = |report: &RoundReport| report.health == keha_fs::Health::Good;
        if self.round.as_ref().is_none_or(well) != well(&report) {
            let said = match &report.health {
                keha_fs::Health::Good => "the disk works again".into(),
                keha_fs::Health::Failing { error } => {
                    format!("the disk fails: {error}; samples wait in memory")
                }
            };
            self.line(report.at, "volume", &said);
        }
        self.round = Some(report);
    }

    /// The disk has not answered since then: an alarm.
    fn silent(&mut self, since: WallTime) {
        let (detail, shown) = (SILENT, time::local(since, &self.zone));
        self.document(Line::Disk { state: "silent", since: Some(Moment(since)), detail });
        self.line(now(), "volume", &format!("{detail} (since {shown})"));
    }

    /// The background verification found a damaged block.
    fn damaged(&mut self, damage: &ScrubDamage, stream: &str) {
        let name = |_| stream.to_owned();
        self.document(Line::Damage(DamageDocument::new(damage, name)));
        self.line(now(), "volume", &scrub::damage_line(damage, name, &self.zone));
    }

    /// It answers again.
    fn answers(&mut self, silent: Duration) {
        let detail = answers_again(silent);
        self.document(Line::Disk { state: "good", since: None, detail: &detail });
        self.line(now(), "volume", &detail);
    }

    pub(crate) fn happened(&mut self, event: &Event) {
        let Happening { what, reason, detail } = Happening::new(&event.kind);
        let detail = detail.as_deref().map(secret::mask);
        let (name, detail) = (event.stream.as_str(), detail.as_deref());
        self.document(Line::Stream { name, at: Moment(event.at), what, reason, detail });
        // Every attempt that fails in the same way is one change of state.
        if self.last.insert(event.stream.clone(), (what, reason)) != Some((what, reason)) {
            let what = what.replace('_', " ");
            let parts: Vec<&str> = [Some(what.as_str()), reason, detail].into_iter().flatten().collect();
            self.line(event.at, name, &parts.join(": "));
        }
    }

    fn status(&mut self, streams: &[StreamStatus]) {
        let lines_skipped = self.reporter.skipped();
        self.document(Line::Status { streams, lines_skipped });
        if self.live {
            let lines = lines::lines(
                streams,
                self.round.as_ref(),
                now(),
                output::width(),
                style::stderr_takes_colour(),
            );
            self.reporter.live(lines);
        }
    }

    /// The last thing that is shown: why it stopped, the totals, and whether all that was taken is on the disk.
    pub(crate) fn stopped(mut self, reason: &str, streams: &[StreamStatus], all_written: bool) {
        let lines_skipped = self.reporter.skipped();
        let last = if self.json {
            Some(
                Document::new(Moment(now()), Line::Stopped { reason, all_written, streams, lines_skipped })
                    .render(),
            )
        } else {
            let safe = if all_written {
                "everything is on the disk"
            } else {
                "the last of them are not on the disk"
            };
            let samples: u64 = streams.iter().map(|stream| stream.samples).sum();
            self.line(now(), "volume", &format!("stopped ({reason}), {samples} samples, {safe}"));
            None
        };
        self.reporter.finish(last);
    }

    fn document(&mut self, line: Line<'_>) {
        if self.json {
            self.reporter.line(Document::new(Moment(now()), line).render());
        }
    }

    fn line(&mut self, at: WallTime, who: &str, text: &str) {
        if self.lines {
            self.reporter.line(format!("{} {who}: {text}", time::local(at, &self.zone)));
        }
    }
}

/// What an event says, in fields.
struct Happening {
    what: &'static str,
    reason: Option<&'static str>,
    detail: Option<String>,
}

impl Happening {
    fn new(kind: &EventKind) -> Happening {
        let (what, reason, detail) = match kind {
            EventKind::Recording => ("recording", None, None),
            EventKind::Interrupted { reason, detail } => {
                ("interrupted", Some(reason.as_str()), Some(detail.clone()))
            }
            EventKind::AttemptFailed { reason, detail } => {
                ("attempt_failed", Some(reason.as_str()), Some(detail.clone()))
            }
            EventKind::TrackSkipped { detail } => ("track_skipped", None, Some(detail.clone())),
            EventKind::ConfigurationChanged => ("configuration_changed", None, None),
            EventKind::CameraClockOff { offset_ns } => {
                let seconds = *offset_ns as f64 / 1e9;
                (
                    "camera_clock_off",
                    None,
                    Some(format!("{seconds:+.1} s against the recorder's; arrival times are used")),
                )
            }
            EventKind::OverloadOver { samples, bytes } => {
                ("overload_over", None, Some(format!("{samples} samples left out, {}", size::show(*bytes))))
            }
            EventKind::Restarted { detail } => ("restarted", None, Some(detail.clone())),
            _ => ("unknown", None, None),
        };
        Happening { what, reason, detail: detail.filter(|detail| !detail.is_empty()) }
    }
}

/// The wall clock.
pub(crate) fn now() -> WallTime {
    time::wall(Timestamp::now()).unwrap_or(WallTime::MAX)
}
