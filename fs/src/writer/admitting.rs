//! Admitting streams: a name, an identity and a place in the directory, if there is room for what a stream needs.

use super::engine::Engine;
use super::stream::Stream;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::Text;
use crate::format::directory::{Directory, DirectoryEntry};
use crate::types::{StreamId, StreamName};

impl<D: Disk> Engine<D> {
    /// The stream of this name, admitted if it is new: its place among the streams.
    #[cfg(test)]
    pub(crate) fn admit(&mut self, name: &StreamName) -> Result<usize> {
        self.admit_as(name, None)
    }

    /// The same; one that is new is given this identity, if one is named.
    pub(crate) fn admit_as(&mut self, name: &StreamName, id: Option<StreamId>) -> Result<usize> {
        if let Some(index) = self.streams.iter().position(|stream| stream.name == *name) {
            return Ok(index);
        }
        let mut directory = self.next_directory();
        let id = self.enter(&mut directory, name, id)?;
        self.change_directory(directory)?;
        let index = self.streams.len();
        self.streams.push(Stream::new(index, id, name.clone(), Default::default()));
        Ok(index)
    }

    /// Admits those of these that may be, with one change of the directory: each is four flushes.
    pub(crate) fn admit_all(&mut self, wanted: &[(StreamName, Option<StreamId>)]) -> Result<()> {
        let mut directory = self.next_directory();
        let mut new: Vec<(&StreamName, StreamId)> = Vec::new();
        for (name, id) in wanted {
            let is_here = self.streams.iter().any(|stream| stream.name == *name);
            if !is_here && !new.iter().any(|(known, _)| *known == name) {
                new.extend(self.enter(&mut directory, name, *id).ok().map(|id| (name, id)));
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        self.change_directory(directory)?;
        for (name, id) in new {
            let index = self.streams.len();
            self.streams.push(Stream::new(index, id, name.clone(), Default::default()));
        }
        Ok(())
    }

    /// Enters a new stream into a directory that is to be, if it may be admitted.
    fn enter(&self, directory: &mut Directory, name: &StreamName, id: Option<StreamId>) -> Result<StreamId> {
        if let Some(other) = directory.entries.iter().find(|entry| Some(entry.stream) == id) {
            let (id, other) = (other.stream, other.name.as_str());
            return Err(Error::Invalid(format!(
                "the stream {id}, which is {name} elsewhere, is {other} here"
            )));
        }
        let streams_max = self.core.geometry.streams_max;
        let streams = directory.entries.len() as u64 + 1;
        if streams > u64::from(streams_max) || u64::from(self.core.geometry.blocks) < 3 * streams + 2 {
            return Err(Error::StreamsFull {
                streams_max: streams_max.min((self.core.geometry.blocks - 2) / 3),
            });
        }
        // What is set aside for holds to come, and what was withdrawn, leaves as little room as what is held.
        let room = self.hold_room();
        let held_blocks = room.held_blocks.saturating_add(room.reserved_blocks);
        let bad_blocks = self.core.ledger.bad_blocks();
        let needed = 3 * streams + 2 + u64::from(held_blocks) + u64::from(bad_blocks);
        if held_blocks > 0 && u64::from(self.core.geometry.blocks) < needed {
            return Err(Error::HeldTooMuch { held_blocks });
        }
        let id = id.unwrap_or_else(|| (self.stream_id)(self.core.volume, name));
        let name_text = Text::new(name.as_str())
            .ok_or_else(|| Error::Invalid(format!("the stream name {name} is too long")))?;
        directory.entries.push(DirectoryEntry {
            stream: id,
            created: self.core.clock.wall(),
            name: name_text,
            generation: directory.generation,
            ..DirectoryEntry::default()
        });
        Ok(id)
    }
}
