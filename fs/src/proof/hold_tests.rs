//! Evidence holds under power cuts, laps and reopening: what was acknowledged is never overwritten, the rest of the ring goes on.

use super::driver::{Cuts, Driver};
use super::material::Shape;
use super::{Verdict, demand, for_seeds};
use crate::disk::sim::CrashPlan;
use crate::report::TimeRange;
use crate::types::{HoldId, WallTime};
use std::collections::BTreeSet;
use std::time::Duration;

/// Slots of holds are written one by one, or with their neighbours.
pub(super) fn shape(seed: u64) -> Shape {
    let page_bytes = if seed.is_multiple_of(2) { 512 } else { 1024 };
    let alignment_bytes = page_bytes as u32;
    Shape {
        size_bytes: 640 << 10,
        page_bytes,
        block_bytes: 16 << 10,
        streams: 2,
        alignment_bytes,
        grown_bytes: [0; 2],
    }
}

/// Two streams, and a ring that is full.
pub(super) fn lapped(seed: u64, cuts: Cuts) -> Verdict<Driver> {
    let driver = Driver::new(shape(seed), seed, Cuts::NONE)?;
    // After all that the cameras' clocks say.
    driver.clock.advance(Duration::from_secs(5 * 3600));
    lap_of(driver, cuts)
}

/// The same, with clocks that are right.
pub(super) fn lapped_on_time(seed: u64) -> Verdict<Driver> {
    let mut driver = Driver::new(shape(seed), seed, Cuts::NONE)?;
    driver.on_time = true;
    driver.clock.set_sync(crate::clock::ClockSync::Synchronised { error_max: Duration::from_millis(1) });
    lap_of(driver, Cuts::NONE)
}

fn lap_of(mut driver: Driver, cuts: Cuts) -> Verdict<Driver> {
    driver.admit("cam0")?;
    driver.admit("cam1")?;
    driver.lap()?;
    driver.cuts = cuts;
    Ok(driver)
}

/// The range of the oldest samples that a stream has.
pub(super) fn oldest(driver: &Driver, name: &str, samples: usize) -> Verdict<(WallTime, WallTime)> {
    let volume = driver.volume()?;
    let there = super::holds::numbers(&volume, name, TimeRange::default())?;
    let stream = driver.model.streams.get(name).ok_or("no such stream")?;
    let walls: Vec<WallTime> = stream
        .entries
        .iter()
        .filter_map(|entry| match entry {
            super::oracle::Entry::Sample(pushed) if there.contains(&(pushed.number as i64)) => {
                Some(pushed.run.wall(pushed.number as i64))
            }
            _ => None,
        })
        .take(samples)
        .collect();
    let (first, last) = walls.iter().min().zip(walls.iter().max()).ok_or("nothing is there")?;
    Ok((*first, last.plus_ns(1)))
}

#[test]
fn held_footage_survives_three_laps_and_the_rest_of_the_ring_goes_on() {
    for_seeds("holds over laps", 7000, 4, over_laps);
}

pub(super) fn over_laps(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    let (from, to) = oldest(&driver, "cam0", 8)?;
    let hold = driver.hold("cam0", from, to, None)?.ok_or("there is room for eight samples")?;
    demand!(!hold.growing && !hold.spans.is_empty(), "a past range is whole: {hold:?}");
    let kept = driver.model.holds.get(&hold.id).map(|held| held.numbers.clone()).unwrap_or_default();
    demand!(kept.len() >= 8, "only {kept:?} are held");
    driver.reopen()?;
    for _ in 0..3 {
        driver.lap()?;
    }
    driver.reopen()?;
    driver.lift(hold.id)?;
    driver.lap()?;
    driver.lap()?;
    let left = super::holds::numbers(&driver.volume()?, "cam0", TimeRange::default())?;
    demand!(left.is_disjoint(&kept), "what was lifted is never overwritten");
    Ok(driver.judged)
}

#[test]
fn an_acknowledged_hold_of_a_block_that_was_granted_survives_a_power_cut_at_once() {
    for_seeds("holds of granted blocks", 7100, 12, of_granted_blocks);
}

