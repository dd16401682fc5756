//! Reading a stream item by item.
//!
//! Block by block in the order of recording; of each block first the footer (or the chunk headers), then one chunk at a
//! time. What is kept in memory: the places of the chunks of a few blocks, one chunk, one sample that is split.

mod ahead;
mod chunks;
mod give;
mod mode;

pub use chunks::ChunkReader;

use mode::{Content, Mode, Open};

use super::ahead::Ahead;
use super::kept::ChunkAt;
use super::{Volume, last_run};
use crate::error::Result;
use crate::format::chunk::ChunkKind;
use crate::format::footer::{ChunkPlace, Footer};
use crate::format::table::Row;
use crate::recover::Recovered;
use crate::report::{BlockState, ErasedSpan, Finding, Item, TimeRange};
use crate::sample::{Anchor, SampleRow};
use crate::scan::Take;
use crate::types::{BlockIndex, ChunkNumber, ConfigurationHash, RunId, StreamId, TrackNumber, WallTime};
use bytes::BytesMut;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::ops::RangeInclusive;

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
    /// Something was overwritten while it was read: nothing is given before the next seek point.
    broken: bool,
    /// Chunks that stand between samples but hold none, by number: only they may lie between the parts of a sample.
    quiet: BTreeSet<ChunkNumber>,
    unknown_chunks: u64,
    mode: Mode,
    ahead: Option<Ahead>,
    /// After how many more chunks reading ahead begins, if it is to.
    ahead_after: Option<u32>,
    /// Chunks of blocks that are not planned yet, which will probably be wanted; and up to which block.
    guessed: VecDeque<ChunkAt>,
    guessed_to: usize,
    /// Whether the first entry that was met goes on with a sample of which the beginning was not.
    begins_inside: Option<bool>,
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
    row: SampleRow,
    data: BytesMut,
}

