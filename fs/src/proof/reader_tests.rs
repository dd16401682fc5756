//! A reader beside the writer that is passed by the ring: what it gets is right and without a hole, until it is told that it was
//! passed. It never meets damage, for there is none. And what outlines tell a reader of its blocks.

use super::damage_tests::full_volume;
use super::driver::{Cuts, Driver};
use super::material::{Pushed, Shape, is_payload};
use super::oracle::Entry;
use super::{Verdict, demand, for_seeds};
use crate::disk::sim::SimRng;
use crate::error::Error;
use crate::reader::{OutlineKind, StreamRow, Volume};
use crate::report::{Item, TimeRange};
use crate::sample::SampleFlags;
use crate::types::{ConfigurationHash, Sequence, StreamName};
use std::path::Path;
use std::sync::Arc;

#[test]
fn a_reader_that_the_ring_passes_gets_right_samples_and_then_is_told() {
    for_seeds("passed reader", 4600, 12, passed_reader);
}

/// One reader that is slower than the writer, by a little or a lot.
pub(super) fn passed_reader(seed: u64) -> Verdict<u64> {
    let (image, model) = full_volume(seed)?;
    let mut rng = SimRng::new(seed);
    let mut driver = Driver::on(image, Shape::SMALL, model, seed, Cuts::NONE)?;
    let reader = Arc::new(driver.disk.reader());
    let volume = Volume::from_disk(reader, Path::new("proof")).map_err(|error| error.to_string())?;
    let name = StreamName::new("cam0").map_err(|error| error.to_string())?;
    let id = volume.stream(&name).map_err(|error| error.to_string())?.id;
    let mut cursor = volume.read(id, TimeRange::default()).map_err(|error| error.to_string())?;
    let (slowness, mut given, mut last) = (3 + rng.below(12), 0, None);
    // How far the reader comes before the writer begins to overtake it.
    let lead = rng.below(60) as u64;
    loop {
        // Between any two items the writer may be anywhere in its work.
        match rng.below(slowness) {
            0 => driver.round()?,
            1 => driver.work()?,
            _ if given < lead => {}
            _ => (0..rng.below(12)).try_for_each(|_| driver.push(0, 1 + rng.below(4000)))?,
        }
        match cursor.next_item() {
            Ok(Some(Item::Sample(sample))) => {
                let entries = &driver.model.streams.get("cam0").ok_or("no stream")?.entries;
                let pushed = entries
                    .iter()
                    .filter_map(|entry| if let Entry::Sample(pushed) = entry { Some(pushed) } else { None });
                let samples: Vec<&Pushed> = pushed.collect();
                let index = samples
                    .binary_search_by_key(&(sample.ticks as u64), |pushed| pushed.number)
                    .map_err(|_| format!("sample {} was never pushed", sample.ticks))?;
                let right = sample.data.len() == samples[index].length
                    && is_payload(samples[index].number, &sample.data);
                demand!(right, "sample {} has other bytes", sample.ticks);
                let between = samples[last.map_or(index, |last: usize| last + 1)..index].iter();
                // A run may begin in the middle of a GOP.
                let hole = between
                    .clone()
                    .find(|pushed| pushed.flags.contains(SampleFlags::SYNC) || pushed.run.id != sample.run);
                demand!(hole.is_none(), "before sample {} {hole:?} is missing silently", sample.ticks);
                (last, given) = (Some(index), given + 1);
            }
            Ok(Some(Item::Damage(finding))) => {
                return Err(format!("damage where there is none: {finding:?}"));
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(Error::Overwritten { .. }) => return Ok(1 + given),
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[test]
fn an_outline_tells_what_each_chunk_needs_and_its_block_has_it() {
    for_seeds("configurations of outlines", 4700, 6, outlined_configurations);
}

fn outlined_configurations(seed: u64) -> Verdict<u64> {
    let (image, model) = full_volume(seed)?;
    let driver = Driver::on(image, Shape::SMALL, model, seed, Cuts::NONE)?;
    let volume = Volume::from_disk(Arc::new(driver.disk.reader()), Path::new("proof"))
        .map_err(|error| error.to_string())?;
    let mut met = 0;
    for stream in volume.streams() {
        for row in volume.stream_rows(stream.id) {
            let outline = volume.outline(stream.id, &row).map_err(|error| error.to_string())?;
            let bytes: u32 = outline.chunks.iter().map(|chunk| chunk.bytes).sum();
            demand!(bytes <= volume.info().block_bytes, "{row:?} has {bytes} bytes of chunks");
            for chunk in outline.chunks.iter().filter(|chunk| chunk.kind == OutlineKind::Media) {
                // A volume that knows none yet.
                let volume = Volume::from_disk(Arc::new(driver.disk.reader()), Path::new("proof"))
                    .map_err(|error| error.to_string())?;
                let ask = |row, hash| volume.configuration_in_block(stream.id, row, hash);
                let unknown = ask(&row, ConfigurationHash([7; 16])).map_err(|error| error.to_string())?;
                demand!(unknown.is_none(), "a made-up hash has {unknown:?}");
                let found = ask(&row, chunk.configuration).map_err(|error| error.to_string())?;
                let right = found.is_some_and(|found| found.hash() == chunk.configuration);
                demand!(right && chunk.bytes > 0, "{chunk:?} of {row:?}");
                let gone =
                    ask(&StreamRow { sequence: Sequence(u64::MAX), ..row }, ConfigurationHash([7; 16]));
                demand!(matches!(gone, Err(Error::Overwritten { .. })), "{gone:?}");
                met += 1;
            }
        }
    }
    demand!(met > 0, "no chunk");
    Ok(met)
}
