//! The one judge: what was pushed and what was said to be durable against what an image holds.
//!
//! It reads an image twice: once by the crate's reader, once chunk by chunk by its own walk, in which every chunk must link
//! to the one before, and holds both against the model. It accepts no excuse but one: blocks that the writer had set aside or
//! taken for newer footage.

use super::holds::{self, HeldModel};
use super::material::{Pushed, Run, is_payload};
use super::retention;
use super::sessions::{self, Sessions};
use super::{Verdict, demand};
use crate::configuration::Configuration;
use crate::disk::ReadAt;
use crate::format::chunk::ChunkKind;
use crate::gap::Gap;
use crate::hold::{Guard, Hold};
use crate::reader::Volume;
use crate::recover::{Recovered, examine, newest_record};
use crate::report::{BlockState, Finding, Item, RoundReport, TimeRange};
use crate::retention::Retention;
use crate::sample::SampleFlags;
use crate::scan::Scanner;
use crate::types::{ChunkNumber, ConfigurationHash, Epoch, HoldId, RunId, StreamId, StreamName, TrackNumber};
use crate::writer::inspect::View;
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

/// One thing pushed into a stream.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Sample(Pushed),
    Gap(Gap),
}

/// All that a stream was given since what it holds, and how much of it is safe.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamModel {
    pub(super) id: StreamId,
    pub(super) entries: Vec<Entry>,
    /// Entries before this one must never be seen again.
    pub(super) gone: usize,
    /// Entries before this one were reported durable.
    pub(super) durable: usize,
    /// The watermark reported.
    pub(super) durable_chunk: ChunkNumber,
    /// Samples by track that this writer reported durable.
    counted: BTreeMap<TrackNumber, u64>,
}

/// All streams, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) streams: BTreeMap<String, StreamModel>,
    pub(super) configurations: HashMap<ConfigurationHash, Configuration>,
    /// The epoch of the last writer.
    pub(super) epoch: Epoch,
    /// Writers that were handed out.
    pub(super) sessions: Sessions,
    /// Holds that were acknowledged.
    pub(super) holds: BTreeMap<HoldId, HeldModel>,
    /// A hold was lost, and that is to be said.
    pub(super) holds_lost: bool,
    /// Every hold there ever was: behind what it kept, the ring may have gone on.
    pub(super) once_held: Vec<Hold>,
    /// How long the footage of streams stays, and what is about to be said of it.
    pub(super) retention: BTreeMap<String, (Retention, Option<Retention>)>,
}

impl Model {
    /// A writer begins to count.
    pub(super) fn opened(&mut self) {
        for stream in self.streams.values_mut() {
            stream.counted.clear();
            stream.durable = stream.entries.len();
        }
    }

    /// Takes note of what a round made durable; it must be what was pushed, in order.
    pub(super) fn reported(&mut self, report: &RoundReport) -> Verdict {
        for durable in &report.streams {
            let Some(stream) = self.streams.get_mut(durable.name.as_str()) else { continue };
            stream.id = durable.stream;
            demand!(durable.chunk >= stream.durable_chunk, "a watermark went back: {durable:?}");
            stream.durable_chunk = durable.chunk;
            let told: BTreeMap<_, _> =
                durable.tracks.iter().map(|track| (track.track, (track.samples, track.ticks))).collect();
            let mut last: BTreeMap<TrackNumber, i64> = BTreeMap::new();
            for (index, entry) in stream.entries.iter().enumerate().skip(stream.durable) {
                let Entry::Sample(sample) = entry else { continue };
                let count = stream.counted.entry(sample.track).or_default();
                if told.get(&sample.track).is_none_or(|(samples, _)| *samples <= *count) {
                    break;
                }
                *count += 1;
                last.insert(sample.track, sample.number as i64);
                stream.durable = index + 1;
            }
            for (track, (samples, ticks)) in told {
                let counted = stream.counted.get(&track).copied().unwrap_or_default();
                demand!(
                    counted == samples,
                    "{}: {samples} durable samples of track {track}, but in the order of pushing {counted}",
                    durable.name
                );
                let right = last.get(&track).is_none_or(|last| *last == ticks);
                demand!(right, "{}: track {track} durable up to {ticks}, not {last:?}", durable.name);
            }
        }
        Ok(())
    }
}

