//! A volume of a later version, met by this one: what it adds is passed over, read past or refused, as its feature words say.

use super::damage_tests::{full_volume, read_all};
use super::driver::{Cuts, Driver, open_engine, shared};
use super::material::Shape;
use super::repair_tests::{repair, repaired};
use super::{Verdict, demand};
use crate::disk::ReadAt;
use crate::disk::sim::{CrashPlan, SimDisk, SimImage};
use crate::format::block::{BlockHeader, seal_header_page, unseal_header_page};
use crate::format::chunk::{self, ChunkHeader, ChunkKind, Entry, NO_TRACK, Piece};
use crate::format::superblock::Superblock;
use crate::format::{FORMAT_VERSION, Field, Framed};
use crate::reader::Volume;
use crate::recover::{Recovered, recover};
use crate::repair::RepairOptions;
use crate::report::TimeRange;
use crate::scan::Scanner;
use crate::types::BlockIndex;
use bytes::Bytes;
use std::path::Path;

fn check(outcome: Verdict) {
    outcome.unwrap_or_else(|why| panic!("{why}"));
}

/// The volume with all its superblocks changed.
fn with_superblock(image: &SimImage, change: impl Fn(&mut Superblock)) -> Verdict<SimImage> {
    let state = recover(image, Path::new("proof")).map_err(|error| error.to_string())?;
    let mut superblock = state.superblock.clone();
    change(&mut superblock);
    let mut changed = image.clone();
    for at in state.geometry.copies_at {
        let mut bytes = [0; Superblock::SIZE];
        superblock.seal(&mut bytes);
        changed.write(at, &bytes);
    }
    Ok(changed)
}

/// Whether a volume opens for reading, and for writing; where it does not, nothing was written, and the reason says `why`.
fn opens(image: &SimImage, why: &str) -> Verdict<(bool, bool)> {
    let said = |error: String| match error.contains(why) {
        true => Ok(false),
        false => Err(format!("{error:?} does not say {why:?}")),
    };
    let reading = match Volume::from_disk(shared(image), Path::new("proof")) {
        Ok(_) => true,
        Err(error) => said(error.to_string())?,
    };
    let disk = SimDisk::from_image(image.clone(), 1);
    let control = disk.control();
    let writing = match open_engine(disk) {
        Ok(_) => true,
        Err(error) => {
            demand!(control.snapshot() == *image, "a volume that is refused was written to");
            said(error)?
        }
    };
    Ok((reading, writing))
}

#[test]
fn features_that_are_not_known_are_refused_by_class() {
    check((|| {
        let (image, _) = full_volume(3300)?;
        let compat = with_superblock(&image, |superblock| superblock.compat = 1 << 40)?;
        demand!(opens(&compat, "")? == (true, true), "a feature that may be ignored is refused");
        let ro_compat = with_superblock(&image, |superblock| superblock.ro_compat = 1 << 40)?;
        demand!(opens(&ro_compat, "0x10000000000")? == (true, false), "read-only features");
        let incompat = with_superblock(&image, |superblock| superblock.incompat = 1 << 40)?;
        demand!(opens(&incompat, "0x10000000000")? == (false, false), "features that everyone must know");
        let newer = with_superblock(&image, |superblock| superblock.version = FORMAT_VERSION + 1)?;
        demand!(opens(&newer, "format version")? == (false, false), "a newer version is opened");
        Ok(())
    })());
}

/// The volume with bytes in its superblocks that this version has reserved.
fn with_reserved_bytes(image: &SimImage) -> Verdict<SimImage> {
    let mut changed = image.clone();
    let head = |bytes: &[u8]| Superblock::get(&bytes[8..8 + Superblock::BYTES]);
    let mut bytes = [0; Superblock::SIZE];
    image.read_exact_at(&mut bytes, 0).map_err(|error| error.to_string())?;
    for at in head(&bytes).ok_or("no superblock")?.copies_at {
        image.read_exact_at(&mut bytes, at).map_err(|error| error.to_string())?;
        let end = Superblock::SIZE - 4;
        bytes[end - 1] = 0x17;
        let checksum = crc32c::crc32c(&bytes[8..end]);
        bytes[end..].copy_from_slice(&checksum.to_le_bytes());
        changed.write(at, &bytes);
    }
    Ok(changed)
}

