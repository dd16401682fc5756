//! What is watched of a volume that is being recorded into: holds, retention, a disk that does not answer, damage. It is
//! logged here, once for each change, and answered for whoever shows it.

use super::Live;
use super::document::{RoundDocument, StreamStatus, stream_name};
use super::holding::{HoldWatch, RetentionWatch};
use super::silence::SilenceWatch;
use super::view::now;
use crate::commands::volume::scrub::ScrubWatch;
use crate::output::document::Moment;
use crate::units::time;
use jiff::tz::TimeZone;
use keha_fs::{RoundReport, ScrubDamage, WallTime};
use std::time::{Duration, Instant};

/// What a disk that does not answer means.
pub(crate) const SILENT: &str =
    "the disk does not answer; samples wait in memory, then whole GOPs are left out";

/// Watches one volume.
pub(crate) struct Watch {
    holds: HoldWatch,
    retention: RetentionWatch,
    silence: SilenceWatch,
    scrub: ScrubWatch,
}

/// What is seen once a second.
pub(crate) struct Tick {
    pub(crate) streams: Vec<StreamStatus>,
    /// Since when the disk has not answered, told once.
    pub(crate) silent: Option<WallTime>,
}

/// What is new with a round.
pub(crate) struct News {
    /// For how long the disk had not answered, if that was told.
    pub(crate) answers: Option<Duration>,
    /// Blocks that were found damaged, and whose they are.
    pub(crate) damage: Vec<(ScrubDamage, String)>,
}

impl Watch {
    /// Begins to watch.
    pub(crate) fn new() -> Watch {
        Watch {
            holds: HoldWatch::default(),
            retention: RetentionWatch::default(),
            silence: SilenceWatch::new(Instant::now()),
            scrub: ScrubWatch::new(now()),
        }
    }

    /// Looks at counters and at the disk, and brings the answer to `keha status` up to date. Once a second.
    pub(crate) fn tick(&mut self, live: &Live, at: Instant) -> Tick {
        let (streams, time) = (live.streams(), now());
        let silent = self.silence.silent_for(at);
        let since = silent.map(|silent| WallTime(time.0.saturating_sub_unsigned(silent.as_nanos() as u64)));
        let news = since.filter(|_| self.silence.is_news());
        if let Some(since) = news {
            let shown = time::local(since, &TimeZone::system());
            tracing::error!(volume = %live.path.display(), since = %shown, "{SILENT}");
        }
        let mut status = live.status();
        status.time = Moment(time);
        status.streams.clone_from(&streams);
        if let (Some(round), Some(since)) = (&mut status.round, since) {
            round.is_silent(since);
        }
        Tick { streams, silent: news }
    }

    /// A round ended.
    pub(crate) fn round(&mut self, live: Option<&Live>, report: &RoundReport) -> News {
        let answers = self.silence.round(Instant::now());
        if let Some(silent) = answers {
            tracing::warn!("{}", answers_again(silent));
        }
        self.holds.round(report.holds);
        self.retention.round(report.retention);
        let damage = self.scrub.round(&report.scrub).into_iter();
        let damage = damage.map(|damage| (damage, stream_name(report, damage.stream))).collect();
        if let Some(live) = live {
            live.status().round = Some(RoundDocument::new(report));
        }
        News { answers, damage }
    }
}

/// That the disk answers again.
pub(crate) fn answers_again(silent: Duration) -> String {
    format!("the disk answers again, after {:.1} s", silent.as_secs_f64())
}
