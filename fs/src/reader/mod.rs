//! Reading a volume, beside a live writer or without one. Writes nothing, takes no lock.
//!
//! Everything handed out was verified. A block that the ring has passed meanwhile is [`Error::Overwritten`], never other
//! bytes.

mod ahead;
mod by_chunks;
mod check;
mod configurations;
mod cursor;
mod dump;
mod erased;
mod footers;
mod kept;
mod outline;
mod passed;
mod past;
mod recheck;
mod rows;
mod streams;
mod verify;

pub use cursor::{ChunkReader, Cursor};
pub use kept::{ChunkCache, ChunkKey, LoadedChunk};
pub use outline::{BlockOutline, OutlineChunk, OutlineKind, OutlineSync};
pub use rows::StreamRow;
pub(crate) use verify::BlockCheck;

use ahead::AllWindows;
use footers::Footers;
use passed::{recover_beside_writer, renewed_beside_writer};
use past::{Pasts, withhold};

use crate::admission::{self, Admission, Admitted, ReadPurpose};
use crate::clock::{Clock, SystemClock};
use crate::configuration::Configuration;
use crate::disk::{FileReader, ReadAt};
use crate::error::{Error, Result};
use crate::format::chunk::ChunkKind;
use crate::format::footer::{ChunkPlace, Footer};
use crate::format::geometry::Geometry;
use crate::format::superblock::Superblock;
use crate::format::table::{Row, TIMES_NOT_MONOTONE};
use crate::hold::{Guard, Hold, HoldRoom, Use, room};
use crate::recover::Recovered;
use crate::report::{BlockDump, BlockState, BlockSummary, CheckReport, Finding, Span, TimeRange, VolumeInfo};
use crate::sample::Anchor;
use crate::scan::Scanner;
use crate::scrub::{self, ScrubReport};
use crate::session::{SessionLog, read_log};
use crate::types::{BlockIndex, ChunkNumber, ConfigurationHash, RunId, Sequence, StreamId};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A volume open for reading.
pub struct Volume {
    disk: Arc<dyn ReadAt>,
    /// The same as it is for who need not ask, and who is asked.
    gate: Option<(Arc<dyn ReadAt>, Arc<Admission>)>,
    path: PathBuf,
    /// Says what is past its maximum age.
    clock: Arc<dyn Clock>,
    state: Arc<Recovered>,
    info: VolumeInfo,
    shared: Arc<Shared>,
    /// Chunks in memory, for all readers.
    cache: Option<Arc<dyn ChunkCache>>,
    /// What was found when a block was last looked at that the ring might have taken.
    latest: Mutex<Option<Arc<Recovered>>>,
    /// What is past its maximum age.
    pasts: Mutex<Pasts>,
}

/// What all looks at a volume share, and all their readers.
#[derive(Default)]
struct Shared {
    configurations: Mutex<Configurations>,
    footers: Footers,
    windows: Arc<AllWindows>,
}

/// Those that were met. They follow from their hashes, so that all looks at a volume can share them.
type Configurations = HashMap<(StreamId, ConfigurationHash), Arc<Configuration>>;

/// The same look at the volume, for another reader: costs no memory to speak of, and reads nothing.
impl Clone for Volume {
    fn clone(&self) -> Volume {
        let (latest, pasts) = Default::default();
        let (disk, clock, state) = (Arc::clone(&self.disk), Arc::clone(&self.clock), Arc::clone(&self.state));
        let (path, info, cache) = (self.path.clone(), self.info.clone(), self.cache.clone());
        let (gate, shared) = (self.gate.clone(), Arc::clone(&self.shared));
        Volume { disk, gate, path, clock, state, info, shared, cache, latest, pasts }
    }
}

/// What a superblock says to callers.
pub(crate) fn volume_info(superblock: &Superblock) -> VolumeInfo {
    let whole = Geometry::of(superblock).map(|geometry| (geometry.size_bytes, geometry.blocks));
    let (size_bytes, blocks) = whole.unwrap_or((superblock.size_bytes, superblock.blocks));
    VolumeInfo {
        id: superblock.volume,
        label: superblock.label.as_str().to_owned(),
        format_version: superblock.version,
        size_bytes,
        block_bytes: 1 << superblock.block_shift,
        page_bytes: 1 << superblock.page_shift,
        blocks,
        streams_max: superblock.streams_max,
        created: superblock.created,
    }
}

impl Volume {
    /// Opens a volume for reading. Works beside a live recorder, on a damaged image, and on one cut short.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotAVolume`], [`Error::Unsupported`].
    pub fn open(path: &Path) -> Result<Volume> {
        let file = FileReader::open(path)?;
        let identity = file.identity().map_err(|source| Error::io("look at", path, source))?;
        let disk: Arc<dyn ReadAt> = Arc::new(file);
        let volume = Volume::from_disk_at(Arc::clone(&disk), path, Arc::new(SystemClock::new()))?;
        Ok(Volume { gate: Some((disk, admission::of(identity))), ..volume }
            .reading_for(ReadPurpose::Playback))
    }

