//! Paces the built-in camera on a thread of its own: drawing and coding block, and never on the recorder's runtime.
//!
//! Picture n is taken n frame intervals after the first, by the steady clock, and carries exactly that time, however late
//! the thread ran. A thread that was held up for more than ten seconds leaves pictures out, and their numbers too.

use super::encoder::{Encoder, TIMESCALE};
use super::picture::Picture;
use super::{TestSource, tone};
use crate::clock::{Moment, NS_PER_MS, NS_PER_S};
use crate::now::Clock;
use crate::recording::MediaSample;
use bytes::Bytes;
use keha_fs::{SampleFlags, TrackConfiguration, TrackKind, TrackNumber};
use std::time::Duration;
use tokio::sync::mpsc;

/// The video track, and the audio track if there is one.
pub(crate) const VIDEO: TrackNumber = TrackNumber(1);
pub(crate) const AUDIO: TrackNumber = TrackNumber(2);

const LATE_NS_MAX: i64 = 10 * NS_PER_S;
/// Items that may wait for the recorder before the camera is held up.
const QUEUE: usize = 64;

/// What the camera gives.
#[derive(Debug)]
pub(crate) enum Item {
    /// Needed by the samples of its track that follow.
    Configuration(TrackConfiguration),
    /// A picture or 20 ms of sound.
    Sample(MediaSample),
    /// It cannot go on.
    Failed(String),
}

/// Starts the camera. Dropping the receiver ends it.
pub(crate) fn start(source: TestSource, name: &str, clock: Clock) -> std::io::Result<mpsc::Receiver<Item>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let name = name.to_owned();
    std::thread::Builder::new().name("keha-testsrc".to_owned()).spawn(move || {
        let mut camera = Camera { source, clock, sender, audio_packets: 0 };
        if let Err(Ended::Failed(detail)) = camera.run(&name) {
            // If nobody listens any more there is nobody to tell.
            let _ = camera.sender.blocking_send(Item::Failed(detail));
        }
    })?;
    Ok(receiver)
}

struct Camera {
    source: TestSource,
    clock: Clock,
    sender: mpsc::Sender<Item>,
    audio_packets: i64,
}

enum Ended {
    NobodyListens,
    Failed(String),
}

impl Camera {
    fn run(&mut self, name: &str) -> Result<(), Ended> {
        let mut encoder = Encoder::new(&self.source).map_err(Ended::Failed)?;
        let mut picture = Picture::new(self.source.width, self.source.height, name);
        let fps = i64::from(self.source.fps.max(1));
        let began = self.clock.now();
        if self.source.audio {
            self.send(Item::Configuration(audio_configuration()))?;
        }
        let mut number = 0_i64;
        loop {
            let due_ns = began.mono_ns + number * NS_PER_S / fps;
            let now = self.clock.now();
            let late_ns = now.mono_ns - due_ns;
            if late_ns > LATE_NS_MAX {
                number += late_ns * fps / NS_PER_S;
                continue;
            }
            if late_ns < 0 {
                std::thread::sleep(Duration::from_nanos(late_ns.unsigned_abs()));
            }
            let taken = self.at(due_ns);
            let shown = u32::try_from(number).unwrap_or(u32::MAX);
            picture.draw(shown, taken.wall.0.div_euclid(NS_PER_MS));
            let at_ms = u64::try_from(number * 1_000 / fps).unwrap_or(0);
            if let Some(coded) = encoder.encode(&picture, at_ms).map_err(Ended::Failed)? {
                if let Some(configuration) = coded.configuration {
                    self.send(Item::Configuration(configuration))?;
                }
                let flags = if coded.is_sync { SampleFlags::SYNC } else { SampleFlags::default() };
                let ticks = number * i64::from(TIMESCALE) / fps;
                self.send_sample(VIDEO, ticks, taken, flags, coded.data)?;
            }
            if self.source.audio {
                self.send_audio(began, due_ns)?;
            }
            number += 1;
        }
    }

