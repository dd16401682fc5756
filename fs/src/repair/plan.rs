//! What is to be done to a volume: found out by reading it, decided without writing a byte.
//!
//! What stands is never replaced by what was found out; see [`crate::recover::judge`] for the rows of the table, and for the rest:
//!
//! | found | done |
//! |---|---|
//! | some copies of the superblock do not verify | written again from one that does |
//! | none does | made from the blocks; label and creator stay empty |
//! | one directory copy does not verify, or is older | written again from the other |
//! | an entry verifies in neither | the others stay in their places; the hole is given to a stream without a name, else to the last entry |
//! | nothing of either does | made from the streams in the blocks |
//! | a stream with footage in no directory | entered under the name made from its identity |
//! | one copy of a hold does not verify | written again from the other |
//! | neither does | marked as lost in both; where no slot verifies at all, once |
//! | one copy of a session does not verify, or is older | written again from the other; where neither does, the slot is empty |
//! | a change of the holds stands nowhere | marked as lost in a free slot; where none is free, nothing: lift a hold first |
//! | no round record stands, or one of another time | a new one, above all that was ever granted |

use super::{RepairOptions, RepairReport, RepairStep, geometry};
use crate::clock::{Clock, SystemClock};
use crate::disk::ReadAt;
use crate::error::{Error, Result};
use crate::format::Text;
use crate::format::directory::{Directory, DirectoryEntry};
use crate::format::table::{ROWS_PER_SECTOR, Row};
use crate::hold::Slot;
use crate::reader::volume_info;
use crate::recover::{
    FoundSuperblock, Header, Pause, RECOVERED, Recovered, Source, Verdict, amend, find_superblock_anywhere,
    find_superblock_of, judge, judge_superblock, lost_record_copy, newest_record, recover_as, settled,
    volumes_named,
};
use crate::report::{BlockState, Finding};
use crate::scan::Scanner;
use crate::session::read_slots;
use crate::types::{BlockIndex, StreamName, VolumeId, WallTime};
use crate::writer::engine::check_writable;
use std::collections::BTreeSet;
use std::path::Path;

/// A volume as it shall be, and what that takes.
pub(crate) struct Survey {
    /// As it shall be.
    pub(crate) recovered: Recovered,
    /// What is done, in order.
    pub(crate) steps: Vec<RepairStep>,
    findings: Vec<Finding>,
}

impl Survey {
    /// For who asked.
    pub(crate) fn report(&self) -> RepairReport {
        let entries = self.recovered.directory.entries.iter();
        let named =
            entries.filter_map(|entry| Some((entry.stream, StreamName::new(entry.name.as_str()).ok()?)));
        RepairReport {
            volume: volume_info(&self.recovered.superblock),
            steps: self.steps.clone(),
            findings: self.findings.clone(),
            blocks: self.recovered.rows.iter().filter(|row| row.is_live()).count() as u32,
            nameless: named.filter(|(_, name)| name.as_str().starts_with(RECOVERED)).collect(),
        }
    }

    fn step(&mut self, what: &'static str, detail: String) {
        self.steps.push(RepairStep { what, detail });
    }
}

/// When and how a repair is made.
#[derive(Clone, Copy)]
pub(crate) struct Circumstances {
    /// The wall clock's time.
    pub(crate) now: WallTime,
    /// Lets time pass between two attempts to read.
    pub(crate) pause: Pause,
    /// How much the disk writes at once, in bytes.
    pub(crate) alignment_bytes: u32,
}

impl Circumstances {
    /// Those of this machine.
    pub(super) fn here(alignment_bytes: u32) -> Circumstances {
        Circumstances { now: SystemClock::new().wall(), pause: std::thread::sleep, alignment_bytes }
    }
}

/// Finds out what is to be done. What cannot be read would be written as lost, so that reading is done again until it comes to
/// the same, as for any writer.
///
/// # Errors
/// As [`super::plan_repair`].
pub(crate) fn survey(
    disk: &dyn ReadAt,
    path: &Path,
    options: &RepairOptions,
    here: Circumstances,
    progress: &mut dyn FnMut(u32, u32),
) -> Result<Survey> {
    if planted!(RepairBelievesOnePass) {
        return survey_once(disk, path, options, here, progress);
    }
    settled(disk, path, here.pause, |disk| survey_once(disk, path, options, here, progress))
}

