//! What was met in a stream beside its samples: gaps, damage, clocks, the ring's tail. Plain bookkeeping, bounded.

use crate::export::manifest::{Clock, DamageMet, GapRecord, Overwriting};
use crate::time::rfc3339;
use keha_fs::{Anchor, ClockSource, Finding, Gap, RunId, TimeRange, TrackConfiguration, WallTime};
use std::collections::{BTreeMap, BTreeSet};

/// The most entries of each kind that are kept; what comes after is counted only.
pub(super) const ENTRIES_MAX: usize = 100_000;

/// The log of one stream.
#[derive(Clone, Debug)]
pub(crate) struct FeedLog {
    range: TimeRange,
    gaps: BTreeMap<WallTime, Gap>,
    /// Some of the gaps have no end yet.
    gap_open: bool,
    clocks: BTreeMap<RunId, ClockUse>,
    tracks_left_out: BTreeSet<String>,
    damage: Vec<DamageMet>,
    damage_open: bool,
    /// Times footage is missing because something did not verify.
    pub damaged: u64,
    pub overwritten: Vec<Overwriting>,
    pub undecodable_samples: u64,
}

#[derive(Clone, Debug, Default)]
struct ClockUse {
    sources: BTreeSet<ClockSource>,
    uncertainty_us_max: u32,
    offset_first: Option<i64>,
    offset_last: i64,
}

impl FeedLog {
    pub(crate) fn new(range: TimeRange) -> FeedLog {
        FeedLog {
            range,
            gaps: BTreeMap::new(),
            gap_open: false,
            clocks: BTreeMap::new(),
            tracks_left_out: BTreeSet::new(),
            damage: Vec::new(),
            damage_open: false,
            damaged: 0,
            overwritten: Vec::new(),
            undecodable_samples: 0,
        }
    }

    /// A gap record; a later one with the same beginning replaces an earlier one.
    pub(crate) fn gap(&mut self, gap: Gap) {
        let before = self.range.from.is_some_and(|from| gap.to.is_some_and(|to| to <= from));
        let behind = self.range.to.is_some_and(|to| gap.from >= to);
        if before || behind {
            self.gaps.remove(&gap.from);
        } else if self.gaps.len() < ENTRIES_MAX || self.gaps.contains_key(&gap.from) {
            self.gap_open |= gap.to.is_none();
            self.gaps.insert(gap.from, gap);
        }
    }

    /// Footage goes on at `wall`: what is still open ends there. A recorder that went down during a gap never wrote its end.
    fn end_gaps(&mut self, wall: WallTime) {
        if !std::mem::take(&mut self.gap_open) {
            return;
        }
        let open: Vec<Gap> = self.gaps.values().filter(|gap| gap.to.is_none()).cloned().collect();
        for gap in open {
            self.gap(Gap { to: Some(wall.max(gap.from)), ..gap });
        }
    }

    pub(crate) fn anchor(&mut self, run: RunId, anchor: &Anchor) {
        if self.clocks.len() >= ENTRIES_MAX && !self.clocks.contains_key(&run) {
            return;
        }
        let clock = self.clocks.entry(run).or_default();
        clock.sources.insert(anchor.source);
        clock.uncertainty_us_max = clock.uncertainty_us_max.max(anchor.uncertainty_us);
        clock.offset_first.get_or_insert(anchor.camera_offset_ns);
        clock.offset_last = anchor.camera_offset_ns;
    }

    pub(crate) fn damage(&mut self, finding: &Finding, after: Option<WallTime>) {
        self.damaged += u64::from(finding.footage_lost);
        if self.damage.len() < ENTRIES_MAX {
            self.damage_open = true;
            self.damage.push(DamageMet {
                what: finding.what.to_owned(),
                at: finding.at,
                block: finding.block.map(|block| block.0),
                footage_lost: finding.footage_lost,
                detail: finding.detail.clone(),
                after: after.map(rfc3339),
                before: None,
            });
        }
    }

    /// A sample came: it is the first behind any damage just met, and behind any gap.
    pub(crate) fn sample(&mut self, wall: WallTime) {
        self.end_gaps(wall);
        if std::mem::take(&mut self.damage_open) {
            for damage in self.damage.iter_mut().rev().take_while(|damage| damage.before.is_none()) {
                damage.before = Some(rfc3339(wall));
            }
        }
    }

    pub(crate) fn resumed(&mut self, after: Option<WallTime>, from: WallTime) {
        let after = after.map(rfc3339);
        // Nothing was read since the last time: one place, not two.
        self.overwritten.pop_if(|last| last.after == after);
        if self.overwritten.len() < ENTRIES_MAX {
            self.overwritten.push(Overwriting { after, resumed_from: rfc3339(from) });
        }
    }

    pub(crate) fn unsupported<'t>(&mut self, tracks: impl Iterator<Item = &'t TrackConfiguration>) {
        for track in tracks {
            self.tracks_left_out.insert(format!("{} {}", track.track, String::from_utf8_lossy(&track.codec)));
        }
    }

    pub(crate) fn gaps(&self) -> impl Iterator<Item = GapRecord> + '_ {
        self.gaps.values().map(|gap| GapRecord {
            reason: gap.reason.as_str().to_owned(),
            from: rfc3339(gap.from),
            to: gap.to.map(rfc3339),
            samples_lost: gap.samples_lost,
            bytes_lost: gap.bytes_lost,
            detail: gap.detail.clone(),
        })
    }

    pub(crate) fn damage_met(&self) -> &[DamageMet] {
        &self.damage
    }

    pub(crate) fn tracks_left_out(&self) -> Vec<String> {
        self.tracks_left_out.iter().cloned().collect()
    }

    pub(crate) fn clock(&self, run: RunId) -> Clock {
        self.clocks.get(&run).map_or_else(Clock::default, |clock| Clock {
            sources: clock.sources.iter().map(|source| ClockSource::as_str(*source).to_owned()).collect(),
            uncertainty_us_max: clock.uncertainty_us_max,
            camera_offset_ns_first: clock.offset_first.unwrap_or(0),
            camera_offset_ns_last: clock.offset_last,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keha_fs::GapReason;

    fn gap(from: i64, to: Option<i64>, reason: GapReason) -> Gap {
        let (from, to) = (WallTime(from), to.map(WallTime));
        Gap { reason, from, to, samples_lost: 0, bytes_lost: 0, detail: String::new() }
    }

    fn told(log: &FeedLog) -> Vec<(i64, Option<i64>)> {
        log.gaps.values().map(|gap| (gap.from.0, gap.to.map(|to| to.0))).collect()
    }

    #[test]
    fn a_gap_whose_end_was_never_written_ends_where_footage_goes_on() {
        let mut log = FeedLog::new(TimeRange::default());
        log.sample(WallTime(10));
        log.gap(gap(10, None, GapReason::ConnectionLost));
        log.gap(gap(11, None, GapReason::RecorderDown));
        assert_eq!(told(&log), [(10, None), (11, None)]);
        log.gap(gap(11, Some(50), GapReason::RecorderDown));
        log.sample(WallTime(52));
        log.sample(WallTime(60));
        assert_eq!(told(&log), [(10, Some(52)), (11, Some(50))]);
    }

    #[test]
    fn a_gap_that_ended_before_the_range_is_none_of_its_gaps() {
        let mut log = FeedLog::new(TimeRange { from: Some(WallTime(100)), to: None });
        log.gap(gap(10, None, GapReason::ConnectionLost));
        log.sample(WallTime(90));
        assert_eq!(told(&log), []);
    }
}
