//! The proof for hours: `make torture`. All short sequences, all subsets of what is pending, every failing operation, and seeds
//! without end of everything else, on every core; it goes on where it was stopped.
//!
//! A part is a row of cases that follow from their number alone. `KEHA_TORTURE_SECONDS` says how long (four hours),
//! `KEHA_TORTURE_STATE` where it is noted which cases are done, `KEHA_TORTURE_THREADS` on how many cores,
//! `KEHA_TORTURE_ONLY=sequences:17` tries one case alone.

use super::driver::Cuts;
use super::words::{deeds, recorder};
use super::{
    Verdict, age_tests, crash_tests, cut_tests, damage_tests, erase_beside_tests, erase_left_tests,
    erase_tests, fault_tests, fuzz, grow_tests, grown_tests, hold_tests, hostile_tests, judged, lap_tests,
    nth_tests, number, overwriting_tests, race_tests, reader_tests, repair_tests, retention_tests,
    scrub_tests, sector_tests, sequence_tests, stale_tests, swap_tests,
};
use crate::disk::sim::{CrashPlan, SimRng};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Plans at an event: all subsets of up to ten sectors.
const PLANS: usize = 1024;

/// Cases of one kind.
struct Part {
    name: String,
    /// How many there are, if there is an end.
    cases: u64,
    run: Box<dyn Fn(u64) -> Verdict<u64> + Send + Sync>,
    /// How much of the time it gets, in relation to the others.
    share: f64,
}

const ENDLESS: u64 = u64::MAX;

/// All parts. Seeds begin where those of `make test` do not reach.
fn parts() -> Vec<Part> {
    let recordings = nth_tests::RECORDINGS.len() as u64;
    let mut parts = vec![
        part("sequences", sequence_tests::count(), 40.0, |case| sequence_tests::try_sequence(case, 40)),
        part("all subsets", recordings * 2, 20.0, all_subsets),
        part("recovery", ENDLESS, 15.0, recovery),
        part("failing operations", recordings * 2, 15.0, |case| {
            nth_tests::every_operation_fails(case as usize, true)
        }),
        part("failing reads of the writer", ENDLESS, 1.0, |case| {
            nth_tests::every_read_fails(case as usize, true)
        }),
        part("power cuts", ENDLESS, 20.0, |case| crash_tests::power_cuts(100_000 + case)),
        part("discarded suffixes", ENDLESS, 3.0, |case| crash_tests::discarded_suffixes(100_000 + case)),
        part("laps", ENDLESS, 1.0, |case| lap_tests::laps(100_000 + case)),
        part("growing", ENDLESS, 2.0, |case| grow_tests::every_event(100_000 + case)),
        part("grown, power cuts", ENDLESS, 2.0, |case| grown_tests::power_cuts(100_000 + case)),
        part("grown, holds and erasures", ENDLESS, 1.0, |case| grown_tests::held_and_erased(100_000 + case)),
        part("failing I/O", ENDLESS, 3.0, |case| fault_tests::failing_io(100_000 + case)),
        part("bad places", ENDLESS, 2.0, |case| fault_tests::bad_places(100_000 + case)),
        part("moved sync samples", ENDLESS, 1.0, |case| fault_tests::moved_syncs(100_000 + case)),
        part("failing recovery", ENDLESS, 2.0, |case| fault_tests::failing_recovery(100_000 + case, true)),
        part("failing reads", ENDLESS, 2.0, |case| fault_tests::failing_reads(100_000 + case, true)),
        part("changed bytes", ENDLESS, 3.0, |case| damage_tests::changed_bytes(100_000 + case)),
        part("unreadable sectors", ENDLESS, 1.0, |case| sector_tests::unreadable(100_000 + case)),
        part("lying disk", ENDLESS, 2.0, |case| hostile_tests::lying_disk(100_000 + case)),
        part("forged structures", ENDLESS, 1.0, |case| hostile_tests::forged_structures(100_000 + case)),
        part("junk", ENDLESS, 1.0, |case| hostile_tests::junk(100_000 + case)),
        part("lost metadata", ENDLESS, 1.0, |case| hostile_tests::lost_metadata(100_000 + case)),
        part("outdated table", ENDLESS, 1.0, |case| stale_tests::outdated_table(100_000 + case)),
        part("holds at random", ENDLESS, 5.0, |case| hold_tests::at_random(100_000 + case)),
        part("holds, every event", ENDLESS, 3.0, |case| hold_tests::every_event(100_000 + case)),
        part("retention at random", ENDLESS, 3.0, |case| retention_tests::at_random(100_000 + case)),
        part("scrub", ENDLESS, 1.0, |case| scrub_tests::finds_all(100_000 + case)),
        part("scrub beside a writer", ENDLESS, 2.0, |case| scrub_tests::finds_nothing(100_000 + case)),
        part("cut short", ENDLESS, 1.0, |case| cut_tests::cut_short(100_000 + case)),
        part("overwritten regions", ENDLESS, 1.0, |case| cut_tests::overwritten_regions(100_000 + case)),
        part("front and end lost", ENDLESS, 0.5, |case| cut_tests::front_and_end_lost(100_000 + case)),
        part("swapped blocks", ENDLESS, 1.0, |case| swap_tests::swapped_blocks(100_000 + case)),
        part("older copies", ENDLESS, 1.0, older_copies),
        part("repair", ENDLESS, 3.0, |case| repair_tests::lost_descriptions(100_000 + case, 1)),
        part("repair of outdated metadata", ENDLESS, 1.0, repair_otherwise),
        part("races, simulated disk", ENDLESS, 2.0, |case| race_tests::simulated(100_000 + case, 100_000)),
        part("races, real file", ENDLESS, 1.0, |case| race_tests::real_file(100_000 + case, 100_000)),
        part("fuzzed images", ENDLESS, 2.0, |case| fuzz::images(100_000 + case, 300)),
        part("erasing at random", ENDLESS, 5.0, |case| erase_tests::at_random(100_000 + case)),
        part("erasing, every event", ENDLESS, 3.0, |case| erase_tests::every_event(100_000 + case)),
        part("withheld footage", ENDLESS, 1.0, |case| erase_left_tests::withheld(100_000 + case)),
        part("erased again", ENDLESS, 1.0, |case| erase_left_tests::again(100_000 + case)),
        part("beside an erasure", ENDLESS, 1.0, beside_erasure),
        part("checking beside an erasure", ENDLESS, 1.0, |case| overwriting_tests::beside(100_000 + case)),
        part("scrub beside overwriting", ENDLESS, 2.0, |case| {
            scrub_tests::finds_nothing_overwritten(100_000 + case)
        }),
        part("maximum ages", ENDLESS, 3.0, |case| age_tests::aged_events(100_000 + case)),
        part("maximum ages and clocks", ENDLESS, 1.0, |case| age_tests::jumps(100_000 + case)),
        part("passed reader", ENDLESS, 1.0, |case| reader_tests::passed_reader(100_000 + case)),
    ];
    parts.extend(fuzz::STRUCTURES.into_iter().map(|name| {
        part(&format!("fuzzed: {name}"), ENDLESS, 0.5, move |case| {
            fuzz::structure(name, 100_000 + case, 20_000)
        })
    }));
    parts
}

