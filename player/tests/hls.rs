//! HLS out of real volumes: segments and playlists, judged by ffmpeg and by a second parser of each format.

#[path = "hls/ring.rs"]
mod ring;
#[expect(dead_code, unreachable_pub, reason = "shared with the unit tests, which use other parts of it")]
mod support;
#[path = "hls/trouble.rs"]
mod trouble;

use keha_fs::{ConfigurationHash, RunId, SampleFlags, TimeRange, TrackNumber, Uuid, Volume, WallTime};
use keha_player::Error;
use keha_player::hls::{LiveOptions, LivePlaylist, Uris, Variant, master, vod};
use keha_player::segments::{
    InitName, Plan, PlannedSegment, Segment, SegmentName, init, plan, segment, segment_of_ended,
};
use keha_player::timeline::Index;
use ring::{NOON, Ring, S, at, stream, stream_of};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use support::clip::{AAC, Clip, ClipSample, H264, H265, MULAW, encode};

fn h264_aac() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| encode(4, "320x180", H264, AAC))
}

fn h264_large() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| encode(4, "640x360", H264, AAC))
}

fn h265_mulaw() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| encode(4, "320x180", H265, MULAW))
}

fn planned(volume: &Volume, range: TimeRange, target_s: u64) -> Plan {
    let index = Index::new(volume);
    plan(&index, volume, stream(volume), range, Duration::from_secs(target_s)).unwrap()
}

fn made(volume: &Volume, planned: &PlannedSegment) -> Segment {
    segment(volume, stream(volume), &planned.name).unwrap()
}

/// Writes a playlist with all that it lists into a directory, as a server would give it.
fn write(volume: &Volume, plan: &Plan, directory: &Path) -> std::path::PathBuf {
    let index = Index::new(volume);
    let text = vod(&plan.segments, &Uris::default()).unwrap();
    for uri in text.split('"').filter(|part| part.ends_with(".mp4")) {
        let name: InitName = uri.trim_end_matches(".mp4").parse().unwrap();
        let init = init(volume, &index, stream(volume), &name).unwrap();
        std::fs::write(directory.join(uri), init.data).unwrap();
    }
    for uri in text.lines().filter(|line| line.ends_with(".m4s")) {
        let name: SegmentName = uri.trim_end_matches(".m4s").parse().unwrap();
        let made = segment(volume, stream(volume), &name).unwrap();
        assert!(!made.needs_init);
        std::fs::write(directory.join(uri), made.data).unwrap();
    }
    let path = directory.join("x.m3u8");
    std::fs::write(&path, text).unwrap();
    path
}

fn ffmpeg(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("ffmpeg").args(["-nostdin", "-v", "error"]).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{arguments:?}: {said}");
    output.stdout
}

fn decoded_pictures(playlist: &Path) -> usize {
    let path = playlist.to_str().unwrap();
    let text = ffmpeg(&["-i", path, "-map", "0:v", "-fps_mode", "passthrough", "-f", "framemd5", "-"]);
    String::from_utf8(text).unwrap().lines().filter(|line| !line.starts_with('#')).count()
}

fn pictures_of(clip: &Clip) -> usize {
    clip.samples.iter().filter(|sample| sample.track.0 == 1).count()
}

/// What a second parser finds in a segment: for each track its number, its first decode time, how long it lasts, its presentation times.
fn parsed(volume: &Volume, planned: &PlannedSegment) -> Vec<(u32, i64, i64, Vec<i64>)> {
    let name = InitName { configuration: planned.name.configuration, at: planned.name.from };
    let init = init(volume, &Index::new(volume), stream(volume), &name).unwrap();
    let file = [init.data, made(volume, planned).data].concat();
    let mp4 = re_mp4::Mp4::read_bytes(&file).unwrap();
    let tracks = mp4.tracks().iter().filter(|(_, track)| !track.samples.is_empty());
    tracks
        .map(|(id, track)| {
            // This parser takes signed offsets for unsigned ones.
            let shown = |sample: &re_mp4::Sample| {
                sample.decode_timestamp
                    + i64::from((sample.composition_timestamp - sample.decode_timestamp) as i32)
            };
            let lasts = track.samples.iter().map(|sample| sample.duration as i64).sum();
            (*id, track.samples[0].decode_timestamp, lasts, track.samples.iter().map(shown).collect())
        })
        .collect()
}

