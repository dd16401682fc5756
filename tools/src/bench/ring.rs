//! A ring that is written as fast as it takes samples, and what its rounds tell of it.

use super::source::{KEYFRAME_BYTES, PICTURE_BYTES, PICTURES, SECOND_BYTES, Source};
use super::{Cost, Watch, heed, measured};
use anyhow::{Result, bail};
use keha_fs::disk::{EngineKind, IoEngine};
use keha_fs::{
    Anchor, ClockSource, Configuration, CreateOptions, Opener, Rejected, RoundReport, RunId, Sample,
    SampleFlags, StreamName, StreamWriter, TrackConfiguration, TrackKind, TrackNumber, Uuid, VolumeId,
    WallTime, Writer, WriterOptions,
};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const TIMESCALE: u32 = 90_000;
const TRACK: TrackNumber = TrackNumber(1);
/// The first moment of all streams.
pub const BEGIN: WallTime = WallTime(1_780_000_000 * 1_000_000_000);
/// A disk on which nothing became durable for so long is not measured.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where the writer has no room.
const PAUSE: Duration = Duration::from_millis(5);

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
    /// The most bytes that wait in memory until they are durable. At full speed more comes in a second than cameras send.
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
    told: Arc<Mutex<Told>>,
}

/// What rounds have told.
#[derive(Debug, Default)]
struct Told {
    written_bytes: u64,
    writes: u64,
    /// When each round ended, and how many samples were durable then.
    ends: Vec<(Instant, u64)>,
}

