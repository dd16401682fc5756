//! Rows of the table beside blocks that are damaged: what the table knows of a block is not forgotten because the round log, the
//! block's header or a byte of it is lost.

use super::driver::{Cuts, Driver, shared};
use super::material::Shape;
use super::repair_tests::{repaired, two_cameras, without};
use super::truth::Truth;
use super::{Verdict, demand, for_seeds};
use crate::disk::ReadAt;
use crate::disk::sim::{CrashPlan, Errno, Kinds, SimDisk, SimImage};
use crate::format::block::BlockTrailer;
use crate::format::chunk::ChunkKind;
use crate::format::table::{NO_FOOTER, PART_VOID, ROWS_PER_SECTOR, Row, TableSector, table_magic};
use crate::format::{Framed, SECTOR_BYTES};
use crate::recover::{Recovered, contents, recover};
use crate::repair::RepairOptions;
use crate::report::BlockState;
use crate::scan::Scanner;
use crate::types::{BlockIndex, RoundNumber, Sequence};
use std::path::Path;

fn found(image: &SimImage) -> Verdict<Recovered> {
    recover(&shared(image), Path::new("proof")).map_err(|error| error.to_string())
}

/// Writes a row into the table.
fn put_row(image: &mut SimImage, state: &Recovered, block: BlockIndex, row: &Row) {
    let sector = block.0 as usize / ROWS_PER_SECTOR;
    let rows = std::array::from_fn(|index| {
        let place = BlockIndex((sector * ROWS_PER_SECTOR + index) as u32);
        if place == block { row.clone() } else { state.row(place) }
    });
    let mut bytes = vec![0; SECTOR_BYTES];
    TableSector::new(sector as u32, RoundNumber(0), rows).seal_as(table_magic(state.volume()), &mut bytes);
    image.write(state.geometry.table_at() + (sector * SECTOR_BYTES) as u64, &bytes);
}

/// The row that the table has of a block.
fn row_in_table(image: &SimImage, state: &Recovered, block: BlockIndex) -> Option<Row> {
    let mut bytes = [0; SECTOR_BYTES];
    let sector = block.0 as usize / ROWS_PER_SECTOR;
    let at = state.geometry.table_at() + (sector * SECTOR_BYTES) as u64;
    image.read_exact_at(&mut bytes, at).ok()?;
    let (sector, _) = TableSector::unseal_as(table_magic(state.volume()), &bytes)?;
    sector.into_rows().get(block.0 as usize % ROWS_PER_SECTOR).cloned()
}

/// Where the first sample of each chunk stands in a block that holds samples, in bytes of the volume.
fn samples_in(image: &SimImage, state: &Recovered, block: BlockIndex) -> Vec<u64> {
    let scanner = Scanner { disk: image, geometry: &state.geometry, volume: state.volume() };
    let row = state.row(block);
    let take = Recovered::take(block, &row);
    let media =
        contents(&scanner, block, &row).0.chunks.into_iter().filter(|place| place.kind == ChunkKind::MEDIA);
    let chunks = media.filter_map(|place| scanner.chunk_at(&take, place.offset as usize));
    let places = chunks.map(|(located, _)| located.header.offset as usize + located.header.payload_at());
    places.map(|offset| state.geometry.block_at(block) + offset as u64).collect()
}

/// A rotten byte in its first chunk once cost a parked block all that it held, if the round log was lost too, and a repair then
/// wrote that down.
#[test]
fn a_rotten_byte_costs_no_more_where_no_record_stands_than_where_one_does() {
    for_seeds("rotten without a log", 9800, 1, rotten_without_log);
}

