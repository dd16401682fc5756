//! From a chunk to items: what of it is given, split samples put together, what does not verify told.

use super::mode::Content;
use super::{Cursor, QUIET_REACH, Split, Step};
use crate::error::Result;
use crate::format::chunk::{ChunkHeader, ChunkKind, Entry, Tables};
use crate::gap::Gap;
use crate::reader::kept::LoadedChunk;
use crate::report::Item;
use crate::sample::{SAMPLE_BYTES_MAX, SampleFlags, SampleRow, StoredSample};
use crate::scan::{Loaded, Located, Payload};
use crate::types::{ChunkNumber, TrackNumber, WallTime};
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A chunk as it was read.
enum Read {
    Whole(Arc<LoadedChunk>),
    /// Its samples were not asked for.
    Tables(Box<(Located, Option<Tables>)>),
    /// One sample of it was, or a piece of one: the others have no bytes here. Whether what was asked for verifies.
    Picked(Box<(Located, Option<Tables>)>, Vec<Payload>, bool),
}

impl Read {
    fn located(&self) -> &Located {
        match self {
            Read::Whole(chunk) => &chunk.loaded.located,
            Read::Tables(read) | Read::Picked(read, ..) => &read.0,
        }
    }

    fn tables(&self) -> Option<&Tables> {
        match self {
            Read::Whole(chunk) => chunk.loaded.tables.as_ref(),
            Read::Tables(read) | Read::Picked(read, ..) => read.1.as_ref(),
        }
    }

    fn payloads(&self) -> Option<&[Payload]> {
        match self {
            Read::Whole(chunk) => Some(&chunk.payloads),
            Read::Picked(_, payloads, _) => Some(payloads),
            Read::Tables(..) => None,
        }
    }

    /// Whether all of it that is given verifies.
    fn is_whole(&self) -> bool {
        match self {
            Read::Whole(chunk) => chunk.is_whole(),
            Read::Tables(read) => read.1.is_some(),
            Read::Picked(read, _, stands) => read.1.is_some() && *stands,
        }
    }
}

/// A chunk of samples with what applies to all of them.
#[derive(Clone, Copy)]
struct Media<'a> {
    header: &'a ChunkHeader,
    checksum: u32,
    tables: &'a Tables,
    /// Its samples as they verify; `None` where they were not read.
    payloads: Option<&'a [Payload]>,
}

