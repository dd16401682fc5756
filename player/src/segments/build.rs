//! A segment from its name and the volume alone.

use super::ends::{end_of, recorded_last};
use super::reading::{Part, Reading};
use super::{LENGTH_MAX_NS, LOOK_NS, READ_BEHIND_NS, SegmentName};
use crate::error::{Error, Result};
use crate::mp4::{DecodeTimes, FragmentSample, FragmentTrack, Timed, Track, fragment};
use bytes::Bytes;
use keha_fs::{SampleFlags, StoredSample, StreamId, TimeRange, TrackKind, Volume, WallTime};

const SECOND_NS: i128 = 1_000_000_000;
/// What is missing of one track where a stretch begins or ends, and no more than how cameras send sound and pictures.
const HOLE_NS: i128 = 500_000_000;
/// No frame of sound is shorter: so few fill a segment.
const FRAME_NS_MIN: i128 = 1_000_000;

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its bytes: `styp`, `moof`, `mdat`.
    pub data: Bytes,
    /// How many pictures it has.
    pub pictures: usize,
    /// Samples of it carried parameter sets that their configuration does not have, and that are left out: from there on to the next
    /// segment pictures may not decode.
    pub needs_init: bool,
    /// Its name means these bytes for as long as the footage stands. Not so where what decides the last of them may still come: of a
    /// stream that was taken for ended, and goes on. Do not keep it then.
    pub is_settled: bool,
}

/// Makes a segment. `stream` and `name` may come from anywhere.
///
/// # Errors
/// [`Error::NoSegment`] if the name fits nothing that is recorded; [`keha_fs::Error::NotRecorded`] if nothing is at that time,
/// [`keha_fs::Error::Overwritten`] if the ring took it meanwhile; [`Error::Mp4`] if it cannot be made of what is recorded, or is
/// larger than [`super::BYTES_MAX`].
pub fn segment(volume: &Volume, stream: StreamId, name: &SegmentName) -> Result<Segment> {
    made(volume, stream, name, volume.is_unclosed())
}

/// The same of a stream that does not go on ([`crate::timeline::Index::goes_on`]), although its volume is being written: its last segment
/// can be made, too. Should it go on all the same, that one is not [settled](Segment::is_settled).
///
/// # Errors
/// As [`segment`].
pub fn segment_of_ended(volume: &Volume, stream: StreamId, name: &SegmentName) -> Result<Segment> {
    made(volume, stream, name, false)
}

fn made(volume: &Volume, stream: StreamId, name: &SegmentName, goes_on: bool) -> Result<Segment> {
    let length_ns = name.to.since_ns(name.from);
    if name.from < WallTime(0) || !(1..=LENGTH_MAX_NS + LOOK_NS).contains(&length_ns) {
        let reason = "it is empty, or longer than a segment can be".to_owned();
        return Err(Error::NoSegment { name: name.to_string(), reason });
    }
    let range = TimeRange { from: Some(name.from), to: Some(name.to.plus_ns(READ_BEHIND_NS)) };
    let mut cursor = volume.read(stream, range)?;
    let mut reading = Reading::new(name);
    while let Some(item) = cursor.next_item()? {
        if !reading.take(item)? {
            break;
        }
    }
    let is_settled = match reading.lacks().filter(|_| volume.is_unclosed()) {
        Some(lacks) => !is_being_recorded(volume, stream, name, lacks)?,
        None => true,
    };
    if goes_on && !is_settled {
        let reason = "not all of it is on the disk yet".to_owned();
        return Err(Error::NoSegment { name: name.to_string(), reason });
    }
    let parts = reading.finish(|track| end_of(volume, stream, name, track))?;
    let mut timed: Vec<(Vec<FragmentSample>, Option<i64>)> = parts.tracks.iter().map(timed).collect();
    if name.begins {
        begin_together(&parts.tracks, &mut timed);
    }
    end_together(&parts.tracks, &mut timed);
    fill_without_sound(&parts.tracks, &mut timed);
    let tracks = parts.tracks.iter().zip(&timed).map(|(part, (samples, next))| FragmentTrack {
        track: &part.chosen.track,
        samples,
        next: *next,
    });
    let made = fragment(sequence_of(name), &tracks.collect::<Vec<_>>())?;
    let needs_init = !made.needs_init.is_empty();
    if needs_init {
        tracing::warn!(segment = %name, "parameter sets changed between two sync samples; what follows them may not be shown");
    }
    let video = parts.tracks.iter().filter(|part| part.chosen.track.kind() == TrackKind::Video);
    Ok(Segment {
        data: made.data,
        pictures: video.map(|part| part.samples.len()).sum(),
        needs_init,
        is_settled,
    })
}

