//! What was made of footage, shared by all who ask: segments, snapshots, live playlists. Calls block.
//!
//! What was erased, got past its age or was overwritten must not be given from the cache: what touches a block of which that is so is not
//! asked for there, however it came in, but made anew by who decides what may be read. What is kept of it goes as it is evicted.

use crate::discontinuities::Discontinuities;
use crate::problem::Problem;
use axum::http::StatusCode;
use bytes::Bytes;
use keha_fs::{StreamId, StreamName, TimeRange, VolumeId};
use keha_player::Result;
use keha_player::cache::{Cache, Key, Part};
use keha_player::hls::{LiveOptions, LivePlaylist, Uris};
use keha_player::library::{Found, Whole};
use keha_player::segments::{
    InitName, Outlined, Outlines, Plan, SegmentName, init, plan_of, segment, segment_of_ended, target_of,
};
use keha_player::snapshot::{Decoders, SnapshotName, made_width, snapshot};
use keha_player::timeline::Holding;
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
    playlists: Mutex<HashMap<StreamName, Arc<Mutex<LivePlaylist>>>>,
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
    pub(crate) fn segment(&self, whole: &Whole, name: &SegmentName) -> Result<(Bytes, bool)> {
        self.first_of(whole, Part::Segment(*name), |found, part| {
            self.made_settled(found, part, || {
                let goes_on = found.snapshot.index.goes_on(found.stream.id);
                let make = if goes_on { segment } else { segment_of_ended };
                make(found.volume(), found.stream.id, name).map(|segment| (segment.data, segment.is_settled))
            })
        })
    }

    /// An init segment of a stream.
    pub(crate) fn init(&self, whole: &Whole, name: &InitName) -> Result<Bytes> {
        self.first_of(whole, Part::Init(*name), |found, part| {
            self.made(found, part, || {
                init(found.volume(), &found.snapshot.index, found.stream.id, name).map(|init| init.data)
            })
        })
    }

    /// Which segments a range has. What was read for one range, or one viewer, is not read again for another.
    pub(crate) fn plan(&self, whole: &Whole, range: TimeRange) -> Result<Plan> {
        let volumes = whole.parts().iter().map(Found::volume);
        let sources: Vec<Outlined<'_>> =
            volumes.map(|volume| self.outlines.of(volume.info().id, volume)).collect();
        let holdings = whole.holdings();
        let holdings = holdings.iter().zip(&sources).map(|(holding, source)| Holding { source, ..*holding });
        plan_of(&holdings.collect::<Vec<_>>(), range, target_of(range))
    }

    /// A picture as JPEG.
    pub(crate) fn snapshot(&self, found: &Found, name: &SnapshotName, width: Option<u16>) -> Result<Bytes> {
        self.made(found, Part::Snapshot(*name, width.map_or(0, made_width)), || {
            let made = snapshot(found.volume(), found.stream.id, name, width, &self.decoders);
            made.map(|snapshot| snapshot.data)
        })
    }

    /// The live playlist of a stream: of the volume that it is recorded into, and of the one before until that has left the window.
    pub(crate) fn live_playlist(&self, whole: &Whole, uris: &Uris) -> Result<String, Problem> {
        let none = || keha_player::Error::Busy(format!("no volume has {}", whole.name));
        let found = whole.latest().ok_or_else(none)?;
        let playlist = {
            let mut playlists = lock(&self.playlists);
            let new = || {
                let new = LivePlaylist::new(found.stream.id, LiveOptions::default());
                let told = self.discontinuities.told(&whole.name);
                let new = if let Some(told) = told { new.behind(told) } else { new };
                Arc::new(Mutex::new(new))
            };
            Arc::clone(playlists.entry(whole.name.clone()).or_insert_with(new))
        };
        let mut playlist = lock(&playlist);
        playlist.goes_on_in(found.volume().info().id, found.stream.id);
        playlist.advance(&found.snapshot.index, found.volume())?;
        if playlist.segments().len() == 0 {
            let wait = Duration::from_secs(2);
            let why = "the stream has no whole segment yet";
            return Err(Problem::wait(StatusCode::SERVICE_UNAVAILABLE, why, wait));
        }
        self.discontinuities.tell(&whole.name, playlist.discontinuities());
        Ok(playlist.render(uris)?)
    }

    /// What is made of the part of a stream that has it: names say nothing of volumes.
    ///
    /// # Errors
    /// Where no part has it: [`keha_player::Error::Busy`] if it may stand in a volume that does not answer.
    fn first_of<T>(&self, whole: &Whole, part: Part, make: impl Fn(&Found, Part) -> Result<T>) -> Result<T> {
        let (from, to) = part.moments();
        let there = whole.parts_in(from, to);
        let others =
            whole.parts().iter().filter(|part| !there.iter().any(|there| std::ptr::eq(*there, *part)));
        let mut failed = None;
        for found in there.iter().copied().chain(others) {
            match make(found, part) {
                Ok(made) => return Ok(made),
                // What is wrong where it should be tells more than that it is not elsewhere.
                Err(error) => failed = Some(failed.filter(|known| !is_elsewhere(known)).unwrap_or(error)),
            }
        }
        let missing = whole.missing_in(TimeRange { from: Some(from), to: Some(to) });
        match failed {
            Some(error) if missing.is_empty() || !is_elsewhere(&error) => Err(error),
            _ => Err(keha_player::Error::Busy(format!(
                "it may stand in {}, which does not answer",
                missing.join(", ")
            ))),
        }
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

/// Whether a volume just does not have something.
fn is_elsewhere(error: &keha_player::Error) -> bool {
    use keha_fs::Error::NotRecorded;
    matches!(error, keha_player::Error::NoSegment { .. } | keha_player::Error::Volume(NotRecorded { .. }))
}

fn place(found: &Found) -> Place {
    (found.snapshot.volume.info().id, found.stream.id)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
