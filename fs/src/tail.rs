//! The tail of a stream: its newest samples from memory, before and while they go to the disk, for readers in the process
//! of the writer.
//!
//! A reader reads the disk up to where it ends and goes on here. The join is by the sample itself (run, track, ticks), so it
//! has no seam: what the disk gave last is found in the tail and what follows it comes from memory. Of what the last round made
//! durable the tail keeps the newest part that can be decoded by itself, all of it if none can: in it a reader that has read the disk
//! to its end finds its place, and pictures that are not durable what they need. While a reader follows it keeps all of it, until
//! the next round.
//! A reader that falls behind is told so, and reads the disk again; it never holds the writer up: under the lock that both
//! take, a reader only counts references, to a bounded number of samples; bytes are put together behind it.

mod undone;

use crate::clock::{Clock, SystemClock};
use crate::configuration::{Configuration, TrackKind};
use crate::gap::Gap;
use crate::retention::age::past_before;
use crate::sample::{Anchor, Sample, SampleFlags, StoredSample};
use crate::types::{ChunkNumber, ConfigurationHash, RunId, TrackNumber, WallTime};
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
pub(crate) use undone::{UndoneItem, UndoneSample};

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
    Sample(Arc<KeptSample>),
    Gap(Gap),
}

#[derive(Debug)]
struct KeptSample {
    sample: Sample,
    run: RunId,
    configuration: ConfigurationHash,
    anchor: Anchor,
    /// Whether decoding can begin with it: a sync sample, of a video track where there is one.
    is_beginning: bool,
}

/// One look gives no more than this many items, and no further one once it has so many bytes: what a reader costs in memory.
const LOOK_ITEMS_MAX: usize = 1024;
const LOOK_BYTES_MAX: usize = 8 << 20;
/// A reader that has not looked for so long follows no more. One that has to read the disk meanwhile does.
const FOLLOWING: Duration = Duration::from_secs(10);

#[derive(Default)]
struct State {
    kept: VecDeque<Kept>,
    /// The configuration that holds for the first item kept, if its own item was evicted.
    behind: Option<(ConfigurationHash, Arc<Configuration>)>,
    /// How many items were evicted: the number of the first one kept.
    first: u64,
    samples_evicted: u64,
    run: RunId,
    configuration: ConfigurationHash,
    /// The tracks that pictures come in, by that configuration.
    video: BTreeSet<TrackNumber>,
    anchors: BTreeMap<TrackNumber, Anchor>,
    ended: bool,
    /// How many readers wait: without any, a sample costs no system call here.
    waiting: usize,
    /// Whether one has waited since that was asked last.
    waited: bool,
    /// When a reader has looked last.
    looked: Option<Instant>,
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

