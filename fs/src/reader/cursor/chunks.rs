//! Reading chunks by their numbers: what was listed is found again whatever the clock, or the volume, says by now.

use super::mode::{Content, Mode};
use super::{Cursor, Step};
use crate::error::Result;
use crate::format::chunk::ChunkKind;
use crate::format::footer::Footer;
use crate::format::table::Row;
use crate::reader::Volume;
use crate::report::{Item, TimeRange};
use crate::sample::SampleRow;
use crate::scan::Take;
use crate::types::{BlockIndex, ChunkNumber, StreamId};
use bytes::Bytes;
use std::ops::RangeInclusive;

/// Reads the samples of some chunks of a stream, every byte verified. Made by [`Volume::read_chunks`].
pub struct ChunkReader<'a> {
    cursor: Cursor<'a>,
    row: Option<SampleRow>,
    missing: Option<Item>,
}

impl<'a> ChunkReader<'a> {
    pub(in crate::reader) fn new(
        volume: &'a Volume,
        stream: StreamId,
        chunks: RangeInclusive<ChunkNumber>,
        blocks: Vec<(BlockIndex, Row)>,
    ) -> ChunkReader<'a> {
        let cursor = Cursor::new(volume, stream, TimeRange::default(), blocks);
        let cursor = Cursor { mode: Mode::Chunks(chunks, Content::Samples), ..cursor };
        ChunkReader { cursor, row: None, missing: None }
    }

    /// The next sample, and its row; `None` behind the last one. A sample of which only the end stands in these chunks is left out.
    ///
    /// # Errors
    /// [`crate::Error::Overwritten`] when the ring passed this reader.
    pub fn next_sample(&mut self) -> Result<Option<(SampleRow, Bytes)>> {
        while let Some(item) = self.cursor.next_item()? {
            match item {
                Item::Listed(row) => self.row = Some(row),
                Item::Sample(sample) => {
                    if let Some(row) = self.row.take() {
                        return Ok(Some((row, sample.data)));
                    }
                }
                Item::Erased(_) | Item::Damage(_) => self.missing = Some(item),
                _ => {}
            }
        }
        Ok(None)
    }

    /// The same reader, reading ahead: as [`Cursor::reading_ahead`].
    #[must_use]
    pub fn reading_ahead(self) -> Self {
        ChunkReader { cursor: self.cursor.reading_ahead(), ..self }
    }

    /// What was met last that stands for samples which are missing: [`Item::Damage`] or [`Item::Erased`].
    pub fn missing(&self) -> Option<&Item> {
        self.missing.as_ref()
    }
}

impl Cursor<'_> {
    /// Plans the chunks that are wanted by their numbers, from their first entry on. Where damage hides what number a chunk has, it is
    /// looked at.
    pub(super) fn plan_chunks(&mut self, take: &Take, row: &Row, footer: &Footer) {
        let numbered = footer.chunks.len() == row.chunks as usize;
        for (index, place) in (0..).zip(&footer.chunks) {
            let number = ChunkNumber(row.first_chunk.0.saturating_add(index));
            if place.kind == ChunkKind::MEDIA && (!numbered || self.mode.wants(number)) {
                self.steps.push_back(Step { take: *take, place: place.clone(), from_entry: 0, lead: false });
            }
        }
    }
}
