//! Examining the blocks that a round record names and grants, and what is asked of single ones. How a block is walked:
//! [`super::walk`].

use super::walk::{Durable, Examined, Remembered, Wanted, examine, examine_all, examine_as};
use super::{Chains, Recovered, Rows, State, StreamEnd, free_row};
use crate::format::block::{BlockHeader, BlockTrailer};
use crate::format::chunk::ChunkKind;
use crate::format::footer::{ChunkPlace, Footer};
use crate::format::round::{NamedBlock, RoundRecord};
use crate::format::table::{NO_FOOTER, PART_VOID, Row};
use crate::hold::{has_footage, may_touch};
use crate::progress::Progress;
use crate::report::{BlockState, Finding, TimeRange};
use crate::retention::erase::moments_between;
use crate::scan::{Scanner, Take};
use crate::types::{BlockIndex, ChunkNumber, Sequence, StreamId};
use std::collections::BTreeMap;

/// A block that a round record makes worth a look.
struct Suspect {
    take: Take,
    /// The last chunk of the stream that the record knows to be durable.
    durable_chunk: Option<ChunkNumber>,
    header: Option<BlockHeader>,
    /// What was known of the same take.
    known: Row,
    durable: Durable,
    /// What stands in it, where that does not depend on other blocks.
    examined: Option<Examined>,
}

/// Examines what a round record names and grants.
pub(super) fn examine_named(scanner: &Scanner<'_>, state: &mut State, record: &RoundRecord) {
    let mut suspects: BTreeMap<StreamId, Vec<Suspect>> = BTreeMap::new();
    let mut durable: BTreeMap<StreamId, ChunkNumber> = BTreeMap::new();
    for named in &record.named {
        let chunk = durable.entry(named.stream).or_default();
        *chunk = named.durable_chunk.max(*chunk);
    }
    for granted in &record.granted {
        let header = scanner.block_header(granted.block).ok().flatten();
        match header {
            Some(header) if header.sequence == granted.sequence => {
                let take = Take { block: granted.block, sequence: header.sequence, stream: header.stream };
                suspects.entry(header.stream).or_default().push(Suspect {
                    durable: Durable::told(0, record.header.epoch, &state.known(&take)),
                    examined: None,
                    // A stream that left a bad block in this round is known by that.
                    durable_chunk: durable
                        .get(&header.stream)
                        .copied()
                        .filter(|_| !planted!(GrantedEndUnknown)),
                    header: Some(header),
                    known: state.known(&take),
                    take,
                });
            }
            _ => {
                if !planted!(GrantedStillServed) {
                    state.set(granted.block, free_row(header.as_ref()));
                }
                state.given_up.insert(granted.block);
            }
        }
    }
    for suspect in named(scanner, state, record) {
        suspects.entry(suspect.take.stream).or_default().push(suspect);
    }
    // What the table says of these blocks is of an earlier take, maybe of another stream, or older than what is about to be
    // found: none of it may be taken for the end of any stream.
    for suspect in suspects.values().flatten().filter(|_| !planted!(OldRowsBelieved)) {
        state.set(suspect.take.block, free_row(suspect.header.as_ref()));
    }
    for mut suspects in suspects.into_values() {
        suspects.sort_by_key(|suspect| suspect.take.sequence);
        for suspect in suspects {
            judge(scanner, state, suspect);
        }
    }
}

/// The blocks that a record names. Where something of one is durable, what stands in it is found out at once: the walks of all of
/// them go on in step, each from where it was the last time.
fn named(scanner: &Scanner<'_>, state: &State, record: &RoundRecord) -> Vec<Suspect> {
    let suspect = |named: &NamedBlock| {
        let take = Take { block: named.block, sequence: named.sequence, stream: named.stream };
        let known = state.known(&take);
        let end = (named.durable_end as usize).min(scanner.geometry.block_bytes);
        let durable = Durable::told(end, record.header.epoch, &known);
        let remembered = state.remembered.contains_key(&named.block);
        // Of what is remembered the header was seen.
        let header = || scanner.block_header(named.block).ok().flatten();
        let header = if remembered && durable.end > 0 { None } else { header() };
        Suspect { take, durable_chunk: Some(named.durable_chunk), header, known, durable, examined: None }
    };
    let mut suspects: Vec<Suspect> = record.named.iter().map(suspect).collect();
    let durable = |suspect: &&mut Suspect| suspect.durable.end > 0;
    let wanted: Vec<Wanted<'_>> = suspects
        .iter_mut()
        .filter(durable)
        .map(|suspect| Wanted {
            take: suspect.take,
            durable: suspect.durable,
            remembered: state.remembered.get(&suspect.take.block),
        })
        .collect();
    let examined = examine_all(scanner, &wanted);
    for (suspect, examined) in suspects.iter_mut().filter(durable).zip(examined) {
        if examined.progress.row.chunks == 0 {
            suspect.header = scanner.block_header(suspect.take.block).ok().flatten();
        }
        suspect.examined = Some(examined);
    }
    suspects
}

