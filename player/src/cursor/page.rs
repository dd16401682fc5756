//! The samples that end in one chunk: their rows from its table, their bytes once one is asked for.

use super::joins::Met;
use super::walk::{Begun, Spot, Walk, leading_track, syncs_in};
use super::{Direction, Step};
use crate::error::{Error, Result};
use crate::segments::leading;
use crate::timeline::Reason;
use bytes::Bytes;
use keha_fs::{
    ChunkNumber, Configuration, Item, OutlineSync, SampleFlags, SampleRow, StreamId, TrackNumber, Volume,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many chunks before its end a sample's beginning is looked for: more than the largest one takes.
const SPLIT_CHUNKS_MAX: u64 = 4096;

/// A chunk's samples.
#[derive(Clone)]
pub(super) struct Page {
    pub(super) spot: Spot,
    rows: Arc<[Row]>,
    leading: Option<TrackNumber>,
    configuration: Option<Arc<Configuration>>,
    /// What was met in it beside samples.
    missing: Option<Reason>,
    /// By places in `rows`, those that verify.
    data: Option<Arc<BTreeMap<usize, Bytes>>>,
}

struct Row {
    sample: SampleRow,
    keyframe: bool,
}

/// What a chunk's table says.
#[derive(Default)]
struct Listed {
    rows: Vec<SampleRow>,
    configuration: Option<Arc<Configuration>>,
    missing: Option<Reason>,
}

impl Page {
    /// Reads the table of a chunk; of what lies before the first keyframe of its stretch only sound is kept.
    pub(super) fn load(walk: &Walk<'_>, volume: &Volume, stream: StreamId, spot: Spot) -> Result<Page> {
        let outline = walk.outline(spot.place)?;
        let number = outline.chunks.get(spot.chunk).and_then(|chunk| chunk.number);
        let listed = match number {
            Some(number) => list(volume, stream, number)?,
            None => Listed { missing: Some(Reason::Damaged), ..Listed::default() },
        };
        let Listed { rows, configuration, missing } = listed;
        let video = configuration.as_deref().and_then(leading).map(|video| video.track);
        let syncs = syncs_in(&outline, spot.chunk);
        let begun = walk.is_begun(spot)?;
        let begin = match begun {
            Begun::Yes => 0,
            Begun::No | Begun::Taken => {
                rows.iter().position(|row| syncs.iter().any(|sync| is_of(row, sync))).unwrap_or(rows.len())
            }
        };
        let is_cut = begun == Begun::Taken && begin > 0;
        let missing = missing.or(is_cut.then_some(Reason::Overwritten));
        let is_sync = |row: &SampleRow| row.flags.contains(SampleFlags::SYNC);
        let is_keyframe = |row: &SampleRow| match video {
            Some(video) => row.track == video && is_sync(row),
            None => syncs.iter().any(|sync| is_of(row, sync)),
        };
        let kept = rows.iter().enumerate().filter(|(index, row)| *index >= begin || is_sync(row));
        let rows = kept.map(|(_, row)| Row { sample: *row, keyframe: is_keyframe(row) }).collect();
        let leading = configuration.as_deref().and_then(leading_track);
        Ok(Page { spot, rows, leading, configuration, missing, data: None })
    }

    pub(super) fn row(&self, index: usize) -> Option<&SampleRow> {
        self.rows.get(index).map(|row| &row.sample)
    }

    pub(super) fn is_keyframe(&self, index: usize) -> bool {
        self.rows.get(index).is_some_and(|row| row.keyframe)
    }

    pub(super) fn configuration(&self) -> Option<&Arc<Configuration>> {
        self.configuration.as_ref()
    }

    /// Tells what was met in it beside samples.
    pub(super) fn tell(&self, met: &mut Met) {
        self.missing.iter().for_each(|reason| met.add(reason.clone()));
    }

    /// The next that a step leads to, from one of them or from the end.
    pub(super) fn find(&self, from: Option<usize>, direction: Direction, step: Step) -> Option<usize> {
        let wants = |index: &usize| self.is_of_step(*index, step);
        match direction {
            Direction::Forwards => (from.map_or(0, |from| from + 1)..self.rows.len()).find(wants),
            Direction::Backwards => (0..from.unwrap_or(self.rows.len())).rev().find(wants),
        }
    }

    /// The place of the sample that fits.
    pub(super) fn position(&self, fits: impl Fn(&SampleRow) -> bool) -> Option<usize> {
        self.rows.iter().position(|row| fits(&row.sample))
    }

    /// Whether a step of this kind leads to a sample.
    pub(super) fn is_of_step(&self, index: usize, step: Step) -> bool {
        self.rows.get(index).is_some_and(|row| self.is_wanted(row, step))
    }

    fn is_wanted(&self, row: &Row, step: Step) -> bool {
        match step {
            Step::Sample => true,
            Step::Picture => self.leading == Some(row.sample.track),
            Step::Keyframe => row.keyframe,
        }
    }

    pub(super) fn has_data(&self) -> bool {
        self.data.is_some()
    }

    /// The bytes of a sample, if they verify: those of all are read once.
    pub(super) fn data(&mut self, volume: &Volume, stream: StreamId, index: usize) -> Result<Option<Bytes>> {
        if let Some(data) = &self.data {
            return Ok(data.get(&index).cloned());
        }
        let begins = self.rows.iter().map(|row| row.sample.begins).min();
        let Some((first, last)) = begins.zip(self.rows.first().map(|row| row.sample.chunk)) else {
            return Ok(None);
        };
        let (mut reader, mut data, mut next) = (volume.read_chunks(stream, first..=last), BTreeMap::new(), 0);
        while let Some((row, bytes)) = reader.next_sample()? {
            let place = self.rows.iter().skip(next).position(|mine| mine.sample == row);
            if let Some(place) = place.map(|place| next + place) {
                data.insert(place, bytes);
                next = place + 1;
            }
        }
        let found = data.get(&index).cloned();
        self.data = Some(Arc::new(data));
        Ok(found)
    }
}

/// Whether a place where reading may begin is this sample.
pub(super) fn is_of(row: &SampleRow, sync: &OutlineSync) -> bool {
    (row.track, row.wall) == (sync.track, sync.wall) && row.flags.contains(SampleFlags::SYNC)
}

/// The samples that end in a chunk. Where it begins with the rest of one, its beginning is looked for in the chunks before, as far as the ring
/// has left them.
fn list(volume: &Volume, stream: StreamId, number: ChunkNumber) -> Result<Listed> {
    let (mut reach, mut before) = (0, None);
    loop {
        let first = ChunkNumber(number.0.saturating_sub(reach).max(1));
        let (listed, begins_inside) = match (list_from(volume, stream, first, number), before) {
            (Err(Error::Volume(keha_fs::Error::Overwritten { .. })), Some(before)) => return Ok(before),
            (listed, _) => listed?,
        };
        if !begins_inside || reach >= SPLIT_CHUNKS_MAX || first.0 <= 1 {
            return Ok(listed);
        }
        (reach, before) = ((reach * 2).max(1), Some(listed));
    }
}

/// The same of what is read from a chunk on, and whether that begins inside of a sample.
fn list_from(
    volume: &Volume,
    stream: StreamId,
    first: ChunkNumber,
    number: ChunkNumber,
) -> Result<(Listed, bool)> {
    let (mut cursor, mut listed) = (volume.list_chunks(stream, first..=number), Listed::default());
    while let Some(item) = cursor.next_item()? {
        match item {
            Item::Listed(row) if row.chunk == number => listed.rows.push(row),
            Item::Configuration(_, configuration) => listed.configuration = Some(configuration),
            // What is missing of earlier chunks is told of them.
            Item::Damage(_) if first == number => listed.missing = Some(Reason::Damaged),
            Item::Erased(span) if first == number => {
                listed.missing = Some(if span.expired { Reason::Expired } else { Reason::Erased });
            }
            _ => {}
        }
    }
    Ok((listed, cursor.begins_inside()))
}
