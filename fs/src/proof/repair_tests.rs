//! Repair of volumes whose descriptions were lost, in every combination: all footage is back with its identity, no byte of a
//! block changes, and wherever the repair is cut off, nothing is less readable than before and it can be done again.

use super::driver::{Cuts, Driver};
use super::material::{Shape, payload};
use super::truth::Truth;
use super::{Verdict, demand, for_seeds};
use crate::clock::SimClock;
use crate::disk::ReadAt;
use crate::disk::sim::{CrashPlan, CrashPoint, SimDisk, SimImage, SimRng};
use crate::format::Framed;
use crate::format::SECTOR_BYTES;
use crate::format::geometry::{Geometry, LOG_SLOTS};
use crate::format::table::{ROWS_PER_SECTOR, Row, TableSector, table_magic};
use crate::repair::{Circumstances, RepairOptions, RepairReport, Survey, survey};
use crate::report::BlockState;
use crate::types::{BlockIndex, RoundNumber, StreamId, StreamName, WallTime};
use crate::writer::engine::{Engine, EngineOptions};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// When repairs are made.
pub(super) const NOW: WallTime = WallTime(1_700_000_000_000_000_000);

/// What a repair would do.
pub(super) fn plan(disk: &dyn ReadAt) -> crate::Result<Survey> {
    plan_as(disk, &RepairOptions::default())
}

pub(super) fn plan_as(disk: &dyn ReadAt, options: &RepairOptions) -> crate::Result<Survey> {
    let here = Circumstances { now: NOW, pause: |_| (), alignment_bytes: 512 };
    survey(disk, Path::new("proof"), options, here, &mut |_, _| ())
}

/// Repairs what is on a disk, as `keha volume check --repair` does.
pub(super) fn repair(disk: SimDisk, options: &RepairOptions) -> Verdict<RepairReport> {
    let reader: Arc<dyn ReadAt> = Arc::new(disk.control().reader());
    let path = Path::new("proof");
    let survey = plan_as(&*reader, options).map_err(|error| format!("repair: {error}"))?;
    let report = survey.report();
    if !report.steps.is_empty() {
        let clock = Arc::new(SimClock::new(NOW));
        let options = EngineOptions {
            scrub: None,
            opener: options.opener.clone(),
            chunk_bytes: 4096,
            path: PathBuf::from(path),
            pause: |_| (),
            stream_id: |_, _| StreamId::random(),
        };
        let opened = Engine::open_to_repair(disk, reader, clock, options, survey.recovered);
        let (mut engine, _) = opened.map_err(|error| format!("repair: {error}"))?;
        engine.close().map_err(|error| format!("repair: {error}"))?;
    }
    Ok(report)
}

/// Repairs an image; what it is then.
pub(super) fn repaired(
    image: &SimImage,
    options: &RepairOptions,
    seed: u64,
) -> Verdict<(SimImage, RepairReport)> {
    let disk = SimDisk::from_image(image.clone(), seed);
    let control = disk.control();
    let report = repair(disk, options)?;
    Ok((control.crash(CrashPlan::None), report))
}

/// Where each kind of description stands.
pub(super) fn regions(geometry: &Geometry) -> [Vec<(u64, usize)>; 6] {
    let log = geometry.log_slot_bytes * LOG_SLOTS as usize;
    [
        geometry.copies_at.iter().map(|at| (*at, geometry.page_bytes)).collect(),
        geometry.directories_at().map(|at| (at, geometry.directory_bytes)).to_vec(),
        geometry.holds_at().map(|at| (at, geometry.holds_bytes)).to_vec(),
        geometry.logs_at().map(|at| (at, log)).to_vec(),
        vec![(geometry.table_at(), geometry.table_bytes)],
        [
            geometry.sessions_at().map(|at| (at, geometry.sessions_bytes)),
            geometry.scrub_at().map(|at| (at, geometry.scrub_bytes)),
        ]
        .concat(),
    ]
}

