//! A volume as it is now, for who joins what it has to what is in memory: a snapshot may lack the last second.

use super::Library;
use crate::error::Result;
use keha_fs::{StreamName, Volume};
use std::time::Duration;

impl Library {
    /// The volume that has a stream's latest footage, opened anew. Reads the whole block table.
    ///
    /// # Errors
    /// As [`Library::find`] and [`Volume::open`].
    pub fn open_now(&self, stream: &StreamName, age_max: Duration) -> Result<Volume> {
        let found = self.find(stream, age_max)?;
        let shelves = self.shelves();
        let shelf = shelves.iter().find(|shelf| shelf.name == found.snapshot.name);
        let gone = || crate::Error::Invalid(format!("there is no volume {} any more", found.snapshot.name));
        Ok(Volume::open(&shelf.ok_or_else(gone)?.path)?)
    }
}
