//! Everything before the first cluster: EBML header, SeekHead, Info, Tracks, and a Void that keeps the room for changes.
//!
//! The header is encoded twice, provisionally and at the end with what is known only then (sizes, positions, duration,
//! parameter sets that came later), both times to the same length.

use crate::error::{Error, Result};
use crate::mkv::codec::codec_of;
use crate::mkv::{TICK_NS, Track, ebml};
use crate::time::matroska_date;
use keha_fs::{TrackKind, WallTime};
use webm_iterable::matroska_spec::{Master, MatroskaSpec};

const TRACK_TYPE_VIDEO: u64 = 1;
const TRACK_TYPE_AUDIO: u64 = 2;
const TRACK_TYPE_METADATA: u64 = 33;

/// The least that is kept for the header of a file that is patched.
const RESERVED_BYTES_MIN: usize = 16 << 10;

/// What a header says.
#[derive(Clone, Debug)]
pub(crate) struct Header<'a> {
    pub segment_uuid: [u8; 16],
    pub title: &'a str,
    pub origin: WallTime,
    /// In timestamp ticks.
    pub duration: Option<f64>,
    pub tracks: &'a [Track],
    /// The segment's size and where its parts stand, counted from the segment's data.
    pub sealed: Option<Sealed>,
}

/// What is known when all is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sealed {
    /// The whole file in bytes.
    pub file_bytes: u64,
    /// Where the cues begin in the file.
    pub cues_at: Option<u64>,
    /// Where the tags begin in the file.
    pub tags_at: u64,
}

/// How much room to keep for a header that is `bytes` long now.
pub(crate) fn reserved_bytes(bytes: usize) -> usize {
    (bytes * 2 + 4096).next_power_of_two().max(RESERVED_BYTES_MIN)
}

