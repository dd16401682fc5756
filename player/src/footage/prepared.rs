//! A file that was prepared: what it is, and how to get at its bytes.

use crate::error::{Error, Result};
use crate::footage::axis::Axis;
use crate::footage::marks::{Holds, Mark, Marks};
use crate::footage::out::Out;
use crate::footage::part::{Part, PartTrack};
use crate::footage::planner::FootagePart;
use crate::footage::request::Format;
use crate::footage::{file, fragments, matroska, tag::tag};
use crate::library::Snapshot;
use crate::mp4::Layout;
use bytes::Bytes;
use keha_fs::{StreamId, StreamName, TrackKind, Volume, VolumeId, WallTime};
use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// How many streams are named in a file's name.
const NAMED_MAX: usize = 3;

/// A file of footage whose bytes can be asked for. Holds no sample.
pub struct Prepared {
    format: Format,
    part: usize,
    parts: Vec<FootagePart>,
    source: Source,
    layout: Option<Layout>,
    tag: blake3::Hash,
    left_out: Vec<String>,
}

/// What a file is made from.
pub(super) struct Source {
    pub streams: Vec<FiledStream>,
    pub tracks: Vec<PartTrack>,
    /// By track, how many ticks earlier than their order says samples are decoded. Of fragments alone.
    pub early: Vec<i64>,
    pub axis: Axis,
    pub from: WallTime,
    pub to: WallTime,
}

/// A stream of a file.
pub(super) struct FiledStream {
    /// Who it is in the file.
    pub id: StreamId,
    pub name: StreamName,
    /// Where its pieces stand, in their order.
    pub pieces: Vec<Stood>,
}

/// Where a piece of a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stood {
    pub volume: VolumeId,
    /// Who the stream is there.
    pub id: StreamId,
}

