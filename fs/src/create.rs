//! Creating a volume, in a new file or on a device.

mod device;

use crate::clock::{Clock, ClockSync, SystemClock};
use crate::disk::{AlignedBuffer, create_file};
use crate::error::{Error, Result};
use crate::format::directory::Directory;
use crate::format::geometry::{BLOCKS_MAX, Geometry, STREAMS_MAX};
use crate::format::hold::HoldSlot;
use crate::format::round::{RoundHeader, RoundRecord};
use crate::format::scrub::ScrubSlot;
use crate::format::session::SessionSlot;
use crate::format::superblock::Superblock;
use crate::format::table::{TableSector, table_magic};
use crate::format::{FORMAT_VERSION, Framed, SECTOR_BYTES, Text};
use crate::partition;
use crate::reader::volume_info;
use crate::report::VolumeInfo;
use crate::session::{self, Opener};
use crate::types::{Epoch, RoundNumber, Uuid, VolumeId};
use crate::writer::engine::superblock_of;
use std::fs::OpenOptions;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MIB: u64 = 1 << 20;
/// The unit of writing in bytes: that of today's disks.
const PAGE_BYTES: usize = 4096;
/// The smallest and the largest block that is offered, in bytes.
const BLOCK_BYTES: (u64, u64) = (MIB, 256 * MIB);
/// Blocks a volume should have at least, so that one is a small part of it.
const BLOCKS_WANTED: u64 = 1024;
/// Streams for which there is room if nothing is asked for.
const STREAMS_DEFAULT: u32 = 64;

/// How a volume shall be.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// Its whole size in bytes; 0 on a device: all of it.
    pub size_bytes: u64,
    /// On a device: also where another program's signature stands, or where it is not said that it is meant for a volume.
    pub force: bool,
    /// On a device: the volume that is there, all of which is lost.
    pub overwrite: Option<VolumeId>,
    /// The size of a block; chosen by the volume's size if `None`.
    pub block_bytes: Option<u32>,
    /// How many streams it must be able to have; chosen by the number of blocks if `None`.
    pub streams_max: Option<u32>,
    /// A name for people, at most 64 bytes.
    pub label: String,
    /// Write zeros over all of it, so that the first lap is as fast as the later ones.
    pub prewrite: bool,
    /// Who creates it: noted in the volume.
    pub opener: Opener,
}

/// What would be created, without touching anything.
///
/// # Errors
/// [`Error::Invalid`] if the sizes do not work out.
pub fn plan(options: &CreateOptions) -> Result<VolumeInfo> {
    lay_out(options).map(|(superblock, _)| volume_info(&superblock))
}

/// As [`plan`], in this place: of a device everything is asked that [`create`] asks.
///
/// # Errors
/// Those of [`create`].
pub fn plan_at(path: &Path, options: &CreateOptions) -> Result<VolumeInfo> {
    if partition::is_device(path)? { device::plan(path, options) } else { plan(options) }
}

