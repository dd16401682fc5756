//! The round log: the newest record that stands, in either copy.

use crate::format::Framed;
use crate::format::geometry::LOG_SLOTS;
use crate::format::round::{RoundHeader, RoundRecord};
use crate::scan::Scanner;
use crate::session::was_closed_with;
use crate::types::RoundNumber;

/// The newest record that stands.
pub(crate) fn newest(scanner: &Scanner<'_>) -> Option<RoundRecord> {
    let mut heads = Vec::new();
    for log_at in scanner.geometry.logs_at() {
        for slot in 0..u64::from(LOG_SLOTS) {
            let at = scanner.geometry.slot_at(log_at, slot);
            let mut bytes = vec![0; RoundHeader::SIZE];
            if scanner.disk.read_exact_at(&mut bytes, at).is_ok()
                && let Some((header, _)) = RoundHeader::unseal(&bytes)
                && header.volume == scanner.volume
            {
                heads.push((header.epoch, header.round, at));
            }
        }
    }
    heads.sort_unstable();
    if planted!(OldestRecordTaken) {
        heads.reverse();
    }
    heads.into_iter().rev().find_map(|(_, round, at)| {
        let mut bytes = vec![0; scanner.geometry.log_slot_bytes];
        scanner.disk.read_exact_at(&mut bytes, at).ok()?;
        // The slot may hold a newer record by now; that one is as good.
        RoundRecord::unseal(&bytes, scanner.volume).filter(|record| record.header.round >= round)
    })
}

/// The records of the same writer that were made since this one, in their order. `None` where that cannot be told: this one does not
/// stand any more, another writer came, or so many were made that some are gone.
///
/// A record that could not be written leaves a hole: one is looked over.
pub(super) fn since(scanner: &Scanner<'_>, known: &RoundRecord) -> Option<Vec<RoundRecord>> {
    let epoch = known.header.epoch;
    let of_another = |head: &RoundHeader| {
        head.epoch != epoch && head.round >= known.header.round && !planted!(OtherWriterUnnoticed)
    };
    // After a power cut another writer may put its record into the same slot, and be cut off before it is in both copies.
    let taken_over = heads(scanner, known.header.round).iter().flatten().any(of_another);
    if taken_over || !stands_in_front(scanner, known) && !planted!(KnownRecordNotLookedAt) {
        return None;
    }
    let mut newer: Vec<RoundRecord> = Vec::new();
    let mut holes = 0;
    for round in (known.header.round.0.saturating_add(1)..=u64::MAX).map(RoundNumber) {
        let found = heads(scanner, round);
        if found.iter().flatten().any(of_another) {
            return None;
        }
        let places = scanner.geometry.logs_at().into_iter().zip(&found);
        let stands = |(log_at, head): (u64, &Option<RoundHeader>)| {
            let head = head.as_ref().filter(|head| head.round == round)?;
            body(scanner, log_at, head)
        };
        match places.filter_map(stands).next() {
            Some(record) => {
                newer.push(record);
                holes = 0;
            }
            None if holes == 0 && !planted!(HoleEndsLog) => holes = 1,
            None => break,
        }
        if newer.len() + 2 >= LOG_SLOTS as usize {
            return None;
        }
    }
    Some(newer)
}

/// The heads that stand in the slots of a round: of this round, or of another.
fn heads(scanner: &Scanner<'_>, round: RoundNumber) -> [Option<RoundHeader>; 2] {
    scanner.geometry.logs_at().map(|log_at| {
        let mut bytes = vec![0; RoundHeader::SIZE];
        scanner.disk.read_exact_at(&mut bytes, scanner.geometry.slot_at(log_at, round.0)).ok()?;
        let (head, _) = RoundHeader::unseal(&bytes)?;
        (head.volume == scanner.volume).then_some(head)
    })
}

/// Whether the first copy of a record stands whole: a power cut may have kept its head and lost the rest.
fn stands_in_front(scanner: &Scanner<'_>, known: &RoundRecord) -> bool {
    if planted!(KnownBodyNotLookedAt) {
        let [front, _] = heads(scanner, known.header.round);
        return front.as_ref() == Some(&known.header);
    }
    let [front_at, _] = scanner.geometry.logs_at();
    body(scanner, front_at, &known.header).is_some()
}

/// The record that has this head, if it stands whole.
fn body(scanner: &Scanner<'_>, log_at: u64, head: &RoundHeader) -> Option<RoundRecord> {
    let mut bytes = vec![0; head.record_bytes().min(scanner.geometry.log_slot_bytes)];
    scanner.disk.read_exact_at(&mut bytes, scanner.geometry.slot_at(log_at, head.round.0)).ok()?;
    RoundRecord::unseal(&bytes, scanner.volume).filter(|record| record.header == *head)
}

/// Both copies of the record of a round, and where they stand; `None` where it does not stand.
pub(crate) fn copies(scanner: &Scanner<'_>, round: RoundNumber) -> [(u64, Option<RoundRecord>); 2] {
    scanner.geometry.logs_at().map(|log_at| {
        let at = scanner.geometry.slot_at(log_at, round.0);
        let mut bytes = vec![0; scanner.geometry.log_slot_bytes];
        let read = scanner.disk.read_exact_at(&mut bytes, at);
        let record = read.ok().and_then(|()| RoundRecord::unseal(&bytes, scanner.volume));
        (at, record.filter(|record| record.header.round == round))
    })
}

/// Where a copy of the newest record stood that does not stand any more. A crash may come while a record is written, and what
/// it leaves is no damage: that both copies were flushed says only the session that was noted as closed with it, after that.
pub(crate) fn lost_copy(scanner: &Scanner<'_>) -> Option<u64> {
    let round = newest(scanner).filter(|record| record.header.closed)?.header.round;
    let (at, _) = copies(scanner, round).into_iter().find(|(_, copy)| copy.is_none())?;
    let flushed = was_closed_with(scanner.disk, scanner.geometry, scanner.volume, round);
    // A live writer may have replaced it with a newer one.
    let still = newest(scanner).is_some_and(|now| now.header.round == round);
    (flushed && still).then_some(at)
}
