//! What simulated cameras send and onto what volumes: every sample's bytes follow from a number that is given once, so that
//! any sample read back is known for what it is.

use crate::clock::ClockSync;
use crate::configuration::{Configuration, TrackConfiguration, TrackKind};
use crate::create::empty_structures;
use crate::disk::sim::{SimImage, SimRng};
use crate::format::Text;
use crate::format::geometry::Geometry;
use crate::format::superblock::Superblock;
use crate::sample::{Anchor, ClockSource, Sample, SampleFlags};
use crate::session::Opener;
use crate::types::{RunId, TrackNumber, Uuid, VolumeId, WallTime};
use crate::writer::engine::superblock_of;
use bytes::Bytes;
use std::ops::Range;
use std::sync::OnceLock;

/// The track of pictures.
pub(super) const VIDEO: TrackNumber = TrackNumber(1);
/// The track of sound.
pub(super) const AUDIO: TrackNumber = TrackNumber(2);
/// When the first samples were taken, and the volume made.
pub(super) const BEGIN: WallTime = WallTime(1_700_000_000_000_000_000);

/// The sizes of a volume.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) size_bytes: u64,
    pub(super) page_bytes: usize,
    pub(super) block_bytes: usize,
    pub(super) streams: u32,
    /// What the disk reads and writes at once.
    pub(super) alignment_bytes: u32,
    /// To which sizes it has grown; 0 = not.
    pub(super) grown_bytes: [u64; 2],
}

impl Shape {
    /// Two streams and a dozen blocks.
    pub(super) const SMALL: Shape = Shape {
        size_bytes: 448 << 10,
        page_bytes: 512,
        block_bytes: 16 << 10,
        streams: 2,
        alignment_bytes: 512,
        grown_bytes: [0; 2],
    };

    /// A disk that takes only 4 KiB at once; a power cut may still tear these.
    pub(super) const OF_LARGE_SECTORS: Shape = Shape {
        size_bytes: 1280 << 10,
        page_bytes: 4096,
        block_bytes: 64 << 10,
        streams: 2,
        alignment_bytes: 4096,
        grown_bytes: [0; 2],
    };

    /// A small volume that has grown twice, the first time by less than a page of the table has rows.
    pub(super) const GROWN: Shape =
        Shape { size_bytes: 352 << 10, grown_bytes: [400 << 10, 640 << 10], ..Shape::SMALL };

    /// The same with large pages: a page of the table has the rows of all blocks.
    pub(super) const GROWN_OF_LARGE_SECTORS: Shape =
        Shape { grown_bytes: [1600 << 10, 2400 << 10], ..Shape::OF_LARGE_SECTORS };

    /// One of the shapes that are tried.
    pub(super) fn random(rng: &mut SimRng) -> Shape {
        if rng.below(8) == 0 {
            return Shape::OF_LARGE_SECTORS;
        }
        let streams = 1 + rng.below(4) as u32;
        let size_kib = [0, 352, 448, 576, 704][streams as usize] + 64 * rng.below(4) as u64;
        let page_bytes = if rng.coin() { 512 } else { 1024 };
        Shape { size_bytes: size_kib << 10, page_bytes, streams, ..Shape::SMALL }
    }

    /// How large it is by now.
    pub(super) fn whole_bytes(&self) -> u64 {
        self.grown_bytes.into_iter().fold(self.size_bytes, u64::max)
    }

    /// Where everything stands.
    pub(super) fn geometry(&self) -> Geometry {
        let first = Geometry::derive(self.size_bytes, self.page_bytes, self.block_bytes, self.streams);
        let grown = self.grown_bytes.into_iter().filter(|size| *size > 0);
        let whole = grown.fold(first, |geometry, size| geometry?.grown(size));
        whole.unwrap_or_else(|| panic!("{self:?} is no volume"))
    }
}

/// An empty volume.
pub(super) fn empty_volume(shape: &Shape, seed: u64) -> SimImage {
    let geometry = shape.geometry();
    let superblock = Superblock {
        volume: VolumeId(Uuid::from_u64_pair(seed, 0x6b65_6861)),
        generation: 1,
        created: BEGIN,
        label: Text::new("proof").unwrap_or_default(),
        ..superblock_of(&geometry)
    };
    // A disk is not zeroed when it is bought.
    let mut image = SimImage::zeroed(geometry.size_bytes as usize);
    let junk = payload(!seed, geometry.size_bytes as usize);
    image.write(0, &junk);
    for (at, bytes) in empty_structures(&superblock, &geometry, &Opener::default(), ClockSync::Unknown) {
        image.write(at, &bytes);
    }
    image
}

/// How a camera behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Camera {
    pub(super) video: bool,
    pub(super) audio: bool,
    /// Pictures from keyframe to keyframe.
    pub(super) gop: u64,
    /// How often it sends, of 8.
    pub(super) eagerness: usize,
    /// The largest usual sample in bytes.
    pub(super) usual_bytes: usize,
}

/// The cameras by their place.
pub(super) fn camera(index: usize) -> Camera {
    const CAMERAS: [Camera; 4] = [
        Camera { video: true, audio: false, gop: 6, eagerness: 8, usual_bytes: 3000 },
        Camera { video: true, audio: true, gop: 25, eagerness: 3, usual_bytes: 500 },
        Camera { video: false, audio: true, gop: 1, eagerness: 1, usual_bytes: 200 },
        Camera { video: true, audio: false, gop: 2, eagerness: 4, usual_bytes: 1500 },
    ];
    CAMERAS[index % CAMERAS.len()]
}