/// What must be in an image.
#[derive(Clone, Debug)]
pub(super) struct Claim<'a> {
    pub(super) model: &'a Model,
    /// Views of the writers that were at work until the image was taken, the oldest first.
    pub(super) views: Vec<View>,
    /// Whether the writer closed, and nothing came in between.
    pub(super) clean: bool,
    /// Whether faults may have made blocks be withdrawn.
    pub(super) faulty: bool,
}

impl Claim<'_> {
    /// Whether all blocks of a stream behind a chunk were set aside, or taken for other footage, while what is held before
    /// them stays.
    fn newest_is_lost(&self, stream: StreamId, last: ChunkNumber) -> bool {
        let Some(first) = self.views.first() else { return false };
        let lost = |live: &crate::writer::inspect::LiveBlock| {
            self.views.iter().any(|view| {
                let retaken = view.takes.get(&live.block) != first.takes.get(&live.block);
                view.granted.contains(&live.block) || retaken
            })
        };
        let all = first.live.iter().chain(&first.given_up);
        let mut behind = all.filter(|live| live.stream == stream && live.first_chunk > last).peekable();
        behind.peek().is_some() && behind.all(lost)
    }

    /// The chunk from which on all of a stream must be there, if it must have any.
    fn floor(&self, stream: StreamId) -> Option<ChunkNumber> {
        let first = self.views.first()?;
        let lost = |live: &&crate::writer::inspect::LiveBlock| {
            self.views.iter().any(|view| {
                let retaken = view.takes.get(&live.block) != first.takes.get(&live.block);
                view.granted.contains(&live.block) || retaken
            })
        };
        let mine = first.live.iter().filter(|live| live.stream == stream && live.state != BlockState::Bad);
        mine.filter(|live| !lost(live)).map(|live| live.first_chunk).min()
    }
}

/// A piece of a stream as found by the oracle's own walk.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Sample { ticks: i64, track: TrackNumber, seek: bool, run: RunId },
    Gap(Gap),
}

/// What a stream holds: entries `from` to `to` of its model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Retained {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) first_chunk: ChunkNumber,
    pub(super) last_chunk: ChunkNumber,
}

/// Everything that an image holds.
pub(super) type Holdings = BTreeMap<String, Retained>;

/// Judges an image. Returns what each stream holds.
pub(super) fn judge(image: &Arc<dyn ReadAt>, claim: &Claim<'_>) -> Verdict<Holdings> {
    super::count_judged();
    let path = Path::new("proof");
    let volume =
        Volume::from_disk(Arc::clone(image), path).map_err(|error| format!("does not open: {error}"))?;
    let recovered = volume.state();
    let tolerable = |finding: &Finding| claim.faulty && !finding.footage_lost;
    let opening = volume.findings();
    demand!(opening.iter().all(tolerable), "damage at opening: {opening:#?}");
    let check = volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?;
    let mut findings = check.findings;
    if !claim.clean {
        // Cut off while the last record was written, one copy of it may be torn; `check` cannot know that it never stood.
        findings.retain(|finding| finding.what != "round record" || finding.footage_lost);
    }
    demand!(findings.iter().all(tolerable), "check finds {findings:#?}");
    counters(recovered, claim)?;
    let mut holdings = Holdings::new();
    for entry in &recovered.directory.entries {
        let name = entry.name.as_str();
        let context = |why: &str| format!("stream {name}: {why}");
        let stream = claim.model.streams.get(name).ok_or_else(|| context("nobody admitted it"))?;
        let walk = walk(&**image, recovered, entry.stream, claim)
            .map_err(|why| format!("{}\n{}", context(&why), describe(&**image, recovered)))?;
        let retained = compare(stream, &walk, claim, entry.stream)
            .map_err(|why| format!("{}\n{}", context(&why), describe(&**image, recovered)))?;
        same_by_reader(&volume, name, stream, &walk, claim.model).map_err(|why| context(&why))?;
        holdings.insert(name.to_owned(), retained);
    }
    holds::judge(&volume, claim.model)?;
    sessions::judge(&volume, claim)?;
    retention::judge(&volume, claim.model)?;
    for (name, stream) in &claim.model.streams {
        demand!(stream.durable == 0 || holdings.contains_key(name), "stream {name} is not there at all");
    }
    Ok(holdings)
}

