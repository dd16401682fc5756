//! Whole, valid chunks and headers where they do not belong: at another place of the same block, in another block of the same
//! stream. What was there is missing and named; nothing is given twice or in another's place.

use super::driver::{Cuts, Driver};
use super::material::Shape;
use super::truth::Truth;
use super::{Verdict, demand, for_seeds};
use crate::disk::ReadAt;
use crate::disk::sim::SimImage;
use crate::format::chunk::ChunkKind;
use crate::format::footer::ChunkPlace;
use crate::format::geometry::LOG_SLOTS;
use crate::reader::Volume;
use crate::recover::{Recovered, contents, recover};
use crate::report::BlockState;
use crate::scan::Scanner;
use crate::types::BlockIndex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A chunk of one picture.
const CHUNK_BYTES: u32 = 2560;

/// A camera whose pictures are all of one size, a round each, so that chunks are of one length and stand alike in all blocks.
fn alike(seed: u64) -> Verdict<(Truth, Recovered)> {
    let mut driver = Driver::new(Shape::SMALL, seed, Cuts::NONE)?;
    driver.admit("cam0")?;
    for _ in 0..240 {
        driver.push_as(0, 1500, true)?;
        driver.round()?;
    }
    let (image, model) = driver.close()?;
    let truth = Truth::of(image, model)?;
    let state = recover(&truth.image, Path::new("proof")).map_err(|error| error.to_string())?;
    Ok((truth, state))
}

fn bytes_of(image: &SimImage, at: u64, length: usize) -> Verdict<Vec<u8>> {
    let mut bytes = vec![0; length];
    image.read_exact_at(&mut bytes, at).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// The chunks with samples of each full block, in the order of recording.
fn chunks(truth: &Truth, state: &Recovered) -> BTreeMap<BlockIndex, Vec<ChunkPlace>> {
    let scanner = Scanner { disk: &truth.image, geometry: &state.geometry, volume: state.volume() };
    let rows = state.geometry.all_blocks().zip(&state.rows);
    let sealed = rows.filter(|(_, row)| row.state == BlockState::Sealed);
    let media = |(block, row): (BlockIndex, _)| {
        let (footer, _) = contents(&scanner, block, row);
        let media = footer.chunks.into_iter().filter(|place| place.kind == ChunkKind::MEDIA);
        // Not those of samples that are split over two blocks.
        let media = media.filter(|place| place.bytes == CHUNK_BYTES);
        (block, media.collect())
    };
    sealed.map(media).collect()
}

/// Reads and checks an image in which one chunk was replaced: its samples are missing and told of, all others are there.
fn judge(truth: &Truth, image: &SimImage, block: BlockIndex) -> Verdict {
    let served = truth.serve(image, |other| other != block)?.ok_or("it does not open")?;
    let whole = truth.whole();
    let missing: BTreeSet<_> = whole.difference(&served.seen).collect();
    demand!(missing.len() == 1, "{missing:?} are missing");
    demand!(!served.damage.is_empty(), "{missing:?} are missing silently");
    names(&served.volume, block)
}

fn names(volume: &Volume, block: BlockIndex) -> Verdict {
    let report = volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?;
    let blocks: BTreeSet<_> = report.findings.iter().filter_map(|finding| finding.block).collect();
    demand!(blocks == BTreeSet::from([block]), "check names {blocks:?}: {:?}", report.findings);
    Ok(())
}

#[test]
fn a_valid_chunk_at_another_place_of_its_block_is_not_served_there() {
    for_seeds("misplaced chunks", 8650, 1, at_another_place);
}

pub(super) fn at_another_place(seed: u64) -> Verdict<u64> {
    let (truth, state) = alike(seed)?;
    let mut judged = 0;
    for (block, places) in chunks(&truth, &state) {
        for (from, to) in [(0, 1), (1, 0), (2, 1), (1, 2)] {
            let (Some(from), Some(to)) = (places.get(from), places.get(to)) else { continue };
            let begins = truth.geometry.block_at(block);
            let mut image = truth.image.clone();
            let chunk = bytes_of(&image, begins + u64::from(from.offset), from.bytes as usize)?;
            image.write(begins + u64::from(to.offset), &chunk);
            judge(&truth, &image, block)
                .map_err(|why| format!("block {block}, {} at {}: {why}", from.offset, to.offset))?;
            judged += 1;
        }
    }
    demand!(judged > 20, "only {judged} chunks are stand in one block");
    Ok(judged)
}

#[test]
fn a_valid_chunk_in_another_block_of_its_stream_is_not_served_there() {
    for_seeds("chunks in other blocks", 8660, 1, in_another_block);
}

pub(super) fn in_another_block(seed: u64) -> Verdict<u64> {
    let (truth, state) = alike(seed)?;
    let all = chunks(&truth, &state);
    let mut judged = 0;
    for ((source, from), (block, to)) in all.iter().zip(all.iter().skip(1)) {
        let pairs = from
            .iter()
            .filter_map(|from| to.iter().find(|to| (to.offset, to.bytes) == (from.offset, from.bytes)));
        for place in pairs.take(3) {
            let at = |block| truth.geometry.block_at(block) + u64::from(place.offset);
            let mut image = truth.image.clone();
            image.write(at(*block), &bytes_of(&truth.image, at(*source), place.bytes as usize)?);
            judge(&truth, &image, *block)
                .map_err(|why| format!("of block {source} in block {block} at {}: {why}", place.offset))?;
            judged += 1;
        }
    }
    demand!(judged > 10, "only {judged} chunks stand alike");
    Ok(judged)
}

#[test]
fn a_block_that_stands_once_more_in_the_place_of_another_is_found_once_also_from_the_blocks_alone() {
    for_seeds("doubled blocks", 8670, 1, doubled);
}

/// A write of a whole block landed elsewhere, and neither round log nor table tell what had stood there.
pub(super) fn doubled(seed: u64) -> Verdict<u64> {
    let (truth, state) = alike(seed)?;
    let geometry = &truth.geometry;
    let blocks: Vec<_> = chunks(&truth, &state).into_keys().collect();
    let mut judged = 0;
    for pair in blocks.windows(2) {
        let [source, block] = *pair else { continue };
        let mut image = truth.image.clone();
        let bytes = bytes_of(&truth.image, geometry.block_at(source), geometry.block_bytes)?;
        image.write(geometry.block_at(block), &bytes);
        let log = vec![0; geometry.log_slot_bytes * LOG_SLOTS as usize];
        geometry.logs_at().iter().for_each(|at| image.write(*at, &log));
        image.write(geometry.table_at(), &vec![0; geometry.table_bytes]);
        let back = truth.given_up_blocks()?;
        let served = truth
            .serve_with(&image, |other| other != block, &back)
            .map_err(|why| format!("block {source} in block {block}: {why}"))?;
        demand!(served.is_some(), "with block {source} in block {block} it does not open");
        judged += 1;
    }
    Ok(judged)
}
