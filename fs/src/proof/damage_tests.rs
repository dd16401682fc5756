//! Rot on a full volume: every flipped bit of what is framed is refused, every changed live byte is
//! found and named, one costs at most one sample, and what is read is what was recorded.

use super::driver::{Cuts, Driver, shared};
use super::material::{Shape, is_payload};
use super::oracle::{Entry, Model};
use super::{Verdict, demand, for_seeds};
use crate::disk::ReadAt;
use crate::disk::sim::{SimImage, SimRng};
use crate::format::block::{BlockHeader, BlockTrailer, second_header_at};
use crate::format::chunk::{ChunkHeader, TAIL_MAGIC, Tables};
use crate::format::directory::Directory;
use crate::format::footer::Footer;
use crate::format::hold::HoldSlot;
use crate::format::round::RoundRecord;
use crate::format::scrub::ScrubSlot;
use crate::format::session::SessionSlot;
use crate::format::superblock::Superblock;
use crate::format::table::{NO_FOOTER, TableSector, table_magic};
use crate::format::{Framed, SECTOR_BYTES, round_up};
use crate::reader::Volume;
use crate::recover::{Recovered, newest_record, record_copies, recover};
use crate::report::{BlockState, Finding, Item, TimeRange};
use crate::scan::Scanner;
use crate::types::{BlockIndex, StreamName};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// A small volume, full, with samples in one and in many pieces, closed cleanly.
pub(super) fn full_volume(seed: u64) -> Verdict<(SimImage, Model)> {
    let mut driver = Driver::new(Shape::SMALL, seed, Cuts::NONE)?;
    driver.admit("cam0")?;
    driver.lap()?;
    filled(driver)
}

/// The same with some footage of an earlier lap, which is held.
pub(super) fn held_volume(seed: u64) -> Verdict<(SimImage, Model)> {
    let mut driver = Driver::new(Shape::SMALL, seed, Cuts::NONE)?;
    // After all that the camera's clock says.
    driver.clock.advance(std::time::Duration::from_secs(5 * 3600));
    driver.admit("cam0")?;
    driver.lap()?;
    let (from, to) = super::hold_tests::oldest(&driver, "cam0", 4)?;
    driver.hold("cam0", from, to, None)?.ok_or("there is room")?;
    driver.lap()?;
    filled(driver)
}

fn filled(mut driver: Driver) -> Verdict<(SimImage, Model)> {
    for turn in 0..60 {
        driver.push_any(0)?;
        match turn % 12 {
            3 => driver.push(0, 9000)?,
            5 => driver.push(0, 40_000)?,
            7 => driver.gap(0)?,
            9 => driver.configure(0, turn % 5)?,
            11 => driver.begin_run(0)?,
            _ => {}
        }
        driver.round()?;
    }
    driver.close()
}

/// Where live bytes are, and the names under which damage there may be found.
pub(super) struct Area {
    pub(super) bytes: Range<u64>,
    names: &'static [&'static str],
    pub(super) block: Option<BlockIndex>,
}

const IN_BLOCKS: &[&str] = &[
    "block header",
    "chunk",
    "chunk header",
    "second chunk header",
    "sample table",
    "second sample table",
    "sample",
    "configuration or gap record",
    "padding",
    "footer",
    "block trailer",
];

pub(super) fn live_area(disk: &dyn ReadAt, state: &Recovered) -> Vec<Area> {
    let geometry = &state.geometry;
    let scanner = Scanner { disk, geometry, volume: state.volume() };
    let area = |from: u64, bytes: usize, names| Area { bytes: from..from + bytes as u64, names, block: None };
    let mut areas: Vec<Area> =
        geometry.copies_at.iter().map(|at| area(*at, Superblock::SIZE, &["superblock"] as &[_])).collect();
    areas.extend(
        geometry.directories_at().iter().map(|at| area(*at, state.directory.bytes(), &["stream directory"])),
    );
    let holds = geometry.holds_max as usize * HoldSlot::SIZE;
    areas.extend(geometry.holds_at().iter().map(|at| area(*at, holds, &["hold"])));
    areas.extend(geometry.sessions_at().iter().map(|at| area(*at, geometry.sessions_bytes, &["session"])));
    areas.extend(geometry.scrub_at().iter().map(|at| area(*at, geometry.scrub_bytes, &["scrub"])));
    if let Some(record) = newest_record(&scanner) {
        let copies = record_copies(&scanner, record.header.round);
        areas.extend(copies.iter().map(|(at, _)| area(*at, record.bytes(), &["round record"])));
    }
    let sectors = (geometry.blocks as usize).div_ceil(crate::format::table::ROWS_PER_SECTOR);
    areas.push(area(geometry.table_at(), sectors * SECTOR_BYTES, &["block table"]));
    for (index, row) in state.rows.iter().enumerate().filter(|(_, row)| row.is_live()) {
        let block = BlockIndex(index as u32);
        let begin = geometry.block_at(block);
        let of = |from: u64, bytes: usize| Area { block: Some(block), ..area(from, bytes, IN_BLOCKS) };
        areas.push(of(begin, row.used_bytes as usize));
        if row.state == BlockState::Sealed && row.flags & NO_FOOTER == 0 {
            let take = Recovered::take(block, row);
            if let Some(trailer) = scanner.trailer(&take) {
                let padded = round_up(trailer.footer_bytes as usize, geometry.page_bytes);
                areas.push(of(begin + u64::from(trailer.footer_at), padded));
                let end = geometry.block_bytes - geometry.page_bytes;
                areas.push(of(begin + end as u64, geometry.page_bytes));
            }
        }
    }
    areas
}