/// An image without the kinds of description that are bits of `which`.
pub(super) fn without(truth: &Truth, which: u64, seed: u64) -> SimImage {
    let mut image = truth.image.clone();
    let regions = regions(&truth.geometry);
    let lost = regions.iter().enumerate().filter(|(kind, _)| which & 1 << kind != 0);
    for (at, length) in lost.flat_map(|(_, places)| places) {
        let junk = if seed.is_multiple_of(2) { vec![0; *length] } else { payload(seed + at, *length) };
        image.write(*at, &junk);
    }
    image
}

/// Two cameras on a full ring, closed cleanly.
pub(super) fn two_cameras(seed: u64) -> Verdict<Truth> {
    let mut driver = Driver::new(Shape::SMALL, seed, Cuts::NONE)?;
    driver.admit("cam0")?;
    driver.admit("cam1")?;
    driver.lap()?;
    for turn in 0..30 {
        driver.push_any(0)?;
        driver.push_any(1)?;
        match turn % 10 {
            3 => driver.push(0, 30_000)?,
            5 => driver.gap(1)?,
            7 => driver.configure(0, turn % 5)?,
            9 => driver.begin_run(1)?,
            _ => {}
        }
        driver.round()?;
    }
    let (image, model) = driver.close()?;
    Truth::of(image, model)
}

/// All of it is there again, nothing is left to repair, and blocks are as they were.
pub(super) fn is_whole(truth: &Truth, image: &SimImage) -> Verdict {
    let served = truth.serve(image, |_| true)?.ok_or("it does not open")?;
    let missing: Vec<_> = truth.whole().difference(&served.seen).copied().collect();
    demand!(missing.is_empty() && served.damage.is_empty(), "{missing:?} are missing, {:?}", served.damage);
    demand!(served.volume.findings().is_empty(), "opening finds {:?}", served.volume.findings());
    let check = served.volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?;
    demand!(check.findings.is_empty(), "check finds {:?}", check.findings);
    blocks_untouched(truth, image)
}

pub(super) fn blocks_untouched(truth: &Truth, image: &SimImage) -> Verdict {
    let (mut before, mut after) = (vec![0; truth.geometry.block_bytes], vec![0; truth.geometry.block_bytes]);
    for block in truth.geometry.all_blocks() {
        let at = truth.geometry.block_at(block);
        truth.image.read_exact_at(&mut before, at).map_err(|error| error.to_string())?;
        image.read_exact_at(&mut after, at).map_err(|error| error.to_string())?;
        demand!(before == after, "block {block} was written to");
    }
    Ok(())
}

#[test]
fn whatever_descriptions_are_lost_all_footage_is_back() {
    for_seeds("repair", 9000, 2, |seed| lost_descriptions(seed, 12));
}

/// Every combination of lost descriptions; one in `one_in` I/O events of each repair is where the power fails.
pub(super) fn lost_descriptions(seed: u64, one_in: usize) -> Verdict<u64> {
    let truth = two_cameras(seed)?;
    let mut judged = 0;
    for which in 1..64 {
        let image = without(&truth, which, seed);
        let context = |why| format!("lost {which:#07b}: {why}");
        judged += cut_off(&truth, &image, which, seed, one_in).map_err(context)?;
    }
    Ok(judged)
}

