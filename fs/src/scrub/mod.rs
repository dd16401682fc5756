//! The scrub: while a volume is open for writing, every live block is read and verified in a slow steady walk, so that silent
//! damage is known before the footage is needed. Why it is as it is: `docs/decisions/0010-scrub.md`.
//!
//! Invariants: a pass goes over the blocks in the order of the disk and passes over none that is live when its turn comes, and
//! settled; its place and its findings stand in one sector of the volume, so that a crash costs a little progress and never a finding,
//! and no damaged block counts twice in a pass; what the ring, a hold, or an erasure changed while it was read is no finding;
//! what is kept of findings is bounded: counts, and the newest damaged blocks. What must not live here: how a block is
//! verified ([`crate::reader`]), and writing to the disk ([`crate::writer`]).

mod pace;
mod report;
mod stored;
mod verify;
mod walk;
#[cfg(test)]
mod walk_tests;

pub(crate) use pace::rest_after;
pub use report::{ScrubDamage, ScrubPass, ScrubReport};
pub(crate) use stored::{copies, newest};
pub(crate) use verify::{Found, Outcome, Verification};
pub(crate) use walk::{Now, Order, Task, Turn, Walk};