/// The `variant`-th configuration of a camera.
pub(super) fn configuration(camera: &Camera, variant: u64) -> Configuration {
    let track = |track, kind, codec: &[u8; 4]| TrackConfiguration {
        track,
        kind,
        codec: *codec,
        timescale: 1000,
        width: 0,
        height: 0,
        channels: 0,
        sample_rate: 0,
        private: payload(variant, 10 + (variant % 5) as usize * 90),
    };
    let video = camera.video.then(|| track(VIDEO, TrackKind::Video, b"avc1"));
    let audio = camera.audio.then(|| track(AUDIO, TrackKind::Audio, b"ulaw"));
    Configuration { tracks: video.into_iter().chain(audio).collect(), session: Vec::new() }
}

/// Noise that payloads are cut from.
const NOISE_BYTES: usize = 1 << 16;

fn noise() -> &'static [u8] {
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    NOISE.get_or_init(|| {
        let mut rng = SimRng::new(0x006e_6f69_7365);
        (0..NOISE_BYTES / 8).flat_map(|_| rng.next_u64().to_le_bytes()).collect()
    })
}

/// The pieces that the bytes of a number are made of: the number itself, then noise from a place of its own.
fn pieces(number: u64, length: usize) -> impl Iterator<Item = (Range<usize>, Piece)> {
    let head = length.min(8);
    let mut at = head;
    let mut place = SimRng::new(number).below(NOISE_BYTES);
    let rest = std::iter::from_fn(move || {
        let bytes = (length - at).min(NOISE_BYTES - place);
        let piece = (bytes > 0).then(|| (at..at + bytes, Piece::Noise(place)));
        (at, place) = (at + bytes, 0);
        piece
    });
    std::iter::once((0..head, Piece::Number(number.to_le_bytes()))).chain(rest)
}

enum Piece {
    Number([u8; 8]),
    Noise(usize),
}

impl Piece {
    fn bytes(&self, length: usize) -> &[u8] {
        match self {
            Piece::Number(bytes) => &bytes[..length],
            Piece::Noise(place) => &noise()[*place..place + length],
        }
    }
}

/// The bytes that belong to a number.
pub(super) fn payload(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    for (range, piece) in pieces(number, length) {
        bytes.extend_from_slice(piece.bytes(range.len()));
    }
    bytes
}

/// Whether these are the bytes that belong to a number.
pub(super) fn is_payload(number: u64, data: &[u8]) -> bool {
    pieces(number, data.len()).all(|(range, piece)| data[range.clone()] == *piece.bytes(range.len()))
}

/// A sample as it was handed in; its ticks are its number, never given twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pushed {
    pub(super) number: u64,
    pub(super) track: TrackNumber,
    pub(super) flags: SampleFlags,
    pub(super) length: usize,
    pub(super) run: Run,
    pub(super) configuration: crate::types::ConfigurationHash,
    /// For which ticks the clock anchor was given that holds for it.
    pub(super) anchored: i64,
}

/// A run, and how far its clock is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) offset_ns: i64,
}

impl Run {
    /// The wall time of a tick: one line a run, whatever anchor is given.
    pub(super) fn wall(&self, ticks: i64) -> WallTime {
        BEGIN.plus_ns(ticks * 1_000_000 + self.offset_ns)
    }

    /// The anchor at a tick; where its time comes from, and how well it is known, is another each time.
    pub(super) fn anchor(&self, track: TrackNumber, ticks: i64) -> Anchor {
        const SOURCES: [ClockSource; 3] =
            [ClockSource::Arrival, ClockSource::SenderReport, ClockSource::Camera];
        let (high, low) = self.id.0.as_u64_pair();
        let mut rng = SimRng::new(high ^ low ^ ticks as u64 ^ u64::from(track.0));
        Anchor {
            track,
            timescale: 1000,
            ticks,
            wall: self.wall(ticks),
            source: SOURCES[rng.below(SOURCES.len())],
            uncertainty_us: rng.below(5_000_000) as u32,
            arrival: self.wall(ticks).plus_ns(rng.below(1 << 30) as i64),
            camera_offset_ns: rng.next_u64() as i64 >> rng.below(40),
        }
    }
}

impl Pushed {
    /// The clock anchor that holds for it.
    pub(super) fn anchor(&self) -> Anchor {
        self.run.anchor(self.track, self.anchored)
    }

    /// As a camera would hand it in.
    pub(super) fn sample(&self) -> Sample {
        let bytes = Bytes::from(payload(self.number, self.length));
        let (head, tail) = (bytes.slice(..self.length / 3), bytes.slice(self.length / 3..));
        Sample { track: self.track, ticks: self.number as i64, flags: self.flags, data: vec![head, tail] }
    }
}

#[test]
fn the_bytes_of_a_number_are_its_own_at_every_length() {
    for length in [1, 7, 8, 9, 500, 70_000, 200_000] {
        let bytes = payload(3, length);
        assert_eq!(bytes.len(), length);
        assert!(is_payload(3, &bytes) && !is_payload(4, &bytes));
    }
}
