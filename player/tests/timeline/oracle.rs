//! What a stream holds, found by reading every sample of it: nothing of the block table, no footer.

use crate::recorder::VIDEO;
use keha_fs::{Gap, Item, RunId, SampleFlags, StoredSample, StreamId, TimeRange, Volume, WallTime};
use keha_player::timeline::{PAUSE_NS, Recorded};

/// Stretches of samples in the order of recording.
pub(crate) struct Oracle {
    stretches: Vec<Stretch>,
}

struct Stretch {
    run: RunId,
    from: WallTime,
    to: WallTime,
    syncs: Vec<WallTime>,
}

#[derive(Default)]
struct Reading {
    stretches: Vec<Stretch>,
    /// Nothing that comes can be decoded from what came.
    broken: bool,
    gaps: Vec<Gap>,
}

impl Oracle {
    pub(crate) fn read(volume: &Volume, stream: StreamId) -> Oracle {
        let mut reading = Reading { broken: true, ..Reading::default() };
        let mut cursor = volume.read(stream, TimeRange::default()).unwrap();
        while let Some(item) = cursor.next_item().unwrap() {
            match item {
                Item::Gap(gap) => reading.gaps.push(gap),
                Item::Erased(_) | Item::Run(_) => reading.broken = true,
                Item::Sample(sample) => reading.sample(&sample),
                Item::Damage(finding) => panic!("{finding:?}"),
                _ => {}
            }
        }
        Oracle { stretches: reading.stretches }
    }

    pub(crate) fn reach(&self) -> (WallTime, WallTime) {
        let first = self.stretches.iter().map(|stretch| stretch.from).min().unwrap();
        (first, self.stretches.iter().map(|stretch| stretch.to).max().unwrap())
    }

    /// What is covered of a range, joined in the simplest way.
    pub(crate) fn covered(&self, range: TimeRange, resolution_ns: i64) -> Vec<Recorded> {
        let (from, to) = (range.from.unwrap_or(WallTime::MIN), range.to.unwrap_or(WallTime::MAX));
        let inside = self.stretches.iter().filter(|stretch| stretch.to >= from && stretch.from < to);
        let cut = |stretch: &Stretch| Recorded { from: stretch.from.max(from), to: stretch.to.min(to) };
        let mut all: Vec<Recorded> = inside.map(cut).collect();
        while let Some((a, b)) = near_pair(&all, resolution_ns) {
            let other = all.remove(b);
            all[a] = Recorded { from: all[a].from.min(other.from), to: all[a].to.max(other.to) };
        }
        all.sort();
        all
    }

    /// The runs that cover a moment with their last sync samples before it; where there are none, the samples around it.
    pub(crate) fn seek(
        &self,
        wall: WallTime,
    ) -> (Vec<(RunId, WallTime)>, Option<WallTime>, Option<WallTime>) {
        let covering = self.stretches.iter().filter(|stretch| stretch.from <= wall && wall <= stretch.to);
        let sync = |stretch: &Stretch| {
            let before = stretch.syncs.iter().rev().find(|sync| **sync <= wall);
            Some((stretch.run, *before?))
        };
        let before = self.stretches.iter().map(|stretch| stretch.to).filter(|to| *to < wall).max();
        let behind = self.stretches.iter().map(|stretch| stretch.from).filter(|from| *from > wall).min();
        let found: Vec<_> = covering.filter_map(sync).collect();
        if found.is_empty() { (found, before, behind) } else { (found, None, None) }
    }
}

fn near_pair(all: &[Recorded], resolution_ns: i64) -> Option<(usize, usize)> {
    let near = |a: &Recorded, b: &Recorded| {
        a.from.since_ns(b.to) <= resolution_ns && b.from.since_ns(a.to) <= resolution_ns
    };
    let pairs = (0..all.len()).flat_map(|a| (a + 1..all.len()).map(move |b| (a, b)));
    pairs.into_iter().find(|(a, b)| near(&all[*a], &all[*b]))
}

impl Reading {
    fn sample(&mut self, sample: &StoredSample) {
        let is_sync = sample.track == VIDEO && sample.flags.contains(SampleFlags::SYNC);
        if self.broken && !is_sync {
            return;
        }
        let gaps = std::mem::take(&mut self.gaps);
        let lies_between = |last: &Stretch, gap: &Gap| {
            gap.from < sample.wall && gap.to.is_none_or(|to| to > last.to && to > gap.from)
        };
        let broken = std::mem::take(&mut self.broken);
        let goes_on = |last: &Stretch| {
            !broken
                && last.run == sample.run
                && sample.wall.since_ns(last.to) <= PAUSE_NS
                && !gaps.iter().any(|gap| lies_between(last, gap))
        };
        match self.stretches.last_mut().filter(|last| goes_on(last)) {
            Some(last) => {
                last.to = last.to.max(sample.wall);
                last.syncs.extend(is_sync.then_some(sample.wall));
            }
            None => self.stretches.push(Stretch {
                run: sample.run,
                from: sample.wall,
                to: sample.wall,
                syncs: is_sync.then_some(sample.wall).into_iter().collect(),
            }),
        }
    }
}