impl Step {
    fn at(&self) -> ChunkAt {
        ChunkAt::new(&self.take, &self.place)
    }
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
            broken: false,
            quiet: BTreeSet::new(),
            unknown_chunks: 0,
            mode: Mode::Samples,
            ahead: None,
            ahead_after: None,
            guessed: VecDeque::new(),
            guessed_to: 0,
            begins_inside: None,
        }
    }

    /// The same cursor, before its first item, for what [`Volume::list`] gives.
    pub(super) fn listing(self) -> Self {
        let mode = Mode::Rows(Open::of(self.volume));
        Cursor { mode, ..self }
    }

    /// The same cursor for what [`Volume::list_chunks`] gives.
    pub(in crate::reader) fn listing_chunks(self, chunks: RangeInclusive<ChunkNumber>) -> Self {
        let mode = Mode::Chunks(chunks, Content::Nothing(Open::of(self.volume)));
        Cursor { mode, ..self }
    }

    /// The same for one sample that was listed.
    pub(in crate::reader) fn of_sample(self, row: SampleRow) -> Self {
        Cursor { mode: Mode::Chunks(row.begins..=row.chunk, Content::One(row)), ..self }
    }

    /// Whether the chunks that were asked for begin with the rest of a sample, which is left out for its beginning stands before them.
    /// Known once the first item of them was given, or none is left.
    pub fn begins_inside(&self) -> bool {
        self.begins_inside.unwrap_or(false)
    }

    /// How many chunks were passed over because a later version wrote them, of a kind that this one does not know.
    pub fn unknown_chunks(&self) -> u64 {
        self.unknown_chunks
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
            self.look_ahead();
            if let Some(step) = self.steps.pop_front() {
                self.give(&step)?;
                continue;
            }
            if self.unsettled || self.next_block >= self.blocks.len() {
                return Ok(None);
            }
            let index = self.next_block;
            self.next_block += 1;
            self.forget_guesses(index);
            self.plan_block(index)?;
            self.fetch_tables();
        }
    }

    /// Has what will be read of the planned chunks fetched at once, where their tables are enough: one after the other they would cost
    /// a disk's answer each.
    fn fetch_tables(&self) {
        let scanner = self.volume.scanner();
        let mine = |step: &&Step| step.place.kind == ChunkKind::MEDIA && self.mode.takes_tables(step);
        for step in self.steps.iter().filter(mine) {
            scanner.will_read_tables(&step.take, step.place.offset as usize);
        }
    }

    /// Finds out which chunks of a block to give, and from where.
    fn plan_block(&mut self, index: usize) -> Result<()> {
        let Some((block, row)) = self.blocks.get(index).cloned() else { return Ok(()) };
        if !self.reaches(&row) {
            return Ok(());
        }
        if !row.is_live() {
            self.begun.clear();
            self.pass_void(row.wall_min, row.wall_max, row.state == BlockState::Expired);
            return Ok(());
        }
        let take = Recovered::take(block, &row);
        if self.blocks[..index].last().is_some_and(|(_, before)| !follows(before, &row)) {
            // What lay between was overwritten: nothing here can be decoded from what came before.
            self.begun.clear();
        }
        let (footer, findings) = self.settled_contents(&take, &row)?;
        if self.mode.tells_hidden() {
            self.report(&take, findings)?;
        }
        // A sample's parts lie close together.
        self.quiet = self.quiet.split_off(&ChunkNumber(row.first_chunk.0.saturating_sub(QUIET_REACH)));
        let page_bytes = self.volume.state.geometry.page_bytes;
        note_quiet(&mut self.quiet, &row, &footer, page_bytes);
        if self.mode.is_by_chunks() {
            self.plan_chunks(&take, &row, &footer);
            return Ok(());
        }
        let mut void = None;
        for (chunk, place) in (0..).zip(&footer.chunks) {
            let step = |from_entry| Step { take, place: place.clone(), from_entry, lead: false };
            match place.kind {
                ChunkKind::EVENT => self.steps.push_back(step(0)),
                kind if kind.is_void() => {
                    void = Some(chunk);
                    self.begun.clear();
                    self.steps.extend((place.bytes > 0).then(|| step(0)));
                }
                ChunkKind::MEDIA if self.begun.contains(&place.run) => self.steps.push_back(step(0)),
                // A block with several runs may touch the range by others: a run begun too early would be given with a hole.
                ChunkKind::MEDIA if !run_touches(&footer, place.run, self.range) => {}
                ChunkKind::MEDIA => {
                    let begin = self.begin_run(index, &footer, chunk, place.run, void);
                    self.steps.extend(begin.map(|(from_entry, lead)| Step { lead, ..step(from_entry) }));
                }
                ChunkKind::CONFIGURATION => {}
                _ => self.unknown_chunks += 1,
            }
        }
        Ok(())
    }

    /// Whether a block may have something of what is wanted: also one that has nothing but the middle of one large sample.
    fn reaches(&self, row: &Row) -> bool {
        let overlaps = row.payload_bytes == 0 || self.range.overlaps(row.wall_min, row.wall_max);
        overlaps && self.mode.reaches(row)
    }

    /// What stands in a block, as far as it is settled.
    fn settled_contents(&mut self, take: &Take, row: &Row) -> Result<(Footer, Vec<Finding>)> {
        let (mut footer, mut findings) = self.volume.places(take.block, row);
        let first_lost =
            findings.iter().filter(|finding| finding.footage_lost).map(|finding| finding.at).min();
        let Some(first_lost) = first_lost else { return Ok((footer, findings)) };
        if self.volume.is_passed(take) {
            return Err(self.volume.overwritten(take));
        }
        if !self.volume.is_unsettled(take, first_lost) {
            return Ok(self.volume.places(take.block, row));
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
    /// comes before in earlier blocks is queued. `void` is the last chunk before it that was overwritten.
    fn begin_run(
        &mut self,
        index: usize,
        footer: &Footer,
        chunk: u32,
        run: RunId,
        void: Option<u32>,
    ) -> Option<(u32, bool)> {
        let start = self.start_in(footer, run, void);
        let goes_on = void.is_none()
            && footer.chunks.iter().position(|place| place.kind == ChunkKind::MEDIA) == Some(chunk as usize);
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

    /// Where a run is to begin in a block behind what was overwritten: the last place at or before the range, else the first.
    fn start_in(&self, footer: &Footer, run: RunId, void: Option<u32>) -> Option<Start> {
        let mine = footer
            .syncs
            .iter()
            .filter(|sync| footer.chunks.get(sync.chunk as usize).is_some_and(|place| place.run == run))
            .filter(|sync| void.is_none_or(|void| sync.chunk > void));
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
            let (footer, _) = self.volume.places(*block, row);
            if last_run(&footer) != Some(run) {
                return false;
            }
            note_quiet(&mut self.quiet, row, &footer, self.volume.state.geometry.page_bytes);
            let void = (0..).zip(&footer.chunks).filter(|(_, place)| place.kind.is_void()).last();
            let void: Option<u32> = void.map(|(chunk, _)| chunk);
            let start = self
                .start_in(&footer, run, void)
                .filter(|start| self.range.from.is_none_or(|from| start.wall <= from));
            if start.is_none() && void.is_some() {
                return false;
            }
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

    /// Something does not verify: the ring has passed, or it is damage, which is reported and skipped.
    fn damage(&mut self, take: &Take, what: &'static str, offset: usize, detail: &str) -> Result<()> {
        if let Some(void) = self.volume.void_at(take, offset) {
            self.broken = true;
            self.pass_void(void.wall_min, void.wall_max, void.kind == ChunkKind::EXPIRED);
            return Ok(());
        }
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

    /// Footage was overwritten here: what follows cannot be decoded from what came before.
    fn pass_void(&mut self, from: WallTime, to: WallTime, expired: bool) {
        self.split = None;
        if self.range.overlaps(from, to) {
            self.items.push_back(Item::Erased(ErasedSpan { from, to, expired }));
        }
    }

    fn report(&mut self, take: &Take, findings: Vec<Finding>) -> Result<()> {
        if !findings.is_empty() && self.volume.is_passed(take) {
            return Err(self.volume.overwritten(take));
        }
        self.items.extend(findings.into_iter().filter(|finding| finding.footage_lost).map(Item::Damage));
        Ok(())
    }
}

/// Whether any chunk of a run in a block touches the range.
fn run_touches(footer: &Footer, run: RunId, range: TimeRange) -> bool {
    let mut mine = footer.chunks.iter().filter(|place| place.kind == ChunkKind::MEDIA && place.run == run);
    mine.any(|place| range.overlaps(place.wall_min, place.wall_max))
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

/// Notes which chunks of a block hold no samples. Where damage hides chunks, those before it are numbered from the block's first chunk,
/// those behind it from the last, and those between two such places not at all.
fn note_quiet(quiet: &mut BTreeSet<ChunkNumber>, row: &Row, footer: &Footer, page_bytes: usize) {
    let hidden = hidden_before(row, footer, page_bytes);
    let (chunks, all) = (footer.chunks.len(), row.chunks as usize);
    // A row that was made when the first chunks could not be read begins behind them.
    let numbered = match hidden.first() {
        Some(true) => chunks <= all,
        _ if hidden.contains(&true) => chunks < all,
        _ => chunks == all,
    };
    if !numbered || hidden.contains(&true) && planted!(DamageHidesNumbers) {
        return;
    }
    let first_hidden = hidden.iter().position(|hidden| *hidden).unwrap_or(chunks);
    let last_hidden = hidden.iter().rposition(|hidden| *hidden).unwrap_or(chunks);
    for (index, place) in footer.chunks.iter().enumerate() {
        let number = if index < first_hidden {
            row.first_chunk.0.saturating_add(index as u64)
        } else if index >= last_hidden {
            row.last_chunk().0.saturating_sub((chunks - 1 - index) as u64)
        } else {
            continue;
        };
        if place.kind != ChunkKind::MEDIA && !place.kind.is_void() {
            quiet.insert(ChunkNumber(number));
        }
    }
}

/// Before which chunks of a block damage hides others; at last, whether behind all of them, where also what is unsettled is left out.
fn hidden_before(row: &Row, footer: &Footer, page_bytes: usize) -> Vec<bool> {
    let mut end = page_bytes as u32;
    let mut hidden = Vec::with_capacity(footer.chunks.len() + 1);
    for place in &footer.chunks {
        hidden.push(place.offset != end);
        end = place.offset.saturating_add(place.bytes);
    }
    // Of a block that refuses writes the row tells more bytes than are used.
    hidden.push(footer.chunks.len() < row.chunks as usize && end != row.used_bytes);
    hidden
}
