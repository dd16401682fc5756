//! Maximum ages: what is past them is given to nobody, and overwritten on the word of a clock that was right for an hour, whatever
//! the power does; what is held stays; and a clock that jumps destroys nothing.

use super::driver::{Cuts, Driver, shared};
use super::erasures::found_raw;
use super::hold_tests::lapped_on_time;
use super::holds::numbers_of;
use super::oracle::Entry;
use super::repair_tests::{regions, repaired};
use super::{Verdict, demand, for_seeds};
use crate::clock::{Clock, ClockSync, SimClock};
use crate::disk::sim::SimImage;
use crate::hold::Guard;
use crate::reader::Volume;
use crate::repair::RepairOptions;
use crate::report::{Item, TimeRange};
use crate::retention::Retention;
use crate::retention::age::past_before;
use crate::types::{StreamId, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const NAME: &str = "cam0";
const HOUR: Duration = Duration::from_secs(3600);
const YEAR_NS: i64 = 365 * 86_400 * 1_000_000_000;

fn right_clock() -> ClockSync {
    ClockSync::Synchronised { error_max: Duration::from_millis(1) }
}

fn at_most(maximum_age_s: u64) -> Retention {
    Retention { maximum_age_s, ..Retention::default() }
}

/// What a reader whose clock says `now` sees of an image.
fn reader_at(image: &SimImage, now: WallTime) -> Verdict<Volume> {
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new(now));
    Volume::from_disk_at(shared(image), Path::new("proof"), clock).map_err(|error| error.to_string())
}

impl Driver {
    fn id(&self) -> StreamId {
        self.id_of(NAME)
    }

    /// The moments of all that was pushed, by number.
    fn walls(&self) -> BTreeMap<u64, WallTime> {
        let entries = self.model.streams.get(NAME).into_iter().flat_map(|stream| &stream.entries);
        let wall = |entry: &Entry| match entry {
            Entry::Sample(pushed) => Some((pushed.number, pushed.run.wall(pushed.number as i64))),
            Entry::Gap(_) => None,
        };
        entries.filter_map(wall).collect()
    }

    /// Lets the clock be right for so long that it is believed.
    fn trust(&mut self) -> Verdict<WallTime> {
        self.clock.set_sync(right_clock());
        for _ in 0..3 {
            self.round()?;
            self.clock.advance(HOUR + Duration::from_secs(100));
        }
        self.round()?;
        self.view().trusted.ok_or_else(|| "a clock that was right for hours is not believed".to_owned())
    }

    /// Lets go what came before a moment and was not held: it may be overwritten from now on.
    fn may_expire(&mut self, before: WallTime) {
        let held: BTreeSet<u64> =
            self.model.holds.values().flat_map(|held| &held.numbers).map(|number| *number as u64).collect();
        let walls = self.walls();
        let Some(stream) = self.model.streams.get_mut(NAME) else { return };
        let over = walls.iter().filter(|(_, wall)| **wall < before).map(|(number, _)| *number);
        let gaps = stream.entries.iter().filter(|entry| matches!(entry, Entry::Gap(_))).map(Entry::key);
        stream.erasing = over.chain(gaps).filter(|number| !held.contains(number)).collect();
    }

    /// Rounds until all that may be overwritten has had time to be.
    fn rounds_of_expiry(&mut self, maximum_age_s: u64, rounds: usize) -> Verdict {
        for round in 0..rounds {
            // What is trusted is an hour old, at least.
            let trusted = self.clock.wall().plus_ns(1_000_000_000 - 3600 * 1_000_000_000);
            self.may_expire(past_before(maximum_age_s, trusted).ok_or("there is an age")?);
            self.round().map_err(|why| format!("round {round}: {why}"))?;
        }
        let view = self.view();
        self.judge_now(Some(view)).map(drop)
    }