fn part(
    name: &str,
    cases: u64,
    share: f64,
    run: impl Fn(u64) -> Verdict<u64> + Send + Sync + 'static,
) -> Part {
    Part { name: name.to_owned(), cases, share, run: Box::new(run) }
}

fn repair_otherwise(case: u64) -> Verdict<u64> {
    let seed = 100_000 + case;
    let stays = repair_tests::given_up_stays(seed)? + repair_tests::after_power_cut(seed)?;
    Ok(stays + repair_tests::outdated(seed)? + repair_tests::recorded_on(seed)?)
}

/// What an erasure must leave alone.
fn beside_erasure(case: u64) -> Verdict<u64> {
    let seed = 100_000 + case;
    let alone = erase_beside_tests::held_between(seed)? + erase_beside_tests::not_asked(seed)?;
    Ok(alone + erase_beside_tests::refused_table(seed)?)
}

/// Blocks and metadata of an earlier time or of another volume.
fn older_copies(case: u64) -> Verdict<u64> {
    let seed = 100_000 + case;
    let blocks = swap_tests::older_blocks(seed)? + swap_tests::foreign_blocks(seed)?;
    let metadata = swap_tests::stale_sectors(seed)? + swap_tests::older_metadata(seed)?;
    Ok(blocks + metadata)
}

/// The power is cut at every event of a recording, with all subsets of up to ten pending sectors; now and then recovery goes on.
fn all_subsets(case: u64) -> Verdict<u64> {
    let word = nth_tests::RECORDINGS[(case % nth_tests::RECORDINGS.len() as u64) as usize];
    let mut driver = recorder(case / nth_tests::RECORDINGS.len() as u64)?;
    driver.cuts = Cuts { one_in: 1, plans: PLANS, deep_one_in: 2000 };
    let run = deeds(word).into_iter().try_for_each(|deed| deed.run(&mut driver));
    run.map_err(|why| format!("`{word}`: {why}"))?;
    Ok(driver.judged)
}

