//! What was made of footage, shared by all who ask: segments, snapshots, live playlists. Calls block.
//!
//! What was erased, got past its age or was overwritten must not be given from the cache: what touches a block of which that is so is not
//! asked for there, however it came in, but made anew by who decides what may be read. What is kept of it goes as it is evicted.

use crate::discontinuities::Discontinuities;
use crate::problem::Problem;
use axum::http::StatusCode;
use bytes::Bytes;
use keha_fs::{StreamId, TimeRange, VolumeId};
use keha_player::Result;
use keha_player::cache::{Cache, Key, Part};
use keha_player::hls::{LiveOptions, LivePlaylist, Uris};
use keha_player::library::Found;
use keha_player::segments::{
    InitName, Outlines, Plan, SegmentName, init, plan, segment, segment_of_ended, target_of,
};
use keha_player::snapshot::{Decoders, SnapshotName, made_width, snapshot};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most bytes that are kept of what was made.
const CACHE_BYTES: u64 = 128 << 20;
/// And of outlines, from which playlists are made: some days of streams.
const OUTLINES_BYTES: u64 = 32 << 20;

type Place = (VolumeId, StreamId);

/// What was made, and what makes it.
pub(crate) struct Media {
    cache: Cache,
    outlines: Outlines,
    decoders: Decoders,
    playlists: Mutex<HashMap<Place, Arc<Mutex<LivePlaylist>>>>,
    discontinuities: Discontinuities,
}

impl Media {
    /// Nothing made yet. What outlives the server is kept in its state directory.
    pub(crate) fn new(state: &Path) -> Media {
        Media {
            cache: Cache::new(CACHE_BYTES),
            outlines: Outlines::new(OUTLINES_BYTES),
            decoders: Decoders::installed(),
            playlists: Mutex::default(),
            discontinuities: Discontinuities::open(state),
        }
    }

    /// A segment of a stream, and whether its name means these bytes from now on.
    pub(crate) fn segment(&self, found: &Found, name: &SegmentName) -> Result<(Bytes, bool)> {
        self.made_settled(found, Part::Segment(*name), || {
            let goes_on = found.snapshot.index.goes_on(found.stream.id);
            let make = if goes_on { segment } else { segment_of_ended };
            make(&found.snapshot.volume, found.stream.id, name)
                .map(|segment| (segment.data, segment.is_settled))
        })
    }

    /// An init segment of a stream.
    pub(crate) fn init(&self, found: &Found, name: &InitName) -> Result<Bytes> {
        self.made(found, Part::Init(*name), || {
            init(&found.snapshot.volume, &found.snapshot.index, found.stream.id, name).map(|init| init.data)
        })
    }

    /// Which segments a range has. What was read for one range, or one viewer, is not read again for another.
    pub(crate) fn plan(&self, found: &Found, range: TimeRange) -> Result<Plan> {
        let snapshot = &found.snapshot;
        let source = self.outlines.of(snapshot.volume.info().id, &snapshot.volume);
        plan(&snapshot.index, &source, found.stream.id, range, target_of(range))
    }

    /// A picture as JPEG.
    pub(crate) fn snapshot(&self, found: &Found, name: &SnapshotName, width: Option<u16>) -> Result<Bytes> {
        self.made(found, Part::Snapshot(*name, width.map_or(0, made_width)), || {
            let made = snapshot(&found.snapshot.volume, found.stream.id, name, width, &self.decoders);
            made.map(|snapshot| snapshot.data)
        })
    }

    /// The live playlist of a stream.
    pub(crate) fn live_playlist(&self, found: &Found, uris: &Uris) -> Result<String, Problem> {
        let (volume, stream) = place(found);
        let playlist = {
            let mut playlists = lock(&self.playlists);
            let new = || {
                let new = LivePlaylist::new(found.stream.id, LiveOptions::default());
                let told = self.discontinuities.told(volume, stream);
                let new = if let Some(told) = told { new.behind(told) } else { new };
                Arc::new(Mutex::new(new))
            };
            Arc::clone(playlists.entry((volume, stream)).or_insert_with(new))
        };
        let mut playlist = lock(&playlist);
        playlist.advance(&found.snapshot.index, &found.snapshot.volume)?;
        if playlist.segments().len() == 0 {
            let wait = Duration::from_secs(2);
            let why = "the stream has no whole segment yet";
            return Err(Problem::wait(StatusCode::SERVICE_UNAVAILABLE, why, wait));
        }
        self.discontinuities.tell(volume, stream, playlist.discontinuities());
        Ok(playlist.render(uris)?)
    }

    /// How many bytes are kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.cache.bytes() + self.outlines.bytes()
    }

    fn made(&self, found: &Found, part: Part, make: impl FnOnce() -> Result<Bytes>) -> Result<Bytes> {
        self.made_settled(found, part, || make().map(|made| (made, true))).map(|(made, _)| made)
    }

    /// The same of what may come out otherwise later: only what is settled is kept.
    fn made_settled(
        &self,
        found: &Found,
        part: Part,
        make: impl FnOnce() -> Result<(Bytes, bool)>,
    ) -> Result<(Bytes, bool)> {
        let (volume, stream) = place(found);
        let (from, to) = part.moments();
        if !found.snapshot.index.is_whole(stream, from, to) {
            return make();
        }
        self.cache.get_or_make_settled(&Key { volume, stream, part }, make)
    }
}

fn place(found: &Found) -> Place {
    (found.snapshot.volume.info().id, found.stream.id)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
