//! Fragmented MP4: an init segment, then fragments that begin at sync samples of the first pictures, and after two seconds at most.
//!
//! A sample goes out when the time of the one behind it is known, so that fragments join without a seam; the last sample before a gap
//! lasts until the next one. All tracks are on one axis. Pictures that are reordered are decoded early enough that no composition
//! offset is negative ([`crate::footage::depth`]).

use crate::error::{Error, Result};
use crate::footage::lane::{Member, Merged};
use crate::footage::marks::{Holds, Mark, Marks, PendingState, WAITING_MAX};
use crate::footage::out::Out;
use crate::footage::prepared::{Source, Volumes};
use crate::mp4::{DecodeTimes, FragmentSample, FragmentTrack, Timed, Track, fragment, init};
use bytes::Bytes;
use keha_fs::{SampleFlags, TrackKind};
use std::collections::VecDeque;

/// The longest span of a fragment.
const SPAN_NS: i128 = 2_000_000_000;
/// The most bytes that are held for a fragment, but for one sample that is larger.
const BYTES_MAX: usize = 8 << 20;

/// Writes the file, from its beginning or a mark, until nothing more of it is wanted; leaves marks in `marks`.
pub(super) fn write(
    source: &Source,
    volumes: &dyn Volumes,
    from: Option<&Mark>,
    mut marks: Option<&mut Marks>,
    out: &mut Out<'_>,
) -> Result<()> {
    let described: Vec<Track> = source.tracks.iter().filter_map(|track| track.mp4.clone()).collect();
    let lead = source.tracks.iter().position(|track| track.configuration.kind == TrackKind::Video);
    let mut muxing = Muxing::new(&described, &source.early, lead);
    let mut next = from.map_or_else(|| vec![0; source.tracks.len()], |mark| mark.next.clone());
    let mut samples = match from.and_then(|mark| Some((mark, mark.needs()?))) {
        Some((mark, needed)) => {
            let (samples, before) = Merged::resumed(volumes, source, &needed, &next)?;
            muxing.resume(mark, before);
            samples
        }
        None if out.write(init(&described)?).is_break() => return Ok(()),
        None => Merged::new(volumes, source)?,
    };
    while let Some(member) = samples.next()? {
        if out.reads(member.row.chunk).is_break() {
            return Ok(());
        }
        if let Some(next) = next.get_mut(member.track) {
            *next = member.sample + 1;
        }
        let Some(track) = described.get(member.track) else { continue };
        let ticks = source.axis.ticks(member.row.wall, track.timescale());
        let Some(made) = muxing.push(member.track, ticks, member.row.flags, member.data)? else { continue };
        if out.write(made).is_break() {
            return Ok(());
        }
        let at = out.position();
        if let Some(marks) = marks.as_mut().filter(|marks| marks.is_due(at))
            && let Some(holds) = muxing.state()
        {
            marks.push(Mark { at, next: next.clone(), holds });
        }
    }
    if let Some(made) = muxing.finish()? {
        // Nothing comes behind it, whether it is wanted or not.
        let _nothing_more = out.write(made);
    }
    Ok(())
}

/// Collects samples until they are a fragment.
struct Muxing<'t> {
    tracks: Vec<Pending<'t>>,
    /// The track at whose sync samples fragments begin.
    lead: Option<usize>,
    sequence: u32,
    /// When the oldest sample that was collected since the last fragment is shown.
    began_ns: Option<i128>,
    bytes: usize,
}

/// A track's samples that wait.
struct Pending<'t> {
    track: &'t Track,
    times: DecodeTimes,
    settled: VecDeque<Timed>,
    waiting: VecDeque<(SampleFlags, Bytes)>,
    /// Which of those waiting is to begin a fragment.
    border: Option<usize>,
    /// By how many ticks samples are decoded earlier.
    early: i64,
}

