//! How much of each stream may wait in memory for the disk. Pure counting: a sample is counted in before it is handed over, and
//! out once the engine says that it is safe; whoever has no room is told so at once. What becomes of the samples is not known here.

use super::Rejected;

/// What waits of each stream, in bytes ([`crate::sample::Sample::queued_bytes`]).
#[derive(Default)]
pub(crate) struct Room(Vec<usize>);

impl Room {
    /// There is a stream of this index.
    pub(crate) fn admit(&mut self, index: usize) {
        if self.0.len() <= index {
            self.0.resize(index + 1, 0);
        }
    }

    /// Counts a sample in if a stream of which no more than `limit` bytes may wait has room for it.
    pub(crate) fn take(&mut self, index: usize, bytes: usize, limit: usize) -> Result<(), Rejected> {
        let waiting = self.0.get_mut(index).ok_or(Rejected::Stopped)?;
        // A sample larger than the limit must get through an empty queue.
        if *waiting > 0 && waiting.saturating_add(bytes) > limit && !planted!(QueueUnbounded) {
            return Err(Rejected::Full);
        }
        *waiting = waiting.saturating_add(bytes);
        Ok(())
    }

    /// So many bytes of a stream wait no more.
    pub(crate) fn give_back(&mut self, index: usize, bytes: usize) {
        if let Some(waiting) = self.0.get_mut(index) {
            *waiting = waiting.saturating_sub(bytes);
        }
    }

    /// How many bytes of a stream wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self, index: usize) -> usize {
        self.0.get(index).copied().unwrap_or_default()
    }
}
