//! What of a tail is not known to be durable: what whoever goes on in another volume has to take along.
//!
//! The tail keeps all that is not durable, and while the disk fails all that came since the last round that succeeded, with what stands
//! before it: nothing that was taken is missing here while its writer lives.

use super::{Kept, TailBuffer};
use crate::configuration::Configuration;
use crate::gap::Gap;
use crate::sample::{Anchor, Sample};
use crate::types::RunId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One thing that was taken and may not be durable.
#[derive(Clone, Debug)]
pub(crate) enum UndoneItem {
    Sample(Box<UndoneSample>),
    Gap(Gap),
}

/// A sample that may not be durable, and what it needs.
#[derive(Clone, Debug)]
pub(crate) struct UndoneSample {
    pub(crate) sample: Sample,
    pub(crate) run: RunId,
    pub(crate) anchor: Anchor,
    pub(crate) configuration: Arc<Configuration>,
    /// It is durable, and goes before those that are not.
    pub(crate) is_durable: bool,
}

impl TailBuffer {
    /// What was taken after the first `durable` samples of this writer, in the order of recording. Before it goes what its pictures
    /// need to be decoded, as far as that is in memory.
    pub(crate) fn undone(&self, durable: u64) -> Vec<UndoneItem> {
        let state = self.lock();
        let durable = usize::try_from(durable.saturating_sub(state.samples_evicted)).unwrap_or(usize::MAX);
        let mut configurations: BTreeMap<_, _> = state.behind.clone().into_iter().collect();
        let (mut samples, mut items) = (0, Vec::new());
        let (mut decodable, mut new) = (None, None);
        for kept in &state.kept {
            match kept {
                Kept::Configuration(hash, configuration) => {
                    configurations.insert(*hash, Arc::clone(configuration));
                }
                Kept::Gap(gap) => items.push(UndoneItem::Gap(gap.clone())),
                Kept::Sample(kept) => {
                    let is_durable = samples < durable;
                    samples += 1;
                    let Some(configuration) = configurations.get(&kept.configuration) else { continue };
                    if new.is_none() && kept.is_beginning {
                        decodable = Some(items.len());
                    }
                    if !is_durable {
                        new.get_or_insert(items.len());
                    }
                    items.push(UndoneItem::Sample(Box::new(UndoneSample {
                        sample: kept.sample.clone(),
                        run: kept.run,
                        anchor: kept.anchor,
                        configuration: Arc::clone(configuration),
                        is_durable,
                    })));
                }
            }
        }
        new.map(|new| items.split_off(decodable.unwrap_or(new))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::TrackKind;
    use crate::sample::SampleFlags;
    use crate::tail::tests::{S, TRACK, tail_of};
    use crate::types::{TrackNumber, Uuid, WallTime};
    use bytes::Bytes;

    /// A tail with so many pictures, each fifth of which is a sync sample.
    fn tail(pictures: i64) -> Arc<TailBuffer> {
        tail_of(TrackKind::Video, (0..pictures).map(|ticks| ticks % 5 == 0))
    }

    fn ticks(items: &[UndoneItem]) -> Vec<(i64, bool)> {
        let sample = |item: &UndoneItem| match item {
            UndoneItem::Sample(sample) => Some((sample.sample.ticks, sample.is_durable)),
            UndoneItem::Gap(_) => None,
        };
        items.iter().filter_map(sample).collect()
    }

    #[test]
    fn what_is_not_durable_is_given_from_where_it_can_be_decoded() {
        for durable in 0..12_u64 {
            let given = ticks(&tail(12).undone(durable));
            let begin = durable as i64 / 5 * 5;
            let expected: Vec<_> = (begin..12).map(|ticks| (ticks, ticks < durable as i64)).collect();
            assert_eq!(given, expected, "{durable}");
        }
        assert!(tail(12).undone(12).is_empty());
    }

    #[test]
    fn what_is_durable_already_is_not_lost_when_it_is_not_carried() {
        let undone = crate::writer::Undone::new(tail(12).undone(7));
        assert_eq!(undone.lost_if_left(), (5, 5));
        assert_eq!(undone.span(), Some((WallTime(7 * S), WallTime(11 * S))));
        let carried = undone.carrying(1).end();
        assert_eq!((carried.samples, carried.samples_lost, carried.bytes_lost), (0, 5, 5));
        assert!(carried.why_lost.is_some());
    }

    #[test]
    fn what_comes_behind_the_last_sample_that_stands_is_told_by_that_sample_and_twice_where_that_is_not_clear()
     {
        let undone = || crate::writer::Undone::new(tail(12).undone(7));
        let run = RunId::default();
        let later = undone().behind((run, TRACK, 8));
        assert_eq!((later.lost_if_left(), later.goes_on()), ((3, 3), true));
        assert_eq!(later.span(), Some((WallTime(9 * S), WallTime(11 * S))));
        let none = undone().behind((run, TRACK, 11));
        assert!(none.is_empty() && none.goes_on());
        let others = [(RunId(Uuid::from_u128(2)), TRACK, 8), (run, TrackNumber(2), 8), (run, TRACK, 4)];
        for place in others {
            let all = undone().behind(place);
            assert_eq!((all.lost_if_left(), all.goes_on()), ((5, 5), false), "{place:?}");
        }
        // A camera that says the same ticks twice.
        let tail = tail(12);
        tail.push(&Sample {
            track: TRACK,
            ticks: 8,
            flags: SampleFlags::default(),
            data: vec![Bytes::from_static(b"x")],
        });
        let undone = crate::writer::Undone::new(tail.undone(7));
        assert_eq!(undone.behind((run, TRACK, 8)).lost_if_left(), (4, 4));
    }

    #[test]
    fn what_is_not_in_memory_any_more_is_left_out() {
        let tail = tail(12);
        tail.evict(7, 7);
        assert_eq!(ticks(&tail.undone(8)), [(8, false), (9, false), (10, false), (11, false)]);
        assert_eq!(ticks(&tail.undone(11)), [(10, true), (11, false)]);
    }
}