#[test]
fn a_range_over_a_gap_and_a_new_resolution_plays_to_its_last_picture() {
    let ring = Ring::new();
    let mut recorder = ring.recorder();
    recorder.run(1, at(0), h264_aac());
    recorder.gap(at(4000), None);
    recorder.gap(at(4000), Some(at(60_000)));
    recorder.run(2, at(60_000), h264_aac());
    recorder.run(3, at(64_100), h264_large());
    recorder.close();
    let volume = ring.volume();
    let plan = planned(&volume, TimeRange::default(), 2);
    let breaks: Vec<bool> = plan.segments.iter().map(|segment| segment.discontinuity).collect();
    assert_eq!(breaks, [false, false, true, false, true, false]);
    let directory = tempfile::tempdir().unwrap();
    // ffmpeg reads one init segment of a playlist: each configuration is judged by itself.
    let mut pictures = Vec::new();
    for configuration in [plan.segments[0].name.configuration, plan.segments[4].name.configuration] {
        let mut mine = plan.clone();
        mine.segments.retain(|segment| segment.name.configuration == configuration);
        pictures.push(decoded_pictures(&write(&volume, &mine, directory.path())));
    }
    assert_eq!(pictures, [2 * pictures_of(h264_aac()), pictures_of(h264_large())]);
    let path = write(&volume, &plan, directory.path());
    let text = std::fs::read(&path).unwrap();
    let playlist = m3u8_rs::parse_media_playlist_res(&text).unwrap();
    assert_eq!((playlist.version, playlist.end_list, playlist.independent_segments), (Some(6), true, true));
    assert_eq!(playlist.playlist_type, Some(m3u8_rs::MediaPlaylistType::Vod));
    assert_eq!(playlist.segments.iter().map(|segment| segment.discontinuity).collect::<Vec<_>>(), breaks);
    let maps = playlist.segments.iter().filter(|segment| segment.map.is_some()).count();
    assert_eq!(maps, 2, "one for each configuration");
    let dates: Vec<bool> =
        playlist.segments.iter().map(|segment| segment.program_date_time.is_some()).collect();
    assert_eq!(dates, [true, false, true, false, true, false]);
    let first = playlist.segments[0].program_date_time.unwrap();
    assert_eq!(first.timestamp_millis(), plan.segments[0].wall().0 / 1_000_000);
    let lasts: f32 = playlist.segments.iter().map(|segment| segment.duration).sum();
    assert!((lasts - 12.0).abs() < 0.3, "{lasts} s");
    assert!(
        playlist.segments.iter().all(|segment| segment.duration.round() as u64 <= playlist.target_duration)
    );
}

#[test]
fn h265_with_open_groups_and_g711_comes_out_whole_and_in_step() {
    let ring = Ring::new();
    let mut recorder = ring.recorder();
    recorder.run(1, at(0), h265_mulaw());
    recorder.close();
    let volume = ring.volume();
    let plan = planned(&volume, TimeRange::default(), 1);
    assert_eq!(plan.segments.len(), 4);
    let directory = tempfile::tempdir().unwrap();
    let path = write(&volume, &plan, directory.path());
    assert_eq!(decoded_pictures(&path), pictures_of(h265_mulaw()));
    let sound = ffmpeg(&["-i", path.to_str().unwrap(), "-map", "0:a", "-f", "s16le", "-"]);
    let raw: Vec<u8> =
        h265_mulaw().samples.iter().filter(|s| s.track.0 == 2).flat_map(|s| s.data.to_vec()).collect();
    let source = directory.path().join("sound.ul");
    std::fs::write(&source, raw).unwrap();
    let source = source.to_str().unwrap();
    let source = ffmpeg(&["-f", "mulaw", "-ar", "8000", "-ac", "1", "-i", source, "-f", "s16le", "-"]);
    assert!(sound == source, "the sound differs: {} and {} bytes", sound.len(), source.len());
}