pub(super) fn rotten_without_log(seed: u64) -> Verdict<u64> {
    let truth = two_cameras(seed)?;
    let state = found(&truth.image)?;
    let mut judged = 0;
    for block in truth.used_blocks() {
        let places = samples_in(&truth.image, &state, block);
        // What only the lost log knew is found by the block alone.
        let known = row_in_table(&truth.image, &state, block).unwrap_or_default();
        let end = if known.sequence == state.row(block).sequence { known.used_bytes } else { 0 };
        let known_end = truth.geometry.block_at(block) + u64::from(end);
        let places = places.into_iter().filter(|at| *at < known_end);
        // All of a parked block, and some of one whose footer is lost too.
        let sealed = state.row(block).state == BlockState::Sealed;
        for at in places.step_by(if sealed { 7 } else { 1 }) {
            let rot = |mut image: SimImage| {
                image.flip_bit(at, 3);
                if sealed {
                    image.write(truth.place(block).end - SECTOR_BYTES as u64, &[0; SECTOR_BYTES]);
                }
                image
            };
            let context = |why| format!("{block}, byte {at}: {why}");
            let beside_log = missing(&truth, &rot(truth.image.clone())).map_err(context)?;
            let image = rot(without(&truth, 0b001000, seed));
            let without_log = missing(&truth, &image).map_err(context)?;
            demand!(without_log == beside_log, "{}", context(format!("{without_log:?}, not {beside_log:?}")));
            let (done, _) = repaired(&image, &RepairOptions::default(), seed)?;
            let after = missing(&truth, &done).map_err(context)?;
            demand!(
                after == beside_log,
                "{}",
                context(format!("after a repair {after:?}, not {beside_log:?}"))
            );
            judged += 3;
        }
    }
    demand!(judged > 0, "nothing was rotten");
    Ok(judged)
}

/// What is missing: a sample, and what of its GOP cannot be decoded without it.
fn missing(truth: &Truth, image: &SimImage) -> Verdict<Vec<i64>> {
    let served = truth.serve(image, |_| false)?.ok_or("it does not open")?;
    Ok(truth.whole().difference(&served.seen).copied().collect())
}

/// The sector of its row does not verify and its header cannot be read: it once counted as empty and was taken next.
#[test]
fn a_block_of_which_row_and_header_cannot_be_read_is_taken_by_nobody() {
    for_seeds("unreadable headers", 9810, 1, unreadable_headers);
}

pub(super) fn unreadable_headers(seed: u64) -> Verdict<u64> {
    let truth = two_cameras(seed)?;
    let state = found(&truth.image)?;
    let mut judged = 0;
    for which in [0, 0b001000] {
        for block in truth.used_blocks() {
            let row = state.row(block);
            let mut image = without(&truth, which, seed);
            let sector = block.0 as usize / ROWS_PER_SECTOR * SECTOR_BYTES;
            image.write(truth.geometry.table_at() + sector as u64, &[0x5a; SECTOR_BYTES]);
            let disk = SimDisk::from_image(image, seed);
            let at = truth.geometry.block_at(block);
            disk.control().fail_range(at..at + truth.geometry.page_bytes as u64, Errno::EIO, Kinds::READS);
            let found = recover(&disk.control().reader(), Path::new("proof"))
                .map_err(|error| error.to_string())?
                .row(block);
            let same = |row: &Row| (row.sequence, row.first_chunk, row.chunks, row.last_checksum);
            // The newest record may know the row.
            let known = found == row;
            let spared = found.state == BlockState::Bad && same(&found) == same(&row);
            demand!(known || spared, "{block}, lost {which:#b}: {found:?}");
            judged += 1;
        }
    }
    Ok(judged)
}

/// A page of several sectors has the copies of the header in different ones.
#[test]
fn a_bad_sector_of_a_header_page_costs_no_header() {
    for_seeds("a bad sector of a header", 9830, 1, |seed| {
        let shape = Shape { page_bytes: 1024, ..Shape::SMALL };
        let mut driver = Driver::new(shape, seed, Cuts::NONE)?;
        driver.admit("cam0")?;
        driver.lap()?;
        let control = SimDisk::from_image(driver.disk.crash(CrashPlan::None), seed).control();
        let geometry = shape.geometry();
        let state = recover(&control.reader(), Path::new("proof")).map_err(|error| error.to_string())?;
        let reader = control.reader();
        let scanner = Scanner { disk: &reader, geometry: &geometry, volume: state.volume() };
        for (sector, block) in [(0, BlockIndex(1)), (1, BlockIndex(2))] {
            let at = geometry.block_at(block) + sector * SECTOR_BYTES as u64;
            control.fail_range(at..at + SECTOR_BYTES as u64, Errno::EIO, Kinds::READS);
            let header = scanner.block_header(block).map_err(|error| error.to_string())?;
            demand!(header.is_some_and(|header| header.sequence == state.row(block).sequence), "{block}");
        }
        Ok(2)
    });
}

