//! The writer of a volume as a machine without threads: it is given a disk, a clock and inputs, and makes rounds.
//!
//! ```text
//! healthy --(writes or flush fail although written again)--> failing: no block is taken, one probe a round
//!    ^                                                          |
//!    +----------------(the probe succeeds)----------------------+
//! ```

use super::copies::BadCopies;
use super::core::Core;
use super::erase::Erasing;
use super::holds::{Holds, SLOTS_AT_ONCE};
use super::ledger::Ledger;
use super::retention::Keeping;
use super::scrub::Scrubbing;
use super::sessions::OpenSession;
use super::stream::{Input, Stream};
use super::table::write_table;
use super::writes::{Writes, copy_error};
use crate::clock::Clock;
use crate::disk::{Disk, ReadAt};
use crate::error::{Error, Result};
use crate::fault_budget::FaultBudget;
use crate::format::directory::Directory;
use crate::format::geometry::{Geometry, record_capacity};
use crate::format::superblock::Superblock;
use crate::format::table::Row;
use crate::hold::Guard;
use crate::recover::{Pause, Recovered, recover_to_write};
use crate::report::{BlockState, DurableStream, DurableTrack, Health, OpenReport, RoundReport};
use crate::session::Opener;
use crate::types::{BlockIndex, Epoch, StreamId, StreamName, VolumeId, WallTime};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// How the engine writes.
#[derive(Clone, Debug)]
pub(crate) struct EngineOptions {
    /// A chunk goes out early at this size, in bytes.
    pub(crate) chunk_bytes: usize,
    /// For error texts.
    pub(crate) path: PathBuf,
    /// Who opens the volume.
    pub(crate) opener: Opener,
    /// In which time all live blocks are verified once; `None`: they are not.
    pub(crate) scrub: Option<Duration>,
    /// Lets time pass between two attempts to read what is opened.
    pub(crate) pause: Pause,
    /// Makes the identity of a stream that is admitted.
    pub(crate) stream_id: fn(VolumeId, &StreamName) -> StreamId,
}

impl EngineOptions {
    /// Of who puts right or enlarges what describes the volume: no stream is admitted, nothing is recorded.
    pub(crate) fn offline(path: &Path, opener: Opener) -> EngineOptions {
        EngineOptions {
            opener,
            chunk_bytes: 1 << 20,
            scrub: None,
            path: path.to_owned(),
            pause: std::thread::sleep,
            stream_id: |_, _| StreamId::random(),
        }
    }
}

/// What a volume is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Streams are written.
    Record,
    /// What describes the volume is put right; no block is set aside, for what a block holds is given up by that.
    Repair,
}

/// The writer of a volume.
pub(crate) struct Engine<D> {
    pub(super) core: Core<D>,
    pub(super) streams: Vec<Stream>,
    pub(super) directory: Directory,
    pub(super) superblock: Superblock,
    pub(super) bad_copies: BadCopies,
    pub(super) holds: Holds,
    /// Reports of rounds that were made within other calls.
    pub(super) rounds_within: Vec<RoundReport>,
    /// Whether all that came in stands on the disk since the last round, but for what waits for a block.
    pub(super) all_flushed: bool,
    pub(super) session: OpenSession,
    pub(super) keeping: Keeping,
    pub(super) scrub: Scrubbing,
    pub(super) erasing: Erasing,
    pub(super) health: Health,
    /// Table sectors written in a round that is not flushed yet.
    pub(super) sectors: BTreeSet<usize>,
    /// Takes from each of the last rounds to the one after it, the latest first.
    pub(super) recent_takes: [u64; 4],
    /// `blocks_taken` when they were counted last.
    pub(super) taken_at_count: u64,
    pub(super) path: PathBuf,
    pub(super) manner: Manner,
    pub(super) stream_id: fn(VolumeId, &StreamName) -> StreamId,
}

impl<D: Disk> Engine<D> {
    /// Opens a volume for writing: recovers, repairs what is doubled, begins a new epoch and makes it durable.
    pub(crate) fn open(
        disk: D,
        reader: Arc<dyn ReadAt>,
        clock: Arc<dyn Clock>,
        options: EngineOptions,
    ) -> Result<(Engine<D>, OpenReport)> {
        let recovered = recover_to_write(&*reader, &options.path, options.pause)?;
        Engine::open_as(disk, reader, clock, options, recovered, Manner::Record)
    }