    /// Whoever reads now is given nothing that is past its age, but what is held; with a clock far behind, all that is there.
    fn nothing_past_is_given(&self, image: &SimImage, id: StreamId, maximum_age_s: u64) -> Verdict {
        let now = self.clock.wall();
        let before = past_before(maximum_age_s, now).ok_or("there is an age")?;
        let volume = reader_at(image, now)?;
        let guard = Guard::of(&volume.holds());
        let walls = self.walls();
        for range in [TimeRange::default(), TimeRange { from: Some(before.plus_ns(-1)), to: None }] {
            let Ok(mut cursor) = volume.read(id, range) else { continue };
            while let Some(item) = cursor.next_item().map_err(|error| error.to_string())? {
                match item {
                    Item::Sample(sample) => {
                        let held = guard.covers_chunk(id, sample.chunk);
                        let wall = walls.get(&(sample.ticks as u64)).copied().unwrap_or(sample.wall);
                        demand!(
                            held || wall >= before,
                            "sample {} of {wall:?} is given, {before:?}",
                            sample.ticks
                        );
                    }
                    Item::Damage(finding) => return Err(format!("the reader meets damage: {finding:?}")),
                    _ => {}
                }
            }
        }
        let spans = volume.spans(id, TimeRange::default()).unwrap_or_default();
        let early = spans.iter().find(|span| span.to < before && !guard.covers_chunk(id, span.first_chunk));
        demand!(early.is_none(), "{early:?} is told of");
        let given = numbers_of(&volume, id, TimeRange::default())?;
        for held in self.model.holds.values() {
            let missing: Vec<_> = held.numbers.difference(&given).collect();
            demand!(missing.is_empty(), "{missing:?} are held, and are not given");
        }
        for block in volume.blocks().iter().filter(|block| block.stream == Some(id)) {
            let lines = volume.dump(block.block).map_err(|error| error.to_string())?.lines;
            let wall_of = |line: &String| {
                let number = line.split("ticks ").nth(1)?.split(' ').next()?.parse::<u64>().ok()?;
                walls.get(&number).copied()
            };
            let past = lines.iter().find(|line| wall_of(line).is_some_and(|wall| wall < before));
            demand!(past.is_none() || block.held, "a dump of block {} tells of {past:?}", block.block);
            let told = block.wall_max.is_none_or(|last| last >= before) || block.held;
            demand!(told, "{block:?} is told of, past is {before:?}");
        }
        Ok(())
    }
}

#[test]
fn what_is_past_its_age_is_given_to_nobody_and_overwritten_and_what_is_held_stays() {
    for_seeds("maximum ages", 9400, 6, aged);
}

pub(super) fn aged(seed: u64) -> Verdict<u64> {
    aging(seed, Cuts::NONE)
}

#[test]
fn a_power_cut_at_any_event_of_it_loses_nothing_else() {
    for_seeds("maximum ages, every event", 9450, 2, aged_events);
}

pub(super) fn aged_events(seed: u64) -> Verdict<u64> {
    aging(seed, Cuts { one_in: 3, plans: 5, deep_one_in: 120 })
}

