//! Growing a volume: its file or partition has become larger, or shall, and the volume takes that in. Nothing of it moves.
//!
//! What it grows by is an extent behind it, see [`crate::format::extents`]: new blocks that were never taken, which a recorder
//! takes before it overwrites anything. Nobody may have the volume open for writing meanwhile.
//!
//! ```text
//! table of the extent, flushed -> superblock at the front, flushed -> the other superblocks in their order, each flushed
//! ```
//!
//! Before the superblock at the front the volume is the old one, and nothing of it was touched; from it on it is the new one. The
//! other copies are brought in line as a writer does that finds some of them older: the last step *is* such a writer, which takes no
//! block, so that its session is noted, and a growth that was cut off is ended by the next one, whoever that is.
//!
//! Promises:
//! - footage is neither read nor written;
//! - cut off anywhere, the volume is the old one or the new one, with all of its footage, and opens by itself;
//! - what stands in the added space counts for nothing: superblocks of other volumes have another identity; one of this volume that is
//!   newer stands in no place that the volume had when it was created, and does not count ([`crate::recover`]); rows in the table were never
//!   taken, and the round record knows of no block there. Blocks of this very volume, left by another life of it, are refused.
//!
//! What must not live here: where the parts of an extent stand.

mod place;

pub use place::{GrowOptions, GrowReport, grow, plan_grow};

use crate::clock::Clock;
use crate::create::empty_table;
use crate::disk::{Disk, ReadAt};
use crate::error::{Error, Result};
use crate::format::block::{BlockHeader, second_header_at};
use crate::format::extents::EXTENTS_MAX;
use crate::format::geometry::{BLOCKS_MAX, Geometry};
use crate::format::superblock::Superblock;
use crate::format::{Framed, SECTOR_BYTES};
use crate::recover::{Recovered, highest_generation, recover_to_write};
use crate::types::BlockIndex;
use crate::writer::copies::write_flushed;
use crate::writer::engine::{Engine, EngineOptions, superblock_of};
use crate::writer::writes::{Purpose, Writes};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// How much of a table is written at once, in bytes.
const PIECE_BYTES: usize = 1 << 20;
/// How many zeros are written at once, in bytes.
const ZEROS_BYTES: u64 = 4 << 20;

/// A volume before and after.
#[derive(Debug)]
pub(crate) struct Growth {
    /// What it is now.
    pub(crate) before: Superblock,
    old: Geometry,
    /// What it will be.
    pub(crate) after: Superblock,
    /// Where everything stands then.
    pub(crate) geometry: Geometry,
}

impl Growth {
    /// Lays out how a volume as found grows to this size, or a little less.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it cannot.
    pub(crate) fn plan(
        recovered: &Recovered,
        disk: &dyn ReadAt,
        size_bytes: u64,
        path: &Path,
    ) -> Result<Growth> {
        let (old, before) = (&recovered.geometry, &recovered.superblock);
        let Some(geometry) = old.grown(size_bytes) else {
            let another = "make another one beside it, or a larger one and `keha volume copy`";
            let why = if old.extents.len() >= EXTENTS_MAX {
                format!("the volume has grown {EXTENTS_MAX} times, as often as one can: {another}")
            } else if old.blocks >= BLOCKS_MAX {
                format!("the volume has {BLOCKS_MAX} blocks, as many as one can have: {another}")
            } else {
                format!(
                    "the volume has {} bytes, and {size_bytes} leave no room for one more block of {} bytes: give it more",
                    old.size_bytes, old.block_bytes
                )
            };
            return Err(Error::Invalid(format!("{}: {why}", path.display())));
        };
        let generation = highest_generation(disk, before).saturating_add(1);
        let after = Superblock {
            generation: if planted!(GrowthKeepsGeneration) { before.generation } else { generation },
            recorder: before.recorder,
            volume: before.volume,
            volume_set: before.volume_set,
            created: before.created,
            label: before.label,
            version: before.version,
            compat: before.compat,
            ro_compat: before.ro_compat,
            ..superblock_of(&geometry)
        };
        Ok(Growth { before: before.clone(), old: old.clone(), after, geometry })
    }

    /// How large file or device must be for all blocks that it gets, in bytes: less than they are where a volume has no more.
    pub(crate) fn needed_bytes(&self) -> u64 {
        let end = self.geometry.extents.last().map_or(0, |extent| {
            extent.blocks_at + u64::from(extent.blocks) * self.geometry.block_bytes as u64
        });
        end + (self.geometry.size_bytes - self.geometry.copies_at.last().copied().unwrap_or_default())
    }

