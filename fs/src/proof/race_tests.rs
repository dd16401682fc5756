//! Readers that race the writer: real threads, a ring of a few blocks that is lapped several times a second, readers that open,
//! seek, read and dawdle as they like, some of them ahead and by way of memory. What they get is right, or they are told that the ring has passed; never damage, for
//! there is none. On the simulated disk, and on a real file.

use super::kept_tests::Keeper;
use super::material::{Pushed, Run, Shape, VIDEO, camera, configuration, empty_volume, is_payload};
use super::{Verdict, demand, for_seeds};
use crate::clock::SimClock;
use crate::disk::sim::{SimDisk, SimRng};
use crate::disk::{Disk, FileDisk, FileOptions, FileReader, IoEngine, ReadAt};
use crate::error::Error;
use crate::reader::{ChunkCache, Cursor, Volume};
use crate::report::{Health, Item, TimeRange};
use crate::sample::SampleFlags;
use crate::types::{StreamId, StreamName, WallTime};
use crate::writer::engine::{Engine, EngineOptions};
use crate::writer::{Input, StoredConfiguration};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Readers at a time.
const READERS: usize = 2;
/// Every so many samples a picture begins a GOP.
const GOP: u64 = 12;
/// With so many reads some readers are to be passed by the ring.
const PASSED_AFTER: u64 = 5000;

/// How long a sample is: all that a reader needs to know it by is its number.
fn length_of(number: u64) -> usize {
    1 + SimRng::new(number).below(2500)
}

/// What all threads share.
#[derive(Default)]
struct Race {
    /// Samples read by all.
    reads: AtomicU64,
    /// Times a reader was told that it was passed.
    passed: AtomicU64,
    over: AtomicBool,
}

/// The writer: goes on until the readers have had enough.
fn write<D: Disk>(mut engine: Engine<D>, race: &Race, seed: u64) -> Verdict<u64> {
    let name = StreamName::new("cam0").map_err(|error| error.to_string())?;
    let index = engine.admit(&name).map_err(|error| error.to_string())?;
    let (bytes, hash) = configuration(&camera(0), 0).stored();
    engine.accept(index, Input::Configure(Arc::new(StoredConfiguration { bytes, hash, video: vec![VIDEO] })));
    let run = Run::default();
    engine.accept(index, Input::Run(run.id));
    engine.accept(index, Input::Anchor(run.anchor(VIDEO, 1)));
    let mut rng = SimRng::new(seed);
    let mut number = 0;
    while !race.over.load(Ordering::Relaxed) {
        for _ in 0..1 + rng.below(10) {
            number += 1;
            let flags = if number % GOP == 1 { SampleFlags::SYNC } else { SampleFlags::default() };
            let length = length_of(number);
            let (track, configuration, anchored) = (VIDEO, hash, 1);
            let pushed = Pushed { number, track, flags, length, run, configuration, anchored };
            engine.accept(index, Input::Sample(pushed.sample()));
        }
        if rng.below(3) == 0 {
            engine.work();
        }
        let report = engine.round();
        demand!(report.health == Health::Good, "the disk is said to fail: {:?}", report.health);
    }
    engine.close().map_err(|error| error.to_string())?;
    Ok(number)
}

impl Race {
    /// Whether enough was read: where it is about readers that are passed, at least one of them must have been, however long it takes
    /// on a busy machine (within bounds).
    fn is_over(&self, enough: u64) -> bool {
        let (reads, passed) = (self.reads.load(Ordering::Relaxed), self.passed.load(Ordering::Relaxed));
        let waits = passed == 0 && enough >= PASSED_AFTER && reads < 30 * enough;
        self.over.load(Ordering::Relaxed) || (reads >= enough && !waits)
    }
}

/// A reader: opens, reads from somewhere, a little or a lot, slowly or fast.
fn read(
    disk: &Arc<dyn ReadAt>,
    race: &Race,
    keeper: Option<&Arc<Keeper>>,
    enough: u64,
    seed: u64,
) -> Verdict {
    let mut rng = SimRng::new(seed);
    let mut idle = 0;
    let mut last: Option<Volume> = None;
    while !race.is_over(enough) {
        // Half of the looks go on from the one before.
        let volume = match last.take().filter(|_| rng.coin()) {
            Some(last) => last.renewed(),
            None => Volume::from_disk(Arc::clone(disk), Path::new("proof")),
        };
        let volume = volume.map_err(|error| error.to_string())?;
        last = Some(volume.clone());
        let volume = match keeper {
            Some(keeper) => volume.with_chunk_cache(Arc::clone(keeper) as Arc<dyn ChunkCache>),
            None => volume,
        };
        let Some(stream) = volume.streams().into_iter().find(|stream| stream.first.is_some()) else {
            idle += 1;
            demand!(idle < 1_000_000, "nothing is ever recorded");
            std::thread::yield_now();
            continue;
        };
        let (Some(first), Some(last)) = (stream.first, stream.last) else { continue };
        let span = usize::try_from(last.since_ns(first)).unwrap_or_default();
        let from = first.plus_ns(i64::try_from(rng.below(span + 1)).unwrap_or_default());
        let range = TimeRange { from: rng.coin().then_some(from), to: None };
        let cursor = match volume.read(stream.id, range) {
            Ok(cursor) if keeper.is_some() => cursor.reading_ahead(),
            Ok(cursor) => cursor,
            Err(Error::NotRecorded { .. }) => continue,
            Err(error) => return Err(error.to_string()),
        };
        read_on(cursor, race, &mut rng)?;
    }
    Ok(())
}

