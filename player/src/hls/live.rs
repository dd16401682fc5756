//! The playlist of a stream that goes on: a window over its newest segments. See the module's invariants.

use super::Uris;
use super::media::{Head, render, rounded_s};
use crate::error::Result;
use crate::segments::{Joiner, PlannedSegment, Position, live_gops, mark_independent, tell_left_out};
use crate::timeline::{Index, TimelineSource};
use keha_fs::{ConfigurationHash, StreamId, StreamRow, VolumeId, WallTime};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

const SECOND_NS: i64 = 1_000_000_000;
/// Discontinuities are counted from the Unix time in units of so many seconds. hls.js looks through a list as long as this number each
/// time it has loaded a playlist: it stands still for minutes at a number of Unix seconds.
const DISCONTINUITY_SECONDS: u64 = 24 * 3600;
/// How much of a stream's end is looked at for the first segments: two of the longest.
const FIRST_LOOK_NS: i64 = 150 * SECOND_NS;
/// Target durations, in seconds: few, so that one holds as long as a camera's keyframe interval is about what it was.
const TARGET_DURATIONS_S: [u64; 9] = [2, 3, 4, 6, 10, 15, 20, 30, 61];

/// What a live playlist is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveOptions {
    /// Groups of pictures that begin within the same of these are joined; in whole seconds, at least one.
    pub target: Duration,
    /// How many segments are listed at most; at least 3.
    pub window: usize,
}

impl Default for LiveOptions {
    fn default() -> LiveOptions {
        LiveOptions { target: Duration::from_secs(1), window: 8 }
    }
}

/// The live playlist of a stream: advanced when the volume was looked at anew, and rendered for each viewer.
#[derive(Debug)]
pub struct LivePlaylist {
    stream: StreamId,
    /// The volume that it is recorded into.
    volume: Option<VolumeId>,
    options: LiveOptions,
    listed: VecDeque<PlannedSegment>,
    /// The numbers of the first segment that is listed.
    media_sequence: u64,
    discontinuity_sequence: u64,
    target_duration_s: u64,
    /// The last segment that was met, listed or not.
    position: Option<Position>,
    /// Where it went on in other volumes when it went on elsewhere.
    left: BTreeMap<(VolumeId, StreamId), Position>,
    /// From which volume the last segment is.
    listed_of: Option<VolumeId>,
    /// The next segment does not follow the last one that is listed.
    broken: bool,
    /// What the last look was at: how many rows, the last of them, and whether more may come.
    seen: Option<(usize, Option<StreamRow>, bool)>,
    /// Below this the number of discontinuities does not begin.
    discontinuities_min: u64,
    /// A moment at which a configuration of the window holds; the same for as long as it is listed.
    inits: BTreeMap<ConfigurationHash, WallTime>,
}

impl LivePlaylist {
    /// The playlist of a stream, without a segment yet.
    pub fn new(stream: StreamId, options: LiveOptions) -> LivePlaylist {
        let target = Duration::from_secs(options.target.as_secs().max(1));
        LivePlaylist {
            stream,
            volume: None,
            options: LiveOptions { target, window: options.window.max(3) },
            listed: VecDeque::new(),
            media_sequence: 0,
            discontinuity_sequence: 0,
            target_duration_s: 0,
            position: None,
            left: BTreeMap::new(),
            listed_of: None,
            broken: false,
            seen: None,
            discontinuities_min: 0,
            inits: BTreeMap::new(),
        }
    }

    /// The same behind a playlist of the stream that listed so many discontinuities ([`LivePlaylist::discontinuities`]).
    #[must_use]
    pub fn behind(self, discontinuities: u64) -> LivePlaylist {
        // What it has begins another time than what that one had: there is one more between them.
        LivePlaylist { discontinuities_min: discontinuities.saturating_add(1), ..self }
    }

    /// The stream is recorded into this volume: what is listed stays, and what this volume has of the time since follows it, behind a
    /// discontinuity. Numbers go on. Where it is so already nothing changes.
    pub fn goes_on_in(&mut self, volume: VolumeId, stream: StreamId) {
        let before = self.volume.replace(volume);
        if (before, self.stream) == (Some(volume), stream) {
            return;
        }
        if let Some((before, position)) = before.zip(self.position.take()) {
            self.left.insert((before, self.stream), position);
        }
        self.stream = stream;
        self.position = self.left.remove(&(volume, stream));
        self.seen = None;
    }