/// Decides what a suspect block holds, given all that came before it in its stream.
fn judge(scanner: &Scanner<'_>, state: &mut State, mut suspect: Suspect) {
    let take = &suspect.take;
    if suspect.durable.end == 0 {
        let mine = suspect
            .header
            .as_ref()
            .filter(|header| header.sequence == take.sequence && header.stream == take.stream);
        let Some(header) = mine else { return };
        // Never flushed: where a power cut tore the header page, nothing of the block was durable.
        if !planted!(TornHeaderAccepted) && !scanner.header_page_is_whole(take.block, header) {
            return;
        }
        // Where nothing of the stream is left, what came before was overwritten; but what was never durable was not: it is
        // missing, and what came behind it does not count.
        let alone = state.chains.before(take.stream, take.sequence).next().is_none();
        let durable = suspect.durable_chunk;
        let begins = durable.map_or(header.previous == 0, |durable| header.first_chunk <= durable.next());
        if alone && !begins {
            return;
        }
        if !links_after_voiding(scanner, state, take, header, durable) && !planted!(BlockLinkUnchecked) {
            return;
        }
    }
    let walked = suspect.examined.take();
    let examined = walked.unwrap_or_else(|| examine_as(scanner, take, suspect.durable, None));
    if let Some(remembered) = Remembered::of(take, &examined) {
        state.walks.insert(take.block, remembered);
    }
    // What is torn of chunks that nobody is given is no loss.
    let lost = suspect.known.withheld == 0;
    let findings = examined.findings.into_iter();
    let findings = findings.map(|finding| Finding { footage_lost: finding.footage_lost && lost, ..finding });
    state.findings.extend(findings);
    let examined_progress = examined.progress;
    let mut row = examined_progress.row.clone();
    if row.chunks == 0 {
        return;
    }
    let sealed = is_sealed(scanner, take, &row);
    if let Some(trailer) = scanner.trailer(take).filter(|_| sealed) {
        row.rank = row.rank.max(trailer.row.rank);
    }
    row.state = state_of(&examined_progress, sealed);
    row.withhold_as(&suspect.known);
    note_unfinished(state, take.block, &mut row);
    state.set(take.block, row);
}

/// The state of a block that nobody writes, by what stands in it; `sealed` says whether its footer does.
pub(crate) fn state_of(progress: &Progress, sealed: bool) -> BlockState {
    let erased = |place: &ChunkPlace| place.kind == ChunkKind::ERASED;
    match progress.row.flags & PART_VOID != 0 {
        true if !progress.is_void() => BlockState::Sealed,
        true if progress.footer.chunks.iter().any(erased) => BlockState::Erased,
        true => BlockState::Expired,
        false if sealed => BlockState::Sealed,
        false => BlockState::Parked,
    }
}

/// The takes of blocks that were given up after a crash, or withdrawn when they were to be erased, in which footage of a stream's
/// range may still stand: they count no more, but a rebuild would find it.
pub(crate) fn given_up<'a>(
    scanner: &Scanner<'_>,
    rows: impl Iterator<Item = (BlockIndex, &'a Row)>,
    stream: StreamId,
    range: TimeRange,
) -> Vec<Take> {
    let is_empty = |row: &Row| {
        matches!(row.state, BlockState::Free | BlockState::Bad)
            && row.chunks == 0
            && row.sequence > Sequence(0)
    };
    let (empty, others): (Vec<_>, Vec<_>) = rows.partition(|(_, row)| is_empty(row));
    let mine = others.into_iter().filter(|(_, row)| row.stream == stream && row.is_linked());
    let mut linked: Vec<(BlockIndex, Row)> = mine.map(|(block, row)| (block, row.clone())).collect();
    linked.sort_by_key(|(_, row)| row.sequence);
    let mut takes = Vec::new();
    for (block, _) in empty {
        let Ok(Some(header)) = scanner.block_header(block) else { continue };
        if header.stream != stream {
            continue;
        }
        let take = Take { block, sequence: header.sequence, stream };
        let row = Row { state: BlockState::Sealed, ..examine(scanner, &take, 0, None).progress.row };
        // Some of it may have been overwritten before, and nobody can tell what stands behind what is found: anything between the
        // moments of the blocks before and behind.
        let index = linked.partition_point(|(_, row)| row.sequence < take.sequence);
        let (before, behind) = moments_between(&linked, index);
        let before = if has_footage(&row) { row.wall_min } else { before };
        let asked = may_touch(&row, range) || before > behind || range.overlaps(before, behind);
        if asked || planted!(GivenUpAlwaysAsked) {
            takes.push(take);
        }
    }
    takes
}

/// Nothing is written behind what was overwritten, and its footer is gone; what a crash left of it is to be finished.
pub(super) fn note_unfinished(state: &mut State, block: BlockIndex, row: &mut Row) {
    if row.flags & PART_VOID != 0 {
        row.flags |= NO_FOOTER;
        state.unfinished.insert(block);
    }
}

