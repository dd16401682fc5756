//! Erasing cut short and on bad disks: by the end of the volume's use, by a crash while footage is half overwritten, by pages that
//! cannot be read and blocks that cannot be written. What was begun is finished, nothing else is touched, and who asked is told.

use super::driver::{Cuts, Driver, open_engine};
use super::erase_tests::{range, unwiped};
use super::hold_tests::{lapped, lapped_on_time};
use super::holds::numbers_of;
use super::{Verdict, demand, for_seeds};
use crate::disk::sim::{CrashPlan, CrashPoint, Errno, Kinds, SimDisk, SimImage};
use crate::error::Error;
use crate::format::geometry::LOG_SLOTS;
use crate::reader::Volume;
use crate::recover::{contents, recover};
use crate::report::{BlockState, TimeRange};
use crate::retention::{Retention, RetentionRequest};
use crate::scan::Scanner;
use crate::types::{BlockIndex, StreamId, StreamName, WallTime};
use crate::writer::engine::Engine;
use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Blocks in which a void chunk stands, zeros already or not.
fn voids(image: &SimImage) -> Verdict<BTreeSet<BlockIndex>> {
    let state = recover(image, Path::new("proof")).map_err(|error| error.to_string())?;
    let scanner = Scanner { disk: image, geometry: &state.geometry, volume: state.volume() };
    let has_void = |block: &BlockIndex| {
        let row = state.row(*block);
        let (footer, _) = contents(&scanner, *block, &row);
        row.is_linked() && footer.chunks.iter().any(|place| place.kind.is_void())
    };
    Ok(state.geometry.all_blocks().filter(has_void).collect())
}

/// Closes the volume and gives what stands on the disk then: in the same blocks as before something was overwritten, and all of
/// that to its end.
fn closed(driver: &mut Driver) -> Verdict<SimImage> {
    let mut before = voids(&driver.disk.snapshot())?;
    // What was erased and is set aside by now is given back.
    let set_aside = driver.view().granted;
    driver.watched_with(Engine::close, true)?.map_err(|error| error.to_string())?;
    let image = driver.disk.crash(CrashPlan::None);
    let (after, left) = (voids(&image)?, unwiped(&image)?);
    before.extend(after.intersection(&set_aside));
    demand!(after == before, "when it was to be closed {before:?} were begun, and then {after:?}");
    demand!(left.is_empty(), "it is closed, and {left:?} are half overwritten");
    Ok(image)
}

#[test]
fn closing_finishes_what_is_half_erased_begins_nothing_and_tells_who_waits() {
    for_seeds("closing while footage is erased", 8410, 2, closing);
}

pub(super) fn closing(seed: u64) -> Verdict<u64> {
    let (mut judged, mut told) = (0, 0);
    for rounds in 0..10 {
        let mut driver = lapped(seed, Cuts::NONE)?;
        driver.begin_erasing("cam0", WallTime::MIN, WallTime::MAX)?;
        (0..rounds).try_for_each(|_| driver.round())?;
        let over = driver.watched(|engine| engine.take_erased())?;
        closed(&mut driver).map_err(|why| format!("after {rounds} rounds: {why}"))?;
        match (over, driver.watched(|engine| engine.take_erased())?) {
            (None, Some(Err(Error::Stopped(_)))) => told += 1,
            (Some(Ok(_)), None) => {}
            (over, answer) => {
                return Err(format!("after {rounds} rounds who waits is told {over:?}, then {answer:?}"));
            }
        }
        driver.power_cut_with(CrashPlan::None).map_err(|why| format!("after {rounds} rounds: {why}"))?;
        driver.erase("cam0", WallTime::MIN, WallTime::MAX)?;
        driver.gives_nothing_of("cam0").map_err(|why| format!("erased again: {why}"))?;
        driver.lap()?;
        judged += driver.judged;
    }
    demand!(told > 3, "only {told} were closed in the midst of it");
    Ok(judged)
}

#[test]
fn closing_begins_to_overwrite_nothing_that_is_past_its_age() {
    for_seeds("closing when footage is past its age", 8430, 2, closing_aged);
}

pub(super) fn closing_aged(seed: u64) -> Verdict<u64> {
    let mut driver = past_its_age(seed)?;
    closed(&mut driver)?;
    // Had it not been closed, it would have been.
    let mut driver = past_its_age(seed)?;
    (0..6).try_for_each(|_| driver.engine().map(|engine| drop(engine.round())))?;
    demand!(!voids(&driver.disk.snapshot())?.is_empty(), "what is past its age is never overwritten");
    Ok(2)
}

/// A recorder on whose disk all of a stream is past its age, on the word of a clock that is believed, and is to be looked for.
fn past_its_age(seed: u64) -> Verdict<Driver> {
    let mut driver = lapped_on_time(seed)?;
    for _ in 0..3 {
        driver.round()?;
        driver.clock.advance(Duration::from_secs(3700));
    }
    driver.round()?;
    let stream = StreamName::new("cam0").map_err(|error| error.to_string())?;
    let retention = Retention { maximum_age_s: 600, ..Retention::default() };
    let request = RetentionRequest { stream, retention };
    driver.engine()?.set_retention(&request).map_err(|error| error.to_string())?;
    demand!(voids(&driver.disk.snapshot())?.is_empty(), "it is overwritten already");
    // It is looked for once a minute.
    driver.clock.advance(Duration::from_secs(100));
    Ok(driver)
}

#[test]
fn a_cable_that_refuses_to_overwrite_anything_costs_no_more_than_two_blocks_a_day() {
    for_seeds("erasing through a bad cable", 8910, 2, bad_cable);
}

