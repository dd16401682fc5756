//! The tail of a stream: its newest samples from memory, before and while they go to the disk, for readers in the process
//! of the writer.
//!
//! A reader reads the disk up to where it ends and goes on here. The join is by the sample itself (run, track, ticks), so it
//! has no seam: what the disk gave last is found in the tail and what follows it comes from memory. The tail keeps every
//! sample until the round after the one that made it durable, so a reader that has read the disk to its end finds its place.
//! A reader that falls behind is told so, and reads the disk again; it never holds the writer up.

use crate::clock::{Clock, SystemClock};
use crate::configuration::Configuration;
use crate::gap::Gap;
use crate::retention::age::past_before;
use crate::sample::{Anchor, Sample, SampleFlags, StoredSample};
use crate::types::{ChunkNumber, ConfigurationHash, RunId, TrackNumber, WallTime};
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A sample's place in its stream: what joins disk and memory.
pub type SamplePlace = (RunId, TrackNumber, i64);

/// What a look at the tail gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailRead {
    /// What follows, in the order of recording; empty if nothing came within the time given.
    Items(Vec<TailItem>),
    /// The place is no longer in memory: read the disk up to its end and come back with the place of its last sample.
    Behind,
    /// The stream's writer is gone and everything was given.
    Ended,
}

/// One thing in a tail.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TailItem {
    /// What follows needs this configuration.
    Configuration(ConfigurationHash, Arc<Configuration>),
    /// A sample. Its chunk number is 0: it may not stand in one yet.
    Sample(StoredSample),
    /// A gap record.
    Gap(Gap),
}

#[derive(Clone, Debug)]
enum Kept {
    Configuration(ConfigurationHash, Arc<Configuration>),
    Sample(Sample, RunId, ConfigurationHash, Anchor),
    Gap(Gap),
}

#[derive(Default)]
struct State {
    kept: VecDeque<Kept>,
    /// How many items were evicted: the number of the first one kept.
    first: u64,
    samples_evicted: u64,
    run: RunId,
    configuration: ConfigurationHash,
    anchors: BTreeMap<TrackNumber, Anchor>,
    ended: bool,
    /// How many readers wait: without any, a sample costs no system call here.
    waiting: usize,
}

/// The tail as its writer feeds it.
#[derive(Default)]
pub(crate) struct TailBuffer {
    state: Mutex<State>,
    more: Condvar,
    /// What is older is not given, in seconds, 0 = all is.
    maximum_age_s: AtomicU64,
}

impl TailBuffer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, change: impl FnOnce(&mut State) -> Option<Kept>) {
        let mut state = self.lock();
        let kept = change(&mut state);
        state.kept.extend(kept);
        if state.waiting > 0 {
            self.more.notify_all();
        }
    }

    /// What is older than this is not given from now on, in seconds, 0 = all is.
    pub(crate) fn set_maximum_age(&self, maximum_age_s: u64) {
        self.maximum_age_s.store(maximum_age_s, Ordering::Relaxed);
    }

    pub(crate) fn configure(&self, hash: ConfigurationHash, configuration: &Configuration) {
        self.keep(|state| {
            state.configuration = hash;
            Some(Kept::Configuration(hash, Arc::new(configuration.clone())))
        });
    }

    pub(crate) fn begin_run(&self, run: RunId) {
        self.keep(|state| {
            state.run = run;
            state.anchors.clear();
            None
        });
    }

    pub(crate) fn anchor(&self, anchor: Anchor) {
        self.keep(|state| {
            state.anchors.insert(anchor.track, anchor);
            None
        });
    }

    pub(crate) fn push(&self, sample: &Sample) {
        self.keep(|state| {
            let anchor = *state.anchors.get(&sample.track)?;
            Some(Kept::Sample(sample.clone(), state.run, state.configuration, anchor))
        });
    }

    pub(crate) fn gap(&self, gap: &Gap) {
        self.keep(|_| Some(Kept::Gap(gap.clone())));
    }

    /// The stream's writer came or went.
    pub(crate) fn set_ended(&self, ended: bool) {
        self.lock().ended = ended;
        self.more.notify_all();
    }

    /// The first `samples` samples of this writer are on disk since a while.
    pub(crate) fn evict(&self, samples: u64) {
        let mut state = self.lock();
        while state.samples_evicted < samples {
            match state.kept.pop_front() {
                Some(Kept::Sample(..)) => state.samples_evicted += 1,
                Some(_) => {}
                None => return,
            }
            state.first += 1;
        }
    }
}

/// Follows one stream in memory.
#[derive(Clone)]
pub struct Tail {
    buffer: Arc<TailBuffer>,
    /// The number of the next item, once the place in the tail is known.
    next: Option<u64>,
    clock: Arc<dyn Clock>,
    /// Tracks of which something was too old to be given: nothing is before their next sync sample.
    broken: BTreeSet<TrackNumber>,
}

impl Tail {
    pub(crate) fn new(buffer: Arc<TailBuffer>) -> Tail {
        Tail::by(buffer, Arc::new(SystemClock::new()))
    }

    fn by(buffer: Arc<TailBuffer>, clock: Arc<dyn Clock>) -> Tail {
        Tail { buffer, next: None, clock, broken: BTreeSet::new() }
    }