fn aging(seed: u64, cuts: Cuts) -> Verdict<u64> {
    let mut driver = lapped_on_time(seed)?;
    let id = driver.id();
    let there = numbers_of(&driver.volume()?, id, TimeRange::default())?;
    let walls = driver.walls();
    let mut moments: Vec<WallTime> = walls
        .iter()
        .filter(|(number, _)| there.contains(&(**number as i64)))
        .map(|(_, wall)| *wall)
        .collect();
    moments.sort_unstable();
    let mid = *moments.get(moments.len() / 2).ok_or("nothing is there")?;
    driver.clock.set_wall(mid.plus(20 * HOUR));
    let held_from = *moments.get(driver.rng.below(8)).ok_or("nothing is there")?;
    let hold = driver.hold(NAME, held_from, held_from.plus_ns(4_000_000), None)?;
    demand!(hold.is_some(), "there is room");
    let trusted = driver.trust()?;
    let maximum_age_s = (trusted.since_ns(mid) / 1_000_000_000) as u64;
    driver.retain(NAME, at_most(maximum_age_s))?;
    driver.cuts = cuts;
    // Hidden at once, whatever is overwritten when.
    driver.nothing_past_is_given(&driver.disk.snapshot(), id, maximum_age_s)?;
    let first = *moments.first().ok_or("nothing is there")?;
    let again = driver.hold(NAME, first, first.plus_ns(1), None)?;
    demand!(again.is_none_or(|hold| hold.spans.is_empty()), "a hold brings back what is past its age");
    driver.rounds_of_expiry(maximum_age_s, 40)?;
    driver.nothing_past_is_given(&driver.disk.snapshot(), id, maximum_age_s)?;
    driver.cuts = Cuts { one_in: cuts.one_in * 10, ..cuts };
    if driver.rng.coin() {
        driver.power_cut()?;
    }
    // Two hours on, all of it is over, and is on no byte of the disk.
    let then = driver.clock.wall().plus(4 * HOUR);
    driver.may_expire(past_before(maximum_age_s, then).ok_or("there is an age")?);
    driver.trust()?;
    driver.rounds_of_expiry(maximum_age_s, 60)?;
    let volume = reader_at(&driver.disk.snapshot(), WallTime::MIN)?;
    let guard = Guard::of(&volume.holds());
    let mut cursor = volume.read(id, TimeRange::default()).map_err(|error| error.to_string())?;
    let (mut kept, mut left) = (BTreeSet::new(), Vec::new());
    while let Some(item) = cursor.next_item().map_err(|error| error.to_string())? {
        let Item::Sample(sample) = item else { continue };
        kept.insert(sample.ticks as u64);
        let over = sample.wall < mid.plus(HOUR);
        if over && !guard.covers_chunk(id, sample.chunk) {
            left.push(sample.ticks);
        }
    }
    demand!(left.is_empty(), "{left:?} are past their age for an hour, and are not overwritten");
    // Where pictures lead, sound before the first one is there and not given.
    kept.extend(driver.judge_now(None)?.get(NAME).map(|found| found.keys.clone()).unwrap_or_default());
    driver.settle_gone(&kept)?;
    let gone: BTreeSet<u64> = walls
        .iter()
        .filter(|(number, wall)| there.contains(&(**number as i64)) && !kept.contains(number) && **wall < mid)
        .map(|(number, _)| *number)
        .collect();
    demand!(!gone.is_empty(), "nothing was overwritten, this proves nothing");
    let raw = found_raw(&driver.disk.snapshot(), &gone)?;
    demand!(raw.is_empty(), "what is past its age is still on the disk: {raw:?}");
    driver.cuts = Cuts::NONE;
    for which in [0, 1] {
        driver.configure(which, 0)?;
        driver.begin_run(which)?;
    }
    driver.lap()?;
    driver.reopen()?;
    driver.nothing_past_is_given(&driver.disk.snapshot(), id, maximum_age_s)?;
    Ok(driver.judged)
}

impl Driver {
    /// What may have been overwritten and is not there any more was.
    fn settle_gone(&mut self, kept: &BTreeSet<u64>) -> Verdict {
        let stream = self.model.streams.get_mut(NAME).ok_or("no such stream")?;
        let gone = std::mem::take(&mut stream.erasing);
        let samples: BTreeSet<u64> = stream
            .entries
            .iter()
            .filter_map(|entry| if let Entry::Sample(pushed) = entry { Some(pushed.number) } else { None })
            .collect();
        let (gone, gaps): (BTreeSet<u64>, BTreeSet<u64>) = gone
            .into_iter()
            .filter(|number| !kept.contains(number))
            .partition(|number| samples.contains(number));
        stream.erased.extend(gone);
        stream.erasing = gaps;
        Ok(())
    }
}

#[test]
fn a_clock_that_jumps_years_ahead_or_is_not_kept_destroys_nothing() {
    for_seeds("maximum ages and clocks", 9500, 4, jumps);
}

