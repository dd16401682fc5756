//! How footage is divided over files, and how files come to their names.

use super::memory::{MemoryArchive, MemoryStream};
use super::support::clip::ClipSample;
use super::support::verify;
use super::*;
use bytes::Bytes;
use keha_fs::{Configuration, GapReason, TrackKind};

/// The same configuration with one more picture parameter set, as H.264's avcC.
fn with_another_pps(configuration: &Configuration) -> Configuration {
    let mut more = configuration.clone();
    let private = &mut more.tracks[0].private;
    let sps_bytes = usize::from(u16::from_be_bytes([private[6], private[7]]));
    let count_at = 8 + sps_bytes;
    let pps_bytes = usize::from(u16::from_be_bytes([private[count_at + 1], private[count_at + 2]]));
    let end = count_at + 3 + pps_bytes;
    // PPS 1 of SPS 0, as the first one otherwise: id ue(1) = 010.
    let second = [0x68, 0x5b, 0x8f, 0x20];
    private[count_at] += 1;
    private.splice(end..end, [0, second.len() as u8].into_iter().chain(second));
    more
}

#[test]
fn runs_that_do_not_overlap_share_a_file_and_the_gap_stays() {
    let mut stream = MemoryStream::new("front").run(1, NOON, &AVC);
    stream.gap(GapReason::ConnectionLost, NOON.plus_ns(4 * SECOND_NS), Some(NOON.plus_ns(60 * SECOND_NS)));
    let stream = stream.run(2, NOON.plus_ns(60 * SECOND_NS), &AVC);
    let exported = Exported::of(&MemoryArchive::new(vec![stream]), &request(&["front"], None, None));
    let blocks = exported.blocks("out.mkv");
    assert_eq!(exported.names(), ["out.mkv", "out.mkv.json"]);
    let half = blocks.len() / 2;
    assert_eq!(blocks[half].at_ns - blocks[0].at_ns, 60 * SECOND_NS);
    let stream = &exported.report().files[0].manifest.streams[0];
    assert_eq!(stream.runs.len(), 2);
    assert_eq!((stream.gaps[0].reason.as_str(), stream.gaps[0].samples_lost), ("connection lost", 3));
    let probed = super::support::check::probed(&exported.path("out.mkv"), &["-show_streams"]);
    assert!(
        probed["streams"][0]["tags"]["KEHA_GAP_1"]
            .as_str()
            .unwrap()
            .starts_with("connection lost from 2026-03-01T12:00:04")
    );
    assert_eq!(probed["streams"][0]["r_frame_rate"], "25/1");
}

#[test]
fn a_clock_set_back_begins_another_file() {
    let stream = MemoryStream::new("front").run(1, NOON, &AVC).run(2, NOON.plus_ns(SECOND_NS), &AVC);
    let archive = MemoryArchive::new(vec![stream]);
    let exported = Exported::of(&archive, &request(&["front"], None, None));
    assert_eq!(exported.names(), ["out-2.mkv", "out-2.mkv.json", "out.mkv", "out.mkv.json"]);
    assert_eq!(exported.blocks("out.mkv").len(), AVC.samples.len());
    assert_eq!(exported.blocks("out-2.mkv").len(), AVC.samples.len());
    let because = exported.report().files[1].manifest.file.begins_because.clone().unwrap();
    assert!(because.starts_with("front: the clock was set back to 2026-03-01T12:00:01"), "{because}");
    assert!(exported.report().is_complete(), "nothing is missing");
}

#[test]
fn one_of_several_runs_can_be_chosen() {
    let stream = MemoryStream::new("front").run(1, NOON, &AVC).run(2, NOON.plus_ns(SECOND_NS), &LARGER);
    let archive = MemoryArchive::new(vec![stream]);
    let chosen =
        |run| Exported::of(&archive, &ExportRequest { run: Some(run), ..request(&["front"], None, None) });
    assert_eq!(chosen(2).report().files[0].manifest.streams[0].tracks[0].width, 640);
    assert_eq!(chosen(1).names(), ["out.mkv", "out.mkv.json"]);
    assert_eq!(chosen(3).error().to_string(), "front: no run 3 in that range; it has runs 1 to 2");
    assert!(chosen(0).names().is_empty());
}

