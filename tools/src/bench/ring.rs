//! A ring that is written as fast as it takes samples, and what its rounds tell of it.

use super::source::{KEYFRAME_BYTES, PICTURE_BYTES, PICTURES, Source};
use super::{Cost, Watch, heed, measured};
use anyhow::{Context, Result, bail};
use keha_fs::disk::{EngineKind, IoEngine};
use keha_fs::{
    Anchor, ClockSource, Configuration, CreateOptions, Health, Opener, Rejected, RoundReport, RunId, Sample,
    SampleFlags, StreamName, StreamWriter, TrackConfiguration, TrackKind, TrackNumber, Uuid, VolumeId,
    WallTime, Writer, WriterOptions,
};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const TIMESCALE: u32 = 90_000;
const TRACK: TrackNumber = TrackNumber(1);
/// The first moment of all streams.
pub const BEGIN: WallTime = WallTime(1_780_000_000 * 1_000_000_000);
/// A disk on which nothing became durable for so long is not measured.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often whoever waits is asked whether to go on.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes the volume of a [`Ring`]: of `size_bytes`, or all of a device if that is 0, with blocks of `block_bytes`. `overwrite` is the volume
/// that may be there.
///
/// # Errors
/// Those of [`keha_fs::create`].
pub fn create(
    path: &Path,
    size_bytes: u64,
    streams: u32,
    block_bytes: u32,
    overwrite: Option<VolumeId>,
) -> Result<()> {
    let options = CreateOptions {
        size_bytes,
        block_bytes: Some(block_bytes),
        streams_max: Some(streams),
        label: "bench".to_owned(),
        overwrite,
        ..CreateOptions::default()
    };
    keha_fs::create(path, &options, &mut |_, _| ControlFlow::Continue(()))?;
    Ok(())
}

/// How a ring is written.
#[derive(Clone, Debug)]
pub struct RingOptions {
    /// So many streams at once.
    pub streams: u32,
    /// The most bytes that wait in memory until they are durable, or 4 MiB a stream if that is more. At full speed more comes in a second
    /// than cameras send.
    pub buffer_bytes: usize,
    /// What does the I/O.
    pub engine: IoEngine,
    /// How many requests the disk sees at once.
    pub depth: usize,
    /// Who opens it: noted in the volume.
    pub opener: Opener,
}

/// A volume with its writer and all streams.
pub struct Ring {
    streams: Vec<StreamWriter>,
    writer: Writer,
    /// Pictures pushed into each stream.
    pictures: i64,
    rounds: Arc<Rounds>,
}

/// What rounds have told, and who waits for the next one.
#[derive(Debug, Default)]
struct Rounds {
    told: Mutex<Told>,
    ended: Condvar,
}

#[derive(Clone, Debug, Default)]
struct Told {
    /// Samples of all streams.
    durable: u64,
    written_bytes: u64,
    writes: u64,
    rounds: u64,
    /// Why writing fails.
    error: Option<String>,
}

/// What so many bytes cost.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Until all of it was durable.
    pub cost: Cost,
    /// Writes that the disk was given.
    pub writes: u64,
    /// Rounds, also those that were asked for where nothing more found room, and at the end.
    pub rounds: u64,
    /// How long it took.
    pub took: Duration,
    /// Bytes written for each byte pushed.
    pub written_over_payload: f64,
}

impl Ring {
    /// Opens a volume in which nothing stands.
    ///
    /// # Errors
    /// Those of [`Writer::open`].
    pub fn open(path: &Path, options: &RingOptions) -> Result<Ring> {
        let rounds = Arc::new(Rounds::default());
        let teller = Teller(Arc::clone(&rounds));
        let on_round = move |report: RoundReport| teller.note(&report);
        let writer_options = WriterOptions {
            buffer_bytes: options.buffer_bytes,
            engine: options.engine,
            depth: options.depth,
            opener: options.opener.clone(),
            ..WriterOptions::default()
        };
        let writer = Writer::open(path, writer_options, Box::new(on_round))?;
        let name = |number| Ok(StreamName::new(&format!("cam{number:02}"))?);
        let names = (0..options.streams).map(name).collect::<Result<Vec<_>>>()?;
        writer.admit_all(names.iter().map(|name| (name.clone(), None)).collect(), PATIENCE)?;
        let streams = (1..).zip(&names).map(|(run, name)| begun(&writer, name, RunId(Uuid::from_u128(run))));
        let streams = streams.collect::<Result<Vec<_>>>()?;
        Ok(Ring { streams, writer, pictures: 0, rounds })
    }

    /// What does the I/O.
    #[must_use]
    pub fn engine(&self) -> EngineKind {
        self.writer.engine()
    }

