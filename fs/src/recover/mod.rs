//! Opening: what a volume holds, found out from its bytes alone, after a clean end or a crash alike. Writes nothing.
//!
//! What was found -> what it means:
//!
//! | found | means |
//! |---|---|
//! | any superblock copy verifies | the volume is that of the highest generation, see [`superblock`] |
//! | newest round record that stands, in either copy | only blocks it names or grants are examined |
//! | no round record stands | every block is examined, but for those that by the table hold nothing or were withdrawn |
//! | the newest record knows less than the table, or than blocks whose rows are lost | it does not count; blocks of a later take than their row are examined |
//! | a row in the record | replaces the table's |
//! | a granted block with the header of its grant | open, nothing of it known durable |
//! | a granted block with any other header | empty |
//! | a block of which nothing is durable and whose header page does not stand whole | empty |
//! | a named block's chunk before its durable end that does not verify | damage: reported, skipped |
//! | a chunk behind the durable end that does not verify, or not link to the one before | the stream ends before it |
//! | a named block of which nothing is durable and whose header does not link to its stream's end | empty |
//! | the same, but it goes on behind the last durable chunk, whose block was given up while an older one is held | as if it linked |
//! | a table sector that does not verify | its blocks are examined |
//! | live blocks of a stream that stands in no directory | read as a stream whose name is lost |
//! | a void chunk in a block that is examined | what it covers was erased or has expired; overwriting it may have to be finished |
//!
//! Of the holds: see [`holds`].

mod blocks;
mod chains;
mod holds;
mod log;
mod orphans;
mod outdated;
mod rebuild;
mod renewed;
mod rows;
mod seen;
mod stretches;
mod superblock;
mod table;
mod totals;
mod unrecorded;
mod verdict;
mod walk;
mod writing;

pub(crate) use blocks::{contents, given_up, kept_footer, remembered_contents, state_of};
pub(crate) use chains::Chains;
#[cfg(test)]
pub(crate) use chains::VISITS as CHAIN_VISITS;
pub(crate) use holds::FoundHolds;
#[cfg(test)]
pub(crate) use log::copies as record_copies;
pub(crate) use log::{lost_copy as lost_record_copy, newest as newest_record};
pub(crate) use orphans::{RECOVERED, orphans, with_ages};
pub(crate) use outdated::amend;
pub(crate) use rebuild::row_from_block;
pub(crate) use renewed::renewed;
pub(crate) use rows::{Page, Rows};
pub(crate) use seen::{Seen, seen, seen_by_superblock};
pub(crate) use stretches::{Stretch, note};
pub(crate) use superblock::{
    Found as FoundSuperblock, find_anywhere as find_superblock_anywhere, find_of as find_superblock_of,
    highest_generation, judge as judge_superblock, volumes_named,
};
pub(crate) use totals::{Total, Totals};
pub(crate) use verdict::{Header, Source, Verdict, judge};
pub(crate) use walk::examine;
pub(crate) use writing::{Pause, recover_to_write, settled};

use blocks::ends;
use renewed::Renewable;
use walk::Remembered;