pub(super) fn bad_cable(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.faulty = true;
    let mine = driver.live_of("cam0");
    let sealed = mine.iter().filter(|live| live.state == BlockState::Sealed);
    let places: Vec<_> = sealed.map(|live| driver.place(live.block)).collect();
    demand!(places.len() > 6, "only {} blocks are sealed", places.len());
    driver.refuse_writes(&places);
    demand!(
        !driver.erase("cam0", WallTime::MIN, WallTime::MAX)?,
        "what cannot be written is said to be erased"
    );
    let bad = |driver: &Driver| -> Verdict<usize> {
        Ok(driver.volume()?.blocks().iter().filter(|block| block.state == BlockState::Bad).count())
    };
    let withdrawn = bad(&driver)?;
    demand!((1..=2).contains(&withdrawn), "of {} blocks {withdrawn} were withdrawn", places.len());
    demand!(driver.view().withdrawn == 0, "recording may withdraw {} blocks less", driver.view().withdrawn);
    driver.gives_nothing_of("cam0")?;
    driver.refuse_writes(&[]);
    driver.power_cut()?;
    driver.gives_nothing_of("cam0")?;
    driver.lap()?;
    driver.lap()?;
    demand!(bad(&driver)? == withdrawn, "{} blocks are withdrawn now", bad(&driver)?);
    Ok(driver.judged)
}

#[test]
fn a_page_that_cannot_be_read_is_overwritten_like_any_other() {
    for_seeds("erasing an unreadable page", 8920, 3, unreadable_page);
}

/// The page where the header of the void chunk goes, in a block that goes whole.
pub(super) fn unreadable_page(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.faulty = true;
    let mine = driver.live_of("cam0");
    let mut sealed = mine.iter().filter(|live| live.state == BlockState::Sealed);
    let block = sealed.nth(2 + (seed % 3) as usize).ok_or("too few blocks")?.block;
    let page_bytes = driver.shape.geometry().page_bytes as u64;
    let page = driver.place(block).start + page_bytes;
    driver.disk.fail_range(page..page + page_bytes, Errno::EIO, Kinds::READS);
    let done = driver.erase("cam0", WallTime::MIN, WallTime::MAX)?;
    demand!(done, "because a page of block {block} cannot be read, it is not overwritten");
    driver.disk.clear_faults();
    driver.power_cut()?;
    demand!(driver.volume()?.blocks().iter().all(|block| block.state != BlockState::Bad), "it is withdrawn");
    driver.lap()?;
    Ok(driver.judged)
}

#[test]
fn what_a_crash_left_half_overwritten_the_next_writer_finishes_also_without_log_and_table() {
    for_seeds("half erased", 8930, 2, half_erased);
}

pub(super) fn half_erased(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    let geometry = driver.shape.geometry();
    let (from, to) = range(&driver, "cam0", 12, 30)?;
    driver.begin_erasing("cam0", from, to)?;
    let points: Arc<Mutex<Vec<CrashPoint>>> = Arc::default();
    let noted = Arc::clone(&points);
    driver.disk.on_event(move |point| {
        noted.lock().unwrap_or_else(PoisonError::into_inner).push(point.clone());
    });
    for _ in 0..10 {
        driver.engine()?.round();
    }
    driver.disk.off_event();
    let points = std::mem::take(&mut *points.lock().unwrap_or_else(PoisonError::into_inner));
    let (mut seen, mut judged) = (HashSet::new(), 0);
    for point in points.into_iter().step_by(6) {
        for plan in CrashPlan::enumerate(point.pending_sectors(), 3, seed ^ point.event()) {
            let mut image = point.image(plan);
            let begun = unwiped(&image)?;
            if begun.is_empty() || !seen.insert(image.digest()) {
                continue;
            }
            for lost in 0..3 {
                if lost > 0 {
                    let log = vec![0; geometry.log_slot_bytes * LOG_SLOTS as usize];
                    geometry.logs_at().iter().for_each(|at| image.write(*at, &log));
                }
                if lost > 1 {
                    image.write(geometry.table_at(), &vec![0; geometry.table_bytes]);
                }
                finished(&image, &begun, seed).map_err(|why| {
                    let lost = ["nothing", "the log", "log and table"][lost];
                    format!("event {}, {plan:?}, lost {lost}: {why}", point.event())
                })?;
                judged += 1;
                super::count_judged();
            }
        }
    }
    demand!(judged > 10, "only {judged} crashes left anything");
    Ok(judged)
}

/// What a reader is given, by stream and number.
fn given(image: &SimImage) -> Verdict<BTreeSet<(StreamId, i64)>> {
    let volume = Volume::from_disk(super::driver::shared(image), Path::new("proof"));
    let volume = volume.map_err(|error| error.to_string())?;
    let mut all = BTreeSet::new();
    for stream in volume.streams() {
        let there = numbers_of(&volume, stream.id, TimeRange::default())?;
        all.extend(there.into_iter().map(|number| (stream.id, number)));
    }
    Ok(all)
}

/// The next writer overwrites these to their end, and nothing else goes.
fn finished(image: &SimImage, begun: &[BlockIndex], seed: u64) -> Verdict {
    let found = unwiped(image)?;
    demand!(found == begun, "{begun:?} are half overwritten, found are {found:?}");
    let before = given(image)?;
    let disk = SimDisk::from_image(image.clone(), seed);
    let control = disk.control();
    let mut engine = open_engine(disk)?;
    (0..20).for_each(|_| drop(engine.round()));
    engine.close().map_err(|error| error.to_string())?;
    let done = control.crash(CrashPlan::None);
    let left = unwiped(&done)?;
    demand!(left.is_empty(), "{left:?} are never finished");
    let after = given(&done)?;
    let (went, back) = (before.difference(&after).count(), after.difference(&before).count());
    demand!((went, back) == (0, 0), "{went} samples went, {back} came back");
    Ok(())
}