#[test]
fn another_resolution_begins_another_file_and_other_streams_go_along_at_their_keyframes() {
    let front = MemoryStream::new("front").run(1, NOON, &AVC).run(2, NOON.plus_ns(4_300_000_000), &LARGER);
    let back = MemoryStream::new("back").run(3, NOON, &HEVC).run(4, NOON.plus_ns(4_020_000_000), &HEVC);
    let exported =
        Exported::of(&MemoryArchive::new(vec![front, back]), &request(&["front", "back"], None, None));
    let (one, two) = (exported.blocks("out.mkv"), exported.blocks("out-2.mkv"));
    assert_eq!(one.len() + two.len(), AVC.samples.len() + LARGER.samples.len() + 2 * HEVC.samples.len());
    let files = &exported.report().files;
    assert_eq!(files[1].manifest.file.begins_because.as_deref(), Some("front: the picture's size changed"));
    for file in [&one, &two] {
        for track in [1, 3] {
            assert!(
                file.iter().find(|block| block.track == track).unwrap().key,
                "every stream begins with a keyframe"
            );
        }
    }
    let widths: Vec<_> = files.iter().map(|file| file.manifest.streams[0].tracks[0].width).collect();
    assert_eq!(widths, [320, 640]);
}

#[test]
fn a_configuration_that_only_adds_goes_on_and_the_header_has_all_of_it() {
    let more = with_another_pps(&AVC.configuration);
    let mut stream = MemoryStream::new("front");
    stream.begin_run(1, NOON, &AVC.configuration);
    let half = AVC.samples.len() / 2;
    AVC.samples[..half].iter().for_each(|sample| stream.sample(NOON, &AVC.configuration, sample));
    stream.configure(&more);
    AVC.samples[half..].iter().for_each(|sample| stream.sample(NOON, &more, sample));
    // The camera comes back and announces the first set alone.
    let stream = stream.run(2, NOON.plus_ns(10 * SECOND_NS), &AVC);
    let exported = Exported::of(&MemoryArchive::new(vec![stream]), &request(&["front"], None, None));
    assert_eq!(exported.names(), ["out.mkv", "out.mkv.json"]);
    assert_eq!(exported.blocks("out.mkv").len(), 2 * AVC.samples.len());
    let file = std::fs::File::open(exported.path("out.mkv")).unwrap();
    let file = matroska_demuxer::MatroskaFile::open(file).unwrap();
    assert_eq!(file.tracks()[0].codec_private().unwrap(), more.tracks[0].private);
    assert_eq!(exported.report().files[0].manifest.streams[0].configurations.len(), 3);
}

#[test]
fn what_is_there_is_not_overwritten_without_force() {
    let archive = MemoryArchive::new(vec![MemoryStream::new("front").run(1, NOON, &AVC).run(2, NOON, &AVC)]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.mkv");
    let export = |force| {
        let output = Output::File { path: path.clone(), force };
        export_from(&archive, &request(&["front"], None, None), output, &mut |_| ControlFlow::Continue(()))
    };
    for taken in ["out.mkv", "out.mkv.json", "out-2.mkv", "out-2.mkv.json"] {
        let taken = directory.path().join(taken);
        std::fs::write(&taken, "mine").unwrap();
        assert!(matches!(export(false), Err(Error::Exists { path }) if path == taken));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left behind");
        std::fs::remove_file(&taken).unwrap();
    }
    std::fs::write(&path, "mine").unwrap();
    assert_eq!(export(true).unwrap().files.len(), 2);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 4);
}