    /// What came after `place`, the last sample the caller has; `None`: all that is in memory. Waits up to `wait` where
    /// nothing came yet. After the first call that gave items `place` is not looked at any more.
    pub fn follow(&mut self, place: Option<SamplePlace>, wait: Duration) -> TailRead {
        let deadline = Instant::now() + wait;
        let buffer = Arc::clone(&self.buffer);
        let mut state = buffer.lock();
        let next = match self.next {
            Some(next) => next,
            None => match find(&state, place) {
                Some(next) => next,
                None => return TailRead::Behind,
            },
        };
        loop {
            if next < state.first {
                self.next = None;
                return TailRead::Behind;
            }
            self.next = Some(next);
            let skip = usize::try_from(next - state.first).unwrap_or(usize::MAX);
            let more = state.kept.len().saturating_sub(skip) as u64;
            if more > 0 {
                self.next = Some(next + more);
                let before = past_before(buffer.maximum_age_s.load(Ordering::Relaxed), self.clock.wall());
                let given =
                    state.kept.iter().skip(skip).filter(|kept| is_given(kept, before, &mut self.broken));
                return TailRead::Items(given.map(Kept::item).collect());
            }
            if state.ended {
                return TailRead::Ended;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return TailRead::Items(Vec::new());
            }
            state.waiting += 1;
            state = buffer
                .more
                .wait_timeout(state, left)
                .map_or_else(|error| error.into_inner().0, |(state, _)| state);
            state.waiting -= 1;
        }
    }
}

/// Whether an item is given where what came `before` a moment is not; what cannot be decoded without that is not, either.
fn is_given(kept: &Kept, before: Option<WallTime>, broken: &mut BTreeSet<TrackNumber>) -> bool {
    let Kept::Sample(sample, _, _, anchor) = kept else { return true };
    let old = before.is_some_and(|before| anchor.wall_of(sample.ticks) < before);
    if old {
        broken.insert(sample.track);
    } else if sample.flags.contains(SampleFlags::SYNC) {
        broken.remove(&sample.track);
    }
    !broken.contains(&sample.track)
}

/// The number of the item behind the sample at `place`.
fn find(state: &State, place: Option<SamplePlace>) -> Option<u64> {
    let Some((run, track, ticks)) = place else { return Some(state.first) };
    let is_it = |kept: &Kept| matches!(kept, Kept::Sample(sample, of, _, _) if *of == run && sample.track == track && sample.ticks == ticks);
    state.kept.iter().rposition(is_it).map(|index| state.first + index as u64 + 1)
}

impl Kept {
    fn item(&self) -> TailItem {
        match self {
            Kept::Configuration(hash, configuration) => {
                TailItem::Configuration(*hash, Arc::clone(configuration))
            }
            Kept::Gap(gap) => TailItem::Gap(gap.clone()),
            Kept::Sample(sample, run, configuration, anchor) => TailItem::Sample(StoredSample {
                track: sample.track,
                ticks: sample.ticks,
                wall: anchor.wall_of(sample.ticks),
                flags: sample.flags.of_the_sample(),
                data: joined(&sample.data),
                run: *run,
                configuration: *configuration,
                chunk: ChunkNumber(0),
            }),
        }
    }
}

fn joined(pieces: &[Bytes]) -> Bytes {
    match pieces {
        [one] => one.clone(),
        _ => {
            let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
            pieces.iter().for_each(|piece| all.extend_from_slice(piece));
            all.freeze()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;
    use crate::sample::ClockSource;

    const S: i64 = 1_000_000_000;

    #[test]
    fn what_is_past_its_maximum_age_is_not_given_nor_what_cannot_be_decoded_without_it() {
        let buffer = Arc::new(TailBuffer::default());
        let (video, sound) = (TrackNumber(0), TrackNumber(1));
        buffer.begin_run(RunId::default());
        for track in [video, sound] {
            buffer.anchor(Anchor {
                track,
                timescale: 1,
                ticks: 0,
                wall: WallTime(0),
                source: ClockSource::Arrival,
                uncertainty_us: 0,
                arrival: WallTime(0),
                camera_offset_ns: 0,
            });
        }
        let (key, other) = (SampleFlags::SYNC, SampleFlags::default());
        for (track, ticks, flags) in
            [(video, 0, key), (sound, 0, key), (video, 1, other), (video, 5, other), (sound, 5, key)]
                .into_iter()
                .chain([(video, 6, key), (video, 7, other)])
        {
            buffer.push(&Sample { track, ticks, flags, data: vec![Bytes::from_static(b"x")] });
        }
        let clock = Arc::new(SimClock::new(WallTime(12 * S)));
        let given = |maximum_age_s| {
            buffer.set_maximum_age(maximum_age_s);
            let mut tail = Tail::by(Arc::clone(&buffer), Arc::clone(&clock) as Arc<dyn Clock>);
            let TailRead::Items(items) = tail.follow(None, Duration::ZERO) else { return Vec::new() };
            let ticks = |item: &TailItem| match item {
                TailItem::Sample(sample) => Some((sample.track.0, sample.ticks)),
                _ => None,
            };
            items.iter().filter_map(ticks).collect::<Vec<_>>()
        };
        assert_eq!(given(0).len(), 7);
        assert_eq!(given(10), [(1, 5), (0, 6), (0, 7)]);
        assert_eq!(given(1), []);
    }
}