pub(super) fn jumps(seed: u64) -> Verdict<u64> {
    let mut driver = lapped_on_time(seed)?;
    let id = driver.id();
    let maximum_age_s = 30 * 86_400;
    driver.retain(NAME, at_most(maximum_age_s))?;
    let right = driver.trust()?;
    let before = numbers_of(&driver.volume()?, id, TimeRange::default())?;
    let far = right.plus_ns(10 * YEAR_NS);
    // Nothing may go in any of this: the oracle is told of nothing that may.
    let quiet = |driver: &mut Driver| (0..12).try_for_each(|_| driver.round());
    for (wall, sync, hours, reopened) in [
        (far, right_clock(), 0, false),
        (right, right_clock(), 3, false),
        (far, ClockSync::FreeRunning, 5, true),
        (far, ClockSync::Unknown, 5, false),
        (far, right_clock(), 0, true),
        (WallTime(0), right_clock(), 3, true),
        (right.plus_ns(-86_400_000_000_000), right_clock(), 3, false),
    ] {
        driver.clock.set_wall(wall);
        driver.clock.set_sync(sync);
        for _ in 0..hours {
            driver.clock.advance(HOUR);
            quiet(&mut driver)?;
        }
        driver.clock.advance(Duration::from_secs(50 * 60));
        quiet(&mut driver)?;
        // Who reads by that clock is given nothing while it says that all is past.
        driver.nothing_past_is_given(&driver.disk.snapshot(), id, maximum_age_s)?;
        if reopened {
            driver.reopen()?;
        }
    }
    driver.clock.set_wall(right);
    let volume = reader_at(&driver.disk.snapshot(), right)?;
    let after = numbers_of(&volume, id, TimeRange::default())?;
    // What was set aside is given back at a clean end.
    demand!(before.is_subset(&after), "{} samples were there, {} are", before.len(), after.len());
    Ok(driver.judged)
}

const DAY_S: i64 = 86_400;
const DAY_NS: i64 = DAY_S * 1_000_000_000;

#[test]
fn what_was_recorded_under_a_wrong_clock_is_past_its_age_no_day_early_and_not_for_ever_late() {
    for_seeds("recorded under wrong clocks", 9600, 6, wrong_clocks);
}

/// The volume is off for 40 days, a night is recorded under a clock that is wrong in one way or another, then the clock is right.
pub(super) fn wrong_clocks(seed: u64) -> Verdict<u64> {
    let mut driver = lapped_on_time(seed)?;
    let id = driver.id();
    let maximum_age_s = 30 * 86_400;
    driver.retain(NAME, at_most(maximum_age_s))?;
    let evening = driver.clock.wall().plus_ns(40 * DAY_NS);
    let synchronised = |wrong: bool| if wrong { right_clock() } else { ClockSync::FreeRunning };
    let (wall, sync) = match seed % 6 {
        0 => (evening.plus_ns(-40 * DAY_NS), synchronised(false)),
        1 => (evening.plus_ns(-DAY_NS), synchronised(false)),
        2 => (WallTime(0), synchronised(false)),
        3 => (evening.plus_ns(10 * YEAR_NS), synchronised(false)),
        4 => (evening.plus_ns(DAY_NS), synchronised(true)),
        _ => (evening.plus_ns(10 * YEAR_NS), synchronised(true)),
    };
    driver.reopen()?;
    driver.clock.set_wall(wall);
    driver.clock.set_sync(sync);
    // What came before is 40 days old: it may go as soon as a clock that is believed says so.
    driver.may_expire(WallTime::MAX);
    let before: BTreeSet<u64> = driver.walls().into_keys().collect();
    for which in [0, 1] {
        driver.configure(which, 0)?;
        driver.begin_run(which)?;
    }
    for _ in 0..12 {
        driver.push(0, 900)?;
        driver.round()?;
    }
    driver.settle()?;
    driver.park(0)?;
    driver.settle()?;
    let night: BTreeSet<i64> = driver
        .walls()
        .into_keys()
        .filter(|number| !before.contains(number))
        .map(|number| number as i64)
        .collect();
    driver.reopen()?;
    // The morning: NTP sets the clock.
    driver.clock.set_wall(evening.plus(8 * HOUR));
    let morning = driver.trust()?;
    let stands = |driver: &Driver, when: &str| {
        for now in [driver.clock.wall(), morning, WallTime::MIN] {
            let given = numbers_of(&reader_at(&driver.disk.snapshot(), now)?, id, TimeRange::default())?;
            let missing: Vec<_> = night.difference(&given).collect();
            demand!(missing.is_empty(), "{when}, {now:?}: {missing:?} are days old, and are not given");
        }
        Ok(())
    };
    stands(&driver, "the morning")?;
    // Some more is recorded, under the right clock, for weeks.
    driver.configure(0, 0)?;
    driver.begin_run(0)?;
    for day in 0..28 {
        if day % 7 == 0 {
            driver.push(0, 9000)?;
        }
        driver.clock.advance(24 * HOUR);
        driver.round()?;
    }
    stands(&driver, "after 28 days")?;
    // All of it is over two days later than it should be, at most, for the volume ran all the time.
    driver.may_expire(WallTime::MAX);
    for _ in 0..40 {
        driver.clock.advance(2 * HOUR);
        driver.round()?;
    }
    let left = numbers_of(&reader_at(&driver.disk.snapshot(), WallTime::MIN)?, id, TimeRange::default())?;
    let late: Vec<_> = night.intersection(&left).collect();
    demand!(late.is_empty(), "{late:?} are past their age, and are not overwritten");
    Ok(driver.judged)
}