/// Repairs an image with the power failing at I/O events of it.
fn cut_off(truth: &Truth, image: &SimImage, which: u64, seed: u64, one_in: usize) -> Verdict<u64> {
    let before = truth.serve(image, |_| false)?.map(|served| served.seen);
    let disk = SimDisk::from_image(image.clone(), seed);
    let control = disk.control();
    let points: Arc<Mutex<Vec<CrashPoint>>> = Arc::default();
    let (seen, mut rng) = (Arc::clone(&points), SimRng::new(seed ^ which));
    control.on_event(move |point| {
        if rng.below(one_in) == 0 {
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(point.clone());
        }
    });
    let report = repair(disk, &RepairOptions::default())?;
    control.off_event();
    let done = control.crash(CrashPlan::None);
    demand!(!report.steps.is_empty(), "nothing is said to be done");
    is_whole(truth, &done)?;
    names_are_right(truth, &report, which & 2 != 0)?;
    let (again, report) = repaired(&done, &RepairOptions::default(), seed)?;
    demand!(report.steps.is_empty() && again == done, "it is repaired again: {:?}", report.steps);
    let mut judged = 2;
    let mut rng = SimRng::new(seed ^ which << 8);
    let mut images = HashSet::new();
    let points = std::mem::take(&mut *points.lock().unwrap_or_else(PoisonError::into_inner));
    for point in points {
        for plan in CrashPlan::enumerate(point.pending_sectors(), 4, rng.next_u64()) {
            let cut = point.image(plan);
            if !images.insert(cut.digest()) {
                continue;
            }
            let context = |why: String| format!("cut off at event {}, {plan:?}: {why}", point.event());
            let served = truth.serve(&cut, |_| false).map_err(context)?;
            if let Some(before) = &before {
                let served = served.ok_or_else(|| context("it opened before".to_owned()))?;
                demand!(
                    before.is_subset(&served.seen),
                    "{}",
                    context("less can be read than before".to_owned())
                );
            }
            let (done, _) = repaired(&cut, &RepairOptions::default(), seed).map_err(context)?;
            is_whole(truth, &done).map_err(context)?;
            judged += 2;
        }
    }
    Ok(judged)
}

/// Streams have their names where a directory stood, and none but their identity where none did.
fn names_are_right(truth: &Truth, report: &RepairReport, lost: bool) -> Verdict {
    let ids: BTreeSet<StreamId> = report.nameless.iter().map(|(id, _)| *id).collect();
    let all: BTreeSet<StreamId> = truth.model.streams.values().map(|stream| stream.id).collect();
    let wanted = if lost { all } else { BTreeSet::new() };
    demand!(ids == wanted, "without a name are {ids:?}, not {wanted:?}");
    Ok(())
}

#[test]
fn a_repaired_volume_is_recorded_on_under_the_names_given() {
    for_seeds("recorded on after a repair", 9100, 2, recorded_on);
}

/// All descriptions are lost; the streams are given their names, and recording goes on for a lap.
pub(super) fn recorded_on(seed: u64) -> Verdict<u64> {
    let truth = two_cameras(seed)?;
    let image = without(&truth, 0b011111, seed);
    let reader = image.clone();
    let nameless = plan(&reader).map_err(|error| error.to_string())?.report().nameless;
    let name_of: BTreeMap<StreamId, &String> =
        truth.model.streams.iter().map(|(name, stream)| (stream.id, name)).collect();
    let names =
        nameless.into_iter().filter_map(|(id, name)| Some((name, StreamName::new(name_of.get(&id)?).ok()?)));
    let options = RepairOptions { names: names.collect(), ..RepairOptions::default() };
    demand!(options.names.len() == 2, "not every stream is there to be named");
    let (done, _) = repaired(&image, &options, seed)?;
    is_whole(&truth, &done)?;
    // Nobody wrote meanwhile, but the mark that holds may have been lost stands.
    let mut driver = Driver::on(done, Shape::SMALL, lost_holds(truth.model), seed, Cuts::NONE)?;
    driver.lap()?;
    driver.reopen()?;
    Ok(driver.judged)
}

fn lost_holds(model: super::oracle::Model) -> super::oracle::Model {
    super::oracle::Model { holds_lost: true, ..model }
}

#[test]
fn outdated_rows_and_records_are_repaired_from_the_blocks() {
    for_seeds("repair of outdated metadata", 9200, 2, outdated);
}

