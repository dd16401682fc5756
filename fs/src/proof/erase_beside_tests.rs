//! What an erasure must leave alone: what is held beside it, what nobody asked for, and the room that recording needs.

use super::driver::{Cuts, Driver};
use super::erase_left_tests::spend_withdrawals;
use super::erase_tests::range;
use super::hold_tests::lapped;
use super::material::Shape;
use super::{Verdict, demand, for_seeds};
use crate::disk::sim::CrashPlan;
use crate::format::chunk::ChunkKind;
use crate::format::footer::ChunkPlace;
use crate::recover::contents;
use crate::report::{BlockState, TimeRange};
use crate::scan::Scanner;
use crate::types::{BlockIndex, WallTime};

#[test]
fn what_is_held_between_two_chunks_that_the_disk_keeps_is_given() {
    for_seeds("held between what is withheld", 9021, 6, held_between);
}

/// Three chunks of media in one block of the first camera, each of other moments than the others.
fn three_chunks(driver: &Driver) -> Verdict<(BlockIndex, [ChunkPlace; 3])> {
    let id = driver.id_of("cam0");
    let volume = driver.volume()?;
    let state = volume.state();
    let image = driver.disk.snapshot();
    let scanner = Scanner { disk: &image, geometry: &state.geometry, volume: state.volume() };
    for (block, row) in state.geometry.all_blocks().zip(&state.rows) {
        if row.stream != id || row.state != BlockState::Sealed {
            continue;
        }
        let media = contents(&scanner, block, row).0.chunks;
        let media: Vec<_> = media.into_iter().filter(|place| place.kind == ChunkKind::MEDIA).collect();
        let apart = media.windows(2).all(|pair| pair[0].wall_max < pair[1].wall_min);
        if let ([first, .., last], true) = (&media[..], apart && media.len() > 2) {
            return Ok((block, [first.clone(), media[media.len() / 2].clone(), last.clone()]));
        }
    }
    Err("no block has three chunks of media".to_owned())
}

/// The first chunk of a block is erased, then the last one, and the disk refuses both; what lies between is held.
pub(super) fn held_between(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.faulty = true;
    if seed.is_multiple_of(2) {
        spend_withdrawals(&mut driver)?;
    }
    let (block, [first, held, last]) = three_chunks(&driver)?;
    driver.refuse_writes(&[driver.place(block)]);
    let done = driver.erase("cam0", first.wall_min, first.wall_max.plus_ns(1))?;
    demand!(!done, "what cannot be written is said to be erased");
    // Every image is judged by what the hold keeps.
    let hold = driver.hold("cam0", held.wall_min, held.wall_max.plus_ns(1), None)?;
    let hold = hold.ok_or("there is room")?;
    for turn in 0..2 {
        let done = driver.erase("cam0", last.wall_min, last.wall_max.plus_ns(1))?;
        demand!(!done, "asked {turn} times before, it is said to be erased");
        driver.round()?;
        driver.judge_now(None)?;
    }
    driver.power_cut()?;
    driver.refuse_writes(&[]);
    driver.round()?;
    driver.lift(hold.id)?;
    let bad = driver.volume()?.state().row(block).state == BlockState::Bad;
    for place in [first, last] {
        let done = driver.erase("cam0", place.wall_min, place.wall_max.plus_ns(1))?;
        demand!(done != bad, "withdrawn: {bad}, and it is said to be erased: {done}");
    }
    driver.lap()?;
    Ok(driver.judged)
}

#[test]
fn what_was_given_up_counts_as_of_the_moments_around_it_alone() {
    for_seeds("given up, not asked for", 9031, 4, not_asked);
}

