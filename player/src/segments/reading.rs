//! Which of a stream's samples belong to a segment: takes the items of a cursor in their order. Pure.
//!
//! Before the segment's sync sample nothing is kept (*sought*); from there on every sample of its tracks (*inside*); behind its end the
//! samples that decide its last durations (*behind*), until nothing more is wanted (*done*).
//!
//! Where the end is damaged the first sample behind it ends the segment, and outlines must say that the end was there: what is damaged
//! is missing, and costs no other segment. They also say where a stretch could end.

use super::ends::End;
use super::tracks::{Chosen, choose};
use super::{BYTES_MAX, LAST_PICTURE_NS, LOOK_NS, READ_BEHIND_NS, SegmentName, interrupts};
use crate::error::{Error, Result};
use crate::timeline::PAUSE_NS;
use keha_fs::{
    Configuration, ConfigurationHash, Item, RunId, SampleFlags, StoredSample, TrackKind, TrackNumber,
    WallTime,
};
use std::sync::Arc;

/// What a segment is made of.
pub(super) struct Parts {
    /// Its tracks; video first, if there is any.
    pub(super) tracks: Vec<Part>,
}

/// A track of a segment.
pub(super) struct Part {
    pub(super) chosen: Chosen,
    pub(super) samples: Vec<StoredSample>,
    /// What follows in the same stretch: of video as many as decide when the next picture is decoded, of others one.
    pub(super) behind: Vec<StoredSample>,
}

impl Part {
    pub(super) fn is_video(&self) -> bool {
        self.chosen.track.kind() == TrackKind::Video
    }

