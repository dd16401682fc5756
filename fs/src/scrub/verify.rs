//! Verifying one block for the scrub, a chunk at a time; what is kept of findings does not grow with them.

use super::walk::Task;
use crate::reader::BlockCheck;
use crate::scan::Scanner;
use crate::types::WallTime;

/// What was found in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// How many places are damaged.
    pub(crate) places: u32,
    /// How many of these cost footage.
    pub(crate) footage_lost: u32,
    /// Where the first begins, in bytes from the block's beginning.
    pub(crate) first_offset: u32,
    /// The earliest and the latest moment concerned.
    pub(crate) moments: (WallTime, WallTime),
}

/// What came of a block.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// What was to be verified.
    pub(crate) task: Task,
    /// How much was, in bytes.
    pub(crate) bytes: u64,
    /// What was found.
    pub(crate) found: Option<Found>,
}

/// A block on its way.
pub(crate) struct Verification {
    task: Task,
    check: BlockCheck,
    found: Option<Found>,
    /// How many of the findings in `check` are counted already.
    counted: usize,
}

impl Verification {
    /// Begins with a block.
    pub(crate) fn new(scanner: &Scanner<'_>, task: Task) -> Verification {
        let check = BlockCheck::new(scanner, task.take, &task.row);
        Verification { task, check, found: None, counted: 0 }
    }

    /// A step; whether there is more to do.
    pub(crate) fn step(&mut self, scanner: &Scanner<'_>) -> bool {
        let more = self.check.step(scanner);
        let begins = scanner.geometry.block_at(self.task.take.block);
        let row = &self.task.row;
        for finding in &self.check.findings[self.counted..] {
            let offset = u32::try_from(finding.at.saturating_sub(begins)).unwrap_or(u32::MAX);
            let found = self.found.get_or_insert(Found {
                places: 0,
                footage_lost: 0,
                first_offset: offset,
                moments: (row.wall_min, row.wall_max),
            });
            found.places = found.places.saturating_add(1);
            found.footage_lost = found.footage_lost.saturating_add(finding.footage_lost.into());
            found.first_offset = found.first_offset.min(offset);
        }
        // That there is one is what the check goes by.
        self.check.findings.truncate(1);
        self.counted = self.check.findings.len();
        more
    }

    /// How much was verified so far, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.check.verified.bytes
    }

    /// What came of it.
    pub(crate) fn outcome(self) -> Outcome {
        let hit = self.check.hit;
        let found = self.found.map(|found| Found { moments: hit.unwrap_or(found.moments), ..found });
        Outcome { bytes: self.check.verified.bytes, task: self.task, found }
    }
}