/// Numbers that may never be given twice are remembered, and after a clean end both copies of everything are the same.
fn counters(recovered: &Recovered, claim: &Claim<'_>) -> Verdict {
    let (epoch, highest) = claim
        .views
        .first()
        .map_or((claim.model.epoch, Default::default()), |view| (view.epoch, view.highest));
    demand!(recovered.epoch >= epoch, "epoch {epoch} is forgotten: found is {}", recovered.epoch);
    demand!(recovered.highest >= highest, "sequence {highest} is forgotten: found is {}", recovered.highest);
    if claim.clean && !claim.faulty {
        let [one, two] = &recovered.directories;
        demand!(one == two && one.is_some(), "the copies of the stream directory differ");
        demand!(recovered.superblocks_good == [true; 4], "not all superblocks stand");
    }
    Ok(())
}

/// The newest record and the rows that follow from it, for whoever looks into a failure.
fn describe(disk: &dyn ReadAt, state: &Recovered) -> String {
    let scanner = Scanner { disk, geometry: &state.geometry, volume: state.volume() };
    let record = newest_record(&scanner).unwrap_or_default();
    let mut lines = vec![format!("record of round {} in epoch {}", record.header.round, record.header.epoch)];
    for named in &record.named {
        let (end, chunk) = (named.durable_end, named.durable_chunk);
        lines.push(format!(
            "  names block {} sequence {} durable to {end}, chunk {chunk}",
            named.block, named.sequence
        ));
    }
    for granted in &record.granted {
        lines.push(format!("  grants block {} sequence {}", granted.block, granted.sequence));
    }
    for row in &record.rows {
        lines.push(format!("  has the row of block {} sequence {}", row.block, row.row.sequence));
    }
    lines.extend(state.holds.holds().iter().map(|hold| format!("  {hold:?}")));
    for (block, row) in state.rows.iter().enumerate() {
        let (first, last, sequence) = (row.first_chunk, row.last_chunk(), row.sequence);
        let header = scanner.block_header(crate::types::BlockIndex(block as u32)).ok().flatten();
        let header = header.map(|header| (header.sequence.0, header.first_chunk.0));
        lines.push(format!(
            "  row {block}: {:?} sequence {sequence} rank {} stream {} chunks {first} to {last}, header {header:?}",
            row.state, row.rank, row.stream
        ));
    }
    lines.join("\n")
}

#[derive(Default)]
struct Walk {
    chunks: Vec<ChunkNumber>,
    found: Vec<Found>,
    /// How many chunks and pieces came before each end of a withdrawn or held block: it stays where it is, what came after
    /// it may be overwritten.
    breaks: Vec<(usize, usize)>,
}

