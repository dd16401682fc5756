//! One sync sample as a decoder takes it: a byte stream (ITU-T H.264 and H.265, annex B) that begins with its parameter sets.

use super::{BYTES_MAX, SnapshotName};
use crate::codec_private::{avc_sets, hevc_sets};
use crate::error::{Error, Result};
use crate::mp4::NalUnits;
use keha_fs::{
    Configuration, Item, SampleFlags, StoredSample, StreamId, TimeRange, TrackConfiguration, TrackKind,
    Volume,
};
use std::sync::Arc;

/// How a picture is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    H264,
    H265,
}

/// A picture to decode.
#[derive(Debug)]
pub(super) struct Picture {
    pub codec: Codec,
    /// Its size as the recorder found it in the parameter sets.
    pub width: u16,
    pub height: u16,
    pub bytes: Vec<u8>,
}

/// Reads a sync sample.
pub(super) fn read(volume: &Volume, stream: StreamId, name: &SnapshotName) -> Result<Picture> {
    let range = TimeRange { from: Some(name.at), to: Some(name.at.plus_ns(1)) };
    let mut cursor = volume.read(stream, range)?;
    let mut configuration: Option<Arc<Configuration>> = None;
    while let Some(item) = cursor.next_item()? {
        match item {
            Item::Configuration(_, found) => configuration = Some(found),
            Item::Sample(sample) if sample.run == name.run && sample.wall == name.at => {
                let track = configuration.as_ref().and_then(|found| found.track(sample.track));
                let track = track.filter(|track| track.kind == TrackKind::Video);
                if let Some(track) = track.filter(|_| sample.flags.contains(SampleFlags::SYNC)) {
                    return assemble(track, &sample);
                }
            }
            _ => {}
        }
    }
    let name = format!("{}-{}", name.run, name.at.0);
    Err(Error::NoSegment { name, reason: "no picture to begin with is recorded there".to_owned() })
}

fn assemble(track: &TrackConfiguration, sample: &StoredSample) -> Result<Picture> {
    let (codec, sets) = match &track.codec {
        b"avc1" | b"avc3" => (Codec::H264, avc_sets(&track.private)),
        b"hvc1" | b"hev1" => (Codec::H265, hevc_sets(&track.private)),
        other => {
            let text = format!("{} pictures cannot be decoded; choose another stream", other.escape_ascii());
            return Err(Error::Snapshot(text));
        }
    };
    let mut sets: Vec<&[u8]> = sets.map(|(_, sets)| sets.into_iter().collect()).unwrap_or_default();
    sets.sort_by_key(|set| kind_of(codec, set));
    let units = NalUnits::of(&sample.data).collect::<Option<Vec<_>>>();
    let units = units
        .ok_or_else(|| Error::Snapshot("the picture is not made of NAL units; check the volume".into()))?;
    if sample.data.len() > BYTES_MAX {
        return Err(Error::Snapshot(format!("the picture has over {} MiB", BYTES_MAX >> 20)));
    }
    let mut bytes = Vec::with_capacity(sample.data.len() + 1024);
    for unit in sets.into_iter().chain(units) {
        bytes.extend_from_slice(&[0, 0, 0, 1]);
        bytes.extend_from_slice(unit);
    }
    Ok(Picture { codec, width: track.width, height: track.height, bytes })
}

/// The type of a NAL unit: sequence parameter sets come before picture parameter sets.
fn kind_of(codec: Codec, unit: &[u8]) -> u8 {
    let first = unit.first().copied().unwrap_or(0);
    match codec {
        Codec::H264 => first & 0x1f,
        Codec::H265 => first >> 1 & 0x3f,
    }
}
