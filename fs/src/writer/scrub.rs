//! The scrub on the writer's side: its place in the volume. What the scrub is: [`crate::scrub`].

use super::copies::write_flushed;
use super::engine::Engine;
use crate::disk::Disk;
use crate::error::Result;
use crate::format::Framed;

impl<D: Disk> Engine<D> {
    /// Writes both copies, if one does not verify.
    pub(super) fn repair_scrub(&mut self) -> Result<()> {
        let geometry = self.core.geometry.clone();
        let (disk, volume) = (&*self.core.reader, self.core.volume);
        if crate::scrub::copies(disk, &geometry, volume).iter().all(|(_, copy)| copy.is_some()) {
            return Ok(());
        }
        let newest = crate::scrub::newest(disk, &geometry, volume);
        for at in geometry.scrub_at() {
            let mut page = self.core.writes.buffer(geometry.scrub_bytes);
            newest.seal(&mut page);
            write_flushed(&mut self.core.writes, at, page, "write the scrub's place in", &self.path)?;
        }
        Ok(())
    }
}
