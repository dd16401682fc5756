//! Holds on a disk that fails in places or for a while: none covers for ever what it should not, none leaves out what waited in
//! memory, none that was refused comes back.

use super::driver::{Cuts, Driver};
use super::hold_tests::{lapped, oldest, shape};
use super::holds::numbers;
use super::material::Shape;
use super::oracle::Entry;
use super::{Verdict, demand, for_seeds};
use crate::disk::ReadAt;
use crate::disk::sim::{CrashPlan, Errno, Kinds, Repeat, SimImage};
use crate::error::Error;
use crate::format::SECTOR_BYTES;
use crate::hold::Hold;
use crate::report::TimeRange;
use crate::types::WallTime;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

/// Both copies of the holds, or one.
fn places(seed: u64, copies: Range<usize>) -> Vec<Range<u64>> {
    let geometry = shape(seed).geometry();
    let all = geometry.holds_at().map(|at| at..at + geometry.holds_bytes as u64);
    all.into_iter().skip(copies.start).take(copies.len()).collect()
}

/// A recorder whose clock goes with its samples, at a moment in its first run, and the wall time of a sample to come.
fn begun(seed: u64) -> Verdict<(Driver, impl Fn(u64) -> WallTime)> {
    let mut driver = Driver::new(shape(seed), seed, Cuts::NONE)?;
    driver.admit("cam0")?;
    driver.admit("cam1")?;
    driver.push(0, 500)?;
    driver.push(1, 500)?;
    driver.round()?;
    let first = driver.model.streams.get("cam0").and_then(|stream| stream.entries.first().cloned());
    let Some(Entry::Sample(begin)) = first else { return Err("no sample".to_owned()) };
    // A second is a round, or a thousand numbers.
    driver.clock.set_wall(begin.run.wall(begin.number as i64));
    let (run, number) = (begin.run, begin.number);
    Ok((driver, move |after| run.wall((number + after) as i64)))
}

/// The numbers of a stream's samples in a range.
fn numbers_in(driver: &Driver, name: &str, from: WallTime, to: WallTime) -> Verdict<BTreeSet<i64>> {
    let stream = driver.model.streams.get(name).ok_or("no such stream")?;
    let inside = |entry: &Entry| match entry {
        Entry::Sample(pushed) => {
            let wall = pushed.run.wall(pushed.number as i64);
            (from <= wall && wall < to).then_some(pushed.number as i64)
        }
        Entry::Gap(_) => None,
    };
    // What comes before the first picture that begins a GOP is given to nobody.
    let given = numbers(&driver.volume()?, name, TimeRange { from: Some(from), to: Some(to) })?;
    Ok(stream.entries.iter().filter_map(inside).filter(|number| given.contains(number)).collect())
}

/// The model of a hold is told that it shall keep these, too.
fn shall_keep(driver: &mut Driver, hold: &Hold, numbers: BTreeSet<i64>) -> Verdict {
    let held = driver.model.holds.get_mut(&hold.id).ok_or("no such hold")?;
    held.numbers.extend(numbers);
    Ok(())
}

#[test]
fn a_growing_hold_beside_a_table_that_cannot_be_written_leaves_recording_its_room() {
    for_seeds("a growing hold beside a refused table", 8950, 3, grows_beside_refused_table);
}

/// The record has room for 44 rows; when half as many wait there for the table and all are held, blocks are taken whose rows do not.
pub(super) fn grows_beside_refused_table(seed: u64) -> Verdict<u64> {
    let shape = Shape { size_bytes: 8 << 20, ..Shape::SMALL };
    let mut driver = Driver::new(shape, seed, Cuts::NONE)?;
    driver.on_time = true;
    driver.admit("cam0")?;
    driver.admit("cam1")?;
    driver.lap()?;
    let entries = driver.model.streams.get("cam0").map(|stream| stream.entries.as_slice());
    let Some([.., Entry::Sample(last)]) = entries else { return Err("no sample".to_owned()) };
    let (from, to) = (last.run.wall(last.number as i64), last.run.wall(last.number as i64 + 400));
    driver.clock.set_wall(from);
    let hold = driver.hold("cam0", from, to, None)?.ok_or("there is room")?;
    demand!(hold.growing, "it does not grow: {hold:?}");
    let held = driver.view().held.len();
    driver.faulty = true;
    driver.model.any_spared = true;
    let geometry = shape.geometry();
    let at = geometry.table_at();
    let table = at..at + geometry.table_bytes as u64;
    driver.refuse_writes(std::slice::from_ref(&table));
    for _ in 0..200 {
        if driver.view().held.len() >= held + 28 {
            break;
        }
        (0..3).try_for_each(|_| driver.push(0, 5000))?;
        driver.settle()?;
    }
    demand!(driver.view().held.len() >= held + 28, "only {} blocks are held", driver.view().held.len());
    driver.refuse_writes(&[]);
    (0..130).try_for_each(|_| driver.round())?;
    driver.lift(hold.id)?;
    driver.reopen()?;
    driver.lap()?;
    Ok(driver.judged)
}

