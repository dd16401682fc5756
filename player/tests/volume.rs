//! Exports from real volumes: what a writer was given is what comes out, also beside it, behind its tail and around damage.

#[expect(dead_code, unreachable_pub, reason = "shared with the unit tests, which use other parts of it")]
mod support;

use keha_fs::{
    CreateOptions, Rejected, RoundReport, RunId, Sample, StreamName, StreamWriter, TimeRange, TrackNumber,
    Uuid, Volume, WallTime, Writer, WriterOptions,
};
use keha_player::{ExportReport, ExportRequest, Output, Result, export, plan};
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use support::clip::{AAC, Clip, ClipSample, H264, MULAW, encode};
use support::{check, verify};
use tempfile::TempDir;

/// 2026-03-01T12:00:00Z and a crooked part.
const NOON: WallTime = WallTime(1_772_366_400_123_456_789);
const SECOND_NS: i64 = 1_000_000_000;
/// The clip's length, in whole frames of its sound and a little more than its pictures.
const LAP_MS: i64 = 4096;
/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

struct Ring {
    directory: TempDir,
}

impl Ring {
    fn new(size_bytes: u64, block_bytes: u32) -> Ring {
        let directory = tempfile::tempdir().unwrap();
        let options = CreateOptions {
            size_bytes,
            block_bytes: Some(block_bytes),
            streams_max: Some(2),
            ..Default::default()
        };
        keha_fs::create(&directory.path().join("test.ring"), &options, &mut |_, _| ControlFlow::Continue(()))
            .unwrap();
        Ring { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("test.ring")
    }

    fn writer(&self) -> (Writer, Receiver<RoundReport>) {
        let (send, rounds) = channel();
        // The receiver may be gone while the writer closes.
        let on_round = Box::new(move |round| drop(send.send(round)));
        let options = WriterOptions { flush_interval: Duration::from_millis(50), ..WriterOptions::default() };
        (Writer::open(&self.path(), options, on_round).unwrap(), rounds)
    }

    fn export(&self, from_ns: Option<i64>, to_ns: Option<i64>) -> Result<ExportReport> {
        let volume = Volume::open(&self.path()).unwrap();
        let output = Output::File { path: self.out(), force: true };
        export(&volume, &request(from_ns, to_ns), output, &mut |_| ControlFlow::Continue(()))
    }

    fn out(&self) -> PathBuf {
        self.directory.path().join("out.mkv")
    }

    fn manifest(&self) -> PathBuf {
        self.directory.path().join("out.mkv.json")
    }
}

fn request(from_ns: Option<i64>, to_ns: Option<i64>) -> ExportRequest {
    let range = TimeRange { from: from_ns.map(|ns| NOON.plus_ns(ns)), to: to_ns.map(|ns| NOON.plus_ns(ns)) };
    ExportRequest { streams: vec![StreamName::new("front").unwrap()], range, run: None }
}

fn begin(stream: &mut StreamWriter, clip: &Clip, run: u128, wall: WallTime) {
    stream.configure(&clip.configuration).unwrap();
    stream.begin_run(RunId(Uuid::from_u128(run)));
    clip.anchors(wall, 0).for_each(|anchor| stream.anchor(anchor));
}

/// Pushes the clip once more, as its `lap`-th repetition within the run.
fn push(stream: &mut StreamWriter, clip: &Clip, lap: i64) {
    for sample in &clip.samples {
        let timescale = clip.configuration.track(sample.track).unwrap().timescale;
        let ticks = sample.ticks + lap * LAP_MS * i64::from(timescale) / 1000;
        let made =
            || Sample { track: sample.track, ticks, flags: sample.flags, data: vec![sample.data.clone()] };
        let mut waited = Duration::ZERO;
        while let Err(rejected) = stream.push(made()) {
            assert_eq!(rejected, Rejected::Full);
            std::thread::sleep(Duration::from_millis(10));
            waited += Duration::from_millis(10);
            assert!(waited < PATIENCE, "the writer does not keep up");
        }
    }
}

fn payloads(path: &Path) -> Vec<Vec<u8>> {
    verify::blocks(path).into_iter().map(|block| block.data).collect()
}

fn at_ns(clip: &Clip, sample: &ClipSample) -> i64 {
    sample.ticks * SECOND_NS / i64::from(clip.configuration.track(sample.track).unwrap().timescale)
}

fn clip() -> Clip {
    encode(4, "320x240", H264, AAC)
}

#[test]
fn what_was_recorded_comes_out_byte_for_byte_at_its_time() {
    let (ring, clip) = (Ring::new(64 << 20, 1 << 20), clip());
    let (writer, _rounds) = ring.writer();
    let mut stream = writer.stream(&StreamName::new("front").unwrap()).unwrap();
    begin(&mut stream, &clip, 1, NOON);
    push(&mut stream, &clip, 0);
    drop(stream);
    writer.close().unwrap();
    let report = ring.export(None, None).unwrap();
    assert!(report.is_complete());
    check::opens_without_a_warning(&ring.out());
    verify::manifest(&ring.out(), &ring.manifest()).unwrap();
    let blocks = verify::blocks(&ring.out());
    assert_eq!(blocks.len(), clip.samples.len());
    let at_ns = |sample: &ClipSample| at_ns(&clip, sample);
    let zero = clip.samples.iter().map(at_ns).min().unwrap();
    for (block, sample) in blocks.iter().zip(&clip.samples) {
        assert!(block.data == sample.data);
        assert!((block.at_ns + zero - at_ns(sample)).abs() <= 50_000);
    }
    let clock = &report.files[0].manifest.streams[0].runs[0].clock;
    assert_eq!((clock.sources.as_slice(), clock.uncertainty_us_max), (&["arrival".to_owned()][..], 1000));
}

#[test]
fn a_range_is_cut_from_its_keyframe_to_before_its_end() {
    let (ring, clip) = (Ring::new(64 << 20, 1 << 20), clip());
    let (writer, _rounds) = ring.writer();
    let mut stream = writer.stream(&StreamName::new("front").unwrap()).unwrap();
    begin(&mut stream, &clip, 1, NOON);
    (0..5).for_each(|lap| push(&mut stream, &clip, lap));
    drop(stream);
    writer.close().unwrap();
    let volume = Volume::open(&ring.path()).unwrap();
    let plan = plan(&volume, &request(Some(9 * SECOND_NS + 7), Some(15 * SECOND_NS))).unwrap();
    let report = ring.export(Some(9 * SECOND_NS + 7), Some(15 * SECOND_NS)).unwrap();
    check::opens_without_a_warning(&ring.out());
    verify::manifest(&ring.out(), &ring.manifest()).unwrap();
    let stream = &report.files[0].manifest.streams[0];
    assert!((1..1_100_000_000).contains(&stream.preroll_ns), "{}", stream.preroll_ns);
    let zero: jiff::Timestamp = report.files[0].manifest.file.time_zero.parse().unwrap();
    let zero_ns = zero.as_nanosecond() as i64 - NOON.0;
    let found: Vec<_> = verify::blocks(&ring.out()).into_iter().map(|block| block.at_ns + zero_ns).collect();
    let within = |at_ns: &i64| (9 * SECOND_NS + 7..15 * SECOND_NS).contains(at_ns);
    let recorded = (0..5)
        .flat_map(|lap| clip.samples.iter().map(move |sample| (lap, sample)))
        .filter(|(lap, sample)| within(&(at_ns(&clip, sample) + lap * LAP_MS * 1_000_000)));
    assert_eq!(
        found.iter().filter(|at_ns| within(at_ns)).count(),
        recorded.count(),
        "all of the range is there"
    );
    let behind = found.iter().filter(|at_ns| **at_ns >= 15 * SECOND_NS).count();
    assert!(behind <= 2, "only pictures that others in the range need lie behind it: {behind}");
    assert!(plan.estimated_bytes.abs_diff(report.payload_bytes) < report.payload_bytes / 2);
    assert!(
        ring.export(Some(60 * SECOND_NS), None)
            .is_err_and(|error| error.to_string().contains("front from 2026-03-01T12:00:00"))
    );
}

#[test]
fn a_live_recorder_is_read_up_to_what_it_has_written() {
    let (ring, clip) = (Ring::new(64 << 20, 1 << 20), clip());
    let (writer, rounds) = ring.writer();
    let mut stream = writer.stream(&StreamName::new("front").unwrap()).unwrap();
    begin(&mut stream, &clip, 1, NOON);
    push(&mut stream, &clip, 0);
    let written = |round: &RoundReport| {
        round.streams.iter().any(|stream| {
            stream.tracks.iter().map(|track| track.samples).sum::<u64>() == clip.samples.len() as u64
        })
    };
    for _ in 0..400 {
        if written(&rounds.recv_timeout(PATIENCE).unwrap()) {
            break;
        }
    }
    ring.export(None, None).unwrap();
    check::opens_without_a_warning(&ring.out());
    assert!(payloads(&ring.out()).iter().eq(clip.samples.iter().map(|sample| &sample.data)));
    push(&mut stream, &clip, 1);
    drop(stream);
    writer.close().unwrap();
    ring.export(None, None).unwrap();
    assert_eq!(payloads(&ring.out()).len(), 2 * clip.samples.len());
}

#[test]
fn a_ring_that_went_round_gives_its_newest_footage_without_a_hole() {
    let (ring, clip) = (Ring::new(16 << 20, 1 << 20), clip());
    let (writer, _rounds) = ring.writer();
    let mut stream = writer.stream(&StreamName::new("front").unwrap()).unwrap();
    begin(&mut stream, &clip, 1, NOON);
    let laps = 100;
    (0..laps).for_each(|lap| push(&mut stream, &clip, lap));
    drop(stream);
    writer.close().unwrap();
    let report = ring.export(None, None).unwrap();
    assert!(report.is_complete(), "{report:?}");
    check::opens_without_a_warning(&ring.out());
    verify::manifest(&ring.out(), &ring.manifest()).unwrap();
    let found: Vec<_> = verify::blocks(&ring.out())
        .into_iter()
        .filter(|block| block.track == 1)
        .map(|block| block.data)
        .collect();
    let pictures: Vec<_> = clip
        .samples
        .iter()
        .filter(|sample| sample.track == TrackNumber(1))
        .map(|sample| &sample.data)
        .collect();
    let recorded = pictures.iter().cycle().take(pictures.len() * laps as usize);
    let newest: Vec<_> = recorded.skip(pictures.len() * laps as usize - found.len()).collect();
    assert!(found.iter().eq(newest.into_iter().copied()), "{} pictures are the newest in a row", found.len());
    assert!(found.len() > pictures.len() && found.len() < pictures.len() * laps as usize);
}

#[test]
fn damage_costs_at_most_a_sample_and_never_gives_other_bytes() {
    let (ring, clip) = (Ring::new(64 << 20, 1 << 20), clip());
    let (writer, _rounds) = ring.writer();
    let mut stream = writer.stream(&StreamName::new("front").unwrap()).unwrap();
    begin(&mut stream, &clip, 1, NOON);
    (0..3).for_each(|lap| push(&mut stream, &clip, lap));
    drop(stream);
    writer.close().unwrap();
    ring.export(None, None).unwrap();
    let whole = payloads(&ring.out());
    let originals: BTreeSet<_> = whole.iter().cloned().collect();
    let image = std::fs::read(ring.path()).unwrap();
    let file = OpenOptions::new().write(true).open(ring.path()).unwrap();
    // One byte in the middle of a keyframe, found by its content.
    let key = clip.samples.iter().filter(|sample| sample.track == TrackNumber(1)).nth(25).unwrap();
    let at = image
        .windows(key.data.len())
        .position(|window| window == key.data)
        .expect("the keyframe stands in the volume")
        + 99;
    file.write_all_at(&[image[at] ^ 0x20], at as u64).unwrap();
    let report = ring.export(None, None).unwrap();
    assert!(!report.is_complete());
    assert_eq!(report.damaged, 1);
    let damaged = payloads(&ring.out());
    assert_eq!(damaged.len() + 1, whole.len());
    assert!(damaged.iter().all(|payload| originals.contains(payload)));
    let met = &report.files[0].manifest.streams[0].damage[0];
    assert_eq!(met.what, "sample");
    verify::manifest(&ring.out(), &ring.manifest()).unwrap();
}

#[test]
fn sound_alone_comes_out_too() {
    let (ring, clip) = (Ring::new(64 << 20, 1 << 20), encode(4, "", &[], MULAW));
    let (writer, _rounds) = ring.writer();
    let mut stream = writer.stream(&StreamName::new("front").unwrap()).unwrap();
    begin(&mut stream, &clip, 1, NOON);
    push(&mut stream, &clip, 0);
    drop(stream);
    writer.close().unwrap();
    ring.export(None, None).unwrap();
    check::opens_without_a_warning(&ring.out());
    assert!(payloads(&ring.out()).iter().eq(clip.samples.iter().map(|sample| &sample.data)));
    ring.export(Some(SECOND_NS), Some(2 * SECOND_NS)).unwrap();
    verify::manifest(&ring.out(), &ring.manifest()).unwrap();
    let count = payloads(&ring.out()).len();
    let expected = clip
        .samples
        .iter()
        .filter(|sample| (SECOND_NS..2 * SECOND_NS).contains(&at_ns(&clip, sample)))
        .count();
    assert_eq!(count, expected);
}

/// The volume is opened, then the ring goes round twice, then all of the stream is wanted from what was opened.
#[test]
fn an_export_whose_beginning_the_ring_takes_is_an_error_or_goes_on_behind() {
    let (ring, clip) = (Ring::new(16 << 20, 1 << 20), clip());
    let (writer, rounds) = ring.writer();
    let mut stream = writer.stream(&StreamName::new("front").unwrap()).unwrap();
    begin(&mut stream, &clip, 1, NOON);
    (0..30).for_each(|lap| push(&mut stream, &clip, lap));
    let written = |least: u64| {
        let enough = |round: &RoundReport| {
            round.streams.iter().flat_map(|stream| &stream.tracks).map(|track| track.samples).sum::<u64>()
                >= least
        };
        assert!((0..2000).any(|_| enough(&rounds.recv_timeout(PATIENCE).unwrap())));
    };
    written(30 * clip.samples.len() as u64);
    let volume = Volume::open(&ring.path()).unwrap();
    (30..50).for_each(|lap| push(&mut stream, &clip, lap));
    written(50 * clip.samples.len() as u64);
    let export = |from_ns| {
        let output = Output::File { path: ring.out(), force: true };
        export(&volume, &request(from_ns, None), output, &mut |_| ControlFlow::Continue(()))
    };
    let error = export(Some(0)).expect_err("what was asked for is gone").to_string();
    assert!(error.contains("overwritten") && error.contains("available from 2026-03-01T12:0"), "{error}");
    assert!(!ring.out().exists());
    let report = export(None).unwrap();
    assert!(!report.is_complete());
    assert!(report.overwritten >= 1);
    verify::manifest(&ring.out(), &ring.manifest()).unwrap();
    check::opens_without_a_warning(&ring.out());
    drop(stream);
    writer.close().unwrap();
}

#[test]
fn a_volume_is_never_replaced_by_an_export() {
    let (ring, clip) = (Ring::new(64 << 20, 1 << 20), clip());
    let (writer, _rounds) = ring.writer();
    let mut stream = writer.stream(&StreamName::new("front").unwrap()).unwrap();
    begin(&mut stream, &clip, 1, NOON);
    push(&mut stream, &clip, 0);
    drop(stream);
    writer.close().unwrap();
    let volume = Volume::open(&ring.path()).unwrap();
    let output = Output::File { path: ring.path(), force: true };
    let error =
        export(&volume, &request(None, None), output, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(error.to_string().contains("a Keha volume, so it is not replaced"), "{error}");
}

/// Single bytes changed anywhere in what is written: whatever they hit, one sample at most is missing and none is altered.
#[test]
fn random_damage_never_gives_other_bytes_and_costs_at_most_a_sample() {
    let (ring, clip) = (Ring::new(64 << 20, 1 << 20), clip());
    let (writer, _rounds) = ring.writer();
    let mut stream = writer.stream(&StreamName::new("front").unwrap()).unwrap();
    begin(&mut stream, &clip, 1, NOON);
    (0..4).for_each(|lap| push(&mut stream, &clip, lap));
    drop(stream);
    writer.close().unwrap();
    ring.export(None, None).unwrap();
    let whole = payloads(&ring.out());
    let image = std::fs::read(ring.path()).unwrap();
    let live: Vec<usize> = (0..image.len()).filter(|at| image[*at] != 0).collect();
    let file = OpenOptions::new().write(true).open(ring.path()).unwrap();
    let mut random = 0x2026_u64;
    for round in 0..24 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = live[(random >> 33) as usize % live.len()];
        file.write_all_at(&[image[at] ^ (1 << (round % 8))], at as u64).unwrap();
        let report = ring.export(None, None).unwrap_or_else(|error| panic!("byte {at}: {error}"));
        let found = payloads(&ring.out());
        assert!(found.len() + 1 >= whole.len(), "byte {at} cost {} samples", whole.len() - found.len());
        assert_eq!(report.is_complete(), found.len() == whole.len(), "byte {at}");
        let mut originals = whole.iter();
        assert!(
            found.iter().all(|payload| originals.any(|original| original == payload)),
            "byte {at} gave other bytes"
        );
        file.write_all_at(&[image[at]], at as u64).unwrap();
    }
}