/// Reads a stream chunk by chunk.
fn walk(disk: &dyn ReadAt, state: &Recovered, stream: StreamId, claim: &Claim<'_>) -> Verdict<Walk> {
    let faulty = claim.faulty;
    let scanner = Scanner { disk, geometry: &state.geometry, volume: state.volume() };
    let mine = state.rows.iter().enumerate().filter(|(_, row)| row.is_live() && row.stream == stream);
    let mut blocks: Vec<_> = mine.collect();
    blocks.sort_by_key(|(_, row)| row.sequence);
    let guard = Guard::of(state.holds.holds().iter().chain(&claim.model.once_held));
    let mut walk = Walk::default();
    let mut last: Option<(ChunkNumber, u32)> = None;
    let mut split: Option<(i64, bool, BytesMut)> = None;
    for (index, row) in blocks {
        let take = Recovered::take(crate::types::BlockIndex(index as u32), row);
        if walk.chunks.last().is_some_and(|last| last.next() != row.first_chunk) {
            split = None;
        }
        let stop = row.last_chunk().next();
        let examined = examine(&scanner, &take, row.used_bytes as usize, Some(stop));
        let harmless = examined.findings.iter().all(|finding| faulty && !finding.footage_lost);
        demand!(harmless, "findings in {take:?}: {:?}", examined.findings);
        let sum = &examined.progress.row;
        demand!(
            (sum.chunks, sum.samples, sum.payload_bytes, sum.last_checksum, sum.used_bytes)
                == (row.chunks, row.samples, row.payload_bytes, row.last_checksum, row.used_bytes)
                && (sum.wall_min, sum.wall_max, sum.sync_samples, sum.first_sync, sum.first_chunk)
                    == (row.wall_min, row.wall_max, row.sync_samples, row.first_sync, row.first_chunk),
            "the row {row:?} is not what the block holds: {sum:?}"
        );
        for place in &examined.progress.footer.chunks {
            let loaded = scanner
                .load_at(&take, place.offset as usize, place.bytes as usize)
                .ok_or_else(|| format!("chunk at {} of {take:?} is not there", place.offset))?;
            demand!(loaded.problems().is_empty(), "a chunk of {take:?}: {:?}", loaded.problems());
            let header = loaded.header();
            if let Some((number, checksum)) = last {
                demand!(
                    header.number == number.next() && header.previous == checksum,
                    "chunk {} in {take:?} does not link to chunk {number}",
                    header.number
                );
            }
            last = Some((header.number, loaded.located.checksum));
            walk.chunks.push(header.number);
            let tables = loaded.tables.clone().unwrap_or_default();
            for (index, payload) in (0..).zip(loaded.payloads()) {
                let data = payload.data.clone().unwrap_or_default();
                if header.kind == ChunkKind::MEDIA {
                    let (ticks, _) = tables.time_of(index).ok_or("a sample without an anchor")?;
                    walk.add(ticks, payload.entry.track, payload.entry.flags, &data, header.run, &mut split)?;
                }
            }
            if header.kind == ChunkKind::EVENT {
                let first = loaded.payloads().into_iter().next().and_then(|payload| payload.data);
                let gap = first.and_then(|data| Gap::decode(&data)).ok_or("a gap that does not decode")?;
                walk.found.push(Found::Gap(gap));
            }
        }
        if row.state == BlockState::Bad && faulty || guard.covers(row) {
            last = None;
            walk.breaks.push((walk.chunks.len(), walk.found.len()));
        }
    }
    Ok(walk)
}

impl Walk {
    /// Whether chunks are missing before a piece: nothing that follows can be decoded from what came before.
    fn is_hole(&self, found: usize) -> bool {
        self.breaks.iter().filter(|(_, pieces)| *pieces == found).any(|(chunks, _)| {
            let pair = chunks.checked_sub(1).and_then(|at| self.chunks.get(at)).zip(self.chunks.get(*chunks));
            pair.is_some_and(|(before, after)| before.next() != *after)
        })
    }

    fn add(
        &mut self,
        ticks: i64,
        track: TrackNumber,
        flags: SampleFlags,
        data: &Bytes,
        run: RunId,
        split: &mut Option<(i64, bool, BytesMut)>,
    ) -> Verdict {
        let is = |mark| flags.contains(mark);
        let seek = is(SampleFlags::SEEK_POINT);
        let fragment = is(SampleFlags::MORE_FRAGMENT) || is(SampleFlags::LAST_FRAGMENT);
        if is(SampleFlags::FIRST_FRAGMENT) {
            *split = Some((ticks, seek, BytesMut::from(&data[..])));
            return Ok(());
        }
        if !fragment {
            demand!(is_payload(ticks as u64, data), "sample {ticks} has other bytes");
            self.found.push(Found::Sample { ticks, track, seek, run });
            return Ok(());
        }
        let Some((began, seek, mut whole)) = split.take().filter(|(began, ..)| *began == ticks) else {
            return Ok(());
        };
        whole.extend_from_slice(data);
        demand!(is_payload(ticks as u64, &whole), "sample {ticks} has other bytes");
        if is(SampleFlags::LAST_FRAGMENT) {
            self.found.push(Found::Sample { ticks, track, seek, run });
        } else {
            *split = Some((began, seek, whole));
        }
        Ok(())
    }
}