#[test]
fn a_growing_hold_ends_although_its_place_cannot_be_written_any_more() {
    for_seeds("a growing hold in a bad place", 8300, 6, ends_all_the_same);
}

/// One copy of all slots, or both, refuse writes while a hold grows past its end.
pub(super) fn ends_all_the_same(seed: u64) -> Verdict<u64> {
    let copies = [0..1, 1..2, 0..2][(seed % 3) as usize].clone();
    let both = copies.len() == 2;
    let (mut driver, wall) = begun(seed)?;
    let wide = (wall(0), wall(60));
    // It reaches beyond what was recorded, so it grows.
    let hold = driver.hold("cam0", wide.0, wide.1, None)?.ok_or("there is room")?;
    demand!(hold.growing, "it does not grow: {hold:?}");
    driver.faulty = true;
    driver.refuse_writes(&places(seed, copies));
    for _ in 0..40 {
        driver.push(0, 600)?;
        driver.push(1, 300)?;
        driver.round()?;
    }
    driver.settle()?;
    let kept = numbers_in(&driver, "cam0", wide.0, wide.1)?;
    driver.lap()?;
    driver.lap()?;
    demand!(driver.view().held.len() < 12, "{} blocks are held", driver.view().held.len());
    if !both {
        shall_keep(&mut driver, &hold, kept.clone())?;
        driver.power_cut()?;
        driver.lap()?;
        driver.lift(hold.id)?;
        driver.power_cut()?;
        demand!(driver.volume()?.holds().is_empty(), "what was lifted is back");
    }
    driver.lap()?;
    driver.refuse_writes(&[]);
    (0..130).try_for_each(|_| driver.round())?;
    if both {
        shall_keep(&mut driver, &hold, kept)?;
        driver.power_cut()?;
        driver.lap()?;
        demand!(driver.volume()?.holds().iter().all(|hold| !hold.growing), "it grows again");
    }
    driver.reopen()?;
    driver.lap()?;
    Ok(driver.judged)
}

#[test]
fn what_waited_in_memory_while_the_disk_failed_is_held() {
    for_seeds("a hold after a stall", 8400, 4, after_a_stall);
}

/// The disk fails for more than the minute for which late footage is waited.
pub(super) fn after_a_stall(seed: u64) -> Verdict<u64> {
    let (mut driver, wall) = begun(seed)?;
    driver.faulty = true;
    let (from, to) = (wall(0), wall(400));
    let early = seed.is_multiple_of(2);
    let mut hold = if early { driver.hold("cam0", from, to, None)? } else { None };
    driver.disk.fail_nth(0, Errno::EIO, Repeat::Forever, Kinds::WRITES);
    for _ in 0..90 {
        driver.push(0, 200)?;
        driver.round()?;
    }
    driver.disk.clear_faults();
    if !early {
        hold = driver.hold("cam0", from, to, None)?;
    }
    let hold = hold.ok_or("there is room")?;
    driver.settle()?;
    let waited = numbers_in(&driver, "cam0", from, to)?;
    demand!(waited.len() > 80, "only {} samples waited", waited.len());
    shall_keep(&mut driver, &hold, waited)?;
    (0..70).try_for_each(|_| driver.round())?;
    driver.faulty = false;
    driver.lap()?;
    driver.lap()?;
    driver.power_cut()?;
    demand!(driver.volume()?.holds().iter().all(|hold| !hold.growing), "it grows for ever");
    Ok(driver.judged)
}

#[test]
fn a_hold_that_was_refused_because_of_the_disk_does_not_come_back() {
    for_seeds("a refused hold", 8500, 4, refused);
}

pub(super) fn refused(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.faulty = true;
    let (from, to) = oldest(&driver, "cam0", 4)?;
    let copy = (seed / 2 % 2) as usize;
    driver.refuse_writes(&places(seed, copy..copy + 1));
    demand!(
        driver.hold("cam0", from, to, None)?.is_none(),
        "it is acknowledged, but stands in one copy only"
    );
    driver.refuse_writes(&[]);
    (0..70).try_for_each(|_| driver.round())?;
    driver.power_cut()?;
    let found = driver.volume()?.holds();
    demand!(found.is_empty(), "what was refused stands: {found:?}");
    driver.lap()?;
    demand!(driver.view().held.is_empty(), "what was refused is held");
    // What could not be lifted is not lifted.
    let (from, to) = oldest(&driver, "cam0", 4)?;
    let hold = driver.hold("cam0", from, to, None)?.ok_or("there is room")?;
    driver.refuse_writes(&places(seed, 0..2));
    driver.lift(hold.id)?;
    if let Some(held) = driver.model.holds.get_mut(&hold.id) {
        held.doomed = false;
    }
    driver.refuse_writes(&[]);
    (0..70).try_for_each(|_| driver.round())?;
    driver.power_cut()?;
    driver.lap()?;
    driver.lift(hold.id)?;
    Ok(driver.judged)
}