/// The power is cut somewhere in a recording, and again at every event of recovery, in the same ways.
fn recovery(case: u64) -> Verdict<u64> {
    let mut rng = SimRng::new(case);
    let word = nth_tests::RECORDINGS[rng.below(nth_tests::RECORDINGS.len())];
    let deeds = deeds(word);
    let until = rng.below(deeds.len() + 1);
    let mut driver = recorder(case)?;
    let mut run = || -> Verdict {
        deeds.iter().take(until).try_for_each(|deed| deed.run(&mut driver))?;
        for _ in 0..3 {
            let plans = CrashPlan::enumerate(driver.disk.pending_sectors(), 200, rng.next_u64());
            driver.cuts = Cuts { one_in: 1, plans: PLANS, deep_one_in: 1000 };
            driver.power_cut_with(plans[rng.below(plans.len())])?;
            driver.cuts = Cuts::NONE;
            driver.push_as(0, 5000, true)?;
            driver.work()?;
        }
        Ok(())
    };
    run().map_err(|why| format!("{until} letters of `{word}`: {why}"))?;
    Ok(driver.judged)
}

/// How far a part is.
#[derive(Default)]
struct Progress {
    /// The first case that is not done,
    low: u64,
    /// those behind it that are,
    done: BTreeSet<u64>,
    /// and the next to begin.
    next: u64,
    states: u64,
    seconds: f64,
    /// States judged in this run.
    states_now: u64,
}

impl Progress {
    fn finish(&mut self, case: u64, states: u64, seconds: f64) {
        self.done.insert(case);
        while self.done.remove(&self.low) {
            self.low += 1;
        }
        self.states += states;
        self.states_now += states;
        self.seconds += seconds;
    }
}

/// All parts on their way.
struct Torture {
    parts: Vec<Part>,
    progress: Mutex<Vec<Progress>>,
    failures: Mutex<Vec<String>>,
    file: Option<PathBuf>,
    began: Instant,
    until: Instant,
}

impl Torture {
    fn new() -> Torture {
        let parts = parts();
        let file = std::env::var_os("KEHA_TORTURE_STATE").map(PathBuf::from);
        let noted = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        let progress = parts.iter().map(|part| noted_progress(&noted, &part.name)).collect();
        let began = Instant::now();
        let seconds = number("KEHA_TORTURE_SECONDS").unwrap_or(4 * 3600);
        let until = began + Duration::from_secs(seconds);
        Torture { parts, progress: Mutex::new(progress), failures: Mutex::default(), file, began, until }
    }

    fn progress(&self) -> MutexGuard<'_, Vec<Progress>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The part that had the least of its share, and its next case.
    fn choose(&self) -> Option<(usize, u64)> {
        if Instant::now() >= self.until {
            return None;
        }
        let mut all = self.progress();
        let open = self.parts.iter().zip(all.iter()).enumerate();
        let open = open.filter(|(_, (part, progress))| progress.next < part.cases);
        let due = |(part, progress): (&Part, &Progress)| progress.seconds / part.share;
        let (which, _) = open.min_by(|a, b| due(a.1).total_cmp(&due(b.1)))?;
        let progress = &mut all[which];
        let case = progress.next;
        progress.next += 1;
        // What is under way counts a little, so that not all threads begin with the same part.
        progress.seconds += 0.001;
        Some((which, case))
    }

    fn work(&self) {
        while let Some((which, case)) = self.choose() {
            let part = &self.parts[which];
            let (before, began) = (judged(), Instant::now());
            let outcome = catch_unwind(AssertUnwindSafe(|| (part.run)(case)));
            let why = match outcome {
                Ok(Ok(_)) => None,
                Ok(Err(why)) => Some(why),
                Err(_) => Some("a panic".to_owned()),
            };
            if let Some(why) = why {
                let failure =
                    format!("{}: {why}\nreproduce with KEHA_TORTURE_ONLY='{}:{case}'", part.name, part.name);
                println!("FAILED {failure}");
                self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
            }
            let mut all = self.progress();
            all[which].finish(case, judged() - before, began.elapsed().as_secs_f64());
            self.note(&all);
        }
    }