impl Walk {
    /// Whether a withdrawn block is followed, across a hole, by nothing but the rest of a sample whose beginning was overwritten.
    fn ends_within_a_sample(&self) -> bool {
        self.breaks.iter().any(|(chunks, found)| {
            let around = chunks.checked_sub(1).and_then(|last| self.chunks.get(last..=*chunks));
            *found == self.found.len() && around.is_some_and(|pair| pair[1] > pair[0].next())
        })
    }
}

fn is_same(entry: &Entry, found: &Found) -> bool {
    match (entry, found) {
        (Entry::Sample(pushed), Found::Sample { ticks, track, run, .. }) => {
            (pushed.number as i64, pushed.track, pushed.run.id) == (*ticks, *track, *run)
        }
        (Entry::Gap(pushed), Found::Gap(found)) => pushed == found,
        _ => false,
    }
}

/// Holds what was found against what was pushed.
fn compare(stream: &StreamModel, walk: &Walk, claim: &Claim<'_>, id: StreamId) -> Verdict<Retained> {
    for (index, pair) in walk.chunks.windows(2).enumerate() {
        let withdrawn = walk.breaks.iter().any(|(chunks, _)| *chunks == index + 1) && pair[1] > pair[0];
        demand!(withdrawn || pair[1] == pair[0].next(), "chunk {} follows chunk {}", pair[1], pair[0]);
    }
    let floor = claim.floor(id);
    let Some(first) = walk.found.first() else {
        // Nothing at all, or the middle of a sample larger than a block.
        let (first_chunk, last_chunk) = span_of(stream, walk, floor)?;
        return Ok(Retained { from: stream.durable, to: stream.durable, first_chunk, last_chunk });
    };
    let from = stream.entries.iter().position(|entry| is_same(entry, first));
    let from = from.ok_or_else(|| format!("{first:?} was never pushed, or discarded before"))?;
    demand!(from >= stream.gone, "entry {from} is back; all before {} was overwritten", stream.gone);
    let mut at = from;
    for (index, found) in walk.found.iter().enumerate() {
        if walk.breaks.iter().any(|(_, found)| *found == index) {
            while stream.entries.get(at).is_some_and(|entry| !is_same(entry, found)) {
                at += 1;
            }
        }
        let entry = stream.entries.get(at).ok_or_else(|| format!("{found:?} was not pushed at all"))?;
        demand!(is_same(entry, found), "after entry {at} {entry:?} was pushed, found is {found:?}");
        at += 1;
    }
    if walk.ends_within_a_sample() {
        at = at.max(stream.durable);
    }
    if claim.newest_is_lost(id, walk.chunks.last().copied().unwrap_or_default()) {
        let (first_chunk, last_chunk) = (walk.chunks[0], walk.chunks[walk.chunks.len() - 1]);
        return Ok(Retained { from, to: at, first_chunk, last_chunk });
    }
    demand!(at >= stream.durable, "ends after entry {at}, durable are {}", stream.durable);
    let (first_chunk, last_chunk) = span_of(stream, walk, floor)?;
    Ok(Retained { from, to: at, first_chunk, last_chunk })
}