#[test]
fn that_a_change_was_lost_is_not_forgotten_where_every_place_is_taken() {
    for_seeds("a lost change among many", 8600, 2, lost_among_many);
}

fn copy_holds(seed: u64, from: &SimImage, to: &mut SimImage) -> Verdict {
    let geometry = shape(seed).geometry();
    for at in geometry.holds_at() {
        let mut bytes = vec![0; geometry.holds_bytes];
        from.read_exact_at(&mut bytes, at).map_err(|error| error.to_string())?;
        to.write(at, &bytes);
    }
    Ok(())
}

pub(super) fn lost_among_many(seed: u64) -> Verdict<u64> {
    let mut driver = all_held_and_one_lost(seed)?;
    driver.lap()?;
    driver.power_cut()?;
    driver.lap()?;
    driver.reopen()?;
    // A place is free now, and takes the mark.
    let some = driver.volume()?.holds().into_iter().find(|hold| !hold.lost).ok_or("no hold")?;
    driver.lift(some.id)?;
    driver.power_cut_with(CrashPlan::None).map_err(|why| format!("right after lifting: {why}"))?;
    (0..3).try_for_each(|_| driver.round())?;
    driver.power_cut()?;
    let lost: Vec<_> = driver.volume()?.holds().into_iter().filter(|hold| hold.lost).collect();
    demand!(lost.len() == 1, "{} holds are said to be lost", lost.len());
    driver.lift(lost[0].id)?;
    driver.model.holds_lost = false;
    driver.power_cut()?;
    Ok(driver.judged)
}

/// A volume in which every place has a hold, and the last change of one was never written.
fn all_held_and_one_lost(seed: u64) -> Verdict<Driver> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    let places = driver.volume()?.hold_room().holds_max;
    let (from, to) = oldest(&driver, "cam0", 4)?;
    for _ in 0..places {
        driver.hold("cam0", from, to, None)?.ok_or("there is room")?;
    }
    let (before, model) = driver.close()?;
    let mut driver = Driver::on(before.clone(), shape(seed), model, seed, Cuts::NONE)?;
    driver.clock.advance(Duration::from_secs(5 * 3600));
    let first = *driver.model.holds.keys().next().ok_or("no hold")?;
    driver.lift(first)?;
    driver.hold("cam0", from, to, None)?.ok_or("there is room")?;
    let (mut image, mut model) = driver.close()?;
    copy_holds(seed, &before, &mut image)?;
    model.holds.clear();
    model.holds_lost = true;
    Driver::faulty_on(image, shape(seed), model, seed)
}

#[test]
fn a_lost_hold_that_no_place_is_free_to_tell_of_is_lifted_for_good() {
    for_seeds("a lost change among many, lifted", 8620, 2, |seed| {
        let mut driver = all_held_and_one_lost(seed)?;
        let lost = |driver: &Driver| -> Verdict<Vec<Hold>> {
            Ok(driver.volume()?.holds().into_iter().filter(|hold| hold.lost).collect())
        };
        let told = lost(&driver)?;
        demand!(told.len() == 1, "{told:?} are said to be lost");
        driver.lift(told[0].id)?;
        driver.model.holds_lost = false;
        driver.round()?;
        driver.power_cut()?;
        driver.reopen()?;
        let told = lost(&driver)?;
        demand!(told.is_empty(), "{told:?} are said to be lost again");
        Ok(driver.judged)
    });
}

#[test]
fn the_mark_of_a_lost_hold_is_not_lifted_where_nothing_can_be_written() {
    for_seeds("a lost change among many, not lifted", 8640, 2, lifted_nowhere);
}

