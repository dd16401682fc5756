//! One sector, or one page, that cannot be read: of the footage exactly those samples are missing of which bytes stand there,
//! everything else is given as before, to the last byte; what stands twice costs nothing.

use super::driver::{Cuts, Driver, shared};
use super::material::{Shape, VIDEO, is_payload};
use super::oracle::Model;
use super::{Verdict, demand, for_seeds};
use crate::disk::ReadAt;
use crate::disk::sim::{Errno, Kinds, SimDisk, SimImage};
use crate::error::Error;
use crate::format::chunk::{ChunkHeader, ChunkKind};
use crate::format::table::{NO_FOOTER, Row};
use crate::format::{Framed, SECTOR_BYTES};
use crate::gap::Gap;
use crate::reader::Volume;
use crate::recover::{Recovered, examine, recover};
use crate::report::{BlockState, Finding, Item, TimeRange};
use crate::sample::{SampleFlags, StoredSample};
use crate::scan::Scanner;
use crate::types::BlockIndex;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Two cameras on their second lap, one with sound in tiny samples, so that sample tables are long and chunks small; some of the
/// first lap is held, and configurations, runs and gaps come and go.
fn recorded(shape: Shape, seed: u64) -> Verdict<(SimImage, Model)> {
    let mut driver = Driver::new(shape, seed, Cuts::NONE)?;
    // After all that the cameras' clocks say.
    driver.clock.advance(Duration::from_secs(5 * 3600));
    driver.admit("cam0")?;
    driver.admit("cam2")?;
    driver.lap()?;
    let (from, to) = super::hold_tests::oldest(&driver, "cam0", 4)?;
    driver.hold("cam0", from, to, None)?.ok_or("there is room")?;
    driver.lap()?;
    for turn in 0..40 {
        driver.push_any(0)?;
        for _ in 0..driver.rng.below(80) {
            let length = 1 + driver.rng.below(10);
            driver.push(1, length)?;
        }
        match turn % 12 {
            1 => driver.gap(1)?,
            3 => driver.push(0, 9000)?,
            5 => driver.push(0, 40_000)?,
            7 => driver.gap(0)?,
            9 => driver.configure(0, turn % 5)?,
            10 => driver.configure(1, turn % 7)?,
            11 => driver.begin_run(0)?,
            _ => {}
        }
        driver.round()?;
    }
    driver.close()
}

/// Two copies of the same, of which no `unit_bytes` of the disk hold bytes of both.
struct Twice {
    what: &'static str,
    block: BlockIndex,
    copies: [Range<u64>; 2],
    unit_bytes: u64,
}

/// Where everything stands, found chunk by chunk.
#[derive(Default)]
struct Places {
    /// The pieces of each sample, by number, in their order.
    samples: BTreeMap<i64, Vec<Range<u64>>>,
    twice: Vec<Twice>,
    /// The pages that are a whole chunk.
    lone_pages: BTreeSet<u64>,
}

impl Places {
    fn of(image: &SimImage, state: &Recovered) -> Verdict<Places> {
        let scanner = Scanner { disk: image, geometry: &state.geometry, volume: state.volume() };
        let mut places = Places::default();
        let live = state.geometry.all_blocks().zip(&state.rows).filter(|(_, row)| row.is_live());
        let mut live: Vec<_> = live.collect();
        live.sort_by_key(|(_, row)| (row.stream, row.first_chunk));
        for (block, row) in live {
            let take = Recovered::take(block, row);
            let begins = state.geometry.block_at(block);
            let stop = row.last_chunk().next();
            for place in &examine(&scanner, &take, row.used_bytes as usize, Some(stop)).progress.footer.chunks
            {
                let loaded = scanner.load_at(&take, place.offset as usize, place.bytes as usize);
                let loaded = loaded.ok_or_else(|| format!("no chunk at {place:?} of {take:?}"))?;
                let header = loaded.header();
                let begin = begins + u64::from(place.offset);
                let at = |from: usize, bytes: usize| begin + from as u64..begin + (from + bytes) as u64;
                let end = header.bytes as usize;
                let (head, tables) = (ChunkHeader::SIZE, header.table_bytes());
                let page_bytes = state.geometry.page_bytes;
                let unit_bytes = if end > page_bytes { page_bytes } else { SECTOR_BYTES } as u64;
                places.lone_pages.extend((end == page_bytes).then_some(begin));
                let mut twice = |what, copies| places.twice.push(Twice { what, block, copies, unit_bytes });
                twice("chunk header", [at(0, head), at(end - head, head)]);
                // A page that is a whole chunk is lost or not.
                if tables > 0 && end > page_bytes {
                    twice("sample table", [at(head, tables), at(end - head - tables, tables)]);
                }
                let payloads = loaded.payloads();
                let ranges: Vec<_> =
                    payloads.iter().map(|payload| at(payload.at, payload.entry.bytes as usize)).collect();
                if header.kind == ChunkKind::MEDIA {
                    let tables = loaded.tables.as_ref().ok_or("no sample table")?;
                    for (entry, range) in (0..).zip(ranges) {
                        let (number, _) = tables.time_of(entry).ok_or("a sample without an anchor")?;
                        places.samples.entry(number).or_default().push(range);
                    }
                } else if let [first, .., last] = &ranges[..] {
                    twice(RECORD, [first.clone(), last.clone()]);
                }
            }
        }
        Ok(places)
    }