#[test]
fn a_pipe_gets_a_file_that_plays_and_ends_where_another_would_begin() {
    let stream = MemoryStream::new("front").run(1, NOON, &AVC).run(2, NOON.plus_ns(10 * SECOND_NS), &LARGER);
    let archive = MemoryArchive::new(vec![stream]);
    let mut piped = Vec::new();
    let report =
        export_from(&archive, &request(&["front"], None, None), Output::Pipe(&mut piped), &mut |_| {
            ControlFlow::Continue(())
        });
    let report = report.unwrap();
    let (at, why) = report.cut.clone().unwrap();
    assert_eq!(why, "front: the picture's size changed");
    assert!((0..100_000_000).contains(&at.since_ns(NOON.plus_ns(10 * SECOND_NS))));
    assert!(!report.is_complete());
    assert_eq!(report.samples, AVC.samples.len() as u64);
    assert_eq!(report.files[0].manifest.file.blake3, blake3::hash(&piped).to_hex().as_str());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("piped.mkv");
    std::fs::write(&path, &piped).unwrap();
    super::support::check::opens_without_a_warning(&path);
}

#[test]
fn breaking_off_leaves_nothing_behind() {
    let configuration = super::memory::invented_video();
    let mut stream = MemoryStream::new("front");
    stream.begin_run(1, NOON, &configuration);
    for frame in 0..20 {
        let data = Bytes::from(vec![0; 1 << 20]);
        let sample = ClipSample { data, ..super::memory::invented(1, frame * 3600, true) };
        stream.sample(NOON, &configuration, &sample);
    }
    let archive = MemoryArchive::new(vec![stream]);
    let directory = tempfile::tempdir().unwrap();
    let output = Output::File { path: directory.path().join("out.mkv"), force: false };
    let result =
        export_from(&archive, &request(&["front"], None, None), output, &mut |_| ControlFlow::Break(()));
    assert!(matches!(result, Err(Error::Cancelled)));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_long_export_is_hashed_in_stretches_that_begin_at_keyframes() {
    let mut stream = MemoryStream::new("front");
    stream.begin_run(1, NOON, &AVC.configuration);
    for lap in 0..40 {
        for sample in &AVC.samples {
            let timescale = AVC.configuration.track(sample.track).unwrap().timescale;
            let ticks = sample.ticks + lap * 4 * i64::from(timescale);
            stream.sample(NOON, &AVC.configuration, &ClipSample { ticks, ..sample.clone() });
        }
    }
    let exported = Exported::of(&MemoryArchive::new(vec![stream]), &request(&["front"], None, None));
    exported.report();
    let (path, manifest) = (exported.path("out.mkv"), exported.path("out.mkv.json"));
    verify::manifest(&path, &manifest).unwrap();
    let ranges = &exported.report().files[0].manifest.streams[0].ranges;
    assert_eq!(ranges.len(), 3);
    assert!(AVC.configuration.tracks.iter().any(|track| track.kind == TrackKind::Video));
    // A single changed byte anywhere is found.
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(verify::manifest(&path, &manifest).is_err());
}

#[test]
fn a_run_that_begins_before_the_last_sound_has_ended_does_not_overlap() {
    let mut stream = MemoryStream::new("front");
    stream.begin_run(1, NOON, &AVC.configuration);
    // The last pictures are missing; the sound of those moments is not.
    let kept = |sample: &&ClipSample| sample.track != keha_fs::TrackNumber(1) || sample.ticks < 270_000;
    AVC.samples.iter().filter(kept).for_each(|sample| stream.sample(NOON, &AVC.configuration, sample));
    let stream = stream.run(2, NOON.plus_ns(3 * SECOND_NS + 500_000_000), &AVC);
    let exported = Exported::of(&MemoryArchive::new(vec![stream]), &request(&["front"], None, None));
    assert_eq!(exported.report().files.len(), 1);
}
