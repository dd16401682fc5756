//! Media playlists: what both kinds share, and those of a range that is over (RFC 8216, sections 4.3.2 and 4.3.3).

use super::Uris;
use crate::error::{Error, Result};
use crate::segments::{InitName, PlannedSegment};
use hls_m3u8::tags::{ExtXMap, ExtXProgramDateTime};
use hls_m3u8::types::PlaylistType;
use hls_m3u8::{MediaPlaylist, MediaSegment};
use keha_fs::{ConfigurationHash, WallTime};
use std::time::Duration;

/// What a media playlist says of itself.
pub(super) struct Head {
    pub target_duration_s: u64,
    pub media_sequence: u64,
    pub discontinuity_sequence: u64,
    pub is_over: bool,
}

/// The playlist of a range that is over: all its segments at once, to be played from any of them. Without a segment it is valid, and
/// plays nothing.
///
/// # Errors
/// [`Error::Invalid`] if a moment is none of the calendar's.
pub fn vod(segments: &[PlannedSegment], uris: &Uris) -> Result<String> {
    let target_duration_s = segments.iter().map(rounded_s).max().unwrap_or(1).max(1);
    let head = Head { target_duration_s, media_sequence: 0, discontinuity_sequence: 0, is_over: true };
    let begins = |configuration: ConfigurationHash| {
        let first = segments.iter().find(|segment| segment.name.configuration == configuration);
        first.map_or(WallTime(0), PlannedSegment::wall)
    };
    render(&head, segments.iter(), uris, begins)
}

/// A segment's duration as it counts for the target duration (RFC 8216, section 4.3.3.1): the nearest second.
pub(super) fn rounded_s(segment: &PlannedSegment) -> u64 {
    segment.duration().as_secs_f64().round() as u64
}

/// The text of a playlist. `at`: a moment at which a configuration holds.
pub(super) fn render<'a>(
    head: &Head,
    segments: impl Iterator<Item = &'a PlannedSegment>,
    uris: &Uris,
    at: impl Fn(ConfigurationHash) -> WallTime,
) -> Result<String> {
    let mut listed = Vec::new();
    let (mut configuration, mut independent) = (None, true);
    for segment in segments {
        let new = configuration.replace(segment.name.configuration) != Some(segment.name.configuration);
        let init = new.then(|| {
            let configuration = segment.name.configuration;
            uris.init(&InitName { configuration, at: at(configuration) })
        });
        independent &= segment.independent;
        listed.push(line(segment, init, segment.discontinuity || listed.is_empty(), uris)?);
    }
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let mut playlist = MediaPlaylist::builder();
    playlist
        .target_duration(Duration::from_secs(head.target_duration_s))
        .media_sequence(number(head.media_sequence))
        .discontinuity_sequence(number(head.discontinuity_sequence))
        .has_independent_segments(independent)
        .segments(listed);
    if head.is_over {
        playlist.playlist_type(PlaylistType::Vod).has_end_list(true);
    }
    Ok(playlist.build().map_err(|error| refused(&error))?.to_string())
}

fn line(
    segment: &PlannedSegment,
    init: Option<String>,
    dated: bool,
    uris: &Uris,
) -> Result<MediaSegment<'static>> {
    let mut line = MediaSegment::builder();
    line.duration(segment.duration()).uri(uris.segment(&segment.name));
    line.has_discontinuity(segment.discontinuity);
    if let Some(init) = init {
        line.map(ExtXMap::new(init));
    }
    if dated {
        line.program_date_time(ExtXProgramDateTime::new(date(segment.wall())?));
    }
    line.build().map_err(|error| refused(&error))
}

/// To the millisecond, which every player reads.
fn date(wall: WallTime) -> Result<String> {
    let date = jiff::Timestamp::from_nanosecond(i128::from(wall.0));
    let date = date.map_err(|error| Error::Invalid(format!("no moment of a calendar: {error}")))?;
    Ok(date.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

pub(super) fn refused(error: &hls_m3u8::Error) -> Error {
    Error::Invalid(format!("no playlist can be made of this: {error}"))
}
