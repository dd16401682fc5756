//! How many discontinuities the live playlists told that a server before this one made: players must never be told of fewer
//! (`EXT-X-DISCONTINUITY-SEQUENCE`, RFC 8216, section 6.2.2), and what is recorded does not tell without being read.
//!
//! Kept in `live.json` of the state directory, by volume and stream, and written before a playlist that tells more is given: when a
//! camera comes back, and once for each stream that is watched after each start, which goes on one behind what was told. A file that is lost, or cannot be written, has players load a stream anew after a restart; so it keeps nobody from
//! watching.

use crate::state::StateFile;
use keha_fs::{StreamId, VolumeId};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Of how many streams that is known.
const STREAMS_MAX: usize = 100_000;

/// What was told.
pub(crate) struct Discontinuities {
    file: StateFile,
    told: Mutex<BTreeMap<String, u64>>,
    /// Held while the disk writes; `told` is not.
    writing: Mutex<()>,
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
        Discontinuities { file, told: Mutex::new(told), writing: Mutex::default() }
    }

    /// How many were told of a stream, if any were.
    pub(crate) fn told(&self, volume: VolumeId, stream: StreamId) -> Option<u64> {
        lock(&self.told).get(&key(volume, stream)).copied()
    }

    /// So many are about to be told. Blocks until that is durable, if it is news.
    pub(crate) fn tell(&self, volume: VolumeId, stream: StreamId, discontinuities: u64) {
        let key = key(volume, stream);
        if lock(&self.told).get(&key) >= Some(&discontinuities) {
            return;
        }
        let _writing = lock(&self.writing);
        let bytes = {
            let mut told = lock(&self.told);
            if !told.contains_key(&key) && told.len() >= STREAMS_MAX {
                return;
            }
            told.insert(key, discontinuities);
            serde_json::to_vec(&*told).unwrap_or_default()
        };
        if let Err(error) = self.file.change(|_| Ok((bytes, ()))) {
            tracing::warn!(%error, "after a restart players may load live streams anew");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(volume: VolumeId, stream: StreamId) -> String {
    format!("{}/{}", volume.0.simple(), stream.0.simple())
}

#[cfg(test)]
mod tests {
    use super::Discontinuities;
    use crate::media::Media;
    use crate::testing::footage;
    use keha_fs::{StreamId, StreamName, Uuid, VolumeId};
    use keha_player::hls::Uris;
    use keha_player::library::Library;
    use std::time::Duration;

    #[test]
    fn what_was_told_is_known_to_the_next_server_and_never_less() {
        let directory = tempfile::tempdir().expect("a directory");
        let (volume, stream) = (VolumeId(Uuid::from_u128(1)), StreamId(Uuid::from_u128(2)));
        let first = Discontinuities::open(directory.path());
        assert_eq!(first.told(volume, stream), None);
        for told in [20_000, 20_007, 20_003] {
            first.tell(volume, stream, told);
        }
        let next = Discontinuities::open(directory.path());
        assert_eq!(next.told(volume, stream), Some(20_007));
        assert_eq!(next.told(volume, StreamId(Uuid::from_u128(3))), None);
        std::fs::write(directory.path().join("live.json"), b"{").expect("written");
        assert_eq!(Discontinuities::open(directory.path()).told(volume, stream), None, "it serves without");
    }

    /// It began with the day again, and players that had seen more took the stream for another one.
    #[test]
    fn a_live_playlist_goes_on_behind_what_the_server_before_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let library = Library::new([footage(directory.path(), &["door"])]);
        let name = StreamName::new("door").expect("a name");
        let found = library.find(&name, Duration::from_secs(3600)).expect("footage");
        let told = |media: &Media| -> u64 {
            let text = media.live_playlist(&found, &Uris::new("", "").expect("URIs")).expect("a playlist");
            let number = text.lines().find_map(|line| line.strip_prefix("#EXT-X-DISCONTINUITY-SEQUENCE:"));
            number.expect("a number").parse().expect("a number")
        };
        let first = told(&Media::new(directory.path()));
        // The camera came and went.
        let volume = found.snapshot.volume.info().id;
        Discontinuities::open(directory.path()).tell(volume, found.stream.id, first + 40);
        assert_eq!(told(&Media::new(directory.path())), first + 41);
    }
}
