//! Chunks that are kept in memory, or read ahead, are given as they would be read: whatever the range, whatever became of the volume
//! since, and never what was erased or overwritten after it was kept.

use super::driver::{Cuts, Driver};
use super::erase_tests::range;
use super::hold_tests::lapped;
use super::material::Shape;
use super::{Verdict, demand, for_seeds};
use crate::error::Error;
use crate::reader::{ChunkCache, ChunkKey, Cursor, LoadedChunk, Volume};
use crate::report::{ErasedSpan, Item, TimeRange};
use crate::sample::{Anchor, SampleFlags, StoredSample};
use crate::types::StreamId;
use std::collections::HashMap;
use std::path::Path;
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

/// The rest of what a cursor gives, and how it ended.
pub(super) fn rest(cursor: &mut Cursor<'_>) -> (Vec<Item>, String) {
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

/// What is told of footage of which some was erased, in a form that does not depend on whether whoever reads knows where the pieces stood
/// that were erased, or finds what stands there now:
///
/// - He who knows meets them piece by piece, and tells of each: stretches that follow each other are one here.
/// - What follows a stretch up to the next place where decoding can begin is of no use, and he leaves it out; the other one has it where it
///   begins a chunk. Left out here.
/// - Runs, configurations and anchors are told before the first sample that needs them, whichever that is: here each sample has its own.
#[derive(Debug, PartialEq)]
enum Settled {
    Sample(StoredSample, Option<Anchor>),
    Erased(ErasedSpan),
    Other(Item),
}

fn settled(items: &[Item]) -> Verdict<Vec<Settled>> {
    let (mut all, mut anchors, mut broken) = (Vec::<Settled>::new(), HashMap::new(), false);
    let (mut run, mut configuration) = (None, None);
    for item in items {
        match item {
            Item::Run(id) => {
                run = Some(*id);
                anchors.clear();
            }
            Item::Configuration(hash, _) => configuration = Some(*hash),
            Item::Anchor(anchor) => _ = anchors.insert(anchor.track, *anchor),
            Item::Sample(sample) => {
                demand!(run.is_none_or(|run| run == sample.run), "{sample:?} of another run than {run:?}");
                let mine = configuration.is_none_or(|hash| hash == sample.configuration);
                demand!(mine, "{sample:?} without its configuration");
                broken &= !sample.flags.contains(SampleFlags::SYNC);
                if !broken {
                    all.push(Settled::Sample(sample.clone(), anchors.get(&sample.track).copied()));
                }
            }
            Item::Erased(span) => {
                broken = true;
                match all.last_mut() {
                    Some(Settled::Erased(last)) if last.expired == span.expired => {
                        (last.from, last.to) = (last.from.min(span.from), last.to.max(span.to));
                    }
                    _ => all.push(Settled::Erased(*span)),
                }
            }
            other => all.push(Settled::Other(other.clone())),
        }
    }
    Ok(all)
}

/// The same range read from the disk, by way of what is kept, and that ahead.
struct Readings<'v>([Option<Cursor<'v>>; 3]);

impl<'v> Readings<'v> {
    fn new(plain: &'v Volume, keeping: &'v Volume, stream: StreamId, range: TimeRange) -> Readings<'v> {
        let read = |volume: &'v Volume| volume.read(stream, range).ok();
        Readings([read(plain), read(keeping), read(keeping).map(Cursor::reading_ahead)])
    }

    /// Demands that the next items are the same.
    fn go_on(&mut self, items: usize) -> Verdict {
        for _ in 0..items {
            let [plain, others @ ..] = &mut self.0;
            let Some(plain) = plain else { return Ok(()) };
            let expected = plain.next_item().map_err(|error| error.to_string())?;
            for other in others.iter_mut().flatten() {
                let given = other.next_item().map_err(|error| error.to_string())?;
                demand!(given == expected, "given is {given:?}, read {expected:?}");
            }
        }
        Ok(())
    }

    /// Demands that all that comes yet is the same, where some of it was erased since the volume was looked at, but for what [`settled`]
    /// leaves out.
    fn end_of_old_look(&mut self) -> Verdict {
        let ends: Vec<(Vec<Item>, String)> = self.0.iter_mut().flatten().map(rest).collect();
        let Some(((read, how), others)) = ends.split_first() else { return Ok(()) };
        let read = settled(read)?;
        for (given, ended) in others {
            let given = settled(given)?;
            let differs = given.iter().zip(&read).find(|(given, read)| given != read);
            demand!(differs.is_none(), "given and read differ: {differs:?}");
            demand!(given.len() == read.len(), "{} of {}", given.len(), read.len());
            demand!(ended == how, "{ended}, {how}");
        }
        Ok(())
    }

    /// Demands that all that comes yet is the same.
    fn end(&mut self) -> Verdict {
        let [plain, others @ ..] = &mut self.0;
        let expected = plain.as_mut().map(rest);
        for other in others {
            let given = other.as_mut().map(rest);
            let (Some(given), Some(expected)) = (&given, &expected) else {
                demand!(given == expected, "given is {given:?}, read {expected:?}");
                continue;
            };
            let differs = given.0.iter().zip(&expected.0).find(|(given, read)| given != read);
            demand!(differs.is_none(), "given and read differ: {differs:?}");
            let (many, all) = (given.0.len(), expected.0.len());
            demand!(many == all && given.1 == expected.1, "{many} of {all}: {}, {}", given.1, expected.1);
        }
        Ok(())
    }
}