    /// A block of this very volume that stands where it will have a new one. `progress` is told bytes done and bytes in all.
    ///
    /// # Errors
    /// [`Error::Io`] after a `Break`.
    pub(crate) fn left_behind(
        &self,
        disk: &dyn ReadAt,
        path: &Path,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Option<BlockIndex>> {
        let (geometry, old) = (&self.geometry, self.old.blocks);
        let in_all = u64::from(geometry.blocks - old) * geometry.block_bytes as u64;
        let mut page = vec![0; geometry.page_bytes];
        for (done, block) in (0..).zip((old..geometry.blocks).map(BlockIndex)) {
            if progress(done * geometry.block_bytes as u64, in_all).is_break() {
                return Err(stopped(path));
            }
            // What cannot be read now is found bad by whoever takes it.
            let read = disk.read_exact_at(&mut page, geometry.block_at(block)).is_ok();
            let mut copies = [0, second_header_at(geometry.page_bytes)].into_iter();
            let header = |at| Some(BlockHeader::unseal(page.get(at..)?)?.0);
            let volume = self.after.volume;
            if read && copies.any(|at| header(at).is_some_and(|header| header.volume == volume)) {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    /// Writes zeros over all that is added, durably.
    ///
    /// # Errors
    /// [`Error::Io`], also after a `Break`.
    pub(crate) fn clear<D: Disk>(
        &self,
        disk: &mut D,
        path: &Path,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<()> {
        let (begin, end) = (self.old.size_bytes, self.geometry.size_bytes);
        let failed = |source| Error::io("write zeros to", path, source);
        let mut writes = Writes::new(disk);
        for at in (begin..end).step_by(ZEROS_BYTES as usize) {
            if progress(at - begin, end - begin).is_break() {
                return Err(stopped(path));
            }
            let buffer = writes.buffer((end - at).min(ZEROS_BYTES) as usize);
            writes.submit(at, Arc::new(buffer), Purpose::Metadata);
            writes.wait();
            if !writes.failed().is_empty() {
                writes.retry_failed(Purpose::Metadata);
            }
            if !writes.failed().is_empty() {
                let said = writes.last_error().map(crate::writer::writes::copy_error);
                return Err(failed(said.unwrap_or_else(|| io::Error::other("a write failed"))));
            }
            writes.settle();
        }
        let _nothing_left_to_stop = progress(end - begin, end - begin);
        // The zeros are not kept until here: where this fails, nobody knows which of them are missing.
        writes.flush_once().map_err(failed)
    }

    /// Writes the extent, and then the superblock at the front: from there on the volume is the new one.
    ///
    /// # Errors
    /// [`Error::Io`]; the volume is the old one then, or, if it was the superblock that failed, either.
    fn extend<D: Disk>(&self, disk: &mut D, path: &Path) -> Result<()> {
        let mut writes = Writes::new(disk);
        let own = self.geometry.extents.last().filter(|_| !planted!(ExtentTableNotWritten));
        if let Some(extent) = own.filter(|extent| extent.table_bytes > 0) {
            let rows = empty_table(self.after.volume, extent.first_sector, extent.table_bytes);
            for (at, piece) in (extent.table_at..).step_by(PIECE_BYTES).zip(rows.chunks(PIECE_BYTES)) {
                let mut buffer = writes.buffer(piece.len());
                buffer.copy_from_slice(piece);
                if planted!(GrownBeforeFlushed) {
                    writes.submit(at, Arc::new(buffer), Purpose::Metadata);
                    continue;
                }
                write_flushed(&mut writes, at, buffer, "write the new part of", path)?;
            }
        }
        let mut page = writes.buffer(self.geometry.page_bytes);
        self.after.seal(&mut page);
        write_flushed(&mut writes, 0, page, "write the superblock of", path)
    }
}

/// Grows a volume on a disk that is large enough, to the end.
///
/// # Errors
/// [`Error::Io`]; those of opening for writing. Wherever it ends, the volume is the old one or the new one.
pub(crate) fn grow_on<D: Disk>(
    mut disk: D,
    reader: Arc<dyn ReadAt>,
    clock: Arc<dyn Clock>,
    options: EngineOptions,
    growth: &Growth,
) -> Result<()> {
    growth.extend(&mut disk, &options.path)?;
    let recovered = recover_to_write(&*reader, &options.path, options.pause)?;
    if recovered.superblock != growth.after {
        let what =
            "the superblock (what was just written there is not what counts; nothing more was written)"
                .to_owned();
        return Err(Error::Corrupt { what, at: 0 });
    }
    let (mut engine, _) = Engine::open_to_repair(disk, reader, clock, options, recovered)?;
    engine.close()
}

fn stopped(path: &Path) -> Error {
    Error::io(
        "grow",
        path,
        io::Error::new(io::ErrorKind::Interrupted, "stopped on request; nothing of it counts"),
    )
}

const _: () = assert!(PIECE_BYTES.is_multiple_of(SECTOR_BYTES));
