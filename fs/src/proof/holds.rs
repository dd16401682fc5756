//! Holds in the proof: what was acknowledged, and the judge of it: every hold in force stands in every image, and every sample
//! that it kept is there, whatever the ring did.

use super::driver::Driver;
use super::material::VIDEO;
use super::oracle::Model;
use super::{Verdict, demand};
use crate::error::Error;
use crate::format::table::Row;
use crate::hold::{HeldSpan, Hold, HoldRequest};
use crate::reader::Volume;
use crate::report::{BlockSummary, Item, TimeRange};
use crate::sample::SampleFlags;
use crate::types::{HoldId, RunId, StreamId, StreamName, WallTime};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// A hold that was acknowledged.
#[derive(Clone, Debug)]
pub(super) struct HeldModel {
    pub(super) stream: String,
    /// The numbers of the samples that it keeps.
    pub(super) numbers: BTreeSet<i64>,
    /// It is being lifted: it may be gone.
    pub(super) doomed: bool,
}

/// The numbers of all samples of a stream that a reader gives.
pub(super) fn numbers(volume: &Volume, name: &str, range: TimeRange) -> Verdict<BTreeSet<i64>> {
    let name = StreamName::new(name).map_err(|error| error.to_string())?;
    let stream = volume.stream(&name).map_err(|error| error.to_string())?;
    numbers_of(volume, stream.id, range)
}

/// The same of the stream with this identity, whatever its name.
pub(super) fn numbers_of(volume: &Volume, stream: StreamId, range: TimeRange) -> Verdict<BTreeSet<i64>> {
    let mut cursor = match volume.read(stream, range) {
        Ok(cursor) => cursor,
        Err(Error::NotRecorded { .. }) => return Ok(BTreeSet::new()),
        Err(error) => return Err(error.to_string()),
    };
    let mut numbers = BTreeSet::new();
    while let Some(item) = cursor.next_item().map_err(|error| error.to_string())? {
        if let Item::Sample(sample) = item {
            numbers.insert(sample.ticks);
        }
    }
    Ok(numbers)
}

/// The numbers of the samples in a range, with those of the same run that a reader gives before them: without these they
/// cannot be decoded.
fn needed(volume: &Volume, name: &str, range: TimeRange) -> Verdict<BTreeSet<i64>> {
    let name = StreamName::new(name).map_err(|error| error.to_string())?;
    let stream = volume.stream(&name).map_err(|error| error.to_string())?;
    let mut cursor = match volume.read(stream.id, range) {
        Ok(cursor) => cursor,
        Err(Error::NotRecorded { .. }) => return Ok(BTreeSet::new()),
        Err(error) => return Err(error.to_string()),
    };
    let (mut needed, mut before) = (BTreeSet::new(), Vec::new());
    while let Some(item) = cursor.next_item().map_err(|error| error.to_string())? {
        match item {
            Item::Run(_) => before.clear(),
            Item::Sample(sample) => {
                let seek = sample.track == VIDEO && sample.flags.contains(SampleFlags::SYNC);
                if seek && range.from.is_none_or(|from| sample.wall <= from) {
                    before.clear();
                }
                before.push(sample.ticks);
                let inside = range.from.is_none_or(|from| sample.wall >= from);
                if inside && range.to.is_none_or(|to| sample.wall < to) {
                    needed.extend(before.drain(..));
                }
            }
            _ => {}
        }
    }
    Ok(needed)
}

/// Holds an image against the holds that were acknowledged.
pub(super) fn judge(volume: &Volume, model: &Model) -> Verdict {
    let (found, blocks) = (volume.holds(), volume.blocks());
    demand!(model.holds_lost == found.iter().any(|hold| hold.lost), "a hold is said to be lost: {found:?}");
    for (id, held) in model.holds.iter().filter(|(_, held)| !held.doomed) {
        let hold = found.iter().find(|hold| hold.id == *id);
        let hold = hold.ok_or_else(|| format!("hold {id} of {} is gone", held.stream))?;
        for chunk in hold.spans.iter().flat_map(|span| [Some(span.first_chunk), span.last_chunk]).flatten() {
            let has = |block: &BlockSummary| {
                let behind = block.first_chunk.0 + u64::from(block.chunks);
                block.stream == Some(hold.stream) && (block.first_chunk.0..behind).contains(&chunk.0)
            };
            demand!(blocks.iter().any(has), "chunk {chunk} of hold {id} is nowhere: {hold:?}");
        }
        let there = numbers(volume, &held.stream, hold.range)?;
        let missing: Vec<_> = held.numbers.difference(&there).collect();
        demand!(missing.is_empty(), "hold {id} of {} lost samples {missing:?}: {hold:?}", held.stream);
    }
    Ok(())
}

