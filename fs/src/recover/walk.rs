//! Walking the chunks of one block: what of it stands, after a clean end or a crash.
//!
//! A walk is long: a block of a quarter of a GiB has hundreds of chunks, each found by the header of the one before. Two things make
//! it short for who looks again and again. [`Remembered`] is where a walk ended: the next one goes on there. And many blocks are
//! walked in step ([`examine_all`]), each asking the disk for its next header before any is waited for.
//!
//! What is remembered of a block counts only while it is recorded into, and nothing else: see [`Remembered`].

use crate::format::chunk::Tables;
use crate::format::footer::Footer;
use crate::format::table::{PART_VOID, Row};
use crate::progress::Progress;
use crate::report::Finding;
use crate::scan::{Located, Scanner, Take};
use crate::types::{ChunkNumber, Epoch};
use std::sync::Arc;

/// What stands in a block.
pub(crate) struct Examined {
    /// The chunks that count, summed up.
    pub(crate) progress: Progress,
    /// Damage before the durable end.
    pub(crate) findings: Vec<Finding>,
    durable: Durable,
    tail: Vec<(usize, u32)>,
}

/// Walks a block: up to `durable_end` (bytes) what does not verify is damage and is skipped; behind it the first chunk that
/// does not verify and link ends the walk. Chunks from `stop` on do not count.
pub(crate) fn examine(
    scanner: &Scanner<'_>,
    take: &Take,
    durable_end: usize,
    stop: Option<ChunkNumber>,
) -> Examined {
    examine_as(scanner, take, Durable { end: durable_end, ..Durable::default() }, stop)
}

/// [`examine`] where a row of the same take tells what is durable, and what the chunk behind that links to.
pub(super) fn examine_known(scanner: &Scanner<'_>, take: &Take, row: &Row) -> Examined {
    let behind = Some((row.last_chunk().next(), row.last_checksum));
    let durable = Durable { end: row.used_bytes as usize, behind, ..Durable::default() };
    examine_as(scanner, take, durable, None)
}

/// What is known to be durable of a block.
#[derive(Clone, Copy, Default)]
pub(super) struct Durable {
    /// Where it ends, in bytes.
    pub(super) end: usize,
    /// Number and predecessor's checksum of the chunk behind it, where damage may hide them.
    behind: Option<(ChunkNumber, u32)>,
    /// After a crash of the writer of this epoch only its chunks count behind the end. What an earlier crash discarded stands
    /// there too, and damage may hide that it does not link.
    pub(super) writer: Option<Epoch>,
    /// The block is recorded into, and nothing is overwritten in it: see [`Remembered`].
    pub(super) is_recording: bool,
}

impl Durable {
    /// What the record of a writer tells of a block of which this much is durable, and of which this row was known, if any.
    pub(super) fn told(end: usize, writer: Epoch, known: &Row) -> Durable {
        let is_recording = end > known.used_bytes as usize || planted!(WalkGoesOnWhereErased);
        Durable { end, behind: None, writer: Some(writer), is_recording }
    }
}

/// Where a walk of a take ended, and what it had found up to there: all of it verified, nothing damaged, nothing void.
///
/// Chunks do not change but for becoming void, and those that were not durable may be lost in a crash. So a later walk goes on from
/// here where
///
/// - the same writer still records into the same take: it names the block, and more of it is durable than its settled row, if it
///   has one, ever knew. Whoever overwrites something in a block settles it first, and then names it with just what its row knows;
/// - the headers of the chunks that were not durable are the same; of those that still are not, the bytes are verified again, as any
///   walk does: a power cut loses one page of a chunk and keeps another.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    take: Take,
    progress: Arc<Progress>,
    /// Up to where it was durable, in bytes.
    durable_end: usize,
    /// The chunks behind that: where each begins, and the checksum of its header.
    tail: Vec<(usize, u32)>,
}

impl Remembered {
    /// What there is to remember of a walk.
    pub(super) fn of(take: &Take, examined: &Examined) -> Option<Remembered> {
        let progress = &examined.progress;
        let plain = examined.findings.is_empty() && progress.row.flags & PART_VOID == 0;
        (plain && progress.row.chunks > 0 && examined.durable.is_recording).then(|| Remembered {
            take: *take,
            progress: Arc::new(progress.clone()),
            durable_end: examined.durable.end,
            tail: examined.tail.clone(),
        })
    }

