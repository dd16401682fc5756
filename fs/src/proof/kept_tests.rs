//! Chunks that are kept in memory, or read ahead, are given as they would be read: whatever the range, whatever became of the volume
//! since, and never what was erased or overwritten after it was kept.

use super::driver::{Cuts, Driver};
use super::erase_tests::range;
use super::hold_tests::lapped;
use super::{Verdict, demand, for_seeds};
use crate::error::Error;
use crate::reader::{ChunkCache, ChunkKey, LoadedChunk, Volume};
use crate::report::{Item, TimeRange};
use crate::types::StreamId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Keeps everything.
#[derive(Default)]
pub(super) struct Keeper {
    kept: Mutex<HashMap<ChunkKey, Arc<LoadedChunk>>>,
    given: AtomicU64,
}

impl ChunkCache for Keeper {
    fn get(&self, key: &ChunkKey) -> Option<Arc<LoadedChunk>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        self.given.fetch_add(u64::from(kept.is_some()), Ordering::Relaxed);
        kept
    }

    fn keep(&self, key: ChunkKey, chunk: &Arc<LoadedChunk>) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(chunk));
    }
}

/// What a cursor gives, and how it ended.
fn read(volume: &Volume, stream: StreamId, range: TimeRange, ahead: bool) -> (Vec<Item>, String) {
    let mut cursor = match volume.read(stream, range) {
        Ok(cursor) if ahead => cursor.reading_ahead(),
        Ok(cursor) => cursor,
        Err(error) => return (Vec::new(), error.to_string()),
    };
    let mut items = Vec::new();
    loop {
        match cursor.next_item() {
            Ok(Some(item)) => items.push(item),
            Ok(None) => return (items, String::new()),
            Err(error @ Error::Overwritten { .. }) => return (items, error.to_string()),
            Err(error) => return (items, format!("{error:?}")),
        }
    }
}

/// Demands that by way of what is kept the same is given as without it.
fn given_as_read(volume: &Volume, stream: StreamId, range: TimeRange, keeper: &Arc<Keeper>) -> Verdict {
    let plain = read(volume, stream, range, false);
    let keeping = volume.clone().with_chunk_cache(Arc::clone(keeper) as Arc<dyn ChunkCache>);
    for ahead in [true, false] {
        let given = read(&keeping, stream, range, ahead);
        let differs = given.0.iter().zip(&plain.0).find(|(given, plain)| given != plain);
        demand!(differs.is_none(), "given and read differ, ahead {ahead}: {differs:?}");
        demand!(
            given.0.len() == plain.0.len() && given.1 == plain.1,
            "{} items are given, {} read; {}, {}",
            given.0.len(),
            plain.0.len(),
            given.1,
            plain.1
        );
    }
    Ok(())
}

/// Demands that a range is given as it is read, at first and again.
pub(super) fn kept_as_read(volume: &Volume, stream: StreamId, range: TimeRange) -> Verdict {
    let keeper = Arc::new(Keeper::default());
    given_as_read(volume, stream, range, &keeper)?;
    given_as_read(volume, stream, range, &keeper)
}

fn all_given_as_read(volume: &Volume, keeper: &Arc<Keeper>) -> Verdict {
    volume
        .streams()
        .into_iter()
        .try_for_each(|stream| given_as_read(volume, stream.id, TimeRange::default(), keeper))
}

/// An old look at the volume, and what was kept by it, while footage is erased, and then overwritten.
pub(super) fn of_what_goes(seed: u64) -> Verdict<u64> {
    let mut driver: Driver = lapped(seed, Cuts::NONE)?;
    let (keeper, before) = (Arc::new(Keeper::default()), driver.volume()?);
    all_given_as_read(&before, &keeper)?;
    let (from, to) = range(&driver, "cam0", 40 + seed as usize % 40, 30)?;
    demand!(driver.erase("cam0", from, to)?, "it is erased");
    all_given_as_read(&before, &keeper)?;
    all_given_as_read(&driver.volume()?, &keeper)?;
    for _ in 0..8 {
        driver.lap()?;
        all_given_as_read(&before, &keeper)?;
    }
    all_given_as_read(&driver.volume()?, &keeper)?;
    let given = keeper.given.load(Ordering::Relaxed);
    demand!(given > 100, "only {given} chunks came from memory");
    Ok(given)
}

#[test]
fn what_was_kept_is_not_given_once_it_was_erased_or_overwritten() {
    for_seeds("kept, then erased and overwritten", 8400, 6, of_what_goes);
}