    /// The pictures that nothing decodes any more: where a lost page was a whole chunk, in a block without a footer, and the keyframe that
    /// a run begins with began there, those of that run up to the next keyframe.
    fn undecodable_without(&self, page: &Range<u64>, state: &Recovered, whole: &Given) -> BTreeSet<i64> {
        let has_footer = |row: Row| row.state == BlockState::Sealed && row.flags & NO_FOOTER == 0;
        let footer = block_around(state, page.start).is_none_or(|(block, _)| has_footer(state.row(block)));
        if footer || !self.lone_pages.contains(&page.start) {
            return BTreeSet::new();
        }
        let is_lost = |number: i64| {
            let begin = self.samples.get(&number).and_then(|pieces| pieces.first());
            begin.is_some_and(|begin| page.contains(&begin.start))
        };
        let mut runs = BTreeMap::<_, Vec<&StoredSample>>::new();
        for sample in whole.samples.values().filter(|sample| sample.track == VIDEO) {
            runs.entry(sample.run).or_default().push(sample);
        }
        let is_keyframe = |sample: &StoredSample| sample.flags.contains(SampleFlags::SYNC);
        let mut undecodable = BTreeSet::new();
        for run in runs.values().filter(|run| run.first().is_some_and(|first| is_lost(first.ticks))) {
            let behind = run.iter().skip_while(|sample| is_lost(sample.ticks));
            undecodable.extend(behind.take_while(|sample| !is_keyframe(sample)).map(|sample| sample.ticks));
        }
        undecodable
    }

    /// The samples of which bytes stand in a range, and those of them of which bytes do that are not zero: what cannot be read
    /// counts as zeros, and may be right then.
    fn in_range(&self, image: &SimImage, range: &Range<u64>) -> Verdict<[BTreeSet<i64>; 2]> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        image.read_exact_at(&mut bytes, range.start).map_err(|error| error.to_string())?;
        let (mut may, mut must) = (BTreeSet::new(), BTreeSet::new());
        for (number, pieces) in &self.samples {
            for piece in pieces {
                let (from, to) = (piece.start.max(range.start), piece.end.min(range.end));
                if from < to {
                    may.insert(*number);
                    let here = &bytes[(from - range.start) as usize..(to - range.start) as usize];
                    must.extend(here.iter().any(|byte| *byte != 0).then_some(*number));
                }
            }
        }
        Ok([may, must])
    }
}

/// What a configuration or event chunk holds, as findings call it.
const RECORD: &str = "configuration or gap record";

/// What a reader is given of all streams.
#[derive(Default)]
struct Given {
    samples: BTreeMap<i64, StoredSample>,
    gaps: Vec<Gap>,
    damage: Vec<Finding>,
}

fn given(disk: Arc<dyn ReadAt>, range: TimeRange) -> Verdict<Given> {
    super::count_judged();
    let volume = Volume::from_disk(disk, Path::new("proof")).map_err(|error| error.to_string())?;
    let mut given = Given::default();
    for stream in volume.streams() {
        let mut cursor = match volume.read(stream.id, range) {
            Err(Error::NotRecorded { .. }) => continue,
            cursor => cursor.map_err(|error| error.to_string())?,
        };
        while let Some(item) = cursor.next_item().map_err(|error| error.to_string())? {
            match item {
                Item::Sample(sample) => {
                    let number = sample.ticks;
                    demand!(is_payload(number as u64, &sample.data), "sample {number} has other bytes");
                    let before = given.samples.insert(number, sample);
                    demand!(before.is_none(), "sample {number} is given twice");
                }
                Item::Gap(gap) => given.gaps.push(gap),
                Item::Damage(finding) => given.damage.push(finding),
                _ => {}
            }
        }
    }
    Ok(given)
}

