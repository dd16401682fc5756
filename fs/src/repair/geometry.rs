//! Where everything stands in a volume of which no superblock does: found from its blocks and its size.
//!
//! A block's header says which block it is, and stands where that block begins; its two copies stand half a page apart. With
//! the volume's size, these tell the size of a page and of a block, and nearly always how many streams there may be, for
//! all other places follow from these four ([`Geometry::derive`]). Where several numbers of streams fit, that counts with
//! which most of the other structures are found where they should be, then what a new volume would have, then the most.
//!
//! Writing with a wrong geometry would destroy footage, so that doubt is a refusal: more than one block in four that does not
//! fit, blocks of another volume, too few blocks.
//!
//! The first blocks fit volumes of many sizes: of one that is cut short they stand where they did, while the metadata behind the
//! blocks, and the copies between them, would be written into footage. So a layout counts only where something stands that
//! depends on the size: any structure behind the blocks, or the blocks on both sides of both inner copies and the last one, with
//! none of this volume behind it.
//!
//! Where the blocks of a volume that has grown are, only a superblock tells: nothing is made from its blocks, lest a part of it be
//! taken for the whole. That it has is told by every block that was taken since, and, of one that is cut back to the size that it had, by
//! round records that name blocks behind its end.

use crate::create::streams_by_default;
use crate::disk::ReadAt;
use crate::error::{Error, Result};
use crate::format::block::{BlockHeader, second_header_at};
use crate::format::directory::DirectoryHeader;
use crate::format::extents::EXTENTS;
use crate::format::geometry::{Geometry, LOG_SLOTS, STREAMS_MAX};
use crate::format::hold::HoldSlot;
use crate::format::round::{RoundHeader, RoundRecord};
use crate::format::session::SessionSlot;
use crate::format::superblock::{Features, Superblock};
use crate::format::table::{TableSector, table_magic};
use crate::format::{Framed, SECTOR_BYTES};
use crate::salvage::read_what_can_be;
use crate::scan::Scanner;
use crate::types::{BlockIndex, VolumeId, WallTime};
use crate::writer::engine::superblock_of;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How many blocks are enough to know where all others are.
const ENOUGH: usize = 16;
/// How many are at least needed: two tell the size of a block.
const NEEDED: usize = 2;
/// How many volumes are told apart, at most.
const VOLUMES_MAX: usize = 64;
/// How many places are held against a layout that fits.
const SAMPLES: u32 = 256;
const WINDOW_BYTES: usize = 1 << 20;
const PAGES: std::ops::RangeInclusive<u32> = 9..=16;
const BLOCKS: std::ops::RangeInclusive<u32> = 14..=28;

/// A block header met on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Evidence {
    /// Where its first copy stands, in bytes.
    pub(super) at: u64,
    /// Which block it says to be.
    pub(super) block: BlockIndex,
    /// How far apart its copies stand, doubled.
    pub(super) page_bytes: usize,
    /// When the block was taken.
    pub(super) taken: WallTime,
    /// What its volume uses.
    pub(super) features: Features,
}

/// The superblock that a volume of which none stands must have had, but for its label and who created it.
///
/// # Errors
/// [`Error::NotAVolume`] if the blocks do not tell; [`Error::Corrupt`] if the volume has grown; [`Error::Invalid`] if there are blocks of
/// several volumes.
pub(super) fn from_blocks(disk: &dyn ReadAt, path: &Path, wanted: Option<VolumeId>) -> Result<Superblock> {
    let found = scan(disk, wanted);
    let refuse = |detail: String| Error::NotAVolume { path: path.to_owned(), detail };
    let volumes: Vec<VolumeId> = found.keys().copied().collect();
    let volume = match (wanted, volumes.as_slice()) {
        (Some(wanted), _) => wanted,
        (None, [one]) => *one,
        (None, []) => return Err(refuse("no superblock verifies, and no block".to_owned())),
        (None, several) => return Err(which_volume(path, "blocks", several.iter().copied().collect())),
    };
    let evidence = found.get(&volume).map(Vec::as_slice).unwrap_or_default();
    if let Some(detail) = evidence.iter().find_map(|block| block.features.unsupported()) {
        return Err(Error::Unsupported { path: path.to_owned(), detail });
    }
    if evidence.iter().any(|block| block.features.incompat & EXTENTS != 0) {
        return Err(has_grown(disk));
    }
    if evidence.len() < NEEDED {
        return Err(refuse(format!(
            "no superblock verifies, and {} blocks do not tell where the others are",
            evidence.len()
        )));
    }
    let fitting = fitting(evidence, disk.size_bytes());
    let geometry = choose(disk, volume, fitting).ok_or_else(|| {
        refuse(
            "no superblock verifies, and its blocks do not stand as in any volume of this size: make it whole first, if it is \
             cut short"
                .to_owned(),
        )
    })?;
    if records_name_more(disk, volume, &geometry) && !planted!(RepairGuessesSize) {
        return Err(has_grown(disk));
    }
    let created = evidence.iter().map(|block| block.taken).min().unwrap_or_default();
    let ro_compat = evidence.iter().fold(0, |all, block| all | block.features.ro_compat);
    Ok(Superblock { volume, generation: 1, created, ro_compat, ..superblock_of(&geometry) })
}