    /// The same look, for who reads for this: beside a writer in the same process large reads wait until recording leaves the disk to them,
    /// what is played before what is exported. [`ReadPurpose::Playback`] unless told otherwise.
    #[must_use]
    pub fn reading_for(self, purpose: ReadPurpose) -> Volume {
        let Some((disk, admission)) = &self.gate else { return self };
        let (disk, admission) = (Arc::clone(disk), Arc::clone(admission));
        Volume { disk: Arc::new(Admitted { disk, admission, purpose }), ..self }
    }

    /// [`Volume::open`] on anything that can be read, by a clock that never calls anything past its age.
    #[cfg(test)]
    pub(crate) fn from_disk(disk: Arc<dyn ReadAt>, path: &Path) -> Result<Volume> {
        Volume::from_disk_at(disk, path, Arc::new(crate::clock::SimClock::new(crate::types::WallTime::MIN)))
    }

    /// [`Volume::open`] on anything that can be read, by any clock.
    pub(crate) fn from_disk_at(disk: Arc<dyn ReadAt>, path: &Path, clock: Arc<dyn Clock>) -> Result<Volume> {
        let state = Arc::new(recover_beside_writer(&*disk, path)?);
        let info = volume_info(&state.superblock);
        let (path, (gate, shared, cache, latest, pasts)) = (path.to_owned(), Default::default());
        Ok(Volume { disk, gate, path, clock, state, info, shared, cache, latest, pasts })
    }

    /// Follows a live writer: sees all it had written when this was called.
    ///
    /// # Errors
    /// As [`Volume::open`].
    pub fn refresh(&mut self) -> Result<()> {
        *self = self.renewed()?;
        Ok(())
    }

    /// Another look at the same volume: sees all that its writer had written when this was called, and finds it out from what was found
    /// before, so that it costs what changed since and not what there is. The file that was opened is read, whatever stands in its
    /// place by now.
    ///
    /// What was verified in a look before and rotted since is found by who reads it, by [`Volume::check`] and by the scrub, not here.
    ///
    /// # Errors
    /// As [`Volume::open`].
    pub fn renewed(&self) -> Result<Volume> {
        let state = Arc::new(renewed_beside_writer(&*self.disk, &self.path, &self.state)?);
        let (disk, clock, path) = (Arc::clone(&self.disk), Arc::clone(&self.clock), self.path.clone());
        let (info, (latest, pasts)) = (volume_info(&state.superblock), Default::default());
        // Of another volume in the same place nothing is kept.
        let shared = if info.id == self.info.id { Arc::clone(&self.shared) } else { Arc::default() };
        let (gate, cache) = (self.gate.clone(), self.cache.clone());
        Ok(Volume { disk, gate, path, clock, state, info, shared, cache, latest, pasts })
    }

    /// What the volume is.
    pub fn info(&self) -> &VolumeInfo {
        &self.info
    }

    /// Whether a synchronised clock stands behind the volume's time. Else footage past its maximum age is overwritten by the time that
    /// the volume was recorded into alone: late by the time that it was shut.
    pub fn ages_by_clock(&self) -> bool {
        self.state.clock.mark.is_some()
    }

    /// What opening found that does not verify.
    pub fn findings(&self) -> &[Finding] {
        &self.state.findings
    }

    /// The newest clock anchor of each track of a stream: what its camera's clock was last known to be.
    pub fn clocks(&self, stream: StreamId) -> Vec<Anchor> {
        let mut clocks = BTreeMap::new();
        for (block, row) in self.stream_blocks(stream).iter().rev() {
            let take = Recovered::take(*block, row);
            let (footer, _) = self.contents(*block, row);
            let media = footer.chunks.iter().rev().filter(|place| place.kind == ChunkKind::MEDIA);
            let loaded = media.filter_map(|place| {
                self.scanner().load_at(&take, place.offset as usize, place.bytes as usize)
            });
            if let Some(tables) = loaded.filter_map(|loaded| loaded.tables).next() {
                clocks.extend(tables.anchors().iter().map(|anchor| (anchor.track, *anchor)));
                break;
            }
        }
        clocks.into_values().collect()
    }

    /// The block table, in the order of blocks. What is past its stream's maximum age is told as it will be once it is overwritten:
    /// expired.
    pub fn blocks(&self) -> Vec<BlockSummary> {
        let guard = Guard::of(&self.holds());
        let mut pasts = BTreeMap::new();
        let rows = self.state.rows.iter().enumerate();
        rows.map(|(index, row)| {
            let past = pasts.entry(row.stream).or_insert_with(|| self.past(row.stream)).as_ref();
            let given = past.filter(|_| row.is_linked()).map(|past| past.row(row.clone()));
            let row = given.as_ref().unwrap_or(row);
            let summary = block_summary(BlockIndex(index as u32), row, &self.state);
            BlockSummary { held: guard.covers(row), ..summary }
        })
        .collect()
    }

