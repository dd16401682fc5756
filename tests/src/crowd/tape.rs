//! A clip as RTP packets (RFC 6184, packetization mode 1), made once: what is a session's own is filled in when they are sent.

use crate::media::{Clip, Codec, nal};
use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::ops::Range;
use std::time::Duration;

/// The most payload of a packet, bytes: what fits an Ethernet frame, as cameras send.
const PAYLOAD_BYTES_MAX: usize = 1400;
/// RTP clock of video.
const CLOCK_HZ: u64 = 90_000;
/// Fragmentation unit (RFC 6184, section 5.8).
const FU_A: u8 = 28;

/// One packet.
#[derive(Debug)]
pub(super) struct Packet {
    payload: Range<usize>,
    /// The last of its picture.
    pub(super) marker: bool,
}

/// One picture.
#[derive(Debug)]
pub(super) struct Picture {
    /// Which packets.
    pub(super) packets: Range<usize>,
    /// When it is sent, from the beginning of a lap.
    pub(super) due: Duration,
    /// RTP time from the beginning of a lap.
    pub(super) ticks: u32,
    /// Its bytes as they are stored: NAL units behind lengths of four bytes.
    pub(super) stored_bytes: u64,
    /// Decoding can begin here.
    pub(super) sync: bool,
}

/// All packets of a clip.
#[derive(Debug)]
pub(super) struct Tape {
    bytes: Vec<u8>,
    packets: Vec<Packet>,
    pictures: Vec<Picture>,
    lap: Duration,
    description: String,
}

impl Tape {
    pub(super) fn of(clip: &Clip) -> Result<Self> {
        let track = clip.video()?;
        ensure!(track.codec == Codec::H264, "only H.264 is played to crowds");
        let mut tape = Self {
            bytes: Vec::new(),
            packets: Vec::new(),
            pictures: Vec::new(),
            lap: Duration::from_nanos(track.duration_ns),
            description: String::new(),
        };
        let mut sets = Vec::new();
        for sample in &track.samples {
            let nals = nal::split_annex_b(clip.bytes(sample));
            let first = tape.packets.len();
            for nal in &nals {
                if sets.len() < 2 && matches!(nal.first().map(|header| header & 0x1f), Some(7 | 8)) {
                    sets.push(STANDARD.encode(nal));
                }
                tape.add(nal)?;
            }
            let last = tape.packets.last_mut().context("an empty picture")?;
            last.marker = true;
            tape.pictures.push(Picture {
                packets: first..tape.packets.len(),
                due: Duration::from_nanos(sample.dts_ns),
                ticks: ticks(Duration::from_nanos(sample.pts_ns)),
                stored_bytes: nals.iter().map(|nal| 4 + nal.len() as u64).sum(),
                sync: sample.sync,
            });
        }
        tape.description = description(&sets.join(","));
        if tape.pictures.is_empty() {
            bail!("the clip has no pictures");
        }
        Ok(tape)
    }

    fn add(&mut self, nal: &[u8]) -> Result<()> {
        let (&header, body) = nal.split_first().context("an empty NAL unit")?;
        if nal.len() <= PAYLOAD_BYTES_MAX {
            self.packet(&[], nal);
            return Ok(());
        }
        let parts: Vec<&[u8]> = body.chunks(PAYLOAD_BYTES_MAX - 2).collect();
        for (index, part) in parts.iter().enumerate() {
            let start = if index == 0 { 0x80 } else { 0 };
            let end = if index + 1 == parts.len() { 0x40 } else { 0 };
            self.packet(&[header & 0xe0 | FU_A, start | end | header & 0x1f], part);
        }
        Ok(())
    }

    fn packet(&mut self, head: &[u8], body: &[u8]) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(head);
        self.bytes.extend_from_slice(body);
        self.packets.push(Packet { payload: begin..self.bytes.len(), marker: false });
    }

    /// The session description.
    pub(super) fn description(&self) -> &str {
        &self.description
    }

    /// The picture of this number, counted on over the laps, and how long after the beginning of the first lap its own began.
    pub(super) fn picture(&self, number: u64) -> (&Picture, Duration) {
        let count = self.pictures.len() as u64;
        let lap = u32::try_from(number / count).unwrap_or(u32::MAX);
        (&self.pictures[(number % count) as usize], self.lap * lap)
    }

    /// A packet by its place.
    pub(super) fn get(&self, place: usize) -> (&Packet, &[u8]) {
        let packet = &self.packets[place];
        (packet, &self.bytes[packet.payload.clone()])
    }

    /// The numbers of the pictures at which decoding can begin.
    pub(super) fn syncs(&self) -> Vec<u64> {
        (0..).zip(&self.pictures).filter(|(_, picture)| picture.sync).map(|(number, _)| number).collect()
    }
}

/// RTP time for so long.
pub(super) fn ticks(time: Duration) -> u32 {
    // It wraps, as RTP time does.
    (time.as_nanos() * u128::from(CLOCK_HZ) / 1_000_000_000) as u32
}

fn description(sets: &str) -> String {
    [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=camera",
        "t=0 0",
        "a=control:*",
        "m=video 0 RTP/AVP 96",
        "c=IN IP4 0.0.0.0",
        "a=rtpmap:96 H264/90000",
        &format!("a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}"),
        "a=control:track1",
        "",
    ]
    .join("\r\n")
}
