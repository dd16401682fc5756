//! What a full volume holds, sample by sample and block by block, and whether a damaged image of it still serves what it must:
//! everything in blocks that are whole, from where reading may begin in them.

use super::damage_tests::full_volume;
use super::driver::shared;
use super::material::is_payload;
use super::oracle::{Entry, Model};
use super::{Verdict, demand};
use crate::disk::sim::SimImage;
use crate::format::geometry::Geometry;
use crate::reader::Volume;
use crate::report::{BlockState, Finding, Item, TimeRange};
use crate::types::{BlockIndex, RunId, StreamId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

/// A sample that an undamaged volume serves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Where its last chunk stands.
    pub(super) block: BlockIndex,
    /// Whether that block alone is enough to begin reading before it.
    pub(super) by_block_alone: bool,
}

/// A full volume and what it holds.
pub(super) struct Truth {
    pub(super) image: SimImage,
    pub(super) model: Model,
    pub(super) geometry: Geometry,
    /// Every stream, each with its samples by their numbers.
    samples: BTreeMap<StreamId, BTreeMap<i64, Known>>,
}

/// What was served of a damaged image.
pub(super) struct Served {
    pub(super) volume: Volume,
    /// The numbers of all samples.
    pub(super) seen: BTreeSet<i64>,
    pub(super) damage: Vec<Finding>,
}

impl Truth {
    /// A full volume of one stream, closed cleanly.
    pub(super) fn full(seed: u64) -> Verdict<Truth> {
        let (image, model) = full_volume(seed)?;
        Truth::of(image, model)
    }

    /// What a volume holds.
    pub(super) fn of(image: SimImage, model: Model) -> Verdict<Truth> {
        let volume =
            Volume::from_disk(shared(&image), Path::new("proof")).map_err(|error| error.to_string())?;
        let mut samples = BTreeMap::new();
        for stream in volume.streams() {
            samples.insert(stream.id, known_samples(&volume, stream.id)?);
        }
        let geometry = volume.state().geometry.clone();
        Ok(Truth { image, model, geometry, samples })
    }

    /// The numbers of all samples.
    pub(super) fn whole(&self) -> BTreeSet<i64> {
        self.samples.values().flat_map(|samples| samples.keys().copied()).collect()
    }

    /// Where a block stands.
    pub(super) fn place(&self, block: BlockIndex) -> Range<u64> {
        let at = self.geometry.block_at(block);
        at..at + self.geometry.block_bytes as u64
    }

    /// The blocks that were given up and not taken yet: what they held may still stand in them.
    pub(super) fn given_up_blocks(&self) -> Verdict<BTreeSet<BlockIndex>> {
        let volume =
            Volume::from_disk(shared(&self.image), Path::new("proof")).map_err(|error| error.to_string())?;
        let rows = self.geometry.all_blocks().zip(&volume.state().rows);
        Ok(rows.filter(|(_, row)| row.state == BlockState::Free).map(|(block, _)| block).collect())
    }

    /// Where the newest sample stands.
    pub(super) fn newest_block(&self) -> Option<BlockIndex> {
        let samples = self.samples.values().flatten();
        samples.max_by_key(|(number, _)| **number).map(|(_, known)| known.block)
    }

    /// The blocks that hold samples, in their order on the disk.
    pub(super) fn used_blocks(&self) -> BTreeSet<BlockIndex> {
        self.samples.values().flat_map(|samples| samples.values().map(|known| known.block)).collect()
    }

    /// Reads all streams of an image, found by their identity whatever they are called, and holds every sample against what
    /// was pushed. Each sample of a block for which `is_whole` must be there. `None` if the image is no volume.
    pub(super) fn serve(
        &self,
        image: &SimImage,
        is_whole: impl Fn(BlockIndex) -> bool,
    ) -> Verdict<Option<Served>> {
        self.serve_with(image, is_whole, &BTreeSet::new())
    }

