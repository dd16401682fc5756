//! A packetizer for tests: every packet form of RFC 6184 and RFC 7798 that the depacketizers know, in any mix, and
//! the marker habits of real cameras.

use bytes::Bytes;
use proptest::prelude::*;

use crate::codec::nal::VideoCodec;
use crate::depacketize::RtpPacket;

/// How a NAL unit travels.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Single,
    /// Together with the NAL units before it, if the one before is aggregated too.
    Aggregated,
    /// In fragments with this many bytes each.
    Fragments(usize),
}

/// Where markers are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Markers {
    /// On the last packet of the access unit.
    Right,
    Never,
    /// On the last packet of each NAL unit.
    EveryNal,
    EveryPacket,
}

/// An access unit: time, NAL units and their forms.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    pub(super) ticks: i64,
    pub(super) nals: Vec<(Vec<u8>, Form)>,
}

impl Picture {
    pub(super) fn nal_units(&self) -> Vec<Vec<u8>> {
        self.nals.iter().map(|(nal, _)| nal.clone()).collect()
    }
}

/// The packets of access units.
pub(super) fn packetize(codec: VideoCodec, markers: Markers, pictures: &[Picture]) -> Vec<RtpPacket> {
    let mut packets = Vec::new();
    for picture in pictures {
        let payloads = payloads(codec, picture);
        let count = payloads.len();
        for (index, (payload, ends_nal)) in payloads.into_iter().enumerate() {
            let marker = match markers {
                Markers::Right => index + 1 == count,
                Markers::Never => false,
                Markers::EveryNal => ends_nal,
                Markers::EveryPacket => true,
            };
            let sequence_number = (packets.len() % 65_536) as u16;
            let payload = Bytes::from(payload);
            packets.push(RtpPacket { ticks: picture.ticks, marker, sequence_number, loss: 0, payload });
        }
    }
    packets
}

/// The payloads of an access unit, and whether a NAL unit ends with each.
fn payloads(codec: VideoCodec, picture: &Picture) -> Vec<(Vec<u8>, bool)> {
    let mut payloads = Vec::new();
    let mut aggregated: Vec<&[u8]> = Vec::new();
    for (nal, form) in &picture.nals {
        if !matches!(form, Form::Aggregated) {
            flush(codec, &mut aggregated, &mut payloads);
        }
        match form {
            Form::Single => payloads.push((nal.clone(), true)),
            Form::Aggregated => aggregated.push(nal),
            Form::Fragments(size) => fragment(codec, nal, *size, &mut payloads),
        }
    }
    flush(codec, &mut aggregated, &mut payloads);
    payloads
}

fn flush(codec: VideoCodec, aggregated: &mut Vec<&[u8]>, packets: &mut Vec<(Vec<u8>, bool)>) {
    if aggregated.is_empty() {
        return;
    }
    let mut payload = match codec {
        VideoCodec::H264 => vec![24 | aggregated.iter().map(|nal| nal[0] & 0x60).max().unwrap_or(0)],
        VideoCodec::H265 => vec![48 << 1, 1],
    };
    for nal in aggregated.drain(..) {
        payload.extend_from_slice(&u16::try_from(nal.len()).expect("small NAL units").to_be_bytes());
        payload.extend_from_slice(nal);
    }
    packets.push((payload, true));
}

fn fragment(codec: VideoCodec, nal: &[u8], size: usize, packets: &mut Vec<(Vec<u8>, bool)>) {
    let (header, body) = nal.split_at(codec.header_len());
    let chunks: Vec<&[u8]> = if body.is_empty() { vec![body] } else { body.chunks(size.max(1)).collect() };
    let count = chunks.len();
    for (index, chunk) in chunks.into_iter().enumerate() {
        let ends = u8::from(index == 0) << 7 | u8::from(index + 1 == count) << 6;
        let mut payload = match codec {
            VideoCodec::H264 => vec![header[0] & 0xe0 | 28, ends | header[0] & 0x1f],
            VideoCodec::H265 => vec![header[0] & 0x81 | 49 << 1, header[1], ends | header[0] >> 1 & 0x3f],
        };
        payload.extend_from_slice(chunk);
        packets.push((payload, index + 1 == count));
    }
}

