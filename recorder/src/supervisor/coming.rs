//! Streams that come over from another volume: what is known of them there, and how their record here begins.
//!
//! ```text
//! here:  ... old footage | gap: was elsewhere | gap: the seam | what was not durable elsewhere | gap: open | a new session's run
//!                         (if there is any here)               (if it can still be had)
//! ```
//!
//! All three gaps have the reason `other volume`; the last one ends with the first sample of the new session.

use crate::gaps::{AFTER_LAST_SAMPLE_NS, Before};
use keha_fs::{Gap, GapReason, StreamId, StreamWriter, Undone, WallTime};

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
}

impl CameFrom {
    /// Begins the stream's record here, of which there was footage up to `ended` if it was recorded here before. The answer is why
    /// there is none from now on, until there is.
    pub(super) fn begin(self, sink: &mut StreamWriter, ended: Option<WallTime>) -> Before {
        let CameFrom { last, why, undone } = self;
        let here = sink.last_recorded().max(ended);
        if let (Some(here), Some(last)) = (here, last)
            && here < last
        {
            let detail = format!("it was recorded elsewhere; {why}");
            sink.gap(&gap(here.plus_ns(AFTER_LAST_SAMPLE_NS), last, detail));
        }
        let mut last = here.max(last);
        if let Some((first, _)) = undone.span() {
            let from = last.map_or(first, |last| last.plus_ns(AFTER_LAST_SAMPLE_NS));
            sink.gap(&gap(from, first, why.clone()));
            match sink.carry(undone) {
                Ok(carried) => {
                    last = last.max(carried.to);
                    if carried.samples_lost > 0 {
                        let lost = carried.samples_lost;
                        let detail = format!("{lost} samples that waited there found no room here; {why}");
                        return Before { last, ..Before::new(GapReason::OtherVolume, detail) };
                    }
                }
                Err(error) => tracing::warn!(stream = %sink.name(), %error, "what waited elsewhere is lost"),
            }
        }
        Before { last, ..Before::new(GapReason::OtherVolume, why) }
    }
}

fn gap(from: WallTime, to: WallTime, detail: String) -> Gap {
    let (samples_lost, bytes_lost) = (0, 0);
    Gap { reason: GapReason::OtherVolume, from, to: Some(to.max(from)), samples_lost, bytes_lost, detail }
}