use crate::disk::ReadAt;
use crate::error::{Error, Result};
use crate::fault_budget::FaultBudget;
use crate::format::block::BlockHeader;
use crate::format::directory::{Directory, DirectoryCopy, DirectoryEntry, Merged, merge};
use crate::format::geometry::Geometry;
use crate::format::round::{RoundRecord, RoundRow};
use crate::format::superblock::Superblock;
use crate::format::table::Row;
use crate::format::{Framed, SECTOR_BYTES};
use crate::report::{BlockState, Finding};
use crate::retention::age::ClockWatch;
use crate::salvage::read_what_can_be;
use crate::scan::{Scanner, Take};
use crate::session::newest as newest_session;
use crate::types::{BlockIndex, ChunkNumber, Epoch, RoundNumber, Sequence, StreamId, VolumeId, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Where a stream ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamEnd {
    /// Its last chunk.
    pub(crate) chunk: ChunkNumber,
    /// The checksum of that chunk's header.
    pub(crate) checksum: u32,
    /// The block that holds it.
    pub(crate) block: Option<BlockIndex>,
}

/// A volume as found.
pub(crate) struct Recovered {
    /// The superblock.
    pub(crate) superblock: Superblock,
    /// Where things are.
    pub(crate) geometry: Geometry,
    /// The streams.
    pub(crate) directory: Directory,
    /// Streams whose footage stands and of which no directory knows.
    pub(crate) orphans: Vec<DirectoryEntry>,
    /// A row a block.
    pub(crate) rows: Rows,
    /// Which blocks each stream has.
    pub(crate) chains: Chains,
    /// Blocks whose rows do not stand in the table on disk.
    pub(crate) unlisted: BTreeSet<BlockIndex>,
    /// Rows that differ from what the table on disk says.
    pub(crate) changed: BTreeSet<BlockIndex>,
    /// Blocks that the newest record grants and that were not taken: what they held is given up.
    pub(crate) given_up: BTreeSet<BlockIndex>,
    /// Blocks in which chunks were overwritten, maybe not to the end.
    pub(crate) unfinished: BTreeSet<BlockIndex>,
    /// Where each stream ends.
    pub(crate) ends: BTreeMap<StreamId, StreamEnd>,
    /// The newest round.
    pub(crate) round: RoundNumber,
    /// The newest epoch.
    pub(crate) epoch: Epoch,
    /// The highest sequence granted.
    pub(crate) highest: Sequence,
    /// How long the volume has been open for writing, in seconds.
    pub(crate) running_seconds: u64,
    /// How many blocks were withdrawn lately, as far as the newest record knows.
    pub(crate) faults: FaultBudget,
    /// When the newest round was made, by its writer's wall clock.
    pub(crate) last_round_at: WallTime,
    /// Whether the last writer ended without closing.
    pub(crate) after_crash: bool,
    /// Whether each superblock copy stands.
    pub(crate) superblocks_good: Vec<bool>,
    /// Each directory copy, if all of it stands.
    pub(crate) directories: [Option<Directory>; 2],
    /// The entries of the directory in their places; `None` where one stands in neither copy.
    pub(crate) directory_places: Vec<Option<DirectoryEntry>>,
    /// Whether each part of the directory stands in one copy at least.
    pub(crate) directory_stands: bool,
    /// What the last writer knew of the clock.
    pub(crate) clock: ClockWatch,
    /// The holds.
    pub(crate) holds: FoundHolds,
    /// What does not verify.
    pub(crate) findings: Vec<Finding>,
    /// What a later look goes on from.
    renewable: Option<Renewable>,
}

impl Recovered {
    /// The volume's identity.
    pub(crate) fn volume(&self) -> VolumeId {
        self.superblock.volume
    }

    /// The row of a block; that of a free one for a block that does not exist.
    pub(crate) fn row(&self, block: BlockIndex) -> Row {
        self.rows.get(block.0 as usize).cloned().unwrap_or_default()
    }

    /// The take a row stands for.
    pub(crate) fn take(block: BlockIndex, row: &Row) -> Take {
        Take { block, sequence: row.sequence, stream: row.stream }
    }
}

/// Finds out what a volume holds. `path` is for error texts.
///
/// # Errors
/// [`Error::NotAVolume`], [`Error::Unsupported`]; [`Error::Io`] only if nothing at all can be read.
pub(crate) fn recover(disk: &dyn ReadAt, path: &Path) -> Result<Recovered> {
    recover_as(disk, path, superblock::find(disk, path)?)
}

/// [`recover`] where the superblock is known.
///
/// # Errors
/// As there.
pub(crate) fn recover_as(disk: &dyn ReadAt, path: &Path, found: FoundSuperblock) -> Result<Recovered> {
    if let Some(detail) = found.superblock.features().unsupported() {
        return Err(Error::Unsupported { path: path.to_owned(), detail });
    }
    let geometry = Geometry::of(&found.superblock).ok_or_else(|| Error::NotAVolume {
        path: path.to_owned(),
        detail: "its superblock contradicts itself".to_owned(),
    })?;
    let volume = found.superblock.volume;
    let mut findings = found.findings;
    if disk.size_bytes() < geometry.size_bytes {
        findings.push(finding(
            "volume",
            disk.size_bytes(),
            format!("cut short: {} bytes are missing", geometry.size_bytes - disk.size_bytes()),
        ));
    }
    let scanner = Scanner { disk, geometry: &geometry, volume };
    let (merged, directories) = read_directories(&scanner, &mut findings);
    let record = log::newest(&scanner);
    // After the record: beside a live writer the holds may be newer than what it knows, never older.
    let known = record.as_ref().map_or(0, |record| record.header.holds_generation);
    let holds = holds::find(&scanner, known, &mut findings);
    let state = match &record {
        Some(record) => with_record(&scanner, record, &mut findings),
        None => unrecorded::examine_all(&scanner, &mut findings),
    };
    let superblock = (found.superblock, found.good);
    Ok(Found { superblock, merged, directories, record, holds, state, findings }.put_together(disk, geometry))
}

/// What is found of a volume's parts.
struct Found {
    superblock: (Superblock, Vec<bool>),
    merged: Merged,
    directories: [Option<Directory>; 2],
    record: Option<RoundRecord>,
    holds: FoundHolds,
    state: State,
    findings: Vec<Finding>,
}

impl Found {
    /// The volume as found.
    fn put_together(self, disk: &dyn ReadAt, geometry: Geometry) -> Recovered {
        let Found { superblock: (superblock, good), merged, directories, record, holds, mut state, .. } =
            self;
        let (volume, mut findings) = (superblock.volume, self.findings);
        let scanner = Scanner { disk, geometry: &geometry, volume };
        let directory = merged.directory();
        let ends = ends(&state.rows, &state.chains);
        let most = state.rows.most();
        let header = record.as_ref().map(|record| record.header.clone()).unwrap_or_default();
        // A session that wrote nothing took its epoch all the same.
        let session = match most.sequence > header.highest || header.round.0 == 0 {
            true if !planted!(EpochFromBlocksOnly) => newest_session(disk, &geometry, volume),
            _ => (Epoch(0), 0),
        };
        let running_at_least = running_at_least(&state.rows, &holds);
        findings.append(&mut state.findings);
        let orphans = match planted!(StreamsWithoutNameHidden) {
            true => Vec::new(),
            false => orphans(&state.rows, &state.chains, &directory),
        };
        let orphans = with_ages(&scanner, &state.rows, &state.chains, orphans);
        orphans::report(&orphans, &geometry, &mut findings);
        Recovered {
            superblock,
            directory,
            directory_stands: merged.is_whole(),
            directory_places: merged.places,
            clock: ClockWatch {
                mark: (header.clock_mark != WallTime::default())
                    .then_some((header.clock_mark, header.clock_mark_running_s)),
                trusted: None,
            },
            orphans,
            changed: state.changed,
            unlisted: state.unlisted,
            given_up: state.given_up,
            unfinished: state.unfinished,
            ends,
            round: header.round,
            epoch: header.epoch.max(most.epoch).max(session.0),
            highest: header.highest.max(most.sequence),
            running_seconds: header.running_seconds.max(running_at_least).max(session.1),
            faults: FaultBudget { since_s: header.faults_since, blocks: header.faults_blocks },
            last_round_at: header.at,
            after_crash: !header.closed && header.round.0 > 0,
            superblocks_good: good,
            directories,
            holds,
            findings,
            renewable: record.filter(|_| state.is_plain).map(|record| Renewable {
                record,
                table: state.table,
                walks: state.walks,
            }),
            rows: state.rows,
            chains: state.chains,
            geometry,
        }
    }
}

/// For how long the volume was open for writing when the newest hold was made and the newest block was written: where no record
/// stands, no hold expires or ends much later for that.
fn running_at_least(rows: &Rows, holds: &FoundHolds) -> u64 {
    let made = holds.holds().into_iter().map(|hold| hold.created_running_s);
    made.filter(|seconds| *seconds <= u64::MAX / 2).max().unwrap_or(0).max(rows.most().running_s)
}

/// Rows and what they differ by, while they are being found out.
#[derive(Default)]
struct State {
    rows: Rows,
    chains: Chains,
    changed: BTreeSet<BlockIndex>,
    unlisted: BTreeSet<BlockIndex>,
    given_up: BTreeSet<BlockIndex>,
    unfinished: BTreeSet<BlockIndex>,
    findings: Vec<Finding>,
    /// What the table says of the blocks of which these rows say something else.
    table: BTreeMap<BlockIndex, Row>,
    /// Where walks ended, in the look before and in this one.
    remembered: BTreeMap<BlockIndex, Remembered>,
    walks: BTreeMap<BlockIndex, Remembered>,
    /// The table stands whole, and belongs to the record.
    is_plain: bool,
}

impl State {
    /// What is known of a take, if anything is.
    fn known(&self, take: &Take) -> Row {
        let row = self.rows.get(take.block.0 as usize);
        row.filter(|row| Recovered::take(take.block, row) == *take).cloned().unwrap_or_default()
    }

    /// Another row than the table has.
    fn set(&mut self, block: BlockIndex, row: Row) {
        let Some(before) = self.rows.get(block.0 as usize).filter(|before| **before != row) else { return };
        self.table.entry(block).or_insert_with(|| before.clone());
        self.changed.insert(block);
        self.put(block, row);
    }

    /// The row that the table has.
    fn put(&mut self, block: BlockIndex, row: Row) {
        if let Some(before) = self.rows.get(block.0 as usize).filter(|before| **before != row) {
            self.chains.replace(block, before, &row);
            self.rows.set(block.0 as usize, row);
        }
    }
}

/// The usual way: the table, overlaid by the newest record, and the blocks it names examined.
fn with_record(scanner: &Scanner<'_>, record: &RoundRecord, findings: &mut Vec<Finding>) -> State {
    let mut state = State::default();
    let mut lost = table::load(scanner, &mut state, findings);
    state.unlisted.clone_from(&lost);
    let rows = state.rows.iter().enumerate().filter(|(_, row)| is_unfinished(row));
    lost.extend(rows.map(|(index, _)| BlockIndex(index as u32)));
    if is_outdated(scanner, &state, record) {
        findings.push(finding(
            "round log",
            scanner.geometry.logs_at()[0],
            "its newest record is of an earlier time than the blocks, and does not count".to_owned(),
        ));
        outdated::rebuild_outdated(scanner, &mut state, lost);
        return state;
    }
    let known = overlay(scanner, &mut state, record);
    let lost: BTreeSet<BlockIndex> = lost.difference(&known).copied().collect();
    state.is_plain = state.unlisted.is_empty() && lost.is_empty();
    rebuild::rebuild(scanner, &mut state, &lost);
    blocks::examine_named(scanner, &mut state, record);
    state
}

/// Whether only a record says what became of a block with this row in the table, which was not brought up to date before it went.
fn is_unfinished(row: &Row) -> bool {
    matches!(row.state, BlockState::Open | BlockState::Granted)
}

/// Lays the rows of a record over those of the table. Returns the blocks that the record says something of.
fn overlay(scanner: &Scanner<'_>, state: &mut State, record: &RoundRecord) -> BTreeSet<BlockIndex> {
    let is_sane = |row: &&RoundRow| row.row.is_sane(scanner.geometry.block_bytes);
    let rows = || record.rows.iter().filter(is_sane);
    for row in rows().filter(|_| !planted!(RecordRowsIgnored)) {
        state.set(row.block, row.row.clone());
    }
    let named = record.named.iter().map(|named| named.block);
    rows()
        .map(|row| row.block)
        .chain(named)
        .chain(record.granted.iter().map(|granted| granted.block))
        .collect()
}

/// Whether there is what this record cannot know of: a row is in the table, and a block is taken, only after a record with
/// it was flushed.
fn is_outdated(scanner: &Scanner<'_>, state: &State, record: &RoundRecord) -> bool {
    let highest = record.header.highest;
    let taken_later = |block: &BlockIndex| {
        let header = scanner.block_header(*block).ok().flatten();
        header.is_some_and(|header| header.sequence > highest)
    };
    let by_table = state.rows.most().sequence > highest;
    !planted!(OutdatedLogBelieved) && (by_table || state.unlisted.iter().any(taken_later))
}

/// The directory, as far as it verifies in one copy or the other, and each copy of which all does.
fn read_directories(scanner: &Scanner<'_>, findings: &mut Vec<Finding>) -> (Merged, [Option<Directory>; 2]) {
    let places = scanner.geometry.directories_at();
    let copies = places.map(|at| DirectoryCopy::read(&read_directory(scanner, at), scanner.volume));
    let whole = copies.each_ref().map(DirectoryCopy::whole);
    let merged = merge(&copies);
    for (at, copy) in places.iter().zip(&whole) {
        if copy.is_none() {
            let detail = match merged.counted {
                true if merged.is_whole() => "this copy does not verify; the other stands in",
                true => "an entry verifies in neither copy: a stream's name and settings are lost",
                false if merged.places.is_empty() => {
                    "neither copy verifies: the streams' names and settings are lost"
                }
                false => {
                    "how many streams there are stands in neither copy: names and settings of some may be lost"
                }
            };
            findings.push(finding("stream directory", *at, detail.to_owned()));
        }
    }
    (merged, whole)
}

/// Reads a copy of the directory, sector by sector where it cannot be read at once: each entry stands for itself.
fn read_directory(scanner: &Scanner<'_>, at: u64) -> Vec<u8> {
    let mut bytes = vec![0; scanner.geometry.directory_bytes];
    let _what_fails_is_zeros = read_what_can_be(scanner.disk, &mut bytes, at, SECTOR_BYTES);
    bytes
}

/// A finding about metadata that is doubled.
pub(crate) fn finding(what: &'static str, at: u64, detail: String) -> Finding {
    Finding { what, at, block: None, stream: None, footage_lost: false, detail }
}

/// Whether the superblock at `at` stands and equals `good`.
pub(crate) fn superblock_stands(disk: &dyn ReadAt, at: u64, good: &Superblock) -> bool {
    let mut bytes = vec![0; Superblock::SIZE];
    disk.read_exact_at(&mut bytes, at).is_ok() && Superblock::read(&bytes).is_some_and(|copy| copy == *good)
}

/// A row of a block that holds nothing that counts. It keeps the sequence of the header that stands there, so that the
/// header is known for what it is when the block is taken.
pub(crate) fn free_row(header: Option<&BlockHeader>) -> Row {
    Row { sequence: header.map(|header| header.sequence).unwrap_or_default(), ..Row::default() }
}