/// Puts emulation prevention into random bytes, as an encoder would.
fn escape(bytes: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(bytes.len());
    let mut zeros = 0;
    for byte in bytes {
        if zeros >= 2 && *byte <= 3 {
            escaped.push(3);
            zeros = 0;
        }
        escaped.push(*byte);
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
    }
    escaped
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![Just(Form::Single), Just(Form::Aggregated), (1usize..40).prop_map(Form::Fragments),]
}

fn body(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => Just(0u8), 1 => 0u8..4, 3 => any::<u8>()];
    prop::collection::vec(byte, len).prop_map(|bytes| escape(&bytes))
}

fn header(codec: VideoCodec, nal_type: u8) -> Vec<u8> {
    match codec {
        VideoCodec::H264 => vec![0x60 | nal_type],
        VideoCodec::H265 => vec![nal_type << 1, 1],
    }
}

/// A slice; the first of its picture or a further one.
pub(super) fn slice(codec: VideoCodec, nal_type: u8, first: bool, rest: &[u8]) -> Vec<u8> {
    [&header(codec, nal_type)[..], &[if first { 0xb8 } else { 0x58 }], &escape(rest)].concat()
}

/// An access unit as an encoder may make it: non-picture NAL units, then slices, then more non-picture ones.
fn nal_units(codec: VideoCodec) -> impl Strategy<Value = Vec<(Vec<u8>, Form)>> {
    let (before, slices, behind): (&[u8], &[u8], &[u8]) = match codec {
        VideoCodec::H264 => (&[6, 7, 8, 9, 15], &[1, 5], &[12]),
        VideoCodec::H265 => (&[32, 33, 34, 35, 39], &[0, 1, 19, 20, 21], &[38, 40]),
    };
    let other = move |types: &'static [u8]| {
        (prop::sample::select(types), body(0..60))
            .prop_map(move |(nal_type, body)| [header(codec, nal_type), body].concat())
    };
    (
        prop::collection::vec((other(before), form()), 0..4),
        prop::sample::select(slices),
        prop::collection::vec((body(0..300), form()), 1..4),
        prop::collection::vec((other(behind), form()), 0..2),
    )
        .prop_map(move |(before, nal_type, bodies, behind)| {
            let slices = bodies
                .into_iter()
                .enumerate()
                .map(|(index, (body, form))| (slice(codec, nal_type, index == 0, &body), form));
            before.into_iter().chain(slices).chain(behind).collect()
        })
}

/// A few access units in order of time.
pub(super) fn pictures(codec: VideoCodec) -> impl Strategy<Value = Vec<Picture>> {
    prop::collection::vec((nal_units(codec), 1i64..9000), 1..8).prop_map(|units| {
        let mut ticks = -3000;
        units
            .into_iter()
            .map(|(nals, step)| {
                ticks += step;
                Picture { ticks, nals }
            })
            .collect()
    })
}

pub(super) fn codec() -> impl Strategy<Value = VideoCodec> {
    prop_oneof![Just(VideoCodec::H264), Just(VideoCodec::H265)]
}

pub(super) fn markers() -> impl Strategy<Value = Markers> {
    prop_oneof![
        Just(Markers::Right),
        Just(Markers::Never),
        Just(Markers::EveryNal),
        Just(Markers::EveryPacket)
    ]
}

/// Codec, marker habit and access units.
pub(super) fn stream() -> impl Strategy<Value = (VideoCodec, Markers, Vec<Picture>)> {
    (codec(), markers()).prop_flat_map(|(codec, markers)| (Just(codec), Just(markers), pictures(codec)))
}
