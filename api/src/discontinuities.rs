//! How many discontinuities the live playlists told that a server before this one made: players must never be told of fewer
//! (`EXT-X-DISCONTINUITY-SEQUENCE`, RFC 8216, section 6.2.2), and what is recorded does not tell without being read.
//!
//! Kept in `live.json` of the state directory, by the names of streams, whichever volumes they are recorded into, and written before a playlist that tells more is given: when a
//! camera comes back, and once for each stream that is watched after each start, which goes on one behind what was told. A file that is
//! lost, or cannot be written, has players load a stream anew after a restart; so it keeps nobody from watching. Nor does a disk that
//! hangs: a thread of its own writes what is told last, is waited for only so long, and by nobody until it has written again.

use crate::state::StateFile;
use keha_fs::StreamName;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Of how many streams that is known.
const STREAMS_MAX: usize = 100_000;
/// How long is waited for the disk.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was told.
pub(crate) struct Discontinuities {
    patience: Duration,
    shared: Arc<Shared>,
}

struct Shared {
    file: StateFile,
    state: Mutex<State>,
    written: Condvar,
}

#[derive(Default)]
struct State {
    told: BTreeMap<String, u64>,
    /// How often something was told.
    changes: u64,
    /// Of how many of them the disk has what they told, as far as it takes it.
    written: u64,
    /// A thread is at it.
    is_writing: bool,
    /// It was waited for in vain.
    hangs: bool,
}

impl Discontinuities {
    /// What the servers before this one told.
    pub(crate) fn open(directory: &Path) -> Discontinuities {
        let file = StateFile::new(directory, "live.json");
        let told = file.read().map(|bytes| bytes.map(|bytes| serde_json::from_slice(&bytes)));
        let told = match told {
            Ok(None) => BTreeMap::new(),
            Ok(Some(Ok(told))) => told,
            Ok(Some(Err(error))) => {
                tracing::warn!(%error, path = %file.path().display(), "not read: players may load live streams anew");
                BTreeMap::new()
            }
            Err(error) => {
                tracing::warn!(%error, "players may load live streams anew");
                BTreeMap::new()
            }
        };
        let state = Mutex::new(State { told, ..State::default() });
        Discontinuities {
            patience: PATIENCE,
            shared: Arc::new(Shared { file, state, written: Condvar::new() }),
        }
    }

    /// How many were told of a stream, if any were.
    pub(crate) fn told(&self, stream: &StreamName) -> Option<u64> {
        self.shared.state().told.get(stream.as_str()).copied()
    }

    /// So many are about to be told. If it is news, blocks until that is durable, or the disk took too long for it.
    pub(crate) fn tell(&self, stream: &StreamName, discontinuities: u64) {
        let mut state = self.shared.state();
        let known = state.told.get(stream.as_str());
        if known >= Some(&discontinuities) || (known.is_none() && state.told.len() >= STREAMS_MAX) {
            return;
        }
        state.told.insert(stream.to_string(), discontinuities);
        state.changes += 1;
        let change = state.changes;
        if !state.is_writing && !self.shared.begin(&mut state) {
            return;
        }
        if state.hangs {
            return;
        }
        let waits = |state: &mut State| state.written < change && !state.hangs;
        let waited = self.shared.written.wait_timeout_while(state, self.patience, waits);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() && state.written < change {
            state.hangs = true;
            let path = self.shared.file.path().display();
            tracing::warn!(%path, "the disk takes long: after a restart players may load live streams anew");
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a thread write what was told. Whether there is one.
    fn begin(self: &Arc<Shared>, state: &mut State) -> bool {
        let shared = Arc::clone(self);
        let thread = std::thread::Builder::new().name("keha-live-state".to_owned());
        match thread.spawn(move || shared.write()) {
            Ok(_) => state.is_writing = true,
            Err(error) => tracing::warn!(%error, "after a restart players may load live streams anew"),
        }
        state.is_writing
    }

    /// Writes until all that was told is written. What came while the disk wrote is written at once.
    fn write(&self) {
        let mut state = self.state();
        while state.written < state.changes {
            let change = state.changes;
            let bytes = serde_json::to_vec(&state.told).unwrap_or_default();
            drop(state);
            if let Err(error) = self.file.change(|_| Ok((bytes, ()))) {
                tracing::warn!(%error, "after a restart players may load live streams anew");
            }
            state = self.state();
            (state.written, state.hangs) = (change, false);
            self.written.notify_all();
        }
        state.is_writing = false;
    }
}

#[cfg(test)]
mod tests {
    use super::Discontinuities;
    use crate::media::Media;
    use crate::testing::footage;
    use keha_fs::StreamName;
    use keha_player::hls::Uris;
    use keha_player::library::Library;
    use std::time::Duration;

    fn name(text: &str) -> StreamName {
        StreamName::new(text).expect("a name")
    }

    #[test]
    fn what_was_told_is_known_to_the_next_server_and_never_less() {
        let directory = tempfile::tempdir().expect("a directory");
        let stream = &name("door");
        let first = Discontinuities::open(directory.path());
        assert_eq!(first.told(stream), None);
        for told in [20_000, 20_007, 20_003] {
            first.tell(stream, told);
        }
        let next = Discontinuities::open(directory.path());
        assert_eq!(next.told(stream), Some(20_007));
        assert_eq!(next.told(&name("door/sub")), None);
        std::fs::write(directory.path().join("live.json"), b"{").expect("written");
        assert_eq!(Discontinuities::open(directory.path()).told(stream), None, "it serves without");
    }

    /// Who watched waited for the disk, with a permit to read: 32 of them, and nobody was served any more.
    #[test]
    fn a_disk_that_hangs_is_waited_for_once_and_gets_what_was_told_last() {
        let directory = tempfile::tempdir().expect("a directory");
        let stream = &name("door");
        let told =
            Discontinuities { patience: Duration::from_millis(1), ..Discontinuities::open(directory.path()) };
        let lock = std::fs::File::create(directory.path().join("live.json.lock")).expect("made");
        lock.lock().expect("locked");
        told.tell(stream, 1);
        assert!(told.shared.state().hangs);
        let patient = Discontinuities { patience: Duration::MAX, ..told };
        // Else these would not end.
        (2..100).for_each(|count| patient.tell(stream, count));
        assert!(!directory.path().join("live.json").exists());
        drop(lock);
        while patient.shared.state().is_writing {
            std::thread::yield_now();
        }
        let after = || Discontinuities::open(directory.path()).told(stream);
        assert_eq!(after(), Some(99));
        patient.tell(stream, 100);
        assert_eq!(after(), Some(100), "it is waited for again");
    }

    /// It began with the day again, and players that had seen more took the stream for another one.
    #[test]
    fn a_live_playlist_goes_on_behind_what_the_server_before_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let library = Library::new([footage(directory.path(), &["door"])]);
        let name = name("door");
        let whole = library.find_all(&name, Duration::from_secs(3600)).expect("footage");
        let told = |media: &Media| -> u64 {
            let text = media.live_playlist(&whole, &Uris::new("", "").expect("URIs")).expect("a playlist");
            let number = text.lines().find_map(|line| line.strip_prefix("#EXT-X-DISCONTINUITY-SEQUENCE:"));
            number.expect("a number").parse().expect("a number")
        };
        let first = told(&Media::new(directory.path()));
        // The camera came and went.
        Discontinuities::open(directory.path()).tell(&name, first + 40);
        assert_eq!(told(&Media::new(directory.path())), first + 41);
    }
}
