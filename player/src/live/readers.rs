//! How many threads read disks for live video: few of a volume at a time, of however many streams. A disk that hangs keeps those, and no more
//! come; another volume has its own.
//!
//! | of the volume | who wants to read |
//! |---|---|
//! | fewer than [`READERS_MAX`] read | reads |
//! | so many do, and one of them came a moment ago | waits until one of them is done |
//! | so many do, and none was done for as long as a disk is waited for | is refused at once: it hangs |
//!
//! What must not live here: reading.

use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many read of a volume at a time.
pub(super) const READERS_MAX: usize = 8;

/// Those who read, by the names of volumes: since when.
#[derive(Default)]
pub(super) struct Readers {
    reading: Mutex<BTreeMap<String, Vec<Instant>>>,
    left: Condvar,
}

/// Somebody who reads, until this is dropped.
pub(super) struct Reading {
    readers: Arc<Readers>,
    volume: String,
    since: Instant,
}

impl Readers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Instant>>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to read a volume, once fewer than [`READERS_MAX`] do. A disk has so long to answer.
    ///
    /// # Errors
    /// [`Error::Busy`] where none of those who read is done in that time.
    pub(super) fn begin(self: &Arc<Self>, volume: String, patience: Duration) -> Result<Reading> {
        let asked = Instant::now();
        let mut all = self.lock();
        loop {
            let since = all.entry(volume.clone()).or_default();
            let now = Instant::now();
            if since.len() < READERS_MAX {
                since.push(now);
                return Ok(Reading { readers: Arc::clone(self), volume, since: now });
            }
            let until = since.iter().max().map_or(asked, |last| *last + patience).min(asked + patience);
            let left = until.saturating_duration_since(now);
            if left.is_zero() {
                let why = format!("{READERS_MAX} read volume {volume} already, and its disk does not answer");
                return Err(Error::Busy(why));
            }
            all = self.left.wait_timeout(all, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How many read a volume.
    #[cfg(test)]
    pub(super) fn of(&self, volume: &str) -> usize {
        self.lock().get(volume).map_or(0, Vec::len)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut all = self.readers.lock();
        if let Some(since) = all.get_mut(&self.volume) {
            if let Some(mine) = since.iter().position(|since| *since == self.since) {
                since.swap_remove(mine);
            }
            if since.is_empty() {
                all.remove(&self.volume);
            }
        }
        self.readers.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(readers: &Arc<Readers>) -> Vec<Reading> {
        (0..READERS_MAX).map(|_| readers.begin("attic".to_owned(), Duration::ZERO).unwrap()).collect()
    }

    #[test]
    fn few_read_a_volume_and_whoever_comes_waits_for_one_of_them_but_for_no_disk_that_hangs() {
        let readers = Arc::new(Readers::default());
        let mut reading = full(&readers);
        let refused = readers.begin("attic".to_owned(), Duration::ZERO);
        assert!(matches!(refused, Err(Error::Busy(why)) if why.contains("attic")));
        drop(readers.begin("cellar".to_owned(), Duration::ZERO).expect("that is another disk"));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| readers.begin("attic".to_owned(), Duration::from_secs(60)));
            std::thread::sleep(Duration::from_millis(50));
            assert!(!waits.is_finished());
            reading.pop();
            reading.push(waits.join().unwrap().expect("one is done"));
        });
        assert_eq!(readers.of("attic"), READERS_MAX);
        reading.clear();
        assert!(readers.lock().is_empty());
    }

    #[test]
    fn of_a_disk_that_was_waited_for_as_long_as_that_nobody_waits_again() {
        let readers = Arc::new(Readers::default());
        let _hung = full(&readers);
        let patience = Duration::from_secs(1);
        std::thread::sleep(patience);
        let began = Instant::now();
        assert!(readers.begin("attic".to_owned(), patience).is_err());
        assert!(began.elapsed() < patience);
    }
}