    /// How many blocks nothing stands in that would have to be overwritten: footage past its maximum age counts as footage until it
    /// is.
    pub fn free_blocks(&self) -> u64 {
        let is_free =
            |row: &Row| matches!(row.state, BlockState::Free | BlockState::Erased | BlockState::Expired);
        let rows = self.state.geometry.all_blocks().zip(&self.state.rows);
        rows.filter(|(block, row)| is_free(row) && !self.state.given_up.contains(block)).count() as u64
    }

    /// The holds in force, and those that were lost, in the order of their making.
    pub fn holds(&self) -> Vec<Hold> {
        let mut holds = self.state.holds.holds();
        holds.sort_by_key(|hold| (hold.created, hold.id));
        holds
    }

    /// The blocks that hold what a hold of this volume keeps, in the order of blocks.
    pub fn held_blocks(&self, hold: &Hold) -> Vec<BlockIndex> {
        let guard = Guard::of([hold]);
        let held = self.state.rows.iter().enumerate().filter(|(_, row)| guard.covers(row));
        held.map(|(index, _)| BlockIndex(index as u32)).collect()
    }

    /// Who had the volume open for writing. What of it does not verify is told by [`Volume::check`].
    pub fn sessions(&self) -> SessionLog {
        read_log(&*self.disk, &self.state.geometry, self.state.volume(), &mut Vec::new())
    }

    /// How far the background verification is, and what it found.
    pub fn scrub(&self) -> ScrubReport {
        let geometry = &self.state.geometry;
        let slot = scrub::newest(&*self.disk, geometry, self.state.volume());
        ScrubReport::new(&slot, geometry, |block| self.state.rows.get(block.0 as usize))
    }

    /// How much is held, and how much may be.
    pub fn hold_room(&self) -> HoldRoom {
        let holds = self.holds();
        let guard = Guard::of(&holds);
        let rows = &self.state.rows;
        let usable = |row: &&Row| row.state != BlockState::Bad;
        let count = |guard: &Guard| rows.iter().filter(usable).filter(|row| guard.covers(row)).count() as u32;
        room(&Use {
            blocks: self.state.geometry.blocks,
            bad: rows.iter().filter(|row| row.state == BlockState::Bad).count() as u32,
            streams: self.state.directory.entries.len(),
            holds_max: self.state.geometry.holds_max,
            held: count(&guard),
            holds: holds.iter().map(|hold| (hold, count(&Guard::of([hold])))).collect(),
        })
    }

    /// The stretches of footage that touch `range`, in the order of recording. Read from footers and chunk headers alone.
    ///
    /// # Errors
    /// [`Error::NotRecorded`] if there is none.
    pub fn spans(&self, stream: StreamId, range: TimeRange) -> Result<Vec<Span>> {
        let mut spans: Vec<Span> = Vec::new();
        for (block, row) in self.stream_blocks(stream).iter().filter(|(_, row)| touches(row, range)) {
            let (footer, _) = self.contents(*block, row);
            for (index, place) in (0..).zip(&footer.chunks) {
                if place.kind != ChunkKind::MEDIA || !place_touches(place, range) {
                    continue;
                }
                let number = ChunkNumber(row.first_chunk.0.saturating_add(index));
                match spans.last_mut().filter(|span| span.run == place.run) {
                    Some(span) => {
                        span.from = span.from.min(place.wall_min);
                        span.to = span.to.max(place.wall_max);
                        span.last_chunk = number;
                    }
                    None => spans.push(Span {
                        run: place.run,
                        from: place.wall_min,
                        to: place.wall_max,
                        first_chunk: number,
                        last_chunk: number,
                    }),
                }
            }
        }
        if spans.is_empty() { Err(self.not_recorded(stream)) } else { Ok(spans) }
    }

