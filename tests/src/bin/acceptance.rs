//! The promises in full size, one subcommand a point, or `all`. `POINT=COUNT` runs a point of many cycles so many times,
//! and lets clients come for so many seconds.
//!
//! Prints figures, one line each; ends with status 1 if any point does not hold. Use a release build.
#![forbid(unsafe_code)]

use anyhow::Result;
use keha_tests::media::ClipKind;
use keha_tests::points::diskerrors::{self, Refused};
use keha_tests::points::{
    clients, clock, clocks, copy, corrupt, custody, damage, faults, forecast, frames, holds, inputs, kill,
    killed, lap, pages, powercut, retention, scrub, stalls,
};
use nix::errno::Errno;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A point by name; it is given the count that was asked for.
type Point = (&'static str, fn(Option<usize>) -> Result<()>);

const POINTS: [Point; 22] = [
    ("frames", |_| {
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
    ("clock", |_| {
        clock::whole(60)?;
        clock::built_in(30)
    }),
    ("kill", |count| kill::whole(16, &MIXED, count.unwrap_or(100), "6GiB", 1)),
    ("kills", |count| kill::side_by_side(3, 4, &LIGHT, count.unwrap_or(1000), "2GiB", 100)),
    ("powercut", |count| {
        let count = count.unwrap_or(200);
        powercut::whole(4, &MIXED, count / 2, 1024, 2)?;
        powercut::sectors(4, &MIXED, count - count / 2, 1024, 3)
    }),
    ("stalls", |_| {
        stalls::whole(16, &[ClipKind::MainLong], 5, "1GiB", true)?;
        stalls::whole(16, &[ClipKind::MainLong], 60, "4GiB", false)?;
        stalls::for_ever(16, &[ClipKind::MainLong], 4)
    }),
    ("diskerrors", |_| {
        diskerrors::bad_block(4, &LIGHT)?;
        diskerrors::refusing(16, &[ClipKind::MainLong], Refused::Flushes, Errno::EIO, 60, "4GiB")?;
        for error in [Errno::EIO, Errno::ENOSPC, Errno::EROFS, Errno::ENODEV] {
            diskerrors::refusing(4, &LIGHT, Refused::Writes, error, 30, "512MiB")?;
        }
        diskerrors::full(4, &LIGHT, 30)
    }),
    ("clocks", |_| {
        clocks::cases().into_iter().try_for_each(|case| {
            // What drifts shows with time.
            clocks::whole(case, 3, &LIGHT, if case.drift_ppm == 0 { 10 } else { 60 })
        })
    }),
    ("custody", |_| custody::whole()),
    ("forecast", |_| forecast::whole("512MiB", 8.0, Duration::from_secs(600))),
    ("lap", |_| {
        lap::whole(50, 8.0, Duration::from_secs(1800))?;
        lap::filled("10GiB", 8.0, Duration::from_secs(1800))
    }),
    ("holds", |_| holds::whole(20, Duration::from_secs(600))),
    ("copy", |_| copy::whole(1500)),
    ("retention", |_| {
        retention::whole(10, 8)?;
        retention::ages(20)
    }),
    ("corrupt", |_| corrupt::whole(2000, 3)),
    ("scrub", |_| scrub::whole(7, "60s", Duration::from_secs(300))),
    ("damage", |_| damage::whole(20, Duration::from_secs(600))),
    ("faults", |_| faults::whole(300)),
    ("inputs", |_| inputs::whole()),
    ("live", |_| pages::lateness(pages::LATE_MS_MAX)),
    ("clients", |seconds| {
        let duration = seconds.map_or(CLIENTS.duration, |seconds| Duration::from_secs(seconds as u64));
        clients::whole(&clients::Trial { duration, alone: Some(duration.min(MEASURED_ALONE)), ..CLIENTS })
    }),
    ("killed", |count| {
        let kills = count.unwrap_or(50);
        killed::whole(&killed::Trial { cameras: 8, clients: 20, size: "4GiB", kills, seed: 61 })
    }),
];

/// One camera in four of each: what a site has.
const MIXED: [ClipKind; 4] = [ClipKind::Main, ClipKind::WithAac, ClipKind::H265Cra, ClipKind::WithG711];
/// The same at low rates, where it is the number of events that counts.
const LIGHT: [ClipKind; 4] = [ClipKind::WithAac, ClipKind::Small, ClipKind::H265Cra, ClipKind::WithG711];

/// Clients at a site of sixteen cameras.
const CLIENTS: clients::Trial<'_> = clients::Trial {
    clients: 50,
    exports: 10,
    cameras: 16,
    size: "2GiB",
    duration: Duration::from_secs(300),
    alone: None,
    seed: 41,
};
/// For so long before, and as long again behind, it is measured what rounds take without them.
const MEASURED_ALONE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let wanted: Option<Vec<(String, Option<usize>)>> = std::env::args().skip(1).map(parse).collect();
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
        let points: Vec<_> = POINTS.iter().map(|(point, _)| *point).collect();
        eprintln!("usage: acceptance POINT[=COUNT] ..., a point is all or one of {}", points.join(", "));
        return ExitCode::from(2);
    };
    let mut failed = 0;
    for (point, run) in POINTS {
        let Some((_, count)) = wanted.iter().find(|(name, _)| name == point || name == "all") else {
            continue;
        };
        let start = Instant::now();
        match run(*count) {
            Ok(()) => println!("{point}: holds ({} s)", start.elapsed().as_secs()),
            Err(error) => {
                failed += 1;
                println!("{point}: DOES NOT HOLD: {error:#}");
            }
        }
    }
    ExitCode::from(u8::from(failed > 0))
}

/// `POINT` or `POINT=COUNT`.
fn parse(argument: String) -> Option<(String, Option<usize>)> {
    let (name, count) = match argument.split_once('=') {
        None => (argument.as_str(), None),
        Some((name, count)) => (name, Some(count.parse().ok().filter(|count| *count > 0)?)),
    };
    let known = name == "all" || POINTS.iter().any(|(point, _)| *point == name);
    known.then(|| (name.to_owned(), count))
}
