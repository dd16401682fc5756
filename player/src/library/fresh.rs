//! A volume as it is now, for who joins what it has to what is in memory: a snapshot may lack the last second.
//!
//! Opening reads what is written of every open block, so it is shared: one volume is opened at a time, and whoever asked before that
//! was begun gets it too. However many ask at once, two are opened. Nothing is kept once nobody waits.

use super::{Library, Snapshot};
use crate::error::{Error, Result};
use keha_fs::{StreamName, Volume};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The volumes that are being opened.
#[derive(Default)]
pub(super) struct Opening(Mutex<BTreeMap<PathBuf, Weak<Slot>>>);

/// What was opened last, since when, for those who wait. Held while it is opened.
type Slot = Mutex<Option<(Instant, std::result::Result<Volume, String>)>>;

/// Somebody who wants a volume as it is from a moment on.
struct Asked {
    slot: Arc<Slot>,
    at: Instant,
}

impl Opening {
    fn ask(&self, path: &Path) -> Asked {
        let at = Instant::now();
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| slot.strong_count() > 0);
        let slot = slots.get(path).and_then(Weak::upgrade).unwrap_or_default();
        slots.insert(path.to_owned(), Arc::downgrade(&slot));
        Asked { slot, at }
    }
}

impl Asked {
    fn open(self, open: impl FnOnce() -> keha_fs::Result<Volume>) -> Result<Volume> {
        let mut opened = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = opened.as_ref().filter(|(since, _)| *since >= self.at) {
            return found.clone().map_err(|why| Error::Busy(format!("{why}; ask again later")));
        }
        let since = Instant::now();
        let found = open();
        let told = found.as_ref().map(Volume::clone).map_err(ToString::to_string);
        *opened = Some((since, told));
        Ok(found?)
    }
}

impl Library {
    /// The volume that has a stream's latest footage, as it is when this is called, or later. Reads the whole block table.
    ///
    /// # Errors
    /// As [`Library::find`] and [`Volume::open`]; [`Error::Busy`] where it just failed for somebody else.
    pub fn open_now(&self, stream: &StreamName, age_max: Duration) -> Result<Volume> {
        self.opened_now(&self.find(stream, age_max)?.snapshot)
    }

    /// The same of the volume of this name.
    ///
    /// # Errors
    /// As [`Library::snapshot`] and [`Library::open_now`].
    pub fn open_now_in(&self, volume: &str, age_max: Duration) -> Result<Volume> {
        let snapshot = self.snapshot(volume, age_max)?;
        self.opened_now(&snapshot)
    }

    fn opened_now(&self, snapshot: &Snapshot) -> Result<Volume> {
        let shelves = self.shelves();
        let shelf = shelves.iter().find(|shelf| shelf.name == snapshot.name);
        let gone = || Error::Invalid(format!("there is no volume {} any more", snapshot.name));
        let path = &shelf.ok_or_else(gone)?.path;
        self.opening.ask(path).open(|| (self.open)(path, snapshot.still_at(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn volume(path: &Path) {
        let options = keha_fs::CreateOptions { size_bytes: 24 << 20, ..Default::default() };
        keha_fs::create(path, &options, &mut |_, _| std::ops::ControlFlow::Continue(())).expect("a volume");
    }

    #[test]
    fn all_who_wait_share_a_volume_that_was_opened_after_they_asked() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.ring");
        volume(&path);
        let (opening, opened) = (Opening::default(), Cell::new(0));
        let open = |asked: Asked| {
            let count = || {
                opened.set(opened.get() + 1);
                Volume::open(&path)
            };
            asked.open(count).expect("it opens")
        };
        let asked: Vec<Asked> = (0..30).map(|_| opening.ask(&path)).collect();
        let other = opening.ask(Path::new("elsewhere"));
        let info = asked.into_iter().map(|asked| open(asked).info().clone()).collect::<Vec<_>>();
        assert!(opened.get() == 1 && info.iter().all(|one| *one == info[0]));
        open(other);
        assert_eq!(opened.get(), 2, "of another path");
        let first = opening.ask(&path);
        let held = opening.ask(&path);
        open(first);
        assert_eq!(opened.get(), 3, "what nobody waited for is not kept");
        let began = Instant::now();
        while Instant::now() == began {}
        let later = opening.ask(&path);
        open(later);
        assert_eq!(opened.get(), 4, "what was opened before it asked does not serve");
        open(held);
        assert_eq!(opened.get(), 4);
    }

    #[test]
    fn a_volume_that_does_not_open_is_tried_once_for_all_who_wait() {
        let opening = Opening::default();
        let path = Path::new("/nowhere/at/all.ring");
        let (first, second) = (opening.ask(path), opening.ask(path));
        assert!(matches!(first.open(|| Volume::open(path)), Err(Error::Volume(_))));
        let told = second.open(|| panic!("it is not tried again"));
        assert!(matches!(told, Err(Error::Busy(why)) if why.contains("all.ring")));
    }
}