    /// Reads a stream in the order of recording: in each run that touches `range`, from the video sync sample at or before
    /// its beginning (or the first there is) to before its end.
    ///
    /// # Errors
    /// [`Error::NotRecorded`] if nothing is there.
    pub fn read(&self, stream: StreamId, range: TimeRange) -> Result<Cursor<'_>> {
        let blocks = self.chain(stream);
        if !blocks.iter().any(|(_, row)| touches(row, range)) {
            return Err(self.not_recorded(stream));
        }
        Ok(Cursor::new(self, stream, range, blocks))
    }

    /// What [`Volume::read`] gives of the same range, in the same order, with [`crate::Item::Listed`] in the place of samples: only the
    /// headers and tables of chunks are read.
    ///
    /// Headers and tables have checksums of their own, which are verified. Those of the samples are not: a sample is listed although
    /// its bytes do not verify, or cannot be read, which only reading tells. Of what a live writer has not made durable yet the
    /// bytes are read and verified all the same, so that nothing is listed that a power cut can still take. Headers and tables may
    /// come from the system's page cache: one that rotted since it was read last is listed, too.
    ///
    /// # Errors
    /// As [`Volume::read`].
    pub fn list(&self, stream: StreamId, range: TimeRange) -> Result<Cursor<'_>> {
        Ok(self.read(stream, range)?.listing())
    }

    /// Where a block begins on the volume, in bytes.
    pub fn block_at(&self, block: BlockIndex) -> u64 {
        self.state.geometry.block_at(block)
    }

    /// What stands in a block, chunk by chunk, for people.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the volume has no such block.
    pub fn dump(&self, block: BlockIndex) -> Result<BlockDump> {
        if block.0 >= self.info.blocks {
            return Err(Error::Invalid(format!(
                "no block {block}: the volume has blocks 0 to {}",
                self.info.blocks - 1
            )));
        }
        let row = self.state.row(block);
        Ok(dump::dump(&self.scanner(), block, &row, self.past(row.stream).as_deref()))
    }

    /// Verifies every live byte. `progress` is told blocks done and blocks in all.
    ///
    /// # Errors
    /// None at present: what cannot be read is a finding.
    pub fn check(&self, progress: &mut dyn FnMut(u32, u32)) -> Result<CheckReport> {
        Ok(check::check(self, progress))
    }

    /// What was found at opening.
    #[cfg(test)]
    pub(crate) fn state(&self) -> &Recovered {
        &self.state
    }

    fn scanner(&self) -> Scanner<'_> {
        Scanner { disk: &*self.disk, geometry: &self.state.geometry, volume: self.state.volume() }
    }

    fn not_recorded(&self, stream: StreamId) -> Error {
        let blocks = self.stream_blocks(stream);
        let rows = || blocks.iter().map(|(_, row)| row).filter(|row| row.has_samples());
        let first = rows().map(|row| row.wall_min).min();
        Error::NotRecorded { available: first.zip(rows().map(|row| row.wall_max).max()) }
    }

    /// The live blocks of a stream in the order of recording.
    fn stream_blocks(&self, stream: StreamId) -> Vec<(BlockIndex, Row)> {
        let mut blocks = self.chain(stream);
        blocks.retain(|(_, row)| row.is_live());
        blocks
    }

    /// The same with those of which nothing is left, or given.
    fn chain(&self, stream: StreamId) -> Vec<(BlockIndex, Row)> {
        let all = self.whole_chain(stream);
        match self.past(stream) {
            Some(past) => all.into_iter().map(|(block, row)| (block, past.row(row))).collect(),
            None => all,
        }
    }

    /// The same, whatever is given of them.
    fn whole_chain(&self, stream: StreamId) -> Vec<(BlockIndex, Row)> {
        self.links(stream).map(|(block, row)| (block, row.clone())).collect()
    }

    fn links(&self, stream: StreamId) -> impl Iterator<Item = (BlockIndex, &Row)> {
        let blocks = self.state.chains.blocks(stream);
        blocks.filter_map(|block| Some((block, self.state.rows.get(block.0 as usize)?)))
    }
}

fn touches(row: &Row, range: TimeRange) -> bool {
    row.has_samples() && range.overlaps(row.wall_min, row.wall_max)
}

fn place_touches(place: &ChunkPlace, range: TimeRange) -> bool {
    range.overlaps(place.wall_min, place.wall_max)
}

fn block_summary(block: BlockIndex, row: &Row, state: &Recovered) -> BlockSummary {
    let given_up = state.given_up.contains(&block) && row.state == BlockState::Free;
    let samples = row.has_samples();
    BlockSummary {
        block,
        state: if given_up { BlockState::Granted } else { row.state },
        sequence: if row.is_linked() { row.sequence } else { Sequence(0) },
        stream: row.is_linked().then_some(row.stream),
        first_chunk: row.first_chunk,
        chunks: row.chunks,
        wall_min: samples.then_some(row.wall_min),
        wall_max: samples.then_some(row.wall_max),
        samples: row.samples,
        sync_samples: row.sync_samples,
        payload_bytes: row.payload_bytes,
        used_bytes: row.used_bytes,
        times_not_monotone: row.flags & TIMES_NOT_MONOTONE != 0,
        held: false,
    }
}

/// The run of the last samples in a block.
fn last_run(footer: &Footer) -> Option<RunId> {
    footer.chunks.iter().rev().find(|place| place.kind == ChunkKind::MEDIA).map(|place| place.run)
}