/// Whether samples of its run of up to this moment may still be on their way: bytes that are made of less would be others later.
fn is_being_recorded(volume: &Volume, stream: StreamId, name: &SegmentName, up_to: WallTime) -> Result<bool> {
    let last = recorded_last(volume, stream)?;
    Ok(last.is_none_or(|(run, reached)| run == name.run && reached < up_to))
}

/// Grows from one segment of a stream to the next, but for those shorter than a second.
fn sequence_of(name: &SegmentName) -> u32 {
    (i128::from(name.from.0) / SECOND_NS) as u32
}

/// A track's samples with their times on the wall clock, and when the sample behind them is decoded, if it is known.
fn timed(part: &Part) -> (Vec<FragmentSample>, Option<i64>) {
    let times = decode_times(part, &part.samples);
    let samples = part.samples.iter().zip(&times).map(|(sample, times)| FragmentSample {
        times: *times,
        flags: sample.flags,
        data: sample.data.clone(),
    });
    let last = times.last().map(|times| times.decode);
    let next = decode_times(part, &part.behind).first().map(|times| times.decode);
    // A clock that was corrected backwards by more than a picture lasts cannot take the times with it.
    let next = next.zip(last).map(|(next, last)| next.max(last.saturating_add(1)));
    (samples.collect(), next)
}

/// At the beginning of a stretch, before which there is nothing, there is silence until sound begins. It begins up to a frame of it later
/// than the picture with which recording begins, and so there is a hole in what both have; hls.js (1.7.4) stands still there, and reports
/// it, before it jumps over. More than [`HOLE_NS`] is a hole. Not by a longer first frame: players play the next one right behind it.
fn begin_together(parts: &[Part], timed: &mut [(Vec<FragmentSample>, Option<i64>)]) {
    let pictures = parts.iter().zip(timed.iter()).find(|(part, _)| part.is_video());
    let Some(begin) = pictures.and_then(|(part, (samples, _))| {
        Some(ns_of(samples.first()?.times.presentation(), part.chosen.track.timescale()))
    }) else {
        return;
    };
    for (part, (samples, _)) in parts.iter().zip(timed) {
        let track = &part.chosen.track;
        let Some(first) = samples.first().map(|first| first.times.decode) else { continue };
        let late_ns = ns_of(first, track.timescale()) - begin;
        if let Some((silence, ticks, count)) = silence(track, late_ns) {
            let begins = (1..=count).rev().map(|frames| first.saturating_sub(frames * ticks));
            samples.splice(0..0, begins.map(|begins| silent(&silence, begins)));
        }
    }
}

/// At the end of a stretch, behind which nothing is known, what ends first lasts until what ends last, sound as silence: a hole there,
/// where sound ends a little before its pictures, has hls.js (1.7.4) stand still before the end of all. More than [`HOLE_NS`] is a hole.
fn end_together(parts: &[Part], timed: &mut [(Vec<FragmentSample>, Option<i64>)]) {
    if timed.iter().any(|(_, next)| next.is_some()) {
        return;
    }
    let ends: Vec<Option<i64>> =
        parts.iter().zip(timed.iter()).map(|(part, (samples, _))| end_of_track(part, samples)).collect();
    let in_ns = |(part, end): (&Part, &Option<i64>)| end.map(|end| ns_of(end, part.chosen.track.timescale()));
    let Some(latest) = parts.iter().zip(&ends).filter_map(in_ns).max() else { return };
    for ((part, (samples, next)), own) in parts.iter().zip(timed).zip(ends) {
        let track = &part.chosen.track;
        let Some(own) = own else { continue };
        let early_ns = latest - ns_of(own, track.timescale());
        if !(1..=HOLE_NS).contains(&early_ns) {
            continue;
        }
        if let Some((silence, ticks, count)) = silence(track, early_ns) {
            samples.extend((0..count).map(|frames| silent(&silence, own.saturating_add(frames * ticks))));
        }
        *next = i64::try_from(latest * i128::from(track.timescale()) / SECOND_NS).ok();
    }
}

/// Where a segment has pictures and no sound, there is silence in their place. So it is where the last picture of a stretch is a segment by
/// itself: what both have would not grow by it, and hls.js (1.7.4) takes it for a hole, behind which it never finds the end.
fn fill_without_sound(parts: &[Part], timed: &mut [(Vec<FragmentSample>, Option<i64>)]) {
    let pictures = parts.iter().zip(timed.iter()).find(|(part, _)| part.is_video());
    let Some((begin, end)) = pictures.and_then(|(part, (samples, next))| {
        let timescale = part.chosen.track.timescale();
        let end = next.or_else(|| end_of_track(part, samples))?;
        Some((ns_of(samples.first()?.times.decode, timescale), ns_of(end, timescale)))
    }) else {
        return;
    };
    // Times that are no segment's are those of footage that was forged.
    if !(0..=i128::from(LENGTH_MAX_NS)).contains(&(end - begin)) {
        return;
    }
    for (part, (samples, next)) in parts.iter().zip(timed) {
        let track = &part.chosen.track;
        let Some((silence, ticks)) = frame_of_silence(track).filter(|_| samples.is_empty()) else { continue };
        let in_ticks = |ns: i128| i64::try_from(ns * i128::from(track.timescale()) / SECOND_NS).unwrap_or(0);
        // Sound of the segment before reaches into this one: it is left as far as may be.
        let (end, count) = (in_ticks(end), (in_ticks(end - begin) / ticks).max(1));
        let frames = (1..=count).rev().map(|frames| end.saturating_sub(frames.saturating_mul(ticks)));
        samples.extend(frames.filter(|at| *at >= 0).map(|at| silent(&silence, at)));
        *next = Some(end);
    }
}