pub(super) fn of_granted_blocks(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.round()?;
    let granted = driver.view().granted;
    demand!(!granted.is_empty(), "blocks are set aside after a lap");
    // What is set aside is the oldest there is: readers do not see it any more, but it is whole.
    let mut held = BTreeSet::new();
    for name in ["cam0", "cam1"] {
        let stream = driver.model.streams.get(name).ok_or("no such stream")?;
        let walls = stream.entries.iter().filter_map(|entry| match entry {
            super::oracle::Entry::Sample(pushed) => Some(pushed.run.wall(pushed.number as i64)),
            super::oracle::Entry::Gap(_) => None,
        });
        let (_, to) = oldest(&driver, name, 1)?;
        let from = walls.min().ok_or("nothing was pushed")?;
        if from < to {
            held.extend(driver.hold(name, from, to, None)?.map(|hold| hold.id));
        }
    }
    demand!(!held.is_empty(), "nothing could be held");
    let now = driver.view();
    demand!(now.granted.is_disjoint(&now.held), "{:?} are set aside, {:?} held", now.granted, now.held);
    let withdrawn = !granted.is_disjoint(&now.held);
    driver.power_cut_with(CrashPlan::None)?;
    driver.lap()?;
    driver.power_cut()?;
    driver.lap()?;
    demand!(withdrawn, "no grant had to be withdrawn");
    Ok(driver.judged)
}

#[test]
fn a_power_cut_at_every_event_of_holding_and_lifting_loses_no_acknowledged_hold() {
    for_seeds("holds, every event", 7200, 3, every_event);
}

pub(super) fn every_event(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts { one_in: 1, plans: 12, deep_one_in: 30 })?;
    let (from, to) = oldest(&driver, "cam1", 4)?;
    let first = driver.hold("cam1", from, to, None)?.ok_or("there is room")?;
    let (from, to) = oldest(&driver, "cam0", 6)?;
    let second = driver.hold("cam0", from, to, None)?.ok_or("there is room")?;
    driver.round()?;
    driver.push(0, 9000)?;
    driver.push(1, 3000)?;
    driver.round()?;
    driver.lift(first.id)?;
    driver.push(0, 9000)?;
    driver.round()?;
    driver.lift(second.id)?;
    driver.round()?;
    Ok(driver.judged)
}

#[test]
fn holds_made_and_lifted_at_random_survive_random_power_cuts() {
    for_seeds("holds at random", 7300, 12, at_random);
}

pub(super) fn at_random(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts { one_in: 60, plans: 6, deep_one_in: 60 })?;
    let mut holds: Vec<HoldId> = Vec::new();
    for step in 0..160 {
        let result = match driver.rng.below(40) {
            0 | 1 => driver.hold_any().map(|hold| holds.extend(hold.map(|hold| hold.id))),
            2 if !holds.is_empty() => {
                let id = holds.swap_remove(driver.rng.below(holds.len()));
                driver.lift(id)
            }
            3 => driver.power_cut(),
            4 => driver.lap(),
            _ => driver.step(),
        };
        result.map_err(|why| format!("step {step}: {why}"))?;
    }
    Ok(driver.judged)
}

#[test]
fn holds_may_take_all_but_three_blocks_a_stream_and_two_and_recording_goes_on() {
    for_seeds("holds up to the budget", 7400, 3, |seed| {
        let mut driver = lapped(seed, Cuts::NONE)?;
        let mut refused = false;
        for turn in 0..200 {
            let name = ["cam0", "cam1"][turn % 2];
            let before = driver.view().held.len();
            let known = driver.model.holds.values().filter(|held| held.stream == name);
            let known = known.flat_map(|held| held.numbers.iter()).max().copied();
            let there = super::holds::numbers(&driver.volume()?, name, TimeRange::default())?;
            // The oldest that is not held yet: each time a block or two.
            let stream = driver.model.streams.get(name).ok_or("no such stream")?;
            let next = stream.entries.iter().find_map(|entry| match entry {
                super::oracle::Entry::Sample(pushed) => {
                    let number = pushed.number as i64;
                    let new = there.contains(&number) && known.is_none_or(|known| number > known);
                    new.then(|| pushed.run.wall(number))
                }
                super::oracle::Entry::Gap(_) => None,
            });
            let Some(next) = next else { continue };
            if driver.hold(name, next, next.plus_ns(30_000_000), None)?.is_none() {
                refused = true;
                break;
            }
            demand!(driver.view().held.len() >= before, "a hold made room");
        }
        let (view, blocks) = (driver.view(), driver.shape.geometry().blocks as usize);
        demand!(view.held.len() <= blocks - 8, "{} of {blocks} blocks are held", view.held.len());
        demand!(refused, "only {} of {blocks} blocks are held and nothing was refused", view.held.len());
        driver.lap()?;
        driver.reopen()?;
        driver.lap()?;
        Ok(driver.judged)
    });
}

