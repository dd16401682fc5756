//! What an erasure leaves where the disk refuses: withheld for good, and finished as soon as it can be.

use super::driver::{Cuts, Driver, open_engine};
use super::erase_tests::{chunk_amid, range, unwiped};
use super::hold_tests::lapped;
use super::oracle::Entry;
use super::{Verdict, demand, for_seeds};
use crate::disk::sim::{CrashPlan, Errno, Kinds, Repeat, SimDisk};
use crate::format::SECTOR_BYTES;
use crate::format::chunk::ChunkKind;
use crate::format::table::Row;
use crate::recover::{contents, examine};
use crate::report::{BlockState, TimeRange};
use crate::scan::{Scanner, Take};
use crate::types::{BlockIndex, StreamName, WallTime};
use crate::writer::EraseRequest;
use std::ops::Range;
use std::time::Duration;

#[test]
fn what_could_not_be_overwritten_is_given_to_nobody_whatever_comes() {
    for_seeds("withheld footage", 8980, 2, withheld);
}

/// More blocks refuse to be overwritten than may be withdrawn: the others stay in use, with what is withheld of them.
pub(super) fn withheld(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.faulty = true;
    let mine = driver.live_of("cam0");
    let newest = mine.last().ok_or("no block")?.block;
    let bad = mine.iter().skip(2).step_by(2).take(5).map(|live| live.block).chain([newest]);
    let places: Vec<_> = bad.map(|block| driver.place(block)).collect();
    // What was withheld is never given again: the oracle asks for that in every image. What an erasure that failed did not reach is.
    let (middle, _) = range(&driver, "cam0", 40, 1)?;
    driver.refuse_writes(&places);
    demand!(
        !driver.erase("cam0", WallTime::MIN, WallTime::MAX)?,
        "what cannot be written is said to be erased"
    );
    driver.cuts = Cuts { one_in: 6, plans: 4, deep_one_in: 40 };
    // Whoever is told so asks again.
    driver.erase("cam0", WallTime::MIN, WallTime::MAX)?;
    driver.power_cut()?;
    driver.reopen()?;
    // Once the disk is well, some of it is overwritten, and then all.
    driver.refuse_writes(&[]);
    driver.erase("cam0", WallTime::MIN, middle)?;
    driver.power_cut()?;
    driver.reopen()?;
    driver.erase("cam0", WallTime::MIN, WallTime::MAX)?;
    driver.gives_nothing_of("cam0")?;
    driver.lap()?;
    Ok(driver.judged)
}

/// All that is told of those who ask again.
pub(super) fn again(seed: u64) -> Verdict<u64> {
    let given_up = [given_up, given_up_cut, given_up_amid];
    let all = [asked_again, withheld_beside, refused_left, unreadable_asked, beside_refusing_table];
    given_up.into_iter().chain(all).try_fold(0, |judged, one| Ok(judged + one(seed)?))
}

#[test]
fn whoever_asks_again_for_what_could_not_be_erased_is_told_again_until_it_is_gone() {
    for_seeds("asked again", 8991, 4, asked_again);
}

/// Lets as many blocks be withdrawn as may be in a day: what cannot be overwritten then stays in use.
pub(super) fn spend_withdrawals(driver: &mut Driver) -> Verdict {
    let bad: Vec<_> = driver.live_of("cam0").iter().skip(2).take(2).map(|live| live.block).collect();
    let places: Vec<_> = bad.iter().map(|block| driver.place(*block)).collect();
    let volume = driver.volume()?;
    let rows: Vec<_> = bad.iter().map(|block| volume.state().row(*block)).collect();
    let from = rows.iter().map(|row| row.wall_min).min().unwrap_or(WallTime::MIN);
    let to = rows.iter().map(|row| row.wall_max).max().unwrap_or(WallTime::MIN);
    driver.refuse_writes(&places);
    demand!(!driver.erase("cam0", from, to.plus_ns(1))?, "what cannot be written is said to be erased");
    demand!(withdrawn(driver)? == 2, "{} blocks are withdrawn", withdrawn(driver)?);
    Ok(())
}

fn withdrawn(driver: &Driver) -> Verdict<usize> {
    Ok(driver.volume()?.blocks().iter().filter(|block| block.state == BlockState::Bad).count())
}

