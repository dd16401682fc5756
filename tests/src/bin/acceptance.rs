//! The promises in full size, one subcommand a point, or `all`. `POINT=COUNT` runs a point of many cycles so many times,
//! lets clients come for so many seconds, and pulls the disk of so many cameras away.
//!
//! `KEHA_GROUND` names the grounds that volumes lie on ([`keha_tests::ground`]): `all`, or some with commas between them.
//!
//! Prints figures, one line each; ends with status 1 if any point does not hold. Use a release build.
#![forbid(unsafe_code)]

use anyhow::Result;
use keha_tests::ground::Ground;
use keha_tests::media::ClipKind;
use keha_tests::points::diskerrors::{self, Refused};
use keha_tests::points::{
    clients, clock, clocks, copy, corrupt, custody, damage, faults, forecast, frames, holds, inputs, kill,
    killed, lap, pages, powercut, pulled, retention, scrub, stalls,
};
use nix::errno::Errno;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A point by name.
type Point = (&'static str, Run);

/// How it is run. It is given the count that was asked for.
#[derive(Clone, Copy)]
enum Run {
    /// On any ground.
    On(fn(Ground, Option<usize>) -> Result<()>),
    /// On the ground `file` alone.
    Once(fn(Option<usize>) -> Result<()>),
}

const POINTS: [Point; 23] = [
    (
        "frames",
        Run::Once(|_| {
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
    ),
    (
        "clock",
        Run::Once(|_| {
            clock::whole(60)?;
            clock::built_in(30)
        }),
    ),
    ("kill", Run::On(|ground, count| kill::whole(ground, 16, &MIXED, count.unwrap_or(100), "6GiB", 1))),
    (
        "kills",
        Run::On(|ground, count| kill::side_by_side(ground, 3, 4, &LIGHT, count.unwrap_or(1000), "2GiB", 100)),
    ),
    (
        "powercut",
        Run::On(|ground, count| {
            let count = count.unwrap_or(200);
            let whole = if ground.is_file() { count / 2 } else { 0 };
            if whole > 0 {
                powercut::whole(ground, 4, &MIXED, whole, 1024, 2)?;
            }
            powercut::sectors(ground, 4, &MIXED, count - whole, 1024, 3)
        }),
    ),
    (
        "stalls",
        Run::On(|ground, _| {
            stalls::whole(ground, 16, &[ClipKind::MainLong], 5, "1GiB", true)?;
            stalls::whole(ground, 16, &[ClipKind::MainLong], 60, "4GiB", false)?;
            stalls::for_ever(ground, 16, &[ClipKind::MainLong], 4)
        }),
    ),
    (
        "diskerrors",
        Run::On(|ground, _| {
            diskerrors::bad_block(ground, 4, &LIGHT)?;
            diskerrors::refusing(
                ground,
                16,
                &[ClipKind::MainLong],
                Refused::Flushes,
                Errno::EIO,
                60,
                "4GiB",
            )?;
            let errors = [Errno::EIO, Errno::ENOSPC, Errno::EROFS, Errno::ENODEV];
            // What else a file says is an I/O error of a block device.
            let told = if ground.is_file() { &errors[..] } else { &errors[..2] };
            for error in told.iter().copied() {
                diskerrors::refusing(ground, 4, &LIGHT, Refused::Writes, error, 30, "512MiB")?;
            }
            if ground.is_file() { diskerrors::full(ground, 4, &LIGHT, 30) } else { Ok(()) }
        }),
    ),
    (
        "clocks",
        Run::On(|ground, count| {
            clocks::cases().into_iter().take(count.unwrap_or(usize::MAX)).try_for_each(|case| {
                // What drifts shows with time.
                clocks::whole(ground, case, 3, &LIGHT, if case.drift_ppm == 0 { 10 } else { 60 })
            })
        }),
    ),
    ("custody", Run::Once(|_| custody::whole())),
    ("forecast", Run::Once(|_| forecast::whole("512MiB", 8.0, Duration::from_secs(600)))),
    (
        "lap",
        Run::On(|ground, count| {
            lap::whole(ground, count.unwrap_or(50) as u64, 8.0, Duration::from_secs(1800))?;
            match count {
                None => lap::filled(ground, "10GiB", 8.0, Duration::from_secs(1800)),
                Some(_) => Ok(()),
            }
        }),
    ),
    (
        "holds",
        Run::On(|ground, count| holds::whole(ground, count.unwrap_or(20) as u64, Duration::from_secs(600))),
    ),
    ("copy", Run::On(|ground, count| copy::whole(ground, count.unwrap_or(1500)))),
    (
        "retention",
        Run::On(|ground, count| {
            retention::whole(ground, count.unwrap_or(10), 8)?;
            retention::ages(ground, 20)
        }),
    ),
    ("corrupt", Run::On(|ground, count| corrupt::whole(ground, count.unwrap_or(2000), 3))),
    ("scrub", Run::On(|ground, _| scrub::whole(ground, 7, "60s", Duration::from_secs(300)))),
    ("damage", Run::On(|ground, count| damage::whole(ground, count.unwrap_or(20), Duration::from_secs(600)))),
    ("faults", Run::Once(|_| faults::whole(300))),
    ("inputs", Run::Once(|_| inputs::whole())),
    ("live", Run::Once(|_| pages::lateness(pages::LATE_MS_MAX))),
    (
        "clients",
        Run::Once(|seconds| {
            let duration = seconds.map_or(CLIENTS.duration, |seconds| Duration::from_secs(seconds as u64));
            clients::whole(&clients::Trial { duration, alone: Some(duration.min(MEASURED_ALONE)), ..CLIENTS })
        }),
    ),
    (
        "pulled",
        Run::Once(|cameras| {
            if let Some(cameras) = cameras {
                return pulled::many(cameras);
            }
            pulled::whole()?;
            pulled::for_ever()?;
            pulled::alone()
        }),
    ),
    (
        "killed",
        Run::Once(|count| {
            let kills = count.unwrap_or(50);
            killed::whole(&killed::Trial { cameras: 8, clients: 20, size: "4GiB", kills, seed: 61 })
        }),
    ),
];

/// Names the grounds that the points are tried on.
const GROUND: &str = "KEHA_GROUND";
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
    let wanted = wanted.filter(|wanted| !wanted.is_empty());
    let (Some(wanted), Some(grounds)) = (wanted, grounds()) else {
        eprintln!("{}", usage());
        return ExitCode::from(2);
    };
    let mut failed = 0;
    for ground in grounds {
        for (point, run) in POINTS {
            let Some((_, count)) = wanted.iter().find(|(name, _)| name == point || name == "all") else {
                continue;
            };
            let start = Instant::now();
            let (on, result) = match run {
                Run::On(run) => (format!(" on {}", ground.name()), run(ground, *count)),
                Run::Once(run) if ground == Ground::File => (String::new(), run(*count)),
                Run::Once(_) => {
                    println!("{point}: not tried on {}: it is tried on file alone", ground.name());
                    continue;
                }
            };
            match result {
                Ok(()) => println!("{point}{on}: holds ({} s)", start.elapsed().as_secs()),
                Err(error) => {
                    failed += 1;
                    println!("{point}{on}: DOES NOT HOLD: {error:#}");
                }
            }
        }
    }
    ExitCode::from(u8::from(failed > 0))
}

/// The grounds that are asked for; `None` where there is no such.
fn grounds() -> Option<Vec<Ground>> {
    let Ok(wanted) = std::env::var(GROUND) else { return Some(vec![Ground::File]) };
    if wanted == "all" {
        return Some(Ground::ALL.to_vec());
    }
    wanted.split(',').map(Ground::named).collect()
}

fn usage() -> String {
    let points: Vec<_> = POINTS.iter().map(|(point, _)| *point).collect();
    let on: Vec<_> =
        POINTS.iter().filter(|(_, run)| matches!(run, Run::On(_))).map(|(point, _)| *point).collect();
    format!(
        "usage: [{GROUND}=GROUND,...] acceptance POINT[=COUNT] ..., a point is all or one of {}; a ground, on which {} are tried, is all \
         or one of {} (file, where none is named)",
        points.join(", "),
        on.join(", "),
        Ground::ALL.map(Ground::name).join(", ")
    )
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
