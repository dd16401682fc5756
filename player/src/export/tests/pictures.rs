//! What is in an exported file: bytes, times, keyframes, and what other programs make of it.

use super::memory::{MemoryArchive, MemoryStream};
use super::support::check;
use super::support::clip::{Clip, MULAW, encode};
use super::support::verify::ReadBlock;
use super::*;
use keha_fs::{SampleFlags, StoredSample};

/// Bytes, keys and times of `blocks` are those of `samples`; times to 50 µs.
fn assert_same(blocks: &[ReadBlock], samples: &[StoredSample]) {
    assert_eq!(blocks.len(), samples.len());
    let zero = samples.iter().map(|sample| sample.wall).min().unwrap();
    for (block, sample) in blocks.iter().zip(samples) {
        assert!(block.data == sample.data);
        assert_eq!(block.track, u64::from(sample.track.0));
        assert_eq!(block.key, sample.flags.contains(SampleFlags::SYNC));
        let off = block.at_ns - sample.wall.since_ns(zero);
        assert!(off.abs() <= 50_000, "{off} ns off");
    }
}

fn export_whole(clip: &Clip) -> (Exported, Vec<StoredSample>) {
    let stream = MemoryStream::new("front").run(1, NOON, clip);
    let samples = stream.samples();
    (Exported::of(&MemoryArchive::new(vec![stream]), &request(&["front"], None, None)), samples)
}

#[test]
fn h264_with_b_frames_and_aac_comes_out_as_it_was_recorded() {
    let (exported, samples) = export_whole(&AVC);
    assert_same(&exported.blocks("out.mkv"), &samples);
    assert_eq!(exported.names(), ["out.mkv", "out.mkv.json"]);
    assert!(exported.report().is_complete());
}

#[test]
fn h265_with_cra_keyframes_and_g711_comes_out_as_it_was_recorded() {
    let (exported, samples) = export_whole(&HEVC);
    assert_same(&exported.blocks("out.mkv"), &samples);
    let keys = samples
        .iter()
        .filter(|sample| sample.track.0 == 1 && sample.flags.contains(SampleFlags::SYNC))
        .count();
    assert_eq!(keys, 4);
}

#[test]
fn sound_alone_is_a_file_with_places_to_seek_to() {
    let (exported, samples) = export_whole(&encode(4, "", &[], MULAW));
    assert_same(&exported.blocks("out.mkv"), &samples);
}

#[test]
fn the_header_states_size_rate_duration_codecs_and_date() {
    let (exported, _) = export_whole(&AVC);
    let probed = check::probed(&exported.path("out.mkv"), &["-show_format", "-show_streams"]);
    let (video, audio) = (&probed["streams"][0], &probed["streams"][1]);
    assert_eq!(
        (&video["codec_name"], &video["width"], &video["height"]),
        (&"h264".into(), &320.into(), &240.into())
    );
    assert_eq!((&video["avg_frame_rate"], &video["r_frame_rate"]), (&"25/1".into(), &"25/1".into()));
    assert_eq!((&audio["codec_name"], &audio["sample_rate"]), (&"aac".into(), &"48000".into()));
    let tags = &probed["format"]["tags"];
    assert_eq!(tags["KEHA_VOLUME_LABEL"], "test");
    assert!(tags["creation_time"].as_str().unwrap().starts_with("2026-03-01T12:00:00.123456"));
    assert_eq!(video["tags"]["KEHA_STREAM"], "front");
    assert_eq!(video["tags"]["title"], "front");
    assert_eq!(
        video["tags"]["KEHA_CLOCK_1"],
        "sender report, uncertainty 150 us, camera minus recorder -42 ns to -42 ns"
    );
    let duration: f64 = probed["format"]["duration"].as_str().unwrap().parse().unwrap();
    assert!((duration - 4.0).abs() < 0.1, "{duration}");
}