impl Cursor<'_> {
    /// Loads a chunk and turns it into items.
    pub(super) fn give(&mut self, step: &Step) -> Result<()> {
        let place = &step.place;
        if place.kind.is_void() {
            self.pass_void(place.wall_min, place.wall_max, place.kind == ChunkKind::EXPIRED);
            return Ok(());
        }
        if place.kind == ChunkKind::MEDIA && self.range.to.is_some_and(|to| place.wall_min >= to) {
            return Ok(());
        }
        let mut read = self.in_memory(step).map(Read::Whole).or_else(|| self.load(step));
        let is_as_told = |read: &Read| read.is_whole() && read.located().header.kind == place.kind;
        if read.as_ref().is_none_or(|read| !is_as_told(read)) {
            self.volume.shared.footers.forget(&step.take);
        }
        if read.as_ref().is_none_or(|read| !read.is_whole()) {
            if self.volume.is_passed(&step.take) {
                return Err(self.volume.overwritten(&step.take));
            }
            let at = self.volume.block_at(step.take.block) + u64::from(place.offset);
            if self.volume.is_unsettled(&step.take, at) {
                self.unsettled = true;
                self.steps.clear();
                return Ok(());
            }
            // It was on its way when it was read, and is there by now, or it is damaged.
            read = self.load(step);
        }
        let Some(read) = read else {
            return self.damage(
                &step.take,
                "chunk",
                place.offset as usize,
                "neither of its headers verifies",
            );
        };
        let header = &read.located().header;
        match (place.kind, read.tables(), &read) {
            _ if header.kind.is_void() => {
                self.broken = true;
                self.pass_void(place.wall_min, place.wall_max, header.kind == ChunkKind::EXPIRED);
                Ok(())
            }
            _ if self.volume.came_to_be_past(header, &self.volume.state.row(step.take.block)) => {
                self.broken = true;
                self.pass_void(place.wall_min, place.wall_max, true);
                Ok(())
            }
            (_, None, _) => {
                self.damage(&step.take, "sample table", place.offset as usize, "neither copy verifies")
            }
            (ChunkKind::EVENT, Some(_), Read::Whole(chunk)) => self.give_event(step, &chunk.loaded),
            (_, Some(tables), _) => {
                let (checksum, payloads) = (read.located().checksum, read.payloads());
                self.give_media(step, Media { header, checksum, tables, payloads })
            }
        }
    }

    /// The chunk, if it was read before and stands there still.
    fn in_memory(&mut self, step: &Step) -> Option<Arc<LoadedChunk>> {
        if step.place.kind != ChunkKind::MEDIA || self.mode.takes_tables(step) {
            return None;
        }
        let at = step.at();
        let ahead = self.ahead.as_mut().and_then(|ahead| ahead.take(&at));
        let chunk = ahead.or_else(|| self.volume.chunk_source().kept(&at));
        let there = chunk.filter(|chunk| self.volume.is_there(&at, chunk));
        if there.is_none() {
            self.ahead_after = self.ahead_after.map(|chunks| chunks.saturating_sub(1));
        }
        there
    }

    fn load(&self, step: &Step) -> Option<Read> {
        if step.place.kind == ChunkKind::MEDIA && self.mode.takes_tables(step) {
            let (offset, bytes) = (step.place.offset as usize, step.place.bytes as usize);
            let read = self.volume.scanner().tables_at(&step.take, offset, bytes)?;
            return Some(Read::Tables(Box::new(read)));
        }
        if step.place.kind == ChunkKind::MEDIA && matches!(self.mode.content(), Content::One(_)) {
            return self.pick(step);
        }
        self.volume.chunk_source().read(&step.at()).map(Read::Whole)
    }

    /// Reads of a chunk what is wanted of one sample, and no other sample.
    fn pick(&self, step: &Step) -> Option<Read> {
        let (offset, bytes) = (step.place.offset as usize, step.place.bytes as usize);
        let scanner = self.volume.scanner();
        let (located, tables) = scanner.tables_at(&step.take, offset, bytes)?;
        let (mut payloads, mut stands, mut at) = (Vec::new(), true, located.header.payload_at());
        let mut places = [0_u32; 256];
        for (index, entry) in (0..).zip(tables.iter().flat_map(|tables| &tables.entries)) {
            let counted = &mut places[usize::from(entry.track.0)];
            let place = *counted;
            *counted += 1;
            let ticks = tables.as_ref().and_then(|tables| tables.time_of(index)).map(|(ticks, _)| ticks);
            let mut payload = Payload { entry: entry.clone(), at, data: None };
            if self.mode.content().takes(located.header.number, entry, place, ticks) {
                payload.data = scanner.payload(&located, &payload);
                stands &= payload.data.is_some();
            }
            payloads.push(payload);
            at += entry.bytes as usize;
        }
        Some(Read::Picked(Box::new((located, tables)), payloads, stands))
    }

    fn give_event(&mut self, step: &Step, loaded: &Loaded) -> Result<()> {
        let gap = loaded
            .payloads()
            .into_iter()
            .filter_map(|payload| payload.data)
            .find_map(|data| Gap::decode(&data));
        match gap {
            Some(gap) => {
                if self.range.overlaps(gap.from, gap.to.unwrap_or(WallTime::MAX)) {
                    self.items.push_back(Item::Gap(gap));
                }
                Ok(())
            }
            // A newer version's event, or both copies damaged.
            None if loaded.problems().is_empty() => Ok(()),
            None => {
                self.damage(&step.take, "gap record", step.place.offset as usize, "neither copy verifies")
            }
        }
    }

    fn give_media(&mut self, step: &Step, media: Media<'_>) -> Result<()> {
        let ChunkHeader { number, run, configuration: hash, .. } = *media.header;
        if !self.mode.wants(number) {
            return Ok(());
        }
        if self.run != Some(run) {
            self.run = Some(run);
            self.anchors.clear();
            self.items.push_back(Item::Run(run));
        }
        if self.configuration != Some(hash) {
            let Some(configuration) = self.volume.configuration(self.stream, hash, &step.take) else {
                return self.damage(
                    &step.take,
                    "configuration",
                    step.place.offset as usize,
                    "it stands nowhere in the stream",
                );
            };
            self.configuration = Some(hash);
            self.items.push_back(Item::Configuration(hash, configuration));
        }
        let ends = self.last_in_range(media.tables);
        // How many entries each track has had.
        let mut places = [0; 256];
        for (index, entry) in (0..).zip(&media.tables.entries) {
            let counted = &mut places[usize::from(entry.track.0)];
            let place = *counted;
            *counted += 1;
            let ticks = media.tables.time_of(index).map(|(ticks, _)| ticks);
            if !self.mode.content().takes(number, entry, place, ticks) {
                continue;
            }
            self.broken &= !entry.flags.contains(SampleFlags::SEEK_POINT);
            if self.broken {
                continue;
            }
            let begun = index >= step.from_entry || step.lead && self.can_lead(media.tables, index);
            if begun && ends.get(&entry.track).is_some_and(|end| index <= *end) {
                self.give_entry(step, media, index, place, entry)?;
            }
        }
        Ok(())
    }

    /// Whether a sample before the first picture is given: it lies in the range and needs no other to be decoded.
    fn can_lead(&self, tables: &Tables, index: u32) -> bool {
        let inside = |wall| self.range.from.is_none_or(|from| wall >= from);
        let sync =
            tables.entries.get(index as usize).is_some_and(|entry| entry.flags.contains(SampleFlags::SYNC));
        sync && tables.time_of(index).is_some_and(|(_, wall)| inside(wall))
    }

    /// For each track the last entry that lies before the end of the range: what is decoded before it is needed, also where
    /// it is presented later.
    fn last_in_range(&self, tables: &Tables) -> BTreeMap<TrackNumber, u32> {
        let mut ends = BTreeMap::new();
        for (index, entry) in (0..).zip(&tables.entries) {
            if let Some((_, wall)) = tables.time_of(index)
                && self.range.to.is_none_or(|to| wall < to)
            {
                ends.insert(entry.track, index);
            }
        }
        ends
    }

    /// Gives a sample, or notes a piece of one. `place` counts the entries of its track before it.
    fn give_entry(
        &mut self,
        step: &Step,
        media: Media<'_>,
        index: u32,
        place: u32,
        entry: &Entry,
    ) -> Result<()> {
        let data = match media.payloads.map(|payloads| payloads.get(index as usize)) {
            None => Bytes::new(),
            Some(Some(Payload { data: Some(data), .. })) => data.clone(),
            Some(lost) => {
                // Without this part the sample it may belong to is not whole.
                if !planted!(SplitJoinedAcrossLoss) {
                    self.split = None;
                }
                let at = step.place.offset as usize + lost.map_or(0, |payload| payload.at);
                return self.damage(&step.take, "sample", at, "its bytes do not match their checksum");
            }
        };
        let times = media.tables.time_of(index).zip(media.tables.anchor_of(index));
        let Some(((ticks, wall), anchor)) = times else {
            return self.damage(
                &step.take,
                "sample",
                step.place.offset as usize,
                "its track has no clock anchor",
            );
        };
        if self.anchors.insert(anchor.track, *anchor) != Some(*anchor) {
            self.items.push_back(Item::Anchor(*anchor));
        }
        let row = SampleRow {
            track: entry.track,
            ticks,
            wall,
            flags: entry.flags.of_the_sample(),
            bytes: entry.bytes,
            run: media.header.run,
            configuration: media.header.configuration,
            begins: media.header.number,
            chunk: media.header.number,
            chunk_checksum: media.checksum,
            place,
        };
        if let Some((row, data)) = self.join(entry, row, data) {
            if self.mode.gives_rows() {
                self.items.push_back(Item::Listed(row));
            }
            if self.mode.gives_samples() {
                self.items.push_back(Item::Sample(stored(&row, data)));
            }
        }
        Ok(())
    }

    /// Puts split samples together; what is not split passes. A sample whose end never came is not given.
    fn join(&mut self, entry: &Entry, row: SampleRow, data: Bytes) -> Option<(SampleRow, Bytes)> {
        let is = |mark| entry.flags.contains(mark);
        let goes_on = is(SampleFlags::MORE_FRAGMENT) || is(SampleFlags::LAST_FRAGMENT);
        self.begins_inside.get_or_insert(goes_on && self.split.is_none());
        if is(SampleFlags::FIRST_FRAGMENT) {
            self.split = Some(Split { row, data: BytesMut::from(&data[..]) });
            return None;
        }
        if !goes_on {
            return Some((row, data));
        }
        let Split { row: mut split, data: mut joined } = self.split.take()?;
        let mut between = (split.chunk.next().0..row.chunk.0).map(ChunkNumber);
        let nothing_between = row.chunk > split.chunk
            && row.chunk.0 - split.chunk.0 < QUIET_REACH
            && between.all(|number| self.quiet.contains(&number));
        let bytes = split.bytes.saturating_add(row.bytes);
        let follows = split.track == row.track
            && split.ticks == row.ticks
            && split.run == row.run
            && (nothing_between || planted!(SplitJoinedAcrossLoss))
            && bytes as usize <= SAMPLE_BYTES_MAX;
        if !follows {
            return None;
        }
        joined.extend_from_slice(&data);
        let SampleRow { chunk, chunk_checksum, place, .. } = row;
        split = SampleRow { bytes, chunk, chunk_checksum, place, ..split };
        if is(SampleFlags::LAST_FRAGMENT) {
            return Some((split, joined.freeze()));
        }
        self.split = Some(Split { row: split, data: joined });
        None
    }
}

fn stored(row: &SampleRow, data: Bytes) -> StoredSample {
    let SampleRow { track, ticks, wall, flags, run, configuration, chunk, .. } = *row;
    StoredSample { track, ticks, wall, flags, data, run, configuration, chunk }
}
