//! The promises in full size, one subcommand a point: `acceptance frames|clock|kill|powercut|lap|holds|copy|corrupt|faults|inputs|all`.
//!
//! Prints figures, one line each; ends with status 1 if any point does not hold. Use a release build.
#![forbid(unsafe_code)]

use anyhow::Result;
use keha_tests::media::ClipKind;
use keha_tests::points::{clock, copy, corrupt, faults, frames, holds, inputs, kill, lap, powercut};
use std::process::ExitCode;
use std::time::{Duration, Instant};

type Point = (&'static str, fn() -> Result<()>);

const POINTS: [Point; 10] = [
    ("frames", || {
        frames::whole(16, &[ClipKind::MainLong], 60, "4GiB")?;
        frames::whole(
            4,
            &[ClipKind::H265Cra, ClipKind::TwoPps, ClipKind::WithAac, ClipKind::WithG711],
            30,
            "1GiB",
        )?;
        frames::whole(1, &[ClipKind::Reordered], 20, "256MiB")?;
        frames::beside_a_live_recorder()?;
        frames::changing_sets_cost_no_blocks(30)
    }),
    ("clock", || {
        clock::whole(60)?;
        clock::built_in(30)
    }),
    ("kill", || kill::whole(16, &MIXED, 100, "6GiB", 1)),
    ("powercut", || powercut::whole(4, &MIXED, 20, 1024, 2)),
    ("lap", || {
        lap::whole(50, 8.0, Duration::from_secs(1800))?;
        lap::filled("10GiB", 8.0, Duration::from_secs(1800))
    }),
    ("holds", || holds::whole(20, Duration::from_secs(600))),
    ("copy", || copy::whole(1500)),
    ("corrupt", || corrupt::whole(2000, 3)),
    ("faults", || faults::whole(300)),
    ("inputs", inputs::whole),
];

/// One camera in four of each: what a site has.
const MIXED: [ClipKind; 4] = [ClipKind::Main, ClipKind::WithAac, ClipKind::H265Cra, ClipKind::WithG711];

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let known = |name: &String| name == "all" || POINTS.iter().any(|(point, _)| point == name);
    if names.is_empty() || !names.iter().all(known) {
        let points: Vec<_> = POINTS.iter().map(|(point, _)| *point).collect();
        eprintln!("usage: acceptance POINT ..., a point is all or one of {}", points.join(", "));
        return ExitCode::from(2);
    }
    let mut failed = 0;
    for (point, run) in POINTS {
        if !names.iter().any(|name| name == point || name == "all") {
            continue;
        }
        let start = Instant::now();
        match run() {
            Ok(()) => println!("{point}: holds ({} s)", start.elapsed().as_secs()),
            Err(error) => {
                failed += 1;
                println!("{point}: DOES NOT HOLD: {error:#}");
            }
        }
    }
    ExitCode::from(u8::from(failed > 0))
}
