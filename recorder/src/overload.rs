//! What is left out when the disk does not keep up: whole GOPs, counted to the byte.
//!
//! A video sample whose predecessors are missing is of no use, so once one was refused everything goes, audio too, until
//! the next sample at which decoding can begin. Pure; the caller writes the gap.

use crate::clock::{Moment, NS_PER_S};
use keha_fs::GapReason;

/// Without video every sample is a sync sample: wait this long, lest each refused sample makes a gap of its own.
const WITHOUT_VIDEO_NS: i64 = NS_PER_S;

/// Whether samples go through, or what is being left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overload {
    dropping: Option<Dropped>,
}

/// What was left out so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// Why.
    pub(crate) reason: GapReason,
    /// Samples left out.
    pub(crate) samples: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    since: Moment,
}

/// Where a sample stands for decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A video sync sample.
    Sync,
    /// A sample of a stream that has no video.
    WithoutVideo,
    /// Anything else.
    Dependent,
}

impl Overload {
    /// Whether a sample may be tried. If not, it is counted as left out.
    pub(crate) fn admits(&mut self, entry: Entry, bytes: usize, now: Moment) -> bool {
        let Some(dropped) = &mut self.dropping else { return true };
        let admits = match entry {
            Entry::Sync => true,
            Entry::WithoutVideo => now.since_ns(dropped.since) >= WITHOUT_VIDEO_NS,
            Entry::Dependent => false,
        };
        if !admits {
            dropped.count(bytes);
        }
        admits
    }

    /// A sample was refused. Says whether that begins a gap.
    pub(crate) fn refused(&mut self, reason: GapReason, bytes: usize, now: Moment) -> bool {
        let begins = self.dropping.is_none();
        let dropped = self.dropping.get_or_insert(Dropped { reason, samples: 0, bytes: 0, since: now });
        dropped.since = now;
        dropped.count(bytes);
        begins
    }

    /// Whether something is being left out.
    pub(crate) fn is_dropping(&self) -> bool {
        self.dropping.is_some()
    }

    /// Why something is being left out.
    pub(crate) fn reason(&self) -> Option<GapReason> {
        self.dropping.map(|dropped| dropped.reason)
    }

    /// Samples go through again: what was left out until now.
    pub(crate) fn over(&mut self) -> Option<Dropped> {
        self.dropping.take()
    }
}

impl Dropped {
    fn count(&mut self, bytes: usize) {
        self.samples += 1;
        self.bytes += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keha_fs::WallTime;

    fn at(ms: i64) -> Moment {
        Moment { mono_ns: ms * 1_000_000, wall: WallTime(ms * 1_000_000) }
    }

    #[test]
    fn after_a_refusal_everything_goes_until_the_next_sync_sample() {
        let mut overload = Overload::default();
        assert!(overload.admits(Entry::Dependent, 10, at(0)));
        assert!(overload.refused(GapReason::Overload, 10, at(0)));
        assert!(!overload.admits(Entry::Dependent, 7, at(40)));
        assert!(overload.admits(Entry::Sync, 100, at(80)));
        assert!(!overload.refused(GapReason::Overload, 100, at(80)), "still the same gap");
        assert!(!overload.admits(Entry::Dependent, 5, at(120)));
        assert!(overload.admits(Entry::Sync, 90, at(160)));
        let dropped = overload.over().unwrap();
        assert_eq!((dropped.samples, dropped.bytes), (4, 122));
        assert!(!overload.is_dropping());
    }

    #[test]
    fn a_stream_without_video_waits_a_second() {
        let mut overload = Overload::default();
        overload.refused(GapReason::Overload, 1, at(0));
        assert!(!overload.admits(Entry::WithoutVideo, 1, at(999)));
        assert!(overload.admits(Entry::WithoutVideo, 1, at(1_000)));
    }
}
