//! Fuzzing of everything that is read from a disk: each structure by itself, then whole images, opened for reading, for writing
//! and for repair.
//!
//! A fuzzer of our own, for the pinned toolchain has none: inputs are structures of real volumes, changed at random, and their
//! checksums made right again, for what a checksum refuses no code behind it ever sees. Everything follows from a seed. What
//! an input once broke is kept in [`found`]. See docs/decisions/0009-repair.md.

mod found;
mod images;
mod mutate;
mod structures;

pub(super) use structures::NAMES as STRUCTURES;

use super::{Verdict, for_seeds};

#[test]
fn no_structure_makes_its_reader_panic_or_read_back_as_something_else() {
    for_seeds("fuzzed structures", 9800, 2, |seed| {
        STRUCTURES.iter().try_fold(0, |fed, name| Ok(fed + structure(name, seed, 3000)?))
    });
}

#[test]
fn no_image_makes_opening_reading_writing_or_repair_run_for_ever_or_ask_for_too_much() {
    for_seeds("fuzzed images", 9900, 2, |seed| images(seed, 60));
}

/// So many inputs for one of [`STRUCTURES`].
pub(super) fn structure(name: &str, seed: u64, turns: usize) -> Verdict<u64> {
    structures::run(name, seed, turns)
}

/// So many images.
pub(super) fn images(seed: u64, turns: usize) -> Verdict<u64> {
    images::run(seed, turns)
}