    /// Notes what is done, for the next run.
    fn note(&self, all: &[Progress]) {
        let Some(file) = &self.file else { return };
        let lines = self.parts.iter().zip(all).map(|(part, progress)| {
            format!("{}\t{}\t{}\t{:.3}\n", part.name, progress.low, progress.states, progress.seconds)
        });
        let new = file.with_extension("new");
        let noted =
            std::fs::write(&new, lines.collect::<String>()).and_then(|()| std::fs::rename(&new, file));
        if let Err(error) = noted {
            println!("cannot note progress in {}: {error}", file.display());
        }
    }

    fn summary(&self) -> String {
        let all = self.progress();
        let seconds = self.began.elapsed().as_secs_f64();
        let mut text = String::new();
        for (part, progress) in self.parts.iter().zip(all.iter()) {
            let of = if part.cases == ENDLESS { String::new() } else { format!(" of {}", part.cases) };
            let rate = progress.states as f64 / progress.seconds.max(0.001);
            let _ok = writeln!(
                text,
                "{:28} {:>6}{of} cases, {:>10} states judged in {:.0} s, {rate:.0} a second and core",
                part.name, progress.low, progress.states, progress.seconds
            );
        }
        let states: u64 = all.iter().map(|progress| progress.states).sum();
        let now: u64 = all.iter().map(|progress| progress.states_now).sum();
        let _ok = write!(
            text,
            "{states} states judged in all, {now} of them in this run of {seconds:.0} s: {:.0} a second",
            now as f64 / seconds
        );
        text
    }
}

/// What an earlier run noted of a part: name, cases done, states, seconds.
fn noted_progress(noted: &str, name: &str) -> Progress {
    let mine = noted
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .find(|line| line.first() == Some(&name));
    let field = |index: usize| mine.as_ref().and_then(|line| line.get(index).copied()).unwrap_or_default();
    let low = field(1).parse().unwrap_or(0);
    Progress {
        low,
        next: low,
        states: field(2).parse().unwrap_or(0),
        seconds: field(3).parse().unwrap_or(0.0),
        ..Progress::default()
    }
}

#[test]
#[ignore = "takes hours: `make torture`"]
fn torture() {
    if let Ok(only) = std::env::var("KEHA_TORTURE_ONLY") {
        let (name, case) = only.rsplit_once(':').unwrap_or((&only, "0"));
        let part =
            parts().into_iter().find(|part| part.name == name).unwrap_or_else(|| panic!("no part {name}"));
        let case = case.parse().unwrap_or_else(|error| panic!("{case}: {error}"));
        let outcome = (part.run)(case);
        println!("{only}: {outcome:?}, {} states judged", judged());
        return assert!(outcome.is_ok());
    }
    let torture = Torture::new();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let threads = number("KEHA_TORTURE_THREADS").unwrap_or(cores).max(1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| torture.work())).collect();
        let mut told = Instant::now();
        while !workers.iter().all(|worker| worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(200));
            if told.elapsed() > Duration::from_secs(60) {
                told = Instant::now();
                println!("{}", torture.summary().lines().last().unwrap_or_default());
            }
        }
    });
    println!("{}", torture.summary());
    let failures = torture.failures.into_inner().unwrap_or_default();
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n"));
}

/// In four hours on two cores, of which a thirtieth goes to what cameras send.
#[test]
fn each_structure_and_the_whole_images_are_fuzzed_for_a_minute_at_least_in_a_long_run() {
    let parts = parts();
    let all: f64 = parts.iter().map(|part| part.share).sum();
    let seconds = 2.0 * 4.0 * 3600.0 * 29.0 / 30.0;
    let fuzzed: Vec<_> = parts.iter().filter(|part| part.name.starts_with("fuzzed")).collect();
    assert_eq!(fuzzed.len(), fuzz::STRUCTURES.len() + 1);
    for part in fuzzed {
        let mine = part.share / all * seconds;
        assert!(mine >= 60.0, "{}: {mine:.0} s", part.name);
    }
}

#[test]
fn what_was_noted_of_an_earlier_run_is_gone_on_from() {
    let mut progress = noted_progress("junk\t3\t900\t1.5\nlaps\t7\t20\t0.5\n", "laps");
    assert_eq!((progress.low, progress.next, progress.states, progress.seconds), (7, 7, 20, 0.5));
    progress.finish(8, 5, 0.25);
    assert_eq!((progress.low, progress.states, progress.seconds), (7, 25, 0.75));
    progress.finish(7, 5, 0.25);
    assert_eq!((progress.low, progress.done.len()), (9, 0));
    assert_eq!(noted_progress("", "laps").low, 0);
}