/// Every sample is shown at its wall time, on every track.
#[test]
fn sound_and_pictures_stand_on_the_wall_clock() {
    for clip in [h264_aac(), h265_mulaw()] {
        let ring = Ring::new();
        let mut recorder = ring.recorder();
        recorder.run(1, at(0), clip);
        recorder.close();
        let volume = ring.volume();
        let plan = planned(&volume, TimeRange::default(), 1);
        for track in &clip.configuration.tracks {
            let timescale = i64::from(track.timescale);
            let base = i128::from(NOON.0) * i128::from(timescale);
            let wall = |ticks: i64| ticks + ((base + 500_000_000) / 1_000_000_000) as i64;
            let recorded = clip.samples.iter().filter(|sample| sample.track == track.track);
            let recorded: Vec<i64> = recorded.map(|sample| wall(sample.ticks)).collect();
            let shown: Vec<i64> = plan
                .segments
                .iter()
                .flat_map(|planned| parsed(&volume, planned))
                .filter(|(id, ..)| *id == u32::from(track.track.0))
                .flat_map(|(.., shown)| shown)
                .collect();
            assert_eq!(shown.len(), recorded.len());
            let off = shown.iter().zip(&recorded).map(|(shown, recorded)| (shown - recorded).abs()).max();
            assert!(off <= Some(1), "{off:?} ticks");
        }
    }
}

fn joins_without_a_seam(volume: &Volume, plan: &Plan) {
    for pair in plan.segments.windows(2) {
        let (before, behind) = (parsed(volume, &pair[0]), parsed(volume, &pair[1]));
        for ((id, begins, lasts, _), (_, next, ..)) in before.iter().zip(&behind) {
            assert_eq!(begins + lasts, *next, "track {id} at {}", pair[1].name);
        }
    }
}

#[test]
fn segments_join_without_a_seam_also_where_the_clock_is_corrected() {
    for clip in [h264_aac(), h265_mulaw()] {
        let ring = Ring::new();
        let mut recorder = ring.recorder();
        recorder.begin(1, at(0), clip);
        recorder.push(clip, i64::MIN..1500);
        // The camera's clock is found to be slow, then fast.
        recorder.anchor(at(1500).plus_ns(1_700_000), clip, 1500);
        recorder.push(clip, 1500..2700);
        recorder.anchor(at(2700).plus_ns(-900_000), clip, 2700);
        recorder.push(clip, 2700..i64::MAX);
        recorder.close();
        let volume = ring.volume();
        let plan = planned(&volume, TimeRange::default(), 1);
        assert!(plan.segments.len() >= 3 && plan.segments.iter().all(|segment| !segment.discontinuity));
        joins_without_a_seam(&volume, &plan);
    }
}

#[test]
fn a_range_begins_with_the_sync_sample_before_it_and_ends_behind_its_end() {
    let ring = Ring::new();
    let mut recorder = ring.recorder();
    recorder.run(1, at(0), h264_aac());
    recorder.close();
    let volume = ring.volume();
    let range = TimeRange { from: Some(at(1500)), to: Some(at(2500)) };
    let plan = planned(&volume, range, 1);
    let (first, last) = (&plan.segments[0].name, &plan.segments.last().unwrap().name);
    assert!((0..S).contains(&at(1500).since_ns(first.from)), "{first}");
    assert!((0..S).contains(&last.to.since_ns(at(2500))), "{last}");
    let nothing = TimeRange { from: Some(at(60_000)), to: None };
    assert_eq!(planned(&volume, nothing, 1).segments, []);
}