impl Driver {
    /// What a reader sees at this moment.
    pub(super) fn volume(&self) -> Verdict<Volume> {
        let image = super::driver::shared(&self.disk.snapshot());
        Volume::from_disk(image, Path::new("proof")).map_err(|error| error.to_string())
    }

    /// What a hold of a range may come to, roughly: the blocks that it touches, and those that a sync sample before it may be in.
    fn about_to_be_held(&self, name: &str, from: WallTime, to: WallTime) -> Verdict<Option<Hold>> {
        let stream = self.id_of(name);
        let volume = self.volume()?;
        let mut rows: Vec<_> =
            volume.state().rows.iter().filter(|row| row.is_live() && row.stream == stream).collect();
        rows.sort_by_key(|row| row.sequence);
        let touches = |row: &&Row| row.wall_max >= from && row.wall_min < to;
        let Some(first) = rows.iter().position(touches) else { return Ok(None) };
        let last = rows.iter().rposition(touches).map(|last| rows[last].last_chunk());
        let first_chunk = rows[first.saturating_sub(2)].first_chunk;
        let span = HeldSpan { first_chunk, last_chunk: last, first_run: RunId::default(), last_run: None };
        Ok(Some(Hold { stream, spans: vec![span], ..Hold::default() }))
    }

    /// Holds a range of a stream; `None` if that is refused for want of room or footage.
    pub(super) fn hold(
        &mut self,
        name: &str,
        from: WallTime,
        to: WallTime,
        expires: Option<Duration>,
    ) -> Verdict<Option<Hold>> {
        use crate::clock::Clock;
        let request = HoldRequest {
            stream: StreamName::new(name).map_err(|error| error.to_string())?,
            from,
            to,
            label: "proof".to_owned(),
            expires: expires.map(|after| self.clock.wall().plus(after)),
        };
        // What is about to be held is passed over before the hold stands: a crash may leave the one without the other.
        let known = self.model.once_held.len();
        self.model.once_held.extend(self.about_to_be_held(name, from, to)?);
        let held = self.watched_with(|engine| engine.add_hold(&request), true)?;
        let hold = match held {
            Ok(hold) => hold,
            Err(Error::NoRoomToHold { .. } | Error::NotRecorded { .. } | Error::HoldsFull { .. }) => {
                return Ok(None);
            }
            Err(Error::Io { .. }) if self.faulty => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let numbers = needed(&self.volume()?, name, hold.range)?;
        self.model.once_held.truncate(known);
        self.model.once_held.push(hold.clone());
        self.model.holds.insert(hold.id, HeldModel { stream: name.to_owned(), numbers, doomed: false });
        let view = self.view();
        self.judge_now(Some(view))?;
        Ok(Some(hold))
    }

    /// Holds what lies between two samples of a stream, picked at random.
    pub(super) fn hold_any(&mut self) -> Verdict<Option<Hold>> {
        let names: Vec<String> = self.model.streams.keys().cloned().collect();
        let Some(name) = names.get(self.rng.below(names.len().max(1))).cloned() else { return Ok(None) };
        let Some(stream) = self.model.streams.get(&name) else { return Ok(None) };
        let samples = stream.durable_walls();
        if samples.is_empty() {
            return Ok(None);
        }
        // The oldest footage is what is overwritten next: often that.
        let first = if self.rng.coin() { 0 } else { self.rng.below(samples.len()) };
        let last = (first + self.rng.below(12)).min(samples.len() - 1);
        let (from, to) = (samples[first].min(samples[last]), samples[first].max(samples[last]).plus_ns(1));
        self.hold(&name, from, to, None)
    }

    /// Lifts a hold that was acknowledged, if there is one.
    pub(super) fn lift_any(&mut self) -> Verdict {
        // By place, not by identity: that is another in every run.
        let id = self
            .volume()?
            .holds()
            .into_iter()
            .map(|hold| hold.id)
            .find(|id| self.model.holds.contains_key(id));
        id.map_or(Ok(()), |id| self.lift(id))
    }

    /// Lifts a hold.
    pub(super) fn lift(&mut self, id: HoldId) -> Verdict {
        if let Some(held) = self.model.holds.get_mut(&id) {
            held.doomed = true;
        }
        // It may have grown since it was made.
        let now = self.volume()?.holds();
        self.model.once_held.extend(now);
        match self.watched_with(|engine| engine.lift_hold(id), true)? {
            Ok(_) => {}
            // It may be gone or not.
            Err(Error::Io { .. } | Error::NoSuchHold { .. }) if self.faulty => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
        self.model.holds.remove(&id);
        let left = self.volume()?.holds();
        demand!(left.iter().all(|hold| hold.id != id), "hold {id} was lifted and stands");
        Ok(())
    }
}
