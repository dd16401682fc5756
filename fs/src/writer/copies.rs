//! What stands more than once: superblock and stream directory. Brought in line at opening, written copy by copy when changed.
//! One copy that stands is enough: a place that the disk refuses is told, left alone, and tried again later; nothing waits for it.

use super::engine::Engine;
use super::writes::{Purpose, Writes, copy_error};
use crate::disk::{AlignedBuffer, Disk};
use crate::error::{Error, Result};
use crate::format::Framed;
use crate::format::directory::Directory;
use crate::format::round_up;
use crate::recover::Recovered;
use crate::types::RoundNumber;
use std::path::Path;
use std::sync::Arc;

/// How many rounds a place that could not be written is left alone.
pub(super) const REFUSED_PAUSE_ROUNDS: u64 = 64;

/// Copies that are not as they should be.
#[derive(Default)]
pub(super) struct BadCopies {
    /// Where superblocks stand that are to be written.
    superblocks_at: Vec<u64>,
    /// What stands in the places of the directory, if they are to be written.
    directories: Option<Places>,
    /// The latest generation of the directory that was begun to be written.
    attempted: u64,
    /// In which round that is tried (again).
    again: RoundNumber,
}

/// What stands in each place of the directory; `None` where that is not known.
type Places = [Option<Directory>; 2];

impl BadCopies {
    /// Those found at opening.
    pub(super) fn found(recovered: &Recovered) -> BadCopies {
        if planted!(CopiesNotRepaired) {
            return BadCopies::default();
        }
        let copies = recovered.geometry.copies_at.iter().copied().zip(&recovered.superblocks_good);
        let newest = &recovered.directory;
        let differ = recovered.directories.iter().any(|copy| copy.as_ref() != Some(newest));
        BadCopies {
            superblocks_at: copies.filter(|(_, good)| !**good).map(|(at, _)| at).collect(),
            directories: differ.then(|| recovered.directories.clone()),
            ..BadCopies::default()
        }
    }

    fn is_empty(&self) -> bool {
        self.superblocks_at.is_empty() && self.directories.is_none()
    }
}

impl<D: Disk> Engine<D> {
    /// Whether all that stands more than once does so everywhere.
    ///
    /// # Errors
    /// [`Error::Io`] with what the disk said.
    pub(super) fn check_copies(&self) -> Result<()> {
        match self.bad_copies.is_empty() && self.holds.all_stand() {
            true => Ok(()),
            false => Err(self.disk_error("write every copy of what describes")),
        }
    }

    /// Brings copies in line, if any are not and it is time to try.
    pub(super) fn repair_copies(&mut self) {
        let bad = &mut self.bad_copies;
        if bad.is_empty() || bad.again > self.core.round {
            return;
        }
        bad.again = RoundNumber(self.core.round.0 + REFUSED_PAUSE_ROUNDS);
        for at in std::mem::take(&mut bad.superblocks_at) {
            let mut page = self.core.writes.buffer(self.core.geometry.page_bytes);
            self.superblock.seal(&mut page);
            let written =
                write_flushed(&mut self.core.writes, at, page, "repair a superblock of", &self.path);
            if let Err(error) = written {
                tracing::warn!(%error, at, "a copy of the superblock cannot be written; tried again later");
                self.bad_copies.superblocks_at.push(at);
            }
        }
        if let Some(before) = self.bad_copies.directories.take() {
            let _copies = self.write_directory(before, &self.directory.clone());
        }
    }

    /// The directory as it is, to be changed: of a generation that was never tried to be written.
    pub(super) fn next_directory(&self) -> Directory {
        let generation = self.directory.generation.max(self.bad_copies.attempted) + 1;
        Directory { generation, ..self.directory.clone() }
    }

    /// Makes this the directory.
    ///
    /// # Errors
    /// [`Error::Io`] if it could be written in neither place.
    pub(super) fn change_directory(&mut self, directory: Directory) -> Result<()> {
        self.bad_copies.attempted = directory.generation;
        let current = || Some(self.directory.clone());
        let before = self.bad_copies.directories.take().unwrap_or_else(|| [current(), current()]);
        self.write_directory(before, &directory)?;
        self.directory = directory;
        Ok(())
    }

    /// Writes both copies, one after the other, each flushed. The entries go first, under the header that stood there `before`,
    /// which covers fewer; then the header alone changes: so a power cut leaves each copy old or new, never torn. A copy that
    /// stands as it should is left alone.
    fn write_directory(&mut self, mut before: Places, directory: &Directory) -> Result<()> {
        let places = self.core.geometry.directories_at();
        let skipped = if planted!(DirectoryInOneCopyOnly) { 1 } else { 0 };
        let (mut stands, mut refused) = (false, None);
        for (at, place) in places.into_iter().zip(&mut before).take(places.len() - skipped) {
            let written = match place {
                Some(standing) if standing == directory => Ok(()),
                _ => self.write_directory_at(at, place.as_ref().unwrap_or(directory), directory),
            };
            match written {
                Ok(()) if planted!(GoodCopyTakenBack) => stands = true,
                Ok(()) => (stands, *place) = (true, Some(directory.clone())),
                // What of it landed is not known.
                Err(error) => (refused, *place) = (Some(error), None),
            }
        }
        let Some(error) = refused else { return Ok(()) };
        self.bad_copies.directories = Some(before);
        self.bad_copies.again = RoundNumber(self.core.round.0 + REFUSED_PAUSE_ROUNDS);
        if !stands {
            return Err(error);
        }
        tracing::warn!(%error, "a copy of the stream directory cannot be written; tried again later");
        Ok(())
    }

    fn write_directory_at(&mut self, at: u64, before: &Directory, directory: &Directory) -> Result<()> {
        let in_one_go = usize::from(planted!(DirectoryWrittenInOneGo));
        for generation in [before, directory].into_iter().skip(in_one_go) {
            let core = &mut self.core;
            let mut buffer = core.writes.buffer(round_up(directory.bytes(), core.geometry.page_bytes));
            directory.seal(core.volume, &mut buffer);
            generation.seal(core.volume, &mut buffer);
            write_flushed(&mut core.writes, at, buffer, "write the stream directory of", &self.path)?;
        }
        Ok(())
    }
}

/// Writes metadata and flushes it: one step of bringing two copies up to date, one after the other.
pub(crate) fn write_flushed<D: Disk>(
    writes: &mut Writes<D>,
    at: u64,
    buffer: AlignedBuffer,
    operation: &str,
    path: &Path,
) -> Result<()> {
    writes.submit(at, Arc::new(buffer), Purpose::Metadata);
    write_through(writes, operation, path)
}

/// Waits and flushes; an error if anything failed even when written again. Other writes in flight are kept for their round.
fn write_through<D: Disk>(writes: &mut Writes<D>, operation: &str, path: &Path) -> Result<()> {
    writes.wait();
    if writes.failed().contains(&Purpose::Metadata) {
        writes.retry_failed(Purpose::Metadata);
    }
    let failed = writes.failed().contains(&Purpose::Metadata);
    let flushed = if failed { Err(std::io::Error::other("the write failed")) } else { writes.flush() };
    writes.forget(|purpose| purpose == Purpose::Metadata);
    flushed.map_err(|error| {
        let source = writes.last_error().map_or(error, copy_error);
        Error::io(operation, path, source)
    })
}
