//! Creating a volume on a partition or another block device: nothing of anybody else's goes, and nothing of an earlier volume stays
//! that could be taken for this one.
//!
//! Nothing is written before everything was asked. What is cut off in between is no volume: superblocks come last, when all else is
//! durable, those of a volume that was there go first.

use std::ops::ControlFlow;
use std::path::Path;

use super::{CreateOptions, empty_structures, lay_down, lay_out};
use crate::clock::{Clock, SystemClock};
use crate::disk::{Device, ReadAt};
use crate::error::{Error, Result};
use crate::format::geometry::Geometry;
use crate::format::superblock::Superblock;
use crate::partition::guard;
use crate::reader::volume_info;
use crate::recover::{Seen, seen, seen_by_superblock};
use crate::report::VolumeInfo;

/// What is cleared at both ends: all places where other programs look for what is theirs.
const CLEARED_BYTES: u64 = 1 << 20;
/// The unit of clearing: a sector of any disk.
const PAGE_BYTES: u64 = 4096;
/// More volumes than ever stood on one disk.
const VOLUMES_MAX: usize = 64;

/// What would be created, after everything was asked; writes nothing.
pub(super) fn plan(path: &Path, options: &CreateOptions) -> Result<VolumeInfo> {
    let device = Device::look(path)?;
    let Prepared { superblock, .. } = prepare(path, &device, options)?;
    Ok(volume_info(&superblock))
}

pub(super) fn create(
    path: &Path,
    options: &CreateOptions,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<VolumeInfo> {
    let device = Device::claim(path)?;
    let Prepared { superblock, geometry, goes } = prepare(path, &device, options)?;
    let failed = |source| Error::io("write to", path, source);
    clear(path, &device, goes)?;
    if options.prewrite {
        device.prewrite(geometry.size_bytes, progress).map_err(failed)?;
    }
    let structures = empty_structures(&superblock, &geometry, &options.opener, SystemClock::new().sync());
    lay_down(structures, &geometry, &mut |at, bytes| device.write(at, bytes), &mut || device.flush())
        .map_err(failed)?;
    Ok(volume_info(&superblock))
}

/// What is known once everything was asked.
struct Prepared {
    superblock: Superblock,
    geometry: Geometry,
    /// The volume that goes.
    goes: Option<Seen>,
}

/// Asks everything, and lays the volume out.
fn prepare(path: &Path, device: &Device, options: &CreateOptions) -> Result<Prepared> {
    device.meant(options.force)?;
    let reader = device.reader()?;
    let room = reader.size_bytes();
    let goes = seen(&reader);
    match (&goes, options.overwrite) {
        (Some(seen), Some(named)) if seen.volume == named => {}
        (Some(seen), _) => {
            return Err(Error::HoldsVolume {
                path: path.to_owned(),
                id: seen.volume,
                detail: described(seen),
            });
        }
        (None, Some(named)) => {
            let detail = format!(
                "no volume {named} can be seen on it: without --overwrite this is looked at as a device without a volume"
            );
            return Err(Error::NotSafe { path: path.to_owned(), detail });
        }
        (None, None) => {}
    }
    guard::empty(path, &reader, options.force)?;
    let size_bytes = if options.size_bytes == 0 { room } else { options.size_bytes };
    if size_bytes > room {
        return Err(Error::Invalid(format!(
            "{}: {size_bytes} bytes are more than the {room} that it has; leave --size out for all of it",
            path.display()
        )));
    }
    let (superblock, geometry) = lay_out(&CreateOptions { size_bytes, ..options.clone() })?;
    Ok(Prepared { superblock, geometry, goes })
}

/// What is told of a volume beside its identity.
fn described(seen: &Seen) -> String {
    let lost =
        "its superblocks in front and at the end are lost: `keha volume check --repair` may bring it back";
    let told: Vec<&str> = [seen.label.as_str(), if seen.outer_lost { lost } else { "" }]
        .into_iter()
        .filter(|told| !told.is_empty())
        .collect();
    if told.is_empty() { String::new() } else { format!(" ({})", told.join("; ")) }
}

/// Takes away what other programs and volumes before this one would be recognised by. `goes`: the volume that was seen.
fn clear(path: &Path, device: &Device, mut goes: Option<Seen>) -> Result<()> {
    let reader = device.reader()?;
    let size = reader.size_bytes();
    let failed = |source| Error::io("write to", path, source);
    let zeros = vec![0; CLEARED_BYTES.min(size) as usize];
    // Those of a volume that was there go before anything else does, and a smaller one before it may stand behind it.
    for _ in 0..VOLUMES_MAX {
        let Some(seen) = goes else { break };
        let page = zeros.get(..PAGE_BYTES as usize).unwrap_or_default();
        for at in seen.superblocks_at.into_iter().filter(|at| at.saturating_add(PAGE_BYTES) <= size) {
            device.write(at / PAGE_BYTES * PAGE_BYTES, page).map_err(failed)?;
        }
        goes = seen_by_superblock(&reader);
    }
    // Both ends begin on a sector: the size is whole sectors, and so is what is cleared.
    device.write(0, &zeros).and_then(|()| device.write(size - zeros.len() as u64, &zeros)).map_err(failed)?;
    device.flush().map_err(failed)
}
