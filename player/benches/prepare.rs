//! What `prepare` costs of an hour of 25 pictures a second with sound, and what the first byte of two seconds of it costs, when the
//! volume's tables are warm: seconds of this thread's processor, of several turns the least and the middle one.
//!
//! The pictures are small, for none of them is read: what counts are the samples (270,000) and the chunks (one a second). With the
//! argument `profile`, one form alone is prepared over and over, for a profiler.

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, unreachable_pub, reason = "shared with tests, which use other parts of it")]
mod support;

use keha_fs::{
    Anchor, ClockSource, CreateOptions, Rejected, RunId, Sample, StreamName, TimeRange, Uuid, Volume,
    WallTime, Writer, WriterOptions,
};
use keha_player::footage::{FootageRequest, Format, prepare};
use std::ops::ControlFlow;
use std::path::Path;
use support::clip::{AAC, Clip, encode};

const NOON: WallTime = WallTime(1_772_366_400_000_000_000);
const S: i64 = 1_000_000_000;
const LAP_S: i64 = 10;
const HOUR_S: i64 = 3600;
const TURNS: usize = 15;
/// As cameras send: no picture is reordered.
const H264: &[&str] =
    &["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "50", "-sc_threshold", "0"];

fn main() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("hour.ring");
    record(&path, &encode(LAP_S as u32, "64x36", H264, AAC));
    let volume = Volume::open(&path).expect("a volume");
    if std::env::args().any(|argument| argument == "profile") {
        (0..200).for_each(|_| drop(prepare(&volume, &request(Format::Mp4, 0, HOUR_S)).expect("a file")));
        return;
    }
    for format in [Format::Mp4, Format::FragmentedMp4, Format::Mkv] {
        let prepared = prepare(&volume, &request(format, 0, HOUR_S)).expect("a file");
        let each = turns(|_| drop(prepare(&volume, &request(format, 0, HOUR_S)).expect("a file")));
        println!("{format:?}: {} samples, an hour prepared in {each}", prepared.samples());
    }
    for format in [Format::Mp4, Format::FragmentedMp4, Format::Mkv] {
        let each = turns(|turn| {
            // Anywhere, and never twice.
            let from = (turn as i64 * 997) % (HOUR_S - 2);
            let prepared = prepare(&volume, &request(format, from, from + 2)).expect("a file");
            let first = &mut |_| ControlFlow::Break(());
            prepared.write(&volume, 0..u64::MAX, first).expect("a byte");
        });
        println!("{format:?}: the first bytes of two seconds in {each}");
    }
}

fn request(format: Format, from: i64, to: i64) -> FootageRequest {
    let at = |seconds: i64| Some(NOON.plus_ns(seconds * S));
    let streams = vec![StreamName::new("front").expect("a name")];
    FootageRequest { streams, range: TimeRange { from: at(from), to: at(to) }, format, part: None }
}

fn turns(mut turn: impl FnMut(usize)) -> String {
    let mut each: Vec<f64> = (0..TURNS)
        .map(|number| {
            let before = cpu_ms();
            turn(number);
            cpu_ms() - before
        })
        .collect();
    each.sort_by(f64::total_cmp);
    format!("{:.2} ms at least, {:.2} ms usually", each[0], each[TURNS / 2])
}

/// What this thread took of the processor (proc_pid_schedstat(5)).
fn cpu_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).expect("a number") / 1e6
}

fn record(path: &Path, clip: &Clip) {
    let options = CreateOptions { size_bytes: 1 << 30, ..CreateOptions::default() };
    keha_fs::create(path, &options, &mut |_, _| ControlFlow::Continue(())).expect("a volume");
    let bytes: usize = clip.samples.iter().map(|sample| sample.data.len()).sum();
    let options = WriterOptions { chunk_bytes: bytes / LAP_S as usize, ..WriterOptions::default() };
    let writer = Writer::open(path, options, Box::new(|_| {})).expect("a writer");
    let mut stream = writer.stream(&StreamName::new("front").expect("a name")).expect("a stream");
    stream.configure(&clip.configuration).expect("it is stored");
    stream.begin_run(RunId(Uuid::from_u128(1)));
    for track in &clip.configuration.tracks {
        stream.anchor(Anchor {
            track: track.track,
            timescale: track.timescale,
            ticks: 0,
            wall: NOON,
            source: ClockSource::Arrival,
            uncertainty_us: 0,
            arrival: NOON,
            camera_offset_ns: 0,
        });
    }
    for lap in 0..HOUR_S / LAP_S {
        for sample in &clip.samples {
            let timescale = clip.configuration.track(sample.track).map_or(1, |track| track.timescale);
            let made = || Sample {
                track: sample.track,
                ticks: sample.ticks + lap * LAP_S * i64::from(timescale),
                flags: sample.flags,
                data: vec![sample.data.clone()],
            };
            while stream.push(made()) == Err(Rejected::Full) {
                std::thread::yield_now();
            }
        }
    }
    drop(stream);
    writer.close().expect("closed");
}