impl<'t> Muxing<'t> {
    fn new(tracks: &'t [Track], early: &[i64], lead: Option<usize>) -> Muxing<'t> {
        let pending = tracks.iter().zip(early).map(|(track, early)| Pending {
            track,
            early: *early,
            times: DecodeTimes::new(track.reorder_max()),
            settled: VecDeque::new(),
            waiting: VecDeque::new(),
            border: None,
        });
        Muxing { tracks: pending.collect(), lead, sequence: 0, began_ns: None, bytes: 0 }
    }

    /// What it holds but for the samples' bytes; `None` if that is too much for a mark.
    fn state(&self) -> Option<Holds> {
        let waiting: usize = self.tracks.iter().map(|pending| pending.waiting.len()).sum();
        if waiting > WAITING_MAX {
            return None;
        }
        let began_ns = self.began_ns.map(i64::try_from).transpose().ok()?;
        let tracks = self.tracks.iter().map(Pending::state).collect();
        Some(Holds::Fragments { sequence: self.sequence, began_ns, tracks })
    }

    /// Goes on with what another one held at a mark, and the samples that waited there.
    fn resume(&mut self, mark: &Mark, before: Vec<Member>) {
        let Holds::Fragments { sequence, began_ns, tracks } = &mark.holds else { return };
        (self.sequence, self.began_ns) = (*sequence, began_ns.map(i128::from));
        for (pending, state) in self.tracks.iter_mut().zip(tracks) {
            pending.times = DecodeTimes::resumed(pending.track.reorder_max(), &state.times);
            let settled =
                state.settled.iter().map(|(decode, offset)| Timed { decode: *decode, offset: *offset });
            pending.settled = settled.collect();
            pending.border = state.border.map(|border| border as usize);
        }
        for member in before {
            self.bytes += member.data.len();
            if let Some(pending) = self.tracks.get_mut(member.track) {
                pending.waiting.push_back((member.row.flags, member.data));
            }
        }
    }

    /// Takes a sample, and gives a fragment if one is there.
    fn push(&mut self, track: usize, ticks: i64, flags: SampleFlags, data: Bytes) -> Result<Option<Bytes>> {
        let leads = self.lead == Some(track);
        let Some(pending) = self.tracks.get_mut(track) else { return Ok(None) };
        let at_ns = pending.ns(ticks);
        self.bytes += data.len();
        pending.push(ticks, flags, data);
        if leads && flags.contains(SampleFlags::SYNC) && pending.waiting.len() > 1 {
            pending.border = Some(pending.waiting.len() - 1);
        }
        let border = pending.border.and_then(|border| pending.settled.get(border)).map(|timed| timed.decode);
        if let Some(border) = border {
            let border_ns = pending.ns(border);
            return self.cut(border_ns, at_ns);
        }
        let began_ns = *self.began_ns.get_or_insert(at_ns);
        if at_ns - began_ns >= SPAN_NS || self.bytes >= BYTES_MAX {
            return self.cut(i128::MAX, at_ns);
        }
        Ok(None)
    }

    /// A fragment of what is decoded before a moment and has a known duration.
    fn cut(&mut self, before_ns: i128, now_ns: i128) -> Result<Option<Bytes>> {
        self.began_ns = Some(now_ns);
        let taken: Vec<_> = self.tracks.iter_mut().map(|pending| pending.take(before_ns)).collect();
        self.fragment(taken)
    }

    /// The last fragment.
    fn finish(&mut self) -> Result<Option<Bytes>> {
        let taken: Vec<_> = self.tracks.iter_mut().map(Pending::take_all).collect();
        self.fragment(taken)
    }

    fn fragment(&mut self, taken: Vec<(Vec<FragmentSample>, Option<i64>)>) -> Result<Option<Bytes>> {
        self.bytes = self.tracks.iter().flat_map(|track| &track.waiting).map(|(_, data)| data.len()).sum();
        if taken.iter().all(|(samples, _)| samples.is_empty()) {
            return Ok(None);
        }
        let parts = self.tracks.iter().zip(&taken);
        let parts: Vec<FragmentTrack<'_>> = parts
            .map(|(pending, (samples, next))| FragmentTrack { track: pending.track, samples, next: *next })
            .collect();
        self.sequence = self.sequence.wrapping_add(1);
        let made = fragment(self.sequence, &parts)?;
        match made.needs_init.first() {
            None => Ok(Some(made.data)),
            Some(track) => Err(Error::Mp4 {
                at: format!("track {track}"),
                reason:
                    "a sample has parameter sets that its configuration lacks; ask for Matroska, or for MP4 \
                         that is not fragmented"
                        .into(),
            }),
        }
    }
}

impl Pending<'_> {
    fn state(&self) -> PendingState {
        PendingState {
            // Few: the muxer counted them.
            waiting: self.waiting.len() as u32,
            settled: self.settled.iter().map(|timed| (timed.decode, timed.offset)).collect(),
            times: self.times.state(),
            border: self.border.and_then(|border| u32::try_from(border).ok()),
        }
    }

    fn ns(&self, ticks: i64) -> i128 {
        i128::from(ticks) * 1_000_000_000 / i128::from(self.track.timescale().max(1))
    }

    fn push(&mut self, ticks: i64, flags: SampleFlags, data: Bytes) {
        let sync = self.track.kind() != TrackKind::Video || flags.contains(SampleFlags::SYNC);
        let mut settled = Vec::new();
        self.times.push(ticks, sync, &mut settled);
        self.settle(settled);
        self.waiting.push_back((flags, data));
    }

    /// The samples that are decoded before a moment, as long as the time of the one behind is known, which comes with them.
    fn take(&mut self, before_ns: i128) -> (Vec<FragmentSample>, Option<i64>) {
        let known = self.settled.len().saturating_sub(1);
        let count =
            self.settled.iter().take(known).take_while(|timed| self.ns(timed.decode) < before_ns).count();
        self.border = self.border.and_then(|border| border.checked_sub(count)).filter(|border| *border > 0);
        let taken = self.drain(count);
        (taken, self.settled.front().map(|timed| timed.decode))
    }

    fn take_all(&mut self) -> (Vec<FragmentSample>, Option<i64>) {
        let mut settled = Vec::new();
        self.times.finish(&mut settled);
        self.settle(settled);
        (self.drain(self.settled.len()), None)
    }

    fn settle(&mut self, settled: Vec<Timed>) {
        let early = self.early;
        self.settled.extend(settled.into_iter().map(|Timed { decode, offset }| Timed {
            decode: decode.saturating_sub(early),
            offset: offset.saturating_add(early),
        }));
    }

    fn drain(&mut self, count: usize) -> Vec<FragmentSample> {
        let waiting = self.waiting.drain(..count.min(self.waiting.len()));
        let times = self.settled.drain(..count);
        times.zip(waiting).map(|(times, (flags, data))| FragmentSample { times, flags, data }).collect()
    }
}
