//! What a cursor has read ahead: the chunks that it planned, and then those of the blocks that follow.

use super::Cursor;
use crate::format::chunk::ChunkKind;
use crate::reader::ahead::Ahead;
use crate::reader::kept::ChunkAt;
use crate::recover::Recovered;
use crate::report::BlockState;
use crate::types::ChunkNumber;

/// How many chunks a cursor reads for itself first: who wants no more needs no thread.
const ALONE: u32 = if cfg!(test) { 0 } else { 2 };

impl Cursor<'_> {
    /// The same cursor, reading ahead once it has read a few chunks: for who may read much of what it gives, one thing after the
    /// other. Costs a thread then.
    #[must_use]
    pub fn reading_ahead(self) -> Self {
        Cursor { ahead_after: Some(ALONE), ..self }
    }

    /// Has what comes next read, if it is time to.
    pub(super) fn look_ahead(&mut self) {
        if self.ahead_after == Some(0) {
            self.ahead_after = None;
            self.ahead = Ahead::begin(self.volume.chunk_source());
        }
        let Some(room) = self.ahead.as_ref().map(Ahead::room).filter(|room| *room > 0) else { return };
        let planned = self
            .steps
            .iter()
            .filter(|step| step.place.kind == ChunkKind::MEDIA && !self.mode.takes_tables(step));
        let mut coming: Vec<ChunkAt> = planned.map(super::Step::at).collect();
        self.guess(room.saturating_sub(bytes_of(&coming)));
        coming.extend(&self.guessed);
        let Some(ahead) = &mut self.ahead else { return };
        let last = ahead.last().and_then(|last| coming.iter().rposition(|at| at == last));
        let mut left = room;
        let wanted = coming.into_iter().skip(last.map_or(0, |last| last + 1)).take_while(|at| {
            let fits = left > 0;
            left = left.saturating_sub(at.bytes as usize);
            fits
        });
        let wanted: Vec<ChunkAt> = wanted.collect();
        if !wanted.is_empty() {
            ahead.order(wanted);
        }
    }

    /// Guesses what will be wanted of the next blocks, so many bytes: planning them has to wait until what is before them was given.
    fn guess(&mut self, bytes: usize) {
        self.guessed_to = self.guessed_to.max(self.next_block);
        while bytes_of(&self.guessed) < bytes {
            let Some((block, row)) = self.blocks.get(self.guessed_to).cloned() else { return };
            self.guessed_to += 1;
            if row.state != BlockState::Sealed || !self.mode.reaches(&row) {
                continue;
            }
            let (take, (footer, _)) = (Recovered::take(block, &row), self.volume.contents(block, &row));
            let wanted = (0..).zip(&footer.chunks).filter(|(index, place)| {
                let number = ChunkNumber(row.first_chunk.0.saturating_add(*index));
                place.kind == ChunkKind::MEDIA
                    && self.mode.wants(number)
                    && self.range.overlaps(place.wall_min, place.wall_max)
            });
            let wanted: Vec<ChunkAt> = wanted.map(|(_, place)| ChunkAt::new(&take, place)).collect();
            self.guessed.extend(wanted);
        }
    }

    /// A block is planned now: nothing of it is guessed any more.
    pub(super) fn forget_guesses(&mut self, index: usize) {
        if let Some((block, row)) = self.blocks.get(index) {
            let take = Recovered::take(*block, row);
            self.guessed.retain(|at| at.take != take);
        }
    }
}

fn bytes_of<'a>(chunks: impl IntoIterator<Item = &'a ChunkAt>) -> usize {
    chunks.into_iter().map(|at| at.bytes as usize).sum()
}