/// Creates a volume in a new file, or on a partition or device. `progress` is told bytes done and bytes in all; a `Break` ends the matter.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Exists`], [`Error::Io`]; no file is left behind then. Of a device [`Error::NoDevice`],
/// [`Error::InUse`], [`Error::Locked`], [`Error::NotSafe`] and [`Error::HoldsVolume`], and nothing was written; [`Error::Io`] later may
/// leave it without a volume.
pub fn create(
    path: &Path,
    options: &CreateOptions,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<VolumeInfo> {
    if partition::is_device(path)? {
        return device::create(path, options, progress);
    }
    let (superblock, geometry) = lay_out(options)?;
    create_file(path, geometry.size_bytes, options.prewrite, progress)?;
    format(path, &superblock, &geometry, &options.opener).inspect_err(|_| {
        // Only what was made a moment ago goes; that it cannot go is the lesser error.
        let _kept = std::fs::remove_file(path);
    })?;
    Ok(volume_info(&superblock))
}

/// For how many streams a volume of this size with blocks of this size has room if nothing is asked for.
pub(crate) fn streams_by_default(size_bytes: u64, block_bytes: u64) -> u32 {
    let room = (size_bytes / block_bytes).saturating_sub(2) / 3;
    u32::try_from(room).unwrap_or(STREAMS_MAX).min(STREAMS_DEFAULT)
}

fn lay_out(options: &CreateOptions) -> Result<(Superblock, Geometry)> {
    let size = options.size_bytes;
    let block = match options.block_bytes.map(u64::from) {
        Some(block) if block.is_power_of_two() && (BLOCK_BYTES.0..=BLOCK_BYTES.1).contains(&block) => block,
        Some(block) => {
            return Err(Error::Invalid(format!(
                "a block of {block} bytes: use a power of two from 1MiB to 256MiB"
            )));
        }
        None => {
            let wanted = (size / BLOCKS_WANTED).max(1);
            (1 << wanted.ilog2()).clamp(BLOCK_BYTES.0, BLOCK_BYTES.1)
        }
    };
    if size / block > u64::from(BLOCKS_MAX) {
        return Err(Error::Invalid(format!(
            "{size} bytes are more than {BLOCKS_MAX} blocks of {block} bytes"
        )));
    }
    let streams = options.streams_max.unwrap_or(streams_by_default(size, block)).max(1);
    let too_small = || {
        Error::Invalid(format!(
            "a volume of {size} bytes is too small for {streams} streams: each needs three blocks of {block} bytes, \
             and the metadata some; use a larger --size or fewer --streams"
        ))
    };
    if streams > STREAMS_MAX {
        return Err(Error::Invalid(format!(
            "{streams} streams are more than the {STREAMS_MAX} a volume can have"
        )));
    }
    let geometry = Geometry::derive(size, PAGE_BYTES, block as usize, streams).ok_or_else(too_small)?;
    let asked_too_much =
        options.streams_max.is_some() && u64::from(geometry.blocks) < 3 * u64::from(streams) + 2;
    if geometry.blocks < 5 || asked_too_much {
        return Err(too_small());
    }
    let label =
        Text::new(&options.label).ok_or_else(|| Error::Invalid("a label has at most 64 bytes".to_owned()))?;
    let superblock = Superblock {
        volume: VolumeId::random(),
        recorder: Uuid::new_v4(),
        generation: 1,
        created: SystemClock::new().wall(),
        label,
        ..superblock_of(&geometry)
    };
    Ok((superblock, geometry))
}

/// Every structure of an empty volume, and where it stands. The superblock at the front comes last.
pub(crate) fn empty_structures(
    superblock: &Superblock,
    geometry: &Geometry,
    opener: &Opener,
    clock: ClockSync,
) -> Vec<(u64, Vec<u8>)> {
    let mut structures = Vec::new();
    let mut directory = vec![0; geometry.page_bytes];
    Directory::default().seal(superblock.volume, &mut directory);
    structures.extend(geometry.directories_at().map(|at| (at, directory.clone())));
    let mut holds = vec![0; geometry.holds_bytes];
    for (slot, place) in (0..geometry.holds_max).zip(holds.chunks_exact_mut(HoldSlot::SIZE)) {
        HoldSlot { volume: superblock.volume, slot, ..HoldSlot::default() }.seal(place);
    }
    structures.extend(geometry.holds_at().map(|at| (at, holds.clone())));
    let mut sessions = vec![0; geometry.sessions_bytes];
    let created = creation(superblock, opener, clock);
    for (slot, place) in (0..geometry.sessions_max).zip(sessions.chunks_exact_mut(SessionSlot::SIZE)) {
        let session = if slot == 0 { created.clone() } else { SessionSlot::default() };
        SessionSlot { volume: superblock.volume, slot, ..session }.seal(place);
    }
    structures.extend(geometry.sessions_at().map(|at| (at, sessions.clone())));
    let mut scrub = vec![0; geometry.scrub_bytes];
    ScrubSlot { volume: superblock.volume, ..ScrubSlot::default() }.seal(&mut scrub);
    structures.extend(geometry.scrub_at().map(|at| (at, scrub.clone())));
    let tables = geometry.tables().filter(|(.., bytes)| *bytes > 0);
    structures.extend(tables.map(|(first, at, bytes)| (at, empty_table(superblock.volume, first, bytes))));
    let mut slot = vec![0; geometry.page_bytes];
    let header = RoundHeader {
        version: FORMAT_VERSION,
        closed: true,
        round: RoundNumber(1),
        volume: superblock.volume,
        at: superblock.created,
        ..RoundHeader::default()
    };
    RoundRecord { header, ..RoundRecord::default() }.seal(&mut slot);
    structures.extend(geometry.logs_at().map(|log_at| (geometry.slot_at(log_at, 1), slot.clone())));
    let mut page = vec![0; geometry.page_bytes];
    superblock.seal(&mut page);
    structures.extend(geometry.copies_at.iter().rev().map(|at| (*at, page.clone())));
    structures
}

/// A part of the block table, from a sector of it on, of blocks that were never taken.
pub(crate) fn empty_table(volume: VolumeId, first_sector: usize, bytes: usize) -> Vec<u8> {
    let mut table = vec![0; bytes];
    for (index, sector) in (first_sector as u32..).zip(table.chunks_exact_mut(SECTOR_BYTES)) {
        let rows = TableSector::new(index, RoundNumber(0), Default::default());
        rows.seal_as(table_magic(volume), sector);
    }
    table
}

/// The session of epoch 0: the creation itself.
fn creation(superblock: &Superblock, opener: &Opener, clock: ClockSync) -> SessionSlot {
    let begun = session::begun(opener, Epoch(0), superblock.created, clock);
    session::closed(&begun, superblock.created, clock, 0, RoundNumber(1))
}

fn format(path: &Path, superblock: &Superblock, geometry: &Geometry, opener: &Opener) -> Result<()> {
    let failed = |source| Error::io("write the metadata of", path, source);
    let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
    let structures = empty_structures(superblock, geometry, opener, SystemClock::new().sync());
    let mut write = |at, bytes: &[u8]| file.write_all_at(&AlignedBuffer::from(bytes), at);
    lay_down(structures, geometry, &mut write, &mut || file.sync_all()).map_err(failed)
}

/// Writes the structures of an empty volume: all others are durable before the first superblock is written, so that what is cut off
/// is no volume, or a whole one.
fn lay_down(
    mut structures: Vec<(u64, Vec<u8>)>,
    geometry: &Geometry,
    write: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
    flush: &mut dyn FnMut() -> io::Result<()>,
) -> io::Result<()> {
    let superblocks = structures.split_off(structures.len().saturating_sub(geometry.copies_at.len()));
    for part in [structures, superblocks] {
        part.iter().try_for_each(|(at, bytes)| write(*at, bytes))?;
        flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn no_superblock_is_written_before_all_else_is_durable_and_the_one_at_the_front_is_the_last() {
        let options = CreateOptions { size_bytes: 32 * MIB, ..CreateOptions::default() };
        let (superblock, geometry) = lay_out(&options).expect("it works out");
        let structures = empty_structures(&superblock, &geometry, &Opener::default(), ClockSync::Unknown);
        let count = structures.len();
        let steps = RefCell::new(Vec::new());
        let mut write = |at, bytes: &[u8]| {
            steps.borrow_mut().push(Some((at, Superblock::read(bytes).is_some())));
            Ok(())
        };
        let mut flush = || {
            steps.borrow_mut().push(None);
            Ok(())
        };
        lay_down(structures, &geometry, &mut write, &mut flush).expect("written");
        let steps = steps.into_inner();
        let parts: Vec<_> = steps.split(Option::is_none).collect();
        let [others, superblocks, []] = parts.as_slice() else { panic!("{steps:?}") };
        assert_eq!((others.len() + superblocks.len(), superblocks.len()), (count, geometry.copies_at.len()));
        assert!(others.iter().flatten().all(|(_, is_superblock)| !is_superblock), "{others:?}");
        assert!(superblocks.iter().flatten().all(|(_, is_superblock)| *is_superblock), "{superblocks:?}");
        assert_eq!(superblocks.last(), Some(&Some((0, true))));
    }

    #[test]
    fn what_cannot_be_made_durable_gets_no_superblock() {
        let options = CreateOptions { size_bytes: 32 * MIB, ..CreateOptions::default() };
        let (superblock, geometry) = lay_out(&options).expect("it works out");
        let structures = empty_structures(&superblock, &geometry, &Opener::default(), ClockSync::Unknown);
        let mut superblocks = 0;
        let mut write = |_, bytes: &[u8]| {
            superblocks += usize::from(Superblock::read(bytes).is_some());
            Ok(())
        };
        let refused = lay_down(structures, &geometry, &mut write, &mut || Err(io::ErrorKind::Other.into()));
        assert!(refused.is_err());
        assert_eq!(superblocks, 0);
    }
}
