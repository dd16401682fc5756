//! What the tables of a volume said when they were looked at last: enough to tell what stands in it once it does not answer.
//!
//! It holds no device, so it is kept when a volume is left behind whose disk has failed, until that is read again.

use super::Snapshot;
use crate::timeline::Index;
use keha_fs::{StreamName, StreamSummary, WallTime};
use std::sync::Arc;

/// What was seen of a volume.
#[derive(Clone)]
pub(super) struct Seen {
    index: Arc<Index>,
    streams: Arc<Vec<StreamSummary>>,
    /// Up to when it may have been recorded into since, where that is known.
    until: Option<WallTime>,
}

/// What a volume is known to have of a stream.
#[derive(Clone)]
pub struct Known {
    pub(super) index: Arc<Index>,
    pub(super) stream: StreamSummary,
    until: Option<WallTime>,
}

impl Seen {
    pub(super) fn of(snapshot: &Snapshot) -> Seen {
        Seen { index: Arc::clone(&snapshot.index), streams: Arc::clone(&snapshot.streams), until: None }
    }

    /// The same of one into which nothing was recorded from this moment on.
    #[must_use]
    pub(super) fn ended(self, at: WallTime) -> Seen {
        Seen { until: Some(self.until.map_or(at, |until| until.min(at))), ..self }
    }

    /// What it has of a stream.
    pub(super) fn stream(&self, name: &StreamName) -> Option<Known> {
        self.known().find(|known| known.stream.name == *name)
    }

    /// What it has of each stream.
    pub(super) fn known(&self) -> impl Iterator<Item = Known> + '_ {
        self.streams.iter().map(|stream| Known {
            index: Arc::clone(&self.index),
            stream: stream.clone(),
            until: self.until,
        })
    }
}

impl Known {
    /// Up to when there was footage of it.
    pub fn last(&self) -> Option<WallTime> {
        self.stream.last
    }

    /// Whether there may be something from one moment to another (inclusive).
    pub fn may_have(&self, from: WallTime, to: WallTime) -> bool {
        let mut walls =
            self.walls().chain(self.since().map(|(from, to)| (from, to.unwrap_or(WallTime::MAX))));
        walls.any(|(min, max)| min <= to && max >= from)
    }

    /// What was recorded there from the last look on until the volume failed, as far as that is known. It may have ended earlier.
    pub(super) fn until_it_failed(&self) -> Option<(WallTime, WallTime)> {
        let (from, to) = self.since()?;
        to.map(|to| (from, to)).filter(|(from, to)| from < to)
    }

    /// What its tables say.
    pub(super) fn walls(&self) -> impl Iterator<Item = (WallTime, WallTime)> + '_ {
        let rows = self.index.rows_of(self.stream.id).iter();
        rows.filter(|row| row.samples > 0).filter_map(|row| row.wall)
    }

    /// What was recorded since the tables were looked at, where the stream was going on then: nobody may have looked for hours.
    fn since(&self) -> Option<(WallTime, Option<WallTime>)> {
        let from = self.stream.last.filter(|_| self.index.goes_on(self.stream.id))?;
        Some((from, self.until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::TimelineSource;
    use keha_fs::{BlockOutline, BlockState, Retention, StreamId, StreamRow};

    const S: i64 = 1_000_000_000;

    /// A volume that is being written, with a minute of footage.
    struct Live;

    impl TimelineSource for Live {
        fn streams(&self) -> Vec<StreamId> {
            vec![StreamId::default()]
        }

        fn is_live(&self) -> bool {
            true
        }

        fn rows(&self, _: StreamId) -> Vec<StreamRow> {
            let wall = Some((WallTime(0), WallTime(60 * S)));
            vec![StreamRow { state: BlockState::Sealed, samples: 10, wall, ..StreamRow::default() }]
        }

        fn outline(&self, _: StreamId, _: &StreamRow) -> keha_fs::Result<BlockOutline> {
            panic!("nothing is read")
        }
    }

    fn seen(looked_at_s: i64) -> Seen {
        let stream = StreamSummary {
            id: StreamId::default(),
            name: StreamName::new("front").expect("a name"),
            created: WallTime(0),
            retention: Retention::default(),
            first: Some(WallTime(0)),
            last: Some(WallTime(60 * S)),
            blocks: 1,
            samples: 10,
            payload_bytes: 10,
            used_bytes: 10,
            overwritten_in: None,
        };
        let index = Index::new(&Live).looked_at(WallTime(looked_at_s * S));
        Seen { index: Arc::new(index), streams: Arc::new(vec![stream]), until: None }
    }

    fn may_have(seen: &Seen, from_s: i64, to_s: i64) -> bool {
        let known = seen.known().next().expect("a stream");
        known.may_have(WallTime(from_s * S), WallTime(to_s * S))
    }

    /// Nobody may have looked for hours when it fails.
    #[test]
    fn what_was_recorded_between_the_last_look_and_the_failure_may_be_there() {
        let (going_on, stopped) = (seen(61), seen(600));
        assert!(
            may_have(&going_on, 10, 20) && may_have(&going_on, 5000, 6000) && !may_have(&going_on, -9, -1)
        );
        assert!(may_have(&stopped, 60, 70) && !may_have(&stopped, 61, 70));
        let failed = going_on.ended(WallTime(3600 * S)).ended(WallTime(9000 * S));
        assert!(may_have(&failed, 3000, 4000) && !may_have(&failed, 3601, 4000));
        let known = failed.known().next().expect("a stream");
        assert_eq!(known.until_it_failed(), Some((WallTime(60 * S), WallTime(3600 * S))));
        assert_eq!(stopped.known().next().and_then(|known| known.until_it_failed()), None);
    }
}