/// When a track's last sample ends by itself.
fn end_of_track(part: &Part, samples: &[FragmentSample]) -> Option<i64> {
    let (last, before) = (samples.last()?, samples.len().checked_sub(2).and_then(|at| samples.get(at)));
    let track = &part.chosen.track;
    let before = before.map(|before| last.times.decode.saturating_sub(before.times.decode));
    let lasts = track.natural_ticks(Some(last.data.len())).map(i64::from).or(before);
    Some(last.times.decode.saturating_add(lasts.unwrap_or_else(|| track.assumed_ticks().into())))
}

/// What fills a hole of so many nanoseconds best: a frame of silence, its ticks, and how many of them. `None` for pictures, and if it is
/// too long, or not worth a frame.
fn silence(track: &Track, hole_ns: i128) -> Option<(Bytes, i64, i64)> {
    let (silence, ticks) = frame_of_silence(track).filter(|_| hole_ns <= HOLE_NS)?;
    let frame_ns = ns_of(ticks, track.timescale());
    let count = i64::try_from((hole_ns + frame_ns / 2) / frame_ns).ok()?;
    (count > 0).then_some((silence, ticks, count))
}

/// A frame of silence and its ticks; `None` for pictures, and where it would be so short that footage can only be forged.
fn frame_of_silence(track: &Track) -> Option<(Bytes, i64)> {
    let silence = track.silence()?;
    let ticks = i64::from(track.natural_ticks(Some(silence.len()))?);
    (ns_of(ticks, track.timescale()) >= FRAME_NS_MIN).then_some((silence, ticks))
}

fn silent(silence: &Bytes, decode: i64) -> FragmentSample {
    FragmentSample { times: Timed { decode, offset: 0 }, flags: SampleFlags::SYNC, data: silence.clone() }
}

/// Ticks in nanoseconds.
fn ns_of(ticks: i64, timescale: u32) -> i128 {
    i128::from(ticks) * SECOND_NS / i128::from(timescale.max(1))
}

/// Decode times of samples that begin a segment: the first one's wall time, and the ticks of the others from there.
fn decode_times(part: &Part, samples: &[StoredSample]) -> Vec<Timed> {
    let track = &part.chosen.track;
    let Some(first) = samples.first() else { return Vec::new() };
    let base = ticks_of(first.wall, track.timescale()).saturating_sub(first.ticks);
    let presentations = samples
        .iter()
        .map(|sample| (base.saturating_add(sample.ticks), sample.flags.contains(SampleFlags::SYNC)));
    // Every sample of sound is a sync sample, and none waits for another.
    DecodeTimes::of(presentations, track.reorder_max())
}

/// Wall time in ticks since 1970, the nearest one.
fn ticks_of(wall: WallTime, timescale: u32) -> i64 {
    let ticks = (i128::from(wall.0) * i128::from(timescale) + SECOND_NS / 2).div_euclid(SECOND_NS);
    i64::try_from(ticks).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::frame_of_silence;
    use crate::mp4::{ParameterSets, Track};
    use keha_fs::{TrackConfiguration, TrackNumber};

    #[test]
    fn silence_comes_in_frames_as_cameras_send_them_and_in_no_others() {
        let ticks = |timescale, sample_rate| {
            let configuration = TrackConfiguration {
                track: TrackNumber(2),
                kind: keha_fs::TrackKind::Audio,
                codec: *b"mp4a",
                timescale,
                width: 0,
                height: 0,
                channels: 1,
                sample_rate,
                // AAC LC (ISO/IEC 14496-3, 1.6.2.1).
                private: vec![0x11, 0x88],
            };
            let track = Track::new(2, &configuration, ParameterSets::SampleEntry).unwrap();
            frame_of_silence(&track).map(|(_, ticks)| ticks)
        };
        assert_eq!([ticks(48_000, 48_000), ticks(90_000, 8000)], [Some(1024), Some(11_520)]);
        // As many as there is room for in memory would fill half a second.
        assert_eq!([ticks(u32::MAX, u32::MAX), ticks(1, 48_000), ticks(90_000, u32::MAX)], [None; 3]);
    }
}
