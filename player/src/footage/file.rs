//! MP4 with its tables in front: any range of its bytes, from the samples that stand there and no others.

use crate::error::Result;
use crate::footage::lane::LaneReader;
use crate::footage::out::Out;
use crate::footage::prepared::{Source, Volumes};
use crate::mp4::{Layout, Piece};
use std::collections::BTreeMap;
use std::ops::Range;

/// Writes a range of the file.
pub(super) fn write(
    source: &Source,
    layout: &Layout,
    volumes: &dyn Volumes,
    range: Range<u64>,
    out: &mut Out<'_>,
) -> Result<()> {
    let mut lanes: BTreeMap<usize, LaneReader<'_>> = BTreeMap::new();
    for piece in layout.pieces(range) {
        let data = match piece {
            Piece::Head(data) => data,
            Piece::Sample { track, sample, bytes } => {
                let data = sample_of(source, layout, volumes, &mut lanes, track, sample)?;
                // The sample is as long as the layout says.
                data.slice(bytes.start as usize..bytes.end as usize)
            }
        };
        if out.write(data).is_break() {
            break;
        }
    }
    Ok(())
}

/// A sample's bytes in the file.
fn sample_of<'a>(
    source: &'a Source,
    layout: &Layout,
    volumes: &'a dyn Volumes,
    lanes: &mut BTreeMap<usize, LaneReader<'a>>,
    track: usize,
    sample: u32,
) -> Result<bytes::Bytes> {
    let unknown = || crate::Error::Invalid(format!("no sample {sample} of track {track} was prepared"));
    let described = source.tracks.get(track).ok_or_else(unknown)?;
    let lane = match lanes.entry(described.lane) {
        std::collections::btree_map::Entry::Occupied(lane) => lane.into_mut(),
        std::collections::btree_map::Entry::Vacant(place) => {
            place.insert(LaneReader::new(volumes, source, described.lane).ok_or_else(unknown)?)
        }
    };
    let member = lane.take(track, sample)?;
    let mp4 = described.mp4.as_ref().ok_or_else(unknown)?;
    let payload = mp4.file_payload(&member.data, source.axis.ticks(member.row.wall, mp4.timescale()))?;
    if layout.sample_bytes(track, sample) != u32::try_from(payload.data.len()).ok() {
        return Err(lane.changed());
    }
    Ok(payload.data)
}
