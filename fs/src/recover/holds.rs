//! The holds as found at opening.
//!
//! | of a slot, found | means |
//! |---|---|
//! | both copies verify and agree | what they say |
//! | both verify, of different generations | the higher one: the other was about to be written |
//! | one verifies | what it says: a change is acknowledged only when both stood |
//! | neither verifies | a hold may be lost there: an alarm, and what may have been held is taken last |
//!
//! | of all slots, found | means |
//! |---|---|
//! | each verifies, none of the generation that the round log knows or of a later one | as where neither copy of a slot verifies |

use super::finding;
use super::stretches::{Stretch, note};
use crate::format::Framed;
use crate::format::hold::HoldSlot;
use crate::hold::{Hold, MISSING, Slot};
use crate::report::Finding;
use crate::salvage::read_what_can_be;
use crate::scan::Scanner;

/// What is found of the holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FoundHolds {
    /// Slot by slot, with their generations.
    pub(crate) slots: Vec<(Slot, u64)>,
    /// The highest generation known of.
    pub(crate) generation: u64,
    /// Slots of which one copy is not as the one that counts.
    pub(crate) to_repair: Vec<usize>,
    /// Whether a change that the round log knows of stands nowhere.
    pub(crate) outdated: bool,
}

impl FoundHolds {
    /// The holds in force, and those that were lost.
    pub(crate) fn holds(&self) -> Vec<Hold> {
        let missing = Hold { id: MISSING, lost: true, ..Hold::default() };
        self.slots
            .iter()
            .filter_map(|(slot, _)| slot.hold())
            .chain(self.outdated.then_some(missing))
            .collect()
    }
}

/// Reads the holds. The round log knows of a change of `generation_known`.
pub(super) fn find(scanner: &Scanner<'_>, generation_known: u64, findings: &mut Vec<Finding>) -> FoundHolds {
    let geometry = scanner.geometry;
    let copies = geometry.holds_at().map(|at| read(scanner, at));
    let mut found = FoundHolds { generation: generation_known, ..FoundHolds::default() };
    let mut newest = 0;
    let mut unreadable = false;
    let mut bad: [Vec<Stretch<bool>>; 2] = Default::default();
    for index in 0..geometry.holds_max {
        let place = index as usize * HoldSlot::SIZE;
        let [front, back] = copies.each_ref().map(|copy| {
            let bytes = copy.get(place..place + HoldSlot::SIZE)?;
            HoldSlot::read(bytes, scanner.volume, index)
        });
        let lost = [front.is_none(), back.is_none()];
        let differ = front != back;
        let counts = [front, back].into_iter().flatten().max_by_key(|slot| slot.generation);
        for (bad, _) in bad.iter_mut().zip(lost).filter(|(_, lost)| *lost) {
            note(bad, index, counts.is_some());
        }
        let generation = counts.as_ref().map_or(0, |slot| slot.generation);
        newest = newest.max(generation);
        unreadable |= counts.is_none();
        found.slots.push((Slot::of(counts.as_ref(), scanner.volume, index as usize), generation));
        found.to_repair.extend(counts.filter(|_| differ).map(|_| index as usize));
    }
    for (at, bad) in geometry.holds_at().into_iter().zip(bad) {
        findings.extend(bad.iter().map(|bad| finding_of(bad, at)));
    }
    // A slot of which nothing is known may be the one that changed last.
    found.outdated = newest < generation_known && !unreadable;
    found.generation = newest.max(generation_known);
    if found.outdated {
        let detail = format!(
            "the last change of the holds, of generation {generation_known}, stands nowhere; the newest found is {newest}: \
             what may have been held is overwritten last"
        );
        findings.push(finding("hold", geometry.holds_at()[0], detail));
    }
    found
}

/// What is to be said of slots side by side of one copy that do not verify; whether the other copy stands in.
fn finding_of(bad: &Stretch<bool>, copy_at: u64) -> Finding {
    let detail = match (bad.count, bad.what) {
        (1, true) => "this copy does not verify; the other stands in".to_owned(),
        (count, true) => format!("{count} slots of this copy do not verify; the other stands in"),
        (1, false) => {
            "neither copy of this hold verifies: if it was in force, what it held is overwritten last"
                .to_owned()
        }
        (count, false) => format!(
            "of {count} slots neither copy verifies: if holds in them were in force, what they held is overwritten last"
        ),
    };
    finding("hold", copy_at + u64::from(bad.first) * HoldSlot::SIZE as u64, detail)
}

/// Reads a copy, sector by sector where it cannot be read at once. What cannot be read is zeros and will not verify.
fn read(scanner: &Scanner<'_>, at: u64) -> Vec<u8> {
    let mut bytes = vec![0; scanner.geometry.holds_max as usize * HoldSlot::SIZE];
    let _what_fails_is_zeros = read_what_can_be(scanner.disk, &mut bytes, at, HoldSlot::SIZE);
    bytes
}
