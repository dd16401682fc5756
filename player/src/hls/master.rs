//! Master playlists: what a player needs to know to choose (RFC 8216, section 4.3.4).

use super::media::refused;
use crate::error::{Error, Result};
use crate::library::Found;
use crate::segments::{InitName, PlannedSegment, SegmentName, init, leading};
use crate::timeline::Index;
use hls_m3u8::MasterPlaylist;
use hls_m3u8::tags::VariantStream;
use hls_m3u8::types::{Codecs, StreamData, UFloat};
use keha_fs::{ConfigurationHash, Item, StreamId, TimeRange, Volume};
use std::time::Duration;

/// The most configurations of a variant that are looked at.
const CONFIGURATIONS_MAX: usize = 16;

/// One of the streams to choose from.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Where its media playlist is.
    pub uri: String,
    /// Its codecs (RFC 6381).
    pub codecs: Vec<String>,
    /// Its largest picture, in pixels.
    pub resolution: Option<(u16, u16)>,
    /// Pictures a second, of its newest segment.
    pub frame_rate: Option<f64>,
    /// The most bits a second that a segment needs.
    pub bandwidth: u64,
    /// The bits a second of all of it.
    pub average_bandwidth: u64,
}

impl Variant {
    /// What these segments of a stream are to a player. Reads the configurations, and for the frame rate the tables of the newest
    /// segment; no footage.
    ///
    /// # Errors
    /// [`Error::Invalid`] without a segment; as [`init`] of the newest one's configuration.
    pub fn of(
        volume: &Volume,
        index: &Index,
        stream: StreamId,
        segments: &[PlannedSegment],
        uri: impl Into<String>,
    ) -> Result<Variant> {
        let Some(newest) = segments.last() else {
            return Err(Error::Invalid("nothing is recorded there; choose another range".to_owned()));
        };
        let mut known: Vec<ConfigurationHash> = Vec::new();
        let (mut codecs, mut resolution) = (Vec::new(), None);
        // The newest first: it must be there, others may be gone.
        for planned in segments.iter().rev() {
            let configuration = planned.name.configuration;
            if known.contains(&configuration) || known.len() == CONFIGURATIONS_MAX {
                continue;
            }
            known.push(configuration);
            let name = InitName { configuration, at: planned.wall() };
            let init = match init(volume, index, stream, &name) {
                Err(_) if known.len() > 1 => continue,
                made => made?,
            };
            codecs
                .extend(init.codecs.into_iter().filter(|codec| !codecs.contains(codec)).collect::<Vec<_>>());
            resolution = resolution.max(init.resolution);
        }
        let (bandwidth, average_bandwidth) = bandwidths(segments);
        let seconds = newest.duration().as_secs_f64();
        // A player can do without it.
        let pictures = pictures_of(volume, stream, &newest.name).unwrap_or(0);
        let frame_rate = (pictures > 0).then(|| pictures as f64 / seconds);
        Ok(Variant { uri: uri.into(), codecs, resolution, frame_rate, bandwidth, average_bandwidth })
    }

    /// The same of segments of which each stands in one of these ([`PlannedSegment::part`]).
    ///
    /// # Errors
    /// As [`Variant::of`] for the part in which the newest one stands; another one that cannot be read any more is left out.
    pub fn of_parts(parts: &[Found], segments: &[PlannedSegment], uri: &str) -> Result<Variant> {
        let newest = segments.last().map_or(0, |newest| newest.part);
        let others = (0..parts.len()).filter(|part| *part != newest);
        let mut made: Option<Variant> = None;
        for number in std::iter::once(newest).chain(others) {
            let Some(part) = parts.get(number) else { continue };
            let mine: Vec<PlannedSegment> =
                segments.iter().filter(|segment| segment.part == number).cloned().collect();
            let variant = Variant::of(part.volume(), &part.snapshot.index, part.stream.id, &mine, uri);
            made = match (made, variant) {
                (None, variant) => Some(variant?),
                (Some(made), Ok(other)) => Some(made.with(other)),
                (made, Err(_)) => made,
            };
        }
        let none = || Error::Invalid("nothing is recorded there; choose another range".to_owned());
        let made = made.ok_or_else(none)?;
        let (bandwidth, average_bandwidth) = bandwidths(segments);
        Ok(Variant { bandwidth, average_bandwidth, ..made })
    }