#[test]
fn names_that_fit_nothing_are_refused() {
    let ring = Ring::new();
    let mut recorder = ring.recorder();
    recorder.run(1, at(0), h264_aac());
    recorder.run(2, at(20_000), h264_aac());
    recorder.close();
    let volume = ring.volume();
    let plan = planned(&volume, TimeRange::default(), 1);
    let good = plan.segments[1].name;
    let wrong = [
        SegmentName { run: RunId(Uuid::from_u128(9)), ..good },
        SegmentName { run: plan.segments[5].name.run, ..good },
        SegmentName { configuration: ConfigurationHash([7; 16]), ..good },
        SegmentName { from: good.from.plus_ns(1), ..good },
        SegmentName { from: good.from.plus_ns(-1), ..good },
        SegmentName { to: good.to.plus_ns(1), ..good },
        SegmentName { to: good.to.plus_ns(-1), ..good },
        SegmentName { to: good.from, ..good },
        SegmentName { from: WallTime::MIN, to: WallTime::MAX, ..good },
        SegmentName { to: good.from.plus_ns(70 * S), ..good },
        SegmentName { from: at(500_000), to: at(501_000), ..good },
    ];
    for name in wrong {
        let made = segment(&volume, stream(&volume), &name).map(|made| made.pictures);
        let Err(error) = made else { panic!("{name} gave {made:?} pictures") };
        let refused =
            matches!(error, Error::NoSegment { .. } | Error::Volume(keha_fs::Error::NotRecorded { .. }));
        assert!(refused, "{name}: {error}");
    }
    let index = Index::new(&volume);
    let name = InitName { configuration: ConfigurationHash([7; 16]), at: good.from };
    assert!(matches!(init(&volume, &index, stream(&volume), &name), Err(Error::NoSegment { .. })));
}

#[test]
fn a_segment_is_the_same_while_the_camera_records_and_long_after() {
    let (ring, clip) = (Ring::new(), h265_mulaw());
    let mut recorder = ring.recorder();
    recorder.begin(1, at(0), clip);
    let mut early = Vec::new();
    for ms in (0..4000).step_by(400) {
        recorder.push(clip, if ms == 0 { i64::MIN..400 } else { ms..ms + 400 });
        recorder.settle();
        let volume = ring.volume();
        for planned in planned(&volume, TimeRange::default(), 1).segments {
            early.push((planned.name, made(&volume, &planned)));
        }
    }
    recorder.close();
    let volume = ring.volume();
    assert!(early.len() > 4);
    for (name, made) in early {
        assert_eq!(segment(&volume, stream(&volume), &name).unwrap(), made, "{name}");
    }
    joins_without_a_seam(&volume, &planned(&volume, TimeRange::default(), 1));
}

/// Many clips one after the other, as one run of a camera.
fn laps(
    recorder: &mut ring::Recorder,
    clip: &Clip,
    laps: std::ops::Range<i64>,
    then: &mut dyn FnMut(&mut ring::Recorder),
) {
    for lap in laps {
        for ms in (0..4000).step_by(500) {
            recorder.push_later(clip, if ms == 0 { i64::MIN..500 } else { ms..ms + 500 }, lap * 4000);
            then(recorder);
        }
    }
}