    /// Sends the sound up to `until_ns` on the steady clock.
    fn send_audio(&mut self, began: Moment, until_ns: i64) -> Result<(), Ended> {
        let packet_ns = i64::from(tone::PACKET_SAMPLES) * NS_PER_S / i64::from(tone::RATE);
        loop {
            let begins_ns = began.mono_ns + self.audio_packets * packet_ns;
            if begins_ns + packet_ns > until_ns {
                return Ok(());
            }
            if until_ns - begins_ns <= LATE_NS_MAX {
                let taken = self.at(begins_ns);
                let data = Bytes::from(tone::packet(taken.wall.0 / 1_000));
                let ticks = self.audio_packets * i64::from(tone::PACKET_SAMPLES);
                self.send_sample(AUDIO, ticks, taken, SampleFlags::SYNC, data)?;
            }
            self.audio_packets += 1;
        }
    }

    /// The moment at which the steady clock shows `mono_ns`.
    fn at(&self, mono_ns: i64) -> Moment {
        let now = self.clock.now();
        Moment { mono_ns, wall: now.wall.plus_ns(mono_ns - now.mono_ns) }
    }

    fn send_sample(
        &self,
        track: TrackNumber,
        ticks: i64,
        arrival: Moment,
        flags: SampleFlags,
        data: Bytes,
    ) -> Result<(), Ended> {
        let bytes = data.len();
        self.send(Item::Sample(MediaSample { track, ticks, arrival, flags, data: vec![data], bytes }))
    }

    fn send(&self, item: Item) -> Result<(), Ended> {
        self.sender.blocking_send(item).map_err(|_| Ended::NobodyListens)
    }
}

fn audio_configuration() -> TrackConfiguration {
    TrackConfiguration {
        track: AUDIO,
        kind: TrackKind::Audio,
        codec: *b"ulaw",
        timescale: tone::RATE,
        width: 0,
        height: 0,
        channels: 1,
        sample_rate: tone::RATE,
        private: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keha_fs::WallTime;

    #[test]
    fn pictures_and_sound_carry_exact_times_however_late_the_thread_runs() {
        let source = TestSource { width: 320, height: 120, fps: 50, gop: 10, audio: true, bitrate_bps: None };
        let mut items = start(source, "front", Clock::new()).unwrap();
        let (mut video, mut audio) = (Vec::new(), Vec::new());
        while video.len() < 20 {
            match items.blocking_recv().expect("the camera goes on") {
                Item::Sample(sample) if sample.track == VIDEO => video.push(sample),
                Item::Sample(sample) => audio.push(sample),
                Item::Configuration(_) => {}
                Item::Failed(detail) => panic!("{detail}"),
            }
        }
        assert!(video.iter().enumerate().all(|(index, sample)| {
            sample.ticks == index as i64 * 1_800
                && sample.flags.contains(SampleFlags::SYNC) == (index % 10 == 0)
        }));
        let begin = video[0].arrival;
        assert!(
            video.iter().all(|sample| sample.arrival.since_ns(begin) == sample.ticks * NS_PER_S / 90_000)
        );
        assert!(audio.iter().all(|sample| sample.arrival.since_ns(begin) == sample.ticks * NS_PER_S / 8_000));
        assert!(audio.len() >= 18);
    }

    #[test]
    fn wall_times_are_those_of_the_recorders_clock() {
        let clock = Clock::new();
        let before = WallTime(clock.now().wall.0 - NS_PER_S);
        let source = TestSource { width: 320, height: 120, fps: 60, gop: 1, audio: false, bitrate_bps: None };
        let mut items = start(source, "x", clock.clone()).unwrap();
        let Some(Item::Sample(first)) = (0..2).filter_map(|_| items.blocking_recv()).last() else {
            panic!("a sample")
        };
        assert!(first.arrival.wall > before && first.arrival.wall <= clock.now().wall);
    }
}
