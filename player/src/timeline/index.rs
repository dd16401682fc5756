//! The rows of all streams in memory, and what was learnt of their blocks.
//!
//! A block whose row did not change is never read twice: content under a row changes only with the row, but for what is erased
//! or past its age, which is never kept.

use super::shape::Shape;
use super::source::TimelineSource;
use super::window::is_void;
use crate::error::Result;
use keha_fs::{StreamId, StreamRow};
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The rows of all streams. May be asked by many threads at once.
#[derive(Debug, Default)]
pub struct Index {
    streams: BTreeMap<StreamId, Stream>,
    live: bool,
}

/// One stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) rows: Vec<StreamRow>,
    /// Tells one state of what is erased and past its age from the next.
    voids: u64,
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
        let mut index = Index::default();
        index.refresh(source);
        index
    }

    /// Takes over what the source's rows say now. What was learnt of blocks whose rows are the same is kept; nothing is read.
    pub fn refresh(&mut self, source: &dyn TimelineSource) {
        let streams = source.streams();
        self.live = source.is_live();
        self.streams.retain(|stream, _| streams.contains(stream));
        streams.into_iter().for_each(|stream| self.refresh_stream(source, stream));
    }

    /// A new index of what the source's rows say now, with what was learnt here of blocks whose rows are the same.
    pub fn renewed(&self, source: &dyn TimelineSource) -> Index {
        let streams = self.streams.iter().map(|(id, stream)| (*id, stream.clone())).collect();
        let mut index = Index { streams, live: self.live };
        index.refresh(source);
        index
    }

    /// The same for one stream.
    pub fn refresh_stream(&mut self, source: &dyn TimelineSource, stream: StreamId) {
        self.live = source.is_live();
        let mine = self.streams.entry(stream).or_default();
        mine.replace(source.rows(stream));
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.streams.values().map(|stream| stream.rows.len()).sum()
    }

    /// Whether streams may be going on: what is behind their last samples is not known.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// The rows of a stream, in the order of recording.
    pub(crate) fn rows_of(&self, stream: StreamId) -> &[StreamRow] {
        self.streams.get(&stream).map_or(&[], |stream| &stream.rows)
    }

    /// Changes whenever something of a stream was erased or got past its age: what was made of it before is not to be given any more.
    pub fn voids(&self, stream: StreamId) -> u64 {
        self.streams.get(&stream).map_or(0, |stream| stream.voids)
    }

    pub(super) fn stream(&self, stream: StreamId) -> Option<&Stream> {
        self.streams.get(&stream)
    }
}

impl Clone for Stream {
    fn clone(&self) -> Stream {
        Stream { rows: self.rows.clone(), voids: self.voids, shapes: Mutex::new(self.shapes().clone()) }
    }
}

impl Stream {
    fn replace(&mut self, rows: Vec<StreamRow>) {
        let shapes = self.shapes.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !shapes.is_empty() {
            let places: HashMap<&StreamRow, usize> =
                rows.iter().enumerate().map(|(place, row)| (row, place)).collect();
            let old = std::mem::take(shapes);
            let kept = old
                .into_iter()
                .filter_map(|(place, shape)| Some((*places.get(self.rows.get(place)?)?, shape)));
            shapes.extend(kept.collect::<Vec<_>>());
        }
        self.voids = voids(&rows);
        self.rows = rows;
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

/// A hash of which blocks hold something that is not given any more, and how much.
fn voids(rows: &[StreamRow]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for row in rows.iter().filter(|row| row.part_void || is_void(row)) {
        (row.block, row.sequence, row.state, row.samples, row.wall).hash(&mut hasher);
    }
    hasher.finish()
}
