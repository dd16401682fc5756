//! What a layout keeps of a track's samples: sizes one by one, times and sync samples as runs.

use crate::error::Result;
use crate::mp4::failed;
use crate::mp4::times::{DecodeTimes, Timed};
use crate::mp4::track::Track;

/// Equal values one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Runs<T> {
    pub(crate) runs: Vec<(u32, T)>,
}

impl<T> Default for Runs<T> {
    fn default() -> Self {
        Runs { runs: Vec::new() }
    }
}

impl<T: PartialEq> Runs<T> {
    pub(crate) fn push(&mut self, value: T) {
        match self.runs.last_mut() {
            Some((count, last)) if *last == value => *count += 1,
            _ => self.runs.push((1, value)),
        }
    }
}

/// A track's samples.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) track: Track,
    times: DecodeTimes,
    settled: Vec<Timed>,
    pub(crate) sizes: Vec<u32>,
    /// Time from each sample to the next, in decode order.
    pub(crate) deltas: Runs<u32>,
    /// Composition offsets.
    pub(crate) offsets: Runs<i32>,
    /// The numbers of the sync samples, from 1.
    pub(crate) sync: Vec<u32>,
    first: Option<Timed>,
    last: Option<Timed>,
    /// The earliest and the latest presentation time.
    pub(crate) shown: Option<(i64, i64)>,
}

/// A track's times when they are all there, in its own ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// What is to be added to all composition offsets so that none is negative.
    pub(crate) shift: u64,
    /// Where in the media the presentation begins, the shift included.
    pub(crate) media_time: u64,
    /// The presentation time of the beginning, on the caller's axis.
    pub(crate) begins: i64,
    /// From the beginning of the presentation to its end.
    pub(crate) shown: u64,
    /// The sum of the samples' durations.
    pub(crate) lasts: u64,
}

impl Table {
    pub(crate) fn new(track: Track) -> Table {
        Table {
            times: DecodeTimes::new(track.reorder_max()),
            settled: Vec::new(),
            sizes: Vec::new(),
            deltas: Runs::default(),
            offsets: Runs::default(),
            sync: Vec::new(),
            first: None,
            last: None,
            shown: None,
            track,
        }
    }

    /// Takes a sample, in decode order.
    pub(crate) fn push(&mut self, ticks: i64, sync: bool, bytes: u32) -> Result<()> {
        let number = u32::try_from(self.sizes.len() + 1)
            .map_err(|_| self.wrong("it has more samples than a file can number; export a shorter range"))?;
        self.sizes.push(bytes);
        if self.track.has_sync_samples() && sync {
            self.sync.push(number);
        }
        self.shown = Some(self.shown.map_or((ticks, ticks), |(min, max)| (min.min(ticks), max.max(ticks))));
        self.times.push(ticks, sync, &mut self.settled);
        self.take_settled()
    }

    fn take_settled(&mut self) -> Result<()> {
        let mut settled = std::mem::take(&mut self.settled);
        let taken = settled.drain(..).try_for_each(|timed| self.take(timed));
        // Its room serves the next sample.
        self.settled = settled;
        taken
    }

    fn take(&mut self, timed: Timed) -> Result<()> {
        self.first.get_or_insert(timed);
        if let Some(last) = self.last.replace(timed) {
            let delta = u32::try_from(timed.decode.saturating_sub(last.decode))
                .map_err(|_| self.wrong("it pauses for hours; export the parts before and behind"))?;
            self.deltas.push(delta);
        }
        let offset = i32::try_from(timed.offset)
            .map_err(|_| self.wrong("its clock goes back by hours; export the parts before and behind"))?;
        self.offsets.push(offset);
        Ok(())
    }

    /// No more samples. `None` if there were none.
    pub(crate) fn finish(&mut self) -> Result<Option<Span>> {
        self.times.finish(&mut self.settled);
        self.take_settled()?;
        let (Some(first), Some((begins, latest))) = (self.first, self.shown) else { return Ok(None) };
        let before = self.deltas.runs.last().map(|(_, delta)| *delta);
        let last = self.track.natural_ticks(None).or(before).unwrap_or_else(|| self.track.assumed_ticks());
        self.deltas.push(last);
        let deepest = self.offsets.runs.iter().map(|(_, offset)| *offset).min().unwrap_or(0).min(0);
        let shift = u64::from(deepest.unsigned_abs());
        let lead = begins.saturating_sub(first.decode);
        Ok(Some(Span {
            shift,
            // The shift is at least what the earliest presentation lies before the first decoding.
            media_time: shift.saturating_add_signed(lead),
            begins,
            shown: latest.saturating_sub(begins).unsigned_abs() + u64::from(last),
            lasts: self.deltas.runs.iter().map(|(count, delta)| u64::from(*count) * u64::from(*delta)).sum(),
        }))
    }

    fn wrong(&self, reason: &str) -> crate::Error {
        failed(format!("a file with track {}", self.track.id()), reason)
    }
}