/// The table, the round log, or both are as they were a lap ago, or when the volume was empty.
pub(super) fn outdated(seed: u64) -> Verdict<u64> {
    let old = two_cameras(seed)?;
    let mut driver = Driver::on(old.image.clone(), Shape::SMALL, old.model.clone(), seed, Cuts::NONE)?;
    driver.lap()?;
    let (new, model) = driver.close()?;
    let truth = Truth::of(new, model)?;
    let empty = super::material::empty_volume(&Shape::SMALL, seed);
    let mut judged = 0;
    for source in [&old.image, &empty] {
        let regions = regions(&truth.geometry);
        for kinds in [&regions[4..5], &regions[3..4], &regions[3..5]] {
            let mut image = truth.image.clone();
            for (at, length) in kinds.iter().flatten() {
                let mut bytes = vec![0; *length];
                source.read_exact_at(&mut bytes, *at).map_err(|error| error.to_string())?;
                image.write(*at, &bytes);
            }
            let (done, report) = repaired(&image, &RepairOptions::default(), seed)?;
            let context = |why: String| format!("{:?}: {why}", report.steps);
            let served = truth.serve(&done, |_| true).map_err(context)?.ok_or("it does not open")?;
            // Where all that describes it is of one earlier time, the oldest blocks of then are still set aside.
            let check = served.volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?;
            demand!(check.findings.is_empty(), "after {:?} check finds {:?}", report.steps, check.findings);
            let missing = truth.whole().len() - served.seen.len();
            demand!(missing == 0, "{missing} samples are missing after {:?}", report.steps);
            blocks_untouched(&truth, &done)?;
            judged += 1;
        }
    }
    Ok(judged)
}

#[test]
fn what_was_given_up_or_erased_does_not_come_back() {
    for_seeds("given up stays so", 9300, 2, given_up_stays);
}

/// Rows say that blocks hold nothing any more, although all of it stands there; other descriptions are lost.
pub(super) fn given_up_stays(seed: u64) -> Verdict<u64> {
    let truth = two_cameras(seed)?;
    let state =
        crate::recover::recover(&truth.image, Path::new("proof")).map_err(|error| error.to_string())?;
    let blocks: Vec<BlockIndex> = truth.used_blocks().into_iter().collect();
    let mut judged = 0;
    for (turn, block) in blocks.into_iter().enumerate() {
        let state_then =
            [BlockState::Free, BlockState::Erased, BlockState::Expired, BlockState::Bad][turn % 4];
        // The directories are lost, too, so that there is something to repair; and half the time the round log.
        let without_log = turn / 4 % 2 == 1;
        let mut image = without(&truth, if without_log { 0b01010 } else { 0b00010 }, seed);
        let row = state.row(block);
        let gone = match state_then {
            BlockState::Expired | BlockState::Bad => Row { state: state_then, ..row },
            _ => Row { state: state_then, sequence: row.sequence, ..Row::default() },
        };
        let sector = block.0 as usize / ROWS_PER_SECTOR;
        let rows = std::array::from_fn(|index| {
            let place = BlockIndex((sector * ROWS_PER_SECTOR + index) as u32);
            if place == block { gone.clone() } else { state.row(place) }
        });
        let mut bytes = vec![0; SECTOR_BYTES];
        let magic = table_magic(state.superblock.volume);
        TableSector::new(sector as u32, RoundNumber(0), rows).seal_as(magic, &mut bytes);
        image.write(truth.geometry.table_at() + (sector * SECTOR_BYTES) as u64, &bytes);
        let before = truth.serve(&image, |_| false)?.ok_or("it does not open")?.seen;
        let found = crate::recover::recover(&image, Path::new("proof")).map_err(|error| error.to_string())?;
        // What stands in the record is newer than the table.
        let stays = !without_log || found.row(block) == gone;
        demand!(stays, "block {block} was {gone:?}, and is {:?}", found.row(block));
        let (done, report) = repaired(&image, &RepairOptions::default(), seed)?;
        demand!(!report.steps.is_empty(), "there was nothing to repair");
        let after = truth.serve(&done, |_| false)?.ok_or("it does not open")?.seen;
        demand!(
            before == after,
            "block {block}, {state_then:?}: before {}, after {}",
            before.len(),
            after.len()
        );
        judged += 1;
    }
    Ok(judged)
}

