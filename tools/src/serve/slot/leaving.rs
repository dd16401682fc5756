//! What counts of a volume when cameras are placed, and letting go of them and of it once it has failed. Nothing here waits for its disk.

use super::{RETRY, Slot};
use crate::serve::failover::judge::Verdict;
use crate::serve::failover::place::{Condition, VolumeFacts};
use crate::serve::station::CameraInVolume;
use keha_fs::{StreamId, StreamName, Undone, VolumeInfo, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Who looks at a volume that is left behind has so long to look away.
const LOOKING: Duration = Duration::from_secs(5);

/// A stream that is not recorded here any more.
pub(in crate::serve) struct Left {
    /// Up to when there is footage of it that stands here, as far as is known.
    pub(in crate::serve) last: Option<WallTime>,
    /// What else was taken, and may not stand here.
    pub(in crate::serve) undone: Undone,
}

impl Slot {
    /// What counts of it when cameras are placed. Waits for nobody.
    pub(in crate::serve) fn facts(&self, now: Instant) -> VolumeFacts {
        let state = self.state();
        let is_open = self.live.try_read().map(|live| live.is_some()).ok();
        let condition = match (is_open, state.judge.verdict(now)) {
            // What it says when it cannot be opened names its path, which is not for everybody.
            (Some(false), _) if state.tried => Condition::Failed("it is not open".to_owned()),
            (Some(true), Verdict::Failed(why)) => Condition::Failed(why),
            (Some(true), Verdict::Good) if state.fresh => Condition::Good,
            _ => Condition::Unclear,
        };
        let round = state.round.as_ref();
        let known: BTreeSet<StreamName> =
            round.iter().flat_map(|round| &round.streams).map(|stream| stream.name.clone()).collect();
        let held = round.map_or(0, |round| round.holds.held_blocks + round.holds.reserved_blocks);
        // The volume's rule: its blocks are three a stream, and two, and what is held.
        let admits = |info: &VolumeInfo| {
            let by_blocks = info.blocks.saturating_sub(held).saturating_sub(2) / 3;
            u64::from(by_blocks.min(info.streams_max)).saturating_sub(known.len() as u64)
        };
        VolumeFacts {
            name: self.name.clone(),
            condition,
            takes_over: state.takes_over,
            bytes: state.info.as_ref().map_or(0, |info| info.size_bytes),
            room: state.info.as_ref().map_or(0, admits),
            known,
        }
    }

    /// Whether it is open, and has failed.
    pub(in crate::serve) fn fails_open(&self, now: Instant) -> bool {
        let state = self.state();
        let is_open = self.live.try_read().is_ok_and(|live| live.is_some());
        is_open && matches!(state.judge.verdict(now), Verdict::Failed(_))
    }

    /// The identities of the streams that are recorded into it.
    pub(in crate::serve) fn identities(&self) -> BTreeMap<StreamName, StreamId> {
        self.live().as_ref().map(|live| live.recorder.identities()).unwrap_or_default()
    }

    /// Whether a camera is recorded into it, be it not in all as it should be.
    pub(in crate::serve) fn records(&self, camera: &CameraInVolume) -> bool {
        let here = self.identities();
        camera.camera.streams().any(|(stream, _)| here.contains_key(stream))
    }

    /// Closes it on a thread of its own, which may never end: its disk has failed, and its cameras are elsewhere. It can be opened
    /// again. False where somebody keeps looking at it.
    pub(in crate::serve) fn leave_behind(&self, why: &str) -> bool {
        let end = Instant::now() + LOOKING;
        let live = loop {
            match self.live.try_write() {
                Ok(mut live) => break live.take(),
                Err(_) if Instant::now() < end => std::thread::sleep(LOOKING / 500),
                Err(_) => return false,
            }
        };
        self.opened.fetch_add(1, Ordering::SeqCst);
        let mut state = self.state();
        state.set_failed(Some(why.to_owned()));
        (state.fresh, state.next_try) = (false, Instant::now() + RETRY);
        drop(state);
        let Some(live) = live else { return true };
        let name = self.name.clone();
        let close = move || match live.leave_behind() {
            Ok(()) => tracing::info!(volume = name, "the volume that failed is closed"),
            Err(error) => tracing::warn!(volume = name, %error, "the volume that failed is left behind"),
        };
        if let Err(error) = std::thread::Builder::new().name("closing".into()).spawn(close) {
            tracing::error!(%error, "cannot start a thread");
        }
        true
    }

    /// Cameras are about to come over: their streams are admitted all at once. Who may not be admitted is told so when it begins.
    pub(in crate::serve) fn expect(&self, streams: Vec<(StreamName, Option<StreamId>)>) {
        let live = self.live();
        if let Some(live) = live.as_ref()
            && let Err(error) = live.writer.admit_all(streams, LOOKING)
        {
            tracing::warn!(volume = self.name, %error, "streams that come over are not admitted together");
        }
    }

    /// So many cameras go on elsewhere because it failed.
    pub(in crate::serve) fn count_failovers(&self, cameras: usize) {
        self.state().failovers += cameras as u64;
    }

    /// What of this stream is not durable was given elsewhere.
    pub(in crate::serve) fn gave(&self, stream: StreamName) {
        self.state().given.insert(stream);
    }

    /// What of this stream is not durable waits here after all.
    pub(in crate::serve) fn keeps(&self, stream: &StreamName) {
        self.state().given.remove(stream);
    }

    /// What is not durable here, of streams of which it was not given elsewhere.
    pub(in crate::serve) fn not_given(&self) -> BTreeMap<StreamName, Undone> {
        let Some(holder) = self.live().as_ref().map(|live| live.writer.holder()) else {
            return BTreeMap::new();
        };
        let given = self.state().given.clone();
        let others = holder.recorded().into_iter().filter(|stream| !given.contains(stream));
        let undone = others.map(|stream| (holder.undone(&stream), stream));
        undone.filter(|(undone, _)| !undone.is_empty()).map(|(undone, stream)| (stream, undone)).collect()
    }

    /// Ends the recording of cameras here, all at once, because it failed.
    pub(in crate::serve) fn let_go(&self, cameras: &BTreeSet<StreamName>) -> BTreeMap<StreamName, Left> {
        let round = self.state().round.clone();
        let live = self.live();
        let streams = live.as_ref().map(|live| live.recorder.status()).unwrap_or_default();
        if let Some(live) = live.as_ref()
            && let Err(error) = live.recorder.remove_all(cameras)
        {
            tracing::error!(volume = self.name, %error, "it is left behind");
        }
        let durable = round
            .iter()
            .flat_map(|round| &round.streams)
            .map(|stream| (stream.name.clone(), stream.tracks.iter().map(|track| track.wall).max()));
        let mut left: BTreeMap<StreamName, Left> = durable
            .filter(|(name, _)| cameras.iter().any(|camera| camera.as_str() == name.camera()))
            .map(|(name, last)| (name, Left { last, undone: Undone::default() }))
            .collect();
        for stream in
            streams.iter().filter(|stream| cameras.iter().any(|name| name.as_str() == stream.name.camera()))
        {
            let entry = left.entry(stream.name.clone());
            entry.or_insert_with(|| Left { last: None, undone: Undone::default() });
        }
        // Also of those that were let go before, and that nobody took.
        if let Some(live) = live.as_ref() {
            left.iter_mut().for_each(|(name, left)| left.undone = live.writer.holder().undone(name));
        }
        left
    }
}
