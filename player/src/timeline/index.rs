//! The rows of all streams in memory, and what was learnt of their blocks.
//!
//! A block whose row did not change is never read twice: content under a row changes only with the row, but for what is erased
//! or past its age, which is never kept.

use super::QUIET_NS;
use super::shape::Shape;
use super::source::TimelineSource;
use super::window::is_void;
use crate::error::Result;
use keha_fs::{StreamId, StreamRow, WallTime};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The rows of all streams. May be asked by many threads at once.
#[derive(Debug, Default)]
pub struct Index {
    /// Shared with the index before, if nothing of the stream changed.
    streams: BTreeMap<StreamId, Arc<Stream>>,
    live: bool,
    /// When the rows were looked at, where that is known.
    looked_at: Option<WallTime>,
}

/// One stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) rows: Vec<StreamRow>,
    shapes: Mutex<HashMap<usize, Arc<Shape>>>,
}

/// What reading an outline came to.
pub(super) enum Learnt {
    Shape(Arc<Shape>),
    /// The ring has taken the block.
    Gone,
}

impl Index {
    /// The rows of all streams of a source.
    pub fn new(source: &dyn TimelineSource) -> Index {
        Index::default().renewed(source)
    }

    /// Takes over what the source's rows say now. What was learnt of blocks whose rows are the same is kept; nothing is read.
    pub fn refresh(&mut self, source: &dyn TimelineSource) {
        *self = self.renewed(source);
    }

    /// A new index of what the source's rows say now, with what was learnt here of blocks whose rows are the same.
    pub fn renewed(&self, source: &dyn TimelineSource) -> Index {
        let renewed = |id: StreamId| {
            let rows = source.rows(id);
            let stream = match self.streams.get(&id) {
                Some(before) if before.rows == rows => Arc::clone(before),
                Some(before) => Arc::new(before.with(rows)),
                None => Arc::new(Stream { rows, ..Stream::default() }),
            };
            (id, stream)
        };
        let streams = source.streams().into_iter().map(renewed).collect();
        Index { streams, live: source.is_live(), looked_at: None }
    }

    /// The same for one stream.
    pub fn refresh_stream(&mut self, source: &dyn TimelineSource, stream: StreamId) {
        self.live = source.is_live();
        let mine = self.streams.entry(stream).or_default();
        *mine = Arc::new(mine.with(source.rows(stream)));
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.streams.values().map(|stream| stream.rows.len()).sum()
    }

    /// The same, with when its rows were looked at: streams of which nothing comes any more are known by that.
    #[must_use]
    pub fn looked_at(self, at: WallTime) -> Index {
        Index { looked_at: Some(at), ..self }
    }

    /// Whether a stream may be going on: what is behind its last sample is not known. Not so of one of which nothing came for [`QUIET_NS`].
    pub fn goes_on(&self, stream: StreamId) -> bool {
        let mut newest_first = self.rows_of(stream).iter().rev();
        let last = newest_first.find(|row| row.samples > 0).and_then(|row| row.wall).map(|(_, max)| max);
        let silence_ns = self.looked_at.zip(last).map(|(at, last)| at.since_ns(last));
        self.live && silence_ns.is_none_or(|silence_ns| silence_ns <= QUIET_NS)
    }

    /// Whether streams may be going on: what is behind their last samples is not known.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// The rows of a stream, in the order of recording.
    pub(crate) fn rows_of(&self, stream: StreamId) -> &[StreamRow] {
        self.streams.get(&stream).map_or(&[], |stream| &stream.rows)
    }

    /// Whether all is given that was ever recorded of a stream from one moment to another: nothing of the blocks that may have had it
    /// was erased, got past its age or was overwritten. Whoever kept what was made of it may give it again; else it is made anew, or
    /// not at all.
    pub fn is_whole(&self, stream: StreamId, from: WallTime, to: WallTime) -> bool {
        let rows = self.rows_of(stream);
        let mut has_begin = false;
        for (place, row) in rows.iter().enumerate() {
            let is_last = place + 1 == rows.len();
            let Some((min, max)) = row.wall.filter(|(min, max)| *min <= to && (is_last || from <= *max))
            else {
                continue;
            };
            // What of the next block is void may have been its beginning.
            let goes_on = rows.get(place + 1).filter(|_| max < to);
            if !is_untouched(row) || goes_on.is_some_and(|next| !is_untouched(next)) {
                return false;
            }
            has_begin |= min <= from;
        }
        has_begin
    }

    pub(super) fn stream(&self, stream: StreamId) -> Option<&Stream> {
        self.streams.get(&stream).map(|stream| &**stream)
    }
}