    /// Opens a volume of which was found out how it shall be, to make it so: no block is taken or set aside.
    pub(crate) fn open_to_repair(
        disk: D,
        reader: Arc<dyn ReadAt>,
        clock: Arc<dyn Clock>,
        options: EngineOptions,
        recovered: Recovered,
    ) -> Result<(Engine<D>, OpenReport)> {
        Engine::open_as(disk, reader, clock, options, recovered, Manner::Repair)
    }

    fn open_as(
        disk: D,
        reader: Arc<dyn ReadAt>,
        clock: Arc<dyn Clock>,
        options: EngineOptions,
        recovered: Recovered,
        manner: Manner,
    ) -> Result<(Engine<D>, OpenReport)> {
        check_writable(&recovered, disk.size_bytes(), disk.alignment_bytes(), &options.path)?;
        let report = OpenReport {
            epoch: Epoch(recovered.epoch.0 + u32::from(!planted!(EpochReused))),
            after_crash: recovered.after_crash,
            findings: recovered.findings.clone(),
        };
        let started = clock.monotonic();
        let session = OpenSession::begin(&options.opener, report.epoch, &recovered, &*reader, &*clock);
        let place = crate::scrub::newest(&*reader, &recovered.geometry, recovered.volume());
        let scrub = Scrubbing::new(place, options.scrub, started);
        let mut writes = Writes::new(disk);
        let bad_copies = BadCopies::found(&recovered);
        let (_, _, rows_max) = record_capacity(recovered.geometry.streams_max);
        let many = recovered.changed.len() > rows_max / 2
            || manner == Manner::Repair && !recovered.changed.is_empty();
        let found = recovered.holds.holds();
        let guard = Guard::of(found.iter().filter(|_| !planted!(HoldForgottenAtOpening)));
        let unfinished = recovered
            .unfinished
            .iter()
            .filter(|_| !planted!(BegunNotFinished))
            .map(|block| (*block, recovered.row(*block)));
        let erasing = Erasing::finishing(unfinished.collect::<Vec<_>>().into_iter());
        let mut rows: Vec<Row> = recovered.rows.iter().cloned().collect();
        drop(recovered.rows);
        if planted!(ParkedLostAtOpening) {
            rows.iter_mut()
                .filter(|row| row.state == BlockState::Parked)
                .for_each(|row| *row = Row::default());
        }
        let mut ledger = Ledger::new(rows, &recovered.changed, recovered.highest, guard);
        if many {
            let (geometry, volume) = (&recovered.geometry, recovered.superblock.volume);
            let round = recovered.round;
            write_table(
                geometry,
                volume,
                round,
                &mut ledger,
                &recovered.changed,
                &mut writes,
                &options.path,
            )?;
            ledger.keep_for_record(rows_max / 2, &recovered.unlisted);
        }
        let streams = recovered.directory.entries.iter().enumerate().map(|(index, entry)| {
            let name = StreamName::new(entry.name.as_str()).unwrap_or_else(|_| fallback_name(entry.stream));
            Stream::new(
                index,
                entry.stream,
                name,
                recovered.ends.get(&entry.stream).copied().unwrap_or_default(),
            )
        });
        let core = Core {
            chunk_bytes_max: recovered.geometry.chunk_bytes_max(options.chunk_bytes),
            geometry: recovered.geometry,
            volume: recovered.superblock.volume,
            epoch: report.epoch,
            round: recovered.round,
            clock,
            running_seconds_before: recovered.running_seconds + if planted!(OpeningAges) { 60 } else { 0 },
            started,
            reader,
            writes,
            ledger,
            named: Default::default(),
            starved: 0,
            blocks_taken: 0,
            faults: if planted!(FaultsForgottenAtOpening) {
                FaultBudget::default()
            } else {
                recovered.faults
            },
        };
        let mut engine = Engine {
            streams: streams.collect(),
            core,
            directory: recovered.directory,
            superblock: recovered.superblock,
            holds: Holds::new(&recovered.holds),
            bad_copies,
            rounds_within: Vec::new(),
            all_flushed: false,
            session,
            keeping: Keeping::new(recovered.clock),
            scrub,
            erasing,
            health: Health::Good,
            sectors: BTreeSet::new(),
            recent_takes: [0; 4],
            taken_at_count: 0,
            path: options.path,
            manner,
            stream_id: options.stream_id,
        };
        engine.limit();
        engine.repair_copies();
        engine.write_due_slots(if manner == Manner::Repair { usize::MAX } else { SLOTS_AT_ONCE });
        if !planted!(EpochNotFlushed) {
            engine.round();
        }
        match engine.health {
            Health::Good => {
                engine.begin_session();
                if manner == Manner::Repair {
                    engine.repair_sessions()?;
                    engine.repair_scrub()?;
                    engine.check_copies()?;
                }
                Ok((engine, report))
            }
            Health::Failing { .. } => Err(engine.disk_error("begin writing to")),
        }
    }

