//! What is read of the disk to join it to the tail, and no more: not what an earlier run recorded whose clock was ahead, and nothing
//! once nobody watches any more.
//!
//! What must not live here: where a mux begins in the tail (`start`), what of the items read is given (`join`).

use super::LiveSource;
use super::join::{Joined, join};
use super::mux::Mux;
use crate::error::Result;
use keha_fs::{Item, SamplePlace, StoredSample, StreamName, TailItem, TimeRange, WallTime};
use std::cell::RefCell;

/// The disk is read from this long before what is looked for: by then the run had something on it, or it has nothing to begin with.
const READ_BACK_NS: i64 = 5_000_000_000;
/// And to this long behind: a run's clock may be led backwards by a little.
const READ_ON_NS: i64 = 1_000_000_000;
/// What is missing for longer is not read from the disk: viewers want what is now.
const MISSED_NS_MAX: i64 = 60_000_000_000;
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

/// Reads it, up to the first of the samples in `tail`, for as long as `is_watched`; no more than `bytes_max` are held.
///
/// # Errors
/// As [`LiveSource::volume`] and [`keha_fs::Volume::read`].
pub(super) fn read(
    (source, name): (&dyn LiveSource, &StreamName),
    wanted: Wanted,
    tail: &[TailItem],
    mux: &mut Mux,
    is_watched: impl Fn() -> bool,
    bytes_max: usize,
) -> Result<Joined> {
    let volume = source.volume(name)?;
    let stream = volume.stream(name)?;
    let mut cursor = volume.read(stream.id, wanted.range)?;
    let mut read = 0_usize;
    let disk = || {
        let goes_on = !read.is_multiple_of(ASKED_EVERY) || is_watched();
        read += 1;
        if goes_on { cursor.next_item() } else { Ok(None) }
    };
    let mux = RefCell::new(mux);
    let learn = |item: &Item| {
        if let Item::Configuration(hash, configuration) = item {
            mux.borrow_mut().learn(*hash, configuration);
        }
    };
    let entry = |sample: &StoredSample| mux.borrow().entry(sample);
    Ok(join(wanted.last, disk, tail, entry, learn, bytes_max)?)
}
