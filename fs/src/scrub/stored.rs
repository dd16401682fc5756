//! The scrub's place as it stands in its two copies, of which the later one counts.

use crate::disk::ReadAt;
use crate::format::geometry::Geometry;
use crate::format::scrub::ScrubSlot;
use crate::types::VolumeId;

/// Each copy, where it stands, and whether anything does there.
pub(crate) fn copies(
    disk: &dyn ReadAt,
    geometry: &Geometry,
    volume: VolumeId,
) -> [(u64, Option<ScrubSlot>); 2] {
    geometry.scrub_at().map(|at| {
        let read = || {
            let mut page = vec![0; geometry.scrub_bytes];
            disk.read_exact_at(&mut page, at).ok()?;
            ScrubSlot::read(&page, volume)
        };
        // It may have been met while a live writer wrote it.
        (at, read().or_else(read))
    })
}

/// The later of the copies that stand; one that knows nothing if none does.
pub(crate) fn newest(disk: &dyn ReadAt, geometry: &Geometry, volume: VolumeId) -> ScrubSlot {
    let copies = copies(disk, geometry, volume).map(|(_, copy)| copy);
    let newest = copies.into_iter().flatten().max_by_key(|copy| copy.revision);
    newest.unwrap_or(ScrubSlot { volume, ..ScrubSlot::default() })
}