impl Source {
    /// The volumes that it needs, each once, in the order of their identities.
    pub(super) fn volumes(&self) -> Vec<VolumeId> {
        let needed = self.streams.iter().flat_map(|stream| &stream.pieces).map(|piece| piece.volume);
        needed.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// Volumes that footage is read from.
pub trait Volumes {
    /// The one of this identity.
    fn volume(&self, id: VolumeId) -> Option<&Volume>;
}

impl Volumes for Volume {
    fn volume(&self, id: VolumeId) -> Option<&Volume> {
        (self.info().id == id).then_some(self)
    }
}

impl Volumes for Vec<Volume> {
    fn volume(&self, id: VolumeId) -> Option<&Volume> {
        self.iter().find(|volume| volume.info().id == id)
    }
}

impl Volumes for Vec<Arc<Snapshot>> {
    fn volume(&self, id: VolumeId) -> Option<&Volume> {
        self.iter().map(|snapshot| &snapshot.volume).find(|volume| volume.info().id == id)
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// How many bytes were given.
    pub bytes: u64,
    /// Whether whoever took them stopped.
    pub stopped: bool,
}

/// What a dry run found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The length of the file.
    pub bytes: u64,
    /// The BLAKE3 of it.
    pub hash: blake3::Hash,
}

impl Prepared {
    pub(super) fn new(
        format: Format,
        streams: Vec<FiledStream>,
        part: Part,
        number: usize,
        parts: Vec<FootagePart>,
    ) -> Result<Prepared> {
        let (from, to) = parts.get(number - 1).map_or((part.from, part.latest), |part| (part.from, part.to));
        let mut tracks = part.tracks;
        let early: Vec<i64> =
            tracks.iter_mut().map(|track| track.depth.take().map_or(0, |depth| depth.finish())).collect();
        let axis =
            if format == Format::FragmentedMp4 { fragments_axis(from, &tracks, &early) } else { part.axis };
        let layout = part.layout.map(|layout| layout.finish()).transpose()?;
        let source = Source { streams, tracks, early, axis, from, to };
        let tag = tag(format, number, &source);
        Ok(Prepared { format, part: number, parts, source, layout, tag, left_out: part.left_out })
    }

    /// Its media type, with the codecs of MP4 (RFC 6381; RFC 9559, section 27 for Matroska).
    pub fn content_type(&self) -> String {
        let video = self.source.tracks.iter().any(|track| track.configuration.kind == TrackKind::Video);
        let kind = if video { "video" } else { "audio" };
        let codecs = self.source.tracks.iter().filter_map(|track| Some(track.mp4.as_ref()?.codec_string()));
        let codecs: BTreeSet<&str> = codecs.collect();
        match self.format {
            Format::Mkv => format!("{kind}/matroska"),
            _ => format!("{kind}/mp4; codecs=\"{}\"", Vec::from_iter(codecs).join(", ")),
        }
    }

    /// A name for the file, of letters, digits and `-_.+` alone.
    pub fn file_name(&self) -> String {
        let names: Vec<String> =
            self.source.streams.iter().map(|stream| stream.name.as_str().replace('/', "-")).collect();
        let mut text = names.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join("+");
        if names.len() > NAMED_MAX {
            text.push_str(&format!("+{}", names.len() - NAMED_MAX));
        }
        text.push_str(&format!("_{}_{}", moment(self.source.from), moment(self.source.to)));
        if self.parts.len() > 1 {
            text.push_str(&format!("_part{}", self.part));
        }
        format!("{text}.{}", self.format.extension())
    }

    /// The length of the file, where it is known: of MP4 that is not fragmented.
    pub fn bytes(&self) -> Option<u64> {
        self.layout.as_ref().map(Layout::bytes)
    }

    /// The entity tag, without quotes: strong, for the same tag means the same bytes, today and in any process.
    pub fn entity_tag(&self) -> String {
        self.tag.to_hex().to_string()
    }

    /// Its earliest moment, and the end of its last sample.
    pub fn moments(&self) -> (WallTime, WallTime) {
        (self.source.from, self.source.to)
    }

    /// The volumes that it needs, each once.
    pub fn volumes(&self) -> Vec<VolumeId> {
        self.source.volumes()
    }

    /// How many bytes of memory it takes, about, for as long as it is kept.
    pub fn memory_bytes(&self) -> u64 {
        let stretches = self.source.tracks.iter().map(|track| track.stretches.memory_bytes()).sum::<u64>();
        let listed = self.parts.len() * size_of::<FootagePart>()
            + self.source.tracks.len() * size_of::<PartTrack>()
            + size_of::<Prepared>();
        stretches + listed as u64 + self.layout.as_ref().map_or(0, Layout::memory_bytes)
    }

    /// How many samples it has.
    pub fn samples(&self) -> u64 {
        self.source.tracks.iter().map(|track| u64::from(track.stretches.samples())).sum()
    }

    /// The parts there are, and which of them this is, from 1.
    pub fn parts(&self) -> (&[FootagePart], usize) {
        (&self.parts, self.part)
    }

    /// Why tracks are missing from the file, one text a track.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Gives a range of the file's bytes, in order, in pieces of any size, short ones together. What lies behind the end of the file is left
    /// out. `out` may stop it at any piece.
    ///
    /// # Errors
    /// What was given before an error is right all the same. [`Error::Overwritten`] if the ring passed; [`Error::Changed`] if footage was
    /// erased, got past its age, or does not verify; [`Error::Mp4`] for samples that are not what their track says;
    /// [`Error::Invalid`] where a volume that it needs is not among them.
    pub fn write(
        &self,
        volumes: &dyn Volumes,
        bytes: Range<u64>,
        out: &mut dyn FnMut(Bytes) -> ControlFlow<()>,
    ) -> Result<Written> {
        self.write_while(volumes, bytes, None, &|| true, out)
    }

    /// The same, from a mark where there are any, and for as long as `goes_on` says so: it is asked at every chunk that is read, also
    /// where nothing is given of it.
    ///
    /// # Errors
    /// As [`Prepared::write`].
    pub fn write_while(
        &self,
        volumes: &dyn Volumes,
        bytes: Range<u64>,
        marks: Option<&Marks>,
        goes_on: &dyn Fn() -> bool,
        out: &mut dyn FnMut(Bytes) -> ControlFlow<()>,
    ) -> Result<Written> {
        let tag = self.entity_tag();
        let from = marks.and_then(|marks| marks.before(&tag, bytes.start)).filter(|mark| self.fits(mark));
        self.make(volumes, bytes, (from, None), goes_on, out)
    }

    /// Makes a range of the file's bytes: from a mark, leaving marks.
    fn make(
        &self,
        volumes: &dyn Volumes,
        bytes: Range<u64>,
        (from, marks): (Option<&Mark>, Option<&mut Marks>),
        goes_on: &dyn Fn() -> bool,
        out: &mut dyn FnMut(Bytes) -> ControlFlow<()>,
    ) -> Result<Written> {
        if let Some(other) = self.source.volumes().into_iter().find(|id| volumes.volume(*id).is_none()) {
            return Err(Error::Invalid(format!("the file was prepared from another volume, {other}")));
        }
        if bytes.is_empty() {
            return Ok(Written { bytes: 0, stopped: false });
        }
        let begins = if self.layout.is_some() { bytes.start } else { from.map_or(0, |mark| mark.at) };
        let mut out = Out::new(begins, bytes.clone(), goes_on, out);
        match (&self.layout, self.format) {
            (Some(layout), _) => file::write(&self.source, layout, volumes, bytes, &mut out)?,
            (None, Format::Mkv) => matroska::write(&self.source, &self.tag, volumes, from, marks, &mut out)?,
            (None, _) => fragments::write(&self.source, volumes, from, marks, &mut out)?,
        }
        let (bytes, stopped) = out.finish();
        Ok(Written { bytes, stopped })
    }

    /// Whether a mark is of a file like this one.
    fn fits(&self, mark: &Mark) -> bool {
        let matroska = matches!(mark.holds, Holds::Matroska { .. });
        matroska == (self.format == Format::Mkv)
            && mark.next.len() == self.source.tracks.len()
            && mark.needs().is_some()
    }

    /// Makes all of the file and keeps nothing of it: its length and its hash.
    ///
    /// # Errors
    /// As [`Prepared::write`].
    pub fn measure(&self, volumes: &dyn Volumes) -> Result<Measured> {
        Ok(self.measure_while(volumes, u64::MAX, &|| true)?.0)
    }

    /// The same for as long as `goes_on` says so, which is asked at every chunk that is read, or every piece that is made. Leaves marks so
    /// many bytes apart: none in a file whose bytes are found at once.
    ///
    /// # Errors
    /// As [`Prepared::write`]; [`Error::Cancelled`] where it does not go on.
    pub fn measure_while(
        &self,
        volumes: &dyn Volumes,
        apart: u64,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(Measured, Marks)> {
        let mut hasher = blake3::Hasher::new();
        let mut marks = Marks::new(self.entity_tag(), apart);
        let written = self.make(volumes, 0..u64::MAX, (None, Some(&mut marks)), goes_on, &mut |piece| {
            hasher.update(&piece);
            if goes_on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if written.stopped {
            return Err(Error::Cancelled);
        }
        Ok((Measured { bytes: written.bytes, hash: hasher.finalize() }, marks))
    }
}

/// The axis of fragments, which cannot be decoded before zero.
fn fragments_axis(from: WallTime, tracks: &[PartTrack], early: &[i64]) -> Axis {
    let early_ns = tracks.iter().zip(early).map(|(track, ticks)| {
        let timescale = i128::from(track.configuration.timescale.max(1));
        // Rounded up, and for the ticks that are rounded down.
        i64::try_from((i128::from(*ticks) + 1) * 1_000_000_000 / timescale + 1).unwrap_or(i64::MAX)
    });
    let early_ns = early_ns.zip(early).filter(|(_, ticks)| **ticks > 0).map(|(ns, _)| ns).max();
    Axis { zero: from.plus_ns(-early_ns.unwrap_or(0)) }
}

/// A moment as it can stand in a file's name: `2026-03-01T12-00-00Z`.
fn moment(wall: WallTime) -> String {
    let text = crate::time::rfc3339(wall);
    let whole = text.split('.').next().unwrap_or_default();
    format!("{}Z", whole.replace(':', "-"))
}

// A server prepares in one thread and writes in others.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Prepared>();
};
