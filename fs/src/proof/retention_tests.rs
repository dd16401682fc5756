//! Quotas and minimum ages: between streams they choose as they should, through laps, power cuts and jumps of the clock; the ring
//! of each stream stays a ring, and recording goes on.

use super::driver::{Cuts, Driver};
use super::hold_tests::{lapped, shape};
use super::{Verdict, demand, for_seeds};
use crate::retention::Retention;
use crate::types::WallTime;

/// A quota of so many blocks.
fn quota(blocks: u64) -> Retention {
    Retention { quota_bytes: blocks * (16 << 10), ..Retention::default() }
}

/// A minimum age in seconds.
fn at_least(minimum_age_s: u64) -> Retention {
    Retention { minimum_age_s, ..Retention::default() }
}

#[test]
fn a_stream_over_its_quota_overwrites_itself_and_the_others_get_the_room() {
    for_seeds("quotas", 8000, 3, quotas);
}

pub(super) fn quotas(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    let blocks = driver.shape.geometry().blocks as usize;
    driver.retain("cam0", quota(6))?;
    for _ in 0..2 {
        driver.lap()?;
        demand!(driver.blocks_of("cam0") <= 7, "cam0 has {} blocks", driver.blocks_of("cam0"));
        let rest = blocks - 7 - 4;
        demand!(driver.blocks_of("cam1") >= rest, "cam1 has {} of {blocks} blocks", driver.blocks_of("cam1"));
        driver.reopen()?;
    }
    // What is more than there is never comes to bear.
    driver.retain("cam0", quota(1000))?;
    driver.retain("cam1", quota(1000))?;
    driver.lap()?;
    demand!(driver.blocks_of("cam0") > 12, "cam0 has only {} blocks again", driver.blocks_of("cam0"));
    driver.retain("cam0", Retention::default())?;
    driver.power_cut()?;
    driver.lap()?;
    Ok(driver.judged)
}

#[test]
fn what_is_held_does_not_count_for_a_quota() {
    for_seeds("quotas and holds", 8050, 2, |seed| {
        let mut driver = lapped(seed, Cuts::NONE)?;
        let (from, to) = super::hold_tests::oldest(&driver, "cam0", 30)?;
        driver.hold("cam0", from, to, None)?.ok_or("there is room")?;
        let held = driver.view().held.len();
        driver.retain("cam0", quota(5))?;
        driver.lap()?;
        let view = driver.view();
        let live = view
            .live
            .iter()
            .filter(|live| driver.model.streams.get("cam0").is_some_and(|stream| stream.id == live.stream));
        let live = live.count();
        demand!(held >= 2 && live >= held + 4, "{live} blocks of cam0, {held} of them held");
        Ok(driver.judged)
    });
}

#[test]
fn young_blocks_are_passed_over_while_others_can_be_taken_and_then_the_lowest_goes() {
    for_seeds("minimum ages", 8100, 3, minimum_ages);
}

pub(super) fn minimum_ages(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.retain("cam1", at_least(1_000_000))?;
    let mut before = driver.blocks_of("cam1");
    for _ in 0..3 {
        driver.lap()?;
        let now = driver.blocks_of("cam1");
        let alone = driver.blocks_of("cam0") <= 6;
        demand!(now > before || alone, "cam1 had {before} blocks that are young, and has {now}");
        before = now;
        driver.reopen()?;
    }
    // Now nothing is old enough: the ring goes on all the same, and says so.
    driver.retain("cam0", at_least(1_000_000))?;
    driver.lap()?;
    let told = driver.retained()?.young_taken;
    demand!(told > 10, "{told} blocks were taken too early, and a lap was recorded");
    driver.retain("cam0", Retention::default())?;
    driver.retain("cam1", at_least(5))?;
    driver.lap()?;
    Ok(driver.judged)
}

#[test]
fn no_jump_of_the_clock_starves_a_stream_or_keeps_a_block_young_for_ever() {
    for_seeds("minimum ages and clocks", 8200, 2, |seed| {
        let mut driver = lapped(seed, Cuts::NONE)?;
        driver.retain("cam1", at_least(6))?;
        let year = 365 * 86_400 * 1_000_000_000_i64;
        let now = WallTime(1_700_000_000_000_000_000);
        for wall in [WallTime(0), now.plus_ns(10 * year), now.plus_ns(-86_400_000_000_000), now] {
            driver.clock.set_wall(wall);
            driver.lap()?;
            driver.reopen()?;
            driver.lap()?;
            // Young are the blocks of six seconds of running time, of the thirty of a lap.
            let (one, two) = (driver.blocks_of("cam0"), driver.blocks_of("cam1"));
            demand!(one >= 10, "at {wall:?} cam0 is left {one} blocks, cam1 has {two}");
        }
        Ok(driver.judged)
    });
}

#[test]
fn settings_changed_at_random_survive_power_cuts_at_every_event_and_are_kept() {
    for_seeds("retention at random", 8300, 8, at_random);
}

pub(super) fn at_random(seed: u64) -> Verdict<u64> {
    let mut driver = Driver::new(shape(seed), seed, Cuts::NONE)?;
    driver.admit("cam0")?;
    driver.admit("cam1")?;
    driver.lap()?;
    for step in 0..120 {
        let result = match driver.rng.below(24) {
            0..=2 => {
                let name = ["cam0", "cam1"][driver.rng.below(2)];
                let blocks = [0, 3, 5, 9, 14, 30][driver.rng.below(6)];
                let minimum_age_s = [0, 3, 20, 500][driver.rng.below(4)];
                driver.cuts = Cuts { one_in: 1, plans: 8, deep_one_in: 40 };
                let set = driver.retain(name, Retention { minimum_age_s, ..quota(blocks) });
                driver.cuts = Cuts { one_in: 40, plans: 4, deep_one_in: 80 };
                set
            }
            3 => driver.power_cut(),
            4 => driver.reopen(),
            5 => driver.lap(),
            6 => {
                let years = driver.rng.below(21) as i64 - 10;
                driver
                    .clock
                    .set_wall(WallTime(1_700_000_000_000_000_000).plus_ns(years * 31_536_000_000_000_000));
                Ok(())
            }
            _ => driver.step(),
        };
        result.map_err(|why| format!("step {step}: {why}"))?;
    }
    Ok(driver.judged)
}
