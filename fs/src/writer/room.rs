//! How much may wait in memory for the disk, of each stream and of all together. Pure counting: a sample is counted in before it is
//! handed over, and out once the engine says that it is safe; whoever has no room is told so at once. What becomes of the samples is
//! not known here.

use super::Rejected;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Of all streams together, in bytes, shared among those that are recorded.
    pub(crate) bytes: usize,
    /// Of each, however many there are, in bytes.
    pub(crate) stream_bytes_min: usize,
}

/// What waits of each stream, in bytes ([`crate::sample::Sample::queued_bytes`]), and of all.
#[derive(Default)]
pub(crate) struct Room {
    streams: Vec<usize>,
    all: usize,
}

impl Room {
    /// There is a stream of this index.
    pub(crate) fn admit(&mut self, index: usize) {
        if self.streams.len() <= index {
            self.streams.resize(index + 1, 0);
        }
    }

    /// Counts a sample in if its stream has room for it while so many are `recorded`.
    pub(crate) fn take(
        &mut self,
        index: usize,
        bytes: usize,
        budget: Budget,
        recorded: usize,
    ) -> Result<(), Rejected> {
        let waiting = self.streams.get_mut(index).ok_or(Rejected::Stopped)?;
        let after = waiting.saturating_add(bytes);
        let share = (budget.bytes / recorded.max(1)).max(budget.stream_bytes_min);
        // What streams left behind that are not recorded any more still waits.
        let all = self.all.saturating_add(bytes) > budget.bytes && after > budget.stream_bytes_min;
        let full = after > share || all && !planted!(BudgetForEachStream);
        // A sample larger than its share must get through an empty queue.
        if *waiting > 0 && full && !planted!(QueueUnbounded) {
            return Err(Rejected::Full);
        }
        *waiting = after;
        self.all = self.all.saturating_add(bytes);
        Ok(())
    }

    /// So many bytes of a stream wait no more.
    pub(crate) fn give_back(&mut self, index: usize, bytes: usize) {
        if let Some(waiting) = self.streams.get_mut(index) {
            let bytes = bytes.min(*waiting);
            *waiting -= bytes;
            self.all = self.all.saturating_sub(bytes);
        }
    }

    /// How many bytes wait.
    pub(crate) fn all(&self) -> usize {
        self.all
    }

    /// How many bytes of a stream wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self, index: usize) -> usize {
        self.streams.get(index).copied().unwrap_or_default()
    }
}
