//! Reading a stream item by item.
//!
//! Block by block in the order of recording; of each block first the footer (or the chunk headers), then one chunk at a
//! time. What is kept in memory: the places of the chunks of a few blocks, one chunk, one sample that is split.

use super::{Volume, last_run, overlaps};
use crate::error::Result;
use crate::format::chunk::{ChunkKind, Entry, Tables};
use crate::format::footer::{ChunkPlace, Footer};
use crate::format::table::Row;
use crate::gap::Gap;
use crate::recover::Recovered;
use crate::report::{Finding, Item, TimeRange};
use crate::sample::{Anchor, SAMPLE_BYTES_MAX, SampleFlags, StoredSample};
use crate::scan::{Loaded, Payload, Take};
use crate::types::{BlockIndex, ChunkNumber, ConfigurationHash, RunId, StreamId, TrackNumber, WallTime};
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

/// How many chunks without samples may lie between two parts of a sample.
const QUIET_REACH: u64 = 64;

/// Reads a stream item by item with bounded memory.
pub struct Cursor<'a> {
    volume: &'a Volume,
    stream: StreamId,
    range: TimeRange,
    blocks: Vec<(BlockIndex, Row)>,
    next_block: usize,
    /// What follows may still be on its way to the disk: reading ends here, and may go on from a later look at the volume.
    unsettled: bool,
    steps: VecDeque<Step>,
    items: VecDeque<Item>,
    /// Runs of which the first sample to give was found.
    begun: HashSet<RunId>,
    run: Option<RunId>,
    configuration: Option<ConfigurationHash>,
    anchors: BTreeMap<TrackNumber, Anchor>,
    split: Option<Split>,
    /// Chunks that stand between samples but hold none, by number: only they may lie between the parts of a sample.
    quiet: BTreeSet<ChunkNumber>,
}

/// A chunk to give, from an entry on.
struct Step {
    take: Take,
    place: ChunkPlace,
    from_entry: u32,
    /// Whether sound before that entry is given too: it began before the first picture of its run.
    lead: bool,
}

/// A sample of which only the first fragments were met.
struct Split {
    sample: StoredSample,
    data: BytesMut,
    chunk: ChunkNumber,
}

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

