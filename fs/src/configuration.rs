//! Configurations: what a decoder must know before a stream's samples, opaque to the filesystem.
//!
//! Stored form (little-endian, inside a configuration chunk):
//!
//! ```text
//! u16 tracks | per track: u8 track, u8 kind, 4 bytes codec, u32 timescale, u16 width, u16 height, u8 channels,
//!                         u32 sample rate, u32 length, private
//! u16 session items | per item: u16 length, name (UTF-8), u32 length, value
//! ```

use crate::types::{ConfigurationHash, TrackNumber};
use bytes::Bytes;

/// The most tracks a stream can have.
pub(crate) const TRACKS_MAX: usize = 32;
/// The most bytes the stored form can have.
pub(crate) const CONFIGURATION_BYTES_MAX: usize = 128 << 10;

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TrackKind {
    /// Pictures.
    Video = 1,
    /// Sound.
    Audio = 2,
    /// Anything else that comes in time, such as ONVIF metadata.
    Metadata = 3,
}

/// One track's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrackConfiguration {
    /// Its number in the stream.
    pub track: TrackNumber,
    /// What it carries.
    pub kind: TrackKind,
    /// The codec as a four-character code of ISO/IEC 14496-12 sample entries: `avc1`, `hvc1`, `mp4a`, `ulaw`, `alaw`.
    pub codec: [u8; 4],
    /// Ticks per second.
    pub timescale: u32,
    /// Width of the picture in pixels, 0 for others.
    pub width: u16,
    /// Height of the picture in pixels, 0 for others.
    pub height: u16,
    /// Audio channels, 0 for others.
    pub channels: u8,
    /// Audio samples per second, 0 for others.
    pub sample_rate: u32,
    /// The codec's decoder configuration record: avcC, hvcC, AudioSpecificConfig.
    pub private: Vec<u8>,
}

/// All tracks of a stream, and what its camera sends once a session (such as a signing certificate).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Configuration {
    /// The tracks, in the order of their numbers.
    pub tracks: Vec<TrackConfiguration>,
    /// Named items of the session.
    pub session: Vec<(String, Vec<u8>)>,
}

impl Configuration {
    /// The content hash by which chunks name this configuration.
    pub fn hash(&self) -> ConfigurationHash {
        ConfigurationHash(hash_of(&self.encode()))
    }

    /// The configuration of `track`.
    pub fn track(&self, track: TrackNumber) -> Option<&TrackConfiguration> {
        self.tracks.iter().find(|configuration| configuration.track == track)
    }

    /// Why it cannot be stored, if so.
    pub fn invalid(&self) -> Option<&'static str> {
        let numbers: std::collections::BTreeSet<_> = self.tracks.iter().map(|track| track.track).collect();
        if self.tracks.is_empty() || self.tracks.len() > TRACKS_MAX {
            Some("a configuration has 1 to 32 tracks")
        } else if numbers.len() != self.tracks.len()
            || self.tracks.iter().any(|track| !(1..=200).contains(&track.track.0))
        {
            Some("track numbers are 1 to 200, each once")
        } else if self.tracks.iter().any(|track| track.timescale == 0) {
            Some("a timescale is not 0")
        } else if self.session.len() > 64 || self.session.iter().any(|(name, _)| name.len() > 255) {
            Some("a configuration has at most 64 session items, their names at most 255 bytes")
        } else if self.encode().len() > CONFIGURATION_BYTES_MAX {
            Some("a configuration has at most 128 KiB")
        } else {
            None
        }
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend((self.tracks.len() as u16).to_le_bytes());
        for track in &self.tracks {
            out.extend([track.track.0, track.kind as u8]);
            out.extend(track.codec);
            out.extend(track.timescale.to_le_bytes());
            out.extend(track.width.to_le_bytes());
            out.extend(track.height.to_le_bytes());
            out.push(track.channels);
            out.extend(track.sample_rate.to_le_bytes());
            out.extend((track.private.len() as u32).to_le_bytes());
            out.extend(&track.private);
        }
        out.extend((self.session.len() as u16).to_le_bytes());
        for (name, value) in &self.session {
            out.extend((name.len() as u16).to_le_bytes());
            out.extend(name.as_bytes());
            out.extend((value.len() as u32).to_le_bytes());
            out.extend(value);
        }
        out
    }

    /// Reads the stored form; `None` if it is not one.
    pub fn decode(bytes: &[u8]) -> Option<Configuration> {
        let mut input = Input(bytes);
        let mut configuration = Configuration::default();
        for _ in 0..input.u16()? {
            configuration.tracks.push(TrackConfiguration {
                track: TrackNumber(input.u8()?),
                kind: kind_from(input.u8()?)?,
                codec: input.take(4)?.try_into().ok()?,
                timescale: input.u32()?,
                width: input.u16()?,
                height: input.u16()?,
                channels: input.u8()?,
                sample_rate: input.u32()?,
                private: input.sized()?.to_vec(),
            });
        }
        for _ in 0..input.u16()? {
            let length = usize::from(input.u16()?);
            let name = String::from_utf8(input.take(length)?.to_vec()).ok()?;
            configuration.session.push((name, input.sized()?.to_vec()));
        }
        (input.0.is_empty() && configuration.invalid().is_none()).then_some(configuration)
    }

    pub(crate) fn stored(&self) -> (Bytes, ConfigurationHash) {
        let bytes = self.encode();
        let hash = ConfigurationHash(hash_of(&bytes));
        (Bytes::from(bytes), hash)
    }
}

fn hash_of(bytes: &[u8]) -> [u8; 16] {
    let mut hash = [0; 16];
    hash.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    hash
}

fn kind_from(byte: u8) -> Option<TrackKind> {
    [TrackKind::Video, TrackKind::Audio, TrackKind::Metadata].into_iter().find(|kind| *kind as u8 == byte)
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(usize::try_from(length).ok()?)
    }
}