/// That a volume without a superblock has grown, and that what stands here may be a part of it.
pub(super) fn has_grown(disk: &dyn ReadAt) -> Error {
    let what = "the volume: no superblock verifies, and it has grown. Where the blocks of such a volume are only a superblock tells, and what \
                stands here may be a part of it: if it is cut short, make it whole. It ends"
        .to_owned();
    Error::Corrupt { what, at: disk.size_bytes() }
}

/// Whether a round record tells of blocks that this layout does not have.
fn records_name_more(disk: &dyn ReadAt, volume: VolumeId, geometry: &Geometry) -> bool {
    let mut slots =
        (0..u64::from(LOG_SLOTS)).flat_map(|slot| geometry.logs_at().map(|at| geometry.slot_at(at, slot)));
    let mut bytes = vec![0; geometry.log_slot_bytes];
    slots.any(|at| {
        let read = disk.read_exact_at(&mut bytes, at).is_ok();
        let record = RoundRecord::unseal(&bytes, volume).filter(|_| read);
        record.is_some_and(|record| record.blocks().any(|block| block.0 >= geometry.blocks))
    })
}

/// That things of several volumes stand where there is room for one.
pub(super) fn which_volume(path: &Path, what: &str, volumes: BTreeSet<VolumeId>) -> Error {
    let names: Vec<String> = volumes.iter().map(ToString::to_string).collect();
    Error::Invalid(format!(
        "{}: {what} of {} volumes stand here: {}; name the one that is meant with --volume-id",
        path.display(),
        names.len(),
        names.join(", ")
    ))
}

/// Reads from the front until enough blocks of one volume were met.
fn scan(disk: &dyn ReadAt, wanted: Option<VolumeId>) -> BTreeMap<VolumeId, Vec<Evidence>> {
    let mut found: BTreeMap<VolumeId, Vec<Evidence>> = BTreeMap::new();
    let size = disk.size_bytes();
    let mut window = vec![0; WINDOW_BYTES];
    for begin in (0..size).step_by(WINDOW_BYTES) {
        let bytes = usize::try_from(size - begin).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES);
        let Some(window) = window.get_mut(..bytes) else { break };
        let _what_fails_is_zeros = read_what_can_be(disk, window, begin, SECTOR_BYTES);
        for (at, sector) in (begin..).step_by(SECTOR_BYTES).zip(window.chunks(SECTOR_BYTES)) {
            let header = BlockHeader::unseal(sector).map(|(header, _)| header);
            let Some(header) = header else { continue };
            if wanted.is_none_or(|wanted| wanted == header.volume)
                && (found.len() < VOLUMES_MAX || found.contains_key(&header.volume))
                && let Some(page_bytes) = page_of(disk, at, &header)
            {
                let (block, taken) = (header.block, header.taken);
                let BlockHeader { version, ro_compat, incompat, .. } = header;
                let features = Features { version, ro_compat, incompat };
                let evidence = Evidence { at, block, page_bytes, taken, features };
                found.entry(header.volume).or_default().push(evidence);
            }
        }
        if found.values().any(|evidence| evidence.len() >= ENOUGH) {
            break;
        }
    }
    found
}