fn keeping(volume: &Volume, keeper: &Arc<Keeper>) -> Volume {
    volume.clone().with_chunk_cache(Arc::clone(keeper) as Arc<dyn ChunkCache>)
}

fn given_as_read(volume: &Volume, stream: StreamId, range: TimeRange, keeper: &Arc<Keeper>) -> Verdict {
    Readings::new(volume, &keeping(volume, keeper), stream, range).end()
}

/// Demands that a range is given as it is read, at first and again.
pub(super) fn kept_as_read(volume: &Volume, stream: StreamId, range: TimeRange) -> Verdict {
    let keeper = Arc::new(Keeper::default());
    given_as_read(volume, stream, range, &keeper)?;
    given_as_read(volume, stream, range, &keeper)
}

/// [`all_given_as_read`] of a look at what was erased since.
fn all_given_by_old_look(volume: &Volume, keeper: &Arc<Keeper>) -> Verdict {
    let keeping = keeping(volume, keeper);
    volume.streams().into_iter().try_for_each(|stream| {
        Readings::new(volume, &keeping, stream.id, TimeRange::default()).end_of_old_look()
    })
}

fn all_given_as_read(volume: &Volume, keeper: &Arc<Keeper>) -> Verdict {
    volume
        .streams()
        .into_iter()
        .try_for_each(|stream| given_as_read(volume, stream.id, TimeRange::default(), keeper))
}

/// A look at the volume that goes on to see what its writer does.
pub(super) fn live(driver: &Driver) -> Verdict<Volume> {
    let reader = Arc::new(driver.disk.reader());
    Volume::from_disk(reader, Path::new("proof")).map_err(|error| error.to_string())
}

/// An old look at the volume, and what was kept by it, while footage is erased, and then overwritten: between two readings, and in the
/// middle of one.
pub(super) fn of_what_goes(seed: u64) -> Verdict<u64> {
    let mut driver: Driver = lapped(seed, Cuts::NONE)?;
    let (keeper, before) = (Arc::new(Keeper::default()), live(&driver)?);
    let kept = keeping(&before, &keeper);
    all_given_as_read(&before, &keeper)?;
    let stream = driver.id_of("cam0");
    let (from, to) = range(&driver, "cam0", 40 + seed as usize % 40, 30)?;
    let wanted = TimeRange { from: Some(from), to: None };
    let mut begun: Vec<Readings<'_>> =
        (0..8).map(|_| Readings::new(&before, &kept, stream, wanted)).collect();
    begun.iter_mut().zip(1..).try_for_each(|(readings, items)| readings.go_on(3 * items))?;
    demand!(driver.erase("cam0", from, to)?, "it is erased");
    begun.iter_mut().try_for_each(Readings::end_of_old_look)?;
    all_given_by_old_look(&before, &keeper)?;
    all_given_as_read(&live(&driver)?, &keeper)?;
    for lap in 0..8 {
        let now = live(&driver)?;
        let kept = keeping(&now, &keeper);
        let mut begun = Readings::new(&now, &kept, stream, TimeRange::default());
        begun.go_on(3 + lap)?;
        driver.lap()?;
        begun.end()?;
        all_given_by_old_look(&before, &keeper)?;
    }
    all_given_as_read(&live(&driver)?, &keeper)?;
    let given = keeper.given.load(Ordering::Relaxed);
    demand!(given > 100, "only {given} chunks came from memory");
    Ok(given)
}

#[test]
fn what_was_kept_is_not_given_once_it_was_erased_or_overwritten() {
    for_seeds("kept, then erased and overwritten", 8400, 6, of_what_goes);
}

#[test]
fn reading_ahead_looks_no_further_than_the_range_goes() {
    for_seeds("the cost of reading ahead", 8500, 2, |seed| {
        let shape = Shape { size_bytes: 3 << 20, ..Shape::SMALL };
        let mut driver = Driver::new(shape, seed, Cuts::NONE)?;
        driver.admit("cam0")?;
        driver.lap()?;
        let stream = driver.volume()?.streams().into_iter().find(|stream| stream.id == driver.id_of("cam0"));
        let (first, last) =
            stream.and_then(|stream| stream.first.zip(stream.last)).ok_or("nothing is recorded")?;
        for part in 1..8 {
            let to = first.plus_ns(last.since_ns(first) / 16 * part);
            let range = TimeRange { from: Some(first), to: Some(to) };
            let cost = |ahead: bool| -> Verdict<u64> {
                let volume = live(&driver)?;
                let before = driver.disk.reader_reads();
                let id = driver.id_of("cam0");
                let Ok(cursor) = volume.read(id, range) else { return Ok(0) };
                let mut cursor = if ahead { cursor.reading_ahead() } else { cursor };
                rest(&mut cursor);
                Ok(driver.disk.reader_reads() - before)
            };
            let (plain, ahead) = (cost(false)?, cost(true)?);
            // A footer twice, once to look ahead: the trailer and what it points to.
            demand!(ahead <= 3 * plain + 20, "{ahead} reads ahead, {plain} without");
        }
        Ok(8)
    });
}
