//! The one judge: what was pushed and what was said to be durable against what an image holds.
//!
//! It reads an image twice: once by the crate's reader, once chunk by chunk by its own walk, in which every chunk must link
//! to the one before, and holds both against the model. It accepts no excuse but one: blocks that the writer had set aside or
//! taken for newer footage.

use super::holds::{self, HeldModel};
use super::list_tests::listed_as_read;
use super::material::{Pushed, Run, is_payload};
use super::retention;
use super::sessions::{self, Sessions};
use super::walk::{Found, Walk, walk};
use super::{Verdict, demand};
use crate::configuration::Configuration;
use crate::disk::ReadAt;
use crate::gap::Gap;
use crate::hold::Hold;
use crate::reader::Volume;
use crate::recover::{Recovered, newest_record};
use crate::report::{Finding, Item, RoundReport, TimeRange};
use crate::retention::Retention;
use crate::sample::SampleFlags;
use crate::scan::Scanner;
use crate::types::{
    BlockIndex, ChunkNumber, ConfigurationHash, Epoch, HoldId, RunId, Sequence, StreamId, StreamName,
    TrackNumber, WallTime,
};
use crate::writer::inspect::View;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

/// One thing pushed into a stream.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Sample(Pushed),
    Gap(Gap),
}

/// In which take each of some samples stands, by number.
pub(super) type Takes = BTreeMap<u64, (BlockIndex, Sequence)>;

/// All that a stream was given since what it holds, and how much of it is safe.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamModel {
    pub(super) id: StreamId,
    pub(super) entries: Vec<Entry>,
    /// Entries before this one must never be seen again,
    pub(super) gone: usize,
    /// nor these: behind what is held, the ring went over them.
    pub(super) vanished: BTreeSet<usize>,
    /// Entries before this one were reported durable.
    pub(super) durable: usize,
    /// The watermark reported.
    pub(super) durable_chunk: ChunkNumber,
    /// What was erased and must never be seen again, by number,
    pub(super) erased: BTreeSet<u64>,
    /// and what may be gone, for it is being erased.
    pub(super) erasing: BTreeSet<u64>,
    /// Samples that an erasure took up which nobody knows to have ended, and in which takes they stood then.
    pub(super) owed: Takes,
    /// Samples by track that this writer reported durable.
    counted: BTreeMap<TrackNumber, u64>,
}

impl StreamModel {
    /// When the samples were that are durable and not overwritten yet, in the order in which they were pushed.
    pub(super) fn durable_walls(&self) -> Vec<WallTime> {
        let durable = self.entries.iter().take(self.durable).skip(self.gone);
        let walls = durable.filter_map(|entry| match entry {
            Entry::Sample(pushed) => Some(pushed.run.wall(pushed.number as i64)),
            Entry::Gap(_) => None,
        });
        walls.collect()
    }
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
    /// Blocks that were set aside and given back for a hold, or overwritten in place, by take: younger ones may have been taken
    /// instead.
    pub(super) spared: BTreeSet<(BlockIndex, Sequence)>,
    /// The table refuses so many rows that blocks are passed over for it: behind each the ring may have gone on.
    pub(super) any_spared: bool,
}

