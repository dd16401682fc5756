//! The tail of a stream: its newest samples from memory, before and while they go to the disk, for readers in the process
//! of the writer.
//!
//! A reader reads the disk up to where it ends and goes on here. The join is by the sample itself (run, track, ticks), so it
//! has no seam: what the disk gave last is found in the tail and what follows it comes from memory. The tail keeps every
//! sample until the round after the one that made it durable, so a reader that has read the disk to its end finds its place.
//! A reader that falls behind is told so, and reads the disk again; it never holds the writer up: under the lock that both
//! take, a reader only counts references, to a bounded number of samples; bytes are put together behind it.

mod undone;

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
}

/// One look gives no more than this many items, and no further one once it has so many bytes: what a reader costs in memory.
const LOOK_ITEMS_MAX: usize = 1024;
const LOOK_BYTES_MAX: usize = 8 << 20;

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
    anchors: BTreeMap<TrackNumber, Anchor>,
    ended: bool,
    /// How many readers wait: without any, a sample costs no system call here.
    waiting: usize,
    /// Whether one has waited since that was asked last.
    waited: bool,
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
            Some(Kept::Sample(Arc::new(KeptSample { sample: sample.clone(), run, configuration, anchor })))
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
                Some(Kept::Sample(_)) => state.samples_evicted += 1,
                Some(Kept::Configuration(hash, configuration)) => state.behind = Some((hash, configuration)),
                Some(Kept::Gap(_)) => {}
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

    #[test]
    fn a_look_gives_a_bounded_part_and_begins_with_the_configuration_it_needs() {
        let buffer = Arc::new(TailBuffer::default());
        let (track, whole) = (TrackNumber(1), Bytes::from(vec![7; 3 << 20]));
        let configuration = Configuration::default();
        buffer.configure(ConfigurationHash([3; 16]), &configuration);
        buffer.begin_run(RunId::default());
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
        for ticks in 0..5 {
            let data = vec![whole.slice(..1), whole.slice(1..)];
            buffer.push(&Sample { track, ticks, flags: SampleFlags::SYNC, data });
        }
        buffer.evict(1);
        let mut tail = Tail::new(Arc::clone(&buffer));
        let mut looks = Vec::new();
        loop {
            let TailRead::Items(items) = tail.follow(None, Duration::ZERO) else { panic!("it was read on") };
            if items.is_empty() {
                break;
            }
            looks.push(items);
        }
        let [first, second] = looks.as_slice() else { panic!("{} looks", looks.len()) };
        let begins = TailItem::Configuration(ConfigurationHash([3; 16]), Arc::new(configuration));
        assert_eq!((first.first(), first.len(), second.len()), (Some(&begins), 4, 1));
        let TailItem::Sample(sample) = &second[0] else { panic!("no sample") };
        assert!(
            (sample.ticks, sample.configuration) == (4, ConfigurationHash([3; 16])) && sample.data == whole
        );
    }

    #[test]
    fn who_waited_is_known_to_who_asks_once() {
        let buffer = Arc::new(TailBuffer::default());
        let mut tail = Tail::new(Arc::clone(&buffer));
        assert_eq!(tail.follow(None, Duration::ZERO), TailRead::Items(Vec::new()));
        assert!(!buffer.was_waited_for());
        assert_eq!(tail.follow(None, Duration::from_millis(1)), TailRead::Items(Vec::new()));
        assert!(buffer.was_waited_for() && !buffer.was_waited_for());
        let waits = std::thread::spawn(move || tail.follow(None, Duration::from_secs(60)));
        while !buffer.was_waited_for() {
            std::thread::yield_now();
        }
        assert!(buffer.was_waited_for(), "it waits still");
        buffer.set_ended(true);
        assert_eq!(waits.join().expect("it ends"), TailRead::Ended);
    }

    #[test]
    fn a_tail_that_ended_goes_on_when_the_stream_is_recorded_again() {
        let buffer = Arc::new(TailBuffer::default());
        let mut tail = Tail::new(Arc::clone(&buffer));
        buffer.set_ended(true);
        assert_eq!(tail.follow(None, Duration::from_secs(60)), TailRead::Ended);
        assert!(!tail.await_writer(Duration::ZERO));
        let again = std::thread::spawn({
            let buffer = Arc::clone(&buffer);
            move || buffer.set_ended(false)
        });
        assert!(tail.await_writer(Duration::from_secs(60)));
        again.join().expect("it ends");
        assert_eq!(tail.follow(None, Duration::ZERO), TailRead::Items(Vec::new()));
    }
}