/// What so many bytes cost.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// The speed is that between rounds, for what was pushed last waits up to a second for its round.
    pub cost: Cost,
    /// Writes that the disk was given.
    pub writes: u64,
    /// Rounds, each with a flush.
    pub rounds: u64,
    /// How long it took, to the end of the last round.
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
        let told = Arc::new(Mutex::new(Told::default()));
        let teller = Arc::clone(&told);
        let on_round = move |report: RoundReport| lock(&teller).note(&report);
        let writer_options = WriterOptions {
            buffer_bytes: options.buffer_bytes,
            engine: options.engine,
            depth: options.depth,
            opener: options.opener.clone(),
            ..WriterOptions::default()
        };
        let writer = Writer::open(path, writer_options, Box::new(on_round))?;
        let streams =
            (0..options.streams).map(|number| begun(&writer, number)).collect::<Result<Vec<_>>>()?;
        Ok(Ring { streams, writer, pictures: 0, told })
    }

    /// What does the I/O.
    #[must_use]
    pub fn engine(&self) -> EngineKind {
        self.writer.engine()
    }

    /// Bytes given to the disk so far.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        lock(&self.told).written_bytes
    }

    /// Pushes so many bytes and waits until they are durable, and measures that.
    ///
    /// # Errors
    /// As [`Ring::write`].
    pub fn turn(&mut self, source: &Source, bytes: u64, watch: &mut Watch<'_>) -> Result<Turn> {
        let (written_bytes, writes, rounds) = self.so_far();
        let began = Instant::now();
        let mut cost = measured(bytes, || self.write(source, bytes, watch))?;
        let took = began.elapsed();
        let now = self.so_far();
        cost.mb_s = self.mb_s_since(began).unwrap_or(cost.mb_s);
        Ok(Turn {
            cost,
            writes: now.1 - writes,
            rounds: now.2 - rounds,
            took,
            written_over_payload: (now.0 - written_bytes) as f64 / bytes as f64,
        })
    }

    /// Pushes so many bytes, and waits until all of it is durable.
    ///
    /// # Errors
    /// Those of [`StreamWriter::push`], a disk on which nothing becomes durable any more, or [`Stopped`](super::Stopped) if `watch` says so.
    pub fn write(&mut self, source: &Source, bytes: u64, watch: &mut Watch<'_>) -> Result<()> {
        self.push(source, bytes, watch)?;
        self.flush(watch)
    }

    /// Pushes at least so many bytes into all streams, picture by picture, as fast as they are taken.
    ///
    /// # Errors
    /// As [`Ring::write`].
    pub fn push(&mut self, source: &Source, bytes: u64, watch: &mut Watch<'_>) -> Result<()> {
        let mut pushed = 0;
        while pushed < bytes {
            let is_keyframe = self.pictures % PICTURES == 0;
            let length = if is_keyframe { KEYFRAME_BYTES } else { PICTURE_BYTES };
            let flags = if is_keyframe { SampleFlags::SYNC } else { SampleFlags::default() };
            let ticks = self.pictures * i64::from(TIMESCALE) / PICTURES;
            let count = self.streams.len() as u64;
            for (number, stream) in (0..).zip(&mut self.streams) {
                let data = vec![source.take(self.pictures.unsigned_abs() * count + number, length)];
                push_one(stream, &Sample { track: TRACK, ticks, flags, data }, &self.told, watch)?;
            }
            pushed += count * length as u64;
            self.pictures += 1;
            heed(watch(count * length as u64))?;
        }
        Ok(())
    }

    /// Waits until all that was pushed is durable.
    ///
    /// # Errors
    /// As [`Ring::write`].
    pub fn flush(&self, watch: &mut Watch<'_>) -> Result<()> {
        let wanted = self.pictures.unsigned_abs() * self.streams.len() as u64;
        let mut patience = Patience::new(&self.told);
        while lock(&self.told).durable() < wanted {
            patience.wait(Duration::from_millis(1), watch)?;
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

    /// Bytes written, writes, rounds.
    fn so_far(&self) -> (u64, u64, u64) {
        let told = lock(&self.told);
        (told.written_bytes, told.writes, told.ends.len() as u64)
    }

    /// Megabytes a second that became durable from the first round to the last but one that ended since then; `None` of fewer than three.
    fn mb_s_since(&self, began: Instant) -> Option<f64> {
        let told = lock(&self.told);
        let first = told.ends.partition_point(|(at, _)| *at <= began);
        let [(from, before), .., (to, after), _] = told.ends.get(first..)? else { return None };
        let bytes = (after - before) * SECOND_BYTES / PICTURES.unsigned_abs();
        Some(bytes as f64 / 1e6 / (*to - *from).as_secs_f64())
    }
}

impl Told {
    fn note(&mut self, report: &RoundReport) {
        let tracks = report.streams.iter().flat_map(|stream| &stream.tracks);
        self.ends.push((Instant::now(), tracks.map(|track| track.samples).sum()));
        self.written_bytes = report.written_bytes;
        self.writes = report.writes;
    }

    fn durable(&self) -> u64 {
        self.ends.last().map_or(0, |(_, durable)| *durable)
    }
}

/// What was told stays true when whoever told it panicked.
fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits as long as something becomes durable.
struct Patience<'t> {
    told: &'t Mutex<Told>,
    durable: u64,
    since: Instant,
}

impl Patience<'_> {
    fn new(told: &Mutex<Told>) -> Patience<'_> {
        Patience { told, durable: lock(told).durable(), since: Instant::now() }
    }

    fn wait(&mut self, pause: Duration, watch: &mut Watch<'_>) -> Result<()> {
        heed(watch(0))?;
        let durable = lock(self.told).durable();
        if durable > self.durable {
            (self.durable, self.since) = (durable, Instant::now());
        }
        if self.since.elapsed() > PATIENCE {
            bail!(
                "nothing became durable for {} s: the disk does not keep up, or does not answer",
                PATIENCE.as_secs()
            );
        }
        std::thread::sleep(pause);
        Ok(())
    }
}

/// Pushes a sample; waits where the writer has no room for it.
fn push_one(
    stream: &mut StreamWriter,
    sample: &Sample,
    told: &Mutex<Told>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let mut patience = None;
    loop {
        match stream.push(sample.clone()) {
            Ok(()) => return Ok(()),
            Err(Rejected::Full) => patience.get_or_insert_with(|| Patience::new(told)).wait(PAUSE, watch)?,
            Err(other) => return Err(other.into()),
        }
    }
}

/// A stream that takes samples.
fn begun(writer: &Writer, number: u32) -> Result<StreamWriter> {
    let mut stream = writer.stream(&StreamName::new(&format!("cam{number:02}"))?)?;
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
    stream.begin_run(RunId(Uuid::from_u128(u128::from(number) + 1)));
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