fn survey_once(
    disk: &dyn ReadAt,
    path: &Path,
    options: &RepairOptions,
    here: Circumstances,
    progress: &mut dyn FnMut(u32, u32),
) -> Result<Survey> {
    let found = superblock(disk, path, options.volume)?;
    let recovered = recover_as(disk, path, found)?;
    let missing_bytes = recovered.geometry.size_bytes.saturating_sub(disk.size_bytes());
    if missing_bytes > 0 {
        return Err(Error::CutShort { path: path.to_owned(), missing_bytes });
    }
    let findings = recovered.findings.clone();
    let mut survey = Survey { recovered, steps: Vec::new(), findings };
    superblocks(&mut survey);
    rows(&mut survey, disk, progress)?;
    directory(&mut survey, options, here.now, disk)?;
    holds(&mut survey);
    sessions(&mut survey, disk);
    scrub(&mut survey, disk);
    round_log(&mut survey, disk);
    if !survey.steps.is_empty() {
        check_writable(&survey.recovered, disk.size_bytes(), here.alignment_bytes, path)?;
    }
    Ok(survey)
}

/// The superblock that counts: one that stands, else what the blocks tell, else one that stands where none of a volume of this
/// size would: the volume was larger or smaller then.
fn superblock(disk: &dyn ReadAt, path: &Path, wanted: Option<VolumeId>) -> Result<FoundSuperblock> {
    match find_superblock_of(disk, path, wanted) {
        Ok(found) => {
            let volumes = volumes_named(disk, &found.superblock);
            if wanted.is_none() && volumes.len() > 1 {
                return Err(geometry::which_volume(path, "superblocks", volumes));
            }
            Ok(found)
        }
        Err(Error::NotAVolume { .. }) => match geometry::from_blocks(disk, path, wanted) {
            Ok(superblock) => Ok(judge_superblock(disk, superblock)),
            Err(refused @ (Error::NotAVolume { .. } | Error::Corrupt { .. })) => {
                find_superblock_anywhere(disk, wanted).ok_or(refused)
            }
            Err(refused) => Err(refused),
        },
        // The disk does not give it: that is no reason to guess.
        Err(error) => Err(error),
    }
}

fn superblocks(survey: &mut Survey) {
    let copies = &survey.recovered.superblocks_good;
    let (bad, all) = (copies.iter().filter(|good| !**good).count(), copies.len());
    match bad {
        0 => {}
        bad if bad == all => survey.step(
            "superblock",
            "none of its copies verifies: all are made from the blocks; label and creator are lost"
                .to_owned(),
        ),
        bad => survey.step("superblock", format!("{bad} of {all} copies are written again")),
    }
}

fn rows(survey: &mut Survey, disk: &dyn ReadAt, progress: &mut dyn FnMut(u32, u32)) -> Result<()> {
    let recovered = &mut survey.recovered;
    let geometry = recovered.geometry.clone();
    let from_blocks = !recovered.superblocks_good.contains(&true);
    let scanner = Scanner { disk, geometry: &geometry, volume: recovered.volume() };
    let mut rebuilt = BTreeSet::new();
    let mut given: Vec<(BlockIndex, Row)> = Vec::new();
    for block in geometry.all_blocks() {
        progress(block.0, geometry.blocks);
        let row = recovered.row(block);
        let found = scanner.block_header(block);
        // Not all of them were looked at to find out where everything stands.
        if from_blocks && matches!(&found, Ok(Some(header)) if header.incompat & !geometry.incompat() != 0) {
            return Err(geometry::has_grown(disk));
        }
        let header = Header::of(&found);
        let source = if recovered.unlisted.contains(&block) { Source::Block } else { Source::Known };
        match judge(&row, source, header) {
            Verdict::Keep => {}
            // What is set aside is on its way to its next take; the record says so.
            Verdict::Rebuild if recovered.given_up.contains(&block) => {}
            Verdict::Rebuild => {
                rebuilt.insert(block);
            }
            Verdict::Withdraw => given.push((block, Row { state: BlockState::Bad, ..Row::default() })),
        }
    }
    progress(geometry.blocks, geometry.blocks);
    let (withdrawn, outdated) = (given.len(), rebuilt.len());
    let mut touched: BTreeSet<BlockIndex> = recovered.unlisted.union(&rebuilt).copied().collect();
    touched.extend(given.iter().map(|(block, _)| *block));
    if planted!(RowsNotRebuilt) {
        return Ok(());
    }
    amend(&scanner, recovered, &rebuilt, given);
    // A sector is written whole.
    let sectors: BTreeSet<u32> = touched.iter().map(|block| block.0 / ROWS_PER_SECTOR as u32).collect();
    let of_sectors =
        geometry.all_blocks().filter(|block| sectors.contains(&(block.0 / ROWS_PER_SECTOR as u32)));
    recovered.changed.extend(of_sectors);
    let unlisted = recovered.unlisted.len();
    if unlisted > 0 {
        survey.step("block table", format!("{unlisted} rows were lost: found again from their blocks"));
    }
    if outdated > 0 {
        survey.step(
            "block table",
            format!("{outdated} rows were of an earlier time than their blocks: found again"),
        );
    }
    if withdrawn > 0 {
        let detail =
            format!("{withdrawn} blocks of which row and header cannot be read are withdrawn from use");
        survey.step("block table", detail);
    }
    Ok(())
}