#[test]
fn what_cannot_be_repaired_is_not_written_to() {
    for_seeds("no repair", 9400, 1, refused);
}

pub(super) fn refused(seed: u64) -> Verdict<u64> {
    let truth = two_cameras(seed)?;
    let mut cut = without(&truth, 0b00010, seed);
    cut.truncate(truth.image.len_bytes() * 3 / 4);
    let mut empty = SimImage::zeroed(truth.image.len_bytes());
    let noise = SimImage::from(payload(seed, truth.image.len_bytes()));
    // A single block tells nothing of where the others are.
    let mut one = vec![0; truth.geometry.block_bytes];
    let at = truth.geometry.block_at(BlockIndex(1));
    truth.image.read_exact_at(&mut one, at).map_err(|error| error.to_string())?;
    let zeros = empty.clone();
    empty.write(at, &one);
    for image in [cut, empty, noise, zeros] {
        let disk = SimDisk::from_image(image.clone(), seed);
        let control = disk.control();
        demand!(repair(disk, &RepairOptions::default()).is_err(), "it is repaired");
        demand!(control.snapshot() == image, "something was written to it");
    }
    let (same, report) = repaired(&truth.image, &RepairOptions::default(), seed)?;
    demand!(report.steps.is_empty() && same == truth.image, "a sound volume is repaired: {:?}", report.steps);
    Ok(5)
}

#[test]
fn after_a_power_cut_a_repair_finds_what_opening_finds() {
    for_seeds("repair after a power cut", 9500, 6, after_power_cut);
}

/// A recording ends with a power cut; copies, superblocks and directories are lost as well.
pub(super) fn after_power_cut(seed: u64) -> Verdict<u64> {
    let mut driver = Driver::new(Shape::SMALL, seed, Cuts::NONE)?;
    driver.admit("cam0")?;
    driver.lap()?;
    for _ in 0..40 {
        driver.step()?;
    }
    let plans = CrashPlan::enumerate(driver.disk.pending_sectors(), 12, seed);
    let mut judged = 0;
    for plan in plans {
        let image = driver.disk.crash(plan);
        let truth = Truth::of(image, driver.model.clone())?;
        for which in [0b00001, 0b00010, 0b00011, 0b10011] {
            let damaged = without(&truth, which, seed);
            let (done, _) = repaired(&damaged, &RepairOptions::default(), seed)?;
            let context = |why: String| format!("{plan:?}, lost {which:#07b}: {why}");
            // That a block was given up before the last rounds stands in the table alone. Without it, the footage is there until the
            // ring takes it.
            let may_be_back = if which & 0b10000 == 0 { BTreeSet::new() } else { truth.given_up_blocks()? };
            let served = truth.serve_with(&done, |_| false, &may_be_back).map_err(context)?;
            demand!(
                served.ok_or("it does not open")?.seen.is_superset(&truth.whole()),
                "{}",
                context("not all is there that opening finds".to_owned())
            );
            judged += 1;
        }
    }
    Ok(judged)
}

#[test]
fn a_repair_takes_no_block_from_what_it_repairs() {
    for_seeds("repair takes nothing", 9600, 2, takes_nothing);
}

/// A full ring loses its round log, and with it what was set aside: so whatever a repair set aside would cost footage.
pub(super) fn takes_nothing(seed: u64) -> Verdict<u64> {
    let mut driver = Driver::new(Shape::SMALL, seed, Cuts::NONE)?;
    driver.admit("cam0")?;
    driver.lap()?;
    let mut judged = 0;
    for _ in 0..12 {
        driver.push(0, 6000)?;
        driver.round()?;
        for which in [0b01000, 0b11000] {
            let truth = Truth::of(driver.disk.crash(CrashPlan::None), driver.model.clone())?;
            let found = Truth::of(without(&truth, which, seed), driver.model.clone())?;
            judged += cut_off(&found, &found.image, which, seed, 2)
                .map_err(|why| format!("lost {which:#07b}: {why}"))?;
        }
    }
    Ok(judged)
}
