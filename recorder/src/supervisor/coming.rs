//! Streams that come over from another volume, or back to their own that was opened anew: what is known of them there, and how their record
//! here begins.
//!
//! ```text
//! here:  ... old footage | gap: was elsewhere | gap: the seam | what was not durable elsewhere | gap: open | a new session's run
//!                         (if there is any here)               (if it can still be had)
//! ```
//!
//! All three gaps have the reason `other volume` (`recorder down` where it is the same volume, opened anew); the last one ends with the first sample of the new session, and counts what of the rest
//! found no room here.
//!
//! Streams that come together are all begun first; then each gives what it carries, all at once and none for longer than all
//! ([`Crossing`]); then its session begins. So the last of many is not later than the first. What each stream does is a pure sequence of
//! steps, with the time as an argument ([`Arrival`]). Meanwhile the disk makes its rounds without a pause: room is had as fast as it writes.

use crate::gaps::{AFTER_LAST_SAMPLE_NS, Before};
use crate::moderation::Moderation;
use keha_fs::{Carrying, Gap, GapReason, StreamId, StreamWriter, Undone, WallTime};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long room for what is carried is waited for, by all that come together: their sessions wait for this.
const PATIENCE: Duration = Duration::from_millis(500);
/// The same where they come back to their own volume. What waited of up to 64 streams fills at most the memory before its disk, and half of
/// that has room at once: the rest has it, too, where the disk writes a quarter of that memory in a second. Little is lost by waiting for
/// it: it writes more in a second than its cameras send.
const PATIENCE_BACK: Duration = Duration::from_secs(2);
/// How long the volume is waited for to say what of a stream stands in it.
const ASKED: Duration = Duration::from_secs(5);
/// How often it is looked.
const PAUSE: Duration = Duration::from_millis(5);

/// A stream that begins here.
#[derive(Clone, Debug, Default)]
pub struct Coming {
    /// Its identity elsewhere: it is given that here, too, if there is none of its name yet.
    pub id: Option<StreamId>,
    /// Where it was recorded until now, if it was.
    pub from: Option<CameFrom>,
}

/// Where a stream was recorded until now.
#[derive(Clone, Debug, Default)]
pub struct CameFrom {
    /// Up to when there is footage of it that is durable there, as far as is known.
    pub last: Option<WallTime>,
    /// From where and why, for people: `it came over from volume main, which failed: ...`. Without secrets.
    pub why: String,
    /// Samples that were taken there and are not known to be durable.
    pub undone: Undone,
    /// It was this very volume, which was opened anew: what stands in it is not written again, and the rest goes on behind that.
    pub own: bool,
    /// With whom it comes, if not alone.
    pub crossing: Option<Crossing>,
}

/// Streams that come over together. What they carry goes out once all of them have begun.
#[derive(Clone, Debug)]
pub struct Crossing {
    streams: usize,
    /// Until when room is waited for, once all have begun.
    until: watch::Receiver<Option<Instant>>,
}

/// Whoever begins streams that come over together. Dropped, it lets them go on without waiting for room.
#[derive(Debug)]
pub struct Begins {
    patience: Duration,
    until: watch::Sender<Option<Instant>>,
}

impl Crossing {
    /// So many streams are about to begin in another volume.
    pub fn over(streams: usize) -> (Begins, Crossing) {
        Crossing::within(PATIENCE, streams)
    }

    /// So many streams are about to begin in their own volume, which was opened anew.
    pub fn back(streams: usize) -> (Begins, Crossing) {
        Crossing::within(PATIENCE_BACK, streams)
    }

    fn within(patience: Duration, streams: usize) -> (Begins, Crossing) {
        let (sender, until) = watch::channel(None);
        (Begins { patience, until: sender }, Crossing { streams, until })
    }

    /// How many streams come together.
    pub fn streams(&self) -> usize {
        self.streams
    }
}

impl Begins {
    /// All have begun.
    pub fn all(self) {
        self.until.send_replace(Some(Instant::now() + self.patience));
    }
}

/// A stream on its way into this volume.
pub(super) struct Arrival {
    last: Option<WallTime>,
    /// From when to when is what it carries.
    span: Option<(WallTime, WallTime)>,
    reason: GapReason,
    why: String,
    carrying: Carrying,
    crossing: Option<Crossing>,
    /// How long room is waited for, if it comes alone.
    patience: Duration,
}

