//! Inputs: what a camera may send, and how it is changed.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::codec::nal::VideoCodec;
use crate::depacketize::RtpPacket;

/// What real cameras describe themselves as.
pub(super) const DESCRIPTIONS: [&str; 4] = [
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=Media Server\r\nt=0 0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\na=control:trackID=0\r\na=rtpmap:96 H264/90000 \r\na=fmtp:96 packetization-mode=1; profile-level-id=64001E;sprop-parameter-sets=Z2QAHqwsaoLA9puCgIKgAAADACAAAAMD0IAA,aO4xshsA\r\nm=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000/1\r\na=fmtp:97 streamtype=5;profile-level-id=1;mode=AAC-hbr;sizeLength=13;indexlength=3;indexdeltalength=3;config=1188; profile=1;\r\n",
    "m=video 0 RTP/AVP 98\r\na=rtpmap:98 H265/90000\r\na=fmtp:98 profile-id=1;sprop-sps=QgEBAWAAAAMAsAAAAwAAAwBaoAWCAeFja5JFL83BQYFBAAADAAEAAAMADKE=;sprop-pps=RAHA8saNA7NA;sprop-vps=QAEMAf//AWAAAAMAsAAAAwAAAwBarAwAAAMABAAAAwAyqA==\r\n",
    "m=audio 0 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000/1\r\nm=audio 0 RTP/AVP 0\r\n",
    "m=audio 0 RTP/AVP 97\na=rtpmap:97 mpeg4-generic/16000/2\na=fmtp:97 mode=AAC-lbr;sizelength=6;indexlength=2;indexdeltalength=2;constantsize=0;config=1408\n",
];

/// Parameter sets of real encoders.
pub(super) const SETS: [&[u8]; 5] = [
    &[0x67, 0x64, 0, 0x33, 0xac, 0x15, 0x14, 0xa0, 0xa0, 0x3d, 0xa1, 0, 0, 4, 0xf6, 0, 0, 0x63, 0x38, 4, 4],
    &[0x67, 0x4d, 0x40, 0x1f, 0x95, 0xa0, 0x2c, 0x04, 0x9a, 0x6c, 0x04],
    &[0x68, 0xee, 0x3c, 0x80],
    &[
        0x42, 1, 1, 1, 0x60, 0, 0, 3, 0, 0xb0, 0, 0, 3, 0, 0, 3, 0, 0x5a, 0xa0, 5, 0x82, 1, 0xe1, 0x63, 0x69,
        0x24, 0x4b, 0x2f, 0xcd, 0xc1, 0x41, 0x81, 0x41, 0, 0, 3, 0, 1, 0, 0, 3, 0, 0x0c, 0xa1,
    ],
    &[0x44, 1, 0xc0, 0xf2, 0xc6, 0x8d, 3, 0xb3, 0x40],
];

/// Bytes at which code goes wrong.
const ODD: [u8; 8] = [0, 1, 3, 0x1f, 0x7f, 0x80, 0xfe, 0xff];

/// The random numbers of a seed.
pub(super) fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// Changes some bytes, cuts some off, or writes some twice.
pub(super) fn change(bytes: &mut Vec<u8>, rng: &mut StdRng) {
    for _ in 0..rng.random_range(0..4) {
        let at = rng.random_range(0..=bytes.len());
        match (rng.random_range(0..7), bytes.get_mut(at)) {
            (0, Some(byte)) => *byte ^= 1 << rng.random_range(0..8),
            (1, Some(byte)) => *byte = ODD[rng.random_range(0..ODD.len())],
            (2, Some(byte)) => *byte = rng.random(),
            (3, _) => bytes.truncate(at),
            (4, _) => bytes.insert(at, ODD[rng.random_range(0..ODD.len())]),
            (5, _) => {
                let part = bytes.get(at..).unwrap_or_default().to_vec();
                bytes.extend(part.into_iter().take(64));
            }
            _ => {
                let value = rng.random();
                bytes.iter_mut().skip(at).take(8).for_each(|byte| *byte = value);
            }
        }
    }
}