/// That no reader is given anything of these moments.
fn nothing_between(driver: &Driver, from: WallTime, to: WallTime) -> Verdict {
    let there = super::holds::numbers(&driver.volume()?, "cam0", TimeRange::default())?;
    let stream = driver.model.streams.get("cam0").ok_or("no such stream")?;
    for entry in &stream.entries {
        let Entry::Sample(pushed) = entry else { continue };
        let wall = pushed.run.wall(pushed.number as i64);
        let given = (from..=to).contains(&wall) && there.contains(&(pushed.number as i64));
        demand!(!given, "sample {} was to be erased, and is given", pushed.number);
    }
    Ok(())
}

/// The last sector of what is to be zeros.
fn tail(place: &Range<u64>) -> Range<u64> {
    place.end - 512..place.end
}

/// The header of a void chunk lands, and the zeros behind it do not: of a part of a block, or of all of it; the block is withdrawn
/// for it, or stays in use.
pub(super) fn asked_again(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.faulty = true;
    let (block, place) = chunk_amid(&driver)?;
    let (may_withdraw, part) = (seed % 4 < 2, seed.is_multiple_of(2));
    if !may_withdraw {
        spend_withdrawals(&mut driver)?;
    }
    let before = withdrawn(&driver)?;
    let row = driver.volume()?.state().row(block);
    let (from, to) = if part { (place.wall_min, place.wall_max) } else { (row.wall_min, row.wall_max) };
    let begins = driver.place(block).start + u64::from(place.offset);
    let refused = if part { begins..begins + u64::from(place.bytes) } else { driver.place(block) };
    driver.refuse_writes(&[tail(&refused)]);
    for turn in 0..3 {
        let done = driver.erase("cam0", from, to.plus_ns(1))?;
        demand!(!done, "asked {turn} times before, it is said to be erased");
        // The next recorder may withdraw two again.
        if turn == 1 && may_withdraw {
            driver.power_cut()?;
        }
    }
    driver.refuse_writes(&[]);
    let more = withdrawn(&driver)? > before;
    demand!(more == may_withdraw, "withdrawn: {more}");
    // What was withdrawn is never overwritten.
    let range = TimeRange { from: Some(from), to: Some(to.plus_ns(1)) };
    let is_bad = |row: &Row| row.state == BlockState::Bad && range.overlaps(row.wall_min, row.wall_max);
    let stays = driver.volume()?.state().rows.iter().any(is_bad);
    demand!(!may_withdraw || stays, "what was withdrawn is not known");
    let done = driver.erase("cam0", from, to.plus_ns(1))?;
    demand!(done != stays, "withdrawn: {stays}, and it is said to be erased: {done}");
    driver.round()?;
    let row = driver.volume()?.state().row(block);
    demand!((row.state == BlockState::Bad) == (row.withheld > 0), "{row:?} withholds");
    driver.lap()?;
    Ok(driver.judged)
}

#[test]
fn what_is_withheld_stays_so_when_other_footage_of_its_block_is_erased() {
    for_seeds("withheld beside what is erased", 9011, 40, withheld_beside);
}

/// The header of the void chunk is refused, so that the footage stands there.
pub(super) fn withheld_beside(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.faulty = true;
    let (block, place) = chunk_amid(&driver)?;
    spend_withdrawals(&mut driver)?;
    let begins = driver.place(block).start + u64::from(place.offset);
    let header = begins..begins + 512;
    driver.refuse_writes(std::slice::from_ref(&header));
    let done = driver.erase("cam0", place.wall_min, place.wall_max.plus_ns(1))?;
    demand!(!done, "what cannot be written is said to be erased");
    nothing_between(&driver, place.wall_min, place.wall_max)?;
    let row = driver.volume()?.state().row(block);
    if seed.is_multiple_of(2) && row.wall_min < place.wall_min {
        driver.erase("cam0", row.wall_min, place.wall_min)?;
    } else {
        // More of it is refused, and withheld, too.
        driver.refuse_writes(&[driver.place(block)]);
        demand!(!driver.erase("cam0", row.wall_min, row.wall_max.plus_ns(1))?, "it is said to be erased");
        nothing_between(&driver, row.wall_min, row.wall_max)?;
    }
    driver.round()?;
    driver.power_cut()?;
    driver.lap()?;
    Ok(driver.judged)
}

#[test]
fn what_was_given_up_and_cannot_be_erased_stays_given_up_and_is_told_again() {
    for_seeds("given up and asked for", 8995, 3, given_up);
}