impl Stream {
    /// The stream with these rows, and what was learnt of those that are the same. Rows are in the order of their takes, so that each
    /// is found again without looking at the others.
    fn with(&self, rows: Vec<StreamRow>) -> Stream {
        let place_of = |row: &StreamRow| {
            let place = rows.binary_search_by_key(&row.sequence, |other| other.sequence).ok()?;
            (rows.get(place) == Some(row)).then_some(place)
        };
        let kept = |(place, shape): (&usize, &Arc<Shape>)| {
            Some((place_of(self.rows.get(*place)?)?, Arc::clone(shape)))
        };
        let shapes = self.shapes().iter().filter_map(kept).collect();
        Stream { rows, shapes: Mutex::new(shapes) }
    }

    fn shapes(&self) -> MutexGuard<'_, HashMap<usize, Arc<Shape>>> {
        self.shapes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a block, read if need be; `read` counts that.
    pub(super) fn learn(
        &self,
        source: &dyn TimelineSource,
        stream: StreamId,
        place: usize,
        read: &mut usize,
    ) -> Result<Learnt> {
        if let Some(shape) = self.shapes().get(&place) {
            return Ok(Learnt::Shape(Arc::clone(shape)));
        }
        let Some(row) = self.rows.get(place) else { return Ok(Learnt::Gone) };
        *read += 1;
        let outline = match source.outline(stream, row) {
            Ok(outline) => outline,
            Err(keha_fs::Error::Overwritten { .. }) => return Ok(Learnt::Gone),
            Err(error) => return Err(error.into()),
        };
        let shape = Arc::new(Shape::of(&outline));
        if !row.part_void && !outline.damaged {
            self.shapes().insert(place, Arc::clone(&shape));
        }
        Ok(Learnt::Shape(shape))
    }
}

/// Whether all of a block is given.
fn is_untouched(row: &StreamRow) -> bool {
    !row.part_void && !is_void(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keha_fs::{BlockState, Sequence};

    const STREAM: StreamId = StreamId(keha_fs::Uuid::from_u128(1));

    fn index(rows: Vec<StreamRow>) -> Index {
        let stream = Arc::new(Stream { rows, ..Stream::default() });
        Index { streams: [(STREAM, stream)].into(), live: true, looked_at: None }
    }

    /// Blocks of a hundred each.
    fn rows(blocks: i64) -> Vec<StreamRow> {
        let row = |number: i64| StreamRow {
            sequence: Sequence(number as u64),
            state: BlockState::Sealed,
            samples: 10,
            wall: Some((WallTime(number * 100), WallTime(number * 100 + 99))),
            ..StreamRow::default()
        };
        (0..blocks).map(row).collect()
    }

    fn whole(rows: &[StreamRow], from: i64, to: i64) -> bool {
        index(rows.to_vec()).is_whole(STREAM, WallTime(from), WallTime(to))
    }

    /// One stream of a volume that is being written is stopped, another one is not.
    #[test]
    fn a_stream_of_which_nothing_comes_does_not_go_on() {
        let mut set_back = rows(4);
        set_back.push(StreamRow { wall: Some((WallTime(0), WallTime(10))), ..set_back[3] });
        for (rows, last) in [(rows(4), 399), (set_back, 10)] {
            assert!(index(rows.clone()).goes_on(STREAM), "nobody knows when it was looked at");
            for (at, expected) in [(0, true), (last + QUIET_NS, true), (last + QUIET_NS + 1, false)] {
                assert_eq!(index(rows.clone()).looked_at(WallTime(at)).goes_on(STREAM), expected, "{at}");
            }
        }
        assert!(!Index { live: false, ..index(rows(4)) }.goes_on(STREAM));
        assert!(index(Vec::new()).looked_at(WallTime(QUIET_NS * 2)).goes_on(STREAM), "it has just begun");
    }

    #[test]
    fn what_touches_a_block_of_which_something_is_void_is_not_whole() {
        let mut rows = rows(4);
        assert!(whole(&rows, 110, 190) && whole(&rows, 190, 210) && whole(&rows, 0, 399));
        rows[2].part_void = true;
        // Its beginning went, as it does with age: what is told of it begins later.
        rows[2].wall = Some((WallTime(250), WallTime(299)));
        assert!(whole(&rows, 110, 199), "the block before is not touched");
        assert!(!whole(&rows, 190, 210) && !whole(&rows, 210, 220) && !whole(&rows, 260, 270));
        assert!(whole(&rows, 300, 310));
        rows[0].state = BlockState::Erased;
        assert!(!whole(&rows, 10, 20) && !whole(&rows, 90, 110));
    }

    #[test]
    fn what_the_ring_took_is_not_whole_and_what_goes_on_is() {
        let rows = rows(4).split_off(1);
        assert!(!whole(&rows, 50, 60) && !whole(&rows, 90, 110));
        assert!(whole(&rows, 390, 450), "the last block may have more than its row tells");
        assert!(!index(rows).is_whole(StreamId::default(), WallTime(150), WallTime(160)));
    }
}