    /// Bytes given to the disk so far.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.rounds.lock().written_bytes
    }

    /// Rounds so far, each with a flush.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.rounds.lock().rounds
    }

    /// [`Ring::write`], measured.
    ///
    /// # Errors
    /// As [`Ring::write`].
    pub fn turn(&mut self, source: &Source, bytes: u64, watch: &mut Watch<'_>) -> Result<Turn> {
        let before = self.rounds.lock().clone();
        let began = Instant::now();
        let cost = measured(|| self.write(source, bytes, watch))?;
        let took = began.elapsed();
        let now = self.rounds.lock().clone();
        Ok(Turn {
            cost,
            writes: now.writes - before.writes,
            rounds: now.rounds - before.rounds,
            took,
            written_over_payload: (now.written_bytes - before.written_bytes) as f64 / cost.bytes as f64,
        })
    }

    /// Pushes at least so many bytes, and waits until they are durable. Answers how many they were.
    ///
    /// # Errors
    /// Those of [`StreamWriter::push`], a disk on which nothing becomes durable any more, or [`Stopped`](super::Stopped) if `watch` says so.
    pub fn write(&mut self, source: &Source, bytes: u64, watch: &mut Watch<'_>) -> Result<u64> {
        let pushed = self.push(source, bytes, watch)?;
        self.flush(watch)?;
        Ok(pushed)
    }

    /// Pushes at least so many bytes into all streams, picture by picture, as fast as they are taken. Answers how many they were.
    ///
    /// # Errors
    /// As [`Ring::write`].
    pub fn push(&mut self, source: &Source, bytes: u64, watch: &mut Watch<'_>) -> Result<u64> {
        let count = self.streams.len() as u64;
        let mut pushed = 0;
        while pushed < bytes {
            let is_keyframe = self.pictures % PICTURES == 0;
            let length = if is_keyframe { KEYFRAME_BYTES } else { PICTURE_BYTES };
            let flags = if is_keyframe { SampleFlags::SYNC } else { SampleFlags::default() };
            let ticks = self.pictures * i64::from(TIMESCALE) / PICTURES;
            for (number, stream) in (0..).zip(&mut self.streams) {
                let data = vec![source.take(self.pictures.unsigned_abs() * count + number, length)];
                push_one(stream, &Sample { track: TRACK, ticks, flags, data }, &self.rounds, watch)?;
            }
            pushed += count * length as u64;
            self.pictures += 1;
            heed(watch(count * length as u64))?;
        }
        Ok(pushed)
    }

    /// Waits until all that was pushed is durable, which is written at once.
    ///
    /// # Errors
    /// As [`Ring::write`].
    pub fn flush(&self, watch: &mut Watch<'_>) -> Result<()> {
        let wanted = self.pictures.unsigned_abs() * self.streams.len() as u64;
        let mut patience = Patience::new(&self.rounds);
        while patience.seen.durable < wanted {
            let stream = self.streams.first().context("a ring without streams")?;
            patience.wait(stream, watch)?;
        }
        Ok(())
    }

    /// Closes the volume.
    ///
    /// # Errors
    /// Those of [`Writer::close`].
    pub fn close(self) -> Result<()> {
        drop(self.streams);
        Ok(self.writer.close()?)
    }
}

/// Tells of rounds from the writer's thread, and that there are no more when that has ended.
struct Teller(Arc<Rounds>);

impl Teller {
    fn note(&self, report: &RoundReport) {
        let tracks = report.streams.iter().flat_map(|stream| &stream.tracks);
        let mut told = self.0.lock();
        *told = Told {
            durable: tracks.map(|track| track.samples).sum(),
            written_bytes: report.written_bytes,
            writes: report.writes,
            rounds: told.rounds + 1,
            error: match &report.health {
                Health::Good => None,
                Health::Failing { error } => Some(error.clone()),
            },
        };
        self.0.ended.notify_all();
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        let mut told = self.0.lock();
        (told.rounds, told.error) = (told.rounds + 1, Some("its writer has ended".to_owned()));
        self.0.ended.notify_all();
    }
}

impl Rounds {
    /// What was told stays true when whoever told it panicked.
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits as long as something becomes durable.
struct Patience<'r> {
    rounds: &'r Rounds,
    /// What was told last.
    seen: Told,
    /// When more became durable last.
    since: Instant,
}

impl Patience<'_> {
    fn new(rounds: &Rounds) -> Patience<'_> {
        Patience { rounds, seen: rounds.lock().clone(), since: Instant::now() }
    }

    /// Has what waits written by `stream`, and waits until a round has ended since the last look.
    fn wait(&mut self, stream: &StreamWriter, watch: &mut Watch<'_>) -> Result<()> {
        stream.hurry();
        let before = self.seen.clone();
        while self.seen.rounds == before.rounds {
            heed(watch(0))?;
            let told = self.rounds.lock();
            let waited =
                self.rounds.ended.wait_timeout_while(told, PAUSE, |told| told.rounds == before.rounds);
            self.seen = waited.unwrap_or_else(PoisonError::into_inner).0.clone();
            if self.since.elapsed() > PATIENCE {
                bail!("nothing became durable for {} s: the disk does not answer", PATIENCE.as_secs());
            }
        }
        if let Some(error) = &self.seen.error {
            bail!("the ring cannot be written: {error}");
        }
        if self.seen.durable > before.durable {
            self.since = Instant::now();
        }
        Ok(())
    }
}

