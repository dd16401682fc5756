//! Sessions as found on a disk: two copies of a row of slots, of which the later one of each slot counts.

use super::{Session, SessionEnd, SessionLog, merge, session_of};
use crate::disk::ReadAt;
use crate::format::Framed;
use crate::format::geometry::Geometry;
use crate::format::session::{SESSION_CLOSED, SESSION_NONE, SessionSlot};
use crate::recover::{Stretch, finding, note};
use crate::report::Finding;
use crate::salvage::read_what_can_be;
use crate::types::{Epoch, RoundNumber, VolumeId};
use std::collections::BTreeMap;

type Found = Option<(SessionSlot, u32)>;

/// Reads `count` slots from the one numbered `first`, which stands at `at`. What cannot be read or does not verify is none.
pub(crate) fn read_slots(disk: &dyn ReadAt, at: u64, volume: VolumeId, first: u32, count: u32) -> Vec<Found> {
    let bytes = read(disk, at, count);
    let slots = (first..).zip(bytes.chunks_exact(SessionSlot::SIZE));
    slots
        .map(|(slot, bytes)| {
            SessionSlot::read(bytes, volume, slot).or_else(|| again(disk, at, volume, first, slot))
        })
        .collect()
}

/// Looks at a slot once more: it may have been met while a live writer wrote it.
fn again(disk: &dyn ReadAt, at: u64, volume: VolumeId, first: u32, slot: u32) -> Found {
    let mut sector = [0; SessionSlot::SIZE];
    disk.read_exact_at(&mut sector, at + u64::from(slot - first) * SessionSlot::SIZE as u64).ok()?;
    SessionSlot::read(&sector, volume, slot)
}

/// The sessions of a volume. A copy that does not verify is a finding, and one that is older than the other: but for the page
/// of the newest session, between whose writes a crash may have come; the next writer brings its copies in line.
pub(crate) fn read_log(
    disk: &dyn ReadAt,
    geometry: &Geometry,
    volume: VolumeId,
    findings: &mut Vec<Finding>,
) -> SessionLog {
    let [front, back] = geometry.sessions_at().map(|at| {
        let slots = read_slots(disk, at, volume, 0, geometry.sessions_max);
        let mut bad: Vec<Stretch<()>> = Vec::new();
        for (index, _) in (0..).zip(&slots).filter(|(_, slot)| slot.is_none()) {
            note(&mut bad, index, ());
        }
        for Stretch { first, count, .. } in bad {
            let detail = match count {
                1 => "this copy does not verify".to_owned(),
                count => format!("{count} slots of this copy do not verify"),
            };
            findings.push(finding("session", at + u64::from(first) * SessionSlot::SIZE as u64, detail));
        }
        slots
    });
    let merged = merge(front.clone(), back.clone());
    let newest = merged.iter().flatten().map(|(slot, _)| (slot.epoch, slot.slot)).max().unwrap_or_default();
    // The slots in a page are written together.
    let per_page = (geometry.page_bytes / SessionSlot::SIZE).max(1) as u32;
    let both = (0..).zip(front.into_iter().zip(back)).zip(&merged);
    for ((slot, copies), counts) in both {
        let (Some(counts), (Some(front), Some(back))) = (counts, &copies) else { continue };
        if counts.0.slot / per_page == newest.1 / per_page || front == back {
            continue;
        }
        // A live writer may have gone on between the two.
        let [front, back] = geometry.sessions_at().map(|at| again(disk, at, volume, 0, slot));
        if let (Some(front), Some(back)) = (front, back)
            && front != back
        {
            let older = usize::from(front.0.age() >= back.0.age());
            let at = geometry.sessions_at()[older] + u64::from(slot) * SessionSlot::SIZE as u64;
            let detail = "this copy is older than the other, which stands in".to_owned();
            findings.push(finding("session", at, detail));
        }
    }
    let stands = merged.into_iter().flatten();
    let by_epoch: BTreeMap<Epoch, (SessionSlot, u32)> =
        stands.filter(|(slot, _)| slot.state != SESSION_NONE).map(|found| (found.0.epoch, found)).collect();
    log_of(&by_epoch, geometry.sessions_max)
}

/// The newest epoch that any session took, and the most seconds that any knew the volume to have been open for writing. What only
/// a forged slot can say does not count.
pub(crate) fn newest(disk: &dyn ReadAt, geometry: &Geometry, volume: VolumeId) -> (Epoch, u64) {
    let copies = geometry.sessions_at().map(|at| read_slots(disk, at, volume, 0, geometry.sessions_max));
    let slots = copies.into_iter().flatten().flatten().map(|(slot, _)| slot);
    let sessions = slots.filter(|slot| slot.state != SESSION_NONE && slot.epoch.0 < u32::MAX / 2);
    sessions.fold((Epoch(0), 0), |(epoch, running), slot| {
        let known = [slot.began_running, slot.ended_running].into_iter().filter(|s| *s <= u64::MAX / 2);
        (epoch.max(slot.epoch), known.fold(running, u64::max))
    })
}

/// Whether a session says that it closed the volume with this round.
pub(crate) fn was_closed_with(
    disk: &dyn ReadAt,
    geometry: &Geometry,
    volume: VolumeId,
    round: RoundNumber,
) -> bool {
    let copies = geometry.sessions_at().map(|at| read_slots(disk, at, volume, 0, geometry.sessions_max));
    let mut slots = copies.into_iter().flatten().flatten();
    slots.any(|(slot, _)| slot.state == SESSION_CLOSED && slot.last_round == round)
}

/// The log that these slots make.
fn log_of(by_epoch: &BTreeMap<Epoch, (SessionSlot, u32)>, room: u32) -> SessionLog {
    let before = |epoch: Epoch| by_epoch.get(&Epoch(epoch.0.checked_sub(1)?));
    let after = |epoch: Epoch| by_epoch.get(&Epoch(epoch.0.checked_add(1)?)).map(|(slot, _)| slot);
    let newest = by_epoch.keys().next_back().copied().unwrap_or_default();
    let oldest = Epoch(newest.0.saturating_sub(room.saturating_sub(1)));
    SessionLog {
        sessions: by_epoch
            .iter()
            .map(|(epoch, (slot, _))| {
                let session = session_of(slot, before(*epoch), after(*epoch));
                match session.end {
                    // The volume was opened since, whatever became of the slot that tells of it.
                    SessionEnd::Open if *epoch < newest => {
                        Session { end: SessionEnd::Crashed { last_round_at: None }, ..session }
                    }
                    _ => session,
                }
            })
            .collect(),
        missing: (oldest.0..newest.0).map(Epoch).filter(|epoch| !by_epoch.contains_key(epoch)).collect(),
        room,
    }
}

/// Reads slots, sector by sector where they cannot be read at once. What cannot be read is not zero, which is no slot.
fn read(disk: &dyn ReadAt, at: u64, count: u32) -> Vec<u8> {
    let mut bytes = vec![0; count as usize * SessionSlot::SIZE];
    let _what_fails_is_zeros = read_what_can_be(disk, &mut bytes, at, SessionSlot::SIZE);
    bytes
}