    /// Lists what was recorded since the last time, as the index and its source know it; whether anything was. Reads the outlines of the
    /// newest blocks, if their rows tell of anything new. An index that is older than the last one changes nothing.
    ///
    /// # Errors
    /// As [`crate::timeline::timeline`]; the playlist stays as it was then.
    pub fn advance(&mut self, index: &Index, source: &dyn TimelineSource) -> Result<bool> {
        let rows = index.rows_of(self.stream);
        let sees = Some((rows.len(), rows.last().copied(), index.is_live()));
        if self.seen == sees {
            return Ok(false);
        }
        let gops = live_gops(index, source, self.stream, self.position, FIRST_LOOK_NS)?;
        let target_ns = i64::try_from(self.options.target.as_nanos()).unwrap_or(i64::MAX);
        let mut joiner = Joiner::new(target_ns, self.position.map(|position| position.name));
        gops.iter().for_each(|gop| joiner.push(gop));
        let (mut segments, left_out) = joiner.finish();
        tell_left_out(self.stream, &left_out);
        mark_independent(index, source, self.stream, &mut segments)?;
        let newest = segments.last().map(|last| Position { block: last.block, name: last.name });
        if self.listed_of != self.volume {
            // What the volume has of the time that is listed already was recorded twice, or was not ready when the stream left it.
            let listed = self.listed.back().map(second_of);
            segments.retain(|segment| listed.is_none_or(|listed| second_of(segment) > listed));
            if !segments.is_empty() {
                self.broken |= listed.is_some();
                self.listed_of = self.volume;
            }
        }
        self.position = newest.or(self.position);
        if self.listed.is_empty() {
            segments.drain(..segments.len().saturating_sub(self.options.window));
            segments.first_mut().into_iter().for_each(|first| first.discontinuity = false);
        }
        let longest = segments.iter().map(rounded_s).max().unwrap_or(0);
        if longest > self.target_duration_s {
            let step = TARGET_DURATIONS_S.into_iter().find(|step| *step >= longest);
            self.target_duration_s = step.unwrap_or(longest);
        }
        let before = self.next_number();
        segments.into_iter().for_each(|segment| self.list(segment));
        self.seen = sees;
        Ok(self.next_number() != before)
    }

    /// The number of the segment that is listed next.
    fn next_number(&self) -> u64 {
        self.media_sequence + self.listed.len() as u64
    }

    fn list(&mut self, mut segment: PlannedSegment) {
        if self.listed.iter().any(|listed| listed.name == segment.name) {
            return;
        }
        let second = second_of(&segment);
        match self.listed.back() {
            None => {
                let first = (second / DISCONTINUITY_SECONDS).max(self.discontinuities_min);
                (self.media_sequence, self.discontinuity_sequence) = (second, first);
            }
            Some(last) => {
                if self.next_number() > second && second_of(last) == second {
                    self.broken = true;
                    return;
                }
            }
        }
        segment.discontinuity |= std::mem::take(&mut self.broken);
        self.inits.entry(segment.name.configuration).or_insert(segment.wall());
        self.listed.push_back(segment);
        while self.listed.len() > self.options.window {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let Some(first) = self.listed.pop_front() else { return };
        self.media_sequence += 1;
        self.discontinuity_sequence += u64::from(first.discontinuity);
        let listed = &self.listed;
        self.inits.retain(|hash, _| listed.iter().any(|segment| segment.name.configuration == *hash));
    }

    /// The segments that are listed, the oldest first.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &PlannedSegment> + DoubleEndedIterator {
        self.listed.iter()
    }

    /// The number of the first segment that is listed.
    pub fn media_sequence(&self) -> u64 {
        self.media_sequence
    }

    /// How many discontinuities there are up to the last segment that is listed: no number that was told is above that.
    pub fn discontinuities(&self) -> u64 {
        let listed = self.listed.iter().filter(|segment| segment.discontinuity).count() as u64;
        self.discontinuity_sequence + listed
    }

    /// How many discontinuities there were before the first segment that is listed, counted from the first one's Unix day, or from what a
    /// playlist before this one listed.
    pub fn discontinuity_sequence(&self) -> u64 {
        self.discontinuity_sequence
    }

    /// The longest segment that is to be expected, in whole seconds; 0 before the first one.
    pub fn target_duration_s(&self) -> u64 {
        self.target_duration_s
    }

    /// The playlist's text. Ask only once a segment is listed: players take one without for broken.
    ///
    /// # Errors
    /// As [`super::vod`].
    pub fn render(&self, uris: &Uris) -> Result<String> {
        let head = Head {
            target_duration_s: self.target_duration_s.max(1),
            media_sequence: self.media_sequence,
            discontinuity_sequence: self.discontinuity_sequence,
            is_over: false,
        };
        let at = |configuration| self.inits.get(&configuration).copied().unwrap_or(WallTime(0));
        render(&head, self.listed.iter(), uris, at)
    }
}

/// The Unix second in which a segment begins.
fn second_of(segment: &PlannedSegment) -> u64 {
    segment.wall().0.div_euclid(SECOND_NS).max(0).unsigned_abs()
}
