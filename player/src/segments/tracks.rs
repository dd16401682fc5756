//! A configuration as players are told of it: its tracks, its init segment, its codecs.

use super::InitName;
use crate::error::{Error, Result};
use crate::mp4::{ParameterSets, Track, init as init_segment};
use crate::timeline::Index;
use bytes::Bytes;
use keha_fs::{Configuration, StreamId, StreamRow, TrackConfiguration, TrackKind, TrackNumber, Volume};
use std::sync::Arc;

/// The numbers of tracks in segments.
const VIDEO_ID: u32 = 1;
const AUDIO_ID: u32 = 2;

/// How many blocks are looked into for a configuration: those that hold a moment, and the newest ones.
const BLOCKS_MAX: usize = 8;
const NEWEST_BLOCKS: usize = 2;

/// The init segment of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    /// Its bytes.
    pub data: Bytes,
    /// Its tracks' codecs as playlists name them (RFC 6381), video first.
    pub codecs: Vec<String>,
    /// Width and height of the picture in pixels, if there is one.
    pub resolution: Option<(u16, u16)>,
}

/// A recorded track that stands in segments.
pub(super) struct Chosen {
    pub number: TrackNumber,
    pub track: Track,
}

/// The video track with the lowest number, which leads (outlines tell no codec: there it is the lowest, too), and the first audio
/// track of a supported codec.
///
/// Errors: [`Error::Mp4`] if there is none, or there is video and it has no place in MP4.
pub(super) fn choose(configuration: &Configuration) -> Result<Vec<Chosen>> {
    let made = |id, track: &TrackConfiguration| {
        let made = Track::new(id, track, ParameterSets::SampleEntryAndSegment)?;
        Ok(Chosen { number: track.track, track: made })
    };
    let video = leading(configuration).map(|track| made(VIDEO_ID, track)).transpose()?;
    let sound = configuration.tracks.iter().filter(|track| track.kind == TrackKind::Audio);
    let mut sound: Vec<Result<Chosen>> = sound.map(|track| made(AUDIO_ID, track)).collect();
    let playable = sound.iter().position(Result::is_ok).unwrap_or(0);
    let audio = match (playable < sound.len()).then(|| sound.swap_remove(playable)).transpose() {
        Ok(audio) => audio,
        // Pictures without sound that cannot be played are better than nothing; sound alone must be playable.
        Err(_) if video.is_some() => None,
        Err(error) => return Err(error),
    };
    let chosen: Vec<Chosen> = video.into_iter().chain(audio).collect();
    if chosen.is_empty() {
        let reason = "it has neither pictures nor sound; choose another stream".to_owned();
        return Err(Error::Mp4 { at: "the stream".to_owned(), reason });
    }
    Ok(chosen)
}

/// The video track that leads.
pub(crate) fn leading(configuration: &Configuration) -> Option<&TrackConfiguration> {
    let videos = configuration.tracks.iter().filter(|track| track.kind == TrackKind::Video);
    videos.min_by_key(|track| track.track)
}

/// Whether every picture of a segment can be decoded from the segment alone (RFC 8216, section 4.3.5.1). Not of H.265: cameras open
/// groups with a CRA picture, and pictures that lead it need the segment before.
pub(super) fn is_independent(configuration: &Configuration) -> bool {
    leading(configuration).is_none_or(|video| !matches!(&video.codec, b"hvc1" | b"hev1"))
}

/// The init segment that the segments of a configuration need. The same name gives the same bytes.
///
/// # Errors
/// [`Error::NoSegment`] if the configuration stands neither where the name says nor at the stream's end; [`Error::Mp4`] if none of
/// its tracks can be played in a browser; what is wrong with the disk.
pub fn init(volume: &Volume, index: &Index, stream: StreamId, name: &InitName) -> Result<Init> {
    let configuration = find(volume, index.rows_of(stream), stream, name)?;
    let configuration = configuration.ok_or_else(|| Error::NoSegment {
        name: name.to_string(),
        reason: "its configuration is not recorded there".to_owned(),
    })?;
    let tracks: Vec<Track> = choose(&configuration)?.into_iter().map(|chosen| chosen.track).collect();
    let video = leading(&configuration);
    Ok(Init {
        data: init_segment(&tracks)?,
        codecs: tracks.iter().map(|track| track.codec_string().to_owned()).collect(),
        resolution: video.map(|video| (video.width, video.height)).filter(|size| *size != (0, 0)),
    })
}

/// The configuration of a hash, in the blocks that hold a moment and in the newest ones.
fn find(
    volume: &Volume,
    rows: &[StreamRow],
    stream: StreamId,
    name: &InitName,
) -> Result<Option<Arc<Configuration>>> {
    let covers = |row: &&StreamRow| row.wall.is_some_and(|(min, max)| (min..=max).contains(&name.at));
    let there = rows.iter().filter(covers).take(BLOCKS_MAX);
    for row in there.chain(rows.iter().rev().take(NEWEST_BLOCKS)) {
        match volume.configuration_in_block(stream, row, name.configuration) {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) | Err(keha_fs::Error::Overwritten { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}