#[test]
fn an_unreadable_sector_costs_the_samples_of_which_bytes_stand_in_it_and_nothing_else() {
    for_seeds("unreadable sectors", 3100, 1, unreadable);
    // One of the parts of a sample stands in a block of which another chunk is lost.
    for_seeds("unreadable sectors", 100_011, 1, unreadable);
}

pub(super) fn unreadable(seed: u64) -> Verdict<u64> {
    Ok(each_sector(Shape::SMALL, seed, SECTOR_BYTES)? + each_sector(Shape::OF_LARGE_SECTORS, seed, 4096)?)
}

#[test]
fn one_bad_sector_in_a_page_of_several_costs_no_more_than_the_page() {
    let shape = Shape { page_bytes: 1024, ..Shape::SMALL };
    for_seeds("unreadable sectors of pages", 3110, 1, |seed| each_sector(shape, seed, SECTOR_BYTES));
}

/// Reads a volume with one bad sector after the other. A page is read whole or not at all.
fn each_sector(shape: Shape, seed: u64, sector_bytes: usize) -> Verdict<u64> {
    let (image, model) = recorded(shape, seed)?;
    let state = recover(&image, Path::new("proof")).map_err(|error| error.to_string())?;
    let places = Places::of(&image, &state)?;
    let whole = given(shared(&image), TimeRange::default())?;
    demand!(whole.damage.is_empty(), "damaged before: {:?}", whole.damage);
    let unit = (sector_bytes.max(shape.page_bytes)) as u64;
    let table = state.geometry.table_at()..state.geometry.table_at() + state.geometry.table_bytes as u64;
    let mut judged = 0;
    for at in (0..image.len_bytes() as u64).step_by(sector_bytes) {
        let disk = SimDisk::from_image(image.clone(), seed);
        disk.fail_range(at..at + sector_bytes as u64, Errno::EIO, Kinds::READS);
        let judge = || -> Verdict {
            let now = given(Arc::new(disk.control().reader()), TimeRange::default())?;
            let page = at / unit * unit..(at / unit + 1) * unit;
            let [may, must] = places.in_range(&image, &page)?;
            let known = |numbers: BTreeSet<i64>| -> BTreeSet<i64> {
                numbers.into_iter().filter(|number| whole.samples.contains_key(number)).collect()
            };
            let (may, must) = (known(may), known(must));
            let missing: BTreeSet<i64> =
                whole.samples.keys().filter(|number| !now.samples.contains_key(number)).copied().collect();
            let undecodable = places.undecodable_without(&page, &state, &whole);
            let others: Vec<_> =
                missing.difference(&may).filter(|number| !undecodable.contains(number)).collect();
            demand!(
                others.is_empty(),
                "{others:?} are missing, and stand elsewhere; told is {:?}",
                now.damage
            );
            demand!(
                missing.is_superset(&must),
                "of {must:?}, which stand there, only {missing:?} are missing"
            );
            demand!(missing.is_empty() || !now.damage.is_empty(), "{missing:?} are missing silently");
            let other = now
                .samples
                .iter()
                .find(|(number, sample)| whole.samples.get(number).is_some_and(|before| before != *sample));
            demand!(other.is_none(), "a sample is another than before: {other:?}");
            // What was given up stands in its block until that is taken; the table alone says so.
            let back: Vec<_> =
                now.samples.keys().filter(|number| !whole.samples.contains_key(number)).collect();
            demand!(back.is_empty() || table.contains(&at), "{back:?} are back");
            let pushed = |number: &&i64| model_has(&model, **number);
            demand!(back.iter().all(pushed), "{back:?} were never pushed");
            let gaps: Vec<_> = now.gaps.iter().filter(|gap| whole.gaps.contains(gap)).collect();
            demand!(gaps.len() == whole.gaps.len(), "of {} gaps {} are left", whole.gaps.len(), gaps.len());
            // Who asks for what lies behind the damage alone is given no less of it.
            let Some(last) = missing.last() else { return Ok(()) };
            let mut behind = now.samples.range(last + 1..).map(|(_, sample)| sample);
            let run = whole.samples[last].run;
            let Some(first) = behind.find(|sample| sample.run == run) else { return Ok(()) };
            let range = TimeRange { from: Some(first.wall), to: None };
            let from_there = given(Arc::new(disk.control().reader()), range)?;
            let mut wanted = now.samples.iter().filter(|(_, sample)| sample.wall >= first.wall);
            let lacks = wanted.find(|(number, sample)| from_there.samples.get(number) != Some(sample));
            demand!(lacks.is_none(), "from {:?} on {lacks:?} is not given", first.wall);
            Ok(())
        };
        judge().map_err(|why| format!("{sector_bytes} bytes at {at}, {}: {why}", place_of(&state, at)))?;
        judged += 1;
    }
    Ok(judged)
}

