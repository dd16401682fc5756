//! When a volume fails, its cameras go on on another; they return by order (docs/decisions/0017-volumes-that-fail.md).
//!
//! | file | what |
//! |---|---|
//! | `judge.rs` | whether a volume has failed: rounds and time in, a verdict out |
//! | `place.rs` | who goes where: volumes and cameras in, moves out |
//! | `moved.rs` | who was moved, and the identities of streams, in the state directory |
//! | `over.rs` | doing it |
//! | `left.rs` | what streams leave where they were: carried, kept, or said to be lost |
//!
//! The first two are pure.

pub(super) mod judge;
mod left;
pub(super) mod moved;
mod over;
pub(super) mod place;

pub(super) use left::AllLeft;