impl Header<'_> {
    /// The header without padding: for a pipe, and to learn its length.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let ebml = ebml_header()?;
        let data_at = self.data_at()?;
        let info = ebml::in_segment(&self.info())?;
        let tracks = ebml::in_segment(&MatroskaSpec::Tracks(Master::Full(
            self.tracks.iter().map(track_entry).collect(),
        )))?;
        let seek_head = match &self.sealed {
            Some(sealed) => seek_head(sealed, data_at, info.len() as u64)?,
            None => Vec::new(),
        };
        let mut out = ebml;
        match &self.sealed {
            Some(sealed) => {
                ebml::put_id(&mut out, ebml::SEGMENT);
                ebml::put_size_of(&mut out, sealed.file_bytes.saturating_sub(data_at), 8);
            }
            None => ebml::put_unknown_size(&mut out, ebml::SEGMENT),
        }
        out.extend(seek_head);
        out.extend(info);
        out.extend(tracks);
        Ok(out)
    }

    /// Where the segment's data begins in the file: positions in it count from there.
    pub(crate) fn data_at(&self) -> Result<u64> {
        Ok((ebml_header()?.len() + 12) as u64)
    }

    /// The header padded to `bytes`.
    pub(crate) fn encode_padded(&self, bytes: usize) -> Result<Vec<u8>> {
        let mut out = self.encode()?;
        match bytes.checked_sub(out.len()) {
            Some(0) => {}
            Some(room) if room >= 2 => ebml::put_void(&mut out, room),
            _ => {
                return Err(Error::Container(format!("header: {} bytes do not fit into {bytes}", out.len())));
            }
        }
        Ok(out)
    }

    fn info(&self) -> MatroskaSpec {
        let mut children = vec![
            MatroskaSpec::SegmentUID(self.segment_uuid.to_vec()),
            MatroskaSpec::TimestampScale(TICK_NS.unsigned_abs()),
            MatroskaSpec::DateUTC(matroska_date(self.origin)),
            MatroskaSpec::Title(self.title.to_owned()),
            MatroskaSpec::MuxingApp(
                concat!("keha ", env!("CARGO_PKG_VERSION"), " (webm-iterable)").to_owned(),
            ),
            MatroskaSpec::WritingApp(concat!("keha ", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        children.extend(self.duration.map(MatroskaSpec::Duration));
        MatroskaSpec::Info(Master::Full(children))
    }
}

fn ebml_header() -> Result<Vec<u8>> {
    ebml::top_level(&MatroskaSpec::Ebml(Master::Full(vec![
        MatroskaSpec::EbmlVersion(1),
        MatroskaSpec::EbmlReadVersion(1),
        MatroskaSpec::EbmlMaxIdLength(4),
        MatroskaSpec::EbmlMaxSizeLength(8),
        MatroskaSpec::DocType("matroska".to_owned()),
        MatroskaSpec::DocTypeVersion(4),
        MatroskaSpec::DocTypeReadVersion(2),
    ])))
}

/// The SeekHead. Its own length depends on the positions in it, so it is encoded until that settles.
fn seek_head(sealed: &Sealed, data_at: u64, info_bytes: u64) -> Result<Vec<u8>> {
    let mut length = 0;
    for _ in 0..4 {
        let mut seeks = vec![seek(ebml::INFO, length), seek(ebml::TRACKS, length + info_bytes)];
        seeks.extend(sealed.cues_at.map(|at| seek(ebml::CUES, at.saturating_sub(data_at))));
        seeks.push(seek(ebml::TAGS, sealed.tags_at.saturating_sub(data_at)));
        let encoded = ebml::in_segment(&MatroskaSpec::SeekHead(Master::Full(seeks)))?;
        if encoded.len() as u64 == length {
            return Ok(encoded);
        }
        length = encoded.len() as u64;
    }
    Err(Error::Container("seek head: its length does not settle".into()))
}

fn seek(id: u32, position: u64) -> MatroskaSpec {
    MatroskaSpec::Seek(Master::Full(vec![
        MatroskaSpec::SeekID(id.to_be_bytes().to_vec()),
        MatroskaSpec::SeekPosition(position),
    ]))
}

fn track_entry(track: &Track) -> MatroskaSpec {
    let configuration = &track.configuration;
    let (track_type, media) = match configuration.kind {
        TrackKind::Video => (TRACK_TYPE_VIDEO, Some(video(configuration.width, configuration.height))),
        TrackKind::Audio => (TRACK_TYPE_AUDIO, Some(audio(track))),
        TrackKind::Metadata => (TRACK_TYPE_METADATA, None),
    };
    let mut children = vec![
        MatroskaSpec::TrackNumber(track.number),
        MatroskaSpec::TrackUID(track.uid),
        MatroskaSpec::TrackType(track_type),
        MatroskaSpec::FlagDefault(u64::from(track.default)),
        MatroskaSpec::FlagLacing(0),
        MatroskaSpec::Name(track.name.clone()),
        MatroskaSpec::Language("und".to_owned()),
    ];
    children.extend(track.default_duration_ns.map(MatroskaSpec::DefaultDuration));
    if let Some(codec) = codec_of(configuration) {
        children.push(MatroskaSpec::CodecID(codec.id.to_owned()));
        if !codec.private.is_empty() {
            children.push(MatroskaSpec::CodecPrivate(codec.private));
        }
    }
    children.extend(media);
    MatroskaSpec::TrackEntry(Master::Full(children))
}

fn video(width: u16, height: u16) -> MatroskaSpec {
    // Matroska forbids zero; a decoder takes the true size from the parameter sets in any case.
    MatroskaSpec::Video(Master::Full(vec![
        MatroskaSpec::PixelWidth(u64::from(width.max(1))),
        MatroskaSpec::PixelHeight(u64::from(height.max(1))),
    ]))
}

fn audio(track: &Track) -> MatroskaSpec {
    let configuration = &track.configuration;
    let mut children = vec![
        MatroskaSpec::SamplingFrequency(f64::from(configuration.sample_rate)),
        MatroskaSpec::Channels(u64::from(configuration.channels.max(1))),
    ];
    if matches!(&configuration.codec, b"ulaw" | b"alaw") {
        children.push(MatroskaSpec::BitDepth(8));
    }
    MatroskaSpec::Audio(Master::Full(children))
}