    /// As [`Self::serve`], but what still stands in some blocks that were given up may be back.
    pub(super) fn serve_with(
        &self,
        image: &SimImage,
        is_whole: impl Fn(BlockIndex) -> bool,
        may_be_back: &BTreeSet<BlockIndex>,
    ) -> Verdict<Option<Served>> {
        super::count_judged();
        let Ok(volume) = Volume::from_disk(shared(image), Path::new("proof")) else { return Ok(None) };
        let (mut seen, mut damage) = (BTreeSet::new(), Vec::new());
        for stream in volume.streams() {
            let pushed = self.pushed(stream.id).ok_or_else(|| format!("{stream:?} was never admitted"))?;
            let Ok(mut cursor) = volume.read(stream.id, TimeRange::default()) else { continue };
            while let Some(item) = cursor.next_item().map_err(|error| error.to_string())? {
                match item {
                    Item::Sample(sample) => {
                        let pushed = pushed.get(&sample.ticks).ok_or("a sample that nobody pushed")?;
                        let right = sample.data.len() == pushed.length
                            && is_payload(pushed.number, &sample.data)
                            && (sample.track, sample.flags, sample.run)
                                == (pushed.track, pushed.flags, pushed.run.id)
                            && sample.wall == pushed.run.wall(sample.ticks);
                        demand!(right, "sample {} is not what was pushed", sample.ticks);
                        demand!(seen.insert(sample.ticks), "sample {} is given twice", sample.ticks);
                    }
                    Item::Damage(finding) => damage.push(finding),
                    _ => {}
                }
            }
        }
        let whole = self.whole();
        let back: BTreeSet<i64> = seen.difference(&whole).copied().collect();
        if !back.is_empty() {
            let may_be = self.behind(&volume, may_be_back)?;
            demand!(back.is_subset(&may_be), "samples {back:?} are back that were overwritten");
        }
        for (number, known) in self.samples.values().flatten() {
            let must = known.by_block_alone && is_whole(known.block);
            demand!(
                !must || seen.contains(number),
                "sample {number} of whole block {} is not served",
                known.block
            );
        }
        Ok(Some(Served { volume, seen, damage }))
    }

    /// The numbers of the samples from the first that stands in some blocks to the oldest that the undamaged volume serves: those
    /// that depend on a keyframe in these blocks are among them.
    fn behind(&self, volume: &Volume, blocks: &BTreeSet<BlockIndex>) -> Verdict<BTreeSet<i64>> {
        let mut numbers = BTreeSet::new();
        for stream in volume.streams() {
            let oldest = self.samples.get(&stream.id).and_then(|samples| samples.keys().next().copied());
            let known = known_samples(volume, stream.id)?;
            let later = known.iter().skip_while(|(_, known)| !blocks.contains(&known.block));
            let older = later.take_while(|(number, _)| oldest.is_none_or(|oldest| **number < oldest));
            numbers.extend(older.map(|(number, _)| *number));
        }
        Ok(numbers)
    }

    fn pushed(&self, stream: StreamId) -> Option<BTreeMap<i64, &super::material::Pushed>> {
        let model = self.model.streams.values().find(|model| model.id == stream)?;
        let samples = model.entries.iter().filter_map(|entry| match entry {
            Entry::Sample(pushed) => Some((pushed.number as i64, pushed)),
            Entry::Gap(_) => None,
        });
        Some(samples.collect())
    }
}

/// All samples of a stream, by number.
pub(super) fn known_samples(volume: &Volume, stream: StreamId) -> Verdict<BTreeMap<i64, Known>> {
    let rows: Vec<_> =
        volume.state().rows.iter().enumerate().filter(|(_, row)| row.stream == stream).collect();
    let mut known = BTreeMap::new();
    let mut begun: Option<(BlockIndex, RunId)> = None;
    let Ok(mut cursor) = volume.read(stream, TimeRange::default()) else { return Ok(known) };
    while let Some(item) = cursor.next_item().map_err(|error| error.to_string())? {
        let Item::Sample(sample) = item else { continue };
        let holds = |row: &crate::format::table::Row| {
            row.is_live() && (row.first_chunk..=row.last_chunk()).contains(&sample.chunk)
        };
        let (index, row) = rows.iter().find(|(_, row)| holds(row)).ok_or("a sample in no block")?;
        let block = BlockIndex(*index as u32);
        if row.sync_samples > 0 && sample.wall == row.first_sync {
            begun = Some((block, sample.run));
        }
        known.insert(sample.ticks, Known { block, by_block_alone: begun == Some((block, sample.run)) });
    }
    Ok(known)
}
