//! One stream on its way to the disk: what came in, the chunk in the making, the block being written.
//!
//! ```text
//! input queue -> draft -> chunk (in flight, kept until durable) -> durable
//!
//! block:  none -> open -> sealed          (no room for the next chunk)
//!                 open <-> parked         (the stream stopped; it resumes where it stopped)
//!                 open -> bad             (a write failed: all that is not durable goes to a fresh block)
//! ```

mod block;
mod relocate;

use super::core::Core;
use super::draft::{Draft, Part, TrackEnd};
use super::writes::Purpose;
use crate::disk::{AlignedBuffer, Disk};
use crate::format::chunk::{
    self, ChunkHeader, ChunkKind, Entry, NO_TRACK, Piece, Tables, VOUCHED, bytes_padded,
};
use crate::format::footer::Footer;
use crate::format::table::Row;
use crate::format::{FORMAT_VERSION, round_up};
use crate::gap::Gap;
use crate::progress::Progress;
use crate::recover::StreamEnd;
use crate::retention::age::vouched;
use crate::sample::{Anchor, QUEUED_OVERHEAD_BYTES, Sample, SampleFlags};
use crate::scan::Take;
use crate::types::{BlockIndex, ChunkNumber, ConfigurationHash, RunId, StreamId, StreamName, TrackNumber};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A configuration in its stored form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredConfiguration {
    /// The bytes.
    pub(crate) bytes: Bytes,
    /// Their hash.
    pub(crate) hash: ConfigurationHash,
    /// Which of its tracks are video.
    pub(crate) video: Vec<TrackNumber>,
}

/// What a stream is told.
#[derive(Debug)]
pub(crate) enum Input {
    Configure(Arc<StoredConfiguration>),
    Run(RunId),
    Anchor(Anchor),
    Sample(Sample),
    Gap(Gap),
    Park,
}

/// No block may be taken at the moment.
pub(crate) struct Starved;

/// A block being written.
#[derive(Debug)]
struct OpenBlock {
    take: Take,
    progress: Progress,
}

/// A chunk that is not yet durable.
struct Undurable {
    header: ChunkHeader,
    buffer: Arc<AlignedBuffer>,
    ends: Vec<TrackEnd>,
    queued_bytes: usize,
}

/// How far a track is durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DurableEnd {
    pub(crate) run: RunId,
    pub(crate) end: TrackEnd,
}

/// A stream of the volume.
pub(crate) struct Stream {
    index: usize,
    pub(crate) id: StreamId,
    pub(crate) name: StreamName,
    queue: VecDeque<Input>,
    /// How much of the sample at the front of the queue is in chunks already, in bytes.
    sent: usize,
    draft: Draft,
    configuration: Option<Arc<StoredConfiguration>>,
    run: RunId,
    anchors: BTreeMap<TrackNumber, Anchor>,
    number: ChunkNumber,
    previous: u32,
    open: Option<OpenBlock>,
    parked: Option<BlockIndex>,
    /// What stands in the parked block, if it was parked by this writer.
    parked_open: Option<OpenBlock>,
    undurable: VecDeque<Undurable>,
    /// Chunks whose write failed and that have found no other place yet.
    homeless: VecDeque<Undurable>,
    /// What was sent to the disk since the last round, and how much that was at most of late, in bytes.
    sent_bytes: usize,
    pace_bytes: usize,
    left_out_bytes: usize,
    freed_bytes: usize,
    durable: (ChunkNumber, u32),
    pub(crate) durable_tracks: BTreeMap<TrackNumber, DurableEnd>,
}

impl Stream {
    /// A stream that goes on where it ended.
    pub(crate) fn new(index: usize, id: StreamId, name: StreamName, end: StreamEnd) -> Stream {
        Stream {
            index,
            id,
            name,
            queue: VecDeque::new(),
            sent: 0,
            draft: Draft::default(),
            configuration: None,
            run: RunId::default(),
            anchors: BTreeMap::new(),
            number: end.chunk.next(),
            previous: end.checksum,
            open: None,
            parked: end.block,
            parked_open: None,
            undurable: VecDeque::new(),
            homeless: VecDeque::new(),
            sent_bytes: 0,
            pace_bytes: 0,
            left_out_bytes: 0,
            freed_bytes: 0,
            durable: (end.chunk, end.checksum),
            durable_tracks: BTreeMap::new(),
        }
    }