pub(super) fn lifted_nowhere(seed: u64) -> Verdict<u64> {
    let mut driver = all_held_and_one_lost(seed)?;
    let lost = |driver: &Driver| -> Verdict<Vec<Hold>> {
        Ok(driver.volume()?.holds().into_iter().filter(|hold| hold.lost).collect())
    };
    let told = lost(&driver)?;
    demand!(told.len() == 1, "{told:?} are said to be lost");
    driver.refuse_writes(&places(seed, 0..2));
    let lifted = driver.watched(|engine| engine.lift_hold(told[0].id))?;
    demand!(matches!(lifted, Err(Error::Io { .. })), "it is acknowledged and stands nowhere: {lifted:?}");
    driver.round()?;
    driver.power_cut_with(CrashPlan::None).map_err(|why| format!("refused: {why}"))?;
    // What could not be written is once it can: still it says nothing of what was refused.
    driver.refuse_writes(&[]);
    (0..70).try_for_each(|_| driver.round())?;
    driver.power_cut().map_err(|why| format!("written later: {why}"))?;
    let told = lost(&driver)?;
    demand!(told.len() == 1, "lifting it was refused, and {told:?} are said to be lost");
    driver.lift(told[0].id)?;
    driver.model.holds_lost = false;
    driver.power_cut()?;
    Ok(driver.judged)
}

#[test]
fn a_hold_expires_in_time_although_no_round_record_stands() {
    for_seeds("an expiry without a log", 8700, 2, |seed| {
        let mut driver = lapped(seed, Cuts::NONE)?;
        let (from, to) = oldest(&driver, "cam0", 3)?;
        driver.hold("cam0", from, to, Some(Duration::from_secs(400)))?.ok_or("there is room")?;
        let (mut image, mut model) = driver.close()?;
        let geometry = shape(seed).geometry();
        let log = vec![0; geometry.log_slot_bytes * crate::format::geometry::LOG_SLOTS as usize];
        geometry.logs_at().into_iter().for_each(|at| image.write(at, &log));
        for held in model.holds.values_mut() {
            held.doomed = true;
        }
        let mut driver = Driver::faulty_on(image, shape(seed), model, seed)?;
        driver.clock.set_wall(WallTime(2_100_000_000_000_000_000));
        for _ in 0..410 {
            driver.round()?;
        }
        demand!(driver.volume()?.holds().is_empty(), "it never expires");
        Ok(driver.judged)
    });
}

#[test]
fn room_that_is_set_aside_for_a_hold_is_given_to_no_new_stream() {
    for_seeds("reserved room", 8800, 2, reserved_room);
}

pub(super) fn reserved_room(seed: u64) -> Verdict<u64> {
    let mut driver = reserving(seed)?;
    let room = driver.volume()?.hold_room();
    let left = room.blocks_max - room.held_blocks - room.reserved_blocks;
    let admitted = driver.admit("cam1").is_ok();
    demand!(admitted == (left >= 3), "of {room:?} a stream is given room: {admitted}");
    if !admitted {
        driver.model.streams.remove("cam1");
    }
    // Then blocks are withdrawn: before more is held than may be the hold ends, and recording goes on.
    driver.faulty = true;
    let geometry = shape(seed).geometry();
    let header = |block: u32| geometry.block_at(crate::types::BlockIndex(block));
    let last = geometry.blocks - 1;
    // Two: more are not withdrawn in a day.
    let bad = [last - 9, last - 4].map(|block| header(block)..header(block) + SECTOR_BYTES as u64);
    driver.refuse_writes(&bad);
    for turn in 0..60 {
        driver.push(0, 14_000)?;
        driver.round().map_err(|why| format!("round {turn}: {why}"))?;
        let room = driver.volume()?.hold_room();
        // It ends in the round in which that is met.
        demand!(
            room.held_blocks <= room.blocks_max + 1,
            "after round {turn} more is held than may be: {room:?}"
        );
    }
    driver.settle()?;
    let holds = driver.volume()?.holds();
    demand!(holds.iter().any(|hold| hold.cut_short), "it is not cut short: {holds:?}");
    driver.lap()?;
    Ok(driver.judged)
}

/// A recorder of one stream, with room set aside for a hold that leaves none for another stream.
fn reserving(seed: u64) -> Verdict<Driver> {
    let mut driver = Driver::new(shape(seed), seed, Cuts::NONE)?;
    driver.admit("cam0")?;
    for _ in 0..20 {
        driver.push(0, 2500)?;
        driver.round()?;
    }
    let first = driver.model.streams.get("cam0").and_then(|stream| stream.entries.first().cloned());
    let Some(Entry::Sample(begin)) = first else { return Err("no sample".to_owned()) };
    let wall = |after: i64| begin.run.wall(begin.number as i64 + after);
    driver.clock.set_wall(wall(60));
    // As long as it may be,
    let lengths_ms = std::iter::successors(Some(10_000_000_u64), |ms| Some(ms * 19 / 20));
    let longest = lengths_ms.take(250).find_map(|ms| {
        let to = wall(60).plus(Duration::from_millis(ms));
        driver.hold("cam0", wall(40), to, None).ok().flatten()
    });
    longest.ok_or("nothing can be held")?;
    // and of what lies before it as much as there is room for.
    (1..40).rev().find_map(|end| driver.hold("cam0", wall(0), wall(end), None).ok().flatten());
    Ok(driver)
}