/// The page size by which the second copy of a header stands where it should.
fn page_of(disk: &dyn ReadAt, at: u64, header: &BlockHeader) -> Option<usize> {
    PAGES.map(|shift| 1 << shift).find(|page| {
        let mut copy = vec![0; BlockHeader::SIZE];
        let read = disk.read_exact_at(&mut copy, at + second_header_at(*page) as u64);
        read.is_ok() && BlockHeader::unseal(&copy).is_some_and(|(copy, _)| copy == *header)
    })
}

/// All layouts of a volume of this size in which these blocks stand where they do, but for one in four: it may have been
/// swapped, or written to a wrong place.
pub(super) fn fitting(evidence: &[Evidence], size_bytes: u64) -> Vec<Geometry> {
    let pages: BTreeSet<usize> = evidence.iter().map(|block| block.page_bytes).collect();
    let mut fitting = Vec::new();
    for page_bytes in pages {
        for shift in BLOCKS.filter(|shift| 1_usize << shift > page_bytes) {
            for streams_max in 1..=STREAMS_MAX {
                let Some(geometry) = Geometry::derive(size_bytes, page_bytes, 1 << shift, streams_max) else {
                    continue;
                };
                let stands = |block: &Evidence| {
                    block.block.0 < geometry.blocks
                        && geometry.block_at(block.block) == block.at
                        && block.page_bytes == page_bytes
                };
                let right = evidence.iter().filter(|block| stands(block)).count();
                if right >= NEEDED && right * 4 >= evidence.len() * 3 {
                    fitting.push(geometry);
                }
            }
        }
    }
    fitting
}

/// The layout that counts, of those that fit.
fn choose(disk: &dyn ReadAt, volume: VolumeId, fitting: Vec<Geometry>) -> Option<Geometry> {
    // Layouts that differ only in what stands before and behind the blocks have the same blocks.
    let mut blocks_of: BTreeMap<([u64; 3], u32), Blocks> = BTreeMap::new();
    let scored = fitting.into_iter().filter_map(|geometry| {
        let scanner = Scanner { disk, geometry: &geometry, volume };
        let place = (geometry.stretches_at, geometry.blocks);
        let blocks = *blocks_of.entry(place).or_insert_with(|| Blocks::find(&scanner));
        let [front, back] = structures_found(&scanner);
        let sized = back > 0 || blocks.tell_the_size || planted!(RepairGuessesSize);
        if !sized || blocks.grown || blocks.right * 4 < blocks.of_volume * 3 {
            return None;
        }
        let score = (blocks.right, front + back);
        let usual =
            geometry.streams_max == streams_by_default(geometry.size_bytes, geometry.block_bytes as u64);
        Some(((score, usual, geometry.streams_max), geometry))
    });
    scored.max_by_key(|(score, _)| *score).map(|(_, geometry)| geometry)
}

/// How the blocks stand in a layout.
#[derive(Clone, Copy)]
struct Blocks {
    /// At how many of some places, taken from everywhere, the block stands that belongs there.
    right: usize,
    /// At how many of them any block of the volume stands.
    of_volume: usize,
    /// Whether those stand that stand nowhere else in a volume of any other size.
    tell_the_size: bool,
    /// Whether any was taken when the volume had grown: these are a part of it.
    grown: bool,
}

impl Blocks {
    fn find(scanner: &Scanner<'_>) -> Blocks {
        let blocks = scanner.geometry.blocks;
        let step = (blocks / SAMPLES).max(1) as usize;
        let (mut right, mut of_volume, mut grown) = (0, 0, false);
        for block in (0..blocks).step_by(step).map(BlockIndex) {
            let Some(found) = header_of(scanner, scanner.geometry.block_at(block)) else { continue };
            of_volume += 1;
            right += usize::from(found.block == block);
            grown |= found.incompat & EXTENTS != 0;
        }
        Blocks { right, of_volume, tell_the_size: tell_the_size(scanner), grown }
    }
}