impl Model {
    /// Forgets entries that must never be seen again, and need not be known any more.
    pub(super) fn forget_gone(&mut self) {
        for stream in self.streams.values_mut() {
            stream.entries.drain(..stream.gone);
            stream.durable -= stream.gone;
            stream.vanished = stream.vanished.iter().filter_map(|at| at.checked_sub(stream.gone)).collect();
            stream.gone = 0;
        }
    }

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

/// What a stream holds: entries `from` to `to` of its model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Retained {
    pub(super) from: usize,
    pub(super) to: usize,
    /// Entries between them that are missing.
    pub(super) missing: Vec<usize>,
    pub(super) first_chunk: ChunkNumber,
    pub(super) last_chunk: ChunkNumber,
    /// All that is there, by number.
    pub(super) keys: BTreeSet<u64>,
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
    demand!(check.findings.iter().all(tolerable), "check finds {:#?}", check.findings);
    demand!(!claim.clean || check.overwriting == 0, "{} blocks are left half overwritten", check.overwriting);
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
        demand!(recovered.superblocks_good.iter().all(|good| *good), "not all superblocks stand");
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
            "  row {block}: {:?} sequence {sequence} rank {} stream {} chunks {first} to {last}, withheld {}, header {header:?}",
            row.state, row.rank, row.stream, row.withheld
        ));
    }
    lines.join("\n")
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
    claim.present(id, walk, stream.durable_chunk)?;
    let first_chunk = walk.chunks.first().copied().unwrap_or_default();
    let last_chunk = walk.chunks.last().copied().unwrap_or_default();
    let ends_early = last_chunk < stream.durable_chunk && stream.durable > 0;
    demand!(
        !ends_early || claim.end_is_overwritten(id, stream.durable_chunk),
        "ends with chunk {last_chunk} before {}",
        stream.durable_chunk
    );
    let keys = walk.keys();
    let back: Vec<_> = keys.intersection(&stream.erased).collect();
    demand!(back.is_empty(), "{back:?} were erased, and are back");
    let may_be_gone =
        |entry: &Entry| stream.erased.contains(&entry.key()) || stream.erasing.contains(&entry.key());
    let Some(first) = walk.found.first() else {
        // Nothing at all, or the middle of a sample larger than a block.
        let end = stream.durable;
        return Ok(Retained { from: end, to: end, missing: Vec::new(), first_chunk, last_chunk, keys });
    };
    let from = stream.entries.iter().position(|entry| is_same(entry, first));
    let from = from.ok_or_else(|| format!("{first:?} was never pushed, or discarded before"))?;
    demand!(from >= stream.gone, "entry {from} is back; all before {} was overwritten", stream.gone);
    let (mut at, mut missing) = (from, Vec::new());
    for (index, found) in walk.found.iter().enumerate() {
        if walk.is_hole(index) {
            while stream.entries.get(at).is_some_and(|entry| !is_same(entry, found)) {
                missing.push(at);
                at += 1;
            }
        }
        if walk.is_void(index) {
            while stream.entries.get(at).is_some_and(|entry| !is_same(entry, found) && may_be_gone(entry)) {
                at += 1;
            }
        }
        let entry = stream.entries.get(at).ok_or_else(|| format!("{found:?} was not pushed at all"))?;
        demand!(is_same(entry, found), "after entry {at} {entry:?} was pushed, found is {found:?}");
        demand!(!stream.vanished.contains(&at), "entry {at} is back; the ring went over it");
        at += 1;
    }
    if walk.ends_within_a_sample() {
        missing.extend(at..stream.durable);
        at = at.max(stream.durable);
    }
    if walk.is_void(walk.found.len()) {
        while stream.entries.get(at).is_some_and(may_be_gone) {
            at += 1;
        }
    }
    demand!(ends_early || at >= stream.durable, "ends after entry {at}, durable are {}", stream.durable);
    Ok(Retained { from, to: at, missing, first_chunk, last_chunk, keys })
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
        if walk.is_hole(index) || walk.is_void(index) {
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
    let mut anchors = BTreeMap::new();
    while let Some(item) = cursor.next_item().map_err(|error| error.to_string())? {
        match item {
            Item::Run(id) => {
                run = Some(id);
                anchors.clear();
            }
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
                let anchor = anchors.get(&sample.track);
                demand!(
                    anchor == Some(&pushed.anchor()),
                    "for sample {} holds {anchor:?}, given was {:?}",
                    sample.ticks,
                    pushed.anchor()
                );
                let right = sample.data.len() == pushed.length && is_payload(pushed.number, &sample.data);
                demand!(right, "sample {} is read with other bytes", sample.ticks);
            }
            Item::Anchor(anchor) => {
                anchors.insert(anchor.track, anchor);
            }
            Item::Erased(_) => {}
            Item::Listed(row) => return Err(format!("the reader gives a row: {row:?}")),
            Item::Damage(finding) => return Err(format!("the reader meets damage: {finding:?}")),
        }
    }
    let rest = expected.next();
    demand!(rest.is_none(), "the reader ends before {rest:?}");
    listed_as_read(volume, id, TimeRange::default())
}
