//! Fuzzing of everything that a camera sends and this crate reads itself: payloads of every format, parameter sets, session
//! descriptions, sender reports. (RTP and RTCP headers and RTSP are retina's.)
//!
//! A fuzzer of our own, beside the targets of `recorder/fuzz` for libFuzzer, which needs another compiler: inputs are valid
//! packets, changed at random. Nothing may panic, give out more than went in, or gather more than the limits say. Everything
//! follows from a seed, which a failure prints: `KEHA_SEED=n` tries one alone. `KEHA_TORTURE_SECONDS` says how long the long
//! form runs, shared out evenly. What an input breaks becomes a test beside what it broke.

mod inputs;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};
use targets::TARGETS;

/// Inputs tried of each target in every `make test`.
const SHORT: u64 = 300;
/// Where the seeds of the long form begin.
const LONG_FROM: u64 = 1_000_000;
/// How long the long form runs if nothing is said.
const LONG_SECONDS: u64 = 8 * 60;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// Tries one input.
fn try_seed((name, run): targets::Target, seed: u64) {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(seed)));
    if let Err(panic) = outcome {
        eprintln!("{name}: reproduce with KEHA_SEED={seed}");
        resume_unwind(panic);
    }
}

#[test]
fn nothing_that_a_camera_sends_breaks_what_reads_it() {
    for target in TARGETS {
        match number("KEHA_SEED") {
            Some(seed) => try_seed(target, seed),
            None => (0..SHORT).for_each(|seed| try_seed(target, seed)),
        }
    }
}

#[test]
#[ignore = "takes minutes: `make torture`"]
fn torture() {
    let seconds = number("KEHA_TORTURE_SECONDS").unwrap_or(LONG_SECONDS);
    let each = Duration::from_secs(seconds) / TARGETS.len() as u32;
    for target in TARGETS {
        let (began, mut tried) = (Instant::now(), 0);
        while began.elapsed() < each {
            try_seed(target, LONG_FROM + tried);
            tried += 1;
        }
        println!("{:16} {tried:>9} inputs in {:.0?}", target.0, began.elapsed());
    }
}