#[test]
fn a_live_playlist_lists_only_what_is_settled_and_plays_as_it_comes() {
    let (ring, clip) = (Ring::new(), h265_mulaw());
    let mut recorder = ring.recorder();
    recorder.begin(1, at(0), clip);
    let (mut playlist, mut given) = (None, Vec::<(SegmentName, Segment)>::new());
    laps(&mut recorder, clip, 0..4, &mut |recorder| {
        recorder.settle();
        let volume = ring.volume();
        let id = stream(&volume);
        let playlist = playlist.get_or_insert_with(|| LivePlaylist::new(id, LiveOptions::default()));
        playlist.advance(&Index::new(&volume), &volume).unwrap();
        for planned in playlist.segments() {
            if given.iter().all(|(name, _)| *name != planned.name) {
                given.push((planned.name, segment(&volume, id, &planned.name).unwrap()));
            }
        }
    });
    recorder.close();
    let volume = ring.volume();
    assert!(given.len() >= 13, "{} segments", given.len());
    assert!(given.windows(2).all(|pair| pair[0].0.to == pair[1].0.from), "nothing is left out");
    for (name, made) in &given {
        assert!(segment(&volume, stream(&volume), name).unwrap() == *made, "{name}");
    }
    let name = InitName { configuration: given[0].0.configuration, at: given[0].0.from };
    let init = init(&volume, &Index::new(&volume), stream(&volume), &name).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("live.mp4");
    let file: Vec<u8> =
        init.data.iter().copied().chain(given.iter().flat_map(|(_, made)| made.data.to_vec())).collect();
    std::fs::write(&path, file).unwrap();
    assert_eq!(decoded_pictures(&path), given.iter().map(|(_, made)| made.pictures).sum::<usize>());
}