/// Pushes a sample; waits where the writer has no room for it.
fn push_one(
    stream: &mut StreamWriter,
    sample: &Sample,
    rounds: &Rounds,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let mut patience = None;
    loop {
        match stream.push(sample.clone()) {
            Ok(()) => return Ok(()),
            Err(Rejected::Full) => {
                patience.get_or_insert_with(|| Patience::new(rounds)).wait(stream, watch)?;
            }
            Err(other) => return Err(other.into()),
        }
    }
}

/// A stream that takes samples.
fn begun(writer: &Writer, name: &StreamName, run: RunId) -> Result<StreamWriter> {
    let mut stream = writer.stream(name)?;
    let video = TrackConfiguration {
        track: TRACK,
        kind: TrackKind::Video,
        codec: *b"avc1",
        timescale: TIMESCALE,
        width: 1920,
        height: 1080,
        channels: 0,
        sample_rate: 0,
        private: vec![1, 100, 0, 40],
    };
    stream.configure(&Configuration { tracks: vec![video], session: Vec::new() })?;
    stream.begin_run(run);
    stream.anchor(Anchor {
        track: TRACK,
        timescale: TIMESCALE,
        ticks: 0,
        wall: BEGIN,
        source: ClockSource::Arrival,
        uncertainty_us: 1000,
        arrival: BEGIN,
        camera_offset_ns: 0,
    });
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stopped;

    fn go_on(_bytes: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn ring(dir: &Path) -> Ring {
        let path = dir.join("a.ring");
        create(&path, 64 << 20, 3, 1 << 20, None).expect("created");
        let options = RingOptions {
            streams: 3,
            buffer_bytes: 16 << 20,
            engine: IoEngine::Auto,
            depth: 4,
            opener: Opener::default(),
        };
        Ring::open(&path, &options).expect("opened")
    }

    #[test]
    fn whole_rows_of_pictures_are_written_and_counted() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (source, mut ring) = (Source::new(), ring(dir.path()));
        let write = |ring: &mut Ring, bytes| ring.write(&source, bytes, &mut go_on).expect("written");
        assert_eq!(write(&mut ring, 1), 3 * KEYFRAME_BYTES as u64);
        assert_eq!(write(&mut ring, 1_000_000), 20 * 3 * PICTURE_BYTES as u64);
        let before = ring.written_bytes();
        // More than there is memory for at once.
        let turn = ring.turn(&source, 40_000_000, &mut go_on).expect("written");
        let pushed = turn.cost.bytes;
        assert!((40_000_000..41_000_000).contains(&pushed), "{turn:?}");
        assert!(turn.rounds > 0 && turn.writes >= turn.rounds, "{turn:?}");
        assert!((1.0..1.5).contains(&turn.written_over_payload), "{turn:?}");
        // Nothing is written beside what is measured.
        assert!((pushed..pushed * 3 / 2).contains(&(ring.written_bytes() - before)), "{turn:?}");
        ring.close().expect("closed");
    }

    #[test]
    fn a_disk_that_fails_ends_the_wait_with_its_error_and_who_stops_it_with_that() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let ring = ring(dir.path());
        let stream = ring.streams.first().expect("three");
        let stopped = Patience::new(&ring.rounds).wait(stream, &mut |_| ControlFlow::Break(()));
        assert_eq!(stopped.expect_err("stopped").downcast_ref(), Some(&Stopped));
        // Told by rounds that are not this writer's.
        let rounds = Rounds::default();
        let mut patience = Patience::new(&rounds);
        let next = |error: Option<&str>| {
            let mut told = rounds.lock();
            (told.rounds, told.error) = (told.rounds + 1, error.map(str::to_owned));
        };
        next(None);
        assert!(patience.wait(stream, &mut go_on).is_ok());
        next(Some("no space left"));
        let failed = patience.wait(stream, &mut go_on).expect_err("failed");
        assert!(failed.to_string().contains("no space left"), "{failed}");
    }

    #[test]
    fn a_writer_that_ended_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let ring = ring(dir.path());
        let rounds = Arc::new(Rounds::default());
        let mut patience = Patience::new(&rounds);
        drop(Teller(Arc::clone(&rounds)));
        let stream = ring.streams.first().expect("three");
        let ended = patience.wait(stream, &mut go_on).expect_err("ended");
        assert!(ended.to_string().contains("writer has ended"), "{ended}");
    }
}