    /// Seconds the volume has been open for writing, over its life.
    pub(super) fn running_seconds(&self) -> u64 {
        self.core.running_seconds()
    }

    /// Counts the disk's completions, whoever has the engine.
    pub(super) fn progress(&self) -> Arc<AtomicU64> {
        self.core.writes.progress()
    }

    /// Whether a round made now would change nothing but its number.
    pub(super) fn is_all_flushed(&self) -> bool {
        self.all_flushed
    }

    /// Whether the disk takes what is written.
    pub(super) fn is_well(&self) -> bool {
        self.health == Health::Good
    }

    pub(super) fn disk_error(&self, operation: &str) -> Error {
        let error = self.core.writes.last_error();
        let source = error.map_or_else(|| std::io::Error::other("the disk fails"), copy_error);
        Error::io(operation, &self.path, source)
    }

    /// Identity and latest moment of a stream.
    pub(crate) fn stream_facts(&self, index: usize) -> Option<(StreamId, Option<WallTime>)> {
        let stream = self.streams.get(index)?;
        let rows = (0..self.core.geometry.blocks).map(|block| self.core.ledger.row(BlockIndex(block)));
        let mine = rows.filter(|row| row.stream == stream.id && row.has_samples());
        Some((stream.id, mine.max_by_key(|row| row.sequence).map(|row| row.wall_max)))
    }

    /// The superblock of the volume.
    pub(crate) fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Bytes that no longer wait in memory, by stream, since this was asked last.
    pub(crate) fn take_freed_bytes(&mut self) -> impl Iterator<Item = (usize, usize)> {
        self.streams.iter_mut().map(Stream::take_freed_bytes).enumerate()
    }

    /// Hands a stream an input.
    pub(crate) fn accept(&mut self, index: usize, input: Input) {
        self.all_flushed = false;
        if let Some(stream) = self.streams.get_mut(index) {
            stream.accept(input);
        }
    }

    /// Sends out what is full. Between rounds only.
    pub(crate) fn work(&mut self) {
        self.core.writes.collect();
        if self.health == Health::Good {
            for stream in &mut self.streams {
                // Starved streams are counted by the core; the next round grants blocks.
                let _starved = stream.advance(&mut self.core);
            }
        }
    }

    /// Whether a stream waits for a block: the next round should not wait.
    pub(crate) fn is_starved(&self) -> bool {
        self.core.starved > 0 && self.health == Health::Good
    }

    /// Parks every stream and writes everything; the volume is closed then.
    pub(crate) fn close(&mut self) -> Result<()> {
        const ROUNDS_MAX: usize = 1000;
        self.stop_erasing();
        for stream in &mut self.streams {
            stream.accept(Input::Park);
        }
        for _ in 0..ROUNDS_MAX {
            self.round();
            if self.health != Health::Good {
                return Err(self.disk_error("write the last samples to"));
            }
            // What a repair names is left to the next recorder.
            let leaves = self.manner == Manner::Repair && !planted!(RepairOverwrites);
            let named = self.core.named.keys().any(|block| !self.erasing.is_stuck(*block)) && !leaves;
            let done = !named && self.erasing.dead_jobs() == 0 && self.streams.iter().all(Stream::is_idle);
            if done || planted!(ClosedTooEarly) {
                break;
            }
        }
        self.core.ledger.release_grants();
        self.last_round();
        if self.health != Health::Good {
            return Err(self.disk_error("close"));
        }
        self.end_session();
        Ok(())
    }

