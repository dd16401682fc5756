//! Where a segment may end that no sample ends: the sample is damaged, or the stretch ends there. Outlines tell, as they told the plan,
//! and as they tell how far a stream was recorded. So only names that a plan gave, or could have given, fit.
//!
//! What must not live here: samples.

use super::{LAST_PICTURE_NS, SegmentName, interrupts};
use crate::error::Result;
use keha_fs::{
    BlockOutline, BlockState, OutlineKind, RunId, StreamId, StreamRow, TrackNumber, Volume, WallTime,
};
use std::ops::ControlFlow;

/// What outlines say of the moment at which a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A sync sample is recorded there.
    Sync,
    /// The last picture of a chunk was shown until then: a stretch may have ended there.
    Stretch,
}

/// What outlines say of a segment's end, as far as what is recorded goes on from its beginning. `track`: the one that leads it.
///
/// # Errors
/// What is wrong with the disk; [`keha_fs::Error::Overwritten`].
pub(super) fn end_of(
    volume: &Volume,
    stream: StreamId,
    name: &SegmentName,
    track: TrackNumber,
) -> Result<Option<End>> {
    let mut walk = Walk { name, track, begun: false, reached: WallTime::MIN, found: None };
    for row in volume.stream_rows(stream) {
        let touches = row.wall.is_some_and(|(min, max)| max >= name.from && min <= name.to);
        let cut = !row.follows || matches!(row.state, BlockState::Erased | BlockState::Expired);
        if touches && (walk.begun && cut || walk.block(&volume.outline(stream, &row)?).is_break()) {
            break;
        }
    }
    Ok(walk.found)
}

struct Walk<'a> {
    name: &'a SegmentName,
    track: TrackNumber,
    /// The chunk in which the segment begins was met, or one behind it.
    begun: bool,
    reached: WallTime,
    found: Option<End>,
}

impl Walk<'_> {
    fn block(&mut self, outline: &BlockOutline) -> ControlFlow<()> {
        let is_end = |chunk: u32| {
            let mut mine =
                outline.syncs.iter().filter(|sync| sync.chunk == chunk && sync.track == self.track);
            mine.any(|sync| sync.wall == self.name.to)
        };
        for (index, chunk) in (0..).zip(&outline.chunks) {
            let mine = (chunk.run, chunk.configuration) == (self.name.run, self.name.configuration);
            match &chunk.kind {
                OutlineKind::Media if mine => {
                    self.begun |= chunk.to >= self.name.from;
                    self.reached = self.reached.max(chunk.to);
                    if is_end(index) {
                        self.found = Some(End::Sync);
                        return ControlFlow::Break(());
                    }
                    if chunk.to.plus_ns(LAST_PICTURE_NS) == self.name.to {
                        self.found = Some(End::Stretch);
                    }
                }
                OutlineKind::Media | OutlineKind::Erased | OutlineKind::Expired if self.begun => {
                    return ControlFlow::Break(());
                }
                OutlineKind::Gap(gap) if self.begun && interrupts(gap, self.reached) => {
                    return ControlFlow::Break(());
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

/// The run that a stream was recorded in last, and its latest moment there. The clock of an earlier run may have been ahead.
///
/// # Errors
/// What is wrong with the disk; [`keha_fs::Error::Overwritten`].
pub(super) fn recorded_last(volume: &Volume, stream: StreamId) -> Result<Option<(RunId, WallTime)>> {
    let rows = volume.stream_rows(stream);
    for row in rows.iter().rev().filter(|row: &&StreamRow| row.samples > 0) {
        let outline = volume.outline(stream, row)?;
        let mut medias = outline.chunks.iter().filter(|chunk| chunk.kind == OutlineKind::Media).rev();
        let Some(last) = medias.next() else { continue };
        // Sound and pictures do not end together: an earlier chunk may reach further.
        let mine = medias.take_while(|chunk| chunk.run == last.run).map(|chunk| chunk.to);
        return Ok(Some((last.run, mine.fold(last.to, WallTime::max))));
    }
    Ok(None)
}
