//! Erasing in the proof: what was erased is nowhere any more, in no image, for no reader, not even in the raw bytes; what was to
//! stay is there; and while it is under way, each stretch is whole or gone.

use super::driver::Driver;
use super::material::payload;
use super::oracle::{Entry, Holdings, StreamModel, Takes};
use super::{Verdict, demand};
use crate::disk::ReadAt;
use crate::disk::sim::{CrashPlan, SimImage};
use crate::error::Error;
use crate::format::chunk::ChunkKind;
use crate::gap::Gap;
use crate::recover::examine;
use crate::report::TimeRange;
use crate::sample::SampleFlags;
use crate::scan::Scanner;
use crate::types::{BlockIndex, StreamId, StreamName, WallTime};
use crate::writer::EraseRequest;
use crate::writer::inspect::LiveBlock;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

impl Entry {
    /// What names it: no number is given twice.
    pub(super) fn key(&self) -> u64 {
        match self {
            Entry::Sample(pushed) => pushed.number,
            Entry::Gap(gap) => gap.from.0 as u64,
        }
    }
}

impl Driver {
    /// A stream's identity.
    pub(super) fn id_of(&self, name: &str) -> StreamId {
        self.model.streams.get(name).map(|stream| stream.id).unwrap_or_default()
    }

    /// A stream's blocks, in the order of recording.
    pub(super) fn live_of(&self, name: &str) -> Vec<LiveBlock> {
        let (id, live) = (self.id_of(name), self.view().live);
        live.into_iter().filter(|live| live.stream == id).collect()
    }

    /// Where a block stands.
    pub(super) fn place(&self, block: BlockIndex) -> Range<u64> {
        let at = self.shape.geometry().block_at(block);
        at..at + self.shape.block_bytes as u64
    }

    /// That no reader is given anything of a stream.
    pub(super) fn gives_nothing_of(&self, name: &str) -> Verdict {
        let left = super::holds::numbers(&self.volume()?, name, TimeRange::default())?;
        demand!(left.is_empty(), "{left:?} were to be erased, and are given");
        Ok(())
    }

    /// What may go when a range is erased: all that stands in chunks which touch it, and in blocks of which no other is left;
    /// and the samples of it of which the first bytes are there, with the takes in which they stand.
    fn may_go(&self, name: &str, from: WallTime, to: WallTime) -> Verdict<(BTreeSet<u64>, Takes)> {
        let image = self.disk.snapshot();
        let volume = self.volume()?;
        let state = volume.state();
        let id = self.id_of(name);
        let scanner = Scanner { disk: &image, geometry: &state.geometry, volume: state.volume() };
        let (mut may, mut begin) = (BTreeSet::new(), BTreeMap::new());
        // What is set aside is whole still, and may be taken back.
        let blocks =
            state.geometry.all_blocks().map(|block| (block, scanner.block_header(block).ok().flatten()));
        for (block, header) in blocks.filter_map(|(block, header)| Some((block, header?))) {
            let take = crate::scan::Take { block, sequence: header.sequence, stream: header.stream };
            let row = state.row(block);
            let used = if row.sequence == header.sequence { row.used_bytes as usize } else { 0 };
            if header.stream != id {
                continue;
            }
            let places = examine(&scanner, &take, used, None).progress.footer.chunks;
            let media = || places.iter().filter(|place| place.kind == ChunkKind::MEDIA);
            let touched = |min: WallTime, max: WallTime| max >= from && min < to;
            let all = media().all(|place| touched(place.wall_min, place.wall_max));
            for place in &places {
                let goes = match place.kind {
                    ChunkKind::MEDIA => touched(place.wall_min, place.wall_max),
                    kind => kind == ChunkKind::EVENT && all,
                };
                let loaded = scanner.load_at(&take, place.offset as usize, place.bytes as usize);
                let Some(loaded) = loaded.filter(|_| goes) else { continue };
                let tables = loaded.tables.clone().unwrap_or_default();
                for (index, payload) in (0..).zip(loaded.payloads()) {
                    if place.kind == ChunkKind::MEDIA {
                        let Some((ticks, _)) = tables.time_of(index) else { continue };
                        may.insert(ticks as u64);
                        let rest = [SampleFlags::MORE_FRAGMENT, SampleFlags::LAST_FRAGMENT];
                        if !rest.into_iter().any(|rest| payload.entry.flags.contains(rest)) {
                            begin.insert(ticks as u64, (block, header.sequence));
                        }
                    } else {
                        let gap = payload.data.and_then(|data| Gap::decode(&data));
                        may.extend(gap.map(|gap| gap.from.0 as u64));
                    }
                }
            }
        }
        Ok((may, begin))
    }