fn directory(survey: &mut Survey, options: &RepairOptions, now: WallTime, disk: &dyn ReadAt) -> Result<()> {
    let recovered = &mut survey.recovered;
    let [front, back] = &recovered.directories;
    let copies = match (front, back) {
        _ if !recovered.directory_stands => Some(
            "what verifies in neither copy is made from the streams in the blocks; of their settings only the maximum age \
             stands there",
        ),
        (Some(front), Some(back)) if front == back => None,
        (Some(_), Some(_)) => Some("one copy is older and written again from the other"),
        _ => Some("what does not verify in one copy is written again from the other"),
    };
    let mut steps: Vec<RepairStep> = Vec::new();
    let mut step = |what, detail| steps.push(RepairStep { what, detail });
    if let Some(detail) = copies {
        step("stream directory", detail.to_owned());
    }
    // Which streams there are follows from the rows as they are now.
    let orphans = crate::recover::orphans(&recovered.rows, &recovered.chains, &recovered.directory);
    let scanner = Scanner { disk, geometry: &recovered.geometry, volume: recovered.volume() };
    let orphans = crate::recover::with_ages(&scanner, &recovered.rows, &recovered.chains, orphans);
    let mut places = std::mem::take(&mut recovered.directory_places);
    // A repair that was cut off may have left a stream in two places.
    let mut known = BTreeSet::new();
    for place in &mut places {
        if place.as_ref().is_some_and(|entry| !known.insert(entry.stream)) {
            *place = None;
        }
    }
    let room = (recovered.geometry.streams_max as usize).saturating_sub(known.len());
    for orphan in orphans.into_iter().take(if planted!(NamelessDropped) { 0 } else { room }) {
        let detail = format!("stream {} is called {}: its name is lost", orphan.stream, orphan.name.as_str());
        step("stream name", detail);
        match places.iter_mut().find(|place| place.is_none()) {
            Some(hole) => *hole = Some(orphan),
            None => places.push(Some(orphan)),
        }
    }
    for (old, new) in &options.names {
        rename(&mut places, old, new, now)?;
        step("stream name", format!("{old} is called {new} from now on"));
    }
    let generation = recovered.directory.generation.saturating_add(1);
    let (mut before, mut entries) = without_holes(places);
    if entries != recovered.directory.entries || !recovered.directory_stands {
        entries.iter_mut().chain(&mut before).for_each(|entry| entry.generation = generation);
        if recovered.directories.iter().all(Option::is_none) && !planted!(EntriesMovedInOneGo) {
            let before = Directory { generation: recovered.directory.generation, entries: before };
            recovered.directories = [Some(before.clone()), Some(before)];
        }
        recovered.directory = Directory { generation, entries };
        recovered.directory_stands = true;
    }
    recovered.orphans.clear();
    survey.steps.append(&mut steps);
    Ok(())
}

/// Moves the last entries into the holes. First comes what is to be written before: there each stands in its old place too, so
/// that no moment leaves it in none.
fn without_holes(mut places: Vec<Option<DirectoryEntry>>) -> (Vec<DirectoryEntry>, Vec<DirectoryEntry>) {
    let mut before = places.clone();
    while let Some(hole) = places.iter().position(Option::is_none) {
        // The last place may be a hole itself.
        if let Some(last) = places.pop().flatten()
            && let (Some(place), Some(place_before)) = (places.get_mut(hole), before.get_mut(hole))
        {
            *place_before = Some(last.clone());
            *place = Some(last);
        }
    }
    let last = before.iter().flatten().next_back().cloned();
    let before = before.into_iter().filter_map(|place| place.or_else(|| last.clone()));
    (before.collect(), places.into_iter().flatten().collect())
}

