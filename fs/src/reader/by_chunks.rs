//! Footage by the numbers of its chunks: whoever has listed it finds it again, whatever the clock, or the volume, says by now.

use super::{ChunkReader, Cursor, Volume};
use crate::error::Result;
use crate::format::table::Row;
use crate::report::{Item, TimeRange};
use crate::sample::SampleRow;
use crate::types::{BlockIndex, ChunkNumber, StreamId};
use bytes::Bytes;
use std::ops::RangeInclusive;

impl Volume {
    /// Reads all samples that end in these chunks, in the order of recording, whatever their times: for who has listed them.
    ///
    /// Chunks that are not there, or not any more, are no error: what of them is gone is not given.
    pub fn read_chunks(&self, stream: StreamId, chunks: RangeInclusive<ChunkNumber>) -> ChunkReader<'_> {
        let blocks = self.blocks_of_chunks(stream, &chunks);
        ChunkReader::new(self, stream, chunks, blocks)
    }

    /// The rows of all samples that end in these chunks, in the order of recording, with what has to be known of them: read from the
    /// headers and tables of these chunks alone, as [`Volume::list`] does. Chunks that damage hides are told by [`Volume::outline`], not here.
    pub fn list_chunks(&self, stream: StreamId, chunks: RangeInclusive<ChunkNumber>) -> Cursor<'_> {
        let blocks = self.blocks_of_chunks(stream, &chunks);
        Cursor::new(self, stream, TimeRange::default(), blocks).listing_chunks(chunks)
    }

    /// The bytes of one sample that was listed, verified; no other sample is read. `None` if it is not there any more, is not the one that
    /// was listed, or does not verify.
    ///
    /// # Errors
    /// [`crate::Error::Overwritten`] if the ring has taken it for something else.
    pub fn read_sample(&self, stream: StreamId, row: &SampleRow) -> Result<Option<Bytes>> {
        let blocks = self.blocks_of_chunks(stream, &(row.begins..=row.chunk));
        let mut cursor = Cursor::new(self, stream, TimeRange::default(), blocks).of_sample(*row);
        let mut found = None;
        while let Some(item) = cursor.next_item()? {
            match item {
                Item::Listed(listed) => found = Some(listed),
                Item::Sample(sample) if found == Some(*row) => return Ok(Some(sample.data)),
                _ => {}
            }
        }
        Ok(None)
    }

    /// The blocks of a stream that have some of these chunks, in the order of recording.
    fn blocks_of_chunks(
        &self,
        stream: StreamId,
        chunks: &RangeInclusive<ChunkNumber>,
    ) -> Vec<(BlockIndex, Row)> {
        let past = self.past(stream);
        let reached = self.state.chains.blocks(stream).filter_map(|block| {
            let row = self.state.rows.get(block.0 as usize)?;
            let reaches = row.last_chunk() >= *chunks.start() && row.first_chunk <= *chunks.end();
            reaches.then(|| (block, past.as_ref().map_or(row.clone(), |past| past.row(row.clone()))))
        });
        reached.collect()
    }
}