/// Somebody who looked at the volume a moment ago asks for what was listed since: the name is right, but not all of it is there.
fn is_not_made_of_less(clip: &Clip, from: WallTime, before: Option<WallTime>) {
    let ring = Ring::new();
    let mut recorder = ring.recorder();
    if let Some(before) = before {
        recorder.run(9, before, clip);
    }
    recorder.begin(1, from, clip);
    let mut looks = Vec::new();
    laps(&mut recorder, clip, 0..2, &mut |recorder| {
        recorder.settle();
        looks.push(ring.volume());
    });
    recorder.close();
    let volume = ring.volume();
    let plan = planned(&volume, TimeRange::default(), 1);
    let mut refused = 0;
    for planned in &plan.segments {
        let whole = made(&volume, planned);
        let is_over = planned.name.run != RunId(Uuid::from_u128(1));
        for look in &looks {
            match segment(look, stream(look), &planned.name) {
                Ok(made) => assert!(made == whole, "{}", planned.name),
                Err(Error::NoSegment { .. } | Error::Volume(keha_fs::Error::NotRecorded { .. })) => {
                    assert!(!is_over, "{} was there for long", planned.name);
                    refused += 1
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(refused > plan.segments.len());
}

#[test]
fn a_segment_is_not_made_of_less_than_all_of_it() {
    is_not_made_of_less(h264_aac(), at(0), None);
}

/// What was recorded last has not the latest times then.
#[test]
fn a_segment_is_not_made_of_less_than_all_of_it_after_a_clock_was_set_back() {
    is_not_made_of_less(h264_aac(), at(0), Some(at(3_600_000)));
}

/// A camera that was stopped, of a volume that is being written.
#[test]
fn the_last_segment_of_a_stream_that_does_not_go_on_is_made_as_it_will_be_when_all_is_over() {
    let (ring, clip) = (Ring::new(), h264_aac());
    let mut recorder = ring.recorder();
    recorder.run(1, at(0), clip);
    recorder.settle();
    let early = ring.volume();
    let index = Index::new(&early).looked_at(at(3_600_000));
    let id = stream(&early);
    let last = plan(&index, &early, id, TimeRange::default(), Duration::from_secs(1)).unwrap();
    let last = last.segments.last().unwrap().name;
    assert!(segment(&early, id, &last).is_err(), "for all that is known there more of it comes");
    let given = segment_of_ended(&early, id, &last).ok().filter(|given| !given.is_settled).unwrap();
    recorder.close();
    let over = ring.volume();
    assert_eq!(planned(&over, TimeRange::default(), 1).segments.last().unwrap().name, last);
    assert_eq!(segment(&over, id, &last).unwrap(), Segment { is_settled: true, ..given });
}

#[test]
fn sound_alone_is_cut_by_its_chunks() {
    let (ring, clip) = (Ring::new(), encode(6, "", &[], MULAW));
    let mut recorder = ring.recorder();
    recorder.begin(1, at(0), &clip);
    for second in 0..6 {
        recorder.push(&clip, second * 1000..second * 1000 + 1000);
        recorder.settle();
    }
    recorder.close();
    let volume = ring.volume();
    let plan = planned(&volume, TimeRange::default(), 2);
    assert!(plan.segments.len() > 1, "{plan:?}");
    let directory = tempfile::tempdir().unwrap();
    let path = write(&volume, &plan, directory.path());
    let sound = ffmpeg(&["-i", path.to_str().unwrap(), "-f", "s16le", "-"]);
    assert_eq!(sound.len(), 2 * 6 * 8000);
}

/// What there is to choose from is asked for often: no segment is made for it, and none has to be whole.
#[test]
fn a_variant_tells_its_frame_rate_although_its_newest_segment_is_damaged() {
    for clip in [h264_aac(), h265_mulaw()] {
        let ring = Ring::new();
        let mut recorder = ring.recorder();
        recorder.run(1, at(0), clip);
        recorder.close();
        let is_key = |sample: &&ClipSample| sample.track.0 == 1 && sample.flags.contains(SampleFlags::SYNC);
        ring.damage(&clip.samples.iter().rfind(is_key).unwrap().data);
        let volume = ring.volume();
        let (index, id) = (Index::new(&volume), stream(&volume));
        let segments = planned(&volume, TimeRange::default(), 1).segments;
        assert!(segment(&volume, id, &segments.last().unwrap().name).is_err());
        let variant = Variant::of(&volume, &index, id, &segments, "front.m3u8").unwrap();
        assert!((variant.frame_rate.unwrap() - 25.0).abs() < 2.1, "{variant:?}");
    }
}

#[test]
fn an_init_segment_of_another_stream_is_not_found() {
    let ring = Ring::new();
    for (name, clip) in [("front", h264_aac()), ("back", h265_mulaw())] {
        let mut recorder = ring.recorder_of(name);
        recorder.run(1, at(0), clip);
        recorder.close();
    }
    let volume = ring.volume();
    let index = Index::new(&volume);
    let planned = planned(&volume, TimeRange::default(), 1).segments[0].name;
    let name = InitName { configuration: planned.configuration, at: planned.from };
    // It is known from here on.
    assert!(init(&volume, &index, stream(&volume), &name).is_ok());
    let other = init(&volume, &index, stream_of(&volume, "back"), &name);
    assert!(matches!(other, Err(Error::NoSegment { .. })), "{other:?}");
}

#[test]
fn a_master_playlist_tells_what_a_player_needs_to_choose() {
    let ring = Ring::new();
    let mut recorder = ring.recorder();
    recorder.run(1, at(0), h264_aac());
    recorder.run(2, at(4100), h264_large());
    recorder.close();
    let volume = ring.volume();
    let segments = planned(&volume, TimeRange::default(), 2).segments;
    let index = Index::new(&volume);
    let variant = Variant::of(&volume, &index, stream(&volume), &segments, "front.m3u8?signature=x").unwrap();
    let bytes: usize = segments.iter().map(|planned| made(&volume, planned).data.len()).sum();
    let average = bytes as f64 * 8.0 / 8.1;
    assert!((variant.average_bandwidth as f64 / average - 1.0).abs() < 0.2, "{variant:?} and {average}");
    let text = master(&[variant]).unwrap();
    let (_, playlist) = m3u8_rs::parse_master_playlist(text.as_bytes()).unwrap();
    let stream = &playlist.variants[0];
    assert_eq!(stream.uri, "front.m3u8?signature=x");
    assert_eq!(stream.resolution.map(|size| (size.width, size.height)), Some((640, 360)));
    assert!((stream.frame_rate.unwrap() - 25.0).abs() < 0.6, "{text}");
    let codecs = stream.codecs.as_deref().unwrap();
    assert!(codecs.contains("avc1.") && codecs.contains("mp4a.40.2"), "{codecs}");
    assert!(stream.bandwidth >= stream.average_bandwidth.unwrap());
}
