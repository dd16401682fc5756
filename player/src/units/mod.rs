//! How people write moments and durations, on the command line and in queries: each to one exact value or to one clear sentence
//! that says why not. Nothing here does I/O; the clock and the zone are arguments.

pub mod duration;
pub mod time;