/// All samples that the reader gives, each verified against what was pushed, and the damage it told of.
pub(super) fn read_all(
    disk: Arc<dyn ReadAt>,
    model: &Model,
) -> Verdict<(Volume, BTreeSet<i64>, Vec<Finding>)> {
    super::count_judged();
    let volume = Volume::from_disk(disk, Path::new("proof")).map_err(|error| error.to_string())?;
    let (mut seen, mut damage) = (BTreeSet::new(), Vec::new());
    for (name, stream) in &model.streams {
        let pushed: BTreeMap<i64, _> = stream
            .entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Sample(pushed) => Some((pushed.number as i64, pushed)),
                Entry::Gap(_) => None,
            })
            .collect();
        let name = StreamName::new(name).map_err(|error| error.to_string())?;
        let id = volume.stream(&name).map_err(|error| error.to_string())?.id;
        let mut cursor = volume.read(id, TimeRange::default()).map_err(|error| error.to_string())?;
        while let Some(item) = cursor.next_item().map_err(|error| error.to_string())? {
            match item {
                Item::Sample(sample) => {
                    let pushed = pushed.get(&sample.ticks).ok_or("a sample that nobody pushed")?;
                    demand!(
                        sample.data.len() == pushed.length
                            && is_payload(pushed.number, &sample.data)
                            && (sample.track, sample.flags) == (pushed.track, pushed.flags)
                            && sample.wall == pushed.run.wall(sample.ticks),
                        "sample {} is not what was pushed",
                        sample.ticks
                    );
                    demand!(seen.insert(sample.ticks), "sample {} is given twice", sample.ticks);
                }
                Item::Damage(finding) => damage.push(finding),
                _ => {}
            }
        }
    }
    Ok((volume, seen, damage))
}

#[test]
fn every_changed_live_byte_is_named_and_costs_at_most_one_sample() {
    for_seeds("changed bytes", 3000, 2, changed_bytes);
}

pub(super) fn changed_bytes(seed: u64) -> Verdict<u64> {
    let (image, model) = held_volume(seed)?;
    let state = recover(&image, Path::new("proof")).map_err(|error| error.to_string())?;
    let (volume, whole, damage) = read_all(shared(&image), &model)?;
    let clean = volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?;
    demand!(clean.findings.is_empty() && damage.is_empty(), "damaged before: {:?}", clean.findings);
    let areas = live_area(&image, &state);
    let mut rng = SimRng::new(seed);
    let mut judged = 0;
    for turn in 0..1500 {
        // Half of them evenly over all bytes, half over all structures.
        let all: u64 = areas.iter().map(|area| area.bytes.end - area.bytes.start).sum();
        let mut at = rng.below(all as usize) as u64;
        let by_bytes = areas.iter().find(|area| {
            let length = area.bytes.end - area.bytes.start;
            let here = at < length;
            at -= if here { 0 } else { length };
            here
        });
        let area = if turn % 2 == 0 { by_bytes } else { areas.get(rng.below(areas.len())) };
        let area = area.ok_or("no live area")?;
        let at = area.bytes.start + rng.below((area.bytes.end - area.bytes.start) as usize) as u64;
        let mut byte = [0];
        image.read_exact_at(&mut byte, at).map_err(|error| error.to_string())?;
        let mut damaged = image.clone();
        damaged.write(at, &[byte[0] ^ (1 + rng.below(255) as u8)]);
        let (volume, seen, _) =
            read_all(shared(&damaged), &model).map_err(|why| format!("byte {at}: {why}"))?;
        let lost = whole.difference(&seen).count();
        demand!(seen.is_subset(&whole), "byte {at}: samples are back");
        let report = volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?;
        let named = |finding: &&Finding| area.names.contains(&finding.what) && finding.block == area.block;
        let found = report.findings.iter().find(named);
        demand!(found.is_some(), "byte {at} in {:?}: found is {:?}", area.names, report.findings);
        let told = report.findings.iter().any(|finding| finding.footage_lost);
        demand!(lost <= 1 && (lost == 0 || told), "byte {at}: {lost} samples lost: {:?}", report.findings);
        judged += 1;
    }
    Ok(judged)
}