pub(super) fn given_up(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.faulty = true;
    let granted: Vec<_> = driver.view().granted.into_iter().collect();
    demand!(granted.len() > 1, "only {granted:?} are set aside");
    if seed.is_multiple_of(2) {
        spend_withdrawals(&mut driver)?;
    }
    driver.power_cut_with(CrashPlan::None)?;
    let places: Vec<_> = granted.iter().map(|block| driver.place(*block)).collect();
    driver.refuse_writes(&places);
    for turn in 0..2 {
        demand!(
            !driver.erase("cam0", WallTime::MIN, WallTime::MAX)?,
            "asked {turn} times before, it is said to be erased"
        );
    }
    driver.refuse_writes(&[]);
    driver.power_cut()?;
    (0..2).try_for_each(|_| driver.lap())?;
    Ok(driver.judged)
}

#[test]
fn a_part_of_what_was_given_up_is_told_again_until_it_is_gone() {
    for_seeds("a part of what was given up", 9021, 6, given_up_amid);
}

/// A stretch amid a block that was given up is asked to be erased while the disk refuses it, or is cut off on the way, or both.
pub(super) fn given_up_amid(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    let granted: Vec<_> = driver.view().granted.into_iter().collect();
    driver.power_cut_with(CrashPlan::None)?;
    let (block, name, from, to) = granted
        .iter()
        .find_map(|block| amid(&driver, *block).transpose())
        .ok_or("no block that was given up has three chunks of media")??;
    let (refused, cut) = (!seed.is_multiple_of(3), seed % 3 != 1);
    driver.faulty = refused;
    if refused {
        let place = driver.place(block);
        // All of it, or what comes last of it.
        let places = if seed.is_multiple_of(2) { place } else { tail(&place) };
        driver.refuse_writes(std::slice::from_ref(&places));
        for turn in 0..2 {
            let done = driver.erase(&name, from, to)?;
            demand!(!done, "asked {turn} times before, it is said to be erased");
        }
    }
    if cut {
        if !refused {
            driver.begin_erasing(&name, from, to)?;
            (0..1 + seed % 5).try_for_each(|_| driver.round())?;
        }
        driver.power_cut()?;
    }
    driver.refuse_writes(&[]);
    let done = driver.erase(&name, from, to)?;
    // That nothing is left of what is said to be erased is judged there.
    let withdrawn = driver.volume()?.state().row(block).state == BlockState::Bad;
    // Where nothing refused it a power cut may have come after its end: then nothing of it is known any more.
    demand!(done || withdrawn || !refused, "it is not erased, though nothing refuses it");
    nothing_of(&driver, &name, from, to)?;
    (0..2).try_for_each(|_| driver.lap())?;
    Ok(driver.judged)
}

/// The moments of a chunk of media between others, as the block's own chunks have it, and whose it is.
fn amid(driver: &Driver, block: BlockIndex) -> Verdict<Option<(BlockIndex, String, WallTime, WallTime)>> {
    let (image, volume) = (driver.disk.snapshot(), driver.volume()?);
    let state = volume.state();
    let scanner = Scanner { disk: &image, geometry: &state.geometry, volume: state.volume() };
    let header = scanner.block_header(block).map_err(|error| error.to_string())?.ok_or("no header")?;
    let take = Take { block, sequence: header.sequence, stream: header.stream };
    let places = examine(&scanner, &take, 0, None).progress.footer.chunks;
    let media: Vec<_> = places.iter().filter(|place| place.kind == ChunkKind::MEDIA).collect();
    let name = driver.model.streams.iter().find(|(_, stream)| stream.id == header.stream);
    let name = name.map(|(name, _)| name.clone()).ok_or("nobody's block")?;
    Ok(match media[..] {
        [_, second, _, ..] => Some((block, name, second.wall_min, second.wall_max.plus_ns(1))),
        _ => None,
    })
}

/// That no reader is given anything of these moments of a stream.
fn nothing_of(driver: &Driver, name: &str, from: WallTime, to: WallTime) -> Verdict {
    let there = super::holds::numbers(&driver.volume()?, name, TimeRange::default())?;
    let stream = driver.model.streams.get(name).ok_or("no such stream")?;
    let meant = |entry: &Entry| match entry {
        Entry::Sample(pushed) => (from..to).contains(&pushed.run.wall(pushed.number as i64)),
        Entry::Gap(_) => false,
    };
    let mut given = stream.entries.iter().filter(|entry| meant(entry)).map(Entry::key);
    let given = given.find(|number| there.contains(&(*number as i64)));
    demand!(given.is_none(), "sample {given:?} was to be erased, and is given");
    Ok(())
}