#[test]
fn seeking_by_the_cues_lands_on_keyframes() {
    let (exported, _) = export_whole(&AVC);
    for second in ["0.2", "1.5", "2.999", "3.5"] {
        let arguments =
            ["-select_streams", "v", "-show_packets", "-read_intervals", &format!("{second}%+#1")];
        let probed = check::probed(&exported.path("out.mkv"), &arguments);
        let packet = &probed["packets"][0];
        assert!(packet["flags"].as_str().unwrap().starts_with('K'), "{packet}");
        let at: f64 = packet["pts_time"].as_str().unwrap().parse().unwrap();
        let asked: f64 = second.parse().unwrap();
        assert!(at <= asked && asked - at < 1.1, "asked {asked}, landed at {at}");
    }
}

#[test]
fn a_range_begins_at_the_keyframe_before_it_and_says_how_much_earlier() {
    let stream = MemoryStream::new("front").run(1, NOON, &AVC);
    let archive = MemoryArchive::new(vec![stream]);
    let exported = Exported::of(&archive, &request(&["front"], Some(3 * SECOND_NS / 2), Some(3 * SECOND_NS)));
    let blocks = exported.blocks("out.mkv");
    let video: Vec<_> = blocks.iter().filter(|block| block.track == 1).collect();
    assert!(video[0].key);
    let probed = check::probed(&exported.path("out.mkv"), &["-show_format", "-show_streams"]);
    let manifest = &exported.report().files[0].manifest;
    // The keyframe lies half a second earlier, sound stored behind it a little more.
    let preroll = manifest.streams[0].preroll_ns;
    assert!((500_000_000..=560_000_000).contains(&preroll), "{preroll}");
    assert_eq!(probed["streams"][0]["tags"]["KEHA_PREROLL_NS"], preroll.to_string());
    assert_eq!(probed["format"]["tags"]["KEHA_REQUESTED_FROM"], "2026-03-01T12:00:01.623456789Z");
    assert!(manifest.streams[0].last.as_str() < "2026-03-01T12:00:03.123456789Z");
    let last_shown = video.iter().map(|block| block.at_ns).max().unwrap() - preroll;
    assert!(
        (1_450_000_000..1_500_000_000).contains(&last_shown),
        "every frame before the end is there: {last_shown}"
    );
}

#[test]
fn two_streams_share_one_clock() {
    let front = MemoryStream::new("front").run(1, NOON, &AVC);
    let back = MemoryStream::new("back").run(2, NOON.plus_ns(700_000_000), &HEVC);
    let exported =
        Exported::of(&MemoryArchive::new(vec![front, back]), &request(&["front", "back"], None, None));
    let blocks = exported.blocks("out.mkv");
    let first =
        |track| blocks.iter().filter(|block| block.track == track).map(|block| block.at_ns).min().unwrap();
    assert_eq!(first(4), 700_000_000 + first(2));
    let probed = check::probed(&exported.path("out.mkv"), &["-show_streams"]);
    let titles: Vec<_> = probed["streams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stream| stream["tags"]["title"].as_str().unwrap())
        .collect();
    assert_eq!(titles, ["front", "front", "back", "back"]);
}

#[test]
fn a_picture_behind_the_end_goes_in_only_if_one_before_the_end_needs_it() {
    let configuration = super::memory::invented_video();
    let mut stream = MemoryStream::new("front");
    stream.begin_run(1, NOON, &configuration);
    // I0 P4 B1 B2 B3 P8 B5 B6 B7 at 25 frames a second.
    for (order, frame) in [0, 4, 1, 2, 3, 8, 5, 6, 7].into_iter().enumerate() {
        stream.sample(NOON, &configuration, &super::memory::invented(1, frame * 3600, order == 0));
    }
    let archive = MemoryArchive::new(vec![stream]);
    let shown = |to_frame: i64| {
        let exported = Exported::of(&archive, &request(&["front"], None, Some(to_frame * 40_000_000)));
        exported.report();
        let blocks = super::support::verify::blocks(&exported.path("out.mkv"));
        blocks.iter().map(|block| block.at_ns / 40_000_000).collect::<Vec<_>>()
    };
    assert_eq!(shown(5), [0, 4, 1, 2, 3]);
    assert_eq!(shown(6), [0, 4, 1, 2, 3, 8, 5]);
    assert_eq!(shown(1), [0]);
}