    /// The block being written and its row so far.
    pub(super) fn open_row(&self) -> Option<(BlockIndex, &Row)> {
        self.open.as_ref().map(|open| (open.take.block, &open.progress.row))
    }

    /// What stands in a block, if it is the one being written.
    pub(super) fn open_contents(&self, block: BlockIndex) -> Option<&Footer> {
        self.open.as_ref().filter(|open| open.take.block == block).map(|open| &open.progress.footer)
    }

    /// Ends the block that is being written, if nothing waits for room in it.
    pub(crate) fn end_block<D: Disk>(&mut self, core: &mut Core<D>) {
        self.cut(core);
        self.seal(core);
    }

    /// The block that would be written on.
    pub(crate) fn parked(&self) -> Option<BlockIndex> {
        self.parked
    }

    /// The parked block is not written on.
    pub(crate) fn leave_parked(&mut self) {
        (self.parked, self.parked_open) = (None, None);
    }

    /// The durable watermark.
    pub(crate) fn durable_chunk(&self) -> ChunkNumber {
        self.durable.0
    }

    /// Whether it writes or waits to.
    pub(crate) fn is_active(&self) -> bool {
        self.open.is_some() || !self.queue.is_empty()
    }

    /// Whether nothing of it waits for the disk.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.draft.is_empty()
            && self.undurable.is_empty()
            && self.homeless.is_empty()
    }

    /// How much it sends from one round to the next, in bytes: the most of late.
    pub(crate) fn pace_bytes(&self) -> usize {
        self.pace_bytes
    }

    /// A round has come: looks at what was sent since the last one.
    pub(crate) fn note_pace(&mut self) {
        const FORGOTTEN_PART: usize = 8;
        let fading = self.pace_bytes - self.pace_bytes / FORGOTTEN_PART;
        self.pace_bytes = fading.max(std::mem::take(&mut self.sent_bytes));
    }

    pub(crate) fn accept(&mut self, input: Input) {
        self.queue.push_back(input);
    }

    /// Moves what came in into chunks, as far as blocks may be taken. Chunks that are full go out at once.
    pub(crate) fn advance<D: Disk>(&mut self, core: &mut Core<D>) -> Result<(), Starved> {
        self.house(core)?;
        while !self.draft.is_empty() {
            self.ensure_block(core, true)?;
            // The block it was gathered for may be gone after a failed write, and less room be left in this one.
            if self.draft.bytes(core.geometry.page_bytes) <= self.limits(core).0 {
                break;
            }
            self.seal(core);
        }
        while let Some(input) = self.queue.pop_front() {
            if let Err(input) = self.take_in(core, input) {
                self.queue.push_front(input);
                return Err(Starved);
            }
        }
        Ok(())
    }

    fn take_in<D: Disk>(&mut self, core: &mut Core<D>, input: Input) -> Result<(), Input> {
        match input {
            Input::Configure(configuration) => {
                self.cut(core);
                self.configuration = Some(configuration);
            }
            Input::Run(run) => {
                self.cut(core);
                self.run = run;
                self.anchors.clear();
            }
            Input::Anchor(anchor) => {
                self.anchors.insert(anchor.track, anchor);
            }
            Input::Sample(sample) => {
                return self.put_sample(core, &sample).map_err(|Starved| Input::Sample(sample));
            }
            Input::Gap(gap) => return self.put_gap(core, &gap).map_err(|Starved| Input::Gap(gap)),
            Input::Park => {
                self.cut(core);
                self.park(core);
            }
        }
        Ok(())
    }

    fn put_sample<D: Disk>(&mut self, core: &mut Core<D>, sample: &Sample) -> Result<(), Starved> {
        // The way in refuses samples without an anchor; one can only be missing here after it was forgotten by a new run.
        let Some(anchor) = self.anchors.get(&sample.track).copied() else {
            self.left_out_bytes += sample.queued_bytes();
            return Ok(());
        };
        let length = sample.len();
        loop {
            self.ensure_block(core, true)?;
            let (room, limit) = self.limits(core);
            let part = self.part(sample, self.sent, length);
            if self.draft.fits(&part, &anchor, limit, core.geometry.page_bytes) {
                self.draft.add(part, &anchor);
                self.sent = 0;
                return Ok(());
            }
            if !self.draft.is_empty() {
                self.cut(core);
                continue;
            }
            let capacity = Draft::capacity(limit);
            let scrap = room < core.geometry.block_bytes / 32;
            if capacity == 0 || scrap {
                self.seal(core);
                continue;
            }
            let fragment = self.part(sample, self.sent, (self.sent + capacity).min(length));
            self.draft.add(fragment, &anchor);
            self.sent = (self.sent + capacity).min(length);
            self.cut(core);
        }
    }

    /// The bytes of a sample from `from` to `to`, with the flags of that part.
    fn part(&self, sample: &Sample, from: usize, to: usize) -> Part {
        let (first, last) = (from == 0, to == sample.len());
        let mut flags = sample.flags.of_the_sample();
        flags = match (first, last) {
            (true, true) => flags,
            (true, false) => flags.with(SampleFlags::FIRST_FRAGMENT),
            (false, false) => flags.with(SampleFlags::MORE_FRAGMENT),
            (false, true) => flags.with(SampleFlags::LAST_FRAGMENT),
        };
        let video = self
            .configuration
            .as_ref()
            .map(|configuration| configuration.video.as_slice())
            .unwrap_or_default();
        let seek_point = if video.is_empty() {
            self.draft.is_empty()
        } else {
            video.contains(&sample.track) && sample.flags.contains(SampleFlags::SYNC)
        };
        if first && seek_point {
            flags = flags.with(SampleFlags::SEEK_POINT);
        }
        let data = slice_pieces(&sample.data, from, to);
        Part { track: sample.track, ticks: sample.ticks, flags, data, bytes: to - from, last }
    }

    fn put_gap<D: Disk>(&mut self, core: &mut Core<D>, gap: &Gap) -> Result<(), Starved> {
        if planted!(GapDropped) {
            return Ok(());
        }
        self.cut(core);
        let content = Bytes::from(gap.encode());
        let wall = (gap.from, gap.to.unwrap_or(gap.from));
        let draft = Draft { wall: Some(wall), ..twice(&content, core.geometry.page_bytes) };
        self.ensure_room(core, &draft)?;
        self.emit(core, ChunkKind::EVENT, draft);
        Ok(())
    }

    /// Cuts the draft: it goes out as a chunk. After a failed write it waits until there is a block again.
    pub(crate) fn cut<D: Disk>(&mut self, core: &mut Core<D>) {
        if !self.draft.is_empty() && self.open.is_some() {
            let draft = std::mem::take(&mut self.draft);
            self.emit(core, ChunkKind::MEDIA, draft);
        }
    }

    fn emit<D: Disk>(&mut self, core: &mut Core<D>, kind: ChunkKind, draft: Draft) {
        let Some(open) = &mut self.open else { return };
        let (wall_min, wall_max) = draft.wall.unwrap_or_default();
        let header = ChunkHeader {
            version: FORMAT_VERSION,
            kind,
            volume: core.volume,
            block: open.take.block,
            offset: open.progress.row.used_bytes,
            sequence: open.take.sequence,
            stream: self.id,
            epoch: core.epoch,
            previous: if planted!(ChainNotWritten) { 0 } else { self.previous },
            number: self.number,
            run: self.run,
            configuration: self
                .configuration
                .as_ref()
                .map(|configuration| configuration.hash)
                .unwrap_or_default(),
            sync_samples: draft.sync_samples,
            samples: draft.samples,
            wall_min,
            wall_max,
            rank: if planted!(RankForgotten) { open.take.sequence } else { core.ledger.highest() },
            running_s: core.running_seconds(),
            flags: if vouched(&*core.clock, wall_min, wall_max) { VOUCHED } else { 0 },
            ..ChunkHeader::default()
        };
        let payload: usize = draft.pieces.iter().flat_map(|piece| &piece.data).map(Bytes::len).sum();
        let length = bytes_padded(draft.anchors.len(), draft.pieces.len(), payload, core.geometry.page_bytes);
        let mut buffer = core.writes.stale_buffer(length);
        let (header, checksum) = chunk::seal(&header, &draft.anchors, &draft.pieces, &mut buffer);
        let samples = header.samples as usize;
        let queued_bytes =
            if kind == ChunkKind::MEDIA { payload + samples * QUEUED_OVERHEAD_BYTES } else { 0 };
        self.send(core, header, checksum, Arc::new(buffer), draft.ends, queued_bytes);
    }

    /// Places a sealed chunk at the end of the open block and starts writing it.
    fn send<D: Disk>(
        &mut self,
        core: &mut Core<D>,
        header: ChunkHeader,
        checksum: u32,
        buffer: Arc<AlignedBuffer>,
        ends: Vec<TrackEnd>,
        queued_bytes: usize,
    ) {
        let Some(open) = &mut self.open else { return };
        let tables = Tables::at_head(&header, &buffer).unwrap_or_default();
        open.progress.add(&header, checksum, &tables);
        let at = core.geometry.block_at(header.block) + u64::from(header.offset);
        core.writes.submit(at, Arc::clone(&buffer), Purpose::Chunk(self.index, header.block, header.number));
        core.chunk_sent(header.block, header.offset as usize + header.bytes as usize);
        self.sent_bytes += buffer.len();
        self.number = header.number.next();
        self.previous = checksum;
        let early = if planted!(FreedBeforeDurable) { queued_bytes } else { 0 };
        self.freed_bytes += early;
        let queued_bytes = queued_bytes - early;
        self.undurable.push_back(Undurable { header, buffer, ends, queued_bytes });
    }

    /// Everything sent is durable.
    pub(crate) fn flushed(&mut self) {
        self.freed_bytes += std::mem::take(&mut self.left_out_bytes);
        for chunk in self.undurable.drain(..) {
            self.freed_bytes += chunk.queued_bytes;
            for end in chunk.ends {
                let run = chunk.header.run;
                let place = self
                    .durable_tracks
                    .entry(end.track)
                    .or_insert(DurableEnd { run, end: TrackEnd { samples: 0, ..end } });
                let samples = place.end.samples + end.samples;
                *place = DurableEnd { run, end: TrackEnd { samples, ..end } };
            }
        }
        self.durable = (ChunkNumber(self.number.0 - 1), self.previous);
    }

    /// What of samples is in memory, for the proof: counted from what there is, whatever was said to be free.
    #[cfg(test)]
    pub(crate) fn memory_bytes(&self) -> usize {
        let queued = self.queue.iter().map(|input| match input {
            Input::Sample(sample) => sample.queued_bytes(),
            _ => 0,
        });
        let chunks = self.undurable.iter().chain(&self.homeless).map(|chunk| chunk.buffer.len());
        queued.chain(chunks).sum::<usize>() + self.draft.payload
    }

    /// Bytes that no longer wait in memory since this was asked last.
    pub(crate) fn take_freed_bytes(&mut self) -> usize {
        std::mem::take(&mut self.freed_bytes)
    }
}

