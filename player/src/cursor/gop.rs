//! The group of pictures that a cursor stands in, part by part.

use super::{Cursor, Direction, Step};
use crate::error::Result;
use crate::segments::BYTES_MAX;
use keha_fs::StoredSample;

/// The most bytes of samples in a part of a group, unless it is one sample.
pub const GOP_PART_BYTES: usize = BYTES_MAX;
/// The most samples in a part of a group.
pub const GOP_PART_SAMPLES: usize = 4096;

/// A group of pictures being read: its keyframe first, in the order of decoding.
pub struct Gop<'a> {
    cursor: Cursor<'a>,
    /// Whether the cursor stands on a sample of the group that was not given.
    goes_on: bool,
    lost: u64,
}

impl<'a> Cursor<'a> {
    /// The group that it stands in; `None` if it stands in none: nowhere, before the first keyframe of a stretch, or behind a discontinuity without
    /// one since. The cursor stays where it is.
    ///
    /// # Errors
    /// As [`Cursor::step`].
    pub fn gop(&self) -> Result<Option<Gop<'a>>> {
        let mut cursor = self.clone();
        (cursor.lost, cursor.sparse) = (false, false);
        let Some(mut here) = cursor.moment(None) else { return Ok(None) };
        while !here.keyframe {
            let before = cursor.step(Direction::Backwards, Step::Sample)?;
            let Some(before) = before.filter(|before| before.discontinuity.is_none()) else {
                return Ok(None);
            };
            here = before;
        }
        Ok(Some(Gop { cursor, goes_on: true, lost: 0 }))
    }
}

impl Gop<'_> {
    /// The next samples, at most [`GOP_PART_BYTES`] and [`GOP_PART_SAMPLES`]; `None` behind the last ones. A group of which the keyframe does
    /// not verify has none.
    ///
    /// # Errors
    /// As [`Cursor::step`].
    pub fn next_part(&mut self) -> Result<Option<Vec<StoredSample>>> {
        let (mut part, mut bytes) = (Vec::new(), 0_usize);
        while self.goes_on {
            let Some(row) = self.cursor.row().copied() else { break };
            bytes = bytes.saturating_add(row.bytes as usize);
            if !part.is_empty() && (bytes > GOP_PART_BYTES || part.len() >= GOP_PART_SAMPLES) {
                return Ok(Some(part));
            }
            let is_keyframe = self.cursor.moment(None).is_some_and(|here| here.keyframe);
            match self.cursor.read()? {
                Some(data) => part.push(StoredSample {
                    track: row.track,
                    ticks: row.ticks,
                    wall: row.wall,
                    flags: row.flags,
                    data,
                    run: row.run,
                    configuration: row.configuration,
                    chunk: row.chunk,
                }),
                None => {
                    self.lost += 1;
                    // Without it nothing of the group can be decoded.
                    self.goes_on = !is_keyframe;
                }
            }
            // That it is lost is told here; what follows belongs to the group all the same.
            self.cursor.lost = false;
            self.goes_on = self.goes_on
                && self
                    .cursor
                    .step(Direction::Forwards, Step::Sample)?
                    .is_some_and(|next| !next.keyframe && next.discontinuity.is_none());
        }
        Ok((!part.is_empty()).then_some(part))
    }

    /// How many of its samples did not verify so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}
