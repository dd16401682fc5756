//! Segments: `styp`, `moof`, `mdat` (ISO/IEC 14496-12, 8.8 and 8.16). Nothing is remembered from one to the next.

use crate::error::Result;
use crate::mp4::put;
use crate::mp4::times::Timed;
use crate::mp4::track::Track;
use crate::mp4::{Payload, failed};
use bytes::Bytes;
use keha_fs::SampleFlags;
use mp4_atom::{FourCC, Mfhd, Moof, Styp, Tfdt, Tfhd, Traf, Trun, TrunEntry, TrunSamples};

/// Sample flags (ISO/IEC 14496-12, 8.8.3.1).
const DEPENDS_ON_NONE: u32 = 2 << 24;
const DEPENDS_ON_OTHERS: u32 = 1 << 24;
const IS_NEEDED: u32 = 1 << 22;
const IS_DISCARDABLE: u32 = 2 << 22;
const IS_NON_SYNC: u32 = 1 << 16;

const BOX_HEADER_BYTES: usize = 8;

/// A sample for a segment.
#[derive(Clone, Debug)]
pub struct FragmentSample {
    /// When it is decoded and shown; not before zero of the axis.
    pub times: Timed,
    /// Its properties as stored.
    pub flags: SampleFlags,
    /// Its bytes as stored.
    pub data: Bytes,
}

/// One track's part of a segment.
#[derive(Clone, Copy, Debug)]
pub struct FragmentTrack<'a> {
    /// The track, as it stands in the init segment.
    pub track: &'a Track,
    /// Its samples, in decode order.
    pub samples: &'a [FragmentSample],
    /// The decode time of the sample behind the last one, where known: then the segments join without a seam. Else the
    /// last sample lasts as long as sound does by itself, or as the sample before it.
    pub next: Option<i64>,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Its bytes.
    pub data: Bytes,
    /// The numbers of the tracks that carried parameter sets which the init segment lacks: see [`Payload::needs_init`].
    pub needs_init: Vec<u32>,
}

/// A segment of these samples. Tracks without a sample are left out of it.
///
/// `sequence` only has to grow from one segment to the next in a series. Errors: [`crate::Error::Mp4`] if there is no
/// sample, one is decoded before zero, times go back or further than a segment can say, or a sample is not what its
/// track says.
pub fn fragment(sequence: u32, tracks: &[FragmentTrack<'_>]) -> Result<Fragment> {
    let mut needs_init = Vec::new();
    let mut parts = Vec::with_capacity(tracks.len());
    for part in tracks.iter().filter(|part| !part.samples.is_empty()) {
        let payloads = part.samples.iter().enumerate().map(|(index, sample)| match index {
            0 => part.track.first_payload(&sample.data, sample.times.presentation()),
            _ => part.track.segment_payload(&sample.data, sample.times.presentation()),
        });
        let payloads = payloads.collect::<Result<Vec<Payload>>>()?;
        if payloads.iter().any(|payload| payload.needs_init) {
            needs_init.push(part.track.id);
        }
        parts.push((traf(part, &payloads)?, payloads));
    }
    if parts.is_empty() {
        return Err(failed("a segment", "it has no samples; ask for a range that has footage"));
    }
    let (trafs, payloads): (Vec<Traf>, Vec<Vec<Payload>>) = parts.into_iter().unzip();
    let data = assemble(sequence, trafs, &payloads)?;
    Ok(Fragment { data, needs_init })
}

fn traf(part: &FragmentTrack<'_>, payloads: &[Payload]) -> Result<Traf> {
    let track = part.track;
    let wrong = |reason: &str| failed(format!("a segment of track {}", track.id), reason);
    let first = part.samples.first().map_or(0, |sample| sample.times.decode);
    let base = u64::try_from(first)
        .map_err(|_| wrong("it begins before zero of its axis; choose an axis on the wall clock"))?;
    let mut entries: Vec<TrunEntry> = Vec::with_capacity(part.samples.len());
    for (index, (sample, payload)) in part.samples.iter().zip(payloads).enumerate() {
        let next = part.samples.get(index + 1).map(|next| next.times.decode).or(part.next);
        let duration = match next {
            Some(next) => u32::try_from(next.saturating_sub(sample.times.decode))
                .map_err(|_| wrong("decode times go back, or pause for hours; cut the segment there"))?,
            None => last_duration(track, sample, entries.last().and_then(|entry| entry.duration)),
        };
        entries.push(TrunEntry {
            duration: Some(duration),
            size: Some(u32::try_from(payload.data.len()).map_err(|_| wrong("a sample has over 4 GiB"))?),
            flags: Some(flags_of(track, sample.flags)),
            cts: Some(sample.times.offset),
        });
    }
    Ok(Traf {
        tfhd: Tfhd { track_id: track.id, default_base_is_moof: true, ..Tfhd::default() },
        tfdt: Some(Tfdt { base_media_decode_time: base }),
        trun: vec![Trun { data_offset: Some(0), samples: TrunSamples::Explicit(entries) }],
        ..Traf::default()
    })
}

fn last_duration(track: &Track, sample: &FragmentSample, before: Option<u32>) -> u32 {
    track.natural_ticks(Some(sample.data.len())).or(before).unwrap_or_else(|| track.assumed_ticks())
}

fn flags_of(track: &Track, flags: SampleFlags) -> u32 {
    if !track.has_sync_samples() {
        return DEPENDS_ON_NONE;
    }
    let needed = if flags.contains(SampleFlags::DISCARDABLE) { IS_DISCARDABLE } else { IS_NEEDED };
    if flags.contains(SampleFlags::SYNC) {
        DEPENDS_ON_NONE | IS_NEEDED
    } else {
        DEPENDS_ON_OTHERS | IS_NON_SYNC | needed
    }
}

/// Writes the boxes, with the place of each track's data in them: the `moof` is as long with the right ones as without.
fn assemble(sequence: u32, traf: Vec<Traf>, payloads: &[Vec<Payload>]) -> Result<Bytes> {
    let at = "a segment";
    let too_large = || failed(at, "it has over 2 GiB; ask for a shorter one");
    let mut moof = Moof { mfhd: Mfhd { sequence_number: sequence }, traf };
    let mut measured = Vec::new();
    put(&mut measured, &moof, at)?;
    let mut offset = measured.len() + BOX_HEADER_BYTES;
    for (traf, payloads) in moof.traf.iter_mut().zip(payloads) {
        for trun in &mut traf.trun {
            trun.data_offset = Some(i32::try_from(offset).map_err(|_| too_large())?);
        }
        offset += payloads.iter().map(|payload| payload.data.len()).sum::<usize>();
    }
    let media = u32::try_from(offset - measured.len()).map_err(|_| too_large())?;
    let mut out = Vec::with_capacity(offset + 32);
    let brands = vec![FourCC::new(b"msdh"), FourCC::new(b"iso6")];
    put(
        &mut out,
        &Styp { major_brand: FourCC::new(b"msdh"), minor_version: 0, compatible_brands: brands },
        at,
    )?;
    put(&mut out, &moof, at)?;
    out.extend(media.to_be_bytes());
    out.extend(b"mdat");
    payloads.iter().flatten().for_each(|payload| out.extend_from_slice(&payload.data));
    Ok(out.into())
}