    /// Erases a range of a stream, and judges that it is gone; `false` if that is refused, because of a hold or because nothing
    /// is there.
    pub(super) fn erase(&mut self, name: &str, from: WallTime, to: WallTime) -> Verdict<bool> {
        if let Err(why) = self.settle() {
            return if self.faulty { Ok(false) } else { Err(why) };
        }
        self.round()?;
        let (may, begin) = self.may_go(name, from, to)?;
        let stream = self.stream_mut(name)?;
        let must: BTreeSet<u64> = stream
            .entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Sample(pushed) => {
                    let wall = pushed.run.wall(pushed.number as i64);
                    (wall >= from && wall < to).then_some(pushed.number)
                }
                Entry::Gap(_) => None,
            })
            .collect();
        stream.erasing = may;
        let request =
            EraseRequest { stream: StreamName::new(name).map_err(|error| error.to_string())?, from, to };
        let before = self.view();
        match self.watched_with(|engine| engine.begin_erase(&request), true)? {
            Ok(()) => self.order.erasure_began(before, &self.view(), self.faulty)?,
            Err(refused @ (Error::Held { .. } | Error::NotRecorded { .. })) => {
                self.stream_mut(name)?.erasing.clear();
                if matches!(refused, Error::NotRecorded { .. }) {
                    self.owes_nothing_of(name, &must)?;
                }
                return self.judge_as_known().map(|_| false);
            }
            Err(Error::Io { .. } | Error::Erasing { .. }) if self.faulty => return Ok(false),
            Err(error) => return Err(error.to_string()),
        }
        self.stream_mut(name)?.owed.extend(&begin);
        for _ in 0..400 {
            if let Some(erased) = self.watched(|engine| engine.take_erased())? {
                if self.faulty && erased.is_err() {
                    // Some of it is gone, the rest is whole.
                    let held = self.judge_as_known()?;
                    let found = held.get(name).map(|retained| retained.keys.clone()).unwrap_or_default();
                    let stream = self.stream_mut(name)?;
                    let gone = std::mem::take(&mut stream.erasing);
                    stream.erased.extend(gone.difference(&found));
                    return Ok(false);
                }
                erased.map_err(|error| error.to_string())?;
                let begin = begin.into_keys().collect();
                return self.is_gone(name, &must, &begin).map(|()| true);
            }
            self.round()?;
        }
        // While the disk fails it waits.
        if self.faulty { Ok(false) } else { Err("erasing does not end in 400 rounds".to_owned()) }
    }

    /// Begins to erase a range of a stream: until the volume is opened again, what of it is gone or there is as it should be.
    pub(super) fn begin_erasing(&mut self, name: &str, from: WallTime, to: WallTime) -> Verdict {
        self.settle()?;
        // While little is recorded a few blocks are overwritten at a time.
        (0..4).try_for_each(|_| self.round())?;
        let (may, begin) = self.may_go(name, from, to)?;
        let stream_mut = self.stream_mut(name)?;
        stream_mut.erasing = may;
        stream_mut.owed.extend(begin);
        let stream = StreamName::new(name).map_err(|error| error.to_string())?;
        let request = EraseRequest { stream, from, to };
        let begun = self.watched_with(|engine| engine.begin_erase(&request), true)?;
        begun.map_err(|error| error.to_string())
    }

    /// With a disk that works, what was to be erased is after some rounds, and nothing is set aside for it.
    pub(super) fn nothing_waits_to_be_erased(&mut self) -> Verdict {
        for _ in 0..100 {
            if self.view().reserved.is_empty() {
                return Ok(());
            }
            self.round()?;
        }
        Err(format!("blocks wait to be erased for ever: {:?}", self.view().reserved))
    }

    /// In which blocks bytes stand, for whoever looks into a failure.
    fn places_of(&self, raw: &[(u64, usize)]) -> Vec<String> {
        let geometry = self.shape.geometry();
        let Ok(volume) = self.volume() else { return Vec::new() };
        let blocks = geometry.all_blocks().filter(|block| {
            let begin = geometry.block_at(*block) as usize;
            raw.iter().any(|(_, at)| (begin..begin + geometry.block_bytes).contains(at))
        });
        let describe = |block| format!("{} {:?}", geometry.block_at(block), volume.state().row(block));
        blocks.map(describe).collect()
    }

    fn stream_mut(&mut self, name: &str) -> Verdict<&mut StreamModel> {
        self.model.streams.get_mut(name).ok_or_else(|| "no such stream".to_owned())
    }

    /// What an erasure took up that failed, or that a power cut ended, stands nowhere any more, where it is said to be erased or
    /// not to be there. Takes that the ring put in the place of these may still hold bytes of it in their unwritten room.
    fn owes_nothing_of(&mut self, name: &str, must: &BTreeSet<u64>) -> Verdict {
        let image = self.disk.crash(CrashPlan::None);
        let owed = std::mem::take(&mut self.stream_mut(name)?.owed);
        let (over, rest): (BTreeMap<_, _>, _) =
            owed.into_iter().partition(|(number, _)| must.contains(number));
        self.stream_mut(name)?.owed = rest;
        if over.is_empty() {
            return Ok(());
        }
        let volume = self.volume()?;
        let state = volume.state();
        let scanner = Scanner { disk: &image, geometry: &state.geometry, volume: state.volume() };
        let stands = |(number, at): &(u64, usize)| {
            over.get(number).is_some_and(|(block, sequence)| {
                let header = scanner.block_header(*block).ok().flatten();
                let row = state.row(*block);
                // Without its header a block is no take any more, and may hold the bytes all the same.
                let lost = header.is_none() && !row.is_live() && row.sequence <= *sequence;
                self.place(*block).contains(&(*at as u64))
                    && (lost || header.is_some_and(|header| header.sequence == *sequence))
            })
        };
        let mut raw = found_raw(&image, &over.keys().copied().collect())?;
        raw.retain(stands);
        demand!(
            raw.is_empty(),
            "{name}: samples that were to be erased before are still on the disk: {raw:?}\n{:#?}",
            self.places_of(&raw)
        );
        Ok(())
    }

    /// An erasure was acknowledged: what was to go is gone for good, wherever one looks.
    fn is_gone(&mut self, name: &str, must: &BTreeSet<u64>, begin: &BTreeSet<u64>) -> Verdict {
        let image = self.disk.crash(CrashPlan::None);
        let held = self.judge_as_known()?;
        let found = held.get(name).map(|retained| retained.keys.clone()).unwrap_or_default();
        let left: Vec<_> = must.intersection(&found).collect();
        demand!(left.is_empty(), "{name}: erased samples are found: {left:?}");
        let stream = self.stream_mut(name)?;
        let gone: BTreeSet<u64> = std::mem::take(&mut stream.erasing).difference(&found).copied().collect();
        stream.erased.extend(gone.iter().chain(must));
        let raw = found_raw(&image, &must.intersection(begin).copied().collect())?;
        demand!(
            raw.is_empty(),
            "{name}: the bytes of erased samples are still on the disk: {raw:?}\n{:#?}",
            self.places_of(&raw)
        );
        self.owes_nothing_of(name, must)?;
        self.judge_as_known().map(drop)
    }

    /// Judges what a reader sees at this moment by what the writer knows: what it took since the newest samples came is not there.
    fn judge_as_known(&mut self) -> Verdict<Holdings> {
        let view = self.view();
        self.judge_now(Some(view))
    }

    /// Erases what lies between two durable samples of a stream, picked at random.
    pub(super) fn erase_any(&mut self) -> Verdict {
        let names: Vec<String> = self.model.streams.keys().cloned().collect();
        let Some(name) = names.get(self.rng.below(names.len().max(1))).cloned() else { return Ok(()) };
        let Some(stream) = self.model.streams.get(&name) else { return Ok(()) };
        let walls = stream.durable_walls();
        if walls.is_empty() {
            return Ok(());
        }
        let first = self.rng.below(walls.len());
        let last = (first + self.rng.below(40)).min(walls.len() - 1);
        let (from, to) = (walls[first].min(walls[last]), walls[first].max(walls[last]).plus_ns(1));
        self.erase(&name, from, to).map(drop)
    }
}