/// Whether footer and trailer say the same as the chunks.
fn is_sealed(scanner: &Scanner<'_>, take: &Take, row: &Row) -> bool {
    scanner.footer(take).is_some_and(|(trailer, _)| {
        let sealed = &trailer.row;
        let same = (sealed.chunks, sealed.used_bytes, sealed.last_checksum)
            == (row.chunks, row.used_bytes, row.last_checksum);
        row.flags & PART_VOID == 0 && (same || planted!(FooterTrusted))
    })
}

/// How many blocks another may replace: a writer takes no more because of faults without a pause.
const REPLACED_MAX: usize = 64;

/// Whether a block begins where its stream ends. What older blocks hold at or above its first chunk number is void: the
/// writer moved here from them after a write error. A block that does not link voids nothing.
///
/// Older blocks that are held may be all that is left of the stream: then the block goes on behind what the record knows to be
/// durable (`durable`), whose block was given up.
pub(super) fn links_after_voiding(
    scanner: &Scanner<'_>,
    state: &mut State,
    take: &Take,
    header: &BlockHeader,
    durable: Option<ChunkNumber>,
) -> bool {
    let mut void: Vec<(BlockIndex, Row)> = Vec::new();
    let mut end = None;
    for block in state.chains.before(take.stream, take.sequence).rev() {
        let Some(row) = state.rows.get(block.0 as usize) else { continue };
        if void.len() > REPLACED_MAX {
            return false;
        }
        if row.last_chunk() < header.first_chunk {
            end = Some((row.last_chunk(), row.last_checksum));
            break;
        }
        if row.first_chunk < header.first_chunk {
            let older = Take { block, sequence: row.sequence, stream: row.stream };
            let cut =
                examine(scanner, &older, row.used_bytes as usize, Some(header.first_chunk)).progress.row;
            end = Some((cut.last_chunk(), cut.last_checksum));
            void.push((block, Row { state: BlockState::Bad, ..cut }));
            break;
        }
        void.push((block, Row { sequence: row.sequence, ..free_row(None) }));
    }
    let links = end.is_none_or(|(chunk, checksum)| {
        let given_up = durable.is_some_and(|durable| chunk < durable && header.first_chunk == durable.next());
        given_up || header.first_chunk == chunk.next() && header.previous == checksum
    });
    if links && !planted!(ReplacedNotVoided) {
        for (block, row) in void {
            state.set(block, row);
        }
    }
    links
}

/// The chunks and sync samples of a block: from its footer, else from its chunk headers, with what was met there.
pub(crate) fn contents(scanner: &Scanner<'_>, block: BlockIndex, row: &Row) -> (Footer, Vec<Finding>) {
    let take = Recovered::take(block, row);
    if let Some(footer) = footer_of(row, || scanner.footer(&take)) {
        return (footer, Vec::new());
    }
    let examined = examine(scanner, &take, row.used_bytes as usize, Some(row.last_chunk().next()));
    (examined.progress.footer, examined.findings)
}

/// The same, with the footer as the system remembers it: for readers, who verify the chunks that they go to by it.
pub(crate) fn remembered_contents(
    scanner: &Scanner<'_>,
    block: BlockIndex,
    row: &Row,
) -> (Footer, Vec<Finding>) {
    let take = Recovered::take(block, row);
    match footer_of(row, || scanner.remembered_footer(&take)) {
        Some(footer) => (footer, Vec::new()),
        None => contents(scanner, block, row),
    }
}

/// A footer that is kept of a take, or read, if the block has one by its row, and it tells of as many chunks.
pub(crate) fn kept_footer(row: &Row, kept: impl FnOnce() -> Option<Footer>) -> Option<Footer> {
    let footer = has_footer(row).then(kept).flatten()?;
    (footer.chunks.len() == row.chunks as usize || planted!(FooterTrusted)).then_some(footer)
}

fn has_footer(row: &Row) -> bool {
    row.state == BlockState::Sealed && row.flags & NO_FOOTER == 0
}

/// The footer of a block, if it has one that tells of as many chunks as its row.
fn footer_of(row: &Row, read: impl FnOnce() -> Option<(BlockTrailer, Footer)>) -> Option<Footer> {
    let (trailer, footer) = has_footer(row).then(read).flatten()?;
    (trailer.row.chunks == row.chunks || planted!(FooterTrusted)).then_some(footer)
}

/// Where each stream ends, by its rows.
pub(super) fn ends(rows: &Rows, chains: &Chains) -> BTreeMap<StreamId, StreamEnd> {
    let end = |stream| {
        let block = chains.newest(stream)?;
        let row = rows.get(block.0 as usize)?;
        let end = StreamEnd { chunk: row.last_chunk(), checksum: row.last_checksum, block: Some(block) };
        Some((stream, end))
    };
    chains.streams().filter_map(end).collect()
}
