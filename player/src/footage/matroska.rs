//! Matroska as a pipe takes it, from the samples that were prepared. The identity of the segment is made from the entity tag.

use crate::error::{Error, Result};
use crate::export::part::track_uid;
use crate::footage::lane::Merged;
use crate::footage::marks::{Holds, Mark, Marks};
use crate::footage::out::Out;
use crate::footage::part::PartTrack;
use crate::footage::prepared::{FiledStream, Source, Volumes};
use crate::mkv::{Block, Muxer, Sink, Tags, Track};
use crate::time::rfc3339;
use bytes::Bytes;
use keha_fs::{SampleFlags, TrackKind, WallTime};
use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use uuid::Uuid;

/// Where there are no pictures, places to seek to are this far apart.
const SOUND_CUE_NS: i64 = 1_000_000_000;

/// Writes the file, from its beginning or a mark, until nothing more of it is wanted; leaves marks in `marks`.
pub(super) fn write(
    source: &Source,
    tag: &blake3::Hash,
    volumes: &dyn Volumes,
    from: Option<&Mark>,
    marks: Option<&mut Marks>,
    out: &mut Out<'_>,
) -> Result<()> {
    let out = &RefCell::new(out);
    match mux(source, tag, volumes, from, marks, out) {
        // That is how the sink breaks the muxer off.
        Err(Error::Io { .. }) if out.borrow().is_done() => Ok(()),
        other => other,
    }
}

fn mux(
    source: &Source,
    tag: &blake3::Hash,
    volumes: &dyn Volumes,
    from: Option<&Mark>,
    mut marks: Option<&mut Marks>,
    out: &RefCell<&mut Out<'_>>,
) -> Result<()> {
    let names: Vec<String> = source.streams.iter().map(|stream| stream.name.to_string()).collect();
    let mut muxer =
        Muxer::new(Box::new(OutSink { out }), PathBuf::from("-"), names.join(", "), segment_uuid(tag));
    muxer.set_tracks(tracks(source))?;
    muxer.will_end(source.to);
    let pictures = source.tracks.iter().any(|track| track.configuration.kind == TrackKind::Video);
    let mut next = from.map_or_else(|| vec![0; source.tracks.len()], |mark| mark.next.clone());
    let (mut samples, mut last_cue) = match from {
        Some(Mark { holds: Holds::Matroska { origin_ns, last_cue_ns }, .. }) => {
            muxer.resume(WallTime(*origin_ns));
            (Merged::resumed(volumes, source, &next, &next)?.0, last_cue_ns.map(WallTime))
        }
        _ => (Merged::new(volumes, source)?, None),
    };
    while let Some(member) = samples.next()? {
        if out.borrow_mut().reads(member.row.chunk).is_break() {
            return Ok(());
        }
        let Some(track) = source.tracks.get(member.track) else { continue };
        let video = track.configuration.kind == TrackKind::Video;
        let key = !video || member.row.flags.contains(SampleFlags::SYNC);
        let wall = member.row.wall;
        let cue = if pictures {
            video && key
        } else {
            last_cue.is_none_or(|last: WallTime| wall.since_ns(last) >= SOUND_CUE_NS)
        };
        let (begun, written, cued) = (muxer.origin(), out.borrow().position(), last_cue);
        if cue {
            last_cue = Some(wall);
        }
        muxer.push(Block {
            track: member.track as u64 + 1,
            wall,
            key,
            discardable: !key && member.row.flags.contains(SampleFlags::DISCARDABLE),
            cue,
            data: member.data,
        })?;
        let at = out.borrow().position();
        // A cluster was written, and this sample is all that the next one has.
        if let (Some(origin), Some(marks)) = (begun, &mut marks)
            && at > written
            && marks.is_due(at)
        {
            let holds =
                Holds::Matroska { origin_ns: origin.0, last_cue_ns: cued.map(|cued: WallTime| cued.0) };
            marks.push(Mark { at, next: next.clone(), holds });
        }
        if let Some(next) = next.get_mut(member.track) {
            *next = member.sample + 1;
        }
    }
    muxer.finish(source.to, |_| tags(source, &names))?;
    Ok(())
}

fn tracks(source: &Source) -> Vec<Track> {
    let first_video = source.tracks.iter().position(|track| track.configuration.kind == TrackKind::Video);
    // Players show the first pictures by themselves; the sound of the same stream goes with them.
    let shown = first_video.and_then(|index| source.tracks.get(index)).map_or(0, |track| track.lane);
    let default = |index: usize, track: &PartTrack| {
        track.lane == shown && (track.configuration.kind != TrackKind::Video || Some(index) == first_video)
    };
    let made = source.tracks.iter().enumerate().filter_map(|(index, track)| {
        let FiledStream { id, name, .. } = source.streams.get(track.lane)?;
        let configuration = track.configuration.clone();
        let video = configuration.kind == TrackKind::Video;
        let interval = track.meter.constant_ns(configuration.timescale).filter(|_| video);
        Some(Track {
            number: index as u64 + 1,
            uid: track_uid(*id, configuration.track),
            name: name.to_string(),
            default: default(index, track),
            default_duration_ns: interval,
            configuration,
        })
    });
    made.collect()
}

fn tags(source: &Source, names: &[String]) -> Tags {
    let volumes: Vec<String> = source.volumes().iter().map(ToString::to_string).collect();
    let file = vec![
        ("KEHA_VOLUME".into(), volumes.join(", ")),
        ("KEHA_STREAMS".into(), names.join(", ")),
        ("KEHA_FROM".into(), rfc3339(source.from)),
        ("KEHA_TO".into(), rfc3339(source.to)),
    ];
    Tags { file, tracks: Vec::new() }
}

/// A UUID of which all is made from the tag, marked as random: no other version fits.
fn segment_uuid(tag: &blake3::Hash) -> Uuid {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(tag.as_bytes()).for_each(|(to, from)| *to = *from);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// Passes the muxer's bytes on, and fails where nothing more of them is wanted.
struct OutSink<'c, 'o, 'a> {
    out: &'c RefCell<&'o mut Out<'a>>,
}

impl OutSink<'_, '_, '_> {
    fn put(&mut self, bytes: Bytes) -> io::Result<()> {
        if self.out.borrow_mut().write(bytes).is_break() {
            Err(io::Error::other("no more is wanted"))
        } else {
            Ok(())
        }
    }
}

impl Sink for OutSink<'_, '_, '_> {
    fn can_patch(&self) -> bool {
        false
    }

    fn begin(&mut self, header: &[u8]) -> io::Result<()> {
        self.put(Bytes::copy_from_slice(header))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(Bytes::copy_from_slice(bytes))
    }

    fn position(&self) -> u64 {
        self.out.borrow().position()
    }

    fn finish(&mut self, _header: &[u8]) -> io::Result<blake3::Hash> {
        // Who wants a hash of what was passed on makes it there.
        Ok(blake3::hash(&[]))
    }
}