impl Arrival {
    /// Begins the stream's record here, of which there was footage up to `ended` if it was recorded here before.
    pub(super) fn begin(from: CameFrom, sink: &mut StreamWriter, ended: Option<WallTime>) -> Arrival {
        let CameFrom { last, why, undone, own, crossing } = from;
        let reason = if own { GapReason::RecorderDown } else { GapReason::OtherVolume };
        let here = sink.last_recorded().max(ended);
        let undone = if own && !undone.is_empty() { sink.lacking(undone, ASKED) } else { undone };
        if let (Some(here), Some(last)) = (here, last)
            && here < last
        {
            let detail = format!("it was recorded elsewhere; {why}");
            sink.gap(&gap(reason, here.plus_ns(AFTER_LAST_SAMPLE_NS), last, detail));
        }
        let last = here.max(last);
        let span = undone.span();
        if let Some((first, _)) = span.filter(|_| !undone.goes_on()) {
            let from = last.map_or(first, |last| last.plus_ns(AFTER_LAST_SAMPLE_NS));
            sink.gap(&gap(reason, from, first, why.clone()));
        }
        let together = crossing.as_ref().map_or(1, |crossing| crossing.streams);
        let patience = if own { PATIENCE_BACK } else { PATIENCE };
        Arrival { last, span, reason, why, carrying: undone.carrying(together), crossing, patience }
    }

    /// Gives as much as there is room for. Whether nothing more is to be done: all is given, or it is time.
    pub(super) fn step(&mut self, sink: &mut StreamWriter, now: Instant, until: Instant) -> bool {
        sink.carry(&mut self.carrying) || now >= until
    }

    /// Why there is no footage from now on, until there is, and what is lost of what was carried.
    pub(super) fn end(self) -> Before {
        let Arrival { last, span, reason, why, carrying, .. } = self;
        let carried = carrying.end();
        let last = last.max(carried.to);
        let Some(why_lost) = carried.why_lost else {
            return Before { last, ..Before::new(reason, why) };
        };
        let lost = carried.samples_lost;
        let detail = format!("{lost} samples that waited there are lost: {why_lost}; {why}");
        tracing::warn!(samples = lost, bytes = carried.bytes_lost, "{detail}");
        Before {
            last,
            // Where nothing is known of what was before, footage is missing from there on.
            from: span.filter(|_| last.is_none()).map(|(first, _)| first),
            samples_lost: lost,
            bytes_lost: carried.bytes_lost,
            ..Before::new(reason, detail)
        }
    }

    /// Of a stream that is not recorded: what is lost stands in a gap. The answer is up to when there is footage.
    pub(super) fn settle(self, sink: &mut StreamWriter) -> Option<WallTime> {
        let to = self.span.map(|(_, to)| to);
        let before = self.end();
        let from = before.last.map(|last| last.plus_ns(AFTER_LAST_SAMPLE_NS)).or(before.from);
        if let (Some(from), Some(to), true) = (from, to, before.samples_lost > 0) {
            let Before { reason, samples_lost, bytes_lost, detail, .. } = before;
            sink.gap(&Gap { reason, from, to: Some(to.max(from)), samples_lost, bytes_lost, detail });
        }
        before.last
    }

    /// All of it, in its time. It is cut short where the stream is stopped.
    pub(super) async fn run(
        mut self,
        sink: &mut StreamWriter,
        moderation: &Arc<Moderation>,
        stop: &watch::Receiver<bool>,
    ) -> Before {
        let _attentive = moderation.hold();
        let until = match &mut self.crossing {
            None => Instant::now() + self.patience,
            Some(Crossing { until, .. }) => {
                let mut stop = stop.clone();
                tokio::select! {
                    biased;
                    () = stopped(&mut stop) => Instant::now(),
                    until = all_began(until) => until,
                }
            }
        };
        while !self.step(sink, Instant::now(), until) && !*stop.borrow() {
            sink.hurry();
            tokio::time::sleep(PAUSE).await;
        }
        self.end()
    }
}

/// Waits until told to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Waits until all have begun; the answer is until when room is waited for.
async fn all_began(until: &mut watch::Receiver<Option<Instant>>) -> Instant {
    let until = until.wait_for(Option::is_some).await.ok().and_then(|until| *until);
    until.unwrap_or_else(Instant::now)
}

fn gap(reason: GapReason, from: WallTime, to: WallTime, detail: String) -> Gap {
    let (samples_lost, bytes_lost) = (0, 0);
    Gap { reason, from, to: Some(to.max(from)), samples_lost, bytes_lost, detail }
}

#[cfg(test)]
#[path = "coming_tests.rs"]
mod tests;