/// The volume with all its block headers changed.
fn with_block_headers(image: &SimImage, change: impl Fn(&mut BlockHeader)) -> Verdict<SimImage> {
    let state = recover(image, Path::new("proof")).map_err(|error| error.to_string())?;
    let mut changed = image.clone();
    let mut page = vec![0; state.geometry.page_bytes];
    for block in state.geometry.all_blocks() {
        let at = state.geometry.block_at(block);
        image.read_exact_at(&mut page, at).map_err(|error| error.to_string())?;
        let Some(mut header) = unseal_header_page(&page, state.volume(), block) else { continue };
        change(&mut header);
        seal_header_page(&header, &mut page);
        changed.write(at, &page);
    }
    Ok(changed)
}

fn without_superblocks(image: &SimImage) -> Verdict<SimImage> {
    let state = recover(image, Path::new("proof")).map_err(|error| error.to_string())?;
    let mut changed = image.clone();
    state.geometry.copies_at.into_iter().for_each(|at| changed.write(at, &[0; Superblock::SIZE]));
    Ok(changed)
}

/// That repair refuses a volume, says why, and writes nothing.
fn repair_refuses(image: &SimImage, why: &str) -> Verdict {
    let disk = SimDisk::from_image(image.clone(), 1);
    let control = disk.control();
    let Err(error) = repair(disk, &RepairOptions::default()) else {
        return Err(format!("repaired, although {why}"));
    };
    demand!(error.contains(why), "{error:?} does not say {why:?}");
    demand!(control.snapshot() == *image, "a volume that is refused was written to");
    Ok(())
}

#[test]
fn a_volume_whose_superblock_is_of_another_layout_is_refused_by_its_version_or_features() {
    check((|| {
        let (image, _) = full_volume(3320)?;
        let features = "0x10000000000";
        let incompat = with_superblock(&image, |superblock| superblock.incompat = 1 << 40)?;
        let incompat = with_reserved_bytes(&incompat)?;
        demand!(opens(&incompat, features)? == (false, false), "features that everyone must know");
        repair_refuses(&incompat, features)?;
        let newer = with_superblock(&image, |superblock| superblock.version = FORMAT_VERSION + 1)?;
        let newer = with_reserved_bytes(&newer)?;
        demand!(opens(&newer, "format version")? == (false, false), "a newer version is opened");
        repair_refuses(&newer, "format version")?;
        let draft = with_superblock(&image, |superblock| superblock.version = 0)?;
        demand!(opens(&draft, "format version")? == (false, false), "a draft of the format is opened");
        let ro_compat = with_superblock(&image, |superblock| superblock.ro_compat = 1 << 40)?;
        let ro_compat = with_reserved_bytes(&ro_compat)?;
        demand!(opens(&ro_compat, features)? == (true, false), "read-only features");
        let unexplained = with_reserved_bytes(&image)?;
        demand!(
            opens(&unexplained, "")? == (false, false),
            "reserved bytes are used, and no feature says so"
        );
        Ok(())
    })());
}

#[test]
fn features_outlive_every_superblock() {
    check((|| {
        let (image, _) = full_volume(3330)?;
        let features = "0x10000000000";
        let incompat = with_block_headers(&image, |header| header.incompat = 1 << 40)?;
        repair_refuses(&without_superblocks(&incompat)?, features)?;
        let ro_compat = with_block_headers(&image, |header| header.ro_compat = 1 << 40)?;
        repair_refuses(&without_superblocks(&ro_compat)?, features)?;
        let newer = with_block_headers(&image, |header| header.version = FORMAT_VERSION + 1)?;
        repair_refuses(&without_superblocks(&newer)?, "format version")?;
        repaired(&without_superblocks(&image)?, &RepairOptions::default(), 1).map(drop)
    })());
}