/// Flips every bit; whatever the structure then is, it is none.
fn refuses_every_flip(bytes: &[u8], stands: impl Fn(&[u8]) -> bool) -> Verdict<u64> {
    demand!(stands(bytes), "it does not even stand as it is");
    let mut bytes = bytes.to_vec();
    super::count_judged();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        demand!(!stands(&bytes), "bit {bit} may be flipped");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    Ok(bytes.len() as u64 * 8)
}

#[test]
fn every_flipped_bit_of_every_framed_structure_is_refused() {
    for_seeds("flipped bits", 3200, 1, flipped_bits);
}

pub(super) fn flipped_bits(seed: u64) -> Verdict<u64> {
    let (image, _) = held_volume(seed)?;
    let state = recover(&image, Path::new("proof")).map_err(|error| error.to_string())?;
    let geometry = &state.geometry;
    let volume = state.volume();
    let scanner = Scanner { disk: &image, geometry, volume };
    let read = |at: u64, length: usize| {
        let mut bytes = vec![0; length];
        image.read_exact_at(&mut bytes, at).map(|()| bytes).map_err(|error| error.to_string())
    };
    let mut flips = 0;
    for at in geometry.copies_at.iter().copied() {
        flips += refuses_every_flip(&read(at, Superblock::SIZE)?, |bytes| Superblock::read(bytes).is_some())?;
    }
    for at in geometry.directories_at() {
        let bytes = read(at, state.directory.bytes())?;
        flips += refuses_every_flip(&bytes, |bytes| Directory::unseal(bytes, volume).is_some())?;
    }
    for at in geometry.sessions_at() {
        let bytes = read(at, SessionSlot::SIZE)?;
        flips += refuses_every_flip(&bytes, |bytes| SessionSlot::read(bytes, volume, 0).is_some())?;
    }
    for at in geometry.scrub_at() {
        let bytes = read(at, geometry.scrub_bytes)?;
        flips += refuses_every_flip(&bytes, |bytes| ScrubSlot::read(bytes, volume).is_some())?;
    }
    for at in geometry.holds_at() {
        for slot in 0..2 {
            let bytes = read(at + u64::from(slot) * HoldSlot::SIZE as u64, HoldSlot::SIZE)?;
            flips += refuses_every_flip(&bytes, |bytes| HoldSlot::read(bytes, volume, slot).is_some())?;
        }
    }
    let record = newest_record(&scanner).ok_or("no record")?;
    for (at, _) in record_copies(&scanner, record.header.round) {
        let bytes = read(at, record.bytes())?;
        flips += refuses_every_flip(&bytes, |bytes| RoundRecord::unseal(bytes, volume).is_some())?;
    }
    let magic = table_magic(volume);
    let sector = read(geometry.table_at(), SECTOR_BYTES)?;
    flips += refuses_every_flip(&sector, |bytes| TableSector::unseal_as(magic, bytes).is_some())?;
    let mut sealed = 0;
    for (index, row) in state.rows.iter().enumerate().filter(|(_, row)| row.state == BlockState::Sealed) {
        sealed += 1;
        if sealed > 3 {
            break;
        }
        let take = Recovered::take(BlockIndex(index as u32), row);
        let begin = geometry.block_at(take.block);
        for copy in [0, second_header_at(geometry.page_bytes)] {
            let bytes = read(begin + copy as u64, BlockHeader::SIZE)?;
            flips += refuses_every_flip(&bytes, |bytes| BlockHeader::unseal(bytes).is_some())?;
        }
        let (trailer, footer) = scanner.footer(&take).ok_or("no footer")?;
        let bytes = read(begin + (geometry.block_bytes - geometry.page_bytes) as u64, BlockTrailer::SIZE)?;
        flips += refuses_every_flip(&bytes, |bytes| BlockTrailer::unseal(bytes).is_some())?;
        let bytes = read(begin + u64::from(trailer.footer_at), trailer.footer_bytes as usize)?;
        flips += refuses_every_flip(&bytes, |bytes| {
            Footer::unseal(bytes, volume, take.block, take.sequence).is_some()
        })?;
        for place in &footer.chunks {
            let chunk = read(begin + u64::from(place.offset), place.bytes as usize)?;
            let (header, _) = crate::format::chunk::head(&chunk).ok_or("no chunk")?;
            flips += refuses_every_flip(&chunk[..ChunkHeader::SIZE], |bytes| {
                crate::format::chunk::head(bytes).is_some()
            })?;
            flips += refuses_every_flip(&chunk[chunk.len() - ChunkHeader::SIZE..], |bytes| {
                ChunkHeader::unseal_as(TAIL_MAGIC, bytes).is_some()
            })?;
            let table = &chunk[ChunkHeader::SIZE..header.payload_at()];
            flips += refuses_every_flip(table, |bytes| Tables::read(&header, bytes).is_some())?;
        }
    }
    Ok(flips)
}
