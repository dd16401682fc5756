//! One track of a session: RTP packets in, samples with their arrival out.
//!
//! A sample belongs to the moment its first packet arrived: the depacketizer gives it out only with the packet behind it.

use crate::clock::{Moment, NS_PER_MS};
use crate::codec::TrackFormat;
use crate::depacketize::{AccessUnit, ErrorKind, RtpPacket, Track, TrackEvent};
use crate::recording::{MediaSample, Recording};
use crate::sink::Sink;
use keha_fs::{SAMPLE_BYTES_MAX, SampleFlags, TrackConfiguration, TrackKind, TrackNumber};
use retina::rtp::ReceivedPacket;

/// A sample that waits for a packet behind it waits no longer than this.
const FLUSH_AFTER_NS: i64 = 80 * NS_PER_MS;
/// Media times whose arrival is remembered: the sample being gathered, the one held, and two to spare.
const ARRIVALS: usize = 4;

/// A track that was set up.
pub(crate) struct TrackInput {
    number: TrackNumber,
    stream_index: usize,
    description: String,
    track: Track,
    /// Media time and when its first packet came, newest last.
    arrivals: [Option<(i64, Moment)>; ARRIVALS],
    last_packet: Option<Moment>,
    unflushed: bool,
    counters: TrackCounters,
}

/// What a track has seen in this session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrackCounters {
    pub(crate) lost_packets: u64,
    pub(crate) errors: u64,
    pub(crate) samples: u64,
}

impl TrackInput {
    pub(crate) fn new(
        number: TrackNumber,
        stream_index: usize,
        description: String,
        track: Track,
    ) -> TrackInput {
        TrackInput {
            number,
            stream_index,
            description,
            track,
            arrivals: [None; ARRIVALS],
            last_packet: None,
            unflushed: false,
            counters: TrackCounters::default(),
        }
    }

    pub(crate) fn number(&self) -> TrackNumber {
        self.number
    }

    /// Its index among the streams of the session.
    pub(crate) fn stream_index(&self) -> usize {
        self.stream_index
    }

    /// What it is, as the camera says: `video h264`.
    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    /// Its configuration, where the session description gives all of it: that of sound. A track that stays mute must not
    /// hold the others back.
    pub(crate) fn known_configuration(&self) -> Option<TrackConfiguration> {
        let format = self.track.known_format()?.clone();
        Some(configuration(self.number, self.track.is_video(), format))
    }

    pub(crate) fn is_video(&self) -> bool {
        self.track.is_video()
    }

    pub(crate) fn counters(&self) -> TrackCounters {
        self.counters
    }

    /// When its last packet came.
    pub(crate) fn last_packet(&self) -> Option<Moment> {
        self.last_packet
    }

    /// Takes a packet; what it completes goes to the recording.
    pub(crate) fn packet<S: Sink>(
        &mut self,
        packet: ReceivedPacket,
        at: Moment,
        recording: &mut Recording<S>,
    ) {
        let ticks = packet.timestamp().timestamp();
        let loss = if self.last_packet.is_some() { u32::from(packet.loss()) } else { 0 };
        self.counters.lost_packets += u64::from(loss);
        if !self.arrivals.iter().flatten().any(|(known, _)| *known == ticks) {
            self.arrivals.rotate_left(1);
            if let Some(newest) = self.arrivals.last_mut() {
                *newest = Some((ticks, at));
            }
        }
        self.last_packet = Some(at);
        self.unflushed = true;
        let packet = RtpPacket {
            ticks,
            marker: packet.mark(),
            sequence_number: packet.sequence_number(),
            loss,
            payload: packet.into_payload_bytes(),
        };
        self.run(at, recording, |track, out| track.push(packet, &mut |event| out(event)));
    }

    /// Gives out a sample that has waited for long enough.
    pub(crate) fn tick<S: Sink>(&mut self, now: Moment, recording: &mut Recording<S>) {
        let waited = self.last_packet.is_some_and(|last| now.since_ns(last) >= FLUSH_AFTER_NS);
        if waited && std::mem::take(&mut self.unflushed) {
            self.run(now, recording, |track, out| track.flush(&mut |event| out(event)));
        }
    }

    /// The session ends: gives out what is whole.
    pub(crate) fn finish<S: Sink>(&mut self, now: Moment, recording: &mut Recording<S>) {
        self.run(now, recording, |track, out| track.finish(&mut |event| out(event)));
    }

    fn run<S: Sink>(
        &mut self,
        now: Moment,
        recording: &mut Recording<S>,
        drive: impl FnOnce(&mut Track, &mut dyn FnMut(TrackEvent)),
    ) {
        let TrackInput { track, arrivals, counters, number, description, .. } = self;
        let is_video = track.is_video();
        drive(track, &mut |event| match event {
            TrackEvent::Configuration(format, _) => {
                recording.configure(configuration(*number, is_video, format), now);
            }
            TrackEvent::Sample(unit) => {
                counters.samples += 1;
                let arrival = arrivals.iter().flatten().find(|(ticks, _)| *ticks == unit.ticks);
                let arrival = arrival.map_or(now, |(_, arrival)| *arrival);
                recording.sample(sample(*number, arrival, unit));
            }
            TrackEvent::Error(error) => {
                counters.errors += 1;
                if let ErrorKind::SampleTooLarge { limit_bytes } = error.kind {
                    recording.too_large(*number, limit_bytes.max(SAMPLE_BYTES_MAX), now);
                }
                tracing::debug!(track = %description, %error, "left out");
            }
        });
    }
}

fn sample(track: TrackNumber, arrival: Moment, unit: AccessUnit) -> MediaSample {
    let own = unit.flags;
    let flags = [
        (own.sync, SampleFlags::SYNC),
        (own.discardable, SampleFlags::DISCARDABLE),
        (own.loss, SampleFlags::LOSS),
        (own.signature, SampleFlags::SIGNATURE),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .fold(SampleFlags::default(), |flags, (_, flag)| flags.with(flag));
    MediaSample { track, ticks: unit.ticks, arrival, flags, bytes: unit.len, data: unit.data }
}

fn configuration(track: TrackNumber, is_video: bool, format: TrackFormat) -> TrackConfiguration {
    TrackConfiguration {
        track,
        kind: if is_video { TrackKind::Video } else { TrackKind::Audio },
        codec: format.codec,
        timescale: format.timescale,
        width: format.width,
        height: format.height,
        channels: format.channels,
        sample_rate: format.sample_rate,
        private: format.private,
    }
}