#[test]
fn a_hold_into_the_future_keeps_what_comes_until_its_end() {
    for_seeds("holds into the future", 7500, 4, |seed| {
        let mut driver = Driver::new(shape(seed), seed, Cuts { one_in: 40, plans: 4, deep_one_in: 40 })?;
        driver.admit("cam0")?;
        driver.admit("cam1")?;
        driver.push(0, 500)?;
        driver.push(1, 500)?;
        driver.round()?;
        let run = driver.model.streams.get("cam0").and_then(|stream| stream.entries.first().cloned());
        let Some(super::oracle::Entry::Sample(begin)) = run else { return Err("no sample".to_owned()) };
        let number = begin.number as i64;
        let (from, to) = (begin.run.wall(number + 40), begin.run.wall(number + 100));
        let hold = driver.hold("cam0", from, to, None)?;
        // Of a run whose clock is far ahead, the end lies hours away.
        let Some(hold) = hold.filter(|hold| hold.growing) else { return Ok(driver.judged) };
        let mut kept = BTreeSet::new();
        for turn in 0..120 {
            driver.push(0, 600)?;
            driver.push(1, 300)?;
            if turn % 4 == 0 {
                driver.round()?;
            }
        }
        driver.settle()?;
        let stream = driver.model.streams.get("cam0").ok_or("no such stream")?;
        for entry in &stream.entries {
            if let super::oracle::Entry::Sample(pushed) = entry {
                let wall = pushed.run.wall(pushed.number as i64);
                kept.extend((wall >= from && wall < to).then_some(pushed.number as i64));
            }
        }
        demand!(kept.len() > 10, "the range was hardly recorded: {kept:?}");
        if let Some(held) = driver.model.holds.get_mut(&hold.id) {
            held.numbers.extend(kept);
        }
        driver.power_cut()?;
        driver.lap()?;
        driver.lap()?;
        driver.reopen()?;
        let held = driver.volume()?.holds();
        demand!(held.iter().all(|hold| !hold.lost), "{held:?}");
        Ok(driver.judged)
    });
}

#[test]
fn a_hold_expires_when_both_clocks_say_so_and_not_before() {
    for_seeds("holds that expire", 7600, 2, |seed| {
        let mut driver = lapped(seed, Cuts::NONE)?;
        let (from, to) = oldest(&driver, "cam0", 3)?;
        let hold = driver.hold("cam0", from, to, Some(Duration::from_secs(400)))?.ok_or("there is room")?;
        // A clock that jumps ten years ahead frees nothing. (The lap takes less than 400 rounds.)
        driver.clock.set_wall(WallTime(2_100_000_000_000_000_000));
        driver.round()?;
        driver.reopen()?;
        driver.lap()?;
        if let Some(held) = driver.model.holds.get_mut(&hold.id) {
            held.doomed = true;
        }
        driver.cuts = Cuts { one_in: 60, plans: 4, deep_one_in: 0 };
        for _ in 0..420 {
            driver.round()?;
        }
        driver.cuts = Cuts::NONE;
        demand!(driver.volume()?.holds().is_empty(), "it never expires");
        driver.model.holds.clear();
        driver.lap()?;
        driver.reopen()?;
        Ok(driver.judged)
    });
}
