//! Marks: places in a file without a table of its length at which making it can be begun, so that a range of it does not cost all that
//! lies before.
//!
//! They are left where the file is made once and thrown away ([`crate::footage::Prepared::measure_while`]), and hold all that decides
//! the bytes behind them but the footage: a mark and the samples behind it make what all samples make there. A mark says
//!
//! - where it stands in the file: at a fragment's end, or a cluster's;
//! - of each track, which sample comes next;
//! - of fragments, what the muxer holds: its number, and of each track the samples that wait (by their count; they are the ones before
//!   the next) with their times, and what decides the times of those to come. Matroska's clusters hold nothing.
//!
//! They are good for the file of one entity tag, and for no other. Their number is bounded: where there are too many, every second one
//! goes, and the others come twice as far apart.
//!
//! What must not live here: where they are kept, and whether what was kept is what was given.

use crate::mp4::TimesState;
use serde::{Deserialize, Serialize};

/// The most marks of a file.
const MARKS_MAX: usize = 1024;
/// A muxer that holds more samples than this is not marked: it will soon hold fewer.
pub(super) const WAITING_MAX: usize = 256;

/// The marks of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    tag: String,
    apart: u64,
    marks: Vec<Mark>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Where it stands in the file.
    pub at: u64,
    /// By track, the sample that comes next.
    pub next: Vec<u32>,
    pub holds: Holds,
}

/// What a muxer holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Holds {
    Fragments {
        sequence: u32,
        /// When the oldest sample that was collected since the last fragment is shown.
        began_ns: Option<i64>,
        tracks: Vec<PendingState>,
    },
    Matroska {
        /// The moment of time zero.
        origin_ns: i64,
        /// The last place to seek to.
        last_cue_ns: Option<i64>,
    },
}

/// What waits of a track.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PendingState {
    /// How many samples before the next wait.
    pub waiting: u32,
    /// The times of the first of them: decode time and offset.
    pub settled: Vec<(i64, i64)>,
    pub times: TimesState,
    /// Which of those waiting is to begin a fragment.
    pub border: Option<u32>,
}

impl Marks {
    /// None yet, of the file of this tag: at least so many bytes apart.
    pub(super) fn new(tag: String, apart: u64) -> Marks {
        Marks { tag, apart, marks: Vec::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Whether a mark at this place would be far enough behind the last.
    pub(super) fn is_due(&self, at: u64) -> bool {
        at >= self.marks.last().map_or(0, |last| last.at).saturating_add(self.apart)
    }

    /// Leaves a mark, behind the others.
    pub(super) fn push(&mut self, mark: Mark) {
        if self.marks.len() >= MARKS_MAX {
            self.thin();
        }
        self.marks.push(mark);
    }

    /// Every second mark goes, of a single one that; the others come twice as far apart.
    pub fn thin(&mut self) {
        let mut place = 0_usize;
        self.marks.retain(|_| {
            place += 1;
            place.is_multiple_of(2)
        });
        self.apart = self.apart.saturating_mul(2);
    }

    /// The last mark of the file of this tag that stands at or before one of its bytes.
    pub(super) fn before(&self, tag: &str, byte: u64) -> Option<&Mark> {
        let behind = self.marks.partition_point(|mark| mark.at <= byte);
        self.marks.get(behind.checked_sub(1)?).filter(|_| self.tag == tag)
    }
}

impl Mark {
    /// By track, the first sample that is needed: those that wait come before the next.
    pub(super) fn needs(&self) -> Option<Vec<u32>> {
        match &self.holds {
            Holds::Matroska { .. } => Some(self.next.clone()),
            Holds::Fragments { tracks, .. } if tracks.len() == self.next.len() => {
                let each = self.next.iter().zip(tracks);
                each.map(|(next, track)| next.checked_sub(track.waiting)).collect()
            }
            Holds::Fragments { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn marks_are_bounded_and_as_far_apart_as_that_takes(steps in proptest::collection::vec(1..50_u64, 1..9000)) {
            let (mut marks, mut at) = (Marks::new("x".into(), 10), 0);
            for step in &steps {
                at += step;
                if marks.is_due(at) {
                    let holds = Holds::Matroska { origin_ns: 0, last_cue_ns: None };
                    marks.push(Mark { at, next: Vec::new(), holds });
                }
            }
            prop_assert!(marks.len() <= MARKS_MAX);
            // However they were thinned out, one is never further back than what lies between two, and a step.
            let mut before = 0;
            for mark in &marks.marks {
                prop_assert!(mark.at > before && mark.at - before <= 6 * marks.apart);
                before = mark.at;
            }
            prop_assert!(at - before <= 6 * marks.apart);
            for byte in [0, at / 3, at / 2, at] {
                let found = marks.before("x", byte).map(|mark| mark.at);
                prop_assert_eq!(found, marks.marks.iter().map(|mark| mark.at).filter(|at| *at <= byte).max());
                prop_assert_eq!(marks.before("y", byte), None);
            }
        }
    }
}