impl<'a> Cursor<'a> {
    pub(super) fn new(
        volume: &'a Volume,
        stream: StreamId,
        range: TimeRange,
        blocks: Vec<(BlockIndex, Row)>,
    ) -> Cursor<'a> {
        Cursor {
            volume,
            stream,
            range,
            blocks,
            next_block: 0,
            unsettled: false,
            steps: VecDeque::new(),
            items: VecDeque::new(),
            begun: HashSet::new(),
            run: None,
            configuration: None,
            anchors: BTreeMap::new(),
            split: None,
            quiet: BTreeSet::new(),
        }
    }

    /// The next item; `None` at the end.
    ///
    /// # Errors
    /// [`crate::Error::Overwritten`] when the ring passed this reader.
    pub fn next_item(&mut self) -> Result<Option<Item>> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Ok(Some(item));
            }
            if let Some(step) = self.steps.pop_front() {
                self.give(&step)?;
                continue;
            }
            if self.unsettled || self.next_block >= self.blocks.len() {
                return Ok(None);
            }
            let index = self.next_block;
            self.next_block += 1;
            self.plan_block(index)?;
        }
    }

    /// Finds out which chunks of a block to give, and from where.
    fn plan_block(&mut self, index: usize) -> Result<()> {
        let Some((block, row)) = self.blocks.get(index).cloned() else { return Ok(()) };
        // A block may have nothing but the middle of one large sample.
        if row.payload_bytes > 0 && !overlaps(row.wall_min, row.wall_max, self.range) {
            return Ok(());
        }
        let take = Recovered::take(block, &row);
        if self.blocks[..index].last().is_some_and(|(_, before)| !follows(before, &row)) {
            // What lay between was overwritten: nothing here can be decoded from what came before.
            self.begun.clear();
        }
        let (footer, findings) = self.settled_contents(&take, &row)?;
        self.report(&take, findings)?;
        // A sample's parts lie close together.
        self.quiet = self.quiet.split_off(&ChunkNumber(row.first_chunk.0.saturating_sub(QUIET_REACH)));
        // Where only the end is unsettled, all before it is known.
        let chunks = if self.unsettled { footer.chunks.len() as u32 } else { row.chunks };
        note_quiet(&mut self.quiet, &Row { chunks, ..row.clone() }, &footer);
        for (chunk, place) in (0..).zip(&footer.chunks) {
            let step = |from_entry| Step { take, place: place.clone(), from_entry, lead: false };
            match place.kind {
                ChunkKind::EVENT => self.steps.push_back(step(0)),
                ChunkKind::MEDIA if self.begun.contains(&place.run) => self.steps.push_back(step(0)),
                // A block with several runs may touch the range by others: a run begun too early would be given with a hole.
                ChunkKind::MEDIA if !run_touches(&footer, place.run, self.range) => {}
                ChunkKind::MEDIA => {
                    let begin = self.begin_run(index, &footer, chunk, place.run);
                    self.steps.extend(begin.map(|(from_entry, lead)| Step { lead, ..step(from_entry) }));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What stands in a block, as far as it is settled.
    fn settled_contents(&mut self, take: &Take, row: &Row) -> Result<(Footer, Vec<Finding>)> {
        let (mut footer, mut findings) = self.volume.contents(take.block, row);
        let first_lost =
            findings.iter().filter(|finding| finding.footage_lost).map(|finding| finding.at).min();
        let Some(first_lost) = first_lost else { return Ok((footer, findings)) };
        if self.volume.is_passed(take) {
            return Err(self.volume.overwritten(self.stream));
        }
        if !self.volume.is_unsettled(take, first_lost) {
            return Ok(self.volume.contents(take.block, row));
        }
        self.unsettled = true;
        let begins = self.volume.block_at(take.block);
        footer.chunks.retain(|place| begins + u64::from(place.offset) < first_lost);
        let chunks = footer.chunks.len();
        footer.syncs.retain(|sync| (sync.chunk as usize) < chunks);
        findings.retain(|finding| finding.at < first_lost);
        Ok((footer, findings))
    }

    /// What to give of a chunk whose run was not given yet: from which entry on, and whether sound before it leads. What
    /// comes before in earlier blocks is queued.
    fn begin_run(&mut self, index: usize, footer: &Footer, chunk: u32, run: RunId) -> Option<(u32, bool)> {
        let start = self.start_in(footer, run);
        let goes_on =
            footer.chunks.iter().position(|place| place.kind == ChunkKind::MEDIA) == Some(chunk as usize);
        let late = start.is_none_or(|start| self.range.from.is_some_and(|from| start.wall > from));
        if goes_on && late && self.queue_from_earlier(index, run) {
            self.begun.insert(run);
            return Some((0, false));
        }
        match start {
            Some(start) if start.chunk == chunk => {
                self.begun.insert(run);
                Some((start.entry, late || self.range.from.is_none()))
            }
            // Nothing here can be shown before the range begins, but sound within it can be heard.
            _ => (late || self.range.from.is_none()).then_some((u32::MAX, true)),
        }
    }

    /// Where a run is to begin in a block: the last place at or before the range, else the first.
    fn start_in(&self, footer: &Footer, run: RunId) -> Option<Start> {
        let mine = footer
            .syncs
            .iter()
            .filter(|sync| footer.chunks.get(sync.chunk as usize).is_some_and(|place| place.run == run));
        let places: Vec<Start> =
            mine.map(|sync| Start { chunk: sync.chunk, entry: sync.entry, wall: sync.wall }).collect();
        let before = self.range.from.and_then(|from| places.iter().rev().find(|start| start.wall <= from));
        before.or(places.first()).copied()
    }

    /// Queues the end of the blocks before, from the last sync sample of the run on, if the run was being recorded there.
    fn queue_from_earlier(&mut self, index: usize, run: RunId) -> bool {
        if self.range.from.is_none() {
            return false;
        }
        let mut queued: VecDeque<Step> = VecDeque::new();
        for (at, (block, row)) in self.blocks[..index].iter().enumerate().rev() {
            if self.blocks.get(at + 1).is_some_and(|(_, behind)| !follows(row, behind)) {
                return false;
            }
            let take = Recovered::take(*block, row);
            let (footer, _) = self.volume.contents(*block, row);
            if last_run(&footer) != Some(run) {
                return false;
            }
            note_quiet(&mut self.quiet, row, &footer);
            let start = self
                .start_in(&footer, run)
                .filter(|start| self.range.from.is_none_or(|from| start.wall <= from));
            let first = start.map_or(0, |start| start.chunk);
            let mine = (0..).zip(&footer.chunks).filter(|(chunk, place)| {
                *chunk >= first && place.kind == ChunkKind::MEDIA && place.run == run
            });
            for (chunk, place) in mine.collect::<Vec<_>>().into_iter().rev() {
                let from_entry = start.filter(|start| start.chunk == chunk).map_or(0, |start| start.entry);
                queued.push_front(Step { take, place: place.clone(), from_entry, lead: false });
            }
            if start.is_some() {
                self.steps.append(&mut queued);
                return true;
            }
        }
        false
    }

    /// Loads a chunk and turns it into items.
    fn give(&mut self, step: &Step) -> Result<()> {
        let place = &step.place;
        if place.kind == ChunkKind::MEDIA && self.range.to.is_some_and(|to| place.wall_min >= to) {
            return Ok(());
        }
        let mut read = self.load(step);
        if read.as_ref().is_none_or(|read| !read.is_whole()) {
            if self.volume.is_passed(&step.take) {
                return Err(self.volume.overwritten(self.stream));
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
                if overlaps(gap.from, gap.to.unwrap_or(WallTime::MAX), self.range) {
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
        let mut between = (split.chunk.0 + 1..sample.chunk.0).map(ChunkNumber);
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

    /// Something does not verify: the ring has passed, or it is damage, which is reported and skipped.
    fn damage(&mut self, take: &Take, what: &'static str, offset: usize, detail: &str) -> Result<()> {
        let at = self.volume.state.geometry.block_at(take.block) + offset as u64;
        let finding = Finding {
            what,
            at,
            block: Some(take.block),
            stream: Some(take.stream),
            footage_lost: true,
            detail: detail.to_owned(),
        };
        self.report(take, vec![finding])
    }

    fn report(&mut self, take: &Take, findings: Vec<Finding>) -> Result<()> {
        if !findings.is_empty() && self.volume.is_passed(take) {
            return Err(self.volume.overwritten(self.stream));
        }
        self.items.extend(findings.into_iter().filter(|finding| finding.footage_lost).map(Item::Damage));
        Ok(())
    }
}

/// Whether any chunk of a run in a block touches the range.
fn run_touches(footer: &Footer, run: RunId, range: TimeRange) -> bool {
    let mut mine = footer.chunks.iter().filter(|place| place.kind == ChunkKind::MEDIA && place.run == run);
    mine.any(|place| overlaps(place.wall_min, place.wall_max, range))
}

/// Whether a block goes on where the one before it ended: around a block that is held, others are overwritten.
fn follows(before: &Row, row: &Row) -> bool {
    before.last_chunk().next() == row.first_chunk
}

/// A place where reading may start.
#[derive(Clone, Copy)]
struct Start {
    chunk: u32,
    entry: u32,
    wall: WallTime,
}

/// Notes which chunks of a block hold no samples; nothing of a block in which damage hides chunks, and with them numbers.
fn note_quiet(quiet: &mut BTreeSet<ChunkNumber>, row: &Row, footer: &Footer) {
    if footer.chunks.len() != row.chunks as usize {
        return;
    }
    let silent = (0..).zip(&footer.chunks).filter(|(_, place)| place.kind != ChunkKind::MEDIA);
    quiet.extend(silent.map(|(index, _)| ChunkNumber(row.first_chunk.0.saturating_add(index))));
}
