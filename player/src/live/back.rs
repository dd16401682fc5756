//! What is read of the disk to join it to the tail, and no more: not what an earlier run recorded whose clock was ahead, and nothing
//! once nobody watches any more.
//!
//! It is read on a thread of its own, and waited for only so long: a disk that hangs keeps nobody from what is in memory, nor from a stream
//! that went over to another volume. Few threads of all streams of a volume hang with it (`readers`).
//!
//! What must not live here: where a mux begins in the tail (`start`), what of the items read is given (`join`).

use super::LiveSource;
use super::join::{Joined, join};
use super::mux::Mux;
use super::readers::Readers;
use crate::error::{Error, Result};
use keha_fs::{Item, SamplePlace, StoredSample, StreamName, TailItem, TimeRange, WallTime};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// The disk is read from this long before what is looked for: by then the run had something on it, or it has nothing to begin with.
const READ_BACK_NS: i64 = 5_000_000_000;
/// And to this long behind: a run's clock may be led backwards by a little.
const READ_ON_NS: i64 = 1_000_000_000;
/// What is missing for longer is not read from the disk: viewers want what is now.
const MISSED_NS_MAX: i64 = 60_000_000_000;
/// How long the disk is waited for at a time.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many items are read ahead.
const AHEAD: usize = 2;
/// After so many items it is asked whether somebody watches still.
const ASKED_EVERY: usize = 64;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// What was given last, unless that is too long ago.
    pub(super) last: Option<SamplePlace>,
    /// Where it may stand.
    pub(super) range: TimeRange,
}

/// What is missing between the last sample given and these items of the tail; `None` if there is no sample among them.
pub(super) fn missing(last: Option<(SamplePlace, WallTime)>, items: &[TailItem]) -> Option<Wanted> {
    let walls = items.iter().filter_map(|item| match item {
        TailItem::Sample(sample) => Some(sample.wall),
        _ => None,
    });
    let (first, latest) = (walls.clone().next()?, walls.max()?);
    let last = last.filter(|(_, wall)| first.since_ns(*wall).saturating_abs() < MISSED_NS_MAX);
    let (from, to) = last.map_or((first, latest), |(_, wall)| (wall.min(first), wall.max(latest)));
    let range = TimeRange { from: Some(from.plus_ns(-READ_BACK_NS)), to: Some(to.plus_ns(READ_ON_NS)) };
    Some(Wanted { last: last.map(|(place, _)| place), range })
}

/// The newest there is, where the tail is empty: what a viewer is shown of a camera that sends nothing.
pub(super) fn newest(now: WallTime) -> Wanted {
    let range = TimeRange { from: Some(now.plus_ns(-MISSED_NS_MAX)), to: Some(now.plus_ns(MISSED_NS_MAX)) };
    Wanted { last: None, range }
}

/// Where it is read from.
pub(super) struct Disk {
    pub(super) source: Arc<dyn LiveSource>,
    pub(super) name: StreamName,
    readers: Arc<Readers>,
}

/// What is read, and the end of it.
type Given = Result<Option<Item>>;

impl Disk {
    pub(super) fn new(source: Arc<dyn LiveSource>, name: StreamName, readers: Arc<Readers>) -> Disk {
        Disk { source, name, readers }
    }

    /// Begins to read a range.
    fn begin(&self, range: TimeRange) -> Result<Receiver<Given>> {
        let reads = self.readers.begin(self.source.place(&self.name), PATIENCE)?;
        let (give, given) = sync_channel(AHEAD);
        let (source, name) = (Arc::clone(&self.source), self.name.clone());
        let reader = std::thread::Builder::new().name("keha-live-disk".to_owned());
        let spawned = reader.spawn(move || {
            let end = give_all(&*source, &name, range, &give);
            // Whoever waits for it may have gone.
            let _gone = give.send(end.map(|()| None));
            drop(reads);
        });
        spawned.map_err(|error| Error::Busy(format!("no thread can be started to read a disk: {error}")))?;
        Ok(given)
    }
}

fn give_all(
    source: &dyn LiveSource,
    name: &StreamName,
    range: TimeRange,
    give: &SyncSender<Given>,
) -> Result<()> {
    let volume = source.volume(name)?;
    let stream = volume.stream(name)?;
    let mut cursor = volume.read(stream.id, range)?;
    while let Some(item) = cursor.next_item()? {
        if give.send(Ok(Some(item))).is_err() {
            break;
        }
    }
    Ok(())
}

/// Reads it, up to the first of the samples in `tail`, for as long as `is_watched`; no more than `bytes_max` are held.
///
/// # Errors
/// As [`LiveSource::volume`] and [`keha_fs::Volume::read`]; [`Error::Busy`] where the disk does not answer.
pub(super) fn read(
    from: &Disk,
    wanted: Wanted,
    tail: &[TailItem],
    mux: &mut Mux,
    is_watched: impl Fn() -> bool,
    bytes_max: usize,
) -> Result<Joined> {
    let given = from.begin(wanted.range)?;
    let mut read = 0_usize;
    let disk = || {
        let goes_on = !read.is_multiple_of(ASKED_EVERY) || is_watched();
        read += 1;
        if !goes_on {
            return Ok(None);
        }
        let silent = |_| Error::Busy(format!("the disk does not answer for {} s", PATIENCE.as_secs()));
        given.recv_timeout(PATIENCE).map_err(silent)?
    };
    let mux = RefCell::new(mux);
    let learn = |item: &Item| {
        if let Item::Configuration(hash, configuration) = item {
            mux.borrow_mut().learn(*hash, configuration);
        }
    };
    let entry = |sample: &StoredSample| mux.borrow().entry(sample);
    join(wanted.last, disk, tail, entry, learn, bytes_max)
}
