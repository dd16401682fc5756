//! Whether two samples join, and why not: what lies between them in the order of recording, whichever way it was met. Pure.

use super::Direction;
use crate::timeline::{PAUSE_NS, Reason};
use keha_fs::{Gap, OutlineChunk, SampleRow};
use std::sync::Arc;

/// Why a sample does not join the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Discontinuity {
    /// Something is missing between them.
    Missing(Reason),
    /// They are of different runs, and nothing tells why: the media clock is another one.
    Run,
    /// They need different configurations.
    Configuration,
}

impl Discontinuity {
    /// The reason as people read it, in lower case: those of [`Reason`], `run`, `configuration`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Discontinuity::Missing(reason) => reason.as_str(),
            Discontinuity::Run => "run",
            Discontinuity::Configuration => "configuration",
        }
    }
}

/// What was met on the way from one sample to another.
#[derive(Debug, Default)]
pub(super) struct Met {
    /// What is believed first of all that was met.
    reason: Option<Reason>,
    /// Gap records since the last chunk of samples.
    records: Vec<Arc<Gap>>,
}

impl Met {
    pub(super) fn add(&mut self, reason: Reason) {
        let is_open = |reason: &Reason| matches!(reason, Reason::Recorded(gap) if gap.to.is_none());
        let key = |reason: &Reason| (reason.rank(), is_open(reason));
        if self.reason.as_ref().is_none_or(|known| key(&reason) < key(known)) {
            self.reason = Some(reason);
        }
    }

    pub(super) fn record(&mut self, gap: &Gap) {
        self.records.push(Arc::new(gap.clone()));
    }

    /// The next chunk of samples was reached from another one, if from any of which something is known.
    pub(super) fn reach(
        &mut self,
        left: Option<&OutlineChunk>,
        reached: &OutlineChunk,
        direction: Direction,
    ) {
        let records = std::mem::take(&mut self.records);
        let Some(left) = left else { return };
        let (before, behind) = match direction {
            Direction::Forwards => (left, reached),
            Direction::Backwards => (reached, left),
        };
        let same_run = before.run == behind.run;
        // A record of a hole that is over may be stored later.
        let lies_between =
            |gap: &Gap| gap.from < behind.from && gap.to.is_none_or(|to| to > before.to && to > gap.from);
        let mine = records.into_iter().filter(|gap| !same_run || lies_between(gap));
        mine.for_each(|gap| self.add(Reason::Recorded(gap)));
        if same_run && behind.from.since_ns(before.to) > PAUSE_NS {
            self.add(Reason::Unknown);
        }
    }

    /// Whether two samples join between which this was met.
    pub(super) fn between(self, one: &SampleRow, other: &SampleRow) -> Option<Discontinuity> {
        let run = (one.run != other.run).then_some(Discontinuity::Run);
        let configuration =
            (one.configuration != other.configuration).then_some(Discontinuity::Configuration);
        self.reason.map(Discontinuity::Missing).or(run).or(configuration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keha_fs::{ConfigurationHash, GapReason, OutlineKind, RunId, Uuid, WallTime};

    const S: i64 = 1_000_000_000;

    fn chunk(run: u128, from_s: i64, to_s: i64) -> OutlineChunk {
        OutlineChunk {
            number: None,
            kind: OutlineKind::Media,
            run: RunId(Uuid::from_u128(run)),
            from: WallTime(from_s * S),
            to: WallTime(to_s * S),
            configuration: ConfigurationHash::default(),
            bytes: 0,
        }
    }

    fn gap(reason: GapReason, from_s: i64, to_s: Option<i64>) -> Gap {
        let (from, to) = (WallTime(from_s * S), to_s.map(|to| WallTime(to * S)));
        Gap { reason, from, to, samples_lost: 0, bytes_lost: 0, detail: String::new() }
    }

    /// What is between two chunks, which is the same both ways.
    fn between(records: &[&Gap], before: &OutlineChunk, behind: &OutlineChunk) -> Option<Reason> {
        let reach = |left, reached, direction, records: &mut dyn Iterator<Item = &&Gap>| {
            let mut met = Met::default();
            records.for_each(|gap| met.record(gap));
            met.reach(Some(left), reached, direction);
            met.reason
        };
        let forwards = reach(before, behind, Direction::Forwards, &mut records.iter());
        let backwards = reach(behind, before, Direction::Backwards, &mut records.iter().rev());
        assert_eq!(forwards, backwards);
        forwards
    }

    #[test]
    fn a_record_between_two_chunks_tells_why_they_do_not_join() {
        let (before, behind) = (chunk(1, 0, 10), chunk(1, 15, 20));
        assert_eq!(between(&[], &before, &behind), None, "cameras may send a picture every few seconds");
        assert_eq!(between(&[], &before, &chunk(1, 21, 30)), Some(Reason::Unknown));
        let overload = gap(GapReason::Overload, 10, Some(15));
        let recorded = |gap: &Gap| Some(Reason::Recorded(Arc::new(gap.clone())));
        assert_eq!(between(&[&overload], &before, &behind), recorded(&overload));
        let earlier = gap(GapReason::Overload, 3, Some(5));
        assert_eq!(between(&[&earlier], &before, &behind), None, "that hole is over");
        assert_eq!(
            between(&[&earlier], &before, &chunk(2, 2, 20)),
            recorded(&earlier),
            "clocks tell nothing"
        );
        let open = gap(GapReason::ConnectionLost, 10, None);
        let closed = gap(GapReason::ConnectionLost, 10, Some(15));
        assert_eq!(between(&[&open, &closed], &before, &behind), recorded(&closed));
    }

    #[test]
    fn what_is_told_first_does_not_depend_on_what_was_met_first() {
        let [erased, damaged] = [Reason::Erased, Reason::Damaged];
        for order in [[&erased, &damaged], [&damaged, &erased]] {
            let mut met = Met::default();
            order.into_iter().for_each(|reason| met.add(reason.clone()));
            assert_eq!(met.reason, Some(Reason::Erased));
        }
    }
}
