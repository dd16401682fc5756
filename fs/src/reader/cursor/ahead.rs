//! What a cursor has read ahead: the chunks that it planned, and then those of the blocks that follow.

use super::{Cursor, Step};
use crate::format::chunk::ChunkKind;
use crate::format::footer::ChunkPlace;
use crate::reader::ahead::Ahead;
use crate::reader::kept::ChunkAt;
use crate::recover::Recovered;
use crate::report::BlockState;
use crate::types::ChunkNumber;
use std::sync::Arc;

/// How many chunks a cursor reads for itself first: who wants no more, or finds all in memory, needs no thread.
const ALONE: u32 = if cfg!(test) { 0 } else { 2 };

/// How many chunks are looked at for it, of a block: what a block says may be made up.
const COMING_MAX: usize = 256;
/// Into how many blocks behind the one that is read it looks at a time.
const LOOKED_INTO_MAX: usize = 4;

impl Cursor<'_> {
    /// The same cursor, reading ahead once it has read a few chunks: for who may read much of what it gives, one thing after the
    /// other. Costs a thread then, and two where they are waited for.
    #[must_use]
    pub fn reading_ahead(self) -> Self {
        Cursor { ahead_after: Some(ALONE), ..self }
    }

    /// Has what comes next read, if it is time to.
    pub(super) fn look_ahead(&mut self) {
        if self.ahead_after == Some(0) {
            self.ahead_after = None;
            self.ahead = Ahead::begin(self.volume.chunk_source(), Arc::clone(&self.volume.shared.windows));
        }
        let Some(room) = self.ahead.as_ref().map(Ahead::room).filter(|room| *room > 0) else { return };
        let wanted = |step: &&Step| self.is_given(&step.place) && !self.mode.takes_tables(step);
        let mut coming: Vec<ChunkAt> =
            self.steps.iter().filter(wanted).take(COMING_MAX).map(Step::at).collect();
        self.guess(room.saturating_sub(bytes_of(&coming)));
        coming.extend(self.guessed.iter().take(COMING_MAX));
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

    /// Whether a chunk is read whole and given, as far as its place tells.
    fn is_given(&self, place: &ChunkPlace) -> bool {
        place.kind == ChunkKind::MEDIA && self.range.to.is_none_or(|to| place.wall_min < to)
    }

    /// Guesses what will be wanted of the next blocks, so many bytes: planning them has to wait until what is before them was given. Looks
    /// into a few blocks at a time and no further than the range goes: somebody waits for what is planned.
    fn guess(&mut self, bytes: usize) {
        self.guessed_to = self.guessed_to.max(self.next_block);
        let mut looked_into = 0;
        while bytes_of(&self.guessed) < bytes && looked_into < LOOKED_INTO_MAX {
            let Some((block, row)) = self.blocks.get(self.guessed_to).cloned() else { return };
            self.guessed_to += 1;
            if row.state != BlockState::Sealed || !self.reaches(&row) {
                continue;
            }
            looked_into += 1;
            let (take, (footer, _)) = (Recovered::take(block, &row), self.volume.places(block, &row));
            let wanted = (0..).zip(&footer.chunks).filter(|(index, place)| {
                let number = ChunkNumber(row.first_chunk.0.saturating_add(*index));
                self.is_given(place)
                    && self.mode.wants(number)
                    && self.range.overlaps(place.wall_min, place.wall_max)
            });
            let wanted = wanted.take(COMING_MAX).map(|(_, place)| ChunkAt::new(&take, place));
            let wanted: Vec<ChunkAt> = wanted.collect();
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