fn model_has(model: &Model, number: i64) -> bool {
    let samples = model.streams.values().flat_map(|stream| &stream.entries);
    samples.into_iter().any(|entry| entry.key() == number as u64)
}

/// The block in which a byte stands, and all bytes of that.
fn block_around(state: &Recovered, at: u64) -> Option<(BlockIndex, Range<u64>)> {
    let geometry = &state.geometry;
    let bytes = |block| geometry.block_at(block)..geometry.block_at(block) + geometry.block_bytes as u64;
    geometry.all_blocks().map(|block| (block, bytes(block))).find(|(_, bytes)| bytes.contains(&at))
}

/// Where a byte stands, for whoever looks into a failure.
fn place_of(state: &Recovered, at: u64) -> String {
    block_around(state, at).map_or_else(
        || "in no block".to_owned(),
        |(block, bytes)| format!("{} into block {block}, {:?}", at - bytes.start, state.row(block).state),
    )
}

#[test]
fn no_page_and_no_sector_holds_both_copies_of_what_stands_twice() {
    for_seeds("copies apart", 3120, 2, copies_apart);
}

pub(super) fn copies_apart(seed: u64) -> Verdict<u64> {
    let mut judged = 0;
    for shape in [Shape::SMALL, Shape { page_bytes: 1024, ..Shape::SMALL }, Shape::OF_LARGE_SECTORS] {
        let (image, _) = recorded(shape, seed)?;
        let state = recover(&image, Path::new("proof")).map_err(|error| error.to_string())?;
        let sealed = state.rows.iter().filter(|row| row.state == BlockState::Sealed).count();
        demand!(sealed > 0, "no block was filled");
        for Twice { what, block, copies: [first, second], unit_bytes } in Places::of(&image, &state)?.twice {
            demand!(
                (first.end - 1) / unit_bytes < second.start / unit_bytes,
                "in block {block} both copies of a {what} share {unit_bytes} bytes: {first:?} and {second:?}"
            );
            judged += 1;
        }
    }
    Ok(judged)
}

#[test]
fn what_stands_twice_is_lost_when_both_copies_are_and_not_before() {
    for_seeds("both copies rotten", 3130, 2, both_copies);
}

/// One byte of either copy of each configuration and gap record is changed, then of both.
pub(super) fn both_copies(seed: u64) -> Verdict<u64> {
    let mut judged = 0;
    for shape in [Shape::SMALL, Shape::OF_LARGE_SECTORS] {
        let (image, _) = recorded(shape, seed)?;
        let state = recover(&image, Path::new("proof")).map_err(|error| error.to_string())?;
        let live = |block: BlockIndex| state.row(block).is_live();
        let twice = Places::of(&image, &state)?.twice;
        for Twice { block, copies, .. } in twice.iter().filter(|one| one.what == RECORD && live(one.block)) {
            for which in [0..1, 1..2, 0..2] {
                let mut image = image.clone();
                for copy in &copies[which.clone()] {
                    let mut byte = [0];
                    image.read_exact_at(&mut byte, copy.start).map_err(|error| error.to_string())?;
                    image.write(copy.start, &[byte[0] ^ 1]);
                }
                super::count_judged();
                let volume = Volume::from_disk(shared(&image), Path::new("proof"));
                let volume = volume.map_err(|error| error.to_string())?;
                let findings = volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?.findings;
                let told = findings.iter().filter(|finding| finding.what == RECORD).count();
                let lost = findings.iter().any(|finding| finding.what == RECORD && finding.footage_lost);
                demand!(told == which.len(), "block {block}, copies {which:?}: told is {findings:#?}");
                demand!(lost == (which.len() == 2), "block {block}, copies {which:?}: {findings:#?}");
                judged += 1;
            }
        }
    }
    demand!(judged > 0, "nothing stands twice");
    Ok(judged)
}