/// The first and last chunk that are there: all from `floor` to the watermark must be.
fn span_of(
    stream: &StreamModel,
    walk: &Walk,
    floor: Option<ChunkNumber>,
) -> Verdict<(ChunkNumber, ChunkNumber)> {
    let floor = floor.filter(|floor| *floor <= stream.durable_chunk && stream.durable > 0);
    let (Some(first), Some(last)) = (walk.chunks.first(), walk.chunks.last()) else {
        demand!(floor.is_none(), "nothing is there of chunks {floor:?} to {}", stream.durable_chunk);
        return Ok(Default::default());
    };
    if let Some(floor) = floor {
        demand!(*first <= floor, "begins with chunk {first}, but holds all from {floor} on");
    }
    demand!(*last >= stream.durable_chunk, "ends with chunk {last} before {}", stream.durable_chunk);
    Ok((*first, *last))
}

/// What the crate's reader gives must be the same: of every run from its first seek point on, and before it what needs no
/// other sample.
fn same_by_reader(volume: &Volume, name: &str, stream: &StreamModel, walk: &Walk, model: &Model) -> Verdict {
    let name = StreamName::new(name).map_err(|error| error.to_string())?;
    let id = volume.stream(&name).map_err(|error| error.to_string())?.id;
    let by_ticks: HashMap<i64, &Pushed> = stream
        .entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Sample(pushed) => Some((pushed.number as i64, pushed)),
            Entry::Gap(_) => None,
        })
        .collect();
    let mut expected = Vec::new();
    let mut begun: Vec<RunId> = Vec::new();
    for (index, found) in walk.found.iter().enumerate() {
        if walk.is_hole(index) {
            begun.clear();
        }
        match found {
            Found::Gap(gap) => expected.push(Entry::Gap(gap.clone())),
            Found::Sample { ticks, seek, run, .. } => {
                if *seek && !begun.contains(run) {
                    begun.push(*run);
                }
                // What needs no other sample, such as sound, is given before the first picture, too.
                let pushed = by_ticks.get(ticks).ok_or("found, but not pushed")?;
                if begun.contains(run) || pushed.flags.contains(SampleFlags::SYNC) {
                    expected.push(Entry::Sample((*pushed).clone()));
                }
            }
        }
    }
    let mut cursor = match volume.read(id, TimeRange::default()) {
        Ok(cursor) => cursor,
        Err(_) => {
            // Gaps alone are not footage.
            let any = walk.found.iter().any(|found| matches!(found, Found::Sample { .. }));
            demand!(!any, "the reader says that nothing is there");
            return Ok(());
        }
    };
    let mut expected = expected.into_iter();
    let mut run = None;
    let mut configuration = None;
    while let Some(item) = cursor.next_item().map_err(|error| error.to_string())? {
        match item {
            Item::Run(id) => run = Some(id),
            Item::Configuration(hash, content) => {
                demand!(model.configurations.get(&hash) == Some(&*content), "another configuration");
                configuration = Some(hash);
            }
            Item::Gap(gap) => match expected.next() {
                Some(Entry::Gap(wanted)) => demand!(gap == wanted, "the reader gives another gap: {gap:?}"),
                other => return Err(format!("the reader gives a gap instead of {other:?}")),
            },
            Item::Sample(sample) => {
                let wanted = expected.next();
                let Some(Entry::Sample(pushed)) = wanted else {
                    return Err(format!("the reader gives sample {} instead of {wanted:?}", sample.ticks));
                };
                let Run { id, .. } = pushed.run;
                demand!(
                    (sample.ticks, sample.track, sample.flags, sample.run, sample.configuration)
                        == (pushed.number as i64, pushed.track, pushed.flags, id, pushed.configuration)
                        && sample.wall == pushed.run.wall(sample.ticks)
                        && (run, configuration) == (Some(id), Some(pushed.configuration)),
                    "the reader gives {} {:?} for {pushed:?}",
                    sample.ticks,
                    (sample.track, sample.flags, sample.run, sample.wall)
                );
                let right = sample.data.len() == pushed.length && is_payload(pushed.number, &sample.data);
                demand!(right, "sample {} is read with other bytes", sample.ticks);
            }
            Item::Anchor(_) => {}
            Item::Damage(finding) => return Err(format!("the reader meets damage: {finding:?}")),
        }
    }
    let rest = expected.next();
    demand!(rest.is_none(), "the reader ends before {rest:?}");
    Ok(())
}
