//! What is listed without its bytes is what is read, item by item, whatever the range and whatever became of the volume; and what was
//! listed is found again by its chunk. Of damaged footage more may be listed than can be read, never less, and never in another order.

use super::damage_tests::{full_volume, held_volume};
use super::driver::{Cuts, Driver, shared};
use super::kept_tests::kept_as_read;
use super::material::Shape;
use super::{Verdict, demand, for_seeds};
use crate::disk::sim::SimRng;
use crate::error::Error;
use crate::reader::Volume;
use crate::report::{Item, TimeRange};
use crate::sample::{SampleRow, StoredSample};
use crate::types::{ChunkNumber, StreamId, WallTime};
use bytes::Bytes;
use std::path::Path;

/// Everything that a cursor gives; `None` if there is nothing.
fn items(volume: &Volume, stream: StreamId, range: TimeRange, listed: bool) -> Verdict<Option<Vec<Item>>> {
    let cursor = if listed { volume.list(stream, range) } else { volume.read(stream, range) };
    let mut cursor = match cursor {
        Ok(cursor) => cursor,
        Err(Error::NotRecorded { .. }) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut items = Vec::new();
    while let Some(item) = cursor.next_item().map_err(|error| error.to_string())? {
        items.push(item);
    }
    Ok(Some(items))
}

fn is_row_of(row: &SampleRow, sample: &StoredSample) -> bool {
    (row.track, row.ticks, row.wall, row.flags, row.run, row.configuration, row.chunk)
        == (
            sample.track,
            sample.ticks,
            sample.wall,
            sample.flags,
            sample.run,
            sample.configuration,
            sample.chunk,
        )
        && row.bytes as usize == sample.data.len()
}

fn is_same(listed: &Item, read: &Item) -> bool {
    match (listed, read) {
        (Item::Listed(row), Item::Sample(sample)) => is_row_of(row, sample),
        (Item::Listed(_), _) | (_, Item::Sample(_)) => false,
        (listed, read) => listed == read,
    }
}

/// Demands that a range is listed as it is read, and that each of its chunks gives what was read of it.
pub(super) fn listed_as_read(volume: &Volume, stream: StreamId, range: TimeRange) -> Verdict {
    let (listed, read) = (items(volume, stream, range, true)?, items(volume, stream, range, false)?);
    let (Some(listed), Some(read)) = (&listed, &read) else {
        demand!(listed == read, "listed is {listed:?}, read {read:?}");
        return Ok(());
    };
    let differs = listed.iter().zip(read).find(|(listed, read)| !is_same(listed, read));
    demand!(differs.is_none(), "listed and read differ: {differs:?}");
    demand!(listed.len() == read.len(), "{} items are listed, {} read", listed.len(), read.len());
    let rows = listed.iter().filter_map(|item| if let Item::Listed(row) = item { Some(*row) } else { None });
    let samples = read
        .iter()
        .filter_map(|item| if let Item::Sample(sample) = item { Some(&sample.data) } else { None });
    found_by_chunks(volume, stream, &rows.zip(samples).collect::<Vec<_>>())
}

/// All chunks at once, and one of them alone.
fn found_by_chunks(volume: &Volume, stream: StreamId, wanted: &[(SampleRow, &Bytes)]) -> Verdict {
    let begins = wanted.iter().map(|(row, _)| row.begins).min();
    let Some((begins, last)) = begins.zip(wanted.iter().map(|(row, _)| row.chunk).max()) else {
        return Ok(());
    };
    let middle = wanted.get(wanted.len() / 2).map_or((begins, last), |(row, _)| (row.begins, row.chunk));
    for (first, last) in [(begins, last), middle] {
        let found = chunks(volume, stream, first, last)?;
        let all = found;
        let mut found = all.iter();
        let within = |row: &SampleRow| row.begins >= first && row.chunk <= last;
        for (row, data) in wanted.iter().filter(|(row, _)| within(row)) {
            let again = found.find(|(other, _)| other == row);
            demand!(again.is_some_and(|(_, again)| again == *data), "{row:?} is not found by its chunk");
        }
        listed_by_chunks(volume, stream, &all, (first, last))?;
    }
    Ok(())
}

/// What chunks give without samples is what they give with them, and each sample is read alone.
fn listed_by_chunks(
    volume: &Volume,
    stream: StreamId,
    read: &[(SampleRow, Bytes)],
    (first, last): (ChunkNumber, ChunkNumber),
) -> Verdict {
    let (mut cursor, mut listed) = (volume.list_chunks(stream, first..=last), Vec::new());
    while let Some(item) = cursor.next_item().map_err(|error| error.to_string())? {
        listed.extend(if let Item::Listed(row) = item { Some(row) } else { None });
    }
    let rows: Vec<SampleRow> = read.iter().map(|(row, _)| *row).collect();
    demand!(listed == rows, "listed by chunks is {listed:?}, read {rows:?}");
    for (row, data) in read.iter().step_by(1 + read.len() / 8) {
        let alone = volume.read_sample(stream, row).map_err(|error| error.to_string())?;
        demand!(alone.as_ref() == Some(data), "{row:?} is not read alone");
    }
    Ok(())
}

fn chunks(
    volume: &Volume,
    stream: StreamId,
    first: ChunkNumber,
    last: ChunkNumber,
) -> Verdict<Vec<(SampleRow, Bytes)>> {
    let (mut reader, mut found) = (volume.read_chunks(stream, first..=last), Vec::new());
    while let Some(sample) = reader.next_sample().map_err(|error| error.to_string())? {
        demand!((first..=last).contains(&sample.0.chunk), "{:?} was not asked for", sample.0);
        found.push(sample);
    }
    Ok(found)
}

fn any_range(rng: &mut SimRng, volume: &Volume, stream: StreamId) -> Option<TimeRange> {
    let stream = volume.streams().into_iter().find(|other| other.id == stream)?;
    let (first, last) = stream.first.zip(stream.last)?;
    let span = usize::try_from(last.since_ns(first)).unwrap_or_default();
    let mut moment = || first.plus_ns(i64::try_from(rng.below(span + 2)).unwrap_or_default());
    let (one, other) = (moment(), moment());
    let ends: [Option<WallTime>; 2] = [Some(one.min(other)), Some(one.max(other).plus_ns(1))];
    Some(TimeRange { from: ends[0].filter(|_| rng.below(6) > 0), to: ends[1].filter(|_| rng.below(6) > 0) })
}

#[test]
fn any_range_is_listed_as_it_is_read() {
    for_seeds("listed ranges", 8100, 6, |seed| {
        let (image, _) = held_volume(seed)?;
        let volume =
            Volume::from_disk(shared(&image), Path::new("proof")).map_err(|error| error.to_string())?;
        let mut rng = SimRng::new(seed);
        let mut judged = 0;
        for stream in volume.streams() {
            for _ in 0..40 {
                let Some(range) = any_range(&mut rng, &volume, stream.id) else { continue };
                listed_as_read(&volume, stream.id, range).map_err(|why| format!("{range:?}: {why}"))?;
                kept_as_read(&volume, stream.id, range).map_err(|why| format!("{range:?}: {why}"))?;
                judged += 1;
            }
        }
        Ok(judged)
    });
}

#[test]
fn what_is_being_written_is_listed_as_it_is_read() {
    for_seeds("listed beside a writer", 8200, 4, |seed| {
        let (image, model) = full_volume(seed)?;
        let mut driver = Driver::on(image, Shape::SMALL, model, seed, Cuts::NONE)?;
        let mut rng = SimRng::new(seed);
        for _ in 0..60 {
            (0..rng.below(6)).try_for_each(|_| driver.push(0, 1 + rng.below(4000)))?;
            if rng.coin() {
                driver.work()?
            } else {
                driver.round()?
            }
            let disk = std::sync::Arc::new(driver.disk.reader());
            let volume = Volume::from_disk(disk, Path::new("proof")).map_err(|error| error.to_string())?;
            for stream in volume.streams() {
                listed_as_read(&volume, stream.id, TimeRange::default())?;
            }
        }
        Ok(60)
    });
}

#[test]
fn of_damaged_footage_all_that_can_be_read_is_listed_in_its_order() {
    for_seeds("listed damage", 8300, 3, |seed| {
        let (image, _) = full_volume(seed)?;
        let mut rng = SimRng::new(seed);
        for _ in 0..60 {
            let mut image = image.clone();
            for _ in 0..1 + rng.below(3) {
                image.flip_bit(rng.below(image.len_bytes()) as u64, rng.below(8) as u8);
            }
            let Ok(volume) = Volume::from_disk(shared(&image), Path::new("proof")) else { continue };
            for stream in volume.streams() {
                let range = TimeRange::default();
                kept_as_read(&volume, stream.id, range)?;
                let listed = items(&volume, stream.id, range, true)?.unwrap_or_default();
                let read = items(&volume, stream.id, range, false)?.unwrap_or_default();
                let mut rows = listed.iter();
                for item in read.iter().filter(|item| matches!(item, Item::Sample(_))) {
                    demand!(
                        rows.any(|listed| is_same(listed, item)),
                        "{item:?} is read, but not listed in its place"
                    );
                }
            }
        }
        Ok(60)
    });
}