/// The numbers of which the beginning of the sample stands anywhere in an image.
pub(super) fn found_raw(image: &SimImage, numbers: &BTreeSet<u64>) -> Verdict<Vec<(u64, usize)>> {
    const NEEDLE_BYTES: usize = 24;
    let mut bytes = vec![0; image.len_bytes()];
    image.read_exact_at(&mut bytes, 0).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for (at, window) in bytes.windows(NEEDLE_BYTES).enumerate() {
        let Some(head) = window.first_chunk::<8>() else { continue };
        let number = u64::from_le_bytes(*head);
        if numbers.contains(&number) && payload(number, NEEDLE_BYTES) == window {
            found.push((number, at));
        }
    }
    Ok(found)
}

/// Whether a rebuild from the blocks alone finds nothing that was erased.
pub(super) fn stays_gone(image: &SimImage, driver_model: &super::oracle::Model) -> Verdict {
    let volume = super::driver::shared(image);
    let volume = crate::reader::Volume::from_disk(volume, std::path::Path::new("proof"));
    let volume = volume.map_err(|error| error.to_string())?;
    for (name, stream) in &driver_model.streams {
        let there = super::holds::numbers_of(&volume, stream.id, Default::default())?;
        let back: Vec<_> = there.iter().filter(|number| stream.erased.contains(&(**number as u64))).collect();
        demand!(back.is_empty(), "{name}: {back:?} are back");
    }
    let report = volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?;
    let lost: Vec<_> = report.findings.iter().filter(|finding| finding.footage_lost).collect();
    demand!(lost.is_empty(), "what was erased is told as damage: {lost:?}");
    Ok(())
}
