//! From a chunk to items: what of it is given, split samples put together, what does not verify told.

use super::{Cursor, QUIET_REACH, Split, Step};
use crate::error::Result;
use crate::format::chunk::{ChunkKind, Entry, Tables};
use crate::gap::Gap;
use crate::report::Item;
use crate::sample::{SAMPLE_BYTES_MAX, SampleFlags, StoredSample};
use crate::scan::{Loaded, Payload};
use crate::types::{ChunkNumber, ConfigurationHash, RunId, TrackNumber, WallTime};
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;

/// A chunk as it was read.
struct Read {
    loaded: Loaded,
    payloads: Vec<Payload>,
}

impl Read {
    /// Whether all of it that is given verifies.
    fn is_whole(&self) -> bool {
        self.loaded.tables.is_some() && self.payloads.iter().all(|payload| payload.data.is_some())
    }
}

/// A chunk of samples with what applies to all of them.
struct Media<'a> {
    loaded: &'a Loaded,
    tables: &'a Tables,
    run: RunId,
    configuration: ConfigurationHash,
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
        let mut read = self.load(step);
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
        let Some(Read { loaded, payloads }) = read else {
            return self.damage(
                &step.take,
                "chunk",
                place.offset as usize,
                "neither of its headers verifies",
            );
        };
        match (place.kind, &loaded.tables) {
            _ if loaded.header().kind.is_void() => {
                self.broken = true;
                self.pass_void(place.wall_min, place.wall_max, loaded.header().kind == ChunkKind::EXPIRED);
                Ok(())
            }
            _ if self.volume.came_to_be_past(loaded.header(), &self.volume.state.row(step.take.block)) => {
                self.broken = true;
                self.pass_void(place.wall_min, place.wall_max, true);
                Ok(())
            }
            (_, None) => {
                self.damage(&step.take, "sample table", place.offset as usize, "neither copy verifies")
            }
            (ChunkKind::EVENT, Some(_)) => self.give_event(step, &loaded),
            (_, Some(tables)) => {
                let header = loaded.header();
                let media =
                    Media { loaded: &loaded, tables, run: header.run, configuration: header.configuration };
                self.give_media(step, &media, payloads)
            }
        }
    }

    fn load(&self, step: &Step) -> Option<Read> {
        let (offset, bytes) = (step.place.offset as usize, step.place.bytes as usize);
        let loaded = self.volume.scanner().load_at(&step.take, offset, bytes)?;
        let payloads = loaded.payloads();
        Some(Read { loaded, payloads })
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

    fn give_media(&mut self, step: &Step, media: &Media<'_>, payloads: Vec<Payload>) -> Result<()> {
        if self.run != Some(media.run) {
            self.run = Some(media.run);
            self.anchors.clear();
            self.items.push_back(Item::Run(media.run));
        }
        if self.configuration != Some(media.configuration) {
            let Some(configuration) = self.volume.configuration(self.stream, media.configuration, &step.take)
            else {
                return self.damage(
                    &step.take,
                    "configuration",
                    step.place.offset as usize,
                    "it stands nowhere in the stream",
                );
            };
            self.configuration = Some(media.configuration);
            self.items.push_back(Item::Configuration(media.configuration, configuration));
        }
        let ends = self.last_in_range(media.tables);
        for (index, payload) in (0..).zip(payloads) {
            self.broken &= !payload.entry.flags.contains(SampleFlags::SEEK_POINT);
            if self.broken {
                continue;
            }
            let begun = index >= step.from_entry || step.lead && self.can_lead(media.tables, index);
            if begun && ends.get(&payload.entry.track).is_some_and(|end| index <= *end) {
                self.give_payload(step, media, index, payload)?;
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

    fn give_payload(&mut self, step: &Step, media: &Media<'_>, index: u32, payload: Payload) -> Result<()> {
        let Some(data) = payload.data else {
            // Without this part the sample it may belong to is not whole.
            if !planted!(SplitJoinedAcrossLoss) {
                self.split = None;
            }
            let at = step.place.offset as usize + payload.at;
            return self.damage(&step.take, "sample", at, "its bytes do not match their checksum");
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
        let sample = StoredSample {
            track: payload.entry.track,
            ticks,
            wall,
            flags: payload.entry.flags.of_the_sample(),
            data,
            run: media.run,
            configuration: media.configuration,
            chunk: media.loaded.header().number,
        };
        if let Some(sample) = self.join(&payload.entry, sample) {
            self.items.push_back(Item::Sample(sample));
        }
        Ok(())
    }

    /// Puts split samples together; what is not split passes. A sample whose end never came is not given.
    fn join(&mut self, entry: &Entry, sample: StoredSample) -> Option<StoredSample> {
        let is = |mark| entry.flags.contains(mark);
        if is(SampleFlags::FIRST_FRAGMENT) {
            let data = BytesMut::from(&sample.data[..]);
            self.split = Some(Split { chunk: sample.chunk, data, sample });
            return None;
        }
        if !is(SampleFlags::MORE_FRAGMENT) && !is(SampleFlags::LAST_FRAGMENT) {
            return Some(sample);
        }
        let mut split = self.split.take()?;
        let mut between = (split.chunk.next().0..sample.chunk.0).map(ChunkNumber);
        let nothing_between = sample.chunk > split.chunk
            && sample.chunk.0 - split.chunk.0 < QUIET_REACH
            && between.all(|number| self.quiet.contains(&number));
        let follows = split.sample.track == sample.track
            && split.sample.ticks == sample.ticks
            && split.sample.run == sample.run
            && (nothing_between || planted!(SplitJoinedAcrossLoss))
            && split.data.len() + sample.data.len() <= SAMPLE_BYTES_MAX;
        if !follows {
            return None;
        }
        split.data.extend_from_slice(&sample.data);
        split.chunk = sample.chunk;
        if is(SampleFlags::LAST_FRAGMENT) {
            return Some(StoredSample { data: Bytes::from(split.data), chunk: sample.chunk, ..split.sample });
        }
        self.split = Some(split);
        None
    }
}