/// Payloads as a camera of this codec sends them: whole NAL units, fragments of some, and several in one.
pub(super) fn video(codec: VideoCodec, rng: &mut StdRng) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    for _ in 0..rng.random_range(1..12) {
        let mut nal = nal(codec, rng);
        match rng.random_range(0..4) {
            0 => payloads.extend(fragments(codec, &nal, rng)),
            1 => {
                let mut together = match codec {
                    VideoCodec::H264 => vec![0x78],
                    VideoCodec::H265 => vec![48 << 1, 1],
                };
                for part in [nal.clone(), self::nal(codec, rng)] {
                    together.extend((part.len() as u16).to_be_bytes());
                    together.extend(part);
                }
                payloads.push(together);
            }
            _ => payloads.push(std::mem::take(&mut nal)),
        }
    }
    payloads
}

fn nal(codec: VideoCodec, rng: &mut StdRng) -> Vec<u8> {
    let set = SETS[rng.random_range(0..SETS.len())];
    let header: &[u8] = match (codec, rng.random_range(0..6)) {
        (_, 0) => return set.to_vec(),
        (VideoCodec::H264, 1) => &[6],
        (VideoCodec::H264, 2) => &[9],
        (VideoCodec::H264, 3) => &[0x65],
        (VideoCodec::H264, _) => &[0x61],
        (VideoCodec::H265, 1) => &[39 << 1, 1],
        (VideoCodec::H265, 2) => &[35 << 1, 1],
        (VideoCodec::H265, 3) => &[21 << 1, 1],
        (VideoCodec::H265, _) => &[1 << 1, 1],
    };
    let first = if rng.random() { 0xb8 } else { 0x58 };
    let body = (0..rng.random_range(0..90)).map(|_| rng.random::<u8>());
    header.iter().copied().chain([first]).chain(body).collect()
}

/// A NAL unit in fragments (RFC 6184 5.8, RFC 7798 4.4.3).
fn fragments(codec: VideoCodec, nal: &[u8], rng: &mut StdRng) -> Vec<Vec<u8>> {
    let length = if codec == VideoCodec::H264 { 1 } else { 2 };
    let Some((header, body)) = nal.split_at_checked(length) else { return Vec::new() };
    let parts: Vec<&[u8]> = body.chunks(rng.random_range(1..40)).collect();
    let last = parts.len().saturating_sub(1);
    let fragment = |(index, part): (usize, &&[u8])| {
        let marks = u8::from(index == 0) << 7 | u8::from(index == last) << 6;
        let head = match header {
            [one] => vec![one & 0xe0 | 28, marks | one & 0x1f],
            [one, two] => vec![one & 0x81 | 49 << 1, *two, marks | one >> 1 & 0x3f],
            _ => Vec::new(),
        };
        [&head, *part].concat()
    };
    parts.iter().enumerate().map(fragment).collect()
}

/// Payloads of AAC: sizes of units, then the units (RFC 3640 3.2), as AAC-hbr lays them out.
pub(super) fn audio(rng: &mut StdRng) -> Vec<Vec<u8>> {
    let payload = |rng: &mut StdRng| {
        let sizes: Vec<u16> = (0..rng.random_range(1..5)).map(|_| rng.random_range(0..60)).collect();
        let mut payload = ((sizes.len() * 16) as u16).to_be_bytes().to_vec();
        sizes.iter().for_each(|size| payload.extend((size << 3).to_be_bytes()));
        payload.extend(sizes.iter().flat_map(|size| vec![7; usize::from(*size)]));
        payload
    };
    (0..rng.random_range(1..8)).map(|_| payload(rng)).collect()
}

/// Packets of these payloads, some of them changed, lost, early, late, or twice.
pub(super) fn packets(payloads: Vec<Vec<u8>>, rng: &mut StdRng) -> Vec<RtpPacket> {
    let mut ticks = if rng.random_range(0..20) == 0 { i64::MAX - 5_000 } else { 0_i64 };
    let mut packets = Vec::new();
    for (number, mut payload) in (0_u16..).zip(payloads) {
        if rng.random_range(0..3) == 0 {
            change(&mut payload, rng);
        }
        ticks = match rng.random_range(0..40) {
            0 => rng.random(),
            1 => ticks.wrapping_sub(3_000),
            2..14 => ticks.wrapping_add(3_000),
            _ => ticks,
        };
        let loss = if rng.random_range(0..12) == 0 { rng.random_range(1..9) } else { 0 };
        let payload = Bytes::from(payload);
        let packet =
            RtpPacket { ticks, marker: rng.random_range(0..3) == 0, sequence_number: number, loss, payload };
        packets.extend(std::iter::repeat_n(packet, if rng.random_range(0..30) == 0 { 2 } else { 1 }));
    }
    packets
}