    /// The chunks and sync samples of a take whose row is this one.
    pub(super) fn footer(&self, take: &Take, row: &Row) -> Option<&Footer> {
        let mine = &self.progress.row;
        let same = (mine.chunks, mine.used_bytes, mine.last_checksum)
            == (row.chunks, row.used_bytes, row.last_checksum);
        (same && self.take == *take && row.flags & PART_VOID == 0).then_some(&self.progress.footer)
    }

    /// Whether a walk of this take may go on here.
    fn stands(&self, scanner: &Scanner<'_>, take: &Take, durable: &Durable) -> bool {
        let same = |(offset, checksum): &(usize, u32)| {
            let Some((located, _)) = scanner.chunk_at(take, *offset) else { return false };
            let durable = *offset < durable.end || planted!(RememberedTailUnverified);
            located.checksum == *checksum && (durable || scanner.load(&located).problems().is_empty())
        };
        self.take == *take
            && durable.is_recording
            && durable.end >= self.durable_end
            && (planted!(RememberedTailBelieved) || self.tail.iter().all(same))
    }
}

/// A block that is to be walked.
pub(super) struct Wanted<'a> {
    pub(super) take: Take,
    pub(super) durable: Durable,
    pub(super) remembered: Option<&'a Remembered>,
}

/// [`examine`] of many blocks in step.
pub(super) fn examine_all(scanner: &Scanner<'_>, wanted: &[Wanted<'_>]) -> Vec<Examined> {
    let begin = |wanted: &Wanted<'_>| {
        let mut walk = Walk::new(scanner, &wanted.take, wanted.durable);
        let from = walk.begin(wanted.remembered);
        (walk, from)
    };
    let mut walks: Vec<_> = wanted.iter().map(begin).collect();
    while walks.iter().any(|(_, at)| at.is_some()) {
        for (walk, at) in &walks {
            at.iter().for_each(|at| walk.will_read(*at));
        }
        for (walk, at) in &mut walks {
            *at = at.and_then(|at| walk.step(at, None));
        }
    }
    walks.into_iter().map(|(walk, _)| walk.end()).collect()
}

pub(super) fn examine_as(
    scanner: &Scanner<'_>,
    take: &Take,
    durable: Durable,
    stop: Option<ChunkNumber>,
) -> Examined {
    let mut walk = Walk::new(scanner, take, durable);
    let mut at = walk.begin(None);
    while let Some(offset) = at {
        at = walk.step(offset, stop);
    }
    walk.end()
}

struct Walk<'a> {
    scanner: &'a Scanner<'a>,
    take: Take,
    durable: Durable,
    progress: Progress,
    findings: Vec<Finding>,
    /// Number and predecessor's checksum of the next chunk, unless damage hides them.
    expected: Option<(ChunkNumber, u32)>,
    epoch: Epoch,
    /// The chunks behind the durable end: where each begins, and the checksum of its header.
    tail: Vec<(usize, u32)>,
}