/// Puts a chunk of a kind that is not known behind the last one of a block that was open when the power failed.
fn with_unknown_chunk(image: &SimImage) -> Verdict<SimImage> {
    let state = recover(image, Path::new("proof")).map_err(|error| error.to_string())?;
    let page = state.geometry.page_bytes;
    let open =
        state.rows.iter().enumerate().filter(|(_, row)| row.is_live()).max_by_key(|(_, row)| row.sequence);
    let (index, row) = open.ok_or("no block is open")?;
    let take = Recovered::take(BlockIndex(index as u32), row);
    let scanner = Scanner { disk: image, geometry: &state.geometry, volume: state.volume() };
    let header = scanner.block_header(take.block).ok().flatten().ok_or("no header")?;
    let entry = Entry { track: NO_TRACK, ..Entry::default() };
    let piece = Piece { entry, data: vec![Bytes::from_static(b"what this is nobody knows yet")] };
    let chunk_header = ChunkHeader {
        version: FORMAT_VERSION,
        kind: ChunkKind(77),
        volume: state.volume(),
        block: take.block,
        offset: row.used_bytes,
        sequence: row.sequence,
        stream: row.stream,
        epoch: header.epoch.max(row.epoch),
        previous: row.last_checksum,
        number: row.last_chunk().next(),
        rank: row.rank,
        ..ChunkHeader::default()
    };
    let mut bytes = vec![0; crate::format::round_up(chunk::bytes_unpadded(0, 2, 2 * 29), page)];
    chunk::seal(&chunk_header, &[], &[piece.clone(), piece], &mut bytes);
    let mut changed = image.clone();
    changed.write(state.geometry.block_at(take.block) + u64::from(row.used_bytes), &bytes);
    Ok(changed)
}

#[test]
fn a_chunk_of_an_unknown_kind_is_a_link_of_the_chain_and_nothing_else() {
    check((|| {
        let mut driver = Driver::new(Shape::SMALL, 3310, Cuts::NONE)?;
        driver.admit("cam0")?;
        for _ in 0..5 {
            driver.push(0, 900)?;
            driver.round()?;
        }
        let model = driver.model.clone();
        let image = driver.disk.crash(CrashPlan::None);
        let (before, samples, _) = read_all(shared(&image), &model)?;
        let newer = with_unknown_chunk(&image)?;
        let (after, same, damage) = read_all(shared(&newer), &model)?;
        let chunks = |volume: &Volume| volume.blocks().iter().map(|block| block.chunks).sum::<u32>();
        demand!(chunks(&after) == chunks(&before) + 1, "the chunk does not count");
        demand!(same == samples && damage.is_empty(), "samples are missing: {damage:?}");
        let stream = after.streams().first().map(|stream| stream.id).ok_or("no stream")?;
        let mut cursor = after.read(stream, TimeRange::default()).map_err(|error| error.to_string())?;
        while cursor.next_item().map_err(|error| error.to_string())?.is_some() {}
        demand!(cursor.unknown_chunks() == 1, "nobody is told of it");
        let found = after.check(&mut |_, _| ()).map_err(|error| error.to_string())?.findings;
        demand!(found.is_empty(), "check finds {found:?}");
        // Written on: what follows links to it.
        let mut driver = Driver::on(newer, Shape::SMALL, model, 3311, Cuts::NONE)?;
        for _ in 0..5 {
            driver.push(0, 900)?;
            driver.round()?;
        }
        let (image, model) = driver.close()?;
        let (volume, all, damage) = read_all(shared(&image), &model)?;
        demand!(all.len() == samples.len() + 5 && damage.is_empty(), "{} of 10: {damage:?}", all.len());
        let found = volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?.findings;
        demand!(found.is_empty(), "written on, check finds {found:?}");
        Ok(())
    })());
}