    /// Whether what follows is known, as far as it matters.
    fn is_settled(&self) -> bool {
        let enough = if self.is_video() { self.chosen.track.reorder_max() + 1 } else { 1 };
        self.behind.len() >= enough
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Sought,
    Inside,
    Behind,
    Done,
}

/// Reads one segment.
pub(super) struct Reading<'a> {
    name: &'a SegmentName,
    place: Place,
    run: Option<RunId>,
    configuration: Option<(ConfigurationHash, Arc<Configuration>)>,
    parts: Vec<Part>,
    bytes: usize,
    /// The latest moment of the segment's samples.
    reached: WallTime,
    /// The sync sample at which the next segment begins was met.
    met_end: bool,
    /// A sync sample was met behind the end without a pause: the stretch ends there only if something was overwritten between.
    passed_end: bool,
    /// How many pictures were met before what was damaged last, if anything of the segment is.
    damaged: Option<usize>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(name: &'a SegmentName) -> Reading<'a> {
        Reading {
            name,
            place: Place::Sought,
            run: None,
            configuration: None,
            parts: Vec::new(),
            bytes: 0,
            reached: WallTime::MIN,
            met_end: false,
            passed_end: false,
            damaged: None,
        }
    }

    /// Takes the next item; whether more are wanted.
    pub(super) fn take(&mut self, item: Item) -> Result<bool> {
        match item {
            Item::Run(run) => {
                self.run = Some(run);
                if self.place != Place::Sought && run != self.name.run {
                    self.place = Place::Done;
                }
            }
            Item::Configuration(hash, configuration) => self.configuration = Some((hash, configuration)),
            Item::Sample(sample) if sample.run == self.name.run => self.sample(sample)?,
            Item::Gap(gap) if self.is_begun() && interrupts(&gap, self.reached) => self.place = Place::Done,
            Item::Erased(_) if self.is_begun() => self.place = Place::Done,
            // What is damaged is missing; what is left is given.
            Item::Damage(_) if self.place == Place::Inside => {
                self.damaged = self.parts.first().map(|first| first.samples.len());
            }
            _ => {}
        }
        Ok(self.place != Place::Done)
    }

    fn is_begun(&self) -> bool {
        self.place != Place::Sought
    }

    fn sample(&mut self, sample: StoredSample) -> Result<()> {
        if self.place == Place::Sought && !self.begin(&sample)? {
            return Ok(());
        }
        if sample.configuration != self.name.configuration {
            self.place = Place::Done;
            return Ok(());
        }
        let leads = self.leads(&sample);
        let may_end = leads || self.damaged.is_some() && self.first_track() == Some(sample.track);
        if self.place == Place::Inside && may_end && sample.wall >= self.name.to {
            self.met_end = leads && sample.wall == self.name.to;
            self.passed_end = !self.met_end && sample.wall.since_ns(self.reached) <= PAUSE_NS;
            let goes_on = self.met_end || self.passed_end && self.damaged.is_some();
            self.place = if goes_on { Place::Behind } else { Place::Done };
            if !self.met_end {
                self.drop_leading();
            }
        }
        match self.place {
            Place::Inside => self.keep(sample),
            Place::Behind => {
                self.look_behind(sample, leads);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether this is the segment's first sample.
    fn begin(&mut self, sample: &StoredSample) -> Result<bool> {
        if sample.configuration != self.name.configuration || sample.wall < self.name.from {
            return Ok(false);
        }
        let known = self.configuration.as_ref().filter(|(hash, _)| *hash == sample.configuration);
        let Some((_, configuration)) = known else { return Ok(false) };
        if self.parts.is_empty() {
            let part = |chosen| Part { chosen, samples: Vec::new(), behind: Vec::new() };
            self.parts = choose(configuration)?.into_iter().map(part).collect();
        }
        if !self.leads(sample) {
            return Ok(false);
        }
        if sample.wall != self.name.from {
            return Err(self.misfit("no sync sample is recorded where it begins"));
        }
        self.place = Place::Inside;
        Ok(true)
    }

    /// Whether a segment can begin with this sample: a sync sample of the first track.
    fn leads(&self, sample: &StoredSample) -> bool {
        self.first_track() == Some(sample.track) && sample.flags.contains(SampleFlags::SYNC)
    }

    fn first_track(&self) -> Option<TrackNumber> {
        self.parts.first().map(|part| part.chosen.number)
    }

    /// Pictures that lead the damaged picture at the end: stored behind it, shown before it, and not to be decoded without it.
    fn drop_leading(&mut self) {
        let Some((before, first)) = self.damaged.zip(self.parts.first_mut()) else { return };
        if first.samples.len().saturating_sub(before) <= first.chosen.track.reorder_max() {
            first.samples.truncate(before);
        }
    }

    fn keep(&mut self, sample: StoredSample) -> Result<()> {
        self.reached = self.reached.max(sample.wall);
        let Some(part) = self.parts.iter_mut().find(|part| part.chosen.number == sample.track) else {
            return Ok(());
        };
        self.bytes += sample.data.len();
        if self.bytes > BYTES_MAX {
            let reason = format!(
                "it has over {} MiB; lower the camera's bit rate or its keyframe interval",
                BYTES_MAX >> 20
            );
            return Err(Error::Mp4 { at: format!("segment {}", self.name), reason });
        }
        part.samples.push(sample);
        Ok(())
    }

    fn look_behind(&mut self, sample: StoredSample, leads: bool) {
        let is_late = sample.wall >= self.name.to.plus_ns(LOOK_NS);
        // What comes before a sync sample in presentation order is not decoded behind it.
        let next_group = leads && self.parts.first().is_some_and(|first| !first.behind.is_empty());
        if let Some(part) = self.parts.iter_mut().find(|part| part.chosen.number == sample.track)
            && !part.is_settled()
            && !next_group
        {
            part.behind.push(sample);
        }
        let is_settled =
            |part: &Part| part.samples.is_empty() || part.is_settled() || part.is_video() && next_group;
        if is_late || self.parts.iter().all(is_settled) {
            self.place = Place::Done;
        }
    }

    /// Up to when samples must have been recorded for what was read to be all there ever will be; `None` if it is. Looked at when
    /// there was nothing more to take.
    pub(super) fn lacks(&self) -> Option<WallTime> {
        match self.place {
            Place::Sought | Place::Done => None,
            Place::Inside => Some(self.name.to.plus_ns(READ_BEHIND_NS)),
            Place::Behind => Some(self.name.to.plus_ns(LOOK_NS)),
        }
    }

    /// Everything was read. `look`: what outlines say of the end, where no sample tells it.
    pub(super) fn finish(mut self, look: impl FnOnce(TrackNumber) -> Result<Option<End>>) -> Result<Parts> {
        let Some(first) = self.first_track().filter(|_| self.is_begun()) else {
            return Err(self.misfit("nothing of it is recorded, or not any more"));
        };
        if !self.met_end {
            let end = look(first)?;
            if !end.is_some_and(|end| self.fits(end)) {
                return Err(self.misfit("no sync sample is recorded where it ends"));
            }
            if end == Some(End::Stretch) {
                self.parts.iter_mut().for_each(|part| part.behind.clear());
            }
        }
        Ok(Parts { tracks: self.parts })
    }

    /// Whether what was read agrees with an end that no sample told.
    fn fits(&self, end: End) -> bool {
        let after_ns = self.name.to.since_ns(self.reached);
        match end {
            _ if after_ns <= 0 => false,
            End::Sync => self.damaged.is_some(),
            End::Stretch if self.damaged.is_some() => true,
            End::Stretch if self.passed_end => after_ns == LAST_PICTURE_NS,
            // The end of a stretch is told by its chunks, which may have sound later than what is here.
            End::Stretch => after_ns <= LOOK_NS + LAST_PICTURE_NS,
        }
    }

    fn misfit(&self, reason: &str) -> Error {
        Error::NoSegment { name: self.name.to_string(), reason: reason.to_owned() }
    }
}
