//! Faults that a simulated disk shows when told to.
//!
//! Operations are counted from 0 as they are submitted, reads, writes and flushes alike, so a test can let the
//! n-th one fail for every n.

use std::ops::Range;

pub use nix::errno::Errno;

use crate::disk::{Operation, OperationKind};

/// Whether a fault strikes one operation or every one from then on.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Repeat {
    /// The first operation that it fits.
    Once,
    /// Every operation that it fits.
    Forever,
}

/// The operations that a fault may strike.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct Kinds {
    /// Reads.
    pub reads: bool,
    /// Writes.
    pub writes: bool,
    /// Flushes.
    pub flushes: bool,
}

impl Kinds {
    /// Every operation.
    pub const ALL: Self = Self { reads: true, writes: true, flushes: true };
    /// Reads only.
    pub const READS: Self = Self { reads: true, writes: false, flushes: false };
    /// Writes only.
    pub const WRITES: Self = Self { reads: false, writes: true, flushes: false };
    /// Flushes only.
    pub const FLUSHES: Self = Self { reads: false, writes: false, flushes: true };

    /// Whether operations of this kind are among them.
    pub fn contain(self, kind: OperationKind) -> bool {
        match kind {
            OperationKind::Read => self.reads,
            OperationKind::Write => self.writes,
            OperationKind::Flush => self.flushes,
        }
    }
}

/// What an operation suffers.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Effect {
    /// It fails. A write has then written any of its sectors or none; a flush has dropped what it should keep.
    Fail(Errno),
    /// A write or flush reports success and does nothing at all.
    Lose,
    /// A write goes to, or a read comes from, this byte offset instead, and reports success.
    Misdirect(u64),
}

#[derive(Clone, Debug)]
struct Rule {
    from: u64,
    repeat: Repeat,
    kinds: Kinds,
    effect: Effect,
}

#[derive(Clone, Debug)]
struct BadRange {
    range: Range<u64>,
    errno: Errno,
    kinds: Kinds,
}

/// The faults in force.
#[derive(Clone, Default, Debug)]
pub(super) struct Faults {
    rules: Vec<Rule>,
    bad_ranges: Vec<BadRange>,
}

impl Faults {
    pub(super) fn add(&mut self, from: u64, repeat: Repeat, kinds: Kinds, effect: Effect) {
        self.rules.push(Rule { from, repeat, kinds, effect });
    }

    pub(super) fn add_range(&mut self, range: Range<u64>, errno: Errno, kinds: Kinds) {
        self.bad_ranges.push(BadRange { range, errno, kinds });
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// What the operation with this number suffers; spends a rule that was for one operation.
    pub(super) fn strike(&mut self, number: u64, operation: &Operation) -> Option<Effect> {
        let kind = operation.kind();
        let fits = |rule: &Rule| rule.from <= number && rule.kinds.contain(kind);
        if let Some(index) = self.rules.iter().position(fits) {
            let effect = self.rules.get(index)?.effect;
            if self.rules.get(index)?.repeat == Repeat::Once {
                self.rules.remove(index);
            }
            return Some(effect);
        }
        let offset = operation.offset()?;
        let reached = offset..offset.saturating_add(operation.len_bytes() as u64);
        self.bad(kind, &reached).map(Effect::Fail)
    }

    /// The error with which a range refuses operations of this kind.
    pub(super) fn bad(&self, kind: OperationKind, reached: &Range<u64>) -> Option<Errno> {
        let touches = |bad: &&BadRange| bad.range.start < reached.end && reached.start < bad.range.end;
        self.bad_ranges.iter().filter(|bad| bad.kinds.contain(kind)).find(touches).map(|bad| bad.errno)
    }
}
