//! The proof that the ring keeps its promises: whole volumes on a simulated disk that tears, loses, fails and rots, driven by
//! scripted and random workloads, judged by one oracle.
//!
//! Everything follows from a seed, printed where something fails. `KEHA_SEED` runs one seed alone, `KEHA_PROOF_CASES`
//! multiplies how many seeds are tried. Nothing here may weaken a promise to make a test pass.

mod age_tests;
mod cost_tests;
mod crash_tests;
mod cut_tests;
mod damage_tests;
mod driver;
mod erase_beside_tests;
mod erase_fault_tests;
mod erase_left_tests;
mod erase_tests;
mod erasures;
mod fault_tests;
mod fixture_tests;
mod footer_tests;
mod future_tests;
mod fuzz;
mod grow_tests;
mod grown_tests;
mod hold_doubt_tests;
mod hold_fault_tests;
mod hold_tests;
mod holds;
mod hostile_tests;
mod kept_tests;
mod known_row_tests;
mod lap_tests;
mod list_tests;
mod lost_row_tests;
mod many_streams_tests;
mod material;
mod memory_tests;
mod metadata_tests;
mod misplaced_tests;
mod nth_tests;
mod opening_tests;
mod oracle;
mod order;
mod overwriting_tests;
#[cfg(feature = "planted-bugs")]
mod planted_tests;
mod presence;
mod race_tests;
mod reader_tests;
mod renewed_cut_tests;
mod renewed_tests;
mod repair_doubt_tests;
mod repair_tests;
mod retention;
mod retention_tests;
mod scrub_tests;
mod sector_tests;
mod sequence_tests;
mod session_tests;
mod sessions;
mod stale_tests;
mod swap_tests;
mod torture;
mod truth;
mod walk;
mod words;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Why a promise was found broken.
type Verdict<T = ()> = Result<T, String>;

/// Returns with the reason unless a promise holds.
macro_rules! demand {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}
use demand;

/// A small volume, recorded over a lap and closed, for tests elsewhere.
pub(crate) fn a_recorded_volume() -> crate::disk::sim::SimImage {
    let recorded = damage_tests::full_volume(1);
    recorded.map_or_else(|why| panic!("{why}"), |(image, _)| image)
}

thread_local! {
    static JUDGED: Cell<u64> = const { Cell::new(0) };
}

/// Another image was judged in this thread.
fn count_judged() {
    JUDGED.set(JUDGED.get() + 1);
}

/// How many images were judged in this thread so far.
fn judged() -> u64 {
    JUDGED.get()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// How many times as many cases shall be tried as on every change.
fn scale() -> u64 {
    number("KEHA_PROOF_CASES").unwrap_or(1)
}

/// Tries a scenario with many seeds: `KEHA_SEED` alone if given, else `cases` (times `KEHA_PROOF_CASES`) from `first` on.
fn for_seeds(name: &str, first: u64, cases: u64, scenario: impl Fn(u64) -> Verdict<u64>) {
    let seeds = match number("KEHA_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + cases * scale(),
    };
    let began = std::time::Instant::now();
    let mut states = 0;
    for seed in seeds.clone() {
        let outcome = catch_unwind(AssertUnwindSafe(|| scenario(seed)));
        match outcome {
            Ok(Ok(judged)) => states += judged,
            Ok(Err(why)) => panic!("{name}: {why}\nreproduce with KEHA_SEED={seed}"),
            Err(panic) => {
                eprintln!("{name}: a panic; reproduce with KEHA_SEED={seed}");
                resume_unwind(panic);
            }
        }
    }
    println!("{name}: seeds {seeds:?}, {states} judged in {:.1?}", began.elapsed());
}
