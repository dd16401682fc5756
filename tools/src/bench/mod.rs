//! What storing costs on this machine: a ring that is written as fast as it goes, and the least that any program would have to do, in
//! turns. `keha bench` shows it, and the programs behind `make bench` compare it with more. The ring stays open while the other is measured:
//! of that it takes a round a second in which nothing is.
//!
//! Must not live here: other programs to compare with, and how results look.
#![forbid(unsafe_code)]

mod bare;
mod cost;
mod ratio;
mod ring;
mod source;

pub use bare::bare;
pub use cost::{Cost, cpu_s, measured};
pub use ratio::Median;
pub use ring::{BEGIN, Ring, RingOptions, Turn, create};
pub use source::{SECOND_BYTES, Source};

use std::ops::ControlFlow;

/// Is told how many bytes more were taken, also if none were, and says whether to go on.
pub type Watch<'w> = dyn FnMut(u64) -> ControlFlow<()> + 'w;

/// Why a measurement ended before it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped before it was measured")
    }
}

impl std::error::Error for Stopped {}

/// Goes on, or stops what measures.
fn heed(answer: ControlFlow<()>) -> Result<(), Stopped> {
    match answer {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Stopped),
    }
}