/// A block was erased, and then an earlier take of it put back; the table says that its take is erased.
#[test]
fn an_earlier_take_put_back_into_an_erased_block_does_not_count() {
    for_seeds("a stale block put back", 9820, 1, stale_block_put_back);
}

pub(super) fn stale_block_put_back(seed: u64) -> Verdict<u64> {
    let truth = two_cameras(seed)?;
    let state = found(&truth.image)?;
    let mut judged = 0;
    for block in truth.used_blocks() {
        let row = state.row(block);
        for gone in [BlockState::Erased, BlockState::Expired] {
            let flags = row.flags | PART_VOID | NO_FOOTER;
            let gone = Row { state: gone, flags, sequence: Sequence(row.sequence.0 + 1000), ..row.clone() };
            let mut image = without(&truth, 0b001000, seed);
            put_row(&mut image, &state, block, &gone);
            let now = found(&image)?.row(block);
            demand!(now == gone, "{block} was {gone:?}, and is {now:?}");
            judged += 1;
        }
    }
    Ok(judged)
}

/// Rows that no writer wrote, under right checksums: what their block says counts, and nobody writes outside of it.
#[test]
fn a_row_that_does_not_fit_its_block_counts_as_lost() {
    for_seeds("forged rows", 9840, 1, forged_rows);
}

pub(super) fn forged_rows(seed: u64) -> Verdict<u64> {
    let truth = two_cameras(seed)?;
    let state = found(&truth.image)?;
    let mut judged = 0;
    for block in truth.used_blocks() {
        let row = state.row(block);
        let too_long = Row { used_bytes: truth.geometry.block_bytes as u32 + 1, ..row.clone() };
        let unknown = Row { flags: row.flags | 1 << 7, ..row.clone() };
        for (forged, which) in [too_long, unknown].iter().flat_map(|row| [(row, 0), (row, 0b001000)]) {
            let mut image = without(&truth, which, seed);
            put_row(&mut image, &state, block, forged);
            let now = found(&image)?.row(block);
            let same = (now.used_bytes, now.flags, now.chunks) == (row.used_bytes, row.flags, row.chunks);
            demand!(same, "{block} was {row:?}, and is {now:?}");
            judged += 1;
        }
    }
    Ok(judged)
}

/// A trailer says that its block is open, or tells of other chunks than the footer: it was a block that nobody took again.
#[test]
fn a_trailer_that_contradicts_its_footer_does_not_count() {
    for_seeds("forged trailers", 9850, 1, forged_trailers);
}

pub(super) fn forged_trailers(seed: u64) -> Verdict<u64> {
    let truth = two_cameras(seed)?;
    let state = found(&truth.image)?;
    let mut judged = 0;
    for block in truth.used_blocks() {
        let row = state.row(block);
        let at = truth.place(block).end - truth.geometry.page_bytes as u64;
        let mut page = vec![0; truth.geometry.page_bytes];
        truth.image.read_exact_at(&mut page, at).map_err(|error| error.to_string())?;
        let Some((trailer, _)) = BlockTrailer::unseal(&page).filter(|_| row.state == BlockState::Sealed)
        else {
            continue;
        };
        let row = trailer.row.clone();
        for forged in [
            Row { state: BlockState::Open, ..row.clone() },
            Row { state: BlockState::Granted, ..row.clone() },
            Row { chunks: row.chunks + 1, ..row.clone() },
            Row { used_bytes: trailer.footer_at + 1, ..row.clone() },
            Row { flags: row.flags | 1 << 7, ..row.clone() },
            Row { last_checksum: !row.last_checksum, ..row.clone() },
        ] {
            // Neither table nor record knows the block.
            let mut image = without(&truth, 0b011000, seed);
            BlockTrailer { row: forged.clone(), ..trailer.clone() }.seal(&mut page);
            image.write(at, &page);
            let now = found(&image)?.row(block);
            let settled = matches!(now.state, BlockState::Sealed | BlockState::Parked);
            demand!(settled && now.chunks == row.chunks, "{block}, forged {forged:?}: {now:?}");
            judged += 1;
        }
    }
    demand!(judged > 0, "no block is sealed");
    Ok(judged)
}
