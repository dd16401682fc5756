//! Whatever streams look like: every sample is in exactly one file, in the order of recording, at its own time.

use super::memory::{MemoryArchive, MemoryStream, invented, invented_video};
use super::support::verify;
use super::*;
use keha_fs::{Configuration, StoredSample};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A run: when it begins, in milliseconds since the run before began, its size of picture, its frames.
#[derive(Clone, Debug)]
struct RunOf {
    begins_ms: i64,
    wide: bool,
    frames: i64,
    gop: i64,
}

fn runs() -> impl Strategy<Value = Vec<RunOf>> {
    let run = (-3_000..20_000i64, prop::bool::weighted(0.2), 1..60i64, 1..30i64)
        .prop_map(|(begins_ms, wide, frames, gop)| RunOf { begins_ms, wide, frames, gop });
    prop::collection::vec(run, 1..6)
}

fn configuration(wide: bool) -> Configuration {
    let mut configuration = invented_video();
    configuration.tracks[0].width = if wide { 1280 } else { 640 };
    configuration
}

fn stream(text: &str, runs: &[RunOf]) -> MemoryStream {
    let mut stream = MemoryStream::new(text);
    let mut begin = NOON;
    for (number, run) in runs.iter().enumerate() {
        begin = begin.plus_ns(run.begins_ms * 1_000_000);
        let configuration = configuration(run.wide);
        stream.begin_run(number as u128 + 1, begin, &configuration);
        for frame in 0..run.frames {
            stream.sample(begin, &configuration, &invented(1, frame * 3600 + 7, frame % run.gop == 0));
        }
    }
    stream
}

/// The samples of a stream in all files, one after the other, as (wall, payload).
fn exported_samples(exported: &Exported, stream: &str) -> Vec<(i64, Vec<u8>)> {
    let mut all = Vec::new();
    for file in &exported.report().files {
        let path = file.path.as_ref().unwrap();
        verify::manifest(path, file.manifest_path.as_ref().unwrap()).unwrap();
        let zero: jiff::Timestamp = file.manifest.file.time_zero.parse().unwrap();
        let Some(record) = file.manifest.streams.iter().find(|record| record.name == stream) else {
            continue;
        };
        let blocks = verify::blocks(path);
        let own = blocks.into_iter().filter(|block| block.track == record.tracks[0].mkv_track);
        all.extend(own.map(|block| (zero.as_nanosecond() as i64 + block.at_ns, block.data)));
    }
    all
}

fn assert_all_there(found: &[(i64, Vec<u8>)], recorded: &[StoredSample]) {
    assert_eq!(found.len(), recorded.len());
    for ((wall, data), sample) in found.iter().zip(recorded) {
        assert_eq!(data, &sample.data);
        assert!((wall - sample.wall.0).abs() <= 50_000, "{} ns off", wall - sample.wall.0);
    }
}

fn assert_exported(front: &[RunOf], back: &[RunOf]) {
    let streams = BTreeMap::from([("front", stream("front", front)), ("back", stream("back", back))]);
    let samples: BTreeMap<_, _> = streams.iter().map(|(name, stream)| (*name, stream.samples())).collect();
    let archive = MemoryArchive::new(streams.into_values().collect());
    let exported = Exported::of(&archive, &request(&["front", "back"], None, None));
    for (name, recorded) in samples {
        assert_all_there(&exported_samples(&exported, name), &recorded);
    }
}

/// A file that had begun where the clock of one stream was set back to took a run of the other from before its time zero, which was
/// moved there.
#[test]
fn a_clock_that_was_set_back_further_than_another_begins_a_file_of_its_own() {
    let run = |begins_ms, frames, gop| RunOf { begins_ms, wide: false, frames, gop };
    let front = [run(-72, 1, 1), run(6890, 1, 1), run(11262, 1, 1), run(16700, 8, 1), run(0, 26, 1)];
    let back = [run(14708, 1, 1), run(19392, 43, 22), run(0, 1, 1)];
    assert_exported(&front, &back);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_sample_is_in_exactly_one_file(front in runs(), back in runs()) {
        assert_exported(&front, &back);
    }
}