    /// What a round achieved.
    pub(crate) fn report(&self) -> RoundReport {
        let streams = self.streams.iter().map(|stream| DurableStream {
            stream: stream.id,
            name: stream.name.clone(),
            chunk: stream.durable_chunk(),
            tracks: stream
                .durable_tracks
                .values()
                .map(|durable| DurableTrack {
                    track: durable.end.track,
                    run: durable.run,
                    ticks: durable.end.ticks,
                    wall: durable.end.wall,
                    samples: durable.end.samples,
                })
                .collect(),
        });
        RoundReport {
            round: self.core.round,
            at: self.core.clock.wall(),
            streams: streams.collect(),
            health: self.health.clone(),
            // The engine knows no time of its own, and not what waits before it: its thread says both.
            took: Duration::ZERO,
            waiting_bytes: 0,
            written_bytes: self.core.writes.written_bytes(),
            writes: self.core.writes.written(),
            blocks_taken: self.core.blocks_taken,
            holds: self.holds.room,
            retention: self.keeping.report,
            scrub: self.scrub_report(),
        }
    }
}

fn fallback_name(stream: StreamId) -> StreamName {
    let text = format!("stream-{stream}");
    StreamName::new(&text).unwrap_or_else(|_| unreachable!("a UUID is made of letters, digits and dashes"))
}

/// Whether a volume as found can be written on a disk of this size that writes so much at once.
///
/// # Errors
/// [`Error::Unsupported`], [`Error::CutShort`], [`Error::Corrupt`].
pub(crate) fn check_writable(
    recovered: &Recovered,
    size_bytes: u64,
    alignment_bytes: u32,
    path: &Path,
) -> Result<()> {
    if let Some(detail) = recovered.superblock.features().read_only() {
        return Err(Error::Unsupported { path: path.to_owned(), detail });
    }
    if size_bytes < recovered.geometry.size_bytes {
        let missing_bytes = recovered.geometry.size_bytes - size_bytes;
        return Err(Error::CutShort { path: path.to_owned(), missing_bytes });
    }
    // They grow by one at a time; so far they come only in a forged volume.
    let far = [
        recovered.highest.0,
        recovered.round.0,
        recovered.running_seconds,
        recovered.holds.generation,
        u64::from(recovered.epoch.0) << 32,
    ];
    let chunks = recovered.ends.values().map(|end| end.chunk.0);
    if far.into_iter().chain(chunks).any(|counter| counter > u64::MAX / 2) {
        let at = recovered.geometry.logs_at()[0];
        return Err(Error::Corrupt { what: "a counter that is near its end".to_owned(), at });
    }
    if alignment_bytes as usize > recovered.geometry.page_bytes {
        let detail = format!(
            "its page of {} bytes is smaller than the {} bytes this disk writes at once",
            recovered.geometry.page_bytes, alignment_bytes
        );
        return Err(Error::Unsupported { path: path.to_owned(), detail });
    }
    Ok(())
}

/// The superblock of a geometry, but for what names the volume.
pub(crate) fn superblock_of(geometry: &Geometry) -> Superblock {
    Superblock {
        version: crate::format::FORMAT_VERSION,
        page_shift: geometry.page_bytes.trailing_zeros() as u8,
        block_shift: geometry.block_bytes.trailing_zeros() as u8,
        blocks: geometry.first_blocks,
        size_bytes: geometry.first_size_bytes,
        incompat: geometry.incompat(),
        grown: geometry.grown_sizes(),
        streams_max: geometry.streams_max,
        holds_max: geometry.holds_max,
        region_bytes: geometry.region_bytes as u32,
        log_slots: crate::format::geometry::LOG_SLOTS,
        log_slot_bytes: geometry.log_slot_bytes as u32,
        directory_bytes: geometry.directory_bytes as u32,
        holds_bytes: geometry.holds_bytes as u32,
        sessions_max: geometry.sessions_max,
        sessions_bytes: geometry.sessions_bytes as u32,
        scrub_bytes: geometry.scrub_bytes as u32,
        table_bytes: geometry.table_bytes as u64,
        front_at: geometry.front_at,
        back_at: geometry.back_at,
        copies_at: std::array::from_fn(|copy| geometry.copies_at.get(copy).copied().unwrap_or_default()),
        stretches_at: geometry.stretches_at,
        ..Superblock::default()
    }
}
