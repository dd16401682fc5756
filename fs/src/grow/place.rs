//! Growing a volume where it stands: its file is made larger first, its partition must be already.
//!
//! Everything is asked before anything is written. A file that could not be made large enough is as long as it was. What the added
//! space of a partition begins with is looked at as where a volume is created: it may have been another one's a moment ago.

use super::{Growth, grow_on};
use crate::clock::{Clock, SystemClock};
use crate::disk::{Device, Disk, FileDisk, FileOptions, FileReader, ReadAt, extend_file};
use crate::error::{Error, Result};
use crate::format::geometry::BLOCKS_MAX;
use crate::partition::{self, guard};
use crate::reader::volume_info;
use crate::recover::recover_to_write;
use crate::report::VolumeInfo;
use crate::session::Opener;
use crate::writer::engine::{EngineOptions, check_writable};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// How a volume shall grow.
#[derive(Clone, Debug, Default)]
pub struct GrowOptions {
    /// How large its file shall be, in bytes; 0: as large as it is. Of a device, how much of it the volume shall have; 0: all.
    pub size_bytes: u64,
    /// On a device: also where another program's signature stands in the added space.
    pub force: bool,
    /// Write zeros over all that is added.
    pub prewrite: bool,
    /// Who grows it: noted in the volume.
    pub opener: Opener,
}

/// What a volume was, and what it has grown to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrowReport {
    /// Before.
    pub before: VolumeInfo,
    /// After.
    pub after: VolumeInfo,
}

impl GrowReport {
    fn of(growth: &Growth) -> GrowReport {
        GrowReport { before: volume_info(&growth.before), after: volume_info(&growth.after) }
    }
}

/// Says what [`grow`] would do. Writes nothing and takes no lock.
///
/// # Errors
/// Those of [`grow`], but for [`Error::Locked`].
pub fn plan_grow(path: &Path, options: &GrowOptions) -> Result<GrowReport> {
    let reader = FileReader::open(path)?;
    let alignment_bytes = reader.alignment_bytes();
    if partition::is_device(path)? {
        drop(Device::look(path)?);
    }
    let growth =
        Asked { path, options, alignment_bytes }.plan(&reader, &mut |_, _| ControlFlow::Continue(()))?;
    Ok(GrowReport::of(&growth))
}

/// Grows a volume that nobody writes. `progress` is told bytes done and bytes in all; a `Break` ends the matter, as long as the
/// volume is not about to be written to.
///
/// # Errors
/// [`Error::Invalid`] where the size does not work out; [`Error::Locked`], [`Error::InUse`], [`Error::NotSafe`] and [`Error::NoDevice`] where
/// it may not be written; [`Error::NotAVolume`], [`Error::Unsupported`], [`Error::CutShort`], [`Error::Corrupt`] as for any writer;
/// [`Error::Io`]. The volume is what it was then, or, after [`Error::Io`] alone, what it shall be: asked again it says so.
pub fn grow(
    path: &Path,
    options: &GrowOptions,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<GrowReport> {
    let mut disk = FileDisk::open(path, &FileOptions::default())?;
    let mut reader = FileReader::open(path)?;
    let asked = Asked { path, options, alignment_bytes: disk.alignment_bytes() };
    let mut growth = asked.plan(&reader, progress)?;
    if !partition::is_device(path)? {
        let (there, wanted) = (reader.size_bytes(), asked.size_bytes(&reader)?);
        extend_file(path, wanted)?;
        if wanted > there {
            // What is open knows of the size that it had.
            drop(disk);
            disk = FileDisk::open(path, &FileOptions::default())?;
            reader = FileReader::open(path)?;
            growth = asked.plan(&reader, progress)?;
        }
    }
    if options.prewrite {
        growth.clear(&mut disk, path, progress)?;
    }
    let engine_options = EngineOptions::offline(path, options.opener.clone());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    grow_on(disk, Arc::new(reader), clock, engine_options, &growth)?;
    Ok(GrowReport::of(&growth))
}

/// What is asked for, and where.
struct Asked<'a> {
    path: &'a Path,
    options: &'a GrowOptions,
    alignment_bytes: u32,
}

impl Asked<'_> {
    /// How large file or device shall be.
    fn size_bytes(&self, disk: &dyn ReadAt) -> Result<u64> {
        let (there, wanted) = (disk.size_bytes(), self.options.size_bytes);
        let path = self.path.display();
        match wanted {
            0 => Ok(there),
            _ if partition::is_device(self.path)? && wanted > there => Err(Error::Invalid(format!(
                "{path}: {wanted} bytes are more than the {there} that it has: make the partition larger first, as docs/partitions.md says"
            ))),
            _ if !partition::is_device(self.path)? && wanted < there => Err(Error::Invalid(format!(
                "{path}: the file has {there} bytes already: leave the size out for all of them, or give a larger one"
            ))),
            _ => Ok(wanted),
        }
    }

    /// Asks everything, and lays out how it grows.
    fn plan(
        &self,
        disk: &FileReader,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Growth> {
        let recovered = recover_to_write(disk, self.path, std::thread::sleep)?;
        check_writable(&recovered, disk.size_bytes(), self.alignment_bytes, self.path)?;
        let growth = Growth::plan(&recovered, disk, self.size_bytes(disk)?, self.path)?;
        let spare = growth.geometry.size_bytes.saturating_sub(growth.needed_bytes());
        if self.options.size_bytes > disk.size_bytes() && spare > growth.geometry.block_bytes as u64 {
            return Err(Error::Invalid(format!(
                "{}: a volume has {BLOCKS_MAX} blocks at most, and {} bytes are enough for them",
                self.path.display(),
                growth.needed_bytes()
            )));
        }
        if partition::is_device(self.path)? {
            guard::empty_from(self.path, disk, recovered.geometry.size_bytes, self.options.force)?;
        }
        if self.options.prewrite {
            return Ok(growth);
        }
        match growth.left_behind(disk, self.path, progress)? {
            None => Ok(growth),
            Some(block) => Err(Error::Invalid(format!(
                "{}: where its block {block} will be one of this very volume stands, of another time: a copy of the volume was put over its \
                 front. To take in the space all the same, and lose what stands there, give --prewrite",
                self.path.display()
            ))),
        }
    }
}
