//! How people write quantities on the command line: moments, durations and sizes, each to one exact value or to one clear
//! sentence that says why not. Nothing here does I/O; the clock and the zone are arguments.

pub(crate) mod io;
pub(crate) mod range;
pub(crate) mod retention;
pub(crate) mod scrub;
pub(crate) mod size;

pub(crate) use keha_player::units::{duration, time};