    /// A player that plays either can play both.
    fn with(mut self, other: Variant) -> Variant {
        let new: Vec<String> =
            other.codecs.into_iter().filter(|codec| !self.codecs.contains(codec)).collect();
        self.codecs.extend(new);
        Variant { resolution: self.resolution.max(other.resolution), ..self }
    }
}

/// How many pictures are shown within a segment, by its tables alone: also where some are damaged.
fn pictures_of(volume: &Volume, stream: StreamId, name: &SegmentName) -> keha_fs::Result<usize> {
    let range = TimeRange { from: Some(name.from), to: Some(name.to) };
    let mut cursor = volume.list(stream, range)?;
    let (mut track, mut pictures) = (None, 0);
    while let Some(item) = cursor.next_item()? {
        match item {
            Item::Configuration(hash, found) if hash == name.configuration => {
                track = leading(&found).map(|video| video.track);
            }
            Item::Listed(row) => {
                let mine = row.run == name.run && Some(row.track) == track;
                pictures += usize::from(mine && (name.from..name.to).contains(&row.wall));
            }
            _ => {}
        }
    }
    Ok(pictures)
}

/// Whether a codec of this name has segments that need others (see [`super`]).
fn needs_others(codec: &str) -> bool {
    codec.starts_with("hvc1") || codec.starts_with("hev1")
}

/// The highest rate of a segment that is not a mere rest, and that of all, in bits a second.
fn bandwidths(segments: &[PlannedSegment]) -> (u64, u64) {
    let rate =
        |bytes: u64, duration: Duration| (bytes as f64 * 8.0 / duration.as_secs_f64().max(0.001)) as u64;
    let longest = segments.iter().map(PlannedSegment::duration).max().unwrap_or_default();
    // RFC 8216, section 4.1: the peak is taken over at least half a target duration.
    let whole = segments.iter().filter(|segment| segment.duration() * 2 >= longest);
    let peak = whole.map(|segment| rate(segment.bytes, segment.duration())).max().unwrap_or(0);
    let (bytes, duration) = segments.iter().fold((0, Duration::ZERO), |(bytes, duration), segment| {
        (bytes + segment.bytes, duration + segment.duration())
    });
    let average = rate(bytes, duration);
    (peak.max(average).max(1), average.max(1))
}

/// A master playlist of these, in the order of preference.
///
/// # Errors
/// [`Error::Invalid`] if there is none.
pub fn master(variants: &[Variant]) -> Result<String> {
    if variants.is_empty() {
        return Err(Error::Invalid("there is nothing to choose from; choose another range".to_owned()));
    }
    let streams: Vec<VariantStream<'_>> = variants.iter().map(line).collect::<Result<_>>()?;
    let mut playlist = MasterPlaylist::builder();
    let independent = !variants.iter().flat_map(|variant| &variant.codecs).any(|codec| needs_others(codec));
    playlist.has_independent_segments(independent).variant_streams(streams);
    Ok(playlist.build().map_err(|error| refused(&error))?.to_string())
}

fn line(variant: &Variant) -> Result<VariantStream<'_>> {
    let mut data = StreamData::builder();
    data.bandwidth(variant.bandwidth).average_bandwidth(variant.average_bandwidth);
    if !variant.codecs.is_empty() {
        data.codecs(Codecs::from(variant.codecs.clone()));
    }
    if let Some((width, height)) = variant.resolution {
        data.resolution((usize::from(width), usize::from(height)));
    }
    let rate = variant.frame_rate.filter(|rate| rate.is_finite() && *rate > 0.0);
    Ok(VariantStream::ExtXStreamInf {
        uri: variant.uri.clone().into(),
        frame_rate: rate.map(|rate| UFloat::new(((rate * 100.0).round() / 100.0) as f32)),
        audio: None,
        subtitles: None,
        closed_captions: None,
        stream_data: data.build().map_err(|error| refused(&error))?,
    })
}