#[test]
fn footage_is_erased_also_while_sectors_of_the_table_refuse_to_be_written() {
    for_seeds("erasing beside a refusing table", 9031, 2, beside_refusing_table);
}

/// Each sector of the table in turn refuses to be written, while a part of a stream is erased and then all of it, with a power
/// cut after each.
pub(super) fn beside_refusing_table(seed: u64) -> Verdict<u64> {
    let sectors = {
        let geometry = super::hold_tests::shape(seed).geometry();
        (geometry.blocks as usize).div_ceil(crate::format::table::ROWS_PER_SECTOR)
    };
    let mut judged = 0;
    for sector in 0..sectors {
        let trial = || -> Verdict<u64> {
            let mut driver = lapped(seed, Cuts::NONE)?;
            driver.faulty = true;
            let at = driver.shape.geometry().table_at() + (sector * SECTOR_BYTES) as u64;
            let refused = at..at + SECTOR_BYTES as u64;
            driver.refuse_writes(std::slice::from_ref(&refused));
            let (from, to) = range(&driver, "cam0", 12, 30)?;
            demand!(driver.erase("cam0", from, to)?, "a part is not erased");
            nothing_of(&driver, "cam0", from, to)?;
            driver.power_cut()?;
            nothing_of(&driver, "cam0", from, to)?;
            demand!(driver.erase("cam0", WallTime::MIN, WallTime::MAX)?, "the rest is not erased");
            driver.gives_nothing_of("cam0")?;
            driver.power_cut()?;
            driver.gives_nothing_of("cam0")?;
            driver.refuse_writes(&[]);
            driver.lap()?;
            Ok(driver.judged)
        };
        judged += trial().map_err(|why| format!("sector {sector} of the table: {why}"))?;
    }
    Ok(judged)
}

#[test]
fn what_was_given_up_is_found_again_wherever_a_power_cut_ended_its_erasure() {
    for_seeds("given up and half erased", 9001, 6, given_up_cut);
}

pub(super) fn given_up_cut(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.power_cut_with(CrashPlan::None)?;
    driver.begin_erasing("cam0", WallTime::MIN, WallTime::MAX)?;
    (0..seed % 6).try_for_each(|_| driver.round())?;
    match seed.is_multiple_of(4) {
        true => driver.reopen()?,
        false => driver.power_cut()?,
    }
    driver.erase("cam0", WallTime::MIN, WallTime::MAX)?;
    driver.gives_nothing_of("cam0")?;
    driver.lap()?;
    Ok(driver.judged)
}

/// A recorder after a crash that left blocks half erased, and these.
fn half_erased(seed: u64) -> Verdict<(Driver, (WallTime, WallTime), Vec<BlockIndex>)> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.faulty = true;
    let (from, to) = range(&driver, "cam0", 12, 30)?;
    driver.begin_erasing("cam0", from, to)?;
    for _ in 0..20 {
        if !unwiped(&driver.disk.crash(CrashPlan::None))?.is_empty() {
            break;
        }
        driver.round()?;
    }
    driver.power_cut_with(CrashPlan::None)?;
    let left = unwiped(&driver.disk.crash(CrashPlan::None))?;
    demand!(!left.is_empty(), "nothing is half erased");
    Ok((driver, (from, to), left))
}

#[test]
fn what_a_crash_left_half_erased_and_the_disk_refuses_then_is_not_said_to_be_erased() {
    for_seeds("half erased and refused", 8996, 2, refused_left);
}

pub(super) fn refused_left(seed: u64) -> Verdict<u64> {
    let (mut driver, (from, to), left) = half_erased(seed)?;
    let plan =
        driver.volume()?.plan_erase(driver.id_of("cam0"), TimeRange { from: Some(from), to: Some(to) });
    demand!(plan.left as usize >= left.len(), "of {left:?} a reader knows {}", plan.left);
    let tails: Vec<_> = left.iter().map(|block| tail(&driver.place(*block))).collect();
    driver.refuse_writes(&tails);
    for turn in 0..2 {
        demand!(!driver.erase("cam0", from, to)?, "asked {turn} times before, it is said to be erased");
    }
    driver.refuse_writes(&[]);
    let withdrawn = withdrawn(&driver)? > 0;
    demand!(driver.erase("cam0", from, to)? != withdrawn, "withdrawn: {withdrawn}");
    driver.lap()?;
    Ok(driver.judged)
}