/// Whether the blocks on both sides of both inner copies stand, and the last one, and none of the volume behind it.
fn tell_the_size(scanner: &Scanner<'_>) -> bool {
    let geometry = scanner.geometry;
    let third = geometry.blocks / 3;
    let Some(last) = geometry.blocks.checked_sub(1) else { return false };
    let Some(before) = third.checked_sub(1) else { return false };
    let edges = [before, third, third + before, 2 * third, last].map(BlockIndex);
    let behind = geometry.block_at(BlockIndex(last)) + geometry.block_bytes as u64;
    edges.into_iter().all(|block| block_of(scanner, geometry.block_at(block)) == Some(block))
        && block_of(scanner, behind).is_none()
}

/// Which block of the volume says that it begins here.
fn block_of(scanner: &Scanner<'_>, at: u64) -> Option<BlockIndex> {
    header_of(scanner, at).map(|header| header.block)
}

fn header_of(scanner: &Scanner<'_>, at: u64) -> Option<BlockHeader> {
    let mut page = vec![0; scanner.geometry.page_bytes];
    scanner.disk.read_exact_at(&mut page, at).ok()?;
    let copies = [0, second_header_at(scanner.geometry.page_bytes)];
    let headers = copies.into_iter().filter_map(|at| BlockHeader::unseal(page.get(at..)?));
    let mut mine = headers.map(|(header, _)| header).filter(|header| header.volume == scanner.volume);
    mine.next()
}

/// How many of the other structures stand where this layout has them: before the blocks, and behind them.
fn structures_found(scanner: &Scanner<'_>) -> [usize; 2] {
    let (geometry, volume) = (scanner.geometry, scanner.volume);
    let read = |at: u64, length: usize| {
        let mut bytes = vec![0; length];
        scanner.disk.read_exact_at(&mut bytes, at).ok().map(|()| bytes)
    };
    let magic = table_magic(volume);
    let table = read(geometry.table_at(), SECTOR_BYTES)
        .and_then(|bytes| TableSector::unseal_as(magic, &bytes))
        .filter(|(sector, _)| sector.index == 0);
    let mut ends = [0, 1].map(|end| {
        let directory = read(geometry.directories_at()[end], DirectoryHeader::SIZE)
            .and_then(|bytes| DirectoryHeader::unseal(&bytes))
            .filter(|(header, _)| header.volume == volume);
        let hold = read(geometry.holds_at()[end], HoldSlot::SIZE)
            .and_then(|bytes| HoldSlot::read(&bytes, volume, 0));
        let session = read(geometry.sessions_at()[end], SessionSlot::SIZE)
            .and_then(|bytes| SessionSlot::unseal(&bytes))
            .filter(|(session, _)| session.volume == volume && session.slot == 0);
        let records = (0..u64::from(LOG_SLOTS)).filter(|slot| {
            read(geometry.slot_at(geometry.logs_at()[end], *slot), RoundHeader::SIZE)
                .and_then(|bytes| RoundHeader::unseal(&bytes))
                .is_some_and(|(header, _)| {
                    header.volume == volume && header.round.0 % u64::from(LOG_SLOTS) == *slot
                })
        });
        let single = [directory.is_some(), hold.is_some(), session.is_some()];
        single.into_iter().filter(|stands| *stands).count() + records.count()
    });
    ends[0] += usize::from(table.is_some());
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn two_blocks_of_any_volume_tell_where_all_of_its_blocks_are(
            size in (1_u64 << 20)..(1 << 34), page in 9_u32..=13, block in 14_u32..=22, streams in 1_u32..=64,
            first in 0.0..0.5_f64, second in 0.5..1.0_f64,
        ) {
            prop_assume!(block > page + 3);
            let Some(truth) = Geometry::derive(size, 1 << page, 1 << block, streams) else { return Ok(()) };
            let evidence = [first, second].map(|part| {
                let block = BlockIndex((f64::from(truth.blocks) * part) as u32);
                Evidence { at: truth.block_at(block), block, page_bytes: 1 << page, taken: WallTime(0), features: Features::default() }
            });
            prop_assume!(evidence[0].block != evidence[1].block);
            let fitting = fitting(&evidence, truth.size_bytes);
            prop_assert!(fitting.contains(&truth));
            // What else fits has these blocks in the same places; which of them counts is found out from the rest.
            for other in fitting {
                prop_assert!(evidence.iter().all(|block| other.block_at(block.block) == block.at));
            }
        }
    }
}