/// What the ring set aside is the oldest: who asks for the newest footage, or for what comes after all, is told nothing of it, while
/// it is set aside, after a crash gave it up, and where it could not be overwritten.
pub(super) fn not_asked(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.faulty = true;
    let id = driver.id_of("cam0");
    let granted: Vec<_> = driver.view().granted.into_iter().collect();
    demand!(!granted.is_empty(), "nothing is set aside");
    // No camera's clock is that late.
    let far = WallTime(i64::MAX - 1_000_000_000);
    let nothing_left = |driver: &Driver| {
        let newest = driver.live_of("cam0").last().map(|live| live.block).ok_or("no block")?;
        let volume = driver.volume()?;
        let row = volume.state().row(newest);
        let monotone = volume.state().rows.iter().all(|row| row.stream != id || row.wall_min <= row.wall_max);
        demand!(monotone, "a row ends before it begins");
        for (from, to) in [(row.wall_max, row.wall_max.plus_ns(1)), (far, WallTime::MAX)] {
            let left = volume.plan_erase(id, TimeRange { from: Some(from), to: Some(to) }).left;
            demand!(left == 0, "{left} given-up blocks count as of {from:?}");
        }
        Ok(row)
    };
    nothing_left(&driver)?;
    driver.power_cut_with(CrashPlan::None)?;
    let row = nothing_left(&driver)?;
    demand!(!driver.erase("cam0", far, WallTime::MAX)?, "something is said to be erased where nothing was");
    let places: Vec<_> = granted.iter().map(|block| driver.place(*block)).collect();
    driver.refuse_writes(&places);
    let (oldest, behind) = range(&driver, "cam0", 0, 1)?;
    driver.erase("cam0", oldest, behind)?;
    let done = driver.erase("cam0", row.wall_max, row.wall_max.plus_ns(1))?;
    demand!(done, "what the disk keeps of the oldest footage fails the erasure of the newest");
    driver.refuse_writes(&[]);
    driver.lap()?;
    Ok(driver.judged)
}

#[test]
fn an_erasure_beside_a_table_that_cannot_be_written_ends_and_leaves_recording_its_room() {
    for_seeds("erasing beside a refused table", 9041, 1, refused_table);
    // There is room for not one row more when blocks are taken that are set aside.
    for_seeds("erasing beside a refused table, to the last row", 9056, 1, refused_table);
}

/// Sixteen streams, so that many blocks may be erased at once.
pub(super) fn refused_table(seed: u64) -> Verdict<u64> {
    let shape = Shape { size_bytes: 16 << 20, streams: 16, ..Shape::SMALL };
    let mut driver = Driver::new(shape, seed, Cuts::NONE)?;
    (0..16).try_for_each(|which| driver.admit(&format!("cam{which}")))?;
    driver.lap()?;
    let (image, model) = driver.close()?;
    let mut driver = Driver::faulty_on(image, shape, model, seed)?;
    driver.model.any_spared = true;
    let geometry = shape.geometry();
    let at = geometry.table_at();
    let all = |driver: &mut Driver| -> Verdict {
        (0..16).try_for_each(|which| (0..6).try_for_each(|_| driver.push(which, 3000)))?;
        driver.round()
    };
    (0..4).try_for_each(|_| all(&mut driver))?;
    let table = at..at + geometry.table_bytes as u64;
    // It is refused from the moment on in which many blocks are begun.
    driver.begin_erasing("cam0", WallTime::MIN, WallTime::MAX)?;
    driver.refuse_writes(std::slice::from_ref(&table));
    for which in 0..4 {
        if which > 0 {
            driver.erase(&format!("cam{which}"), WallTime::MIN, WallTime::MAX)?;
        }
        for _ in 0..20 {
            all(&mut driver)?;
        }
        demand!(!driver.view().erasing, "whoever asked for cam{which} waits for ever");
        driver.settle().map_err(|why| format!("recording has no room: {why}"))?;
    }
    driver.power_cut()?;
    all(&mut driver)?;
    driver.refuse_writes(&[]);
    (0..130).try_for_each(|_| driver.round())?;
    for which in 0..4 {
        let name = format!("cam{which}");
        demand!(driver.erase(&name, WallTime::MIN, WallTime::MAX)?, "{name} cannot be erased");
        driver.gives_nothing_of(&name)?;
    }
    Ok(driver.judged)
}