fn rename(
    places: &mut [Option<DirectoryEntry>],
    old: &StreamName,
    new: &StreamName,
    now: WallTime,
) -> Result<()> {
    if !old.as_str().starts_with(RECOVERED) {
        return Err(Error::Invalid(format!(
            "{old} has a name; a repair names only streams called {RECOVERED}..."
        )));
    }
    if places.iter().flatten().any(|entry| entry.name.as_str() == new.as_str()) {
        return Err(Error::Invalid(format!(
            "the volume has a stream {new} already; choose another name for {old}"
        )));
    }
    let name =
        Text::new(new.as_str()).ok_or_else(|| Error::Invalid(format!("the name {new} is too long")))?;
    let known: Vec<String> = places
        .iter()
        .flatten()
        .map(|entry| entry.name.as_str().to_owned())
        .filter(|name| name.starts_with(RECOVERED))
        .collect();
    let Some(entry) = places.iter_mut().flatten().find(|entry| entry.name.as_str() == old.as_str()) else {
        return Err(Error::NoSuchStream { name: old.clone(), available: known.join(", ") });
    };
    entry.name_before = std::mem::replace(&mut entry.name, name);
    entry.renamed = now;
    Ok(())
}

fn holds(survey: &mut Survey) {
    let holds = &mut survey.recovered.holds;
    let is_lost = |(slot, generation): &(Slot, u64)| matches!(slot, Slot::Lost(_)) && *generation == 0;
    let lost: Vec<usize> =
        holds.slots.iter().enumerate().filter(|(_, slot)| is_lost(slot)).map(|(index, _)| index).collect();
    let single = holds.to_repair.len();
    let generation = holds.generation.max(1);
    if !lost.is_empty() && lost.len() == holds.slots.len() {
        // That there may have been holds is said once.
        for (slot, _) in holds.slots.iter_mut().skip(1) {
            *slot = Slot::Free;
        }
    }
    for index in &lost {
        if let Some((_, of_slot)) = holds.slots.get_mut(*index) {
            *of_slot = generation;
        }
    }
    if !lost.is_empty() {
        holds.generation = generation;
    }
    holds.to_repair.extend(&lost);
    // Where no slot is free the round log goes on telling of it; a repair lifts nobody's hold.
    let outdated = holds.outdated && holds.slots.iter().any(|(slot, _)| *slot == Slot::Free);
    if single > 0 {
        survey.step("hold", format!("one copy of {single} slots is written again from the other"));
    }
    if !lost.is_empty() {
        let detail = format!(
            "neither copy of {} slots verifies: marked as lost; what they may have held is overwritten last, until the mark is lifted",
            lost.len()
        );
        survey.step("hold", detail);
    }
    if outdated {
        survey.step("hold", "a change of the holds stands nowhere any more: marked as lost".to_owned());
    }
}

fn sessions(survey: &mut Survey, disk: &dyn ReadAt) {
    let (geometry, volume) = (&survey.recovered.geometry, survey.recovered.volume());
    let [front, back] =
        geometry.sessions_at().map(|at| read_slots(disk, at, volume, 0, geometry.sessions_max));
    let neither = front.iter().zip(&back).filter(|(front, back)| front.is_none() && back.is_none()).count();
    let bad = front.iter().chain(&back).filter(|slot| slot.is_none()).count();
    let single = bad - 2 * neither;
    let older =
        front.iter().zip(&back).filter(|(front, back)| front.is_some() && back.is_some() && front != back);
    let older = older.count();
    if single > 0 {
        survey.step("session", format!("one copy of {single} slots is written again from the other"));
    }
    if older > 0 {
        survey
            .step("session", format!("one copy of {older} slots is older and written again from the other"));
    }
    if neither > 0 {
        let detail = format!("neither copy of {neither} slots verifies: who opened the volume then is lost");
        survey.step("session", detail);
    }
}

fn scrub(survey: &mut Survey, disk: &dyn ReadAt) {
    let copies = crate::scrub::copies(disk, &survey.recovered.geometry, survey.recovered.volume());
    let detail = match copies.map(|(_, copy)| copy.is_some()) {
        [true, true] => return,
        [false, false] => "neither copy of its place verifies: it begins anew",
        _ => "one copy of its place is written again from the other",
    };
    survey.step("scrub", detail.to_owned());
}

fn round_log(survey: &mut Survey, disk: &dyn ReadAt) {
    let recovered = &survey.recovered;
    let scanner = Scanner { disk, geometry: &recovered.geometry, volume: recovered.volume() };
    let detail = match newest_record(&scanner) {
        None => "no record stands: a new one is written",
        Some(_) if survey.findings.iter().any(|finding| finding.what == "round log") => {
            "its newest record is of an earlier time: a new one is written"
        }
        Some(_) if lost_record_copy(&scanner).is_some() => {
            "one copy of its newest record is lost: a new one is written"
        }
        Some(_) => return,
    };
    survey.step("round log", detail.to_owned());
}