fn read_on(mut cursor: Cursor<'_>, race: &Race, rng: &mut SimRng) -> Verdict {
    let (most, pace) = (1 + rng.below(400), 1 + rng.below(40));
    let mut last = 0;
    for turn in 0..most {
        if turn % pace == 0 {
            std::thread::yield_now();
        }
        match cursor.next_item() {
            Ok(Some(Item::Sample(sample))) => {
                let number = u64::try_from(sample.ticks).unwrap_or_default();
                let right = sample.data.len() == length_of(number) && is_payload(number, &sample.data);
                demand!(right, "sample {number} has other bytes");
                let follows = last == 0 || number == last + 1;
                demand!(follows, "after sample {last} comes sample {number}");
                demand!(
                    sample.flags.contains(SampleFlags::SYNC) == (number % GOP == 1),
                    "sample {number} has other flags"
                );
                demand!(last > 0 || number % GOP == 1, "reading begins with sample {number}");
                last = number;
                race.reads.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Some(Item::Damage(finding))) => {
                return Err(format!("damage where there is none: {finding:?}"));
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(Error::Overwritten { .. }) => {
                race.passed.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

/// A writer and readers on one disk, until so many samples were read.
fn race_on<D: Disk>(engine: Engine<D>, disk: &Arc<dyn ReadAt>, enough: u64, seed: u64) -> Verdict<u64> {
    let (race, keeper) = (Race::default(), Arc::new(Keeper::default()));
    let outcome = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let written = write(engine, &race, seed);
            race.over.store(true, Ordering::Relaxed);
            written
        });
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let (race, keeper) = (&race, (reader % 2 == 1).then_some(&keeper));
                scope.spawn(move || {
                    let read = read(disk, race, keeper, enough, seed ^ (reader as u64 + 1) << 32);
                    race.over.store(true, Ordering::Relaxed);
                    read
                })
            })
            .collect();
        let broken = || Err("a thread panicked".to_owned());
        let read = readers.into_iter().map(|reader| reader.join().unwrap_or_else(|_| broken()));
        let read = read.collect::<Result<Vec<()>, _>>();
        let written = writer.join().unwrap_or_else(|_| Err("the writer panicked".to_owned()));
        read.and(written)
    })?;
    let (reads, passed) = (race.reads.load(Ordering::Relaxed), race.passed.load(Ordering::Relaxed));
    demand!(reads >= enough, "only {reads} samples were read while {outcome} were written");
    demand!(passed > 0 || enough < PASSED_AFTER, "of {reads} reads no reader was ever passed");
    Ok(reads)
}

fn options() -> EngineOptions {
    EngineOptions {
        scrub: None,
        opener: Default::default(),
        chunk_bytes: 4096,
        path: "proof".into(),
        pause: |_| (),
        stream_id: |_, _| StreamId::random(),
    }
}

fn clock() -> Arc<SimClock> {
    Arc::new(SimClock::new(WallTime(1_700_000_000_000_000_000)))
}

/// So many reads race the writer of a simulated disk.
pub(super) fn simulated(seed: u64, enough: u64) -> Verdict<u64> {
    let disk = SimDisk::from_image(empty_volume(&Shape::SMALL, seed), seed);
    let reader: Arc<dyn ReadAt> = Arc::new(disk.control().reader());
    let opened = Engine::open(disk, Arc::clone(&reader), clock(), options());
    let (engine, _) = opened.map_err(|error| error.to_string())?;
    race_on(engine, &reader, enough, seed)
}

/// So many reads race the writer of a real file; odd seeds have its I/O done by threads.
pub(super) fn real_file(seed: u64, enough: u64) -> Verdict<u64> {
    let output = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = output.parent().ok_or("no folder")?;
    let folder = tempfile::TempDir::new_in(folder).map_err(|error| error.to_string())?;
    let path = folder.path().join("race.ring");
    let image = empty_volume(&Shape::OF_LARGE_SECTORS, seed);
    std::fs::write(&path, image.to_vec()).map_err(|error| error.to_string())?;
    let engine = if seed.is_multiple_of(2) { IoEngine::Auto } else { IoEngine::Threads };
    let options_of_file = FileOptions { engine, ..FileOptions::default() };
    let disk = FileDisk::open(&path, &options_of_file).map_err(|error| error.to_string())?;
    let reader: Arc<dyn ReadAt> = Arc::new(FileReader::open(&path).map_err(|error| error.to_string())?);
    let opened = Engine::open(disk, Arc::clone(&reader), clock(), options());
    let (engine, _) = opened.map_err(|error| error.to_string())?;
    race_on(engine, &reader, enough, seed)
}

#[test]
fn readers_that_race_the_writer_of_a_simulated_disk_get_right_samples_or_are_told() {
    for_seeds("race on a simulated disk", 9600, 2, |seed| simulated(seed, 10_000));
}

#[test]
fn readers_that_race_the_writer_of_a_real_file_get_right_samples_or_are_told() {
    for_seeds("race on a real file", 9700, 2, |seed| real_file(seed, 10_000));
}