impl<'a> Walk<'a> {
    fn new(scanner: &'a Scanner<'a>, take: &Take, durable: Durable) -> Walk<'a> {
        Walk {
            scanner,
            take: *take,
            durable,
            progress: Progress::new(take, scanner.geometry.page_bytes),
            findings: Vec::new(),
            expected: None,
            epoch: Epoch(0),
            tail: Vec::new(),
        }
    }

    /// Where the first chunk is that is to be looked at, if any is.
    fn begin(&mut self, remembered: Option<&Remembered>) -> Option<usize> {
        let stands = |remembered: &&Remembered| remembered.stands(self.scanner, &self.take, &self.durable);
        if let Some(remembered) = remembered.filter(stands) {
            self.progress = (*remembered.progress).clone();
            let row = &self.progress.row;
            self.expected = Some((row.last_chunk().next(), row.last_checksum));
            self.epoch = row.epoch;
            let behind = |(offset, _): &&(usize, u32)| *offset >= self.durable.end;
            self.tail = remembered.tail.iter().filter(behind).copied().collect();
            return Some(row.used_bytes as usize);
        }
        match self.scanner.block_header(self.take.block) {
            Ok(Some(header))
                if header.sequence == self.take.sequence && header.stream == self.take.stream =>
            {
                self.expected = Some((header.first_chunk, header.previous));
                self.epoch = header.epoch;
            }
            _ if self.durable.end > 0 => self.found(
                "block header",
                0,
                false,
                "neither copy verifies; the chunks say whose the block is",
            ),
            _ => return None,
        }
        Some(self.scanner.geometry.page_bytes)
    }

    /// Whether the header at `offset` may come from what the system remembers: it cannot have become void, and where it does not
    /// verify, the disk is asked.
    fn may_be_remembered(&self, offset: usize) -> bool {
        self.durable.is_recording && offset < self.durable.end
    }

    fn will_read(&self, offset: usize) {
        if self.may_be_remembered(offset) {
            self.scanner.will_read_head(&self.take, offset);
        }
    }

    fn chunk_at(&self, offset: usize) -> Option<(Located, Option<Tables>)> {
        let remembered = self.may_be_remembered(offset);
        let found = remembered.then(|| self.scanner.remembered_chunk_at(&self.take, offset)).flatten();
        found.or_else(|| self.scanner.chunk_at(&self.take, offset))
    }

    /// Takes the chunk at `offset`; where to go on, if anywhere.
    fn step(&mut self, offset: usize, stop: Option<ChunkNumber>) -> Option<usize> {
        let durable = offset < self.durable.end;
        if !durable && self.expected.is_none() {
            self.expected = self.durable.behind;
        }
        let Some((located, tables)) = self.chunk_at(offset) else {
            return if durable { self.skip_damage(offset, stop) } else { None };
        };
        let links = self.links(&located);
        let foreign = !planted!(EpochUnchecked)
            && self.durable.writer.is_some_and(|writer| located.header.epoch != writer);
        if !durable && (!links || foreign) {
            return None;
        }
        if !links {
            self.found("chunk header", offset, true, "does not link to the chunk before it");
        }
        // Of a void chunk one sector says all that counts: what it covers need not be zeros yet.
        let is_void = located.header.kind.is_void() && !planted!(UnwipedVoidRefused);
        let verified = || is_void || self.scanner.load(&located).problems().is_empty();
        if !durable && !planted!(TailUnverified) && !verified() {
            return None;
        }
        let tables = tables.or_else(|| self.scanner.tables(&located));
        let next = self.accept(&located, tables, stop);
        if !durable && next.is_some() {
            self.tail.push((offset, located.checksum));
        }
        next
    }

    fn accept(
        &mut self,
        located: &Located,
        tables: Option<Tables>,
        stop: Option<ChunkNumber>,
    ) -> Option<usize> {
        let header = &located.header;
        if stop.is_some_and(|stop| header.number >= stop) {
            return None;
        }
        if tables.is_none() {
            self.found("sample table", header.offset as usize, true, "neither copy verifies");
        }
        self.progress.add(header, located.checksum, &tables.unwrap_or_default());
        self.expected = Some((header.last_number().next(), located.checksum));
        self.epoch = header.epoch;
        Some(located.end())
    }

    fn links(&self, located: &Located) -> bool {
        let header = &located.header;
        let follows = match self.expected {
            Some((number, checksum)) => {
                planted!(ChainUnchecked) || header.number == number && header.previous == checksum
            }
            None => self.progress.row.chunks == 0 || header.number > self.progress.row.last_chunk(),
        };
        follows && (planted!(EpochUnchecked) || header.epoch >= self.epoch)
    }

    fn skip_damage(&mut self, offset: usize, stop: Option<ChunkNumber>) -> Option<usize> {
        match self.scanner.chunk_behind(&self.take, offset, self.durable.end) {
            Some(located) if located.head_lost && located.header.offset as usize == offset => {
                self.found(
                    "chunk header",
                    offset,
                    false,
                    "does not verify; the copy at the chunk's tail stands in",
                );
                let tables = self.scanner.tables(&located);
                self.accept(&located, tables, stop)
            }
            Some(located) => {
                self.found("chunk", offset, true, "neither of its headers verifies");
                self.expected = None;
                Some(located.header.offset as usize)
            }
            None => {
                self.found("chunk", offset, true, "neither of its headers verifies");
                self.expected = None;
                Some(self.durable.end)
            }
        }
    }

    fn found(&mut self, what: &'static str, offset: usize, footage_lost: bool, detail: &str) {
        self.findings.push(Finding {
            what,
            at: self.scanner.geometry.block_at(self.take.block) + offset as u64,
            block: Some(self.take.block),
            stream: Some(self.take.stream),
            footage_lost,
            detail: detail.to_owned(),
        });
    }

    fn end(self) -> Examined {
        let Walk { progress, findings, durable, tail, .. } = self;
        Examined { progress, findings, durable, tail }
    }
}