    fn wait<'a>(&self, mut state: MutexGuard<'a, State>, wait: Duration) -> MutexGuard<'a, State> {
        state.waiting += 1;
        state.waited = true;
        let mut state =
            self.more.wait_timeout(state, wait).map_or_else(|error| error.into_inner().0, |(state, _)| state);
        state.waiting -= 1;
        state
    }

    /// Whether a reader has waited for what comes next since this was asked last.
    pub(crate) fn was_waited_for(&self) -> bool {
        let mut state = self.lock();
        std::mem::take(&mut state.waited) || state.waiting > 0
    }

    /// What is older than this is not given from now on, in seconds, 0 = all is.
    pub(crate) fn set_maximum_age(&self, maximum_age_s: u64) {
        self.maximum_age_s.store(maximum_age_s, Ordering::Relaxed);
    }

    pub(crate) fn configure(&self, hash: ConfigurationHash, configuration: &Configuration) {
        self.keep(|state| {
            state.configuration = hash;
            let tracks = configuration.tracks.iter().filter(|track| track.kind == TrackKind::Video);
            state.video = tracks.map(|track| track.track).collect();
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
            let (run, configuration) = (state.run, state.configuration);
            let is_beginning = sample.flags.contains(SampleFlags::SYNC)
                && (state.video.is_empty() || state.video.contains(&sample.track));
            let sample = sample.clone();
            Some(Kept::Sample(Arc::new(KeptSample { sample, run, configuration, anchor, is_beginning })))
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

    /// The first `durable` samples of this writer are durable, the first `before` of them since before the last round.
    pub(crate) fn evict(&self, before: u64, durable: u64) {
        let mut state = self.lock();
        let samples = match state.looked.is_some_and(|looked| looked.elapsed() < FOLLOWING) {
            true => before,
            false => before.max(state.last_beginning(durable)),
        };
        while state.samples_evicted < samples {
            match state.kept.pop_front() {
                Some(Kept::Sample(_)) => state.samples_evicted += 1,
                Some(Kept::Configuration(hash, configuration)) => state.behind = Some((hash, configuration)),
                Some(Kept::Gap(_)) => {}
                None => return,
            }
            state.first += 1;
        }
    }
}

impl State {
    /// How many samples come before the last one, among the first `samples`, that decoding can begin with.
    fn last_beginning(&self, samples: u64) -> u64 {
        let kept = self.kept.iter().filter_map(|kept| match kept {
            Kept::Sample(kept) => Some(kept),
            Kept::Configuration(..) | Kept::Gap(_) => None,
        });
        let beginnings = (self.samples_evicted..samples).zip(kept).filter(|(_, kept)| kept.is_beginning);
        beginnings.last().map_or(0, |(before, _)| before)
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

    /// What came after `place`, the last sample the caller has; `None`: all that is in memory, with the configuration that it
    /// needs before it. Waits up to `wait` where nothing came yet. After the first call that gave items `place` is not looked at
    /// any more. One call gives a part of what there is, 8 MiB or one sample: call again.
    ///
    /// After [`TailRead::Ended`] the same tail goes on with what comes once the stream is recorded again
    /// ([`Tail::await_writer`]).
    pub fn follow(&mut self, place: Option<SamplePlace>, wait: Duration) -> TailRead {
        let deadline = Instant::now() + wait;
        let buffer = Arc::clone(&self.buffer);
        let mut state = buffer.lock();
        state.looked = Some(Instant::now());
        let mut begins = None;
        let next = match self.next {
            Some(next) => next,
            None => match find(&state, place) {
                Some(next) => {
                    begins = state.behind.clone().filter(|_| place.is_none());
                    next
                }
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
            let taken = part(&state, skip);
            if !taken.is_empty() {
                drop(state);
                self.next = Some(next + taken.len() as u64);
                let before = past_before(buffer.maximum_age_s.load(Ordering::Relaxed), self.clock.wall());
                let given = taken.iter().filter(|kept| is_given(kept, before, &mut self.broken));
                let begins = begins.map(|(hash, configuration)| TailItem::Configuration(hash, configuration));
                return TailRead::Items(begins.into_iter().chain(given.map(Kept::item)).collect());
            }
            if state.ended {
                return TailRead::Ended;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                if begins.is_some() {
                    // Given with the first item.
                    self.next = None;
                }
                return TailRead::Items(Vec::new());
            }
            state = buffer.wait(state, left);
        }
    }

    /// Whether both follow the same stream of one writer.
    pub fn is_same(&self, other: &Tail) -> bool {
        Arc::ptr_eq(&self.buffer, &other.buffer)
    }

    /// Waits up to `wait` for the stream to be recorded (again); whether it is.
    pub fn await_writer(&self, wait: Duration) -> bool {
        let deadline = Instant::now() + wait;
        let mut state = self.buffer.lock();
        while state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.buffer.wait(state, left);
        }
        true
    }
}

/// The next items from the `skip`-th on, as much of them as one look gives.
fn part(state: &State, skip: usize) -> Vec<Kept> {
    let mut bytes = 0;
    let taken = state.kept.iter().skip(skip).take(LOOK_ITEMS_MAX).take_while(|kept| {
        let go_on = bytes < LOOK_BYTES_MAX;
        if let Kept::Sample(kept) = kept {
            bytes += kept.sample.len();
        }
        go_on
    });
    taken.cloned().collect()
}

/// Whether an item is given where what came `before` a moment is not; what cannot be decoded without that is not, either.
fn is_given(kept: &Kept, before: Option<WallTime>, broken: &mut BTreeSet<TrackNumber>) -> bool {
    let Kept::Sample(kept) = kept else { return true };
    let KeptSample { sample, anchor, .. } = &**kept;
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
    let is_it = |kept: &Kept| match kept {
        Kept::Sample(kept) => (kept.run, kept.sample.track, kept.sample.ticks) == (run, track, ticks),
        _ => false,
    };
    state.kept.iter().rposition(is_it).map(|index| state.first + index as u64 + 1)
}

impl Kept {
    fn item(&self) -> TailItem {
        match self {
            Kept::Configuration(hash, configuration) => {
                TailItem::Configuration(*hash, Arc::clone(configuration))
            }
            Kept::Gap(gap) => TailItem::Gap(gap.clone()),
            Kept::Sample(kept) => TailItem::Sample(StoredSample {
                track: kept.sample.track,
                ticks: kept.sample.ticks,
                wall: kept.anchor.wall_of(kept.sample.ticks),
                flags: kept.sample.flags.of_the_sample(),
                data: joined(&kept.sample.data),
                run: kept.run,
                configuration: kept.configuration,
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
mod tests;