#[test]
fn a_block_of_which_nobody_can_tell_what_a_crash_left_keeps_no_erasure_from_ending() {
    for_seeds("half erased, unreadable, asked for", 8998, 2, unreadable_asked);
}

/// Nothing of the block can be read, or the header of its void chunk alone, behind which all stands that it covers.
pub(super) fn unreadable_asked(seed: u64) -> Verdict<u64> {
    let (mut driver, _, left) = half_erased(seed)?;
    let page_bytes = driver.shape.geometry().page_bytes as u64;
    for block in &left {
        let place = driver.place(*block);
        let volume = driver.volume()?;
        let (image, state) = (driver.disk.snapshot(), volume.state());
        let scanner = Scanner { disk: &image, geometry: &state.geometry, volume: state.volume() };
        let (footer, _) = contents(&scanner, *block, &state.row(*block));
        let void = footer.chunks.iter().find(|place| place.kind.is_void()).ok_or("no void chunk")?;
        let header = place.start + u64::from(void.offset);
        let bad = if seed.is_multiple_of(2) { place } else { header..header + page_bytes };
        driver.disk.fail_range(bad, Errno::EIO, Kinds::READS);
    }
    (0..20).try_for_each(|_| driver.round())?;
    demand!(!driver.erase("cam0", WallTime::MIN, WallTime::MAX)?, "what cannot be read is said to be erased");
    demand!(!driver.view().erasing, "it waits for what cannot be read");
    driver.push(0, 700)?;
    driver.settle()?;
    driver.disk.clear_faults();
    driver.clock.advance(Duration::from_secs(61));
    (0..20).try_for_each(|_| driver.round())?;
    let still = unwiped(&driver.disk.crash(CrashPlan::None))?;
    demand!(still.is_empty(), "what can be read again is not overwritten: {still:?}");
    demand!(driver.erase("cam0", WallTime::MIN, WallTime::MAX)?, "what can be read again is not erased");
    driver.lap()?;
    Ok(driver.judged)
}

#[test]
fn what_a_crash_left_half_erased_is_finished_however_long_it_cannot_be_read() {
    for_seeds("half erased and unreadable", 8990, 1, unreadable_left);
}

pub(super) fn unreadable_left(seed: u64) -> Verdict<u64> {
    let driver = lapped(seed, Cuts::NONE)?;
    let (from, to) = range(&driver, "cam0", 12, 30)?;
    let (image, _) = driver.close()?;
    let disk = SimDisk::from_image(image, seed);
    let control = disk.control();
    let mut engine = open_engine(disk)?;
    let stream = StreamName::new("cam0").map_err(|error| error.to_string())?;
    engine.begin_erase(&EraseRequest { stream, from, to }).map_err(|error| error.to_string())?;
    let (mut judged, mut begun) = (0, 0);
    for _ in 0..12 {
        engine.round();
        let image = control.crash(CrashPlan::None);
        begun += unwiped(&image)?.len();
        for closes in [false, true] {
            let disk = SimDisk::from_image(image.clone(), seed);
            let control = disk.control();
            let mut engine = open_engine(disk)?;
            control.fail_reader(control.reader_reads(), Errno::EIO, Repeat::Forever);
            (0..20).for_each(|_| drop(engine.round()));
            if closes {
                engine.close().map_err(|error| error.to_string())?;
                control.clear_faults();
                let disk = SimDisk::from_image(control.crash(CrashPlan::None), seed);
                let control = disk.control();
                finished(open_engine(disk)?, &control)?;
            } else {
                control.clear_faults();
                finished(engine, &control)?;
            }
            judged += 1;
        }
    }
    demand!(begun > 0, "no crash left anything");
    Ok(judged)
}

/// What was begun is overwritten after some rounds.
fn finished(
    mut engine: crate::writer::engine::Engine<SimDisk>,
    control: &crate::disk::sim::SimControl,
) -> Verdict {
    (0..40).for_each(|_| drop(engine.round()));
    engine.close().map_err(|error| error.to_string())?;
    let left = unwiped(&control.crash(CrashPlan::None))?;
    demand!(left.is_empty(), "{left:?} are never finished");
    Ok(())
}