#[test]
fn without_a_time_server_an_age_is_over_by_the_time_the_volume_ran() {
    for_seeds("ages without a time server", 9650, 2, no_time_server);
}

pub(super) fn no_time_server(seed: u64) -> Verdict<u64> {
    let mut driver = lapped_on_time(seed)?;
    let id = driver.id();
    driver.clock.set_sync(ClockSync::FreeRunning);
    driver.retain(NAME, at_most(86_400))?;
    driver.reopen()?;
    let there = numbers_of(&driver.volume()?, id, TimeRange::default())?;
    driver.clock.advance(23 * HOUR);
    (0..3).try_for_each(|_| driver.round())?;
    let given = numbers_of(&driver.volume()?, id, TimeRange::default())?;
    demand!(there.is_subset(&given), "it is a day old in an hour, and is not given");
    driver.may_expire(WallTime::MAX);
    driver.clock.advance(2 * HOUR);
    for _ in 0..60 {
        driver.clock.advance(Duration::from_secs(61));
        driver.round()?;
    }
    let left = numbers_of(&driver.volume()?, id, TimeRange::default())?;
    let late: Vec<_> = there.intersection(&left).collect();
    demand!(late.is_empty(), "{late:?} are past their age, and are there");
    Ok(driver.judged)
}

#[test]
fn a_maximum_age_holds_after_a_rebuild_from_the_blocks() {
    for_seeds("maximum ages and rebuilding", 9550, 3, rebuilt);
}

pub(super) fn rebuilt(seed: u64) -> Verdict<u64> {
    let mut driver = lapped_on_time(seed)?;
    let id = driver.id();
    let maximum_age_s = 3600;
    driver.retain(NAME, at_most(maximum_age_s))?;
    driver.lap()?;
    driver.clock.set_wall(driver.clock.wall().plus(20 * HOUR));
    let geometry = driver.shape.geometry();
    let image = driver.disk.snapshot();
    for which in 0..64_u64 {
        let mut image = image.clone();
        let lost = regions(&geometry);
        for (at, length) in
            lost.iter().enumerate().filter(|(kind, _)| which & 1 << kind != 0).flat_map(|(_, places)| places)
        {
            image.write(*at, &vec![0; *length]);
        }
        let context = |why: String| format!("lost {which:#b}: {why}");
        // Without a superblock it is no volume until it is repaired.
        if which & 1 == 0 {
            driver.nothing_past_is_given(&image, id, maximum_age_s).map_err(context)?;
        }
        let (repaired, _) = repaired(&image, &RepairOptions::default(), seed).map_err(context)?;
        driver.nothing_past_is_given(&repaired, id, maximum_age_s).map_err(context)?;
    }
    Ok(64)
}