/// A draft that holds its content as two equal entries of which none has bytes in a page with the other: zeros keep small ones
/// apart.
fn twice(content: &Bytes, page_bytes: usize) -> Draft {
    let piece = |data| Piece { entry: Entry { track: NO_TRACK, ..Entry::default() }, data: vec![data] };
    let copy = piece(content.clone());
    let ends = chunk::payload_at(0, 2) + content.len();
    if ends.is_multiple_of(page_bytes) || planted!(CopiesTogether) {
        return Draft { pieces: vec![copy.clone(), copy], payload: 2 * content.len(), ..Draft::default() };
    }
    let ends = chunk::payload_at(0, 3) + content.len();
    let apart = round_up(ends, page_bytes) - ends;
    let pieces = vec![copy.clone(), piece(Bytes::from(vec![0; apart])), copy];
    Draft { pieces, payload: 2 * content.len() + apart, ..Draft::default() }
}

/// The pieces between two places of their concatenation.
fn slice_pieces(pieces: &[Bytes], from: usize, to: usize) -> Vec<Bytes> {
    let mut at = 0;
    let mut out = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let (begin, end) = (from.max(at), to.min(at + piece.len()));
        if begin < end {
            out.push(piece.slice(begin - at..end - at));
        }
        at += piece.len();
    }
    out
}
